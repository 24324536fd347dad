//! Kubernetes' HTTP API as the tests use it to set a cluster up and to look behind a client: plain calls and JSON, nothing of
//! the client that is tested.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::Value;
use ureq::{
    Agent, Body,
    http::{Request, Response},
    tls::{RootCerts, TlsConfig},
};

use super::watch::Watch;
use crate::{bao::Tls, wait};

/// How long a call may take; a probe of a server that may be frozen has its own.
const CALL: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(5);
/// How long a watch lasts.
const WATCH_SECONDS: u32 = 300;

/// The API for one user.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: Option<String>,
    agent: Agent,
}

/// What a call was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; a string where it is no JSON.
    pub body: Value,
    asked: String,
}

impl Answer {
    /// The body, of success.
    ///
    /// # Panics
    /// On any other answer.
    pub fn done(self) -> Value {
        assert!(matches!(self.status, 200..300), "{}: {} {}", self.asked, self.status, self.body);
        self.body
    }

    /// The message, of a refusal with this status.
    ///
    /// # Panics
    /// On any other answer.
    pub fn refused(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.body);
        self.body["message"].as_str().unwrap_or_else(|| panic!("{}: {}", self.asked, self.body)).to_owned()
    }
}

impl Api {
    pub(super) fn new(base: &str, tls: &Tls) -> Self {
        // A connection kept from before a server was killed tells nothing about it.
        Self::with_idle(base, tls, 0)
    }

    /// One that keeps so many connections open: for many calls of a server that goes on.
    pub(super) fn with_idle(base: &str, tls: &Tls, idle: usize) -> Self {
        let settings = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[tls.root()]))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .proxy(None)
            .max_redirects(0)
            .max_idle_connections(idle)
            .max_idle_connections_per_host(idle)
            .tls_config(settings.build());
        Self { base: base.to_owned(), token: None, agent: config.build().new_agent() }
    }

    /// The same server for whoever has this token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Asks; a `body` of null is none. `path` begins with `/`, and may have a query.
    ///
    /// # Errors
    /// There was no answer.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        self.send(method, path, "application/json", body, CALL)
    }

    /// GET of a server that may be away or frozen.
    pub(super) fn probe(&self, path: &str) -> Result<Answer, String> {
        self.send("GET", path, "application/json", &Value::Null, PROBE)
    }

    /// GET of an object or a list; `None` where there is none.
    pub fn get(&self, path: &str) -> Option<Value> {
        let answer = self.must_answer("GET", path, "application/json", &Value::Null);
        (answer.status != 404).then(|| answer.done())
    }

    /// POST to a collection.
    pub fn create(&self, path: &str, object: &Value) -> Answer {
        self.must_answer("POST", path, "application/json", object)
    }

    /// PUT of a whole object.
    pub fn replace(&self, path: &str, object: &Value) -> Answer {
        self.must_answer("PUT", path, "application/json", object)
    }

    /// A merge patch.
    pub fn merge(&self, path: &str, patch: &Value) -> Answer {
        self.must_answer("PATCH", path, "application/merge-patch+json", patch)
    }

    /// Server-side apply. `force` takes fields from other managers.
    pub fn apply(&self, path: &str, manager: &str, force: bool, object: &Value) -> Answer {
        let path = format!("{path}?fieldManager={manager}&force={force}");
        self.must_answer("PATCH", &path, "application/apply-patch+yaml", object)
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Answer {
        self.must_answer("DELETE", path, "application/json", &Value::Null)
    }

    /// Watches a collection; `query` may be empty, or `&resourceVersion=…` and the like. Changes made after this returned
    /// are seen.
    ///
    /// # Panics
    /// Where the server does not begin one.
    pub fn watch(&self, path: &str, query: &str) -> Watch {
        let path = format!("{path}?watch=1&timeoutSeconds={WATCH_SECONDS}{query}");
        let answer =
            self.call("GET", &path, "application/json", &Value::Null, None).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(answer.status(), 200, "{path}");
        Watch::of(&path, answer.into_body().into_reader())
    }

    /// Waits until an object is there and so, and gives it.
    ///
    /// # Panics
    /// At the deadline, with the object.
    pub fn until(&self, path: &str, what: &str, mut so: impl FnMut(&Value) -> bool) -> Value {
        wait::until(what, || {
            let answer = self.ask("GET", path, &Value::Null)?;
            if answer.status == 200 && so(&answer.body) { Ok(answer.body) } else { Err(format!("{path}: {answer:?}")) }
        })
    }

    /// Waits until there is no such object.
    pub fn until_gone(&self, path: &str) {
        wait::until(&format!("{path} is gone"), || {
            let answer = self.ask("GET", path, &Value::Null)?;
            if answer.status == 404 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }

    fn must_answer(&self, method: &str, path: &str, kind: &str, body: &Value) -> Answer {
        self.send(method, path, kind, body, CALL).unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &Value, limit: Duration) -> Result<Answer, String> {
        let asked = format!("{method} {path}");
        let answer = self.call(method, path, kind, body, Some(limit))?;
        let status = answer.status().as_u16();
        let text = answer.into_body().with_config().limit(u64::MAX).read_to_string();
        let text = text.map_err(|error| format!("{asked}: {error}"))?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)), asked })
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
        limit: Option<Duration>,
    ) -> Result<Response<Body>, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        request = request.header("Accept", "application/json").header("Content-Type", kind);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let request = request.body(bytes).map_err(|error| error.to_string())?;
        let request = self.agent.configure_request(request).timeout_global(limit).build();
        self.agent.run(request).map_err(|error| format!("{method} {}{path}: {error}", self.base))
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("base", &self.base).finish_non_exhaustive()
    }
}
