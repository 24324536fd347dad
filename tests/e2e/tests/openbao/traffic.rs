//! One who writes and many who read, all the time while something happens to the leader.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tofustate::{
    openbao::{Bao, OpenBaoKv},
    store::{Expect, Kv, KvError, Revision, Value},
    telemetry::OpenBaoMetrics,
};
use tofustate_e2e::bao::{self, Setup, fixture};
use tokio::time::sleep;

use crate::{
    kv_conformance::document,
    world::{insist, kv, run, settings},
};

/// Writes on and on under one key, and reads it from several others at the same time. Every read must be at least as new
/// as the last write that was acknowledged before it began.
pub(crate) struct Traffic {
    stop: AtomicBool,
    written: AtomicU64,
    reads: AtomicU64,
    /// Those of a client that knows a standby only.
    by_standby: AtomicU64,
}

/// How many writes and reads come between two events.
pub(crate) const SOME: u64 = 200;

impl Traffic {
    async fn write(&self, kv: OpenBaoKv) {
        let mut number = 0;
        let mut revision = kv.put("team/app", &text(0), Expect::Absent).await.unwrap();
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            revision = insist("write", || write_once(&kv, number, revision)).await;
            self.written.store(number, Ordering::SeqCst);
        }
    }

    async fn read(&self, kv: OpenBaoKv) {
        let mut last = Revision(0);
        while !self.stop.load(Ordering::Relaxed) {
            let least = self.written.load(Ordering::SeqCst);
            let found = insist("read", || kv.get("team/app")).await;
            let Some(found) = found else { continue };
            let Value::Document(text) = &found.value else { panic!("{found:?}") };
            let number: u64 = text.parse().unwrap();
            assert!(number >= least, "a stale read: {number}, and {least} was acknowledged before it began");
            assert!(found.revision.0 >= last.0, "a read went back");
            last = found.revision;
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As `read`, of a client whose only node may be away itself: then it reads nothing.
    async fn read_by_standby(&self, kv: OpenBaoKv) {
        while !self.stop.load(Ordering::Relaxed) {
            let least = self.written.load(Ordering::SeqCst);
            match kv.get("team/app").await {
                Ok(Some(found)) => {
                    let Value::Document(text) = &found.value else { panic!("{found:?}") };
                    let number: u64 = text.parse().unwrap();
                    assert!(number >= least, "a stale read by way of a standby: {number} after {least}");
                    self.by_standby.fetch_add(1, Ordering::Relaxed);
                }
                // Nothing was written yet.
                Ok(None) if least == 0 => {}
                Err(KvError::Unavailable { .. }) => sleep(Duration::from_millis(50)).await,
                other => panic!("a read by way of a standby: {other:?}"),
            }
        }
    }
}

/// A write whose answer was lost is looked for, as the engine does.
pub(crate) async fn write_once(kv: &OpenBaoKv, number: u64, revision: Revision) -> Result<Revision, KvError> {
    match kv.put("team/app", &text(number), Expect::At(revision)).await {
        Err(KvError::CasMismatch) => {
            let found = kv.get("team/app").await?.expect("the entry is there");
            assert_eq!(found.value, text(number), "somebody else wrote");
            Ok(found.revision)
        }
        done => done,
    }
}

pub(crate) fn text(number: u64) -> Value {
    document(&number.to_string())
}

/// Has traffic through connections that each know one node, all the time while `happens` runs.
pub(crate) fn under_traffic(name: &str, happens: impl AsyncFnOnce(&mut bao::Bao, &Traffic)) {
    let setup = Setup { nodes: 3, openbao_only: true, ..Setup::default() };
    let Some(mut server) = setup.start(name) else { return };
    let token = fixture::states(&server.api());
    let traffic = Arc::new(Traffic { stop: false.into(), written: 0.into(), reads: 0.into(), by_standby: 0.into() });
    run(async {
        let mut tasks = tokio::task::JoinSet::new();
        let all: Vec<usize> = (0..server.nodes()).collect();
        for reader in 0..4 {
            // All know all nodes: of one that is away nobody could be told who is active.
            let mut nodes = all.clone();
            nodes.rotate_left(reader % 3);
            let kv = kv(&Bao::new(settings(&server, &nodes), OpenBaoMetrics::default()).unwrap(), &token);
            let traffic = traffic.clone();
            tasks.spawn(async move { if reader == 0 { traffic.write(kv).await } else { traffic.read(kv).await } });
        }
        let standby = kv(&Bao::new(settings(&server, &[server.standby()]), OpenBaoMetrics::default()).unwrap(), &token);
        let shared = traffic.clone();
        tasks.spawn(async move { shared.read_by_standby(standby).await });
        let watch = async {
            if let Some(ended) = tasks.join_next().await {
                ended.unwrap();
                panic!("traffic ended early");
            }
        };
        tokio::select! {
            () = watch => {}
            () = happens(&mut server, &traffic) => {}
        }
        traffic.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
    let (written, reads) = (traffic.written.load(Ordering::Relaxed), traffic.reads.load(Ordering::Relaxed));
    let by_standby = traffic.by_standby.load(Ordering::Relaxed);
    println!("{name}: {written} writes, {reads} reads, {by_standby} by way of a standby, none stale");
    assert!(written >= 1_000 && reads >= 1_000 && by_standby >= 300, "{written} writes, {reads} reads, {by_standby}");
}

impl Traffic {
    /// Waits for more writes and reads.
    pub(crate) async fn goes_on(&self, more: u64) {
        let (written, reads) = (self.written.load(Ordering::Relaxed), self.reads.load(Ordering::Relaxed));
        while self.written.load(Ordering::Relaxed) < written + more || self.reads.load(Ordering::Relaxed) < reads + more
        {
            sleep(Duration::from_millis(10)).await;
        }
    }
}
