//! What a change costs, and what a start costs and goes by: the status of what is ready, in place of a look at everything.

use std::time::{Duration, Instant};

use serde_json::json;
use tofustate_e2e::{kube::condition, wait};

use crate::world::{Setting, World};

/// For how long nothing may come after what is counted.
const CALM: Duration = Duration::from_secs(2);

/// Waits until nothing was reconciled for a while, and answers the count.
fn calm(world: &World) -> u64 {
    let (mut last, mut since) = (world.operator.reconciled(), Instant::now());
    wait::until("nothing is reconciled any more", || {
        let now = world.operator.reconciled();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() >= CALM { Ok(last) } else { Err(format!("{last}")) }
    })
}

#[test]
fn a_new_resource_and_each_change_cost_one_reconciliation() {
    let test = "a_new_resource_and_each_change_cost_one_reconciliation";
    let Some(world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("once");
    let cost = |what: &str, change: &dyn Fn()| {
        let before = calm(&world);
        change();
        assert_eq!(calm(&world) - before, 1, "{what}: {}", world.operator.said());
    };
    cost("a new one", &|| drop(world.ready(&namespace, json!({}))));
    cost("its spec", &|| {
        world.change(&namespace, "app", json!({"maxSize": "64Mi"}));
        world.until_ready(&namespace, "app");
    });
    let secret = format!("/api/v1/namespaces/{namespace}/secrets/app-tofustate");
    cost("its Secret", &|| {
        world.change_secret(&namespace, "app-tofustate", "TF_HTTP_USERNAME", "eve");
        world.api().until(&secret, "it is right again", |found| found["data"]["TF_HTTP_USERNAME"] == "dG9mdXN0YXRl");
    });
    cost("its ConfigMap", &|| {
        let config = format!("/api/v1/namespaces/{namespace}/configmaps/app-tofustate");
        world.api().delete(&config).done();
        world.api().until(&config, "it is there again", |_| true);
    });
    // What others write into the status is put right each time, also what was written before.
    for _ in 0..2 {
        cost("its status", &|| {
            let status = format!("{}/status", World::at(&namespace, "app"));
            world.api().merge(&status, &json!({"status": {"endpoints": {"internal": "http://elsewhere"}}})).done();
            world.until(&namespace, "app", "the status is right again", |found| {
                found["status"]["endpoints"]["internal"] != "http://elsewhere"
            });
        });
    }
    let before = calm(&world);
    let token = world.token(&namespace, "app");
    world.write("once/app", &token, 1);
    world.until(&namespace, "app", "it is told", |found| found["status"]["state"]["serial"] == 1);
    assert_eq!(calm(&world), before, "a run is the HTTP backend's alone");
}

#[test]
fn a_start_with_all_ready_writes_nothing_to_openbao_and_serves_each_to_its_own() {
    let test = "a_start_with_all_ready_writes_nothing_to_openbao_and_serves_each_to_its_own";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("again");
    let names: Vec<String> = (0..5).map(|n| format!("net-{n}")).collect();
    names.iter().for_each(|name| drop(world.create(&namespace, name, json!({}))));
    names.iter().for_each(|name| drop(world.until_ready(&namespace, name)));
    for kill in [false, true] {
        if kill {
            world.operator.kill()
        } else {
            world.operator.terminate()
        }
        let before = world.server.applied();
        world.operator.start();
        for (n, name) in names.iter().enumerate() {
            let path = format!("{namespace}/{name}");
            world.ask("GET", &path, &world.token(&namespace, name)).send().is(404);
            world.ask("GET", &path, &world.token(&namespace, &names[(n + 1) % names.len()])).send().is(403);
        }
        calm(&world);
        assert_eq!(world.server.applied(), before, "it was killed before: {kill}");
    }
}

#[test]
fn nobody_gets_a_path_by_a_status_that_says_so() {
    let test = "nobody_gets_a_path_by_a_status_that_says_so";
    let setting = Setting { args: &["--tenancy", "Open"], ..Setting::default() };
    let Some(mut world) = World::start(test, setting) else { return };
    let (owner, thief) = (world.cluster.namespace("owner"), world.cluster.namespace("thief"));
    let own = world.ready(&owner, json!({}));
    let token = world.token(&owner, "app");
    world.write("owner/app", &token, 1);
    world.create(&thief, "app", json!({"path": "owner/app"}));
    world.until_condition(&thief, "app", "Stalled", "True", "PathConflict");
    // With a Secret of its own that looks like one that the operator wrote.
    world.secret(&thief, "app-tofustate", &[("TF_HTTP_PASSWORD", "a-token-of-the-thief-that-is-long")]);
    let forge = |world: &World| {
        let mut status = own["status"].clone();
        status["openbao"]["policy"] = World::policy(&thief, "app").into();
        status["openbao"]["claim"] = 1.into();
        status["observedGeneration"] = 1.into();
        let at = World::at(&thief, "app");
        world.api().merge(&at, &json!({"metadata": {"finalizers": ["tofustate.io/state"]}})).done();
        world.api().merge(&format!("{at}/status"), &json!({"status": status})).done();
    };
    world.operator.kill();
    forge(&world);
    world.operator.start();
    world.ask("GET", "owner/app", &token).send().is(200);
    world.ask("GET", "owner/app", "a-token-of-the-thief-that-is-long").send().is(403);
    world.until_condition(&thief, "app", "Stalled", "True", "PathConflict");
    world.ask("GET", "owner/app", &token).send().is(200);

    // Also where the owner's resource is not there: the state is.
    world.operator.kill();
    forge(&world);
    world.api().merge(&World::at(&owner, "app"), &json!({"metadata": {"finalizers": null}})).done();
    world.api().delete(&World::at(&owner, "app")).done();
    world.operator.start();
    let of_thief = "a-token-of-the-thief-that-is-long";
    let status = world.ask("GET", "owner/app", of_thief).send().status();
    assert!([403, 503].contains(&status), "{status}");
    let told = world.until_condition(&thief, "app", "Stalled", "True", "PathConflict");
    assert_eq!(condition(&told, "Ready").unwrap()["status"], "False");
    world.ask("GET", "owner/app", of_thief).send().is(403);
    assert_eq!(world.owner("owner/app").unwrap()["namespace"], "owner");
}

#[test]
fn a_claim_that_somebody_changed_in_the_status_is_put_right() {
    let test = "a_claim_that_somebody_changed_in_the_status_is_put_right";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("claimed");
    world.ready(&namespace, json!({}));
    let (path, token) = ("claimed/app", world.token(&namespace, "app"));
    let status = format!("{}/status", World::at(&namespace, "app"));
    for runs in [true, false] {
        if !runs {
            world.operator.kill();
        }
        world.api().merge(&status, &json!({"status": {"openbao": {"claim": 7}}})).done();
        if !runs {
            world.operator.start();
        }
        world.until(&namespace, "app", "the claim is right again", |found| found["status"]["openbao"]["claim"] == 1);
        wait::until("it is served", || match world.ask("GET", path, &token).send().status() {
            404 => Ok(()),
            other => Err(other.to_string()),
        });
    }
}
