//! What tokens may do, as policies: of one state, of the operator. Pure; what each line is for stands in
//! `docs/openbao.md`.

use std::fmt;

use super::{Instance, Mount};
use crate::store::{StatePath, keys};

/// A policy: what may be done at which paths, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy(Vec<Rule>);

/// One path of a policy, relative to the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The path. A `*` at its end stands for anything.
    pub path: String,
    /// What may be done there.
    pub capabilities: &'static [&'static str],
}

/// Part of the name of the probe's keys: no state path begins with a dot.
const PROBE: &str = ".probe";

impl Policy {
    /// Of a state's token: its head and its versions. It cannot delete the head.
    #[must_use]
    pub fn of_state(mount: &Mount, path: &StatePath) -> Self {
        Self::of_keys(mount, &keys::head(path), &keys::versions(path))
    }

    /// The state that a policy is of, from its text; none where it is of something else, or of another mount.
    pub(super) fn state_of(mount: &Mount, text: &str) -> Option<StatePath> {
        let path = text.strip_prefix(&format!("path \"{mount}/data/"))?.split('"').next()?;
        StatePath::parse(path).ok().filter(|path| Self::of_state(mount, path).to_string() == text)
    }

    /// Of the token that a set-up is tried with: as a state's, for keys that no state has.
    pub(super) fn of_probe(mount: &Mount) -> Self {
        Self::of_keys(mount, PROBE, &probe_versions())
    }

    fn of_keys(mount: &Mount, head: &str, versions: &str) -> Self {
        Self(vec![
            rule(format!("{mount}/data/{head}"), &["create", "read", "update"]),
            rule(format!("{mount}/data/{versions}*"), &["create", "read", "update"]),
            rule(format!("{mount}/metadata/{versions}*"), &["read", "list", "delete"]),
        ])
    }

    /// Of the operator's own token: owner entries, policies and tokens of states, and what it needs to look after
    /// itself. It reads no state.
    #[must_use]
    pub fn of_operator(mount: &Mount, instance: &Instance) -> Self {
        let (role, policies) = (instance.role(), instance.policies());
        Self(vec![
            rule(format!("{mount}/data/{}*", keys::OWNERS), &["create", "read", "update"]),
            rule(format!("sys/policies/acl/{policies}"), &["create", "read", "update", "delete", "list"]),
            rule(format!("auth/token/create/{role}"), &["update"]),
            rule("auth/token/lookup-accessor", &["update"]),
            rule("auth/token/renew-accessor", &["update"]),
            rule("auth/token/revoke-accessor", &["update"]),
            rule(format!("auth/token/roles/{role}"), &["read"]),
            rule(format!("{mount}/config"), &["read"]),
            rule("sys/capabilities-self", &["update"]),
            rule("auth/token/lookup-self", &["read"]),
            rule("auth/token/renew-self", &["update"]),
        ])
    }

    /// Its lines.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }
}

/// What the keys of the probe's parts begin with.
pub(super) fn probe_versions() -> String {
    format!("{}{PROBE}/", keys::VERSIONS)
}

fn rule(path: impl Into<String>, capabilities: &'static [&'static str]) -> Rule {
    Rule { path: path.into(), capabilities }
}

/// As OpenBao reads it (HCL). Nothing in it can need an escape: [`Mount`], [`Instance`] and [`StatePath`] have no character
/// for it, and the rest is written here.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Rule { path, capabilities } in &self.0 {
            writeln!(f, "path \"{path}\" {{ capabilities = {capabilities:?} }}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(text: &str) -> Mount {
        Mount::parse(text).unwrap()
    }

    #[test]
    fn a_states_token_has_its_head_and_its_versions() {
        for (at, path, text) in [
            (
                "states",
                "app",
                r#"path "states/data/app" { capabilities = ["create", "read", "update"] }
path "states/data/.versions/app/*" { capabilities = ["create", "read", "update"] }
path "states/metadata/.versions/app/*" { capabilities = ["read", "list", "delete"] }
"#,
            ),
            (
                "kv/tofu",
                "team/net.work/prod_1",
                r#"path "kv/tofu/data/team/net.work/prod_1" { capabilities = ["create", "read", "update"] }
path "kv/tofu/data/.versions/team:net.work:prod_1/*" { capabilities = ["create", "read", "update"] }
path "kv/tofu/metadata/.versions/team:net.work:prod_1/*" { capabilities = ["read", "list", "delete"] }
"#,
            ),
        ] {
            assert_eq!(Policy::of_state(&mount(at), &StatePath::parse(path).unwrap()).to_string(), text);
        }
    }

    #[test]
    fn the_state_of_a_policy_is_known_from_its_text() {
        let (states, path) = (mount("states"), StatePath::parse("team/net.work/prod_1").unwrap());
        let text = Policy::of_state(&states, &path).to_string();
        assert_eq!(Policy::state_of(&states, &text), Some(path.clone()));
        let operator = Policy::of_operator(&states, &Instance::parse("prod").unwrap()).to_string();
        let (probe, other) = (Policy::of_probe(&states).to_string(), Policy::of_state(&mount("kv"), &path).to_string());
        let more = format!("{text}path \"x\" {{ capabilities = [\"read\"] }}\n");
        for text in ["", "path \"states/data/a/b\" {}", &operator, &probe, &other, &more] {
            assert_eq!(Policy::state_of(&states, text), None, "{text}");
        }
    }

    #[test]
    fn the_operator_has_owners_policies_and_tokens_and_no_state() {
        let policy = Policy::of_operator(&mount("states"), &Instance::parse("prod").unwrap());
        assert_eq!(
            policy.to_string(),
            r#"path "states/data/.owners/*" { capabilities = ["create", "read", "update"] }
path "sys/policies/acl/tofustate/prod/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "auth/token/create/tofustate-prod" { capabilities = ["update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/renew-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "auth/token/roles/tofustate-prod" { capabilities = ["read"] }
path "states/config" { capabilities = ["read"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
"#
        );
    }

    /// Whether a rule of the one policy reaches a key of the other's state, as OpenBao matches them.
    fn reaches(policy: &Policy, key: &str) -> bool {
        policy.rules().iter().any(|rule| match rule.path.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == rule.path,
        })
    }

    #[test]
    fn no_state_reaches_another() {
        let paths = ["a", "a/b", "a/b/c", "a.b", "a-b", "b", "config", "data", "a/config", "1", "versions", "owners"];
        let paths = paths.map(|path| StatePath::parse(path).unwrap());
        let mount = mount("states");
        for path in &paths {
            let own = Policy::of_state(&mount, path);
            for rule in own.rules() {
                assert_eq!(rule.path.matches(['*', '+']).count(), usize::from(rule.path.ends_with("/*")), "{rule:?}");
            }
            for other in &paths {
                let (head, part) = (keys::head(other), keys::part(other, "7-ab", 1));
                for key in [format!("states/data/{head}"), format!("states/data/{part}")] {
                    assert_eq!(reaches(&own, &key), path == other, "{path} and {key}");
                }
                assert!(!reaches(&own, &format!("states/metadata/{head}")), "a head is never deleted");
                assert!(!reaches(&own, &format!("states/data/{}", keys::owner(other))), "{path} and {other}");
            }
        }
    }
}
