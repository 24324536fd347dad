//! What must be true of everything that lands in the store, whatever engines did: judged head by head.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tofustate::store::{
    Head, Sha256Sum, StatePath,
    head::{Body, Lock, ObjectRef},
    keys,
};

use crate::world::{PATH, Stored};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

pub struct Landed {
    pub head: Arc<Head>,
}

#[derive(Default)]
pub struct Oracle {
    /// Every head that was ever in the store, in order.
    pub log: Vec<Landed>,
    pub violations: Vec<String>,
    /// A head may be made where none is: at first, and after a person's word.
    pub may_create: bool,
    /// The owner is deleting the path: versions and objects may go at once.
    pub deleting: bool,
    /// How often the bytes of a write may become a version: once under a lock, once an attempt without.
    pub allowed: HashMap<Sha256Sum, u32>,
    written: HashMap<Sha256Sum, u32>,
    /// The largest version number that was ever given, also in a life that was set back: engines had seen it.
    last_number: u64,
    released: VecDeque<String>,
    /// Locks that somebody asked to break.
    pub breaking: HashSet<String>,
    /// Since when each object that a head named is on its way out.
    trashed: HashMap<String, Timestamp>,
    named: HashSet<String>,
}

impl Oracle {
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// The store was set back: what landed before is no measure any more.
    pub fn restored(&mut self, head: Option<Arc<Head>>) {
        self.released.clear();
        self.named.clear();
        self.trashed.clear();
        if let Some(head) = head {
            self.released.extend(head.released.iter().map(|released| released.id.clone()));
            self.log.push(Landed { head });
        }
    }

    pub fn head_lands(
        &mut self,
        before: Option<Arc<Head>>,
        after: Arc<Head>,
        claim: u64,
        now: Timestamp,
        entries: &BTreeMap<String, Stored>,
    ) {
        match &before {
            None if !self.may_create => self.violation("a head was made where one was lost".to_owned()),
            None => self.may_create = false,
            Some(before) => {
                self.counters(before, &after, claim);
                self.lock(before, &after, now);
                self.versions(before, &after);
                self.trash(before, &after, now, entries);
                self.named.extend(objects(before).into_iter().map(|object| object.name));
            }
        }
        let needed = objects(&after);
        for object in &needed {
            if !whole(object, entries) {
                self.violation(format!("head {} names {} whose parts are not all there", after.revision, object.name));
            }
        }
        for trash in &after.trash {
            if needed.contains(&trash.object) {
                self.violation(format!("{} is named and in the trash", trash.object.name));
            }
        }
        self.log.push(Landed { head: after });
    }

    fn counters(&mut self, before: &Head, after: &Head, claim: u64) {
        if after.epoch == before.epoch {
            if after.revision != before.revision + 1 {
                self.violation(format!("revision {} follows {}", after.revision, before.revision));
            }
        } else if !after.supersedes.contains(&before.epoch) {
            self.violation("a new epoch that does not name the one before".to_owned());
        }
        if after.next < before.next {
            self.violation(format!("the next version went from {} to {}", before.next, after.next));
        }
        if after.owner == before.owner && after.owner.claim != claim {
            self.violation(format!("claim {claim} wrote a head of claim {}", after.owner.claim));
        }
        if after.owner.claim < before.owner.claim {
            self.violation(format!("claim {} took over from {}", after.owner.claim, before.owner.claim));
        }
    }

    fn lock(&mut self, before: &Head, after: &Head, now: Timestamp) {
        match (&before.lock, &after.lock) {
            (Some(old), Some(new)) if old.id != new.id => {
                self.violation(format!("lock {} was given away to {} while held", old.id, new.id));
            }
            (Some(old), Some(new)) if *new != (Lock { wrote: new.wrote, ..old.clone() }) => {
                self.violation(format!("lock {old:?} became {new:?} while held"));
            }
            (None, Some(new)) if new.base != before.current => {
                self.violation(format!("a lock took {:?} for the version before the apply", new.base));
            }
            (Some(old), None) => {
                match after.released.last().filter(|last| last.id == old.id) {
                    None => self.violation(format!("lock {} went without being remembered", old.id)),
                    // Each client has an identity of its own.
                    Some(last) if !last.forced && last.by != old.identity => {
                        self.violation(format!("lock {} of {} was released by {}", old.id, old.identity, last.by));
                    }
                    Some(last) if last.forced && !self.breaking.contains(&old.id) && old.quiet(now) <= MINUTE => {
                        self.violation(format!("lock {} was broken after {:?}, unasked", old.id, old.quiet(now)));
                    }
                    Some(_) => {}
                }
                self.released.push_back(old.id.clone());
                if self.released.len() > 16 {
                    self.released.pop_front();
                }
            }
            (None, Some(new)) if self.released.contains(&new.id) => {
                self.violation(format!("lock {} was granted again after its release: a ghost", new.id));
            }
            _ => {}
        }
    }

