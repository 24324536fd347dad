//! What scripts wait for and select by, on a resource that the operator keeps.

use serde_json::json;

use crate::world::{Shared, World};

#[test]
fn kubectl_waits_for_a_resource_and_for_the_end_of_its_lock() {
    let Some(world) = Shared::world("kubectl_waits_for_a_resource_and_for_the_end_of_its_lock") else { return };
    let namespace = world.cluster.namespace("waited-for");
    let kubectl = world.cluster.kubectl();
    let wait_for = |what: &str| kubectl.start(&["wait", what, "--timeout=150s", "-n", &namespace, "tofustates/app"]);
    let locked = || {
        let args = ["get", "tofustates", "-n", &namespace, "-o", "name", "--field-selector", "status.locked=true"];
        kubectl.must(&args)
    };
    world.create(&namespace, "app", json!({}));
    let done = wait_for("--for=condition=Ready").wait();
    assert!(done.status.success(), "{done:?}; the operator said\n{}", world.operator.said());
    world.create(&namespace, "other", json!({}));
    world.until_ready(&namespace, "other");
    assert_eq!(locked(), "");

    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    world.lock(&path, &token, "the-run");
    let done = wait_for("--for=jsonpath={.status.locked}=true").wait();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(locked(), "tofustatebackend.tofustate.io/app\n");
    let line = kubectl.must(&["get", "tofustates", "-n", &namespace, "app"]);
    assert!(line.contains("somebody@elsewhere"), "{line}");

    let short = ["wait", "--for=jsonpath={.status.locked}=false", "--timeout=1s", "-n", &namespace, "tofustates/app"];
    assert!(kubectl.fails(&short).contains("timed out"), "it is locked");
    let mut waits = wait_for("--for=jsonpath={.status.locked}=false");
    world.unlock(&path, &token, "the-run");
    let done = waits.wait();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(locked(), "");
    world.until(&namespace, "app", "its lock is gone", |found| found["status"]["lock"].is_null());
    kubectl.must(&["delete", "-n", &namespace, "tofustates/app", "--timeout=150s"]);
    assert!(world.get(&namespace, "app").is_none());
    assert!(world.get(&namespace, "other").is_some_and(|other| other["status"]["locked"] == false));
    assert_eq!(world.owner(&path).unwrap()["name"], "app");
}

#[test]
fn what_says_that_a_request_was_handled_is_put_right_and_repeats_none() {
    let test = "what_says_that_a_request_was_handled_is_put_right_and_repeats_none";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("handled");
    let (path, status) = (format!("{namespace}/app"), format!("{}/status", World::at(&namespace, "app")));
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    for serial in 1..=2 {
        world.write(&path, &token, serial);
    }
    world.annotate(&namespace, "app", "rollback-to", "1@2");
    let done = world.until(&namespace, "app", "it is rolled back", |found| {
        found["status"]["lastHandled"]["rollback"]["outcome"] == "Done" && found["status"]["state"]["version"] == 3
    });
    for tampered in [
        json!({"lastHandled": null}),
        json!({"lastHandled": {"rollback": {"request": "another", "outcome": "Refused"}}}),
        json!({"observedGeneration": 99}),
        json!({"observedGeneration": -1}),
        json!({"observedGeneration": null}),
    ] {
        world.api().merge(&status, &json!({"status": tampered})).done();
        world.until(&namespace, "app", &format!("{tampered} is put right"), |found| {
            found["status"]["lastHandled"] == done["status"]["lastHandled"]
                && found["status"]["observedGeneration"] == found["metadata"]["generation"]
        });
    }
    assert_eq!(world.look(&namespace, "app")["status"]["state"]["version"], 3, "it was not rolled back again");
    assert_eq!(world.events(&namespace, "RollbackDone").len(), 1);
}
