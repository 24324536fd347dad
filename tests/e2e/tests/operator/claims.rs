//! Who gets which path.

use std::thread;

use serde_json::{Value, json};
use tofustate_e2e::{
    kube::{Kstatus, condition, kstatus},
    wait,
};

use crate::world::{Setting, Shared, World, message};

#[test]
fn a_path_outside_of_the_namespace_is_refused() {
    let Some(world) = Shared::unguarded("a_path_outside_of_the_namespace_is_refused") else { return };
    let namespace = world.cluster.namespace("outside");
    world.create(&namespace, "app", json!({"path": "elsewhere/app"}));
    let refused = world.until_condition(&namespace, "app", "Stalled", "True", "PathNotAllowed");
    assert!(message(&refused, "Ready").contains("write outside/..."), "{refused:#}");
    assert_eq!(kstatus(&refused).0, Kstatus::Failed, "{refused:#}");
    assert!(world.until_event(&namespace, "PathNotAllowed").contains("elsewhere/app"));
    assert!(world.owner("elsewhere/app").is_none() && world.values(&namespace, "app-tofustate").is_none());
    world.ask("GET", "elsewhere/app", "any").send().is(403);
    // It never had anything, so nothing holds it.
    world.delete(&namespace, "app");
}

/// Open: two namespaces may want one path.
fn open(test: &str) -> Option<World> {
    World::start(test, Setting { args: &["--tenancy", "Open"], ..Setting::default() })
}

