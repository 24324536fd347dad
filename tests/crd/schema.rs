//! The shape of the definition: names, columns, defaults, formats, docs, and that the committed copy is this one.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use tofustate::crd::{self, TofuStateBackend, conditions};

use crate::admission::{Checker, SCHEMA, resource};

/// Every node of the schema under the way to it, such as `.spec.access[].name`.
fn nodes() -> BTreeMap<String, Value> {
    fn walk(at: &str, schema: &Value, found: &mut BTreeMap<String, Value>) {
        found.insert(at.to_owned(), schema.clone());
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{at}.{name}"), property, found);
        }
        if schema["items"].is_object() {
            walk(&format!("{at}[]"), &schema["items"], found);
        }
    }
    let mut found = BTreeMap::new();
    walk("", &SCHEMA, &mut found);
    found
}

/// The ways to all nodes of which this holds.
fn ways(holds: impl Fn(&Value) -> bool) -> Vec<String> {
    nodes().into_iter().filter(|(_, node)| holds(node)).map(|(way, _)| way).collect()
}

#[test]
fn the_committed_copy_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/crds/tofustates.tofustate.io.yaml");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == crd::yaml().unwrap(), "{path} is not what src/crd says; run `make crds`");
}

#[test]
fn the_yaml_says_what_the_definition_says() {
    let read: CustomResourceDefinition = serde_yaml::from_str(&crd::yaml().unwrap()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), serde_json::to_value(crd::definition()).unwrap());
}

