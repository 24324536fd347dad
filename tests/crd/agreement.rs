//! The schema and the Rust parsers admit the same texts: run side by side over written and generated ones.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use tofustate::crd::{StatePath, TofuStateBackend, parse_duration, parse_quantity};

use crate::{
    admission::{Checker, resource},
    cases,
};

static WHOLE: LazyLock<Checker> = LazyLock::new(Checker::whole);
static PATH: LazyLock<Checker> = LazyLock::new(|| Checker::field(&["spec", "path"]));
static SIZE: LazyLock<Checker> = LazyLock::new(|| Checker::field(&["spec", "maxSize"]));
static TIME: LazyLock<Checker> = LazyLock::new(|| Checker::field(&["spec", "retention", "maxAge"]));

fn agree(checker: &Checker, text: &str, parsed: bool) {
    let admitted = checker.admit(&text.into(), None);
    assert_eq!(admitted.is_ok(), parsed, "{text:?}: the schema says {admitted:?}");
}

fn path_agrees(text: &str) {
    agree(&PATH, text, StatePath::parse(text).is_ok());
}

fn size_agrees(text: &str) {
    agree(&SIZE, text, parse_quantity(text).is_ok());
}

fn time_agrees(text: &str) {
    agree(&TIME, text, parse_duration(text).is_ok());
}

/// Whether the whole spec holds together, by the types and by the schema.
fn spec_agrees(spec: &Value) {
    let admitted = WHOLE.admit(&resource(spec.clone()), None);
    let decoded: TofuStateBackend = serde_json::from_value(resource(spec.clone())).unwrap();
    let checked = decoded.settings();
    assert_eq!(admitted.is_ok(), checked.is_ok(), "{spec}\nschema: {admitted:?}\ntypes: {checked:?}");
    let ours = tofustate::crd::admit(&resource(spec.clone()), None);
    assert_eq!(admitted.is_ok(), ours.is_ok(), "{spec}\nschema: {admitted:?}\nadmit: {ours:?}");
}

#[test]
fn written_texts() {
    cases::paths().iter().for_each(|text| path_agrees(text));
    cases::sizes().iter().for_each(|text| size_agrees(text));
    cases::durations().iter().for_each(|text| time_agrees(text));
}

#[test]
fn written_specs() {
    cases::specs().iter().for_each(spec_agrees);
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c0._/-]{0,10}",
        "([a-z0-9][a-z0-9._-]{0,3}[a-z0-9]/){0,8}(lock|a|x[.]lock|a[.]locks)",
        "[a-z]{60,70}/[a-z]{60,70}/[a-z]{60,70}",
        ".{0,12}",
        any::<String>(),
    ]
}

fn size() -> impl Strategy<Value = String> {
    prop_oneof!["[0-9]{1,19}[.]?[0-9]{0,7}(k|K|M|G|T|P|E|m|)i?", "[0.]{1,4}[kMGi]{0,2}", "[0-9.kKMGTPi]{0,6}", ".{0,8}"]
}

fn time() -> impl Strategy<Value = String> {
    prop_oneof!["([0-9]{1,6}(h|m|s|ms)){0,5}", "(0{1,2}(h|m|s|ms)){1,4}", "[0-9hms.d]{0,8}", ".{0,8}"]
}

fn reference() -> impl Strategy<Value = Value> {
    ("[a-b.-]{0,4}|[a-z]{252,254}|net-tofustate|x", "[a-b.A_-]{0,4}|/|[a-z]{252,254}")
        .prop_map(|(name, key)| json!({"name": name, "key": key}))
}

prop_compose! {
    fn spec()(
        path in prop_oneof![5 => Just("team/net".to_owned()), 1 => path()],
        max_size in prop_oneof![5 => Just("1Gi".to_owned()), 1 => size()],
        max_age in prop_oneof![5 => Just("1h".to_owned()), 1 => time()],
        token in prop::option::of(reference()),
        connection in prop::option::of("x|y|[a.-]{1,3}"),
        access in prop::collection::vec(("[ab-]{0,2}|[a-z]{62,64}", reference(), any::<bool>()), 0..3),
        stale in prop::option::of(prop_oneof![Just("1h".to_owned()), Just("59m59s999ms".to_owned()), Just("60m".to_owned()), time()]),
        release in any::<bool>(),
    ) -> Value {
        let mut spec = json!({"path": path, "maxSize": max_size, "retention": {"maxAge": max_age}});
        spec["lock"]["staleAction"] = if release { "Release" } else { "None" }.into();
        if let Some(after) = stale {
            spec["lock"]["staleAfter"] = after.into();
        }
        if let Some(reference) = token {
            spec["accessTokenSecretRef"] = reference;
        }
        if let Some(name) = connection {
            spec["connectionSecretName"] = name.into();
        }
        spec["access"] = access.into_iter().map(|(name, reference, read)| {
            json!({"name": name, "role": if read { "ReadOnly" } else { "ReadWrite" }, "secretRef": reference})
        }).collect();
        spec
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn paths(text in path()) {
        path_agrees(&text);
    }

    #[test]
    fn sizes(text in size()) {
        size_agrees(&text);
    }

    #[test]
    fn times(text in time()) {
        time_agrees(&text);
    }

    #[test]
    fn specs(spec in spec()) {
        spec_agrees(&spec);
    }
}
