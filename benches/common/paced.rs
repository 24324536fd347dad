//! Sets the pace of a benchmark, and writes down the calls that an engine makes of its store.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI32, Ordering},
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
}

impl Paced {
    pub(crate) fn new(kv: Arc<dyn Kv>, record: bool) -> Self {
        Self { kv, cycles: AtomicI32::new(0), calls: record.then(Mutex::default) }
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
        self.kv.get(key).await
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        self.note(|| Call::Put(key.to_owned(), value.clone()));
        self.kv.put(key, value, expect).await
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        self.note(|| Call::Delete(key.to_owned()));
        self.kv.delete_part(key).await
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        self.kv.list_parts(prefix).await
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
