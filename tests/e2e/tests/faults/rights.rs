//! Least rights, one by one: what a state's token may not, whatever it tries; and that the operator's reads no state.

use serde_json::{Value, json};
use tofustate_e2e::bao::Api;

use crate::{
    replica::{Options, Replica, body},
    world::{POLICY, ROLE, World, policy, token},
};

const PATHS: [&str; 4] = ["team/app", "team/other", "team/app2", "zone/a/b"];

type Call = (&'static str, String, Value);

fn call(method: &'static str, path: impl Into<String>, body: Value) -> Call {
    (method, path.into(), body)
}

fn flat(path: &str) -> String {
    path.replace('/', ":")
}

/// All that can be asked of one KV v2 entry.
fn of_entry(key: &str) -> Vec<Call> {
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
fn destroying(key: &str) -> Vec<Call> {
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
fn around() -> Vec<Call> {
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
fn refused(who: &str, tried: &Api, root: &Api, calls: &[Call]) {
    for (method, path, body) in calls {
        let answer = tried.ask(method, path, body).unwrap();
        assert_eq!(answer.status, 403, "{who}: {method} {path}: {answer:?}");
        if *method == "LIST" || *method == "GET" && path != "sys/storage/raft/snapshot" {
            let there = root.ask(method, path, body).unwrap().status;
            assert_eq!(there, 200, "root: {method} {path}: a refusal of it shows nothing");
        }
    }
}

/// A server with states in parts, and the keys of the parts of each.
fn with_states(test: &str) -> Option<(World, Replica, Vec<Vec<String>>)> {
    let world = World::set_up(test)?;
    let replica = Replica::start(&world, "one", Options::default());
    for (serial, path) in (1..).zip(PATHS) {
        replica.serve(path);
        replica.post(path, "", &body(serial, 900_000)).is(200);
    }
    let parts = PATHS.map(|path| {
        let folder = format!(".versions/{}", flat(path));
        let listed = world.api().must("LIST", &format!("states/metadata/{folder}"), &Value::Null);
        let names = listed["keys"].as_array().unwrap();
        assert!(!names.is_empty(), "{path} has no parts");
        names.iter().map(|name| format!("{folder}/{}", name.as_str().unwrap())).collect()
    });
    Some((world, replica, parts.into()))
}

/// Nothing of it did anything.
fn nothing_changed(replica: &Replica) {
    for (serial, path) in (1..).zip(PATHS) {
        replica.has(path, &body(serial, 900_000));
        replica.lock(path, "after").is(200);
        replica.unlock(path, "after").is(200);
    }
}

#[test]
fn a_states_token_is_refused_all_that_is_not_its_own() {
    let name = "a_states_token_is_refused_all_that_is_not_its_own";
    let Some((world, replica, parts)) = with_states(name) else { return };
    let root = world.api();
    world.server.audit_on();
    let operator = root.with_token(token(&world.operator()).expose());
    let operator = operator.must("GET", "auth/token/lookup-self", &Value::Null)["accessor"].clone();
    let mut tried = 0;
    for mine in PATHS {
        let own = root.with_token(&replica.secret(mine));
        let mut calls = around();
        calls.extend(destroying(mine));
        calls.push(call("PATCH", format!("states/data/{mine}"), json!({"data": {"document": "{}"}})));
        calls.push(call("GET", format!("states/metadata/{mine}"), Value::Null));
        calls.push(call(
            "POST",
            format!("states/data/{mine}/below"),
            json!({"options": {"cas": 0}, "data": {"x": "y"}}),
        ));
        calls.push(call("POST", format!("auth/token/create/{ROLE}"), json!({"policies": [policy(mine)]})));
        for at in ["lookup-self", "renew-self", "revoke-self"] {
            let method = if at == "lookup-self" { "GET" } else { "POST" };
            tried += 1;
            assert_eq!(own.ask(method, &format!("auth/token/{at}"), &json!({})).unwrap().status, 403, "{at}");
        }
        for (other, parts) in PATHS.iter().zip(&parts) {
            calls.extend(of_entry(&format!(".owners/{}", flat(other))));
            for method in ["GET", "POST", "DELETE"] {
                let text = if method == "POST" { json!({"policy": ""}) } else { Value::Null };
                calls.push(call(method, format!("sys/policies/acl/{}", policy(other)), text));
            }
            if *other == mine {
                continue;
            }
            calls.extend(of_entry(other));
            calls.extend(parts.iter().flat_map(|part| of_entry(part)));
            calls.push(call("LIST", format!("states/metadata/.versions/{}", flat(other)), Value::Null));
            for accessor in [json!(replica.accessor(other)), operator.clone()] {
                for verb in ["lookup", "renew", "revoke"] {
                    calls.push(call("POST", format!("auth/token/{verb}-accessor"), json!({ "accessor": accessor })));
                }
            }
            for verb in ["lookup", "renew", "revoke"] {
                let theirs = json!({"token": replica.secret(other)});
                calls.push(call("POST", format!("auth/token/{verb}"), theirs));
            }
            // Spelled otherwise it is no more its own.
            for spelled in
                [format!("{mine}/../../{other}"), format!("{mine}/%2e%2e/%2e%2e/{other}"), format!("/{other}")]
            {
                let (status, body) = own.bytes("GET", &format!("states/data/{spelled}"), &[]).unwrap();
                assert!(
                    !(200..300).contains(&status) && !body.windows(8).any(|part| part == b"document"),
                    "{spelled}: {status}"
                );
            }
        }
        refused(mine, &own, &root, &calls);
        tried += calls.len();
        // And its own is.
        assert_eq!(own.ask("GET", &format!("states/data/{mine}"), &Value::Null).unwrap().status, 200);
        let folder = format!("states/metadata/.versions/{}", flat(mine));
        assert_eq!(own.ask("LIST", &folder, &Value::Null).unwrap().status, 200);
    }
    println!("{name}: {tried} calls were refused");
    nothing_changed(&replica);
}

#[test]
fn the_operators_token_reads_no_state_and_changes_none() {
    let name = "the_operators_token_reads_no_state_and_changes_none";
    let Some((world, replica, parts)) = with_states(name) else { return };
    let root = world.api();
    world.server.audit_on();
    let operator = root.with_token(token(&world.operator()).expose());
    // What it reads or writes as it must.
    let allowed = [("GET", "states/config"), ("GET", "states/data/.owners/team:app")];
    let mut calls: Vec<_> = around();
    let role = format!("auth/token/roles/{ROLE}");
    calls.retain(|(method, path, _)| !allowed.contains(&(*method, path.as_str())) && (*method, path) != ("GET", &role));
    for (path, parts) in PATHS.iter().zip(&parts) {
        calls.extend(of_entry(path));
        calls.extend(parts.iter().flat_map(|part| of_entry(part)));
        calls.push(call("LIST", format!("states/metadata/.versions/{}", flat(path)), Value::Null));
        calls.extend(destroying(&format!(".owners/{}", flat(path))));
        calls.push(call("POST", "auth/token/revoke", json!({"token": replica.secret(path)})));
    }
    for text in ["sys/policies/acl/tofustate/other/team/app", "sys/policies/acl/default"] {
        calls.push(call("POST", text, json!({"policy": ""})));
    }
    refused("the operator", &operator, &root, &calls);
    for (method, path) in allowed {
        assert_eq!(operator.ask(method, path, &Value::Null).unwrap().status, 200, "{method} {path}");
    }
    println!("{name}: {} calls were refused", calls.len());
    nothing_changed(&replica);
}
