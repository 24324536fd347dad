//! What a namespace has for a resource: its connection Secret and ConfigMap, the Secrets that its spec names. Reads only.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ListParams;

use super::{
    cluster::call,
    context::{Context, Fault, name_of},
    credentials::{self, Secrets},
    objects::{self, MANAGED_BY, OF_UID},
};
use crate::crd::{Settings, TofuStateBackend};

/// What a namespace has for a resource.
pub(super) struct Observed {
    pub(super) secret: Option<Secret>,
    /// The connection Secret under the name that the spec had before, where there is none of its own under that of now.
    pub(super) former: Option<Secret>,
    pub(super) config: Option<ConfigMap>,
    pub(super) secrets: Secrets,
}

/// Reads what the namespace has for the resource.
pub(super) async fn observe(
    context: &Context,
    resource: &TofuStateBackend,
    settings: &Settings,
) -> Result<Observed, Fault> {
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    let (secrets, configs) = (context.cluster.of::<Secret>(namespace), context.cluster.of::<ConfigMap>(namespace));
    let name = &settings.connection_secret;
    let (secret, config) = context.listed.take(&context.cluster, namespace, name).await;
    let secret = match secret {
        Some(listed) => Some(listed),
        None => call(&format!("reading the Secret {namespace}/{name}"), secrets.get_opt(name)).await?,
    };
    let config = match config {
        Some(listed) => Some(listed),
        None => call(&format!("reading the ConfigMap {namespace}/{name}"), configs.get_opt(name)).await?,
    };
    let mut observed = Observed { secret, former: None, config, secrets: Secrets::new() };
    for name in credentials::named(&resource.spec) {
        let found = call(&format!("reading the Secret {namespace}/{name}"), secrets.get_opt(name)).await?;
        observed.secrets.insert(name.to_owned(), found.map(objects::values));
    }
    // Under another name before: what it has kept goes on, also while the name of now is somebody else's.
    let own = observed.secret.as_ref().is_some_and(|secret| objects::is_own(secret, resource));
    if !own && was_seen(resource) {
        observed.former = former::<Secret>(context, resource).await?.into_iter().next();
    }
    Ok(observed)
}

/// Whether something may have been written for the resource before.
pub(super) fn was_seen(resource: &TofuStateBackend) -> bool {
    let status = resource.status.as_ref();
    // The API server says -1 until somebody looked at it.
    status.is_some_and(|status| status.observed_generation.is_none_or(|seen| seen >= 0) || status.head_epoch.is_some())
}

/// What was written for the resource, under whatever name.
pub(super) async fn former<K>(context: &Context, resource: &TofuStateBackend) -> Result<Vec<K>, Fault>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    let uid = resource.metadata.uid.as_deref().unwrap_or_default();
    let labels = format!("{}={},{OF_UID}={uid}", MANAGED_BY.0, MANAGED_BY.1);
    let doing = format!("listing what was written for {}", name_of(resource));
    let all = context.cluster.of::<K>(namespace);
    Ok(call(&doing, all.list(&ListParams::default().labels(&labels))).await?.items)
}
