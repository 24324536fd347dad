//! How an entry stands in the table `entries`: a fixed header, then a document's text or what is known of a part. The
//! bytes of a part stand in the table `bytes` under the same key, so that listing parts never reads them.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | kind, `d` or `p` |
//! | 8 | revision, little-endian, from 1 |
//! | 8 | created, milliseconds since 1970, little-endian |
//! | rest | `d`: the text, UTF-8. `p`: number of bytes (u32), index (u32), then SHA-256, path and object, each with a u16 length |

use jiff::Timestamp;

use crate::store::{Part, PartLabel, Value};

/// Bytes of the header.
const HEADER: usize = 17;
const DOCUMENT: u8 = b'd';
const PART: u8 = b'p';

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The entry's revision.
    pub(super) revision: u64,
    /// When it was written.
    pub(super) created: Timestamp,
    /// Whether there is a row in `bytes`.
    pub(super) part: bool,
}

/// What stands in `entries` under a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    /// A document's text.
    Document(&'a str),
    /// A part's label, and how many bytes it has.
    Part(PartLabel, usize),
}

/// Writes an entry to `out`, which is cleared first. `None` where a text of the label or the part is too long for the
/// layout, or the value is a foreign one.
pub(super) fn encode(value: &Value, revision: u64, created: Timestamp, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    let kind = match value {
        Value::Document(_) => DOCUMENT,
        Value::Part(_) => PART,
        Value::Foreign(_) | Value::Deleted(_) => return None,
    };
    out.push(kind);
    out.extend_from_slice(&revision.to_le_bytes());
    out.extend_from_slice(&created.as_millisecond().to_le_bytes());
    match value {
        Value::Document(text) => out.extend_from_slice(text.as_bytes()),
        Value::Part(Part { label, bytes }) => {
            out.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_le_bytes());
            out.extend_from_slice(&label.index.to_le_bytes());
            for text in [&label.sha256, &label.path, &label.object] {
                out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
        Value::Foreign(_) | Value::Deleted(_) => return None,
    }
    Some(())
}

/// The header of an entry; `None` where it is none of ours.
pub(super) fn header(raw: &[u8]) -> Option<Header> {
    let (&kind, rest) = raw.split_first()?;
    let (revision, rest) = rest.split_first_chunk()?;
    let (created, _) = rest.split_first_chunk()?;
    let part = match kind {
        DOCUMENT => false,
        PART => true,
        _ => return None,
    };
    Some(Header {
        revision: u64::from_le_bytes(*revision),
        created: Timestamp::from_millisecond(i64::from_le_bytes(*created)).ok()?,
        part,
    })
}

/// Header and content of an entry, or what is wrong with it (no byte of it: it may be a secret).
pub(super) fn decode(raw: &[u8]) -> Result<(Header, Stored<'_>), String> {
    let header = header(raw).ok_or_else(|| unknown(raw))?;
    let body = raw.get(HEADER..).unwrap_or_default();
    let stored = if header.part {
        let (label, len) = label(body).ok_or("a part with a damaged label")?;
        Stored::Part(label, len)
    } else {
        Stored::Document(str::from_utf8(body).map_err(|_| "a document that is not UTF-8")?)
    };
    Ok((header, stored))
}

fn unknown(raw: &[u8]) -> String {
    match raw.first() {
        Some(&(DOCUMENT | PART)) | None => format!("{} bytes with a damaged header", raw.len()),
        Some(kind) => format!("{} bytes of the unknown kind {kind:#04x}", raw.len()),
    }
}

fn label(body: &[u8]) -> Option<(PartLabel, usize)> {
    let (len, rest) = body.split_first_chunk()?;
    let (index, rest) = rest.split_first_chunk()?;
    let (sha256, rest) = text(rest)?;
    let (path, rest) = text(rest)?;
    let (object, rest) = text(rest)?;
    let label = PartLabel { sha256, path, object, index: u32::from_le_bytes(*index) };
    rest.is_empty().then_some((label, usize::try_from(u32::from_le_bytes(*len)).ok()?))
}

fn text(raw: &[u8]) -> Option<(String, &[u8])> {
    let (len, rest) = raw.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
    Some((str::from_utf8(text).ok()?.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn part() -> Value {
        let label = PartLabel { sha256: "ab".repeat(32), path: "team/net".into(), object: "7-x".into(), index: 3 };
        Value::Part(Part { label, bytes: Bytes::from_static(b"bytes") })
    }

    #[test]
    fn entries_go_there_and_back() {
        let created = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        for value in [Value::Document("{\"a\":\"ü\"}".into()), Value::Document("".into()), part()] {
            let mut raw = vec![9];
            encode(&value, 77, created, &mut raw).unwrap();
            let (header, stored) = decode(&raw).unwrap();
            assert_eq!((header.revision, header.created), (77, created));
            match (&value, stored) {
                (Value::Document(text), Stored::Document(read)) => assert_eq!(&**text, read),
                (Value::Part(part), Stored::Part(label, len)) => assert_eq!((&part.label, 5), (&label, len)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_named_and_never_shown() {
        let mut raw = Vec::new();
        encode(&Value::Document("secret".into()), 1, Timestamp::UNIX_EPOCH, &mut raw).unwrap();
        raw[0] = b'?';
        let said = decode(&raw).unwrap_err();
        assert_eq!(said, "23 bytes of the unknown kind 0x3f");
        assert_eq!(decode(b"").unwrap_err(), "0 bytes with a damaged header");
        raw[0] = DOCUMENT;
        raw[HEADER] = 0xff;
        assert_eq!(decode(&raw).unwrap_err(), "a document that is not UTF-8");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in prop::sample::select(vec![DOCUMENT, PART, 0]), raw: Vec<u8>) {
            let _ = decode(&raw);
            let _ = decode(&[&[kind][..], &raw].concat());
        }

        #[test]
        fn a_cut_part_is_never_taken_for_whole(cut in 0_usize..100) {
            let mut raw = Vec::new();
            encode(&part(), 1, Timestamp::UNIX_EPOCH, &mut raw).unwrap();
            let cut = cut.min(raw.len() - 1);
            prop_assert!(decode(&raw[..cut]).is_err());
        }
    }
}
