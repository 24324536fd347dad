//! How another service may have kept a state in one KV v2 entry. Pure.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use crate::store::{BodyError, Checker, StateFacts};

/// How many names of fields a message has, and how much of each.
const NAMES: usize = 10;
const NAME: usize = 40;
/// From here on a float has no room for every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A state as it was found in an entry. It has no `Debug`: a state is secret.
pub(super) struct Content {
    /// The state's bytes.
    pub(super) body: Vec<u8>,
    pub(super) facts: StateFacts,
    pub(super) form: Form,
}

/// How the state stood in the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// The state's text in this field: its bytes are those that a client sent.
    Text(String),
    /// The same in base64.
    Base64(String),
    /// As JSON in JSON, in this field, or as the entry's own fields. OpenBao read it as such and wrote it anew.
    Nested {
        /// The field.
        field: Option<String>,
        /// How many of its numbers OpenBao may have rounded.
        large: usize,
    },
}

/// Why an entry is not adopted. Names and types of its fields, no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the entry has {found}{why}. A state is adopted from one field with the state's JSON as a text, as base64 of that or as an object, or from an entry whose fields are those of a state (version, serial, lineage, ...)"
)]
pub struct BadContent {
    found: String,
    why: String,
}

pub(super) type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// What the JSON of an entry holds.
///
/// # Errors
/// Nothing that is known for a state.
pub(super) fn read(data: &str) -> Result<Content, BadContent> {
    let Some(fields) = fields(data) else {
        return Err(BadContent { found: format!("no fields but {}", kind(data)), why: String::new() });
    };
    let bad = |why: String| BadContent { found: describe(&fields), why };
    if like_a_state(&fields) {
        return nested(data, None).map_err(|error| bad(format!(", and is no state: {error}")));
    }
    let mut all = fields.iter();
    let (Some((name, value)), None) = (all.next(), all.next()) else { return Err(bad(String::new())) };
    if let Ok(text) = serde_json::from_str::<String>(value.get()) {
        return text_of(name, text).map_err(|why| bad(format!(", whose text is no state: {why}")));
    }
    match self::fields(value.get()) {
        Some(inner) if like_a_state(&inner) => {
            nested(value.get(), Some(name)).map_err(|error| bad(format!(", which is no state: {error}")))
        }
        Some(inner) => Err(bad(format!(", and that has {}", describe(&inner)))),
        None => Err(bad(String::new())),
    }
}

fn text_of(name: &str, text: String) -> Result<Content, String> {
    let name = shorten(name);
    let as_text = match check(text.as_bytes()) {
        Ok(facts) => return Ok(Content { body: text.into_bytes(), facts, form: Form::Text(name) }),
        Err(error) => error,
    };
    // Nothing would be base64 of nothing.
    let decoded = STANDARD.decode(text.trim()).ok().filter(|body| !body.is_empty());
    let Some(body) = decoded else { return Err(as_text.to_string()) };
    match check(&body) {
        Ok(facts) => Ok(Content { body, facts, form: Form::Base64(name) }),
        Err(_) if body.starts_with(&[0x1f, 0x8b]) => Err("it is base64 of something packed by gzip".to_owned()),
        Err(error) => Err(format!("it is base64, and of that {error}")),
    }
}

fn nested(text: &str, field: Option<&str>) -> Result<Content, BodyError> {
    let facts = check(text.as_bytes())?;
    let form = Form::Nested { field: field.map(shorten), large: large_numbers(text) };
    Ok(Content { body: text.as_bytes().to_vec(), facts, form })
}

fn check(body: &[u8]) -> Result<StateFacts, BodyError> {
    let mut checker = Checker::new();
    checker.push(body)?;
    checker.finish()
}

pub(super) fn fields(text: &str) -> Option<Fields<'_>> {
    serde_json::from_str(text).ok()
}

/// Whether these are the fields of a state. An encrypted one has no `version`.
fn like_a_state(fields: &Fields<'_>) -> bool {
    fields.contains_key("serial")
        && ["version", "lineage", "encrypted_data"].iter().any(|field| fields.contains_key(*field))
}

/// How many numbers of a JSON text are so large that a float may be another one.
fn large_numbers(text: &str) -> usize {
    let (mut found, mut bytes) = (0, text.bytes().enumerate().peekable());
    while let Some((start, byte)) = bytes.next() {
        match byte {
            b'"' => {
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'-' | b'0'..=b'9' => {
                let mut end = start + 1;
                while let Some((at, _)) = bytes.next_if(|(_, byte)| b"+-.eE0123456789".contains(byte)) {
                    end = at + 1;
                }
                let number = text.get(start..end).and_then(|number| number.parse::<f64>().ok());
                found += usize::from(number.is_some_and(|number| number.abs() >= EXACT));
            }
            _ => {}
        }
    }
    found
}

/// The names and types of fields.
fn describe(fields: &Fields<'_>) -> String {
    if fields.is_empty() {
        return "no fields".to_owned();
    }
    let told = fields.iter().take(NAMES).map(|(name, value)| format!("{}: {}", shorten(name), kind(value.get())));
    let more = fields.len().saturating_sub(NAMES);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let word = if fields.len() == 1 { "the one field" } else { "the fields" };
    format!("{word} [{}{more}]", told.collect::<Vec<_>>().join(", "))
}

/// What type a JSON value is of.
fn kind(text: &str) -> &'static str {
    match text.trim_start().bytes().next() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "text",
        Some(b't' | b'f') => "boolean",
        Some(b'n') | None => "null",
        Some(_) => "number",
    }
}

