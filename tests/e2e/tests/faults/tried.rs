//! Calls on OpenBao that a token may have no right to.

use serde_json::{Value, json};
use tofustate_e2e::bao::Api;

use crate::world::{POLICY, ROLE};

/// Method, path and body.
pub(crate) type Call = (&'static str, String, Value);

pub(crate) fn call(method: &'static str, path: impl Into<String>, body: Value) -> Call {
    (method, path.into(), body)
}

pub(crate) fn flat(path: &str) -> String {
    path.replace('/', ":")
}

/// All that can be asked of one KV v2 entry.
pub(crate) fn of_entry(key: &str) -> Vec<Call> {
    let value = |cas| json!({"options": {"cas": cas}, "data": {"document": "{}"}});
    let mut calls = vec![
        call("GET", format!("states/data/{key}"), Value::Null),
        call("GET", format!("states/subkeys/{key}"), Value::Null),
        call("GET", format!("states/metadata/{key}"), Value::Null),
        call("POST", format!("states/data/{key}"), value(0)),
        call("POST", format!("states/data/{key}"), value(1)),
        call("PATCH", format!("states/data/{key}"), value(1)),
    ];
    calls.extend(destroying(key));
    calls
}

/// What takes an entry away, or lets it vanish later.
pub(crate) fn destroying(key: &str) -> Vec<Call> {
    let mut calls = vec![
        call("DELETE", format!("states/data/{key}"), Value::Null),
        call("DELETE", format!("states/metadata/{key}"), Value::Null),
    ];
    for verb in ["delete", "undelete", "destroy"] {
        calls.push(call("POST", format!("states/{verb}/{key}"), json!({"versions": [1]})));
    }
    for method in ["POST", "PATCH"] {
        calls.push(call(method, format!("states/metadata/{key}"), json!({"delete_version_after": "1s"})));
    }
    calls
}

/// The mount, and all that is not the mount's.
pub(crate) fn around() -> Vec<Call> {
    let mut calls: Vec<_> = ["", "/team", "/zone", "/.versions", "/.owners"]
        .map(|folder| call("LIST", format!("states/metadata{folder}"), Value::Null))
        .into();
    for read in
        ["states/config", "sys/mounts", "sys/mounts/states/tune", "sys/auth", "sys/audit", "sys/policies/acl/root"]
    {
        calls.push(call("GET", read, Value::Null));
    }
    calls.push(call("GET", "sys/storage/raft/snapshot", Value::Null));
    calls.push(call("GET", format!("auth/token/roles/{ROLE}"), Value::Null));
    for list in ["sys/policies/acl", "auth/token/accessors", "auth/token/roles"] {
        calls.push(call("LIST", list, Value::Null));
    }
    calls.extend([
        call("POST", "states/config", json!({"cas_required": false})),
        call("POST", "sys/mounts/more", json!({"type": "kv"})),
        call("POST", "sys/mounts/states/tune", json!({"default_lease_ttl": "1h"})),
        call("POST", "sys/remount", json!({"from": "states", "to": "elsewhere"})),
        call("DELETE", "sys/mounts/states", Value::Null),
        call("POST", "sys/auth/more", json!({"type": "userpass"})),
        call("POST", "sys/policies/acl/more", json!({"policy": ""})),
        call("POST", format!("sys/policies/acl/{POLICY}"), json!({"policy": ""})),
        call("POST", "auth/token/create", json!({})),
        call("POST", "auth/token/create-orphan", json!({})),
        call("POST", format!("auth/token/roles/{ROLE}"), json!({"allowed_policies_glob": ["*"]})),
        call("PUT", "sys/seal", Value::Null),
        call("PUT", "sys/step-down", Value::Null),
        call("POST", "sys/rotate", Value::Null),
        call("DELETE", "sys/audit/file", Value::Null),
    ]);
    calls
}

/// Each is refused, and the reads among them are of what is there: root gets it.
pub(crate) fn refused(who: &str, tried: &Api, root: &Api, calls: &[Call]) {
    for (method, path, body) in calls {
        let answer = tried.ask(method, path, body).unwrap();
        assert_eq!(answer.status, 403, "{who}: {method} {path}: {answer:?}");
        if *method == "LIST" || *method == "GET" && path != "sys/storage/raft/snapshot" {
            let there = root.ask(method, path, body).unwrap().status;
            assert_eq!(there, 200, "root: {method} {path}: a refusal of it shows nothing");
        }
    }
}
