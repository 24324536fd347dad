//! A request to the router, and what is looked at in its answer.

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, Uri, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::world::{PATH, TOKEN, World, lock_info};

/// A request on its way. Says who it is with Basic and the token that may write, unless told otherwise.
pub struct Ask {
    pub request: Request<Body>,
}

pub fn basic(token: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("tofu:{token}")))
}

pub fn ask(method: &str, target: &str) -> Ask {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = target.parse::<Uri>().unwrap();
    Ask { request }.header("authorization", &basic(TOKEN))
}

impl Ask {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.request.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &basic(token))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn anonymous(mut self) -> Self {
        self.request.headers_mut().remove("authorization");
        self
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    pub async fn send(self, world: &World) -> Answer {
        Answer::of(world.router.clone().oneshot(self.request).await.unwrap()).await
    }
}

/// An answer that came whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn of<B>(response: axum::http::Response<B>) -> Self
    where
        B: axum::body::HttpBody,
        B::Error: std::fmt::Debug,
    {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole answer").to_bytes().to_vec();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// 200 with nothing in it.
    #[track_caller]
    pub fn is_ok(&self) -> &Self {
        self.is(200);
        assert_eq!(self.text(), "");
        self
    }

    /// An error of our own: JSON, a code for programs and one sentence for people. Answers the sentence.
    #[track_caller]
    pub fn is_error(&self, status: u16, code: &str) -> String {
        self.is(status);
        assert_eq!(self.header("content-type"), Some("application/json"));
        let found: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()));
        let found = found.as_object().unwrap();
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["code", "error"], "{}", self.text());
        let sentence = found["error"].as_str().unwrap();
        assert!(!sentence.is_empty() && sentence.len() < 600 && !sentence.contains('\n'), "{sentence:?}");
        assert_eq!(found["code"], code, "{sentence}");
        let waits = self.header("retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
        match StatusCode::from_u16(status).unwrap() {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                assert!(waits.is_some_and(|seconds| (1..=30).contains(&seconds)), "{waits:?}");
            }
            _ => assert_eq!(waits, None),
        }
        sentence.to_owned()
    }

    /// 409 with the holder's own bytes.
    #[track_caller]
    pub fn is_held(&self, info: &str) {
        self.is(409);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.text(), info);
    }
}

/// The requests of most tests, on the usual path.
impl World {
    pub async fn get(&self) -> Answer {
        ask("GET", &format!("/{PATH}")).send(self).await
    }

    pub async fn post(&self, id: Option<&str>, body: impl Into<Body>) -> Answer {
        let query = id.map(|id| format!("?ID={id}")).unwrap_or_default();
        ask("POST", &format!("/{PATH}{query}")).body(body).send(self).await
    }

    pub async fn lock(&self, id: &str) -> Answer {
        ask("LOCK", &format!("/{PATH}")).body(lock_info(id)).send(self).await
    }

    pub async fn unlock(&self, id: &str) -> Answer {
        ask("UNLOCK", &format!("/{PATH}")).body(lock_info(id)).send(self).await
    }
}
