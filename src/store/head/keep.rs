//! What a head keeps, moves out and throws away: retention, thinning, the trash.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{Body, Head, MAX_HEAD, ObjectRef, Step, THINNED_KEPT, Thinned, Trash, Version};
use crate::store::{Sha256Sum, mutant};

/// How much of the states' bytes may stand in the head itself. In stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InlineLimits {
    /// The most of one version.
    pub version: u64,
    /// What stays of older versions when others move out.
    pub kept: u64,
    /// What makes the older ones move out, several at a time: once in a while, not at each write.
    pub most: u64,
}

impl Default for InlineLimits {
    fn default() -> Self {
        Self { version: 16 * 1024, kept: 0, most: 32 * 1024 }
    }
}

/// How many objects wait in the trash; over it, the oldest that a head once named go before their hour.
pub const TRASH_MOST: usize = 512;
/// How long an object stays in the trash: as long as the slowest reader of it.
pub(in crate::store) const TRASH_TIME: Duration = Duration::from_secs(3_600);
/// So many objects whose hour is over are worth a change of the head, ...
const TRASH_BATCH: usize = 16;
/// ... and fewer of them once the oldest has waited this long.
const TRASH_LATE: Duration = Duration::from_secs(5_400);
/// How old a part is before the sweep takes it for lost: twice the time an upload may take.
pub(in crate::store) const SWEEP_AGE: Duration = Duration::from_secs(3_600);

/// How much history is kept. Never touched: the current version, and the one before the lock holder's first write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The most versions, the current one among them.
    pub max_versions: u32,
    /// The most stored bytes of all versions together.
    pub max_bytes: Option<u64>,
    /// How long a version is kept after another took its place.
    pub max_age: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_versions: 20, max_bytes: None, max_age: None }
    }
}

impl Head {
    /// Drops what is over the limits. True where anything went.
    pub(in crate::store) fn retain(&mut self, keep: &Retention, now: Timestamp) -> bool {
        let before = self.versions.len();
        if let Some(age) = keep.max_age {
            for number in self.outdated(age, now) {
                self.drop_version(number, now);
            }
        }
        while self.over(keep)
            && let Some(number) = self.victim()
        {
            self.drop_version(number, now);
        }
        self.versions.len() < before
    }

    /// Drops the oldest versions until the head fits its entry. False where it cannot.
    pub(in crate::store) fn shrink(&mut self, now: Timestamp) -> bool {
        while self.encode().len() > MAX_HEAD {
            let Some(number) = self.victim() else { return false };
            self.drop_version(number, now);
        }
        true
    }

    fn over(&self, keep: &Retention) -> bool {
        // An object that several hang on, such as a version and its copy, is stored once.
        let (mut stored, mut objects) = (0_u64, Vec::new());
        for version in &self.versions {
            let object = version.body.object().map(|object| object.name.as_str());
            let new = object.is_some_and(|name| !objects.contains(&name));
            objects.extend(object);
            let root = version.body.patch().and_then(|patch| patch.root.as_ref()).filter(|_| new);
            let own = new || !matches!(version.body, Body::Object(_));
            let taken = u64::from(own) * version.stored + root.map_or(0, |root| root.stored);
            stored = stored.saturating_add(taken);
        }
        self.versions.len() > keep.max_versions.max(1) as usize || keep.max_bytes.is_some_and(|most| stored > most)
    }

    fn protected(&self, number: u64) -> bool {
        let base = self.lock.as_ref().and_then(|lock| lock.base);
        Some(number) == self.current || (Some(number) == base && !mutant::is("pre-apply-version-pruned"))
    }

    /// The next version to go: the oldest snapshot that a later one of the same lock made worthless, else the oldest.
    fn victim(&self) -> Option<u64> {
        let free = || self.versions.iter().enumerate().filter(|(_, version)| !self.protected(version.number));
        let replaced = |at: usize, version: &Version| {
            version.lock.is_some() && self.versions.iter().skip(at + 1).any(|later| later.lock == version.lock)
        };
        let thinned = free().find(|(at, version)| replaced(*at, version));
        thinned.or_else(|| free().next()).map(|(_, version)| version.number)
    }

