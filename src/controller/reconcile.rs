//! What is done with a resource each time something about it may have changed: the object as the watch has it, one
//! reconciliation at a time, and the next try where one failed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use kube::{core::error_boundary::InvalidObject, runtime::controller::Action};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    context::{Context, Fault, Held, name_of},
    delete,
    events::Kind,
    follow, live, salvage,
    watched::Watched,
};
use crate::{crd::TofuStateBackend, registry::ResourceName};

/// How long until the next try, where the store is away.
const AWAY: Duration = Duration::from_secs(5);
/// The first wait after a failure, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// How long one resource may keep it open who may have which path. After that it is as if it had none.
const OPEN: Duration = Duration::from_secs(30);

/// What one came to.
pub(super) enum Outcome {
    /// All that could be done was.
    Done,
    /// It is tried again; nothing is known of who may use the path.
    Again,
}

/// A resource, or why it does not decode.
type Found = Result<Arc<TofuStateBackend>, Box<InvalidObject>>;

pub(super) async fn reconcile(object: Arc<Watched>, context: Arc<Context>) -> Result<Action, Infallible> {
    let began = Instant::now();
    let name = name_of(&*object);
    let held = context.held(&name);
    let mut held = held.lock().await;
    let found: Found = object.get().map(Arc::new);
    let metadata = found.as_ref().map_or_else(|invalid| &invalid.metadata, |resource| &resource.metadata);
    let uid = metadata.uid.clone().unwrap_or_default();
    if held.uid != uid {
        // Another of the same name: what was known is not of this one.
        context.unpublish(&mut held);
        *held = Held { uid, ..Held::default() };
    }
    held.restored = object.restored;
    // One that is not the leader any more stops where it is, and goes on as the others do.
    let done = match context.lead.during(look(&context, &mut held, &found).boxed()).await {
        Some(done) => done,
        None => follow(&context, &mut held, &found).await,
    };
    let counted = match &done {
        Ok(_) => "ok",
        Err(Fault::Away(_)) => "away",
        Err(Fault::Call(error)) if error.status == Some(409) => "conflict",
        Err(Fault::Call(_)) => "failed",
    };
    context.metrics.reconciled(counted, began.elapsed());
    let (outcome, next) = match done {
        Ok(next) => {
            (held.failures, held.failing) = (0, None);
            (Outcome::Done, next)
        }
        Err(Fault::Away(why)) => {
            context.waits(&name, &why);
            (Outcome::Done, AWAY)
        }
        Err(Fault::Call(error)) => {
            held.failures = held.failures.saturating_add(1);
            let wait = FIRST.saturating_mul(1 << held.failures.min(9).saturating_sub(1)).min(LONGEST);
            if error.status == Some(409) {
                debug!(resource = %name, %error, "it changed meanwhile");
            } else {
                warn!(resource = %name, %error, again = ?wait, "could not be reconciled");
            }
            let mut known = held.backend.is_some() || error.refused();
            if !known {
                // Its own clients are told 503, as where the store is away; and no other resource waits for it.
                known = shut(&context, &mut held, &found, &error.to_string()).await.is_ok();
            }
            let since = *held.failing.get_or_insert(began);
            (if known || since.elapsed() >= OPEN { Outcome::Done } else { Outcome::Again }, wait)
        }
    };
    context.first(&name, &outcome);
    // Many were told of the same at once.
    Ok(Action::requeue(next.mul_f64(rand::random_range(0.9..1.1))))
}

/// As the leader.
async fn look(context: &Context, held: &mut Held, found: &Found) -> Result<Duration, Fault> {
    let resource = match found {
        Ok(resource) => resource,
        Err(invalid) => return undecodable(context, held, invalid).await,
    };
    held.undecodable = false;
    match resource.metadata.deletion_timestamp {
        Some(_) => delete::run(context, held, resource).await,
        None => live::run(context, held, resource).await,
    }
}

/// As one of the others.
async fn follow(context: &Context, held: &mut Held, found: &Found) -> Result<Duration, Fault> {
    match found {
        Ok(resource) => follow::run(context, held, resource).await,
        Err(invalid) => {
            shut_undecodable(context, held, invalid).await?;
            Ok(context.options.resync)
        }
    }
}

/// Answers the requests for the path of a resource with 503, where it is the resource's own.
async fn shut(context: &Context, held: &mut Held, found: &Found, why: &str) -> Result<(), Fault> {
    match found {
        Ok(resource) => live::shut_own(context, held, resource, why).await,
        Err(_) => Err(Fault::Away("it does not decode".to_owned())),
    }
}

/// A resource that does not decode any more goes on as it was. Where this process has not seen it otherwise, its path is
/// answered with 503, as far as what can be read of it names one. Its deletion is that of what it was, or of what can be
/// read.
async fn undecodable(context: &Context, held: &mut Held, invalid: &InvalidObject) -> Result<Duration, Fault> {
    let fault = salvage::fault(invalid);
    if !std::mem::replace(&mut held.undecodable, true) {
        let name = ResourceName {
            namespace: invalid.metadata.namespace.clone().unwrap_or_default(),
            name: invalid.metadata.name.clone().unwrap_or_default(),
        };
        warn!(resource = %name, fault, "this resource does not decode: its changes wait; is the CustomResourceDefinition the one of this release?");
        let note = format!(
            "this resource does not decode ({fault}): it goes on as this process knew it, else its path is answered with 503, and its changes wait: mend it, and see that the CustomResourceDefinition is the one of this release"
        );
        context.events.of_any(&invalid.metadata, Kind::Warning, "DoesNotDecode", &note).await;
    }
    match shut_undecodable(context, held, invalid).await? {
        Some(resource) if resource.metadata.deletion_timestamp.is_some() => {
            delete::run(context, held, &Arc::new(resource)).await
        }
        _ => Ok(context.options.resync),
    }
}

/// What it was, or can be read of it; its path is answered with 503 where this process has not seen it otherwise.
async fn shut_undecodable(
    context: &Context,
    held: &mut Held,
    invalid: &InvalidObject,
) -> Result<Option<TofuStateBackend>, Fault> {
    if let Some(former) = context.former.get(&invalid.metadata) {
        return Ok(Some(TofuStateBackend { metadata: invalid.metadata.clone(), ..former }));
    }
    let found = salvage::read(context, &invalid.metadata).await?;
    if let Some(resource) = &found
        && resource.metadata.deletion_timestamp.is_none()
    {
        let why = format!("the resource {} does not decode ({})", name_of(resource), salvage::fault(invalid));
        live::shut_own(context, held, resource, &why).await?;
    }
    Ok(found)
}
