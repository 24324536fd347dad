//! What the HTTP backend knows of its states, told in the status of their resources: the lock, the version, the history. Each
//! replica tells the head changes that it sees, at once; what the controller finds is told by the controller, in other
//! fields and as another field manager.
//!
//! A state has one writer (`follow`), which has one patch under way at most: what changes meanwhile is told with the next
//! one, the last head only. Requests wait for none of it.

mod follow;
mod own;
mod patch;
mod worker;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use kube::{Client, api::ObjectMeta};
use serde_json::Value;
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedSender, unbounded_channel},
};
use tracing::{info, warn};

pub use self::own::FIELDS;
pub(super) use self::own::strays;
use self::own::{Shown, own};
pub use self::worker::Worker;
use super::context::name_of;
use crate::{crd::TofuStateBackend, registry::ResourceName, store::State, telemetry::ReportMetrics};

/// The field manager, one for all replicas.
pub const MANAGER: &str = "tofustate-http";
/// Patches under way at a time, over all states.
const AT_ONCE: usize = 16;

/// Tells the worker which states to follow. Cloning shares the worker.
#[derive(Clone)]
pub struct Reporter {
    asks: UnboundedSender<Ask>,
}

enum Ask {
    Follow(ResourceName, Target),
    /// A resource was seen.
    Stands(ResourceName, Stood),
    /// A newer head of its state was seen.
    Seen(Arc<ResourceName>),
    Forget(ResourceName),
}

/// A state, and the resource in whose status it is told.
struct Target {
    state: State,
    stands: Stood,
    /// Whether the head is to be looked at though the status shows how far it was seen.
    compare: bool,
}

/// A resource as it was seen.
struct Stood {
    /// The status of another resource that came in its place is not this state's.
    uid: String,
    /// The resourceVersion. A patch is of this one: the API server heeds no uid in it.
    version: String,
    /// The own fields.
    shown: Shown,
    /// How often the cluster had gone back to an earlier time by then.
    restored: u64,
}

impl Stood {
    fn seen(resource: &TofuStateBackend, restored: u64) -> Self {
        let own = resource.status.as_ref().map(own).unwrap_or_default();
        Self::of(&resource.metadata, &own, restored)
    }

    fn of(metadata: &ObjectMeta, own: &Value, restored: u64) -> Self {
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            version: metadata.resource_version.clone().unwrap_or_default(),
            shown: Shown::of(own),
            restored,
        }
    }
}

/// What all followers share.
struct Shared {
    asks: UnboundedSender<Ask>,
    client: Client,
    slots: Semaphore,
    metrics: ReportMetrics,
    /// The API server does not answer, or does not allow it. Told once.
    away: AtomicBool,
}

impl Reporter {
    /// A reporter that patches with this client, and its worker, which has to be run.
    #[must_use]
    pub fn new(client: Client, metrics: ReportMetrics) -> (Self, Worker) {
        let (asks, asked) = unbounded_channel();
        let (slots, away) = (Semaphore::new(AT_ONCE), AtomicBool::new(false));
        let shared = Shared { asks: asks.clone(), client, slots, metrics, away };
        (Self { asks }, Worker::new(asked, shared))
    }

    /// Follows a state in the status of this resource. What somebody else wrote into the own fields is put right by it, and
    /// nothing is patched where nothing differs. Without `compare` what the status says when the following begins is believed
    /// as long as no other head was seen: it needs no look at the store.
    ///
    /// `restored`: how often the cluster had been seen to go back to an earlier time when it was asked for this resource; what
    /// it said before is of no account then.
    pub fn follow(&self, resource: &TofuStateBackend, state: &State, compare: bool, restored: u64) {
        let stands = Stood::seen(resource, restored);
        self.ask(Ask::Follow(name_of(resource), Target { state: state.clone(), stands, compare }));
    }

    /// Takes note of a resource. To be called as often as one is seen: if it is followed, what somebody else wrote into the
    /// own fields is put right.
    pub fn stands(&self, resource: &TofuStateBackend, restored: u64) {
        self.ask(Ask::Stands(name_of(resource), Stood::seen(resource, restored)));
    }

    /// Follows it no more. What it told stays.
    pub fn forget(&self, resource: &ResourceName) {
        self.ask(Ask::Forget(resource.clone()));
    }

    fn ask(&self, ask: Ask) {
        // Where the worker has ended, so does the process.
        let _ = self.asks.send(ask);
    }
}

impl Shared {
    /// Hears of each newer head of a state, as long as somebody has this name.
    fn hear(&self, name: &Arc<ResourceName>, state: &State) {
        let (asks, name) = (self.asks.clone(), Arc::downgrade(name));
        state.tell(move || name.upgrade().is_some_and(|name| asks.send(Ask::Seen(name)).is_ok()));
    }

    /// The API server took a patch.
    fn back(&self) {
        if self.away.swap(false, Ordering::Relaxed) {
            info!("the status of resources can be written again");
        }
    }

    /// It did not, for a reason that is that of all resources.
    fn gone(&self, why: &str) {
        if !self.away.swap(true, Ordering::Relaxed) {
            warn!(why, "the status of resources cannot be written now: states are served, and it is tried again");
        }
    }
}
