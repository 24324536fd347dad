//! The controller as a whole: the watches, the queue, the first pass, after which it is known who may have which path.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use kube::runtime::{
    applier,
    controller::{Action, Config},
    reflector::{self, ObjectRef},
};
use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, unbounded_channel},
        watch,
    },
    time::{interval, sleep, timeout},
};
use tracing::{info, warn};

use super::{
    cluster::Cluster,
    context::{Context, Options, name_of},
    events::{Events, Kind},
    lease::Election,
    links::Links,
    listed::Listed,
    news::News,
    orphans,
    reconcile::{Outcome, reconcile},
    report::Reporter,
    restored::Restored,
    watch::{Told, configs, namespaces, reference, resources, secrets},
    watched::{Former, Watched},
    written::Written,
};
use crate::{
    openbao::OpenBaoStores,
    registry::{Registry, ResourceName, open::Opener},
    store::Engine,
    telemetry::ControllerMetrics,
};

/// How often the cluster is asked until it has the definition.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a store is asked again that did not answer.
const STORE_AGAIN: Duration = Duration::from_secs(3);
/// How long the first look waits for the lists of Secrets and ConfigMaps and for the election.
const SETTLED: Duration = Duration::from_secs(5);
/// How long lists of them are of use.
const LISTS: Duration = Duration::from_secs(60);

/// What has to be so before requests are taken, as the controller tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The cluster has the definition and lets the operator see resources; else what is missing.
    Cluster(Result<(), String>),
    /// It is known who may have which path.
    Loaded,
}

/// The controller of an installation.
pub struct Controller {
    context: Arc<Context>,
    writers: (reflector::store::Writer<Watched>, reflector::store::Writer<NamespaceMeta>),
    queue: UnboundedReceiver<ObjectRef<Watched>>,
}

type NamespaceMeta = kube::core::PartialObjectMeta<k8s_openapi::api::core::v1::Namespace>;

/// Resources whose first reconciliation is waited for.
pub(super) type First = Mutex<Option<HashSet<ResourceName>>>;

impl Controller {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(
        options: Options,
        cluster: Cluster,
        engine: Engine,
        openbao: OpenBaoStores,
        registry: Arc<Registry>,
        reporter: Reporter,
        metrics: ControllerMetrics,
    ) -> Self {
        let (resources, resources_writer) = reflector::store();
        let (namespaces, namespaces_writer) = reflector::store();
        let (sender, queue) = unbounded_channel();
        let context = Context {
            events: Events::new(cluster.clone()),
            cluster,
            lead: options.lead.clone(),
            options,
            registry,
            paths: Opener::new(engine, Arc::new(openbao.clone())),
            openbao,
            reporter,
            resources,
            former: Former::default(),
            namespaces,
            news: News::default(),
            links: Links::default(),
            listed: Listed::default(),
            written: Written::default(),
            restored: Restored::default(),
            everything: Notify::default(),
            began: AtomicBool::new(false),
            queue: sender,
            held: Mutex::new(HashMap::new()),
            first: First::default(),
            metrics,
            waiting: Mutex::default(),
        };
        Self { context: Arc::new(context), writers: (resources_writer, namespaces_writer), queue }
    }

    /// Works until `stop`; a reconciliation that is under way is finished. `tell` hears of the gates; `away` says whether
    /// the store is, and why.
    ///
    /// # Errors
    /// A watch or the election ended, which none does by itself.
    pub async fn run(
        self,
        tell: impl Fn(Gate) + Send + Sync,
        away: watch::Receiver<Option<String>>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), String> {
        if !served(&self.context.cluster, &tell, stop.clone()).await {
            return Ok(());
        }
        let (done, ended) = watch::channel(false);
        // It goes on whatever a reconciliation does.
        let mut election = tokio::spawn(Election::of(&self.context).run(ended));
        let worked = tokio::select! {
            worked = self.work(tell, away, stop) => worked,
            _ = &mut election => return Err("the election of the leader ended".to_owned()),
        };
        // Now another may begin.
        done.send_replace(true);
        election.await.map_err(|error| format!("the election of the leader ended: {error}"))?;
        worked
    }

