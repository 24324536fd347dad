//! What tools that go by kstatus (Flux, Argo CD, `kpt`) read from a resource: its rules for a custom resource, as
//! `sigs.k8s.io/cli-utils/pkg/kstatus/status` has them (`checkGenericProperties`, then `checkReadyCondition`).

use serde_json::Value;

/// What a resource is, by kstatus. `NotFound` and `Unknown`, which it gives to what cannot be read, are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kstatus {
    /// Somebody works on it.
    InProgress,
    /// Somebody has to do something.
    Failed,
    /// It is as its spec says.
    Current,
    /// It is being deleted.
    Terminating,
}

/// Reads an object, and says why.
#[must_use]
pub fn kstatus(object: &Value) -> (Kstatus, String) {
    let status = &object["status"];
    if object["metadata"]["deletionTimestamp"].as_str().is_some_and(|time| !time.is_empty()) {
        return (Kstatus::Terminating, "Resource scheduled for deletion".to_owned());
    }
    if let (Some(generation), Some(observed)) =
        (object["metadata"]["generation"].as_i64(), status["observedGeneration"].as_i64())
        && generation != observed
    {
        return (
            Kstatus::InProgress,
            format!("generation is {generation}, but latest observed generation is {observed}"),
        );
    }
    let text = |condition: &Value, name: &str| condition[name].as_str().unwrap_or_default().to_owned();
    let conditions = || status["conditions"].as_array().into_iter().flatten();
    // The first of the two in the order of the list, which is no order of weight.
    for condition in conditions().filter(|condition| condition["status"] == "True") {
        match condition["type"].as_str() {
            Some("Reconciling") => return (Kstatus::InProgress, text(condition, "message")),
            Some("Stalled") => return (Kstatus::Failed, text(condition, "message")),
            _ => {}
        }
    }
    for condition in conditions().filter(|condition| condition["type"] == "Ready") {
        match condition["status"].as_str() {
            Some("True") => return (Kstatus::Current, "Resource is Ready".to_owned()),
            Some("False" | "Unknown") => return (Kstatus::InProgress, text(condition, "message")),
            _ => {}
        }
    }
    (Kstatus::Current, "Resource is current".to_owned())
}
