//! A process on a folder of manifests and a store, and what outlives it.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tofustate::{
    registry::{
        CredentialHash, Registry, Role,
        folder::{ChangeKind, FolderOptions, FolderRegistry, Problem, Reason, Report},
    },
    store::{Budget, EmbeddedKv, Engine, EngineOptions, Kv, OneStore, State, StatePath, WriteCall},
    telemetry::EngineMetrics,
};

pub(crate) const STATE: &[u8] = br#"{"version":4,"serial":1,"lineage":"l","resources":[]}"#;

/// One process on a folder.
pub(crate) struct World {
    pub(crate) folder: FolderRegistry,
    pub(crate) registry: Arc<Registry>,
}

/// What outlives processes.
pub(crate) struct Disk {
    pub(crate) root: TempDir,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("manifests")).unwrap();
        Self { root }
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.root.path().join("manifests")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.manifests().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.manifests().join(file)).unwrap();
    }

    pub(crate) fn options(&self) -> FolderOptions {
        let mut options = FolderOptions::new(self.manifests(), self.data(), "test".into());
        options.poll = Duration::from_millis(20);
        options
    }

    pub(crate) fn start(&self, kv: &Arc<dyn Kv>) -> World {
        Self::start_with(self.options(), kv)
    }

    pub(crate) fn start_with(options: FolderOptions, kv: &Arc<dyn Kv>) -> World {
        let registry = Arc::new(Registry::default());
        let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
        let folder = FolderRegistry::new(options, engine, Arc::new(OneStore(kv.clone())), registry.clone()).unwrap();
        World { folder, registry }
    }
}

impl World {
    pub(crate) async fn pass(&mut self) -> Report {
        self.folder.reconcile().await
    }

    pub(crate) fn state(&self, path: &str) -> State {
        self.registry
            .get(&StatePath::parse(path).unwrap())
            .unwrap_or_else(|| panic!("{path} is not served"))
            .state
            .clone()
    }

    pub(crate) fn admits(&self, path: &str, token: &str) -> Option<(String, Role)> {
        let backend = self.registry.get(&StatePath::parse(path).unwrap())?;
        let hash = CredentialHash::of(token);
        let found = backend.credentials.iter().find(|credential| credential.hash.matches(&hash));
        found.map(|credential| (credential.identity.clone(), credential.role))
    }

    pub(crate) async fn store(&self, path: &str, body: &[u8]) {
        let state = self.state(path);
        let call = WriteCall { identity: "token", ..WriteCall::default() };
        state.write(call, body, &mut budget()).await.unwrap();
    }
}

pub(crate) fn budget() -> Budget {
    Budget::new(Duration::from_secs(10))
}

pub(crate) fn memory() -> Arc<dyn Kv> {
    Arc::new(EmbeddedKv::in_memory().unwrap())
}

pub(crate) fn manifest(name: &str, path: &str) -> String {
    manifest_with(name, path, "")
}

pub(crate) fn manifest_with(name: &str, path: &str, spec: &str) -> String {
    let namespace = path.split('/').next().unwrap();
    format!(
        "---\napiVersion: tofustate.io/v1alpha1\nkind: TofuStateBackend\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  path: {path}\n{spec}"
    )
}

pub(crate) fn secret(namespace: &str, name: &str, token: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\nstringData: {{token: '{token}'}}\n"
    )
}

pub(crate) fn paths(report: &Report) -> Vec<&str> {
    report.served.iter().map(|served| served.path.as_str()).collect()
}

pub(crate) fn problem(report: &Report, reason: Reason) -> &Problem {
    let mut found = report.problems.iter().filter(|problem| problem.reason == reason);
    let first = found.next().unwrap_or_else(|| panic!("no {reason}: {:#?}", report.problems));
    assert!(found.next().is_none(), "{:#?}", report.problems);
    first
}

pub(crate) fn quiet(report: &Report) {
    assert!(report.problems.is_empty() && !report.again, "{:#?}", report.problems);
}

pub(crate) fn changes(report: &Report) -> Vec<(&str, ChangeKind)> {
    report.changes.iter().map(|change| (change.path.as_str(), change.kind)).collect()
}

pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "it did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
