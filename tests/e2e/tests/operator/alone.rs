//! What is wrong with one resource alone: a call that fails for it, an object that does not decode. It keeps no other from
//! being served.

use serde_json::json;
use tofustate_e2e::wait;

use crate::world::{Setting, World};

/// A webhook that nobody answers: no resource of the namespace can be changed.
fn broken(world: &World, namespace: &str) {
    let hook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": format!("broken-{namespace}")},
        "webhooks": [{
            "name": "broken.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 1,
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{
                "apiGroups": ["tofustate.io"], "apiVersions": ["*"], "operations": ["UPDATE"],
                "resources": ["tofustates"],
            }],
        }],
    });
    world.api().create("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", &hook).done();
    wait::until("the webhook is asked", || {
        let answer = world.api().merge(&World::at(namespace, "app"), &json!({"metadata": {"labels": {"a": "b"}}}));
        if answer.status == 500 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

#[test]
fn one_resource_that_cannot_be_changed_keeps_no_other_from_being_served() {
    let test = "one_resource_that_cannot_be_changed_keeps_no_other_from_being_served";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let (good, bad) = (world.cluster.namespace("good"), world.cluster.namespace("bad"));
    world.ready(&good, json!({}));
    world.ready(&bad, json!({}));
    let (token, of_bad) = (world.token(&good, "app"), world.token(&bad, "app"));
    world.operator.kill();
    world.api().merge(&World::at(&bad, "app"), &json!({"metadata": {"finalizers": null}})).done();
    world.create(&bad, "new", json!({}));
    broken(&world, &bad);
    world.operator.start();
    world.ask("GET", "good/app", &token).send().is(404);
    // Served as it was, or shut where the leader could not see to it; never refused.
    let of_bad_one = world.ask("GET", "bad/app", &of_bad).send().status();
    assert!([404, 503].contains(&of_bad_one), "{of_bad_one}");
    let hook = format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/broken-{bad}");
    world.api().delete(&hook).done();
    wait::until("it is served", || match world.ask("GET", "bad/app", &of_bad).send().status() {
        404 => Ok(()),
        other => Err(other.to_string()),
    });
    world.until_ready(&bad, "new");
}

/// Has the definition of another time, under which the resource `app` gets a spec that does not decode.
fn spoil(world: &World, namespace: &str) {
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tofustates.tofustate.io";
    let mut definition = world.api().get(crd).unwrap();
    let suspend = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend";
    *definition.pointer_mut(suspend).unwrap() = json!({"type": "string"});
    world.api().replace(crd, &definition).done();
    wait::until("the other definition is served", || {
        let answer = world.api().merge(&World::at(namespace, "app"), &json!({"spec": {"suspend": "hunter2"}}));
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

#[test]
fn an_object_that_does_not_decode_keeps_no_other_from_being_served() {
    let test = "an_object_that_does_not_decode_keeps_no_other_from_being_served";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("undecodable");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    spoil(&world, &namespace);
    wait::until("it is told", || {
        let told = world.operator.lines("this resource does not decode");
        if told.is_empty() { Err(world.operator.said()) } else { Ok(()) }
    });
    assert!(!world.operator.said().contains("hunter2"));
    // It goes on as it was, and others come.
    world.ask("GET", "undecodable/app", &token).send().is(404);
    world.create(&namespace, "other", json!({"suspend": null}));
    world.until_ready(&namespace, "other");
    // Its end is that of what it was.
    world.delete(&namespace, "app");
    assert_eq!(world.owner("undecodable/app").unwrap()["released"], "nothing");
    world.operator.still_runs();
}

#[test]
fn an_object_that_does_not_decode_is_told_of_and_shut_and_ended_after_a_restart() {
    let test = "an_object_that_does_not_decode_is_told_of_and_shut_and_ended_after_a_restart";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("undecodable");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.operator.kill();
    spoil(&world, &namespace);
    world.operator.start();
    assert!(world.until_event(&namespace, "DoesNotDecode").contains("this release"));
    world.ask("GET", "undecodable/app", &token).send().is(503);
    world.ask("GET", "undecodable/app", "another").send().is(403);
    assert!(!world.operator.said().contains("hunter2"));
    assert!(!world.events(&namespace, "DoesNotDecode").concat().contains("hunter2"));
    world.delete(&namespace, "app");
    assert_eq!(world.owner("undecodable/app").unwrap()["released"], "nothing");
    world.ask("GET", "undecodable/app", &token).send().is(403);
}
