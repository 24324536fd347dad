//! Stores that refuse: entries of a size, until parts are as small as they take; a token, until another one is there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tofustate::{
    store::{
        Budget, EmbeddedKv, Engine, EngineOptions, Entry, Expect, Kv, KvError, Listed, Registration, Revision,
        Settings, State, StateError, Value, WriteCall, head::Retention, keys,
    },
    telemetry::EngineMetrics,
};

use crate::world::{Asked, budget, noisy, owner, path, small};

/// A store that takes smaller parts than it says until it was asked for too much, and refuses so many calls first.
struct Refusing {
    kv: EmbeddedKv,
    /// The most bytes that a part may really have.
    takes: usize,
    says: AtomicUsize,
    too_large: AtomicU64,
    denies: AtomicU64,
}

impl Refusing {
    fn new(takes: usize, denies: u64) -> Arc<Self> {
        let kv = EmbeddedKv::in_memory().unwrap();
        let says = kv.part_bytes().into();
        Arc::new(Self { kv, takes, says, too_large: 0.into(), denies: denies.into() })
    }

    fn state(self: &Arc<Self>, settings: Settings) -> State {
        let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
        engine.open(Registration { path: path(), kv: self.clone(), owner: owner(1), mark: None, settings })
    }

    fn denied(&self) -> Result<(), KvError> {
        let left = self.denies.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() { Err(KvError::Denied("the token was revoked".to_owned())) } else { Ok(()) }
    }

    /// The sizes of the path's parts, in the order of their keys' numbers.
    async fn sizes(&self) -> Vec<usize> {
        let mut parts = self.kv.list_parts(&keys::versions(&path())).await.unwrap();
        parts.sort_by_key(|part| keys::parse_part(&path(), &part.key).unwrap().1);
        let mut sizes = Vec::new();
        for part in parts {
            let Some(Entry { value: Value::Part(part), .. }) = self.kv.get(&part.key).await.unwrap() else { panic!() };
            sizes.push(part.bytes.len());
        }
        sizes
    }
}

#[async_trait::async_trait]
impl Kv for Refusing {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.denied()?;
        self.kv.get(key).await
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        self.denied()?;
        if let Value::Part(part) = value
            && part.bytes.len() > self.takes
        {
            self.too_large.fetch_add(1, Ordering::Relaxed);
            self.says.fetch_min((part.bytes.len() / 2).max(64), Ordering::Relaxed);
            return Err(KvError::TooLarge("more than this store takes".to_owned()));
        }
        self.kv.put(key, value, expect).await
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        self.denied()?;
        self.kv.delete_part(key).await
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        self.denied()?;
        self.kv.list_parts(prefix).await
    }

    fn now(&self) -> Timestamp {
        self.kv.now()
    }

    fn part_bytes(&self) -> usize {
        self.says.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn an_upload_goes_on_in_parts_that_the_store_takes() {
    let kv = Refusing::new(100_000, 0);
    let state = kv.state(Settings::default());
    state.register(&mut budget()).await.unwrap();
    let body = noisy(1, 2 << 20);
    // Large enough for several parts of the first size, so that the limit is met in the middle of one.
    state.post_in(WriteCall::default(), &body, 300_000).await.unwrap();
    assert_eq!(kv.too_large.load(Ordering::Relaxed), 3, "523,264 bytes, then half of that, and of that");
    let sizes = kv.sizes().await;
    assert!(sizes.iter().all(|size| *size <= 100_000) && sizes.len() > 15, "{sizes:?}");
    let head = state.head(&mut budget()).await.unwrap();
    let version = head.current().unwrap();
    assert_eq!(version.stored, sizes.iter().sum::<usize>() as u64);
    assert_eq!(state.pull().await.unwrap(), Some(body));
    // The next one knows.
    state.post(None, &noisy(2, 1 << 20)).await.unwrap();
    assert_eq!(kv.too_large.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_moves_out_of_the_head_goes_in_parts_that_the_store_takes() {
    let kv = Refusing::new(1_000, 0);
    let state =
        kv.state(Settings { retention: Retention { max_versions: 10, ..Retention::default() }, ..Settings::default() });
    state.register(&mut budget()).await.unwrap();
    let bodies: Vec<_> = (1..=6).map(|serial| noisy(serial, 15_000)).collect();
    for body in &bodies {
        state.post(None, body).await.unwrap();
    }
    state.maintain().await.unwrap();
    assert!(kv.too_large.load(Ordering::Relaxed) > 0, "nothing moved out");
    for (version, body) in (1..).zip(&bodies) {
        assert!(state.pull_version(version).await.unwrap() == *body, "version {version}");
    }
}

#[tokio::test]
async fn a_store_that_takes_no_part_at_all_keeps_none() {
    let kv = Refusing::new(0, 0);
    let state = kv.state(Settings::default());
    state.register(&mut budget()).await.unwrap();
    let error = state.post(None, &noisy(1, 1 << 20)).await.unwrap_err();
    assert!(matches!(error, StateError::Store { error: KvError::TooLarge(_), .. }), "{error}");
    assert_eq!(kv.sizes().await, Vec::<usize>::new());
    assert_eq!(state.pull().await.unwrap(), None);
}

#[tokio::test]
async fn another_token_is_waited_for() {
    let kv = Refusing::new(usize::MAX, 0);
    let state = kv.state(Settings::default());
    state.register(&mut budget()).await.unwrap();
    let bodies = [small(1), noisy(2, 1 << 20)];
    for body in &bodies {
        for denies in [1, 3] {
            kv.denies.store(denies, Ordering::Relaxed);
            state.post(None, body).await.unwrap();
            kv.denies.store(denies, Ordering::Relaxed);
            assert_eq!(state.pull().await.unwrap().as_ref(), Some(body));
        }
    }
    kv.denies.store(u64::MAX, Ordering::Relaxed);
    let error = state.head(&mut Budget::new(Duration::from_millis(300))).await.unwrap_err();
    assert!(matches!(error, StateError::Store { error: KvError::Denied(_), .. }), "{error}");
    assert!(kv.denies.load(Ordering::Relaxed) < u64::MAX - 2, "it was not tried again");
}
