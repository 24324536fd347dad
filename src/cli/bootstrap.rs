//! `tofustate bootstrap`: an admin's one-time set-up of OpenBao.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    connection::Connection,
    prompt::{AdminTokenError, admin_token},
};
use crate::{
    openbao::{
        BadName, Bao, Fault, Instance, Mount, Settings, SettingsError, Token, is_resource,
        setup::{
            KubernetesApi, KubernetesAuth, Report, Setup, SetupError, await_active, bootstrap, check, operator_token,
            revoke_admin,
        },
    },
    telemetry::OpenBaoMetrics,
};

/// What is set up, and how to reach OpenBao.
///
/// Certificates and time-outs are those of the variables BAO_CACERT, BAO_CLIENT_CERT, BAO_CLIENT_KEY and
/// BAO_CLIENT_TIMEOUT.
#[derive(Debug, Args)]
pub(super) struct BootstrapArgs {
    /// Where OpenBao is; several addresses are separated by commas.
    #[arg(long, value_name = "URL", help_heading = "OpenBao")]
    openbao_addr: Option<String>,
    /// The file with the admin's token, of mode 0600. Without it the token is asked for on the terminal.
    #[arg(long, value_name = "FILE", help_heading = "OpenBao")]
    admin_token_file: Option<PathBuf>,
    /// The namespace, of the operator's own; made where it is missing.
    #[arg(long, value_name = "PATH", help_heading = "OpenBao")]
    namespace: Option<String>,
    /// The KV v2 mount of the states.
    #[arg(long, value_name = "PATH", help_heading = "OpenBao")]
    mount: Option<String>,
    /// Names the installation.
    #[arg(long, env = "TOFUSTATE_INSTANCE")]
    instance: String,
    /// The mount may hold entries that are not tofustate's, such as those of tofu-state: its config is changed for them
    /// too.
    #[arg(long)]
    existing_entries: bool,
    /// Writes a token for an operator that has no login into this file, of mode 0600.
    #[arg(long, value_name = "FILE")]
    operator_token_file: Option<PathBuf>,
    /// Changes nothing: says all that is missing or differs.
    #[arg(long, conflicts_with_all = ["print", "revoke_admin_token"])]
    check: bool,
    /// Does nothing: prints the same as commands of bao.
    #[arg(long)]
    print: bool,
    /// Ends the admin's token when all is done.
    #[arg(long)]
    revoke_admin_token: bool,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Login of Pods")]
struct KubernetesArgs {
    /// Sets up the login by a Kubernetes ServiceAccount, at this mount.
    #[arg(long, value_name = "MOUNT", num_args = 0..=1, default_missing_value = "kubernetes")]
    kubernetes_auth: Option<String>,
    /// The role [default: tofustate-<INSTANCE>].
    #[arg(long, value_name = "NAME", requires = "kubernetes_auth")]
    kubernetes_role: Option<String>,
    /// ServiceAccounts that may log in.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "tofustate", requires = "kubernetes_auth")]
    kubernetes_service_account: Vec<String>,
    /// Namespaces of the cluster that they may be of.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "tofustate", requires = "kubernetes_auth")]
    kubernetes_namespace: Vec<String>,
    /// Whom their tokens have to be for.
    #[arg(long, value_name = "TEXT", default_value = "openbao", requires = "kubernetes_auth")]
    kubernetes_audience: String,
    /// The cluster's API server, where OpenBao does not run in that cluster.
    #[arg(long, value_name = "URL", requires_all = ["kubernetes_auth", "kubernetes_ca_file"])]
    kubernetes_host: Option<String>,
    /// The certificate of that API server's CA, PEM.
    #[arg(long, value_name = "FILE", requires = "kubernetes_host")]
    kubernetes_ca_file: Option<PathBuf>,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum BootstrapError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Name(#[from] BadName),
    #[error("{0} is {1}")]
    Argument(&'static str, String),
    #[error(transparent)]
    AdminToken(#[from] AdminTokenError),
    #[error("{0}{hint}", hint = hint(.0))]
    Setup(#[from] SetupError),
    #[error("{0}")]
    Incomplete(Report),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

/// What to do about the faults that are the admin's own.
fn hint(error: &SetupError) -> &'static str {
    match error {
        SetupError::Fault { fault: Fault::InvalidToken, .. } => {
            ". Is it the admin's token of this server, and of this namespace or one around it?"
        }
        SetupError::Fault { fault: Fault::Denied(_), .. } => {
            ". The admin's token needs the rights that docs/openbao.md lists"
        }
        _ => "",
    }
}

pub(super) async fn run(args: BootstrapArgs, out: &mut impl Write) -> Result<(), BootstrapError> {
    let settings = settings(&args)?;
    let setup =
        Setup { kubernetes: kubernetes(&args.kubernetes)?, ..Setup::new(&settings, Instance::parse(&args.instance)?)? };
    if args.print {
        let file = args.operator_token_file.as_ref().map(|file| file.display().to_string());
        return Ok(out.write_all(setup.commands(file.as_deref(), args.revoke_admin_token).as_bytes())?);
    }
    let bao = Bao::new(settings, OpenBaoMetrics::default())?;
    let admin = admin_token(args.admin_token_file.as_deref())?;
    let waited = await_active(&bao, |fault| {
        let _ = writeln!(io::stderr(), "tofustate: waiting for OpenBao: {fault}");
    });
    let mut ended = false;
    let done = match waited.await {
        Err(error) => Err(error.into()),
        Ok(_) if args.check => look(&args, &bao, &admin, &setup, out).await,
        Ok(_) => set_up(&args, &bao, &admin, &setup, out, &mut ended).await,
    };
    // Also where it came to nothing: a person may leave it at that.
    let told = left_behind(&args, ended, out);
    done.and(told)
}

/// `--check`.
async fn look(
    args: &BootstrapArgs,
    bao: &Bao,
    admin: &Token,
    setup: &Setup,
    out: &mut impl Write,
) -> Result<(), BootstrapError> {
    let report = check(bao, admin, setup, args.operator_token_file.as_deref()).await?;
    if report.is_good() { Ok(writeln!(out, "{report}")?) } else { Err(BootstrapError::Incomplete(report)) }
}

/// Does it all; `ended` says whether the admin's token was ended.
async fn set_up(
    args: &BootstrapArgs,
    bao: &Bao,
    admin: &Token,
    setup: &Setup,
    out: &mut impl Write,
    ended: &mut bool,
) -> Result<(), BootstrapError> {
    let mut told = Ok(());
    let done = bootstrap(bao, admin, setup, args.existing_entries, |done| {
        if told.is_ok() {
            told = writeln!(out, "{done}");
        }
    });
    let left = done.await?;
    told?;
    if left > 0 {
        writeln!(out, "removed what was left of earlier tries that were cut off: {left}")?;
    }
    writeln!(
        out,
        "tried with a token as states get it: it wrote, read and deleted an entry, and reached nothing else"
    )?;
    if let Some(file) = &args.operator_token_file {
        let made = operator_token(bao, admin, setup, file).await?;
        let (file, how) = (file.display(), if made { "made" } else { "already there" });
        writeln!(out, "the operator's token in {file}: {how}; give it to the operator as BAO_TOKEN_FILE")?;
    } else if setup.kubernetes.is_none() {
        writeln!(
            out,
            "note: the operator has no way in yet: --kubernetes-auth sets up the login of Pods, --operator-token-file writes a token"
        )?;
    }
    if setup.namespace.is_none() {
        writeln!(
            out,
            "warning: without --namespace the operator can give itself any right in the root namespace, for it writes policies and makes tokens: give it a namespace of its own"
        )?;
    }
    if args.revoke_admin_token {
        revoke_admin(bao, admin, setup).await?;
        *ended = true;
        writeln!(out, "the admin's token: ended")?;
    }
    Ok(())
}

/// Says that the admin's token still lies in a file.
fn left_behind(args: &BootstrapArgs, ended: bool, out: &mut impl Write) -> Result<(), BootstrapError> {
    if let Some(file) = args.admin_token_file.as_ref().filter(|file| file.exists()) {
        let ended = if ended { "; the token in it is ended" } else { "" };
        writeln!(out, "warning: the admin's token is left behind in {}: remove that file{ended}", file.display())?;
    }
    Ok(())
}

fn settings(args: &BootstrapArgs) -> Result<Settings, SettingsError> {
    let connection = Connection {
        address: args.openbao_addr.as_deref(),
        namespace: args.namespace.as_deref(),
        mount: args.mount.as_deref(),
    };
    // Nothing is asked of it where all is printed only.
    connection.settings(|name| (args.print && name == "BAO_ADDR").then(|| "https://localhost:8200".to_owned()))
}

fn kubernetes(args: &KubernetesArgs) -> Result<Option<KubernetesAuth>, BootstrapError> {
    let Some(mount) = &args.kubernetes_auth else { return Ok(None) };
    let names = [
        ("--kubernetes-service-account", &args.kubernetes_service_account),
        ("--kubernetes-namespace", &args.kubernetes_namespace),
    ];
    for (option, names) in names {
        let bad = names.iter().find(|name| !is_resource(name));
        if let Some(bad) = bad {
            return Err(BootstrapError::Argument(option, format!("{bad:?}, which is no name in Kubernetes")));
        }
    }
    let api = args.kubernetes_host.as_ref().zip(args.kubernetes_ca_file.as_ref());
    let api = api.map(|(host, ca)| kubernetes_api(host, ca)).transpose()?;
    let role = args.kubernetes_role.clone();
    if let Some(bad) = role.as_ref().filter(|role| !is_resource(role)) {
        return Err(BootstrapError::Argument("--kubernetes-role", format!("{bad:?}: write letters, digits and '-'")));
    }
    Ok(Some(KubernetesAuth {
        mount: Mount::parse(mount)?,
        role,
        service_accounts: args.kubernetes_service_account.clone(),
        namespaces: args.kubernetes_namespace.clone(),
        audience: args.kubernetes_audience.clone(),
        api,
    }))
}

fn kubernetes_api(host: &str, ca: &Path) -> Result<KubernetesApi, BootstrapError> {
    let strange = |c: char| c.is_whitespace() || c.is_control();
    if !(host.starts_with("https://") || host.starts_with("http://")) || host.contains(strange) {
        return Err(BootstrapError::Argument(
            "--kubernetes-host",
            "no URL such as https://api.example:6443".to_owned(),
        ));
    }
    let wrong = |what: String| BootstrapError::Argument("--kubernetes-ca-file", what);
    let ca = std::fs::read_to_string(ca).map_err(|error| wrong(format!("not to be read: {error}")))?;
    if !ca.contains("BEGIN CERTIFICATE") {
        return Err(wrong("no certificate in PEM".to_owned()));
    }
    Ok(KubernetesApi { host: host.to_owned(), ca })
}
