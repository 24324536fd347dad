//! The transitions of the head, by value: what each makes of a head, what it refuses, what it leaves alone. The numbers
//! in names and comments are those of the protocol's conformance list.

mod codec;
mod delta;
mod keep;
mod life;
mod lock;
mod patch;
mod random;
mod write;

use std::{collections::HashSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::{SignedDuration, Timestamp};

use super::{
    Body, Head, Inline, Lock, LockRequest, NewBody, ObjectRef, Owner, Refusal, Retention, Step, Unlock, WriteDone,
    WriteRequest,
};
use crate::store::{OpId, Sha256Sum, StateFacts};

/// A moment, in seconds after the story began.
fn at(seconds: i64) -> Timestamp {
    let base: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    base + SignedDuration::from_secs(seconds)
}

fn owner(claim: u64) -> Owner {
    Owner { instance: "prod".into(), namespace: "team".into(), name: "app".into(), claim, released: false }
}

fn op(name: &str) -> OpId {
    OpId::of_request(name)
}

/// Retention that never drops anything here.
fn all() -> Retention {
    Retention { max_versions: 10_000, max_bytes: None, max_age: None }
}

fn versions(max_versions: u32) -> Retention {
    Retention { max_versions, ..all() }
}

fn lock_request(id: &str) -> LockRequest {
    LockRequest {
        id: id.to_owned(),
        info: format!("{{\"ID\":\"{id}\"}}"),
        identity: format!("of-{id}"),
        credential: None,
        traceparent: None,
    }
}

fn object(name: &str, parts: u32) -> ObjectRef {
    ObjectRef { name: name.to_owned(), parts }
}

/// A write of `text`, inline.
fn write_request(lock: Option<&str>, serial: u64, text: &str) -> WriteRequest {
    WriteRequest {
        lock: lock.map(str::to_owned),
        identity: "writer".to_owned(),
        facts: StateFacts { serial, lineage: Some("line".to_owned()), ..StateFacts::default() },
        size: text.len() as u64,
        sha256: Sha256Sum::of(text.as_bytes()),
        md5: "1B2M2Y8AsgTpgAmY7PhCfg==".to_owned(),
        body: Some(NewBody {
            body: Body::Inline(Inline::new(text.as_bytes()).unwrap()),
            stored: text.len() as u64,
            of: None,
        }),
        lock_required: false,
        tried: Vec::new(),
    }
}

/// The same write, its bytes in an object.
fn in_object(mut ask: WriteRequest, name: &str, parts: u32, stored: u64) -> WriteRequest {
    ask.body = Some(NewBody { body: Body::Object(object(name, parts)), stored, of: None });
    ask
}

/// What a step came to: the answer, and whether the head changed.
type Came<T> = Result<(T, bool), Refusal>;

/// A head and what happens to it. Each change is held against what must be true of every change.
#[derive(Clone)]
struct Story {
    head: Head,
    keep: Retention,
    now: i64,
    /// Objects that were thrown away: nothing may name them again.
    thrown: HashSet<String>,
    count: u64,
}

impl Story {
    fn new() -> Self {
        Self { head: Head::new(owner(1)), keep: all(), now: 0, thrown: HashSet::new(), count: 0 }
    }

    fn now(&self) -> Timestamp {
        at(self.now)
    }

    /// An operation that none before was.
    fn new_op(&mut self) -> OpId {
        self.count += 1;
        op(&format!("operation {}", self.count))
    }

    /// Takes a step, and checks it.
    fn take<T>(&mut self, step: Result<Step<T>, Refusal>) -> Came<T> {
        match step? {
            Step::Same(done) => Ok((done, false)),
            Step::Change(next, done) => {
                assert_eq!(next.revision, self.head.revision + 1, "one revision on");
                assert_eq!(next.epoch, self.head.epoch, "the same life");
                self.goes_on_as(*next);
                Ok((done, true))
            }
        }
    }

    /// What is true of every new head, whatever made it.
    fn goes_on_as(&mut self, next: Head) {
        let before = std::mem::replace(&mut self.head, next);
        let head = &self.head;
        assert_eq!(head.check(), Ok(()));
        assert_eq!(Head::parse(&head.encode()).as_ref(), Ok(head), "it reads as it was written");
        assert!(head.revision > before.revision && head.next >= before.next, "counters grow");
        let fresh = head.versions.iter().filter(|version| before.version(version.number).is_none());
        for version in fresh {
            assert!(version.number >= before.next, "version {} was used before", version.number);
        }
        for version in &before.versions {
            let Some(object) = version.body.object() else { continue };
            assert!(head.names(&object.name) || head.trashed(&object.name), "{} was forgotten", object.name);
        }
        self.thrown.extend(head.trash.iter().map(|trash| trash.object.name.clone()));
        let again = head.versions.iter().filter_map(|version| version.body.object());
        for object in again {
            assert!(!self.thrown.contains(&object.name), "{} came back from the trash", object.name);
        }
        let sums: usize = head.thinned.iter().map(|thinned| thinned.sums.len()).sum();
        assert!(sums <= super::THINNED_KEPT && head.released.len() <= super::RELEASED_KEPT);
    }

    fn lock(&mut self, id: &str) -> Came<()> {
        let (op, now) = (self.new_op(), self.now());
        self.take(self.head.locked(&lock_request(id), op, now))
    }

    fn unlock(&mut self, id: &str) -> Came<Option<Lock>> {
        self.unlock_by(&Unlock::ById(id.to_owned()))
    }

    fn unlock_by(&mut self, ask: &Unlock) -> Came<Option<Lock>> {
        let (op, now) = (self.new_op(), self.now());
        self.take(self.head.unlocked(ask, "somebody", op, now))
    }

    fn write(&mut self, ask: &WriteRequest) -> Came<WriteDone> {
        let (op, now) = (self.new_op(), self.now());
        self.take(self.head.written(ask, op, &self.keep, now))
    }

    /// A write of a serial that is also its content, and its version.
    fn post(&mut self, lock: Option<&str>, serial: u64) -> u64 {
        let ask = write_request(lock, serial, &format!("state {serial}"));
        let (done, changed) = self.write(&ask).unwrap();
        assert!(changed && !done.repeated, "serial {serial} was taken for a repeat");
        done.version.unwrap()
    }

    fn delete(&mut self) -> Came<Option<u64>> {
        let (op, now) = (self.new_op(), self.now());
        self.take(self.head.cleared(&[], "somebody", op, now))
    }

    fn roll_back(&mut self, target: u64, expected: Option<u64>, request: &str) -> Came<u64> {
        let now = self.now();
        self.take(self.head.rolled_back(target, expected, "somebody", op(request), &self.keep, now))
    }

    /// A whole run: LOCK, writes, UNLOCK.
    fn run(&mut self, id: &str, serials: &[u64]) {
        self.lock(id).unwrap();
        for serial in serials {
            self.post(Some(id), *serial);
        }
        self.unlock(id).unwrap();
    }

    fn numbers(&self) -> Vec<u64> {
        self.head.versions.iter().map(|version| version.number).collect()
    }

    /// The refused call changed nothing.
    fn unchanged<T: std::fmt::Debug>(&mut self, call: impl FnOnce(&mut Self) -> Came<T>) -> Refusal {
        let before = self.head.clone();
        let refusal = call(self).expect_err("it was not refused");
        assert_eq!(self.head, before);
        refusal
    }
}

fn held_by(refusal: &Refusal) -> &str {
    refusal.holder().map_or("nobody", |lock| &lock.id)
}

const MINUTE: Duration = Duration::from_secs(60);
