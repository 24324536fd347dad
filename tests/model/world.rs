//! The store of the model: entries in memory, faults at any call, and everything that ever landed, for the oracle.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tofustate::store::{Clock, Entry, Expect, Head, Kv, KvError, Listed, Revision, Value};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::oracle::{Landed, Oracle};

/// The path that the model plays on.
pub const PATH: &str = "team/app";

/// The kinds of faults that a run must have seen, each.
pub const FAULTS: &[&str] =
    &["before", "answer-lost", "delayed", "delayed-hours", "slow", "crash-before", "crash-after", "head-outage"];

#[derive(Clone)]
pub struct Stored {
    pub value: Value,
    pub revision: u64,
    pub created: Timestamp,
}

/// A real store beside the model's entries, asked the same at the same time: what it answers has to be what the model
/// expects. It blocks: the model's clock stands still meanwhile.
pub trait Real: Send + Sync {
    fn get(&self, key: &str) -> Result<Option<Entry>, KvError>;
    fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError>;
    fn delete_part(&self, key: &str) -> Result<(), KvError>;
    /// The keys of all parts under a prefix.
    fn list_parts(&self, prefix: &str) -> Result<Vec<String>, KvError>;
    /// From now on these are its entries, with these revisions.
    fn restore(&self, entries: &BTreeMap<String, Stored>);
}

pub struct World {
    pub inner: Mutex<Inner>,
    real: Option<Arc<dyn Real>>,
    rng: Mutex<StdRng>,
    start: Instant,
    /// Faults in a thousand calls.
    rate: std::sync::atomic::AtomicU32,
}

pub struct Inner {
    pub entries: BTreeMap<String, Stored>,
    pub oracle: Oracle,
    pub faults: BTreeMap<&'static str, u64>,
    head_outage: Option<Instant>,
}

impl World {
    pub fn new(seed: u64, real: Option<Arc<dyn Real>>) -> Arc<Self> {
        if let Some(real) = &real {
            real.restore(&BTreeMap::new());
        }
        Arc::new(Self {
            real,
            inner: Mutex::new(Inner {
                entries: BTreeMap::new(),
                oracle: Oracle::default(),
                faults: FAULTS.iter().map(|kind| (*kind, 0)).collect(),
                head_outage: None,
            }),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            start: Instant::now(),
            rate: 0.into(),
        })
    }

    pub fn set_fault_rate(&self, in_a_thousand: u32) {
        self.rate.store(in_a_thousand, Ordering::Relaxed);
    }

