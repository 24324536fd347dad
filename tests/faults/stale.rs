//! Locks whose holder does nothing any more (`staleAction: Release`), on a clock that the test moves.

use std::{sync::Arc, time::Duration};

use tofustate::{
    crd::{StaleAction, TofuStateBackend, TofuStateBackendSpec},
    store::{Engine, LockCall, Settings, State, head::InlineLimits},
};
use tokio::{sync::watch, time::sleep};

use crate::{
    scenario::{body, budget, engine, open, post},
    store::Store,
};

const MINUTE: Duration = Duration::from_secs(60);

async fn locked(engine: &Engine, store: &Arc<Store>, release_after: Option<Duration>) -> State {
    let state = open(engine, store, 1, 20);
    state.set_settings(Settings { release_after, ..Settings::default() });
    state.register(&mut budget()).await.unwrap();
    let info = br#"{"ID":"a"}"#;
    state.lock(LockCall { info, ..LockCall::default() }, &mut budget()).await.unwrap();
    state
}

fn in_background(engine: &Engine) -> watch::Sender<bool> {
    let (stop, stopped) = watch::channel(false);
    let engine = engine.clone();
    tokio::spawn(async move { engine.run_background(stopped).await });
    stop
}

fn holder(store: &Store) -> Option<String> {
    store.head().unwrap().lock.map(|lock| lock.id)
}

#[tokio::test(start_paused = true)]
async fn a_quiet_lock_is_released_where_the_resource_asks_for_it() {
    let store = Store::new();
    let engine = engine(&store, InlineLimits::default());
    let state = locked(&engine, &store, Some(60 * MINUTE)).await;
    let _stop = in_background(&engine);
    sleep(50 * MINUTE).await;
    post(&state, Some("a"), &body(1, 10)).await.unwrap();
    sleep(59 * MINUTE).await;
    assert_eq!(holder(&store).as_deref(), Some("a"), "its holder wrote within the hour");
    sleep(3 * MINUTE).await;
    assert_eq!(holder(&store), None);
    let head = store.head().unwrap();
    assert_eq!(head.released.last().map(|released| released.id.as_str()), Some("a"));
    assert!(post(&state, Some("a"), &body(2, 10)).await.is_err(), "a broken lock writes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_before_the_start_is_released_too() {
    let store = Store::new();
    locked(&engine(&store, InlineLimits::default()), &store, None).await;
    sleep(61 * MINUTE).await;
    let engine = engine(&store, InlineLimits::default());
    let state = open(&engine, &store, 1, 20);
    state.set_settings(Settings { release_after: Some(60 * MINUTE), ..Settings::default() });
    state.register(&mut budget()).await.unwrap();
    let _stop = in_background(&engine);
    sleep(2 * MINUTE).await;
    assert_eq!(holder(&store), None);
}

#[tokio::test(start_paused = true)]
async fn without_the_wish_a_lock_is_held_for_ever() {
    let store = Store::new();
    let engine = engine(&store, InlineLimits::default());
    let state = locked(&engine, &store, None).await;
    let _stop = in_background(&engine);
    sleep(24 * 60 * MINUTE).await;
    assert_eq!(holder(&store).as_deref(), Some("a"));
    // The wish may come later.
    state.set_settings(Settings { release_after: Some(60 * MINUTE), ..Settings::default() });
    sleep(MINUTE).await;
    assert_eq!(holder(&store), None);
}

/// What a spec says of stale locks, as the operator hands it to the engine.
fn of_spec(action: StaleAction, after: &str) -> Settings {
    let mut spec = TofuStateBackendSpec::new("team/net");
    (spec.lock.stale_action, spec.lock.stale_after) = (action, Some(after.to_owned()));
    (&TofuStateBackend::new("net", spec).settings().unwrap()).into()
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_only_wants_to_be_told_releases_nothing_and_each_write_counts_anew() {
    let store = Store::new();
    let engine = engine(&store, InlineLimits::default());
    let state = locked(&engine, &store, None).await;
    let _stop = in_background(&engine);
    state.set_settings(of_spec(StaleAction::None, "1h"));
    sleep(24 * 60 * MINUTE).await;
    assert_eq!(holder(&store).as_deref(), Some("a"), "staleAction: None");
    post(&state, Some("a"), &body(1, 10)).await.unwrap();
    let quiet = || store.head().unwrap().lock.unwrap().quiet(state.now());
    assert!(quiet() < MINUTE, "it counts from the write, not from the lock: {:?}", quiet());
    // A day after it was granted, and an hour after none of its writes.
    state.set_settings(of_spec(StaleAction::Release, "1h"));
    for serial in 2..=4 {
        sleep(59 * MINUTE).await;
        assert_eq!(holder(&store).as_deref(), Some("a"), "write {serial}");
        post(&state, Some("a"), &body(serial, 10)).await.unwrap();
    }
    sleep(62 * MINUTE).await;
    assert_eq!(holder(&store), None, "staleAction: Release");
}
