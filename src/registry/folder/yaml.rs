//! From the text of a file to documents. Errors say where and what kind of thing is wrong, never what stands there: the
//! parsers' own messages have quoted passwords.

use super::manifest::MOST_PROBLEMS;
use serde_json::Value;
use serde_yaml::{
    Error,
    options::{AliasLimits, DuplicateKeyPolicy, NonFiniteFloatPolicy},
};

/// One document of a file, or why there is none.
#[derive(Debug)]
pub(super) struct Document {
    /// From 1; empty ones do not count.
    pub(super) number: usize,
    /// Where it begins, or where it cannot be read any further.
    pub(super) line: usize,
    pub(super) content: Result<Value, String>,
}

/// The most parts of one document, a List of 10,000 resources among them.
const MAX_NODES: usize = 2_000_000;

/// Messages of the YAML scanner that are shown; each is a fixed text.
const SHOWN: [&str; 21] = [
    "simple key expected ':'",
    "simple key is no longer valid",
    "tabs disallowed in this context",
    "tabs disallowed within this context (block indentation)",
    "unexpected EOF while parsing a flow sequence",
    "unexpected EOF while parsing a flow mapping",
    "unexpected EOF while parsing a block sequence",
    "unexpected EOF while parsing a block mapping",
    "while parsing a block mapping, did not find expected key",
    "while parsing a block collection, did not find expected '-' indicator",
    "while parsing a flow mapping, did not find expected ',' or '}'",
    "while parsing a flow sequence, expected ',' or ']'",
    "while parsing a node, did not find expected node content",
    "mapping values are not allowed in this context",
    "did not find expected <document start>",
    "illegal placement of ':' indicator",
    "invalid indentation in multiline quoted scalar",
    "invalid indentation",
    "unclosed bracket",
    "unexpected character",
    "invalid escape",
];

/// The documents of a YAML file, each read for itself: a wrong one takes no other with it.
pub(super) fn documents(text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut found, mut wrong) = (Vec::new(), 0);
    for (first, chunk) in chunks(text) {
        // The file is given up by then.
        if wrong > MOST_PROBLEMS {
            break;
        }
        if is_empty(chunk) {
            continue;
        }
        let (line, content) = match serde_yaml::from_str_with_options::<Value>(chunk, options()) {
            Ok(content) => (first, Ok(content)),
            Err(error) => {
                let at = error.location().map_or(1, |location| usize::try_from(location.line()).unwrap_or(1));
                (first + at.saturating_sub(1), Err(explain(&error)))
            }
        };
        wrong += usize::from(content.is_err());
        found.push(Document { number: found.len() + 1, line, content });
    }
    found
}

/// The documents of a JSON file: one, or several after each other.
pub(super) fn json_documents(text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let line = 1 + text.get(..values.byte_offset()).unwrap_or_default().matches('\n').count();
        let Some(value) = values.next() else { break };
        let (line, content) = match value {
            Ok(value) => (line, Ok(value)),
            Err(error) => (error.line(), Err(format!("this is no valid JSON (column {})", error.column()))),
        };
        let end = content.is_err();
        found.push(Document { number: found.len() + 1, line, content });
        if end {
            break;
        }
    }
    found
}

/// As kubectl reads YAML: version 1.1, `yes` a boolean and `017` a number; a key that stands twice is an error.
fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! { max_nodes: MAX_NODES, max_events: 3 * MAX_NODES },
        alias_limits: AliasLimits::default(),
        duplicate_keys: DuplicateKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

fn explain(error: &Error) -> String {
    let what = match error.without_snippet() {
        Error::DuplicateMappingKey { .. } => Some("a key stands twice"),
        Error::UnknownAnchor { .. } => Some("'*' begins an alias of an anchor that is not there; quote the text"),
        Error::MultipleDocuments { .. } => Some("another document begins without ---"),
        Error::NonFiniteFloat { .. } => Some("this is not a number; put it in quotes if it is a text"),
        Error::Eof { .. } => Some("it ends too early"),
        Error::Budget { .. } => Some("it has too many parts; split it"),
        other => {
            let said = other.to_string();
            SHOWN.iter().find(|known| said.starts_with(**known)).copied()
        }
    };
    let what = what.unwrap_or("check the indentation, and put texts with special characters in quotes");
    format!("this is no valid YAML: {what}")
}

/// Splits at lines that begin with `---`, which are document marks wherever they stand. With the line numbers, from 1.
fn chunks(text: &str) -> Vec<(usize, &str)> {
    let mut chunks = Vec::new();
    let (mut begin, mut first, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let mark =
            line.strip_prefix("---").is_some_and(|rest| rest.trim_end().is_empty() || rest.starts_with([' ', '\t']));
        if mark && at > begin {
            chunks.push((first, &text[begin..at]));
            (begin, first) = (at, number + 1);
        }
        at += line.len();
    }
    chunks.push((first, &text[begin..]));
    chunks
}

