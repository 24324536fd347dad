//! The engines of a run: each with its own cached head, crashed and started again.

use std::sync::{
    Arc, RwLock,
    atomic::{AtomicU64, Ordering},
};

use tofustate::{
    store::{
        Budget, Engine, EngineOptions, Mark, Registration, Settings, State, StateError, StatePath,
        head::{InlineLimits, Lock, Owner, PatchLimits, Retention},
    },
    telemetry::EngineMetrics,
};

use crate::{
    client::alive,
    world::{PATH, SimClock, SimKv, World},
};

/// How long one request may wait for the store.
pub fn budget() -> Budget {
    Budget::new(std::time::Duration::from_secs(25))
}

/// One engine in its present life.
pub struct Replica {
    pub kv: Arc<SimKv>,
    pub state: State,
}

/// All engines of a run.
pub struct Fleet {
    pub world: Arc<World>,
    slots: Vec<RwLock<Arc<Replica>>>,
    /// The claim that the rightful owner has by now.
    claim: AtomicU64,
    /// What the resource's status says of the head, as new replicas read it.
    status: RwLock<Option<Mark>>,
}

pub fn owner(claim: u64) -> Owner {
    Owner { instance: "test".into(), namespace: "team".into(), name: "app".into(), claim, released: false }
}

impl Fleet {
    pub fn new(world: Arc<World>, size: usize) -> Arc<Self> {
        let slots = (0..size).map(|_| RwLock::new(Arc::new(start(&world, 1, None)))).collect();
        Arc::new(Self { world, slots, claim: 1.into(), status: RwLock::new(None) })
    }

    pub fn size(&self) -> usize {
        self.slots.len()
    }

    /// The engine in that slot, started anew if it crashed.
    pub fn get(&self, slot: usize) -> Arc<Replica> {
        let found = self.slots[slot].read().unwrap().clone();
        if !found.kv.is_dead() {
            return found;
        }
        self.restart(slot)
    }

    pub fn any(&self) -> Arc<Replica> {
        self.get(self.world.below(self.size() as u64) as usize)
    }

    /// A new life for that slot, with the claim and the mark of now.
    pub fn restart(&self, slot: usize) -> Arc<Replica> {
        let fresh = Arc::new(start(&self.world, self.claim(), *self.status.read().unwrap()));
        *self.slots[slot].write().unwrap() = fresh.clone();
        fresh
    }

    pub fn claim(&self) -> u64 {
        self.claim.load(Ordering::Relaxed)
    }

    /// Another claim: replicas of before are stale from the moment that its head lands.
    pub fn raise_claim(&self) {
        self.claim.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes to the status what an engine saw.
    pub fn report(&self, replica: &Replica) {
        let Some(mark) = replica.state.mark() else { return };
        let mut status = self.status.write().unwrap();
        match &mut *status {
            Some(known) if known.epoch == mark.epoch && known.revision >= mark.revision => {}
            slot => *slot = Some(mark),
        }
    }

    /// Breaks a lock through that engine, as a person asks for it.
    pub async fn break_lock(&self, replica: &Replica, id: &str, by: &str) -> Option<Result<Option<Lock>, StateError>> {
        self.world.inner.lock().unwrap().oracle.breaking.insert(id.to_owned());
        alive(replica, replica.state.force_unlock(id, by, &mut budget())).await
    }

    /// Registers through any engine until it is done.
    pub async fn register(&self) {
        loop {
            let replica = self.any();
            let mut budget = budget();
            let done = tokio::select! {
                () = replica.kv.crashed() => continue,
                done = replica.state.register(&mut budget) => done,
            };
            match done {
                Ok(()) => return self.report(&replica),
                Err(StateError::Unavailable { .. } | StateError::Busy { .. }) => {}
                Err(error) => return self.world.violation(format!("register: {error}")),
            }
        }
    }
}

fn start(world: &Arc<World>, claim: u64, mark: Option<Mark>) -> Replica {
    let kv = SimKv::new(world.clone(), claim);
    let inline = InlineLimits { version: 300, kept: 600, most: 1_500 };
    let patches = PatchLimits { deltas: 5, ..PatchLimits::default() };
    // Some states are kept in memory, some have to be put together again.
    let wholes = [0, 12_000, 40_000][world.below(3) as usize];
    let options = EngineOptions { inline, patches, wholes, ..EngineOptions::default() };
    let engine = Engine::with_clock(options, EngineMetrics::default(), Arc::new(SimClock(world.clone())));
    let retention = Retention {
        max_versions: 2 + world.below(6) as u32,
        max_bytes: world.chance(300).then_some(4_000),
        max_age: world.chance(300).then_some(std::time::Duration::from_secs(600)),
    };
    let state = engine.open(Registration {
        path: StatePath::parse(PATH).unwrap(),
        kv: kv.clone(),
        owner: owner(claim),
        mark,
        settings: Settings { retention, ..Settings::default() },
    });
    Replica { kv, state }
}
