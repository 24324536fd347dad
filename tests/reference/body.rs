//! What serde_json makes of a state body, to hold the checker against: shared by `tests/body_checker.rs` and the fuzz
//! target. Slow and without bounds.
//!
//! Where the two differ on purpose: the checker ends nesting at 10,000 while serde_json, which only skips values here,
//! has no end; serde_json will not decode half of a surrogate pair, so a string that has one is only checked for being
//! there. Duplicate keys are the same in both because the reference keeps all and takes the last.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tofustate::store::{BodyError, Checker, MAX_DEPTH, StateFacts};

/// The checker's result for a body that comes in pieces of these sizes, over and over.
pub(crate) fn check(body: &[u8], sizes: &[usize]) -> Result<StateFacts, BodyError> {
    let mut checker = Checker::new();
    let mut rest = body;
    for size in sizes.iter().cycle() {
        if rest.is_empty() || sizes.iter().all(|size| *size == 0) {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        checker.push(piece)?;
        rest = after;
    }
    checker.push(rest)?;
    checker.finish()
}

/// How the checker's result is not what serde_json makes of the body.
pub(crate) fn disagreement(body: &[u8], result: &Result<StateFacts, BodyError>) -> Option<String> {
    let wrong = |expected: &str| Some(format!("{expected}, not {result:?}"));
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        // The first fault is told, so what comes before the bad bytes may be it, but a good end cannot come.
        Err(e) => {
            return match result {
                Err(BodyError::InvalidUtf8 { offset }) if *offset != e.valid_up_to() as u64 => wrong("another offset"),
                Ok(_) | Err(BodyError::NoSerial | BodyError::BadSerial | BodyError::Empty) => wrong("no UTF-8"),
                Err(_) => None,
            };
        }
    };
    if let Err(BodyError::TooDeep) = result {
        return (deepest(text) <= MAX_DEPTH).then(|| format!("not too deep: {}", deepest(text)));
    }
    let begins = text.trim_start_matches([' ', '\t', '\r', '\n']).bytes().next();
    match (serde_json::from_str::<Top>(text), begins) {
        (Ok(top), _) => compare(&top, result),
        (Err(_), None) => (*result != Err(BodyError::Empty)).then(|| format!("empty, not {result:?}")),
        (Err(_), Some(b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')) => {
            (*result != Err(BodyError::NotObject)).then(|| format!("no object, not {result:?}"))
        }
        (Err(e), Some(_)) => match result {
            // serde_json calls a number that ends early a bad one.
            Err(BodyError::Truncated) if e.is_eof() || text.ends_with(['-', '+', '.', 'e', 'E']) => None,
            Err(BodyError::NotJson { .. } | BodyError::TrailingData { .. }) if !e.is_eof() => None,
            // serde_json asks for four bytes before it looks at them.
            Err(BodyError::NotJson { offset, .. }) if in_hex(text, *offset) => None,
            _ => wrong(&e.to_string()),
        },
    }
}

/// Whether a `\uXXXX` is under way.
fn in_hex(text: &str, offset: u64) -> bool {
    let before = usize::try_from(offset).ok().and_then(|offset| text.get(..offset)).unwrap_or_default();
    let digits = before.bytes().rev().take_while(u8::is_ascii_hexdigit).count();
    digits < 4 && before.get(..before.len() - digits).is_some_and(|escape| escape.ends_with("\\u"))
}

fn compare(top: &Top, result: &Result<StateFacts, BodyError>) -> Option<String> {
    let serial = top.last("serial").map(serde_json::from_str::<u64>);
    let expected = match serial {
        None => Err(BodyError::NoSerial),
        Some(Err(_)) => Err(BodyError::BadSerial),
        Some(Ok(serial)) => Ok(StateFacts {
            serial,
            lineage: string(top.last("lineage"), result.as_ref().ok().and_then(|f| f.lineage.clone())),
            tool_version: string(
                top.last("terraform_version"),
                result.as_ref().ok().and_then(|f| f.tool_version.clone()),
            ),
            resources: top
                .last("resources")
                .and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw).ok())
                .map(|elements| elements.len() as u64),
            encrypted: top.last("encrypted_data").is_some() && top.last("encryption_version").is_some(),
        }),
    };
    (*result != expected).then(|| format!("{expected:?}, not {result:?}"))
}

/// The string that a value is, cut; or what the checker has for one that serde_json does not decode.
fn string(raw: Option<&str>, seen: Option<String>) -> Option<String> {
    let raw = raw.filter(|raw| raw.starts_with('"'))?;
    match serde_json::from_str::<String>(raw) {
        Ok(text) => Some(text.chars().take(256).collect()),
        Err(_) => Some(seen.unwrap_or_else(|| "a string".to_owned())),
    }
}

fn deepest(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The keys and values of the top level, undecoded, in order.
struct Top<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'a> Top<'a> {
    fn last(&self, key: &str) -> Option<&'a str> {
        let is_key = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).is_ok_and(|k| k == key);
        self.0.iter().rev().find(|(raw, _)| is_key(raw)).map(|(_, value)| value.get())
    }
}

impl<'de> Deserialize<'de> for Top<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Top<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Top(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
