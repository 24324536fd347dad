//! `tofustate operator`: the controller of a cluster's TofuStateBackends, and the HTTP backend of their states.

mod args;

use std::{fmt, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use tracing::info;

pub(super) use self::args::OperatorArgs;
use super::{
    listen::{Listen, ListenError},
    openbao::{NotSetUp, OpenBaoError, Prepared},
    stop::Stop,
    tasks::{TaskError, Tasks},
};
use crate::{
    controller::{Cluster, ClusterError, Controller, Gate, Lead, Options, keeper::SecretKeeper, report::Reporter},
    http::{App, Gates, admin_router, router},
    openbao::Replica,
    rate::Rate,
    registry::Registry,
    store::{Engine, EngineOptions},
    telemetry::{
        ControllerMetrics, EngineMetrics, HttpMetrics, KubernetesMetrics, OpenBaoMetrics, ReportMetrics, Telemetry,
    },
};

/// The gates of the admin listener.
const CLUSTER: &str = "cluster";
const REGISTRY: &str = "registry";

/// How long the last heads may take to be told.
const LAST: Duration = Duration::from_secs(5);

/// Why it did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperatorError {
    #[error(
        "API_TOKEN is set: one token for all states is another mode of trust, which only standalone has; unset it, and use the token of each state's connection Secret"
    )]
    ApiToken,
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    OpenBao(#[from] OpenBaoError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("the CA file {0} cannot be read: {1}")]
    Ca(PathBuf, std::io::Error),
    #[error("{0}")]
    Several(Several),
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// All that keeps it from starting, so that a person has to come once only.
#[derive(Debug)]
pub(super) struct Several(Vec<OperatorError>);

impl fmt::Display for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it cannot start:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n- {error}"))
    }
}

/// What there is before anything is asked.
struct Checked {
    cluster: Cluster,
    openbao: Prepared,
    listen: Listen,
}

async fn check(
    args: &OperatorArgs,
    metrics: &OpenBaoMetrics,
    kubernetes: (&Rate, &KubernetesMetrics),
) -> Result<Checked, OperatorError> {
    let mut wrong = Vec::new();
    if std::env::var_os("API_TOKEN").is_some_and(|token| !token.is_empty()) {
        wrong.push(OperatorError::ApiToken);
    }
    if let Some(file) = &args.ca_file
        && let Err(error) = std::fs::read_to_string(file)
    {
        wrong.push(OperatorError::Ca(file.clone(), error));
    }
    let watched = args.watch_namespaces.clone();
    let cluster = Cluster::connect(watched, kubernetes.0, kubernetes.1);
    let cluster = cluster.await.map_err(|error| wrong.push(error.into())).ok();
    let openbao = Prepared::read(Some(&args.instance), args.serving.store_wait, metrics.clone());
    let openbao = openbao.map_err(|errors| wrong.extend(errors.into_iter().map(OperatorError::OpenBao))).ok();
    let listen = Listen::open(&args.listen).map_err(|error| wrong.push(error.into())).ok();
    match (cluster, openbao, listen, wrong.pop()) {
        (Some(cluster), Some(openbao), Some(listen), None) => Ok(Checked { cluster, openbao, listen }),
        (_, _, _, Some(only)) if wrong.is_empty() => Err(only),
        (_, _, _, last) => {
            wrong.extend(last);
            Err(OperatorError::Several(Several(wrong)))
        }
    }
}

