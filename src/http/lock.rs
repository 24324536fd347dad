//! LOCK and UNLOCK.

use tracing::Span;

use super::{
    auth::{Caller, may_write},
    body::Incoming,
    reply::Reply,
    router::App,
};
use crate::{
    store::{LockCall, MAX_LOCK_INFO},
    telemetry,
};

pub(super) async fn lock(app: &App, caller: &Caller, incoming: &mut Incoming) -> Result<Reply, Reply> {
    may_write(caller, true)?;
    let info = incoming.small(MAX_LOCK_INFO, "the LOCK body").await?;
    // The run's trace begins here; what its client does next joins it.
    let traceparent = app.traces().then(|| telemetry::traceparent(&Span::current())).flatten();
    let call = LockCall { info: &info, identity: &caller.identity, traceparent, ..LockCall::default() };
    caller.backend.state.lock(call, &mut app.budget()).await?;
    Ok(Reply::ok())
}

/// Without a body it is Terraform's force-unlock.
pub(super) async fn unlock(app: &App, caller: &Caller, incoming: &mut Incoming) -> Result<Reply, Reply> {
    may_write(caller, true)?;
    let info = incoming.small(MAX_LOCK_INFO, "the UNLOCK body").await?;
    caller.backend.state.unlock(&info, &caller.identity, &mut app.budget()).await?;
    Ok(Reply::ok())
}
