//! What a transition answers: a changed head, the same head, or a refusal.

use super::{Head, Lock, Owner};

/// What a transition decided.
#[derive(Clone, Debug)]
pub enum Step<T> {
    /// The head has to become this one; then `T` is true.
    Change(Box<Head>, T),
    /// `T` is true already: nothing changes.
    Same(T),
}

/// Why a transition may not happen. The head stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another lock is held, or the call is not the holder's.
    // Ids are a client's: as they stand in a sentence and a log line, nothing in them ends a line.
    #[error("the state is locked by {} (lock {})", .0.identity, .0.id.escape_debug())]
    Held(Box<Lock>),
    /// The call names a lock, and none is held.
    #[error("lock {} is not held any more: it was released or broken; plan again", .id.escape_debug())]
    LockGone {
        /// The id that was named.
        id: String,
    },
    /// A LOCK with an id that was released a moment ago: a late repeat.
    #[error("lock {} was released a moment ago; this looks like a late repeat of its LOCK: take a new lock", .id.escape_debug())]
    LateRepeat {
        /// The id.
        id: String,
    },
    /// An UNLOCK of an id that is neither held nor was released lately.
    #[error("lock {} is not known: it is not held and was not released lately; was the state unlocked by another?", .id.escape_debug())]
    NeverHeld {
        /// The id that was named.
        id: String,
    },
    /// The resource asks for a lock on each write.
    #[error("this state takes writes under a lock only (spec.lock.required); do not use -lock=false")]
    LockRequired,
    /// A rollback names another current version than there is.
    #[error("the current version is {}, not the one that the request names; look again and ask anew", Self::number(*.current))]
    StaleCurrent {
        /// The current version.
        current: Option<u64>,
    },
    /// A rollback names a version that is not kept.
    #[error("version {version} is not kept any more, or never was")]
    NoSuchVersion {
        /// The version.
        version: u64,
    },
    /// A rollback names a version whose bytes are damaged.
    #[error("version {version} cannot be read: its bytes in the head, or those of a later version, are damaged")]
    Unreadable {
        /// The version.
        version: u64,
    },
    /// The body was only hashed, since it could only be a repeat when it came; by now it could be a write.
    #[error("the lock changed while the state was being sent; send it again")]
    NotKept,
    /// The object was swept before its head could name it.
    #[error("the upload took so long that its parts were swept; send it again")]
    ObjectTrashed,
    /// What a write was told from is not the newest version any more.
    #[error("another version came in between; send it again")]
    NotNewest,
    /// The write may have happened; its version is gone from the history by now.
    #[error(
        "whether the write happened cannot be told any more: many others came after it; read the state before writing"
    )]
    Unknown,
    /// The owner of the path is another resource, or the path was released.
    #[error("the path belongs to {0}")]
    ForeignOwner(Box<Owner>),
    /// No room in the head.
    #[error(
        "the history of this state does not fit its head any more ({bytes} bytes); lower spec.retention.maxVersions, and look in the log whether old parts cannot be deleted"
    )]
    HeadFull {
        /// What the head would take.
        bytes: usize,
    },
}

impl Refusal {
    fn number(current: Option<u64>) -> String {
        current.map_or_else(|| "none".to_owned(), |number| number.to_string())
    }

    /// The lock that is in the way, if one is.
    #[must_use]
    pub fn holder(&self) -> Option<&Lock> {
        match self {
            Self::Held(lock) => Some(lock),
            _ => None,
        }
    }
}

impl<T> Step<T> {
    /// The changed head, one revision on.
    pub(super) fn change(head: Head, done: T) -> Result<Self, Refusal> {
        Ok(Self::Change(Box::new(head), done))
    }
}
