//! The status: what a writer that lags behind cannot undo, what a client cannot get refused, and who may write which field.

use serde_json::{Value, json};
use tofustate_e2e::kube::{Api, Shared, tofustates};

use crate::{created, named};

const TIME: &str = "2025-06-01T12:00:00Z";

/// A status written by server-side apply, as the operator does.
fn apply(api: &Api, object: &str, manager: &str, status: &Value) -> tofustate_e2e::kube::Answer {
    let name = object.rsplit('/').next().unwrap();
    let applied = json!({
        "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend", "metadata": {"name": name}, "status": status,
    });
    api.apply(&format!("{object}/status"), manager, false, &applied)
}

#[test]
fn the_head_does_not_go_back_within_an_epoch() {
    let Some(cluster) = Shared::cluster("the_head_does_not_go_back_within_an_epoch") else { return };
    let namespace = cluster.namespace("heads");
    let head = |epoch: &str, revision: i64| json!({"headEpoch": epoch, "headRevision": revision});
    let cases = [
        (json!({}), head("e", 0), None),
        (head("e", 4), head("e", 5), None),
        (head("e", 4), head("e", 4), None),
        (head("e", 4), head("f", 0), None),
        (head("e", i64::MAX), head("e", i64::MAX), None),
        (json!({"headRevision": 5}), json!({"headRevision": 4}), None),
        (head("e", 4), head("e", 3), Some("headRevision cannot go down within an epoch: this status is older")),
        (head("e", 4), json!({"headEpoch": "e"}), Some("headRevision cannot go down")),
        (head("e", 4), json!({"headRevision": 4}), Some("headEpoch cannot be removed")),
        (head("e", 4), json!({}), Some("headEpoch cannot be removed")),
        (
            head("e", 4),
            json!({"headEpoch": "e".repeat(65), "headRevision": 4}),
            Some("Too long: may not be more than 64"),
        ),
        (head("e", 4), head("e", -1), Some("should be greater than or equal to 0")),
    ];
    for (n, (old, new, says)) in cases.into_iter().enumerate() {
        let name = format!("net-{n}");
        created(&cluster, &namespace, &named(&name, &json!({"path": format!("a/{n}")})));
        let object = format!("{}/{name}", tofustates(&namespace));
        apply(cluster.api(), &object, "tofustate-http", &old).done();
        let answer = apply(cluster.api(), &object, "tofustate-http", &new);
        match says {
            None => assert_eq!(answer.done()["status"]["headRevision"], new["headRevision"], "{old} -> {new}"),
            Some(says) => {
                let message = answer.refused(422);
                assert!(message.contains(says), "{old} -> {new}: {message}");
            }
        }
    }
}

#[test]
fn what_a_client_says_never_gets_a_status_refused() {
    let Some(cluster) = Shared::cluster("what_a_client_says_never_gets_a_status_refused") else { return };
    let namespace = cluster.namespace("hostile");
    created(&cluster, &namespace, &named("net", &json!({"path": "a"})));
    let object = format!("{}/net", tofustates(&namespace));
    for created in ["the day before yesterday", "", "\u{0}\u{1b}[31m", "9999-99-99T99:99:99Z", "٠", &"x".repeat(5000)]
    {
        let lock = json!({"id": created, "created": created, "who": created, "info": created, "since": TIME});
        let answer = apply(cluster.api(), &object, "tofustate-http", &json!({"locked": true, "lock": lock})).done();
        assert_eq!((&answer["status"]["lock"], &answer["status"]["locked"]), (&lock, &json!(true)));
    }
    // The store's own time is one.
    let message =
        apply(cluster.api(), &object, "tofustate-http", &json!({"lock": {"since": "yesterday"}})).refused(422);
    assert!(message.contains("status.lock.since"), "{message}");
}

#[test]
fn a_field_of_another_manager_is_not_taken_unawares() {
    let Some(cluster) = Shared::cluster("a_field_of_another_manager_is_not_taken_unawares") else { return };
    let namespace = cluster.namespace("managers");
    created(&cluster, &namespace, &named("net", &json!({"path": "a"})));
    let object = format!("{}/net", tofustates(&namespace));
    let lock = json!({"locked": true, "lock": {"id": "1", "who": "ann@laptop"}});
    let ready =
        json!({"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": TIME});
    let conditions = json!({"observedGeneration": 1, "conditions": [ready]});
    apply(cluster.api(), &object, "tofustate-http", &lock).done();
    let both = apply(cluster.api(), &object, "tofustate-controller", &conditions).done();
    assert_eq!((&both["status"]["lock"]["id"], &both["status"]["observedGeneration"]), (&json!("1"), &json!(1)));

    for (manager, status, field) in [
        ("somebody", json!({"locked": false}), ".status.locked"),
        ("somebody", json!({"lock": {"who": "me"}}), ".status.lock.who"),
        ("tofustate-http", json!({"observedGeneration": 2}), ".status.observedGeneration"),
    ] {
        let message = apply(cluster.api(), &object, manager, &status).refused(409);
        assert!(message.contains(field) && message.contains("tofustate-"), "{message}");
    }
    // Each takes back what is its own, and the default of `locked` is there again.
    let after = apply(cluster.api(), &object, "tofustate-http", &json!({"headEpoch": "e", "headRevision": 1})).done();
    assert_eq!(after["status"]["lock"], Value::Null);
    assert_eq!(after["status"]["locked"], false);
    assert_eq!(after["status"]["conditions"], json!([ready]));
    // Who may only write resources does not write their status.
    cluster.service_account(&namespace, "user");
    let verbs = json!(["get", "list", "create", "patch", "update"]);
    let rules = json!([{"apiGroups": ["tofustate.io"], "resources": ["tofustates"], "verbs": verbs}]);
    cluster.grant(&namespace, "user", &rules);
    let user = cluster.api().with_token(&cluster.token(&namespace, "user", &[]));
    user.until(&object, "the user may read", |_| true);
    let message = apply(&user, &object, "kubectl", &json!({"locked": true})).refused(403);
    assert!(message.contains("cannot patch resource \"tofustates/status\""), "{message}");
}
