//! Writes what a resource's runs are given, where it is not as it should be; the finalizer; the status.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde::Deserialize as _;
use tracing::{info, warn};

use super::{
    FINALIZER,
    cluster::{CallError, call},
    context::{Context, Fault, Held, name_of},
    credentials::Wanted,
    events::Kind,
    ledger::Ledger,
    news::{self, Part},
    objects::{Found, Outputs},
    observe::{Observed, former, was_seen},
    outputs::Connection,
    status::{Draft, MANAGER, Said, is_so, news, patch, strays},
};
use crate::crd::{
    Settings, TofuStateBackend, TofuStateBackendStatus,
    conditions::{CREDENTIALS_READY, LOCK_STALE, READY, STALLED, reason},
};

/// Writes the connection Secret and the ConfigMap, where they are not as they should be. Answers why they cannot be.
pub(super) async fn outputs(
    context: &Context,
    resource: &TofuStateBackend,
    settings: &Settings,
    wanted: &Wanted,
    ledger: &Ledger,
    observed: &Observed,
) -> Result<Option<(&'static str, String)>, Fault> {
    let Some(token) = &wanted.token else { return Ok(None) };
    let ca = match &context.options.ca_file {
        Some(file) => match tokio::fs::read_to_string(file).await {
            Ok(ca) if !ca.trim().is_empty() => Some(ca),
            // Without it runs would refuse the server.
            read => {
                let why = read.map_or_else(|error| error.to_string(), |_| "it is empty".to_owned());
                let message = format!(
                    "the CA file {} of --ca-file cannot be used ({why}): put it back; until then what runs are given stays as it is",
                    file.display()
                );
                return Ok(Some((reason::NOT_WRITTEN, message)));
            }
        },
        None => None,
    };
    let name = &settings.connection_secret;
    let connection = Connection {
        endpoint: &context.options.internal_url,
        path: &settings.path,
        token,
        ca: ca.as_deref(),
        lock_by_post: context.options.lock_by_post,
    };
    let outputs = Outputs::new(resource, name, &connection, wanted.generated, ledger);
    let (secret, config) = (observed.secret.as_ref(), observed.config.as_ref());
    let found = [("Secret", outputs.of_secret(secret)), ("ConfigMap", outputs.of_config(config))];
    for (kind, found) in found {
        if found == Found::Foreign {
            let message = format!(
                "there is a {kind} {name} that tofustate did not write: choose another name with spec.connectionSecretName, or remove it"
            );
            return Ok(Some((reason::NAME_TAKEN, message)));
        }
    }
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    for (kind, found) in found {
        if found == Found::Good {
            continue;
        }
        let doing = format!("writing the {kind} {namespace}/{name}");
        let write = context.written.begin(kind, namespace, name);
        let done = match kind {
            "Secret" => {
                let patch = secret.map(|found| outputs.patch_of_secret(found));
                put::<Secret>(context, &doing, namespace, name, outputs.secret(), patch).await
            }
            _ => {
                let patch = config.map(|found| outputs.patch_of_config(found));
                put::<ConfigMap>(context, &doing, namespace, name, outputs.config(), patch).await
            }
        };
        if write.end(done.as_ref().ok().and_then(Option::as_deref)) {
            context.wake(&name_of(resource));
        }
        match done {
            Ok(_) => info!(resource = %name_of(resource), kind, name, "written"),
            // It was deleted meanwhile.
            Err(error) if error.status == Some(404) && found == Found::Differs => return Err(error.into()),
            Err(error) if error.refused() => return Ok(Some((reason::NOT_WRITTEN, error.to_string()))),
            Err(error) => return Err(error.into()),
        }
    }
    let observed_generation = resource.status.as_ref().and_then(|status| status.observed_generation);
    let renamed = observed_generation != resource.metadata.generation || observed.former.is_some();
    if was_seen(resource) && renamed {
        remove_former(context, resource, name).await?;
    }
    Ok(None)
}

/// Creates an object where none was found, or changes the one that was: never one that came or changed since, which may be
/// somebody else's. Answers the resourceVersion that it made.
async fn put<K>(
    context: &Context,
    doing: &str,
    namespace: &str,
    name: &str,
    object: &serde_json::Value,
    patch: Option<serde_json::Value>,
) -> Result<Option<String>, CallError>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let (api, manager) = (context.cluster.of::<K>(namespace), Some(MANAGER.to_owned()));
    if let Some(patch) = patch {
        let params = PatchParams { field_manager: manager, ..PatchParams::default() };
        let done = call(doing, api.patch_metadata(name, &params, &Patch::Merge(&patch))).await;
        return done.map(|made| made.metadata.resource_version);
    }
    let params = PostParams { field_manager: manager, ..PostParams::default() };
    let create = async {
        let object = serde_json::from_value::<K>(object.clone()).map_err(kube::Error::SerdeError)?;
        api.create(&params, &object).await
    };
    call(doing, create).await.map(|made| made.resource_version())
}

