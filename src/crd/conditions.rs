//! The types and reasons of conditions. What sets them lives in the controller and the HTTP backend.

/// The state can be used: path, policy, token and credentials are in place. A lock never changes it.
pub const READY: &str = "Ready";
/// The path belongs to this resource.
pub const PATH_CLAIMED: &str = "PathClaimed";
/// The OpenBao policy of this state is as it should be.
pub const POLICY_SYNCED: &str = "PolicySynced";
/// The state's own OpenBao token works.
pub const TOKEN_READY: &str = "TokenReady";
/// The Secrets that the spec names are there and the connection Secret is written.
pub const CREDENTIALS_READY: &str = "CredentialsReady";
/// The store answers for this state. False only for a fault of this state's own, never for a shared outage.
pub const STORE_REACHABLE: &str = "StoreReachable";
/// The lock is older than `spec.lock.staleAfter`.
pub const LOCK_STALE: &str = "LockStale";
/// A person must act; the message says what to do.
pub const STALLED: &str = "Stalled";

/// Every condition type, in the order in which they are shown.
pub const TYPES: [&str; 8] =
    [READY, PATH_CLAIMED, POLICY_SYNCED, TOKEN_READY, CREDENTIALS_READY, STORE_REACHABLE, LOCK_STALE, STALLED];

/// Reasons that people and tools look for.
pub mod reason {
    /// Another resource owns the path; the message names it.
    pub const PATH_CONFLICT: &str = "PathConflict";
    /// Another replica claims the path at the same moment; it is tried again.
    pub const CLAIM_UNDER_WAY: &str = "ClaimUnderWay";
    /// The path already holds something, and this namespace and name never owned it.
    pub const PATH_HAS_STATE: &str = "PathHasState";
    /// The path is outside what the namespace may register.
    pub const PATH_NOT_ALLOWED: &str = "PathNotAllowed";
    /// The spec does not hold together; the message names each field.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// A Secret that the spec names is not there.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// A Secret that the spec names has no such key.
    pub const SECRET_KEY_NOT_FOUND: &str = "SecretKeyNotFound";
    /// A credential is shorter than 20 characters.
    pub const WEAK_TOKEN: &str = "WeakToken";
    /// The value is no token: no text, of several lines, or too long.
    pub const INVALID_TOKEN: &str = "InvalidToken";
    /// Two credentials of a resource have the same token.
    pub const SAME_TOKEN: &str = "SameToken";
    /// The connection Secret or ConfigMap would have the name of one that is not tofustate's.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// The API server does not take the connection Secret or ConfigMap.
    pub const NOT_WRITTEN: &str = "NotWritten";
    /// OpenBao does not give the state what it needs: a role, a right.
    pub const OPENBAO_REFUSES: &str = "OpenBaoRefuses";
    /// The store fails for this state alone.
    pub const STORE_FAULT: &str = "StoreFault";
    /// The state was there before and the store has nothing under its path now.
    pub const HEAD_LOST: &str = "HeadLost";
    /// The store has an older state than was seen before: it was restored from a snapshot.
    pub const STORE_WENT_BACK: &str = "StoreWentBack";
    /// The entry under the path was not written by tofustate.
    pub const NOT_A_HEAD: &str = "NotAHead";
    /// The resource is suspended.
    pub const SUSPENDED: &str = "Suspended";
    /// The resource is being deleted and waits for the lock to be released.
    pub const WAITING_FOR_UNLOCK: &str = "WaitingForUnlock";
    /// Deleting needs the annotation `tofustate.io/confirm-delete`.
    pub const NEEDS_CONFIRMATION: &str = "NeedsConfirmation";
}
