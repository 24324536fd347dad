//! Who may use a state: the tokens that the spec names, from the Secrets that were read, and the generated one. Pure.

use std::collections::BTreeMap;

use crate::{
    crd::{AccessRole, SecretKeyRef, TofuStateBackendSpec, conditions::reason},
    registry::{Credential, CredentialHash, Role, WEAK_TOKEN, identity, token},
    store::Redacted,
};

/// As who the holder of the main token is recorded.
pub const TOKEN: &str = "token";

/// The values of a Secret.
pub type Values = BTreeMap<String, Redacted<Vec<u8>>>;
/// The Secrets of a namespace that were looked for; `None`: not there.
pub type Secrets = BTreeMap<String, Option<Values>>;

/// The credentials of a resource.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The main token, which goes into the connection Secret.
    pub token: Option<Redacted<String>>,
    /// It names no Secret: the main token is a generated one, from the connection Secret or made now.
    pub generated: bool,
    /// It was made now: nobody has it before it is written.
    pub new: bool,
    /// It takes the place of one that somebody else put into the connection Secret.
    pub altered: bool,
    /// Who may use the state.
    pub who: Vec<Who>,
    /// What is wrong, the main token's first.
    pub wrong: Vec<Wrong>,
}

/// Somebody who may use a state.
#[derive(Clone, Debug)]
pub struct Who {
    /// As who.
    pub identity: String,
    /// For what.
    pub role: Role,
    /// By which token.
    pub token: Redacted<String>,
}

/// What is wrong with a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// One word for machines.
    pub reason: &'static str,
    /// What to do.
    pub message: String,
    /// It cannot be used.
    pub refused: bool,
}

