//! What others do at the worst moment: two at once, an end in the middle, a hand in what is tofustate's own.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{lock_info, state},
    kube::{Part, condition},
    operator::file,
    wait,
};

use crate::world::{Setting, Shared, World, message};

impl World {
    /// Whether the operator wrote the Secret of this name for this resource.
    fn wrote(&self, resource: &str, secret: &str) -> bool {
        let lines = self.operator.lines("written");
        lines.iter().any(|line| line["resource"] == resource && line["kind"] == "Secret" && line["name"] == secret)
    }

    pub(crate) fn until_status(&self, path: &str, token: &str, status: u16) {
        wait::until(&format!("{path} answers {status}"), || {
            let got = self.ask("GET", path, token).try_send().map(|answer| answer.status());
            if matches!(got, Ok(got) if got == status) {
                return Ok(());
            }
            Err(format!("{got:?}; the operator said\n{}", self.operator.said()))
        });
    }
}

#[test]
fn of_two_that_want_one_secret_at_once_one_gets_it_and_keeps_it() {
    let test = "of_two_that_want_one_secret_at_once_one_gets_it_and_keeps_it";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("one-secret");
    for n in 0..8 {
        let (a, b, secret) = (format!("a-{n}"), format!("b-{n}"), format!("state-{n}"));
        thread::scope(|scope| {
            for name in [&a, &b] {
                scope.spawn(|| world.create(&namespace, name, json!({"connectionSecretName": secret})));
            }
        });
        let (winner, loser) = wait::until("one has it", || {
            let of = |name: &str| {
                let found = world.get(&namespace, name).unwrap();
                condition(&found, "CredentialsReady").map(|found| found["reason"].as_str().unwrap().to_owned())
            };
            match (of(&a).as_deref(), of(&b).as_deref()) {
                (Some("Written"), Some("NameTaken")) => Ok((&a, &b)),
                (Some("NameTaken"), Some("Written")) => Ok((&b, &a)),
                other => Err(format!("{other:?}")),
            }
        });
        let values = world.values(&namespace, &secret).unwrap();
        let path = format!("{namespace}/{winner}");
        assert_eq!(values["TF_HTTP_ADDRESS"], world.operator.url(&path));
        world.ask("GET", &path, &values["TF_HTTP_PASSWORD"]).send().is(404);
        let loser = format!("{namespace}/{loser}");
        assert!(!world.wrote(&loser, &secret), "{loser} wrote {secret}; {}", world.operator.said());
    }
}

#[test]
fn a_secret_that_comes_first_by_a_moment_is_not_overwritten() {
    let test = "a_secret_that_comes_first_by_a_moment_is_not_overwritten";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("by-a-moment");
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    for n in 0..40_u64 {
        let name = format!("app-{n}");
        let theirs = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{name}-tofustate")},
            "stringData": {"password": "somebody elses"},
        });
        world.create(&namespace, &name, json!({}));
        thread::sleep(Duration::from_millis(n * 3));
        let first = world.api().create(&secrets, &theirs).status == 201;
        let reason = if first { "NameTaken" } else { "Written" };
        world.until(&namespace, &name, reason, |found| {
            condition(found, "CredentialsReady").is_some_and(|found| found["reason"] == reason)
        });
        let values = world.values(&namespace, &format!("{name}-tofustate")).unwrap();
        assert_eq!(values.contains_key("TF_HTTP_PASSWORD"), !first, "{n}: {:?}", values.keys());
    }
}

#[test]
fn a_setting_that_somebody_adds_to_a_connection_secret_is_taken_away() {
    let test = "a_setting_that_somebody_adds_to_a_connection_secret_is_taken_away";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("added");
    world.ready(&namespace, json!({}));
    let secret = format!("/api/v1/namespaces/{namespace}/secrets/app-tofustate");
    let added = json!({"data": {"TF_HTTP_SKIP_CERT_VERIFICATION": "dHJ1ZQ==", "OTHER": "bW9yZQ=="}});
    world.api().merge(&secret, &added).done();
    let after = world
        .api()
        .until(&secret, "it is taken away", |found| found["data"]["TF_HTTP_SKIP_CERT_VERIFICATION"].is_null());
    assert_eq!(after["data"]["OTHER"], "bW9yZQ==", "what is not its own stays");
}

