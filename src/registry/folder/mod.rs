//! Fills the registry from a folder of manifests, as `tofustate standalone` does. Here: what is known from pass to pass, and
//! the stages of one: look (`scan`, `contents`), read (`yaml`, `manifest`), resolve, open, credentials, serve. When a pass
//! happens is in `run`. A manifest that goes only stops being served: nothing is ever released or deleted.

mod contents;
mod credentials;
mod manifest;
mod metadata;
mod open;
mod pass;
mod paths;
mod records;
mod report;
mod resolve;
mod run;
mod scan;
mod secret;
mod serve;
mod tokens;
mod yaml;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

pub use credentials::{BadApiToken, api_token};
pub use report::{Change, ChangeKind, Generated, Kind, Place, Problem, Reason, Report, Served, Severity, Subject};
pub use scan::FolderLimits;

use self::{
    contents::Folder,
    manifest::{BackendManifest, NamespaceManifest},
    open::{Opened, Opener},
    records::{Kept, Record, Records},
    resolve::Goods,
    secret::SecretManifest,
    tokens::Tokens,
};
use super::{Backend, CredentialHash, Registry, ResourceName, Tenancy};
use crate::store::{Engine, Settings, Stores};

/// What a folder is read for, and how.
#[derive(Clone, Debug)]
pub struct FolderOptions {
    /// The folder of manifests.
    pub manifests: PathBuf,
    /// Where generated tokens and records are kept; may be the folder of the embedded store.
    pub data: PathBuf,
    /// Names the installation in the store.
    pub instance: String,
    /// What decides which paths a namespace may register.
    pub tenancy: Tenancy,
    /// Takes states that are lost or older than they were seen as the store has them: a person said so with this start.
    pub accept_restore: bool,
    /// A token that every state takes besides its own (`API_TOKEN`): another mode of trust, for those who come from one
    /// token for all. No tokens are generated then.
    pub api_token: Option<CredentialHash>,
    /// How much of the folder is read.
    pub limits: FolderLimits,
    /// How often the folder is looked at, and records are written.
    pub poll: Duration,
}

impl FolderOptions {
    /// The defaults for these folders.
    #[must_use]
    pub fn new(manifests: PathBuf, data: PathBuf, instance: String) -> Self {
        Self {
            manifests,
            data,
            instance,
            tenancy: Tenancy::default(),
            accept_restore: false,
            api_token: None,
            limits: FolderLimits::default(),
            poll: Duration::from_secs(2),
        }
    }
}

/// The data folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the folders for records and tokens in {folder} cannot be used: {source}")]
pub struct FolderError {
    /// The data folder.
    pub folder: PathBuf,
    /// What went wrong.
    pub source: io::Error,
}

/// A registry that is filled from a folder.
pub struct FolderRegistry {
    options: FolderOptions,
    registry: Arc<Registry>,
    folder: Arc<Mutex<Folder>>,
    opener: Arc<Opener>,
    records: Arc<Records>,
    /// The manifests that hold.
    backends: Goods<BackendManifest>,
    secrets: Goods<SecretManifest>,
    namespaces: Goods<NamespaceManifest>,
    /// What is known of each resource, those whose manifest went among them.
    held: BTreeMap<ResourceName, Held>,
    /// What the last pass said, so that the next logs only what is new.
    said: Vec<Problem>,
    retry: Retry,
}

/// What is known of a resource as long as the process lives.
struct Held {
    /// What an earlier process knew; a record that cannot be read is looked at again.
    record: Result<Option<Record>, Problem>,
    /// The version of its manifest that is served, or was last.
    manifest: Option<Arc<BackendManifest>>,
    kept: Option<Arc<Kept>>,
    opened: Option<Opened>,
    /// The settings that the state has.
    settings: Option<Settings>,
    /// Its generated token.
    token: Option<CredentialHash>,
    /// What the registry has.
    backend: Option<Arc<Backend>>,
    /// Why every call on that fails, where it does.
    fault: Option<Reason>,
}

/// Whether something is to be tried again though no file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Retry {
    No,
    /// Once in a while: a person has to act first.
    Later,
    /// At the next poll.
    Soon,
}

impl FolderRegistry {
    /// The name of the folder of records in the data folder.
    pub const RECORDS: &str = "records";

    /// Nothing is read yet but the folders for records and tokens in the data folder, which are made where they are
    /// missing. One process has a data folder.
    ///
    /// # Errors
    /// The data folder cannot be used.
    pub fn new(
        options: FolderOptions,
        engine: Engine,
        stores: Arc<dyn Stores>,
        registry: Arc<Registry>,
    ) -> Result<Self, FolderError> {
        let failed = |source| FolderError { folder: options.data.clone(), source };
        let records = Arc::new(Records::open(&options.data).map_err(failed)?);
        let tokens = Tokens::open(&options.data).map_err(failed)?;
        let opener = Arc::new(Opener {
            paths: super::open::Opener::new(engine, stores),
            instance: options.instance.clone(),
            accept: options.accept_restore,
            records: records.clone(),
            tokens,
        });
        let folder = Folder::new(options.manifests.clone(), options.data.clone(), options.limits);
        Ok(Self {
            options,
            registry,
            folder: Arc::new(Mutex::new(folder)),
            opener,
            records,
            backends: Goods::new(),
            secrets: Goods::new(),
            namespaces: Goods::new(),
            held: BTreeMap::new(),
            said: Vec::new(),
            retry: Retry::Soon,
        })
    }
}

impl Held {
    /// It names no Secret, so that a token has to be generated, unless there is one for all states.
    fn needs_token(&self, api_token: Option<CredentialHash>) -> bool {
        let unnamed = |manifest: &Arc<BackendManifest>| manifest.resource.spec.access_token_secret_ref.is_none();
        self.token.is_none() && api_token.is_none() && self.manifest.as_ref().is_some_and(unnamed)
    }

    /// Nothing has to be asked of the store or the disk.
    fn is_ready(&self, api_token: Option<CredentialHash>) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.verified && opened.fault.is_none())
            && !self.needs_token(api_token)
    }

    /// The path is its own, or may be.
    fn stands(&self) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.verified || opened.fault.is_some())
    }
}
