//! A resource as the replicas have it that do not run the controller: its path is served as the leader set it up. Reads
//! only.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    context::{Context, Fault, Held},
    ledger::Ledger,
    live::{LATER, had, shut_own},
    objects,
    observe::observe,
    record,
    serve::{plan, serve},
    store,
    validate::validate,
};
use crate::{
    crd::{StatePath, TofuStateBackend},
    store::{
        State,
        owners::{ClaimError, Standing},
    },
};

/// Serves a resource as it is, and answers when it is to be looked at again without anything having changed.
pub(super) async fn run(context: &Context, held: &mut Held, object: &Arc<TofuStateBackend>) -> Result<Duration, Fault> {
    // One that becomes the leader goes by what the status says by then.
    held.checked = None;
    if std::mem::take(&mut held.led) {
        held.record = None;
    }
    held.applied = None;
    let resource = context.active(object);
    let namespace = resource.metadata.namespace.clone().unwrap_or_default();
    let settings = match validate(&resource, context.namespace(&namespace).as_ref(), context.options.tenancy) {
        Ok(settings) => settings,
        Err(not) => {
            shut_own(context, held, &resource, &not.message).await?;
            return Ok(LATER);
        }
    };
    let mut next = context.options.resync;
    let (state, left) = match record::open(context, held, &resource, &settings) {
        Some((state, checked)) => {
            next = next.min(checked.left());
            (state, None)
        }
        None if let Some((state, left)) = found(context, held, &resource, &settings.path) => {
            next = next.min(left);
            (state, None)
        }
        None => match context.standing(&resource, &settings.path).await {
            Ok(Standing::Own(claim)) => {
                // Of thousands that are looked at in the same moment, not all are again.
                let lasts = context.options.resync.mul_f64(rand::random_range(0.5..1.0));
                held.standing = Some((claim, Instant::now() + lasts));
                next = next.min(lasts);
                (opened(context, held, &resource, &settings, claim), None)
            }
            Ok(Standing::Free | Standing::Released | Standing::Anothers) => {
                context.unpublish(held);
                held.open = None;
                return Ok(next);
            }
            Err(_) if held.open.is_none() && !had(held, &resource) => return Ok(LATER),
            // What it has open goes on.
            Err(error) => (shut(context, held, &resource, &settings, &error), Some(error)),
        },
    };
    let wanted_settings = crate::store::Settings::from(&settings);
    if held.settings.as_ref() != Some(&wanted_settings) {
        state.set_settings(wanted_settings.clone());
        held.settings = Some(wanted_settings);
    }
    context.follow(held, object, &state, false);
    let observed = observe(context, &resource, &settings).await?;
    if observed.secret.as_ref().is_some_and(|secret| objects::is_own(secret, &resource)) {
        // What the leader wrote there counts.
        held.ledger = Ledger::default();
    }
    let wanted = plan(held, &resource, &observed);
    serve(context, held, &resource, state, &wanted, false);
    match left {
        Some(error) => Err(Fault::Away(error.to_string())),
        None => Ok(next),
    }
}

/// The state as this process found it and has it open, and for how long that is good enough: as long as the leader says the
/// same. Each request compares the claim with the head itself.
fn found(context: &Context, held: &Held, resource: &TofuStateBackend, path: &StatePath) -> Option<(State, Duration)> {
    let ((state, claim), (of, until)) = (held.open.as_ref()?, held.standing?);
    let left = until.saturating_duration_since(Instant::now());
    let told = resource.status.as_ref()?.openbao.as_ref()?.claim?;
    let same = *claim == of && u64::try_from(told).is_ok_and(|told| told == of) && state.path() == path;
    (same && !left.is_zero() && context.rivals(resource).is_empty()).then(|| (state.clone(), left))
}

/// The state under this claim.
fn opened(
    context: &Context,
    held: &mut Held,
    resource: &TofuStateBackend,
    settings: &crate::crd::Settings,
    claim: u64,
) -> State {
    let wish = store::wish(context, held, resource, &settings.path, settings.into());
    if let Some((state, of)) = &held.open
        && *of == claim
        && state.path() == &settings.path
        // Where a person accepted another head than was seen, the leader wrote which.
        && (state.mark().is_none() || wish.mark.is_none_or(|mark| state.mark().is_some_and(|own| own.epoch == mark.epoch)))
    {
        return state.clone();
    }
    let state = context.paths.handle(&wish, claim);
    held.open = Some((state.clone(), claim));
    state
}

/// What is served while nobody can say whose the path is.
fn shut(
    context: &Context,
    held: &Held,
    resource: &TofuStateBackend,
    settings: &crate::crd::Settings,
    why: &ClaimError,
) -> State {
    match (&held.open, why) {
        (Some((state, _)), ClaimError::Store { .. }) => state.clone(),
        _ => {
            let wish = store::wish(context, held, resource, &settings.path, settings.into());
            context.paths.shut(&wish, &why.to_string())
        }
    }
}
