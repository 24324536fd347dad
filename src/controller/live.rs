//! One reconciliation of a resource that is to be there: observe, validate, plan, apply, status.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, Patch, PatchParams};
use tracing::{info, warn};

use super::{
    FINALIZER,
    cluster::call,
    conditions::Findings,
    context::{Context, Fault, Held, name_of},
    credentials::{self, Secrets, Wanted},
    events::Kind,
    objects::{self, Found, Kept, MANAGED_BY, OF_UID, Outputs},
    outputs::Connection,
    requests, stale,
    status::{Draft, MANAGER, is_so, news, patch},
    store::{self, Path},
    validate::validate,
};
use crate::{
    crd::{
        Endpoints, Settings, TofuStateBackend,
        annotations::REVOKE_NOW,
        conditions::{CREDENTIALS_READY, LOCK_STALE, PATH_CLAIMED, READY, STALLED, reason},
    },
    registry::{Backend, Credential},
    store::{Budget, State, owners},
};

/// How long until what only a person or another resource can change is looked at again.
const LATER: Duration = Duration::from_secs(30);

/// What a namespace has for a resource.
pub(super) struct Observed {
    secret: Option<Secret>,
    config: Option<ConfigMap>,
    secrets: Secrets,
}

/// Reconciles a resource, and answers when it is to be looked at again without anything having changed.
pub(super) async fn run(context: &Context, held: &mut Held, object: &Arc<TofuStateBackend>) -> Result<Duration, Fault> {
    let mut draft = Draft { last_handled: held.handled(object), ..Draft::default() };
    let suspended = object.spec.suspend;
    let known = held.open.is_some() || object.status.as_ref().is_some_and(|status| status.head_epoch.is_some());
    if suspended && !known {
        draft.findings.waits(
            PATH_CLAIMED,
            reason::SUSPENDED,
            "spec.suspend is true: it is not set up before that ends",
        );
        report(context, held, object, &draft).await?;
        return Ok(context.options.resync);
    }
    if !suspended {
        held.active = Some(object.clone());
    }
    // Of a suspended one that this process has not seen otherwise, the version that there is has to do.
    let resource = held.active.clone().unwrap_or_else(|| object.clone());

    let namespace = resource.metadata.namespace.clone().unwrap_or_default();
    let settings = match validate(&resource, context.namespace(&namespace).as_ref(), context.options.tenancy) {
        Ok(settings) => settings,
        Err(not) => {
            draft.findings.stalls(PATH_CLAIMED, not.reason, not.message.clone());
            shut_own(context, held, &resource, &not.message).await?;
            report(context, held, object, &draft).await?;
            return Ok(LATER);
        }
    };
    if !suspended {
        finalizer(context, object, true).await?;
    }
    let asked = requests::asked_to_look(object) || requests::accepts(object);
    let path = match store::look(context, held, &resource, &settings, asked && !suspended).await {
        Err(Fault::Away(message)) if held.backend.is_none() => {
            // Its clients have to be told 503 and not 403.
            let observed = observe(context, &resource, &settings).await?;
            let wanted = plan(held, &resource, &observed);
            let wish = store::wish(context, held, &resource, &settings.path, (&settings).into());
            serve(context, held, &resource, context.paths.shut(&wish, &message), &wanted, false);
            return Err(Fault::Away(message));
        }
        other => other?,
    };
    if let Some(checked) = &held.checked {
        draft.findings = checked.findings.clone();
        draft.openbao.clone_from(&checked.openbao);
    }
    let mut next = context.options.resync;
    if held.checked.as_ref().is_none_or(|checked| !checked.good) {
        next = next.min(LATER);
    }
    let state = match path {
        Path::Refused => {
            context.unpublish(held);
            if suspended {
                draft.findings.suspended();
            }
            report(context, held, object, &draft).await?;
            return Ok(next);
        }
        Path::Open(state) => {
            context.follow(object, &state);
            state
        }
        Path::Shut(why) => {
            let wish = store::wish(context, held, &resource, &settings.path, (&settings).into());
            context.paths.shut(&wish, &why)
        }
    };
    let wanted_settings = crate::store::Settings::from(&settings);
    if held.settings.as_ref() != Some(&wanted_settings) {
        state.set_settings(wanted_settings.clone());
        held.settings = Some(wanted_settings);
    }

    let observed = observe(context, &resource, &settings).await?;
    let wanted = plan(held, &resource, &observed);
    serve(context, held, &resource, state.clone(), &wanted, !suspended);
    if suspended {
        draft.findings.suspended();
        tell(&mut draft.findings, &wanted, None);
    } else {
        let written = write(context, &resource, &settings, &wanted, held, &observed).await?;
        tell(&mut draft.findings, &wanted, written);
        requests::run(context, &resource, &state, &mut draft.last_handled).await?;
    }
    draft.endpoints = Some(endpoints(context, &settings));
    if let Some(again) = stale::look(&state, settings.lock.stale_after, &mut draft.findings).await {
        next = next.min(again);
    }
    report(context, held, object, &draft).await?;
    Ok(next)
}