    async fn work(
        self,
        tell: impl Fn(Gate) + Send + Sync,
        away: watch::Receiver<Option<String>>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), String> {
        let Self { context, writers, queue } = self;
        let (gone, gone_queue) = unbounded_channel();
        let told = Told { queue: context.queue.clone(), gone };
        let (secrets_listed, configs_listed) = (watch::Sender::new(false), watch::Sender::new(false));
        let lists = [secrets_listed.subscribe(), configs_listed.subscribe()];
        let watches = async {
            tokio::select! {
                () = resources(&context, writers.0, &told, stop.clone()) => {}
                () = namespaces(&context, writers.1, &told, stop.clone()) => {}
                () = secrets(&context, &told, &secrets_listed, stop.clone()) => {}
                () = configs(&context, &told, &configs_listed, stop.clone()) => {}
                () = forget_gone(&context, gone_queue) => {}
                () = outages(&context, away) => {}
                () = ask_again(&context) => {}
                () = elections(&context) => {}
                () = everything(&context) => {}
                () = orphans::run(&context) => {}
            }
        };
        let mut work = pin!(reconciliations(&context, queue, lists, &tell, stop.clone()));
        tokio::select! {
            () = &mut work => return Ok(()),
            () = watches => {}
        }
        if !*stop.borrow() {
            return Err("a watch ended".to_owned());
        }
        // What is under way is finished.
        work.await;
        Ok(())
    }
}

/// Waits until the cluster has the definition. Answers false where the stop came first.
async fn served(cluster: &Cluster, tell: &impl Fn(Gate), mut stop: watch::Receiver<bool>) -> bool {
    let mut said = None;
    loop {
        let looked = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return false,
            looked = cluster.serves_resources() => looked,
        };
        let Err(missing) = looked else {
            tell(Gate::Cluster(Ok(())));
            return true;
        };
        if said.as_ref() != Some(&missing) {
            warn!("waits for the cluster: {missing}");
            said = Some(missing.clone());
        }
        tell(Gate::Cluster(Err(missing)));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return false,
            () = sleep(AGAIN) => {}
        }
    }
}

/// Reconciles what is asked for, until the stop.
async fn reconciliations(
    context: &Arc<Context>,
    queue: UnboundedReceiver<ObjectRef<Watched>>,
    lists: [watch::Receiver<bool>; 2],
    tell: &impl Fn(Gate),
    stop: watch::Receiver<bool>,
) {
    let mut ending = stop.clone();
    let ready = async {
        // Only their writers' end is an error: that of the watches.
        let _ = tokio::join!(context.resources.wait_until_ready(), context.namespaces.wait_until_ready());
    };
    tokio::select! {
        _ = ending.wait_for(|stop| *stop) => return,
        () = ready => {}
    }
    // A look as one of the others, and then as the leader, would be two; and what is listed may change from then on.
    let settled = async {
        let [mut secrets, mut configs] = lists;
        let secrets = async { drop(secrets.wait_for(|listed| *listed).await) };
        let configs = async { drop(configs.wait_for(|listed| *listed).await) };
        tokio::join!(context.lead.asked(), secrets, configs);
    };
    tokio::select! {
        _ = ending.wait_for(|stop| *stop) => return,
        // Without it each resource is looked at twice, no more.
        _ = timeout(SETTLED, settled) => {}
    }
    context.began.store(true, Ordering::Release);
    context.listed.begin().await;
    if let Err(fault) = context.openbao.read_ahead().await {
        warn!(%fault, "the tokens of states cannot be read at once: each is read when it is needed");
    }
    let all: HashSet<ResourceName> = context.resources.state().iter().map(|object| name_of(&**object)).collect();
    info!(resources = all.len(), "first pass");
    *context.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(all);
    context.is_loaded(tell);
    let asked = stream::unfold((queue, stop), |(mut queue, mut stop)| async move {
        let next = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => None,
            next = queue.recv() => next,
        };
        next.map(|next| (Ok::<_, Infallible>(next), (queue, stop)))
    });
    let config = Config::default().concurrency(context.options.workers);
    let never = |_, error: &Infallible, _| -> Action { match *error {} };
    let work = applier(
        |object, context| Box::pin(reconcile(object, context)),
        never,
        context.clone(),
        context.resources.clone(),
        Box::pin(asked),
        config,
    );
    work.for_each(|done| {
        if let Err(kube::runtime::controller::Error::ObjectNotFound(name)) = done {
            let name = ResourceName { namespace: name.namespace.clone().unwrap_or_default(), name: name.name.clone() };
            context.first(&name, &Outcome::Done);
        }
        context.is_loaded(tell);
        std::future::ready(())
    })
    .await;
}

