//! How far a run of uninteresting bytes goes, many bytes at a step: most of a body is blanks and plain text.

const WORD: usize = size_of::<u64>();
/// Bytes looked at together in a long run, in a loop that compiles to vector instructions.
const WIDE: usize = 64;
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The first index from `at` on that is not white space.
#[inline]
pub(super) fn blank(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            break;
        }
        at += 1;
        // Indentation.
        while let Some(word) = word(bytes, at) {
            let other = word ^ (LOW * b' ' as u64);
            at += (other.trailing_zeros() / 8) as usize;
            if other != 0 {
                break;
            }
        }
    }
    at
}

/// The first index from `at` on of a quote, a backslash or a control character.
#[inline]
pub(super) fn plain(bytes: &[u8], mut at: usize) -> usize {
    // Most strings are short.
    for _ in 0..WIDE / WORD {
        let Some(word) = word(bytes, at) else { break };
        let found = special_in(word);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += WORD;
    }
    while let Some(wide) = bytes.get(at..).and_then(<[u8]>::first_chunk::<WIDE>) {
        if wide.iter().fold(false, |found, byte| found | special(*byte)) {
            break;
        }
        at += WIDE;
    }
    while let Some(word) = word(bytes, at) {
        let found = special_in(word);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += WORD;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| special(*byte)).unwrap_or(rest.len())
}

#[inline]
fn special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// The high bit of the first special byte (and perhaps of later bytes).
#[inline]
fn special_in(word: u64) -> u64 {
    let quote = word ^ (LOW * b'"' as u64);
    let backslash = word ^ (LOW * b'\\' as u64);
    let below = |word: u64, least: u64| word.wrapping_sub(LOW * least) & !word;
    (below(quote, 1) | below(backslash, 1) | below(word, b' ' as u64)) & HIGH
}

/// Eight bytes, the first the lowest.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}
