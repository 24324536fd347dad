//! What goes wrong around it: OpenBao away, emptied or set back, a cluster without the definition.

use serde_json::{Value, json};
use tofustate_e2e::{
    kube::{CRD_FILE, OPERATOR_NAMESPACE, Part, Setup, condition},
    operator::{INSTANCE, Operator},
    wait,
};

use crate::world::{Setting, Shared, World, message};

#[test]
fn it_starts_before_openbao_and_the_definition_are_there_and_says_so() {
    let test = "it_starts_before_openbao_and_the_definition_are_there_and_says_so";
    let Some(cluster) = Setup::default().start(test) else { return };
    let Some(server) = tofustate_e2e::bao::Setup::default().start(test) else { return };
    let mut operator = Operator::new(&cluster, &server);
    let node = server.seal();
    operator.launch();
    operator.await_shut("OpenBao is waited for");
    let missing = operator.await_shut("registry: the resources were not looked at yet");
    assert!(missing.contains("store: ") && missing.contains("cluster: "), "{missing}");
    let early = tofustate_e2e::ask::ask("GET", &operator.url("team/app")).token("any").send();
    early.is(503);
    server.unseal(node);
    operator.await_shut("cluster: the cluster does not know TofuStateBackends: tofustate crd | kubectl apply");
    cluster.kubectl().must(&["apply", "--server-side", "-f", CRD_FILE]);
    operator.await_ready();
    tofustate_e2e::ask::ask("GET", &operator.url("team/app")).token("any").send().is(403);
    operator.terminate();
}

#[test]
fn everything_that_keeps_it_from_starting_is_told_at_once() {
    let test = "everything_that_keeps_it_from_starting_is_told_at_once";
    let Some(cluster) = Setup::default().start(test) else { return };
    let mut operator = Operator::without_store(&cluster);
    operator.env("API_TOKEN", "a-token-for-all-states").env("KUBECONFIG", "/no/such/file");
    let said = operator.refuses();
    for part in ["it cannot start:", "API_TOKEN", "BAO_ADDR", "BAO_TOKEN_FILE", "KUBECONFIG"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("a-token-for-all-states"), "{said}");
}