    /// A random number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        self.rng.lock().unwrap().random_range(0..end)
    }

    pub fn chance(&self, in_a_thousand: u64) -> bool {
        self.below(1_000) < in_a_thousand
    }

    pub fn now(&self) -> Timestamp {
        let base: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        base + SignedDuration::try_from(self.start.elapsed()).unwrap()
    }

    pub fn violation(&self, what: String) {
        self.inner.lock().unwrap().oracle.violation(what);
    }

    /// How many heads have landed: where a call's window begins.
    pub fn moment(&self) -> usize {
        self.inner.lock().unwrap().oracle.log.len()
    }

    /// Whether a head that was in the store since `moment` was so.
    pub fn some_head_since(&self, moment: usize, so: impl Fn(&Head) -> bool) -> bool {
        let inner = self.inner.lock().unwrap();
        let log = &inner.oracle.log;
        log[moment.saturating_sub(1)..].iter().any(|landed: &Landed| so(&landed.head))
    }

    pub fn last_head(&self) -> Option<Arc<Head>> {
        self.inner.lock().unwrap().oracle.log.last().map(|landed| landed.head.clone())
    }

    pub fn snapshot(&self) -> BTreeMap<String, Stored> {
        self.inner.lock().unwrap().entries.clone()
    }

    /// Sets the store back, revisions and all.
    pub fn restore(&self, entries: BTreeMap<String, Stored>) {
        let mut inner = self.inner.lock().unwrap();
        inner.entries = entries;
        if let Some(real) = &self.real {
            real.restore(&inner.entries);
        }
        let restored = inner.entries.get(PATH).map(|stored| parse(&stored.value));
        inner.oracle.restored(restored);
    }

    fn injected(&self, kind: &'static str) {
        *self.inner.lock().unwrap().faults.get_mut(kind).unwrap() += 1;
    }

    fn head_is_out(&self, key: &str) -> bool {
        let until = self.inner.lock().unwrap().head_outage;
        key == PATH && until.is_some_and(|until| Instant::now() < until)
    }

    fn apply_put(&self, key: &str, value: &Value, expect: Expect, claim: u64) -> Result<Revision, KvError> {
        let now = self.now();
        let mut inner = self.inner.lock().unwrap();
        let inner = &mut *inner;
        let found = inner.entries.get(key).map(|stored| stored.revision);
        let wanted = match expect {
            Expect::Absent => None,
            Expect::At(Revision(revision)) => Some(revision),
        };
        // As OpenBao numbers them: a key that was deleted begins at 1 again.
        let revision = found.unwrap_or(0) + 1;
        if let Some(real) = &self.real {
            let answer = real.put(key, value, expect);
            let same = match &answer {
                Ok(Revision(given)) => found == wanted && *given == revision,
                Err(KvError::CasMismatch) => found != wanted,
                Err(_) => false,
            };
            if !same {
                inner.oracle.violation(format!("put {key} {expect:?} at {found:?}: the real store said {answer:?}"));
            }
        }
        if found != wanted {
            return Err(KvError::CasMismatch);
        }
        if key == PATH {
            let before = inner.entries.get(key).map(|stored| parse(&stored.value));
            inner.oracle.head_lands(before, parse(value), claim, now, &inner.entries);
        }
        inner.entries.insert(key.to_owned(), Stored { value: value.clone(), revision, created: now });
        Ok(Revision(revision))
    }

    fn apply_delete(&self, key: &str) -> Result<(), KvError> {
        let now = self.now();
        let mut inner = self.inner.lock().unwrap();
        let inner = &mut *inner;
        if !key.starts_with(".versions/") {
            inner.oracle.violation(format!("deletion of {key} was asked for"));
            return Err(KvError::Denied("only parts may be deleted".to_owned()));
        }
        if inner.entries.remove(key).is_some() {
            inner.oracle.part_deleted(key, now);
        }
        if let Some(Err(error)) = self.real.as_ref().map(|real| real.delete_part(key)) {
            inner.oracle.violation(format!("delete {key}: the real store said {error}"));
        }
        Ok(())
    }

    fn get(&self, key: &str) -> Option<Entry> {
        let mut inner = self.inner.lock().unwrap();
        let found = inner.entries.get(key);
        let found = found.map(|stored| Entry { value: stored.value.clone(), revision: Revision(stored.revision) });
        if let Some(real) = &self.real {
            let answer = real.get(key);
            if answer.as_ref().ok() != Some(&found) {
                inner.oracle.violation(format!("get {key} of {found:?}: the real store said {answer:?}"));
            }
        }
        found
    }

    fn list(&self, prefix: &str) -> Vec<Listed> {
        let mut inner = self.inner.lock().unwrap();
        let under = inner.entries.iter().filter(|(key, _)| key.starts_with(prefix));
        let listed: Vec<_> = under.map(|(key, stored)| Listed { key: key.clone(), created: stored.created }).collect();
        if let Some(real) = &self.real {
            let answer = real.list_parts(prefix).map(|mut keys| {
                keys.sort();
                keys
            });
            if answer.as_ref().ok() != Some(&listed.iter().map(|listed| listed.key.clone()).collect()) {
                inner.oracle.violation(format!("list {prefix} of {listed:?}: the real store said {answer:?}"));
            }
        }
        listed
    }
}

pub fn parse(value: &Value) -> Arc<Head> {
    let Value::Document(text) = value else { panic!("a head is a document") };
    Arc::new(Head::parse(text).expect("what lands is a head"))
}

/// The store as one engine sees it.
pub struct SimKv {
    world: Arc<World>,
    /// The claim that this engine's owner has: what it writes with another is a fault.
    pub claim: u64,
    dead: AtomicBool,
    crashed: watch::Sender<bool>,
}

enum Fate {
    Fine,
    Before,
    AnswerLost,
    Delayed(Duration),
    Slow(Duration),
    CrashBefore,
    CrashAfter,
}

