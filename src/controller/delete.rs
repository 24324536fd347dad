//! The end of a resource: its state is released, or its versions deleted, then go token and policy, then the path is given
//! up, and last the finalizer. A locked state is served until it is unlocked.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    FINALIZER,
    context::{Context, Fault, Held, name_of},
    events::Kind,
    keeper,
    live::endpoints,
    observe::observe,
    requests,
    serve::{plan, serve},
    status::Draft,
    store,
    write::{self, finalizer},
};
use crate::{
    crd::{
        DeletionPolicy, Settings, StatePath, TofuStateBackend,
        annotations::{CONFIRM_DELETE, FORCE_UNLOCK},
        clip,
        conditions::reason,
    },
    registry::open::Unopened,
    store::{
        Budget, LockInfo, State, StateError,
        head::{Lock, Refusal},
        owners::{self, ClaimError, Leftover, Standing},
    },
};

/// How long until a state that is waited for is looked at again.
const AGAIN: Duration = Duration::from_secs(5);

/// What became of a state.
enum Release {
    /// It is given up, and leaves this.
    Done(Leftover),
    /// Its lock is waited for.
    Locked(Box<Lock>),
    /// A person has to act first: why.
    Waits(&'static str, String),
}

/// Ends a resource, and answers when it is to be looked at again.
pub(super) async fn run(
    context: &Context,
    held: &mut Held,
    resource: &Arc<TofuStateBackend>,
) -> Result<Duration, Fault> {
    if !resource.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER) {
        // Somebody took it away, or it never had a path. Another's finalizer may keep the object.
        context.unpublish(held);
        return Ok(context.options.resync);
    }
    let Ok(path) = StatePath::parse(&resource.spec.path) else {
        return finish(context, held, resource).await;
    };
    let done = give_up(context, held, resource, &path).await;
    match &done {
        Ok(_) => held.away_since = None,
        Err(Fault::Away(_)) => drop(held.away_since.get_or_insert_with(Instant::now)),
        Err(Fault::Call(_)) => {}
    }
    match done {
        Ok(None) => {
            info!(resource = %name_of(&**resource), %path, "released");
            finish(context, held, resource).await
        }
        Ok(Some(again)) => Ok(again),
        Err(Fault::Away(why))
            if retains(resource) && is_late(context, held, resource) && !is_locked(held, resource).await =>
        {
            let name = name_of(&**resource);
            let kept = context.openbao.policy(&name.namespace, &name.name).map(|policy| keeper::name(&policy));
            let note = format!(
                "the store does not answer ({why}), so this was left there: the owner entry .owners/{}, the policy tofustate/{}/{name} and the token of accessor {}, which is kept in the Secret {}/{}; the path stays this namespace and name's, the token and its policy are ended by the operator when the store is back",
                path.as_str().replace('/', ":"),
                context.options.instance,
                resource
                    .status
                    .as_ref()
                    .and_then(|status| status.openbao.as_ref()?.token_accessor.as_deref())
                    .unwrap_or("(unknown)"),
                context.options.namespace,
                kept.as_deref().unwrap_or("(none)"),
            );
            warn!(resource = %name_of(&**resource), %path, "{note}");
            context.events.of(resource, Kind::Warning, "LeftBehind", &note).await;
            context.openbao.leave(&name.namespace, &name.name);
            finish(context, held, resource).await
        }
        Err(fault) => Err(fault),
    }
}

fn retains(resource: &TofuStateBackend) -> bool {
    resource.spec.retention.deletion_policy == DeletionPolicy::Retain
}

/// Whether the store is away for too long. A deletion may wait for other things long before that, such as a lock.
fn is_late(context: &Context, held: &Held, resource: &TofuStateBackend) -> bool {
    let wait = context.options.release_wait;
    let since = resource.metadata.deletion_timestamp.as_ref().map(|time| Context::now().duration_since(time.0));
    since.is_some_and(|since| Duration::try_from(since).is_ok_and(|since| since >= wait))
        && held.away_since.is_some_and(|since| since.elapsed() >= wait)
}

/// Whether a run held the lock when the state was last seen: that goes on as soon as the store is back.
async fn is_locked(held: &Held, resource: &TofuStateBackend) -> bool {
    if resource.status.as_ref().and_then(|status| status.locked) == Some(true) {
        return true;
    }
    let Some((state, _)) = &held.open else { return false };
    // No time to ask: only what was seen.
    state.recent(&mut Budget::new(Duration::ZERO)).await.is_ok_and(|head| head.lock.is_some())
}

