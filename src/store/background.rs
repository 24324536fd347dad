//! When the work that no client waits for is done: after a write, when something in a head comes due, and once a day the
//! sweep. What is done is in `maintain`.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval},
};

use super::{
    State, StateError, StatePath,
    engine::{Inner, Shared},
};

/// How often heads are looked through for what came due.
const LOOK: Duration = Duration::from_secs(60);
/// How often the parts of a state are listed for what no head names.
const SWEEP: Duration = Duration::from_secs(24 * 3_600);

/// What an engine does in the background.
#[derive(Default)]
pub(super) struct Background {
    plan: Mutex<Plan>,
    more: Notify,
}

#[derive(Default)]
struct Plan {
    /// States that changed.
    woken: Vec<Weak<Inner>>,
    waiting: HashSet<StatePath>,
    /// All states, with the time of this machine's clock when each is swept next.
    all: Vec<(Weak<Inner>, Duration)>,
}

impl Background {
    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a state that was opened into care. Sweeps are spread over the day.
    pub(super) fn adopt(&self, state: &Arc<Inner>) {
        let first = state.shared.clock.boot() + SWEEP.mul_f64(rand::random_range(0.0..1.0));
        self.plan().all.push((Arc::downgrade(state), first));
    }

    /// Asks for [`State::maintain`] soon.
    pub(super) fn wake(&self, state: &Arc<Inner>) {
        let mut plan = self.plan();
        if plan.waiting.insert(state.path.clone()) {
            plan.woken.push(Arc::downgrade(state));
            self.more.notify_one();
        }
    }

    /// States for the next pass, which nobody is woken for.
    fn put_back(&self, states: impl Iterator<Item = State>) {
        let mut plan = self.plan();
        for state in states {
            if plan.waiting.insert(state.inner.path.clone()) {
                plan.woken.push(Arc::downgrade(&state.inner));
            }
        }
    }

    fn take_woken(&self) -> Vec<State> {
        let mut plan = self.plan();
        plan.waiting.clear();
        plan.woken.drain(..).filter_map(|state| state.upgrade()).map(|inner| State { inner }).collect()
    }

    /// Wakes each state in whose head something came due, and answers those whose sweep is.
    fn look(&self, now: Duration) -> Vec<State> {
        let mut plan = self.plan();
        plan.all.retain(|(state, _)| state.strong_count() > 0);
        let states: Vec<Arc<Inner>> = plan.all.iter().filter_map(|(state, _)| state.upgrade()).collect();
        let mut sweep = Vec::new();
        for (state, due) in &mut plan.all {
            if now >= *due
                && let Some(inner) = state.upgrade()
            {
                *due = now + SWEEP;
                sweep.push(State { inner });
            }
        }
        drop(plan);
        for state in states.iter().filter(|state| state.look()) {
            self.wake(state);
        }
        sweep
    }
}

/// Works until `stop` changes; what is under way then is finished. A fault was logged where it happened; the next look,
/// write or sweep tries again.
pub(super) async fn run(shared: &Shared, mut stop: watch::Receiver<bool>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut sweep = Vec::new();
        tokio::select! {
            _ = stop.changed() => return,
            () = shared.background.more.notified() => {}
            _ = looks.tick() => sweep = shared.background.look(shared.clock.boot()),
        }
        // One at a time, behind the clients' work. Where the store is away the pass ends: each of thousands would wait.
        let mut woken = shared.background.take_woken().into_iter();
        while let Some(state) = woken.next() {
            let done = state.maintain().await;
            if stop.has_changed().unwrap_or(true) {
                return;
            }
            if matches!(done, Err(StateError::Unavailable { .. })) {
                shared.background.put_back([state].into_iter().chain(woken));
                break;
            }
        }
        for state in sweep {
            let done = state.sweep().await;
            if stop.has_changed().unwrap_or(true) {
                return;
            }
            if matches!(done, Err(StateError::Unavailable { .. })) {
                break;
            }
        }
    }
}

impl State {
    /// Asks for [`State::maintain`] in the background.
    pub(super) fn wake(&self) {
        self.inner.shared.background.wake(&self.inner);
    }
}
