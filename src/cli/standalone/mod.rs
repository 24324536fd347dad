//! `tofustate standalone`: the HTTP backend without a cluster. A folder of manifests is the registry, an embedded database
//! or OpenBao the store.

mod args;
mod check;

use std::{path::Path, sync::Arc};

use tokio::sync::watch;
use tracing::{info, warn};

use self::check::{Checked, check};
pub(super) use self::{
    args::{StandaloneArgs, TenancyArg},
    check::StandaloneError,
};
use super::{
    openbao::{NotSetUp, OpenBao, Prepared},
    show,
    stop::Stop,
    tasks::{TaskError, Tasks},
};
use crate::{
    http::{App, Gates, admin_router, router},
    openbao::{FileKeeper, alone},
    registry::{
        Registry,
        folder::{FolderOptions, FolderRegistry, Report},
    },
    store::{DataFolder, EmbeddedKv, Engine, EngineOptions, OneStore, Stores},
    telemetry::{EngineMetrics, HttpMetrics, OpenBaoMetrics, Telemetry},
};

/// The name of an installation whose store is its own.
const INSTANCE: &str = "standalone";

pub(super) async fn run(args: StandaloneArgs, telemetry: &Telemetry, mut stop: Stop) -> Result<(), StandaloneError> {
    let (engine_metrics, http_metrics) = (EngineMetrics::default(), HttpMetrics::default());
    let openbao_metrics = OpenBaoMetrics::default();
    let Checked { listen, api_token, openbao, new } = check(&args, &openbao_metrics)?;
    let (stores, openbao, _taken) = match openbao {
        None => (embedded(&args, new, &mut stop).await?, None, None),
        Some(prepared) => {
            let (store, taken) = tokens_in(&args.data, prepared, new)?;
            (Arc::new(store.stores.clone()) as Arc<dyn Stores>, Some(store), Some(taken))
        }
    };
    let mut metrics = prometheus_client::registry::Registry::with_prefix("tofustate");
    engine_metrics.register(&mut metrics);
    http_metrics.register(&mut metrics);
    if openbao.is_some() {
        openbao_metrics.register(&mut metrics);
    }

    let engine = Engine::new(EngineOptions::default(), engine_metrics);
    let registry = Arc::new(Registry::default());
    let mut options =
        FolderOptions::new(args.manifests, args.data, args.instance.unwrap_or_else(|| INSTANCE.to_owned()));
    options.tenancy = args.tenancy.into();
    options.accept_restore = args.accept_restore;
    options.api_token = api_token;
    let folder = FolderRegistry::new(options, engine.clone(), stores, registry.clone())?;

    let gates = Gates::default();
    gates.shut("registry", "the folder of manifests was not read yet");
    let app = router(App::new(registry.clone(), args.serving.options(telemetry.exports()), http_metrics.clone()));
    let admin = admin_router(gates.clone(), Arc::new(metrics), registry.clone(), listen.admin_token.as_deref());

    let (stopping, stopped) = watch::channel(false);
    let mut tasks = Tasks::new();
    let url = args.external_url.unwrap_or_else(|| listen.url());
    info!(listen = %listen.address(), admin = %listen.admin_address(), %url, store = %args.store, "starting");
    let printer = show::Printer::new();
    let mut shown = show::Settings::new(url, printer.clone());
    let (ready, loaded, on_report) = (gates.clone(), registry.clone(), stopped.clone());
    let last_words = folder.last_words();
    let (arrived, mut there) = watch::channel(openbao.is_none());
    if let Some(openbao) = &openbao {
        openbao.keep(&mut tasks, &gates, arrived, NotSetUp::Ends, &stopped);
    }
    let mut stop_waiting = stopped.clone();
    tasks.spawn("registry", async move {
        tokio::select! {
            _ = stop_waiting.wait_for(|stop| *stop) => return Ok(()),
            Ok(_) = there.wait_for(|there| *there) => {}
        }
        let tell = |report: &Report| {
            if loaded.is_loaded() {
                ready.open("registry");
            }
            shown.show(report);
        };
        folder.run(tell, on_report).await;
        Ok(())
    });
    let background = (engine.clone(), stopped.clone());
    tasks.spawn("background work", async move {
        background.0.run_background(background.1).await;
        Ok(())
    });
    let takes = listen.stop_takes();
    listen.serve(&mut tasks, (app, admin), &http_metrics, gates, &stopped);
    tasks.spawn("table", show::table(registry, printer, stopped));

    let ended = tasks.run(&mut stop, stopping, takes).await;
    last_words.await;
    if let Some(openbao) = openbao.filter(|_| !matches!(ended, Err(TaskError::Cut(_)))) {
        openbao.end(true, &mut stop).await;
    }
    Ok(ended?)
}

/// Takes the data folder, where the tokens of the states are kept. `new`: it has no records.
fn tokens_in(data: &Path, prepared: Prepared, new: bool) -> Result<(Arc<OpenBao>, DataFolder), StandaloneError> {
    let taken = DataFolder::take(data)?;
    if new {
        warn!(data = %data.display(), "the data folder has no records: a state that OpenBao lost before now, or has as it was before, is not noticed");
    }
    let folder = data.join("openbao");
    let keeper = FileKeeper::open(&folder).map_err(|error| StandaloneError::Tokens(folder, error))?;
    Ok((Arc::new(prepared.open(Arc::new(keeper), alone())?), taken))
}

/// The database in the data folder.
async fn embedded(args: &StandaloneArgs, new: bool, stop: &mut Stop) -> Result<Arc<dyn Stores>, StandaloneError> {
    let data = args.data.clone();
    // After a crash the database is checked first, which may take a while.
    let opening = tokio::task::spawn_blocking(move || EmbeddedKv::open(&data));
    let kv = tokio::select! {
        opened = opening => opened??,
        signal = stop.wait() => return Err(StandaloneError::Stopped(signal)),
    };
    if new {
        warn!(data = %args.data.display(), "there was no database: a new one was made, and every path has no state yet");
    }
    Ok(Arc::new(OneStore(Arc::new(kv))))
}
