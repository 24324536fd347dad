//! A disk that is full, seen through the engine.

use std::{fs, time::Duration};

use tofustate::store::{Budget, EmbeddedKv, StateError, WriteCall};

use crate::{
    disk::{Disk, fill},
    world::{Asked, World, noisy, small},
};

#[tokio::test]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let Some(disk) = Disk::mount("size=24m") else { return };
    let folder = disk.path.join("data");
    let world = World::on(EmbeddedKv::open(&folder).unwrap(), None);
    let state = world.state().await;
    let old = noisy(1, 1 << 20);
    state.take_lock("a").await.unwrap();
    state.post(Some("a"), &old).await.unwrap();
    let before = (world.raw_head().await, world.parts().await);

    let filler = disk.path.join("filler");
    fill(&filler);
    // Larger than whatever room the database has left in its file.
    let new = noisy(2, 22 << 20);
    let mut short = Budget::new(Duration::from_secs(2));
    let call = WriteCall { lock: Some("a"), ..WriteCall::default() };
    let error = state.write(call.clone(), &new, &mut short).await.unwrap_err();
    let StateError::Unavailable { message, .. } = &error else { panic!("{error:?}") };
    let advice = format!("free space on the disk of {}", folder.display());
    assert!(message.contains(&advice) && error.to_string().contains(&advice), "{error}");
    assert_eq!(error.kind(), "unavailable");

    assert_eq!(state.pull().await.unwrap().as_ref(), Some(&old), "the old state is there");
    assert_eq!(world.raw_head().await, before.0);
    assert_eq!(world.head().await.lock.unwrap().id, "a");

    fs::remove_file(&filler).unwrap();
    world.until_parts("of the write that found no room", |parts| parts == before.1).await;
    state.post(Some("a"), &noisy(3, 2 << 20)).await.unwrap();
    assert_eq!(state.pull().await.unwrap(), Some(noisy(3, 2 << 20)));
    state.let_go("a").await.unwrap();
    state.post(None, &small(4)).await.unwrap();
    drop(state);
    world.close().await;

    let world = World::on(EmbeddedKv::open(&folder).unwrap(), None);
    let state = world.state().await;
    assert_eq!(state.pull().await.unwrap(), Some(small(4)));
    assert_eq!(state.pull_version(1).await.unwrap(), old);
}
