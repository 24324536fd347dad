//! What docs/openbao.md tells a newcomer to paste, pasted: a development server, `bootstrap`, `standalone`, an apply.

use std::{fs, os::unix::fs::symlink, process::Command};

use tempfile::TempDir;
use tofustate_e2e::{
    bao,
    client::Client,
    docs::commands,
    pasted::{parts, pasted},
    ports,
    process::Process,
    project::{Project, VALUE, said},
    standalone::{binary, clean},
    wait, with_each_client,
};

with_each_client!(what_the_docs_say_ends_with_an_apply);

/// The block with a port that is free in place of the usual one.
fn on_port(port: u16) -> String {
    let mut text = commands("openbao.md", "without-a-cluster");
    for (usual, ours) in [
        ("bao server -dev ", format!("bao server -dev -dev-listen-address=127.0.0.1:{port} ")),
        ("http://127.0.0.1:8200", format!("http://127.0.0.1:{port}")),
    ] {
        assert_eq!(text.matches(usual).count(), 1, "{usual}: {text}");
        text = text.replace(usual, &ours);
    }
    text
}

/// A port for the development server, which also listens on the one after it.
fn port_and_next() -> u16 {
    loop {
        let (first, next) = (ports::free(), ports::free());
        if next == first + 1 {
            return first;
        }
    }
}

fn what_the_docs_say_ends_with_an_apply(client: &Client) {
    let Some(server) = bao::openbao("what_the_docs_say_ends_with_an_apply") else { return };
    let folder = TempDir::new().unwrap();
    let programs = folder.path().join("bin");
    fs::create_dir(&programs).unwrap();
    symlink(&server.program, programs.join("bao")).unwrap();
    symlink(binary(), programs.join("tofustate")).unwrap();
    let usual = std::env::var("PATH").unwrap();
    let mut shell = clean(Command::new("sh"));
    // The development server writes its token into the home folder.
    shell.env("HOME", folder.path()).env("PATH", format!("{}:{usual}", programs.display()));
    for listener in ["LISTEN_ADDR", "TOFUSTATE_ADMIN_LISTEN"] {
        shell.env(listener, format!("127.0.0.1:{}", ports::free()));
    }
    shell.args(["-ec", &on_port(port_and_next())]).current_dir(folder.path());
    let mut shell = Process::spawn("what docs/openbao.md says", &mut shell);
    let printed = wait::until("what is to be pasted is printed", || {
        if let Some(status) = shell.ended() {
            panic!("it ended with {status}");
        }
        let printed = shell.stdout();
        if printed.contains("export TF_HTTP_PASSWORD=") { Ok(printed) } else { Err(printed) }
    });
    let start = printed.find("terraform {").expect("the block for a file");
    let (block, environment) = parts(&printed[start..]);
    let project = Project::new(client, &[block, "\n", VALUE]);
    let commands = ["init -no-color", "apply -no-color -auto-approve", "output -raw value"];
    let output = pasted(&project, environment, &commands);
    assert!(output.status.success() && output.stdout.ends_with(b"one"), "{printed}\n{}", said(&output));
}
