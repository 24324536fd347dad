//! What is done with a resource each time something about it may have changed: the object as the watch has it, one
//! reconciliation at a time, and the next try where one failed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use kube::{core::error_boundary::InvalidObject, runtime::controller::Action};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    context::{Context, Fault, Guarded, Held, name_of},
    delete, live,
};
use crate::{crd::TofuStateBackend, registry::ResourceName};

/// How long until the next try, where the store is away.
const AWAY: Duration = Duration::from_secs(5);
/// The first wait after a failure, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// What one came to.
pub(super) enum Outcome {
    /// All that could be done was.
    Done,
    /// It is tried again; nothing is known of who may use the path.
    Again,
}

pub(super) async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Infallible> {
    let began = Instant::now();
    let name = name_of(&*object);
    let held = context.held(&name);
    let mut held = held.lock().await;
    let uid = kube::ResourceExt::uid(&*object).unwrap_or_default();
    if held.uid != uid {
        // Another of the same name: what was known is not of this one.
        context.unpublish(&mut held);
        *held = Held { uid, ..Held::default() };
    }
    let done = match &object.0 {
        Ok(resource) => one(&context, &mut held, resource).await,
        Err(invalid) => undecodable(&context, &mut held, invalid).await,
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
            if object.0.is_ok() {
                held.failures = 0;
            }
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
            let known = held.backend.is_some() || error.refused();
            (if known { Outcome::Done } else { Outcome::Again }, wait)
        }
    };
    context.first(&name, &outcome);
    // Many were told of the same at once.
    Ok(Action::requeue(next.mul_f64(rand::random_range(0.9..1.1))))
}

async fn one(context: &Context, held: &mut Held, resource: &TofuStateBackend) -> Result<Duration, Fault> {
    let resource = Arc::new(resource.clone());
    match resource.metadata.deletion_timestamp {
        Some(_) => delete::run(context, held, &resource).await,
        None => live::run(context, held, &resource).await,
    }
}

/// A resource that does not decode any more goes on as it was; its deletion is that of what it was.
async fn undecodable(context: &Context, held: &mut Held, invalid: &InvalidObject) -> Result<Duration, Fault> {
    if let (Some(active), Some(_)) = (held.active.clone(), &invalid.metadata.deletion_timestamp) {
        let resource = TofuStateBackend { metadata: invalid.metadata.clone(), ..(*active).clone() };
        return delete::run(context, held, &Arc::new(resource)).await;
    }
    if held.failures == 0 {
        // The text may repeat a value, and a credential may stand in a wrong place.
        let fault = invalid.error.split(['`', '"']).next().unwrap_or_default().trim_end().to_owned();
        let name = ResourceName {
            namespace: invalid.metadata.namespace.clone().unwrap_or_default(),
            name: invalid.metadata.name.clone().unwrap_or_default(),
        };
        warn!(resource = %name, fault, "this resource does not decode: it is served as it was before, and its changes wait; is the CustomResourceDefinition the one of this release?");
    }
    held.failures = 1;
    Ok(context.options.resync)
}
