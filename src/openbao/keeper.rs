//! Where tokens of states are kept from one process to the next: behind a trait, and as files.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{io, path::Path};
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{Instance, PolicyName, Token};
use crate::{
    private::PrivateFolder,
    store::{Redacted, machine_time},
};

/// The format that this release writes.
const FORMAT: u32 = 1;

/// A state's token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The token.
    pub token: Token,
    /// What names it without giving its rights.
    pub accessor: String,
    /// Tokens that it came in place of, and that still live.
    pub retired: Vec<Retired>,
}

/// A token that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// What names it.
    pub accessor: String,
    /// When it was replaced.
    pub since: Timestamp,
}

/// Why a token cannot be kept or found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeeperError {
    /// The same call may do better in a moment.
    #[error("the token of a state cannot be kept: {0}")]
    Passes(String),
    /// A person has to do what this says.
    #[error("the token of a state cannot be kept: {0}")]
    Stays(String),
}

/// Where the tokens of states are kept, for all replicas.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// What is kept for the state of a policy.
    ///
    /// # Errors
    /// It cannot be told now.
    async fn load(&self, of: &PolicyName) -> Result<Option<Kept>, KeeperError>;

    /// Keeps `new` in place of the token of accessor `old` (`None`: of nothing), or nothing in its place. Answers false,
    /// and changes nothing, where another replica kept another by now.
    ///
    /// # Errors
    /// It cannot be done now.
    async fn replace(&self, of: &PolicyName, old: Option<&str>, new: Option<&Kept>) -> Result<bool, KeeperError>;

    /// Tokens of somebody else that are kept where this state's would be, and would be forgotten with the first of its
    /// own: they are ended as if they were replaced. Only asked where nothing is kept for the state.
    ///
    /// # Errors
    /// It cannot be told now.
    async fn left(&self, _: &PolicyName) -> Result<Vec<Retired>, KeeperError> {
        Ok(Vec::new())
    }

    /// All that is kept for states of an installation, where reading it at once is cheaper than one by one; else nothing.
    ///
    /// # Errors
    /// It cannot be told now.
    async fn list(&self, _: &Instance) -> Result<Vec<(PolicyName, Kept)>, KeeperError> {
        Ok(Vec::new())
    }

    /// The policies of an installation whose states have something kept.
    ///
    /// # Errors
    /// It cannot be told now.
    async fn all(&self, instance: &Instance) -> Result<Vec<PolicyName>, KeeperError>;
}

/// Files of mode 0600, one a state. One process has the folder.
#[derive(Clone, Debug)]
pub struct FileKeeper(PrivateFolder);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptFile {
    format: u32,
    policy: String,
    token: Redacted<String>,
    accessor: String,
    #[serde(default)]
    retired: Vec<Retired>,
}

impl Kept {
    /// What names the token and those that it came in place of; it comes last.
    pub fn accessors(&self) -> impl Iterator<Item = &str> {
        self.retired.iter().map(|retired| &retired.accessor).chain([&self.accessor]).map(String::as_str)
    }

    /// As it is kept, for the state of this policy: JSON.
    ///
    /// # Errors
    /// None that its content can cause.
    pub fn written(&self, of: &PolicyName) -> Result<Redacted<Vec<u8>>, KeeperError> {
        let file = KeptFile {
            format: FORMAT,
            policy: of.to_string(),
            token: Redacted::from(self.token.expose().to_owned()),
            accessor: self.accessor.clone(),
            retired: self.retired.clone(),
        };
        serde_json::to_vec(&file).map(Redacted::from).map_err(|error| KeeperError::Passes(error.to_string()))
    }

    /// What was kept, and for which policy; `None` where it is damaged.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<(String, Self)> {
        let file = serde_json::from_slice::<KeptFile>(bytes).ok().filter(|file| file.format == FORMAT)?;
        let token = Token::parse(file.token.expose()).ok()?;
        Some((file.policy, Self { token, accessor: file.accessor, retired: file.retired }))
    }
}

impl FileKeeper {
    /// In this folder, which is made where it is missing.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self(PrivateFolder::open(folder.to_owned(), ".json")?))
    }

    fn read(&self, of: &PolicyName) -> io::Result<Option<Kept>> {
        Ok(self.found(of)?.filter(|(policy, _)| policy == of.as_str()).map(|(_, kept)| kept))
    }

    /// What stands in the file of a state, and for which policy: another instance's may be there, from a time when this
    /// data folder was its.
    fn found(&self, of: &PolicyName) -> io::Result<Option<(String, Kept)>> {
        let (namespace, name) = of.resource();
        let Some(bytes) = self.0.read(namespace, name)? else { return Ok(None) };
        let kept = Kept::read(&bytes);
        if kept.is_none() {
            let file = self.0.file(namespace, name);
            warn!(file = %file.display(), "the kept token of a state is damaged: another is made");
        }
        Ok(kept)
    }

    fn write(&self, of: &PolicyName, kept: &Kept) -> io::Result<()> {
        let (namespace, name) = of.resource();
        self.0.write(namespace, name, kept.written(of).map_err(io::Error::other)?.expose())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        of: &PolicyName,
        work: impl FnOnce(Self, PolicyName) -> io::Result<T> + Send + 'static,
    ) -> Result<T, KeeperError> {
        let (this, of) = (self.clone(), of.clone());
        let done = spawn_blocking(move || work(this, of)).await;
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(KeeperError::Passes(error.to_string())),
            Err(error) => Err(KeeperError::Passes(error.to_string())),
        }
    }
}

