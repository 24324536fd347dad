//! The end of a resource, and of its state where that is asked for.

use serde_json::{Value, json};
use tofustate::{
    controller::keeper,
    openbao::{Instance, PolicyName},
};
use tofustate_e2e::{
    ask::{lock_info, noisy_state, state},
    bao,
    kube::{Kstatus, OPERATOR_NAMESPACE, condition, kstatus},
    operator::INSTANCE,
    proxy::{self, Fault},
    wait,
};

use crate::world::{Setting, Shared, World, message};

/// What OpenBao and the operator's namespace have for a resource besides its state.
fn left(world: &World, namespace: &str) -> (Vec<String>, bool) {
    let policy = World::policy(namespace, "app");
    let there =
        world.server.api().ask("GET", &format!("sys/policies/acl/{policy}"), &Value::Null).unwrap().status == 200;
    (world.server.tokens_of(&policy), there)
}

#[test]
fn retain_keeps_the_state_and_delete_ends_it() {
    let Some(world) = Shared::world("retain_keeps_the_state_and_delete_ends_it") else { return };
    let namespace = world.cluster.namespace("ended");
    let path = format!("{namespace}/app");
    let retained = world.ready(&namespace, json!({}));
    world.write(&path, &world.token(&namespace, "app"), 1);
    assert_eq!(left(&world, &namespace).0.len(), 1);
    world.delete(&namespace, "app");
    assert_eq!(left(&world, &namespace), (vec![], false));
    assert!(world.entry(&path).is_some(), "the head stays");
    assert_eq!(world.owner(&path).unwrap()["released"], "state");
    let kept = world.api().get(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets")).unwrap();
    assert!(!kept.to_string().contains(&World::policy(&namespace, "app")), "the token is kept still");

    let again = world.ready(&namespace, json!({"retention": {"deletionPolicy": "Delete"}}));
    assert_eq!(again["status"]["state"]["serial"], 1, "{again:#}");
    assert_ne!(again["metadata"]["uid"], retained["metadata"]["uid"]);
    // It has no resources, so nothing has to be confirmed.
    world.delete(&namespace, "app");
    assert_eq!(world.owner(&path).unwrap()["released"], "nothing");
    let last = world.ready(&namespace, json!({}));
    assert!(last["status"]["state"].is_null() && last["status"]["history"] == json!([]), "{last:#}");
    world.ask("GET", &path, &world.token(&namespace, "app")).send().is(404);
}

#[test]
fn a_state_with_resources_is_deleted_where_that_is_confirmed() {
    let test = "a_state_with_resources_is_deleted_where_that_is_confirmed";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("confirmed");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({"retention": {"deletionPolicy": "Delete"}}));
    let token = world.token(&namespace, "app");
    let with = json!({"version": 4, "serial": 1, "lineage": "l", "resources": [{"mode": "managed"}]});
    world.ask("POST", &path, &token).body(with.to_string()).send().is(200);
    world.api().delete(&World::at(&namespace, "app")).done();
    let waits = world.until_condition(&namespace, "app", "Stalled", "True", "NeedsConfirmation");
    assert!(message(&waits, "Stalled").contains("confirm-delete: confirmed/app"), "{waits:#}");
    world.ask("GET", &path, &token).send().is(200);
    world.annotate(&namespace, "app", "confirm-delete", "confirmed/other");
    world.look_while_deleting(&namespace);
    assert!(world.get(&namespace, "app").is_some());
    world.annotate(&namespace, "app", "confirm-delete", path.clone());
    world.until_gone(&namespace, "app");
    world.ask("GET", &path, &token).send().is(403);
    assert_eq!(world.owner(&path).unwrap()["released"], "nothing");
}

