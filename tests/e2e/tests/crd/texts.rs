//! Paths, sizes and durations, good and bad: the API server and our parsers take the same.

use serde_json::{Value, json};
use tofustate::crd::{StatePath, admit, parse_duration, parse_quantity};
use tofustate_e2e::kube::Shared;

use crate::{
    cases::{durations, paths, sizes},
    resource, would_create,
};

fn agree(test: &str, texts: &[String], spec: impl Fn(&str) -> Value, parsed: impl Fn(&str) -> bool) {
    let Some(cluster) = Shared::cluster(test) else { return };
    let (mut taken, mut wrong) = (0, Vec::new());
    for text in texts {
        let object = resource(&spec(text));
        let answer = would_create(&cluster, &object);
        let (parsed, ours) = (parsed(text), admit(&object, None).is_ok());
        if (parsed, ours) != (answer.status == 201, answer.status == 201) || ![201, 422].contains(&answer.status) {
            wrong.push(format!("{text:?}: parsed {parsed}, crd::admit {ours}, the server: {answer:?}"));
        }
        taken += usize::from(parsed);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(taken > 0 && taken < texts.len(), "{taken} of {}", texts.len());
}

#[test]
fn paths_are_what_the_parser_takes() {
    agree(
        "paths_are_what_the_parser_takes",
        &paths(),
        |text| json!({"path": text}),
        |text| StatePath::parse(text).is_ok(),
    );
}

#[test]
fn sizes_are_what_the_parser_takes() {
    let spec = |text: &str| json!({"path": "a", "maxSize": text});
    agree("sizes_are_what_the_parser_takes", &sizes(), spec, |text| parse_quantity(text).is_ok());
}

#[test]
fn durations_are_what_the_parser_takes() {
    let spec = |text: &str| json!({"path": "a", "retention": {"maxAge": text}});
    agree("durations_are_what_the_parser_takes", &durations(), spec, |text| parse_duration(text).is_ok());
}