impl SimKv {
    pub fn new(world: Arc<World>, claim: u64) -> Arc<Self> {
        Arc::new(Self { world, claim, dead: AtomicBool::new(false), crashed: watch::channel(false).0 })
    }

    /// Waits until this engine crashed.
    pub async fn crashed(&self) {
        let _ = self.crashed.subscribe().wait_for(|crashed| *crashed).await;
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    async fn die<T>(&self) -> T {
        self.dead.store(true, Ordering::Relaxed);
        self.crashed.send_replace(true);
        std::future::pending().await
    }

    fn fate(&self, key: &str, writes: bool) -> Fate {
        let world = &self.world;
        if world.head_is_out(key) {
            return Fate::Before;
        }
        if !world.chance(u64::from(world.rate.load(Ordering::Relaxed))) {
            return Fate::Fine;
        }
        let kind = match world.below(if writes { 20 } else { 6 }) {
            0..=2 => "before",
            3 => "crash-before",
            4..=5 => "slow",
            6..=10 => "answer-lost",
            11..=14 => "delayed",
            15 => "delayed-hours",
            16 => "crash-after",
            _ if key == PATH => "head-outage",
            _ => "answer-lost",
        };
        world.injected(kind);
        match kind {
            "before" => Fate::Before,
            "crash-before" => Fate::CrashBefore,
            "crash-after" => Fate::CrashAfter,
            "delayed" => Fate::Delayed(Duration::from_millis(world.below(40_000))),
            "delayed-hours" => Fate::Delayed(Duration::from_secs(60 + world.below(4 * 3_600))),
            "head-outage" => {
                // Nothing reaches the head for longer than a request waits; what was under way lands after that.
                world.inner.lock().unwrap().head_outage = Some(Instant::now() + Duration::from_secs(40));
                Fate::Delayed(Duration::from_secs(35))
            }
            "slow" => Fate::Slow(Duration::from_millis(self.world.below(40_000))),
            _ => Fate::AnswerLost,
        }
    }

    /// Runs a call with its fate. What was sent to the store happens there even if the caller is gone by then.
    async fn play<T: Send + 'static>(
        &self,
        key: &str,
        writes: bool,
        act: impl FnOnce(&World) -> Result<T, KvError> + Send + 'static,
    ) -> Result<T, KvError> {
        if self.is_dead() {
            return std::future::pending().await;
        }
        let lost = || KvError::Unavailable { retry_after: None, message: "injected".to_owned() };
        let (fate, world) = (self.fate(key, writes), self.world.clone());
        let (there, back) = (world.below(4_000), world.below(4_000));
        let (there, back) = (Duration::from_micros(there), Duration::from_micros(back));
        let task = |delay: Duration| {
            tokio::spawn(async move {
                sleep(delay).await;
                act(&world)
            })
        };
        let answer = match fate {
            Fate::Before => {
                sleep(there).await;
                return Err(lost());
            }
            Fate::CrashBefore => return self.die().await,
            Fate::Delayed(time) => {
                drop(task(time));
                sleep(back).await;
                return Err(lost());
            }
            Fate::AnswerLost => {
                let _ = task(there).await;
                sleep(back).await;
                return Err(lost());
            }
            Fate::CrashAfter => {
                let _ = task(there).await;
                return self.die().await;
            }
            Fate::Slow(time) => task(time).await.unwrap(),
            Fate::Fine => task(there).await.unwrap(),
        };
        sleep(back).await;
        if self.is_dead() { std::future::pending().await } else { answer }
    }
}

#[async_trait]
impl Kv for SimKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let wanted = key.to_owned();
        self.play(key, false, move |world| Ok(world.get(&wanted))).await
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        let (wanted, value, claim) = (key.to_owned(), value.clone(), self.claim);
        self.play(key, true, move |world| world.apply_put(&wanted, &value, expect, claim)).await
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        let wanted = key.to_owned();
        self.play(key, true, move |world| world.apply_delete(&wanted)).await
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        let wanted = prefix.to_owned();
        self.play(prefix, false, move |world| Ok(world.list(&wanted))).await
    }

    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn part_bytes(&self) -> usize {
        600
    }
}

/// The machine's clock of the model.
pub struct SimClock(pub Arc<World>);

impl Clock for SimClock {
    fn boot(&self) -> Duration {
        self.0.start.elapsed()
    }
}
