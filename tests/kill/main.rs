//! `kill -9` at a random moment, over and over: a process works on states in a folder and says before each request that it
//! begins and after each answer what it was; it is killed, and what the folder holds is compared with what was promised.
//! `KILL_ROUNDS=500 cargo test --test kill` for a long run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod child;
mod clock;
mod ledger;
#[path = "../common/states.rs"]
mod states;

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use clock::Ahead;
use ledger::Ledger;
use rand::RngExt as _;
use tempfile::TempDir;
use tofustate::{
    store::{
        Budget, EmbeddedKv, Engine, EngineOptions, Kv, LockCall, Mark, Registration, Settings, Sha256Sum, State,
        StateError, StatePath,
        head::{Owner, Refusal, Retention},
        keys,
    },
    telemetry::EngineMetrics,
};

/// The states that are worked on.
pub(crate) const PATHS: [&str; 2] = ["team/app", "team/network/production"];
/// So few that what is written is dropped again and again.
pub(crate) const MAX_VERSIONS: u32 = 8;
/// How many lines of the child a round waits for, at most.
const LINES: usize = 400;

#[test]
fn kill_9_at_any_moment_breaks_no_promise() {
    let rounds: u64 = env::var("KILL_ROUNDS").map_or(40, |rounds| rounds.parse().unwrap());
    let folder = TempDir::new().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut ledger = Ledger::default();
    let mut random = rand::rng();
    for round in 0..rounds {
        let marks = ledger.marks();
        let (lines, wait) = (random.random_range(0..LINES), Duration::from_micros(random.random_range(0..4_000)));
        let said = run_and_kill(folder.path(), round, &marks, lines, wait);
        ledger.read(round, &said);
        runtime.block_on(check(folder.path(), &mut ledger, random.random_ratio(1, 4)));
    }
    let summary = ledger.summary();
    eprintln!("{rounds} kills: {summary}");
    if rounds >= 30 {
        ledger.must_have_seen_enough();
    }
}

/// Not a test: the process that is killed, as this same binary.
#[test]
fn as_the_child() {
    if let Some(folder) = env::var_os("TOFUSTATE_KILL_FOLDER") {
        child::run(Path::new(&folder));
    }
}

/// A child that does not outlive the test, whatever happens to the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // An error: it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the child until it has said so many lines and `wait` is over. Answers all that it said.
fn run_and_kill(folder: &Path, life: u64, marks: &[Option<Mark>], lines: usize, wait: Duration) -> Vec<String> {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "as_the_child", "--nocapture", "--test-threads=1"])
        .env("TOFUSTATE_KILL_FOLDER", folder)
        .env("TOFUSTATE_KILL_LIFE", life.to_string())
        .env("TOFUSTATE_KILL_MARKS", marks.iter().map(show).collect::<Vec<_>>().join(" "))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let stdout = child.0.stdout.take().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let parent = thread::current();
    let reader = thread::spawn({
        let seen = Arc::clone(&seen);
        move || {
            let mut said = Vec::new();
            for line in BufReader::new(stdout).lines() {
                said.push(line.unwrap());
                seen.fetch_add(1, Ordering::Release);
                parent.unpark();
            }
            seen.store(usize::MAX, Ordering::Release);
            parent.unpark();
            said
        }
    });
    while seen.load(Ordering::Acquire) < lines {
        thread::park_timeout(Duration::from_secs(60));
    }
    // The random moment itself.
    thread::sleep(wait);
    let ended = child.0.try_wait().unwrap();
    drop(child);
    let said = reader.join().unwrap();
    assert!(ended.is_none(), "the child ended by itself ({ended:?}):\n{}", tail(&said));
    said
}

fn tail(said: &[String]) -> String {
    said[said.len().saturating_sub(40)..].join("\n")
}

fn show(mark: &Option<Mark>) -> String {
    mark.map_or_else(|| "-".to_owned(), |mark| format!("{}:{}", mark.epoch, mark.revision))
}

/// Opens one of the states.
pub(crate) fn open(engine: &Engine, kv: Arc<dyn Kv>, path: &str, mark: Option<Mark>) -> State {
    let owner =
        Owner { instance: "test".into(), namespace: "team".into(), name: "app".into(), claim: 1, released: false };
    let retention = Retention { max_versions: MAX_VERSIONS, ..Retention::default() };
    let settings = Settings { retention, ..Settings::default() };
    engine.open(Registration { path: StatePath::parse(path).unwrap(), kv, owner, mark, settings })
}