    /// When the version at that place stopped being the newest: another took its place, or it was deleted.
    fn ended(&self, at: usize, version: &Version) -> Option<Timestamp> {
        let deleted = version.deleted.as_ref().map(|deletion| deletion.at);
        deleted.or_else(|| self.versions.get(at + 1).map(|next| next.time))
    }

    /// Versions that ended longer than `age` ago.
    fn outdated(&self, age: Duration, now: Timestamp) -> Vec<u64> {
        let old = |since: Timestamp| Duration::try_from(now.duration_since(since)).is_ok_and(|past| past > age);
        let candidates = self.versions.iter().enumerate().filter(|(_, version)| !self.protected(version.number));
        let outdated = candidates.filter(|(at, version)| self.ended(*at, version).is_some_and(old));
        outdated.map(|(_, version)| version.number).collect()
    }

    /// When the next thing in this head comes due for the background: trash whose hour is over, a version that gets too
    /// old. `None`: nothing will.
    pub(in crate::store) fn due(&self, keep: &Retention, release_after: Option<Duration>) -> Option<Timestamp> {
        let after = |time: Timestamp, span: Duration| time.checked_add(span).ok();
        let stale = self.lock.as_ref().and_then(|lock| after(lock.last_active(), release_after?));
        let mut since: Vec<Timestamp> = self.trash.iter().map(|trash| trash.since).collect();
        since.sort_unstable();
        let late = since.first().and_then(|oldest| after(*oldest, TRASH_LATE));
        let batch = since.get(TRASH_BATCH - 1).and_then(|last| after(*last, TRASH_TIME));
        let too_many = (self.trash.len() > TRASH_MOST).then_some(Timestamp::UNIX_EPOCH);
        let free = self.versions.iter().enumerate().filter(|(_, version)| !self.protected(version.number));
        let aged = free.filter_map(|(at, version)| after(self.ended(at, version)?, keep.max_age?));
        [late, batch, too_many, stale].into_iter().flatten().chain(aged).min()
    }

    /// Drops a version: its write is remembered where a repeat may still come, its object goes to the trash.
    pub(super) fn drop_version(&mut self, number: u64, now: Timestamp) {
        let Some(at) = self.place(number) else { return };
        let before = at.checked_sub(1).and_then(|before| self.versions.get(before));
        let delta = before.filter(|version| version.body.is_delta()).map(|version| version.number);
        let whole = delta.map(|delta| self.whole(delta));
        self.bequeath(at);
        let version = self.versions.remove(at);
        if let Some(whole) = whole {
            self.fold(at - 1, whole);
        }
        self.remember(&version);
        if let Some(object) = version.body.object()
            && !self.names(&object.name)
        {
            self.trash.push(Trash { object: object.clone(), since: now, swept: false });
        }
    }

    fn remember(&mut self, version: &Version) {
        let Some(lock) = &version.lock else { return };
        let holds = self.lock.as_ref().is_some_and(|held| held.id == *lock);
        if !holds && self.released.last().is_none_or(|last| last.id != *lock) {
            return;
        }
        let sum = version.sha256.short();
        match self.thinned.iter_mut().find(|thinned| thinned.lock == *lock) {
            Some(thinned) => thinned.sums.push(sum),
            None => self.thinned.push(Thinned { lock: lock.clone(), sums: vec![sum] }),
        }
        let mut over =
            self.thinned.iter().map(|thinned| thinned.sums.len()).sum::<usize>().saturating_sub(THINNED_KEPT);
        for thinned in &mut self.thinned {
            let cut = over.min(thinned.sums.len());
            thinned.sums.drain(..cut);
            over -= cut;
        }
    }

