//! Claims, opens and registers the states of resources: the only part that talks to the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

use super::{
    records::{Kept, Records},
    report::{Kind, Place, Problem, Reason},
    tokens::{Obtained, Tokens},
};
use crate::registry::ResourceName;
use crate::store::{
    Budget, ClosedKv, Engine, Kv, Mark, Registration, Settings, State, StateError, StatePath, Stores,
    head::{HeadError, Owner, Refusal},
    owners::{self, Claim, ClaimError, Claimant, Leftover},
};

/// How long the store may take for one resource.
const TIME: Duration = Duration::from_secs(5);
/// How many resources are worked on at a time.
const AT_A_TIME: usize = 16;
/// So many in a row without an answer, and the others wait for the next pass.
const AWAY: usize = AT_A_TIME;
/// How often a claim is raised in one go.
const RAISES: usize = 3;
/// How often a head is looked for that another replica may be about to make, and how long after each look.
const HEAD_LOOKS: usize = 4;
const HEAD_PAUSE: Duration = Duration::from_millis(500);

/// What opening needs.
pub(super) struct Opener {
    pub(super) engine: Engine,
    pub(super) stores: Arc<dyn Stores>,
    pub(super) instance: String,
    /// Heads that are lost or behind are taken as they are.
    pub(super) accept: bool,
    pub(super) records: Arc<Records>,
    pub(super) tokens: Tokens,
    /// Calls in a row that the store did not answer.
    pub(super) unanswered: AtomicUsize,
}

/// A resource whose path is to be served.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) name: ResourceName,
    pub(super) place: Place,
    pub(super) path: StatePath,
    pub(super) settings: Settings,
    /// May take a path that holds another's state.
    pub(super) adopt: bool,
    pub(super) kept: Arc<Kept>,
    /// What the record says.
    pub(super) mark: Option<Mark>,
    pub(super) opened: Option<Opened>,
    /// It names no Secret, and its token is not known yet.
    pub(super) needs_token: bool,
}

/// A state that this process has open.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) state: State,
    /// The claim it was opened with; 0 before one was won: then no call on it can change or read anything.
    pub(super) claim: u64,
    /// Why every call on it fails, where it does.
    pub(super) fault: Option<Problem>,
    /// Claimed and registered since its manifest came.
    pub(super) verified: bool,
}

/// What came of a candidate.
pub(super) struct Outcome {
    pub(super) name: ResourceName,
    /// Its state, if the path is its own or may be.
    pub(super) opened: Option<Opened>,
    /// Why it is not.
    pub(super) problem: Option<Problem>,
    pub(super) token: Option<Result<Obtained, Problem>>,
}

enum Failed {
    /// The path is another's.
    Refused(Problem),
    /// The path is this resource's, and its head cannot be used.
    Fault(Opened),
    /// The store does not answer.
    Away(Problem),
}

impl Opener {
    /// Works on groups of candidates for one path each, the best candidate of a group first.
    pub(super) async fn run(self: &Arc<Self>, groups: Vec<Vec<Candidate>>) -> Vec<Outcome> {
        self.unanswered.store(0, Ordering::Relaxed);
        let mut outcomes = Vec::new();
        let mut work = JoinSet::new();
        for group in groups {
            if work.len() >= AT_A_TIME
                && let Some(done) = work.join_next().await
            {
                outcomes.extend(done.unwrap_or_default());
            }
            let opener = self.clone();
            work.spawn(async move { opener.group(group).await });
        }
        while let Some(done) = work.join_next().await {
            outcomes.extend(done.unwrap_or_default());
        }
        outcomes
    }

    /// The first that the store does not refuse has the path.
    async fn group(&self, group: Vec<Candidate>) -> Vec<Outcome> {
        let mut outcomes: Vec<(Candidate, Outcome)> = Vec::new();
        let mut winner: Option<(ResourceName, Place)> = None;
        for candidate in group {
            let name = candidate.name.clone();
            let mut outcome = Outcome { name, opened: None, problem: None, token: None };
            if winner.is_none() {
                match self.open(&candidate).await {
                    Ok(opened) | Err(Failed::Fault(opened)) => {
                        outcome.opened = Some(opened);
                        if candidate.needs_token {
                            outcome.token = Some(self.token(&candidate.name).await);
                        }
                    }
                    Err(Failed::Refused(problem)) => outcome.problem = Some(problem),
                    Err(Failed::Away(problem)) => {
                        outcome.opened = Some(self.unanswered(&candidate, problem));
                        if candidate.needs_token {
                            outcome.token = Some(self.token(&candidate.name).await);
                        }
                    }
                }
                if outcome.opened.is_some() {
                    winner = Some((candidate.name.clone(), candidate.place.clone()));
                }
            }
            outcomes.push((candidate, outcome));
        }
        let told = outcomes.into_iter().map(|(candidate, mut outcome)| {
            if let Some((name, place)) = winner.as_ref().filter(|(name, _)| *name != outcome.name) {
                outcome.problem = Some(conflict(&candidate.name, &candidate.place, &candidate.path, name, place));
            }
            outcome
        });
        told.collect()
    }

