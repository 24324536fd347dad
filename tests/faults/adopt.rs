//! A foreign entry becomes a head, whichever call of the store fails, and whoever writes meanwhile.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tofustate::store::{
    Expect, Kv, KvError, Revision, Sha256Sum, StateError, StatePath, Value,
    head::{Body, InlineLimits},
    keys,
};
use tokio::time::sleep;

use crate::{
    each_call::ALL,
    scenario::{body, budget, engine, open, post, pull},
    store::{Fault, Kind, PATH, Store},
};

/// What the old entry held, beside the state.
const AROUND: &[u8] = b"{\"state\":\"...\"}";

fn original(body: &[u8]) -> Vec<u8> {
    [AROUND, body].concat()
}

fn with_entry(part_bytes: usize) -> Arc<Store> {
    let store = Store::new();
    store.part_bytes.store(part_bytes, Ordering::Relaxed);
    store.plant(PATH, Value::Foreign("another's".to_owned()));
    store
}

/// What one run of the command does to the entry that it read at revision 1, in a process of its own.
async fn command(store: &Arc<Store>, body: &[u8]) -> Result<(), StateError> {
    let state = open(&engine(store, InlineLimits { version: 400, kept: 0, most: 600 }), store, 1, 3);
    state.keep_original(&original(body), &mut budget()).await?;
    state.adopt(body, Revision(1), "test", &mut budget()).await.map(drop)
}

/// The bytes of the kept original.
async fn kept(store: &Store, body: &[u8]) -> Vec<u8> {
    let (path, name) = (StatePath::parse(PATH).unwrap(), keys::original(&Sha256Sum::of(&original(body))));
    let mut bytes = Vec::new();
    for index in 0.. {
        match store.get(&keys::part(&path, &name, index)).await.unwrap() {
            Some(entry) => match entry.value {
                Value::Part(part) => bytes.extend_from_slice(&part.bytes),
                other => panic!("{other:?}"),
            },
            None => break,
        }
    }
    bytes
}

/// Adopts a state of that many characters with these faults; answers how many calls of the store it took.
fn run(faults: &[(usize, Fault)], len: usize) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (store, body) = (with_entry(1_000), body(7, len));
        for (number, fault) in faults {
            store.fail(*number, *fault);
        }
        for _ in 0..4 {
            // As the command finds it.
            if store.head().is_some() {
                break;
            }
            match command(&store, &body).await {
                Ok(()) => assert!(store.head().is_some(), "{faults:?}"),
                // Within one command a lost answer is no failure.
                Err(error) if matches!(faults, [(_, Fault::After(Kind::Unavailable | Kind::Other))]) => {
                    panic!("with {faults:?}: {error:?}")
                }
                Err(StateError::Unavailable { .. } | StateError::Busy { .. } | StateError::Store { .. }) => {}
                Err(error) => panic!("with {faults:?}: {error:?}"),
            }
        }
        let calls = store.calls();
        store.heal();
        let head = store.head().unwrap_or_else(|| panic!("with {faults:?} it is refused for ever"));
        let [version] = head.versions.as_slice() else { panic!("with {faults:?}: {:?}", head.versions) };
        assert_eq!((version.number, version.serial, head.current), (1, 7, Some(1)), "{faults:?}");
        assert!(kept(&store, &body).await == original(&body), "{faults:?}");

        // It is served like any other, and the sweep takes what broke off and nothing else.
        let state = open(&engine(&store, InlineLimits::default()), &store, 1, 3);
        state.register(&mut budget()).await.unwrap();
        assert!(pull(&state).await.unwrap() == Some(body.clone()), "{faults:?}");
        for _ in 0..2 {
            sleep(Duration::from_secs(2 * 3_600)).await;
            state.sweep().await.unwrap();
            sleep(Duration::from_secs(2 * 3_600)).await;
            state.maintain().await.unwrap();
        }
        let parts = version.body.object().map_or(0, |object| object.parts as usize);
        let originals = original(&body).len().div_ceil(1_000);
        assert_eq!(store.parts().len(), parts + originals, "{faults:?}: {:?}", store.parts());
        assert!(kept(&store, &body).await == original(&body), "{faults:?}");
        post(&state, None, &crate::scenario::body(8, 10)).await.unwrap();
        assert_eq!(store.violations(), Vec::<String>::new(), "{faults:?}");
        calls
    })
}

