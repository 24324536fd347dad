//! Deletion while the state is locked: refused, and nothing else is.

use serde_json::{Value, json};
use tofustate_e2e::kube::{Api, tofustates};

use crate::world::{created, installed, user};

fn lock(api: &Api, path: &str, lock: &Value) {
    api.merge(&format!("{path}/status"), &json!({"status": {"locked": true, "lock": null}})).done();
    api.merge(&format!("{path}/status"), &json!({"status": {"lock": lock}})).done();
}

#[test]
fn what_is_locked_is_not_deleted_and_the_refusal_names_the_holder() {
    let Some(cluster) = installed("what_is_locked_is_not_deleted_and_the_refusal_names_the_holder") else { return };
    let (api, namespace) = (cluster.api(), cluster.namespace("held"));
    created(api, &namespace, "net");
    let path = format!("{}/net", tofustates(&namespace));
    let editor = user(&cluster, &namespace, "editor", &["tofustate-edit"]);
    lock(api, &path, &json!({"id": "7c0e", "who": "ann@laptop"}));
    let says = "the state held/net is locked by ann@laptop: wait for the end of that run, or break its lock with the annotation tofustate.io/force-unlock: 7c0e";
    for (who, user) in [("an admin", api), ("a user", &editor)] {
        let message = user.delete(&path).refused(403);
        assert!(message.contains(says), "{who}: {message}");
        let message = user.delete(&tofustates(&namespace)).refused(403);
        assert!(message.contains(says), "{who}, all at once: {message}");
    }
    let said = cluster.kubectl().fails(&["delete", "tsb/net", "-n", "held", "--wait=false"]);
    assert!(said.contains("is locked by ann@laptop"), "{said}");

    // Whatever the client says of itself, there is a message; a line break would take it away.
    for (held, says) in [
        (json!({"id": "7c0e"}), "is locked by somebody: wait"),
        (json!({"id": "a\nb", "who": "eve\r\nline"}), "is locked by eve: wait"),
        (json!({"id": "\u{2028}x", "who": "\u{1b}[31m"}), "is locked by [31m: wait"),
        (json!({"who": "\n"}), "is locked by somebody: wait"),
        (json!({"id": "1", "who": "Zoë 🦊"}), "is locked by Zoë 🦊: wait"),
        (json!({"id": "ä".repeat(256), "who": "ä".repeat(256)}), "is locked by ää"),
        (Value::Null, "is locked by somebody: wait"),
    ] {
        lock(api, &path, &held);
        let message = editor.delete(&path).refused(403);
        assert!(message.contains(says), "{held}: {message}");
    }

    // All else goes on while it is locked.
    editor.merge(&path, &json!({"spec": {"suspend": true}, "metadata": {"labels": {"team": "x"}}})).done();
    let finalizer = |on: bool| {
        let list = if on { json!(["tofustate.io/tests"]) } else { Value::Null };
        cluster.operator().merge(&path, &json!({"metadata": {"finalizers": list}})).done();
    };
    finalizer(true);
    finalizer(false);
    finalizer(true);
    // Unlocked, it goes; and one that is on its way out can be asked again and loses its finalizer, also when it was locked
    // meanwhile.
    api.merge(&format!("{path}/status"), &json!({"status": {"locked": false, "lock": null}})).done();
    editor.delete(&path).done();
    lock(api, &path, &json!({"id": "7c0f", "who": "ann@laptop"}));
    editor.delete(&path).done();
    assert!(api.get(&path).is_some(), "the finalizer holds it");
    finalizer(false);
    api.until_gone(&path);
}

#[test]
fn what_was_never_looked_at_can_be_deleted() {
    let Some(cluster) = installed("what_was_never_looked_at_can_be_deleted") else { return };
    let (api, namespace) = (cluster.api(), cluster.namespace("fresh"));
    let path = format!("{}/net", tofustates(&namespace));
    created(api, &namespace, "net");
    api.delete(&path).done();
    api.until_gone(&path);
}
