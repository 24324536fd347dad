//! What the operator proves itself to OpenBao with: a ServiceAccount token for the Kubernetes login, or a token of
//! OpenBao's from a variable or a file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{BadToken, Instance, Mount, Token, settings::env};
use crate::private::{self, NotPrivate};

/// Where a Pod's ServiceAccount token stands, if nothing else is said.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// The mount of the Kubernetes login, if nothing else is said.
pub(super) const KUBERNETES_MOUNT: &str = "kubernetes";

/// What the operator proves itself with. `Debug` shows no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A login by a Kubernetes ServiceAccount.
    Kubernetes(ServiceAccount),
    /// A token that stays, from `BAO_TOKEN`.
    Token(Token),
    /// The token in a file that nobody else reads, or that a kubelet mounted of a Secret; taken anew when it changes.
    File(PathBuf),
}

/// The Kubernetes login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// The mount of the auth method.
    pub mount: Mount,
    /// The role there.
    pub role: String,
    /// The file with the ServiceAccount token; read anew at each login, since Kubernetes replaces it.
    pub token_file: PathBuf,
    /// Whom that token has to be for: one for others is not shown to OpenBao. `None`: anybody.
    pub audience: Option<String>,
}

/// Why there is nothing to prove itself with.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Neither is set.
    #[error(
        "there is no token for OpenBao: set BAO_TOKEN_FILE, or BAO_TOKEN, or TOFUSTATE_OPENBAO_KUBERNETES_AUTH=true for the login of a Pod"
    )]
    None,
    /// More than one is set, and it would be unclear which one counts.
    #[error("{0} and {1} are both set: which one counts? Set one")]
    Both(&'static str, &'static str),
    /// A value that is wrong.
    #[error("{0}: {1}")]
    Variable(&'static str, String),
    /// The file is not private, or cannot be read.
    #[error("the token file: {0}")]
    NotPrivate(#[from] NotPrivate),
    /// The file has no token in it.
    #[error("the token file {0}: {1}")]
    BadToken(PathBuf, BadToken),
    /// The ServiceAccount token cannot be used.
    #[error("the ServiceAccount token {0}: {1}")]
    ServiceAccount(PathBuf, String),
}

impl Credential {
    /// What the environment says.
    ///
    /// # Errors
    /// Nothing is set, too much, or something wrong.
    pub fn from_env(instance: &Instance) -> Result<Self, CredentialError> {
        Self::read(instance, env)
    }

    /// Whether what it is made of can be used now: a ServiceAccount token that cannot be read, or is for others, comes to no
    /// login however long that is tried. Asks OpenBao nothing.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self) -> Result<(), CredentialError> {
        match self {
            Self::Kubernetes(account) => account.read().map(drop),
            Self::File(file) => read_given_token(file).map(drop),
            Self::Token(_) => Ok(()),
        }
    }

    fn read(instance: &Instance, get: impl Fn(&str) -> Option<String>) -> Result<Self, CredentialError> {
        const KUBERNETES: &str = "TOFUSTATE_OPENBAO_KUBERNETES_AUTH";
        let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
        let kubernetes = match get(KUBERNETES).as_deref().map(str::trim) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(CredentialError::Variable(KUBERNETES, "it is neither true nor false".to_owned())),
        };
        match (get("BAO_TOKEN"), get("BAO_TOKEN_FILE"), kubernetes) {
            (Some(_), Some(_), _) => Err(CredentialError::Both("BAO_TOKEN", "BAO_TOKEN_FILE")),
            (Some(_), None, true) => Err(CredentialError::Both("BAO_TOKEN", KUBERNETES)),
            (None, Some(_), true) => Err(CredentialError::Both("BAO_TOKEN_FILE", KUBERNETES)),
            (None, None, false) => Err(CredentialError::None),
            (Some(token), None, false) => match Token::parse(&token) {
                Ok(token) => Ok(Self::Token(token)),
                Err(wrong) => Err(CredentialError::Variable("BAO_TOKEN", wrong.to_string())),
            },
            (None, Some(file), false) => {
                let file = PathBuf::from(file);
                read_given_token(&file)?;
                Ok(Self::File(file))
            }
            (None, None, true) => {
                const MOUNT: &str = "TOFUSTATE_OPENBAO_KUBERNETES_MOUNT";
                let or =
                    |name: &str, default: &str| get(name).map_or(default.to_owned(), |text| text.trim().to_owned());
                let mount = Mount::parse(&or(MOUNT, KUBERNETES_MOUNT));
                let role = or("TOFUSTATE_OPENBAO_KUBERNETES_ROLE", &instance.role());
                Ok(Self::Kubernetes(ServiceAccount {
                    mount: mount.map_err(|wrong| CredentialError::Variable(MOUNT, wrong.to_string()))?,
                    role,
                    token_file: or("TOFUSTATE_OPENBAO_KUBERNETES_TOKEN_FILE", SERVICE_ACCOUNT_TOKEN).into(),
                    audience: get("TOFUSTATE_OPENBAO_KUBERNETES_AUDIENCE").map(|text| text.trim().to_owned()),
                }))
            }
        }
    }
}

/// The token in a file of mode 0600 or stricter that is this user's own.
///
/// # Errors
/// The file is not private, or has no token in it.
pub fn read_token(file: &Path) -> Result<Token, CredentialError> {
    parse(file, private::read(file)?.expose())
}

