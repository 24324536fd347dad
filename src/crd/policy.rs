//! The parts of the spec that say how versions are kept and how locks behave. Nothing here acts on them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{duration::MAX_DURATION, quantity::MAX_QUANTITY, rules};

/// Which versions of the state are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// How many versions are kept, the current one included; 1 to 200. When there are more, the oldest are deleted in
    /// the background. Of the snapshots that one long apply writes, all but the last are thinned out before any older
    /// version goes. Default: 20.
    #[serde(default = "default_max_versions")]
    #[schemars(range(min = 1, max = 200))]
    pub max_versions: i32,

    /// How many bytes all kept versions may take together, as stored (compressed), for example 512Mi or 2G. When they
    /// take more, the oldest are deleted; the current one never. Default: no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_QUANTITY), extend("x-kubernetes-validations" = rules::quantity()))]
    pub max_bytes: Option<String>,

    /// How old a version may get once a newer one has replaced it, for example 720h for 30 days (h, m, s and ms; there
    /// is no unit for days). The current version never goes for its age. Default: no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_DURATION), extend("x-kubernetes-validations" = rules::duration()))]
    pub max_age: Option<String>,

    /// What becomes of the state when this resource is deleted. Retain: the path is released and every version stays in
    /// the store, for a resource of the same namespace and name to take up again. Delete: all versions are deleted; where
    /// the state still has resources, or is encrypted by the client, only with the annotation
    /// tofustate.io/confirm-delete: <path>. Default: Retain.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_versions: default_max_versions(),
            max_bytes: None,
            max_age: None,
            deletion_policy: DeletionPolicy::default(),
        }
    }
}

fn default_max_versions() -> i32 {
    20
}

/// What becomes of a state when its resource is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Everything stays in the store.
    #[default]
    Retain,
    /// The versions are deleted.
    Delete,
}

/// How locks behave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::lock()))]
pub struct LockPolicy {
    /// Whether a write needs the lock. false: a write without a lock is taken while nobody holds one, as tofu does with
    /// -lock=false. true: such a write is refused with 409. Default: false.
    #[serde(default)]
    pub required: bool,

    /// Quiet time (since the lock was granted or last written under) from which a lock counts as stale, for example 12h: the condition LockStale becomes True and an Event says who
    /// holds it. Nothing else happens unless staleAction says so. Default: locks never count as stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_DURATION), extend("x-kubernetes-validations" = rules::duration()))]
    pub stale_after: Option<String>,

    /// What happens to a stale lock. None: it stays until its holder or a person releases it. Release: it is released;
    /// a run that still goes on cannot write any more, so staleAfter must be longer than the longest run, and at least
    /// 1h. Default: None.
    #[serde(default)]
    pub stale_action: StaleAction,

    /// Whether an unlock request without a body, which is what terraform force-unlock sends, releases the lock. Allow: it
    /// does once the lock was quiet for a minute (granted, and last written under, longer ago), and is recorded as forced. Deny: it is refused with 409; a person uses the
    /// annotation tofustate.io/force-unlock. tofu force-unlock names the lock's id and is not affected. Default: Allow.
    #[serde(default)]
    pub client_force_unlock: ClientForceUnlock,
}

/// What happens to a stale lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StaleAction {
    /// It stays.
    #[default]
    None,
    /// It is released.
    Release,
}

/// Whether an unlock request without a body releases the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientForceUnlock {
    /// Once the lock was quiet for a minute.
    #[default]
    Allow,
    /// Never.
    Deny,
}