    async fn token(&self, name: &ResourceName) -> Result<Obtained, Problem> {
        let (tokens, name) = (self.tokens.clone(), name.clone());
        let done = spawn_blocking(move || tokens.obtain(&name)).await;
        done.unwrap_or_else(|error| Err(Problem::error(Reason::DataFile, format!("reading the token: {error}"))))
    }

    /// A state on which every call fails until the store answers: 503 is what its clients have to be told, not 403.
    fn unanswered(&self, candidate: &Candidate, problem: Problem) -> Opened {
        match &candidate.opened {
            Some(opened) if opened.claim > 0 => Opened { fault: Some(problem), verified: false, ..opened.clone() },
            _ => self.shut(candidate, problem),
        }
    }

    fn who(&self, candidate: &Candidate) -> Claimant {
        let ResourceName { namespace, name } = candidate.name.clone();
        Claimant { instance: self.instance.clone(), namespace, name, uid: None }
    }

    fn state(&self, candidate: &Candidate, claim: u64, mark: Option<Mark>) -> State {
        let owner = self.who(candidate).owner(claim);
        let kv = self.stores.state(&candidate.path, &owner);
        self.opened(candidate, owner, kv, mark)
    }

    fn opened(&self, candidate: &Candidate, owner: Owner, kv: Arc<dyn Kv>, mark: Option<Mark>) -> State {
        self.engine.open(Registration {
            path: candidate.path.clone(),
            kv,
            owner,
            mark,
            settings: candidate.settings.clone(),
        })
    }

    async fn open(&self, candidate: &Candidate) -> Result<Opened, Failed> {
        let about = |reason, message: String| {
            Problem::error(reason, message).at(&candidate.place).of(Kind::TofuStateBackend, &candidate.name)
        };
        let away = |message: String| {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            let message = format!("{message}; every request is answered with 503, and it is tried again");
            Failed::Away(about(Reason::StoreUnavailable, message))
        };
        if self.unanswered.load(Ordering::Relaxed) >= AWAY {
            let message = "the store does not answer; every request is answered with 503, and it is tried again";
            return Err(Failed::Away(about(Reason::StoreUnavailable, message.to_owned())));
        }
        let refused = |error: ClaimError| match error {
            ClaimError::Store { .. } => away(error.to_string()),
            ClaimError::HasState(_) => Failed::Refused(about(Reason::PathHasState, error.to_string())),
            ClaimError::Damaged { .. } => Failed::Refused(about(Reason::NotAHead, error.to_string())),
            ClaimError::Conflict(owner) | ClaimError::Superseded(owner) => Failed::Refused(owned(about, &owner)),
        };
        let budget = &mut Budget::new(TIME);
        let who = self.who(candidate);
        let entries = self.stores.owners();
        let won = owners::win(&*entries, &candidate.path, &who, candidate.adopt, budget).await;
        let Claim { number: mut claim, new } = won.map_err(refused)?;
        let mut state = match &candidate.opened {
            Some(opened) if opened.claim == claim => opened.state.clone(),
            other => {
                // What this process has seen since counts, too.
                let seen = other.as_ref().and_then(|opened| opened.state.mark());
                self.state(candidate, claim, seen.or(candidate.mark))
            }
        };
        if !new && !self.accept && state.mark().is_none() && self.headless(&state, budget).await {
            let message = "the path was this resource's before, it has no state in the store, and nothing on record here says that it never had one: every request is answered with 503, since tofu would take 'no state' for an order to build everything again; restore the store from a backup, or where there was no state yet start tofustate once with --accept-restore";
            return Err(Failed::Fault(self.shut(candidate, about(Reason::HeadLost, message.to_owned()))));
        }
        for _ in 0..RAISES {
            let error = match self.register(&state, candidate, budget).await {
                Ok(()) => {
                    candidate.kept.follow(&state);
                    // Before the path is first served: else a store lost right after would not be noticed.
                    // An older mark of the same epoch does for that.
                    if let Err(problem) = self.records.write(&candidate.kept).await
                        && candidate.mark.map(|mark| mark.epoch) != state.mark().map(|mark| mark.epoch)
                    {
                        let message = format!("{}; every request is answered with 503 until then", problem.message);
                        return Err(Failed::Fault(self.shut(candidate, Problem { message, ..problem })));
                    }
                    self.unanswered.store(0, Ordering::Relaxed);
                    return Ok(Opened { state, claim, fault: None, verified: true });
                }
                Err(error) => error,
            };
            let advice = "restore the store from a backup that has it, or start tofustate with --accept-restore to go on from what the store has";
            let fault = match error {
                StateError::Refused(Refusal::ForeignOwner(owner))
                    if owner.same_resource(&who.owner(claim)) && owner.claim > claim =>
                {
                    let raised = owners::raise(&*entries, &candidate.path, &who, owner.claim, budget).await;
                    claim = raised.map_err(refused)?;
                    state = self.state(candidate, claim, state.mark());
                    continue;
                }
                StateError::Refused(Refusal::ForeignOwner(owner)) => {
                    self.give_back(new, candidate, claim, budget).await;
                    return Err(Failed::Refused(owned(about, &owner.to_string())));
                }
                StateError::HeadLost { epoch } => about(
                    Reason::HeadLost,
                    format!(
                        "this state (epoch {epoch}) was in the store before and is gone: every request is answered with 503; {advice}, which is nothing: tofu would then plan to build everything again"
                    ),
                ),
                StateError::HeadBehind { seen, found, .. } => about(
                    Reason::StoreWentBack,
                    format!(
                        "the store has an older state (revision {found}) than was seen before (revision {seen}): every request is answered with 503; {advice}"
                    ),
                ),
                StateError::Head(error @ HeadError::NotAHead(_)) if state.mark().is_none() => {
                    self.give_back(new, candidate, claim, budget).await;
                    about(
                        Reason::PathHasState,
                        format!(
                            "{error}: every request is answered with 503 and nothing is written there, until tofustate adopt {} has taken it over or it is gone",
                            candidate.path
                        ),
                    )
                }
                error @ (StateError::Head(_) | StateError::Refused(_)) => {
                    if matches!(error, StateError::Head(HeadError::Deleted(_))) && state.mark().is_none() {
                        self.give_back(new, candidate, claim, budget).await;
                    }
                    about(Reason::NotAHead, error.to_string())
                }
                error => return Err(away(error.to_string())),
            };
            self.unanswered.store(0, Ordering::Relaxed);
            candidate.kept.follow(&state);
            return Err(Failed::Fault(Opened { state, claim, fault: Some(fault), verified: false }));
        }
        Err(Failed::Refused(about(Reason::PathConflict, "another replica claims the path at the same time".to_owned())))
    }