#[test]
fn a_token_that_somebody_wrote_into_the_connection_secret_is_never_taken() {
    let test = "a_token_that_somebody_wrote_into_the_connection_secret_is_never_taken";
    let Some(world) = Shared::world(test) else { return };
    let (namespace, chosen) = (world.cluster.namespace("chosen"), "a-token-that-somebody-else-knows");
    world.ready(&namespace, json!({}));
    let (path, old) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    world.lock(&path, &old, "the-run");
    world.change_secret(&namespace, "app-tofustate", "TF_HTTP_PASSWORD", chosen);
    assert!(world.until_event(&namespace, "TokenReplaced").contains("spec.accessTokenSecretRef"));
    let new = world.token(&namespace, "app");
    assert!(new != chosen && new != old);
    world.ask("GET", &path, chosen).send().is(403);
    wait::until("the new token is taken", || match world.ask("GET", &path, &new).send().status() {
        404 => Ok(()),
        other => Err(other.to_string()),
    });
    // The run that has the old one ends well.
    world.ask("GET", &path, &old).send().is(403);
    world.unlock(&path, &old, "the-run");
}

#[test]
fn the_former_connection_secret_goes_as_soon_as_the_new_name_is_free() {
    let test = "the_former_connection_secret_goes_as_soon_as_the_new_name_is_free";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("late-name");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.secret(&namespace, "state", &[("password", "somebody elses")]);
    world.change(&namespace, "app", json!({"connectionSecretName": "state"}));
    world.until_condition(&namespace, "app", "Stalled", "True", "NameTaken");
    let of = |kind: &str, name: &str| format!("/api/v1/namespaces/{namespace}/{kind}/{name}");
    // Runs have the former one until then, also after a restart.
    world.operator.kill();
    world.operator.start();
    world.ask("GET", "late-name/app", &token).send().is(404);
    world.api().delete(&of("secrets", "state")).done();
    world.until_ready(&namespace, "app");
    assert_eq!(world.values(&namespace, "state").unwrap()["TF_HTTP_PASSWORD"], token);
    world.api().until_gone(&of("secrets", "app-tofustate"));
    world.api().until_gone(&of("configmaps", "app-tofustate"));
}

#[test]
fn a_secret_that_changed_while_nothing_was_watched_is_followed() {
    let test = "a_secret_that_changed_while_nothing_was_watched_is_followed";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("unwatched");
    let (old, new) = ("the-old-token-of-this-state", "the-new-token-of-this-state");
    world.secret(&namespace, "mine", &[("token", old)]);
    world.ready(&namespace, json!({"accessTokenSecretRef": {"name": "mine"}}));
    world.create(&namespace, "other", json!({}));
    world.until_ready(&namespace, "other");
    // Until it is tried again at long intervals only.
    world.cluster.kill(Part::ApiServer);
    wait::until("it is noticed", || {
        let told = world.operator.lines("cannot be watched");
        if told.len() >= 3 { Ok(()) } else { Err(world.operator.said()) }
    });
    thread::sleep(Duration::from_secs(12));
    world.cluster.restart(Part::ApiServer);
    world.change_secret(&namespace, "mine", "token", new);
    let secret = format!("/api/v1/namespaces/{namespace}/secrets/other-tofustate");
    let config = format!("/api/v1/namespaces/{namespace}/configmaps/other-tofustate");
    world.api().delete(&secret).done();
    world.api().delete(&config).done();
    world.until_status("unwatched/app", new, 404);
    world.ask("GET", "unwatched/app", old).send().is(403);
    world.api().until(&secret, "it is there again", |_| true);
    world.api().until(&config, "it is there again", |_| true);
}

