//! OpenBao's own audit log of a run: every read and write of a state is under that state's own token, and none under the
//! operator's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    clients::Clients,
    replica::{Options, Replica},
    world::{World, token},
};

const PATHS: [&str; 2] = ["team/app", "team/other"];

#[test]
fn every_read_and_write_of_a_state_is_under_its_own_token() {
    let name = "every_read_and_write_of_a_state_is_under_its_own_token";
    let Some(world) = World::set_up(name) else { return };
    let root = world.api();
    world.server.audit_on();
    let operator = root.with_token(token(&world.operator()).expose());
    let operator =
        operator.must("GET", "auth/token/lookup-self", &Value::Null)["accessor"].as_str().unwrap().to_owned();
    let replicas = ["one", "two"].map(|name| Replica::start(&world, name, Options::default()));
    let mut own: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let note = |own: &mut BTreeMap<&str, BTreeSet<String>>| {
        for (replica, path) in replicas.iter().flat_map(|replica| PATHS.map(|path| (replica, path))) {
            own.entry(path).or_default().insert(replica.accessor(path));
        }
    };
    for replica in &replicas {
        PATHS.iter().for_each(|path| drop(replica.serve(path)));
    }
    note(&mut own);
    let clients = Clients::at_work(&replicas.each_ref(), &PATHS, |clients| {
        clients.go_on(12);
        // Others in their place are the state's own too.
        for accessor in own.values().flatten() {
            root.must("POST", "auth/token/revoke-accessor", &serde_json::json!({ "accessor": accessor }));
        }
        clients.go_on(12);
    });
    note(&mut own);
    // The sweep lists, and asks how old parts are.
    for replica in &replicas {
        for path in PATHS {
            replica.run(replica.state(path).sweep()).unwrap();
        }
    }

    let mut counts: BTreeMap<(&str, &str, String), u64> = BTreeMap::new();
    let mut operators: BTreeMap<String, u64> = BTreeMap::new();
    for line in world.server.audit() {
        if line["type"] != "response" {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (path, operation) = (text(&line["request"]["path"]), text(&line["request"]["operation"]));
        let accessor = text(&line["auth"]["accessor"]);
        match PATHS.into_iter().find_map(|state| Some((state, kind(&path, state)?))) {
            // A token that was just revoked has no accessor any more, and nothing was done with it.
            Some((state, _)) if accessor.is_empty() => {
                assert!(line["error"].is_string(), "{state} without a token: {line}");
            }
            Some((state, kind)) => {
                assert!(own[state].contains(&accessor), "{state}: {kind} by another token: {line}");
                *counts.entry((state, kind, operation)).or_default() += 1;
            }
            None if accessor == operator => {
                assert!(!path.starts_with("states/") || path.starts_with("states/data/.owners/"), "{line}");
                let what = path.split('/').take(2).collect::<Vec<_>>().join("/");
                *operators.entry(format!("{operation} {what}")).or_default() += 1;
            }
            None => {}
        }
    }
    println!("{name}: {} cycles; states: {counts:?}; the operator: {operators:?}", clients.cycles());
    for state in PATHS {
        for (kind, operation) in
            [("head", "read"), ("head", "update"), ("part", "read"), ("part", "create"), ("age", "list")]
        {
            let count = counts.get(&(state, kind, operation.to_owned())).copied().unwrap_or(0);
            assert!(count > 0, "{state}: no {operation} of a {kind}");
        }
    }
    assert!(operators.values().sum::<u64>() > 0, "nothing by the operator is in the log");
    assert_eq!(clients.bodies().len(), PATHS.len());
    for (path, bytes) in clients.bodies() {
        replicas.iter().for_each(|replica| replica.has(path, &bytes));
    }
}

/// What of a state a request's path is of, if of that state at all.
fn kind(path: &str, state: &str) -> Option<&'static str> {
    let flat = state.replace('/', ":");
    match path.strip_prefix("states/")? {
        rest if rest == format!("data/{state}") || rest == format!("metadata/{state}") => Some("head"),
        rest if rest.starts_with(&format!("data/.versions/{flat}/")) => Some("part"),
        rest if rest.starts_with(&format!("metadata/.versions/{flat}/")) => Some("age"),
        _ => None,
    }
}
