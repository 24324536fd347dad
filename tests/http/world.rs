//! What a test has: a store, an engine, a registry with two paths, and the router over them.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, extract::Request, middleware};
use md5::Digest as _;
use tofustate::{
    http::{App, HttpOptions, router},
    registry::{Backend, Credential, CredentialHash, Registry, ResourceName, Role},
    store::{
        Budget, EmbeddedKv, Engine, EngineOptions, Head, Kv, Mark, Registration, Settings, State, StatePath,
        head::Owner,
    },
    telemetry::{EngineMetrics, HttpMetrics},
};

use crate::kv::FaultKv;

/// The path that tests work on, and its credentials.
pub const PATH: &str = "team/app";
pub const TOKEN: &str = "rw-Jq3vT8-token-of-team-app";
pub const VIEWER: &str = "ro-Kd71xP-viewer-of-team-app";
/// Another registered path, with another token.
pub const OTHER: &str = "team/net";
pub const OTHER_TOKEN: &str = "rw-Zu5mB2-token-of-team-net";

/// Small parts, so that some hundred KiB are many.
const PART: usize = 16 * 1024;

/// What may differ from one test to the next.
pub struct Setup {
    pub settings: Settings,
    pub options: HttpOptions,
    pub loaded: bool,
    pub kv: Option<Arc<FaultKv>>,
    pub mark: Option<Mark>,
    pub register: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let options = HttpOptions { budget: Duration::from_secs(5), ..HttpOptions::default() };
        Self { settings: Settings::default(), options, loaded: true, kv: None, mark: None, register: true }
    }
}

pub struct World {
    pub kv: Arc<FaultKv>,
    pub router: Router,
    pub state: State,
    pub registry: Arc<Registry>,
    pub metrics: HttpMetrics,
    /// Method and target of each request that reached the router.
    pub seen: Arc<Mutex<Vec<String>>>,
}

pub fn budget() -> Budget {
    Budget::new(Duration::from_secs(25))
}

pub fn memory() -> Arc<FaultKv> {
    FaultKv::new(EmbeddedKv::in_memory().unwrap(), PART)
}

fn credential(identity: &str, role: Role, token: &str) -> Credential {
    Credential { identity: identity.to_owned(), role, hash: CredentialHash::of(token) }
}

impl World {
    pub async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let kv = setup.kv.unwrap_or_else(memory);
        let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
        let open = |path: &str, mark| {
            let (_, name) = path.split_once('/').unwrap();
            engine.open(Registration {
                path: StatePath::parse(path).unwrap(),
                kv: kv.clone() as Arc<dyn Kv>,
                owner: Owner {
                    instance: "test".into(),
                    namespace: "team".into(),
                    name: name.into(),
                    claim: 1,
                    released: false,
                },
                mark,
                settings: setup.settings.clone(),
            })
        };
        let (state, other) = (open(PATH, setup.mark), open(OTHER, None));
        if setup.register {
            state.register(&mut budget()).await.unwrap();
            other.register(&mut budget()).await.unwrap();
        }
        let backend = |state: &State, credentials| {
            let name = state.path().as_str().split('/').next_back().unwrap().to_owned();
            let resource = ResourceName { namespace: "team".into(), name };
            Arc::new(Backend { resource, state: state.clone(), credentials, former: Vec::new() })
        };
        let both =
            vec![credential("token", Role::ReadWrite, TOKEN), credential("access/viewer", Role::ReadOnly, VIEWER)];
        let registry = Arc::new(Registry::default());
        if setup.loaded {
            registry.replace([
                backend(&state, both),
                backend(&other, vec![credential("token", Role::ReadWrite, OTHER_TOKEN)]),
            ]);
        }
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let note = {
            let seen = seen.clone();
            middleware::from_fn(move |request: Request, next: middleware::Next| {
                seen.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
                next.run(request)
            })
        };
        let metrics = HttpMetrics::default();
        let router = router(App::new(registry.clone(), setup.options, metrics.clone())).layer(note);
        Self { kv, router, state, registry, metrics, seen }
    }

    pub async fn head(&self) -> Arc<Head> {
        self.state.head(&mut budget()).await.unwrap()
    }

    /// What the state is, by the engine.
    pub async fn stored(&self) -> Option<Vec<u8>> {
        let reader = self.state.read(&mut budget()).await.unwrap()?;
        Some(reader.read_to_end(&mut budget()).await.unwrap())
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// A state of that serial.
pub fn state(serial: u64) -> String {
    format!(
        "{{\n  \"version\": 4,\n  \"terraform_version\": \"1.12.6\",\n  \"serial\": {serial},\n  \"lineage\": \"5f2a0c1e-6f0a-9d1e-8a51-0c3f6d2b7e44\",\n  \"outputs\": {{}},\n  \"resources\": []\n}}\n"
    )
}

/// A state of that serial and about that many bytes, that hardly compresses.
pub fn large_state(serial: u64, size: usize) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    let mut seed = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let filler: String = (0..size)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            char::from(LETTERS[(seed >> 33) as usize % 64])
        })
        .collect();
    format!(
        r#"{{"version":4,"serial":{serial},"lineage":"l","outputs":{{"x":{{"value":"{filler}"}}}},"resources":[]}}"#
    )
}

/// The LockInfo of a client, as OpenTofu sends it.
pub fn lock_info(id: &str) -> String {
    format!(
        r#"{{"ID":"{id}","Operation":"OperationTypeApply","Info":"","Who":"ada@desk","Version":"1.12.6","Created":"2026-01-02T03:04:05.678901234Z","Path":""}}"#
    )
}

pub fn md5(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(bytes))
}

/// Waits until it is so; says what it waited for where it never is.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < Duration::from_secs(20), "waited 20 s for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
