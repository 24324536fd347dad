//! One thing of the set-up, what was found of it, and what counts as a difference.

use std::fmt;

use serde_json::{Map, Value};

use crate::openbao::Mount;

/// What a namespace has that is just being made or deleted.
pub(super) const TAINTED: &str = "tainted";

/// One thing of the set-up.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// A namespace in its parent (`None`: the root).
    Namespace { parent: Option<String>, name: String },
    /// The KV v2 mount.
    Mount(Mount),
    /// The mount of the Kubernetes login.
    Auth(Mount),
    /// Whatever is read and written at one path.
    Entry(Entry),
}

/// Something that is read and written at one path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) what: String,
    pub(super) path: String,
    /// What is to be there. An empty value (0, "", [], false) is the same as none.
    pub(super) fields: Vec<(&'static str, Value)>,
    /// What is there already stays as it is.
    pub(super) keep: bool,
}

/// What was found of a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is as it should be.
    Good,
    /// It is not there.
    Missing,
    /// It is there, and otherwise than it should be.
    Differs(Vec<Difference>),
    /// It could not be told, and why.
    Unread(String),
}

/// One thing that is otherwise than it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub field: String,
    /// What was found; not where that is long.
    pub found: Option<String>,
    /// What it should be; not where that is long.
    pub wanted: Option<String>,
}

impl Item {
    /// What it is, for a person.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Namespace { parent: None, name } => format!("the namespace {name}"),
            Self::Namespace { parent: Some(parent), name } => format!("the namespace {parent}/{name}"),
            Self::Mount(mount) => format!("the KV v2 mount {mount}"),
            Self::Auth(mount) => format!("the Kubernetes login at auth/{mount}"),
            Self::Entry(entry) => entry.what.clone(),
        }
    }
}

impl State {
    /// Whether it will be another soon.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Differs(all) if all.iter().any(|one| one.field == TAINTED))
    }
}

impl Entry {
    /// What of `found` is otherwise than it should be.
    pub(super) fn compare(&self, found: &Value) -> State {
        if self.keep {
            return State::Good;
        }
        let different = |(name, wanted): &(&'static str, Value)| {
            let found = found.get(name).unwrap_or(&Value::Null);
            (!same(wanted, found)).then(|| Difference::of(name, found, wanted))
        };
        match self.fields.iter().filter_map(different).collect::<Vec<_>>() {
            none if none.is_empty() => State::Good,
            different => State::Differs(different),
        }
    }

    pub(super) fn body(&self) -> Value {
        let fields = self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

impl Difference {
    pub(super) fn of(field: &str, found: &Value, wanted: &Value) -> Self {
        Self { field: field.to_owned(), found: short(found), wanted: short(wanted) }
    }
}

/// What OpenBao leaves out, or gives as another kind of nothing.
pub(super) fn empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        // A negative time switches off what a zero leaves to the default, which is off.
        Value::String(text) => {
            text.is_empty()
                || text == "0s"
                || text.strip_prefix('-').is_some_and(|time| time.starts_with(char::is_numeric))
        }
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn same(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (wanted, found) if empty(wanted) => empty(found),
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().all(|one| found.contains(one))
        }
        (Value::String(wanted), Value::String(found)) => wanted.trim() == found.trim(),
        (wanted, found) => wanted == found,
    }
}

/// One line of a value, where it has no more.
fn short(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) if text.is_empty() => "not set".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "not set".to_owned(),
        Value::Array(list) => list
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    };
    (text.len() <= 100 && !text.contains(char::is_control)).then_some(text)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.found, &self.wanted) {
            (Some(found), Some(wanted)) => write!(f, "{} is {found} and should be {wanted}", self.field),
            _ => write!(f, "its {} is another", self.field),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("is as it should be"),
            Self::Missing => f.write_str("is missing"),
            Self::Differs(all) => {
                f.write_str("differs: ")?;
                all.iter().enumerate().try_for_each(|(at, one)| write!(f, "{}{one}", if at == 0 { "" } else { ", " }))
            }
            Self::Unread(why) => write!(f, "cannot be told: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> Entry {
        Entry {
            what: "x".to_owned(),
            path: "x".to_owned(),
            fields: vec![
                ("glob", json!(["a/*", "b"])),
                ("period", json!(259_200)),
                ("on", json!(true)),
                ("off", json!([])),
                ("after", json!("0s")),
                ("text", json!("line\nline\n")),
                ("cert", json!("-----BEGIN")),
            ],
            keep: false,
        }
    }

    #[test]
    fn a_difference_is_what_changes_something() {
        let good = json!({"glob": ["b", "a/*"], "period": 259_200, "on": true, "text": "line\nline", "other": 1, "cert": "-----BEGIN\n"});
        assert_eq!(entry().compare(&good), State::Good);
        let mut zeros = good.clone();
        zeros["off"] = json!(null);
        zeros["after"] = json!("-1s");
        assert_eq!(entry().compare(&zeros), State::Good);
        for (field, value, says) in [
            ("glob", json!(["a/*"]), "glob is a/* and should be a/*, b"),
            ("glob", json!(["a/*", "b", "c"]), "glob is a/*, b, c and should be a/*, b"),
            ("period", json!(3600), "period is 3600 and should be 259200"),
            ("period", json!(null), "period is not set and should be 259200"),
            ("on", json!(false), "on is false and should be true"),
            ("off", json!(["x"]), "off is x and should be not set"),
            ("after", json!("1h0m0s"), "after is 1h0m0s and should be 0s"),
            ("text", json!("other"), "its text is another"),
            ("cert", json!("-----END"), "cert is -----END and should be -----BEGIN"),
        ] {
            let mut found = good.clone();
            found[field] = value;
            assert_eq!(entry().compare(&found).to_string(), format!("differs: {says}"));
        }
        let kept = Entry { keep: true, ..entry() };
        assert_eq!(kept.compare(&json!({})), State::Good);
        let State::Differs(all) = entry().compare(&json!({})) else { panic!("nothing is there") };
        assert_eq!(all.len(), 5, "{all:?}");
    }
}
