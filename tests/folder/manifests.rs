//! Manifests that come, change, go, and are wrong.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use tofustate::{
    registry::{
        Role,
        folder::{ChangeKind, Reason, Report},
    },
    store::{
        LockCall, WriteCall,
        owners::{self, Claimant, Leftover},
    },
};

use crate::world::*;

#[tokio::test]
async fn a_manifest_is_served_and_its_token_shown_once() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("net.yaml", &manifest("net", "a/net"));
    disk.write("deploy/app.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\n---\nreplicas: 2\n");
    let mut world = disk.start(&kv);
    assert!(!world.registry.is_loaded());
    let report = world.pass().await;
    assert!(world.registry.is_loaded());
    assert_eq!((paths(&report), changes(&report)), (vec!["a/net"], vec![("a/net", ChangeKind::Added)]));
    assert!(report.problems.iter().all(|problem| problem.reason == Reason::Skipped), "{:?}", report.problems);
    assert_eq!(report.problems.len(), 2);

    let token = report.generated[0].token.expose().clone();
    assert_eq!(world.admits("a/net", &token), Some(("token".to_owned(), Role::ReadWrite)));
    assert!(!format!("{report:?}").contains(&token));
    let file = &report.generated[0].file;
    assert_eq!(fs::read_to_string(file).unwrap().trim(), token);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    let state = world.state("a/net");
    let info = br#"{"ID":"1","Who":"ada@desk"}"#;
    state.lock(LockCall { info, identity: "token", ..LockCall::default() }, &mut budget()).await.unwrap();
    let report = world.pass().await;
    assert!(report.generated.is_empty() && report.changes.is_empty());
    assert!(world.state("a/net").is(&state), "an unchanged resource keeps its handle");

    disk.write("net.yaml", &manifest_with("net", "a/net", "  lock: {required: true}\n  maxSize: 1Ki\n"));
    let report = world.pass().await;
    assert_eq!(changes(&report), [("a/net", ChangeKind::Settings)]);
    assert!(world.state("a/net").is(&state));
    state.unlock(info, "token", &mut budget()).await.unwrap();
    let write = state.write(WriteCall { identity: "token", ..WriteCall::default() }, STATE, &mut budget()).await;
    assert!(write.unwrap_err().to_string().contains("under a lock only"));
}

#[tokio::test]
async fn a_wrong_manifest_takes_nothing_down() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("a.yaml", &(manifest("one", "a/one") + &manifest("two", "a/two") + &manifest("three", "a/three")));
    disk.write("b.yaml", &manifest("four", "b/four"));
    let mut world = disk.start(&kv);
    quiet(&world.pass().await);

    // A broken document, a wrong field, a file that is no YAML at all, each with its place.
    let two = "---\nkind: [TofuStateBackend\nmetadata: {name: two}\n".to_owned();
    let three = manifest_with("three", "a/three", "  maxSize: 12 potatoes\n  retention: {maxAge: 30d}\n");
    disk.write("a.yaml", &(manifest_with("one", "a/one", "  maxSize: 2Ki\n") + &two + &three));
    disk.write("b.yaml", "\u{0}\u{1}");
    disk.write("c.yaml", &manifest("five", "c/five"));
    let report = world.pass().await;
    assert_eq!(paths(&report), ["a/one", "a/three", "a/two", "b/four", "c/five"]);
    assert_eq!(changes(&report), [("a/one", ChangeKind::Settings), ("c/five", ChangeKind::Added)]);
    let said: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    for (part, place) in [
        ("spec.maxSize: write a size such as 256Mi", "a.yaml, document 3"),
        ("spec.retention.maxAge: write a duration", "a.yaml, document 3"),
        ("this is no valid YAML", "a.yaml, document 2"),
        ("this is no valid YAML", "b.yaml, document 1"),
    ] {
        let line = said.iter().find(|line| line.contains(part) && line.contains(place));
        assert!(line.is_some(), "{part}, {place}: {said:#?}");
    }
    assert!(said.iter().filter(|line| line.contains("last good version")).count() == 2, "{said:#?}");
    assert!(said.iter().all(|line| !line.contains("potatoes")));
    assert!(world.pass().await.changes.is_empty());

    // After a restart nobody knows what was good.
    let report = disk.start(&kv).pass().await;
    assert_eq!(paths(&report), ["a/one", "c/five"]);

    disk.write("b.yaml", &manifest("four", "b/four"));
    disk.write("a.yaml", &(manifest("one", "a/one") + &manifest("two", "a/two") + &manifest("three", "a/three")));
    quiet(&world.pass().await);
}