/// Nothing but marks, comments and directives.
fn is_empty(chunk: &str) -> bool {
    chunk.lines().all(|line| {
        let text = line.strip_prefix("---").or_else(|| line.strip_prefix("...")).unwrap_or(line).trim();
        text.is_empty() || text.starts_with('#') || line.starts_with('%')
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good(text: &str) -> Vec<(usize, usize, Value)> {
        documents(text).into_iter().map(|found| (found.number, found.line, found.content.unwrap())).collect()
    }

    #[test]
    fn documents_are_split_and_numbered() {
        let text = "\u{feff}# a\n---\n---\na: 1\n--- # b\n\n%YAML 1.2\n---\nb: |\n  ---\n  x\n--- {c: 3}\n---\r\nd: 4\r\n...\n";
        let d = json!({"d": 4});
        assert_eq!(
            good(text),
            [(1, 3, json!({"a": 1})), (2, 8, json!({"b": "---\nx\n"})), (3, 12, json!({"c": 3})), (4, 13, d)]
        );
        for nothing in ["", "\n", "---\n", "# x\n---\n# y\n...\n"] {
            assert!(good(nothing).is_empty(), "{nothing:?}");
        }
        assert_eq!(good("---x: 1")[0].2, json!({"---x": 1}));
    }

    #[test]
    fn scalars_are_those_that_kubectl_reads() {
        let text = "a: yes\nb: 'yes'\nc: 010\nd: 1_000\ne: 2025-01-01\nf: ~\ng: 1e3\nh: !!str 7\n1: x\ni: &x {k: v}\nj: {<<: *x}";
        let expected = json!({"a": true, "b": "yes", "c": 8, "d": 1000, "e": "2025-01-01", "f": null, "g": 1000.0, "h": "7", "1": "x", "i": {"k": "v"}, "j": {"k": "v"}});
        assert_eq!(good(text)[0].2, expected);
    }

    #[test]
    fn a_wrong_document_is_placed_and_shows_nothing() {
        for wrong in [
            "token: hunter2: x",
            "token: \"hunter2",
            "token: *hunter2",
            "- hunter2\ntoken: x",
            "token: {hunter2",
            "token: [hunter2\nb: c",
            "hunter2: 1\nhunter2: 2",
            "token: !!int hunter2",
            "token: !!binary hunter2",
            "token: !hunter2 hunter2",
            "a:\n\ttoken: hunter2",
            "token: @hunter2",
            "token: hunter2\n  x: y",
            "token: hunter2\n...\nx: y",
            "token: !!float hunter2",
            "a: &hunter2 [*hunter2]",
            "{{ hunter2 }}",
            "token: .nan",
        ] {
            let found = documents(&format!("a: 1\n---\n{wrong}\n---\nb: 2\n"));
            assert_eq!(found.len(), 3, "{wrong:?}: {found:?}");
            assert!(found[0].content.is_ok() && found[2].content.is_ok(), "{wrong:?}: {found:?}");
            // A tag that YAML does not know is no error.
            if let Err(said) = &found[1].content {
                assert!(!said.contains("hunter2") && said.len() > 20, "{wrong:?}: {said}");
                assert!((2..=5).contains(&found[1].line), "{wrong:?}: {found:?}");
            } else {
                assert!(wrong.contains("!hunter2") || wrong.contains("{{"), "{wrong:?}: {found:?}");
            }
        }
        let found = documents("a: 1\nb: 2\n c: 3\n");
        assert_eq!((found[0].line, found[0].content.is_err()), (3, true), "{found:?}");
    }

    #[test]
    fn usual_mistakes_are_explained() {
        for (text, part) in [
            ("a: 1\nb: 2\n c: 3\n", "mapping values are not allowed"),
            ("a: b: c", "mapping values are not allowed"),
            ("a: [1\nb: 2\n", "illegal placement of ':'"),
            ("a:\n\tb: 2\n", "tabs disallowed"),
            ("a: \"x\nb: 2\n", "multiline quoted scalar"),
            ("a: 1\na: 2\n", "a key stands twice"),
            ("a: *b", "quote the text"),
            ("a: @b", "unexpected character"),
            ("- a\nb: c\n", "expected '-' indicator"),
            ("a: {b: c", "unclosed bracket"),
            ("a: x\nb\nc: d\n", "expected ':'"),
        ] {
            let said = documents(text).remove(0).content.unwrap_err();
            assert!(said.contains(part) && !said.contains('@'), "{text:?}: {said}");
        }
    }

    #[test]
    fn a_bomb_is_refused_quickly() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let alias = format!("*a{}", n - 1);
            text += &format!("a{n}: &a{n} [{}]\n", [alias.as_str(); 9].join(", "));
        }
        assert!(documents(&text)[0].content.is_err());
        assert!(documents(&"[".repeat(100_000))[0].content.is_err());
        assert!(documents(&"{a: ".repeat(100_000))[0].content.is_err());
        assert!(json_documents(&"[".repeat(100_000))[0].content.is_err());
    }

    #[test]
    fn json_files_may_hold_several() {
        let found = json_documents("{\"a\": 1}\n{\"b\":\n2} {\"c\": hunter2}");
        let good: Vec<_> = found.iter().filter_map(|f| f.content.as_ref().ok().map(|v| (f.line, v.clone()))).collect();
        assert_eq!(good, [(1, json!({"a": 1})), (1, json!({"b": 2}))]);
        assert!(found[2].line == 3 && found[2].content.as_ref().is_err_and(|said| !said.contains("hunter2")));
        assert!(json_documents(" \n").is_empty());
    }
}