#[test]
fn one_that_came_anew_is_served_though_the_end_of_the_former_is_seen_late() {
    let test = "one_that_came_anew_is_served_though_the_end_of_the_former_is_seen_late";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("anew");
    // One whose every look takes seconds: its head is gone, and is waited for.
    world.create(&namespace, "slow", json!({}));
    world.until_ready(&namespace, "slow");
    world.ready(&namespace, json!({}));
    world.operator.kill();
    let none = json!({"metadata": {"finalizers": null}});
    world.api().merge(&World::at(&namespace, "slow"), &none).done();
    world.api().delete(&World::at(&namespace, "slow")).done();
    world.api().until_gone(&World::at(&namespace, "slow"));
    world.server.api().must("DELETE", "states/metadata/anew/slow", &Value::Null);
    world.create(&namespace, "slow", json!({}));
    world.operator.start();
    world.until_condition(&namespace, "slow", "Stalled", "True", "HeadLost");
    let token = world.token(&namespace, "app");
    for n in 0..3 {
        world.until_status("anew/app", &token, 404);
        world.annotate(&namespace, "slow", "reconcile", format!("{n}"));
        thread::sleep(Duration::from_millis(200));
        world.api().merge(&World::at(&namespace, "slow"), &none).done();
        world.api().delete(&World::at(&namespace, "slow")).done();
        world.api().until_gone(&World::at(&namespace, "slow"));
        world.delete(&namespace, "app");
        world.ready(&namespace, json!({}));
        world.create(&namespace, "slow", json!({}));
        world.until_condition(&namespace, "slow", "Stalled", "True", "HeadLost");
        world.ask("GET", "anew/app", &world.token(&namespace, "app")).send().is(404);
    }
}

#[test]
fn a_ca_that_cannot_be_read_is_told_and_not_left_out() {
    let test = "a_ca_that_cannot_be_read_is_told_and_not_left_out";
    let Some(mut world) = World::prepare(test, Setting::default()) else { return };
    let ca = file(&world.cluster, "ca-of-the-service.pem", "a CA\n");
    world.operator.arg("--ca-file").arg(ca.to_str().unwrap());
    world.operator.start();
    let namespace = world.cluster.namespace("ca");
    world.ready(&namespace, json!({}));
    let of = |world: &World| world.values("ca", "app-tofustate").unwrap();
    assert_eq!(of(&world)["TF_HTTP_CLIENT_CA_CERTIFICATE_PEM"], "a CA\n");
    std::fs::remove_file(&ca).unwrap();
    let found = world.look(&namespace, "app");
    assert_eq!(of(&world).get("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM").map(String::as_str), Some("a CA\n"));
    assert!(message(&found, "CredentialsReady").contains("ca-of-the-service.pem"), "{found:#}");
    std::fs::write(&ca, "another CA\n").unwrap();
    world.look(&namespace, "app");
    world.until_ready(&namespace, "app");
    assert_eq!(of(&world)["TF_HTTP_CLIENT_CA_CERTIFICATE_PEM"], "another CA\n");
}

#[test]
fn what_somebody_adds_to_the_status_is_taken_away() {
    let Some(world) = Shared::world("what_somebody_adds_to_the_status_is_taken_away") else { return };
    let namespace = world.cluster.namespace("faked");
    let before = world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    world.lock(&path, &token, "held");
    let status = format!("{}/status", World::at(&namespace, "app"));
    let faked = json!({"status": {
        "endpoints": {"external": "http://elsewhere"},
        "lastHandled": {"forceUnlock": {"request": "held", "outcome": "Done", "message": "no"}},
    }});
    world.api().merge(&status, &faked).done();
    world.until(&namespace, "app", "it is taken away", |found| {
        found["status"]["endpoints"] == before["status"]["endpoints"] && found["status"]["lastHandled"].is_null()
    });
    world.annotate(&namespace, "app", "force-unlock", "held");
    world.until(&namespace, "app", "the lock is broken", |found| found["status"]["locked"] == false);
}

