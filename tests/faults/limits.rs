//! Exactly at a limit, just over it, and limits that change while something is under way.

use std::{sync::atomic::Ordering, time::Duration};

use tofustate::store::{
    LockCall, Part, PartLabel, Settings, StateError, Value, WriteCall,
    head::{Body, Inline, InlineLimits, MAX_HEAD},
};
use tokio::time::sleep;

use crate::{
    scenario::{body, budget, engine, open, post, pull},
    store::{Fault, Kind, Store},
};

const NEVER_OUT: InlineLimits = InlineLimits { version: 16_384, kept: 0, most: u64::MAX };

#[tokio::test(start_paused = true)]
async fn states_at_every_limit_are_read_as_they_were_written() {
    // At 64 KiB a body is compressed as it comes.
    for len in [30_000, 65_535, 65_536, 65_537, 100_000] {
        let state_of_len = body(7, len - body(7, 0).len());
        assert_eq!(state_of_len.len(), len);
        let store = Store::new();
        let first = open(&engine(&store, InlineLimits::default()), &store, 1, 20);
        first.register(&mut budget()).await.unwrap();
        post(&first, None, &state_of_len).await.unwrap();
        let stored = store.head().unwrap().current().unwrap().stored;
        for inline in [stored, stored - 1] {
            for part in [stored, stored - 1, stored + 1, stored.div_ceil(2), stored / 3] {
                let store = Store::new();
                store.part_bytes.store(usize::try_from(part).unwrap(), Ordering::Relaxed);
                let limits = InlineLimits { version: inline, kept: 0, most: 1 };
                let state = open(&engine(&store, limits), &store, 1, 20);
                let max_size = len as u64;
                state.set_settings(Settings { max_size, ..Settings::default() });
                state.register(&mut budget()).await.unwrap();
                post(&state, None, &state_of_len).await.unwrap();
                let version = store.head().unwrap().current().unwrap().clone();
                // What was streamed in parts stays in parts.
                let parts = match &version.body {
                    Body::Inline(_) | Body::Delta(_) | Body::Patch(_) => 0,
                    Body::Object(object) => u64::from(object.parts),
                };
                let streamed = len > 65_536 && part <= stored;
                let expected = if inline >= stored && !streamed { 0 } else { stored.div_ceil(part) };
                assert!(parts == expected || streamed, "{len} {stored} {inline} {part}: {parts} parts");
                assert_eq!((version.stored, store.parts().len() as u64), (stored, parts));
                assert_eq!(pull(&state).await.unwrap().as_ref(), Some(&state_of_len));
                state.set_settings(Settings { max_size: max_size - 1, ..Settings::default() });
                let over = post(&state, None, &state_of_len).await.unwrap_err();
                assert!(matches!(over, StateError::TooLarge { limit } if limit == max_size - 1), "{over:?}");
                assert_eq!(store.violations(), Vec::<String>::new());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_other_parts_from_now_on_gets_them_from_the_next_upload_on() {
    for (before, after) in [(16_384, 4_096), (4_096, 16_384), (16_384, 16_000)] {
        for given_up in [false, true] {
            let store = Store::new();
            store.part_bytes.store(before, Ordering::Relaxed);
            let state = open(&engine(&store, InlineLimits::default()), &store, 1, 20);
            state.register(&mut budget()).await.unwrap();
            let large = body(1, 600_000);
            let mut upload = state.upload(WriteCall::default()).unwrap();
            upload.push(&large[..400_000], &mut budget()).await.unwrap();
            store.part_bytes.store(after, Ordering::Relaxed);
            if given_up {
                upload.push(&large[400_000..], &mut budget()).await.unwrap();
                state.release(false, &mut budget()).await.unwrap();
                upload.finish(&mut budget()).await.unwrap_err();
                sleep(Duration::from_secs(60)).await;
                assert_eq!(store.parts(), Vec::<String>::new(), "{before} {after}");
                continue;
            }
            upload.push(&large[400_000..], &mut budget()).await.unwrap();
            upload.finish(&mut budget()).await.unwrap();
            let version = store.head().unwrap().current().unwrap().clone();
            assert_eq!(version.stored, store.part_bytes_stored(), "{before} {after}");
            assert_eq!(pull(&state).await.unwrap(), Some(large));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_wait_for_one_part_counts_however_long_all_take() {
    let store = Store::new();
    store.part_bytes.store(4_096, Ordering::Relaxed);
    let state = open(&engine(&store, InlineLimits::default()), &store, 1, 20);
    state.register(&mut budget()).await.unwrap();
    let large = body(1, 600_000);
    let slow = |seconds| {
        store.slow("put_part", Duration::from_secs(seconds));
        store.slow("get", Duration::from_secs(seconds));
    };
    slow(10);
    post(&state, None, &large).await.unwrap();
    assert!(store.parts().len() > 5, "together they take longer than a request waits for the store");
    assert_eq!(pull(&state).await.unwrap().as_ref(), Some(&large));
    slow(60);
    let given_up = post(&state, None, &body(2, 600_000)).await.unwrap_err();
    assert!(matches!(given_up, StateError::Unavailable { .. }), "{given_up:?}");
    assert!(pull(&state).await.is_err());
    slow(0);
    assert_eq!(pull(&state).await.unwrap().as_ref(), Some(&large));
    assert_eq!(store.violations(), Vec::<String>::new());
}

/// A head that has no room for one version more, and could move all but one out.
async fn full_head(store: &std::sync::Arc<Store>) -> tofustate::store::State {
    let state = open(&engine(store, NEVER_OUT), store, 1, 100);
    state.register(&mut budget()).await.unwrap();
    for serial in 1.. {
        post(&state, None, &body(serial, 20_000)).await.unwrap();
        if store.head().unwrap().encode().len() > MAX_HEAD - 20_000 {
            break;
        }
    }
    state
}

#[tokio::test(start_paused = true)]
async fn no_version_goes_for_want_of_room_while_it_can_move_out() {
    for fault in [None, Some(Fault::Overtaken), Some(Fault::Before(Kind::Unavailable)), Some(Fault::After(Kind::Other))]
    {
        let store = Store::new();
        let state = full_head(&store).await;
        let before = store.head().unwrap().versions.len();
        // The parts of what moves out, then the head.
        if let Some(fault) = fault {
            store.fail(before, fault);
        }
        let info = format!(r#"{{"ID":"x","Info":"{}"}}"#, r#"\""#.repeat(8_000));
        let lock = LockCall { info: info.as_bytes(), ..LockCall::default() };
        state.lock(lock, &mut budget()).await.unwrap();
        let head = store.head().unwrap();
        assert_eq!(head.lock.as_ref().unwrap().info, info);
        assert_eq!(head.versions.len(), before, "{fault:?}: versions were dropped");
        assert!(head.versions.iter().filter(|version| version.body.object().is_some()).count() > 5);
        post(&state, Some("x"), &body(99, 20_000)).await.unwrap();
        state.unlock(br#"{"ID":"x"}"#, "x", &mut budget()).await.unwrap();
        for serial in 1..=before as u64 {
            let reader = state.read_version(serial, &mut budget()).await.unwrap();
            assert_eq!(reader.read_to_end(&mut budget()).await.unwrap(), body(serial, 20_000));
        }
        assert_eq!(store.violations(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn trash_that_takes_longer_than_one_round_gets_less_each_round() {
    let store = Store::new();
    store.part_bytes.store(2_048, Ordering::Relaxed);
    let state = open(&engine(&store, InlineLimits::default()), &store, 1, 1);
    state.register(&mut budget()).await.unwrap();
    for serial in 1..=8 {
        post(&state, None, &body(serial, 40_000)).await.unwrap();
    }
    let head = store.head().unwrap();
    assert_eq!((head.versions.len(), head.trash.len()), (1, 7));
    sleep(Duration::from_secs(2 * 3_600)).await;
    // One object alone takes longer than a client may wait.
    store.slow("delete_part", Duration::from_secs(3));
    let mut left = 7;
    while left > 0 {
        state.maintain().await.unwrap();
        let now = store.head().unwrap().trash.len();
        assert!(now < left, "{now} objects are left");
        left = now;
    }
    let Some(Body::Object(object)) = store.head().unwrap().current().map(|version| version.body.clone()) else {
        panic!("not in parts")
    };
    assert_eq!(store.parts().len(), object.parts as usize);
    assert_eq!(store.violations(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_others_left_among_the_parts_does_not_stop_the_sweep() {
    let store = Store::new();
    let state = open(&engine(&store, InlineLimits::default()), &store, 1, 20);
    state.register(&mut budget()).await.unwrap();
    let names = ["Not-Ours", "1-a.4294967295", "1-a.4294967294", "1-b.999999", "", "1-c.x", &"9".repeat(65)];
    for name in names {
        let label = PartLabel { sha256: String::new(), path: String::new(), object: String::new(), index: 0 };
        let value = Value::Part(Part { label, bytes: b"x".as_slice().into() });
        store.plant(&format!(".versions/team:app/{name}"), value.clone());
        store.plant(".versions/team:app/5-10st", value);
    }
    sleep(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(state.sweep().await.unwrap(), 1);
    sleep(Duration::from_secs(2 * 3_600)).await;
    state.maintain().await.unwrap();
    let left = store.parts();
    assert!(!left.iter().any(|key| key.ends_with("/5-10st")) && left.len() == names.len(), "{left:?}");
    assert_eq!(store.head().unwrap().trash, vec![]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_set_back_under_an_upload_is_found_out() {
    let store = Store::new();
    let state = open(&engine(&store, InlineLimits::default()), &store, 1, 20);
    state.register(&mut budget()).await.unwrap();
    let old = body(1, 30_000);
    post(&state, None, &old).await.unwrap();
    let restore = store.snapshot();
    let large = body(2, 600_000);
    let mut upload = state.upload(WriteCall::default()).unwrap();
    upload.push(&large[..400_000], &mut budget()).await.unwrap();
    assert!(store.parts().len() > 10);
    // The head is as it was; what the upload stored is not.
    sleep(Duration::from_secs(60)).await;
    restore(&store);
    store.next_generation();
    sleep(Duration::from_secs(60)).await;
    upload.push(&large[400_000..], &mut budget()).await.unwrap();
    let error = upload.finish(&mut budget()).await.unwrap_err();
    assert!(matches!(error, StateError::Unavailable { .. }), "{error:?}");
    assert_eq!(pull(&state).await.unwrap(), Some(old));
    assert_eq!(store.violations(), Vec::<String>::new());
    post(&state, None, &large).await.unwrap();
    assert_eq!(pull(&state).await.unwrap(), Some(large));
}

/// A frame that repeats one byte, `blocks` times 128 KiB, and says that it needs a window of 2^`window` bytes.
fn frame(window: u8, blocks: u32) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (window - 10) << 3];
    for block in 1..=blocks {
        let header = ((128 * 1024) << 3) | (1 << 1) | u32::from(block == blocks);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(b' ');
    }
    frame
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_was_made_to_hurt_is_refused() {
    let store = Store::new();
    let state = open(&engine(&store, NEVER_OUT), &store, 1, 20);
    state.register(&mut budget()).await.unwrap();
    post(&state, None, &body(1, 10)).await.unwrap();
    for (fault, stored, size) in [
        ("more bytes than the head says", frame(17, 40_000), 1_000_000),
        ("more bytes than the head says", frame(17, 40_000), 100),
        ("its SHA-256", frame(23, 1), 128 * 1024),
        ("do not decompress", frame(24, 1), 128 * 1024),
        ("fewer bytes than the head says", frame(17, 1), u64::MAX),
    ] {
        let mut head = store.head().unwrap();
        let version = std::sync::Arc::make_mut(&mut head.versions[0]);
        version.body = Body::Inline(Inline::new(&stored).unwrap());
        version.size = size;
        store.plant_head(&head);
        let began = std::time::Instant::now();
        let error = pull(&state).await.unwrap_err();
        assert!(matches!(error, StateError::DamagedVersion { version: 1, .. }), "{error:?}");
        assert!(error.to_string().contains(fault), "{error} and not {fault}");
        assert!(began.elapsed() < Duration::from_secs(5), "{fault}");
    }
}
