//! Ctrl-C in the middle of an apply. (`kill -9`: `force_unlock.rs`, for its lock stays.)

use rustix::process::Signal;
use tofustate_e2e::{
    client::Client,
    project::{APPLY, INIT, Project, waits},
    standalone::Standalone,
    with_each_client,
};

use crate::{PATH, resources};

with_each_client!(ctrl_c);

fn ctrl_c(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let project = Project::at(&server, PATH, client, &[&waits("a", None), &waits("b", Some("a"))]);
    project.run(INIT);
    let mut apply = project.start_apply("a");
    project.go("a");
    project.await_begun(&mut apply, "b");
    apply.signal_group(Signal::INT);
    let ended = apply.wait();
    assert!(ended.status.code().is_some_and(|code| code != 0), "it ends by itself: {}: {}", ended.status, apply.said());

    // It wrote what it had and gave the lock back.
    assert_eq!(resources(&server.state(PATH)), [("a", false), ("b", true)]);
    assert_eq!(server.row(PATH).get("lock"), None);
    assert!(!project.path("errored.tfstate").exists(), "{}", apply.said());
    let written = server.logged(PATH, "state written");
    assert!(written.iter().all(|line| line["lock"] == written[0]["lock"]), "under its lock: {written:?}");

    project.go("b");
    project.run(APPLY);
    assert_eq!(resources(&server.state(PATH)), [("a", false), ("b", false)]);
    assert!(!project.has_changes());
}
