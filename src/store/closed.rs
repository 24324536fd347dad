//! A store that is asked in vain: of a path that nobody may use yet.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Entry, Expect, Kv, KvError, Listed, Revision, Value};

/// Fails each call at once with the same words, so that a client learns what is wrong and waits for nothing.
#[derive(Clone, Debug)]
pub struct ClosedKv(pub String);

impl ClosedKv {
    fn closed<T>(&self) -> Result<T, KvError> {
        Err(KvError::Closed(self.0.clone()))
    }
}

#[async_trait]
impl Kv for ClosedKv {
    async fn get(&self, _: &str) -> Result<Option<Entry>, KvError> {
        self.closed()
    }

    async fn put(&self, _: &str, _: &Value, _: Expect) -> Result<Revision, KvError> {
        self.closed()
    }

    async fn delete_part(&self, _: &str) -> Result<(), KvError> {
        self.closed()
    }

    async fn list_parts(&self, _: &str) -> Result<Vec<Listed>, KvError> {
        self.closed()
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn part_bytes(&self) -> usize {
        usize::MAX
    }
}
