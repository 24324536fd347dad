//! Follows one state: what its head says last comes into the status, one patch at a time.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

use super::{
    Shared, Stood, Target,
    own::{Shown, Stands, compare, own},
    patch::{Patched, look, patch},
};
use crate::{
    controller::head,
    registry::ResourceName,
    store::{Budget, Mark, StateError},
};

/// How often a patch is made for a resource that others write to at the same moment.
const TRIES: usize = 5;
/// Between two patches of one status: a burst of changes is told by its first and its last.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two patches for the same head: where two releases of tofustate write it differently, they do so at this pace.
const REPAIR: Duration = Duration::from_secs(10);
/// The first wait after a failure; doubles up to the longest.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);
/// How long a head may take to be read, where it is not known.
const READ: Duration = Duration::from_secs(10);
/// How long the last words may take.
const LAST: Duration = Duration::from_secs(3);

/// Until `targets` ends.
pub(super) async fn run(shared: Arc<Shared>, name: ResourceName, mut targets: watch::Receiver<Target>) {
    let target = targets.borrow_and_update().clone();
    let mut seen = target.state.seen();
    let stands = target.stands.clone();
    let told = !target.compare && target.state.mark().is_some_and(|mark| stands.shown.is_of(mark));
    let mut follower = Follower { shared, name, target, stands, told: None, wait: FIRST };
    let mut due = Due { shared: follower.shared.clone(), since: None };
    due.set(!told);
    let mut not_before = Instant::now();
    loop {
        tokio::select! {
            // Where the patches are slow, they are of the newest head all the same.
            biased;
            changed = targets.changed() => {
                if changed.is_err() {
                    break;
                }
                let target = targets.borrow_and_update().clone();
                if !target.is(&follower.target) {
                    seen = target.state.seen();
                }
                follower.take(target);
                due.set(true);
            }
            // The state is held here, so it does not end.
            _ = seen.changed() => due.set(true),
            () = sleep_until(not_before), if due.since.is_some() => {
                // Others wrote into it since, of which there was nothing to tell: a patch is of the last version.
                let latest = targets.borrow().clone();
                if latest.stands.version != follower.target.stands.version {
                    follower.take(latest);
                }
                // Thousands wait, and few of them tell something at a time.
                match Box::pin(follower.tell()).await {
                    Told::Now => {
                        due.told();
                        due.set(false);
                        not_before = Instant::now() + PAUSE;
                    }
                    Told::Nothing => due.set(false),
                    Told::Later(wait) => not_before = Instant::now() + wait,
                }
            }
        }
    }
    if due.since.is_some() || seen.has_changed().unwrap_or(false) {
        let _ = timeout(LAST, Box::pin(follower.tell())).await;
    }
}

/// Whether there is something to tell, and since when. Counted.
struct Due {
    shared: Arc<Shared>,
    since: Option<Instant>,
}

impl Due {
    fn set(&mut self, due: bool) {
        if due != self.since.is_some() {
            self.shared.metrics.pending(due);
            self.since = due.then(Instant::now);
        }
    }

    fn told(&self) {
        if let Some(since) = self.since {
            self.shared.metrics.shown(since.elapsed());
        }
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        self.set(false);
    }
}

struct Follower {
    shared: Arc<Shared>,
    name: ResourceName,
    target: Target,
    /// The resource, by all that is known.
    stands: Stood,
    /// When this follower last patched.
    told: Option<Instant>,
    /// The next wait after a failure.
    wait: Duration,
}

enum Told {
    /// It stands in the status now.
    Now,
    /// There was nothing to tell, or nobody to tell it to.
    Nothing,
    Later(Duration),
}

impl Follower {
    /// The resource as it was seen last, or another one.
    fn take(&mut self, target: Target) {
        // What a watch tells may be older than what was patched since.
        let stands = &target.stands;
        let anew = stands.uid != self.stands.uid || stands.restored > self.stands.restored;
        if anew || !stands.shown.is_before(&self.stands.shown) {
            self.stands = stands.clone();
        }
        self.target = target;
    }

    async fn tell(&mut self) -> Told {
        let mut anew = false;
        for _ in 0..TRIES {
            let mut wanted = match self.wanted(anew).await {
                Ok(Some(wanted)) => wanted,
                Ok(None) => return Told::Nothing,
                Err(()) => return self.later(),
            };
            let mut shown = Shown::of(&wanted);
            let mut stands = compare(&self.stands.shown, &shown);
            if stands == Stands::Newer && anew {
                // The store has no such head: somebody wrote that number, or the store went back. It cannot be lowered,
                // and a lock is shown all the same.
                wanted["headRevision"] = self.stands.shown.revision().into();
                shown = Shown::of(&wanted);
                stands = compare(&self.stands.shown, &shown);
                if stands != Stands::Same {
                    warn!(resource = %self.name, status = self.stands.shown.revision(), "the status speaks of a later revision than the store has: somebody wrote there, or the store was set back; after a restart the state is not served before a person accepts it");
                }
            }
            match stands {
                Stands::Same => return Told::Nothing,
                Stands::Newer => {
                    anew = true;
                    continue;
                }
                Stands::Altered => {
                    let since = self.told.map_or(Duration::MAX, |told| told.elapsed());
                    if since < REPAIR {
                        return Told::Later(REPAIR - since);
                    }
                }
                Stands::Older => {}
            }
            let Ok(slot) = self.shared.slots.acquire().await else { return Told::Nothing };
            let patched = patch(&self.shared, &self.name, &self.stands.version, &wanted).await;
            let stands = match &patched {
                Patched::Stale => Some(look(&self.shared, &self.name, self.stands.restored).await),
                _ => None,
            };
            drop(slot);
            match (patched, stands) {
                (Patched::Shown(version), _) => {
                    self.shared.back();
                    (self.stands.version, self.stands.shown) = (version, shown);
                    (self.told, self.wait) = (Some(Instant::now()), FIRST);
                    return Told::Now;
                }
                (Patched::Stale, Some(Ok(Some(stands)))) if stands.uid == self.target.stands.uid => {
                    self.stands = stands;
                }
                // One that came in its place will be told of.
                (Patched::Stale, Some(Ok(_)) | None) | (Patched::Gone, _) => return Told::Nothing,
                (Patched::Refused(_), _) if !anew => anew = true,
                (Patched::Refused(said), _) => {
                    warn!(resource = %self.name, said, "the status is not taken: what it shows of the state stays as it is");
                    return Told::Nothing;
                }
                (Patched::Away(why), _) | (Patched::Stale, Some(Err(why))) => {
                    self.shared.gone(&why);
                    return self.later();
                }
            }
        }
        // Somebody writes there all the time.
        self.later()
    }

    /// The own fields as they should be; none where no head was ever seen, or none can be shown.
    async fn wanted(&self, anew: bool) -> Result<Option<Value>, ()> {
        let state = &self.target.state;
        let mark: Option<Mark> = state.mark();
        if mark.is_none() {
            return Ok(None);
        }
        let budget = &mut Budget::new(READ);
        let head = if anew { state.head(budget).await } else { state.recent(budget).await };
        match head {
            Ok(head) => Ok(Some(own(&head::status(&head)))),
            Err(StateError::Unavailable { .. } | StateError::Store { .. } | StateError::Busy { .. }) => Err(()),
            // Lost, behind, another's: the controller says so.
            Err(_) => Ok(None),
        }
    }

    fn later(&mut self) -> Told {
        let wait = self.wait.mul_f64(rand::random_range(0.5..1.0));
        self.wait = (self.wait * 2).min(LONGEST);
        Told::Later(wait)
    }
}