    fn versions(&mut self, before: &Head, after: &Head) {
        let new: Vec<_> = after.versions.iter().filter(|version| before.version(version.number).is_none()).collect();
        for version in &new {
            if version.number < before.next || version.number <= self.last_number {
                self.violation(format!("version number {} was used again", version.number));
            }
            self.last_number = self.last_number.max(version.number);
            let holder = before.lock.as_ref().map(|lock| lock.id.clone());
            if version.lock != holder {
                self.violation(format!("a write under {:?} landed while {holder:?} held the lock", version.lock));
            }
            if version.copy_of.is_none() {
                let count = self.written.entry(version.sha256).or_default();
                *count += 1;
                let (count, allowed) = (*count, self.allowed.get(&version.sha256).copied().unwrap_or(0));
                if count > allowed {
                    let mut of = self.log.iter().flat_map(|landed| &landed.head.versions);
                    let first = of.find(|earlier| earlier.sha256 == version.sha256);
                    let what = format!("{count} times, {allowed} allowed: {version:?}, first as {first:?}");
                    self.violation(format!("one write landed {what}"));
                }
            }
        }
        if new.is_empty() && after.current != before.current && after.current.is_some() {
            self.violation("another version became current without being written".to_owned());
        }
        if let (Some(lock), Some(number), None) = (&before.lock, before.current, after.current) {
            self.violation(format!("version {number} was cleared while {} held the lock", lock.id));
        }
        let base = after.lock.as_ref().and_then(|lock| lock.base);
        let kept = [base, after.current];
        for number in kept.into_iter().flatten() {
            if before.version(number).is_some() && after.version(number).is_none() && !self.deleting {
                self.violation(format!(
                    "version {number} was dropped although it is current or the one before the apply"
                ));
            }
        }
    }

    fn trash(&mut self, before: &Head, after: &Head, now: Timestamp, entries: &BTreeMap<String, Stored>) {
        let path = StatePath::parse(PATH).unwrap();
        for trash in after.trash.iter().filter(|trash| !before.trashed(&trash.object.name)) {
            let object = &trash.object;
            self.trashed.insert(object.name.clone(), trash.since);
            let young = (0..object.parts).filter_map(|index| entries.get(&keys::part(&path, &object.name, index)));
            let young = young.filter(|part| since(part.created, now) < HOUR).count();
            if !before.names(&object.name) && young > 0 {
                self.violation(format!("{} was swept with {young} parts younger than an hour", object.name));
            }
        }
    }

    pub fn part_deleted(&mut self, key: &str, now: Timestamp) {
        let path = StatePath::parse(PATH).unwrap();
        let (object, _) = keys::parse_part(&path, key).expect("parts of this path only");
        if self.log.last().is_some_and(|landed| objects(&landed.head).iter().any(|needed| needed.name == object)) {
            self.violation(format!("a part of {object} was deleted while the head names it"));
        }
        let out = self.trashed.get(object).map(|then| since(*then, now));
        if self.named.contains(object) && out.is_none_or(|out| out < HOUR) && !self.deleting {
            self.violation(format!("a part of {object} was deleted {out:?} after it went to the trash"));
        }
    }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// What the versions need, by the oracle's own reckoning.
fn objects(head: &Head) -> HashSet<ObjectRef> {
    let of = |body: &Body| match body {
        Body::Inline(_) | Body::Delta(_) => None,
        Body::Object(object) => Some(object.clone()),
        Body::Patch(patch) => patch.root.as_ref().map(|root| root.object.clone()),
    };
    head.versions.iter().filter_map(|version| of(&version.body)).collect()
}

fn whole(object: &ObjectRef, entries: &BTreeMap<String, Stored>) -> bool {
    let path = StatePath::parse(PATH).unwrap();
    (0..object.parts).all(|index| entries.contains_key(&keys::part(&path, &object.name, index)))
}
