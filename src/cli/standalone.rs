//! `tofustate standalone`: the HTTP backend without a cluster. A folder of manifests is the registry, an embedded database
//! the store.

use std::{
    io,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    Stop,
    listen::{Listen, ListenArgs, ListenError},
    show,
    tasks::{TaskError, Tasks},
};
use crate::{
    http::{App, Gates, HttpOptions, Rate, admin_router, router},
    registry::{
        Registry, Tenancy,
        folder::{BadApiToken, FolderError, FolderOptions, FolderRegistry, api_token},
    },
    store::{EmbeddedKv, Engine, EngineOptions, Kv, OneStore, OpenError},
    telemetry::{EngineMetrics, HttpMetrics, Telemetry},
};

/// What is served, where, and how.
#[derive(Debug, Args)]
#[command(
    after_help = "Environment:\n  API_TOKEN  a token that every state takes besides its own; then no tokens are generated"
)]
pub(super) struct StandaloneArgs {
    /// The folder of manifests: TofuStateBackend, Secret and Namespace, as in a cluster.
    #[arg(long, env = "TOFUSTATE_MANIFESTS")]
    manifests: PathBuf,
    /// The folder of the database, the generated tokens and the records. One process at a time has it.
    #[arg(long, env = "TOFUSTATE_DATA")]
    data: PathBuf,
    /// Refuses to start where the data folder has no database: for a volume that may not be mounted. Without it a new
    /// one is made, and every path answers that it has no state yet.
    #[arg(long, env = "TOFUSTATE_EXISTING_DATA")]
    existing_data: bool,
    /// Names the installation in the store.
    #[arg(long, env = "TOFUSTATE_INSTANCE", default_value = "standalone", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    instance: String,
    /// What decides which paths a namespace may register.
    #[arg(long, env = "TOFUSTATE_TENANCY", value_enum, ignore_case = true, default_value_t = TenancyArg::Namespace)]
    tenancy: TenancyArg,
    /// Takes states that are lost, or older than they were seen, as the store has them: after a restore, once.
    #[arg(long)]
    accept_restore: bool,
    /// Requests a second for one state; without it there is no limit.
    #[arg(long, value_name = "N", requires = "request_burst")]
    request_rate: Option<NonZeroU32>,
    /// Requests at once for one state.
    #[arg(long, value_name = "N", requires = "request_rate")]
    request_burst: Option<NonZeroU32>,
    /// The address that clients use, for the printed settings, where it is not the listener's.
    #[arg(long, env = "TOFUSTATE_EXTERNAL_URL", value_name = "URL", value_parser = url)]
    external_url: Option<String>,
    #[command(flatten)]
    listen: ListenArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(super) enum TenancyArg {
    /// The first segment of a path is the namespace.
    Namespace,
    /// The Namespace manifest lists prefixes in tofustate.io/path-prefixes.
    Annotation,
    /// Any namespace may register any path.
    Open,
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

/// Why it did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum StandaloneError {
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
        "{0} has no database, and --existing-data asks for one: mount or restore the data; for a first start leave --existing-data out"
    )]
    NoData(PathBuf),
    #[error("stopped by {0} before it served")]
    Stopped(&'static str),
    #[error("the thread that opens the store ended: {0}")]
    Join(#[from] tokio::task::JoinError),
}

pub(super) async fn run(args: StandaloneArgs, telemetry: &Telemetry, mut stop: Stop) -> Result<(), StandaloneError> {
    std::fs::read_dir(&args.manifests).map_err(|error| StandaloneError::Manifests(args.manifests.clone(), error))?;
    if same_folder(&args.manifests, &args.data) {
        return Err(StandaloneError::SameFolder(args.data));
    }
    let new = !args.data.join(EmbeddedKv::FILE).exists();
    if new && args.existing_data {
        return Err(StandaloneError::NoData(args.data));
    }
    let listen = Listen::open(&args.listen)?;
    let data = args.data.clone();
    // After a crash the database is checked first, which may take a while.
    let opening = tokio::task::spawn_blocking(move || EmbeddedKv::open(&data));
    let kv: Arc<dyn Kv> = tokio::select! {
        opened = opening => Arc::new(opened??),
        signal = stop.wait() => return Err(StandaloneError::Stopped(signal)),
    };

    if new {
        warn!(data = %args.data.display(), "there was no database: a new one was made, and every path has no state yet");
    }
    let (engine_metrics, http_metrics) = (EngineMetrics::default(), HttpMetrics::default());
    let mut metrics = prometheus_client::registry::Registry::with_prefix("tofustate");
    engine_metrics.register(&mut metrics);
    http_metrics.register(&mut metrics);

    let engine = Engine::new(EngineOptions::default(), engine_metrics);
    let registry = Arc::new(Registry::default());
    let mut options = FolderOptions::new(args.manifests, args.data, args.instance);
    options.tenancy = args.tenancy.into();
    options.accept_restore = args.accept_restore;
    // From the environment alone: every user of the machine sees arguments.
    if let Some(text) = std::env::var_os("API_TOKEN") {
        let (token, warnings) = api_token(&text)?;
        warn!("API_TOKEN is set: whoever has it may read and write every state");
        for warning in warnings {
            warn!("{warning}");
        }
        options.api_token = Some(token);
    }
    let folder = FolderRegistry::new(options, engine.clone(), Arc::new(OneStore(kv)), registry.clone())?;

    let gates = Gates::default();
    gates.shut("registry", "the folder of manifests was not read yet");
    let requests = args.request_rate.zip(args.request_burst).map(|(per_second, burst)| Rate { per_second, burst });
    let http = HttpOptions { requests, traces: telemetry.exports(), ..HttpOptions::default() };
    let app = router(App::new(registry.clone(), http, http_metrics.clone()));
    let admin = admin_router(gates.clone(), Arc::new(metrics), registry.clone(), listen.admin_token.as_deref());

    let (stopping, stopped) = watch::channel(false);
    let mut tasks = Tasks::new();
    let url = args.external_url.unwrap_or_else(|| listen.url());
    info!(listen = %listen.address(), admin = %listen.admin_address(), %url, "starting");
    let printer = show::Printer::new();
    let mut shown = show::Settings::new(url, printer.clone());
    let (ready, loaded, on_report) = (gates.clone(), registry.clone(), stopped.clone());
    let last_words = folder.last_words();
    tasks.spawn("registry", async move {
        folder
            .run(
                |report| {
                    if loaded.is_loaded() {
                        ready.open("registry");
                    }
                    shown.show(report);
                },
                on_report,
            )
            .await;
        Ok(())
    });
    let background = (engine.clone(), stopped.clone());
    tasks.spawn("background work", async move {
        background.0.run_background(background.1).await;
        Ok(())
    });
    listen.serve(&mut tasks, app, admin, &http_metrics, &stopped);
    tasks.spawn("table", show::table(registry, printer, stopped));

    let ended = tasks.run(&mut stop, stopping, Duration::from_secs(75)).await;
    last_words.await;
    Ok(ended?)
}

fn url(text: &str) -> Result<String, String> {
    let parsed = text.parse::<axum::http::Uri>().ok();
    let fits = parsed.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none());
    if fits { Ok(text.to_owned()) } else { Err("write it as https://states.example.org".to_owned()) }
}

/// Whether both are one folder, under whatever name.
fn same_folder(a: &Path, b: &Path) -> bool {
    let real = |folder: &Path| folder.canonicalize();
    real(a).is_ok_and(|a| real(b).is_ok_and(|b| a == b))
}
