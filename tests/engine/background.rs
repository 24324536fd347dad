//! Background work asks the store for as much at once as it can, and changes the head as seldom as it can.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tofustate::{
    store::{
        EmbeddedKv, Engine, EngineOptions, Entry, Expect, Kv, KvError, Listed, Registration, Revision, Settings, Value,
        head::{Body, Retention},
        keys,
    },
    telemetry::EngineMetrics,
};
use tokio::sync::{Barrier, watch};

use crate::world::{Asked, World, budget, noisy, owner, path};

/// A store in which calls on parts wait until so many are under way, and whose clock can be put forward.
struct Meeting {
    kv: Arc<EmbeddedKv>,
    place: Mutex<Option<Arc<Barrier>>>,
    minutes: AtomicI64,
    heads: AtomicUsize,
}

impl Meeting {
    fn of(&self, calls: usize) {
        *self.place.lock().unwrap() = Some(Arc::new(Barrier::new(calls)));
    }

    async fn wait(&self) {
        let place = self.place.lock().unwrap().clone();
        if let Some(place) = place {
            let met = tokio::time::timeout(Duration::from_secs(20), place.wait()).await;
            assert!(met.is_ok(), "the other calls did not come");
        }
    }
}

#[async_trait]
impl Kv for Meeting {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.kv.get(key).await
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        if key.starts_with(keys::VERSIONS) {
            self.wait().await;
        } else {
            self.heads.fetch_add(1, Relaxed);
        }
        self.kv.put(key, value, expect).await
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        self.wait().await;
        self.kv.delete_part(key).await
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        self.kv.list_parts(prefix).await
    }

    fn now(&self) -> Timestamp {
        self.kv.now() + SignedDuration::from_mins(self.minutes.load(Relaxed))
    }

    fn part_bytes(&self) -> usize {
        self.kv.part_bytes()
    }
}

#[tokio::test]
async fn versions_move_out_side_by_side_and_trash_goes_in_batches() {
    let world = World::in_memory();
    let kv = Arc::new(Meeting {
        kv: world.kv.clone(),
        place: Mutex::default(),
        minutes: AtomicI64::new(0),
        heads: AtomicUsize::new(0),
    });
    let settings = Settings { retention: Retention { max_versions: 1, ..Retention::default() }, ..Settings::default() };
    let all = Settings::default();
    let state =
        world.engine.open(Registration { path: path(), kv: kv.clone(), owner: owner(1), mark: None, settings: all });
    state.register(&mut budget()).await.unwrap();
    for serial in 1..=9 {
        state.post(None, &noisy(serial, 6_000)).await.unwrap();
    }
    let older = || async { world.head().await.versions.iter().filter(|v| matches!(v.body, Body::Object(_))).count() };
    assert_eq!(older().await, 0);
    kv.of(8);
    let before = kv.heads.load(Relaxed);
    state.maintain().await.unwrap();
    assert_eq!((older().await, world.parts().await.len(), kv.heads.load(Relaxed) - before), (8, 8, 1));

    // They go to the trash. Eight whose hour is over are not worth a change of the head until the first is late.
    state.set_settings(settings);
    state.maintain().await.unwrap();
    let before = kv.heads.load(Relaxed);
    kv.minutes.store(89, Relaxed);
    state.maintain().await.unwrap();
    assert_eq!((world.parts().await.len(), kv.heads.load(Relaxed)), (8, before));
    kv.minutes.store(91, Relaxed);
    state.maintain().await.unwrap();
    assert_eq!((world.parts().await.len(), kv.heads.load(Relaxed)), (0, before + 1));
    assert!(world.head().await.trash.is_empty());
}

/// How often background work looked at a state.
fn looks(metrics: &EngineMetrics) -> u64 {
    let (mut registry, mut text) = (prometheus_client::registry::Registry::default(), String::new());
    metrics.register(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = text.lines().find(|line| line.starts_with("state_operations_total") && line.contains("\"maintain\""));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_write_calls_the_background_when_there_is_something_to_do() {
    let (world, metrics) = (World::in_memory(), EngineMetrics::default());
    let engine = Engine::new(EngineOptions::default(), metrics.clone());
    let (stop, stopped) = watch::channel(false);
    let working = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run_background(stopped).await }
    });
    let settings = Settings::default();
    let kv = world.kv.clone();
    let state = engine.open(Registration { path: path(), kv, owner: owner(1), mark: None, settings });
    state.register(&mut budget()).await.unwrap();
    for serial in 1..=4 {
        state.post(None, &noisy(serial, 6_000)).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(looks(&metrics), 0, "all of it fits the head");
    for serial in 5..=8 {
        state.post(None, &noisy(serial, 6_000)).await.unwrap();
    }
    world.until_parts("older versions move out", |parts| parts.len() >= 6).await;
    stop.send(true).unwrap();
    working.await.unwrap();
}
