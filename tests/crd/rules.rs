//! Every CEL rule and every bound of the spec: what breaks it, and what it says.

use serde_json::{Value, json};

use crate::{
    admission::{Checker, SCHEMA, resource},
    cases::{everything, refused},
};

#[test]
fn what_is_wrong_is_refused_with_a_reason() {
    let whole = Checker::whole();
    for case in refused() {
        let (spec, said) = (case.spec, case.said);
        let by_a_rule = said == case.server;
        assert_eq!(
            SCHEMA.to_string().contains(said),
            by_a_rule,
            "{said}: an API server repeats the words of rules alone"
        );
        let wrong = whole.admit(&resource(spec.clone()), None).expect_err(&spec.to_string());
        assert!(wrong.iter().any(|w| w.contains(said)), "{spec}\n{wrong:#?}\nnot: {said}");
        assert!(!wrong.iter().any(|w| w.contains("overload") || w.contains("rror")), "{spec}\n{wrong:#?}");
    }
}

#[test]
fn a_malformed_duration_is_told_once_and_not_compared() {
    let spec = json!({"path": "a", "lock": {"staleAction": "Release", "staleAfter": "a day"}});
    let wrong = Checker::whole().admit(&resource(spec), None).unwrap_err();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
}

#[test]
fn a_long_name_needs_a_name_for_the_connection_secret() {
    let mut object = resource(json!({"path": "a"}));
    for (length, admitted) in [(243, true), (244, false)] {
        object["metadata"]["name"] = "n".repeat(length).into();
        assert_eq!(Checker::whole().admit(&object, None).is_ok(), admitted, "{length}");
    }
    object["spec"]["connectionSecretName"] = "s".into();
    assert!(Checker::whole().admit(&object, None).is_ok());
}

#[test]
fn the_path_cannot_be_changed_and_everything_else_can() {
    let whole = Checker::whole();
    let old = whole.admit(&resource(json!({"path": "team/net"})), None).unwrap();
    let said = |new: Value| whole.admit(&resource(new), Some(&old)).map(|_| ()).map_err(|wrong| wrong.join("; "));
    assert!(said(json!({"path": "team/other"})).unwrap_err().contains("the path cannot be changed"));
    assert!(said(json!({})).unwrap_err().contains("path: required"));
    assert_eq!(said(everything("team/net")), Ok(()));
}

/// A rule that no case above breaks is a rule that nobody knows to work.
#[test]
fn every_rule_is_broken_by_some_case() {
    fn messages(schema: &Value, found: &mut Vec<String>) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            found.push(rule["message"].as_str().expect("a rule without a message").to_owned());
        }
        for child in schema["properties"].as_object().into_iter().flatten().map(|(_, p)| p).chain(schema.get("items")) {
            messages(child, found);
        }
    }
    let mut unbroken = Vec::new();
    messages(&SCHEMA["properties"]["spec"], &mut unbroken);
    messages(&json!({"x-kubernetes-validations": SCHEMA["x-kubernetes-validations"]}), &mut unbroken);
    assert!(unbroken.len() > 15, "{unbroken:?}");
    assert!(unbroken.iter().all(|m| !m.contains('\n')));
    let whole = Checker::whole();
    for case in refused() {
        let said = whole.admit(&resource(case.spec), None).unwrap_err().join("\n");
        unbroken.retain(|message| !said.contains(message.as_str()));
    }
    // These two have tests of their own above.
    unbroken.retain(|m| !m.contains("path cannot be changed") && !m.contains("metadata.name has more than"));
    assert_eq!(unbroken, Vec::<String>::new());
}

/// Kubernetes estimates what a rule can cost at most and refuses the whole definition when that is too much: every string
/// that a rule reads needs a maximum length, every list a maximum size.
#[test]
fn what_rules_read_is_bounded() {
    fn walk(way: &str, schema: &Value, ruled: bool) {
        let ruled = ruled || schema["x-kubernetes-validations"].is_array();
        if ruled && schema["type"] == "string" && schema["enum"].is_null() {
            assert!(schema["maxLength"].is_u64(), "{way}: no maxLength");
        }
        if ruled && schema["type"] == "array" {
            assert!(schema["maxItems"].is_u64(), "{way}: no maxItems");
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{way}.{name}"), property, ruled);
        }
        if let Some(items) = schema.get("items") {
            walk(&format!("{way}[]"), items, ruled);
        }
    }
    walk(".spec", &SCHEMA["properties"]["spec"], false);
    // The rules of the status read only these.
    let status = &SCHEMA["properties"]["status"]["properties"];
    assert!(status["headEpoch"]["maxLength"].is_u64() && status["headRevision"]["type"] == "integer");
}
