//! The active node: found from any address, followed through every way in which it stops being it, and never mistaken.

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
    kv_conformance::{document, entry},
    world::{connect, insist, kv, off, run, settings},
};

#[test]
fn a_client_that_knows_a_standby_only_reads_what_was_written() {
    let setup = Setup { nodes: 3, openbao_only: true, ..Setup::default() };
    let Some(server) = setup.start("a_client_that_knows_a_standby_only_reads_what_was_written") else { return };
    let token = fixture::states(&server.api());
    let standby = server.standby();
    let bao = Bao::new(settings(&server, &[standby]), OpenBaoMetrics::default()).unwrap();
    run(async {
        let kv = kv(&bao, &token);
        let mut revision = kv.put("team/app", &document("0"), Expect::Absent).await.unwrap();
        for round in 1..=1_000 {
            let value = document(&round.to_string());
            revision = kv.put("team/app", &value, Expect::At(revision)).await.unwrap();
            let read = entry(&kv, "team/app").await;
            assert!(read.value == value && read.revision == revision, "stale in round {round}: {:?}", read.revision);
        }
        assert_eq!(bao.active().await.unwrap().address.to_string(), server.url(server.active()));
    });
}

/// Writes on and on under one key, and reads it from several others at the same time. Every read must be at least as new
/// as the last write that was acknowledged before it began.
struct Traffic {
    stop: AtomicBool,
    written: AtomicU64,
    reads: AtomicU64,
    /// Those of a client that knows a standby only.
    by_standby: AtomicU64,
}

/// How many writes and reads come between two events.
const SOME: u64 = 200;

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
async fn write_once(kv: &OpenBaoKv, number: u64, revision: Revision) -> Result<Revision, KvError> {
    match kv.put("team/app", &text(number), Expect::At(revision)).await {
        Err(KvError::CasMismatch) => {
            let found = kv.get("team/app").await?.expect("the entry is there");
            assert_eq!(found.value, text(number), "somebody else wrote");
            Ok(found.revision)
        }
        done => done,
    }
}

fn text(number: u64) -> Value {
    document(&number.to_string())
}

/// Has traffic through connections that each know one node, all the time while `happens` runs.
fn under_traffic(name: &str, happens: impl AsyncFnOnce(&mut bao::Bao, &Traffic)) {
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
    assert!(written >= 1_000 && reads >= 1_000 && by_standby > 0, "{written} writes, {reads} reads, {by_standby}");
}

impl Traffic {
    /// Waits for more writes and reads.
    async fn goes_on(&self, more: u64) {
        let (written, reads) = (self.written.load(Ordering::Relaxed), self.reads.load(Ordering::Relaxed));
        while self.written.load(Ordering::Relaxed) < written + more || self.reads.load(Ordering::Relaxed) < reads + more
        {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[test]
fn the_leader_steps_down_and_nobody_reads_the_past() {
    under_traffic("the_leader_steps_down_and_nobody_reads_the_past", async |server, traffic| {
        for _ in 0..5 {
            traffic.goes_on(SOME).await;
            // Where nobody else is ready, it becomes active again.
            off(|| server.step_down());
        }
        traffic.goes_on(SOME).await;
    });
}

#[test]
fn the_leader_is_killed_and_nobody_reads_the_past() {
    under_traffic("the_leader_is_killed_and_nobody_reads_the_past", async |server, traffic| {
        for _ in 0..3 {
            traffic.goes_on(SOME).await;
            let former = off(|| {
                let former = server.active();
                server.kill(former);
                former
            });
            traffic.goes_on(SOME).await;
            off(|| {
                server.restart(former);
                server.settled();
            });
        }
        traffic.goes_on(SOME).await;
    });
}

#[test]
fn the_leader_is_frozen_and_nobody_waits_for_it() {
    under_traffic("the_leader_is_frozen_and_nobody_waits_for_it", async |server, traffic| {
        for _ in 0..2 {
            traffic.goes_on(SOME).await;
            let former = off(|| {
                let former = server.active();
                server.freeze(former);
                former
            });
            traffic.goes_on(SOME).await;
            // It may still take itself for the leader, for a moment.
            off(|| server.thaw(former));
            traffic.goes_on(SOME).await;
            // OpenBao 2.6.2 does not always come to itself again when requests were under way: then it answers nobody.
            off(|| {
                server.kill(former);
                server.restart(former);
                server.settled();
            });
        }
        traffic.goes_on(SOME).await;
    });
}

#[test]
fn the_leader_is_sealed_and_nobody_reads_the_past() {
    under_traffic("the_leader_is_sealed_and_nobody_reads_the_past", async |server, traffic| {
        for _ in 0..3 {
            traffic.goes_on(SOME).await;
            let former = off(|| {
                let former = server.seal();
                server.active_but(former);
                former
            });
            traffic.goes_on(SOME).await;
            off(|| {
                server.unseal(former);
                server.settled();
            });
        }
        traffic.goes_on(SOME).await;
    });
}

#[test]
fn nothing_that_was_read_before_a_restore_is_written_upon_after_it() {
    let name = "nothing_that_was_read_before_a_restore_is_written_upon_after_it";
    let Some(server) = Setup::default().start(name) else { return };
    let token = fixture::states(&server.api());
    run(async {
        let (warm, other) = (connect(&server), connect(&server));
        let (warm, other) = (kv(&warm, &token), kv(&other, &token));
        let first = warm.put("team/app", &document("before"), Expect::Absent).await.unwrap();
        let generation = warm.generation();
        let snapshot = off(|| server.snapshot());
        let second = warm.put("team/app", &document("lost"), Expect::At(first)).await.unwrap();
        assert_eq!(warm.generation(), generation);
        off(|| server.restore(&snapshot));
        // Another comes first, and the revision is used again.
        let found = insist("read", || other.get("team/app")).await.expect("the entry is there");
        assert_eq!((found.value, found.revision), (document("before"), first));
        let again = insist("write", || write_once(&other, 7, first)).await;
        assert_eq!(again, second);
        let stale = warm.put("team/app", &document("stale"), Expect::At(second)).await;
        assert!(matches!(stale, Err(KvError::Unavailable { .. })), "{stale:?}");
        assert_eq!(entry(&warm, "team/app").await.value, text(7));
        assert_ne!(warm.generation(), generation, "what was read before may not be built upon");
    });
}
