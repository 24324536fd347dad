//! The head of a state: its lock, its current version and its history in one entry. Here: what it holds. How it reads
//! and writes is in `codec`, how it may change in `lock`, `write`, `keep` and `life`: pure functions, no store, no clock.

mod codec;
mod delta;
mod inline;
mod keep;
mod life;
mod lock;
mod packed;
mod patch;
mod step;
mod write;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(in crate::store) use codec::object_name_ok;
pub use codec::{FORMAT, HeadError, MAX_HEAD};
pub use inline::Inline;
pub(in crate::store) use keep::SWEEP_AGE;
pub use keep::{InlineLimits, Retention, TRASH_MOST};
pub use lock::{LockRequest, Unlock};
pub use packed::Versions;
pub use patch::{Patch, PatchLimits, Root};
pub use step::{Refusal, Step};
pub use write::{Anomaly, NewBody, WriteDone, WriteRequest};

use super::{Epoch, OpId, Redacted, Sha256Sum};

/// How many released locks are remembered.
pub const RELEASED_KEPT: usize = 16;
/// How many thinned writes are remembered, of all locks together.
pub const THINNED_KEPT: usize = 2_048;

/// Everything that decides what may happen to a state. Changed only by compare-and-swap on its entry, never deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    /// The format of this entry as it was read; [`FORMAT`] is written with the next change.
    pub format: u32,
    /// This life of the head.
    pub epoch: Epoch,
    /// Earlier lives that this one took the place of, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<Epoch>,
    /// Grows by one with every change (`status.headRevision`). Not the store's revision.
    pub revision: u64,
    /// Who has the path.
    pub owner: Owner,
    /// The lock, if one is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// The last released locks, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<Released>,
    /// Writes of the holder and of the last released lock whose versions are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thinned: Vec<Thinned>,
    /// The number that the next version gets. Numbers begin at 1 and are never used again.
    pub next: u64,
    /// The current version, if there is a state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// The versions that are kept, by number.
    #[serde(default, skip_serializing_if = "no_versions")]
    pub versions: Versions,
    /// Objects that the head no longer names and that are deleted later. Nothing may name one of them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trash: Vec<Trash>,
}

/// Who has a path, as the head repeats it from the owner entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owner {
    /// The installation of tofustate.
    pub instance: String,
    /// The resource's namespace.
    pub namespace: String,
    /// The resource's name.
    pub name: String,
    /// The claim this owner won; only a higher one takes over.
    pub claim: u64,
    /// The owner has given the path up: nothing changes until another claims it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

/// A held lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lock {
    /// The client's id of it.
    pub id: String,
    /// The client's LockInfo, byte for byte.
    pub info: String,
    /// Whose credential took it.
    pub identity: String,
    /// A salted hash of that credential, so that a rotated one may finish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Redacted<String>>,
    /// When it was granted, by the store's clock.
    pub since: Timestamp,
    /// When its holder last wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrote: Option<Timestamp>,
    /// The version that was current when it was granted: the state before the apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// The trace of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The operation that took it.
    pub op: OpId,
}

/// A lock that was released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Released {
    /// The client's id of it.
    pub id: String,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// Who released it.
    pub by: String,
    /// Not by its holder's own unlock.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// The operation that released it.
    pub op: OpId,
}

/// What is remembered of a lock's writes whose versions are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Thinned {
    /// The lock's id.
    pub lock: String,
    /// 16 bytes a write, the oldest first.
    #[serde(with = "codec::sums")]
    pub sums: Vec<super::ShortSum>,
}

/// One state version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Version {
    /// Its number.
    pub number: u64,
    /// When it was written, by the store's clock.
    pub time: Timestamp,
    /// Whose credential wrote it.
    pub identity: String,
    /// The lock it was written under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// The operation that wrote it.
    pub op: OpId,
    /// The state's serial.
    pub serial: u64,
    /// The state's lineage, cut at 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<String>,
    /// The version of the tool that made the state, cut at 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_version: Option<String>,
    /// Number of resources in the state; unknown for an encrypted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<u64>,
    /// The client encrypted the state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// Size of the state, in bytes.
    pub size: u64,
    /// Size as stored, in bytes; of a [`Body::Delta`], what it was before; of a
    /// [`Body::Patch`], its deltas.
    pub stored: u64,
    /// SHA-256 of the state.
    pub sha256: Sha256Sum,
    /// MD5 of the state in base64, as `Content-MD5` has it.
    pub md5: String,
    /// How the stored bytes are encoded.
    pub encoding: Encoding,
    /// Where the stored bytes are.
    pub body: Body,
    /// What was strange about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Anomaly>,
    /// The version it was copied from by a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<u64>,
    /// Set when a DELETE cleared it while it was current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deletion>,
}

