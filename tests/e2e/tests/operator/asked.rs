//! What people ask for: breaking a lock, rolling back, waiting, another token.

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{lock_info, state},
    wait,
};

use crate::world::{Shared, World, message};

impl World {
    /// Waits until a request was handled, and answers what came of it.
    fn handled(&self, namespace: &str, what: &str, request: &str) -> Value {
        let found = self.until(namespace, "app", &format!("{what} {request} was handled"), |found| {
            found["status"]["lastHandled"][what]["request"] == request
        });
        found["status"]["lastHandled"][what].clone()
    }
}

#[test]
fn a_lock_is_broken_by_its_id_and_no_other() {
    let Some(world) = Shared::world("a_lock_is_broken_by_its_id_and_no_other") else { return };
    let namespace = world.cluster.namespace("broken");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.lock(&path, &token, "held");
    world.annotate(&namespace, "app", "force-unlock", "another");
    let refused = world.handled(&namespace, "forceUnlock", "another");
    assert_eq!(refused["outcome"], "Refused");
    assert!(refused["message"].as_str().unwrap().contains("held"), "{refused}");
    world.ask("LOCK", &path, &token).body(lock_info("x")).send().is(409);
    world.annotate(&namespace, "app", "force-unlock", "held");
    assert_eq!(world.handled(&namespace, "forceUnlock", "held")["outcome"], "Done");
    world.until(&namespace, "app", "it is told", |found| {
        found["status"]["locked"] == false && found["status"]["history"][0]["event"] == "ForceUnlocked"
    });
    assert!(world.until_event(&namespace, "ForceUnlockDone").contains("held"));
    world.ask("POST", &format!("{path}?ID=held"), &token).body(state(1, 10)).send().is(409);
    // The same value again does nothing: whoever holds it by now goes on.
    world.lock(&path, &token, "next");
    world.look(&namespace, "app");
    world.ask("LOCK", &path, &token).body(lock_info("x")).send().is(409);
    world.unlock(&path, &token, "next");
    assert_eq!(world.events(&namespace, "ForceUnlockDone").len(), 1);
}

#[test]
fn a_rollback_is_a_compare_and_swap_and_done_once() {
    let Some(world) = Shared::world("a_rollback_is_a_compare_and_swap_and_done_once") else { return };
    let namespace = world.cluster.namespace("rolled");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({"retention": {"maxVersions": 2}}));
    let token = world.token(&namespace, "app");
    for serial in 1..=3 {
        world.write(&path, &token, serial);
    }
    let asks = |request: &str| {
        world.annotate(&namespace, "app", "rollback-to", request);
        world.handled(&namespace, "rollback", request)
    };
    for (request, says) in [("2", "<version>@<current version>"), ("2@1", "current version is 3"), ("9@3", "not kept")]
    {
        let refused = asks(request);
        assert_eq!(refused["outcome"], "Refused", "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(says), "{refused}");
    }
    wait::until("version 1 is gone", || {
        let refused = asks("1@3");
        if refused["message"].as_str().unwrap().contains("not kept") {
            return Ok(());
        }
        Err(refused.to_string())
    });
    world.lock(&path, &token, "held");
    let refused = asks("2@3");
    assert!(refused["outcome"] == "Refused" && refused["message"].as_str().unwrap().contains("locked"), "{refused}");
    world.unlock(&path, &token, "held");
    // Asked for again: taken away, and set anew.
    world.annotate(&namespace, "app", "rollback-to", Value::Null);
    world.until(&namespace, "app", "it was seen to be gone", |found| {
        found["status"]["lastHandled"]["rollback"]["request"].is_null()
    });
    let done = asks("2@3");
    assert_eq!(done["outcome"], "Done", "{done}");
    let current: Value = serde_json::from_str(&world.ask("GET", &path, &token).send().is(200).text()).unwrap();
    assert_eq!(current["serial"], 2);
    let after = world.look(&namespace, "app");
    assert_eq!(after["status"]["lastHandled"]["rollback"], done);
    let after = world.until(&namespace, "app", "it is told", |found| found["status"]["state"]["version"] == 4);
    assert_eq!(after["status"]["history"][0]["event"], "RolledBack", "{after:#}");
    assert!(world.until_event(&namespace, "RollbackDone").contains("2@3"));
}

