//! A look at the store for one resource: the path claimed, its head registered, policy and token in place. Says what was
//! found as conditions.

use tokio::time::Instant;
use tracing::info;

use super::{
    conditions::Findings,
    context::{Checked, Context, Fault, Held, name_of},
    head,
    live::had,
    news::{self, Part},
    record, report,
    status::{is_newer, patch},
};
use crate::{
    controller::cluster::{CallError, call},
    crd::{
        OpenBaoStatus, Settings, TofuStateBackend, TofuStateBackendStatus,
        annotations::{ACCEPT_EMPTY, ACCEPT_RESTORE},
        conditions::{PATH_CLAIMED, POLICY_SYNCED, STORE_REACHABLE, TOKEN_READY, reason},
    },
    openbao::Fault as BaoFault,
    registry::open::{Faulty, Opened, Unopened, Wish, Word},
    store::{Budget, Epoch, Mark, OpId, State, StateError, StatePath, owners},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
};

/// What `accept-empty` says where no epoch is known.
const UNKNOWN: &str = "unknown";

/// Whose the path is, as far as it was found out.
pub(super) enum Path {
    /// The resource's, and its state can be asked.
    Open(State),
    /// The resource's, and nothing can be asked of its state: why.
    Shut(String),
    /// Not the resource's.
    Refused,
}

/// The wish of a resource.
pub(super) fn wish(
    context: &Context,
    held: &Held,
    resource: &TofuStateBackend,
    path: &StatePath,
    settings: crate::store::Settings,
) -> Wish {
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    Wish {
        path: path.clone(),
        who: context.claimant(resource),
        settings,
        adopt: super::validate::adopts(context.namespace(namespace).as_ref(), path),
        mark: mark(resource),
        open: held.open.clone(),
        empty: word(resource, ACCEPT_EMPTY),
        restore: word(resource, ACCEPT_RESTORE),
    }
}

/// How far the head was seen, by the status.
fn mark(resource: &TofuStateBackend) -> Option<Mark> {
    let status = resource.status.as_ref()?;
    let text = status.head_epoch.as_deref()?;
    // One that is none was put there by somebody else. It is not taken for absent: then a lost state would pass for one
    // that never was.
    let epoch = Epoch::parse(text).or_else(|| Epoch::parse(&OpId::of_request(text).to_string()))?;
    let revision = status.head_revision.and_then(|revision| u64::try_from(revision).ok());
    Some(Mark { epoch, revision: revision.unwrap_or_default() })
}

fn word(resource: &TofuStateBackend, annotation: &str) -> Word {
    match resource.metadata.annotations.as_ref().and_then(|all| all.get(annotation)).map(|value| value.trim()) {
        None => Word::Not,
        Some(UNKNOWN) => Word::Unknown,
        Some(text) => Epoch::parse(text).map_or(Word::Not, Word::Epoch),
    }
}

/// Whether the last look is good enough still.
fn is_fresh(held: &Held, resource: &TofuStateBackend, path: &StatePath, asked: bool) -> bool {
    let open = held.open.as_ref().is_some_and(|(state, _)| state.path() == path);
    let checked = held.checked.as_ref().is_some_and(|checked| {
        checked.good && checked.generation == resource.metadata.generation && Instant::now() < checked.until
    });
    open && checked && !asked
}

/// Looks at the store for a resource whose spec holds. `asked`: also where nothing says that it is needed. `found`: the
/// resource as it was written last.
pub(super) async fn look(
    context: &Context,
    held: &mut Held,
    resource: &TofuStateBackend,
    settings: &Settings,
    asked: bool,
    found: &mut Option<TofuStateBackend>,
) -> Result<Path, Fault> {
    if is_fresh(held, resource, &settings.path, asked)
        && let Some((state, _)) = &held.open
    {
        return Ok(Path::Open(state.clone()));
    }
    if held.checked.is_none()
        && !asked
        && let Some((state, checked)) = record::open(context, held, resource, settings)
    {
        held.checked = Some(checked);
        return Ok(Path::Open(state));
    }
    let began = Instant::now();
    // From now on it is looked at by this process.
    held.record = Some(began);
    let mut checked = Checked {
        until: began + context.options.resync.mul_f64(record::SHARE),
        generation: resource.metadata.generation,
        good: false,
        findings: Findings::default(),
        openbao: None,
    };
    let path = open(context, held, resource, settings, found, &mut checked).await?;
    if !matches!(path, Path::Refused) {
        token(context, resource, began, &mut checked).await?;
        if let (Some(openbao), Some((_, claim))) = (&mut checked.openbao, &held.open) {
            openbao.claim = i64::try_from(*claim).ok();
        }
    }
    held.checked = Some(checked);
    Ok(path)
}