#[test]
fn with_openbao_away_no_resource_is_touched_and_it_is_told_once() {
    let test = "with_openbao_away_no_resource_is_touched_and_it_is_told_once";
    let setting = Setting { args: &["--store-wait", "5", "--resync", "10"], ..Setting::default() };
    let Some(world) = World::start(test, setting) else { return };
    let namespace = world.cluster.namespace("away");
    for n in 0..20 {
        world.create(&namespace, &format!("app-{n}"), json!({}));
    }
    let versions = || -> Vec<Value> {
        (0..20)
            .map(|n| {
                let found = world.get(&namespace, &format!("app-{n}")).unwrap();
                json!([found["metadata"]["resourceVersion"], found["status"]["conditions"]])
            })
            .collect()
    };
    for n in 0..20 {
        world.until_ready(&namespace, &format!("app-{n}"));
    }
    let (path, token) = (format!("{namespace}/app-0"), world.token(&namespace, "app-0"));
    // What is told of the state follows its condition.
    world.look(&namespace, "app-0");
    let before = versions();
    let node = world.server.seal();
    world.operator.await_shut("OpenBao is away");
    world.ask("GET", &path, &token).send().is(503);
    world.ask("GET", &path, "another").send().is(403);
    world.until_event(OPERATOR_NAMESPACE, "StoreAway");
    let gauge = |value: u8| world.operator.metrics().contains(&format!("tofustate_openbao_away {value}\n"));
    assert!(gauge(1));
    // A change of a resource is not lost: it is looked at when the store is back.
    world.annotate(&namespace, "app-1", "reconcile", "meanwhile");
    world.server.unseal(node);
    world.until_event(OPERATOR_NAMESPACE, "StoreBack");
    assert!(gauge(0));
    world.until(&namespace, "app-1", "it was looked at", |found| {
        found["status"]["lastHandled"]["reconcile"]["request"] == "meanwhile"
    });
    let mut after = versions();
    after[1].clone_from(&before[1]);
    assert_eq!(after, before);
    assert_eq!(world.events(OPERATOR_NAMESPACE, "StoreAway").len(), 1);
    wait::until("it answers again", || {
        let status = world.ask("GET", &path, &token).send().status();
        if status == 404 { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn a_lost_state_is_never_begun_anew_without_a_persons_word() {
    let Some(world) = Shared::world("a_lost_state_is_never_begun_anew_without_a_persons_word") else { return };
    let namespace = world.cluster.namespace("lost");
    let path = format!("{namespace}/app");
    let before = world.ready(&namespace, json!({}));
    let epoch = before["status"]["headEpoch"].as_str().unwrap().to_owned();
    let token = world.token(&namespace, "app");
    world.write(&path, &token, 1);
    world.server.api().must("DELETE", &format!("states/metadata/{path}"), &Value::Null);
    world.annotate(&namespace, "app", "reconcile", "look");
    let stalled = world.until_condition(&namespace, "app", "Stalled", "True", "HeadLost");
    assert!(
        message(&stalled, "StoreReachable").contains(&format!("tofustate.io/accept-empty: {epoch}")),
        "{stalled:#}"
    );
    assert_eq!(condition(&stalled, "PathClaimed").unwrap()["status"], "True");
    world.ask("GET", &path, &token).send().is(503);
    world.ask("GET", &path, "another").send().is(403);
    assert!(world.until_event(&namespace, "HeadLost").contains(&epoch));
    world.annotate(&namespace, "app", "accept-empty", "0".repeat(32));
    world.look(&namespace, "app");
    world.ask("GET", &path, &token).send().is(503);
    assert!(world.entry(&path).is_none(), "nothing was made");

    world.annotate(&namespace, "app", "accept-empty", epoch.clone());
    let ready = world.until_ready(&namespace, "app");
    world.ask("GET", &path, &token).send().is(404);
    world.until(&namespace, "app", "the new epoch is on record", |found| {
        found["status"]["headEpoch"].as_str().is_some_and(|new| new != epoch)
    });
    assert!(condition(&ready, "Stalled").is_none());
    world.write(&path, &token, 1);
}

#[test]
fn a_lost_state_is_missed_after_a_restart_too() {
    let Some(mut world) = World::start("a_lost_state_is_missed_after_a_restart_too", Setting::default()) else {
        return;
    };
    let namespace = world.cluster.namespace("lost");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.operator.kill();
    world.server.api().must("DELETE", &format!("states/metadata/{path}"), &Value::Null);
    world.operator.start();
    world.until_condition(&namespace, "app", "Stalled", "True", "HeadLost");
    world.ask("GET", &path, &token).send().is(503);
    // Nobody makes it a new one by the status: what tells the lost state cannot be taken away, only written over.
    world.operator.kill();
    let status = format!("{}/status", World::at(&namespace, "app"));
    for emptied in [json!({"status": {"headEpoch": null}}), json!({"status": null})] {
        let said = world.api().merge(&status, &emptied).refused(422);
        assert!(said.contains("headEpoch cannot be removed"), "{emptied}: {said}");
    }
    let other = json!({"status": {"headEpoch": "no epoch at all"}});
    world.api().merge(&status, &other).done();
    world.operator.start();
    world.until_condition(&namespace, "app", "Stalled", "True", "");
    world.ask("GET", &path, &token).send().is(503);
    assert!(world.entry(&path).is_none(), "a head was made");
}

#[test]
fn a_store_that_was_set_back_is_told_and_taken_on_a_persons_word() {
    let test = "a_store_that_was_set_back_is_told_and_taken_on_a_persons_word";
    let Some(world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("set-back");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.write(&path, &token, 1);
    let snapshot = world.server.snapshot();
    world.write(&path, &token, 2);
    let before = world.until(&namespace, "app", "it is told", |found| found["status"]["state"]["serial"] == 2);
    let epoch = before["status"]["headEpoch"].as_str().unwrap().to_owned();
    world.server.restore(&snapshot);
    world.annotate(&namespace, "app", "reconcile", "look");
    let stalled = world.until_condition(&namespace, "app", "Stalled", "True", "StoreWentBack");
    assert!(message(&stalled, "StoreReachable").contains(&format!("accept-restore: {epoch}")), "{stalled:#}");
    world.ask("GET", &path, &token).send().is(503);
    world.annotate(&namespace, "app", "accept-restore", epoch.clone());
    world.until_ready(&namespace, "app");
    let state: Value = serde_json::from_str(&world.ask("GET", &path, &token).send().is(200).text()).unwrap();
    assert_eq!(state["serial"], 1);
    let after = world.until(&namespace, "app", "the new epoch is on record", |found| {
        found["status"]["headEpoch"].as_str().is_some_and(|new| new != epoch)
    });
    assert_eq!(after["status"]["state"]["serial"], 1, "{after:#}");
}

#[test]
fn what_is_at_the_path_and_no_head_is_left_alone() {
    let Some(world) = Shared::world("what_is_at_the_path_and_no_head_is_left_alone") else { return };
    let namespace = world.cluster.namespace("taken");
    let path = format!("{namespace}/app");
    let foreign = json!({"data": {"password": "somebody elses"}, "options": {"cas": 0}});
    world.server.api().must("POST", &format!("states/data/{path}"), &foreign);
    world.create(&namespace, "app", json!({}));
    let stalled = world.until_condition(&namespace, "app", "Stalled", "True", "PathHasState");
    assert!(message(&stalled, "StoreReachable").contains("tofustate adopt taken/app"), "{stalled:#}");
    assert!(!stalled.to_string().contains("somebody elses"));
    assert_eq!(world.entry(&path).unwrap()["password"], "somebody elses");
    world.ask("GET", &path, &world.token(&namespace, "app")).send().is(503);
    world.server.api().must("DELETE", &format!("states/metadata/{path}"), &Value::Null);
    world.until_ready(&namespace, "app");
}

#[test]
fn without_the_token_role_it_is_told_what_to_run() {
    let Some(world) = World::start("without_the_token_role_it_is_told_what_to_run", Setting::default()) else { return };
    let namespace = world.cluster.namespace("role");
    let ready = world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.server.api().must("DELETE", &format!("auth/token/roles/tofustate-{INSTANCE}"), &Value::Null);
    let accessor = &ready["status"]["openbao"]["tokenAccessor"];
    world.server.api().must("POST", "auth/token/revoke-accessor", &json!({"accessor": accessor}));
    world.annotate(&namespace, "app", "reconcile", "look");
    let missing = world.until_condition(&namespace, "app", "TokenReady", "False", "RoleGone");
    assert!(message(&missing, "TokenReady").contains("run tofustate bootstrap"), "{missing:#}");
    world.ask("GET", "role/app", &token).send().is(503);
    world.server.bootstrap(INSTANCE, &[]);
    world.until_ready(&namespace, "app");
    world.ask("GET", "role/app", &token).send().is(404);
}

#[test]
fn states_are_served_while_the_api_server_is_away() {
    let Some(mut world) = World::start("states_are_served_while_the_api_server_is_away", Setting::default()) else {
        return;
    };
    let namespace = world.cluster.namespace("no-api");
    world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    world.cluster.kill(Part::ApiServer);
    world.write(&path, &token, 1);
    wait::until("it is noticed", || {
        let told = world.operator.lines("cannot be watched");
        if told.is_empty() { Err(world.operator.said()) } else { Ok(()) }
    });
    world.write(&path, &token, 2);
    world.cluster.restart(Part::ApiServer);
    world.until(&namespace, "app", "it is told when it is back", |found| found["status"]["state"]["serial"] == 2);
    world.create(&namespace, "next", json!({}));
    world.until_ready(&namespace, "next");
    world.operator.still_runs();
}

#[test]
fn a_namespace_that_is_deleted_takes_its_resources_along() {
    let test = "a_namespace_that_is_deleted_takes_its_resources_along";
    let Some(world) = World::start(test, Setting { controllers: true, unguarded: true, ..Setting::default() }) else {
        return;
    };
    let namespace = world.cluster.namespace("ends");
    let (path, at) = (format!("{namespace}/app"), format!("/api/v1/namespaces/{namespace}"));
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    // What was written for a resource goes with it.
    world.create(&namespace, "other", json!({}));
    world.until_ready(&namespace, "other");
    world.delete(&namespace, "other");
    world.api().until_gone(&format!("{at}/secrets/other-tofustate"));
    world.api().until_gone(&format!("{at}/configmaps/other-tofustate"));

    world.lock(&path, &token, "the-run");
    world.api().delete(&at).done();
    world.api().until_gone(&format!("{at}/secrets/app-tofustate"));
    world.until_condition(&namespace, "app", "Stalled", "True", "WaitingForUnlock");
    // The run that goes on ends well, though its Secret is gone.
    world.ask("POST", &format!("{path}?ID=the-run"), &token).body(tofustate_e2e::ask::state(1, 10)).send().is(200);
    world.unlock(&path, &token, "the-run");
    world.api().until_gone(&at);
    assert_eq!(world.owner(&path).unwrap()["released"], "state");
    world.ask("GET", &path, &token).send().is(403);
}

#[test]
fn an_emptied_openbao_is_missed_before_and_after_a_restart() {
    let test = "an_emptied_openbao_is_missed_before_and_after_a_restart";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("emptied");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.write(&path, &token, 1);
    // With the owner entries; and set up anew, as if it had always been so.
    world.server.api().must("DELETE", "sys/mounts/states", &Value::Null);
    world.server.bootstrap(INSTANCE, &[]);
    world.annotate(&namespace, "app", "reconcile", "look");
    world.until_condition(&namespace, "app", "Stalled", "True", "HeadLost");
    world.ask("GET", &path, &token).send().is(503);
    world.operator.kill();
    world.operator.start();
    world.until_condition(&namespace, "app", "Stalled", "True", "HeadLost");
    world.ask("GET", &path, &token).send().is(503);
    assert!(world.entry(&path).is_none(), "a head was made");
    // Others begin there.
    world.create(&namespace, "new", json!({}));
    world.until_ready(&namespace, "new");
}

#[test]
fn a_path_of_which_nothing_is_on_record_is_begun_on_a_persons_word_only() {
    let test = "a_path_of_which_nothing_is_on_record_is_begun_on_a_persons_word_only";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("unknown");
    let path = format!("{namespace}/app");
    world.ready(&namespace, json!({}));
    world.operator.kill();
    // The cluster is built anew, and meanwhile the state was lost.
    world.api().merge(&World::at(&namespace, "app"), &json!({"metadata": {"finalizers": null}})).done();
    world.api().delete(&World::at(&namespace, "app")).done();
    world.api().until_gone(&World::at(&namespace, "app"));
    world.server.api().must("DELETE", &format!("states/metadata/{path}"), &Value::Null);
    world.create(&namespace, "app", json!({}));
    world.operator.start();
    let stalled = world.until_condition(&namespace, "app", "Stalled", "True", "HeadLost");
    assert!(message(&stalled, "StoreReachable").contains("tofustate.io/accept-empty: unknown"), "{stalled:#}");
    let token = world.token(&namespace, "app");
    world.ask("GET", &path, &token).send().is(503);
    assert!(world.entry(&path).is_none(), "a head was made");
    world.annotate(&namespace, "app", "accept-empty", "unknown");
    world.until_ready(&namespace, "app");
    world.ask("GET", &path, &token).send().is(404);
}
