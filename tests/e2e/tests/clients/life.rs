//! The life of a state: init, plan, apply, output, destroy; and what a credential that may only read can do.

use serde_json::Value;
use tofustate_e2e::{
    client::Client,
    project::{APPLY, DESTROY, INIT, PLAN, Project, VALUE},
    standalone::{Standalone, viewer},
    with_each_client,
};

use crate::{PATH, resources};

with_each_client!(life, may_only_read);

fn life(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let project = Project::at(&server, PATH, client, &[VALUE]);
    project.run(INIT);
    assert!(project.has_changes());
    assert_eq!(server.bytes(PATH), None, "planning writes nothing");

    project.run(APPLY);
    let first = server.bytes(PATH).unwrap();
    assert_eq!(project.pull(), first, "byte for byte");
    assert_eq!(project.run(&["output", "-raw", "value"]), b"one");
    assert!(!project.has_changes());
    let row = server.row(PATH);
    assert_eq!((&row["serial"], &row["size"]), (&server.state(PATH)["serial"], &first.len().into()), "{row}");

    project.run(&[APPLY, &["-var=value=two"]].concat());
    assert_eq!(project.run(&["output", "-raw", "value"]), b"two");
    let written = server.logged(PATH, "state written");
    assert_eq!(written.len(), 2);
    assert!(written.iter().all(|line| line["lock"].is_string() && line["identity"] == "token"), "{written:?}");

    project.run(DESTROY);
    assert_eq!(resources(&server.state(PATH)), []);
    let row = server.row(PATH);
    assert_eq!((row.get("lock"), &row["versions"]), (None, &Value::from(3)), "{row}");
    assert!(!project.path("errored.tfstate").exists());
}

fn may_only_read(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let mut project = Project::at(&server, PATH, client, &[VALUE]);
    project.run(INIT);
    project.run(APPLY);
    let before = server.bytes(PATH);

    project.env("TF_HTTP_PASSWORD", &viewer(PATH));
    project.run(&[PLAN, &["-lock=false"]].concat());
    assert_eq!(project.run(&["output", "-raw", "value"]), b"one");
    project.fails(PLAN);
    project.fails(&[APPLY, &["-lock=false", "-var=value=two"]].concat());
    assert_eq!(server.bytes(PATH), before);
    assert!(project.path("errored.tfstate").exists());

    project.env("TF_HTTP_PASSWORD", "a-token-that-nobody-has");
    project.fails(&["state", "pull"]);
}