async fn finish(context: &Context, held: &mut Held, resource: &TofuStateBackend) -> Result<Duration, Fault> {
    context.unpublish(held);
    finalizer(context, resource, false).await?;
    held.open = None;
    context.wake_others(&name_of(resource), &resource.spec.path);
    Ok(context.options.resync)
}

/// Gives the path up. Answers when to look again, where it is not done.
async fn give_up(
    context: &Context,
    held: &mut Held,
    resource: &Arc<TofuStateBackend>,
    path: &StatePath,
) -> Result<Option<Duration>, Fault> {
    let (entries, who) = (context.paths.stores().owners(), context.claimant(resource));
    let budget = &mut Budget::new(super::LOOK);
    let standing = owners::standing(&*entries, path, &who, budget).await;
    let claim = match standing {
        Ok(Standing::Own(claim)) => claim,
        // Its owner entry is gone, its head need not be: it may be locked.
        Ok(Standing::Free) if resource.status.as_ref().is_some_and(|status| status.head_epoch.is_some()) => {
            let settings = resource.settings().map(|settings| (&settings).into()).unwrap_or_default();
            match context.paths.open(&store::wish(context, held, resource, path, settings)).await {
                Ok(opened) => {
                    held.open = Some((opened.state, opened.claim));
                    opened.claim
                }
                Err(Unopened::Away(why)) => return Err(Fault::Away(why)),
                Err(Unopened::Faulty { claim, .. }) => claim,
                Err(_) => {
                    forget(context, resource).await?;
                    return Ok(None);
                }
            }
        }
        Ok(Standing::Free | Standing::Released | Standing::Anothers) | Err(ClaimError::Damaged { .. }) => {
            forget(context, resource).await?;
            return Ok(None);
        }
        Err(error) => return Err(Fault::Away(error.to_string())),
    };
    let settings = resource.settings().ok();
    let mut draft = Draft { last_handled: held.handled(resource), ..Draft::default() };
    let leaves = match release(context, held, resource, path, claim, &mut draft).await? {
        Release::Done(leaves) => leaves,
        Release::Locked(lock) => {
            let who = LockInfo::parse(lock.info.as_bytes()).map(|info| info.who).unwrap_or_default();
            let message = format!(
                "it is being deleted and waits for the lock {} of {} ({}): it is served until that is released; {FORCE_UNLOCK}: {} breaks it",
                clip(&lock.id),
                clip(&who),
                lock.identity,
                clip(&lock.id)
            );
            stays(context, held, resource, settings.as_ref(), draft, reason::WAITING_FOR_UNLOCK, message).await?;
            return Ok(Some(AGAIN));
        }
        Release::Waits(reason, message) => {
            stays(context, held, resource, settings.as_ref(), draft, reason, message).await?;
            return Ok(Some(AGAIN));
        }
    };
    context.unpublish(held);
    // Its token ends with the first step of that: where one fails, the state is opened with another.
    held.open = None;
    forget(context, resource).await?;
    match owners::release(&*entries, path, &who, claim, leaves, &mut Budget::new(super::LOOK)).await {
        Ok(()) | Err(ClaimError::Superseded(_) | ClaimError::Damaged { .. }) => Ok(None),
        Err(error) => Err(Fault::Away(error.to_string())),
    }
}

/// Ends its policy and its tokens.
async fn forget(context: &Context, resource: &TofuStateBackend) -> Result<(), Fault> {
    let name = name_of(resource);
    context.openbao.forget(&name.namespace, &name.name).await.map_err(|fault| Fault::Away(fault.to_string()))
}

/// Goes on serving a state that cannot be given up yet, and says why.
async fn stays(
    context: &Context,
    held: &mut Held,
    resource: &Arc<TofuStateBackend>,
    settings: Option<&Settings>,
    mut draft: Draft,
    reason: &str,
    message: String,
) -> Result<(), Fault> {
    if let (Some(settings), Some((state, _))) = (settings, held.open.clone()) {
        let observed = observe(context, resource, settings).await?;
        let wanted = plan(held, resource, &observed);
        context.follow(held, resource, &state, false);
        serve(context, held, resource, state, &wanted, false);
        draft.endpoints = Some(endpoints(context, settings));
    }
    if let Some(checked) = &held.checked {
        draft.findings = checked.findings.clone();
        draft.openbao.clone_from(&checked.openbao);
    } else {
        draft.openbao = resource.status.as_ref().and_then(|status| status.openbao.clone());
    }
    draft.findings.good(
        crate::crd::conditions::PATH_CLAIMED,
        "Claimed",
        format!("{} belongs to this resource", resource.spec.path),
    );
    draft.findings.needs(reason, message);
    write::status(context, held, resource, &draft).await
}