#[test]
fn a_lock_is_shown_whatever_revision_somebody_wrote_into_the_status() {
    let test = "a_lock_is_shown_whatever_revision_somebody_wrote_into_the_status";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("revision");
    let ready = world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    let status = format!("{}/status", World::at(&namespace, "app"));
    for removed in [json!(null), json!({"headEpoch": null}), json!({"headRevision": null})] {
        world.api().merge(&status, &json!({"status": removed})).refused(422);
    }
    world.api().merge(&status, &json!({"status": {"headRevision": 9_000_000_000_i64}})).done();
    world.lock("revision/app", &token, "held");
    world.until(&namespace, "app", "its lock is shown", |found| found["status"]["lock"]["id"] == "held");
    assert!(!world.operator.lines("the status speaks of a later revision").is_empty());
    // Nobody can tell it from a store that was set back: a person has to.
    world.operator.kill();
    world.operator.start();
    world.until_condition(&namespace, "app", "Stalled", "True", "StoreWentBack");
    world.ask("GET", "revision/app", &token).send().is(503);
    world.annotate(&namespace, "app", "accept-restore", ready["status"]["headEpoch"].clone());
    world.until_ready(&namespace, "app");
    world.until(&namespace, "app", "its lock is shown", |found| found["status"]["locked"] == true);
    world.unlock("revision/app", &token, "held");
    world.until(&namespace, "app", "it is released", |found| found["status"]["locked"] == false);
}

#[test]
fn a_run_ends_well_though_its_token_could_not_be_replaced_for_long() {
    let test = "a_run_ends_well_though_its_token_could_not_be_replaced_for_long";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("not-written");
    world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    world.lock(&path, &token, "the-run");
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    let secret = format!("{secrets}/app-tofustate");
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app-tofustate"}});
    wait::until("the name is taken", || {
        world.api().delete(&secret);
        let status = world.api().create(&secrets, &theirs).status;
        if status == 201 { Ok(()) } else { Err(status.to_string()) }
    });
    world.until_condition(&namespace, "app", "Stalled", "True", "NameTaken");
    let now = world.values(&namespace, "app-tofustate").unwrap();
    assert!(now.is_empty(), "it was overwritten");
    // More often than replaced credentials are kept.
    for _ in 0..20 {
        world.look(&namespace, "app");
    }
    world.api().delete(&secret).done();
    world.until_ready(&namespace, "app");
    world.until_status(&path, &world.token(&namespace, "app"), 404);
    world.ask("POST", &format!("{path}?ID=the-run"), &token).body(state(1, 10)).send().is(200);
    world.ask("UNLOCK", &path, &token).body(lock_info("the-run")).send().is(200);
    world.ask("GET", &path, &token).send().is(403);
}

#[test]
fn a_locked_state_whose_owner_entry_is_gone_is_waited_for_all_the_same() {
    let test = "a_locked_state_whose_owner_entry_is_gone_is_waited_for_all_the_same";
    let Some(world) = Shared::unguarded(test) else { return };
    let namespace = world.cluster.namespace("entry-gone");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.lock(&path, &token, "held");
    world.server.api().must("DELETE", &format!("states/metadata/.owners/{namespace}:app"), &Value::Null);
    world.api().delete(&World::at(&namespace, "app")).done();
    world.until_condition(&namespace, "app", "Stalled", "True", "WaitingForUnlock");
    world.ask("POST", &format!("{path}?ID=held"), &token).body(state(1, 10)).send().is(200);
    world.unlock(&path, &token, "held");
    world.until_gone(&namespace, "app");
    assert_eq!(world.owner(&path).unwrap()["released"], "state");
}

#[test]
fn a_suspended_one_whose_connection_secret_is_gone_says_so() {
    let test = "a_suspended_one_whose_connection_secret_is_gone_says_so";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("suspended-gone");
    world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    world.change(&namespace, "app", json!({"suspend": true}));
    world.until_condition(&namespace, "app", "Ready", "True", "Suspended");
    world.api().delete(&format!("/api/v1/namespaces/{namespace}/secrets/app-tofustate")).done();
    let gone = world.until_condition(&namespace, "app", "CredentialsReady", "False", "NotWritten");
    assert!(message(&gone, "CredentialsReady").contains("app-tofustate is gone"), "{gone:#}");
    world.ask("GET", &path, &token).send().is(404);
    world.change(&namespace, "app", json!({"suspend": false}));
    world.until_ready(&namespace, "app");
    world.until_status(&path, &world.token(&namespace, "app"), 404);
}
