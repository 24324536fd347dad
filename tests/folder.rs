//! A folder of manifests as the registry, over the embedded store: what is served after each change of the folder, of the
//! store and of the data folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tempfile::TempDir;
use tofustate::{
    registry::{
        CredentialHash, Registry, Role, Tenancy,
        folder::{ChangeKind, FolderOptions, FolderRegistry, Problem, Reason, Report},
    },
    store::{
        Budget, EmbeddedKv, Engine, EngineOptions, Entry, Expect, Kv, KvError, Listed, LockCall, Revision, State,
        StateError, StatePath, Value, WriteCall,
        owners::{self, Claimant, Leftover},
    },
    telemetry::EngineMetrics,
};

const STATE: &[u8] = br#"{"version":4,"serial":1,"lineage":"l","resources":[]}"#;

/// One process on a folder.
struct World {
    folder: FolderRegistry,
    registry: Arc<Registry>,
}

/// What outlives processes.
struct Disk {
    root: TempDir,
}

impl Disk {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("manifests")).unwrap();
        Self { root }
    }

    fn manifests(&self) -> PathBuf {
        self.root.path().join("manifests")
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.manifests().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.manifests().join(file)).unwrap();
    }

    fn options(&self) -> FolderOptions {
        let mut options = FolderOptions::new(self.manifests(), self.data(), "test".into());
        options.poll = Duration::from_millis(20);
        options
    }

    fn start(&self, kv: &Arc<dyn Kv>) -> World {
        Self::start_with(self.options(), kv)
    }

    fn start_with(options: FolderOptions, kv: &Arc<dyn Kv>) -> World {
        let registry = Arc::new(Registry::default());
        let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
        let folder = FolderRegistry::new(options, engine, kv.clone(), registry.clone()).unwrap();
        World { folder, registry }
    }
}

impl World {
    async fn pass(&mut self) -> Report {
        self.folder.reconcile().await
    }

    fn state(&self, path: &str) -> State {
        self.registry
            .get(&StatePath::parse(path).unwrap())
            .unwrap_or_else(|| panic!("{path} is not served"))
            .state
            .clone()
    }

    fn admits(&self, path: &str, token: &str) -> Option<(String, Role)> {
        let backend = self.registry.get(&StatePath::parse(path).unwrap())?;
        let hash = CredentialHash::of(token);
        let found = backend.credentials.iter().find(|credential| credential.hash.matches(&hash));
        found.map(|credential| (credential.identity.clone(), credential.role))
    }

    async fn store(&self, path: &str, body: &[u8]) {
        let state = self.state(path);
        let call = WriteCall { identity: "token", ..WriteCall::default() };
        state.write(call, body, &mut budget()).await.unwrap();
    }
}

fn budget() -> Budget {
    Budget::new(Duration::from_secs(10))
}

fn memory() -> Arc<dyn Kv> {
    Arc::new(EmbeddedKv::in_memory().unwrap())
}

fn manifest(name: &str, path: &str) -> String {
    manifest_with(name, path, "")
}

fn manifest_with(name: &str, path: &str, spec: &str) -> String {
    let namespace = path.split('/').next().unwrap();
    format!(
        "---\napiVersion: tofustate.io/v1alpha1\nkind: TofuStateBackend\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  path: {path}\n{spec}"
    )
}

fn secret(namespace: &str, name: &str, token: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\nstringData: {{token: '{token}'}}\n"
    )
}

fn paths(report: &Report) -> Vec<&str> {
    report.served.iter().map(|served| served.path.as_str()).collect()
}

fn problem(report: &Report, reason: Reason) -> &Problem {
    let mut found = report.problems.iter().filter(|problem| problem.reason == reason);
    let first = found.next().unwrap_or_else(|| panic!("no {reason}: {:#?}", report.problems));
    assert!(found.next().is_none(), "{:#?}", report.problems);
    first
}

fn quiet(report: &Report) {
    assert!(report.problems.is_empty() && !report.again, "{:#?}", report.problems);
}

fn changes(report: &Report) -> Vec<(&str, ChangeKind)> {
    report.changes.iter().map(|change| (change.path.as_str(), change.kind)).collect()
}

