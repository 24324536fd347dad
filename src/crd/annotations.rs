//! The names of the annotations that people set to ask for something. Each asks once: it is never removed by tofustate
//! (a GitOps tool would put it back), the value makes it good for one case only, and what came of it stands in
//! `status.lastHandled`, an Event and the log.

/// On a TofuStateBackend: break the lock with this id (`<lock id>`, from `status.lock.id`). Another lock that was taken
/// since stays. Works while the resource is being deleted.
pub const FORCE_UNLOCK: &str = "tofustate.io/force-unlock";

/// On a TofuStateBackend: copy an earlier version forward (`<version>@<current version>`, both from `status.history`).
/// Refused while locked, or when another version is current by now.
pub const ROLLBACK_TO: &str = "tofustate.io/rollback-to";

/// On a TofuStateBackend: reconcile now (any value not used before, such as a time).
pub const RECONCILE: &str = "tofustate.io/reconcile";

/// On a TofuStateBackend whose state is gone from the store (`HeadLost`): start again from nothing (`<epoch>`, from
/// `status.headEpoch`). tofu will then plan to build everything.
pub const ACCEPT_EMPTY: &str = "tofustate.io/accept-empty";

/// On a TofuStateBackend whose store was restored from an older snapshot: go on from the older state (`<epoch>`, from
/// `status.headEpoch`).
pub const ACCEPT_RESTORE: &str = "tofustate.io/accept-restore";

/// On a Namespace object: resources of this namespace may register this path although it already holds a state
/// (`<path>`).
pub const ADOPT: &str = "tofustate.io/adopt";

/// On a TofuStateBackend with `deletionPolicy: Delete`: delete its versions even though the state has resources or is
/// encrypted (`<path>`).
pub const CONFIRM_DELETE: &str = "tofustate.io/confirm-delete";

/// On a TofuStateBackend: end the hour in which a replaced credential may still finish the run whose lock it took (any
/// value not used before).
pub const REVOKE_NOW: &str = "tofustate.io/revoke-now";

/// On a Namespace object, with `--tenancy Annotation`: the path prefixes that its resources may register, separated by
/// commas (`team-a/,shared/network/`).
pub const PATH_PREFIXES: &str = "tofustate.io/path-prefixes";
