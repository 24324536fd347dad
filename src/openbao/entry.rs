//! What an entry looks like in KV v2: a document is one string under one key, packed where it is large; a part is its bytes
//! in base64 with its label beside them. Each is written into one buffer and read from one.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;

use crate::store::{Entry, Expect, Part, PartLabel, Revision, Value};

/// How many bytes a part has on a server with usual limits: OpenBao's raft storage takes a mebibyte an entry, base64 and
/// label included. Less than would fit, so that a part is cheap to send again.
pub(super) const PART_BYTES: usize = 640 << 10;
/// What a part's entry has beside its bytes, generously: label, JSON, OpenBao's own wrapping and encryption.
const AROUND: usize = 4 << 10;
/// Documents from this size on are packed: smaller ones a person may read as they are.
const PACKED: usize = 4 << 10;
/// No head is nearly as large. What is larger is not packed: it would not be unpacked.
const MOST_DOCUMENT: usize = 1 << 20;
/// Of compression: most of a large document is text that hardly gets smaller.
const LEVEL: i32 = 1;
/// Smaller parts would be no help any more.
const LEAST: usize = 4 << 10;

/// How many bytes a part may have after one of `size` was refused.
pub(super) fn part_bytes(size: usize, limit: Option<usize>) -> usize {
    let fits = limit.map(|limit| limit.saturating_sub(AROUND) / 4 * 3).filter(|fits| *fits < size);
    fits.unwrap_or(size / 2).max(LEAST)
}

/// How large the answer to a read of a part is that has so many bytes.
pub(super) fn room(part_bytes: usize) -> usize {
    part_bytes / 3 * 4 + AROUND
}

/// The body of a write. `None` for what is never written.
pub(super) fn encode(value: &Value, expect: Expect) -> Option<Bytes> {
    let cas = match expect {
        Expect::Absent => 0,
        Expect::At(Revision(revision)) => revision,
    };
    let start = format!("{{\"options\":{{\"cas\":{cas}}},\"data\":{{");
    let mut body;
    match value {
        Value::Document(text) => {
            // Most of a head are quotes that are escaped, and base64 that is not.
            body = Vec::with_capacity(start.len() + text.len() + text.len() / 4 + 64);
            body.extend_from_slice(start.as_bytes());
            match packed(text) {
                Some(packed) => {
                    body.extend_from_slice(b"\"packed\":\"");
                    body.extend_from_slice(packed.as_bytes());
                    body.push(b'"');
                }
                None => {
                    body.extend_from_slice(b"\"document\":");
                    serde_json::to_writer(&mut body, text.as_ref()).ok()?;
                }
            }
        }
        Value::Part(Part { label, bytes }) => {
            let length = base64::encoded_len(bytes.len(), true)?;
            let label = serde_json::to_vec(label).ok()?;
            body = Vec::with_capacity(start.len() + length + label.len() + 64);
            body.extend_from_slice(start.as_bytes());
            body.extend_from_slice(b"\"part\":\"");
            let at = body.len();
            body.resize(at + length, 0);
            STANDARD.encode_slice(bytes, body.get_mut(at..)?).ok()?;
            body.extend_from_slice(b"\",");
            // The label's fields stand beside the bytes: without its opening brace, and its closing one is theirs.
            body.extend_from_slice(label.get(1..label.len() - 1)?);
        }
        Value::Foreign(_) | Value::Deleted(_) => return None,
    }
    body.extend_from_slice(b"}}");
    Some(body.into())
}

/// A document in fewer bytes: OpenBao parses, copies and encrypts every one of them at each write, and the one before, too.
fn packed(text: &str) -> Option<String> {
    if !(PACKED..=MOST_DOCUMENT).contains(&text.len()) {
        return None;
    }
    let packed = zstd::bulk::compress(text.as_bytes(), LEVEL).ok()?;
    Some(STANDARD.encode(packed))
}

/// What [`packed`] made. `None` where it is nothing of the kind.
fn unpacked(packed: &str) -> Option<String> {
    let packed = STANDARD.decode(packed).ok()?;
    String::from_utf8(zstd::bulk::decompress(&packed, MOST_DOCUMENT).ok()?).ok()
}

#[derive(Deserialize)]
struct Answered<T> {
    data: T,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    metadata: Written,
}

/// What KV v2 says of a version, in the answer to a read and to a write.
#[derive(Deserialize)]
pub(super) struct Written {
    pub(super) version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentFields<'a> {
    #[serde(borrow)]
    document: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackedFields<'a> {
    #[serde(borrow)]
    packed: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartFields<'a> {
    #[serde(borrow)]
    part: Cow<'a, str>,
    sha256: String,
    path: String,
    object: String,
    index: u32,
}

/// The answer to a read. `None` where it is none of a KV v2 mount.
pub(super) fn decode(body: &[u8]) -> Option<Entry> {
    let Answered { data: Read { data, metadata } } = serde_json::from_slice(body).ok()?;
    Some(Entry { value: value(data.get()), revision: Revision(metadata.version) })
}

/// The entry's own JSON in the answer to a read, as it stands there, whoever wrote it.
pub(super) fn verbatim(body: &[u8]) -> Option<&str> {
    let Answered { data: Read { data, .. } } = serde_json::from_slice(body).ok()?;
    Some(data.get())
}

/// The `data` of an answer.
pub(super) fn data<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice::<Answered<T>>(body).ok().map(|answered| answered.data)
}

