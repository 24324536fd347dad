//! Compression of small things in one go, with contexts that are kept: to set one up takes longer than a small state.

use std::{cell::RefCell, io};

use zstd::bulk::{Compressor, Decompressor};

/// The level of compression: OpenTofu's states shrink to a fifth or less with it, at a disk's speed.
pub(super) const LEVEL: i32 = 3;
/// Bodies up to this size are compressed in one go, with tables that fit them.
pub(super) const SMALL: usize = 64 * 1024;

struct Contexts {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
    /// They have a dictionary.
    used: bool,
}

thread_local! {
    static CONTEXTS: RefCell<Option<Contexts>> = const { RefCell::new(None) };
}

/// One frame. What is like something in `dictionary` takes next to nothing; whoever reads the frame needs it as well.
pub(super) fn compress(dictionary: &[u8], bytes: &[u8]) -> io::Result<Vec<u8>> {
    with(dictionary, |contexts| contexts.compressor.compress(bytes))
}

/// What one frame has, at most `most` bytes of it.
pub(super) fn decompress(dictionary: &[u8], frame: &[u8], most: usize) -> io::Result<Vec<u8>> {
    with(dictionary, |contexts| contexts.decompressor.decompress(frame, most))
}

fn with<T>(dictionary: &[u8], work: impl FnOnce(&mut Contexts) -> io::Result<T>) -> io::Result<T> {
    CONTEXTS.with_borrow_mut(|slot| {
        let contexts = match slot {
            Some(contexts) => contexts,
            None => slot.insert(Contexts {
                compressor: Compressor::new(LEVEL)?,
                decompressor: Decompressor::new()?,
                used: false,
            }),
        };
        if contexts.used || !dictionary.is_empty() {
            contexts.used = true;
            contexts.compressor.set_dictionary(LEVEL, dictionary)?;
            contexts.decompressor.set_dictionary(dictionary)?;
            contexts.used = !dictionary.is_empty();
        }
        work(contexts)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_for_one_frame() {
        let (old, new) = (b"a state of a few words".repeat(9), b"a state of a few other words".repeat(9));
        let frame = compress(&[], &old).unwrap();
        let told = compress(&old, &new).unwrap();
        assert_eq!(decompress(&old, &told, 1_000).unwrap(), new);
        assert_eq!(decompress(&[], &frame, 1_000).unwrap(), old);
        assert_eq!(compress(&[], &old).unwrap(), frame);
        assert_ne!(decompress(&[], &told, 1_000).ok(), Some(new));
        assert!(decompress(&[], &frame, old.len() - 1).is_err(), "more than was asked for");
    }
}
