//! A store in memory whose calls fail, wait or change when they are told to, and that judges each head as it lands.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tofustate::store::{
    Clock, Entry, Expect, Head, Kv, KvError, Listed, Revision, StatePath, Value, head::ObjectRef, keys,
};
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, sleep},
};

pub(crate) const PATH: &str = "team/app";

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Refused before anything happened.
    Before(Kind),
    /// Done, and the answer is lost.
    After(Kind),
    /// An error, and done all the same while the call after that many others is under way.
    Late(Kind, usize),
    /// No answer ever; nothing happened.
    Silent,
    /// No answer ever; it was done.
    DoneAndSilent,
    /// Done, and once more while the next call is under way.
    Twice,
    /// Another replica changes the head first.
    Overtaken,
    /// The store's clock jumps by that many seconds.
    Clock(i64),
    /// The machine was suspended for an hour.
    Suspended,
    /// What was read before may not be built upon any more.
    Generation,
}

/// The kinds of errors. A mismatch is no fault but an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unavailable,
    Other,
    TooLarge,
    Denied,
    Gone,
}

impl Kind {
    fn error(self) -> KvError {
        let message = "injected".to_owned();
        match self {
            Self::Unavailable => KvError::Unavailable { retry_after: None, message },
            Self::Other => KvError::Other(message),
            Self::TooLarge => KvError::TooLarge(message),
            Self::Denied => KvError::Denied(message),
            Self::Gone => KvError::Gone(message),
        }
    }
}

#[derive(Clone)]
struct Stored {
    value: Value,
    revision: u64,
    created: Timestamp,
}

/// A call, as it is done to the entries.
#[derive(Clone)]
enum Call {
    Put(String, Value, Expect),
    Delete(String),
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<String, Stored>,
    /// By the number of the call.
    faults: HashMap<usize, Fault>,
    /// What is done when the call of that number comes.
    late: Vec<(usize, Call)>,
    violations: Vec<String>,
    gate: Option<(&'static str, Arc<Gate>)>,
    slow: HashMap<&'static str, Duration>,
}

/// Holds up one call.
#[derive(Default)]
pub(crate) struct Gate {
    reached: Notify,
    open: Notify,
}

impl Gate {
    /// Waits until a call stands at the gate.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn open(&self) {
        self.open.notify_one();
    }
}

pub(crate) struct Store {
    inner: Mutex<Inner>,
    start: Instant,
    calls: AtomicUsize,
    pub(crate) part_bytes: AtomicUsize,
    generation: AtomicU64,
    /// Seconds that the store's clock is off.
    clock: AtomicI64,
    /// What the machine's clock counted while it was suspended, in seconds.
    suspended: Arc<AtomicU64>,
}

