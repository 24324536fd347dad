//! Claims, opens and registers the states of resources, several at a time, and says what is wrong with them. Only this part
//! asks the store.

use std::sync::Arc;

use tokio::task::{JoinSet, spawn_blocking};

use super::{
    records::{Kept, Records},
    report::{Kind, Place, Problem, Reason},
    tokens::{Obtained, Tokens},
};
use crate::registry::{
    ResourceName,
    open::{self, Faulty, Unopened, Wish, Word},
};
use crate::store::{Mark, Settings, State, StateError, StatePath, head::HeadError, owners::Claimant};

/// How many resources are worked on at a time.
const AT_A_TIME: usize = 16;

/// What opening needs.
pub(super) struct Opener {
    pub(super) paths: open::Opener,
    pub(super) instance: String,
    /// Heads that are lost or behind are taken as they are.
    pub(super) accept: bool,
    pub(super) records: Arc<Records>,
    pub(super) tokens: Tokens,
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
        self.paths.begin();
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

    fn wish(&self, candidate: &Candidate) -> Wish {
        let ResourceName { namespace, name } = candidate.name.clone();
        // What is found wrong later, while the process runs, is for a person to look at first.
        let first = candidate.opened.as_ref().is_none_or(|opened| opened.claim == 0);
        let word = if self.accept && first { Word::Any } else { Word::Not };
        Wish {
            path: candidate.path.clone(),
            who: Claimant { instance: self.instance.clone(), namespace, name, uid: None },
            settings: candidate.settings.clone(),
            adopt: candidate.adopt,
            mark: candidate.mark,
            open: candidate.opened.as_ref().map(|opened| (opened.state.clone(), opened.claim)),
            empty: word,
            restore: word,
        }
    }

    async fn open(&self, candidate: &Candidate) -> Result<Opened, Failed> {
        let about = |reason, message: String| {
            Problem::error(reason, message).at(&candidate.place).of(Kind::TofuStateBackend, &candidate.name)
        };
        let away = |message: String| {
            let message = format!("{message}; every request is answered with 503, and it is tried again");
            Failed::Away(about(Reason::StoreUnavailable, message))
        };
        let (state, claim, fault) = match self.paths.open(&self.wish(candidate)).await {
            Ok(open::Opened { state, claim }) => {
                candidate.kept.follow(&state);
                // Before the path is first served: else a store lost right after would not be noticed.
                // An older mark of the same epoch does for that.
                if let Err(problem) = self.records.write(&candidate.kept).await
                    && candidate.mark.map(|mark| mark.epoch) != state.mark().map(|mark| mark.epoch)
                {
                    let message = format!("{}; every request is answered with 503 until then", problem.message);
                    return Err(Failed::Fault(self.shut(candidate, Problem { message, ..problem })));
                }
                return Ok(Opened { state, claim, fault: None, verified: true });
            }
            Err(Unopened::Owned(owner)) => return Err(Failed::Refused(owned(about, &owner))),
            Err(Unopened::HasState(error)) => return Err(Failed::Refused(about(Reason::PathHasState, error))),
            Err(Unopened::Damaged(error)) => return Err(Failed::Refused(about(Reason::NotAHead, error))),
            Err(Unopened::Busy) => {
                let message = "another replica claims the path at the same time";
                return Err(Failed::Refused(about(Reason::PathConflict, message.to_owned())));
            }
            Err(Unopened::Away(message)) => return Err(away(message)),
            Err(Unopened::Faulty { state, claim, fault }) => (state, claim, fault),
        };
        let advice = "restore the store from a backup that has it, or start tofustate with --accept-restore to go on from what the store has";
        let fault = match fault {
            Faulty::Missing => {
                let message = "the path was this resource's before, it has no state in the store, and nothing on record here says that it never had one: every request is answered with 503, since tofu would take 'no state' for an order to build everything again; restore the store from a backup, or where there was no state yet start tofustate once with --accept-restore";
                about(Reason::HeadLost, message.to_owned())
            }
            Faulty::Lost { epoch } => about(
                Reason::HeadLost,
                format!(
                    "this state (epoch {epoch}) was in the store before and is gone: every request is answered with 503; {advice}, which is nothing: tofu would then plan to build everything again"
                ),
            ),
            Faulty::Behind { seen, found, .. } => about(
                Reason::StoreWentBack,
                format!(
                    "the store has an older state (revision {found}) than was seen before (revision {seen}): every request is answered with 503; {advice}"
                ),
            ),
            Faulty::NotAHead(error @ HeadError::NotAHead(_))
                if state.as_ref().is_none_or(|state| state.mark().is_none()) =>
            {
                about(
                    Reason::PathHasState,
                    format!(
                        "{error}: every request is answered with 503 and nothing is written there, until tofustate adopt {} has taken it over or it is gone",
                        candidate.path
                    ),
                )
            }
            Faulty::NotAHead(error) => about(Reason::NotAHead, error.to_string()),
            Faulty::Other(error @ StateError::Refused(_)) => about(Reason::NotAHead, error.to_string()),
            Faulty::Other(error) => return Err(away(error.to_string())),
        };
        let Some(state) = state else { return Err(Failed::Fault(self.shut(candidate, fault))) };
        candidate.kept.follow(&state);
        Err(Failed::Fault(Opened { state, claim, fault: Some(fault), verified: false }))
    }

    /// A state on which every call fails at once with what is wrong.
    fn shut(&self, candidate: &Candidate, problem: Problem) -> Opened {
        let state = self.paths.shut(&self.wish(candidate), &problem.message);
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
