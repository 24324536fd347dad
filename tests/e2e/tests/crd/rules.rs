//! Each rule and each bound of the spec: refused by the API server with a message that helps, and by `crd::admit` too.

use serde_json::{Value, json};
use tofustate::crd::admit;
use tofustate_e2e::kube::{Shared, tofustates};

use crate::{
    cases::{everything, refused, specs},
    created, named, resource, would_create,
};

#[test]
fn what_breaks_a_rule_or_a_bound_is_refused_and_says_why() {
    let Some(cluster) = Shared::cluster("what_breaks_a_rule_or_a_bound_is_refused_and_says_why") else { return };
    let mut wrong = Vec::new();
    for case in refused() {
        let object = resource(&case.spec);
        let answer = would_create(&cluster, &object);
        let message = answer.body["message"].as_str().unwrap_or_default();
        // Unknown fields do not get as far as the rules.
        let status = if case.server.starts_with("unknown field") { 400 } else { 422 };
        if answer.status != status || !message.contains(case.server) {
            wrong.push(format!("{}: {} {message}\nnot: {}", case.spec, answer.status, case.server));
        }
        match admit(&object, None) {
            Ok(_) => wrong.push(format!("{}: crd::admit takes it", case.spec)),
            Err(said) if case.said == case.server && !said.iter().any(|one| one.message.contains(case.said)) => {
                wrong.push(format!("{}: crd::admit says {said:?}", case.spec));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_rule_is_told_once_and_alone() {
    let Some(cluster) = Shared::cluster("each_rule_is_told_once_and_alone") else { return };
    // A duration that is none is not compared as well; a size that is none is not also below a byte.
    for spec in [
        json!({"path": "a", "lock": {"staleAction": "Release", "staleAfter": "a day"}}),
        json!({"path": "a", "maxSize": "lots"}),
        json!({"path": "A"}),
    ] {
        let answer = would_create(&cluster, &resource(&spec));
        let causes = answer.body["details"]["causes"].as_array().cloned().unwrap_or_default();
        assert!(causes.len() == 1 && answer.status == 422, "{spec}: {answer:?}");
        assert_eq!(admit(&resource(&spec), None).unwrap_err().len(), 1, "{spec}");
    }
}

#[test]
fn what_fields_say_together_and_the_defaults_are_the_same_in_both() {
    let Some(cluster) = Shared::cluster("what_fields_say_together_and_the_defaults_are_the_same_in_both") else {
        return;
    };
    let more = [
        json!({"path": "team/net"}),
        json!({"path": "a", "retention": null, "lock": {"staleAfter": null}, "maxSize": null}),
        json!({"path": "a", "accessTokenSecretRef": {"name": "s"}, "lock": {"staleAfter": "2h"}, "retention": {}}),
    ];
    let mut taken = 0;
    for spec in specs().iter().chain(&more) {
        let object = resource(spec);
        let answer = would_create(&cluster, &object);
        match admit(&object, None) {
            Ok(ours) => {
                let theirs = answer.done();
                assert_eq!(theirs["spec"], serde_json::to_value(&ours.spec).unwrap(), "{spec}");
                assert_eq!(theirs["status"], json!({"observedGeneration": -1, "locked": false}), "{spec}");
                taken += 1;
            }
            Err(said) => {
                let message = answer.refused(422);
                assert!(!message.contains("overload") && !message.contains("internal"), "{spec}: {message}; {said:?}");
            }
        }
    }
    assert!(taken > 5, "{taken}");
}

#[test]
fn a_long_name_needs_a_name_for_the_connection_secret() {
    let Some(cluster) = Shared::cluster("a_long_name_needs_a_name_for_the_connection_secret") else { return };
    let object = |length: usize, spec: Value| named(&"n".repeat(length), &spec);
    for (object, says) in [
        (object(243, json!({"path": "a"})), None),
        (object(244, json!({"path": "a"})), Some("set spec.connectionSecretName")),
        (object(253, json!({"path": "a", "connectionSecretName": "s"})), None),
    ] {
        let answer = would_create(&cluster, &object);
        assert_eq!(admit(&object, None).is_ok(), says.is_none());
        match says {
            None => drop(answer.done()),
            Some(says) => {
                let message = answer.refused(422);
                assert!(message.contains(says), "{message}");
            }
        }
    }
}

#[test]
fn the_path_cannot_be_changed_and_everything_else_can() {
    let Some(cluster) = Shared::cluster("the_path_cannot_be_changed_and_everything_else_can") else { return };
    let namespace = cluster.namespace("immutable");
    let path = format!("{}/net", tofustates(&namespace));
    let first = created(&cluster, &namespace, &resource(&json!({"path": "team/net"})));
    let old = admit(&resource(&json!({"path": "team/net"})), None).unwrap();
    assert_eq!(first["metadata"]["generation"], 1);

    let moved = resource(&json!({"path": "team/other"}));
    let message = cluster.api().apply(&path, "user", true, &moved).refused(422);
    let says = "the path cannot be changed; create another TofuStateBackend with the new path";
    assert!(message.contains("spec.path") && message.contains(says), "{message}");
    assert!(admit(&moved, Some(&old)).unwrap_err()[0].message.contains(says));

    let all = everything("team/net");
    let changed = cluster.api().merge(&path, &json!({"spec": all})).done();
    let ours = serde_json::to_value(admit(&resource(&all), Some(&old)).unwrap().spec).unwrap();
    assert_eq!((&changed["spec"], &changed["metadata"]["generation"]), (&ours, &json!(2)));
    // Only the subresource writes the status.
    let ignored = cluster.api().merge(&path, &json!({"status": {"locked": true}})).done();
    assert_eq!(ignored["status"], json!({"observedGeneration": -1, "locked": false}));
    assert_eq!(ignored["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"], "nothing changed");
}
