//! The arguments of `tofustate standalone`.

use std::{fmt, path::PathBuf};

use clap::Args;

use crate::{
    cli::{
        listen::ListenArgs,
        serving::{ServingArgs, url},
    },
    registry::Tenancy,
};

/// What is served, where, and how.
#[derive(Debug, Args)]
#[command(
    after_help = "Environment:\n  API_TOKEN  a token that every state takes besides its own; then no tokens are generated\n  BAO_ADDR, BAO_TOKEN_FILE, BAO_NAMESPACE, BAO_CACERT, ...  OpenBao as the store: docs/openbao.md"
)]
pub(in crate::cli) struct StandaloneArgs {
    /// The folder of manifests: TofuStateBackend, Secret and Namespace, as in a cluster.
    #[arg(long, env = "TOFUSTATE_MANIFESTS")]
    pub(super) manifests: PathBuf,
    /// Where states are kept.
    #[arg(long, env = "TOFUSTATE_STORE", value_enum, default_value_t = StoreArg::Embedded)]
    pub(super) store: StoreArg,
    /// The folder of the database, the generated tokens and the records; with OpenBao also of its tokens. One process at a
    /// time has it.
    #[arg(long, env = "TOFUSTATE_DATA")]
    pub(super) data: PathBuf,
    /// Refuses to start where the data folder has no database or, with OpenBao, no records: for a volume that may not be
    /// mounted. Without it they are made, and what was in the store before is not missed.
    #[arg(long, env = "TOFUSTATE_EXISTING_DATA")]
    pub(super) existing_data: bool,
    /// Names the installation in the store, "standalone" where it is embedded. Processes with OpenBao that have the same
    /// one serve the same states, as replicas.
    #[arg(long, env = "TOFUSTATE_INSTANCE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) instance: Option<String>,
    /// What decides which paths a namespace may register.
    #[arg(long, env = "TOFUSTATE_TENANCY", value_enum, ignore_case = true, default_value_t = TenancyArg::Namespace)]
    pub(super) tenancy: TenancyArg,
    /// Takes states that are lost, or older than they were seen, as the store has them: after a restore, once.
    #[arg(long)]
    pub(super) accept_restore: bool,
    #[command(flatten)]
    pub(super) serving: ServingArgs,
    /// The address that clients use, for the printed settings, where it is not the listener's.
    #[arg(long, env = "TOFUSTATE_EXTERNAL_URL", value_name = "URL", value_parser = url)]
    pub(super) external_url: Option<String>,
    #[command(flatten)]
    pub(super) listen: ListenArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum StoreArg {
    /// A database in the data folder.
    Embedded,
    /// OpenBao, at BAO_ADDR.
    #[value(name = "openbao")]
    OpenBao,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(in crate::cli) enum TenancyArg {
    /// The first segment of a path is the namespace.
    Namespace,
    /// The Namespace manifest lists prefixes in tofustate.io/path-prefixes.
    Annotation,
    /// Any namespace may register any path.
    Open,
}

impl fmt::Display for StoreArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::OpenBao => "openbao",
        })
    }
}

impl From<TenancyArg> for Tenancy {
    fn from(arg: TenancyArg) -> Self {
        match arg {
            TenancyArg::Namespace => Self::Namespace,
            TenancyArg::Annotation => Self::Annotation,
            TenancyArg::Open => Self::Open,
        }
    }
}
