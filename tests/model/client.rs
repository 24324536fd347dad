//! A client of the model: what OpenTofu, Terraform and people do, with each answer judged against what was in the store
//! while the call was under way.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use tofustate::store::{Head, LockCall, LockInfoError, Sha256Sum, StateError, WriteCall, head::Refusal};
use tokio::time::sleep;

use crate::replica::{Fleet, Replica, budget};

/// What does not compress, and stands in a third of all states.
static COMMON: LazyLock<String> =
    LazyLock::new(|| (0..150_u32).map(|n| Sha256Sum::of(&n.to_le_bytes()).to_string()).collect());

/// A request that may be repeated byte for byte.
#[derive(Clone)]
pub enum Request {
    Lock(String),
    Unlock(String),
    Post { lock: Option<String>, body: Arc<Vec<u8>> },
}

pub struct Client {
    pub fleet: Arc<Fleet>,
    name: String,
    serial: u64,
    /// Acknowledged requests, to be repeated late.
    sent: Vec<Request>,
    pub calls: u64,
}

/// What a call came to, for the client's next step.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Refused,
    /// The answer was lost, or the replica was.
    Unknown,
}

impl Client {
    pub fn new(fleet: Arc<Fleet>, name: String) -> Self {
        Self { fleet, name, serial: 0, sent: Vec::new(), calls: 0 }
    }

    /// One random thing that a client does.
    pub async fn act(&mut self) {
        match self.fleet.world.below(100) {
            0..=34 => self.run().await,
            35..=49 => self.read().await,
            50..=64 => {
                let body = self.body();
                self.insist(Request::Post { lock: None, body }).await;
            }
            65..=69 => self.delete().await,
            70..=74 => self.roll_back().await,
            75..=79 => self.force_unlock().await,
            80..=83 => self.unlock_blindly().await,
            84..=89 => self.repeat_late().await,
            90..=93 => {
                let lock = Some(self.lock_id());
                let body = self.body();
                self.insist(Request::Post { lock, body }).await;
            }
            94..=97 => self.work_behind().await,
            _ => sleep(Duration::from_millis(self.fleet.world.below(90_000))).await,
        }
    }

    fn lock_id(&self) -> String {
        format!("{}-{}", self.name, self.fleet.world.below(u64::MAX))
    }

