//! The arguments of `tofustate operator`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::cli::{
    listen::ListenArgs,
    serving::{ServingArgs, seconds, url},
    standalone::TenancyArg,
};

/// What is served, where, and how.
#[derive(Debug, Args)]
#[command(
    after_help = "Environment:\n  KUBECONFIG  the cluster, where this is no Pod\n  BAO_ADDR, TOFUSTATE_OPENBAO_KUBERNETES_AUTH, BAO_TOKEN_FILE, BAO_NAMESPACE, ...  the store: docs/openbao.md"
)]
pub(in crate::cli) struct OperatorArgs {
    /// Names the installation in the store. A cluster that is built anew adopts its states by it.
    #[arg(long, env = "TOFUSTATE_INSTANCE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) instance: String,
    /// What decides which paths a namespace may register.
    #[arg(long, env = "TOFUSTATE_TENANCY", value_enum, ignore_case = true, default_value_t = TenancyArg::Namespace)]
    pub(super) tenancy: TenancyArg,
    /// The operator's own namespace, where the tokens of states are kept. Default: the one that it runs in.
    #[arg(long, env = "TOFUSTATE_NAMESPACE", value_parser = namespace)]
    pub(super) namespace: Option<String>,
    /// The namespaces whose resources are served, separated by commas: rights in these alone are enough. Default: all.
    #[arg(long, env = "TOFUSTATE_WATCH_NAMESPACES", value_name = "NAMESPACES", value_delimiter = ',', value_parser = namespace)]
    pub(super) watch_namespaces: Vec<String>,
    /// Where runs in the cluster reach the states. Default: the Service tofustate of the own namespace.
    #[arg(long, env = "TOFUSTATE_INTERNAL_URL", value_name = "URL", value_parser = url)]
    pub(super) internal_url: Option<String>,
    /// Where runs outside of it do, for status.endpoints.
    #[arg(long, env = "TOFUSTATE_EXTERNAL_URL", value_name = "URL", value_parser = url)]
    pub(super) external_url: Option<String>,
    /// The CA of the internal address's certificate, PEM, for the connection Secrets; where clients do not know it.
    #[arg(long, env = "TOFUSTATE_CA_FILE", value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Connection Secrets say POST and DELETE in place of LOCK and UNLOCK, for proxies that take no other methods.
    #[arg(long, env = "TOFUSTATE_LOCK_BY_POST")]
    pub(super) lock_by_post: bool,
    /// Reconciliations at a time, from 1 to 256.
    #[arg(long, env = "TOFUSTATE_WORKERS", value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) workers: u16,
    /// Calls of the API server a second, at most; 0: as many as it takes. Those for the Lease do not count. The limit for
    /// OpenBao is TOFUSTATE_OPENBAO_RATE.
    #[arg(long, env = "TOFUSTATE_KUBERNETES_RATE", value_name = "N", default_value = "0")]
    pub(super) kubernetes_rate: u32,
    /// Seconds after which everything of a resource is looked at again, from 10 to 86400.
    #[arg(long, env = "TOFUSTATE_RESYNC", value_name = "SECONDS", default_value = "600", value_parser = resync)]
    pub(super) resync: Duration,
    /// Seconds that the Lease is good after the leader renewed it, from 5 to 300: so long no replica runs the controller
    /// where its leader is killed. All replicas need the same.
    #[arg(long, env = "TOFUSTATE_LEASE", value_name = "SECONDS", default_value = "15", value_parser = lease)]
    pub(super) lease: Duration,
    /// Seconds that a deleted resource which retains its state waits for OpenBao, from 0 to 86400; then it goes, and an
    /// Event names what was left.
    #[arg(long, env = "TOFUSTATE_RELEASE_WAIT", value_name = "SECONDS", default_value = "300", value_parser = release_wait)]
    pub(super) release_wait: Duration,
    #[command(flatten)]
    pub(super) serving: ServingArgs,
    #[command(flatten)]
    pub(super) listen: ListenArgs,
}

fn namespace(text: &str) -> Result<String, String> {
    if crate::crd::is_label(text) { Ok(text.to_owned()) } else { Err("write the name of a namespace".to_owned()) }
}

fn lease(text: &str) -> Result<Duration, String> {
    seconds(text, 5..=300)
}

fn resync(text: &str) -> Result<Duration, String> {
    seconds(text, 10..=86_400)
}

fn release_wait(text: &str) -> Result<Duration, String> {
    seconds(text, 0..=86_400)
}
