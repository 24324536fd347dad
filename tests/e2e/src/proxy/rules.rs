//! Which request meets which fault. Only the order in which requests arrive decides, never a clock.

use std::{collections::VecDeque, fmt, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed; the server never sees the request.
    DropRequest,
    /// The server acts, and the connection is closed without its answer.
    DropAnswer,
    /// The request reaches the server this much later, also where its client has gone by then.
    HoldRequest(Duration),
    /// The server acts at once, and its answer comes this much later.
    HoldAnswer(Duration),
    /// The server acts; half of its answer's body, then the connection is reset.
    CutAnswer,
    /// An answer of this status in place of the server, which never sees the request.
    Answer(u16, RetryAfter),
}

/// The seconds of a `Retry-After` header, if there is one.
pub type RetryAfter = Option<u32>;

impl Fault {
    /// Its name in counts.
    pub fn name(self) -> String {
        match self {
            Self::DropRequest => "drop-request".to_owned(),
            Self::DropAnswer => "drop-answer".to_owned(),
            Self::HoldRequest(_) => "hold-request".to_owned(),
            Self::HoldAnswer(_) => "hold-answer".to_owned(),
            Self::CutAnswer => "cut-answer".to_owned(),
            Self::Answer(status, _) => format!("answer-{status}"),
        }
    }
}

type Matches = Box<dyn Fn(&str, &str) -> bool + Send>;

/// For the requests that match, which of them meet a fault.
pub(super) struct Rule {
    matches: Matches,
    plan: Plan,
}

enum Plan {
    Script(VecDeque<Option<Fault>>),
    Random { rng: Box<Xoshiro256PlusPlus>, percent: u32, faults: Vec<Fault> },
}

impl Rule {
    /// The first request that matches meets the first of these, and so on; after the last, none.
    pub(super) fn script(matches: Matches, faults: impl IntoIterator<Item = Option<Fault>>) -> Self {
        Self { matches, plan: Plan::Script(faults.into_iter().collect()) }
    }

    /// So many of a hundred requests that match meet one of these, drawn from a seed.
    pub(super) fn random(matches: Matches, seed: u64, percent: u32, faults: &[Fault]) -> Self {
        let rng = Box::new(Xoshiro256PlusPlus::seed_from_u64(seed));
        Self { matches, plan: Plan::Random { rng, percent, faults: faults.to_vec() } }
    }

    /// What this request meets by this rule.
    pub(super) fn next(&mut self, method: &str, path: &str) -> Option<Fault> {
        if !(self.matches)(method, path) {
            return None;
        }
        match &mut self.plan {
            Plan::Script(faults) => faults.pop_front().flatten(),
            Plan::Random { rng, percent, faults } => {
                let (drawn, which) = (rng.random_range(0..100) < *percent, rng.random_range(0..faults.len()));
                drawn.then(|| faults[which])
            }
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plan {
            Plan::Script(faults) => f.debug_tuple("Script").field(faults).finish(),
            Plan::Random { percent, faults, .. } => f.debug_tuple("Random").field(percent).field(faults).finish(),
        }
    }
}