    async fn register(&self, state: &State, candidate: &Candidate, budget: &mut Budget) -> Result<(), StateError> {
        // What is found wrong later, while the process runs, is for a person to look at first.
        let accept = self.accept && candidate.opened.as_ref().is_none_or(|opened| opened.claim == 0);
        match state.register(budget).await {
            Err(StateError::HeadLost { epoch }) if accept => state.accept_empty(epoch, budget).await?,
            Err(StateError::HeadBehind { epoch, .. }) if accept => state.accept_restore(epoch, budget).await?,
            other => return other,
        }
        state.register(budget).await
    }

    /// Whether a path that others write to as well has no head, also not after a while: the replica that won it a moment
    /// ago may be about to make it.
    async fn headless(&self, state: &State, budget: &mut Budget) -> bool {
        if self.stores.owners().exclusive() {
            // What is there, this process made: it ended between claim and head.
            return false;
        }
        for _ in 0..HEAD_LOOKS {
            if !matches!(state.head(budget).await, Err(StateError::NotRegistered)) {
                return false;
            }
            sleep(HEAD_PAUSE).await;
        }
        true
    }

    /// Gives up a claim that was won just now, of a path that turned out to hold something else: whoever may have that
    /// would be refused for it.
    async fn give_back(&self, new: bool, candidate: &Candidate, claim: u64, budget: &mut Budget) {
        if new {
            let (owners, who) = (self.stores.owners(), self.who(candidate));
            let given = owners::release(&*owners, &candidate.path, &who, claim, Leftover::Nothing, budget).await;
            if let Err(error) = given {
                tracing::warn!(path = %candidate.path, %error, "the claim of a path that holds something else could not be given back");
            }
        }
    }

    /// A state on which every call fails at once with what is wrong.
    fn shut(&self, candidate: &Candidate, problem: Problem) -> Opened {
        let kv = Arc::new(ClosedKv(problem.message.clone()));
        let state = self.opened(candidate, self.who(candidate).owner(0), kv, candidate.mark);
        Opened { state, claim: 0, fault: Some(problem), verified: false }
    }
}

fn owned(about: impl Fn(Reason, String) -> Problem, owner: &str) -> Problem {
    let message = format!(
        "the path belongs to {owner}: choose another path. That resource is served here too where --instance and the manifest's namespace and name are the same; a manifest that goes gives nothing up"
    );
    about(Reason::PathConflict, message)
}

/// What the loser of a path is told.
pub(super) fn conflict(
    name: &ResourceName,
    place: &Place,
    path: &StatePath,
    winner: &ResourceName,
    of: &Place,
) -> Problem {
    let message = format!("{path} belongs to {winner} ({of}): choose another path");
    Problem::error(Reason::PathConflict, message).at(place).of(Kind::TofuStateBackend, name).field("spec.path")
}
