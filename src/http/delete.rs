//! DELETE of a state: its current version is cleared, its history stays.

use super::{
    auth::{Caller, may_write},
    reply::Reply,
    router::App,
};

pub(super) async fn delete(app: &App, caller: &Caller) -> Result<Reply, Reply> {
    may_write(caller, false)?;
    caller.backend.state.delete(&caller.identity, &mut app.budget()).await?;
    Ok(Reply::ok())
}
