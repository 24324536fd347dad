//! What this process knows of a head: how far it was seen, and the head itself for as long as it may be the base of a change.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Epoch, Head, Revision,
    engine::{Inner, Told},
};

/// How far a head was seen: what a head in the store may not be behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its revision (`headRevision`).
    pub revision: u64,
}

impl Mark {
    /// That head's.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        Self { epoch: head.epoch, revision: head.revision }
    }
}

/// A head as the store had it.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) head: Arc<Head>,
    pub(super) text: Arc<str>,
    pub(super) revision: Revision,
    /// When the call that showed it began, by this machine's clock: it was in the store at some moment after.
    pub(super) known: Duration,
    pub(super) generation: u64,
}

/// What this process knows of one head. Little of it lasts: thousands of states are idle at a time.
pub(super) struct Known {
    /// The head itself, for as long as it may be the base of a change.
    base: Option<Base>,
    mark: Option<Mark>,
    /// When something in it comes due that needs background work, by the store's clock.
    due: Option<Timestamp>,
}

impl Known {
    pub(super) fn new(mark: Option<Mark>) -> Self {
        Self { base: None, mark, due: None }
    }
}

/// What a head that the store holds is to one that was seen before.
pub(super) fn behind(head: &Head, mark: Option<Mark>) -> bool {
    mark.is_some_and(|mark| {
        if head.epoch == mark.epoch { head.revision < mark.revision } else { !head.supersedes.contains(&mark.epoch) }
    })
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far this head was seen.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.known().mark
    }

    /// The head that may be the base of a change: one that is young enough, of the same generation of the store.
    pub(super) fn cached(&self) -> Option<Base> {
        let base = self.known().base.clone()?;
        let young = self.shared.clock.boot().saturating_sub(base.known) < self.shared.options.head_age;
        (young && base.generation == self.kv.generation()).then_some(base)
    }

    /// The head, where it may be the base of a change.
    pub(super) fn cached_head(&self) -> Option<Arc<Head>> {
        self.cached().map(|base| base.head)
    }

    /// The head of exactly this text, if it is the one that was seen last.
    pub(super) fn known_head(&self, text: &Arc<str>) -> Option<Arc<Head>> {
        self.known().base.as_ref().filter(|base| base.text == *text).map(|base| base.head.clone())
    }

    /// The head as it was seen a moment ago, if it was: for hints only.
    pub(super) fn last_head(&self) -> Option<Arc<Head>> {
        self.known().base.as_ref().map(|base| base.head.clone())
    }

    /// Lets go of a head that may not be built on any more, and answers whether something in it is due.
    pub(super) fn look(&self) -> bool {
        if self.cached().is_none() {
            self.forget();
        }
        self.is_due()
    }

    /// Whether something in the head is due for the background.
    pub(super) fn is_due(&self) -> bool {
        self.known().due.is_some_and(|due| due <= self.kv.now())
    }

    pub(super) fn forget(&self) {
        self.known().base = None;
    }

    /// Takes note of a head, unless a newer one is known.
    pub(super) fn remember(&self, base: &Base) {
        let mut known = self.known();
        if behind(&base.head, known.mark) {
            return;
        }
        let newer = known.mark.replace(Mark::of(&base.head)) != known.mark;
        match &mut known.base {
            Some(old) if old.revision == base.revision && old.known > base.known => {}
            slot => *slot = Some(base.clone()),
        }
        let settings = self.settings.load();
        known.due = match base.head.to_move_out(self.shared.options.inline, false).is_empty() {
            true => base.head.due(&settings.retention, settings.release_after),
            false => Some(Timestamp::UNIX_EPOCH),
        };
        drop(known);
        if newer {
            self.told().retain(|told| told());
        }
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
