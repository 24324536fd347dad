//! Who a request is from: Basic (the password counts) or Bearer, against the hashes of the path's credentials. The same
//! work and the same answer for a wrong credential and for a path that is not registered.

use std::{net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, StatusCode, header};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tracing::info;

use super::{reply::Reply, router::App};
use crate::{
    crd::StatePath,
    registry::{Backend, CredentialHash, Role},
};

/// A request that may go on.
pub(super) struct Caller {
    pub(super) backend: Arc<Backend>,
    pub(super) identity: String,
    pub(super) role: Role,
}

/// The token of a request: the password of Basic, or Bearer.
fn token(headers: &HeaderMap) -> Option<CredentialHash> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(CredentialHash::of(rest));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = BASE64.decode(rest).ok()?;
    let at = text.iter().position(|byte| *byte == b':')?;
    std::str::from_utf8(text.get(at + 1..)?).ok().map(CredentialHash::of)
}

/// Finds out who calls.
pub(super) fn authenticate(app: &App, path: &StatePath, headers: &HeaderMap, peer: IpAddr) -> Result<Caller, Reply> {
    if !app.registry.is_loaded() {
        let sentence = "the registered paths are not loaded yet; try again in a moment";
        return Err(Reply::unavailable("starting", sentence));
    }
    let Some(hash) = token(headers) else {
        let sentence =
            "this path needs a credential: set username and password of the http backend to the state's token";
        return Err(Reply::error(StatusCode::UNAUTHORIZED, "no_credential", sentence)
            .with(header::WWW_AUTHENTICATE, "Basic realm=\"tofustate\", charset=\"UTF-8\""));
    };
    let backend = app.registry.get(path);
    let credentials = backend.as_ref().map_or(app.nobody.as_slice(), |backend| backend.credentials.as_slice());
    // All are compared, so that the time tells neither which one matched nor whether the path is registered.
    let mut found = None;
    for credential in credentials {
        if credential.hash.matches(&hash) {
            found = Some(credential);
        }
    }
    match (&backend, found) {
        (Some(backend), Some(credential)) => {
            let (identity, role) = (credential.identity.clone(), credential.role);
            Ok(Caller { backend: backend.clone(), identity, role })
        }
        _ => Err(refused(app, path, peer)),
    }
}

fn refused(app: &App, path: &StatePath, peer: IpAddr) -> Reply {
    if let Err(wait) = app.logins.check(peer, path) {
        return Reply::slow_down("too_many_failed_logins", "too many failed logins; wait, then check the token", wait);
    }
    let sentence = "the credential is not one of this path, or the path is not registered; check both";
    Reply::error(StatusCode::FORBIDDEN, "forbidden", sentence)
}

/// A write or a lock by a credential that may only read.
pub(super) fn may_write(caller: &Caller, locking: bool) -> Result<(), Reply> {
    if caller.role == Role::ReadWrite {
        return Ok(());
    }
    let sentence = if locking {
        "this credential may only read: plan with -lock=false"
    } else {
        "this credential may only read; use one with the role ReadWrite"
    };
    // Clients show the status alone.
    info!(path = %caller.backend.path(), identity = caller.identity, "refused: {sentence}");
    Err(Reply::error(StatusCode::FORBIDDEN, "read_only", sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_basic_and_bearer() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            token(&headers)
        };
        let secret = CredentialHash::of("s3:cret");
        for good in
            [format!("Basic {}", BASE64.encode("any:s3:cret")), "bearer s3:cret".into(), "Bearer  s3:cret ".into()]
        {
            assert!(of(&good).is_some_and(|hash| hash.matches(&secret)), "{good}");
        }
        for bad in ["Basic !!", "Basic YQ==", "Digest x", "Basic", "s3:cret"] {
            assert!(of(bad).is_none(), "{bad}");
        }
    }
}