pub(super) async fn run(args: OperatorArgs, telemetry: &Telemetry, mut stop: Stop) -> Result<(), OperatorError> {
    let (engine_metrics, http_metrics) = (EngineMetrics::default(), HttpMetrics::default());
    let (openbao_metrics, report_metrics) = (OpenBaoMetrics::default(), ReportMetrics::default());
    let (rate, kubernetes_metrics) = (Rate::of(NonZeroU32::new(args.kubernetes_rate)), KubernetesMetrics::default());
    let Checked { cluster, openbao, listen } = check(&args, &openbao_metrics, (&rate, &kubernetes_metrics)).await?;
    let namespace = args.namespace.clone().unwrap_or_else(|| cluster.namespace().to_owned());
    let keeper = Arc::new(SecretKeeper::new(cluster.client(), &namespace));
    let lead = Lead::default();
    let leads = lead.clone();
    let replica = move || if leads.holds() { Replica::Leader } else { Replica::Other };
    let openbao = Arc::new(openbao.open(keeper, Arc::new(replica))?);
    let mut metrics = prometheus_client::registry::Registry::with_prefix("tofustate");
    engine_metrics.register(&mut metrics);
    http_metrics.register(&mut metrics);
    openbao_metrics.register(&mut metrics);
    report_metrics.register(&mut metrics);
    kubernetes_metrics.register(&mut metrics);
    let help = "Time that calls of the API server waited because of --kubernetes-rate";
    metrics.register("kubernetes_rate_wait_seconds", help, rate.waited());
    let help = "Time that calls on OpenBao waited because of TOFUSTATE_OPENBAO_RATE";
    metrics.register("openbao_rate_wait_seconds", help, openbao.bao.rate().waited());
    let controller_metrics = ControllerMetrics::default();
    controller_metrics.register(&mut metrics);

    let engine = Engine::new(EngineOptions::default(), engine_metrics);
    let registry = Arc::new(Registry::default());
    let gates = Gates::default();
    gates.shut(CLUSTER, "the cluster was not asked yet");
    gates.shut(REGISTRY, "the resources were not looked at yet");
    let app = router(App::new(registry.clone(), args.serving.options(telemetry.exports()), http_metrics.clone()));
    let admin = admin_router(gates.clone(), Arc::new(metrics), registry.clone(), listen.admin_token.as_deref());

    let internal_url = args.internal_url.unwrap_or_else(|| listen.service_url(&format!("tofustate.{namespace}.svc")));
    info!(listen = %listen.address(), admin = %listen.admin_address(), url = internal_url, instance = args.instance, namespace, "starting");
    let options = Options {
        instance: args.instance,
        tenancy: args.tenancy.into(),
        namespace,
        internal_url,
        external_url: args.external_url,
        ca_file: args.ca_file,
        lock_by_post: args.lock_by_post,
        workers: args.workers,
        resync: args.resync,
        lease: args.lease,
        lead,
        release_wait: args.release_wait,
    };
    let (reporter, reports) = Reporter::new(cluster.client(), report_metrics);
    let stores = openbao.stores.clone();
    let controller = Controller::new(options, cluster, engine.clone(), stores, registry, reporter, controller_metrics);

    let (stopping, stopped) = watch::channel(false);
    let mut tasks = Tasks::new();
    let (arrived, mut there) = watch::channel(false);
    openbao.keep(&mut tasks, &gates, arrived, NotSetUp::IsWaitedFor, &stopped);
    let stopping_gates = gates.clone();
    let (mut waiting, working, away) = (stopped.clone(), stopped.clone(), openbao.away.subscribe());
    tasks.spawn("the controller", async move {
        // Before OpenBao is there and set up, nothing could be done for any resource.
        tokio::select! {
            _ = waiting.wait_for(|stop| *stop) => return Ok(()),
            Ok(_) = there.wait_for(|there| *there) => {}
        }
        let tell = move |gate| match gate {
            Gate::Cluster(Ok(())) => gates.open(CLUSTER),
            Gate::Cluster(Err(missing)) => gates.shut(CLUSTER, missing),
            Gate::Loaded => gates.open(REGISTRY),
        };
        controller.run(tell, away, working).await
    });
    // It outlives the requests: with the last of them a run may release its lock.
    let (quiet, reported) = watch::channel(false);
    let (ending, ended) = oneshot::channel();
    let reports = tokio::spawn(async move {
        let _ = ending.send(reports.run(reported).await);
    });
    let mut waiting = stopped.clone();
    tasks.spawn("the status of states", async move {
        tokio::select! {
            _ = waiting.wait_for(|stop| *stop) => Ok(()),
            ended = ended => ended.unwrap_or_else(|_| Err("it panicked".to_owned())),
        }
    });
    let background = (engine, stopped.clone());
    tasks.spawn("background work", async move {
        background.0.run_background(background.1).await;
        Ok(())
    });
    let takes = listen.stop_takes();
    listen.serve(&mut tasks, (app, admin), &http_metrics, stopping_gates, &stopped);

    let ended = tasks.run(&mut stop, stopping, takes).await;
    if !matches!(ended, Err(TaskError::Cut(_))) {
        quiet.send_replace(true);
        // It gives up by itself before.
        let _ = timeout(LAST, reports).await;
        // The tokens of states are kept for all replicas.
        openbao.end(false, &mut stop).await;
    }
    Ok(ended?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `terminationGracePeriodSeconds` of deploy/chart is checked against this, and what a request may wait against the first.
    #[test]
    fn a_stop_takes_as_long_as_the_chart_counts_with() {
        let (drain, end) = (super::super::listen::DRAIN, super::super::openbao::END);
        assert_eq!((drain.as_secs(), (drain + LAST + end).as_secs()), (75, 95));
    }
}
