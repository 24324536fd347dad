//! Other settings of the backend: the lock URLs as GitLab has them, the update method, a Bearer token.

use std::fs;

use tofustate_e2e::{
    client::Client,
    project::{APPLY, INIT, PLAN, Project, VALUE, waits},
    standalone::{Standalone, writer},
    with_each_client,
};

use crate::{PATH, assert_names_holder};

with_each_client!(lock_urls_as_gitlab_has_them, put);

fn lock_urls_as_gitlab_has_them(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let mut project = Project::at(&server, PATH, client, &[VALUE, &waits("a", None)]);
    let lock = format!("{}/lock", server.url(PATH));
    for (name, value) in [
        ("TF_HTTP_LOCK_ADDRESS", lock.as_str()),
        ("TF_HTTP_UNLOCK_ADDRESS", &lock),
        ("TF_HTTP_LOCK_METHOD", "POST"),
        ("TF_HTTP_UNLOCK_METHOD", "DELETE"),
    ] {
        project.env(name, value);
    }
    project.run(INIT);
    let mut apply = project.start_apply("a");
    let lock = server.await_lock(PATH);
    let refusal = project.fails(PLAN);
    assert_names_holder(client, &refusal, &lock);
    project.go("a");
    assert!(apply.wait().status.success(), "{}", apply.said());
    let written = server.logged(PATH, "state written");
    assert!(written.len() == 1 && written[0]["lock"] == lock["id"], "under its lock: {written:?}");
    assert_eq!(server.row(PATH).get("lock"), None);
    assert!(!project.has_changes());
}

fn put(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let mut project = Project::at(&server, PATH, client, &[VALUE]);
    let log = project.path("log");
    project.env("TF_HTTP_UPDATE_METHOD", "PUT");
    project.env("TF_LOG", "DEBUG");
    project.env("TF_LOG_PATH", log.to_str().unwrap());
    project.run(INIT);
    project.run(APPLY);
    assert_eq!(project.run(&["output", "-raw", "value"]), b"one");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains(&format!("PUT {}", server.url(PATH))) && !log.contains("POST http"), "{log}");
}

/// OpenTofu alone has headers of one's own.
#[test]
fn a_bearer_token() {
    let Some(client) = Client::opentofu("settings::a_bearer_token") else { return };
    let server = Standalone::serving(&[PATH]);
    let url = server.url(PATH);
    let backend = format!(
        "terraform {{\n  backend \"http\" {{\n    address = \"{url}\"\n    lock_address = \"{url}\"\n    unlock_address = \"{url}\"\n    headers = {{ Authorization = \"Bearer {}\" }}\n  }}\n}}\n",
        writer(PATH)
    );
    let project = Project::new(&client, &[&backend, VALUE]);
    project.run(INIT);
    project.run(APPLY);
    assert_eq!(project.run(&["output", "-raw", "value"]), b"one");
    assert_eq!(server.logged(PATH, "state written")[0]["identity"], "token");
}
