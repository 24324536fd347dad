//! Answers that are not a state: JSON, one sentence that says what to do. What the log says may be more; what a client
//! reads is here.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use serde_json::json;

use crate::store::{KvError, LockInfoError, StateError, head::Refusal};

/// An answer on its way, with the kind of outcome for metrics and logs.
pub(super) struct Reply {
    pub(super) response: Response<Body>,
    pub(super) outcome: &'static str,
}

/// A small wait before another try, in seconds.
const RETRY: u64 = 2;

impl Reply {
    /// An empty answer.
    pub(super) fn ok() -> Self {
        Self { response: Response::new(Body::empty()), outcome: "ok" }
    }

    /// An answer of one sentence. `code` is for programs, `sentence` for people.
    pub(super) fn error(status: StatusCode, code: &'static str, sentence: &str) -> Self {
        let body = json!({ "error": sentence, "code": code }).to_string();
        Self { response: json_response(status, body.into()), outcome: code }
    }

    /// The same, with one more header.
    pub(super) fn with(mut self, name: header::HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.response.headers_mut().insert(name, value);
        }
        self
    }

    fn retry_after(self, asked: Option<Duration>) -> Self {
        let seconds = asked.map_or(RETRY, |time| time.as_secs().clamp(1, 30));
        self.with(header::RETRY_AFTER, seconds)
    }

    /// 429: not before `wait`.
    pub(super) fn slow_down(code: &'static str, sentence: &str, wait: Duration) -> Self {
        Self::error(StatusCode::TOO_MANY_REQUESTS, code, sentence)
            .with(header::RETRY_AFTER, wait.as_secs().saturating_add(1))
    }

    /// 503.
    pub(super) fn unavailable(code: &'static str, sentence: &str) -> Self {
        Self::error(StatusCode::SERVICE_UNAVAILABLE, code, sentence).retry_after(None)
    }
}

fn json_response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl From<StateError> for Reply {
    fn from(error: StateError) -> Self {
        // A conflict with a lock is answered with the holder's own LockInfo, byte for byte: clients show it.
        if let Some(holder) = error.holder() {
            let response = json_response(StatusCode::CONFLICT, holder.info.clone().into());
            return Self { response, outcome: "locked" };
        }
        let (status, code) = status(&error);
        let reply = Self::error(status, code, &error.to_string());
        match &error {
            StateError::Unavailable { retry_after, .. } => reply.retry_after(*retry_after),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => reply.retry_after(None),
            _ => reply,
        }
    }
}

/// The status and code of an error. Permanent refusals are 4xx: clients repeat a 5xx.
fn status(error: &StateError) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match error {
        StateError::Refused(refusal) => match refusal {
            Refusal::Held(_) => (S::CONFLICT, "locked"),
            Refusal::LockGone { .. } => (S::CONFLICT, "lock_gone"),
            Refusal::LateRepeat { .. } => (S::CONFLICT, "late_repeat"),
            Refusal::NeverHeld { .. } => (S::CONFLICT, "never_held"),
            Refusal::LockRequired => (S::CONFLICT, "lock_required"),
            Refusal::StaleCurrent { .. } | Refusal::NoSuchVersion { .. } | Refusal::Unreadable { .. } => {
                (S::CONFLICT, "no_such_version")
            }
            Refusal::HeadFull { .. } => (S::PAYLOAD_TOO_LARGE, "head_full"),
            Refusal::NotKept | Refusal::ObjectTrashed | Refusal::NotNewest | Refusal::Unknown => {
                (S::SERVICE_UNAVAILABLE, "try_again")
            }
            Refusal::ForeignOwner(_) => (S::SERVICE_UNAVAILABLE, "foreign_owner"),
        },
        StateError::LockInfo(LockInfoError::TooLarge(_)) => (S::PAYLOAD_TOO_LARGE, "too_large"),
        StateError::TooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "too_large"),
        StateError::Store { error: KvError::TooLarge(_), .. } => (S::PAYLOAD_TOO_LARGE, "too_large"),
        StateError::Body(_)
        | StateError::LockInfo(_)
        | StateError::BadMd5
        | StateError::Md5Mismatch
        | StateError::CutShort { .. } => (S::BAD_REQUEST, "bad_body"),
        StateError::UploadTooSlow => (S::REQUEST_TIMEOUT, "too_slow"),
        StateError::NoSuchVersion(_) | StateError::WrongEpoch { .. } | StateError::NothingToAccept => {
            (S::CONFLICT, "not_found")
        }
        StateError::Head(_) | StateError::DamagedVersion { .. } => (S::SERVICE_UNAVAILABLE, "damaged"),
        StateError::NotRegistered | StateError::HeadLost { .. } => (S::SERVICE_UNAVAILABLE, "head_lost"),
        StateError::HeadBehind { .. } => (S::SERVICE_UNAVAILABLE, "head_behind"),
        StateError::Store { .. } => (S::SERVICE_UNAVAILABLE, "store"),
        StateError::Unavailable { .. } | StateError::Busy { .. } => (S::SERVICE_UNAVAILABLE, "unavailable"),
        StateError::Internal { .. } => (S::INTERNAL_SERVER_ERROR, "internal"),
    }
}