impl Store {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            start: Instant::now(),
            calls: 0.into(),
            part_bytes: 16_384.into(),
            generation: 0.into(),
            clock: 0.into(),
            suspended: Arc::default(),
        })
    }

    /// The call of that number, counted from now on, fails so.
    pub(crate) fn fail(&self, number: usize, fault: Fault) {
        let number = self.calls() + number;
        self.inner.lock().unwrap().faults.insert(number, fault);
    }

    /// No more faults.
    pub(crate) fn heal(&self) {
        self.inner.lock().unwrap().faults.clear();
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Holds up the next call of that name.
    pub(crate) fn gate(&self, name: &'static str) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        self.inner.lock().unwrap().gate = Some((name, gate.clone()));
        gate
    }

    /// Calls of that name take so long.
    pub(crate) fn slow(&self, name: &'static str, time: Duration) {
        self.inner.lock().unwrap().slow.insert(name, time);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.inner.lock().unwrap().violations.clone()
    }

    pub(crate) fn parts(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap();
        inner.entries.keys().filter(|key| key.starts_with(keys::VERSIONS)).cloned().collect()
    }

    /// Bytes of all parts.
    pub(crate) fn part_bytes_stored(&self) -> u64 {
        let inner = self.inner.lock().unwrap();
        let bytes = |stored: &Stored| match &stored.value {
            Value::Part(part) => part.bytes.len() as u64,
            _ => 0,
        };
        inner.entries.values().map(bytes).sum()
    }

    pub(crate) fn head(&self) -> Option<Head> {
        let inner = self.inner.lock().unwrap();
        inner.head()
    }

    /// Everything in it, to set it back.
    pub(crate) fn snapshot(&self) -> impl FnOnce(&Self) + use<> {
        let entries = self.inner.lock().unwrap().entries.clone();
        move |store| store.inner.lock().unwrap().entries = entries
    }

    /// What was read before may not be built upon any more.
    pub(crate) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// An entry put behind the engine's back.
    pub(crate) fn plant(&self, key: &str, value: Value) {
        let created = self.now();
        self.inner.lock().unwrap().entries.insert(key.to_owned(), Stored { value, revision: 1, created });
    }

    /// Another replica changes the head, and nothing in it.
    pub(crate) fn overtake(&self) {
        if let Some(mut head) = self.head() {
            head.revision += 1;
            self.plant_head(&head);
        }
    }

    /// Writes over the head, whatever it is.
    pub(crate) fn plant_head(&self, head: &Head) {
        let mut inner = self.inner.lock().unwrap();
        let stored = inner.entries.get_mut(PATH).unwrap();
        stored.value = Value::Document(head.encode().into());
        stored.revision += 1;
    }

    fn act(&self, call: &Call) -> Result<Revision, KvError> {
        let created = self.now();
        let mut inner = self.inner.lock().unwrap();
        match call {
            Call::Delete(key) => {
                if !key.starts_with(keys::VERSIONS) {
                    inner.violations.push(format!("a deletion of {key} was asked for"));
                    return Err(KvError::Denied("only parts".to_owned()));
                }
                inner.entries.remove(key);
                inner.deleted(key);
                Ok(Revision(0))
            }
            Call::Put(key, value, expect) => {
                let found = inner.entries.get(key).map(|stored| stored.revision);
                let wanted = match expect {
                    Expect::Absent => None,
                    Expect::At(Revision(revision)) => Some(*revision),
                };
                if found != wanted {
                    return Err(KvError::CasMismatch);
                }
                // Another service writes there what it likes.
                if key == PATH && !matches!(value, Value::Foreign(_)) {
                    inner.head_lands(&parse(value));
                }
                let revision = found.unwrap_or(0) + 1;
                inner.entries.insert(key.clone(), Stored { value: value.clone(), revision, created });
                Ok(Revision(revision))
            }
        }
    }

    /// One call with what happens to it. It waits once before it is done and once after, as over a network.
    async fn play<T>(
        &self,
        name: &'static str,
        change: Option<Call>,
        read: impl Fn(&Self) -> T + Send,
        changed: impl Fn(Revision) -> T + Send,
    ) -> Result<T, KvError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let (fault, late, gate, slow) = {
            let mut inner = self.inner.lock().unwrap();
            let inner = &mut *inner;
            let gate = inner.gate.take_if(|(held, _)| *held == name).map(|(_, gate)| gate);
            let late: Vec<_> = inner.late.extract_if(.., |(at, _)| *at <= number).collect();
            (inner.faults.remove(&number), late, gate, inner.slow.get(name).copied())
        };
        for (_, call) in late {
            let _ = self.act(&call);
        }
        yield_now().await;
        if let Some(gate) = gate {
            gate.reached.notify_one();
            gate.open.notified().await;
        }
        if let Some(slow) = slow {
            sleep(slow).await;
        }
        let act = || match &change {
            Some(call) => self.act(call).map(&changed),
            None => Ok(read(self)),
        };
        let later = |after: usize| {
            if let Some(call) = &change {
                self.inner.lock().unwrap().late.push((number + after, call.clone()));
            }
        };
        let answer = match fault {
            None => act(),
            Some(Fault::Before(kind)) => Err(kind.error()),
            Some(Fault::After(kind)) => act().and(Err(kind.error())),
            Some(Fault::Late(kind, after)) => {
                later(after);
                Err(kind.error())
            }
            Some(Fault::Silent) => std::future::pending().await,
            Some(Fault::DoneAndSilent) => {
                let _ = act();
                std::future::pending().await
            }
            Some(Fault::Twice) => {
                later(1);
                act()
            }
            Some(Fault::Overtaken) => {
                self.overtake();
                act()
            }
            Some(Fault::Clock(seconds)) => {
                self.clock.fetch_add(seconds, Ordering::Relaxed);
                act()
            }
            Some(Fault::Suspended) => {
                self.suspended.fetch_add(3_600, Ordering::Relaxed);
                act()
            }
            Some(Fault::Generation) => {
                let done = act();
                self.next_generation();
                done
            }
        };
        yield_now().await;
        answer
    }
}

