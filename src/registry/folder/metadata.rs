//! What the API server would not take in the `metadata` of any kind.

use serde_json::{Map, Value};

use crate::crd::{Violation, wrong_type};

/// What the API server would not take in `metadata` beside the name and the namespace.
pub(super) fn faults(metadata: &Map<String, Value>) -> Vec<Violation> {
    const KNOWN: [&str; 15] = [
        "name",
        "namespace",
        "labels",
        "annotations",
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "ownerReferences",
        "finalizers",
        "managedFields",
        "selfLink",
    ];
    let mut wrong = Vec::new();
    let mut fault = |field: String, message: String| wrong.push(Violation { field, message });
    for (name, value) in metadata {
        match (name.as_str(), value) {
            ("labels" | "annotations", Value::Object(entries)) => {
                for (key, value) in entries.iter().filter(|(_, value)| !value.is_string() && !value.is_null()) {
                    fault(format!("metadata.{name}[{key}]"), wrong_type("string", value));
                }
            }
            ("labels" | "annotations", Value::Null) => {}
            ("labels" | "annotations", other) => fault(format!("metadata.{name}"), wrong_type("object", other)),
            (known, _) if KNOWN.contains(&known) => {}
            (unknown, _) => {
                let known = "unknown field; known here: name, namespace, labels, annotations".to_owned();
                fault(format!("metadata.{}", unknown.chars().take(80).collect::<String>()), known);
            }
        }
    }
    wrong
}
