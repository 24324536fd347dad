//! The operator where the admission policies are in force: what they refuse, and what the operator does once they let it
//! pass.

use serde_json::{Value, json};
use tofustate_e2e::ask::lock_info;

use crate::world::{Shared, World};

#[test]
fn what_a_run_holds_is_not_deleted_before_it_is_unlocked() {
    let test = "what_a_run_holds_is_not_deleted_before_it_is_unlocked";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("held");
    let (at, path) = (World::at(&namespace, "app"), format!("{namespace}/app"));
    let editor = world.user(&namespace, "editor", &["tofustate-edit"]);
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.lock(&path, &token, "the-run");
    world.until(&namespace, "app", "its lock is shown", |found| found["status"]["locked"] == true);
    for user in [&editor, world.api()] {
        let said = user.delete(&at).refused(403);
        let says = "the state held/app is locked by somebody@elsewhere: wait for the end of that run, or break its lock with the annotation tofustate.io/force-unlock: the-run";
        assert!(said.contains(says), "{said}");
    }
    assert!(world.get(&namespace, "app").unwrap()["metadata"]["deletionTimestamp"].is_null());
    world.ask("LOCK", &path, &token).body(lock_info("other")).send().is(409);
    world.unlock(&path, &token, "the-run");
    world.until(&namespace, "app", "its end is shown", |found| found["status"]["locked"] == false);
    editor.delete(&at).done();
    world.until_gone(&namespace, "app");
    world.ask("GET", &path, &token).send().is(403);
}

#[test]
fn only_who_has_the_verb_has_a_lock_broken() {
    let Some(world) = Shared::world("only_who_has_the_verb_has_a_lock_broken") else { return };
    let namespace = world.cluster.namespace("verbs");
    let (at, path) = (World::at(&namespace, "app"), format!("{namespace}/app"));
    let editor = world.user(&namespace, "editor", &["tofustate-edit"]);
    let breaker = world.user(&namespace, "breaker", &["tofustate-edit", "tofustate-unlock"]);
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.lock(&path, &token, "the-run");
    let asks = json!({"metadata": {"annotations": {"tofustate.io/force-unlock": "the-run"}}});
    let said = editor.merge(&at, &asks).refused(403);
    assert!(said.contains("needs the verb forceunlock on tofustates.tofustate.io"), "{said}");
    let looked = world.look(&namespace, "app");
    assert_eq!(looked["status"]["lastHandled"]["forceUnlock"], Value::Null);
    world.ask("LOCK", &path, &token).body(lock_info("other")).send().is(409);

    breaker.merge(&at, &asks).done();
    let done = world.until(&namespace, "app", "the lock is broken", |found| {
        found["status"]["locked"] == false && found["status"]["lastHandled"]["forceUnlock"]["outcome"] == "Done"
    });
    assert_eq!(done["status"]["history"][0]["event"], "ForceUnlocked", "{done:#}");
    assert!(world.until_event(&namespace, "ForceUnlockDone").contains("the-run"));
    world.lock(&path, &token, "the-next");
    world.unlock(&path, &token, "the-next");
}

#[test]
fn a_path_of_another_namespace_is_refused_before_it_is_there() {
    let Some(world) = Shared::world("a_path_of_another_namespace_is_refused_before_it_is_there") else { return };
    let namespace = world.cluster.namespace("refused");
    let said = world.try_create(&namespace, "app", json!({"path": "elsewhere/app"})).refused(403);
    assert!(said.contains("write refused/..."), "{said}");
    assert!(world.get(&namespace, "app").is_none());
}
