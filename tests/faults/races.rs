//! Two at work on one path, with one of them held up at the worst moment.

use std::time::Duration;

use tofustate::store::{
    LockCall, StateError, WriteCall,
    head::{InlineLimits, Refusal},
};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    scenario::{body, budget, engine, open, post, pull},
    store::{Fault, Kind, Store},
};

#[tokio::test(start_paused = true)]
async fn a_deletion_that_was_held_up_takes_nothing_from_the_next_owner() {
    let store = Store::new();
    let engine = engine(&store, InlineLimits::default());
    let old = open(&engine, &store, 1, 20);
    old.register(&mut budget()).await.unwrap();
    post(&old, None, &body(1, 50_000)).await.unwrap();

    // Its replica stops right after the head was given up; another one ends the deletion, and the path is claimed anew.
    let gate = store.gate("list_parts");
    let held = tokio::spawn({
        let old = old.clone();
        async move { old.release(true, &mut budget()).await }
    });
    gate.reached().await;
    let other = open(&engine, &store, 1, 20);
    other.release(true, &mut budget()).await.unwrap();
    let next = open(&engine, &store, 2, 20);
    next.register(&mut budget()).await.unwrap();
    let state = body(2, 50_000);
    post(&next, None, &state).await.unwrap();

    gate.open();
    let late = held.await.unwrap();
    assert!(matches!(late, Err(StateError::Refused(Refusal::ForeignOwner(_)))), "{late:?}");
    assert_eq!(store.violations(), Vec::<String>::new());
    assert_eq!(pull(&next).await.unwrap(), Some(state));
}

