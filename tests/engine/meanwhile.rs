//! What others do, or the clock does, between two calls of one operation.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tofustate::{
    store::{
        Clock, EmbeddedKv, Engine, EngineOptions, Entry, Expect, Kv, KvError, Listed, Registration, Revision, Settings,
        State, StateError, Value, WriteCall,
        head::{Body, Refusal},
        keys,
    },
    telemetry::EngineMetrics,
};

use crate::world::{Asked, World, budget, noisy, owner, path};

/// Something that happens once.
type Meanwhile = Mutex<Option<Box<dyn Future<Output = ()> + Send + Unpin>>>;

/// A store in which something happens before parts are listed, or after the first is put.
struct Interrupted {
    kv: Arc<EmbeddedKv>,
    before_list: Meanwhile,
    after_part: Meanwhile,
}

impl Interrupted {
    fn new(world: &World) -> Arc<Self> {
        Arc::new(Self { kv: world.kv.clone(), before_list: Mutex::default(), after_part: Mutex::default() })
    }

    async fn now_happens(what: &Meanwhile) {
        let what = what.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(what) = what {
            what.await;
        }
    }
}

#[async_trait]
impl Kv for Interrupted {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.kv.get(key).await
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        let done = self.kv.put(key, value, expect).await;
        if key.starts_with(keys::VERSIONS) {
            Self::now_happens(&self.after_part).await;
        }
        done
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        self.kv.delete_part(key).await
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        Self::now_happens(&self.before_list).await;
        self.kv.list_parts(prefix).await
    }

    fn now(&self) -> Timestamp {
        self.kv.now()
    }

    fn part_bytes(&self) -> usize {
        self.kv.part_bytes()
    }
}

/// A clock that stands until it is put forward.
#[derive(Default)]
struct Standing(Mutex<Duration>);

impl Clock for Standing {
    fn boot(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

fn open(engine: &Engine, kv: Arc<Interrupted>) -> State {
    engine.open(Registration { path: path(), kv, owner: owner(1), mark: None, settings: Settings::default() })
}

#[tokio::test]
async fn a_deletion_that_comes_late_deletes_nothing_of_the_next_owner() {
    let world = World::in_memory();
    let kv = Interrupted::new(&world);
    let state = open(&world.engine, kv.clone());
    state.register(&mut budget()).await.unwrap();
    state.post(None, &noisy(1, 700_000)).await.unwrap();
    let next = world.open(owner(2), None, Settings::default());
    let body = noisy(2, 700_000);
    let takes_over = {
        let (next, body) = (next.clone(), body.clone());
        async move {
            next.register(&mut budget()).await.unwrap();
            next.post(None, &body).await.unwrap();
        }
    };
    *kv.before_list.lock().unwrap() = Some(Box::new(Box::pin(takes_over)));
    let late = state.release(true, &mut budget()).await.unwrap_err();
    assert!(matches!(late, StateError::Refused(Refusal::ForeignOwner(_))), "{late:?}");
    assert!(next.pull().await.unwrap() == Some(body), "an acknowledged write is gone");
}

#[tokio::test]
async fn a_move_out_that_was_suspended_names_no_object_that_the_sweep_may_have_deleted() {
    let world = World::in_memory();
    let kv = Interrupted::new(&world);
    let clock = Arc::new(Standing::default());
    let engine = Engine::with_clock(EngineOptions::default(), EngineMetrics::default(), clock.clone());
    let state = open(&engine, kv.clone());
    state.register(&mut budget()).await.unwrap();
    let bodies: Vec<_> = (1..=4).map(|serial| noisy(serial, 18_000)).collect();
    for body in &bodies {
        state.post(None, body).await.unwrap();
    }
    let before = world.head().await;
    let suspended = {
        let (world_kv, clock) = (world.kv.clone(), clock.clone());
        async move {
            *clock.0.lock().unwrap() += Duration::from_secs(3 * 3_600);
            // What the sweep of another replica and its trash came to.
            for part in world_kv.list_parts(&keys::versions(&path())).await.unwrap() {
                world_kv.delete_part(&part.key).await.unwrap();
            }
        }
    };
    *kv.after_part.lock().unwrap() = Some(Box::new(Box::pin(suspended)));
    state.maintain().await.unwrap();
    assert_eq!(world.head().await, before, "nothing moved");
    assert_eq!(world.parts().await, [""; 0]);
    // The next time it is done.
    state.maintain().await.unwrap();
    assert!(world.head().await.versions.iter().any(|version| matches!(version.body, Body::Object(_))));
    for (number, body) in (1..).zip(&bodies) {
        assert!(state.pull_version(number).await.unwrap() == *body, "version {number}");
    }
}

#[tokio::test]
async fn an_upload_that_was_suspended_is_refused() {
    let world = World::in_memory();
    let clock = Arc::new(Standing::default());
    let engine = Engine::with_clock(EngineOptions::default(), EngineMetrics::default(), clock.clone());
    let state = open(&engine, Interrupted::new(&world));
    state.register(&mut budget()).await.unwrap();
    let before = world.raw_head().await;
    for len in [10, 60_000, 2 << 20] {
        let mut upload = state.upload(WriteCall::default()).unwrap();
        upload.push(&noisy(1, len), &mut budget()).await.unwrap();
        *clock.0.lock().unwrap() += Duration::from_secs(31 * 60);
        let error = upload.finish(&mut budget()).await.unwrap_err();
        assert!(matches!(error, StateError::UploadTooSlow), "{len}: {error:?}");
        world.until_parts("of an upload that was too slow", <[String]>::is_empty).await;
    }
    assert_eq!(world.raw_head().await, before);
}
