//! POST, DELETE and rollback as transitions of the head.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Body, Deletion, Encoding, Head, Patch, Refusal, Retention, Step, Version};
use crate::store::{OpId, Sha256Sum, StateFacts, mutant};

/// A write that is whole and checked, and whose parts are stored.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// The lock id that the client gave.
    pub lock: Option<String>,
    /// Whose credential writes.
    pub identity: String,
    /// What the body says of itself.
    pub facts: StateFacts,
    /// Size of the body in bytes.
    pub size: u64,
    /// SHA-256 of the body.
    pub sha256: Sha256Sum,
    /// MD5 of the body in base64.
    pub md5: String,
    /// Where its stored bytes are; `None` where the body was only hashed, since it could only be a repeat.
    pub body: Option<NewBody>,
    /// The resource takes writes under a lock only.
    pub lock_required: bool,
    /// Version numbers that earlier attempts of this operation may have made.
    pub tried: Vec<u64>,
}

/// The stored bytes of a write.
#[derive(Clone, Debug)]
pub struct NewBody {
    /// Where they are.
    pub body: Body,
    /// How many.
    pub stored: u64,
    /// Of a [`Body::Patch`], the version that it is of: it has to be the newest still.
    pub of: Option<(u64, Sha256Sum)>,
}

/// What a write came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteDone {
    /// The version that holds the bytes; `None` where it is gone by now (a late repeat).
    pub version: Option<u64>,
    /// The bytes were written before: nothing changed.
    pub repeated: bool,
    /// What was strange about it.
    pub anomalies: Vec<Anomaly>,
}

/// What is strange about a write that is accepted all the same: migration and `state push -force` do these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Anomaly {
    /// The serial is lower than the one before.
    SerialLower,
    /// The serial is the same and the bytes differ.
    SerialEqual,
    /// The serial is more than one above the one before.
    SerialGap,
    /// The lineage is another.
    LineageChanged,
}

impl Anomaly {
    /// The name, as in metrics and Events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SerialLower => "SerialLower",
            Self::SerialEqual => "SerialEqual",
            Self::SerialGap => "SerialGap",
            Self::LineageChanged => "LineageChanged",
        }
    }
}

impl Head {
    /// Makes the bytes the current version. Repeats are judged first, then conflicts.
    pub(in crate::store) fn written(
        &self,
        ask: &WriteRequest,
        op: OpId,
        keep: &Retention,
        now: Timestamp,
    ) -> Result<Step<WriteDone>, Refusal> {
        if let Some(version) = self.repeat_of(ask, op) {
            return Ok(Step::Same(WriteDone { version, repeated: true, anomalies: Vec::new() }));
        }
        if ask.tried.iter().any(|number| *number < self.next && self.version(*number).is_none()) {
            return Err(Refusal::Unknown);
        }
        match (&self.lock, &ask.lock) {
            (Some(lock), Some(id)) if lock.id == *id => {}
            (Some(lock), _) => return Err(Refusal::Held(Box::new(lock.clone()))),
            (None, Some(id)) => return Err(Refusal::LockGone { id: id.clone() }),
            (None, None) if ask.lock_required => return Err(Refusal::LockRequired),
            (None, None) => {}
        }
        let Some(NewBody { body, stored, of }) = ask.body.clone() else {
            return Err(Refusal::NotKept);
        };
        if body.object().is_some_and(|object| self.trashed(&object.name)) {
            return Err(Refusal::ObjectTrashed);
        }
        let newest = self.versions.last().map(|newest| (newest.number, newest.sha256));
        if of.is_some() && of != newest {
            return Err(Refusal::NotNewest);
        }
        let anomalies = self.anomalies(ask);
        let number = self.next;
        let mut head = self.next_revision();
        head.add(Version {
            number,
            time: now,
            identity: ask.identity.clone(),
            lock: ask.lock.clone(),
            op,
            serial: ask.facts.serial,
            lineage: ask.facts.lineage.clone(),
            tool_version: ask.facts.tool_version.clone(),
            resources: ask.facts.resources,
            encrypted: ask.facts.encrypted,
            size: ask.size,
            stored,
            sha256: ask.sha256,
            md5: ask.md5.clone(),
            encoding: Encoding::Zstd,
            body,
            anomalies: anomalies.clone(),
            copy_of: None,
            deleted: None,
        });
        if let Some(lock) = &mut head.lock {
            lock.wrote = Some(now);
        }
        head.retain(keep, now);
        Step::change(head, WriteDone { version: Some(number), repeated: false, anomalies })
    }

