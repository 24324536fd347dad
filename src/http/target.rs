//! What a request is aimed at: the state's path and the verb of the protocol. Looks at the request line only.

use axum::http::{Method, Uri};

use crate::crd::{PathError, StatePath};

/// The verbs of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Write,
    Delete,
    Lock,
    Unlock,
}

impl Verb {
    /// As in metrics and spans.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Write => "post",
            Self::Delete => "delete",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
        }
    }
}

/// Why a request is aimed at nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadTarget {
    Path(PathError),
    /// What the URL allows.
    Method(&'static str),
}

const STATE_METHODS: &str = "GET, POST, PUT, DELETE, LOCK, UNLOCK";
const LOCK_METHODS: &str = "POST, PUT, DELETE, LOCK, UNLOCK";

/// The path and verb of a request. `/<path>/lock` is the lock's own URL, as GitLab has it.
pub(super) fn target(method: &Method, uri: &Uri) -> Result<(StatePath, Verb), BadTarget> {
    let raw = uri.path().strip_prefix('/').unwrap_or(uri.path());
    let (raw, lock_url) = match raw.strip_suffix("/lock") {
        Some(state) => (state, true),
        None => (raw, false),
    };
    let path = StatePath::parse(raw).map_err(BadTarget::Path)?;
    let verb = match (method.as_str(), lock_url) {
        ("LOCK", _) | ("POST" | "PUT", true) => Verb::Lock,
        ("UNLOCK", _) | ("DELETE", true) => Verb::Unlock,
        ("GET", false) => Verb::Get,
        ("POST" | "PUT", false) => Verb::Write,
        ("DELETE", false) => Verb::Delete,
        (_, true) => return Err(BadTarget::Method(LOCK_METHODS)),
        (_, false) => return Err(BadTarget::Method(STATE_METHODS)),
    };
    Ok((path, verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, uri: &str) -> Result<(String, Verb), BadTarget> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        target(&method, &uri.parse().unwrap()).map(|(path, verb)| (path.to_string(), verb))
    }

    #[test]
    fn verbs_by_method_and_url() {
        for (method, uri, verb) in [
            ("GET", "/a/b", Verb::Get),
            ("POST", "/a/b?ID=1", Verb::Write),
            ("PUT", "/a/b", Verb::Write),
            ("DELETE", "/a/b", Verb::Delete),
            ("LOCK", "/a/b", Verb::Lock),
            ("UNLOCK", "/a/b", Verb::Unlock),
            ("POST", "/a/b/lock", Verb::Lock),
            ("PUT", "/a/b/lock", Verb::Lock),
            ("LOCK", "/a/b/lock", Verb::Lock),
            ("DELETE", "/a/b/lock", Verb::Unlock),
            ("UNLOCK", "/a/b/lock", Verb::Unlock),
        ] {
            assert_eq!(of(method, uri), Ok(("a/b".to_owned(), verb)), "{method} {uri}");
        }
    }

    #[test]
    fn hostile_paths_are_refused() {
        for uri in [
            "/",
            "/a/",
            "/a//b",
            "/a/../b",
            "/a/./b",
            "/a%2Fb",
            "/a%2fb",
            "/A",
            "/a/b/lock/",
            "//a",
            "/lock",
            "/a/b.lock",
            "/a;b",
            "/1/2/3/4/5/6/7/8/9",
        ] {
            assert!(matches!(of("GET", uri), Err(BadTarget::Path(_))), "{uri}");
        }
        assert!(matches!(of("GET", &format!("/{}", "a".repeat(201))), Err(BadTarget::Path(_))));
    }

    #[test]
    fn other_methods_are_told_what_is_allowed() {
        assert_eq!(of("PATCH", "/a"), Err(BadTarget::Method(STATE_METHODS)));
        assert_eq!(of("HEAD", "/a"), Err(BadTarget::Method(STATE_METHODS)));
        assert_eq!(of("lock", "/a"), Err(BadTarget::Method(STATE_METHODS)));
        assert_eq!(of("GET", "/a/lock"), Err(BadTarget::Method(LOCK_METHODS)));
    }
}
