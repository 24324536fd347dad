//! Secrets as manifests, and what is said of a value that is to be a credential. Nothing of a value is ever in a message.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::report::{Problem, Reason, Severity};
use crate::crd::{Violation, wrong_type};
use crate::registry::{
    Redacted, WEAK_TOKEN,
    token::{self, NoToken},
};

/// A Secret: its values by key, `stringData` over `data`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SecretManifest {
    values: BTreeMap<String, Redacted<Vec<u8>>>,
}

impl SecretManifest {
    /// Reads what the API server would take.
    pub(super) fn read(fields: &Map<String, Value>) -> Result<Self, Vec<Violation>> {
        let mut wrong = Vec::new();
        let mut values = BTreeMap::new();
        let mut entries = |group: &str, decode: fn(&str) -> Option<Vec<u8>>| {
            let entries = match fields.get(group) {
                None | Some(Value::Null) => return,
                Some(Value::Object(entries)) => entries,
                Some(other) => return wrong.push(violation(group, wrong_type("object", other))),
            };
            for (key, value) in entries {
                let field = format!("{group}.{key}");
                match value {
                    Value::Null => drop(values.insert(key.clone(), Redacted::default())),
                    Value::String(text) => match decode(text) {
                        Some(bytes) => drop(values.insert(key.clone(), Redacted::from(bytes))),
                        None => {
                            let message = "this is not base64: encode the value, or write it as it is under stringData";
                            wrong.push(violation(&field, message.to_owned()));
                        }
                    },
                    other => wrong.push(violation(&field, wrong_type("string", other))),
                }
            }
        };
        entries("data", |text| STANDARD.decode(text.replace(['\r', '\n'], "")).ok());
        entries("stringData", |text| Some(text.as_bytes().to_owned()));
        for name in fields.keys() {
            if !["apiVersion", "kind", "metadata", "data", "stringData", "type", "immutable"].contains(&name.as_str()) {
                wrong.push(violation(name, "unknown field; a Secret has data and stringData".to_owned()));
            }
        }
        if wrong.is_empty() { Ok(Self { values }) } else { Err(wrong) }
    }

    /// The credential under a key, without the spaces and line breaks around it, and what is to be said about it.
    pub(super) fn token(&self, key: &str) -> Result<(Redacted<String>, Vec<Problem>), Problem> {
        let value = self.values.get(key);
        let value = value.ok_or_else(|| {
            Problem::error(
                Reason::SecretKeyNotFound,
                format!("the Secret has no key {key:?}: add it to data or stringData"),
            )
        })?;
        check(value.expose(), key)
    }
}

fn violation(field: &str, message: String) -> Violation {
    Violation { field: field.to_owned(), message }
}

/// The value of `key` as a token, without the white space around it, and what is to be said of it.
pub(super) fn check(value: &[u8], key: &str) -> Result<(Redacted<String>, Vec<Problem>), Problem> {
    let read = token::read(value).map_err(|wrong| {
        let reason = if wrong == NoToken::Empty { Reason::SecretKeyNotFound } else { Reason::InvalidToken };
        Problem::error(reason, format!("the value of {key:?} {wrong}"))
    })?;
    let mut notes = Vec::new();
    if read.trimmed {
        let message = format!(
            "the spaces and line breaks around the value of {key:?} are not part of the token; kubectl create secret --from-file leaves one"
        );
        notes.push(Problem::new(Severity::Note, Reason::TokenTrimmed, message));
    }
    if read.weak {
        let message = format!(
            "the value of {key:?} is shorter than {WEAK_TOKEN} characters and can be guessed: write a longer one"
        );
        notes.push(Problem::new(Severity::Warning, Reason::WeakToken, message));
    }
    Ok((read.token, notes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<SecretManifest, Vec<String>> {
        SecretManifest::read(value.as_object().unwrap())
            .map_err(|wrong| wrong.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn both_groups_are_read() {
        let secret = read(&json!({"data": {"a": "aHVudGVy\nMg==", "b": "eA==", "n": null}, "stringData": {"b": "plain"}, "type": "Opaque"})).unwrap();
        assert_eq!(secret.token("a").unwrap().0.expose(), "hunter2");
        assert_eq!(secret.token("b").unwrap().0.expose(), "plain");
        assert_eq!(secret.token("n").unwrap_err().reason, Reason::SecretKeyNotFound);
        assert_eq!(secret.token("c").unwrap_err().reason, Reason::SecretKeyNotFound);
        assert!(!format!("{secret:?}").contains("plain"));
    }

    #[test]
    fn wrong_values_are_named_and_not_shown() {
        let wrong =
            read(&json!({"data": {"a": "hunter2!", "b": 7777}, "stringData": {"c": true}, "hunter3": 1, "sops": {}}));
        let said = wrong.unwrap_err();
        assert_eq!(said.len(), 5, "{said:?}");
        assert!(said[1].contains("data.b: this must be of type string and is a number; put it in quotes"), "{said:?}");
        assert!(said.iter().all(|line| !line.contains("hunter2") && !line.contains("7777")), "{said:?}");
        assert_eq!(read(&json!({"data": "hunter2"})).unwrap_err().len(), 1);
    }

    #[test]
    fn tokens_are_checked() {
        let reasons = |value: &str| -> Result<Vec<Reason>, Reason> {
            let checked = check(value.as_bytes(), "token");
            checked.map(|(_, notes)| notes.iter().map(|note| note.reason).collect()).map_err(|refused| refused.reason)
        };
        let long = "x".repeat(WEAK_TOKEN);
        assert_eq!(reasons(&long), Ok(vec![]));
        assert_eq!(reasons(&format!("{long}\n")), Ok(vec![Reason::TokenTrimmed]));
        assert_eq!(reasons(" short"), Ok(vec![Reason::TokenTrimmed, Reason::WeakToken]));
        assert_eq!(reasons(&"ä".repeat(WEAK_TOKEN)), Ok(vec![]));
        assert_eq!(reasons(" \n"), Err(Reason::SecretKeyNotFound));
        assert_eq!(reasons(&format!("{long}\n{long}")), Err(Reason::InvalidToken));
        assert_eq!(reasons(&format!("{long}\0")), Err(Reason::InvalidToken));
        assert_eq!(reasons(&"x".repeat(token::MAX_TOKEN + 1)), Err(Reason::InvalidToken));
        assert_eq!(check(&[0xff; 30], "token").unwrap_err().reason, Reason::InvalidToken);
    }
}
