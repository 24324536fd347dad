//! `force-unlock`, of both tools. OpenTofu's names the lock. Terraform's names none: a lock that was just taken or written
//! under is not broken by it, one that was quiet for a minute is. The minute is waited for: the clock is the store's.

use std::time::{Duration, Instant};

use serde_json::Value;
use tofustate_e2e::{
    client::Client,
    project::{APPLY, INIT, PLAN, Project, VALUE, waits},
    standalone::Standalone,
    wait, with_each_client,
};

use crate::{PATH, assert_names_holder, resources, text};

with_each_client!(after_a_killed_run, under_a_living_run);

const QUIET: Duration = Duration::from_secs(60);

/// Breaks a lock. `before`: a time before it was taken.
fn force_unlock(client: &Client, project: &Project, server: &Standalone, lock: &Value, before: Instant) {
    let args = ["force-unlock", "-force", text(lock, "id")];
    if client.is_terraform() {
        let seen = Instant::now();
        let early = project.start(&args).wait();
        assert!(!early.status.success() || before.elapsed() > QUIET, "a lock that was just taken is not broken");
        if !early.status.success() {
            assert_eq!(server.await_lock(PATH), *lock);
            wait::until("the lock was quiet for a minute", || {
                let quiet = seen.elapsed();
                if quiet > QUIET + Duration::from_secs(1) { Ok(()) } else { Err(format!("for {quiet:?}")) }
            });
            project.run(&args);
        }
    } else {
        project.fails(&["force-unlock", "-force", "00000000-0000-0000-0000-000000000000"]);
        assert_eq!(server.await_lock(PATH), *lock);
        project.run(&args);
    }
    let unlocked = server.logged(PATH, "unlocked");
    let last = unlocked.last().unwrap();
    assert_eq!((&last["lock"], &last["forced"]), (&lock["id"], &client.is_terraform().into()), "{last}");
    assert_eq!(server.row(PATH).get("lock"), None);
}

fn after_a_killed_run(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let project = Project::at(&server, PATH, client, &[VALUE]);
    project.run(INIT);
    project.run(APPLY);
    let first = server.bytes(PATH).unwrap();

    project.write("more.tf", waits("a", None) + &waits("b", Some("a")));
    let before = Instant::now();
    let mut apply = project.start_apply("a");
    project.go("a");
    project.await_begun(&mut apply, "b");
    let lock = server.await_lock(PATH);
    apply.kill();
    // The lock stays. The state is the one before, or, where that took 20 seconds, a snapshot; nothing in between.
    assert_eq!(server.await_lock(PATH), lock);
    assert!(server.bytes(PATH).unwrap() == first || resources(&server.state(PATH)).contains(&("a", false)));
    assert_names_holder(client, &project.fails(PLAN), &lock);

    force_unlock(client, &project, &server, &lock, before);
    project.go("b");
    project.run(APPLY);
    assert_eq!(resources(&server.state(PATH)), [("a", false), ("b", false), ("it", false)]);
    assert!(!project.has_changes());
}

fn under_a_living_run(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let project = Project::at(&server, PATH, client, &[&waits("a", None)]);
    project.run(INIT);
    let before = Instant::now();
    let mut apply = project.start_apply("a");
    let lock = server.await_lock(PATH);
    force_unlock(client, &project, &server, &lock, before);

    // Whose lock was broken cannot write any more, and keeps what it has.
    project.go("a");
    let ended = apply.wait();
    assert!(!ended.status.success(), "{}", apply.said());
    assert_eq!(server.bytes(PATH), None);
    assert!(project.path("errored.tfstate").exists(), "{}", apply.said());
    project.run(&["state", "push", "errored.tfstate"]);
    assert_eq!(resources(&server.state(PATH)), [("a", false)]);
    assert!(!project.has_changes());
}
