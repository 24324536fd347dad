//! What the server prints at its start works as it is pasted: the backend block into a file, the environment into a shell.

use tofustate_e2e::{
    client::Client,
    pasted::{parts, pasted},
    project::{Project, VALUE, said},
    standalone::Standalone,
    wait, with_each_client,
};

use crate::PATH;

with_each_client!(as_printed);

/// Without a Secret: the token is made, and printed.
const MANIFEST: &str = "apiVersion: tofustate.io/v1alpha1
kind: TofuStateBackend
metadata: {name: app, namespace: team}
spec: {path: team/app}
";

fn as_printed(client: &Client) {
    let mut server = Standalone::new();
    server.manifest("app.yaml", MANIFEST);
    server.start();
    let printed = wait::until("what is to be pasted is printed", || {
        let printed = server.printed();
        if printed.contains("export TF_HTTP_PASSWORD=") { Ok(printed) } else { Err(printed) }
    });
    let (block, environment) = parts(&printed);
    let project = Project::new(client, &[block, "\n", VALUE]);
    let output =
        pasted(&project, environment, &["init -no-color", "apply -no-color -auto-approve", "output -raw value"]);
    assert!(output.status.success(), "{printed}\n{}", said(&output));
    assert!(output.stdout.ends_with(b"one"), "{}", said(&output));
    let written = server.logged(PATH, "state written");
    assert!(written.len() == 1 && written[0]["lock"].is_string(), "{written:?}");

    // The token is not printed again, and stays as it is.
    let token = printed.split("TF_HTTP_PASSWORD=").nth(1).unwrap().split_whitespace().next().unwrap();
    server.terminate();
    server.start();
    let again = wait::until("it is printed again", || {
        let again = server.printed()[printed.len()..].to_owned();
        if again.contains("TF_HTTP_PASSWORD=") && !again.contains(token) { Ok(again) } else { Err(again) }
    });
    assert!(server.log().iter().all(|line| !line.to_string().contains(token)), "no log has it");
    let output = pasted(&project, parts(&again).1, &["output -raw value"]);
    assert!(output.status.success() && output.stdout.ends_with(b"one"), "{}", said(&output));
}
