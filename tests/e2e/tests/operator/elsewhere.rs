//! What others change of a state, and nobody tells the operator: it is found out when the resource is looked at again.

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{ask, lock_info, state},
    operator::INSTANCE,
    standalone::{Standalone, writer},
    wait,
};

use crate::world::{Setting, World};

/// With the shortest resync that there is.
fn resyncing(test: &str) -> Option<World> {
    World::start(test, Setting { args: &["--resync", "10"], ..Setting::default() })
}

#[test]
fn what_another_replica_does_is_shown_within_the_resync() {
    let Some(world) = resyncing("what_another_replica_does_is_shown_within_the_resync") else { return };
    let namespace = world.cluster.namespace("replica");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    let mut other = Standalone::on(&world.server, INSTANCE, &world.server.bootstrap(INSTANCE, &[]));
    // The same namespace and name: another replica's view of the same resource.
    other.register(&path, "");
    other.start();
    let token = writer(&path);
    let asks = |method: &str, query: &str, body: String| {
        ask(method, &format!("{}{query}", other.url(&path))).token(&token).body(body).send().is(200);
    };
    asks("LOCK", "", lock_info("elsewhere"));
    let locked = world.until(&namespace, "app", "its lock is shown", |found| found["status"]["locked"] == true);
    assert_eq!(locked["status"]["lock"]["id"], "elsewhere", "{locked:#}");
    asks("POST", "?ID=elsewhere", state(7, 10));
    asks("UNLOCK", "", lock_info("elsewhere"));
    let after = world.until(&namespace, "app", "the state is shown", |found| {
        found["status"]["state"]["serial"] == 7 && found["status"]["locked"] == false
    });
    assert_eq!(after["status"]["lastHandled"], Value::Null, "nobody asked for a look");
    // And the other way round.
    let here = world.token(&namespace, "app");
    world.write(&path, &here, 8);
    let found: Value =
        serde_json::from_str(&ask("GET", &other.url(&path)).token(&token).send().is(200).text()).unwrap();
    assert_eq!(found["serial"], 8);
    other.terminate();
}

#[test]
fn drift_in_openbao_is_mended_within_the_resync() {
    let Some(world) = resyncing("drift_in_openbao_is_mended_within_the_resync") else { return };
    let namespace = world.cluster.namespace("drift");
    let before = world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    let policy = format!("sys/policies/acl/{}", World::policy(&namespace, "app"));
    world.server.api().must("DELETE", &policy, &Value::Null);
    wait::until("the policy is there again", || {
        let found = world.server.api().ask("GET", &policy, &Value::Null)?;
        let right = found.status == 200 && found.body.to_string().contains("states/data/drift/app");
        if right { Ok(()) } else { Err(format!("{found:?}; the operator said\n{}", world.operator.said())) }
    });
    let accessor = &before["status"]["openbao"]["tokenAccessor"];
    world.server.api().must("POST", "auth/token/revoke-accessor", &json!({"accessor": accessor}));
    let after = world.until(&namespace, "app", "there is another token", |found| {
        found["status"]["openbao"]["tokenAccessor"].is_string()
            && found["status"]["openbao"]["tokenAccessor"] != *accessor
    });
    assert!(world.server.look_up(after["status"]["openbao"]["tokenAccessor"].as_str().unwrap()).is_some());
    assert_eq!(after["status"]["lastHandled"], Value::Null, "nobody asked for a look");
    world.write(&path, &token, 1);
}
