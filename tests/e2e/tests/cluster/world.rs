//! A client with the operator's rights, states in a real store, resources, users.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;
use tofustate::{
    controller::report::{Reporter, Worker},
    store::{
        Budget, EmbeddedKv, Engine, EngineOptions, LockCall, Registration, Settings, State, StatePath, WriteCall,
        head::Owner,
    },
    telemetry::{EngineMetrics, ReportMetrics},
};
use tofustate_e2e::kube::{Api, Cluster, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, Shared, tofustates};
use tokio::{sync::watch, task::JoinHandle};

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test)
}

/// Does what blocks.
pub(crate) fn off<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// The shared cluster, with the rights and the policies in force.
pub(crate) fn installed(test: &str) -> Option<Shared> {
    let cluster = Shared::cluster(test)?;
    cluster.install_operator_rights();
    cluster.install_policies();
    Some(cluster)
}

/// A client as the operator's ServiceAccount; of `name` is the kubeconfig.
pub(crate) fn client(cluster: &Cluster, name: &str) -> impl Future<Output = Client> + use<> {
    let token = cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[]);
    let file = cluster.kubeconfig(name, &token);
    async move { connect(&file).await }
}

async fn connect(kubeconfig: &Path) -> Client {
    let config = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    // Who calls decides how often; by itself it tries for minutes.
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// A resource of this path.
pub(crate) fn resource(name: &str, path: &str) -> Value {
    json!({
        "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
        "metadata": {"name": name}, "spec": {"path": path},
    })
}

/// Makes one in its namespace, and gives it.
pub(crate) fn created(api: &Api, namespace: &str, name: &str) -> Value {
    api.create(&tofustates(namespace), &resource(name, &format!("{namespace}/{name}"))).done()
}

/// A user with these ClusterRoles, once they hold.
pub(crate) fn user(cluster: &Cluster, namespace: &str, name: &str, roles: &[&str]) -> Api {
    cluster.service_account(namespace, name);
    for role in roles {
        cluster.bind(role, namespace, name);
    }
    let user = cluster.api().with_token(&cluster.token(namespace, name, &[]));
    user.until(&tofustates(namespace), "the user has rights", |_| true);
    user
}

/// A store, and the replicas on it.
pub(crate) struct Store {
    kv: Arc<EmbeddedKv>,
    _folder: TempDir,
}

impl Store {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { kv: Arc::new(EmbeddedKv::open(folder.path()).unwrap()), _folder: folder }
    }

    /// A state as a replica of its own has it open, registered.
    pub(crate) async fn state(&self, namespace: &str, name: &str) -> State {
        let owner = Owner {
            instance: "prod".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            claim: 1,
            released: false,
        };
        let registration = Registration {
            path: StatePath::parse(&format!("{namespace}/{name}")).unwrap(),
            kv: self.kv.clone(),
            owner,
            mark: None,
            settings: Settings::default(),
        };
        let state = Engine::new(EngineOptions::default(), EngineMetrics::default()).open(registration);
        state.register(&mut budget()).await.unwrap();
        state
    }
}

pub(crate) fn budget() -> Budget {
    Budget::new(Duration::from_secs(60))
}

pub(crate) async fn lock(state: &State, id: &str, who: &str) {
    let info = json!({"ID": id, "Who": who, "Operation": "OperationTypeApply", "Version": "1.12.6"}).to_string();
    let call = LockCall { info: info.as_bytes(), identity: "token", ..LockCall::default() };
    state.lock(call, &mut budget()).await.unwrap();
}

pub(crate) async fn unlock(state: &State, id: &str) {
    state.unlock(json!({"ID": id}).to_string().as_bytes(), "token", &mut budget()).await.unwrap();
}

pub(crate) async fn write(state: &State, id: &str, serial: u64) {
    let body = json!({"version": 4, "serial": serial, "lineage": "l", "resources": []}).to_string();
    let call = WriteCall { lock: Some(id), identity: "token", ..WriteCall::default() };
    state.write(call, body.as_bytes(), &mut budget()).await.unwrap();
}

/// A running reporter with the operator's rights.
pub(crate) struct Reports {
    pub(crate) reporter: Reporter,
    stop: watch::Sender<bool>,
    worker: JoinHandle<Result<(), String>>,
    metrics: Registry,
}

impl Reports {
    pub(crate) fn start(client: Client) -> Self {
        let (counts, mut metrics) = (ReportMetrics::default(), Registry::default());
        counts.register(&mut metrics);
        let (reporter, worker): (Reporter, Worker) = Reporter::new(client, counts);
        let (stop, stopped) = watch::channel(false);
        Self { reporter, stop, worker: tokio::spawn(worker.run(stopped)), metrics }
    }

    /// Follows a state in the status of this resource as it is.
    pub(crate) fn follow(&self, object: &Value, state: &State) {
        self.reporter.follow(&serde_json::from_value(object.clone()).unwrap(), state, true, 0);
    }

    /// How many patches came to this.
    pub(crate) fn patches(&self, outcome: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).unwrap();
        let start = format!("status_patches_total{{outcome=\"{outcome}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |count| count.parse().unwrap())
    }

    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.worker.await.unwrap().unwrap();
    }
}

/// The resource, once its status is so.
pub(crate) fn status_until(api: &Api, namespace: &str, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    api.until(&format!("{}/{name}", tofustates(namespace)), what, |object| so(&object["status"]))
}