    /// Inline versions that should move out, the oldest first. `hard`: all but the current one.
    pub(in crate::store) fn to_move_out(&self, limits: InlineLimits, hard: bool) -> Vec<Arc<Version>> {
        if !hard && self.inline_bytes() <= limits.most {
            return Vec::new();
        }
        let mut room = if hard { 0 } else { limits.kept };
        let older = self.versions.iter().rev().filter(|version| Some(version.number) != self.current);
        let mut moved: Vec<_> = older
            .filter_map(|version| Some((version, version.body.inline()?.size())))
            .filter(|(_, bytes)| match room.checked_sub(*bytes) {
                Some(rest) => {
                    room = rest;
                    false
                }
                None => {
                    room = 0;
                    true
                }
            })
            .map(|(version, _)| version.clone())
            .collect();
        moved.reverse();
        moved
    }

    /// Versions whose bytes now stand in objects of their own, the oldest first. Ones that went in the meantime are
    /// passed over, as is one that is the base of another still, and their objects are not named.
    pub(in crate::store) fn moved_out(&self, moved: &[(u64, Sha256Sum, ObjectRef)]) -> Step<Vec<ObjectRef>> {
        let mut head = self.next_revision();
        let mut named = Vec::new();
        for (number, sha256, object) in moved {
            let Some(at) = head.place(*number) else { continue };
            let same = head.versions.get(at).is_some_and(|v| v.sha256 == *sha256 && v.body.inline().is_some());
            let before = at.checked_sub(1).and_then(|before| head.versions.get(before));
            let base = before.is_some_and(|before| before.body.is_delta());
            if same && !base && !self.trashed(&object.name) {
                head.edit(*number, |version| version.body = Body::Object(object.clone()));
                named.push(object.clone());
            }
        }
        if named.is_empty() { Step::Same(named) } else { Step::Change(Box::new(head), named) }
    }

    /// Applies the limits. Answers how many versions went.
    pub(in crate::store) fn retained(&self, keep: &Retention, now: Timestamp) -> Step<usize> {
        let mut head = self.next_revision();
        if head.retain(keep, now) {
            let gone = self.versions.len() - head.versions.len();
            Step::Change(Box::new(head), gone)
        } else {
            Step::Same(0)
        }
    }

    /// Trash whose time has come: several objects at once, for each time is a change of the head.
    pub(in crate::store) fn due_trash(&self, now: Timestamp) -> Vec<ObjectRef> {
        let mut early = self.trash.len().saturating_sub(TRASH_MOST);
        let waited = |trash: &Trash| Duration::try_from(now.duration_since(trash.since)).unwrap_or_default();
        let worth_it = early > 0 || self.trash.iter().any(|trash| waited(trash) >= TRASH_LATE);
        let due = self.trash.iter().filter(|trash| {
            let hurry = early > 0 && !trash.swept;
            early -= usize::from(hurry);
            hurry || waited(trash) >= TRASH_TIME
        });
        let due: Vec<ObjectRef> = due.map(|trash| trash.object.clone()).collect();
        if worth_it || due.len() >= TRASH_BATCH { due } else { Vec::new() }
    }

    /// The trash without what was deleted.
    pub(in crate::store) fn emptied(&self, deleted: &[ObjectRef]) -> Step<()> {
        let mut head = self.next_revision();
        head.trash.retain(|trash| !deleted.contains(&trash.object));
        if head.trash.len() == self.trash.len() { Step::Same(()) } else { Step::Change(Box::new(head), ()) }
    }

    /// Objects that were found in the store and that no version names go to the trash.
    pub(in crate::store) fn swept(&self, found: &[ObjectRef], now: Timestamp) -> Step<Vec<ObjectRef>> {
        let lost = found.iter().filter(|object| !self.names(&object.name) && !self.trashed(&object.name));
        let room = TRASH_MOST.saturating_sub(self.trash.len());
        let lost: Vec<ObjectRef> = lost.take(room).cloned().collect();
        if lost.is_empty() {
            return Step::Same(lost);
        }
        let mut head = self.next_revision();
        head.trash.extend(lost.iter().map(|object| Trash { object: object.clone(), since: now, swept: true }));
        Step::Change(Box::new(head), lost)
    }
}