/// The token in the file of `BAO_TOKEN_FILE`: such a one, or one that a kubelet mounted of a Secret.
pub(super) fn read_given_token(file: &Path) -> Result<Token, CredentialError> {
    parse(file, private::read_mounted(file)?.expose())
}

fn parse(file: &Path, text: &str) -> Result<Token, CredentialError> {
    Token::parse(text).map_err(|wrong| CredentialError::BadToken(file.to_owned(), wrong))
}

impl ServiceAccount {
    /// The ServiceAccount token as the file has it now.
    pub(super) fn read(&self) -> Result<Token, CredentialError> {
        let fault = |what: String| CredentialError::ServiceAccount(self.token_file.clone(), what);
        let text =
            fs::read_to_string(&self.token_file).map_err(|error| fault(format!("it cannot be read: {error}")))?;
        let token = Token::parse(&text).map_err(|wrong| fault(wrong.to_string()))?;
        if let Some(wanted) = &self.audience {
            let found = audiences(&token).ok_or_else(|| fault("it is no token of Kubernetes (a JWT)".to_owned()))?;
            if !found.contains(wanted) {
                let found = found.join(", ");
                return Err(fault(format!(
                    "it is for the audience {found:?} and not {wanted:?}, so OpenBao is not shown it: set the audience of the Pod's serviceAccountToken volume"
                )));
            }
        }
        Ok(token)
    }
}

/// Whom a JWT says that it is for. Nothing about it is checked: that is up to who takes it.
fn audiences(token: &Token) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    #[derive(Deserialize)]
    struct Claims {
        aud: Option<Audience>,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    Some(match claims.aud {
        None => Vec::new(),
        Some(Audience::One(one)) => vec![one],
        Some(Audience::Many(many)) => many,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Credential, String> {
        let instance = Instance::parse("prod").unwrap();
        let get = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Credential::read(&instance, get).map_err(|error| error.to_string())
    }

    #[test]
    fn one_thing_counts_and_it_is_clear_which() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        private::write(&file, b"s.from-file\n").unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(read(&[("BAO_TOKEN", " s.abc\n")]), Ok(Credential::Token(Token::parse("s.abc").unwrap())));
        assert_eq!(read(&[("BAO_TOKEN_FILE", path), ("BAO_TOKEN", "")]), Ok(Credential::File(file.clone())));
        assert_eq!(read_token(&file).unwrap().expose(), "s.from-file");
        let Ok(Credential::Kubernetes(account)) = read(&[
            ("TOFUSTATE_OPENBAO_KUBERNETES_AUTH", "true"),
            ("TOFUSTATE_OPENBAO_KUBERNETES_AUDIENCE", "openbao"),
        ]) else {
            panic!("no Kubernetes login")
        };
        assert_eq!((account.role.as_str(), account.mount.as_str()), ("tofustate-prod", "kubernetes"));
        assert_eq!(account.audience.as_deref(), Some("openbao"));

        let kubernetes = ("TOFUSTATE_OPENBAO_KUBERNETES_AUTH", "true");
        for (set, says) in [
            (vec![], "BAO_TOKEN_FILE"),
            (vec![("BAO_TOKEN", "a"), ("BAO_TOKEN_FILE", path)], "both"),
            (vec![("BAO_TOKEN", "a"), kubernetes], "both"),
            (vec![("BAO_TOKEN_FILE", path), kubernetes], "both"),
            (vec![("BAO_TOKEN", "s3cret s3cret")], "BAO_TOKEN: the token has spaces"),
            (vec![("BAO_TOKEN_FILE", "/no/such/file")], "cannot be read"),
            (vec![("TOFUSTATE_OPENBAO_KUBERNETES_AUTH", "yes")], "neither true nor false"),
            (vec![kubernetes, ("TOFUSTATE_OPENBAO_KUBERNETES_MOUNT", "a b")], "is no mount"),
        ] {
            let said = read(&set).unwrap_err();
            assert!(said.contains(says) && !said.contains("s3cret"), "{set:?}: {said}");
        }
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(read(&[("BAO_TOKEN_FILE", path)]).unwrap_err().contains("chmod 600"));
        private::write(&file, b" \n").unwrap();
        assert!(read(&[("BAO_TOKEN_FILE", path)]).unwrap_err().contains("the token is empty"));
    }

    #[test]
    fn a_token_for_others_is_not_shown_to_openbao() {
        let folder = tempfile::tempdir().unwrap();
        let account = |audience: Option<&str>| ServiceAccount {
            mount: Mount::parse("kubernetes").unwrap(),
            role: "r".to_owned(),
            token_file: folder.path().join("token"),
            audience: audience.map(str::to_owned),
        };
        let write = |claims: &str| {
            fs::write(folder.path().join("token"), format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims))).unwrap();
        };
        assert!(account(None).read().unwrap_err().to_string().contains("cannot be read"));
        for claims in [r#"{"aud":["openbao","x"]}"#, r#"{"aud":"openbao"}"#] {
            write(claims);
            assert!(account(Some("openbao")).read().is_ok() && account(None).read().is_ok(), "{claims}");
        }
        for claims in [r#"{"aud":["https://kubernetes.default.svc"]}"#, r#"{"sub":"x"}"#, "{"] {
            write(claims);
            assert!(account(Some("openbao")).read().is_err() && account(None).read().is_ok(), "{claims}");
        }
    }
}
