//! What the next process finds: tokens, records, a store that was set back.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use tempfile::TempDir;
use tofustate::{
    registry::{
        CredentialHash,
        folder::{ChangeKind, FolderOptions, Reason},
    },
    store::{EmbeddedKv, Kv, StateError, StatePath, WriteCall},
};

use crate::world::*;

#[track_caller]
fn embedded(folder: &Path) -> Arc<dyn Kv> {
    Arc::new(EmbeddedKv::open(folder).unwrap())
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from.join("states.redb"), to.join("states.redb")).unwrap();
}

#[tokio::test]
async fn a_restart_keeps_tokens_and_notices_a_store_that_was_set_back_or_lost() {
    let disk = Disk::new();
    let saved = TempDir::new().unwrap();
    disk.write("net.yaml", &manifest("net", "a/net"));
    let run = |kv: Arc<dyn Kv>, accept: bool| {
        Disk::start_with(FolderOptions { accept_restore: accept, ..disk.options() }, &kv)
    };

    let mut world = run(embedded(&disk.data()), false);
    let report = world.pass().await;
    let token = report.generated[0].token.expose().clone();
    world.store("a/net", STATE).await;
    drop(world);
    copy(&disk.data(), saved.path());

    // Runs and ends as a process does: its record is written at the end.
    let World { folder, registry } = run(embedded(&disk.data()), false);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(folder.run(quiet, stopped));
    until(|| registry.is_loaded()).await;
    let backend = registry.get(&StatePath::parse("a/net").unwrap()).unwrap();
    assert!(backend.credentials[0].hash.matches(&CredentialHash::of(&token)), "the token is the same");
    let newer = br#"{"version":4,"serial":2,"lineage":"l","resources":[]}"#;
    backend.state.write(WriteCall { identity: "token", ..WriteCall::default() }, newer, &mut budget()).await.unwrap();
    let mark = backend.state.mark().unwrap();
    stop.send(true).unwrap();
    running.await.unwrap();
    drop((backend, registry));
    let record = fs::read_to_string(disk.data().join("records/a/net.json")).unwrap();
    assert!(
        record.contains(&format!("\"headEpoch\":\"{}\",\"headRevision\":{}", mark.epoch, mark.revision)),
        "{record}"
    );

    // Set back: every verb says so, also after another restart, until a person accepts it.
    copy(saved.path(), &disk.data());
    for _ in 0..2 {
        let mut world = run(embedded(&disk.data()), false);
        let report = world.pass().await;
        let said = problem(&report, Reason::StoreWentBack).to_string();
        assert!(said.contains("--accept-restore") && said.contains("503"), "{said}");
        assert_eq!(report.served[0].fault, Some(Reason::StoreWentBack));
        assert!(world.admits("a/net", &token).is_some());
        let read = world.state("a/net").read(&mut budget()).await;
        assert!(matches!(read, Err(StateError::HeadBehind { .. })));
    }
    let mut world = run(embedded(&disk.data()), true);
    let report = world.pass().await;
    quiet(&report);
    let reader = world.state("a/net").read(&mut budget()).await.unwrap().unwrap();
    assert_eq!(reader.read_to_end(&mut budget()).await.unwrap(), STATE);
    drop(world);
    let mut world = run(embedded(&disk.data()), false);
    quiet(&world.pass().await);
    drop(world);

    // Lost.
    fs::remove_file(disk.data().join("states.redb")).unwrap();
    let mut world = run(embedded(&disk.data()), false);
    let report = world.pass().await;
    let said = problem(&report, Reason::HeadLost).to_string();
    assert!(said.contains("--accept-restore") && said.contains("build everything"), "{said}");
    assert_eq!((report.generated.len(), report.served[0].fault), (0, Some(Reason::HeadLost)));
    let read = world.state("a/net").read(&mut budget()).await;
    assert!(matches!(read, Err(StateError::HeadLost { .. })));
    assert_eq!(world.pass().await.problems.len(), 1);
    drop(world);
    let mut world = run(embedded(&disk.data()), true);
    quiet(&world.pass().await);
    assert!(world.state("a/net").read(&mut budget()).await.unwrap().is_none());
    drop(world);
    let mut world = run(embedded(&disk.data()), false);
    quiet(&world.pass().await);
    assert!(world.admits("a/net", &token).is_some());
}

#[tokio::test]
async fn a_damaged_file_of_the_data_folder_is_never_taken_for_none() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("net.yaml", &(manifest("net", "a/net") + &manifest("ok", "a/ok")));
    disk.start(&kv).pass().await;
    let (record, token) = (disk.data().join("records/a/net.json"), disk.data().join("tokens/a/net"));
    for (file, text) in [(&record, "{"), (&token, "")] {
        let good = fs::read(file).unwrap();
        fs::write(file, text).unwrap();
        let mut world = disk.start(&kv);
        for _ in 0..2 {
            let report = world.pass().await;
            let found = problem(&report, Reason::DataFile);
            assert_eq!(&*found.place.as_ref().unwrap().file, file.as_path());
            assert!(found.message.contains("not served") && report.again, "{found}");
            assert_eq!(paths(&report), ["a/ok"]);
            assert_eq!(fs::read_to_string(file).unwrap(), text);
        }
        fs::write(file, good).unwrap();
        let report = world.pass().await;
        quiet(&report);
        assert_eq!(paths(&report), ["a/net", "a/ok"]);
    }
}

#[tokio::test]
async fn the_epoch_is_on_the_disk_before_a_path_is_served() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("net.yaml", &manifest("net", "a/net"));
    let mut world = disk.start(&kv);
    // Nothing can be written there.
    fs::remove_dir(disk.data().join("records")).unwrap();
    fs::write(disk.data().join("records"), "").unwrap();
    let report = world.pass().await;
    assert!(report.problems.iter().all(|problem| problem.reason == Reason::DataFile), "{:?}", report.problems);
    assert!(paths(&report).is_empty() && report.again, "{:?}", report.served);
    // There is none, and none can be made: the path is known and cannot be used yet.
    fs::remove_file(disk.data().join("records")).unwrap();
    fs::create_dir(disk.data().join("records")).unwrap();
    symlink("nowhere", disk.data().join("records/a")).unwrap();
    let report = world.pass().await;
    assert_eq!((report.served[0].fault, report.again), (Some(Reason::DataFile), true));
    assert!(world.state("a/net").read(&mut budget()).await.is_err());
    fs::remove_file(disk.data().join("records/a")).unwrap();
    let report = world.pass().await;
    quiet(&report);
    assert_eq!((report.served[0].fault, changes(&report)), (None, vec![("a/net", ChangeKind::Fault)]));
    assert!(world.state("a/net").read(&mut budget()).await.unwrap().is_none());
    assert!(disk.data().join("records/a/net.json").exists());
}
