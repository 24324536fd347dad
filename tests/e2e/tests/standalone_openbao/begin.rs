//! As a newcomer goes: an empty OpenBao, `bootstrap`, `standalone`, and what that prints is pasted.

use tofustate_e2e::{
    bao::Setup,
    client::Client,
    pasted::{parts, pasted},
    project::{Project, VALUE, said},
    standalone::Standalone,
    wait, with_each_client,
};

use crate::{INSTANCE, PATH};

with_each_client!(from_an_empty_openbao_to_an_apply, in_a_namespace_of_its_own);

/// Without a Secret: the token is made, and printed.
const MANIFEST: &str = "apiVersion: tofustate.io/v1alpha1
kind: TofuStateBackend
metadata: {name: app, namespace: team}
spec: {path: team/app}
";

fn from_an_empty_openbao_to_an_apply(client: &Client) {
    begin(client, "from_an_empty_openbao_to_an_apply", None);
}

fn in_a_namespace_of_its_own(client: &Client) {
    begin(client, "in_a_namespace_of_its_own", Some("team/tofu"));
}

fn begin(client: &Client, test: &str, namespace: Option<&str>) {
    let setup = Setup { openbao_only: namespace.is_some(), ..Setup::default() };
    let Some(server) = setup.start(test) else { return };
    let args: Vec<&str> = namespace.iter().flat_map(|namespace| ["--namespace", namespace]).collect();
    let token = server.bootstrap(INSTANCE, &args);
    let mut standalone = Standalone::on(&server, INSTANCE, &token);
    if let Some(namespace) = namespace {
        standalone.env("BAO_NAMESPACE", namespace);
    }
    standalone.manifest("app.yaml", MANIFEST);
    standalone.start();
    let printed = wait::until("what is to be pasted is printed", || {
        let printed = standalone.printed();
        if printed.contains("export TF_HTTP_PASSWORD=") { Ok(printed) } else { Err(printed) }
    });
    let (block, environment) = parts(&printed);
    let project = Project::new(client, &[block, "\n", VALUE]);
    let commands = ["init -no-color", "apply -no-color -auto-approve", "output -raw value"];
    let output = pasted(&project, environment, &commands);
    assert!(output.status.success() && output.stdout.ends_with(b"one"), "{printed}\n{}", said(&output));

    // It is in OpenBao, at the path; and the server tells of it as with the other store.
    let api = namespace.map_or_else(|| server.api(), |namespace| server.api().in_namespace(namespace));
    let head = api.must("GET", "states/data/team/app", &serde_json::Value::Null);
    assert!(head["data"]["document"].as_str().unwrap().contains("\"current\":1"), "{head}");
    let row = standalone.row(PATH);
    assert_eq!((&row["serial"], &row["versions"], row.get("lock")), (&1.into(), &1.into(), None), "{row}");
    let metrics = standalone.metrics();
    assert!(metrics.contains("tofustate_openbao_calls_total{operation=\"put\",outcome=\"ok\"}"), "{metrics}");

    // Another process, with nothing but the data folder and OpenBao, goes on.
    standalone.terminate();
    standalone.arg("--existing-data");
    standalone.start();
    let output = pasted(&project, environment, &["output -raw value", "plan -no-color -detailed-exitcode"]);
    assert!(output.status.success(), "{}", said(&output));
    standalone.terminate();
    let log = format!("{:?}{}", standalone.log(), standalone.printed());
    assert!(!log.contains(std::fs::read_to_string(&token).unwrap().trim()), "{log}");
}
