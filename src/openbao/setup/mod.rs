//! What has to be there in OpenBao before anything else works, as data: namespace, mount, policy, roles, login. What is
//! looked for, made and printed all comes from this one list.

mod admin;
mod bootstrap;
mod check;
mod item;
mod look;
mod make;
mod operator;
mod print;
mod probe;

use serde_json::json;

use super::{BadName, Instance, Mount, Policy, Settings};
pub use admin::SetupError;
pub use bootstrap::{Done, await_active, bootstrap, revoke_admin};
pub use check::{Finding, Report, check, check_mount, check_own};
pub use item::{Difference, State};
use item::{Entry, Item};
pub use operator::operator_token;

/// How long a state's token lives without a renewal.
const PERIOD: u64 = 72 * 3600;
/// How long a login lives without a renewal, and at the most.
const LOGIN: (u64, u64) = (3600, 24 * 3600);

/// What is to be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The namespace; `None` for the root namespace.
    pub namespace: Option<String>,
    /// The mount of the states.
    pub mount: Mount,
    /// The installation.
    pub instance: Instance,
    /// The login of Pods, where there is to be one.
    pub kubernetes: Option<KubernetesAuth>,
}

/// The login by a Kubernetes ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesAuth {
    /// The mount of the auth method.
    pub mount: Mount,
    /// The role; by default the instance's.
    pub role: Option<String>,
    /// Names of ServiceAccounts that may log in.
    pub service_accounts: Vec<String>,
    /// Namespaces that they may be of.
    pub namespaces: Vec<String>,
    /// Whom their tokens have to be for.
    pub audience: String,
    /// The cluster's API server; `None`: the one that OpenBao itself runs in, or what is set already.
    pub api: Option<KubernetesApi>,
}

/// A cluster's API server, as OpenBao reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesApi {
    /// Its address.
    pub host: String,
    /// The certificate of its CA, PEM.
    pub ca: String,
}

impl Setup {
    /// For the namespace and the mount of these settings.
    ///
    /// # Errors
    /// The mount is none.
    pub fn new(settings: &Settings, instance: Instance) -> Result<Self, BadName> {
        let mount = Mount::parse(&settings.mount)?;
        let namespace = settings.namespace.as_ref().map(|text| text.trim_matches('/').to_owned());
        Ok(Self { namespace: namespace.filter(|text| !text.is_empty()), mount, instance, kubernetes: None })
    }

    /// All of it, in the order in which it is made.
    fn items(&self) -> Vec<Item> {
        let mut items = self.namespaces();
        items.push(Item::Mount(self.mount.clone()));
        items.push(Item::Entry(self.mount_config()));
        items.push(Item::Entry(self.operator_policy()));
        items.push(Item::Entry(self.token_role()));
        if let Some(kubernetes) = &self.kubernetes {
            items.push(Item::Auth(kubernetes.mount.clone()));
            items.push(Item::Entry(kubernetes.config()));
            items.push(Item::Entry(kubernetes.login_role(&self.instance)));
        }
        items
    }

    fn namespaces(&self) -> Vec<Item> {
        let mut items = Vec::new();
        let mut parent: Option<String> = None;
        for name in self.namespace.iter().flat_map(|path| path.split('/')) {
            let path = parent.as_ref().map_or_else(|| name.to_owned(), |parent| format!("{parent}/{name}"));
            items.push(Item::Namespace { parent, name: name.to_owned() });
            parent = Some(path);
        }
        items
    }

    fn mount_config(&self) -> Entry {
        Entry {
            what: format!("the config of the mount {}", self.mount),
            path: format!("{}/config", self.mount),
            fields: vec![
                ("cas_required", json!(true)),
                ("max_versions", json!(1)),
                // A head would vanish by it.
                ("delete_version_after", json!("0s")),
            ],
            keep: false,
        }
    }

    fn operator_policy(&self) -> Entry {
        let name = self.instance.operator_policy();
        let text = Policy::of_operator(&self.mount, &self.instance).to_string();
        Entry {
            what: format!("the operator's policy {name}"),
            path: format!("sys/policies/acl/{name}"),
            fields: vec![("policy", json!(text))],
            keep: false,
        }
    }

    fn token_role(&self) -> Entry {
        let name = self.instance.role();
        Entry {
            what: format!("the token role {name}"),
            path: format!("auth/token/roles/{name}"),
            fields: vec![
                ("allowed_policies_glob", json!([self.instance.policies()])),
                ("orphan", json!(true)),
                ("token_period", json!(PERIOD)),
                ("token_no_default_policy", json!(true)),
                ("token_type", json!("service")),
                ("renewable", json!(true)),
                // Where somebody set them: tokens would end early, be named otherwise, or have other rights.
                ("allowed_policies", json!([])),
                ("disallowed_policies", json!([])),
                ("disallowed_policies_glob", json!([])),
                ("token_explicit_max_ttl", json!(0)),
                ("token_num_uses", json!(0)),
                ("path_suffix", json!("")),
            ],
            keep: false,
        }
    }
}

impl KubernetesAuth {
    fn config(&self) -> Entry {
        let mut fields = vec![("kubernetes_host", json!("https://kubernetes.default.svc"))];
        if let Some(api) = &self.api {
            // From outside the cluster OpenBao has no token of its own for its API server: it shows the one that logs in.
            fields = vec![
                ("kubernetes_host", json!(api.host)),
                ("kubernetes_ca_cert", json!(api.ca)),
                ("disable_local_ca_jwt", json!(true)),
            ];
        }
        Entry {
            what: format!("the cluster of the login at auth/{}", self.mount),
            path: format!("auth/{}/config", self.mount),
            fields,
            // Others may log in there too.
            keep: self.api.is_none(),
        }
    }

    fn login_role(&self, instance: &Instance) -> Entry {
        let name = self.role.clone().unwrap_or_else(|| instance.role());
        Entry {
            what: format!("the role {name} of the login at auth/{}", self.mount),
            path: format!("auth/{}/role/{name}", self.mount),
            fields: vec![
                ("bound_service_account_names", json!(self.service_accounts)),
                ("bound_service_account_namespaces", json!(self.namespaces)),
                ("audience", json!(self.audience)),
                ("token_policies", json!([instance.operator_policy()])),
                ("token_no_default_policy", json!(true)),
                ("token_ttl", json!(LOGIN.0)),
                ("token_max_ttl", json!(LOGIN.1)),
                ("token_type", json!("service")),
                // Where somebody set them.
                ("bound_service_account_namespace_selector", json!("")),
                ("token_period", json!(0)),
                ("token_explicit_max_ttl", json!(0)),
                ("token_num_uses", json!(0)),
            ],
            keep: false,
        }
    }
}
