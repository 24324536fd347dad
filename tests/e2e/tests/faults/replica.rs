//! A replica as a process of its own would be: its own connection, login, tokens of states, engine and listener.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tofustate::{
    http::{App, HttpOptions, ServerOptions, router, serve},
    openbao::{Bao, Credential, FileKeeper, Login, OpenBaoStores, Settings as Connection, alone},
    registry::{Backend, Credential as ClientCredential, CredentialHash, Registry, ResourceName, Role},
    store::{
        Budget, Engine, EngineOptions, Mark, Registration, Settings, State, StateError, StatePath, Stores as _,
        owners::{self, Claimant},
    },
    telemetry::{EngineMetrics, HttpMetrics, OpenBaoMetrics},
};
use tokio::{runtime::Runtime, sync::watch};

use crate::world::{INSTANCE, World, instance};

/// The token of every path.
pub(crate) const TOKEN: &str = "rw-7Yx0pQ-token-of-all-paths";

/// What may differ from one test to the next.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// How long a request may wait for the store.
    pub(crate) budget: Duration,
    /// How long a head that was read may be the base of a change.
    pub(crate) head_age: Duration,
    /// How long one call of OpenBao may take.
    pub(crate) call: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let (budget, head_age) = (HttpOptions::default().budget, EngineOptions::default().head_age);
        Self { budget, head_age, call: Duration::from_secs(10) }
    }
}

impl Options {
    /// For faults that no waiting mends.
    pub(crate) fn impatient() -> Self {
        Self { budget: Duration::from_secs(4), ..Self::default() }
    }
}

/// A replica that serves. What it runs ends with it.
pub(crate) struct Replica {
    runtime: Option<Runtime>,
    engine: Engine,
    registry: Arc<Registry>,
    states: Mutex<BTreeMap<String, State>>,
    folder: PathBuf,
    stop: watch::Sender<bool>,
    pub(crate) stores: OpenBaoStores,
    pub(crate) login: Arc<Login>,
    pub(crate) url: String,
}

impl Replica {
    /// Serves nothing yet. `name`: of its folder.
    pub(crate) fn start(world: &World, name: &str, options: Options) -> Self {
        let settings = Connection { call_timeout: options.call, ..world.settings() };
        Self::at(settings, world.operator(), world.folder.path().join(name), options)
    }

    /// With the operator's token in that file, and the states' in that folder.
    pub(crate) fn at(settings: Connection, operator: PathBuf, folder: PathBuf, options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let bao = Bao::new(settings, OpenBaoMetrics::default()).unwrap();
        let login = Arc::new(Login::new(bao.clone(), Credential::File(operator), &instance()).unwrap());
        let keeper = Arc::new(FileKeeper::open(&folder).unwrap());
        let stores = OpenBaoStores::new(bao, login.clone(), instance(), keeper, alone()).unwrap();
        let asked = EngineOptions { head_age: options.head_age, ..EngineOptions::default() };
        let engine = Engine::new(asked, EngineMetrics::default());
        let registry = Arc::new(Registry::default());
        registry.replace([]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = watch::channel(false);
        let http = HttpOptions { budget: options.budget, ..HttpOptions::default() };
        let router = router(App::new(registry.clone(), http, HttpMetrics::default()));
        runtime.spawn({
            let stopped = stopped.clone();
            async move { serve(listener, router, ServerOptions::default(), &HttpMetrics::default(), stopped).await }
        });
        runtime.spawn({
            let (engine, stopped) = (engine.clone(), stopped.clone());
            async move { engine.run_background(stopped).await }
        });
        runtime.spawn({
            let (login, stopped) = (login.clone(), stopped.clone());
            async move { login.run(stopped).await }
        });
        runtime.spawn({
            let stores = stores.clone();
            async move { stores.run(stopped).await }
        });
        let states = Mutex::default();
        Self { runtime: Some(runtime), engine, registry, states, folder, stop, stores, login, url }
    }

    /// Serves a path, `<team>/<name>`, that this replica never saw.
    pub(crate) fn serve(&self, path: &str) -> State {
        let state = self.open(path, None);
        self.run(state.register(&mut budget())).unwrap();
        state
    }

    /// Serves a path of which `mark` was seen; does not look whether its head is there.
    pub(crate) fn open(&self, path: &str, mark: Option<Mark>) -> State {
        let (namespace, name) = resource(path);
        let resource = ResourceName { namespace, name };
        let who = Claimant {
            instance: INSTANCE.to_owned(),
            namespace: resource.namespace.clone(),
            name: resource.name.clone(),
            uid: None,
        };
        let path = StatePath::parse(path).unwrap();
        if mark.is_none() {
            let owners = self.stores.owners();
            assert_eq!(self.run(owners::claim(&*owners, &path, &who, false, &mut budget())), Ok(1));
        }
        let owner = who.owner(1);
        let kv = self.stores.state(&path, &owner);
        let state =
            self.engine.open(Registration { path: path.clone(), kv, owner, mark, settings: Settings::default() });
        let hash = CredentialHash::of(TOKEN);
        let credentials = vec![ClientCredential { identity: "token".to_owned(), role: Role::ReadWrite, hash }];
        self.registry
            .set(&path, Some(Arc::new(Backend { resource, state: state.clone(), credentials, former: Vec::new() })));
        self.states.lock().unwrap().insert(path.to_string(), state.clone());
        state
    }

    pub(crate) fn state(&self, path: &str) -> State {
        self.states.lock().unwrap()[path].clone()
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(work)
    }

    /// The accessor of the token that it has for a path.
    pub(crate) fn accessor(&self, path: &str) -> String {
        let (namespace, name) = resource(path);
        self.stores.token(&namespace, &name).unwrap().accessor().expect("the state was used")
    }

    /// That token itself.
    pub(crate) fn secret(&self, path: &str) -> String {
        let (namespace, name) = resource(path);
        let kept = std::fs::read(self.folder.join(namespace).join(format!("{name}.json"))).unwrap();
        serde_json::from_slice::<Value>(&kept).unwrap()["token"].as_str().unwrap().to_owned()
    }

    /// As a person who accepts the head that is there, or is not, in place of the one seen last.
    pub(crate) fn accept(&self, path: &str, lost: bool) -> Result<(), StateError> {
        let state = self.state(path);
        let epoch = state.mark().unwrap().epoch;
        self.run(async {
            match lost {
                true => state.accept_empty(epoch, &mut budget()).await,
                false => state.accept_restore(epoch, &mut budget()).await,
            }
        })
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The namespace and the name of a path's resource.
fn resource(path: &str) -> (String, String) {
    let (namespace, name) = path.split_once('/').unwrap();
    (namespace.to_owned(), name.replace('/', "-"))
}

pub(crate) fn budget() -> Budget {
    Budget::new(Duration::from_secs(25))
}
