//! What tools that go by kstatus read from a resource: the rules by value, and on an object of a real API server.

use serde_json::{Value, json};
use tofustate_e2e::kube::{Kstatus, Shared, kstatus, tofustates};

use crate::{created, named};

const TIME: &str = "2025-06-01T12:00:00Z";

fn read(object: &Value) -> Kstatus {
    kstatus(object).0
}

fn one(name: &str, status: &str) -> Value {
    json!({"type": name, "status": status, "reason": "Test", "message": format!("{name} is {status}"), "lastTransitionTime": TIME})
}

#[test]
fn the_rules_in_their_order() {
    let object = |generation: Value, status: Value| json!({"metadata": {"generation": generation}, "status": status});
    let conditions = |list: &[(&str, &str)]| {
        let list: Vec<_> = list.iter().map(|(name, status)| one(name, status)).collect();
        object(json!(2), json!({"observedGeneration": 2, "conditions": list}))
    };
    for (object, status, says) in [
        // Nothing speaks against it: that is why a new resource has an observedGeneration of -1.
        (json!({}), Kstatus::Current, "Resource is current"),
        (object(json!(1), Value::Null), Kstatus::Current, "Resource is current"),
        (object(json!(1), json!({"observedGeneration": 1})), Kstatus::Current, "Resource is current"),
        (object(Value::Null, json!({"observedGeneration": 1})), Kstatus::Current, "Resource is current"),
        (object(json!(1), json!({"observedGeneration": -1})), Kstatus::InProgress, "latest observed generation is -1"),
        // Also a later one than there is.
        (object(json!(1), json!({"observedGeneration": 2})), Kstatus::InProgress, "generation is 1"),
        (conditions(&[("Ready", "True")]), Kstatus::Current, "Resource is Ready"),
        (conditions(&[("Ready", "False")]), Kstatus::InProgress, "Ready is False"),
        (conditions(&[("Ready", "Unknown")]), Kstatus::InProgress, "Ready is Unknown"),
        (conditions(&[("Ready", "Perhaps")]), Kstatus::Current, "Resource is current"),
        (conditions(&[("PathClaimed", "False")]), Kstatus::Current, "Resource is current"),
        // The two standard conditions go before Ready, the first of them in the list counts.
        (conditions(&[("Ready", "True"), ("Stalled", "True")]), Kstatus::Failed, "Stalled is True"),
        (conditions(&[("Ready", "True"), ("Stalled", "False")]), Kstatus::Current, "Resource is Ready"),
        (conditions(&[("Ready", "True"), ("Reconciling", "True")]), Kstatus::InProgress, "Reconciling is True"),
        (conditions(&[("Stalled", "True"), ("Reconciling", "True")]), Kstatus::Failed, "Stalled is True"),
        (conditions(&[("Reconciling", "True"), ("Stalled", "True")]), Kstatus::InProgress, "Reconciling is True"),
        // An old generation goes before all conditions, and deletion before that.
        (
            object(json!(3), json!({"observedGeneration": 2, "conditions": [one("Stalled", "True")]})),
            Kstatus::InProgress,
            "latest observed generation is 2",
        ),
        (
            json!({"metadata": {"deletionTimestamp": TIME, "generation": 3}, "status": {"observedGeneration": 2}}),
            Kstatus::Terminating,
            "scheduled for deletion",
        ),
        (json!({"metadata": {"deletionTimestamp": ""}}), Kstatus::Current, "Resource is current"),
    ] {
        let (found, why) = kstatus(&object);
        assert!(found == status && why.contains(says), "{object}: {found:?}, {why}");
    }
}

#[test]
fn a_new_resource_is_in_progress_until_it_was_looked_at() {
    let Some(cluster) = Shared::cluster("a_new_resource_is_in_progress_until_it_was_looked_at") else { return };
    let (api, namespace) = (cluster.api(), cluster.namespace("kstatus"));
    let mut made = named("net", &json!({"path": "a"}));
    made["metadata"]["finalizers"] = json!(["tofustate.io/tests"]);
    let new = created(&cluster, &namespace, &made);
    assert_eq!((&new["status"]["observedGeneration"], &new["metadata"]["generation"]), (&json!(-1), &json!(1)));
    assert_eq!(read(&new), Kstatus::InProgress);
    // Without the default it would be taken for done.
    let mut bare = new.clone();
    bare["status"].as_object_mut().unwrap().remove("observedGeneration");
    assert_eq!(read(&bare), Kstatus::Current);

    let path = format!("{}/net", tofustates(&namespace));
    let status = |generation: i64, conditions: Value| {
        let status = json!({"status": {"observedGeneration": generation, "conditions": conditions}});
        api.merge(&format!("{path}/status"), &status).done()
    };
    assert_eq!(read(&status(1, json!([one("Ready", "False")]))), Kstatus::InProgress);
    assert_eq!(read(&status(1, json!([one("Ready", "True")]))), Kstatus::Current);
    assert_eq!(read(&status(1, json!([one("Ready", "False"), one("Stalled", "True")]))), Kstatus::Failed);
    status(1, json!([one("Ready", "True")]));
    let edited = api.merge(&path, &json!({"spec": {"suspend": true}})).done();
    assert_eq!((&edited["metadata"]["generation"], read(&edited)), (&json!(2), Kstatus::InProgress));
    assert_eq!(read(&status(2, json!([one("Ready", "True")]))), Kstatus::Current);
    api.delete(&path).done();
    assert_eq!(read(&api.get(&path).unwrap()), Kstatus::Terminating);
    api.merge(&path, &json!({"metadata": {"finalizers": null}})).done();
    api.until_gone(&path);
}