#[async_trait]
impl Keeper for FileKeeper {
    async fn load(&self, of: &PolicyName) -> Result<Option<Kept>, KeeperError> {
        self.blocking(of, |this, of| this.read(&of)).await
    }

    async fn replace(&self, of: &PolicyName, old: Option<&str>, new: Option<&Kept>) -> Result<bool, KeeperError> {
        let (old, new) = (old.map(str::to_owned), new.cloned());
        let work = move |this: Self, of: PolicyName| {
            if this.read(&of)?.map(|kept| kept.accessor) != old {
                return Ok(false);
            }
            match new {
                Some(new) => this.write(&of, &new)?,
                None => {
                    let (namespace, name) = of.resource();
                    this.0.remove(namespace, name)?;
                }
            }
            Ok(true)
        };
        self.blocking(of, work).await
    }

    async fn left(&self, of: &PolicyName) -> Result<Vec<Retired>, KeeperError> {
        let work = |this: Self, of: PolicyName| {
            let other = this.found(&of)?.filter(|(policy, _)| policy != of.as_str());
            Ok(other.map_or_else(Vec::new, |(_, kept)| {
                let last = Retired { accessor: kept.accessor, since: machine_time() };
                kept.retired.into_iter().chain([last]).collect()
            }))
        };
        self.blocking(of, work).await
    }

    async fn all(&self, instance: &Instance) -> Result<Vec<PolicyName>, KeeperError> {
        let (folder, instance) = (self.0.clone(), instance.clone());
        let work = move || -> io::Result<Vec<PolicyName>> {
            let files = folder.all()?;
            let parsed = files.iter().filter_map(|bytes| serde_json::from_slice::<KeptFile>(bytes).ok());
            Ok(parsed.filter_map(|file| PolicyName::parse(&instance, &file.policy)).collect())
        };
        let done = spawn_blocking(work).await.map_err(io::Error::other).flatten();
        done.map_err(|error| KeeperError::Passes(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openbao::Instance;

    fn kept(token: &str, retired: &[&str]) -> Kept {
        let since = Timestamp::UNIX_EPOCH;
        let retired = retired.iter().map(|accessor| Retired { accessor: (*accessor).to_owned(), since }).collect();
        Kept { token: Token::parse(token).unwrap(), accessor: token.replace("s.", "accessor-"), retired }
    }

    #[tokio::test]
    async fn a_token_is_found_again_and_only_replaced_where_nobody_else_did() {
        let root = tempfile::tempdir().unwrap();
        let keeper = FileKeeper::open(&root.path().join("openbao")).unwrap();
        let name = |instance| PolicyName::new(&Instance::parse(instance).unwrap(), "team", "app").unwrap();
        let of = name("prod");
        let (first, second) = (kept("s.first", &[]), kept("s.second", &["a"]));
        assert_eq!(keeper.load(&of).await, Ok(None));
        assert_eq!(keeper.replace(&of, Some("x"), Some(&first)).await, Ok(false));
        assert_eq!(keeper.replace(&of, None, Some(&first)).await, Ok(true));
        assert_eq!(keeper.replace(&of, None, Some(&second)).await, Ok(false));
        assert_eq!(keeper.load(&of).await, Ok(Some(first.clone())));
        assert_eq!(keeper.replace(&of, Some(&first.accessor), Some(&second)).await, Ok(true));
        assert_eq!(FileKeeper::open(&root.path().join("openbao")).unwrap().load(&of).await, Ok(Some(second.clone())));
        assert_eq!(keeper.load(&name("other")).await, Ok(None));
        let all = |instance| Instance::parse(instance).unwrap();
        assert_eq!(keeper.all(&all("prod")).await, Ok(vec![of.clone()]));
        assert_eq!(keeper.all(&all("other")).await, Ok(vec![]));
        assert!(!format!("{second:?}").contains("s.second"));
        // Whoever writes over another instance's gets to know what is to be ended.
        let left = keeper.left(&name("other")).await.unwrap();
        assert_eq!(left.iter().map(|left| left.accessor.as_str()).collect::<Vec<_>>(), ["a", "accessor-second"]);
        assert_eq!(keeper.left(&of).await, Ok(vec![]), "its own are not left");
        assert_eq!(keeper.replace(&of, Some(&second.accessor), None).await, Ok(true));
        assert_eq!(keeper.load(&of).await, Ok(None));
        std::fs::write(root.path().join("openbao/team/app.json"), "{").unwrap();
        assert_eq!(keeper.load(&of).await, Ok(None), "a damaged one is as none");
        assert_eq!(keeper.replace(&of, None, Some(&first)).await, Ok(true));
    }
}
