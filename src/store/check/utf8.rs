//! Bytes in, valid text out, over any cutting. Knows no JSON.

use super::BodyError;

/// Bytes validated and scanned at a time, so that the second pass finds them in the processor's cache.
const BLOCK: usize = 32 * 1024;

/// The bytes of a character whose end has not come yet.
#[derive(Default)]
pub(super) struct Utf8 {
    tail: [u8; 4],
    len: usize,
    /// Where in the body the tail, or else the next byte, stands.
    offset: u64,
}

impl Utf8 {
    /// Hands the whole characters of `bytes` to `scan`, in order, with the offset of the first. A fault that `scan`
    /// finds before bad bytes goes first, and a character that is not whole yet is not handed on, so the first fault is
    /// the same for every cutting.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        mut scan: impl FnMut(&str, u64) -> Result<(), BodyError>,
    ) -> Result<(), BodyError> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            let text = if self.len == 0 { valid(rest) } else { "" };
            rest = if text.is_empty() {
                self.push_byte(byte, &mut scan)?;
                after
            } else {
                scan(text, self.offset)?;
                self.offset += text.len() as u64;
                rest.get(text.len()..).unwrap_or_default()
            };
        }
        Ok(())
    }

    /// The end of the body: a character that is cut off is a body that is cut off, if one can stand there at all.
    pub(super) fn finish(&self, in_text: bool) -> Result<(), BodyError> {
        match (self.len, in_text) {
            (0, _) => Ok(()),
            (_, true) => Err(BodyError::Truncated),
            (_, false) => Err(self.invalid()),
        }
    }

    /// One more byte of a character that is cut, or is none.
    fn push_byte(
        &mut self,
        byte: u8,
        scan: &mut impl FnMut(&str, u64) -> Result<(), BodyError>,
    ) -> Result<(), BodyError> {
        let Some(free) = self.tail.get_mut(self.len) else { return Err(self.invalid()) };
        *free = byte;
        self.len += 1;
        match std::str::from_utf8(self.tail.get(..self.len).unwrap_or_default()) {
            Ok(text) => {
                scan(text, self.offset)?;
                self.offset += self.len as u64;
                self.len = 0;
                Ok(())
            }
            Err(e) if e.error_len().is_none() => Ok(()),
            Err(_) => Err(self.invalid()),
        }
    }

    fn invalid(&self) -> BodyError {
        BodyError::InvalidUtf8 { offset: self.offset }
    }
}

/// What a block's worth of bytes begins with in whole characters.
fn valid(bytes: &[u8]) -> &str {
    let block = bytes.get(..BLOCK).unwrap_or(bytes);
    std::str::from_utf8(block).unwrap_or_else(|e| {
        let valid = block.get(..e.valid_up_to()).unwrap_or_default();
        std::str::from_utf8(valid).unwrap_or_default()
    })
}
