//! Tokens that are kept for resources that are gone: one left while OpenBao was away, or whose finalizer was taken away.
//! They are ended by the leader, with their policies; the paths stay their resources' own.

use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::context::Context;
use crate::{openbao::Fault, registry::ResourceName};

/// How often it is looked whether all resources were looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a store is given that does not answer, and whoever ends what was left in an orderly way.
const AGAIN: Duration = Duration::from_secs(30);
/// Until it is tried again what nobody allows.
const LATER: Duration = Duration::from_mins(10);

/// Ends them, as the leader, once it is known which resources there are. Never comes back.
pub(super) async fn run(context: &Context) {
    while !context.registry.is_loaded() {
        sleep(LOOK).await;
    }
    let mut restored = context.restored.subscribe();
    loop {
        context.lead.gained().await;
        if restored.has_changed().unwrap_or(false) {
            // What was made after the backup is not there any more, as the lists that come now will show.
            restored.mark_unchanged();
            sleep(AGAIN).await;
        }
        match context.lead.during(end(context)).await {
            // Not by this one.
            None => {}
            Some(Ok(())) => tokio::select! {
                () = context.lead.lost() => {}
                _ = restored.changed() => restored.mark_changed(),
                () = context.openbao.left() => sleep(AGAIN).await,
            },
            Some(Err(fault)) if fault.passes() => {
                info!(%fault, "tokens of resources that are gone are ended later");
                sleep(AGAIN).await;
            }
            Some(Err(fault)) => {
                warn!(%fault, "tokens of resources that are gone cannot be ended");
                let _ = timeout(LATER, context.lead.lost()).await;
            }
        }
    }
}

async fn end(context: &Context) -> Result<(), Fault> {
    let mut done = Ok(());
    for policy in context.openbao.kept().await? {
        let (namespace, name) = policy.resource();
        // Of what is not watched nobody knows here whether it is there.
        if !context.cluster.watches(namespace) {
            continue;
        }
        let resource = ResourceName { namespace: namespace.to_owned(), name: name.to_owned() };
        let exists = || context.resources.get(&ObjectRef::new(name).within(namespace)).is_some();
        if exists() {
            continue;
        }
        // Where it comes anew meanwhile, it waits for this.
        let held = context.held(&resource);
        let known = held.lock().await;
        let ended = if exists() { Ok(()) } else { context.openbao.forget(namespace, name).await };
        if ended.is_ok() && !exists() {
            info!(%resource, %policy, "ended the token of a resource that is gone");
        }
        drop(known);
        context.drop_held(&resource, &held);
        match ended {
            Err(fault) if fault.is_away() => return Err(fault),
            // One that cannot be ended keeps no other.
            Err(fault) => done = Err(fault),
            Ok(()) => {}
        }
    }
    done
}
