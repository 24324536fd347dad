//! `state pull` and `state push`.

use serde_json::Value;
use tofustate_e2e::{
    client::Client,
    project::{APPLY, INIT, Project, VALUE, waits},
    standalone::Standalone,
    with_each_client,
};

use crate::{PATH, assert_names_holder};

with_each_client!(push);

fn push(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let project = Project::at(&server, PATH, client, &[VALUE]);
    project.run(INIT);
    project.run(APPLY);
    let first = project.pull();
    assert_eq!(server.bytes(PATH).unwrap(), first);
    project.write("old.tfstate", &first);
    project.run(&[APPLY, &["-var=value=two"]].concat());

    // A lower serial: the client itself refuses, unless it is forced. What it does then is put on record.
    let refusal = project.fails(&["state", "push", "old.tfstate"]);
    assert!(refusal.contains("serial"), "{refusal}");
    assert_eq!(project.run(&["output", "-raw", "value"]), b"two");
    project.run(&["state", "push", "-force", "old.tfstate"]);
    assert_eq!(project.run(&["output", "-raw", "value"]), b"one");
    assert_eq!(server.logged(PATH, "strange state written").len(), 1, "{:?}", server.log());

    // Edited by hand.
    let mut state: Value = serde_json::from_slice(&project.pull()).unwrap();
    state["serial"] = 1_000.into();
    state["outputs"]["value"]["value"] = "by hand".into();
    project.write("new.tfstate", state.to_string());
    project.run(&["state", "push", "new.tfstate"]);
    assert_eq!(project.run(&["output", "-raw", "value"]), b"by hand");
    assert_eq!(server.row(PATH)["serial"], server.state(PATH)["serial"]);

    // While another holds the lock.
    let holder = Project::at(&server, PATH, client, &[VALUE, &waits("a", None)]);
    holder.run(INIT);
    let mut apply = holder.start_apply("a");
    let (lock, before) = (server.await_lock(PATH), server.bytes(PATH));
    let refusal = project.fails(&["state", "push", "-force", "old.tfstate"]);
    assert_names_holder(client, &refusal, &lock);
    assert_eq!(server.bytes(PATH), before);
    holder.go("a");
    assert!(apply.wait().status.success(), "{}", apply.said());
}
