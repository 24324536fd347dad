//! A store that is away, or remembers other claims; many resources.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tofustate::{
    registry::folder::{FolderOptions, Reason},
    store::{
        Engine, EngineOptions, Entry, Expect, Kv, KvError, Listed, Revision, StateError, StatePath, Value, WriteCall,
        owners::{self, Claimant},
    },
    telemetry::EngineMetrics,
};

use crate::world::*;

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
    flaky.away.store(false, Ordering::SeqCst);
    // Before the next pass, nothing can be done with it either: it is said at once, with the reason.
    let Err(StateError::Store { error: KvError::Closed(said), .. }) = world.state("a/new0").read(&mut budget()).await
    else {
        panic!("a path that is not claimed is read");
    };
    assert!(said.contains("away for a test") && said.contains("tried again"), "{said}");
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

fn who(name: &str) -> Claimant {
    Claimant { instance: "test".into(), namespace: "a".into(), name: name.into(), uid: None }
}

/// Another replica, or another data folder, had the path before: a head that is not there may have been lost.
#[tokio::test]
async fn a_path_that_was_claimed_before_and_has_no_head_is_no_new_state() {
    let path = StatePath::parse("a/net").unwrap();
    for exclusive in [false, true] {
        let (disk, embedded) = (Disk::new(), memory());
        let kv: Arc<dyn Kv> =
            if exclusive { embedded } else { Arc::new(Flaky { kv: embedded, away: AtomicBool::new(false) }) };
        owners::claim(&*kv, &path, &who("net"), false, &mut budget()).await.unwrap();
        disk.write("net.yaml", &manifest("net", "a/net"));
        let mut world = disk.start(&kv);
        let report = world.pass().await;
        if exclusive {
            // Nobody else writes there: this process ended between the two.
            quiet(&report);
            continue;
        }
        assert_eq!(report.problems.iter().map(|problem| problem.reason).collect::<Vec<_>>(), [Reason::HeadLost]);
        let refused = world.state("a/net").read(&mut budget()).await.map(drop).unwrap_err().to_string();
        assert!(refused.contains("--accept-restore"), "{refused}");
        assert!(kv.get("a/net").await.unwrap().is_none(), "no head was made");
        drop(world);
        let mut world = Disk::start_with(FolderOptions { accept_restore: true, ..disk.options() }, &kv);
        quiet(&world.pass().await);
        assert!(world.state("a/net").read(&mut budget()).await.unwrap().is_none());
    }
}

/// A resource was renamed and its owner entry removed by hand: the other name still gets in.
#[tokio::test]
async fn a_claim_is_given_back_where_the_head_is_anothers() {
    let (disk, kv, path) = (Disk::new(), memory(), StatePath::parse("a/net").unwrap());
    let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
    let state = engine.open(tofustate::store::Registration {
        path: path.clone(),
        kv: kv.clone(),
        owner: who("net").owner(1),
        mark: None,
        settings: tofustate::store::Settings::default(),
    });
    state.register(&mut budget()).await.unwrap();
    state.write(WriteCall { identity: "token", ..WriteCall::default() }, STATE, &mut budget()).await.unwrap();
    disk.write("net.yaml", &manifest("uno", "a/net"));
    let mut world = disk.start(&kv);
    let report = world.pass().await;
    assert_eq!(report.problems.iter().map(|problem| problem.reason).collect::<Vec<_>>(), [Reason::PathConflict]);
    disk.write("net.yaml", &manifest("net", "a/net"));
    let report = world.pass().await;
    quiet(&report);
    let read = world.state("a/net").read(&mut budget()).await.unwrap().unwrap();
    assert_eq!(read.read_to_end(&mut budget()).await.unwrap(), STATE);
}

/// The restored store remembers an older claim than the head.
#[tokio::test]
async fn a_claim_behind_its_head_is_raised() {
    let (disk, kv) = (Disk::new(), memory());
    let path = StatePath::parse("a/net").unwrap();
    let who = who("net");
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
}
