//! LOCK and UNLOCK.

use axum::body::Body;

use super::{
    auth::{Caller, may_write},
    body::Incoming,
    reply::Reply,
    router::App,
};
use crate::store::{LockCall, MAX_LOCK_INFO};

pub(super) async fn lock(app: &App, caller: &Caller, body: Body) -> Result<Reply, Reply> {
    let mut incoming = Incoming::new(body);
    may_write(caller, true)?;
    let info = incoming.small(MAX_LOCK_INFO, "the LOCK body").await?;
    let call = LockCall { info: &info, identity: &caller.identity, ..LockCall::default() };
    caller.backend.state.lock(call, &mut app.budget()).await?;
    Ok(Reply::ok())
}

/// Without a body it is Terraform's force-unlock.
pub(super) async fn unlock(app: &App, caller: &Caller, body: Body) -> Result<Reply, Reply> {
    let mut incoming = Incoming::new(body);
    may_write(caller, true)?;
    let info = incoming.small(MAX_LOCK_INFO, "the UNLOCK body").await?;
    caller.backend.state.unlock(&info, &caller.identity, &mut app.budget()).await?;
    Ok(Reply::ok())
}