#[tokio::test(start_paused = true)]
async fn an_upload_under_way_lands_nothing_for_a_former_owner() {
    for delete in [None, Some(false), Some(true)] {
        let store = Store::new();
        let engine = engine(&store, InlineLimits::default());
        let old = open(&engine, &store, 1, 20);
        old.register(&mut budget()).await.unwrap();
        post(&old, None, &body(1, 40_000)).await.unwrap();
        let before = store.parts();

        let late = body(2, 200_000);
        let mut upload = old.upload(WriteCall::default()).unwrap();
        upload.push(&late[..150_000], &mut budget()).await.unwrap();
        assert!(store.parts().len() > before.len());
        // Another process of the same owner gives the path up.
        if let Some(delete) = delete {
            open(&engine, &store, 1, 20).release(delete, &mut budget()).await.unwrap();
        }
        let next = open(&engine, &store, 2, 20);
        next.register(&mut budget()).await.unwrap();

        upload.push(&late[150_000..], &mut budget()).await.unwrap();
        let error = upload.finish(&mut budget()).await.unwrap_err();
        assert!(matches!(error, StateError::Refused(Refusal::ForeignOwner(_))), "{error:?}");
        // A swap that named its parts was sent: they stay until the sweep.
        sleep(Duration::from_secs(2 * 3_600)).await;
        next.sweep().await.unwrap();
        sleep(Duration::from_secs(2 * 3_600)).await;
        next.maintain().await.unwrap();
        let deleted = delete == Some(true);
        assert_eq!(store.parts(), if deleted { Vec::new() } else { before });
        assert_eq!(pull(&next).await.unwrap(), (!deleted).then(|| body(1, 40_000)));
        assert_eq!(store.violations(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_state_that_is_deleted_for_good_is_cut_short() {
    let store = Store::new();
    let engine = engine(&store, InlineLimits::default());
    let state = open(&engine, &store, 1, 20);
    state.register(&mut budget()).await.unwrap();
    post(&state, None, &body(1, 400_000)).await.unwrap();
    let reader = state.read(&mut budget()).await.unwrap().unwrap();
    state.release(true, &mut budget()).await.unwrap();
    let error = reader.read_to_end(&mut budget()).await.unwrap_err();
    assert!(matches!(error, StateError::DamagedVersion { version: 1, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_locks_at_once_one_is_granted_and_the_store_is_asked_few_times() {
    let store = Store::new();
    let engine = engine(&store, InlineLimits::default());
    let state = open(&engine, &store, 1, 20);
    state.register(&mut budget()).await.unwrap();
    store.slow("put", Duration::from_millis(5));
    let before = store.calls();
    let mut locks = JoinSet::new();
    for n in 0..1_000 {
        let state = state.clone();
        locks.spawn(async move {
            let info = format!(r#"{{"ID":"{n}"}}"#);
            state.lock(LockCall { info: info.as_bytes(), ..LockCall::default() }, &mut budget()).await
        });
    }
    let answers = locks.join_all().await;
    let granted = answers.iter().filter(|answer| answer.is_ok()).count();
    let held = answers.iter().filter(|answer| matches!(answer, Err(StateError::Refused(Refusal::Held(_))))).count();
    assert_eq!((granted, held), (1, 999));
    assert!(store.calls() - before < 10, "{} calls of the store", store.calls() - before);
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_keeps_what_a_replica_wrote_that_noticed_nothing() {
    let store = Store::new();
    let engine = engine(&store, InlineLimits::default());
    let (one, two) = (open(&engine, &store, 1, 20), open(&engine, &store, 1, 20));
    one.register(&mut budget()).await.unwrap();
    two.register(&mut budget()).await.unwrap();
    let restore = store.snapshot();
    for serial in 1..5 {
        post(&one, None, &body(serial, 30_000)).await.unwrap();
    }
    restore(&store);
    sleep(Duration::from_secs(11)).await;
    let epoch = one.mark().unwrap().epoch;

    // While one looks at the older head, the other writes to it.
    let gate = store.gate("put");
    let accepting = tokio::spawn({
        let one = one.clone();
        async move { one.accept_restore(epoch, &mut budget()).await }
    });
    gate.reached().await;
    let written = post(&two, None, &body(9, 30_000)).await.unwrap();
    gate.open();
    accepting.await.unwrap().unwrap();
    for state in [&one, &two] {
        assert_eq!(pull(state).await.unwrap(), Some(body(9, 30_000)));
    }
    let next = post(&one, None, &body(10, 10)).await.unwrap();
    assert!(next.version > written.version && next.version > Some(4), "no number is used again: {next:?}");
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_whose_answer_was_lost_is_an_acceptance() {
    for fault in [Fault::After(Kind::Unavailable), Fault::Late(Kind::Unavailable, 1), Fault::DoneAndSilent] {
        let store = Store::new();
        let engine = engine(&store, InlineLimits::default());
        let state = open(&engine, &store, 1, 20);
        state.register(&mut budget()).await.unwrap();
        post(&state, None, &body(1, 10)).await.unwrap();
        let restore = store.snapshot();
        post(&state, None, &body(2, 10)).await.unwrap();
        restore(&store);
        sleep(Duration::from_secs(11)).await;
        let epoch = state.mark().unwrap().epoch;
        // The first call reads the head, the second puts it.
        store.fail(2, fault);
        let done = state.accept_restore(epoch, &mut budget()).await;
        let waited_in_vain = fault == Fault::DoneAndSilent && matches!(done, Err(StateError::Unavailable { .. }));
        assert!(done.is_ok() || waited_in_vain, "{fault:?}: {done:?}");
        assert_eq!(pull(&state).await.unwrap(), Some(body(1, 10)));
    }
}

#[tokio::test(start_paused = true)]
async fn background_work_ends_what_it_is_at_when_it_is_stopped() {
    let store = Store::new();
    let engine = engine(&store, InlineLimits { version: 400, kept: 0, most: 400 });
    let state = open(&engine, &store, 1, 20);
    state.register(&mut budget()).await.unwrap();
    let gate = store.gate("put_part");
    let (stop, stopped) = watch::channel(false);
    let working = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run_background(stopped).await }
    });
    for serial in 1..4 {
        post(&state, None, &body(serial, 200)).await.unwrap();
    }
    gate.reached().await;
    stop.send(true).unwrap();
    gate.open();
    working.await.unwrap();
    let head = store.head().unwrap();
    let outside = head.versions.iter().filter(|version| version.body.object().is_some()).count();
    assert!(outside > 0, "what was moved out is named");
    assert_eq!(store.parts().len(), outside);
    assert_eq!(store.violations(), Vec::<String>::new());
}
