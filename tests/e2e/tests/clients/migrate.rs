//! `init -migrate-state`, from a local state into the server and out again.

use serde_json::Value;
use tofustate_e2e::{
    client::Client,
    project::{APPLY, BACKEND, INIT, Project, VALUE},
    standalone::{Standalone, writer},
    with_each_client,
};

use crate::PATH;

with_each_client!(in_and_out);

const MIGRATE: &[&str] = &["init", "-no-color", "-input=false", "-migrate-state", "-force-copy"];

fn in_and_out(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let mut project = Project::new(client, &[VALUE]);
    project.points_to(&server.url(PATH), &writer(PATH));
    project.run(INIT);
    project.run(APPLY);
    assert_eq!(server.bytes(PATH), None);
    let local = project.json("terraform.tfstate");

    project.write("backend.tf", BACKEND);
    project.run(MIGRATE);
    assert_same(&local, &server.state(PATH));
    assert_eq!(server.row(PATH).get("lock"), None);
    assert!(!project.has_changes(), "nothing is to be built again");
    project.run(&[APPLY, &["-var=value=two"]].concat());
    let remote = server.bytes(PATH).unwrap();

    project.write("backend.tf", "");
    project.run(MIGRATE);
    assert_same(&server.state(PATH), &project.json("terraform.tfstate"));
    assert_eq!(server.bytes(PATH).unwrap(), remote, "what was left behind stays");
    assert_eq!(server.row(PATH).get("lock"), None);
    assert_eq!(project.run(&["output", "-raw", "value"]), b"two");
}

/// The lineage may be a new one: the client makes it when it looks again and finds no state.
fn assert_same(before: &Value, after: &Value) {
    for field in ["version", "resources", "outputs"] {
        assert_eq!(before[field], after[field], "{field}");
    }
}