/// The names of the Secrets that a spec names.
pub fn named(spec: &TofuStateBackendSpec) -> Vec<&str> {
    let main = spec.access_token_secret_ref.iter();
    let mut names: Vec<_> =
        main.chain(spec.access.iter().map(|access| &access.secret_ref)).map(|of| of.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The credentials that a spec asks for. `kept`: the generated token that the connection Secret has.
#[must_use]
pub fn wanted(spec: &TofuStateBackendSpec, kept: Option<Redacted<String>>, secrets: &Secrets) -> Wanted {
    let mut wanted = Wanted::default();
    match &spec.access_token_secret_ref {
        None => {
            (wanted.generated, wanted.new) = (true, kept.is_none());
            wanted.token = Some(kept.unwrap_or_else(token::generate));
        }
        Some(of) => wanted.token = find(of, "spec.accessTokenSecretRef", secrets, &mut wanted.wrong),
    }
    if let Some(token) = wanted.token.clone() {
        wanted.who.push(Who { identity: TOKEN.to_owned(), role: Role::ReadWrite, token });
    }
    for (n, access) in spec.access.iter().enumerate() {
        let field = format!("spec.access[{n}].secretRef");
        let Some(token) = find(&access.secret_ref, &field, secrets, &mut wanted.wrong) else { continue };
        let identity = identity(&access.name);
        let hash = CredentialHash::of(token.expose());
        let same = wanted.who.iter().find(|one| CredentialHash::of(one.token.expose()).matches(&hash));
        if let Some(same) = same {
            let message = format!(
                "{field}: this is the token of {} too, so who uses it could not be told: {identity} is refused; give each a token of its own",
                same.identity
            );
            wanted.wrong.push(Wrong { reason: reason::SAME_TOKEN, message, refused: true });
            continue;
        }
        let role = match access.role {
            AccessRole::ReadOnly => Role::ReadOnly,
            AccessRole::ReadWrite => Role::ReadWrite,
        };
        wanted.who.push(Who { identity, role, token });
    }
    wanted
}

impl Wanted {
    /// As the registry has them.
    #[must_use]
    pub fn hashes(&self) -> Vec<Credential> {
        let hash = |one: &Who| Credential {
            identity: one.identity.clone(),
            role: one.role,
            hash: CredentialHash::of(one.token.expose()),
        };
        self.who.iter().map(hash).collect()
    }

    /// The tokens by identity.
    #[must_use]
    pub fn tokens(&self) -> Vec<(String, Redacted<String>)> {
        self.who.iter().map(|one| (one.identity.clone(), one.token.clone())).collect()
    }
}

fn find(of: &SecretKeyRef, field: &str, secrets: &Secrets, wrong: &mut Vec<Wrong>) -> Option<Redacted<String>> {
    let SecretKeyRef { name, key } = of;
    let mut refuse = |reason, message: String| {
        wrong.push(Wrong { reason, message: format!("{field}: {message}"), refused: true });
    };
    let Some(values) = secrets.get(name).and_then(Option::as_ref) else {
        refuse(reason::SECRET_NOT_FOUND, format!("the Secret {name} is not in this namespace: make it"));
        return None;
    };
    let Some(value) = values.get(key) else {
        refuse(reason::SECRET_KEY_NOT_FOUND, format!("the Secret {name} has no key {key:?}: add it"));
        return None;
    };
    match token::read(value.expose()) {
        Ok(read) => {
            if read.weak {
                let message = format!(
                    "{field}: the value of {key:?} in the Secret {name} is shorter than {WEAK_TOKEN} characters and can be guessed: write a longer one"
                );
                wrong.push(Wrong { reason: reason::WEAK_TOKEN, message, refused: false });
            }
            Some(read.token)
        }
        Err(no_token) => {
            let reason = match no_token {
                token::NoToken::Empty => reason::SECRET_KEY_NOT_FOUND,
                _ => reason::INVALID_TOKEN,
            };
            refuse(reason, format!("the value of {key:?} in the Secret {name} {no_token}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(fields: serde_json::Value) -> TofuStateBackendSpec {
        let mut all = json!({"path": "team/app"});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn secrets(of: &[(&str, &str, &str)]) -> Secrets {
        let mut all = Secrets::new();
        for (name, key, value) in of {
            let values = all.entry((*name).to_owned()).or_insert_with(|| Some(Values::new()));
            values.as_mut().unwrap().insert((*key).to_owned(), value.as_bytes().to_vec().into());
        }
        all
    }

    fn identities(of: &Wanted) -> Vec<&str> {
        of.who.iter().map(|one| one.identity.as_str()).collect()
    }

    #[test]
    fn a_token_is_generated_once_and_one_that_is_named_is_read() {
        let none = wanted(&spec(json!({})), None, &Secrets::new());
        assert!(
            none.generated
                && none.new
                && none.token.as_ref().unwrap().expose().len() > 40
                && identities(&none) == [TOKEN]
        );
        let kept = wanted(&spec(json!({})), Some("kept".to_owned().into()), &Secrets::new());
        assert_eq!((kept.new, kept.token.unwrap().expose().as_str()), (false, "kept"));
        let named = spec(json!({"accessTokenSecretRef": {"name": "s", "key": "token"}}));
        let there = secrets(&[("s", "token", "01234567890123456789\n")]);
        let read = wanted(&named, Some("kept".to_owned().into()), &there);
        assert_eq!((read.token.unwrap().expose().as_str(), read.wrong), ("01234567890123456789", vec![]));
    }

    #[test]
    fn what_is_wrong_is_named_and_never_shown() {
        let named = spec(json!({"accessTokenSecretRef": {"name": "s", "key": "token"}}));
        for (secrets, reason, refused) in [
            (Secrets::from([("s".to_owned(), None)]), reason::SECRET_NOT_FOUND, true),
            (secrets(&[("s", "other", "x")]), reason::SECRET_KEY_NOT_FOUND, true),
            (secrets(&[("s", "token", " \n")]), reason::SECRET_KEY_NOT_FOUND, true),
            (secrets(&[("s", "token", "hunter2\nhunter2")]), reason::INVALID_TOKEN, true),
            (secrets(&[("s", "token", "hunter2")]), reason::WEAK_TOKEN, false),
        ] {
            let found = wanted(&named, None, &secrets);
            assert_eq!((found.wrong.len(), found.wrong[0].reason, found.wrong[0].refused), (1, reason, refused));
            assert_eq!(found.token.is_none(), refused);
            let said = format!("{found:?}");
            assert!(said.contains("spec.accessTokenSecretRef") && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn the_others_go_on_without_the_main_one_and_no_token_is_two_peoples() {
        let fields = json!({
            "accessTokenSecretRef": {"name": "none"},
            "access": [
                {"name": "a", "role": "ReadOnly", "secretRef": {"name": "s", "key": "a"}},
                {"name": "b", "role": "ReadWrite", "secretRef": {"name": "s", "key": "b"}},
            ],
        });
        let same = secrets(&[("s", "a", "01234567890123456789"), ("s", "b", "01234567890123456789")]);
        let found = wanted(&spec(fields.clone()), None, &same);
        assert_eq!(identities(&found), ["access/a"]);
        let reasons: Vec<_> = found.wrong.iter().map(|wrong| wrong.reason).collect();
        assert_eq!(reasons, [reason::SECRET_NOT_FOUND, reason::SAME_TOKEN]);
        assert_eq!(named(&spec(fields)), ["none", "s"]);
    }
}