#[tokio::test]
async fn a_manifest_is_served_and_its_token_shown_once() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("net.yaml", &manifest("net", "a/net"));
    disk.write("deploy/app.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\n---\nreplicas: 2\n");
    let mut world = disk.start(&kv);
    assert!(!world.registry.is_loaded());
    let report = world.pass().await;
    assert!(world.registry.is_loaded());
    assert_eq!((paths(&report), changes(&report)), (vec!["a/net"], vec![("a/net", ChangeKind::Added)]));
    assert!(report.problems.iter().all(|problem| problem.reason == Reason::Skipped), "{:?}", report.problems);
    assert_eq!(report.problems.len(), 2);

    let token = report.generated[0].token.expose().clone();
    assert_eq!(world.admits("a/net", &token), Some(("token".to_owned(), Role::ReadWrite)));
    assert!(!format!("{report:?}").contains(&token));
    let file = &report.generated[0].file;
    assert_eq!(fs::read_to_string(file).unwrap().trim(), token);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    let state = world.state("a/net");
    let info = br#"{"ID":"1","Who":"ada@desk"}"#;
    state.lock(LockCall { info, identity: "token", ..LockCall::default() }, &mut budget()).await.unwrap();
    let report = world.pass().await;
    assert!(report.generated.is_empty() && report.changes.is_empty());
    assert!(world.state("a/net").is(&state), "an unchanged resource keeps its handle");

    disk.write("net.yaml", &manifest_with("net", "a/net", "  lock: {required: true}\n  maxSize: 1Ki\n"));
    let report = world.pass().await;
    assert_eq!(changes(&report), [("a/net", ChangeKind::Settings)]);
    assert!(world.state("a/net").is(&state));
    state.unlock(info, "token", &mut budget()).await.unwrap();
    let write = state.write(WriteCall { identity: "token", ..WriteCall::default() }, STATE, &mut budget()).await;
    assert!(write.unwrap_err().to_string().contains("under a lock only"));
}

#[tokio::test]
async fn a_wrong_manifest_takes_nothing_down() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("a.yaml", &(manifest("one", "a/one") + &manifest("two", "a/two") + &manifest("three", "a/three")));
    disk.write("b.yaml", &manifest("four", "b/four"));
    let mut world = disk.start(&kv);
    quiet(&world.pass().await);

    // A broken document, a wrong field, a file that is no YAML at all, each with its place.
    let two = "---\nkind: [TofuStateBackend\nmetadata: {name: two}\n".to_owned();
    let three = manifest_with("three", "a/three", "  maxSize: 12 potatoes\n  retention: {maxAge: 30d}\n");
    disk.write("a.yaml", &(manifest_with("one", "a/one", "  maxSize: 2Ki\n") + &two + &three));
    disk.write("b.yaml", "\u{0}\u{1}");
    disk.write("c.yaml", &manifest("five", "c/five"));
    let report = world.pass().await;
    assert_eq!(paths(&report), ["a/one", "a/three", "a/two", "b/four", "c/five"]);
    assert_eq!(changes(&report), [("a/one", ChangeKind::Settings), ("c/five", ChangeKind::Added)]);
    let said: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    for (part, place) in [
        ("spec.maxSize: write a size such as 256Mi", "a.yaml, document 3"),
        ("spec.retention.maxAge: write a duration", "a.yaml, document 3"),
        ("this is no valid YAML", "a.yaml, document 2"),
        ("this is no valid YAML", "b.yaml, document 1"),
    ] {
        let line = said.iter().find(|line| line.contains(part) && line.contains(place));
        assert!(line.is_some(), "{part}, {place}: {said:#?}");
    }
    assert!(said.iter().filter(|line| line.contains("last good version")).count() == 2, "{said:#?}");
    assert!(said.iter().all(|line| !line.contains("potatoes")));
    assert!(world.pass().await.changes.is_empty());

    // After a restart nobody knows what was good.
    let report = disk.start(&kv).pass().await;
    assert_eq!(paths(&report), ["a/one", "c/five"]);

    disk.write("b.yaml", &manifest("four", "b/four"));
    disk.write("a.yaml", &(manifest("one", "a/one") + &manifest("two", "a/two") + &manifest("three", "a/three")));
    quiet(&world.pass().await);
}

