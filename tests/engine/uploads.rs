//! Uploads and calls that break off: what they leave behind, and what they can no longer do.

use std::{future::Future, pin::pin, task::Context, time::Duration};

use tofustate::store::{
    Budget, LockCall, Settings, StateError, WriteCall,
    head::{Body, Refusal},
};

use crate::world::{Asked, World, budget, info, noisy, owner, small};

/// Polls a call that many times, then drops it. True if it was done by then.
async fn polled_and_dropped<T>(call: impl Future<Output = T>, polls: usize) -> bool {
    let mut call = pin!(call);
    for _ in 0..polls {
        let waker = futures_waker();
        if call.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// The polls come anyway.
fn futures_waker() -> std::task::Waker {
    std::task::Waker::noop().clone()
}

#[tokio::test]
async fn an_upload_that_is_given_up_takes_its_parts_along() {
    for world in [World::in_memory(), World::on_disk()] {
        let state = world.state().await;
        state.post(None, &small(1)).await.unwrap();
        let before = world.raw_head().await;
        let body = noisy(2, 3 << 20);
        for share in [1, 2, 3] {
            let mut upload = state.upload(WriteCall::default()).unwrap();
            upload.push(&body[..body.len() / 3 * share], &mut budget()).await.unwrap();
            assert!(!world.parts().await.is_empty(), "nothing was stored of {share} thirds");
            drop(upload);
            world.until_parts("of an upload that was given up", <[String]>::is_empty).await;
        }
        assert_eq!(world.raw_head().await, before);
        // The turn of the path was given back.
        state.post(None, &body).await.unwrap();
        assert_eq!(state.pull().await.unwrap(), Some(body));
    }
}

#[tokio::test]
async fn a_repeat_of_a_large_write_leaves_nothing_behind() {
    let world = World::in_memory();
    let state = world.state().await;
    let body = noisy(1, 2 << 20);
    state.take_lock("a").await.unwrap();
    state.post(Some("a"), &body).await.unwrap();
    let parts = world.parts().await;
    assert!(state.post(Some("a"), &body).await.unwrap().repeated);
    world.until_parts("of a repeat", |now| now == parts).await;
    // After the lock is gone nothing of it is stored at all.
    state.let_go("a").await.unwrap();
    assert!(state.post(Some("a"), &body).await.unwrap().repeated);
    assert_eq!(world.parts().await, parts);
    let other = state.post(Some("a"), &noisy(2, 2 << 20)).await.unwrap_err();
    assert!(matches!(other, StateError::Refused(Refusal::LockGone { .. })), "{other:?}");
    world.until_parts("of a refused write", |now| now == parts).await;
}

#[tokio::test]
async fn an_upload_whose_lock_is_broken_ends_at_once() {
    let world = World::in_memory();
    let state = world.state().await;
    state.take_lock("a").await.unwrap();
    let body = noisy(1, 8 << 20);
    let mut upload = state.upload(WriteCall { lock: Some("a"), ..WriteCall::default() }).unwrap();
    upload.push(&body[..2 << 20], &mut budget()).await.unwrap();
    state.force_unlock("a", "admin", &mut budget()).await.unwrap();
    let error = upload.push(&body[2 << 20..4 << 20], &mut budget()).await.unwrap_err();
    assert!(matches!(error, StateError::Refused(Refusal::LockGone { .. })), "{error:?}");
    // Nor can it be finished, whatever came since.
    upload.push(&body[4 << 20..], &mut budget()).await.unwrap_err();
    upload.finish(&mut budget()).await.unwrap_err();
    world.until_parts("of the upload whose lock was broken", <[String]>::is_empty).await;
    assert_eq!(world.head().await.current, None);
}

#[tokio::test]
async fn what_failed_once_cannot_be_finished() {
    let world = World::in_memory();
    let state = world.open(owner(1), None, Settings { max_size: 100, ..Settings::default() });
    state.register(&mut budget()).await.unwrap();
    let before = world.raw_head().await;
    // A whole state, then more than may be: without the more it would be one.
    let mut upload = state.upload(WriteCall::default()).unwrap();
    upload.push(br#"{"serial":1}"#, &mut budget()).await.unwrap();
    upload.push(&[b' '; 100], &mut budget()).await.unwrap_err();
    let error = upload.finish(&mut budget()).await.unwrap_err();
    assert!(matches!(error, StateError::TooLarge { .. }), "the same error again: {error:?}");
    assert_eq!(world.raw_head().await, before);
}

#[tokio::test]
async fn an_upload_one_of_whose_pushes_was_dropped_cannot_be_finished() {
    let world = World::in_memory();
    let state = world.state().await;
    let body = noisy(1, 3 << 20);
    let mut cut_off = 0;
    for polls in 1..40 {
        let mut upload = state.upload(WriteCall::default()).unwrap();
        let done = polled_and_dropped(upload.push(&body, &mut budget()), polls).await;
        let finished = upload.finish(&mut budget()).await;
        assert_eq!(finished.is_ok(), done, "after {polls} polls: {finished:?}");
        if let Some(read) = state.pull().await.unwrap() {
            assert!(read == body, "a part is missing");
        }
        cut_off += usize::from(!done);
    }
    assert!(cut_off > 3, "{cut_off}");
    // One that is let finish, whatever the others came to: its parts are all there are.
    state.post(None, &body).await.unwrap();
    let current = world.head().await.current().unwrap().clone();
    let Body::Object(object) = &current.body else { panic!("{current:?}") };
    world.until_parts("of uploads that broke off", |parts| parts.len() == object.parts as usize).await;
}

#[tokio::test]
async fn a_read_that_was_dropped_half_way_never_ends_well() {
    let world = World::in_memory();
    let state = world.state().await;
    let body = noisy(1, 3 << 20);
    state.post(None, &body).await.unwrap();
    let (mut cut_off, mut polls) = (0, 0);
    while cut_off < 5 {
        let mut reader = state.read(&mut budget()).await.unwrap().unwrap();
        let mut dropped = false;
        for _ in 0..100 {
            polls = polls % 3 + 1;
            if !polled_and_dropped(reader.next(&mut budget()), polls).await {
                dropped = true;
                break;
            }
        }
        if dropped {
            cut_off += 1;
            for _ in 0..2 {
                let after = reader.next(&mut budget()).await;
                assert!(after.is_err(), "it ended as if it were whole: {after:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_second_large_upload_waits_its_turn_and_not_for_ever() {
    let world = World::in_memory();
    let state = world.state().await;
    let (one, two) = (noisy(1, 1 << 20), noisy(2, 1 << 20));
    let mut first = state.upload(WriteCall::default()).unwrap();
    first.push(&one[..500_000], &mut budget()).await.unwrap();
    let mut second = state.upload(WriteCall::default()).unwrap();
    let error = second.push(&two, &mut Budget::new(Duration::from_millis(50))).await.unwrap_err();
    assert!(matches!(error, StateError::Busy { .. }) && error.kind() == "unavailable", "{error:?}");
    assert!(second.finish(&mut budget()).await.is_err());
    // Small ones do not wait for large ones.
    state.post(None, &small(3)).await.unwrap();
    first.push(&one[500_000..], &mut budget()).await.unwrap();
    first.finish(&mut budget()).await.unwrap();
    assert_eq!(state.pull().await.unwrap(), Some(one));
    state.post(None, &two).await.unwrap();
}

#[tokio::test]
async fn a_lock_call_that_is_dropped_does_no_harm() {
    let world = World::in_memory();
    let state = world.state().await;
    for polls in 0..30 {
        let (id, next) = (format!("a-{polls}"), format!("b-{polls}"));
        let text = info(&id);
        let mut time = budget();
        let call = LockCall { info: text.as_bytes(), identity: "tester", ..LockCall::default() };
        let done = polled_and_dropped(state.lock(call, &mut time), polls).await;
        // The client sends it again.
        state.take_lock(&id).await.unwrap();
        assert_eq!(state.take_lock(&next).await.unwrap_err().holder().unwrap().id, id);
        state.post(Some(&id), &small(polls as u64 + 1)).await.unwrap();
        let mut time = budget();
        let unlock = polled_and_dropped(state.unlock(text.as_bytes(), "tester", &mut time), polls).await;
        state.let_go(&id).await.unwrap();
        assert!(world.head().await.lock.is_none(), "{done} {unlock}");
        state.take_lock(&next).await.unwrap();
        state.let_go(&next).await.unwrap();
    }
    let released = world.head().await.released;
    assert_eq!(released.iter().map(|released| &released.id).collect::<std::collections::HashSet<_>>().len(), 16);
}

#[tokio::test]
async fn a_write_that_is_dropped_was_done_or_was_not() {
    let world = World::in_memory();
    let state = world.state().await;
    state.take_lock("a").await.unwrap();
    let (mut serial, mut before) = (0, None);
    for polls in 0..30 {
        for len in [10, 60_000, 700_000] {
            serial += 1;
            let (body, mut time) = (noisy(serial, len), budget());
            let call = WriteCall { lock: Some("a"), ..WriteCall::default() };
            polled_and_dropped(state.write(call, &body, &mut time), polls).await;
            let read = state.pull().await.unwrap();
            assert!(read.as_ref() == Some(&body) || read == before, "neither the old state nor the new");
            // The client sends it again: one version comes of it.
            state.post(Some("a"), &body).await.unwrap();
            let head = world.head().await;
            let same = head.versions.iter().filter(|version| version.serial == serial).count();
            assert_eq!(same, 1, "serial {serial}");
            before = state.pull().await.unwrap();
            assert!(before.as_ref() == Some(&body));
        }
    }
}