#[test]
fn while_it_is_suspended_changes_wait_and_the_state_is_served() {
    let test = "while_it_is_suspended_changes_wait_and_the_state_is_served";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("suspended");
    let path = format!("{namespace}/app");
    world.create(&namespace, "new", json!({"suspend": true}));
    world.until_condition(&namespace, "new", "Ready", "False", "Suspended");
    assert!(world.owner(&format!("{namespace}/new")).is_none());
    world.change(&namespace, "new", json!({"suspend": false}));
    world.until_ready(&namespace, "new");

    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.change(&namespace, "app", json!({"suspend": true, "maxSize": "10"}));
    world.until_condition(&namespace, "app", "Ready", "True", "Suspended");
    world.write(&path, &token, 1);
    world.until(&namespace, "app", "the state is told", |found| found["status"]["state"]["serial"] == 1);
    world.lock(&path, &token, "held");
    world.annotate(&namespace, "app", "force-unlock", "held");
    // What is written for it waits, too.
    let config = format!("/api/v1/namespaces/{namespace}/configmaps/app-tofustate");
    world.api().delete(&config).done();
    let status = format!("{}/status", World::at(&namespace, "app"));
    world.api().merge(&status, &json!({"status": {"endpoints": null}})).done();
    world.until(&namespace, "app", "it was looked at", |found| !found["status"]["endpoints"].is_null());
    assert!(world.api().get(&config).is_none());
    world.ask("LOCK", &path, &token).body(lock_info("x")).send().is(409);

    world.change(&namespace, "app", json!({"suspend": false}));
    world.until_condition(&namespace, "app", "Ready", "True", "Ready");
    assert_eq!(world.handled(&namespace, "forceUnlock", "held")["outcome"], "Done");
    world.api().until(&config, "it is written again", |_| true);
    world.ask("POST", &path, &token).body(state(2, 100)).send().is(413);
}

#[test]
fn a_stale_lock_is_told_of_and_keeps_nobody_out() {
    let Some(world) = Shared::world("a_stale_lock_is_told_of_and_keeps_nobody_out") else { return };
    let namespace = world.cluster.namespace("stale");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({"lock": {"staleAfter": "1s"}}));
    world.until_condition(&namespace, "app", "LockStale", "False", "NotLocked");
    let token = world.token(&namespace, "app");
    world.lock(&path, &token, "forgotten");
    let stale = world.until_condition(&namespace, "app", "LockStale", "True", "Stale");
    assert!(message(&stale, "LockStale").contains("force-unlock: forgotten"), "{stale:#}");
    assert_eq!(tofustate_e2e::kube::condition(&stale, "Ready").unwrap()["status"], "True");
    assert!(world.until_event(&namespace, "Stale").contains("somebody@elsewhere"));
    world.unlock(&path, &token, "forgotten");
    world.until_condition(&namespace, "app", "LockStale", "False", "NotLocked");
}

