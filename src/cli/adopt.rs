//! `tofustate adopt`: one entry of tofu-state becomes a state of tofustate, in its place.

use std::{io::Write, path::PathBuf};

use clap::Args;

use super::{
    connection::Connection,
    prompt::{AdminTokenError, admin_token},
    standalone::TenancyArg,
};
use crate::{
    crd::{PathError, StatePath},
    openbao::{
        BadName, Bao, Fault, Instance, Settings, SettingsError,
        adopt::{AdoptError, Adoption, adopt},
    },
    registry::Tenancy,
    telemetry::OpenBaoMetrics,
};

/// Which entry, and for whom.
///
/// Certificates and time-outs are those of the variables BAO_CACERT, BAO_CLIENT_CERT, BAO_CLIENT_KEY and
/// BAO_CLIENT_TIMEOUT.
#[derive(Debug, Args)]
pub(super) struct AdoptArgs {
    /// The path, as it is in the old service's URL and in spec.path.
    path: String,
    /// The installation that gets it.
    #[arg(long, env = "TOFUSTATE_INSTANCE")]
    instance: String,
    /// The namespace of the TofuStateBackend that gets it.
    #[arg(long)]
    namespace: String,
    /// The name of that TofuStateBackend.
    #[arg(long)]
    name: String,
    /// What will decide which paths a namespace may register. Only Namespace is checked here.
    #[arg(long, env = "TOFUSTATE_TENANCY", value_enum, ignore_case = true, default_value_t = TenancyArg::Namespace)]
    tenancy: TenancyArg,
    /// Changes nothing: says what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Where OpenBao is (BAO_ADDR); several addresses are separated by commas.
    #[arg(long, value_name = "URL", help_heading = "OpenBao")]
    openbao_addr: Option<String>,
    /// The file with the admin's token, of mode 0600. Without it the token is asked for on the terminal.
    #[arg(long, value_name = "FILE", help_heading = "OpenBao")]
    admin_token_file: Option<PathBuf>,
    /// The namespace of OpenBao (BAO_NAMESPACE).
    #[arg(long, value_name = "PATH", help_heading = "OpenBao")]
    openbao_namespace: Option<String>,
    /// The KV v2 mount of the states (TOFUSTATE_OPENBAO_MOUNT).
    #[arg(long, value_name = "PATH", help_heading = "OpenBao")]
    mount: Option<String>,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdoptCommandError {
    #[error("{path:?} is no path of a state: {error}")]
    Path { path: String, error: PathError },
    #[error(transparent)]
    Name(#[from] BadName),
    #[error("{0}; where another rule decides, name it with --tenancy")]
    Tenancy(String),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    AdminToken(#[from] AdminTokenError),
    #[error("{0}{hint}", hint = hint(.0))]
    Adopt(Box<AdoptError>),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

/// What to do about the faults that are the admin's own.
fn hint(error: &AdoptError) -> &'static str {
    match error {
        AdoptError::Fault { fault: Fault::InvalidToken, .. } => ". Is it a token of this server and this namespace?",
        AdoptError::Fault { fault: Fault::Denied(_), .. } => {
            ". The admin's token needs the rights that docs/migration.md lists"
        }
        _ => "",
    }
}

pub(super) async fn run(args: AdoptArgs, out: &mut impl Write) -> Result<(), AdoptCommandError> {
    let path =
        StatePath::parse(&args.path).map_err(|error| AdoptCommandError::Path { path: args.path.clone(), error })?;
    let tenancy = Tenancy::from(args.tenancy);
    if tenancy == Tenancy::Namespace {
        tenancy.allows(&args.namespace, None, &path).map_err(AdoptCommandError::Tenancy)?;
    }
    let what = Adoption {
        path,
        instance: Instance::parse(&args.instance)?,
        namespace: args.namespace.clone(),
        name: args.name.clone(),
        dry_run: args.dry_run,
    };
    let bao = Bao::new(settings(&args)?, OpenBaoMetrics::default())?;
    let admin = admin_token(args.admin_token_file.as_deref())?;
    let done = adopt(&bao, &admin, &what).await.map_err(|error| AdoptCommandError::Adopt(Box::new(error)))?;
    Ok(writeln!(out, "{}: {done}", what.path)?)
}

fn settings(args: &AdoptArgs) -> Result<Settings, SettingsError> {
    let connection = Connection {
        address: args.openbao_addr.as_deref(),
        namespace: args.openbao_namespace.as_deref(),
        mount: args.mount.as_deref(),
    };
    connection.settings(|_| None)
}