/// A path that is the resource's own and may not be served is answered with 503, not 403.
async fn shut_own(context: &Context, held: &mut Held, resource: &TofuStateBackend, why: &str) -> Result<(), Fault> {
    held.checked = None;
    let Ok(settings) = resource.settings() else { return Ok(()) };
    let (entries, who) = (context.paths.stores().owners(), context.claimant(resource));
    let standing = owners::standing(&*entries, &settings.path, &who, &mut Budget::new(super::LOOK)).await;
    if !matches!(standing, Ok(owners::Standing::Own(_))) {
        context.unpublish(held);
        return Ok(());
    }
    let observed = observe(context, resource, &settings).await?;
    let wanted = plan(held, resource, &observed);
    let wish = store::wish(context, held, resource, &settings.path, (&settings).into());
    serve(context, held, resource, context.paths.shut(&wish, why), &wanted, false);
    Ok(())
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
    let mut observed = Observed {
        secret: call(&format!("reading the Secret {namespace}/{name}"), secrets.get_opt(name)).await?,
        config: call(&format!("reading the ConfigMap {namespace}/{name}"), configs.get_opt(name)).await?,
        secrets: Secrets::new(),
    };
    for name in credentials::named(&resource.spec) {
        let found = call(&format!("reading the Secret {namespace}/{name}"), secrets.get_opt(name)).await?;
        observed.secrets.insert(name.to_owned(), found.map(objects::values));
    }
    // Under another name before: what it has kept goes on.
    if observed.secret.is_none() && resource.status.is_some() {
        observed.secret = former::<Secret>(context, resource).await?.into_iter().next();
    }
    Ok(observed)
}

/// What was written for the resource, under whatever name.
async fn former<K>(context: &Context, resource: &TofuStateBackend) -> Result<Vec<K>, Fault>
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

/// Who is to have which credential. Takes note of those that were replaced.
pub(super) fn plan(held: &mut Held, resource: &TofuStateBackend, observed: &Observed) -> Wanted {
    let Kept { token, ledger } = objects::kept(observed.secret.as_ref(), resource);
    if held.ledger.is_empty() {
        held.ledger = ledger;
    }
    credentials::wanted(&resource.spec, token, &observed.secrets)
}

/// Serves the path to those who may use it. `written`: the connection Secret is, or will be now, as it is wanted.
pub(super) fn serve(
    context: &Context,
    held: &mut Held,
    resource: &TofuStateBackend,
    state: State,
    wanted: &Wanted,
    written: bool,
) {
    let mut credentials = wanted.hashes();
    if wanted.new && !written {
        // Nobody has the new token: the one that runs have goes on.
        let is_main = |one: &&Credential| one.identity == credentials::TOKEN;
        credentials.retain(|one| !is_main(&one));
        let old = held.backend.as_ref().and_then(|old| old.credentials.iter().find(is_main).cloned());
        credentials.splice(0..0, old);
    } else {
        let revoke = resource.metadata.annotations.as_ref().and_then(|all| all.get(REVOKE_NOW));
        let now = context.paths.stores().owners().now();
        held.ledger = held.ledger.with(&wanted.tokens(), revoke.map(String::as_str), now);
    }
    let former = held.ledger.former.clone();
    context.publish(held, Backend { resource: name_of(resource), state, credentials, former });
}