#[tokio::test]
async fn of_two_with_one_name_none_counts() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("a.yaml", &manifest("net", "a/net"));
    let mut world = disk.start(&kv);
    quiet(&world.pass().await);
    disk.write("b.yaml", &manifest_with("net", "a/net", "  maxSize: 1Ki\n"));
    disk.write("c.yaml", &(manifest("new", "a/new") + &manifest("new", "a/new2")));
    let report = world.pass().await;
    assert_eq!((paths(&report), report.changes.len()), (vec!["a/net"], 0));
    let said: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(report.problems.iter().all(|problem| problem.reason == Reason::Duplicate) && said.len() == 2, "{said:?}");
    assert!(said[0].contains("a.yaml") && said[0].contains("b.yaml") && said[0].contains("stays in use"), "{said:?}");
    assert!(said[1].contains("c.yaml, document 1") && said[1].contains("c.yaml, document 2"), "{said:?}");
    let report = disk.start(&kv).pass().await;
    assert!(paths(&report).is_empty());
    disk.remove("a.yaml");
    disk.remove("c.yaml");
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(changes(&report), [("a/net", ChangeKind::Settings)], "the other one is the only one by now");
}

#[tokio::test]
async fn a_path_goes_to_its_owner() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("z.yaml", &manifest("zeta", "a/net"));
    let mut world = disk.start(&kv);
    quiet(&world.pass().await);
    disk.write("a.yaml", &(manifest("alpha", "a/net") + &manifest("beta", "a/new") + &manifest("alpine", "a/new")));
    let told = |report: &Report, loser: &str, winner: &str| {
        let conflicts: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
        let found = conflicts.iter().any(|line| line.contains(loser) && line.contains(winner));
        assert!(found, "{loser}, {winner}: {conflicts:#?}");
        assert!(report.problems.iter().all(|problem| problem.reason == Reason::PathConflict));
    };
    let report = world.pass().await;
    assert_eq!(paths(&report), ["a/net", "a/new"]);
    assert_eq!(report.served[0].resource.name, "zeta", "the one that is served");
    assert_eq!(report.served[1].resource.name, "alpine", "the first by name");
    told(&report, "a/alpha: spec.path: a/net belongs to a/zeta", "z.yaml, document 1");
    told(&report, "a/beta: spec.path: a/new belongs to a/alpine", "a.yaml, document 3");
    assert_eq!(report.problems.len(), 2);
    assert_eq!(world.pass().await.problems, report.problems);

    // The same after a restart, and where the records are lost: the store knows.
    for lost in [false, true] {
        if lost {
            fs::remove_dir_all(disk.data().join("records")).unwrap();
        }
        let report = disk.start(&kv).pass().await;
        assert_eq!(report.served[0].resource.name, "zeta");
        told(&report, "a/alpha: spec.path: a/net belongs to a/zeta", "z.yaml, document 1");
        assert_eq!(report.problems.len(), 2);
    }

    // The owner's manifest goes: the path stays its own.
    disk.remove("z.yaml");
    let report = world.pass().await;
    assert_eq!((paths(&report), changes(&report)), (vec!["a/new"], vec![("a/net", ChangeKind::Removed)]));
    told(&report, "a/alpha", "the path belongs to a/zeta of instance test");

    // One that never had a path may choose another.
    disk.write("a.yaml", &(manifest("alpha", "a/other") + &manifest("alpine", "a/new")));
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(paths(&report), ["a/new", "a/other"]);
}

#[tokio::test]
async fn a_path_cannot_be_changed() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("a.yaml", &manifest("net", "a/net"));
    let mut world = disk.start(&kv);
    quiet(&world.pass().await);
    disk.write("a.yaml", &manifest("net", "a/other"));
    let report = world.pass().await;
    let said = problem(&report, Reason::InvalidSpec).to_string();
    assert!(said.contains("spec.path: the path cannot be changed") && said.contains("it was a/net"), "{said}");
    assert_eq!(paths(&report), ["a/net"]);
    let report = disk.start(&kv).pass().await;
    let said = problem(&report, Reason::InvalidSpec).to_string();
    assert!(said.contains("it was a/net") && paths(&report).is_empty(), "{said}");
    // Nor by taking the manifest away in between.
    disk.remove("a.yaml");
    world.pass().await;
    disk.write("a.yaml", &manifest("net", "a/other"));
    problem(&world.pass().await, Reason::InvalidSpec);
}

