//! A store whose clock can be put forward: an hour in the trash is not waited for.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tofustate::store::{EmbeddedKv, Entry, Expect, Kv, KvError, Listed, Revision, Value};

pub(crate) struct Ahead {
    kv: Arc<EmbeddedKv>,
    hours: AtomicI64,
}

impl Ahead {
    pub(crate) fn new(kv: Arc<EmbeddedKv>) -> Self {
        Self { kv, hours: AtomicI64::new(0) }
    }

    pub(crate) fn hours_later(&self, hours: i64) {
        self.hours.store(hours, Ordering::Relaxed);
    }

    pub(crate) fn back_to_now(&self) {
        self.hours_later(0);
    }
}

#[async_trait]
impl Kv for Ahead {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.kv.get(key).await
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        self.kv.put(key, value, expect).await
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        self.kv.delete_part(key).await
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        self.kv.list_parts(prefix).await
    }

    fn now(&self) -> Timestamp {
        self.kv.now() + SignedDuration::from_hours(self.hours.load(Ordering::Relaxed))
    }

    fn part_bytes(&self) -> usize {
        self.kv.part_bytes()
    }

    fn generation(&self) -> u64 {
        self.kv.generation()
    }
}
