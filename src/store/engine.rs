//! The engine of one process: what all its states share. A state is opened here; what can be done with it is in `state`.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};

use super::{
    BootClock, Clock, Kv, State, StatePath,
    background::Background,
    head::{InlineLimits, Owner, PatchLimits, Retention},
    known::{Known, Mark},
    shares::{Share, Shares},
    wholes::Wholes,
};
use crate::telemetry::EngineMetrics;

/// What an engine may be told otherwise. The defaults are what the design says and tests vary.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How much of the states' bytes stands in the heads themselves.
    pub inline: InlineLimits,
    /// How large states stand in the heads as what differs from the ones before.
    pub patches: PatchLimits,
    /// Bytes of such states that are kept in memory, of all states together.
    pub wholes: usize,
    /// Large uploads at a time, over all states; one namespace has half of them at most.
    pub uploads: usize,
    /// Answers of large states at a time; one namespace has half of them at most.
    pub reads: usize,
    /// How long a head that was read may be the base of a change.
    pub head_age: Duration,
    /// How long an upload may take.
    pub upload_time: Duration,
    /// How long a lock must have been quiet before an unlock without a body breaks it.
    pub blind_unlock: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            inline: InlineLimits::default(),
            patches: PatchLimits::default(),
            wholes: 16 << 20,
            uploads: 8,
            reads: 32,
            head_age: Duration::from_secs(10),
            upload_time: Duration::from_secs(30 * 60),
            blind_unlock: Duration::from_secs(60),
        }
    }
}

/// What a resource asks of its state. May change while the state is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How much history is kept.
    pub retention: Retention,
    /// The largest state, in bytes.
    pub max_size: u64,
    /// Writes are taken under a lock only.
    pub lock_required: bool,
    /// The unlock without a body (Terraform's force-unlock) may break a lock.
    pub client_force_unlock: bool,
    /// A lock whose holder did nothing for longer than this is released in the background (`staleAction: Release`).
    pub release_after: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            max_size: 256 << 20,
            lock_required: false,
            client_force_unlock: true,
            release_after: None,
        }
    }
}

impl From<&crate::crd::Settings> for Settings {
    fn from(wanted: &crate::crd::Settings) -> Self {
        let crate::crd::RetentionSettings { max_versions, max_bytes, max_age, deletion_policy: _ } = wanted.retention;
        Self {
            retention: Retention { max_versions, max_bytes, max_age },
            max_size: wanted.max_size,
            lock_required: wanted.lock.required,
            client_force_unlock: wanted.lock.client_force_unlock,
            release_after: wanted.lock.release_after,
        }
    }
}

/// A path that may be served, and by what right.
#[derive(Clone)]
pub struct Registration {
    /// The path.
    pub path: StatePath,
    /// The store, with the credential that this path's entries need.
    pub kv: Arc<dyn Kv>,
    /// Who has the path, with the claim that was won.
    pub owner: Owner,
    /// The newest head that is known to have been there (`status.headEpoch` and `headRevision`). `None` only for a
    /// resource that never had one: then its head is made.
    pub mark: Option<Mark>,
    /// What the resource asks for.
    pub settings: Settings,
}

/// The engine of one process. Cloning shares it.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// What all states of one engine share.
pub(super) struct Shared {
    pub(super) options: EngineOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: EngineMetrics,
    uploads: Shares,
    reads: Shares,
    pub(super) background: Background,
    pub(super) wholes: Wholes,
}

impl Engine {
    /// An engine on this machine's clock.
    #[must_use]
    pub fn new(options: EngineOptions, metrics: EngineMetrics) -> Self {
        Self::with_clock(options, metrics, Arc::new(BootClock))
    }

    /// An engine on a clock of the caller's, for tests.
    #[must_use]
    pub fn with_clock(options: EngineOptions, metrics: EngineMetrics, clock: Arc<dyn Clock>) -> Self {
        let (uploads, reads) = (Shares::new(options.uploads), Shares::new(options.reads));
        let (background, wholes) = (Background::default(), Wholes::new(options.wholes));
        Self { shared: Arc::new(Shared { options, clock, metrics, uploads, reads, background, wholes }) }
    }

    /// A state of this engine. Nothing is read or written yet: [`State::register`] does that. Open a path once: two
    /// handles do not share what they know.
    #[must_use]
    pub fn open(&self, registration: Registration) -> State {
        let Registration { path, kv, owner, mark, settings } = registration;
        let state = State::new(Inner {
            uploads: self.shared.uploads.of(&owner.namespace),
            reads: self.shared.reads.of(&owner.namespace),
            shared: self.shared.clone(),
            path,
            kv,
            owner,
            settings: ArcSwap::from_pointee(settings),
            queue: tokio::sync::Mutex::new(()),
            upload: Arc::new(Semaphore::new(1)),
            known: Mutex::new(Known::new(mark)),
            told: Mutex::default(),
        });
        self.shared.background.adopt(&state.inner);
        state
    }

    /// Does the background work of all states (stale locks, retention, moving out, the trash, the sweep) until `stop` changes or its
    /// sender is gone; what is under way then is finished.
    pub async fn run_background(&self, stop: watch::Receiver<bool>) {
        super::background::run(&self.shared, stop).await;
    }
}

/// Told of something; answers whether it is to be told further.
pub(super) type Told = Box<dyn Fn() -> bool + Send + Sync>;

/// One state as this process knows it.
pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) path: StatePath,
    pub(super) kv: Arc<dyn Kv>,
    pub(super) owner: Owner,
    pub(super) settings: ArcSwap<Settings>,
    /// Changes of the head queue here.
    pub(super) queue: tokio::sync::Mutex<()>,
    /// One large upload at a time.
    pub(super) upload: Arc<Semaphore>,
    /// What its namespace may have of the process's large uploads and reads.
    pub(super) uploads: Share,
    pub(super) reads: Share,
    pub(super) known: Mutex<Known>,
    /// Who is told of each newer head, until they answer false.
    pub(super) told: Mutex<Vec<Told>>,
}