/// Releases the head, where that may be done.
async fn release(
    context: &Context,
    held: &mut Held,
    resource: &TofuStateBackend,
    path: &StatePath,
    claim: u64,
    draft: &mut Draft,
) -> Result<Release, Fault> {
    let delete = !retains(resource);
    let state = match open(context, held, resource, path, claim).await? {
        Ok(state) => state,
        Err(release) => return Ok(release),
    };
    requests::force_unlock(context, resource, &state, &mut draft.last_handled).await?;
    let head = match state.head(&mut Budget::new(super::LOOK)).await {
        Ok(head) => head,
        Err(error) => return gone(error, resource),
    };
    if let Some(lock) = &head.lock {
        return Ok(Release::Locked(Box::new(lock.clone())));
    }
    if delete
        && let Some(current) = head.current()
        && (current.encrypted || current.resources.is_none_or(|resources| resources > 0))
        && !is_confirmed(resource)
    {
        let what = match (current.encrypted, current.resources) {
            (false, Some(resources)) => format!("has {resources} resources"),
            _ => "is encrypted, so nobody knows whether it has resources".to_owned(),
        };
        let message = format!(
            "its state {what}, and deletionPolicy Delete would delete all versions: confirm it with the annotation {CONFIRM_DELETE}: {path}, or set deletionPolicy Retain"
        );
        return Ok(Release::Waits(reason::NEEDS_CONFIRMATION, message));
    }
    match state.release(delete, &mut Budget::new(super::LOOK)).await {
        Ok(leaves) => Ok(Release::Done(leaves)),
        Err(StateError::Refused(Refusal::Held(lock))) => Ok(Release::Locked(lock)),
        Err(error) => gone(error, resource),
    }
}

fn is_confirmed(resource: &TofuStateBackend) -> bool {
    let confirmed = resource.metadata.annotations.as_ref().and_then(|all| all.get(CONFIRM_DELETE));
    confirmed.is_some_and(|confirmed| confirmed.trim() == resource.spec.path)
}

/// The state, to be released; or what becomes of one that cannot be opened.
async fn open(
    context: &Context,
    held: &mut Held,
    resource: &TofuStateBackend,
    path: &StatePath,
    claim: u64,
) -> Result<Result<State, Release>, Fault> {
    let settings = resource.settings().map(|settings| (&settings).into()).unwrap_or_default();
    let wish = store::wish(context, held, resource, path, settings);
    let own = held.open.as_ref().filter(|(_, of)| *of == claim).map(|(state, _)| state.clone());
    let state = own.clone().unwrap_or_else(|| context.paths.handle(&wish, claim));
    // Released already, and came no further: this process, or one before it.
    if let Err(StateError::Refused(Refusal::ForeignOwner(owner))) = state.head(&mut Budget::new(super::LOOK)).await
        && owner.released
        && owner.claim == claim
        && owner.same_resource(&wish.who.owner(claim))
    {
        return match state.release(!retains(resource), &mut Budget::new(super::LOOK)).await {
            Ok(leaves) => Ok(Err(Release::Done(leaves))),
            Err(error) => gone(error, resource).map(Err),
        };
    }
    if let Some(state) = own {
        return Ok(Ok(state));
    }
    match context.paths.open(&wish).await {
        Ok(opened) => {
            held.open = Some((opened.state.clone(), opened.claim));
            Ok(Ok(opened.state))
        }
        Err(Unopened::Away(why)) => Err(Fault::Away(why)),
        Err(Unopened::Faulty { state: Some(state), .. }) => Ok(Ok(state)),
        // There is no head of its own: nothing to release.
        Err(_) => Ok(Err(Release::Done(Leftover::State))),
    }
}

/// What becomes of a state that cannot be used.
fn gone(error: StateError, resource: &TofuStateBackend) -> Result<Release, Fault> {
    match error {
        StateError::Unavailable { .. } | StateError::Busy { .. } => Err(Fault::Away(error.to_string())),
        // Where it comes back with a backup, only this namespace and name gets it.
        _ if retains(resource) => Ok(Release::Done(Leftover::State)),
        StateError::HeadLost { .. } | StateError::NotRegistered => Ok(Release::Done(Leftover::Nothing)),
        StateError::Store { .. } => Err(Fault::Away(error.to_string())),
        error => {
            let message =
                format!("its versions cannot be deleted: {error}; or set deletionPolicy Retain, which leaves them");
            Ok(Release::Waits(reason::STORE_FAULT, message))
        }
    }
}
