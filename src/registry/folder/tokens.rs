//! Tokens that are generated for resources that name no Secret: made once, kept in the data folder.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::report::{Kind, Place, Problem, Reason};
use crate::private::PrivateFolder;
use crate::registry::{
    CredentialHash, Redacted, ResourceName,
    token::{MAX_TOKEN, generate},
};

/// The generated tokens of all resources.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    folder: PrivateFolder,
}

/// A generated token.
#[derive(Clone, Debug)]
pub(super) struct Obtained {
    pub(super) hash: CredentialHash,
    /// The token itself, where it was made just now.
    pub(super) made: Option<Redacted<String>>,
}

impl Tokens {
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        Ok(Self { folder: PrivateFolder::open(data.join("tokens"), "")? })
    }

    /// Where the token of a resource stands.
    pub(super) fn file(&self, name: &ResourceName) -> PathBuf {
        self.folder.file(&name.namespace, &name.name)
    }

    /// The token of a resource, made now if it never had one. A damaged file is never replaced: runs use that token.
    pub(super) fn obtain(&self, name: &ResourceName) -> Result<Obtained, Problem> {
        let problem = |message: String| {
            let place = Place::file(&self.file(name));
            Err(Problem::error(Reason::DataFile, message).of(Kind::TofuStateBackend, name).at(&place))
        };
        match self.folder.read(&name.namespace, &name.name) {
            Ok(Some(bytes)) => match token(&bytes) {
                Some(token) => Ok(Obtained { hash: CredentialHash::of(token), made: None }),
                None => problem("the generated token is damaged, so the path is not served: restore the file from a backup, or remove it to have a new token made".to_owned()),
            },
            Ok(None) => {
                let token = generate();
                match self.folder.write(&name.namespace, &name.name, format!("{}\n", token.expose()).as_bytes()) {
                    Ok(()) => Ok(Obtained { hash: CredentialHash::of(token.expose()), made: Some(token) }),
                    Err(error) => problem(format!("a token was to be kept here, and that failed: {error}; the path is not served until it is")),
                }
            }
            Err(error) => problem(format!("the generated token cannot be read, so the path is not served: {error}")),
        }
    }
}

fn token(bytes: &[u8]) -> Option<&str> {
    let token = std::str::from_utf8(bytes).ok()?.trim();
    let fits = !token.is_empty() && token.len() <= MAX_TOKEN && !token.contains(|c: char| c.is_control() || c == ' ');
    fits.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_shown_once() {
        let root = tempfile::tempdir().unwrap();
        let name = ResourceName { namespace: "n".into(), name: "net".into() };
        let tokens = Tokens::open(root.path()).unwrap();
        let first = tokens.obtain(&name).unwrap();
        let made = first.made.unwrap();
        assert_eq!(made.expose().len(), 43);
        assert!(first.hash.matches(&CredentialHash::of(made.expose())));
        let again = Tokens::open(root.path()).unwrap().obtain(&name).unwrap();
        assert!(again.made.is_none() && again.hash.matches(&first.hash));
        let other = tokens.obtain(&ResourceName { name: "other".into(), ..name.clone() }).unwrap();
        assert!(!other.hash.matches(&first.hash));

        for damaged in ["", "\n", "a b", "a\nb"] {
            std::fs::write(tokens.file(&name), damaged).unwrap();
            let problem = tokens.obtain(&name).unwrap_err();
            assert!(problem.reason == Reason::DataFile && problem.message.contains("restore"), "{problem}");
        }
        assert_eq!(std::fs::read_to_string(tokens.file(&name)).unwrap(), "a\nb");
    }
}
