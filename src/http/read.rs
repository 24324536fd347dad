//! GET.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use futures_util::stream;
use tracing::warn;

use super::{auth::Caller, reply::Reply, router::App};

pub(super) async fn get(app: &App, caller: &Caller, headers: &HeaderMap) -> Result<Reply, Reply> {
    not_redirected(caller, headers)?;
    let mut budget = app.budget();
    let Some(reader) = caller.backend.state.read(&mut budget).await? else {
        return Ok(Reply::error(StatusCode::NOT_FOUND, "no_state", "no state was written to this path yet"));
    };
    let (size, md5) = (reader.version().size, HeaderValue::from_str(&reader.version().md5).ok());
    let pieces = stream::unfold(Some((reader, budget)), |from| async {
        let (mut reader, mut budget) = from?;
        match reader.next(&mut budget).await {
            Ok(Some(piece)) => Some((Ok(piece), Some((reader, budget)))),
            Ok(None) => None,
            // The answer ends here, short of its length: the client sees that it is not whole.
            Err(error) => Some((Err(error), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    if let Some(md5) = md5 {
        headers.insert("content-md5", md5);
    }
    Ok(Reply { response, outcome: "ok" })
}

/// A 301, 302 or 303 makes a GET of any request and drops its body. What is left of it is the body's `Content-MD5`. The
/// client takes the answer for that of its LOCK, POST or UNLOCK: with a 200, the run would end well without a lock, and
/// its state would be nowhere.
fn not_redirected(caller: &Caller, headers: &HeaderMap) -> Result<(), Reply> {
    if !headers.contains_key("content-md5") {
        return Ok(());
    }
    let sentence = "a redirect made a GET of a LOCK, POST or UNLOCK, which was not done; set the backend's address to where the redirect leads";
    // Clients show the status only.
    warn!(path = %caller.backend.path(), identity = caller.identity, "{sentence}");
    Err(Reply::error(StatusCode::BAD_REQUEST, "redirected", sentence))
}