/// How stored bytes are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Encoding {
    /// Zstandard, one frame.
    Zstd,
}

/// Where the stored bytes of a version are. `Debug` shows none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Body {
    /// In the head.
    Inline(Inline),
    /// In the head, as what differs from its base: the version after it, which stands there too.
    Delta(Inline),
    /// In an object of its own.
    Object(ObjectRef),
    /// In the head, as what differs from the version before it or from an object.
    Patch(Patch),
}

/// An object: the parts under its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRef {
    /// `<version>-<random>`.
    pub name: String,
    /// How many parts it has.
    pub parts: u32,
}

/// A DELETE that cleared a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// When, by the store's clock.
    pub at: Timestamp,
    /// Whose credential.
    pub by: String,
    /// The operation.
    pub op: OpId,
}

/// An object on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trash {
    /// The object.
    pub object: ObjectRef,
    /// Since when, by the store's clock.
    pub since: Timestamp,
    /// Found by the sweep, so that no head ever named it. An upload may still mean to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub swept: bool,
}

fn no_versions(versions: &Versions) -> bool {
    versions.is_empty()
}

impl Head {
    /// The head of a path that never had one.
    #[must_use]
    pub fn new(owner: Owner) -> Self {
        Self {
            format: FORMAT,
            epoch: Epoch::random(),
            supersedes: Vec::new(),
            revision: 1,
            owner,
            lock: None,
            released: Vec::new(),
            thinned: Vec::new(),
            next: 1,
            current: None,
            versions: Versions::default(),
            trash: Vec::new(),
        }
    }

    /// The version of that number, if it is kept.
    #[must_use]
    pub fn version(&self, number: u64) -> Option<&Arc<Version>> {
        self.place(number).and_then(|at| self.versions.get(at))
    }

    /// Where among the versions that one stands.
    fn place(&self, number: u64) -> Option<usize> {
        self.versions.binary_search_by_key(&number, |version| version.number).ok()
    }

    /// The current version, if there is a state.
    #[must_use]
    pub fn current(&self) -> Option<&Arc<Version>> {
        self.current.and_then(|number| self.version(number))
    }

    /// Whether a lock of that id was released a moment ago.
    #[must_use]
    pub fn recently_released(&self, id: &str) -> bool {
        !super::mutant::is("released-ids-forgotten") && self.released.iter().any(|released| released.id == id)
    }

    /// Whether some kept version's bytes are in that object.
    #[must_use]
    pub fn names(&self, object: &str) -> bool {
        self.versions.iter().any(|version| version.body.object().is_some_and(|at| at.name == object))
    }

    /// Whether that object is on its way out.
    #[must_use]
    pub fn trashed(&self, object: &str) -> bool {
        self.trash.iter().any(|trash| trash.object.name == object)
    }

    /// Stored bytes that stand in the head itself.
    #[must_use]
    pub fn inline_bytes(&self) -> u64 {
        self.versions.iter().filter_map(|version| version.body.inline()).map(Inline::size).sum()
    }

    /// This head changed: one revision on.
    fn next_revision(&self) -> Self {
        let mut head = self.clone();
        head.format = FORMAT;
        head.revision += 1;
        head
    }
}

impl Body {
    /// The object that the bytes are in or hang on, if this names one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectRef> {
        match self {
            Self::Inline(_) | Self::Delta(_) => None,
            Self::Object(object) => Some(object),
            Self::Patch(_) if super::mutant::is("root-deleted-while-needed") => None,
            Self::Patch(patch) => patch.root.as_ref().map(|root| &root.object),
        }
    }

    /// The patch, if it is one.
    #[must_use]
    pub fn patch(&self) -> Option<&Patch> {
        match self {
            Self::Patch(patch) => Some(patch),
            Self::Inline(_) | Self::Delta(_) | Self::Object(_) => None,
        }
    }

    /// Whether the bytes are told by those of the version after it.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        matches!(self, Self::Delta(_))
    }

    /// What stands in the head, if the bytes do and need no object.
    #[must_use]
    pub fn inline(&self) -> Option<&Inline> {
        match self {
            Self::Inline(inline) | Self::Delta(inline) => Some(inline),
            Self::Object(_) | Self::Patch(_) => None,
        }
    }
}

impl Owner {
    /// Whether both are the same resource of the same installation, whatever the claim.
    #[must_use]
    pub fn same_resource(&self, other: &Self) -> bool {
        self.instance == other.instance && self.namespace == other.namespace && self.name == other.name
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { instance, namespace, name, claim, released } = self;
        let state = if *released { ", released" } else { "" };
        write!(f, "{namespace}/{name} of instance {instance} (claim {claim}{state})")
    }
}

#[cfg(test)]
mod tests;
