//! Which paths a namespace may register. Pure: who has a path already is decided in the store.

use crate::crd::{StatePath, annotations};

/// What decides which paths a namespace may register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tenancy {
    /// The first segment of the path is the namespace.
    #[default]
    Namespace,
    /// The prefixes in the annotation `tofustate.io/path-prefixes` of the Namespace.
    Annotation,
    /// Any path.
    Open,
}

impl Tenancy {
    /// Whether a resource of `namespace` may register `path`. `prefixes`: the annotation of its Namespace, if there is
    /// one.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn allows(self, namespace: &str, prefixes: Option<&str>, path: &StatePath) -> Result<(), String> {
        match (self, prefixes) {
            (Self::Open, _) => Ok(()),
            (Self::Namespace, _) if path.first_segment() == namespace => Ok(()),
            (Self::Namespace, _) => Err(format!(
                "the first segment of {path} is not the namespace {namespace}: write {namespace}/..., or put the resource into the namespace {}",
                path.first_segment()
            )),
            (Self::Annotation, Some(prefixes)) if covered(prefixes, path) => Ok(()),
            (Self::Annotation, Some(_)) => Err(format!(
                "{path} is under none of the prefixes that {} on the Namespace {namespace} lists",
                annotations::PATH_PREFIXES
            )),
            (Self::Annotation, None) => Err(format!(
                "the Namespace {namespace} does not say which paths it may register: list their prefixes, separated by commas, in its annotation {}",
                annotations::PATH_PREFIXES
            )),
        }
    }
}

/// Whether one of the prefixes is the path or leads to it, in whole segments.
fn covered(prefixes: &str, path: &StatePath) -> bool {
    let mut prefixes = prefixes.split(',').map(|prefix| prefix.trim().trim_end_matches('/'));
    prefixes.any(|prefix| {
        // An empty one would be everything: `Open` says that, nothing else.
        !prefix.is_empty()
            && path.as_str().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> StatePath {
        StatePath::parse(text).unwrap()
    }

    #[test]
    fn the_namespace_is_the_first_segment() {
        assert!(Tenancy::Namespace.allows("team-a", None, &path("team-a/net")).is_ok());
        assert!(Tenancy::Namespace.allows("team-a", None, &path("team-a")).is_ok());
        for other in ["team-ab/net", "team/net", "net/team-a"] {
            let said = Tenancy::Namespace.allows("team-a", Some("net,team"), &path(other)).unwrap_err();
            assert!(said.contains(other) && said.contains("team-a/..."), "{said}");
        }
        assert!(Tenancy::Open.allows("team-a", None, &path("net")).is_ok());
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        let prefixes = " team-a/, shared/network ,x//,";
        for (text, allowed) in [
            ("team-a", true),
            ("team-a/net", true),
            ("team-ab", false),
            ("shared/network/prod", true),
            ("shared/networks", false),
            ("shared", false),
            ("x/y", true),
        ] {
            assert_eq!(Tenancy::Annotation.allows("n", Some(prefixes), &path(text)).is_ok(), allowed, "{text}");
        }
        for all in ["", ",", "/", " / "] {
            assert!(Tenancy::Annotation.allows("n", Some(all), &path("net")).is_err(), "{all:?}");
        }
        assert!(Tenancy::Annotation.allows("n", None, &path("n/net")).unwrap_err().contains("path-prefixes"));
    }
}