#[tokio::test]
async fn a_manifest_that_goes_gives_nothing_up() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("sub/net.yaml", &manifest("net", "a/net"));
    let mut world = disk.start(&kv);
    world.pass().await;
    world.store("a/net", STATE).await;
    let state = world.state("a/net");
    fs::rename(disk.manifests().join("sub"), disk.manifests().join("moved")).unwrap();
    quiet(&world.pass().await);
    assert!(world.state("a/net").is(&state), "it only moved");

    disk.remove("moved/net.yaml");
    let report = world.pass().await;
    problem(&report, Reason::NothingFound);
    assert_eq!((changes(&report), report.problems.len()), (vec![("a/net", ChangeKind::Removed)], 1));
    assert!(world.registry.all().is_empty());
    let head = state.head(&mut budget()).await.unwrap();
    assert!(!head.owner.released && head.current == Some(1));

    disk.write("again.yaml", &manifest("net", "a/net"));
    let report = world.pass().await;
    assert_eq!((changes(&report), report.generated.len()), (vec![("a/net", ChangeKind::Added)], 0));
    assert!(world.state("a/net").is(&state), "one path has one handle");

    // While it is away, another installation may release the path and give it to somebody else.
    disk.remove("again.yaml");
    world.pass().await;
    let path = state.path();
    let who = |name: &str| Claimant { instance: "test".into(), namespace: "a".into(), name: name.into(), uid: None };
    owners::release(&*kv, path, &who("net"), 1, Leftover::Nothing, &mut budget()).await.unwrap();
    let claim = owners::claim(&*kv, path, &who("other"), false, &mut budget()).await.unwrap();
    disk.write("again.yaml", &manifest("net", "a/net"));
    let report = world.pass().await;
    assert!(paths(&report).is_empty());
    problem(&report, Reason::PathConflict);
    owners::release(&*kv, path, &who("other"), claim, Leftover::Nothing, &mut budget()).await.unwrap();
    let report = world.pass().await;
    quiet(&report);
    assert!(!world.state("a/net").is(&state), "another claim, another handle");
    let head = world.state("a/net").head(&mut budget()).await.unwrap();
    assert_eq!((head.owner.claim, head.current), (3, Some(1)));

    // A folder that is gone as a whole, as while it is mounted anew, takes nothing with it.
    fs::rename(disk.manifests(), disk.root.path().join("away")).unwrap();
    let report = world.pass().await;
    assert_eq!((paths(&report), problem(&report, Reason::Unreadable).field.clone()), (vec!["a/net"], None));
    // But who starts without one serves nothing, and does not say "not registered" either.
    let mut other = disk.start(&kv);
    other.pass().await;
    assert!(!other.registry.is_loaded());
    fs::rename(disk.root.path().join("away"), disk.manifests()).unwrap();
    quiet(&world.pass().await);
}

#[tokio::test]
async fn links_of_a_mounted_config_map_are_followed_and_circles_not() {
    let (disk, kv) = (Disk::new(), memory());
    let at = |name: &str| disk.manifests().join(name);
    disk.write("..1/net.yaml", &manifest("net", "a/net"));
    disk.write("..2/net.yaml", &manifest_with("net", "a/net", "  maxSize: 1Ki\n"));
    disk.write("..2/more.yaml", &manifest("more", "a/more"));
    symlink("..1", at("..data")).unwrap();
    symlink("..data/net.yaml", at("net.yaml")).unwrap();
    let mut world = disk.start(&kv);
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(paths(&report), ["a/net"]);

    symlink("..data/more.yaml", at("more.yaml")).unwrap();
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    fs::remove_dir_all(at("..1")).unwrap();
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(changes(&report), [("a/more", ChangeKind::Added), ("a/net", ChangeKind::Settings)]);

    fs::create_dir(at("sub")).unwrap();
    symlink("..", at("sub/up")).unwrap();
    let report = world.pass().await;
    assert!(problem(&report, Reason::SymlinkLoop).to_string().contains("sub/up: symbolic links lead in a circle"));
    assert_eq!(paths(&report).len(), 2);
}