/// A resource that is not there any more, though its path was not given up, is not served any more.
async fn forget_gone(context: &Context, mut gone: UnboundedReceiver<(ResourceName, String)>) {
    while let Some((name, uid)) = gone.recv().await {
        let held = context.held(&name);
        let mut known = held.lock().await;
        if !known.uid.is_empty() && known.uid != uid {
            // Another of the same name came since, and is served.
            continue;
        }
        if let Some(old) = &known.backend {
            let (path, resource) = (old.path().to_string(), name.clone());
            warn!(%resource, path, "the resource went without giving its path up: its finalizer was taken away. The path stays its own in the store");
        }
        context.unpublish(&mut known);
        // One that came anew has its token under the same name.
        if context.resources.get(&reference(&name)).is_none() {
            context.openbao.leave(&name.namespace, &name.name);
        }
        drop(known);
        context.drop_held(&name, &held);
    }
}

/// Tells once that the store is away, and once that it is back, whatever the number of resources.
async fn outages(context: &Context, mut away: watch::Receiver<Option<String>>) {
    let namespace = context.options.namespace.clone();
    while away.changed().await.is_ok() {
        let why = away.borrow_and_update().clone();
        // The others see it, too.
        if !context.lead.holds() {
            continue;
        }
        match why {
            Some(why) => {
                let note = format!("OpenBao is away: requests are answered with 503 until it is back: {why}");
                context.events.own(&namespace, Kind::Warning, "StoreAway", &note).await;
            }
            None => context.events.own(&namespace, Kind::Normal, "StoreBack", "OpenBao answers again").await,
        }
    }
    std::future::pending::<()>().await;
}

/// Looks at everything, each time that somebody asks for it.
async fn everything(context: &Context) {
    while !context.registry.is_loaded() {
        sleep(AGAIN).await;
    }
    context.listed.end().await;
    context.openbao.read_each();
    loop {
        context.everything.notified().await;
        context.listed.begin().await;
        for object in context.resources.state() {
            context.wake(&name_of(&*object));
        }
        // Most were looked at by then; the others read for themselves.
        match timeout(LISTS, context.everything.notified()).await {
            Ok(()) => context.all(),
            Err(_) => context.listed.end().await,
        }
    }
}

/// A new leader looks at everything: what changed before was seen by nobody.
async fn elections(context: &Context) {
    loop {
        context.lead.gained().await;
        context.metrics.leads(true);
        // Else it is before the first look.
        if context.began.load(Ordering::Acquire) {
            context.all();
        }
        context.lead.lost().await;
        context.metrics.leads(false);
    }
}

/// Where many did not get an answer, the others are told so at once; after a while one tries again.
async fn ask_again(context: &Context) {
    let mut ticks = interval(STORE_AGAIN);
    loop {
        ticks.tick().await;
        context.paths.begin();
    }
}

impl Context {
    /// Takes note of what became of a resource the first time.
    pub(super) fn first(&self, name: &ResourceName, outcome: &Outcome) {
        if matches!(outcome, Outcome::Done)
            && let Some(first) = self.first.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            first.remove(name);
        }
    }

    /// When all were looked at, it is known who may have which path.
    fn is_loaded(&self, tell: &impl Fn(Gate)) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_some_and(HashSet::is_empty) {
            *first = None;
            self.registry.loaded();
            tell(Gate::Loaded);
            info!("all resources were looked at once");
        }
    }
}
