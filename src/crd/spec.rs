//! The spec of a TofuStateBackend, and the names of the resource. The doc comments of the fields are what
//! `kubectl explain` prints.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Access, LockPolicy, MAX_PATH, Retention, SecretKeyRef, TofuStateBackendStatus, quantity::MAX_QUANTITY, rules,
};

/// The API group.
pub const GROUP: &str = "tofustate.io";
/// The API version.
pub const VERSION: &str = "v1alpha1";
/// The size limit of a state where the spec names none.
pub const DEFAULT_MAX_SIZE: &str = "256Mi";

/// The state that is wanted: its path, who may use it, and how its locks and versions are kept.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tofustate.io",
    version = "v1alpha1",
    kind = "TofuStateBackend",
    plural = "tofustates",
    singular = "tofustatebackend",
    shortname = "tofustatebackends",
    shortname = "tofustate",
    shortname = "tsb",
    category = "tofu",
    namespaced,
    status = "TofuStateBackendStatus",
    derive = "PartialEq",
    doc = "TofuStateBackend registers one OpenTofu or Terraform state path. tofustate serves it over the http backend protocol, writes a Secret with every TF_HTTP_* variable that a run needs, and shows here who holds the lock, which version is current and what was written before.",
    selectable = ".spec.path",
    selectable = ".status.locked"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::spec()))]
pub struct TofuStateBackendSpec {
    /// The state's path, such as team-a/network/prod: 1 to 8 segments joined by '/', each of lower-case letters, digits,
    /// '.', '_' and '-', beginning and ending with a letter or a digit, without '..'; the last segment is not lock and
    /// does not end in .lock; at most 200 characters. It is part of the state's address, is unique in the store, and
    /// cannot be changed. Unless the installation says otherwise, the first segment must be the namespace.
    #[schemars(length(min = 1, max = MAX_PATH), extend("x-kubernetes-validations" = rules::path()))]
    pub path: String,

    /// The credential of this state, where you want to choose it: a key of a Secret in this namespace, which tofustate
    /// only reads. Until it is there the condition CredentialsReady is False with the reason SecretNotFound; a credential
    /// under 20 characters is served and reported with the reason WeakToken. Default: a credential is generated and stands in the
    /// connection Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SecretKeyRef")]
    pub access_token_secret_ref: Option<SecretKeyRef>,

    /// Name of the connection Secret that tofustate writes into this namespace: every TF_HTTP_* variable that a run
    /// needs, the CA certificate included, for envFrom or a shell. A ConfigMap of the same name has a backend.hcl.
    /// Default: the name of this resource followed by -tofustate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_SUBDOMAIN), extend("x-kubernetes-validations" = rules::secret_name()))]
    pub connection_secret_name: Option<String>,

    /// Further credentials for this state, at most 32, each with a name and a role; for example one for readers of its
    /// outputs. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = rules::MAX_ACCESS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub access: Vec<Access>,

    /// Which versions of the state are kept, and what becomes of it when this resource is deleted. The limits are applied
    /// in the background, never to the current version nor to the one before the lock holder's first write.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub retention: Retention,

    /// How locks behave: whether a write needs one, when one counts as stale, and who may break one.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub lock: LockPolicy,

    /// The largest state that is accepted, uncompressed, for example 64Mi or 1G; a larger write is refused with 413 and
    /// the state that was there stays. A whole number without a suffix is bytes and must be quoted. Default: 256Mi.
    #[serde(default = "default_max_size")]
    #[schemars(length(max = MAX_QUANTITY), extend("x-kubernetes-validations" = rules::quantity()))]
    pub max_size: String,

    /// true stops reconciling: changes of this resource and its annotations wait. The state goes on being served, its
    /// token renewed and its versions kept to the limits. Default: false.
    #[serde(default)]
    pub suspend: bool,
}

impl TofuStateBackendSpec {
    /// A spec with this path and every default.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            access_token_secret_ref: None,
            connection_secret_name: None,
            access: Vec::new(),
            retention: Retention::default(),
            lock: LockPolicy::default(),
            max_size: default_max_size(),
            suspend: false,
        }
    }
}

fn default_max_size() -> String {
    DEFAULT_MAX_SIZE.to_owned()
}