fn value(data: &str) -> Value {
    if let Ok(DocumentFields { document }) = serde_json::from_str(data) {
        return Value::Document(document.as_ref().into());
    }
    if let Ok(PackedFields { packed }) = serde_json::from_str(data) {
        return match unpacked(&packed) {
            Some(document) => Value::Document(document.into()),
            None => Value::Foreign("a packed document that does not unpack".to_owned()),
        };
    }
    if let Ok(PartFields { part, sha256, path, object, index }) = serde_json::from_str(data) {
        return match STANDARD.decode(part.as_ref()) {
            Ok(bytes) => Value::Part(Part { label: PartLabel { sha256, path, object, index }, bytes: bytes.into() }),
            Err(_) => Value::Foreign("a part whose bytes are no base64".to_owned()),
        };
    }
    let fields: BTreeMap<String, IgnoredAny> = serde_json::from_str(data).unwrap_or_default();
    let names: Vec<_> = fields.into_keys().take(10).map(|name| name.chars().take(40).collect::<String>()).collect();
    Value::Foreign(format!("an entry with the fields [{}]", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"created_time":"2026-11-21T11:10:06.775380334Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":7}"#;

    /// What OpenBao answers to a read of what `body` wrote.
    fn answer(body: &[u8]) -> String {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        format!(r#"{{"request_id":"x","data":{{"data":{},"metadata":{METADATA}}},"auth":null}}"#, body["data"])
    }

    fn part(bytes: &'static [u8]) -> Value {
        let label = PartLabel { sha256: "ab".repeat(32), path: "a/b".into(), object: "1-a".into(), index: 3 };
        Value::Part(Part { label, bytes: Bytes::from_static(bytes) })
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let text = "{\"a\":\"<&>\\u0000\\n äé𝄞\u{2028}\"}";
        for value in [Value::Document(text.into()), Value::Document("".into()), part(b"\0\xff bytes"), part(b"")] {
            let body = encode(&value, Expect::At(Revision(6))).unwrap();
            let written: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(written["options"], serde_json::json!({ "cas": 6 }));
            assert_eq!(decode(answer(&body).as_bytes()), Some(Entry { value, revision: Revision(7) }));
        }
        assert!(encode(&Value::Foreign(String::new()), Expect::Absent).is_none());
    }

    #[test]
    fn a_large_document_is_packed() {
        let small = "\"".repeat(PACKED - 1);
        let body = encode(&Value::Document(small.as_str().into()), Expect::Absent).unwrap();
        assert!(String::from_utf8_lossy(&body).contains("\"document\""));
        for large in ["\"".repeat(PACKED), "{\"ä\":1}\n".repeat(100_000)] {
            let value = Value::Document(large.as_str().into());
            let body = encode(&value, Expect::At(Revision(6))).unwrap();
            assert!(body.len() < large.len() / 4, "{} of {}", body.len(), large.len());
            assert_eq!(decode(answer(&body).as_bytes()), Some(Entry { value, revision: Revision(7) }));
        }
        // Never one that would not be read again.
        let larger = "x".repeat(MOST_DOCUMENT + 1);
        assert!(encode(&Value::Document(larger.as_str().into()), Expect::Absent).unwrap().len() > MOST_DOCUMENT);
    }

    #[test]
    fn a_part_goes_out_of_a_buffer_that_never_grew() {
        let bytes = Bytes::from(vec![7; PART_BYTES]);
        let label = PartLabel { sha256: "ab".repeat(32), path: "p".repeat(200), object: "1-a".into(), index: u32::MAX };
        let body = encode(&Value::Part(Part { label, bytes }), Expect::Absent).unwrap();
        assert!(body.len() < PART_BYTES / 3 * 4 + 1024 && body.len() + AROUND < 1 << 20, "{}", body.len());
        let body = Vec::from(body);
        assert!(body.capacity() < body.len() + 64, "{} of {}", body.len(), body.capacity());
    }

    #[test]
    fn what_is_not_ours_is_foreign_and_its_values_are_not_told() {
        for (data, told) in [
            (r#"{"state":"secret","serial":4}"#, "[serial, state]"),
            (r#"{"document":"secret","more":"secret"}"#, "[document, more]"),
            (r#"{"document":7}"#, "[document]"),
            (r#"{"packed":"secret!"}"#, "does not unpack"),
            (r#"{"packed":"c2VjcmV0"}"#, "does not unpack"),
            (r#"{"part":"secret!","sha256":"","path":"","object":"","index":0}"#, "no base64"),
            ("{}", "[]"),
            ("null", "[]"),
        ] {
            let body = format!(r#"{{"data":{{"data":{data},"metadata":{METADATA}}}}}"#);
            let Some(Entry { value: Value::Foreign(what), .. }) = decode(body.as_bytes()) else { panic!("{data}") };
            assert!(what.contains(told) && !what.contains("secret"), "{what}");
        }
        // KV v1, where the entry itself is the data.
        assert_eq!(decode(br#"{"data":{"data":{"document":"{}"},"options":{"cas":0}}}"#), None);
    }

    #[test]
    fn parts_become_as_small_as_the_server_wants() {
        assert_eq!(part_bytes(PART_BYTES, Some(256 << 10)), (252 << 10) / 4 * 3);
        assert_eq!(part_bytes(PART_BYTES, None), PART_BYTES / 2);
        // A limit that explains nothing.
        assert_eq!(part_bytes(PART_BYTES, Some(8 << 20)), PART_BYTES / 2);
        assert_eq!(part_bytes(6 << 10, Some(100)), LEAST);
        assert_eq!(part_bytes(0, None), LEAST);
    }
}
