//! Which objects and arrays are open: a bit each.

use super::{BodyError, MAX_DEPTH};

/// The open objects and arrays.
#[derive(Default)]
pub(super) struct Nest {
    depth: usize,
    /// Whether the innermost is an object; the bits are for those around it.
    in_object: bool,
    bits: Vec<u64>,
}

impl Nest {
    /// How many are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Whether the innermost is an object.
    pub(super) fn in_object(&self) -> bool {
        self.in_object
    }

    /// An object or an array begins.
    pub(super) fn open(&mut self, object: bool) -> Result<(), BodyError> {
        if self.depth >= MAX_DEPTH {
            return Err(BodyError::TooDeep);
        }
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        if word == self.bits.len() {
            self.bits.push(0);
        }
        if let Some(bits) = self.bits.get_mut(word) {
            *bits = if self.in_object { *bits | bit } else { *bits & !bit };
        }
        self.depth += 1;
        self.in_object = object;
        Ok(())
    }

    /// The innermost ends; there is one.
    pub(super) fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        self.in_object = self.bits.get(word).is_some_and(|bits| bits & bit != 0);
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.bits.capacity() * size_of::<u64>()
    }
}