pub(crate) fn engine() -> Engine {
    Engine::new(EngineOptions::default(), EngineMetrics::default())
}

pub(crate) fn budget() -> Budget {
    Budget::new(Duration::from_secs(25))
}

/// The LockInfo that goes with an id.
pub(crate) fn lock_info(id: &str) -> String {
    format!(r#"{{"ID":"{id}", "Operation":"OperationTypeApply","Who":"test@kill","Version":"1.12.6","Info":""}}"#)
}

/// Holds what is in the folder against the ledger. `sweep`: also that what broken uploads left is found and goes.
async fn check(folder: &Path, ledger: &mut Ledger, sweep: bool) {
    let kv = EmbeddedKv::open(folder).unwrap_or_else(|error| panic!("after the kill: {error}"));
    let kv = Arc::new(Ahead::new(Arc::new(kv)));
    let engine = engine();
    for (index, path) in PATHS.iter().enumerate() {
        // A head that is gone or went back in time is refused here.
        let state = open(&engine, kv.clone(), path, ledger.marks()[index]);
        let registered = state.register(&mut budget()).await;
        registered.unwrap_or_else(|error| panic!("{path}: {error}\n{}", ledger.tail()));
        let head = state.head(&mut budget()).await.unwrap();
        ledger.settle(index, &head);
        for version in &head.versions {
            let read = match state.read_version(version.number, &mut budget()).await {
                Ok(reader) => reader.read_to_end(&mut budget()).await,
                Err(error) => Err(error),
            };
            let body = read.unwrap_or_else(|error| panic!("{path}: {error}\n{}", ledger.tail()));
            assert_eq!(Sha256Sum::of(&body), version.sha256, "{path} version {}", version.number);
        }
        locks_hold(&state, ledger, index).await;
        if sweep {
            leftovers_go(&state, &kv, ledger).await;
            kv.back_to_now();
        }
        ledger.see(index, state.mark().unwrap());
    }
}

/// Asks for the lock as clients do.
async fn locks_hold(state: &State, ledger: &Ledger, index: usize) {
    let before = state.mark();
    let ask = |id: String| async move {
        let info = lock_info(&id);
        state.lock(LockCall { info: info.as_bytes(), identity: "probe", ..LockCall::default() }, &mut budget()).await
    };
    if let Some(id) = ledger.holder(index) {
        ask(id.to_owned()).await.unwrap_or_else(|error| panic!("the holder's own LOCK: {error}"));
        match ask("another".to_owned()).await {
            Err(StateError::Refused(Refusal::Held(lock))) => assert_eq!((&*lock.id, lock.info), (id, lock_info(id))),
            other => panic!("{id} holds, and another LOCK got {other:?}"),
        }
    } else if let Some(id) = ledger.last_released(index) {
        match ask(id.to_owned()).await {
            Err(StateError::Refused(Refusal::LateRepeat { .. })) => {}
            other => panic!("{id} was released, and its LOCK again got {other:?}"),
        }
    }
    if let Some(id) = ledger.last_released(index) {
        let again = state.unlock(lock_info(id).as_bytes(), "probe", &mut budget()).await.unwrap();
        assert_eq!(again, None, "{id} was released before");
    }
    assert_eq!(state.mark(), before, "a question changed the head");
}

/// Two hours later the sweep finds exactly what no head names, and another two hours later nothing else is there than
/// what the versions are made of.
async fn leftovers_go(state: &State, kv: &Ahead, ledger: &mut Ledger) {
    let head = state.head(&mut budget()).await.unwrap();
    let prefix = keys::versions(state.path());
    let objects = async || -> BTreeSet<String> {
        let listed = kv.list_parts(&prefix).await.unwrap();
        listed.iter().map(|part| keys::parse_part(state.path(), &part.key).unwrap().0.to_owned()).collect()
    };
    let lost = objects().await.iter().filter(|name| !head.names(name) && !head.trashed(name)).count();
    kv.hours_later(2);
    assert_eq!(state.sweep().await.unwrap(), lost, "{}", ledger.tail());
    kv.hours_later(4);
    state.maintain().await.unwrap();
    let head = state.head(&mut budget()).await.unwrap();
    let named = head.versions.iter().filter_map(|version| version.body.object());
    assert_eq!(objects().await, named.map(|object| object.name.clone()).collect::<BTreeSet<_>>());
    assert!(head.trash.is_empty(), "{:?}", head.trash);
    for version in &head.versions {
        state.read_version(version.number, &mut budget()).await.unwrap().read_to_end(&mut budget()).await.unwrap();
    }
    ledger.swept(lost);
}
