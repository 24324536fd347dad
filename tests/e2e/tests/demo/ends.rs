//! However it ends: nothing of it is left, no process and no file.

use std::fs;

use rustix::process::Signal;
use tofustate_e2e::wait;

use crate::{full_stack, world::World};

const UP: &str = "It stays up until Ctrl-C";
/// What Ctrl-C ends has this status in a shell.
const INTERRUPTED: i32 = 130;

#[test]
fn ctrl_c_ends_it_well_when_it_is_up() {
    let mut world = World::bare();
    world.env("STACK", "embedded");
    let mut demo = world.start(&[]);
    let text = World::until_said(&mut demo, UP);
    assert!(text.contains("tofustate states --admin http://127.0.0.1:"), "{text}");
    let folder = text.split("All that it writes is in ").nth(1).and_then(|rest| rest.split(", which").next()).unwrap();
    assert!(fs::exists(folder).unwrap() && fs::read_dir(world.tmp()).unwrap().count() == 1, "{text}");
    demo.signal_group(Signal::INT);
    let done = demo.wait();
    assert!(done.status.success(), "{}", demo.said());
    world.nothing_is_left();
}

#[test]
fn ctrl_c_ends_it_while_a_cluster_comes_up() {
    if !full_stack("ctrl_c_ends_it_while_a_cluster_comes_up") {
        return;
    }
    let world = World::new();
    let mut demo = world.start(&[]);
    World::until_said(&mut demo, "== OpenBao");
    assert!(world.processes().iter().any(|line| line.contains("kube-apiserver")), "{:?}", world.processes());
    demo.signal_group(Signal::INT);
    assert_eq!(demo.wait().status.code(), Some(INTERRUPTED), "{}", demo.said());
    world.nothing_is_left();
}

#[test]
fn kill_9_leaves_nothing_of_a_cluster_and_a_run() {
    if !full_stack("kill_9_leaves_nothing_of_a_cluster_and_a_run") {
        return;
    }
    let world = World::new();
    let mut demo = world.start(&[]);
    World::until_said(&mut demo, "OperationTypeApply");
    let runs = |name: &str| world.processes().iter().any(|line| line.contains(name));
    for name in ["etcd", "kube-apiserver", "server -config", "operator", "apply -auto-approve", "sleep"] {
        assert!(runs(name), "{name}: {:?}", world.processes());
    }
    demo.kill();
    world.nothing_is_left();
}

#[test]
fn kill_9_leaves_nothing_of_a_server() {
    let mut world = World::bare();
    world.env("STACK", "embedded");
    let mut demo = world.start(&[]);
    World::until_said(&mut demo, UP);
    assert!(world.processes().iter().any(|line| line.contains("tofustate standalone")), "{:?}", world.processes());
    demo.kill();
    world.nothing_is_left();
}

#[test]
fn the_folder_stays_where_that_is_asked() {
    let mut world = World::bare();
    let text = world.env("KEEP", "1").once(true);
    assert!(text.contains("which stays"), "{text}");
    let kept: Vec<_> = fs::read_dir(world.tmp()).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let inside: Vec<_> = fs::read_dir(&kept[0]).unwrap().flatten().map(|entry| entry.path()).collect();
    let said = inside.iter().find(|file| file.to_str().unwrap().contains("tofustate-standalone-err")).expect("its log");
    assert!(fs::read_to_string(said).unwrap().contains("\"message\":\"starting\""), "{inside:?}");
    wait::until("no process is left", || match world.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn the_quick_look_is_the_server_alone() {
    let world = World::bare();
    let mut look = world.start(&["standalone"]);
    let text = World::until_said(&mut look, UP);
    assert!(text.contains("backend \"http\"") && text.contains("export TF_HTTP_PASSWORD="), "{text}");
    assert!(!text.contains("A run"), "{text}");
    look.signal_group(Signal::INT);
    assert!(look.wait().status.success(), "{}", look.said());
    world.nothing_is_left();
}
