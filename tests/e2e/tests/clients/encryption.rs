//! OpenTofu's state encryption: the server stores and shows what it cannot read.

use serde_json::Value;
use tofustate_e2e::{
    client::Client,
    project::{APPLY, DESTROY, INIT, PLAN, Project, VALUE, waits},
    standalone::Standalone,
};

use crate::{PATH, text};

const ENCRYPTION: &str = r#"
key_provider "pbkdf2" "it" {
  passphrase = "a passphrase that is long enough"
}
method "aes_gcm" "it" {
  keys = key_provider.pbkdf2.it
}
state {
  method   = method.aes_gcm.it
  enforced = true
}
"#;

#[test]
fn an_encrypted_state() {
    let Some(client) = Client::opentofu("encryption::an_encrypted_state") else { return };
    let server = Standalone::serving(&[PATH]);
    let mut project = Project::at(&server, PATH, &client, &[VALUE]);
    project.env("TF_ENCRYPTION", ENCRYPTION);
    project.run(INIT);
    project.run(&[APPLY, &["-var=value=a secret value"]].concat());
    let (bytes, state) = (server.bytes(PATH).unwrap(), server.state(PATH));
    assert!(state["encrypted_data"].is_string() && state.get("version").is_none(), "{state}");
    assert!(!String::from_utf8(bytes.clone()).unwrap().contains("a secret value"));
    assert_eq!(project.run(&["output", "-raw", "value"]), b"a secret value");
    assert!(project.run(&["state", "pull"]).windows(14).any(|part| part == b"a secret value"));

    // What is not encrypted is known: serial, size, and who holds the lock.
    let row = server.row(PATH);
    assert_eq!((&row["serial"], &row["size"], &row["versions"]), (&1.into(), &bytes.len().into(), &1.into()), "{row}");
    let table = server.states(&[]);
    assert!(table.lines().any(|line| line.starts_with(PATH) && line.contains(&bytes.len().to_string())), "{table}");
    project.write("more.tf", waits("a", None));
    let mut apply = project.start_apply("a");
    assert_eq!(text(&server.await_lock(PATH), "operation"), "OperationTypeApply");
    project.go("a");
    assert!(apply.wait().status.success(), "{}", apply.said());
    assert_eq!(server.row(PATH)["serial"], server.state(PATH)["serial"]);
    assert_eq!(server.logged(PATH, "strange state written"), [] as [Value; 0]);
    assert!(!project.path("errored.tfstate").exists());

    // Without the passphrase there is nothing to be seen, and nothing is built again.
    project.env("TF_ENCRYPTION", "");
    let before = server.bytes(PATH);
    let refusal = project.fails(PLAN);
    assert!(refusal.contains("encrypt"), "{refusal}");
    assert_eq!(server.bytes(PATH), before);

    project.env("TF_ENCRYPTION", ENCRYPTION);
    project.run(DESTROY);
    assert!(server.state(PATH)["encrypted_data"].is_string());
    assert_eq!(server.row(PATH).get("lock"), None);
}
