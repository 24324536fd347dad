//! Every CEL rule and every bound of the spec: what breaks it, and what it says.

use serde_json::{Value, json};

use crate::admission::{Checker, SCHEMA, resource};

/// Specs that are refused, with a part of what is said.
fn refused() -> Vec<(Value, &'static str)> {
    let with = |name: &str, value: Value| {
        let mut spec = json!({"path": "team/net"});
        spec[name] = value;
        spec
    };
    let access = |name: &str, key: &str| {
        with("access", json!([{"name": name, "role": "ReadOnly", "secretRef": {"name": "s", "key": key}}]))
    };
    vec![
        (json!({}), "path: required"),
        (json!({"path": null}), "path: required"),
        (json!({"path": 5}), "path: wrong type"),
        (json!({"path": ""}), "path: length"),
        (json!({"path": "a".repeat(201)}), "path: length"),
        (json!({"path": "Team/net"}), "write 1 to 8 segments"),
        (json!({"path": "1/2/3/4/5/6/7/8/9"}), "write 1 to 8 segments"),
        (json!({"path": "a..b"}), "'..' is not allowed"),
        (json!({"path": "lock"}), "which lock URLs use"),
        (json!({"path": "a/lock"}), "which lock URLs use"),
        (json!({"path": "a/b.lock"}), "which lock URLs use"),
        (with("accessTokenSecretRef", json!({})), "accessTokenSecretRef.name: required"),
        (with("accessTokenSecretRef", json!({"name": "Under_score"})), "write the name of a Secret"),
        (with("accessTokenSecretRef", json!({"name": "a".repeat(254)})), "accessTokenSecretRef.name: length"),
        (with("accessTokenSecretRef", json!({"name": "s", "key": "a b"})), "write a key of a Secret"),
        (with("accessTokenSecretRef", json!({"name": "s", "key": "..a"})), "write a key of a Secret"),
        (with("accessTokenSecretRef", json!({"name": "s", "key": ""})), "accessTokenSecretRef.key: length"),
        (with("accessTokenSecretRef", json!({"name": "net-tofustate"})), "names <name>-tofustate"),
        (
            json!({"path": "a", "accessTokenSecretRef": {"name": "s"}, "connectionSecretName": "s"}),
            "name the same Secret",
        ),
        (with("connectionSecretName", json!("-a")), "write the name of a Secret"),
        (with("connectionSecretName", json!("")), "connectionSecretName: length"),
        (access("a.b", "k"), "write a name of lower-case letters"),
        (access(&"a".repeat(64), "k"), "access[0].name: length"),
        (access("a", "/"), "write a key of a Secret"),
        (with("access", json!([{"name": "a", "role": "Admin", "secretRef": {"name": "s"}}])), "role: not one of"),
        (with("access", json!([{"name": "a", "role": "ReadOnly"}])), "secretRef: required"),
        (with("access", json!([{"name": "a", "secretRef": {"name": "s"}}])), "role: required"),
        (
            with("access", json!(vec![json!({"name": "a", "role": "ReadOnly", "secretRef": {"name": "s"}}); 2])),
            "access: duplicate",
        ),
        (
            with(
                "access",
                (0..33)
                    .map(|n| json!({"name": n.to_string(), "role": "ReadOnly", "secretRef": {"name": "s"}}))
                    .collect(),
            ),
            "access: too many",
        ),
        (with("retention", json!({"maxVersions": 0})), "maxVersions: out of bounds"),
        (with("retention", json!({"maxVersions": 201})), "maxVersions: out of bounds"),
        (with("retention", json!({"maxBytes": "1Ei"})), "write a size such as"),
        (with("retention", json!({"maxBytes": "0Gi"})), "at least one byte"),
        (with("retention", json!({"maxBytes": 5})), "maxBytes: wrong type"),
        (with("retention", json!({"maxAge": "30d"})), "write a duration such as"),
        (with("retention", json!({"maxAge": "0h0m"})), "write a duration above zero"),
        (with("retention", json!({"deletionPolicy": "Keep"})), "deletionPolicy: not one of"),
        (with("lock", json!({"staleAfter": "soon"})), "write a duration such as"),
        (with("lock", json!({"staleAfter": "0s"})), "write a duration above zero"),
        (with("lock", json!({"staleAction": "Release"})), "needs staleAfter, the age"),
        (with("lock", json!({"staleAction": "Release", "staleAfter": "59m59s"})), "needs a staleAfter of 1h or more"),
        (with("lock", json!({"staleAction": "Notify"})), "staleAction: not one of"),
        (with("lock", json!({"clientForceUnlock": "Ask"})), "clientForceUnlock: not one of"),
        (with("lock", json!({"required": "yes"})), "required: wrong type"),
        (with("maxSize", json!("lots")), "write a size such as"),
        (with("maxSize", json!("0")), "at least one byte"),
        (with("suspend", json!("true")), "suspend: wrong type"),
        (with("no-such-field", json!(1)), "unknown field"),
    ]
}

#[test]
fn what_is_wrong_is_refused_with_a_reason() {
    let whole = Checker::whole();
    for (spec, said) in refused() {
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
    let all = json!({
        "path": "team/net",
        "accessTokenSecretRef": {"name": "mine", "key": "password"},
        "connectionSecretName": "net.out",
        "access": [
            {"name": "reader", "role": "ReadOnly", "secretRef": {"name": "r"}},
            {"name": "ci-2", "role": "ReadWrite", "secretRef": {"name": "r", "key": "ci"}},
        ],
        "retention": {"maxVersions": 200, "maxBytes": "1.5Gi", "maxAge": "720h", "deletionPolicy": "Delete"},
        "lock": {"required": true, "staleAfter": "1h", "staleAction": "Release", "clientForceUnlock": "Deny"},
        "maxSize": "1048576",
        "suspend": true,
    });
    assert_eq!(said(all), Ok(()));
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
    for (spec, _) in refused() {
        let said = whole.admit(&resource(spec), None).unwrap_err().join("\n");
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
