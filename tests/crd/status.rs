//! The rules of the status: what a writer that lags behind cannot undo.

use serde_json::{Value, json};
use tofustate::crd::TofuStateBackend;

use crate::admission::{Checker, resource};

/// Whether a status may follow another, as an API server decides a patch of the status.
fn follows(old: Value, new: Value) -> Result<(), String> {
    let whole = Checker::whole();
    let with = |status: Value| {
        let mut object = resource(json!({"path": "a"}));
        object["status"] = status;
        object
    };
    let old = whole.admit(&with(old), None).unwrap();
    whole.admit(&with(new), Some(&old)).map(|_| ()).map_err(|wrong| wrong.join("; "))
}

#[test]
fn the_head_does_not_go_back_within_an_epoch() {
    let head = |epoch: &str, revision: i64| json!({"headEpoch": epoch, "headRevision": revision});
    for (old, new) in [
        (json!({}), head("e", 0)),
        (json!({}), json!({"headEpoch": "e"})),
        (head("e", 4), head("e", 4)),
        (head("e", 4), head("e", 5)),
        (head("e", 4), head("f", 0)),
        (json!({"headEpoch": "e"}), head("e", 0)),
        (json!({"headEpoch": "e"}), json!({"headEpoch": "e"})),
        (json!({"headRevision": 5}), json!({"headRevision": 4})),
        (json!({"headRevision": 5}), head("e", 1)),
        (head("e", i64::MAX), head("e", i64::MAX)),
    ] {
        assert_eq!(follows(old.clone(), new.clone()), Ok(()), "{old} -> {new}");
    }
    for (old, new, said) in [
        (head("e", 4), head("e", 3), "headRevision cannot go down"),
        (head("e", 4), json!({"headEpoch": "e"}), "headRevision cannot go down"),
        (head("e", 4), json!({"headRevision": 4}), "headEpoch cannot be removed"),
        (head("e", 4), json!({}), "headEpoch cannot be removed"),
        (json!({"headEpoch": "e"}), json!({}), "headEpoch cannot be removed"),
    ] {
        let wrong = follows(old.clone(), new.clone()).expect_err(&format!("{old} -> {new}"));
        assert!(wrong.contains(said), "{old} -> {new}: {wrong}");
    }
}

#[test]
fn what_a_client_says_never_gets_a_status_refused() {
    let lock =
        json!({"created": "the day before yesterday", "who": "x".repeat(5000), "since": "2025-06-01T12:00:00.5Z"});
    assert_eq!(follows(json!({}), json!({"locked": true, "lock": lock})), Ok(()));
    let event = json!({"event": "NotYetInvented", "serial": i64::MAX});
    assert_eq!(follows(json!({}), json!({"history": [event]})), Ok(()));
    assert!(follows(json!({}), json!({"lock": {"since": "yesterday"}})).is_err());
}

#[test]
fn a_full_status_goes_there_and_back() {
    let time = "2025-06-01T12:00:00Z";
    let handled = json!({"request": "r", "outcome": "Done", "message": "m", "time": time});
    let status = json!({
        "observedGeneration": 2,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 2, "lastTransitionTime": time}],
        "endpoints": {"internal": "http://i", "external": "https://e"},
        "locked": true,
        "lock": {"id": "i", "who": "a@b", "identity": "token", "operation": "OperationTypeApply", "info": "", "since": time, "created": time, "toolVersion": "1.12.6"},
        "state": {"version": 3, "versions": 2, "serial": 7, "lineage": "l", "size": 1, "storedSize": 1, "sha256": "0", "resources": 4, "toolVersion": "1.12.6", "modified": time, "encrypted": false},
        "history": [{"event": "Written", "time": time, "version": 3, "serial": 7, "size": 1, "resources": 4, "who": "a@b", "identity": "token", "operation": "OperationTypeApply", "lockId": "i", "toolVersion": "1.12.6", "anomaly": "a gap"}],
        "openbao": {"policy": "p", "tokenAccessor": "a", "tokenExpires": time},
        "lastHandled": {"forceUnlock": handled, "rollback": handled, "reconcile": handled},
        "headEpoch": "e",
        "headRevision": 9,
    });
    assert_eq!(follows(json!({}), status.clone()), Ok(()));
    let mut object = resource(json!({"path": "a"}));
    object["status"] = status.clone();
    let decoded: TofuStateBackend = serde_json::from_value(object).unwrap();
    assert_eq!(serde_json::to_value(decoded.status).unwrap(), status);
}
