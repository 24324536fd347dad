//! A long apply writes snapshots under its one lock.

use std::time::{Duration, Instant};

use tofustate_e2e::{
    client::Client,
    project::{INIT, Project, waits},
    standalone::Standalone,
    wait, with_each_client,
};

use crate::{PATH, resources};

with_each_client!(a_long_apply);

/// The least that clients take for `TF_STATE_PERSIST_INTERVAL`.
const INTERVAL: Duration = Duration::from_secs(20);

fn a_long_apply(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let names = ["a", "b", "c", "d"];
    let pieces: Vec<String> =
        (0..names.len()).map(|at| waits(names[at], at.checked_sub(1).map(|before| names[before]))).collect();
    let mut project = Project::at(&server, PATH, client, &pieces.iter().map(String::as_str).collect::<Vec<_>>());
    project.env("TF_STATE_PERSIST_INTERVAL", &INTERVAL.as_secs().to_string());
    project.run(INIT);
    let mut apply = project.start_apply("a");
    let lock = server.await_lock(PATH);
    project.go("a");
    for (made, next) in [("b", "c"), ("c", "d")] {
        // The client's clock for the next snapshot has begun: the resource before is made.
        project.await_begun(&mut apply, made);
        let began = Instant::now();
        wait::until("the interval is over", || {
            let passed = began.elapsed();
            if passed > INTERVAL { Ok(()) } else { Err(format!("{passed:?}")) }
        });
        project.go(made);
        project.await_begun(&mut apply, next);
        let state = wait::until("a snapshot", || match server.bytes(PATH) {
            Some(_) if resources(&server.state(PATH)).contains(&(made, false)) => Ok(server.state(PATH)),
            other => Err(format!("{other:?}; {}", apply.said())),
        });
        assert!(!resources(&state).contains(&(next, false)), "{state}");
        assert_eq!(server.await_lock(PATH), lock);
    }
    project.go("d");
    assert!(apply.wait().status.success(), "{}", apply.said());
    assert_eq!(resources(&server.state(PATH)), names.map(|name| (name, false)));
    let written = server.logged(PATH, "state written");
    assert!(written.len() >= 3, "two snapshots and the end: {written:?}");
    assert!(written.iter().all(|line| line["lock"] == lock["id"]), "{written:?}");
    assert_eq!(server.row(PATH).get("lock"), None);
    assert!(!project.has_changes());
}
