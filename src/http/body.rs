//! Bodies on their way in: clients that stop sending, or send a byte a second, are cut off.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::StatusCode,
};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use super::reply::Reply;

/// How slowly a body may come in. The defaults are what is served with, and tests vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyTimes {
    /// The longest wait for the next bytes, and for a client to take those of an answer.
    pub idle: Duration,
    /// What a client has to send on average after `grace`, in bytes a second.
    pub least_rate: u64,
    /// How long a client may be slower than that.
    pub grace: Duration,
    /// How long a refused body is read away, so that its client gets to read the answer.
    pub drain: Duration,
}

impl Default for BodyTimes {
    fn default() -> Self {
        let (idle, grace, drain) = (Duration::from_secs(30), Duration::from_secs(30), Duration::from_secs(5));
        Self { idle, least_rate: 1_024, grace, drain }
    }
}

/// How much of a refused body is read away at most.
const DRAIN_BYTES: u64 = 64 << 20;

/// A body that is read piece by piece.
pub(super) struct Incoming {
    body: Body,
    times: BodyTimes,
    began: Instant,
    received: u64,
    ended: bool,
}

impl Incoming {
    pub(super) fn new(body: Body, times: BodyTimes) -> Self {
        Self { body, times, began: Instant::now(), received: 0, ended: false }
    }

    /// Whether there may be more of the body than was read.
    pub(super) fn unread(&self) -> bool {
        !self.ended && !self.body.is_end_stream()
    }

    /// The next bytes, `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Reply> {
        loop {
            let frame = match timeout(self.times.idle, self.body.frame()).await {
                Err(_) => return Err(too_slow(&format!("nothing came for {} seconds", self.times.idle.as_secs()))),
                Ok(None) => {
                    self.ended = true;
                    return Ok(None);
                }
                Ok(Some(Err(_))) => {
                    self.ended = true;
                    let sentence = "the body was cut on its way; nothing was stored, send it again";
                    return Err(Reply::error(StatusCode::BAD_REQUEST, "cut_short", sentence));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(bytes) = frame.into_data() else { continue };
            self.received += bytes.len() as u64;
            let late = self.began.elapsed().saturating_sub(self.times.grace).as_secs();
            if self.received < late * self.times.least_rate {
                return Err(too_slow(&format!("it came slower than {} bytes a second", self.times.least_rate)));
            }
            return Ok(Some(bytes));
        }
    }

    /// All of a body that is small; more than `limit` bytes are refused.
    pub(super) async fn small(&mut self, limit: usize, what: &str) -> Result<Vec<u8>, Reply> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
            if all.len() > limit {
                let sentence = format!("{what} is larger than {limit} bytes; send the LockInfo that the client made");
                return Err(Reply::error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &sentence));
            }
        }
        Ok(all)
    }
}

fn too_slow(how: &str) -> Reply {
    let sentence = format!("the body was given up: {how}; nothing was stored, send it again");
    Reply::error(StatusCode::REQUEST_TIMEOUT, "too_slow", &sentence)
}

impl Drop for Incoming {
    /// A client that still sends would see its connection break before the answer: what it sends is read away for a
    /// while.
    fn drop(&mut self) {
        if !self.unread() {
            return;
        }
        let mut body = std::mem::take(&mut self.body);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(timeout(self.times.drain, async move {
            let mut drained = 0;
            while let Some(Ok(frame)) = body.frame().await {
                drained += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
                if drained > DRAIN_BYTES {
                    return;
                }
            }
        }));
    }
}