#[tokio::test]
async fn of_two_with_one_name_none_counts() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("a.yaml", &manifest("net", "a/net"));
    let mut world = disk.start(&kv);
    quiet(&world.pass().await);
    disk.write("b.yaml", &manifest_with("net", "a/net", "  maxSize: 1Ki\n"));
    disk.write("c.yaml", &(manifest("new", "a/new") + &manifest("new", "a/new2")));
    let report = world.pass().await;
    assert_eq!((paths(&report), report.changes.len()), (vec!["a/net"], 0));
    let said: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(report.problems.iter().all(|problem| problem.reason == Reason::Duplicate) && said.len() == 2, "{said:?}");
    assert!(said[0].contains("a.yaml") && said[0].contains("b.yaml") && said[0].contains("stays in use"), "{said:?}");
    assert!(said[1].contains("c.yaml, document 1") && said[1].contains("c.yaml, document 2"), "{said:?}");
    let report = disk.start(&kv).pass().await;
    assert!(paths(&report).is_empty());
    disk.remove("a.yaml");
    disk.remove("c.yaml");
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(changes(&report), [("a/net", ChangeKind::Settings)], "the other one is the only one by now");
}

#[tokio::test]
async fn a_path_goes_to_its_owner() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("z.yaml", &manifest("zeta", "a/net"));
    let mut world = disk.start(&kv);
    quiet(&world.pass().await);
    disk.write("a.yaml", &(manifest("alpha", "a/net") + &manifest("beta", "a/new") + &manifest("alpine", "a/new")));
    let told = |report: &Report, loser: &str, winner: &str| {
        let conflicts: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
        let found = conflicts.iter().any(|line| line.contains(loser) && line.contains(winner));
        assert!(found, "{loser}, {winner}: {conflicts:#?}");
        assert!(report.problems.iter().all(|problem| problem.reason == Reason::PathConflict));
    };
    let report = world.pass().await;
    assert_eq!(paths(&report), ["a/net", "a/new"]);
    assert_eq!(report.served[0].resource.name, "zeta", "the one that is served");
    assert_eq!(report.served[1].resource.name, "alpine", "the first by name");
    told(&report, "a/alpha: spec.path: a/net belongs to a/zeta", "z.yaml, document 1");
    told(&report, "a/beta: spec.path: a/new belongs to a/alpine", "a.yaml, document 3");
    assert_eq!(report.problems.len(), 2);
    assert_eq!(world.pass().await.problems, report.problems);

    // The same after a restart, and where the records are lost: the store knows.
    for lost in [false, true] {
        if lost {
            fs::remove_dir_all(disk.data().join("records")).unwrap();
        }
        let report = disk.start(&kv).pass().await;
        assert_eq!(report.served[0].resource.name, "zeta");
        told(&report, "a/alpha: spec.path: a/net belongs to a/zeta", "z.yaml, document 1");
        assert_eq!(report.problems.len(), 2);
    }

    // The owner's manifest goes: the path stays its own.
    disk.remove("z.yaml");
    let report = world.pass().await;
    assert_eq!((paths(&report), changes(&report)), (vec!["a/new"], vec![("a/net", ChangeKind::Removed)]));
    told(&report, "a/alpha", "the path belongs to a/zeta of instance test");

    // One that never had a path may choose another.
    disk.write("a.yaml", &(manifest("alpha", "a/other") + &manifest("alpine", "a/new")));
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(paths(&report), ["a/new", "a/other"]);
}

#[tokio::test]
async fn a_path_cannot_be_changed() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("a.yaml", &manifest("net", "a/net"));
    let mut world = disk.start(&kv);
    quiet(&world.pass().await);
    disk.write("a.yaml", &manifest("net", "a/other"));
    let report = world.pass().await;
    let said = problem(&report, Reason::InvalidSpec).to_string();
    assert!(said.contains("spec.path: the path cannot be changed") && said.contains("it was a/net"), "{said}");
    assert_eq!(paths(&report), ["a/net"]);
    let report = disk.start(&kv).pass().await;
    let said = problem(&report, Reason::InvalidSpec).to_string();
    assert!(said.contains("it was a/net") && paths(&report).is_empty(), "{said}");
    // Nor by taking the manifest away in between.
    disk.remove("a.yaml");
    world.pass().await;
    disk.write("a.yaml", &manifest("net", "a/other"));
    problem(&world.pass().await, Reason::InvalidSpec);
}

