//! OpenBao's HTTP API as the tests use it to set a server up and to look behind it: plain calls, nothing of the client that
//! is tested.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::Value;
use ureq::{
    Agent,
    http::{
        Request, Response,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    tls::{RootCerts, TlsConfig},
};

use super::tls::Tls;

/// How long a call may take; a probe of a server that may be frozen has its own.
const CALL: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(2);

/// A server's API, for one token and one namespace.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: Option<String>,
    namespace: Option<String>,
    agent: Agent,
}

/// What a call was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// The body: null where there is none or it is no JSON.
    pub body: Value,
}

impl Api {
    /// `tls`: the authority to trust, and whether to show a client's certificate.
    pub(super) fn new(base: &str, tls: Option<(&Tls, bool)>) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .proxy(None)
            .max_redirects(0)
            // A connection kept from before a server was killed tells nothing about it.
            .max_idle_connections(0);
        if let Some((tls, certificate)) = tls {
            let settings = TlsConfig::builder()
                .root_certs(RootCerts::new_with_certs(&[tls.root()]))
                .client_cert(certificate.then(|| tls.client()))
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
            config = config.tls_config(settings.build());
        }
        Self { base: base.to_owned(), token: None, namespace: None, agent: config.build().new_agent() }
    }

    /// The same server with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same server and token in a namespace, such as `team-a`. OpenBao only.
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// Asks; `path` is what follows `/v1/`, and a `body` of null is none.
    ///
    /// # Errors
    /// There was no answer.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let answer = self.send(method, path, &bytes, CALL)?;
        Ok(Answer {
            status: answer.status().as_u16(),
            retry_after: answer.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned()),
            body: serde_json::from_slice(answer.body()).unwrap_or_default(),
        })
    }

    /// Asks, and takes nothing but success. Gives the answer's `data`, or the whole answer where it has none.
    ///
    /// # Panics
    /// On any other answer, and on none.
    pub fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        match self.ask(method, path, body) {
            Ok(Answer { status: 200..300, mut body, .. }) => match body.get_mut("data") {
                Some(data) if !data.is_null() => data.take(),
                _ => body,
            },
            other => panic!("{method} {}/v1/{path}: {other:?}", self.base),
        }
    }

    /// Asks, and gives the status and the body's bytes.
    ///
    /// # Errors
    /// There was no answer.
    pub fn bytes(&self, method: &str, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let answer = self.send(method, path, body, CALL)?;
        Ok((answer.status().as_u16(), answer.into_body()))
    }

    /// The status of `sys/health`: 200 on the active node, 429 on a standby, 503 where sealed, 501 where not initialised.
    ///
    /// # Errors
    /// There was no answer, soon.
    pub fn health(&self) -> Result<u16, String> {
        Ok(self.send("GET", "sys/health", &[], PROBE)?.status().as_u16())
    }

    fn send(&self, method: &str, path: &str, body: &[u8], limit: Duration) -> Result<Response<Vec<u8>>, String> {
        let mut request = Request::builder().method(method).uri(format!("{}/v1/{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("X-Vault-Token", token);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if method == "PATCH" {
            // Nothing else is taken for one.
            request = request.header(CONTENT_TYPE, "application/merge-patch+json");
        }
        let request = request.body(body).map_err(|error| error.to_string())?;
        let request = self.agent.configure_request(request).timeout_global(Some(limit)).build();
        let answer = self.agent.run(request).and_then(|answer| {
            let (parts, mut body) = answer.into_parts();
            Ok(Response::from_parts(parts, body.with_config().limit(u64::MAX).read_to_vec()?))
        });
        answer.map_err(|error| format!("{method} {}/v1/{path}: {error}", self.base))
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("base", &self.base).field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
