//! Owners and epochs as transitions of the head: take-over, release, and a person's word that a lost or older head is
//! to be taken as it is.

use jiff::Timestamp;

use super::{Head, Owner, Refusal, Step, Trash};
use crate::store::Epoch;

/// How many replaced epochs a head names.
const SUPERSEDES_KEPT: usize = 8;

impl Head {
    /// The check before every transition and read: only the owner that the caller serves may work on this head.
    pub(in crate::store) fn owned_by(&self, owner: &Owner) -> Result<(), Refusal> {
        if self.owner == *owner { Ok(()) } else { Err(Refusal::ForeignOwner(Box::new(self.owner.clone()))) }
    }

    /// Gives the head to the owner that won a higher claim.
    pub(in crate::store) fn taken_over(&self, owner: &Owner) -> Result<Step<()>, Refusal> {
        if self.owner == *owner {
            return Ok(Step::Same(()));
        }
        if self.owner.claim >= owner.claim {
            return Err(Refusal::ForeignOwner(Box::new(self.owner.clone())));
        }
        let mut head = self.next_revision();
        head.owner = owner.clone();
        Step::change(head, ())
    }

    /// Ends an owner's hold: no transition of it or of a stale replica happens any more. `delete`: all versions go to
    /// the trash too. Refused while locked.
    pub(in crate::store) fn released(&self, owner: &Owner, delete: bool, now: Timestamp) -> Result<Step<()>, Refusal> {
        let mut gone = owner.clone();
        gone.released = true;
        if self.owner == gone && (!delete || self.versions.is_empty()) {
            return Ok(Step::Same(()));
        }
        if self.owner != gone {
            self.owned_by(owner)?;
            if let Some(lock) = &self.lock {
                return Err(Refusal::Held(Box::new(lock.clone())));
            }
        }
        let mut head = self.next_revision();
        head.owner = gone;
        if delete {
            head.current = None;
            let versions = std::mem::take(&mut head.versions);
            for object in versions.iter().filter_map(|version| version.body.object().cloned()) {
                if !head.trashed(&object.name) {
                    head.trash.push(Trash { object, since: now, swept: false });
                }
            }
        }
        Step::change(head, ())
    }

    /// A new life of this head, which is older than one of epoch `seen` at `revision` that was seen before. Counters go
    /// on from the larger, so that no version number is ever used again.
    pub(in crate::store) fn accepted(&self, seen: Epoch, revision: u64) -> Self {
        let mut head = self.next_revision();
        head.revision = self.revision.max(revision) + 1;
        head.next = self.next.max(revision + 1);
        for epoch in [self.epoch, seen] {
            if !head.supersedes.contains(&epoch) {
                head.supersedes.push(epoch);
            }
        }
        let over = head.supersedes.len().saturating_sub(SUPERSEDES_KEPT);
        head.supersedes.drain(..over);
        head.epoch = Epoch::random();
        head
    }

    /// An empty head in the place of one that was lost.
    pub(in crate::store) fn instead_of_lost(owner: Owner, seen: Epoch, revision: u64) -> Self {
        let empty = Self::new(owner);
        let epoch = empty.epoch;
        let mut head = empty.accepted(seen, revision);
        head.epoch = epoch;
        head.supersedes = vec![seen];
        head
    }
}