    /// Whether this write was done before: by this operation, or as the same bytes under the same lock. `Some(None)`
    /// where the version is gone by now.
    fn repeat_of(&self, ask: &WriteRequest, op: OpId) -> Option<Option<u64>> {
        let own = self.versions.iter().find(|version| version.op == op && !mutant::is("no-operation-id"));
        if let Some(version) = own {
            return Some(Some(version.number));
        }
        let Some(id) = &ask.lock else {
            // Without an ID only the current version counts; under a lock only if it was written without one.
            let same = self.current().filter(|version| version.sha256 == ask.sha256);
            return same
                .filter(|version| version.lock.is_none() || self.lock.is_none())
                .map(|version| Some(version.number));
        };
        let by_lock = |version: &&Arc<Version>| version.lock.as_ref() == Some(id) && version.sha256 == ask.sha256;
        if let Some(version) = self.versions.iter().rev().find(by_lock) {
            return Some(Some(version.number));
        }
        let thinned = self.thinned.iter().find(|thinned| thinned.lock == *id)?;
        thinned.sums.contains(&ask.sha256.short()).then_some(None)
    }

    fn anomalies(&self, ask: &WriteRequest) -> Vec<Anomaly> {
        let Some(before) = self.current() else { return Vec::new() };
        let (serial, old) = (ask.facts.serial, before.serial);
        let mut found = Vec::new();
        if serial < old {
            found.push(Anomaly::SerialLower);
        } else if serial == old && ask.sha256 != before.sha256 {
            found.push(Anomaly::SerialEqual);
        } else if serial > old.saturating_add(1) {
            found.push(Anomaly::SerialGap);
        }
        if ask.facts.lineage != before.lineage {
            found.push(Anomaly::LineageChanged);
        }
        found
    }

    fn add(&mut self, version: Version) {
        self.current = Some(version.number);
        self.next = version.number + 1;
        self.versions.push(Arc::new(version));
        if let Some(before) = self.versions.len().checked_sub(2) {
            self.fold(before, None);
        }
    }

    /// Clears the current version; everything else stays. Answers the version that was cleared.
    ///
    /// `tried`: versions that earlier attempts of this operation may have cleared. Where one is current no more, the
    /// operation is done, whoever did it.
    pub(in crate::store) fn cleared(
        &self,
        tried: &[u64],
        by: &str,
        op: OpId,
        now: Timestamp,
    ) -> Result<Step<Option<u64>>, Refusal> {
        if let Some(done) = tried.iter().find(|number| Some(**number) != self.current) {
            return Ok(Step::Same(Some(*done)));
        }
        if let Some(lock) = &self.lock {
            return Err(Refusal::Held(Box::new(lock.clone())));
        }
        let Some(number) = self.current else { return Ok(Step::Same(None)) };
        let mut head = self.next_revision();
        head.current = None;
        head.edit(number, |version| version.deleted = Some(Deletion { at: now, by: by.to_owned(), op }));
        Step::change(head, Some(number))
    }

    /// Copies version `target` forward, if `expected` is current. Answers the new version's number.
    pub(in crate::store) fn rolled_back(
        &self,
        target: u64,
        expected: Option<u64>,
        by: &str,
        op: OpId,
        keep: &Retention,
        now: Timestamp,
    ) -> Result<Step<u64>, Refusal> {
        if let Some(done) = self.versions.iter().find(|version| version.op == op) {
            return Ok(Step::Same(done.number));
        }
        if let Some(lock) = &self.lock {
            return Err(Refusal::Held(Box::new(lock.clone())));
        }
        if self.current != expected {
            return Err(Refusal::StaleCurrent { current: self.current });
        }
        let source = self.version(target).ok_or(Refusal::NoSuchVersion { version: target })?;
        let body = match &source.body {
            Body::Delta(_) => self.alone(target).map(Body::Inline),
            Body::Patch(_) => self.traced(target).map(|(root, deltas)| Body::Patch(Patch { root: Some(root), deltas })),
            body => Some(body.clone()),
        };
        let body = body.ok_or(Refusal::Unreadable { version: target })?;
        let stored = body.patch().map_or(source.stored, Patch::size);
        let number = self.next;
        let copy = Version {
            number,
            time: now,
            identity: by.to_owned(),
            lock: None,
            op,
            anomalies: Vec::new(),
            copy_of: Some(target),
            deleted: None,
            stored,
            body,
            ..Version::clone(source)
        };
        let mut head = self.next_revision();
        head.add(copy);
        head.retain(keep, now);
        Step::change(head, number)
    }

    /// Changes one version of this head.
    pub(super) fn edit(&mut self, number: u64, change: impl FnOnce(&mut Version)) {
        if let Ok(at) = self.versions.binary_search_by_key(&number, |version| version.number)
            && let Some(version) = self.versions.get_mut(at)
        {
            change(Arc::make_mut(version));
        }
    }
}