#[test]
fn names_columns_and_selectable_fields() {
    let crd = serde_json::to_value(crd::definition()).unwrap();
    assert_eq!(crd["metadata"]["name"], "tofustates.tofustate.io");
    assert_eq!(
        crd["spec"]["names"],
        json!({"kind": "TofuStateBackend", "plural": "tofustates", "singular": "tofustatebackend",
               "shortNames": ["tofustatebackends", "tofustate", "tsb"], "categories": ["tofu"]})
    );
    assert_eq!(crd["spec"]["scope"], "Namespaced");
    let version = &crd["spec"]["versions"][0];
    assert_eq!(version["name"], "v1alpha1");
    assert_eq!(version["subresources"], json!({"status": {}}));
    assert_eq!(version["selectableFields"], json!([{"jsonPath": ".spec.path"}, {"jsonPath": ".status.locked"}]));

    let known = nodes();
    let mut columns = Vec::new();
    for column in version["additionalPrinterColumns"].as_array().unwrap() {
        let (name, path) = (column["name"].as_str().unwrap(), column["jsonPath"].as_str().unwrap());
        columns.push((column["priority"].as_i64().unwrap_or(0), name));
        let way = path.replace(r#"[?(@.type=="Ready")]"#, "[]");
        if way != ".metadata.creationTimestamp" {
            let of = if column["type"] == "date" { "string" } else { column["type"].as_str().unwrap() };
            assert_eq!(known.get(&way).expect(path)["type"], of, "{path}");
        }
    }
    let of = |priority| columns.iter().filter(|c| c.0 == priority).map(|c| c.1).collect::<Vec<_>>();
    assert_eq!(of(0), ["Path", "Locked By", "Operation", "Since", "Serial", "Ready", "Age"]);
    assert_eq!(of(1), ["Lock ID", "Size", "Versions", "Endpoint", "Message"]);
}

#[test]
fn the_schema_is_structural() {
    for (way, node) in nodes() {
        assert!(node["type"].is_string(), "{way}: no type");
        for key in [
            "$ref",
            "nullable",
            "anyOf",
            "oneOf",
            "allOf",
            "not",
            "additionalProperties",
            "x-kubernetes-preserve-unknown-fields",
        ] {
            assert_eq!(node.get(key), None, "{way}: {key}");
        }
        let format = node["format"].as_str().unwrap_or("-");
        let expected = if node["type"] == "integer" { ["int32", "int64"] } else { ["-", "date-time"] };
        assert!(expected.contains(&format), "{way}: format {format}");
        if node["type"] == "array" {
            assert!(node["x-kubernetes-list-type"].is_string(), "{way}: no list type");
        }
    }
}

#[test]
fn only_our_own_times_are_typed() {
    assert_eq!(
        ways(|node| node["format"] == "date-time"),
        [
            ".status.conditions[].lastTransitionTime",
            ".status.history[].time",
            ".status.lastHandled.forceUnlock.time",
            ".status.lastHandled.reconcile.time",
            ".status.lastHandled.rollback.time",
            ".status.lock.since",
            ".status.openbao.tokenExpires",
            ".status.state.modified",
        ]
    );
    assert_eq!(nodes()[".status.lock.created"].get("format"), None);
}

#[test]
fn lists_that_two_writers_share_have_keys() {
    for (way, keys) in [(".spec.access", json!(["name"])), (".status.conditions", json!(["type"]))] {
        assert_eq!(nodes()[way]["x-kubernetes-list-map-keys"], keys, "{way}");
    }
    assert_eq!(nodes()[".status.history"]["maxItems"], 10);
}

#[test]
fn kubectl_explain_teaches() {
    for (way, node) in nodes() {
        let text = node["description"].as_str().unwrap_or_default();
        assert!(text.len() >= 20, "{way}: {text:?}");
        assert!(
            !text.contains('\n') && !text.contains('`') && !text.contains("  ") || way.contains("conditions[]"),
            "{way}: {text:?}"
        );
        for value in node["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(text.contains(&format!("{value}:")), "{way} does not say what {value} means");
        }
        if way.starts_with(".spec.") && !node["default"].is_null() && !node["default"].is_object() {
            let default = node["default"].to_string().replace('"', "");
            assert!(text.contains(&format!("Default: {default}")), "{way} does not name its default {default}");
        }
    }
    for type_ in conditions::TYPES {
        assert!(nodes()[".status.conditions"]["description"].as_str().unwrap().contains(type_), "{type_}");
    }
}

#[test]
fn defaults_reach_every_level() {
    let defaulted = Checker::whole().admit(&resource(json!({"path": "team/net"})), None).unwrap();
    assert_eq!(
        defaulted["spec"],
        json!({
            "path": "team/net",
            "retention": {"maxVersions": 20, "deletionPolicy": "Retain"},
            "lock": {"required": false, "staleAction": "None", "clientForceUnlock": "Allow"},
            "maxSize": "256Mi",
            "suspend": false,
        })
    );
    assert_eq!(defaulted["status"], json!({"observedGeneration": -1, "locked": false}));

    for way in ways(|node| node["properties"].as_object().is_some_and(|p| p.values().any(|p| !p["default"].is_null())))
    {
        // A parent that has something required of its own cannot be made up.
        if !way.is_empty() && nodes()[&way]["required"].is_null() {
            assert!(nodes()[&way]["default"].is_object(), "{way} has defaulted fields and no default of its own");
        }
    }
    for way in [".spec.retention", ".spec.lock"] {
        assert_eq!(nodes()[way]["default"], json!({}), "{way}: the values stand at the fields, once");
    }
    let with_secret = resource(json!({"path": "a", "accessTokenSecretRef": {"name": "s"}}));
    let defaulted = Checker::whole().admit(&with_secret, None).unwrap();
    assert_eq!(defaulted["spec"]["accessTokenSecretRef"], json!({"name": "s", "key": "token"}));
}

/// The API server refuses a definition whose defaults break its rules, and it does not fill in the defaults inside a
/// default for that: a rule over `{}` that reads a defaulted field fails.
#[test]
fn every_default_passes_the_rules_as_it_stands() {
    for (way, node) in nodes().into_iter().filter(|(_, node)| !node["default"].is_null()) {
        let admitted = Checker::rules_of(&node).admit(&node["default"], None);
        assert!(admitted.is_ok(), "{way}: {admitted:?}");
    }
}

#[test]
fn an_explicit_null_is_the_default() {
    let nulls = resource(json!({"path": "a", "retention": null, "lock": {"staleAfter": null}, "maxSize": null}));
    let whole = Checker::whole();
    assert_eq!(whole.admit(&nulls, None), whole.admit(&resource(json!({"path": "a"})), None));
}

#[test]
fn the_types_have_the_defaults_of_the_schema() {
    for spec in [
        json!({"path": "team/net"}),
        json!({"path": "team/net", "retention": {}, "lock": {"staleAfter": "2h"}, "accessTokenSecretRef": {"name": "s"}}),
    ] {
        let plain = resource(spec);
        let defaulted = Checker::whole().admit(&plain, None).unwrap();
        let from_plain: TofuStateBackend = serde_json::from_value(plain).unwrap();
        let from_defaulted: TofuStateBackend = serde_json::from_value(defaulted.clone()).unwrap();
        assert_eq!(from_plain.spec, from_defaulted.spec);
        assert_eq!(serde_json::to_value(&from_plain.spec).unwrap(), defaulted["spec"]);
    }
    let plain: TofuStateBackend = serde_json::from_value(resource(json!({"path": "team/net"}))).unwrap();
    assert_eq!(plain.spec, tofustate::crd::TofuStateBackendSpec::new("team/net"));
}
