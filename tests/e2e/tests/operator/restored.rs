//! The cluster goes back to an earlier time under a running operator: its etcd is set back to a backup.

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{ask, lock_info},
    wait,
};

use crate::{
    replicas::{Replicas, until},
    world::{Setting, World},
};

#[test]
fn a_cluster_that_is_set_back_to_a_backup_costs_no_state_and_is_followed_on() {
    let test = "a_cluster_that_is_set_back_to_a_backup_costs_no_state_and_is_followed_on";
    let Some(mut replicas) = Replicas::start(test, 1, "6", Setting::default()) else { return };
    let namespace = &replicas.world.cluster.namespace("back");
    let path = |name: &str| format!("{namespace}/{name}");
    let world = &replicas.world;
    for name in ["stays", "ended"] {
        world.create(namespace, name, json!({}));
        world.until_ready(namespace, name);
        world.write(&path(name), &world.token(namespace, name), 1);
        world.until(namespace, name, "it is told", |found| found["status"]["state"]["serial"] == 1);
    }
    let (stays, ended) = (world.token(namespace, "stays"), world.token(namespace, "ended"));
    let backup = replicas.world.cluster.backup();

    // What comes after it: a write and a lock, a resource that ends, and one that begins.
    let world = &replicas.world;
    world.write(&path("stays"), &stays, 2);
    world.lock(&path("stays"), &stays, "held");
    world.until(namespace, "stays", "it is told", |found| found["status"]["lock"]["id"] == "held");
    world.until(namespace, "ended", "its lock's end is told", |found| found["status"]["locked"] == false);
    world.delete(namespace, "ended");
    world.create(namespace, "late", json!({}));
    world.until_ready(namespace, "late");
    let late = world.token(namespace, "late");
    // Another may lead by now: what that set up is known to this one a moment later.
    replicas.all().for_each(|replica| until(replica, "GET", &path("late"), &late, 404));
    world.write(&path("late"), &late, 5);

    replicas.world.cluster.restore(&backup);
    let world = &replicas.world;
    for replica in replicas.all() {
        // Nothing was acknowledged that is not there; who had the lock has it, and no other.
        let found = ask("GET", &replica.url(&path("stays"))).token(&stays).send().is(200).text();
        assert!(found.contains("\"serial\":2"), "{found}");
        ask("LOCK", &replica.url(&path("stays"))).token(&stays).body(lock_info("another")).send().is(409);
        // What is not registered is not served; what is registered again is.
        until(replica, "GET", &path("late"), &late, 403);
        until(replica, "GET", &path("ended"), &ended, 200);
    }
    world.until(namespace, "stays", "it is told again", |found| {
        found["status"]["lock"]["id"] == "held" && found["status"]["state"]["serial"] == 2
    });
    world.until_ready(namespace, "ended");
    // It is seen what changes from now on.
    world.change(namespace, "stays", json!({"maxSize": "64Mi"}));
    world.until(namespace, "stays", "its spec is seen", |found| {
        found["status"]["observedGeneration"] == found["metadata"]["generation"]
    });
    // Nothing is left of what was made after the backup, but its state.
    let policy = format!("sys/policies/acl/{}", World::policy(namespace, "late"));
    wait::until("its policy is gone", || match world.server.api().ask("GET", &policy, &Value::Null)?.status {
        404 => Ok(()),
        other => Err(other.to_string()),
    });
    assert!(world.entry(&path("late")).is_some());
    world.create(namespace, "late", json!({}));
    world.until_ready(namespace, "late");
    let found = world.ask("GET", &path("late"), &world.token(namespace, "late")).send().is(200).text();
    assert!(found.contains("\"serial\":5"), "{found}");
}
