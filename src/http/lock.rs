//! LOCK and UNLOCK.

use tracing::Span;

use super::{
    auth::{Caller, may_finish, may_write},
    body::Incoming,
    reply::Reply,
    router::App,
};
use crate::{
    registry::SaltedHash,
    store::{LockCall, LockInfo, MAX_LOCK_INFO},
    telemetry,
};

pub(super) async fn lock(app: &App, caller: &Caller, incoming: &mut Incoming) -> Result<Reply, Reply> {
    may_write(caller, true)?;
    let info = incoming.small(MAX_LOCK_INFO, "the LOCK body").await?;
    // The run's trace begins here; what its client does next joins it.
    let traceparent = app.traces().then(|| telemetry::traceparent(&Span::current())).flatten();
    // Where it is replaced before the run ends, it may still write and unlock.
    let credential = Some(SaltedHash::of(caller.token.expose()).to_text());
    let call = LockCall { info: &info, identity: &caller.identity, credential, traceparent };
    caller.backend.state.lock(call, &mut app.budget()).await?;
    Ok(Reply::ok())
}

/// Without a body it is Terraform's force-unlock.
pub(super) async fn unlock(app: &App, caller: &Caller, incoming: &mut Incoming) -> Result<Reply, Reply> {
    may_write(caller, true)?;
    let info = incoming.small(MAX_LOCK_INFO, "the UNLOCK body").await?;
    let id = LockInfo::parse(&info).ok().map(|info| info.id);
    may_finish(app, caller, id.as_deref()).await?;
    caller.backend.state.unlock(&info, &caller.identity, &mut app.budget()).await?;
    Ok(Reply::ok())
}
