//! Two processes with one instance serve one path; another instance does not get it.

use std::fs;

use serde_json::Value;
use tofustate_e2e::{
    ask::{lock_info, state},
    client::Client,
    project::{APPLY, BACKEND, INIT, Project, waits},
    standalone::{Standalone, viewer, writer},
    wait, with_each_client,
};

use crate::{PATH, ask, lines, on, world};

with_each_client!(a_run_outlives_the_replica_that_it_began_with);

#[test]
fn a_lock_and_a_write_of_one_are_seen_by_the_other() {
    let Some((server, mut a)) = world("a_lock_and_a_write_of_one_are_seen_by_the_other") else { return };
    let mut b = on(&server);
    a.start();
    b.start();
    assert_eq!(b.bytes(PATH), None);
    ask(&a, "LOCK", "").body(lock_info("of-a")).send().is(200);
    // With the holder's own bytes.
    let refused = ask(&b, "LOCK", "").body(lock_info("of-b")).send();
    assert_eq!((refused.status(), refused.text()), (409, lock_info("of-a")));
    ask(&b, "POST", "?ID=of-b").body(state(1, 10)).send().is(409);
    ask(&b, "POST", "?ID=of-a").body(state(1, 10)).send().is(200);
    assert_eq!(a.bytes(PATH).unwrap(), state(1, 10).as_bytes());
    ask(&a, "POST", "?ID=of-a").body(state(2, 10)).send().is(200);
    assert_eq!(b.bytes(PATH).unwrap(), state(2, 10).as_bytes());
    assert_eq!(b.row(PATH)["lock"]["id"], "of-a");
    ask(&b, "UNLOCK", "").body(lock_info("of-a")).send().is(200);
    ask(&a, "LOCK", "").body(lock_info("of-b")).send().is(200);
    // A token of its own each; the end of one leaves the other's.
    assert_eq!(server.tokens_of("tofustate/prod/team/app").len(), 2);
    a.terminate();
    assert_eq!(server.tokens_of("tofustate/prod/team/app").len(), 1);
    ask(&b, "POST", "?ID=of-b").body(state(3, 10)).send().is(200);
    // The one that was away has seen an older head, which is no reason to refuse a newer one.
    a.arg("--existing-data");
    a.start();
    assert_eq!(a.bytes(PATH).unwrap(), state(3, 10).as_bytes());
    b.terminate();
    a.terminate();
    assert_eq!(server.tokens_of("tofustate/prod/").len(), 0);
    let revision = |server: &Standalone| {
        let text = fs::read_to_string(server.data().join("records/team/app.json")).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        (record["headEpoch"].clone(), record["headRevision"].as_u64().unwrap())
    };
    assert_eq!(revision(&a).0, revision(&b).0, "it is one state");
    assert!(revision(&a).1 > 0, "{:?}", revision(&a));
}

/// The lock is taken at one, which is killed while the run works; the other takes the state and the unlock.
fn a_run_outlives_the_replica_that_it_began_with(client: &Client) {
    let Some((server, mut a)) = world("a_run_outlives_the_replica_that_it_began_with") else { return };
    let mut b = on(&server);
    a.start();
    b.start();
    let mut project = Project::new(client, &[BACKEND, &waits("it", None)]);
    project.points_to(&b.url(PATH), &writer(PATH));
    project.env("TF_HTTP_LOCK_ADDRESS", &a.url(PATH));
    project.run(INIT);
    let mut apply = project.start_apply("it");
    let lock = b.await_lock(PATH);
    a.kill();
    let refused = ask(&b, "LOCK", "").body(lock_info("another")).send();
    assert!(refused.status() == 409 && refused.text().contains(lock["id"].as_str().unwrap()), "{refused:?}");
    project.go("it");
    let output = apply.wait();
    assert!(output.status.success(), "{}", apply.said());
    assert_eq!(b.state(PATH)["resources"][0]["name"], "it");
    assert_eq!(b.row(PATH).get("lock"), None);

    // The killed one comes back: with what the other wrote, and without the lock.
    a.start();
    assert_eq!(a.bytes(PATH), b.bytes(PATH));
    project.points_to(&a.url(PATH), &writer(PATH));
    project.run(APPLY);
    assert!(!project.has_changes());
}

#[test]
fn another_instance_is_refused_and_told_who_has_the_path() {
    let Some((server, mut a)) = world("another_instance_is_refused_and_told_who_has_the_path") else { return };
    a.start();
    ask(&a, "POST", "").body(state(1, 10)).send().is(200);
    let token = server.bootstrap("other", &[]);
    let mut other = Standalone::on(&server, "other", &token);
    other.register(PATH, "");
    other.register("team/free", "");
    other.start();
    let line = wait::until("the refusal is logged", || lines(&other, "PathConflict").pop().ok_or_else(String::new));
    let said = line["message"].as_str().unwrap();
    for part in ["team/app", "the path belongs to team/app of instance prod", "--instance", "choose another path"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Nobody is served there, and other paths are.
    ask(&other, "POST", "").body(state(9, 10)).send().is(403);
    assert_eq!(other.bytes("team/free"), None);
    tofustate_e2e::ask::ask("GET", &other.url(PATH)).token(&viewer(PATH)).send().is(403);
    assert_eq!(a.bytes(PATH).unwrap(), state(1, 10).as_bytes());
}
