//! The parts of the status. The doc comments of the fields are what `kubectl explain` prints.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::lenient;

/// Where the state is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoints {
    /// The state's address inside the cluster, for TF_HTTP_ADDRESS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal: Option<String>,
    /// The state's address from outside; absent unless the installation names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
}

/// The lock and its holder. What the client says of itself is cut at 256 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LockStatus {
    /// The lock's id, chosen by the client. tofu force-unlock and the annotation tofustate.io/force-unlock take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Who holds the lock, as the client says: user@host. Where it says nothing, the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The credential that took the lock, as tofustate checked it: token, or access/<name>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What the holder is doing, as the client says, such as OperationTypeApply; tofu console says OperationTypeInvalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Further words of the client about the lock; mostly empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
    /// When the lock was taken, by the store's clock.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When the lock was taken, as the client says. A text that is not checked, in the client's clock: go by since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The version of tofu or terraform that took the lock, as the client says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_version: Option<String>,
}

/// The current version of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StateStatus {
    /// The number that tofustate gave to this version: one higher for each that was ever written to this path, rollbacks
    /// included. The annotation tofustate.io/rollback-to takes it.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// How many versions are kept, this one included.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub versions: Option<i64>,
    /// The serial inside the state, which tofu counts up. tofu's serials reach 18446744073709551615, the integers of
    /// Kubernetes 9223372036854775807: a higher one is shown as that, so that this can stay a number to sort and compare.
    /// tofustate decides nothing from it; the state itself is exact.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub serial: Option<i64>,
    /// The lineage inside the state: made when the state was, and the same ever after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lineage: Option<String>,
    /// Size of the state in bytes, as tofu sends and gets it.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Size in bytes as stored: compressed.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub stored_size: Option<i64>,
    /// SHA-256 of the state as tofu sends and gets it, in lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How many resources the state has. Absent where the client encrypted it.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub resources: Option<i64>,
    /// The version of tofu or terraform that wrote it, as the state says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_version: Option<String>,
    /// When it was written, by the store's clock.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub modified: Option<Time>,
    /// Whether the client encrypted it. tofustate then cannot know its resources.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
}

/// Something that happened to the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HistoryEntry {
    /// What happened. Written: a client wrote a version. RolledBack: an earlier version was copied forward. Deleted: the
    /// current version was cleared. ForceUnlocked: the lock was broken. Accepted: a person accepted a lost or an older
    /// state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// When, by the store's clock.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// The version that this made current, or that was current at the time. The annotation tofustate.io/rollback-to takes
    /// it while it is kept.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// The serial inside that version; 9223372036854775807 stands for anything higher.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub serial: Option<i64>,
    /// Size of that version in bytes.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// How many resources that version has. Absent where the client encrypted it.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub resources: Option<i64>,
    /// Who did it, as the client says: user@host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The credential it was done with, as tofustate checked it: token, or access/<name>; annotation where it was asked
    /// for by an annotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What the holder of the lock was doing, as the client says, such as OperationTypeApply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Id of the lock under which it was done, or that was broken. Absent for a write without a lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_id: Option<String>,
    /// The version of tofu or terraform that wrote it, as the state says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_version: Option<String>,
    /// What was unusual about a write that was taken all the same: a lower serial, another lineage, a gap in the serials,
    /// or the same serial with other content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<String>,
}

/// The values of `history[].event`. A text in the schema: an older tofustate must be able to read a newer one's.
pub mod event {
    /// A client wrote a version.
    pub const WRITTEN: &str = "Written";
    /// An earlier version was copied forward.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// The current version was cleared.
    pub const DELETED: &str = "Deleted";
    /// The lock was broken.
    pub const FORCE_UNLOCKED: &str = "ForceUnlocked";
    /// A person accepted a lost or an older state.
    pub const ACCEPTED: &str = "Accepted";
}

/// What OpenBao holds for this state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenBaoStatus {
    /// Name of the policy that admits this state and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Accessor of the state's token. With it the token can be looked up and revoked, not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_accessor: Option<String>,
    /// When the token ends unless it is renewed; it is, long before.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub token_expires: Option<Time>,
    /// Number of this resource's claim on its path, as the owner entry and the state's own entry have it. It grows with
    /// each claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub claim: Option<i64>,
}

/// The last request of each kind that was made by annotation, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LastHandled {
    /// The last tofustate.io/force-unlock. The same value again does nothing.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Handled")]
    pub force_unlock: Option<Handled>,
    /// The last tofustate.io/rollback-to. The same value again does nothing.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Handled")]
    pub rollback: Option<Handled>,
    /// The last tofustate.io/reconcile. The same value again does nothing.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Handled")]
    pub reconcile: Option<Handled>,
}

/// A request that was made by annotation, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Handled {
    /// The value of the annotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Done: it was carried out, or was already so. Refused: it could not be as asked; the message says why and what to
    /// ask instead. Failed: it was tried and did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// What came of it, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was handled.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// The values of `lastHandled.*.outcome`.
pub mod outcome {
    /// It was carried out, or was already so.
    pub const DONE: &str = "Done";
    /// It could not be as asked.
    pub const REFUSED: &str = "Refused";
    /// It was tried and did not succeed.
    pub const FAILED: &str = "Failed";
}
