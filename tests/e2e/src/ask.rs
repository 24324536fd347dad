//! Requests as clients send them, one by one.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::{Agent, http};

/// A request.
#[derive(Debug)]
pub struct Ask(http::request::Builder, Vec<u8>, Option<Duration>);

/// A request without a token and a body.
pub fn ask(method: &str, url: &str) -> Ask {
    Ask(http::Request::builder().method(method).uri(url), Vec::new(), None)
}

impl Ask {
    /// With a header, in place of another of that name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers_mut().unwrap().insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        self
    }

    /// With a token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.1 = body.into();
        self
    }

    /// Given up after so long: what became of it is not known then.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.2 = Some(limit);
        self
    }

    /// Sends it.
    ///
    /// # Panics
    /// Where there is no answer.
    pub fn send(self) -> Answer {
        self.try_send().unwrap()
    }

    /// Sends it, to a server that may be away.
    ///
    /// # Errors
    /// There is no answer.
    pub fn try_send(self) -> Result<Answer, ureq::Error> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .proxy(None)
            .timeout_global(self.2)
            .build()
            .into();
        let mut answer = agent.run(self.0.body(self.1).unwrap())?;
        let body = answer.body_mut().with_config().limit(u64::MAX).read_to_vec()?;
        Ok(Answer(answer.into_parts().0, body))
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer(http::response::Parts, Vec<u8>);

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.0.status.as_u16()
    }

    /// The body, byte for byte.
    pub fn bytes(&self) -> &[u8] {
        &self.1
    }

    /// The body.
    pub fn text(&self) -> String {
        String::from_utf8(self.1.clone()).unwrap()
    }

    /// A header, where it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.get(name)?.to_str().ok()
    }

    /// Whether it has this status.
    ///
    /// # Panics
    /// Where it has not.
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.0.status, status, "{}", self.text());
        self
    }

    /// Whether it is an error of tofustate's own.
    ///
    /// # Panics
    /// Where it is not.
    pub fn is_error(&self, status: u16, code: &str) -> &Self {
        let body: Value = serde_json::from_slice(&self.is(status).1).unwrap_or_default();
        assert_eq!(body["code"], code, "{}", self.text());
        self
    }
}

/// A lock that is not the client's.
pub fn lock_info(id: &str) -> String {
    json!({
        "ID": id, "Operation": "OperationTypeApply", "Who": "somebody@elsewhere", "Version": "1.12.6",
        "Created": "2026-01-02T03:04:05Z", "Info": "", "Path": "",
    })
    .to_string()
}

/// A state of about `size` bytes.
pub fn state(serial: u64, size: usize) -> String {
    json!({ "version": 4, "serial": serial, "lineage": "l", "resources": [], "filling": "x".repeat(size) }).to_string()
}

/// A state of about `size` bytes that hardly compress.
pub fn noisy_state(serial: u64, size: usize) -> Vec<u8> {
    let mut seed = serial.wrapping_mul(2).wrapping_add(1);
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'A' + (seed >> 59) as u8 % 26)
    });
    let noise: String = noise.take(size).collect();
    format!(r#"{{"version":4,"serial":{serial},"lineage":"l","resources":[],"noise":"{noise}"}}"#).into_bytes()
}
