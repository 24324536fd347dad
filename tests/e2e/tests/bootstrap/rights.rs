//! Least rights: what a state's token and the operator's are refused, tried one by one, and what the audit log has of it.

use serde_json::{Value, json};
use tofustate::store::{Expect, KvError, Stores as _, Value as Entry};
use tofustate_e2e::bao::Api;

use crate::world::{POLICY, ROLE, World, off, policy, run, state, token};

/// Each is refused with 403.
fn refused(who: &str, api: &Api, calls: &[(&str, String, Value)]) {
    for (method, path, body) in calls {
        let answer = api.ask(method, path, body).unwrap();
        assert_eq!(answer.status, 403, "{who}: {method} {path}: {answer:?}");
    }
}

#[test]
fn each_token_does_its_own_and_is_refused_all_else() {
    let Some(world) = World::set_up("each_token_does_its_own_and_is_refused_all_else") else { return };
    let api = world.api();
    world.server.audit_on();
    let stores = world.stores();
    let (mine, theirs) = ("team/app", "team/other");
    run(async {
        for path in [mine, theirs] {
            let kv = state(&stores, path);
            kv.put(path, &Entry::Document("{}".into()), Expect::Absent).await.unwrap();
            assert!(kv.get(path).await.unwrap().is_some());
        }
        // Of another's state the store itself is refused.
        let kv = state(&stores, mine);
        assert!(matches!(kv.get(theirs).await, Err(KvError::Denied(_))));
        assert!(matches!(kv.put(theirs, &Entry::Document("{}".into()), Expect::Absent).await, Err(KvError::Denied(_))));
        // And the operator's token of all of them.
        assert!(matches!(stores.owners().get(mine).await, Err(KvError::Denied(_))));
    });

    let kept = std::fs::read(world.kept().join("team/app.json")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    let own = world.api().with_token(kept["token"].as_str().unwrap());
    let write = || json!({"options": {"cas": 0}, "data": {"x": "y"}});
    let call = |method, path: &str, body: Value| (method, path.to_owned(), body);
    refused(
        "a state's token",
        &own,
        &[
            call("GET", "states/data/team/other", Value::Null),
            call("POST", "states/data/team/other", write()),
            call("POST", "states/data/team/app/more", write()),
            call("POST", "states/data/team/ap", write()),
            call("GET", "states/data/.versions/team:other/1-a", Value::Null),
            call("POST", "states/data/.versions/team:app2/1-a", write()),
            call("LIST", "states/metadata/.versions", Value::Null),
            call("LIST", "states/metadata", Value::Null),
            call("LIST", "states/metadata/team", Value::Null),
            call("LIST", "states/metadata/.versions/team:other", Value::Null),
            call("GET", "states/data/.owners/team:app", Value::Null),
            call("POST", "states/data/.owners/team:app", write()),
            // Its own head is not deleted, nor given a time to vanish at.
            call("DELETE", "states/data/team/app", Value::Null),
            call("DELETE", "states/metadata/team/app", Value::Null),
            call("POST", "states/metadata/team/app", json!({"delete_version_after": "1s"})),
            call("POST", "states/delete/team/app", json!({"versions": [1]})),
            call("POST", "states/destroy/team/app", json!({"versions": [1]})),
            call("GET", "states/config", Value::Null),
            call("POST", "states/config", json!({"cas_required": false})),
            call("GET", "sys/mounts", Value::Null),
            call("POST", "sys/mounts/x", json!({"type": "kv"})),
            call("DELETE", "sys/mounts/states", Value::Null),
            call("GET", &format!("sys/policies/acl/{}", policy(mine)), Value::Null),
            call("POST", &format!("sys/policies/acl/{}", policy(mine)), json!({"policy": ""})),
            call("POST", "auth/token/create", json!({})),
            call("POST", &format!("auth/token/create/{ROLE}"), json!({"policies": [policy(mine)]})),
            call("POST", "auth/token/lookup-accessor", json!({"accessor": "x"})),
            call("POST", "auth/token/revoke-accessor", json!({"accessor": "x"})),
            call("POST", "auth/token/renew-self", json!({})),
            call("POST", "sys/capabilities-self", json!({"paths": ["states/config"]})),
        ],
    );

    let operator = world.api().with_token(token(&world.operator()).expose());
    refused(
        "the operator's token",
        &operator,
        &[
            call("GET", "states/data/team/app", Value::Null),
            call("POST", "states/data/team/app", write()),
            call("LIST", "states/metadata", Value::Null),
            call("DELETE", "states/metadata/team/app", Value::Null),
            call("GET", "states/data/.versions/team:app/1-a", Value::Null),
            call("DELETE", "states/metadata/.owners/team:app", Value::Null),
            call("POST", "states/config", json!({"cas_required": false})),
            call("GET", "sys/mounts", Value::Null),
            call("DELETE", "sys/mounts/states", Value::Null),
            call("GET", &format!("sys/policies/acl/{POLICY}"), Value::Null),
            call("POST", &format!("sys/policies/acl/{POLICY}"), json!({"policy": ""})),
            call("POST", "sys/policies/acl/tofustate/other/a/b", json!({"policy": ""})),
            call("POST", &format!("auth/token/roles/{ROLE}"), json!({"allowed_policies_glob": ["*"]})),
            call("POST", "auth/token/create", json!({})),
            call("POST", "auth/token/create-orphan", json!({})),
            call("GET", "sys/audit", Value::Null),
        ],
    );
    // A policy that is not of this instance is not given by the role either.
    for other in ["root", "default", POLICY, "tofustate/other/a/b"] {
        let asked = json!({"policies": [other], "no_default_policy": true});
        let answer = operator.ask("POST", &format!("auth/token/create/{ROLE}"), &asked).unwrap();
        assert_eq!(answer.status, 400, "{other}: {answer:?}");
    }
    run(async { off(|| drop(api)) });

    // Each state was read and written by its own token and by nobody else.
    for path in [mine, theirs] {
        let accessor = stores_accessor(&world, path);
        let entry = format!("states/data/{path}");
        let done: Vec<_> = world
            .server
            .audit()
            .into_iter()
            .filter(|line| line["type"] == "response" && line["request"]["path"] == entry && line["error"].is_null())
            .filter(|line| line["response"]["data"]["error"].is_null())
            .collect();
        assert!(done.len() >= 2, "{path}: {done:?}");
        for line in done {
            assert_eq!(line["auth"]["accessor"], accessor, "{path}: {line}");
        }
    }
}

fn stores_accessor(world: &World, path: &str) -> String {
    let file = world.kept().join(format!("{path}.json"));
    let kept: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    kept["accessor"].as_str().unwrap().to_owned()
}