    /// A state that no other write has, of a size that stands in the head or in parts, or that is much like another.
    pub fn body(&mut self) -> Arc<Vec<u8>> {
        self.serial += 1;
        let noise: String = match self.fleet.world.below(5) {
            0 => String::new(),
            1 => (0..40).map(|_| format!("{:x}", self.fleet.world.below(u64::MAX))).collect(),
            // What all have in common, so that one is told by another.
            2 | 3 => COMMON.clone(),
            _ => (0..200).map(|_| format!("{:x}", self.fleet.world.below(u64::MAX))).collect(),
        };
        let (serial, id) = (self.serial, self.lock_id());
        let text = format!(r#"{{"version":4,"serial":{serial},"lineage":"{id}","resources":[],"noise":"{noise}"}}"#);
        Arc::new(text.into_bytes())
    }

    /// Writes without a lock, one right after the other: while one looks for its lost answer, others come on top.
    pub async fn hurry(&mut self) {
        for _ in 0..6 {
            let body = self.body();
            self.post(None, &body).await;
        }
    }

    /// An apply: LOCK, GET, some POSTs, UNLOCK.
    async fn run(&mut self) {
        let id = self.lock_id();
        if self.insist(Request::Lock(id.clone())).await != Answer::Done {
            return;
        }
        self.read().await;
        for _ in 0..self.fleet.world.below(4) {
            let body = self.body();
            let post = Request::Post { lock: Some(id.clone()), body };
            if self.insist(post.clone()).await == Answer::Refused {
                return;
            }
            if self.fleet.world.chance(200) {
                self.insist(post).await;
            }
        }
        // One that never unlocks is what force-unlock is for.
        if !self.fleet.world.chance(60) {
            self.insist(Request::Unlock(id)).await;
        }
    }

    /// As a client's HTTP library does: three attempts of the same bytes, through any replica.
    pub async fn insist(&mut self, request: Request) -> Answer {
        for _ in 0..3 {
            let answer = self.send(&request).await;
            if answer != Answer::Unknown {
                if answer == Answer::Done {
                    self.sent.push(request);
                }
                return answer;
            }
            sleep(Duration::from_millis(500 + self.fleet.world.below(1_500))).await;
        }
        Answer::Unknown
    }

    async fn repeat_late(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let at = self.fleet.world.below(self.sent.len() as u64) as usize;
        let request = self.sent[at].clone();
        let id = match &request {
            Request::Lock(id) | Request::Unlock(id) | Request::Post { lock: Some(id), .. } => id.clone(),
            // A write without an ID is a new write when it comes late: nobody can tell.
            Request::Post { lock: None, .. } => return,
        };
        // Sixteen released ids are remembered: a repeat that is still on its way after as many releases may not come.
        let known = |head: Arc<Head>| {
            let lately = head.released.iter().rev().take(8).any(|released| released.id == id);
            lately || head.lock.as_ref().is_some_and(|lock| lock.id == id)
        };
        if self.fleet.world.last_head().is_some_and(known) {
            self.send(&request).await;
        }
    }

    async fn send(&mut self, request: &Request) -> Answer {
        match request {
            Request::Lock(id) => self.lock(id).await,
            Request::Unlock(id) => self.unlock(id).await,
            Request::Post { lock, body } => self.post(lock.as_deref(), body).await,
        }
    }

    async fn lock(&mut self, id: &str) -> Answer {
        let info = format!(r#"{{"ID":"{id}","Who":"{}"}}"#, self.name);
        let (replica, since) = self.begin();
        let mut budget = budget();
        let call = LockCall { info: info.as_bytes(), identity: &self.name, ..LockCall::default() };
        let done = alive(&replica, replica.state.lock(call, &mut budget)).await;
        let holds = |head: &Head| head.lock.as_ref().is_some_and(|lock| lock.id == id);
        self.judge("LOCK", &replica, since, done, |refusal| match refusal {
            None => Some(Box::new(holds)),
            Some(Refusal::Held(by)) => {
                let by = by.id.clone();
                Some(Box::new(move |head| head.lock.as_ref().is_some_and(|lock| lock.id == by)))
            }
            Some(Refusal::LateRepeat { .. }) => Some(Box::new(|head| head.released.iter().any(|r| r.id == id))),
            Some(_) => None,
        })
    }

    async fn unlock(&mut self, id: &str) -> Answer {
        let (replica, since) = self.begin();
        let mut budget = budget();
        let body = format!(r#"{{"ID":"{id}"}}"#);
        let done = alive(&replica, replica.state.unlock(body.as_bytes(), &self.name, &mut budget)).await;
        let free = |head: &Head| head.lock.as_ref().is_none_or(|lock| lock.id != id);
        self.judge("UNLOCK", &replica, since, done, |refusal| match refusal {
            None => Some(Box::new(free)),
            Some(Refusal::Held(by)) => {
                let by = by.id.clone();
                Some(Box::new(move |head| head.lock.as_ref().is_some_and(|lock| lock.id == by)))
            }
            Some(Refusal::NeverHeld { .. }) => {
                Some(Box::new(move |head| free(head) && !head.released.iter().any(|released| released.id == id)))
            }
            Some(_) => None,
        })
    }

    pub async fn post(&mut self, lock: Option<&str>, body: &[u8]) -> Answer {
        let sum = Sha256Sum::of(body);
        self.allow(sum, lock);
        let (replica, since) = self.begin();
        let mut budget = budget();
        let call = WriteCall { lock, identity: &self.name, ..WriteCall::default() };
        let work = async {
            let mut upload = replica.state.upload(call)?;
            for chunk in body.chunks(1_000) {
                upload.push(chunk, &mut budget).await?;
            }
            upload.finish(&mut budget).await
        };
        let done = alive(&replica, work).await;
        let repeated = matches!(&done, Some(Ok(done)) if done.repeated);
        self.judge_write(&replica, if repeated { 0 } else { since }, done, sum, lock)
    }

    /// Notes that the bytes of a write may become a version: once under a lock, once an attempt without one.
    pub fn allow(&self, sum: Sha256Sum, lock: Option<&str>) {
        let mut inner = self.fleet.world.inner.lock().unwrap();
        let allowed = inner.oracle.allowed.entry(sum).or_default();
        *allowed = if lock.is_some() { 1 } else { *allowed + 1 };
    }

    pub fn judge_write<T: std::fmt::Debug>(
        &self,
        replica: &Replica,
        since: usize,
        done: Option<Result<T, StateError>>,
        sum: Sha256Sum,
        lock: Option<&str>,
    ) -> Answer {
        self.judge("POST", replica, since, done, |refusal| match refusal {
            None => Some(Box::new(move |head| head.current().is_some_and(|version| version.sha256 == sum))),
            Some(Refusal::Held(by)) => {
                let by = by.id.clone();
                Some(Box::new(move |head| head.lock.as_ref().is_some_and(|lock| lock.id == by)))
            }
            Some(Refusal::LockGone { .. }) if lock.is_some() => Some(Box::new(|head| head.lock.is_none())),
            Some(Refusal::ObjectTrashed | Refusal::Unknown | Refusal::NotKept) => Some(Box::new(|_| true)),
            Some(_) => None,
        })
    }

    async fn read(&mut self) {
        let (replica, since) = self.begin();
        let mut budget = budget();
        let work = async {
            match replica.state.read(&mut budget).await? {
                None => Ok(None),
                Some(reader) => Ok(Some(Sha256Sum::of(&reader.read_to_end(&mut budget).await?))),
            }
        };
        let done = alive(&replica, work).await;
        let sum = match &done {
            Some(Ok(sum)) => *sum,
            _ => None,
        };
        self.judge("GET", &replica, since, done, |refusal| match refusal {
            None => Some(Box::new(move |head| head.current().map(|version| version.sha256) == sum)),
            Some(_) => None,
        });
    }

    async fn delete(&mut self) {
        let (replica, since) = self.begin();
        let mut budget = budget();
        let done = alive(&replica, replica.state.delete(&self.name, &mut budget)).await;
        let cleared = match &done {
            Some(Ok(version)) => *version,
            _ => None,
        };
        self.judge("DELETE", &replica, since, done, |refusal| match refusal {
            // Cleared by us, or replaced by another's write, which then came right after.
            None => Some(Box::new(move |head| head.current.is_none() || cleared.is_some() && head.current > cleared)),
            Some(Refusal::Held(by)) => {
                let by = by.id.clone();
                Some(Box::new(move |head| head.lock.as_ref().is_some_and(|lock| lock.id == by)))
            }
            Some(_) => None,
        });
    }

    async fn roll_back(&mut self) {
        let Some(head) = self.fleet.world.last_head() else { return };
        if head.versions.is_empty() {
            return;
        }
        let target = &head.versions[self.fleet.world.below(head.versions.len() as u64) as usize];
        // The same request is done once: after a deletion nothing but its text tells it from an earlier one.
        let request = match head.current {
            Some(current) => format!("{}@{current}", target.number),
            None => self.lock_id(),
        };
        let sum = target.sha256;
        let (replica, since) = self.begin();
        let mut budget = budget();
        let work = replica.state.rollback(target.number, head.current, &request, &self.name, &mut budget);
        let done = alive(&replica, work).await;
        self.judge("rollback", &replica, since, done, |refusal| match refusal {
            None => Some(Box::new(move |head| head.current().is_some_and(|version| version.sha256 == sum))),
            Some(_) => Some(Box::new(|_| true)),
        });
    }

    async fn force_unlock(&mut self) {
        let Some(lock) = self.fleet.world.last_head().and_then(|head| head.lock.clone()) else { return };
        let (replica, since) = self.begin();
        let done = self.fleet.break_lock(&replica, &lock.id, &self.name).await;
        self.judge("force-unlock", &replica, since, done, |refusal| match refusal {
            None => Some(Box::new(|head| head.lock.as_ref().is_none_or(|now| now.id != lock.id))),
            Some(_) => Some(Box::new(|head| head.lock.as_ref().is_none_or(|now| now.id != lock.id))),
        });
    }

    async fn unlock_blindly(&mut self) {
        let (replica, since) = self.begin();
        let mut budget = budget();
        let done = alive(&replica, replica.state.unlock(b"", &self.name, &mut budget)).await;
        self.judge("UNLOCK without a body", &replica, since, done, |refusal| match refusal {
            None => Some(Box::new(|head| head.lock.is_none())),
            Some(Refusal::Held(by)) => {
                let by = by.id.clone();
                Some(Box::new(move |head| head.lock.as_ref().is_some_and(|lock| lock.id == by)))
            }
            Some(_) => None,
        });
    }

    /// What an engine does in the background, and now and then a crash or a clean start.
    async fn work_behind(&mut self) {
        let slot = self.fleet.world.below(self.fleet.size() as u64) as usize;
        let replica = self.fleet.get(slot);
        let done = match self.fleet.world.below(10) {
            0 => {
                self.fleet.restart(slot);
                return;
            }
            1..=3 => alive(&replica, replica.state.sweep()).await.map(|done| done.map(drop)),
            _ => alive(&replica, replica.state.maintain()).await,
        };
        self.calls += 1;
        if let Some(Err(error)) = done {
            self.expect_store_fault("background work", &error);
        }
    }

    fn begin(&mut self) -> (Arc<Replica>, usize) {
        self.calls += 1;
        (self.fleet.any(), self.fleet.world.moment())
    }

    /// Judges an answer: some head that was in the store while the call was under way must explain it. `explains`
    /// answers how, `None` where such a refusal may not come.
    #[allow(clippy::type_complexity)]
    fn judge<'a, T: std::fmt::Debug>(
        &self,
        what: &str,
        replica: &Replica,
        since: usize,
        done: Option<Result<T, StateError>>,
        explains: impl Fn(Option<&Refusal>) -> Option<Box<dyn Fn(&Head) -> bool + 'a>>,
    ) -> Answer {
        let world = &self.fleet.world;
        if !replica.kv.is_dead() {
            self.fleet.report(replica);
        }
        let (refusal, answer) = match &done {
            None => return Answer::Unknown,
            Some(Ok(_)) => (None, Answer::Done),
            Some(Err(StateError::Refused(Refusal::ForeignOwner(found)))) => {
                // Only a stale replica sees a foreign owner.
                if found.claim <= replica.kv.claim {
                    world.violation(format!("{what}: claim {} found {found} foreign", replica.kv.claim));
                }
                return Answer::Unknown;
            }
            Some(Err(StateError::Refused(refusal))) => (Some(refusal), Answer::Refused),
            Some(Err(error)) => {
                self.expect_store_fault(what, error);
                return Answer::Unknown;
            }
        };
        match explains(refusal) {
            None => world.violation(format!("{what} by {} answered {done:?}", self.name)),
            Some(explained) if !world.some_head_since(since, &*explained) => {
                let heads = world.moment() - since;
                world.violation(format!(
                    "{what} by {} answered {done:?}; none of {heads} heads since explains it",
                    self.name
                ));
            }
            Some(_) => {}
        }
        answer
    }

    /// Errors that faults of the store explain.
    fn expect_store_fault(&self, what: &str, error: &StateError) {
        match error {
            StateError::Unavailable { .. } | StateError::Busy { .. } | StateError::UploadTooSlow => {}
            StateError::Refused(Refusal::ForeignOwner(_)) => {}
            StateError::LockInfo(LockInfoError::NoId) => {}
            error => self.fleet.world.violation(format!("{what}: {error}")),
        }
    }
}

/// The answer, unless the replica crashes first.
pub async fn alive<T>(replica: &Replica, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        () = replica.kv.crashed() => None,
        done = work => Some(done),
    }
}
