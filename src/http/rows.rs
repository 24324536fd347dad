//! States as they are listed: by the admin listener, `tofustate states` and the table.

use serde::{Deserialize, Serialize};

use crate::{
    registry::Backend,
    store::{Head, LockInfo, StateError},
};

/// A state in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateRow {
    /// The path.
    pub path: String,
    /// The resource that registers it, `<namespace>/<name>`.
    pub resource: String,
    /// The lock, if one is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockRow>,
    /// The current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The serial of the current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How many versions are kept.
    pub versions: usize,
    /// When it was written, RFC 3339, by the store's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Why the head cannot be read, where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A held lock in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockRow {
    /// The lock's id.
    pub id: String,
    /// Who the client said it is.
    pub who: String,
    /// Whose credential took it.
    pub identity: String,
    /// What the client said it does.
    pub operation: String,
    /// Since when, RFC 3339, by the store's clock.
    pub since: String,
}

impl StateRow {
    /// The row of a backend whose head was read, or could not be.
    #[must_use]
    pub fn new(backend: &Backend, head: Result<&Head, &StateError>) -> Self {
        let found = head.ok();
        let current = found.and_then(Head::current);
        Self {
            path: backend.path().to_string(),
            resource: backend.resource.to_string(),
            lock: found.and_then(|head| head.lock.as_ref()).map(|lock| {
                let info = LockInfo::parse(lock.info.as_bytes()).unwrap_or_default();
                LockRow {
                    id: lock.id.clone(),
                    who: info.who,
                    identity: lock.identity.clone(),
                    operation: info.operation,
                    since: lock.since.to_string(),
                }
            }),
            version: current.map(|version| version.number),
            serial: current.map(|version| version.serial),
            size: current.map(|version| version.size),
            versions: found.map_or(0, |head| head.versions.len()),
            modified: current.map(|version| version.time.to_string()),
            error: head.err().map(ToString::to_string),
        }
    }
}
