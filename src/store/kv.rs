//! The one small trait that every store implements, and its errors. No locks, versions or compression: those live above
//! it and are written once.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

/// A number that a store gives to each write of a key. Only ever compared for equality with what was read; a store that
/// was restored or re-created may use a number again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision(pub u64);

/// What must be true of the key for a [`Kv::put`] to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no entry.
    Absent,
    /// The entry is there at this revision.
    At(Revision),
}

/// What an entry holds. `Debug` shows sizes, no content.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A head or an owner entry: one JSON text.
    Document(Arc<str>),
    /// A piece of one state version.
    Part(Part),
    /// Something that tofustate did not write: never parsed, never overwritten. The text says what was seen (names of
    /// fields, no values).
    Foreign(String),
    /// Something was there and was deleted, which is not "nothing": never overwritten. The text says what was seen.
    Deleted(String),
}

/// A piece of one state version: compressed bytes, and what they are. `Debug` shows how many.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// What the bytes are said to be; kept beside them.
    pub label: PartLabel,
    /// The bytes.
    pub bytes: Bytes,
}

/// What a part says of itself, so that a part in the wrong place is found out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PartLabel {
    /// SHA-256 of the part's bytes, in lower-case hex.
    pub sha256: String,
    /// The state's path.
    pub path: String,
    /// The object's name, `<version>-<random>`.
    pub object: String,
    /// Place in the object, from 0.
    pub index: u32,
}

/// An entry as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it holds.
    pub value: Value,
    /// Its revision, for the next [`Expect::At`].
    pub revision: Revision,
}

/// A part's key as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The whole key.
    pub key: String,
    /// When it was written, by the store's clock.
    pub created: Timestamp,
}

/// Why a call on the store did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KvError {
    /// The condition of a put did not hold, and nothing was written by this call: an implementation that tried several
    /// times answers [`KvError::Other`] where an earlier try of the same call may have been the one.
    #[error("the entry changed since it was read")]
    CasMismatch,
    /// The store takes no entry this large. Nothing was written.
    #[error("the entry is larger than the store takes: {0}")]
    TooLarge(String),
    /// The store refused the credential or the right. Nothing was written.
    #[error("the store refused access: {0}")]
    Denied(String),
    /// The store is away, sealed, overloaded or full, or the answer was lost. A put may or may not have happened.
    #[error("the store is not available: {message}")]
    Unavailable {
        /// How long the store asked to wait.
        retry_after: Option<Duration>,
        /// What was seen and what to do.
        message: String,
    },
    /// The place where entries are kept (a mount, a namespace) is gone. Nothing was written.
    #[error("the place where states are kept is gone: {0}")]
    Gone(String),
    /// Nothing was asked: the path cannot be used yet, for the reason that is given. Nothing was written.
    #[error("this path cannot be used yet: {0}")]
    Closed(String),
    /// Anything else. A put may or may not have happened.
    #[error("the store failed: {0}")]
    Other(String),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(text) => write!(f, "Document({} bytes)", text.len()),
            Self::Part(part) => part.fmt(f),
            Self::Foreign(what) => f.debug_tuple("Foreign").field(what).finish(),
            Self::Deleted(what) => f.debug_tuple("Deleted").field(what).finish(),
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, bytes } = self;
        f.debug_struct("Part").field("label", label).field("bytes", &bytes.len()).finish()
    }
}

impl KvError {
    /// The kind, as metrics have it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CasMismatch => "cas_mismatch",
            Self::TooLarge(_) => "too_large",
            Self::Denied(_) => "denied",
            Self::Unavailable { .. } => "unavailable",
            Self::Gone(_) => "gone",
            Self::Closed(_) => "closed",
            Self::Other(_) => "other",
        }
    }

    /// Whether a put that failed so may have happened all the same, now or later.
    #[must_use]
    pub fn ambiguous(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Other(_))
    }
}

/// A store: entries under keys, changed by compare-and-swap. Every call is durable before it answers and linearizable
/// for a key. Implementations: `EmbeddedKv` here, OpenBao KV v2 in `src/openbao`.
#[async_trait]
pub trait Kv: Send + Sync {
    /// Reads an entry. `None` only when the store is sure that there is none: a missing mount is [`KvError::Gone`].
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError>;

    /// Writes an entry if `expect` holds, and returns its new revision.
    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError>;

    /// Deletes a part for good; deleting what is not there succeeds. Refuses a key outside `.versions/` with
    /// [`KvError::Denied`]: heads and owner entries are never deleted.
    async fn delete_part(&self, key: &str) -> Result<(), KvError>;

    /// All parts whose key starts with `prefix` (which ends in `/`), in any order.
    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError>;

    /// The store's clock, as well as it is known here.
    fn now(&self) -> Timestamp;

    /// The most bytes (before any encoding of the store's own) that one part may hold.
    fn part_bytes(&self) -> usize;

    /// A number that changes whenever what was read before may not be built upon, such as another active node, or a store
    /// that was set back, where that can be told. Cached heads of another generation are dropped, and an upload looks
    /// whether its parts are still there.
    fn generation(&self) -> u64 {
        0
    }

    /// Whether only this process writes to the store: then the head that it saw last is the one that there is.
    fn exclusive(&self) -> bool {
        false
    }
}