#[test]
fn an_entry_is_adopted_whichever_call_fails() {
    for len in [100, 3_000] {
        let calls = run(&[], len);
        assert!((3..40).contains(&calls), "{calls}");
        for number in 1..=calls {
            for first in ALL {
                run(&[(number, *first)], len);
                for second in ALL {
                    run(&[(number, *first), (number + 1, *second)], len);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_in_between_is_not_written_over() {
    for len in [100, 3_000] {
        let (store, state) = (with_entry(1_000), body(7, len));
        let gate = store.gate("put");
        let (other, bytes) = (store.clone(), state.clone());
        let command = tokio::spawn(async move { command(&other, &bytes).await });
        gate.reached().await;
        let theirs = Value::Foreign("newer".to_owned());
        assert_eq!(store.put(PATH, &theirs, Expect::At(Revision(1))).await.unwrap(), Revision(2));
        gate.open();
        let refused = command.await.unwrap();
        assert!(matches!(refused, Err(StateError::Store { error: KvError::CasMismatch, .. })), "{refused:?}");
        let entry = store.get(PATH).await.unwrap().unwrap();
        assert_eq!((entry.value, entry.revision), (theirs, Revision(2)));
        assert!(kept(&store, &state).await == original(&state));
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_at_once_one_has_done_it() {
    let (store, state) = (with_entry(1_000), body(7, 3_000));
    let commands: Vec<_> = (0..8)
        .map(|_| {
            let (store, state) = (store.clone(), state.clone());
            tokio::spawn(async move { command(&store, &state).await })
        })
        .collect();
    let mut done = 0;
    for command in commands {
        match command.await.unwrap() {
            Ok(()) => done += 1,
            Err(StateError::Store { error: KvError::CasMismatch, .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(done, 1);
    let head = store.head().unwrap();
    assert!(matches!(head.current().unwrap().body, Body::Object(_)) && head.versions.len() == 1);
    assert!(kept(&store, &state).await == original(&state));
    assert_eq!(store.violations(), Vec::<String>::new());
    // A state that is deleted with its versions is gone with all that was kept of it.
    open(&engine(&store, InlineLimits::default()), &store, 1, 3).release(true, &mut budget()).await.unwrap();
    assert_eq!(store.parts(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_in_other_parts_is_gone_on_from_and_another_thing_is_not() {
    let (store, state) = (with_entry(1_000), body(7, 3_000));
    let whole = original(&state);
    let first = open(&engine(&store, InlineLimits::default()), &store, 1, 3);
    let object = first.keep_original(&whole, &mut budget()).await.unwrap();
    assert_eq!(object.parts as usize, whole.len().div_ceil(1_000));
    // A process that was told of another size of parts, and that found the half of them.
    let path = StatePath::parse(PATH).unwrap();
    for index in [2, 3] {
        store.delete_part(&keys::part(&path, &object.name, index)).await.unwrap();
    }
    store.part_bytes.store(100, Ordering::Relaxed);
    let again = first.keep_original(&whole, &mut budget()).await.unwrap();
    assert!(again.parts > object.parts && kept(&store, &state).await == whole);

    let key = keys::part(&path, &object.name, 0);
    store.plant(&key, Value::Foreign("another's".to_owned()));
    let refused = first.keep_original(&whole, &mut budget()).await.unwrap_err().to_string();
    assert!(refused.contains(&key), "{refused}");
}