async fn open(
    context: &Context,
    held: &mut Held,
    resource: &TofuStateBackend,
    settings: &Settings,
    written: &mut Option<TofuStateBackend>,
    checked: &mut Checked,
) -> Result<Path, Fault> {
    let found = &mut checked.findings;
    let path = &settings.path;
    let wish = wish(context, held, resource, path, settings.into());
    if let Some(elder) = elder(context, resource, &wish).await? {
        found.stalls(
            PATH_CLAIMED,
            reason::PATH_CONFLICT,
            format!("{elder} wants {path} too, and was there first: choose another path"),
        );
        return Ok(Path::Refused);
    }
    let refused = |found: &mut Findings, reason: &str, message: String| {
        found.stalls(PATH_CLAIMED, reason, message);
        Ok(Path::Refused)
    };
    let (state, claim, fault) = match context.paths.open(&wish).await {
        Ok(Opened { state, claim }) => {
            seen(context, resource, &state, written).await?;
            let new = held.open.as_ref().is_none_or(|(_, old)| *old != claim);
            if new {
                info!(resource = %name_of(resource), %path, claim, "has its path");
            }
            held.open = Some((state.clone(), claim));
            checked.good = true;
            found.good(PATH_CLAIMED, "Claimed", format!("{path} belongs to this resource"));
            found.good(STORE_REACHABLE, "Reachable", "the store answers for this state");
            return Ok(Path::Open(state));
        }
        Err(Unopened::Owned(owner)) => {
            held.open = None;
            let message = format!("{path} belongs to {owner}: choose another path, or delete that resource first");
            return refused(found, reason::PATH_CONFLICT, message);
        }
        Err(Unopened::HasState(error)) => return refused(found, reason::PATH_HAS_STATE, error),
        // Whose it is cannot be told: the one that had it is answered with 503.
        Err(Unopened::Damaged(error)) => {
            found.stalls(PATH_CLAIMED, reason::NOT_A_HEAD, error.clone());
            return Ok(if had(held, resource) { Path::Shut(error) } else { Path::Refused });
        }
        Err(Unopened::Busy) => {
            let message = "another replica claims the path at the same time";
            found.waits(PATH_CLAIMED, reason::CLAIM_UNDER_WAY, message);
            return Ok(if had(held, resource) { Path::Shut(message.to_owned()) } else { Path::Refused });
        }
        Err(Unopened::Away(message)) => return Err(Fault::Away(message)),
        Err(Unopened::Faulty { state, claim, fault }) => (state, claim, fault),
    };
    found.good(PATH_CLAIMED, "Claimed", format!("{path} belongs to this resource"));
    let (reason, message, person) = told(&fault, path, state.as_ref());
    match person {
        true => found.stalls(STORE_REACHABLE, reason, message.clone()),
        false => found.waits(STORE_REACHABLE, reason, message.clone()),
    }
    Ok(match state {
        Some(state) => {
            held.open = Some((state.clone(), claim));
            Path::Open(state)
        }
        None => Path::Shut(message),
    })
}

/// What is said of a state that cannot be used, and whether only a person can mend it.
fn told(fault: &Faulty, path: &StatePath, state: Option<&State>) -> (&'static str, String, bool) {
    let until = "until then every request is answered with 503";
    match fault {
        Faulty::Missing => (
            reason::HEAD_LOST,
            format!(
                "{path} was claimed for this resource before, the store has no state there, and nothing on record says that there never was one: restore the store from a backup, or say that there was none with the annotation {ACCEPT_EMPTY}: {UNKNOWN}; {until}"
            ),
            true,
        ),
        Faulty::Lost { epoch } => (
            reason::HEAD_LOST,
            format!(
                "this state was in the store and is gone: restore the store from a backup, or begin anew from nothing with the annotation {ACCEPT_EMPTY}: {epoch} (tofu then plans to build everything again); {until}"
            ),
            true,
        ),
        Faulty::Behind { epoch, seen, found } => (
            reason::STORE_WENT_BACK,
            format!(
                "the store has an older state (revision {found}) than was seen before (revision {seen}): restore a newer backup, or go on from the older state with the annotation {ACCEPT_RESTORE}: {epoch}; {until}"
            ),
            true,
        ),
        Faulty::NotAHead(error) if state.is_none_or(|state| state.mark().is_none()) => (
            reason::PATH_HAS_STATE,
            format!(
                "{error}: tofustate adopt {path} takes it over, or remove it; {until}, and nothing is written there"
            ),
            true,
        ),
        Faulty::NotAHead(error) => {
            (reason::NOT_A_HEAD, format!("{error}: restore the store from a backup; {until}"), true)
        }
        Faulty::Other(error @ StateError::Refused(_)) => (reason::NOT_A_HEAD, error.to_string(), true),
        Faulty::Other(error) => (reason::STORE_FAULT, format!("{error}; it is tried again"), false),
    }
}

