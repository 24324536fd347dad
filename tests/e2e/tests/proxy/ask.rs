//! Requests as clients send them, one by one.

use serde_json::{Value, json};
use tofustate_e2e::standalone::writer;
use ureq::{Agent, http};

use crate::PATH;

/// A request with the token of [`PATH`].
pub struct Ask(http::request::Builder, Vec<u8>);

pub fn ask(method: &str, url: &str) -> Ask {
    Ask(http::Request::builder().method(method).uri(url), Vec::new()).token(&writer(PATH))
}

impl Ask {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers_mut().unwrap().insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn anonymous(mut self) -> Self {
        self.0.headers_mut().unwrap().remove("authorization");
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.1 = body.into();
        self
    }

    pub fn send(self) -> Answer {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .proxy(None)
            .build()
            .into();
        let mut answer = agent.run(self.0.body(self.1).unwrap()).unwrap();
        let body = answer.body_mut().with_config().limit(u64::MAX).read_to_vec().unwrap();
        Answer(answer.into_parts().0, body)
    }
}

/// What came back.
pub struct Answer(http::response::Parts, Vec<u8>);

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.1.clone()).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.get(name)?.to_str().ok()
    }

    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.0.status, status, "{}", self.text());
        self
    }

    /// An error of tofustate's own.
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
