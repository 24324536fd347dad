//! Sets the pace of a benchmark, and writes down the calls that an engine makes of its store.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tofustate::store::{Entry, Expect, Kv, KvError, Listed, Revision, Value};

#[derive(Clone)]
pub(crate) enum Call {
    Get(String),
    Put(String, Value),
    Delete(String),
}

/// How far apart the cycles are that a benchmark runs one after the other: what was dropped stays in the trash for an
/// hour, and every head names all of it.
const PACE: SignedDuration = SignedDuration::from_mins(5);

/// A store whose clock goes on by [`PACE`] with each cycle, and that writes down what it is asked if it is to.
pub(crate) struct Paced {
    kv: Arc<dyn Kv>,
    cycles: AtomicI32,
    calls: Option<Mutex<Vec<Call>>>,
    tally: Arc<Tally>,
}

/// How often a store was asked, and whether it is now.
#[derive(Default)]
pub(crate) struct Tally {
    reads: AtomicU64,
    writes: AtomicU64,
    written: AtomicU64,
    deletions: AtomicU64,
    under_way: AtomicU64,
    last: Mutex<Option<Instant>>,
}

/// Nothing was asked for so long: nothing more comes of itself.
const QUIET: Duration = Duration::from_millis(20);

impl Tally {
    /// Waits until nothing is asked.
    pub(crate) async fn idle(&self) {
        let quiet = || self.last.lock().unwrap().is_none_or(|last| last.elapsed() > QUIET);
        while self.under_way.load(Ordering::Relaxed) > 0 || !quiet() {
            tokio::time::sleep(QUIET / 10).await;
        }
    }

    async fn count<T>(&self, what: &AtomicU64, call: impl Future<Output = T>) -> T {
        what.fetch_add(1, Ordering::Relaxed);
        let _call = UnderWay::new(self);
        call.await
    }
}

/// Reads, writes, bytes written, deletions.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] =
            [&self.reads, &self.writes, &self.written, &self.deletions].map(|count| count.load(Ordering::Relaxed));
        write!(f, "{a} {b} {c} {d}")
    }
}

/// One call, which may be given up.
struct UnderWay<'a>(&'a Tally);

impl<'a> UnderWay<'a> {
    fn new(tally: &'a Tally) -> Self {
        tally.under_way.fetch_add(1, Ordering::Relaxed);
        Self(tally)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap() = Some(Instant::now());
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Paced {
    pub(crate) fn new(kv: Arc<dyn Kv>, record: bool) -> Self {
        Self { kv, cycles: AtomicI32::new(0), calls: record.then(Mutex::default), tally: Arc::default() }
    }

    /// The same, and its calls are counted there.
    pub(crate) fn counted(self, tally: Arc<Tally>) -> Self {
        Self { tally, ..self }
    }

    /// The next cycle begins.
    pub(crate) fn next(&self) {
        self.cycles.fetch_add(1, Ordering::Relaxed);
    }

    /// The calls since this was last asked.
    pub(crate) fn take(&self) -> Vec<Call> {
        self.calls.as_ref().map(|calls| std::mem::take(&mut *calls.lock().unwrap())).unwrap_or_default()
    }

    fn note(&self, call: impl FnOnce() -> Call) {
        if let Some(calls) = &self.calls {
            calls.lock().unwrap().push(call());
        }
    }
}

#[async_trait]
impl Kv for Paced {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.note(|| Call::Get(key.to_owned()));
        self.tally.count(&self.tally.reads, self.kv.get(key)).await
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        self.note(|| Call::Put(key.to_owned(), value.clone()));
        let size = match value {
            Value::Document(text) => text.len(),
            Value::Part(part) => part.bytes.len(),
            Value::Foreign(_) | Value::Deleted(_) => 0,
        };
        self.tally.written.fetch_add(size as u64, Ordering::Relaxed);
        self.tally.count(&self.tally.writes, self.kv.put(key, value, expect)).await
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        self.note(|| Call::Delete(key.to_owned()));
        self.tally.count(&self.tally.deletions, self.kv.delete_part(key)).await
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        self.tally.count(&self.tally.reads, self.kv.list_parts(prefix)).await
    }

    fn now(&self) -> Timestamp {
        self.kv.now() + PACE * self.cycles.load(Ordering::Relaxed)
    }

    fn part_bytes(&self) -> usize {
        self.kv.part_bytes()
    }

    fn generation(&self) -> u64 {
        self.kv.generation()
    }

    fn exclusive(&self) -> bool {
        self.kv.exclusive()
    }
}