/// An older resource that wants the same path, where that is nobody's yet.
async fn elder(context: &Context, resource: &TofuStateBackend, wish: &Wish) -> Result<Option<String>, Fault> {
    let objects = context.rivals(resource);
    let allowed = |other: &&TofuStateBackend| {
        let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
        let says = context.namespace(namespace);
        super::validate::validate(other, says.as_ref(), context.options.tenancy).is_ok()
    };
    let others = objects.iter().filter(allowed);
    let Some(elder) = super::validate::older(resource, others) else { return Ok(None) };
    match context.standing(resource, &wish.path).await {
        Ok(owners::Standing::Free) => Ok(Some(name_of(elder).to_string())),
        Ok(_) => Ok(None),
        Err(owners::ClaimError::Store { message, .. }) => Err(Fault::Away(message)),
        // The claim says so, too.
        Err(_) => Ok(None),
    }
}

/// Takes down which head was seen, before the path is first served: else a store that is lost right after would not be
/// noticed.
async fn seen(
    context: &Context,
    resource: &TofuStateBackend,
    state: &State,
    written: &mut Option<TofuStateBackend>,
) -> Result<(), Fault> {
    if !is_newer(resource.status.as_ref(), state.mark()) {
        return Ok(());
    }
    let head = state.recent(&mut Budget::new(super::LOOK)).await.map_err(|error| Fault::Away(error.to_string()))?;
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    let api = context.cluster.of::<PartialObjectMeta<TofuStateBackend>>(namespace);
    let doing = format!("writing the status of {}", name_of(resource));
    // What the watch showed is older than the finalizer that was just set.
    let version = match written {
        Some(written) => written.metadata.resource_version.clone(),
        None => {
            let now = call(&doing, api.get_metadata(name)).await?.metadata;
            if now.uid != resource.metadata.uid {
                let message = "it was deleted and made anew meanwhile".to_owned();
                return Err(CallError { doing, message, status: Some(409) }.into());
            }
            now.resource_version
        }
    };
    let shown = head::status(&head);
    let mut status = patch(resource, &shown);
    status["metadata"]["resourceVersion"] = version.into();
    let epoch = news::sum(&shown.head_epoch.as_deref());
    context.news.writes(&name_of(resource), resource.metadata.uid.as_deref(), Part::Epoch, epoch);
    let (params, status) = (PatchParams::apply(report::MANAGER).force(), Patch::Apply(&status));
    let made = call(&doing, api.patch_status(name, &params, &status)).await?;
    let mut now = resource.clone();
    now.metadata.resource_version = made.metadata.resource_version;
    let former = now.status.take().unwrap_or_default();
    now.status = Some(TofuStateBackendStatus {
        observed_generation: former.observed_generation,
        conditions: former.conditions,
        endpoints: former.endpoints,
        openbao: former.openbao,
        last_handled: former.last_handled,
        ..shown
    });
    *written = Some(now);
    Ok(())
}

/// Sees to it that policy and token are as they should be.
async fn token(
    context: &Context,
    resource: &TofuStateBackend,
    began: Instant,
    checked: &mut Checked,
) -> Result<(), Fault> {
    let name = name_of(resource);
    let found = &mut checked.findings;
    let Some(token) = context.openbao.token(&name.namespace, &name.name) else {
        found.unknown(TOKEN_READY, reason::STORE_FAULT, "the state's token was not asked for yet");
        return Ok(());
    };
    match token.check_since(began).await {
        Ok(seen) => {
            found.good(
                POLICY_SYNCED,
                "Synced",
                format!("the policy {} admits this state and nothing else", seen.policy),
            );
            found.good(TOKEN_READY, "Renewed", "the state's own token lives, and is renewed");
            checked.openbao = Some(OpenBaoStatus {
                policy: Some(seen.policy),
                token_accessor: Some(seen.accessor),
                token_expires: seen.expires.map(Time),
                claim: None,
            });
            Ok(())
        }
        Err(fault) if fault.passes() => Err(Fault::Away(fault.to_string())),
        Err(fault) => {
            checked.good = false;
            let reason = match fault {
                BaoFault::RoleGone(_) => "RoleGone",
                BaoFault::PolicyGone(_) => "OperatorPolicyGone",
                BaoFault::KeptByNobody(_) => "TokenNotKept",
                _ => reason::OPENBAO_REFUSES,
            };
            found.waits(TOKEN_READY, reason, format!("the state's own token cannot be had or looked after: {fault}"));
            Ok(())
        }
    }
}