/// Removes what was written under a name that the spec had before.
async fn remove_former(context: &Context, resource: &TofuStateBackend, name: &str) -> Result<(), Fault> {
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    let old = |metadata: &kube::core::ObjectMeta| metadata.name.clone().filter(|old| old != name);
    for old in former::<Secret>(context, resource).await?.iter().filter_map(|found| old(&found.metadata)) {
        let api = context.cluster.of::<Secret>(namespace);
        remove(&format!("removing the Secret {namespace}/{old}"), api.delete(&old, &Default::default())).await?;
    }
    for old in former::<ConfigMap>(context, resource).await?.iter().filter_map(|found| old(&found.metadata)) {
        let api = context.cluster.of::<ConfigMap>(namespace);
        remove(&format!("removing the ConfigMap {namespace}/{old}"), api.delete(&old, &Default::default())).await?;
    }
    Ok(())
}

async fn remove<T>(doing: &str, work: impl Future<Output = kube::Result<T>>) -> Result<(), Fault> {
    match call(doing, work).await {
        Err(error) if error.status == Some(404) => Ok(()),
        done => Ok(done.map(drop)?),
    }
}

/// Applies the status, where it is not so, and tells of what is new in it.
pub(super) async fn status(
    context: &Context,
    held: &mut Held,
    resource: &TofuStateBackend,
    draft: &Draft,
) -> Result<(), Fault> {
    let wanted = draft.status(resource, Context::now());
    if is_so(resource.status.as_ref(), &wanted) {
        return Ok(());
    }
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    // The answer of a resource that does not decode is one, too.
    let api = context.cluster.raw(namespace);
    let object = patch(resource, &wanted);
    let doing = format!("writing the status of {}", name_of(resource));
    let params = PatchParams::apply(MANAGER).force();
    let uid = resource.metadata.uid.as_deref();
    context.news.writes(&name_of(resource), uid, Part::Status, news::sum_of_status(&wanted));
    let apply = async || call(&doing, api.patch_status(name, &params, &Patch::Apply(&object))).await;
    // Applying takes away nothing that somebody else wrote.
    let clear = async |strays: serde_json::Value, version: Option<&String>| {
        warn!(resource = %name_of(resource), "somebody wrote into the status what only tofustate knows: it is taken away");
        let body = serde_json::json!({"metadata": {"resourceVersion": version}, "status": strays});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        call(&doing, api.patch_status(name, &params, &Patch::Merge(&body))).await
    };
    let found = match (apply().await, strays(resource.status.as_ref(), &wanted)) {
        // A condition that somebody else wrote parts of stays with these parts, and so is none.
        (Err(error), Some(strays)) if error.status == Some(422) => {
            clear(strays, resource.metadata.resource_version.as_ref()).await?;
            apply().await?
        }
        (done, _) => done?,
    };
    let now = TofuStateBackendStatus::deserialize(&found.data["status"]).ok();
    if let Some(strays) = strays(now.as_ref(), &wanted) {
        clear(strays, found.metadata.resource_version.as_ref()).await?;
    }
    let before = held.applies(&wanted).or_else(|| resource.status.as_ref().map(Said::of));
    for condition in news(before.as_ref(), &wanted) {
        let (kind, wrong) = match (condition.type_.as_str(), condition.status.as_str()) {
            (READY, "True") => (Kind::Normal, false),
            (LOCK_STALE, "True") => (Kind::Warning, true),
            // What it is made of says more; and whoever suspends it knows.
            (READY | STALLED | LOCK_STALE, _) => continue,
            (_, "False") if condition.reason == reason::SUSPENDED => continue,
            (_, "False") => (Kind::Warning, true),
            (CREDENTIALS_READY, _) if condition.reason == reason::WEAK_TOKEN => (Kind::Warning, true),
            _ => continue,
        };
        let name = name_of(resource);
        match wrong {
            true => {
                warn!(resource = %name, condition = condition.type_, reason = condition.reason, "{}", condition.message);
            }
            false => info!(resource = %name, "ready"),
        }
        context.events.of(resource, kind, &condition.reason, &condition.message).await;
    }
    Ok(())
}

/// Puts the finalizer on a resource, or takes it away. Answers the resource as it is then, where it was not so.
pub(super) async fn finalizer(
    context: &Context,
    resource: &TofuStateBackend,
    wanted: bool,
) -> Result<Option<TofuStateBackend>, Fault> {
    let own = &resource.metadata;
    let mut all = own.finalizers.clone().unwrap_or_default();
    if all.iter().any(|one| one == FINALIZER) == wanted {
        return Ok(None);
    }
    match wanted {
        true => all.push(FINALIZER.to_owned()),
        false => all.retain(|one| one != FINALIZER),
    }
    // Of the version that was looked at: somebody else's finalizer may have come since.
    let change = serde_json::json!({"metadata": {"resourceVersion": own.resource_version, "finalizers": &all}});
    let name = own.name.as_deref().unwrap_or_default();
    let api = context.cluster.of::<TofuStateBackend>(own.namespace.as_deref().unwrap_or_default());
    let doing = format!("setting the finalizer of {}", name_of(resource));
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let sum = news::sum(&Some(all));
    context.news.writes(&name_of(resource), own.uid.as_deref(), Part::Finalizers, sum);
    match call(&doing, api.patch_metadata(name, &params, &Patch::Merge(&change))).await {
        Err(error) if error.status == Some(404) && !wanted => Ok(None),
        done => {
            let mut now = resource.clone();
            now.metadata.resource_version = done?.metadata.resource_version;
            Ok(Some(now))
        }
    }
}
