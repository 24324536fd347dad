//! What is wrong before anything is opened, all of it at once; and every reason why it did not start, or ended.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use tracing::warn;

use super::args::{StandaloneArgs, StoreArg};
use crate::{
    cli::{
        listen::{Listen, ListenError},
        openbao::{OpenBaoError, Prepared},
        tasks::TaskError,
    },
    registry::{
        CredentialHash,
        folder::{BadApiToken, FolderError, FolderRegistry, api_token},
    },
    store::{EmbeddedKv, OpenError},
    telemetry::OpenBaoMetrics,
};

/// Why it did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum StandaloneError {
    #[error("the folder of manifests {0} cannot be read: {1}; name a folder with --manifests")]
    Manifests(PathBuf, io::Error),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    ApiToken(#[from] BadApiToken),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error(
        "--manifests and --data are both {0}: the data folder is not searched for manifests, so keep them in folders of their own"
    )]
    SameFolder(PathBuf),
    #[error(
        "{0} has no {1}, and --existing-data asks for {2}: mount or restore the data; for a first start leave --existing-data out"
    )]
    NoData(PathBuf, &'static str, &'static str),
    #[error(
        "{0} is the database of an embedded store, whose states are not in OpenBao: name another folder with --data, and move each state by tofu state pull and push"
    )]
    OtherStore(PathBuf),
    #[error(transparent)]
    OpenBao(#[from] OpenBaoError),
    #[error("the folder for the tokens of states {0} cannot be used: {1}")]
    Tokens(PathBuf, io::Error),
    #[error("{0}")]
    Several(Wrong),
    #[error("stopped by {0} before it served")]
    Stopped(&'static str),
    #[error("the thread that opens the store ended: {0}")]
    Join(#[from] tokio::task::JoinError),
}

/// Everything that keeps it from starting, so that a person has to come once only.
#[derive(Debug, Default)]
pub(in crate::cli) struct Wrong(Vec<StandaloneError>);

impl Wrong {
    /// Takes note of an error; there is nothing then.
    pub(super) fn note<T, E: Into<StandaloneError>>(&mut self, found: Result<T, E>) -> Option<T> {
        found.map_err(|error| self.0.push(error.into())).ok()
    }
}

impl From<Wrong> for StandaloneError {
    fn from(Wrong(mut wrong): Wrong) -> Self {
        match (wrong.pop(), wrong.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                wrong.extend(last);
                Self::Several(Wrong(wrong))
            }
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it cannot start:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n- {error}"))
    }
}

/// What there is before anything is opened.
pub(super) struct Checked {
    pub(super) listen: Listen,
    pub(super) api_token: Option<CredentialHash>,
    /// Where that is the store.
    pub(super) openbao: Option<Prepared>,
    /// The data folder was not used with this store before.
    pub(super) new: bool,
}

/// Checks what it was told. Everything that is wrong is said at once.
pub(super) fn check(args: &StandaloneArgs, metrics: &OpenBaoMetrics) -> Result<Checked, StandaloneError> {
    let mut wrong = Wrong::default();
    let manifests = std::fs::read_dir(&args.manifests);
    wrong.note(manifests.map_err(|error| StandaloneError::Manifests(args.manifests.clone(), error)));
    if same_folder(&args.manifests, &args.data) {
        wrong.note::<(), _>(Err(StandaloneError::SameFolder(args.data.clone())));
    }
    let database = args.data.join(EmbeddedKv::FILE);
    let (kept, what, those) = match args.store {
        StoreArg::Embedded => (database.exists(), "database", "one"),
        StoreArg::OpenBao => (has_files(&args.data.join(FolderRegistry::RECORDS)), "records", "them"),
    };
    if !kept && args.existing_data {
        wrong.note::<(), _>(Err(StandaloneError::NoData(args.data.clone(), what, those)));
    }
    // From the environment alone: every user of the machine sees arguments.
    let api_token = std::env::var_os("API_TOKEN").and_then(|text| wrong.note(api_token(&text)));
    let mut openbao = None;
    if args.store == StoreArg::OpenBao {
        if database.exists() {
            wrong.note::<(), _>(Err(StandaloneError::OtherStore(database)));
        }
        let read = Prepared::read(args.instance.as_deref(), args.serving.store_wait, metrics.clone());
        openbao = read.map_err(|errors| wrong.0.extend(errors.into_iter().map(StandaloneError::OpenBao))).ok();
    }
    let listen = match Listen::open(&args.listen) {
        Ok(listen) if wrong.0.is_empty() => listen,
        other => {
            wrong.note(other);
            return Err(wrong.into());
        }
    };
    let api_token = api_token.map(|(token, warnings)| {
        warn!("API_TOKEN is set: whoever has it may read and write every state");
        warnings.iter().for_each(|warning| warn!("{warning}"));
        token
    });
    Ok(Checked { listen, api_token, openbao, new: !kept })
}

/// Whether both are one folder, under whatever name.
fn same_folder(a: &Path, b: &Path) -> bool {
    let real = |folder: &Path| folder.canonicalize();
    real(a).is_ok_and(|a| real(b).is_ok_and(|b| a == b))
}

/// Whether the folder is there and has something in it: a start that came to nothing leaves an empty one.
fn has_files(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}