/// What another wrote, so that it neither fills a message nor does anything to a terminal.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(NAME).flat_map(char::escape_debug).collect()
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(field) => write!(f, "text in the field {field}"),
            Self::Base64(field) => write!(f, "base64 in the field {field}"),
            Self::Nested { field: Some(field), .. } => write!(f, "nested JSON in the field {field}"),
            Self::Nested { field: None, .. } => f.write_str("nested JSON"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STATE: &str = "{\n  \"version\": 4,\n  \"serial\": 7, \"lineage\": \"l\\u003c\", \"secret\": \"hunter2\"}\n";

    fn found(data: &serde_json::Value) -> (Vec<u8>, Form, u64) {
        let content = read(&data.to_string()).map_err(|error| error.to_string()).ok().unwrap();
        (content.body, content.form, content.facts.serial)
    }

    #[test]
    fn a_text_is_taken_byte_for_byte() {
        let form = Form::Text("state".to_owned());
        assert_eq!(found(&json!({ "state": STATE })), (STATE.into(), form, 7));
        let encrypted = r#"{"serial":1,"lineage":"l","meta":{},"encrypted_data":"x","encryption_version":"v0"}"#;
        let form = Form::Text("value".to_owned());
        assert_eq!(found(&json!({ "value": encrypted })), (encrypted.into(), form, 1));
        // What our own field is called says nothing.
        assert_eq!(found(&json!({ "document": STATE })).0, STATE.as_bytes());
    }

    #[test]
    fn base64_is_taken() {
        let form = Form::Base64("data".to_owned());
        for end in ["", "\n"] {
            assert_eq!(found(&json!({ "data": STANDARD.encode(STATE) + end })), (STATE.into(), form.clone(), 7));
        }
    }

    #[test]
    fn a_nested_state_is_taken_as_openbao_has_it() {
        let text = r#"{"lineage":"l","outputs":{"9007199254740993":"-99999999999999999999"},"serial":7,"version":4}"#;
        let nested = |field: Option<&str>, large| Form::Nested { field: field.map(str::to_owned), large };
        for (data, form) in
            [(text.to_owned(), nested(None, 0)), (format!("{{\"state\": {text}}}"), nested(Some("state"), 0))]
        {
            let content = read(&data).ok().unwrap();
            assert_eq!((content.body, content.form), (text.into(), form));
        }
        let text = r#"{"a":[9007199254740992,-9007199254740993,1e300,9007199254740991,-1.5e3,"\"1e300"],"serial":7,"version":4}"#;
        assert_eq!(read(text).ok().unwrap().form, nested(None, 3));
    }

    #[test]
    fn what_is_no_state_is_named_without_its_values() {
        let packed = STANDARD.encode([0x1f, 0x8b, 8, 0]);
        for (data, says) in [
            (json!({}), "has no fields."),
            (json!({ "a": "hunter2", "b": 7 }), "the fields [a: text, b: number]."),
            (json!({ "state": STATE, "md5": "x" }), "the fields [md5: text, state: text]."),
            (json!({ "state": "hunter2!" }), "[state: text], whose text is no state: the body is not JSON"),
            (json!({ "state": "" }), "whose text is no state: the body is empty"),
            (json!({ "state": r#"{"version":4}"# }), "no \"serial\""),
            (json!({ "state": STANDARD.encode("hunter2") }), "it is base64, and of that the body is not JSON"),
            (json!({ "state": packed }), "packed by gzip"),
            (json!({ "state": [STATE] }), "the one field [state: array]."),
            (json!({ "state": null }), "the one field [state: null]."),
            (
                json!({ "state": { "x": true } }),
                "the one field [state: object], and that has the one field [x: boolean]",
            ),
            (json!({ "version": 4, "serial": -7, "x": "hunter2" }), ", and is no state: the body's \"serial\""),
            (json!({ "state": { "version": 4, "serial": 1.5 } }), ", which is no state: the body's \"serial\""),
            (json!({ "serial": 7 }), "the one field [serial: number]."),
            (json!({ "\u{1b}[2J": 7 }), "[\\u{1b}[2J: number]"),
        ] {
            let error = read(&data.to_string()).err().unwrap().to_string();
            assert!(error.contains(says) && !error.contains("hunter2"), "{error}");
            assert!(error.contains("A state is adopted from"), "{error}");
        }
        let many: serde_json::Map<_, _> = (0..12).map(|n| (format!("{n}{}", "x".repeat(60)), json!(1))).collect();
        let error = read(&json!(many).to_string()).err().unwrap().to_string();
        assert!(error.contains(", and 2 more]") && !error.contains(&"x".repeat(41)), "{error}");
        assert!(read("[7]").err().unwrap().to_string().contains("no fields but array"));
    }
}
