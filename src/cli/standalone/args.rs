//! The arguments of `tofustate standalone`.

use std::{fmt, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::Args;

use crate::{cli::listen::ListenArgs, registry::Tenancy};

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
    /// Seconds that a request waits for the store before it is answered with 503, from 5 to 120. Retries go on that long.
    #[arg(long, env = "TOFUSTATE_STORE_WAIT", value_name = "SECONDS", default_value = "25", value_parser = store_wait)]
    pub(super) store_wait: Duration,
    /// Requests a second for one state; without it there is no limit.
    #[arg(long, value_name = "N", requires = "request_burst")]
    pub(super) request_rate: Option<NonZeroU32>,
    /// Requests at once for one state.
    #[arg(long, value_name = "N", requires = "request_rate")]
    pub(super) request_burst: Option<NonZeroU32>,
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

/// Shorter than a failover takes would keep clients out; longer than they and proxies wait would be of no use.
fn store_wait(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse().ok().filter(|seconds| (5..=120).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "write a number of seconds from 5 to 120, such as 25".to_owned())
}

fn url(text: &str) -> Result<String, String> {
    let parsed = text.parse::<axum::http::Uri>().ok();
    let fits = parsed.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none());
    if fits { Ok(text.to_owned()) } else { Err("write it as https://states.example.org".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_the_store_has_bounds() {
        for (text, seconds) in [("5", 5), ("25s", 25), ("120", 120)] {
            assert_eq!(store_wait(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["4", "121", "", "-5", "1m", "5.5"] {
            assert!(store_wait(text).unwrap_err().contains("from 5 to 120"), "{text}");
        }
    }
}
