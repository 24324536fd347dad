//! LOCK and UNLOCK as transitions of the head.

use std::time::Duration;

use jiff::Timestamp;

use super::{Head, Lock, RELEASED_KEPT, Refusal, Released, Step, Thinned};
use crate::store::{OpId, Redacted, mutant};

/// What a LOCK asks for.
#[derive(Clone, Debug)]
pub struct LockRequest {
    /// The client's id of the lock.
    pub id: String,
    /// The client's LockInfo, byte for byte.
    pub info: String,
    /// Whose credential asks.
    pub identity: String,
    /// A salted hash of that credential.
    pub credential: Option<Redacted<String>>,
    /// The trace of the run.
    pub traceparent: Option<String>,
}

/// What an UNLOCK asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlock {
    /// The holder's own.
    ById(String),
    /// By a person, of the lock of this id.
    Forced(String),
    /// Of whatever lock is held, if it was quiet for this long: the unlock without a body, and stale locks.
    Quiet(Duration),
}

impl Head {
    /// Grants the lock if it is free. The id that holds is granted again; one released a moment ago is not.
    pub(in crate::store) fn locked(&self, ask: &LockRequest, op: OpId, now: Timestamp) -> Result<Step<()>, Refusal> {
        match &self.lock {
            Some(lock) if lock.id == ask.id => return Ok(Step::Same(())),
            Some(lock) => return Err(Refusal::Held(Box::new(lock.clone()))),
            None if self.recently_released(&ask.id) => return Err(Refusal::LateRepeat { id: ask.id.clone() }),
            None => {}
        }
        let mut head = self.next_revision();
        head.lock = Some(Lock {
            id: ask.id.clone(),
            info: ask.info.clone(),
            identity: ask.identity.clone(),
            credential: ask.credential.clone(),
            since: now,
            wrote: None,
            base: self.current,
            traceparent: ask.traceparent.clone(),
            op,
        });
        Step::change(head, ())
    }

    /// Releases the lock, and answers the one that was released. `None`: it was released before.
    pub(in crate::store) fn unlocked(
        &self,
        ask: &Unlock,
        by: &str,
        op: OpId,
        now: Timestamp,
    ) -> Result<Step<Option<Lock>>, Refusal> {
        if self.released.iter().any(|released| released.op == op) && !mutant::is("no-operation-id") {
            return Ok(Step::Same(None));
        }
        let forced = !matches!(ask, Unlock::ById(_));
        let lock = match (ask, &self.lock) {
            (Unlock::ById(id) | Unlock::Forced(id), Some(lock)) if lock.id == *id => lock,
            (Unlock::ById(id) | Unlock::Forced(id), _) if self.recently_released(id) => return Ok(Step::Same(None)),
            (Unlock::ById(id) | Unlock::Forced(id), None) => return Err(Refusal::NeverHeld { id: id.clone() }),
            (Unlock::Quiet(_), None) => return Ok(Step::Same(None)),
            (Unlock::Quiet(time), Some(lock)) if lock.quiet(now) > *time => lock,
            (_, Some(lock)) => return Err(Refusal::Held(Box::new(lock.clone()))),
        };
        let (lock, mut head) = (lock.clone(), self.next_revision());
        head.lock = None;
        head.released.push(Released { id: lock.id.clone(), at: now, by: by.to_owned(), forced, op });
        let over = head.released.len().saturating_sub(RELEASED_KEPT);
        head.released.drain(..over);
        // Repeats of its writes may still come; of the lock before it, no more.
        head.thinned.retain(|thinned: &Thinned| thinned.lock == lock.id);
        Step::change(head, Some(lock))
    }
}

impl Lock {
    /// How long its holder has done nothing: since it was granted, or last wrote.
    #[must_use]
    pub fn quiet(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.last_active())).unwrap_or_default()
    }

    /// When its holder last did something: was granted it, or wrote.
    #[must_use]
    pub fn last_active(&self) -> Timestamp {
        self.wrote.map_or(self.since, |wrote| wrote.max(self.since))
    }
}
