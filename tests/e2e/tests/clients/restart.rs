//! The server ends in the middle of an apply and is started again: the apply succeeds, and nothing is lost.

use std::fs;

use tofustate_e2e::{
    client::Client,
    project::{INIT, Project, said, waits},
    standalone::Standalone,
    wait, with_each_client,
};

use crate::{PATH, resources};

with_each_client!(terminated, killed, away_when_the_state_is_written);

fn terminated(client: &Client) {
    restarted(client, |server| server.terminate());
}

fn killed(client: &Client) {
    restarted(client, |server| server.kill());
}

fn restarted(client: &Client, stop: fn(&mut Standalone)) {
    let mut server = Standalone::serving(&[PATH]);
    let project = Project::at(&server, PATH, client, &[&waits("a", None)]);
    project.run(INIT);
    let mut apply = project.start_apply("a");
    let lock = server.await_lock(PATH);
    stop(&mut server);
    server.start();
    assert_eq!(server.await_lock(PATH), lock, "the lock outlives the server");
    stop(&mut server);
    server.start();
    project.go("a");
    let ended = apply.wait();
    assert!(ended.status.success(), "{}", said(&ended));
    assert_eq!(resources(&server.state(PATH)), [("a", false)]);
    let written = server.bytes(PATH);

    // What was acknowledged is there after the next end, too.
    stop(&mut server);
    server.start();
    assert_eq!((server.bytes(PATH), server.row(PATH).get("lock")), (written, None));
    assert!(!project.has_changes());
    assert!(!project.path("errored.tfstate").exists());
}

/// A client that is told to try for longer than its usual three seconds.
fn away_when_the_state_is_written(client: &Client) {
    let mut server = Standalone::serving(&[PATH]);
    let mut project = Project::at(&server, PATH, client, &[&waits("a", None)]);
    project.env("TF_HTTP_RETRY_MAX", "600");
    project.env("TF_HTTP_RETRY_WAIT_MAX", "1");
    project.env("TF_LOG", "DEBUG");
    let log = project.path("log");
    project.env("TF_LOG_PATH", log.to_str().unwrap());
    project.run(INIT);
    let mut apply = project.start_apply("a");
    server.kill();
    project.go("a");
    wait::until("the client finds nobody", || {
        let log = fs::read_to_string(&log).unwrap();
        if log.contains("connection refused") { Ok(()) } else { Err(log) }
    });
    assert_eq!(apply.ended(), None);
    server.start();
    let ended = apply.wait();
    assert!(ended.status.success(), "{}", said(&ended));
    assert_eq!(resources(&server.state(PATH)), [("a", false)]);
    assert_eq!((server.row(PATH).get("lock"), server.logged(PATH, "state written").len()), (None, 1));
}