#[tokio::test]
async fn a_manifest_that_goes_gives_nothing_up() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("sub/net.yaml", &manifest("net", "a/net"));
    let mut world = disk.start(&kv);
    world.pass().await;
    world.store("a/net", STATE).await;
    let state = world.state("a/net");
    fs::rename(disk.manifests().join("sub"), disk.manifests().join("moved")).unwrap();
    quiet(&world.pass().await);
    assert!(world.state("a/net").is(&state), "it only moved");

    disk.remove("moved/net.yaml");
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(changes(&report), [("a/net", ChangeKind::Removed)]);
    assert!(world.registry.all().is_empty());
    let head = state.head(&mut budget()).await.unwrap();
    assert!(!head.owner.released && head.current == Some(1));

    disk.write("again.yaml", &manifest("net", "a/net"));
    let report = world.pass().await;
    assert_eq!((changes(&report), report.generated.len()), (vec![("a/net", ChangeKind::Added)], 0));
    assert!(world.state("a/net").is(&state), "one path has one handle");

    // While it is away, another installation may release the path and give it to somebody else.
    disk.remove("again.yaml");
    world.pass().await;
    let path = state.path();
    let who = |name: &str| Claimant { instance: "test".into(), namespace: "a".into(), name: name.into(), uid: None };
    owners::release(&*kv, path, &who("net"), 1, Leftover::Nothing, &mut budget()).await.unwrap();
    let claim = owners::claim(&*kv, path, &who("other"), false, &mut budget()).await.unwrap();
    disk.write("again.yaml", &manifest("net", "a/net"));
    let report = world.pass().await;
    assert!(paths(&report).is_empty());
    problem(&report, Reason::PathConflict);
    owners::release(&*kv, path, &who("other"), claim, Leftover::Nothing, &mut budget()).await.unwrap();
    let report = world.pass().await;
    quiet(&report);
    assert!(!world.state("a/net").is(&state), "another claim, another handle");
    let head = world.state("a/net").head(&mut budget()).await.unwrap();
    assert_eq!((head.owner.claim, head.current), (3, Some(1)));

    // A folder that is gone as a whole, as while it is mounted anew, takes nothing with it.
    fs::rename(disk.manifests(), disk.root.path().join("away")).unwrap();
    let report = world.pass().await;
    assert_eq!((paths(&report), problem(&report, Reason::Unreadable).field.clone()), (vec!["a/net"], None));
    // But who starts without one serves nothing, and does not say "not registered" either.
    let mut other = disk.start(&kv);
    other.pass().await;
    assert!(!other.registry.is_loaded());
    fs::rename(disk.root.path().join("away"), disk.manifests()).unwrap();
    quiet(&world.pass().await);
}

#[tokio::test]
async fn links_of_a_mounted_config_map_are_followed_and_circles_not() {
    let (disk, kv) = (Disk::new(), memory());
    let at = |name: &str| disk.manifests().join(name);
    disk.write("..1/net.yaml", &manifest("net", "a/net"));
    disk.write("..2/net.yaml", &manifest_with("net", "a/net", "  maxSize: 1Ki\n"));
    disk.write("..2/more.yaml", &manifest("more", "a/more"));
    symlink("..1", at("..data")).unwrap();
    symlink("..data/net.yaml", at("net.yaml")).unwrap();
    let mut world = disk.start(&kv);
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(paths(&report), ["a/net"]);

    symlink("..data/more.yaml", at("more.yaml")).unwrap();
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    fs::remove_dir_all(at("..1")).unwrap();
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(changes(&report), [("a/more", ChangeKind::Added), ("a/net", ChangeKind::Settings)]);

    fs::create_dir(at("sub")).unwrap();
    symlink("..", at("sub/up")).unwrap();
    let report = world.pass().await;
    assert!(problem(&report, Reason::SymlinkLoop).to_string().contains("sub/up: symbolic links lead in a circle"));
    assert_eq!(paths(&report).len(), 2);
}

