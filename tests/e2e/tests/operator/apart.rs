//! Installations and replicas that are apart: of two clusters over one OpenBao, with clocks that differ, with requests that
//! come late, and after the definition was deleted.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{ask, lock_info, state},
    kube::{CRD_FILE, condition, tofustates},
    wait,
};

use crate::{
    replicas::{Replicas, until},
    world::{Setting, World, message},
};

#[test]
fn of_two_installations_over_one_openbao_each_has_its_own_paths() {
    let test = "of_two_installations_over_one_openbao_each_has_its_own_paths";
    let Some(world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("team");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.write("team/app", &token, 1);
    let other = world.another(test, "dev");
    other.cluster.namespace("team");
    other.create("team", "app", json!({}));
    let refused = other.until_condition("team", "app", "PathClaimed", "False", "PathConflict");
    assert!(message(&refused, "PathClaimed").contains("team/app"), "{refused:#}");
    ask("GET", &other.operator.url("team/app")).token(&token).send().is(403);
    other.create("team", "own", json!({}));
    other.until_ready("team", "own");
    other.write("team/own", &other.token("team", "own"), 5);
    // Neither ends what is the other's.
    other.delete("team", "app");
    world.write("team/app", &token, 2);
    assert_eq!(condition(&world.look("team", "app"), "Ready").unwrap()["status"], "True");
}

#[test]
fn one_installation_in_two_clusters_has_one_lock_a_state() {
    let test = "one_installation_in_two_clusters_has_one_lock_a_state";
    let Some(world) = World::start(test, Setting { args: &["--resync", "10"], ..Setting::default() }) else {
        return;
    };
    let namespace = world.cluster.namespace("team");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.write("team/app", &token, 1);
    // A cluster that is built anew, while the former goes on.
    let anew = world.another(test, "prod");
    anew.cluster.namespace("team");
    anew.create("team", "app", json!({}));
    anew.until_ready("team", "app");
    let of_anew = anew.token("team", "app");
    world.lock("team/app", &token, "the-run");
    anew.ask("LOCK", "team/app", &of_anew).body(lock_info("another")).send().is(409);
    world.unlock("team/app", &token, "the-run");
    anew.write("team/app", &of_anew, 2);
    let found = world.ask("GET", "team/app", &token).send().is(200).text();
    assert!(found.contains("\"serial\":2,"), "{found}");
    // The state stays when it is given up in one of them, and the other takes it up again.
    anew.delete("team", "app");
    wait::until("the other has it again", || match world.ask("GET", "team/app", &token).send() {
        found if found.status() == 200 && found.text().contains("\"serial\":2,") => Ok(()),
        other => Err(other.text()),
    });
    world.write("team/app", &token, 3);
}

#[test]
fn a_lock_has_the_time_of_openbao_whatever_the_clocks_of_the_replicas_say() {
    let test = "a_lock_has_the_time_of_openbao_whatever_the_clocks_of_the_replicas_say";
    let Some(mut replicas) = Replicas::start(test, 1, "6", Setting::default()) else { return };
    let wrong = replicas.get(1);
    wrong.terminate();
    wrong.env("TOFUSTATE_TEST_CLOCK", "600");
    wrong.start();
    let world = &replicas.world;
    let namespace = world.cluster.namespace("clocks");
    world.ready(&namespace, json!({"lock": {"staleAfter": "300s"}}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    let wrong = replicas.all().nth(1).unwrap();
    until(wrong, "GET", &path, &token, 404);
    let told = wrong.lines("OpenBao's clock is ahead")[0]["seconds"].as_i64().unwrap();
    assert!((-601..=-598).contains(&told), "{told}");
    let before = jiff::Timestamp::now();
    ask("LOCK", &wrong.url(&path)).token(&token).body(lock_info("the-run")).send().is(200);
    let shown = world.until(&namespace, "app", "the lock is shown", |found| found["status"]["locked"] == true);
    let since: jiff::Timestamp = shown["status"]["lock"]["since"].as_str().unwrap().parse().unwrap();
    assert!(since.duration_since(before).as_secs().abs() < 120, "{since} {before}");
    let shown = world.look(&namespace, "app");
    assert_eq!(condition(&shown, "LockStale").unwrap()["reason"], "Held");
    // Also where the one whose clock is wrong leads.
    replicas.world.operator.terminate();
    let wrong = replicas.all().nth(1).unwrap();
    wait::until("it leads", || if wrong.leads() { Ok(()) } else { Err(wrong.said()) });
    let shown = replicas.world.look(&namespace, "app");
    assert_eq!(condition(&shown, "LockStale").unwrap()["reason"], "Held");
    ask("UNLOCK", &wrong.url(&path)).token(&token).body(lock_info("the-run")).send().is(200);
}

#[test]
fn what_comes_late_through_another_replica_does_nothing() {
    let test = "what_comes_late_through_another_replica_does_nothing";
    let Some(replicas) = Replicas::start(test, 1, "15", Setting::default()) else { return };
    let world = &replicas.world;
    let namespace = world.cluster.namespace("late");
    world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    let frozen = replicas.all().nth(1).unwrap();
    until(frozen, "GET", &path, &token, 404);
    let gives_up = |method: &str, query: &str, body: String| {
        let ask = ask(method, &frozen.url(&format!("{path}{query}"))).token(&token).body(body);
        assert!(ask.within(Duration::from_millis(500)).try_send().is_err(), "it is frozen");
    };
    frozen.signal(Signal::STOP);
    // The client gives up, and does it through the other.
    gives_up("LOCK", "", lock_info("the-run"));
    world.lock(&path, &token, "the-run");
    gives_up("POST", "?ID=the-run", state(1, 10));
    world.ask("POST", &format!("{path}?ID=the-run"), &token).body(state(2, 10)).send().is(200);
    world.unlock(&path, &token, "the-run");
    world.lock(&path, &token, "the-next");
    frozen.signal(Signal::CONT);
    // What was sent before is done, or not, before this is answered: it goes the same way.
    for _ in 0..20 {
        let found = ask("GET", &frozen.url(&path)).token(&token).send().is(200).text();
        assert!(found.contains("\"serial\":2,"), "{found}");
        ask("LOCK", &frozen.url(&path)).token(&token).body(lock_info("another")).send().is(409);
    }
    world.ask("POST", &format!("{path}?ID=the-next"), &token).body(state(3, 10)).send().is(200);
    world.unlock(&path, &token, "the-next");
    world.lock(&path, &token, "after");
    world.unlock(&path, &token, "after");
    let shown = world.until(&namespace, "app", "it is shown", |found| found["status"]["locked"] == false);
    assert_eq!(shown["status"]["state"]["serial"], 3);
}

#[test]
fn a_definition_that_is_deleted_and_restored_costs_no_state() {
    let test = "a_definition_that_is_deleted_and_restored_costs_no_state";
    let Some(mut world) = World::start(test, Setting { unguarded: true, ..Setting::default() }) else { return };
    let namespace = world.cluster.namespace("undefined");
    world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    world.write(&path, &token, 1);
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tofustates.tofustate.io";
    world.api().delete(crd).done();
    // With it go the resources, each of which gives its state up first.
    wait::until("the definition is gone", || match world.api().get(crd) {
        None => Ok(()),
        Some(found) => Err(format!("{}; it said\n{}", found["status"], world.operator.said())),
    });
    assert_eq!(world.owner(&path).unwrap()["released"], "state");
    world.ask("GET", &path, &token).send().is(403);
    world.cluster.kubectl().must(&["apply", "--server-side", "-f", CRD_FILE]);
    wait::until("the definition is served", || {
        match world.api().ask("GET", &tofustates(&namespace), &Value::Null)? {
            answer if answer.status == 200 => Ok(()),
            other => Err(other.body.to_string()),
        }
    });
    world.create(&namespace, "app", json!({}));
    world.until_ready(&namespace, "app");
    let token = world.token(&namespace, "app");
    let found = world.ask("GET", &path, &token).send().is(200).text();
    assert!(found.contains("\"serial\":1,"), "{found}");
    world.operator.still_runs();
}
