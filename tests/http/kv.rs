//! A store that fails, waits and lies on demand, over the embedded one in memory.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tofustate::store::{EmbeddedKv, Entry, Expect, Kv, KvError, Listed, Revision, Value};
use tokio::sync::Semaphore;

/// A call on the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Get,
    Put,
    Delete,
    List,
}

/// What happens to a call.
#[derive(Clone)]
pub enum Do {
    /// It fails and does nothing.
    Fail(KvError),
    /// It is done, and its answer is this error.
    Lose(KvError),
    /// It waits so long first.
    Wait(Duration),
    /// It waits for a permit first.
    Hold(Arc<Semaphore>),
    /// A read finds this.
    Find(Option<Entry>),
}

type Plan = Box<dyn FnMut(Call, &str) -> Option<Do> + Send>;

pub struct FaultKv {
    inner: EmbeddedKv,
    plan: Mutex<Option<Plan>>,
    ahead: Mutex<SignedDuration>,
    part_bytes: usize,
    calls: Mutex<Vec<(Call, String)>>,
}

impl FaultKv {
    pub fn new(inner: EmbeddedKv, part_bytes: usize) -> Arc<Self> {
        let (plan, ahead, calls) = (Mutex::default(), Mutex::new(SignedDuration::ZERO), Mutex::default());
        Arc::new(Self { inner, plan, ahead, part_bytes, calls })
    }

    /// What happens to calls from now on.
    pub fn plan(&self, plan: impl FnMut(Call, &str) -> Option<Do> + Send + 'static) {
        *self.plan.lock().unwrap() = Some(Box::new(plan));
    }

    /// The same for every call of a kind.
    pub fn every(&self, kind: Call, what: Do) {
        self.plan(move |call, _| (call == kind).then(|| what.clone()));
    }

    pub fn heal(&self) {
        *self.plan.lock().unwrap() = None;
    }

    /// Sets the store's clock ahead.
    pub fn later(&self, by: SignedDuration) {
        *self.ahead.lock().unwrap() += by;
    }

    /// The calls of a kind that were made so far.
    pub fn count(&self, kind: Call) -> usize {
        self.calls.lock().unwrap().iter().filter(|(call, _)| *call == kind).count()
    }

    pub async fn parts_of(&self, path: &str) -> usize {
        self.inner.list_parts(&format!(".versions/{}/", path.replace('/', ":"))).await.unwrap().len()
    }

    pub async fn entry(&self, key: &str) -> Option<Entry> {
        self.inner.get(key).await.unwrap()
    }

    async fn fate(&self, call: Call, key: &str) -> Result<Option<Do>, KvError> {
        self.calls.lock().unwrap().push((call, key.to_owned()));
        let what = self.plan.lock().unwrap().as_mut().and_then(|plan| plan(call, key));
        match what {
            Some(Do::Fail(error)) => Err(error),
            Some(Do::Wait(time)) => {
                tokio::time::sleep(time).await;
                Ok(None)
            }
            Some(Do::Hold(gate)) => {
                gate.acquire().await.unwrap().forget();
                Ok(None)
            }
            other => Ok(other),
        }
    }
}

/// An answer that got lost on its way.
fn lost<T>(fate: Option<Do>, done: Result<T, KvError>) -> Result<T, KvError> {
    match fate {
        Some(Do::Lose(error)) => done.and(Err(error)),
        _ => done,
    }
}

#[async_trait]
impl Kv for FaultKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        match self.fate(Call::Get, key).await? {
            Some(Do::Find(entry)) => Ok(entry),
            fate => lost(fate, self.inner.get(key).await),
        }
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        let fate = self.fate(Call::Put, key).await?;
        lost(fate, self.inner.put(key, value, expect).await)
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        let fate = self.fate(Call::Delete, key).await?;
        lost(fate, self.inner.delete_part(key).await)
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        let fate = self.fate(Call::List, prefix).await?;
        lost(fate, self.inner.list_parts(prefix).await)
    }

    fn now(&self) -> Timestamp {
        self.inner.now() + *self.ahead.lock().unwrap()
    }

    fn part_bytes(&self) -> usize {
        self.part_bytes
    }
}