/// Writes the connection Secret and the ConfigMap, where they are not as they should be. Answers why they cannot be.
async fn write(
    context: &Context,
    resource: &TofuStateBackend,
    settings: &Settings,
    wanted: &Wanted,
    held: &Held,
    observed: &Observed,
) -> Result<Option<(&'static str, String)>, Fault> {
    let Some(token) = &wanted.token else { return Ok(None) };
    let ca = match &context.options.ca_file {
        Some(file) => tokio::fs::read_to_string(file).await.ok(),
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
    let outputs = Outputs::new(resource, name, &connection, wanted.generated, &held.ledger);
    let here = |found: Option<&Secret>| found.filter(|found| found.metadata.name.as_ref() == Some(name)).cloned();
    let secret = here(observed.secret.as_ref());
    let found = [
        ("Secret", outputs.of_secret(secret.as_ref()), outputs.secret()),
        ("ConfigMap", outputs.of_config(observed.config.as_ref()), outputs.config()),
    ];
    for (kind, found, _) in &found {
        if *found == Found::Foreign {
            let message = format!(
                "there is a {kind} {name} that tofustate did not write: choose another name with spec.connectionSecretName, or remove it"
            );
            return Ok(Some((reason::NAME_TAKEN, message)));
        }
    }
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    let params = PatchParams::apply(MANAGER).force();
    for (kind, found, wanted) in found {
        if found == Found::Good {
            continue;
        }
        let doing = format!("writing the {kind} {namespace}/{name}");
        let done = match kind {
            "Secret" => {
                let api = context.cluster.of::<Secret>(namespace);
                call(&doing, api.patch_metadata(name, &params, &Patch::Apply(wanted))).await.map(drop)
            }
            _ => {
                let api = context.cluster.of::<ConfigMap>(namespace);
                call(&doing, api.patch_metadata(name, &params, &Patch::Apply(wanted))).await.map(drop)
            }
        };
        match done {
            Ok(()) => info!(resource = %name_of(resource), kind, name, "written"),
            Err(error) if error.refused() => return Ok(Some((reason::NOT_WRITTEN, error.to_string()))),
            Err(error) => return Err(error.into()),
        }
    }
    let observed_generation = resource.status.as_ref().and_then(|status| status.observed_generation);
    if resource.status.is_some() && observed_generation != resource.metadata.generation {
        remove_former(context, resource, name).await?;
    }
    Ok(None)
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

/// What is told of the credentials.
fn tell(findings: &mut Findings, wanted: &Wanted, written: Option<(&'static str, String)>) {
    let said = |refused: bool| {
        let of = wanted.wrong.iter().filter(|wrong| wrong.refused == refused);
        let messages: Vec<&str> = of.clone().map(|wrong| wrong.message.as_str()).collect();
        of.clone().next().map(|first| (first.reason, messages.join("; ")))
    };
    if let Some((reason, message)) = written {
        findings.stalls(CREDENTIALS_READY, reason, message);
    } else if let Some((reason, message)) = said(true) {
        let message = format!("{message}; until then that credential is refused");
        findings.waits(CREDENTIALS_READY, reason, message);
    } else if let Some((reason, message)) = said(false) {
        findings.good(CREDENTIALS_READY, reason, message);
    } else {
        findings.good(CREDENTIALS_READY, "Written", "the credentials are there and the connection Secret is written");
    }
}

pub(super) fn endpoints(context: &Context, settings: &Settings) -> Endpoints {
    let of = |url: &String| format!("{}/{}", url.trim_end_matches('/'), settings.path);
    Endpoints {
        internal: Some(of(&context.options.internal_url)),
        external: context.options.external_url.as_ref().map(of),
    }
}

/// Applies the status, where it is not so, and tells of what is new in it.
pub(super) async fn report(
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
    let api = context.cluster.of::<TofuStateBackend>(resource.metadata.namespace.as_deref().unwrap_or_default());
    let object = patch(resource, &wanted);
    let doing = format!("writing the status of {}", name_of(resource));
    call(&doing, api.patch_status(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object))).await?;
    let before = held.applied.replace(wanted.clone()).or_else(|| resource.status.clone());
    for condition in news(before.as_ref(), &wanted) {
        let (kind, wrong) = match (condition.type_.as_str(), condition.status.as_str()) {
            (READY, "True") => (Kind::Normal, false),
            (LOCK_STALE, "True") => (Kind::Warning, true),
            // What it is made of says more.
            (READY | STALLED | LOCK_STALE, _) => continue,
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

/// Puts the finalizer on a resource, or takes it away.
pub(super) async fn finalizer(context: &Context, resource: &TofuStateBackend, wanted: bool) -> Result<(), Fault> {
    let own = &resource.metadata;
    let mut all = own.finalizers.clone().unwrap_or_default();
    if all.iter().any(|one| one == FINALIZER) == wanted {
        return Ok(());
    }
    match wanted {
        true => all.push(FINALIZER.to_owned()),
        false => all.retain(|one| one != FINALIZER),
    }
    // Of the version that was looked at: somebody else's finalizer may have come since.
    let change = serde_json::json!({"metadata": {"resourceVersion": own.resource_version, "finalizers": all}});
    let name = own.name.as_deref().unwrap_or_default();
    let api = context.cluster.of::<TofuStateBackend>(own.namespace.as_deref().unwrap_or_default());
    let doing = format!("setting the finalizer of {}", name_of(resource));
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match call(&doing, api.patch_metadata(name, &params, &Patch::Merge(&change))).await {
        Err(error) if error.status == Some(404) && !wanted => Ok(()),
        done => Ok(done.map(drop)?),
    }
}