#[tokio::test]
async fn secrets_come_change_and_go() {
    let (disk, kv) = (Disk::new(), memory());
    let spec = "  accessTokenSecretRef: {name: s}\n  access: [{name: ci, role: ReadOnly, secretRef: {name: ci}}]\n";
    disk.write("net.yaml", &manifest_with("net", "a/net", spec));
    let mut world = disk.start(&kv);
    let report = world.pass().await;
    assert!(paths(&report).is_empty() && report.generated.is_empty());
    let said: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(said.len() == 2 && said.iter().all(|line| line.contains("SecretNotFound")), "{said:?}");

    let (first, second, reader) = ("first-0123456789abcdef", "second-0123456789abcdef", "reader-0123456789abcdef");
    disk.write("s.yaml", &secret("a", "s", first));
    let report = world.pass().await;
    assert_eq!(report.served[0].identities, ["token"]);
    problem(&report, Reason::SecretNotFound);
    disk.write("ci.yaml", &secret("a", "ci", reader));
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(changes(&report), [("a/net", ChangeKind::Credentials)]);
    assert_eq!(world.admits("a/net", reader), Some(("access/ci".to_owned(), Role::ReadOnly)));

    let state = world.state("a/net");
    disk.write("s.yaml", &secret("a", "s", second));
    let report = world.pass().await;
    assert_eq!(changes(&report), [("a/net", ChangeKind::Credentials)]);
    assert!(world.admits("a/net", first).is_none() && world.admits("a/net", second).is_some());
    assert!(world.state("a/net").is(&state));

    // A wrong Secret is not a missing one.
    disk.write("s.yaml", &secret("a", "s", second).replace("stringData", "data"));
    let report = world.pass().await;
    let said = problem(&report, Reason::InvalidSpec).to_string();
    assert!(said.contains("data.token: this is not base64") && !said.contains(second), "{said}");
    assert!(world.admits("a/net", second).is_some());
    disk.write("s.yaml", &secret("a", "s", "short"));
    let report = world.pass().await;
    assert!(world.admits("a/net", "short").is_some());
    assert!(problem(&report, Reason::WeakToken).message.contains("longer"));
    disk.write("s.yaml", &secret("a", "s", reader));
    let report = world.pass().await;
    assert_eq!(world.admits("a/net", reader), Some(("token".to_owned(), Role::ReadWrite)));
    problem(&report, Reason::SameToken);
    disk.remove("s.yaml");
    let report = world.pass().await;
    assert_eq!((paths(&report).len(), changes(&report)), (0, vec![("a/net", ChangeKind::Removed)]));
    problem(&report, Reason::SecretNotFound);
}

#[tokio::test]
async fn namespaces_decide_who_may_have_what() {
    let (disk, kv) = (Disk::new(), memory());
    let named = |namespace: &str| manifest("net", "a/net").replace("namespace: a", &format!("namespace: {namespace}"));
    disk.write("net.yaml", &named("b"));
    let report = disk.start(&kv).pass().await;
    assert!(problem(&report, Reason::PathNotAllowed).message.contains("first segment"));
    let annotated = Disk::start_with(FolderOptions { tenancy: Tenancy::Annotation, ..disk.options() }, &kv);
    let mut world = annotated;
    problem(&world.pass().await, Reason::PathNotAllowed);
    let namespace = |annotations: &str| {
        format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: b\n  annotations: {{{annotations}}}\n")
    };
    disk.write("ns.yaml", &namespace("tofustate.io/path-prefixes: 'x/,a/'"));
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(paths(&report), ["a/net"]);

    // What another resource left is taken over on a word of the namespace only.
    let path = StatePath::parse("a/left").unwrap();
    let other = Claimant { instance: "test".into(), namespace: "c".into(), name: "old".into(), uid: None };
    let claim = owners::claim(&*kv, &path, &other, false, &mut budget()).await.unwrap();
    owners::release(&*kv, &path, &other, claim, Leftover::State, &mut budget()).await.unwrap();
    disk.write("left.yaml", &named("b").replace("name: net", "name: left").replace("a/net", "a/left"));
    let report = world.pass().await;
    assert!(problem(&report, Reason::PathHasState).message.contains("tofustate.io/adopt"));
    disk.write("ns.yaml", &namespace("tofustate.io/path-prefixes: a, tofustate.io/adopt: a/left"));
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(paths(&report), ["a/left", "a/net"]);
}

