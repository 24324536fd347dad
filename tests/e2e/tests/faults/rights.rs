//! Least rights, one by one: what a state's token may not, whatever it tries; and that the operator's reads no state.

use serde_json::{Value, json};
use tofustate_e2e::ask::noisy_state;

use crate::{
    replica::{Options, Replica},
    tried::{around, call, destroying, flat, of_entry, refused},
    world::{ROLE, World, policy, token},
};

const PATHS: [&str; 4] = ["team/app", "team/other", "team/app2", "zone/a/b"];

/// A server with states in parts, and the keys of the parts of each.
fn with_states(test: &str) -> Option<(World, Replica, Vec<Vec<String>>)> {
    let world = World::set_up(test)?;
    let replica = Replica::start(&world, "one", Options::default());
    for (serial, path) in (1..).zip(PATHS) {
        replica.serve(path);
        replica.post(path, "", &noisy_state(serial, 900_000)).is(200);
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
        replica.has(path, &noisy_state(serial, 900_000));
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
