//! What the HTTP backend knows of its states, told in the status of their resources: the lock, the version, the history. Each
//! replica tells the head changes that it sees, at once; what the controller finds is told by the controller, in other
//! fields and as another field manager.
//!
//! A state has one writer (`follow`), which has one patch under way at most: what changes meanwhile is told with the next
//! one, the last head only. Requests wait for none of it.

mod follow;
mod own;
mod patch;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use kube::{Client, api::ObjectMeta};
use serde_json::Value;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use tracing::{info, warn};

pub use self::own::FIELDS;
pub(super) use self::own::strays;
use self::own::{Shown, own};
use crate::{crd::TofuStateBackend, registry::ResourceName, store::State, telemetry::ReportMetrics};

/// The field manager, one for all replicas.
pub const MANAGER: &str = "tofustate-http";
/// Patches under way at a time, over all states.
const AT_ONCE: usize = 16;

/// Tells the worker which states to follow. Cloning shares the worker.
#[derive(Clone)]
pub struct Reporter {
    asks: mpsc::UnboundedSender<Ask>,
}

/// Does the work of a [`Reporter`].
pub struct Worker {
    asks: mpsc::UnboundedReceiver<Ask>,
    shared: Arc<Shared>,
}

enum Ask {
    Follow(ResourceName, Target),
    Forget(ResourceName),
}

/// A state, and the resource in whose status it is told.
#[derive(Clone)]
struct Target {
    state: State,
    stands: Stood,
    /// Whether the head is to be looked at though the status shows how far it was seen.
    compare: bool,
}

/// A resource as it was seen.
#[derive(Clone)]
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
    fn of(metadata: &ObjectMeta, own: &Value, restored: u64) -> Self {
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            version: metadata.resource_version.clone().unwrap_or_default(),
            shown: Shown::of(own),
            restored,
        }
    }
}

impl Target {
    fn is(&self, other: &Self) -> bool {
        self.stands.uid == other.stands.uid && self.state.is(&other.state)
    }
}

/// What all followers share.
struct Shared {
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
        let (asks, asked) = mpsc::unbounded_channel();
        let shared = Shared { client, slots: Semaphore::new(AT_ONCE), metrics, away: AtomicBool::new(false) };
        (Self { asks }, Worker { asks: asked, shared: Arc::new(shared) })
    }

    /// Follows a state in the status of this resource. To be called as often as the resource is seen: what somebody else
    /// wrote into the own fields is put right by it, and nothing is patched where nothing differs. Without `compare` what
    /// the status says when the following begins is believed as long as no other head was seen: it needs no look at the
    /// store.
    ///
    /// `restored`: how often the cluster was seen to have gone back to an earlier time; what it said before is of no account
    /// then.
    pub fn follow(&self, resource: &TofuStateBackend, state: &State, compare: bool, restored: u64) {
        let ObjectMeta { namespace, name, .. } = resource.metadata.clone();
        let (Some(namespace), Some(name)) = (namespace, name) else { return };
        let own = resource.status.as_ref().map(own).unwrap_or_default();
        let target = Target { state: state.clone(), stands: Stood::of(&resource.metadata, &own, restored), compare };
        // Where the worker has ended, so does the process.
        let _ = self.asks.send(Ask::Follow(ResourceName { namespace, name }, target));
    }

    /// Follows it no more. What it told stays.
    pub fn forget(&self, resource: &ResourceName) {
        let _ = self.asks.send(Ask::Forget(resource.clone()));
    }
}

impl Worker {
    /// Works until `stop`, and then tells what is left, for some seconds at most. `stop` should come when the last request
    /// was answered: the run that it ended has released its lock by then.
    ///
    /// # Errors
    /// A follower panicked.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), String> {
        let mut followed: HashMap<ResourceName, watch::Sender<Target>> = HashMap::new();
        let (mut work, mut asked) = (JoinSet::new(), true);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(ended) = work.join_next(), if !work.is_empty() => sound(ended)?,
                ask = self.asks.recv(), if asked => match ask {
                    // Whoever sees resources has ended; requests may go on.
                    None => asked = false,
                    Some(Ask::Forget(name)) => drop(followed.remove(&name)),
                    Some(Ask::Follow(name, mut target)) => match followed.get(&name) {
                        Some(known) => {
                            known.send_if_modified(|known| {
                                let same = known.is(&target) && known.stands.shown == target.stands.shown;
                                let news = target.compare || !same;
                                // It may not have begun.
                                target.compare |= known.compare;
                                *known = target;
                                news
                            });
                        }
                        None => {
                            let (sender, targets) = watch::channel(target);
                            work.spawn(follow::run(self.shared.clone(), name.clone(), targets));
                            followed.insert(name, sender);
                        }
                    },
                }
            }
        }
        // Each ends by it.
        followed.clear();
        while let Some(ended) = work.join_next().await {
            sound(ended)?;
        }
        Ok(())
    }
}

fn sound(ended: Result<(), tokio::task::JoinError>) -> Result<(), String> {
    ended.map_err(|error| error.to_string())
}

impl Shared {
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