#[test]
fn one_of_two_gets_a_path_and_the_other_gets_it_after() {
    let Some(world) = open("one_of_two_gets_a_path_and_the_other_gets_it_after") else { return };
    for namespace in ["one", "two"] {
        world.cluster.namespace(namespace);
    }
    // At the same instant, several times.
    for n in 0..3 {
        let (name, path) = (format!("app-{n}"), format!("shared/app-{n}"));
        thread::scope(|scope| {
            for namespace in ["one", "two"] {
                scope.spawn(|| world.create(namespace, &name, json!({"path": path})));
            }
        });
        let (winner, loser) = wait::until("one of them has it", || {
            let ready = |namespace: &str| {
                let found = world.get(namespace, &name).unwrap();
                condition(&found, "Ready").map(|ready| (ready["status"].clone(), ready["reason"].clone()))
            };
            match (ready("one"), ready("two")) {
                (Some((one, _)), Some((two, why))) if one == "True" && two == "False" && why == "PathConflict" => {
                    Ok(("one", "two"))
                }
                (Some((one, why)), Some((two, _))) if one == "False" && two == "True" && why == "PathConflict" => {
                    Ok(("two", "one"))
                }
                other => Err(format!("{other:?}; {}", world.operator.said())),
            }
        });
        let lost = world.until_condition(loser, &name, "Stalled", "True", "PathConflict");
        assert!(message(&lost, "PathClaimed").contains(&format!("{winner}/{name}")), "{lost:#}");
        assert!(world.values(loser, &format!("{name}-tofustate")).is_none(), "the loser got a credential");
        assert_eq!(world.owner(&path).unwrap()["namespace"], winner);
        // It was never written, so it leaves nothing.
        world.delete(winner, &name);
        world.until_ready(loser, &name);
        assert_eq!(world.owner(&path).unwrap()["namespace"], loser);
        let token = world.token(loser, &name);
        world.ask("GET", &path, &token).send().is(404);
    }
    let said = world.operator.said();
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_left_state_is_only_for_who_left_it_or_may_adopt_it() {
    let Some(world) = open("a_left_state_is_only_for_who_left_it_or_may_adopt_it") else { return };
    for namespace in ["first", "stranger"] {
        world.cluster.namespace(namespace);
    }
    let path = "shared/kept";
    world.ready("first", json!({"path": path}));
    world.write(path, &world.token("first", "app"), 1);
    world.delete("first", "app");
    assert_eq!(world.owner(path).unwrap()["released"], "state");

    world.create("stranger", "app", json!({"path": path}));
    let refused = world.until_condition("stranger", "app", "Stalled", "True", "PathHasState");
    assert!(message(&refused, "Ready").contains("tofustate.io/adopt"), "{refused:#}");
    world.ask("GET", path, "any").send().is(403);
    // Whoever left it takes it up again, with what it was.
    world.ready("first", json!({"path": path}));
    let token = world.token("first", "app");
    world.ask("GET", path, &token).send().is(200);
    world.until_condition("stranger", "app", "Stalled", "True", "");
    world.delete("first", "app");

    let adopt = json!({"metadata": {"annotations": {"tofustate.io/adopt": path}}});
    world.api().merge("/api/v1/namespaces/stranger", &adopt).done();
    let adopted = world.until_ready("stranger", "app");
    assert_eq!(adopted["status"]["state"]["serial"], 1, "{adopted:#}");
    world.ask("GET", path, &world.token("stranger", "app")).send().is(200);
    world.ask("GET", path, &token).send().is(403);
    world.create("first", "app", json!({"path": path}));
    world.until_condition("first", "app", "Stalled", "True", "PathConflict");
}

#[test]
fn both_restored_from_a_backup_with_new_ages_change_nothing() {
    let Some(mut world) = open("both_restored_from_a_backup_with_new_ages_change_nothing") else { return };
    for namespace in ["owner", "rival"] {
        world.cluster.namespace(namespace);
    }
    let path = "shared/restored";
    world.ready("owner", json!({"path": path}));
    world.write(path, &world.token("owner", "app"), 3);
    world.create("rival", "app", json!({"path": path}));
    world.until_condition("rival", "app", "Stalled", "True", "PathConflict");
    let token = world.token("owner", "app");
    world.until("owner", "app", "its lock is gone from the status", |found| found["status"]["locked"] == false);
    // The cluster is lost, with all that its resources knew: uids, ages and status are others.
    world.operator.kill();
    for namespace in ["owner", "rival"] {
        let none = json!({"metadata": {"finalizers": null}});
        world.api().merge(&World::at(namespace, "app"), &none).done();
        world.api().delete(&World::at(namespace, "app")).done();
        world.api().until_gone(&World::at(namespace, "app"));
    }
    world.create("rival", "app", json!({"path": path}));
    world.create("owner", "app", json!({"path": path}));
    world.operator.start();
    world.until_condition("rival", "app", "Stalled", "True", "PathConflict");
    let restored = world.until_ready("owner", "app");
    assert_eq!(restored["status"]["state"]["serial"], 3);
    assert_eq!(world.token("owner", "app"), token, "the connection Secret came back with the backup");
    world.ask("GET", path, &token).send().is(200);
}

#[test]
fn prefixes_of_a_namespace_decide_with_that_tenancy() {
    let test = "prefixes_of_a_namespace_decide_with_that_tenancy";
    let setting = Setting { args: &["--tenancy", "Annotation"], unguarded: true, ..Setting::default() };
    let Some(world) = World::start(test, setting) else { return };
    let namespace = world.cluster.namespace("prefixed");
    world.create(&namespace, "app", json!({"path": "net/prod"}));
    world.until_condition(&namespace, "app", "Stalled", "True", "PathNotAllowed");
    let says = |prefixes: Value| {
        let patch = json!({"metadata": {"annotations": {"tofustate.io/path-prefixes": prefixes}}});
        world.api().merge("/api/v1/namespaces/prefixed", &patch).done();
    };
    says(json!("net/"));
    world.until_ready(&namespace, "app");
    let token = world.token(&namespace, "app");
    world.write("net/prod", &token, 1);
    // It is its own, and may not be any more: 503 and not 403, which says that it is nobody's.
    says(Value::Null);
    world.until_condition(&namespace, "app", "Stalled", "True", "PathNotAllowed");
    wait::until("it is shut", || {
        let status = world.ask("GET", "net/prod", &token).send().status();
        if status == 503 { Ok(()) } else { Err(status.to_string()) }
    });
    world.ask("GET", "net/prod", "another").send().is(403);
    says(json!("net"));
    world.until_ready(&namespace, "app");
    world.ask("GET", "net/prod", &token).send().is(200);
}
