//! Follows one state: what its head says last comes into the status, one patch at a time.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{
    sync::mpsc::UnboundedReceiver,
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
    store::{Budget, State, StateError},
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

/// What a follower hears.
pub(super) enum Heard {
    /// It may be another state, or another resource.
    Target(Target),
    /// The resource was seen.
    Stands(Stood),
    /// A newer head was seen.
    Seen,
}

/// Tells until there is nothing to tell, and hears meanwhile; where nobody is left to hear of, once more at most. Gives itself
/// back, with what it has not heard.
pub(super) async fn run(
    mut follower: Box<Follower>,
    mut news: UnboundedReceiver<Heard>,
) -> (Box<Follower>, UnboundedReceiver<Heard>) {
    let due = Due::begin(&follower.shared);
    let mut not_before = follower.told.map_or_else(Instant::now, |told| told + PAUSE);
    loop {
        tokio::select! {
            // Where the patches are slow, they are of the newest head all the same, and of the last version of the resource.
            biased;
            one = news.recv() => match one {
                Some(one) => drop(follower.take(one)),
                None => {
                    let _ = timeout(LAST, follower.tell()).await;
                    return (follower, news);
                }
            },
            () = sleep_until(not_before) => match follower.tell().await {
                Told::Now => {
                    due.told();
                    return (follower, news);
                }
                Told::Nothing => return (follower, news),
                Told::Later(wait) => not_before = Instant::now() + wait,
            },
        }
    }
}

/// Since when there is something to tell. Counted.
struct Due {
    shared: Arc<Shared>,
    since: Instant,
}

impl Due {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.metrics.pending(true);
        Self { shared: shared.clone(), since: Instant::now() }
    }

    fn told(&self) {
        self.shared.metrics.shown(self.since.elapsed());
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        self.shared.metrics.pending(false);
    }
}

/// Of one state.
pub(super) struct Follower {
    shared: Arc<Shared>,
    pub(super) name: Arc<ResourceName>,
    state: State,
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
    /// Of this state; and whether the status tells of it already, by all that is known.
    pub(super) fn new(shared: Arc<Shared>, name: Arc<ResourceName>, target: Target) -> (Self, bool) {
        let Target { state, stands, compare } = target;
        // Before it is looked what is there: what comes meanwhile is heard.
        shared.hear(&name, &state);
        let told = !compare && state.mark().is_some_and(|mark| stands.shown.is_of(mark));
        (Self { shared, name, state, stands, told: None, wait: FIRST }, told)
    }

    /// Hears of something. Whether there may be something to tell by it.
    pub(super) fn take(&mut self, news: Heard) -> bool {
        match news {
            Heard::Seen => true,
            Heard::Stands(stands) => stands.uid == self.stands.uid && self.seen(stands),
            Heard::Target(Target { state, stands, compare }) => {
                let other = !state.is(&self.state);
                if other {
                    self.shared.hear(&self.name, &state);
                    self.state = state;
                }
                self.seen(stands) || other || compare
            }
        }
    }

    /// The resource was seen. Whether it differs from what was known.
    fn seen(&mut self, stands: Stood) -> bool {
        let anew = stands.uid != self.stands.uid || stands.restored > self.stands.restored;
        // What a watch tells may be older than what was patched since.
        if !anew && stands.shown.is_before(&self.stands.shown) {
            return false;
        }
        let differs = stands.uid != self.stands.uid || stands.shown != self.stands.shown;
        self.stands = stands;
        differs
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
                (Patched::Stale, Some(Ok(Some(stands)))) if stands.uid == self.stands.uid => {
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
        let state = &self.state;
        if state.mark().is_none() {
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
