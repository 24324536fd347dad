//! Compression of small things in one go, with contexts that are kept: to set one up takes longer than a small state.

use std::{cell::RefCell, io};

use zstd::bulk::{Compressor, Decompressor};

/// The level of compression: OpenTofu's states shrink to a fifth or less with it, at a disk's speed.
pub(super) const LEVEL: i32 = 3;
/// Bodies up to this size are compressed in one go, with tables that fit them.
pub(super) const SMALL: usize = 64 * 1024;
/// What is larger gets contexts of its own, which take megabytes.
const KEPT: usize = 256 * 1024;

/// A context, and whether it has a dictionary.
struct Context<T> {
    inner: T,
    used: bool,
}

type Slot<T> = RefCell<Option<Context<T>>>;

thread_local! {
    static COMPRESSOR: Slot<Compressor<'static>> = const { RefCell::new(None) };
    static DECOMPRESSOR: Slot<Decompressor<'static>> = const { RefCell::new(None) };
}

/// One frame. What is like something in `dictionary` takes next to nothing; whoever reads the frame needs it as well.
pub(super) fn compress(dictionary: &[u8], bytes: &[u8]) -> io::Result<Vec<u8>> {
    if bytes.len().max(dictionary.len()) > KEPT {
        return Compressor::with_dictionary(LEVEL, dictionary)?.compress(bytes);
    }
    let set = |context: &mut Compressor<'static>| context.set_dictionary(LEVEL, dictionary);
    COMPRESSOR.with_borrow_mut(|slot| with(slot, || Compressor::new(LEVEL), dictionary, set)?.compress(bytes))
}

/// What one frame has, at most `most` bytes of it.
pub(super) fn decompress(dictionary: &[u8], frame: &[u8], most: usize) -> io::Result<Vec<u8>> {
    if dictionary.len() > KEPT {
        return Decompressor::with_dictionary(dictionary)?.decompress(frame, most);
    }
    let set = |context: &mut Decompressor<'static>| context.set_dictionary(dictionary);
    DECOMPRESSOR.with_borrow_mut(|slot| with(slot, Decompressor::new, dictionary, set)?.decompress(frame, most))
}

/// The context with the dictionary, which is set only where that makes a difference.
fn with<'a, T>(
    slot: &'a mut Option<Context<T>>,
    new: impl FnOnce() -> io::Result<T>,
    dictionary: &[u8],
    set: impl FnOnce(&mut T) -> io::Result<()>,
) -> io::Result<&'a mut T> {
    let context = match slot {
        Some(context) => context,
        None => slot.insert(Context { inner: new()?, used: false }),
    };
    if context.used || !dictionary.is_empty() {
        context.used = true;
        set(&mut context.inner)?;
        context.used = !dictionary.is_empty();
    }
    Ok(&mut context.inner)
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