#[tokio::test]
async fn a_suspended_resource_is_served_as_it_was() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("net.yaml", &manifest("net", "a/net"));
    disk.write("new.yaml", &manifest_with("new", "a/new", "  suspend: true\n"));
    let mut world = disk.start(&kv);
    let report = world.pass().await;
    problem(&report, Reason::Suspended);
    assert_eq!(paths(&report), ["a/net"]);
    disk.remove("new.yaml");
    disk.write("net.yaml", &manifest_with("net", "a/net", "  suspend: true\n  maxSize: 1Ki\n"));
    let report = world.pass().await;
    problem(&report, Reason::Suspended);
    assert_eq!((paths(&report), report.changes.len()), (vec!["a/net"], 0));
    assert_eq!(paths(&disk.start(&kv).pass().await), ["a/net"], "after a restart, too");
    disk.write("net.yaml", &manifest_with("net", "a/net", "  maxSize: 1Ki\n"));
    assert_eq!(changes(&world.pass().await), [("a/net", ChangeKind::Settings)]);
}

#[track_caller]
fn embedded(folder: &Path) -> Arc<dyn Kv> {
    Arc::new(EmbeddedKv::open(folder).unwrap())
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from.join("states.redb"), to.join("states.redb")).unwrap();
}

#[tokio::test]
async fn a_restart_keeps_tokens_and_notices_a_store_that_was_set_back_or_lost() {
    let disk = Disk::new();
    let saved = TempDir::new().unwrap();
    disk.write("net.yaml", &manifest("net", "a/net"));
    let run = |kv: Arc<dyn Kv>, accept: bool| {
        Disk::start_with(FolderOptions { accept_restore: accept, ..disk.options() }, &kv)
    };

    let mut world = run(embedded(&disk.data()), false);
    let report = world.pass().await;
    let token = report.generated[0].token.expose().clone();
    world.store("a/net", STATE).await;
    drop(world);
    copy(&disk.data(), saved.path());

    // Runs and ends as a process does: its record is written at the end.
    let World { folder, registry } = run(embedded(&disk.data()), false);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(folder.run(quiet, stopped));
    until(|| registry.is_loaded()).await;
    let backend = registry.get(&StatePath::parse("a/net").unwrap()).unwrap();
    assert!(backend.credentials[0].hash.matches(&CredentialHash::of(&token)), "the token is the same");
    let newer = br#"{"version":4,"serial":2,"lineage":"l","resources":[]}"#;
    backend.state.write(WriteCall { identity: "token", ..WriteCall::default() }, newer, &mut budget()).await.unwrap();
    let mark = backend.state.mark().unwrap();
    stop.send(true).unwrap();
    running.await.unwrap();
    drop((backend, registry));
    let record = fs::read_to_string(disk.data().join("records/a/net.json")).unwrap();
    assert!(
        record.contains(&format!("\"headEpoch\":\"{}\",\"headRevision\":{}", mark.epoch, mark.revision)),
        "{record}"
    );

    // Set back: every verb says so, also after another restart, until a person accepts it.
    copy(saved.path(), &disk.data());
    for _ in 0..2 {
        let mut world = run(embedded(&disk.data()), false);
        let report = world.pass().await;
        let said = problem(&report, Reason::StoreWentBack).to_string();
        assert!(said.contains("--accept-restore") && said.contains("503"), "{said}");
        assert_eq!(report.served[0].fault, Some(Reason::StoreWentBack));
        assert!(world.admits("a/net", &token).is_some());
        let read = world.state("a/net").read(&mut budget()).await;
        assert!(matches!(read, Err(StateError::HeadBehind { .. })));
    }
    let mut world = run(embedded(&disk.data()), true);
    let report = world.pass().await;
    quiet(&report);
    let reader = world.state("a/net").read(&mut budget()).await.unwrap().unwrap();
    assert_eq!(reader.read_to_end(&mut budget()).await.unwrap(), STATE);
    drop(world);
    let mut world = run(embedded(&disk.data()), false);
    quiet(&world.pass().await);
    drop(world);

    // Lost.
    fs::remove_file(disk.data().join("states.redb")).unwrap();
    let mut world = run(embedded(&disk.data()), false);
    let report = world.pass().await;
    let said = problem(&report, Reason::HeadLost).to_string();
    assert!(said.contains("--accept-restore") && said.contains("build everything"), "{said}");
    assert_eq!((report.generated.len(), report.served[0].fault), (0, Some(Reason::HeadLost)));
    let read = world.state("a/net").read(&mut budget()).await;
    assert!(matches!(read, Err(StateError::HeadLost { .. })));
    assert_eq!(world.pass().await.problems.len(), 1);
    drop(world);
    let mut world = run(embedded(&disk.data()), true);
    quiet(&world.pass().await);
    assert!(world.state("a/net").read(&mut budget()).await.unwrap().is_none());
    drop(world);
    let mut world = run(embedded(&disk.data()), false);
    quiet(&world.pass().await);
    assert!(world.admits("a/net", &token).is_some());
}

