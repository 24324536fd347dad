//! What the server prints at its start works as it is pasted: the backend block into a file, the environment into a shell.

use std::process::Command;

use tofustate_e2e::{
    client::Client,
    process::Process,
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
    let (environment, block): (Vec<&str>, Vec<&str>) = printed.lines().partition(|line| line.starts_with("export "));

    let project = Project::new(client, &[&block.join("\n"), "\n", VALUE]);
    let script = format!(
        "set -e\n{}\n\"$0\" init -no-color\n\"$0\" apply -no-color -auto-approve\n\"$0\" output -raw value\n",
        environment.join("\n")
    );
    let (mut shell, client) = (Command::new("sh"), project.command(&[]));
    client.get_envs().for_each(|(name, value)| match value {
        Some(value) => drop(shell.env(name, value)),
        None => drop(shell.env_remove(name)),
    });
    shell.args(["-c", &script]).arg(client.get_program()).current_dir(project.path(""));
    let output = Process::spawn("the pasted commands", &mut shell).wait();
    assert!(output.status.success(), "{printed}\n{}", said(&output));
    assert!(output.stdout.ends_with(b"one"), "{}", said(&output));
    let written = server.logged(PATH, "state written");
    assert!(written.len() == 1 && written[0]["lock"].is_string(), "{written:?}");

    // The token is not printed again, and stays as it is.
    let token = printed.split("TF_HTTP_PASSWORD=").nth(1).unwrap().split_whitespace().next().unwrap();
    server.terminate();
    server.start();
    wait::until("it is printed again", || {
        let again = server.printed()[printed.len()..].to_owned();
        if again.contains("TF_HTTP_PASSWORD=") && !again.contains(token) { Ok(()) } else { Err(again) }
    });
    assert!(server.log().iter().all(|line| !line.to_string().contains(token)), "no log has it");
    let mut project = project;
    project.env("TF_HTTP_USERNAME", "tofustate");
    project.env("TF_HTTP_PASSWORD", token);
    assert_eq!(project.run(&["output", "-raw", "value"]), b"one");
}
