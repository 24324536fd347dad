//! What tools that go by kstatus (Flux, Argo CD, `kpt`) read from a resource, by its rules for any custom resource:
//! `sigs.k8s.io/cli-utils/pkg/kstatus`, `checkGenericProperties`.

use serde_json::{Value, json};
use tofustate_e2e::kube::{Shared, condition, is_true, tofustates};

use crate::{created, named};

#[derive(Debug, PartialEq, Eq)]
enum Status {
    InProgress,
    Failed,
    Current,
    Terminating,
}

/// In the order of kstatus: deletion, generation, the two standard conditions, Ready, and what nothing speaks against is
/// done.
fn kstatus(object: &Value) -> Status {
    let is = |name: &str| condition(object, name).is_some_and(is_true);
    let observed = object["status"]["observedGeneration"].as_i64();
    if object["metadata"]["deletionTimestamp"].is_string() {
        return Status::Terminating;
    }
    if observed.is_some_and(|observed| Some(observed) != object["metadata"]["generation"].as_i64()) {
        return Status::InProgress;
    }
    if is("Reconciling") {
        return Status::InProgress;
    }
    if is("Stalled") {
        return Status::Failed;
    }
    match condition(object, "Ready").map(|ready| ready["status"].clone()) {
        Some(status) if status == "False" || status == "Unknown" => Status::InProgress,
        _ => Status::Current,
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
    assert_eq!(kstatus(&new), Status::InProgress);
    // Without the default it would be taken for done.
    let mut bare = new.clone();
    bare["status"].as_object_mut().unwrap().remove("observedGeneration");
    assert_eq!(kstatus(&bare), Status::Current);

    let path = format!("{}/net", tofustates(&namespace));
    let one = |name: &str, status: &str| json!({"type": name, "status": status, "reason": "Test", "message": "m", "lastTransitionTime": "2025-06-01T12:00:00Z"});
    let status = |generation: i64, conditions: Value| {
        let status = json!({"status": {"observedGeneration": generation, "conditions": conditions}});
        api.merge(&format!("{path}/status"), &status).done()
    };
    assert_eq!(kstatus(&status(1, json!([one("Ready", "False")]))), Status::InProgress);
    assert_eq!(kstatus(&status(1, json!([one("Ready", "True")]))), Status::Current);
    assert_eq!(kstatus(&status(1, json!([one("Ready", "False"), one("Stalled", "True")]))), Status::Failed);
    status(1, json!([one("Ready", "True")]));
    let edited = api.merge(&path, &json!({"spec": {"suspend": true}})).done();
    assert_eq!((&edited["metadata"]["generation"], kstatus(&edited)), (&json!(2), Status::InProgress));
    assert_eq!(kstatus(&status(2, json!([one("Ready", "True")]))), Status::Current);
    api.delete(&path).done();
    assert_eq!(kstatus(&api.get(&path).unwrap()), Status::Terminating);
    api.merge(&path, &json!({"metadata": {"finalizers": null}})).done();
    api.until_gone(&path);
}
