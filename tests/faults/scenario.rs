//! A fixed run of work that touches everything that the engine does, step by step, each done by a client who asks again
//! until it is done; and what must be true after each step.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tofustate::{
    store::{
        Budget, Engine, EngineOptions, LockCall, Registration, Settings, State, StateError, StatePath, WriteCall,
        head::{InlineLimits, Owner, Retention, WriteDone},
    },
    telemetry::EngineMetrics,
};
use tokio::time::sleep;

use crate::store::{PATH, PausedClock, Store};

/// What is done, in this order.
pub(crate) const STEPS: &[Step] = &[
    Step::Register(1),
    Step::Lock("a"),
    Step::Post(Some("a"), 1),
    Step::Post(Some("a"), 2),
    Step::Post(Some("a"), 3),
    Step::Read,
    Step::Maintain,
    Step::Unlock("a"),
    Step::Post(None, 4),
    Step::Delete,
    Step::RollBack(4),
    Step::Post(None, 5),
    Step::Maintain,
    Step::Post(None, 7),
    Step::Post(None, 8),
    Step::Post(None, 9),
    Step::Read,
    Step::Maintain,
    Step::Hours,
    Step::Sweep,
    Step::Maintain,
    Step::Lock("b"),
    Step::ForceUnlock("b"),
    Step::Read,
    Step::Release,
    Step::Register(2),
    Step::Post(None, 6),
    Step::Read,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Register(u64),
    Lock(&'static str),
    Unlock(&'static str),
    ForceUnlock(&'static str),
    Post(Option<&'static str>, u64),
    Delete,
    RollBack(u64),
    Read,
    Maintain,
    Sweep,
    Release,
    /// Two hours go by.
    Hours,
}

pub(crate) struct Run {
    pub(crate) store: Arc<Store>,
    engine: Engine,
    pub(crate) state: State,
    bodies: BTreeMap<u64, Vec<u8>>,
    /// The serial of the state as it has to be.
    current: Option<u64>,
}

pub(crate) fn owner(claim: u64) -> Owner {
    Owner { instance: "test".into(), namespace: "team".into(), name: "app".into(), claim, released: false }
}

pub(crate) fn budget() -> Budget {
    Budget::new(Duration::from_secs(25))
}

/// A state with so many characters of noise.
pub(crate) fn body(serial: u64, len: usize) -> Vec<u8> {
    let mut seed = serial.wrapping_mul(2).wrapping_add(1);
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(seed >> 58) as usize]
    });
    let mut body = format!(r#"{{"version":4,"serial":{serial},"lineage":"l","noise":""#).into_bytes();
    body.extend(noise.take(len));
    body.extend_from_slice(b"\"}");
    body
}

pub(crate) fn engine(store: &Store, inline: InlineLimits) -> Engine {
    let options = EngineOptions { inline, ..EngineOptions::default() };
    Engine::with_clock(options, EngineMetrics::default(), Arc::new(PausedClock::of(store)))
}

pub(crate) fn open(engine: &Engine, store: &Arc<Store>, claim: u64, max_versions: u32) -> State {
    let retention = Retention { max_versions, ..Retention::default() };
    engine.open(Registration {
        path: StatePath::parse(PATH).unwrap(),
        kv: store.clone(),
        owner: owner(claim),
        mark: None,
        settings: Settings { retention, ..Settings::default() },
    })
}

pub(crate) async fn pull(state: &State) -> Result<Option<Vec<u8>>, StateError> {
    match state.read(&mut budget()).await? {
        Some(reader) => reader.read_to_end(&mut budget()).await.map(Some),
        None => Ok(None),
    }
}

pub(crate) async fn post(state: &State, lock: Option<&str>, body: &[u8]) -> Result<WriteDone, StateError> {
    state.write(WriteCall { lock, ..WriteCall::default() }, body, &mut budget()).await
}

impl Run {
    pub(crate) fn new() -> Self {
        let store = Store::new();
        let engine = engine(&store, InlineLimits { version: 400, kept: 0, most: 600 });
        let state = open(&engine, &store, 1, 3);
        // In the head, beside it, streamed in several parts; and what is written without a lock.
        let sizes = [(1, 200), (2, 4_000), (3, 66_000), (4, 300), (5, 350), (6, 10), (7, 66_000)];
        let mut bodies: BTreeMap<u64, Vec<u8>> =
            sizes.into_iter().map(|(serial, len)| (serial, body(serial, len))).collect();
        // Those are told by the one before.
        for serial in 8..=9 {
            let alike = format!("{{\"version\":4,\"serial\":{serial},");
            bodies.insert(serial, [alike.as_bytes(), &bodies[&7][alike.len()..]].concat());
        }
        Self { store, engine, state, bodies, current: None }
    }

    /// One step as one call of a client, with the client's own time.
    pub(crate) async fn call(&mut self, step: Step) -> Result<(), StateError> {
        if let Step::Register(claim) = step
            && self.store.head().is_some_and(|head| head.owner.claim < claim)
        {
            self.state = open(&self.engine, &self.store, claim, 3);
        }
        self.ask(step).await
    }

    pub(crate) async fn ask(&self, step: Step) -> Result<(), StateError> {
        let (state, mut budget) = (&self.state, budget());
        match step {
            Step::Register(_) => state.register(&mut budget).await,
            Step::Lock(id) => {
                let info = format!(r#"{{"ID":"{id}"}}"#);
                state.lock(LockCall { info: info.as_bytes(), ..LockCall::default() }, &mut budget).await
            }
            Step::Unlock(id) => {
                let info = format!(r#"{{"ID":"{id}"}}"#);
                state.unlock(info.as_bytes(), "x", &mut budget).await.map(drop)
            }
            Step::ForceUnlock(id) => state.force_unlock(id, "x", &mut budget).await.map(drop),
            Step::Post(lock, serial) => {
                // Only what announces its length may be told by another.
                let length = (serial > 6).then_some(self.bodies[&serial].len() as u64);
                let mut upload = state.upload(WriteCall { lock, length, ..WriteCall::default() })?;
                for piece in self.bodies[&serial].chunks(40_000) {
                    upload.push(piece, &mut budget).await?;
                }
                upload.finish(&mut budget).await.map(drop)
            }
            Step::Delete => state.delete("x", &mut budget).await.map(drop),
            Step::RollBack(target) => state.rollback(target, None, "once", "x", &mut budget).await.map(drop),
            Step::Read => match pull(state).await? {
                read if read.as_ref() == self.current.map(|serial| &self.bodies[&serial]) => Ok(()),
                read => panic!("read {:?}, not the state {:?}", read.map(|body| body.len()), self.current),
            },
            Step::Maintain => state.maintain().await,
            Step::Sweep => state.sweep().await.map(drop),
            Step::Release => state.release(true, &mut budget).await.map(drop),
            Step::Hours => {
                sleep(Duration::from_secs(2 * 3_600)).await;
                Ok(())
            }
        }
    }

    /// Asks until it is done, as a client and the background do.
    pub(crate) async fn insist(&mut self, step: Step) -> Result<(), String> {
        let mut last = None;
        for _ in 0..4 {
            match self.call(step).await {
                Ok(()) => return self.done(step).await,
                Err(
                    error @ (StateError::Unavailable { .. }
                    | StateError::Busy { .. }
                    | StateError::Store { .. }
                    | StateError::UploadTooSlow),
                ) => last = Some(error),
                Err(error) => return Err(format!("{step:?}: {error:?}")),
            }
        }
        Err(format!("{step:?} is refused for ever: {last:?}"))
    }

    /// What must be true once a step was acknowledged.
    async fn done(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Post(_, serial) => self.current = Some(serial),
            Step::RollBack(_) => self.current = Some(4),
            Step::Delete | Step::Release => self.current = None,
            _ => {}
        }
        let head = self.store.head().ok_or("the head is gone")?;
        let found = head.current().map(|version| version.serial);
        let lock = head.lock.as_ref().map(|lock| lock.id.as_str());
        let right = match step {
            Step::Lock(id) => lock == Some(id),
            Step::Unlock(_) | Step::ForceUnlock(_) => lock.is_none(),
            Step::Release => head.owner.released && head.versions.is_empty() && head.trash.is_empty(),
            _ => true,
        };
        if found != self.current || !right {
            return Err(format!("after {step:?} the state is {found:?}, not {:?}; lock {lock:?}", self.current));
        }
        if step == Step::Release {
            let read = pull(&self.state).await;
            if let Ok(read) = read {
                return Err(format!("a path that was given up reads as {read:?}"));
            }
        }
        Ok(())
    }

    /// The steps from there on, to the end; then the whole history is read.
    pub(crate) async fn finish(&mut self, from: usize) -> Result<(), String> {
        for step in &STEPS[from..] {
            self.insist(*step).await?;
        }
        // What was given up cleans up after itself.
        self.store.heal();
        sleep(Duration::from_secs(60)).await;
        let head = self.store.head().ok_or("the head is gone")?;
        for version in &head.versions {
            let reader = self.state.read_version(version.number, &mut budget()).await;
            let reader = reader.map_err(|error| error.to_string())?;
            let body = reader.read_to_end(&mut budget()).await.map_err(|error| error.to_string())?;
            if body != self.bodies[&version.serial] {
                return Err(format!("version {} reads as other bytes", version.number));
            }
        }
        let violations = self.store.violations();
        if violations.is_empty() { Ok(()) } else { Err(violations.join("; ")) }
    }
}
