//! GET.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use futures_util::stream;
use tokio::sync::mpsc;
use tracing::warn;

use super::{auth::Caller, reply::Reply, router::App};
use crate::store::{Budget, Reader};

/// Up to how many bytes a state is sent as a whole.
const WHOLE: u64 = 128 * 1024;

pub(super) async fn get(app: &App, caller: &Caller, headers: &HeaderMap) -> Result<Reply, Reply> {
    not_redirected(caller, headers)?;
    let mut budget = app.budget();
    let Some(reader) = caller.backend.state.read(&mut budget).await? else {
        return Ok(Reply::error(StatusCode::NOT_FOUND, "no_state", "no state was written to this path yet"));
    };
    let (size, md5) = (reader.version().size, HeaderValue::from_str(&reader.version().md5).ok());
    let body = if size <= WHOLE {
        Body::from(reader.read_to_end(&mut budget).await?)
    } else {
        pieces(reader, budget, app.stall())
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    if let Some(md5) = md5 {
        headers.insert("content-md5", md5);
    }
    Ok(Reply { response, outcome: "ok" })
}

/// The body of a large state, piece by piece. One that its client does not take for `stall` is given up, so that it takes
/// no memory: a body that nobody asks for more could not tell by itself.
fn pieces(mut reader: Reader, mut budget: Budget, stall: Duration) -> Body {
    let (give, take) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let piece = reader.next(&mut budget).await;
            let last = !matches!(piece, Ok(Some(_)));
            if give.send_timeout(piece, stall).await.is_err() || last {
                return;
            }
        }
    });
    let pieces = stream::unfold(Some(take), |take| async {
        let mut take = take?;
        match take.recv().await {
            Some(Ok(Some(piece))) => Some((Ok(piece), Some(take))),
            Some(Ok(None)) => None,
            // The answer ends here, short of its length: the client sees that it is not whole.
            Some(Err(error)) => Some((Err(error.into()), None)),
            None => Some((Err(axum::BoxError::from("the client did not take it")), None)),
        }
    });
    Body::from_stream(pieces)
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
