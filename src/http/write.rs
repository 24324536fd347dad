//! POST and PUT.

use axum::http::{HeaderMap, StatusCode, Uri, header};

use super::{
    auth::{Caller, may_finish, may_write},
    body::Incoming,
    reply::Reply,
    router::App,
};
use crate::store::{MAX_LOCK_ID, WriteCall};

pub(super) async fn post(
    app: &App,
    caller: &Caller,
    uri: &Uri,
    headers: &HeaderMap,
    incoming: &mut Incoming,
) -> Result<Reply, Reply> {
    may_write(caller, false)?;
    let lock = lock_id(uri)?;
    may_finish(app, caller, lock.as_deref()).await?;
    let call = WriteCall {
        lock: lock.as_deref(),
        identity: &caller.identity,
        content_md5: text_header(headers, "content-md5")?,
        length: text_header(headers, header::CONTENT_LENGTH.as_str())?.and_then(|text| text.parse().ok()),
    };
    let mut budget = app.budget();
    let mut upload = caller.backend.state.upload(call)?;
    while let Some(bytes) = incoming.next().await? {
        upload.push(&bytes, &mut budget).await?;
    }
    upload.finish(&mut budget).await?;
    Ok(Reply::ok())
}

/// A header as text, where it is there.
fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Reply> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| {
        let sentence = format!("the header {name} is not readable text; nothing was stored");
        Reply::error(StatusCode::BAD_REQUEST, "bad_header", &sentence)
    })
}

/// The lock id of a write: `?ID=`, among other parameters.
fn lock_id(uri: &Uri) -> Result<Option<String>, Reply> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut ids: Vec<String> = pairs.filter(|(name, _)| name == "ID").map(|(_, id)| id.into_owned()).collect();
    ids.dedup();
    let refuse = |sentence: &str| Err(Reply::error(StatusCode::BAD_REQUEST, "bad_lock_id", sentence));
    match ids.as_slice() {
        [] => Ok(None),
        [id] if id.is_empty() => refuse("the parameter ID is empty; leave it out to write without a lock"),
        [id] if id.len() > MAX_LOCK_ID => refuse("the parameter ID is longer than a lock's id may be"),
        [id] => Ok(Some(id.clone())),
        _ => refuse("the parameter ID is there twice with different values; give the id of one lock"),
    }
}

/// Whether a write is of the run that holds this lock.
pub(super) fn names_lock(uri: &Uri, lock: &str) -> bool {
    lock_id(uri).is_ok_and(|id| id.as_deref() == Some(lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_id_stands_among_other_parameters() {
        let of = |uri: &str| lock_id(&uri.parse().unwrap()).map_err(|reply| reply.outcome);
        assert_eq!(of("/a"), Ok(None));
        assert_eq!(of("/a?x=1&ID=a-b&y"), Ok(Some("a-b".into())));
        assert_eq!(of("/a?ID=a%2Bb"), Ok(Some("a+b".into())));
        assert_eq!(of("/a?ID=1&ID=1"), Ok(Some("1".into())));
        assert_eq!(of("/a?id=1"), Ok(None));
        for bad in ["/a?ID=", "/a?ID=1&ID=2", &format!("/a?ID={}", "x".repeat(257))] {
            assert_eq!(of(bad), Err("bad_lock_id"), "{bad}");
        }
    }
}
