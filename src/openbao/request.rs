//! Control calls that vaultrs has none for, over its client: one endpoint for any path.

use std::{sync::Arc, time::Instant};

use rustify::{
    endpoint::Endpoint,
    enums::{RequestMethod, RequestType, ResponseType},
    errors::ClientError as RestError,
};
use serde::Deserialize;
use serde_json::{Value, json};
use vaultrs::{api::AuthInfo, client::Client as _};

use super::{Bao, Control, Fault, Token};

/// A control call. It has no `Debug`: a credential may be in its body.
#[derive(Clone)]
pub(super) struct Request {
    method: RequestMethod,
    path: String,
    body: Option<Value>,
}

/// What OpenBao answers to one; all of it empty, where it answers nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Reply {
    pub(super) data: Value,
    pub(super) auth: Option<AuthInfo>,
}

impl Request {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: RequestMethod::GET, path: path.into(), body: None }
    }

    pub(super) fn list(path: impl Into<String>) -> Self {
        Self { method: RequestMethod::LIST, path: path.into(), body: None }
    }

    pub(super) fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: RequestMethod::POST, path: path.into(), body: Some(body) }
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self { method: RequestMethod::DELETE, path: path.into(), body: None }
    }

    /// Ends the token of an accessor.
    pub(super) fn revoke(accessor: &str) -> Self {
        Self::post("auth/token/revoke-accessor", json!({ "accessor": accessor }))
    }

    /// Looks at the token that asks.
    pub(super) fn lookup_self() -> Self {
        Self::get("auth/token/lookup-self")
    }

    /// As metrics have it.
    fn operation(&self) -> &'static str {
        let has = |start: &str| self.path.starts_with(start);
        match () {
            () if has("auth/token/create") => "mint",
            () if has("auth/token/lookup") => "lookup",
            () if has("auth/token/renew") => "renew",
            () if has("auth/token/revoke") => "revoke",
            () if has("auth/") && self.path.ends_with("/login") => "login",
            () if has("sys/policies/") => "policy",
            () => "setup",
        }
    }

    /// The parser's own message could quote the body.
    fn reply(&self, body: &[u8]) -> Result<Reply, Fault> {
        if body.is_empty() {
            return Ok(Reply::default());
        }
        serde_json::from_slice(body).map_err(|_| self.strange())
    }

    /// What to say of an answer that is not as it should be.
    pub(super) fn strange(&self) -> Fault {
        Fault::Strange(format!("OpenBao's answer to {} is not as it should be", self.path))
    }
}

impl Endpoint for Request {
    type Response = Value;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        self.method.clone()
    }

    fn body(&self) -> Result<Option<Vec<u8>>, RestError> {
        let body = self.body.as_ref().map(serde_json::to_vec).transpose();
        body.map_err(|error| RestError::DataParseError { source: error.into() })
    }
}

impl Bao {
    /// Makes a control call on the active node.
    pub(super) async fn request(&self, token: Option<&Token>, request: &Request) -> Result<Reply, Fault> {
        let began = Instant::now();
        let call = |client: Arc<Control>| async move {
            let answer = request.clone().with_middleware(client.middle()).exec(client.http()).await?;
            Ok(answer.raw())
        };
        let answer = self.run(token, call).await.and_then(|body| request.reply(&body));
        self.metrics().call(request.operation(), answer.as_ref().map_or_else(Fault::kind, |_| "ok"), began.elapsed());
        answer
    }
}