impl World {
    /// How many reconciliations ended because the store is away.
    fn tried_in_vain(&self) -> u64 {
        let metrics = self.operator.metrics();
        let line = metrics.lines().find(|line| line.contains("reconciliations_total{outcome=\"away\"}"));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Takes the lock of `<namespace>/app`, deletes the resource, and waits until that waits for the unlock.
    fn delete_while_locked(&self, namespace: &str, token: &str, id: &str) -> Value {
        self.lock(&format!("{namespace}/app"), token, id);
        self.api().delete(&Self::at(namespace, "app")).done();
        self.until_condition(namespace, "app", "Stalled", "True", "WaitingForUnlock")
    }

    /// Waits until the operator said something of a resource that is deleted, after now.
    fn look_while_deleting(&self, namespace: &str) {
        let before = self.get(namespace, "app").unwrap()["status"]["openbao"].clone();
        let status = format!("{}/status", Self::at(namespace, "app"));
        self.api().merge(&status, &json!({"status": {"openbao": null}})).done();
        self.until(namespace, "app", "it was looked at", |found| found["status"]["openbao"] == before);
    }
}

#[test]
fn a_locked_state_is_served_until_it_is_unlocked() {
    let Some(world) = Shared::unguarded("a_locked_state_is_served_until_it_is_unlocked") else { return };
    let namespace = world.cluster.namespace("locked");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    let waits = world.delete_while_locked(&namespace, &token, "the-run");
    assert_eq!(condition(&waits, "Ready").unwrap()["status"], "True", "a lock never changes it: {waits:#}");
    assert!(message(&waits, "Stalled").contains("somebody@elsewhere"), "{waits:#}");
    assert_eq!(kstatus(&waits).0, Kstatus::Terminating);
    world.ask("POST", &format!("{path}?ID=the-run"), &token).body(state(1, 10)).send().is(200);
    world.unlock(&path, &token, "the-run");
    world.until_gone(&namespace, "app");
    world.ask("GET", &path, &token).send().is(403);

    // Or its lock is broken.
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.delete_while_locked(&namespace, &token, "another-run");
    world.annotate(&namespace, "app", "force-unlock", "another-run");
    world.until_gone(&namespace, "app");
    assert!(world.until_event(&namespace, "ForceUnlockDone").contains("another-run"));
}

#[test]
fn a_deletion_goes_on_after_a_restart() {
    let setting = Setting { unguarded: true, ..Setting::default() };
    let Some(mut world) = World::start("a_deletion_goes_on_after_a_restart", setting) else { return };
    let namespace = world.cluster.namespace("resumed");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.delete_while_locked(&namespace, &token, "the-run");
    world.operator.kill();
    world.operator.start();
    world.ask("GET", &path, &token).send().is(404);
    world.ask("LOCK", &path, &token).body(lock_info("other")).send().is(409);
    world.unlock(&path, &token, "the-run");
    world.until_gone(&namespace, "app");
    assert_eq!(left(&world, &namespace), (vec![], false));
}

#[test]
fn with_openbao_away_a_retained_one_goes_and_what_is_left_is_named() {
    let test = "with_openbao_away_a_retained_one_goes_and_what_is_left_is_named";
    let setting = Setting { args: &["--release-wait", "1", "--store-wait", "5"], ..Setting::default() };
    let Some(world) = World::start(test, setting) else { return };
    let namespace = world.cluster.namespace("left-behind");
    let ready = world.ready(&namespace, json!({}));
    world.create(&namespace, "ended", json!({"retention": {"deletionPolicy": "Delete"}}));
    let ended = world.until_ready(&namespace, "ended");
    let node = world.server.seal();
    world.operator.await_shut("OpenBao is away");
    world.delete(&namespace, "app");
    let note = world.until_event(&namespace, "LeftBehind");
    let accessor = ready["status"]["openbao"]["tokenAccessor"].as_str().unwrap();
    for named in [".owners/left-behind:app", "tofustate/prod/left-behind/app", accessor] {
        assert!(note.contains(named), "{named} in {note}");
    }
    // One that is to be deleted waits, and nothing of it is touched by the tries.
    let before = world.tried_in_vain();
    world.api().delete(&World::at(&namespace, "ended")).done();
    wait::until("a try failed", || match world.tried_in_vain() {
        now if now > before => Ok(()),
        now => Err(format!("{now}; the operator said\n{}", world.operator.said())),
    });
    let now = world.get(&namespace, "ended").unwrap();
    assert_eq!(now["status"], ended["status"]);
    assert_eq!(now["metadata"]["finalizers"], ended["metadata"]["finalizers"]);
    world.server.unseal(node);
    world.until_gone(&namespace, "ended");
    // Whoever comes anew under that name has the path still.
    world.ready(&namespace, json!({}));
}

#[test]
fn whoever_takes_the_finalizer_away_ends_the_service_and_not_the_claim() {
    let test = "whoever_takes_the_finalizer_away_ends_the_service_and_not_the_claim";
    let Some(world) = Shared::unguarded(test) else { return };
    let namespace = world.cluster.namespace("forced");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.lock(&path, &token, "x");
    world.api().delete(&World::at(&namespace, "app")).done();
    world.api().merge(&World::at(&namespace, "app"), &json!({"metadata": {"finalizers": null}})).done();
    world.until_gone(&namespace, "app");
    wait::until("it is not served any more", || {
        let status = world.ask("GET", &path, &token).send().status();
        if status == 403 { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(world.owner(&path).unwrap()["released"], Value::Null);
    world.ready(&namespace, json!({}));
    world.ask("LOCK", &path, &world.token(&namespace, "app")).body(lock_info("y")).send().is(409);
}

#[test]
fn a_locked_one_is_served_again_after_openbao_was_away() {
    let test = "a_locked_one_is_served_again_after_openbao_was_away";
    let args = &["--release-wait", "1", "--store-wait", "5"];
    let setting = Setting { args, unguarded: true, ..Setting::default() };
    let Some(world) = World::start(test, setting) else { return };
    let namespace = world.cluster.namespace("held-on");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.delete_while_locked(&namespace, &token, "the-run");
    let before = world.tried_in_vain();
    let node = world.server.seal();
    // The first look away begins the time, and at the second it is over.
    wait::until("it was looked at while OpenBao is away", || {
        let there = world.get(&namespace, "app").is_some();
        assert!(there, "it was given up while locked; the operator said\n{}", world.operator.said());
        let looks = world.tried_in_vain() - before;
        if looks >= 3 { Ok(()) } else { Err(format!("{looks} looks")) }
    });
    world.server.unseal(node);
    wait::until("the run that goes on can write", || {
        let write = world.ask("POST", &format!("{path}?ID=the-run"), &token).body(state(1, 10));
        match write.send().status() {
            200 => Ok(()),
            status @ 503 => Err(status.to_string()),
            status => panic!("{status}; the operator said\n{}", world.operator.said()),
        }
    });
    world.unlock(&path, &token, "the-run");
    world.until_gone(&namespace, "app");
    assert_eq!(world.owner(&path).unwrap()["released"], "state");
}

/// With OpenBao behind a proxy.
fn proxied(test: &str) -> Option<World> {
    let server = bao::Setup { proxied: true, ..bao::Setup::default() };
    World::start(test, Setting { server, unguarded: true, ..Setting::default() })
}

#[test]
fn a_deletion_goes_on_after_each_of_its_steps_failed() {
    let test = "a_deletion_goes_on_after_each_of_its_steps_failed";
    let Some(world) = proxied(test) else { return };
    /// Whether a call, by its method and path, is the one that fails.
    type Fails = fn(&str, &str) -> bool;
    let steps: [(&str, Fails); 4] = [
        ("part", |method, path| method == "DELETE" && path.contains("/metadata/.versions/")),
        ("accessor", |_, path| path.ends_with("/revoke-accessor")),
        ("policy", |method, path| method == "DELETE" && path.contains("/policies/acl/")),
        ("owner", |method, path| method != "GET" && path.contains("/data/.owners/")),
    ];
    for (step, matches) in steps {
        for (policy, serial) in [("Delete", Some(1)), ("Retain", Some(1)), ("Retain", None)] {
            if step == "part" && policy == "Retain" {
                continue;
            }
            let name = format!("{step}-{}-{}", policy.to_lowercase(), serial.unwrap_or_default());
            let namespace = world.cluster.namespace(&name);
            let path = format!("{namespace}/app");
            world.ready(&namespace, json!({"retention": {"deletionPolicy": policy}}));
            let token = world.token(&namespace, "app");
            if let Some(serial) = serial {
                world.ask("POST", &path, &token).body(noisy_state(serial, 3 << 20)).send().is(200);
            }
            let before = world.tried_in_vain();
            world.server.proxy(0).random(matches, 1, 100, &[Fault::Answer(400, None)]);
            world.api().delete(&World::at(&namespace, "app")).done();
            wait::until("the step failed", || {
                if world.tried_in_vain() > before { Ok(()) } else { Err(world.operator.said()) }
            });
            world.server.proxy(0).calm();
            world.until_gone(&namespace, "app");
            assert_eq!(left(&world, &namespace), (vec![], false), "{name}");
            let leaves = if policy == "Retain" && serial.is_some() { "state" } else { "nothing" };
            assert_eq!(world.owner(&path).unwrap()["released"], leaves, "{name}");
        }
    }
    proxy::injected(test, [world.server.proxy(0)]);
}

/// The Secret of a resource's token.
fn kept_as(namespace: &str, name: &str) -> String {
    keeper::name(&PolicyName::new(&Instance::parse(INSTANCE).unwrap(), namespace, name).unwrap())
}

#[test]
fn a_secret_of_somebody_else_under_the_tokens_name_is_told() {
    let Some(world) = Shared::world("a_secret_of_somebody_else_under_the_tokens_name_is_told") else { return };
    let namespace = world.cluster.namespace("misplaced");
    let secret = kept_as(&namespace, "app");
    world.secret(OPERATOR_NAMESPACE, &secret, &[("password", "somebody elses")]);
    world.create(&namespace, "app", json!({}));
    let told = world.until_condition(&namespace, "app", "TokenReady", "False", "");
    let said = message(&told, "TokenReady");
    assert!(
        said.contains(&secret) && said.contains("was not made by tofustate") && said.contains("delete it"),
        "{said}"
    );
    assert!(!told.to_string().contains("somebody elses"), "{told:#}");
    assert_eq!(world.values(OPERATOR_NAMESPACE, &secret).unwrap()["password"], "somebody elses");
    world.api().delete(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets/{secret}")).done();
    world.until_ready(&namespace, "app");
}

#[test]
fn tokens_of_resources_that_are_gone_are_ended_at_the_next_start() {
    let test = "tokens_of_resources_that_are_gone_are_ended_at_the_next_start";
    let server = bao::Setup { proxied: true, ..bao::Setup::default() };
    let setting = Setting { server, args: &["--release-wait", "1", "--store-wait", "5"], ..Setting::default() };
    let Some(mut world) = World::start(test, setting) else { return };
    let namespaces: Vec<_> =
        ["left-behind", "forced", "stays"].iter().map(|name| world.cluster.namespace(name)).collect();
    for namespace in &namespaces {
        world.ready(namespace, json!({}));
    }
    world.api().merge(&World::at("forced", "app"), &json!({"metadata": {"finalizers": null}})).done();
    world.delete("forced", "app");
    let node = world.server.seal();
    world.operator.await_shut("OpenBao is away");
    world.delete("left-behind", "app");
    let secret = kept_as("left-behind", "app");
    let note = world.until_event("left-behind", "LeftBehind");
    assert!(note.contains(&format!("{OPERATOR_NAMESPACE}/{secret}")), "{secret} in {note}");
    world.server.unseal(node);
    // What was begun and not done is found again, too.
    let ends = |method: &str, path: &str| method == "DELETE" && path.contains("/policies/acl/");
    world.server.proxy(0).script(ends, [Some(Fault::Answer(400, None))]);
    world.operator.kill();
    world.operator.start();
    wait::until("a step of it failed", || {
        let failed = !world.server.proxy(0).injected().is_empty();
        if failed { Ok(()) } else { Err(world.operator.said()) }
    });
    world.operator.kill();
    world.operator.start();
    for namespace in ["left-behind", "forced"] {
        wait::until("nothing is left of its token", || {
            let kept = world.values(OPERATOR_NAMESPACE, &kept_as(namespace, "app")).is_some();
            let left = left(&world, namespace);
            let nothing = !kept && left == (vec![], false);
            if nothing { Ok(()) } else { Err(format!("{kept} {left:?}; the operator said\n{}", world.operator.said())) }
        });
        // Whoever comes anew under that name has the path still.
        world.ready(namespace, json!({}));
        assert_eq!(left(&world, namespace).0.len(), 1);
    }
    assert!(left(&world, "stays").1 && world.values(OPERATOR_NAMESPACE, &kept_as("stays", "app")).is_some());
}
