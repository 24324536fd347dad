//! Who a request is from: Basic (the password counts) or Bearer, against the hashes of the path's credentials. The same
//! work and the same answer for a wrong credential and for a path that is not registered.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use axum::http::{HeaderMap, StatusCode, header};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use tracing::info;

use super::{reply::Reply, router::App};
use crate::{
    crd::StatePath,
    registry::{self, Backend, CredentialHash, Former, MOST_FORMER, Redacted, Role, SaltedHash},
};

/// A request that may go on.
pub(super) struct Caller {
    pub(super) backend: Arc<Backend>,
    pub(super) identity: String,
    pub(super) role: Role,
    pub(super) token: Redacted<String>,
    /// The credential was replaced: it may end the run whose lock it took, and nothing else.
    pub(super) former: bool,
}

/// The token of a request: the password of Basic, or Bearer.
fn token(headers: &HeaderMap) -> Option<Redacted<String>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned().into());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = BASE64.decode(rest).ok()?;
    let at = text.iter().position(|byte| *byte == b':')?;
    std::str::from_utf8(text.get(at + 1..)?).ok().map(|token| token.to_owned().into())
}

/// Finds out who calls.
pub(super) fn authenticate(app: &App, path: &StatePath, headers: &HeaderMap, peer: IpAddr) -> Result<Caller, Reply> {
    if !app.registry.is_loaded() {
        let sentence = "the registered paths are not loaded yet; try again in a moment";
        return Err(Reply::unavailable("starting", sentence));
    }
    let Some(token) = token(headers) else {
        let sentence =
            "this path needs a credential: set username and password of the http backend to the state's token";
        return Err(Reply::error(StatusCode::UNAUTHORIZED, "no_credential", sentence)
            .with(header::WWW_AUTHENTICATE, "Basic realm=\"tofustate\", charset=\"UTF-8\""));
    };
    let hash = CredentialHash::of(token.expose());
    let backend = app.registry.get(path);
    let credentials = backend.as_ref().map_or(app.nobody.as_slice(), |backend| backend.credentials.as_slice());
    // All are compared, so that the time tells neither which one matched nor whether the path is registered.
    let mut found = None;
    for credential in credentials {
        if credential.hash.matches(&hash) {
            found = Some(credential);
        }
    }
    let found = found.map(|credential| (credential.identity.clone(), credential.role));
    if let (Some(backend), Some((identity, role))) = (&backend, found) {
        return Ok(Caller { backend: backend.clone(), identity, role, token, former: false });
    }
    match (former(backend.as_deref(), &token), backend) {
        (Some(identity), Some(backend)) => Ok(Caller { backend, identity, role: Role::ReadWrite, token, former: true }),
        _ => Err(refused(app, path, peer)),
    }
}

/// As whom a replaced credential was known, while it may still be used.
fn former(backend: Option<&Backend>, token: &Redacted<String>) -> Option<String> {
    let former = backend.map_or([].as_slice(), |backend| backend.former.as_slice());
    let now = backend.map_or(Timestamp::MAX, |backend| backend.state.now());
    let mut found = None;
    // All of them, too.
    for (hash, former) in compared(former) {
        if hash.is_of(token.expose())
            && let Some(former) = former
            && former.until > now
        {
            found = Some(former.identity.clone());
        }
    }
    found
}

/// What a token is compared with: always as many hashes, those of nobody where there are fewer.
fn compared(former: &[Former]) -> impl Iterator<Item = (&SaltedHash, Option<&Former>)> {
    static NOBODY: LazyLock<SaltedHash> = LazyLock::new(|| SaltedHash::of(registry::token::generate().expose()));
    let own = former.iter().map(|former| (&former.hash, Some(former)));
    own.chain(std::iter::repeat((&*NOBODY, None))).take(former.len().max(MOST_FORMER))
}

/// What a replaced credential may still do: write and unlock under the lock of this id, if it took that.
pub(super) async fn may_finish(app: &App, caller: &Caller, lock: Option<&str>) -> Result<(), Reply> {
    if !caller.former {
        return Ok(());
    }
    let head = caller.backend.state.latest(&mut app.budget()).await?;
    let took = head.lock.as_ref().is_some_and(|held| {
        let hash = held.credential.as_ref().and_then(|kept| SaltedHash::parse(kept.expose()));
        Some(held.id.as_str()) == lock && hash.is_some_and(|hash| hash.is_of(caller.token.expose()))
    });
    // A late repeat of its last calls: under a lock that was unlocked nothing but a repeat is ever done.
    let gave_back = head.lock.as_ref().is_none_or(|held| Some(held.id.as_str()) != lock)
        && head.released.iter().any(|one| Some(one.id.as_str()) == lock && one.by == caller.identity && !one.forced);
    if took || gave_back {
        return Ok(());
    }
    info!(path = %caller.backend.path(), identity = caller.identity, "refused: this credential was replaced, and did not take the lock");
    Err(forbidden())
}

/// The same for a replaced credential that asks for anything else.
pub(super) fn is_current(caller: &Caller) -> Result<(), Reply> {
    if caller.former { Err(forbidden()) } else { Ok(()) }
}

fn forbidden() -> Reply {
    let sentence = "the credential is not one of this path, or the path is not registered; check both";
    Reply::error(StatusCode::FORBIDDEN, "forbidden", sentence)
}

fn refused(app: &App, path: &StatePath, peer: IpAddr) -> Reply {
    if let Err(wait) = app.logins.check(peer, path) {
        return Reply::slow_down("too_many_failed_logins", "too many failed logins; wait, then check the token", wait);
    }
    forbidden()
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
        for good in
            [format!("Basic {}", BASE64.encode("any:s3:cret")), "bearer s3:cret".into(), "Bearer  s3:cret ".into()]
        {
            assert_eq!(of(&good).unwrap().expose(), "s3:cret", "{good}");
        }
        for bad in ["Basic !!", "Basic YQ==", "Digest x", "Basic", "s3:cret"] {
            assert!(of(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_compared_as_often_whoever_had_the_path() {
        for of in [0, 3, MOST_FORMER] {
            let former: Vec<_> = (0..of)
                .map(|n| Former {
                    identity: format!("{n}"),
                    hash: SaltedHash::of(&format!("token-{n}")),
                    until: Timestamp::MAX,
                })
                .collect();
            let all: Vec<_> = compared(&former).collect();
            assert_eq!(all.len(), MOST_FORMER);
            assert!(all.iter().take(of).zip(&former).all(|((hash, _), former)| **hash == former.hash));
            assert!(all.iter().skip(of).all(|(_, former)| former.is_none()));
        }
    }
}
