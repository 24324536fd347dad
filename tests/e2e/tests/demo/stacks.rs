//! Which stack it runs, what it says of that, and that it ends well only where all was seen.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tofustate_e2e::{
    client::Client,
    tools::{ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, OPENTOFU},
    with_each_client,
};

use crate::{full_stack, world::World};

/// The first line.
fn chosen(text: &str) -> &str {
    text.lines().next().unwrap()
}

#[test]
fn in_a_cluster_it_ends_well_where_all_of_it_was_seen() {
    if !full_stack("in_a_cluster_it_ends_well_where_all_of_it_was_seen") {
        return;
    }
    let mut world = World::new();
    let text = world.once(true);
    assert!(chosen(&text).contains("is full") && chosen(&text).contains("are here"), "{text}");
    for seen in ["OperationTypeApply", "Apply complete!", "Seen: the lock of ", "ended without an error", " s)"] {
        assert!(text.contains(seen), "{seen} in {text}");
    }
    world.nothing_is_left();
}

fn embedded_it_ends_well_where_all_of_it_was_seen(client: &Client) {
    let mut world = World::bare();
    let program = client.program();
    world.program(program.file_name().unwrap().to_str().unwrap(), program);
    // What an apply does is a command for a shell.
    for name in ["sh", "sleep"] {
        world.program(name, &on_path(name));
    }
    let text = world.env("STACK", "embedded").once(true);
    assert!(chosen(&text).contains("is embedded") && chosen(&text).contains("STACK says so"), "{text}");
    for seen in ["OperationTypeApply", "Apply complete!", "Seen: the lock of ", "The server ended well"] {
        assert!(text.contains(seen), "{seen} in {text}");
    }
    world.nothing_is_left();
}

with_each_client!(embedded_it_ends_well_where_all_of_it_was_seen);

/// Where a program of every machine is.
fn on_path(name: &str) -> PathBuf {
    let folders = env::var_os("PATH").unwrap();
    env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn without_go_and_the_servers_it_is_embedded_and_says_why() {
    let mut world = World::bare();
    let text = world.once(true);
    let line = chosen(&text);
    assert!(
        line.contains("is embedded") && line.contains("go cannot be run") && line.contains("kube-apiserver"),
        "{text}"
    );
    assert!(text.contains("this program's own requests") && text.contains("Seen: the lock of you@the-demo"), "{text}");
    world.nothing_is_left();
}

#[test]
fn without_a_client_it_is_curl() {
    let mut world = World::bare();
    world.program("curl", &on_path("curl"));
    let text = world.once(true);
    assert!(text.contains("--request UNLOCK") && text.contains("Seen: the lock of you@the-demo"), "{text}");
    world.nothing_is_left();
}

#[test]
fn all_that_a_cluster_lacks_is_named_at_once_with_the_remedy() {
    let mut world = World::bare();
    let text = world.env("STACK", "full").once(false);
    for tool in [ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, OPENTOFU] {
        assert!(
            text.contains(&format!("\n  {}: ", tool.name)) && text.contains(tool.variable),
            "{}: {text}",
            tool.name
        );
    }
    assert!(text.contains("https://go.dev/doc/install") && text.contains("STACK=embedded"), "{text}");
    assert!(!text.contains("=="), "nothing was begun: {text}");
    let other = World::bare().env("STACK", "both").once(false);
    assert!(other.contains("neither full nor embedded"), "{other}");
    world.nothing_is_left();
}

#[test]
fn go_alone_is_enough_for_the_cluster() {
    let mut world = World::bare();
    // It says its version and builds nothing.
    let go = world.tmp().with_file_name("go");
    executable(&go, "#!/bin/sh\n[ \"$1\" = version ] && echo 'go version go1.26.0 linux/amd64'\n");
    world.program("go", &go);
    let text = world.once(false);
    let line = chosen(&text);
    assert!(line.contains("is full") && line.contains("Go 1.26.0") && line.contains("etcd"), "{text}");
    assert!(text.contains("these cannot be had") && text.contains("\netcd: ") && text.contains("\ntofu: "), "{text}");
    world.nothing_is_left();
}

#[test]
fn it_fails_where_no_lock_is_seen() {
    let mut world = World::bare();
    let client = world.tmp().with_file_name("tofu");
    executable(&client, "#!/bin/sh\necho 'OpenTofu v1.12.6'\n");
    world.program("tofu", &client);
    let text = world.once(false);
    assert!(text.contains("The demo failed: the apply ended") && text.contains("before its lock was seen"), "{text}");
    world.nothing_is_left();
}

fn executable(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}
