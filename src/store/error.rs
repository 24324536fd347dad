//! Why an operation on a state did not succeed. The category is the variant, never the text.

use std::time::Duration;

use super::{
    BodyError, Epoch, KvError, LockInfoError, StatePath,
    head::{HeadError, Lock, Refusal},
};

/// Why an operation on a state did not succeed. Nothing of the state's content is ever in a message.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StateError {
    /// The head does not allow it: a conflict, or a foreign owner.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The body is no state.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The LOCK or UNLOCK body is no LockInfo.
    #[error(transparent)]
    LockInfo(#[from] LockInfoError),
    /// The body is over `maxSize`.
    #[error("the state is larger than {limit} bytes, the limit of this path; raise spec.maxSize, or split the state")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// `Content-MD5` is no base64 of 16 bytes.
    #[error("Content-MD5 is not the base64 form of an MD5; nothing was stored")]
    BadMd5,
    /// The body is not the one that `Content-MD5` was made from.
    #[error("the body does not match its Content-MD5: it was damaged on its way; nothing was stored, send it again")]
    Md5Mismatch,
    /// The body ended before the length that was announced.
    #[error("the body has {found} bytes and {announced} were announced: it was cut on its way; nothing was stored")]
    CutShort {
        /// Bytes that came.
        found: u64,
        /// Bytes that were announced.
        announced: u64,
    },
    /// The entry at the path is no head that this release may touch.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The path was never registered here: there is no head.
    #[error("this path has no head in the store: it was not registered yet")]
    NotRegistered,
    /// The head that was seen before is gone from the store.
    #[error(
        "the head of this state (epoch {epoch}) is gone from the store: restore it from a backup, or accept an empty state (tofustate.io/accept-empty: {epoch} on the resource; standalone: start once with --accept-restore)"
    )]
    HeadLost {
        /// The epoch of the head that was seen.
        epoch: Epoch,
    },
    /// The head is older than one that was seen before: the store was set back.
    #[error(
        "the head in the store (epoch {found_epoch}, revision {found}) is behind the one seen before (epoch {epoch}, revision {seen}): the store was restored from an older copy; accept it (tofustate.io/accept-restore: {epoch} on the resource; standalone: start once with --accept-restore)"
    )]
    HeadBehind {
        /// The epoch that was seen.
        epoch: Epoch,
        /// The revision that was seen.
        seen: u64,
        /// The epoch that is there.
        found_epoch: Epoch,
        /// The revision that is there.
        found: u64,
    },
    /// The epoch that a person named is not the one that was lost.
    #[error("epoch {named} was to be accepted, but the epoch that was seen last is {}", .seen.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string()))]
    WrongEpoch {
        /// What was named.
        named: Epoch,
        /// What was seen.
        seen: Option<Epoch>,
    },
    /// Nothing is wrong with the head: there is nothing to accept.
    #[error("the head is there and not behind: there is nothing to accept")]
    NothingToAccept,
    /// The stored bytes of a version are damaged, missing or another's.
    #[error(
        "version {version} cannot be read: {fault}; older versions may be readable: roll back to one, or restore the store"
    )]
    DamagedVersion {
        /// The version's number.
        version: u64,
        /// What was found.
        fault: String,
    },
    /// There is no such version.
    #[error("version {0} is not kept any more, or never was")]
    NoSuchVersion(u64),
    /// The store did not answer in the time that a request has.
    #[error("{doing}: {message}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What was seen last.
        message: String,
        /// How long the store asked to wait.
        retry_after: Option<Duration>,
    },
    /// The store answered that it will not.
    #[error("{doing}: {error}")]
    Store {
        /// What was being done.
        doing: &'static str,
        /// The answer.
        error: KvError,
    },
    /// Other requests of this path, or other uploads, took all the time.
    #[error("{doing}: other requests took all of this one's time; try again")]
    Busy {
        /// What was being waited for.
        doing: &'static str,
    },
    /// An upload took longer than its parts are safe.
    #[error("the upload took over 30 minutes; nothing was stored, send it again")]
    UploadTooSlow,
    /// A fault of ours.
    #[error("{doing}: {fault}; this is a fault of tofustate, please report it")]
    Internal {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        fault: String,
    },
}

impl StateError {
    /// The lock that is in the way, if one is.
    #[must_use]
    pub fn holder(&self) -> Option<&Lock> {
        match self {
            Self::Refused(refusal) => refusal.holder(),
            _ => None,
        }
    }

    /// One line where a person may have to act; conflicts and bad bodies are their client's affair.
    pub(super) fn log(&self, operation: &'static str, path: &StatePath) {
        match self.kind() {
            "locked" | "refused" | "bad_body" | "too_large" | "not_found" => {
                tracing::debug!(%path, operation, error = %self, "refused");
            }
            _ => tracing::warn!(%path, operation, error = %self, "failed"),
        }
    }

    /// The kind of outcome, as metrics have it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Held(_)) => "locked",
            Self::Refused(Refusal::ForeignOwner(_)) => "foreign_owner",
            Self::Refused(Refusal::HeadFull { .. }) => "head_full",
            Self::Refused(Refusal::Unknown) => "unknown",
            Self::Refused(Refusal::ObjectTrashed) => "too_slow",
            Self::Refused(_) => "refused",
            Self::Body(_) | Self::LockInfo(_) | Self::BadMd5 | Self::Md5Mismatch | Self::CutShort { .. } => "bad_body",
            Self::TooLarge { .. } => "too_large",
            Self::Head(_) | Self::DamagedVersion { .. } => "damaged",
            Self::NotRegistered | Self::NoSuchVersion(_) | Self::WrongEpoch { .. } | Self::NothingToAccept => {
                "not_found"
            }
            Self::HeadLost { .. } => "head_lost",
            Self::HeadBehind { .. } => "head_behind",
            Self::Unavailable { .. } | Self::Busy { .. } => "unavailable",
            Self::Store { .. } => "store",
            Self::UploadTooSlow => "too_slow",
            Self::Internal { .. } => "internal",
        }
    }
}
