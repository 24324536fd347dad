//! Captures the beginning of one JSON string, its escapes undone. Bounded, whatever the string's length.

/// What was captured of the string that is being read.
#[derive(Default)]
pub(super) struct Text {
    kept: String,
    /// Characters that may still be kept.
    free: usize,
    /// The first half of an escaped surrogate pair.
    high: Option<u16>,
}

impl Text {
    /// Forgets the string before and keeps at most `most` characters of the next.
    pub(super) fn begin(&mut self, most: usize) {
        self.kept.clear();
        self.free = most;
        self.high = None;
    }

    /// Characters that stand in the string as they are.
    pub(super) fn push_plain(&mut self, plain: &str) {
        if plain.is_empty() {
            return;
        }
        self.flush();
        for c in plain.chars().take(self.free) {
            self.push(c);
        }
    }

    /// An escaped UTF-16 unit. A surrogate without its other half becomes U+FFFD, as Go's `encoding/json` has it.
    pub(super) fn push_unit(&mut self, unit: u16) {
        if let Some(high) = self.high.take() {
            if let Some(Ok(c)) = char::decode_utf16([high, unit]).next() {
                return self.push(c);
            }
            self.push(char::REPLACEMENT_CHARACTER);
        }
        match unit {
            0xD800..=0xDBFF => self.high = Some(unit),
            unit => self.push(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }

    /// The string has ended: what was kept.
    pub(super) fn end(&mut self) -> &str {
        self.flush();
        &self.kept
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.kept.capacity()
    }

    fn flush(&mut self) {
        if self.high.take().is_some() {
            self.push(char::REPLACEMENT_CHARACTER);
        }
    }

    fn push(&mut self, c: char) {
        if self.free > 0 {
            self.kept.push(c);
            self.free -= 1;
        }
    }
}
