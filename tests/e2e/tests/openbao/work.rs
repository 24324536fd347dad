//! States of the engine over OpenBao, and clients at work on one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tofustate::{
    openbao::{Bao, Settings as Connection},
    store::{
        Budget, Engine, EngineOptions, Kv, LockCall, Registration, Settings, State, StateError, StatePath, WriteCall,
        head::{Owner, Refusal},
    },
    telemetry::{EngineMetrics, OpenBaoMetrics},
};
use tofustate_e2e::{
    ask::noisy_state,
    bao::{self, fixture},
};
use tokio::{task::JoinSet, time::sleep};

use crate::world::{kv, run, settings};

pub(crate) fn budget() -> Budget {
    Budget::new(Duration::from_secs(25))
}

/// The state as one replica has it.
pub(crate) fn open(path: &str, kv: Arc<dyn Kv>) -> State {
    let owner =
        Owner { instance: "test".into(), namespace: "team".into(), name: "app".into(), claim: 1, released: false };
    let path = StatePath::parse(path).unwrap();
    let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
    engine.open(Registration { path, kv, owner, mark: None, settings: Settings::default() })
}

pub(crate) async fn post(state: &State, lock: Option<&str>, body: &[u8]) -> Result<Option<u64>, StateError> {
    let call = WriteCall { lock, identity: "test", ..WriteCall::default() };
    state.write(call, body, &mut budget()).await.map(|done| done.version)
}

pub(crate) async fn pull(state: &State) -> Result<Option<Vec<u8>>, StateError> {
    match state.read(&mut budget()).await? {
        Some(reader) => reader.read_to_end(&mut budget()).await.map(Some),
        None => Ok(None),
    }
}

/// Clients at work on one state, each on a replica of its own.
#[derive(Default)]
pub(crate) struct Work {
    stop: AtomicBool,
    /// Who holds the lock, and how many cycles were done.
    holders: AtomicU64,
    cycles: AtomicU64,
    refused: AtomicU64,
    serial: AtomicU64,
}

impl Work {
    async fn client(&self, state: State, name: usize) {
        let mut round = 0;
        while !self.stop.load(Ordering::Relaxed) {
            round += 1;
            let id = format!("{name}-{round}");
            let info = format!(r#"{{"ID":"{id}","Operation":"apply","Who":"client{name}"}}"#);
            let lock = LockCall { info: info.as_bytes(), identity: "test", ..LockCall::default() };
            match state.lock(lock, &mut budget()).await {
                Ok(()) => {}
                Err(StateError::Refused(Refusal::Held(_))) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(30)).await;
                    continue;
                }
                Err(error) => panic!("LOCK of {id}: {error}"),
            }
            assert_eq!(self.holders.fetch_add(1, Ordering::SeqCst), 0, "{id} was granted a lock that is held");
            let before = self.serial.load(Ordering::SeqCst);
            let found = pull(&state).await.unwrap_or_else(|error| panic!("GET of {id}: {error}"));
            let expected = (before > 0).then(|| noisy_state(before, size(before)));
            assert!(found == expected, "{id} did not read what was written last, serial {before}");
            let next = noisy_state(before + 1, size(before + 1));
            post(&state, Some(&id), &next).await.unwrap_or_else(|error| panic!("POST of {id}: {error}"));
            self.serial.store(before + 1, Ordering::SeqCst);
            let found = pull(&state).await.unwrap_or_else(|error| panic!("GET of {id}: {error}"));
            assert!(found == Some(next), "{id} did not read what it wrote");
            self.holders.fetch_sub(1, Ordering::SeqCst);
            let unlocked = state.unlock(info.as_bytes(), "test", &mut budget()).await;
            unlocked.unwrap_or_else(|error| panic!("UNLOCK of {id}: {error}"));
            self.cycles.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) async fn goes_on(&self, more: u64) {
        let before = self.cycles.load(Ordering::Relaxed);
        while self.cycles.load(Ordering::Relaxed) < before + more {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Some stand in the head, some in parts.
fn size(serial: u64) -> usize {
    if serial.is_multiple_of(3) { 300_000 } else { 2_000 }
}

/// Has clients on three replicas at work while `happens` runs; gives how many cycles they did.
pub(crate) fn at_work(server: &mut bao::Bao, happens: impl AsyncFnOnce(&mut bao::Bao, &Work)) -> u64 {
    let token = fixture::states(&server.api());
    let work = Arc::new(Work::default());
    run(async {
        let nodes: Vec<usize> = (0..server.nodes()).collect();
        let mut clients = JoinSet::new();
        for name in 0..3 {
            let settings = Connection { call_timeout: Duration::from_secs(5), ..settings(server, &nodes) };
            let state = open("team/app", Arc::new(kv(&Bao::new(settings, OpenBaoMetrics::default()).unwrap(), &token)));
            state.register(&mut budget()).await.unwrap();
            let work = work.clone();
            clients.spawn(async move { work.client(state, name).await });
        }
        tokio::select! {
            Some(ended) = clients.join_next() => ended.expect("no client ends before its time"),
            () = happens(server, &work) => {}
        }
        work.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    });
    work.cycles.load(Ordering::Relaxed)
}
