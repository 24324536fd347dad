//! The parts of the spec that name Secrets. No Secret is read here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// The key that is read where a reference names none.
pub const DEFAULT_TOKEN_KEY: &str = "token";

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret, in the namespace of this resource. It need not exist yet.
    #[schemars(length(min = 1, max = rules::MAX_SUBDOMAIN), extend("x-kubernetes-validations" = rules::secret_name()))]
    pub name: String,

    /// Key in the Secret whose value is the credential. Spaces and line breaks at its ends are ignored. Default: token.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = rules::MAX_SUBDOMAIN), extend("x-kubernetes-validations" = rules::secret_key()))]
    pub key: String,
}

fn default_key() -> String {
    DEFAULT_TOKEN_KEY.to_owned()
}

/// A further credential for this state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Name of this credential: lower-case letters, digits and '-'. What it does is recorded under the identity
    /// access/<name>, in status.lock, in the history and in the log.
    #[schemars(length(min = 1, max = rules::MAX_LABEL), extend("x-kubernetes-validations" = rules::access_name()))]
    pub name: String,

    /// What the credential may do. ReadOnly: read the state (a terraform_remote_state data source, for example).
    /// ReadWrite: also lock, write and unlock.
    pub role: AccessRole,

    /// Where the credential stands. Until the Secret and the key are there, this credential is refused and the condition
    /// CredentialsReady is False.
    pub secret_ref: SecretKeyRef,
}

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessRole {
    /// Read the state.
    ReadOnly,
    /// Read, lock, write and unlock.
    ReadWrite,
}
