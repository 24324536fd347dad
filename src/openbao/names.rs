//! Names that this program gives to things in OpenBao. Their characters are checked, so that none needs an escape in a
//! URL or in a policy, and none is a pattern.

use std::fmt;

/// Names the installation: 1 to 63 lower-case letters, digits and `-`, with a letter or digit at both ends. OpenBao
/// lower-cases names of policies, so others would not stay apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance(String);

/// A mount of OpenBao, without slashes at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount(String);

/// The policy of one state's token: `tofustate/<instance>/<namespace>/<name>` of the resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyName(String);

/// Why something cannot be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The instance.
    #[error(
        "the instance name is not 1 to 63 lower-case letters, digits and '-' with a letter or digit at both ends: choose such a one with --instance"
    )]
    Instance,
    /// A mount.
    #[error("{0:?} is no mount: write a path of letters, digits, '-', '_' and '.'")]
    Mount(String),
    /// A resource.
    #[error("{0:?} is no name that Kubernetes gives, so there is no policy of that name")]
    Resource(String),
}

impl Instance {
    /// Checks a name.
    ///
    /// # Errors
    /// It has other characters, or too many.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if label(text) && text.len() <= 63 { Ok(Self(text.to_owned())) } else { Err(BadName::Instance) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The token role that tokens of states are minted from; the role of the Kubernetes login has the same name.
    #[must_use]
    pub fn role(&self) -> String {
        format!("tofustate-{}", self.0)
    }

    /// The operator's own policy. No state's policy is named so, and no token of the role may have it.
    #[must_use]
    pub fn operator_policy(&self) -> String {
        format!("tofustate-operator-{}", self.0)
    }

    /// The policies that the role gives.
    #[must_use]
    pub fn policies(&self) -> String {
        format!("tofustate/{}/*", self.0)
    }
}

impl Mount {
    /// Checks a path.
    ///
    /// # Errors
    /// It has a character that would need an escape somewhere.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let text = text.trim_matches('/');
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let good = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(letter);
        if text.split('/').all(good) { Ok(Self(text.to_owned())) } else { Err(BadName::Mount(text.to_owned())) }
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PolicyName {
    /// The policy of a resource's state.
    ///
    /// # Errors
    /// The resource has no name of Kubernetes.
    pub fn new(instance: &Instance, namespace: &str, name: &str) -> Result<Self, BadName> {
        if let Some(bad) = [namespace, name].into_iter().find(|part| !is_resource(part)) {
            return Err(BadName::Resource(bad.to_owned()));
        }
        Ok(Self(format!("tofustate/{}/{namespace}/{name}", instance.0)))
    }

    /// The policy of a resource's state, from its whole name. `None` where it is another installation's, or none.
    #[must_use]
    pub fn parse(instance: &Instance, text: &str) -> Option<Self> {
        let (namespace, name) = text.strip_prefix(&format!("tofustate/{}/", instance.0))?.split_once('/')?;
        Self::new(instance, namespace, name).ok()
    }

    /// The policy of a probe that a set-up is tried with; no namespace has this name.
    pub(super) fn probe(instance: &Instance, probe: &str) -> Self {
        Self(format!("{}{probe}", Self::probes(instance)))
    }

    /// What the policies of probes begin with.
    pub(super) fn probes(instance: &Instance) -> String {
        format!("tofustate/{}/.probe/", instance.0)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace and the name of the resource.
    #[must_use]
    pub fn resource(&self) -> (&str, &str) {
        let mut parts = self.0.splitn(4, '/').skip(2);
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether Kubernetes gives such a name: a subdomain of RFC 1123.
#[must_use]
pub fn is_resource(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(label)
}

/// A label of RFC 1123, of any length.
fn label(text: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge) && bytes.iter().all(|b| edge(b) || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_itself_in_a_url_and_a_policy_is_a_name() {
        for good in ["a", "prod", "eu-1", &"x".repeat(63)] {
            assert_eq!(Instance::parse(good).as_ref().map(Instance::as_str), Ok(good));
        }
        for bad in ["", "Prod", "a_b", "a.b", "-a", "a-", "a/b", "*", "a*", "a+", "ä", "a\"", "a\n", &"x".repeat(64)] {
            assert_eq!(Instance::parse(bad), Err(BadName::Instance), "{bad:?}");
        }
        for (text, mount) in [("states", "states"), ("/kv/States_1/", "kv/States_1"), ("a.b-c", "a.b-c")] {
            assert_eq!(Mount::parse(text).as_ref().map(Mount::as_str), Ok(mount));
        }
        for bad in ["", "/", "a//b", "a/../b", ".", "a b", "a*", "+", "a\"b", "a\n", "a%2f", "ä", "a?b", "a#b"] {
            assert!(Mount::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_resource_has_a_policy_of_its_own_below_its_instance() {
        let prod = Instance::parse("prod").unwrap();
        let name = |namespace, name| PolicyName::new(&prod, namespace, name).map(|name| name.to_string());
        assert_eq!(name("team", "app.x-1"), Ok("tofustate/prod/team/app.x-1".to_owned()));
        let long = "x".repeat(253);
        assert!(name("team", &long).is_ok());
        assert_eq!(PolicyName::new(&prod, "team", "app.x").unwrap().resource(), ("team", "app.x"));
        for (namespace, other) in [
            ("", "a"),
            ("team", ""),
            ("team/x", "a"),
            ("team", "a/b"),
            ("team", ".."),
            ("team", "a..b"),
            (".probe", "probe"),
            ("team", "*"),
            ("team", "A"),
            ("team", "a\" {"),
            ("team", &format!("{long}x")),
        ] {
            assert!(name(namespace, other).is_err(), "{namespace} {other}");
        }
        assert!(!prod.operator_policy().starts_with("tofustate/"), "the role would give it");
    }
}