#[test]
fn a_lock_that_is_used_again_is_stale_no_more() {
    let Some(world) = Shared::world("a_lock_that_is_used_again_is_stale_no_more") else { return };
    let namespace = world.cluster.namespace("used-again");
    world.ready(&namespace, json!({"lock": {"staleAfter": "10s"}}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    world.lock(&path, &token, "the-run");
    world.until_condition(&namespace, "app", "LockStale", "True", "Stale");
    world.ask("POST", &format!("{path}?ID=the-run"), &token).body(state(1, 10)).send().is(200);
    world.until_condition(&namespace, "app", "LockStale", "False", "Held");
    world.unlock(&path, &token, "the-run");
}

#[test]
fn a_replaced_credential_ends_its_run_and_begins_no_other() {
    let Some(world) = Shared::world("a_replaced_credential_ends_its_run_and_begins_no_other") else { return };
    let namespace = world.cluster.namespace("rotated");
    let path = format!("{namespace}/app");
    let (old, new) = ("the-old-token-of-this-state", "the-new-token-of-this-state");
    world.secret(&namespace, "mine", &[("token", old)]);
    world.ready(&namespace, json!({"accessTokenSecretRef": {"name": "mine"}}));
    let rotate = |to: &str| {
        world.change_secret(&namespace, "mine", "token", to);
        wait::until("the new token is taken", || {
            let status = world.ask("GET", &path, to).send().status();
            if matches!(status, 200 | 404) { Ok(()) } else { Err(status.to_string()) }
        });
    };
    world.lock(&path, old, "the-run");
    rotate(new);
    world.ask("POST", &format!("{path}?ID=the-run"), old).body(state(1, 10)).send().is(200);
    for (method, query, body) in [
        ("GET", "", String::new()),
        ("POST", "", state(2, 10)),
        ("POST", "?ID=other", state(2, 10)),
        ("LOCK", "", lock_info("the-run")),
        ("DELETE", "", String::new()),
        ("UNLOCK", "", lock_info("other")),
        ("UNLOCK", "", String::new()),
    ] {
        let refused = world.ask(method, &format!("{path}{query}"), old).body(body).send();
        assert_eq!(refused.status(), 403, "{method} {query}: {}", refused.text());
    }
    world.unlock(&path, old, "the-run");
    late_repeats(&world, &path, old);

    // It took none of the locks that come after.
    world.lock(&path, new, "another");
    world.ask("UNLOCK", &path, old).body(lock_info("another")).send().is(403);
    rotate("the-third-token-of-this-state");
    world.ask("POST", &format!("{path}?ID=another"), new).body(state(3, 10)).send().is(200);
    world.annotate(&namespace, "app", "revoke-now", "1");
    wait::until("its time was ended", || {
        let status = world.ask("POST", &format!("{path}?ID=another"), new).body(state(3, 10)).send().status();
        if status == 403 { Ok(()) } else { Err(status.to_string()) }
    });
    world.annotate(&namespace, "app", "force-unlock", "another");
    assert_eq!(world.handled(&namespace, "forceUnlock", "another")["outcome"], "Done");
    let secret = world.api().get(&format!("/api/v1/namespaces/{namespace}/secrets/app-tofustate")).unwrap();
    for token in [old, new] {
        assert!(!secret.to_string().contains(token) && !world.operator.said().contains(token));
    }
}

#[test]
fn a_replaced_credential_ends_its_run_also_after_a_restart() {
    let test = "a_replaced_credential_ends_its_run_also_after_a_restart";
    let Some(mut world) = World::start(test, Default::default()) else { return };
    let namespace = world.cluster.namespace("rotated");
    let path = format!("{namespace}/app");
    let (old, new) = ("the-old-token-of-this-state", "the-new-token-of-this-state");
    world.secret(&namespace, "mine", &[("token", old)]);
    world.ready(&namespace, json!({"accessTokenSecretRef": {"name": "mine"}}));
    world.lock(&path, old, "the-run");
    world.operator.kill();
    world.change_secret(&namespace, "mine", "token", new);
    world.operator.start();
    world.ask("GET", &path, new).send().is(404);
    world.ask("POST", &format!("{path}?ID=the-run"), old).body(state(1, 10)).send().is(200);
    world.until(&namespace, "app", "it is told", |found| found["status"]["state"]["serial"] == 1);
    world.operator.kill();
    world.operator.start();
    world.unlock(&path, old, "the-run");
    late_repeats(&world, &path, old);
}

/// Late repeats of the last calls of the run are what they were, also with the credential that it had; another write is
/// none, nor does it begin another run.
fn late_repeats(world: &World, path: &str, old: &str) {
    world.unlock(path, old, "the-run");
    world.ask("POST", &format!("{path}?ID=the-run"), old).body(state(1, 10)).send().is(200);
    let other = world.ask("POST", &format!("{path}?ID=the-run"), old).body(state(2, 10)).send();
    assert!(other.status() >= 400, "{}", other.text());
    world.ask("LOCK", path, old).body(lock_info("next")).send().is(403);
}