#[tokio::test]
async fn a_damaged_file_of_the_data_folder_is_never_taken_for_none() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("net.yaml", &(manifest("net", "a/net") + &manifest("ok", "a/ok")));
    disk.start(&kv).pass().await;
    let (record, token) = (disk.data().join("records/a/net.json"), disk.data().join("tokens/a/net"));
    for (file, text) in [(&record, "{"), (&token, "")] {
        let good = fs::read(file).unwrap();
        fs::write(file, text).unwrap();
        let mut world = disk.start(&kv);
        for _ in 0..2 {
            let report = world.pass().await;
            let found = problem(&report, Reason::DataFile);
            assert_eq!(&*found.place.as_ref().unwrap().file, file.as_path());
            assert!(found.message.contains("not served") && report.again, "{found}");
            assert_eq!(paths(&report), ["a/ok"]);
            assert_eq!(fs::read_to_string(file).unwrap(), text);
        }
        fs::write(file, good).unwrap();
        let report = world.pass().await;
        quiet(&report);
        assert_eq!(paths(&report), ["a/net", "a/ok"]);
    }
}

#[tokio::test]
async fn the_epoch_is_on_the_disk_before_a_path_is_served() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("net.yaml", &manifest("net", "a/net"));
    let mut world = disk.start(&kv);
    // Nothing can be written there.
    fs::remove_dir(disk.data().join("records")).unwrap();
    fs::write(disk.data().join("records"), "").unwrap();
    let report = world.pass().await;
    assert!(report.problems.iter().all(|problem| problem.reason == Reason::DataFile), "{:?}", report.problems);
    assert!(paths(&report).is_empty() && report.again, "{:?}", report.served);
    // There is none, and none can be made: the path is known and cannot be used yet.
    fs::remove_file(disk.data().join("records")).unwrap();
    fs::create_dir(disk.data().join("records")).unwrap();
    symlink("nowhere", disk.data().join("records/a")).unwrap();
    let report = world.pass().await;
    assert_eq!((report.served[0].fault, report.again), (Some(Reason::DataFile), true));
    assert!(world.state("a/net").read(&mut budget()).await.is_err());
    fs::remove_file(disk.data().join("records/a")).unwrap();
    let report = world.pass().await;
    quiet(&report);
    assert_eq!((report.served[0].fault, changes(&report)), (None, vec![("a/net", ChangeKind::Fault)]));
    assert!(world.state("a/net").read(&mut budget()).await.unwrap().is_none());
    assert!(disk.data().join("records/a/net.json").exists());
}

/// A store that can be away.
struct Flaky {
    kv: Arc<dyn Kv>,
    away: AtomicBool,
}

impl Flaky {
    fn check(&self) -> Result<(), KvError> {
        let message = "away for a test".to_owned();
        if self.away.load(Ordering::SeqCst) { Err(KvError::Unavailable { retry_after: None, message }) } else { Ok(()) }
    }
}

#[async_trait]
impl Kv for Flaky {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.check()?;
        self.kv.get(key).await
    }
    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        self.check()?;
        self.kv.put(key, value, expect).await
    }
    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        self.check()?;
        self.kv.delete_part(key).await
    }
    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        self.check()?;
        self.kv.list_parts(prefix).await
    }
    fn now(&self) -> Timestamp {
        self.kv.now()
    }
    fn part_bytes(&self) -> usize {
        self.kv.part_bytes()
    }
}

async fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "it did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn while_the_store_is_away_paths_are_served_with_an_error() {
    let disk = Disk::new();
    let flaky = Arc::new(Flaky { kv: memory(), away: AtomicBool::new(false) });
    let kv: Arc<dyn Kv> = flaky.clone();
    disk.write("old.yaml", &manifest("old", "a/old"));
    let mut world = disk.start(&kv);
    quiet(&world.pass().await);
    let old = world.state("a/old");
    flaky.away.store(true, Ordering::SeqCst);
    for n in 0..40 {
        disk.write(&format!("new{n}.yaml"), &manifest(&format!("new{n}"), &format!("a/new{n}")));
    }
    let report = world.pass().await;
    assert_eq!((report.served.len(), report.problems.len(), report.again), (41, 40, true));
    assert!(report.problems.iter().all(|problem| problem.reason == Reason::StoreUnavailable));
    assert!(world.state("a/old").is(&old), "what was open stays so");
    let mut short = Budget::new(Duration::from_millis(100));
    assert!(matches!(world.state("a/new0").read(&mut short).await, Err(StateError::Unavailable { .. })));
    flaky.away.store(false, Ordering::SeqCst);
    // Before the next pass, nothing can be done with it either.
    assert!(world.state("a/new0").read(&mut budget()).await.is_err());
    let report = world.pass().await;
    quiet(&report);
    assert_eq!((report.served.len(), changes(&report).len()), (41, 40));
    assert!(world.state("a/new0").read(&mut budget()).await.unwrap().is_none());
}

#[tokio::test]
async fn it_runs_until_it_is_stopped() {
    let (disk, kv) = (Disk::new(), memory());
    let world = disk.start(&kv);
    let registry = world.registry.clone();
    let reports = Arc::new(Mutex::new(0));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let counted = reports.clone();
    let running = tokio::spawn(world.folder.run(move |_| *counted.lock().unwrap() += 1, stopped));
    until(|| registry.is_loaded()).await;
    disk.write("net.yaml", &manifest("net", "a/net"));
    until(|| registry.all().len() == 1).await;
    let record = disk.data().join("records/a/net.json");
    let before = fs::read(&record).unwrap();
    let state = registry.all()[0].state.clone();
    state.write(WriteCall { identity: "token", ..WriteCall::default() }, STATE, &mut budget()).await.unwrap();
    until(|| fs::read(&record).unwrap() != before).await;
    // As editors do it: a new file in the place of the old one.
    disk.write("net.yaml.tmp", &manifest("other", "a/other"));
    fs::rename(disk.manifests().join("net.yaml.tmp"), disk.manifests().join("net.yaml")).unwrap();
    until(|| registry.all().first().is_some_and(|backend| backend.path().as_str() == "a/other")).await;
    let passes = *reports.lock().unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(*reports.lock().unwrap(), passes, "nothing changed, nothing is said");
    drop(stop);
    running.await.unwrap();
}

/// The restored store remembers an older claim than the head.
#[tokio::test]
async fn a_claim_behind_its_head_is_raised() {
    let (disk, kv) = (Disk::new(), memory());
    let path = StatePath::parse("a/net").unwrap();
    let who = Claimant { instance: "test".into(), namespace: "a".into(), name: "net".into(), uid: None };
    let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
    let state = engine.open(tofustate::store::Registration {
        path: path.clone(),
        kv: kv.clone(),
        owner: who.owner(5),
        mark: None,
        settings: tofustate::store::Settings::default(),
    });
    state.register(&mut budget()).await.unwrap();
    disk.write("net.yaml", &manifest("net", "a/net"));
    let mut world = disk.start(&kv);
    quiet(&world.pass().await);
    assert_eq!(world.state("a/net").head(&mut budget()).await.unwrap().owner, who.owner(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_resources() {
    let (disk, kv) = (Disk::new(), memory());
    for file in 0..200 {
        let resource = |n: usize| manifest(&format!("r{file}-{n}"), &format!("a/{file}/{n}"));
        disk.write(&format!("{}/{file}.yaml", file % 7), &(0..10).map(resource).collect::<String>());
    }
    let mut world = disk.start(&kv);
    let began = Instant::now();
    let report = world.pass().await;
    println!("first pass: {:?}", began.elapsed());
    assert_eq!((report.served.len(), report.generated.len()), (2000, 2000));
    quiet(&report);
    disk.write("0/0.yaml", &manifest_with("r0-0", "a/0/0", "  maxSize: 1Ki\n"));
    let began = Instant::now();
    let report = world.pass().await;
    println!("one change: {:?}", began.elapsed());
    assert_eq!((report.served.len(), report.changes.len()), (1991, 10));
    assert!(began.elapsed() < Duration::from_secs(10));
}