impl Inner {
    fn head(&self) -> Option<Head> {
        let stored = self.entries.get(PATH).filter(|stored| !matches!(stored.value, Value::Foreign(_)));
        stored.map(|stored| parse(&stored.value))
    }

    fn head_lands(&mut self, after: &Head) {
        if let Some(before) = self.head() {
            if after.epoch == before.epoch && after.revision != before.revision + 1 {
                self.violations.push(format!("revision {} follows {}", after.revision, before.revision));
            }
            if let (Some(old), Some(new)) = (&before.lock, &after.lock)
                && old.id != new.id
            {
                self.violations.push(format!("lock {} was given to {} while held", old.id, new.id));
            }
            if after.next < before.next {
                self.violations.push(format!("the next version went from {} to {}", before.next, after.next));
            }
        }
        for object in after.versions.iter().filter_map(|version| version.body.object()) {
            if !self.whole(object) {
                self.violations.push(format!("{} is named and its parts are not all there", object.name));
            }
        }
    }

    fn whole(&self, object: &ObjectRef) -> bool {
        let path = StatePath::parse(PATH).unwrap();
        (0..object.parts).all(|index| self.entries.contains_key(&keys::part(&path, &object.name, index)))
    }

    fn deleted(&mut self, key: &str) {
        let path = StatePath::parse(PATH).unwrap();
        let head = self.head();
        if let (Some(head), Some((object, _))) = (head, keys::parse_part(&path, key))
            && head.names(object)
        {
            self.violations.push(format!("{key} was deleted and is named"));
        }
    }
}

fn parse(value: &Value) -> Head {
    let Value::Document(text) = value else { panic!("a head is a document") };
    Head::parse(text).expect("what lands is a head")
}

#[async_trait]
impl Kv for Store {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let read = |store: &Self| {
            let inner = store.inner.lock().unwrap();
            let entry = |stored: &Stored| Entry { value: stored.value.clone(), revision: Revision(stored.revision) };
            inner.entries.get(key).map(entry)
        };
        self.play("get", None, read, |_| None).await
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        let name = if key.starts_with(keys::VERSIONS) { "put_part" } else { "put" };
        let call = Call::Put(key.to_owned(), value.clone(), expect);
        self.play(name, Some(call), |_| Revision(0), |revision| revision).await
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        self.play("delete_part", Some(Call::Delete(key.to_owned())), |_| (), |_| ()).await
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        let read = |store: &Self| {
            let inner = store.inner.lock().unwrap();
            let under = inner.entries.iter().filter(|(key, _)| key.starts_with(prefix));
            under.map(|(key, stored)| Listed { key: key.clone(), created: stored.created }).collect()
        };
        self.play("list_parts", None, read, |_| Vec::new()).await
    }

    fn now(&self) -> Timestamp {
        let base: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let off = SignedDuration::from_secs(self.clock.load(Ordering::Relaxed));
        base + SignedDuration::try_from(self.start.elapsed()).unwrap() + off
    }

    fn part_bytes(&self) -> usize {
        self.part_bytes.load(Ordering::Relaxed)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }
}

/// The clock of the machine that an engine on this store runs on: the paused one of the runtime.
pub(crate) struct PausedClock {
    start: Instant,
    suspended: Arc<AtomicU64>,
}

impl PausedClock {
    pub(crate) fn of(store: &Store) -> Self {
        Self { start: store.start, suspended: store.suspended.clone() }
    }
}

impl Clock for PausedClock {
    fn boot(&self) -> Duration {
        self.start.elapsed() + Duration::from_secs(self.suspended.load(Ordering::Relaxed))
    }
}
