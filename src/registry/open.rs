//! From a wish for a path to an open state: the path is claimed, its head registered. What the folder and the controller
//! both do; what they say of the outcome is theirs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

use crate::store::{
    Budget, ClosedKv, Engine, Epoch, Kv, Mark, Registration, Settings, State, StateError, StatePath, Stores,
    head::{HeadError, Owner, Refusal},
    owners::{self, Claim, ClaimError, Claimant, Leftover},
};

/// How long the store may take for one resource.
const TIME: Duration = Duration::from_secs(5);
/// So many in a row without an answer, and the others are told so at once.
const AWAY: usize = 16;
/// How often a claim is raised in one go.
const RAISES: usize = 3;
/// How often a head is looked for that another replica may be about to make, and how long after each look.
const HEAD_LOOKS: usize = 4;
const HEAD_PAUSE: Duration = Duration::from_millis(500);

/// Claims and registers paths in one store.
pub struct Opener {
    engine: Engine,
    stores: Arc<dyn Stores>,
    /// Calls in a row that the store did not answer.
    unanswered: AtomicUsize,
}

/// A path that somebody wants.
#[derive(Clone)]
pub struct Wish {
    /// The path.
    pub path: StatePath,
    /// Who wants it.
    pub who: Claimant,
    /// What is asked of its state.
    pub settings: Settings,
    /// May take a path that holds another's state.
    pub adopt: bool,
    /// How far its head was seen, by what is on record.
    pub mark: Option<Mark>,
    /// The state and its claim, as this process has it open.
    pub open: Option<(State, u64)>,
    /// What is done where its head is gone.
    pub empty: Word,
    /// What is done where its head is an older one.
    pub restore: Word,
}

/// A person's word that a head is to be taken as the store has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Word {
    /// None was given.
    #[default]
    Not,
    /// For whatever was seen before.
    Any,
    /// For the head of this epoch.
    Epoch(Epoch),
    /// For a head of which nothing is on record.
    Unknown,
}

/// A state that is claimed and registered.
pub struct Opened {
    /// The state.
    pub state: State,
    /// Its claim.
    pub claim: u64,
}

/// Why a path is not open.
pub enum Unopened {
    /// It is another's, named here.
    Owned(String),
    /// It holds the state of another.
    HasState(String),
    /// Its owner entry cannot be used.
    Damaged(String),
    /// Another replica claims it at the same time.
    Busy,
    /// The store does not answer.
    Away(String),
    /// It is the resource's own, and its state cannot be used.
    Faulty {
        /// As far as it was opened.
        state: Option<State>,
        /// Its claim.
        claim: u64,
        /// Why not.
        fault: Faulty,
    },
}

/// Why a state cannot be used.
#[derive(Debug)]
pub enum Faulty {
    /// Its path was the resource's before, there is no head, and nothing is on record.
    Missing,
    /// Its head was seen, and is gone.
    Lost {
        /// The head's.
        epoch: Epoch,
    },
    /// Its head is older than one that was seen.
    Behind {
        /// Of the head that was seen.
        epoch: Epoch,
        /// What was seen.
        seen: u64,
        /// What is there.
        found: u64,
    },
    /// Something else stands at its path.
    NotAHead(HeadError),
    /// Anything else.
    Other(StateError),
}

impl Word {
    /// Whether it is given for a head of this epoch (`None`: nothing is on record).
    #[must_use]
    pub fn covers(self, epoch: Option<Epoch>) -> bool {
        match self {
            Self::Not => false,
            Self::Any => true,
            Self::Epoch(named) => epoch == Some(named),
            Self::Unknown => epoch.is_none(),
        }
    }
}

impl Opener {
    /// For the paths of this store.
    #[must_use]
    pub fn new(engine: Engine, stores: Arc<dyn Stores>) -> Self {
        Self { engine, stores, unanswered: AtomicUsize::new(0) }
    }

    /// The store.
    #[must_use]
    pub fn stores(&self) -> &Arc<dyn Stores> {
        &self.stores
    }

    /// Asks the store again that did not answer.
    pub fn begin(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// Claims the path and registers its head.
    ///
    /// # Errors
    /// Why it is not open.
    pub async fn open(&self, wish: &Wish) -> Result<Opened, Unopened> {
        if self.unanswered.load(Ordering::Relaxed) >= AWAY {
            return Err(Unopened::Away("the store does not answer".to_owned()));
        }
        let done = self.claim(wish).await;
        match &done {
            // What is denied was tried for as long as an answer that does not come.
            Err(Unopened::Away(_) | Unopened::Faulty { fault: Faulty::Other(StateError::Store { .. }), .. }) => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) | Err(Unopened::Faulty { .. }) => self.unanswered.store(0, Ordering::Relaxed),
            Err(_) => {}
        }
        done
    }

    async fn claim(&self, wish: &Wish) -> Result<Opened, Unopened> {
        let budget = &mut Budget::new(TIME);
        let entries = self.stores.owners();
        let won = owners::win(&*entries, &wish.path, &wish.who, wish.adopt, budget).await.map_err(refused)?;
        let first = won.is_first_of(&wish.who);
        let Claim { number: mut claim, new, .. } = won;
        let mut state = match &wish.open {
            Some((state, of)) if *of == claim => state.clone(),
            // What this process has seen since counts, too.
            other => self.state(wish, claim, other.as_ref().and_then(|(state, _)| state.mark()).or(wish.mark)),
        };
        if !first && state.mark().is_none() && !wish.empty.covers(None) && self.headless(&state, budget).await {
            return Err(Unopened::Faulty { state: None, claim, fault: Faulty::Missing });
        }
        for _ in 0..RAISES {
            let error = match register(&state, wish, budget).await {
                Ok(()) => return Ok(Opened { state, claim }),
                Err(error) => error,
            };
            let fault = match error {
                StateError::Refused(Refusal::ForeignOwner(owner))
                    if owner.same_resource(&wish.who.owner(claim)) && owner.claim > claim =>
                {
                    let raised = owners::raise(&*entries, &wish.path, &wish.who, owner.claim, budget).await;
                    claim = raised.map_err(refused)?;
                    state = self.state(wish, claim, state.mark());
                    continue;
                }
                StateError::Refused(Refusal::ForeignOwner(owner)) => {
                    self.give_back(new, wish, claim, budget).await;
                    return Err(Unopened::Owned(owner.to_string()));
                }
                StateError::HeadLost { epoch } => Faulty::Lost { epoch },
                StateError::HeadBehind { epoch, seen, found, .. } => Faulty::Behind { epoch, seen, found },
                StateError::Head(error) => {
                    if matches!(error, HeadError::NotAHead(_) | HeadError::Deleted(_)) && state.mark().is_none() {
                        self.give_back(new, wish, claim, budget).await;
                    }
                    Faulty::NotAHead(error)
                }
                error @ (StateError::Unavailable { .. } | StateError::Busy { .. }) => {
                    return Err(Unopened::Away(error.to_string()));
                }
                error => Faulty::Other(error),
            };
            return Err(Unopened::Faulty { state: Some(state), claim, fault });
        }
        Err(Unopened::Busy)
    }

    fn state(&self, wish: &Wish, claim: u64, mark: Option<Mark>) -> State {
        let owner = wish.who.owner(claim);
        let kv = self.stores.state(&wish.path, &owner);
        self.of(wish, owner, kv, mark)
    }

    fn of(&self, wish: &Wish, owner: Owner, kv: Arc<dyn Kv>, mark: Option<Mark>) -> State {
        self.engine.open(Registration { path: wish.path.clone(), kv, owner, mark, settings: wish.settings.clone() })
    }

    /// The state under a claim, without a look at the store.
    #[must_use]
    pub fn handle(&self, wish: &Wish, claim: u64) -> State {
        self.state(wish, claim, wish.mark)
    }

    /// A state on which every call fails at once with these words: 503 is what its clients have to be told, not 403.
    #[must_use]
    pub fn shut(&self, wish: &Wish, why: &str) -> State {
        self.of(wish, wish.who.owner(0), Arc::new(ClosedKv(why.to_owned())), wish.mark)
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
    async fn give_back(&self, new: bool, wish: &Wish, claim: u64, budget: &mut Budget) {
        if new {
            let owners = self.stores.owners();
            let given = owners::release(&*owners, &wish.path, &wish.who, claim, Leftover::Nothing, budget).await;
            if let Err(error) = given {
                tracing::warn!(path = %wish.path, %error, "the claim of a path that holds something else could not be given back");
            }
        }
    }
}

async fn register(state: &State, wish: &Wish, budget: &mut Budget) -> Result<(), StateError> {
    match state.register(budget).await {
        Err(StateError::HeadLost { epoch }) if wish.empty.covers(Some(epoch)) => {
            state.accept_empty(epoch, budget).await?;
        }
        Err(StateError::HeadBehind { epoch, .. }) if wish.restore.covers(Some(epoch)) => {
            state.accept_restore(epoch, budget).await?;
        }
        other => return other,
    }
    state.register(budget).await
}

fn refused(error: ClaimError) -> Unopened {
    match error {
        ClaimError::Store { .. } => Unopened::Away(error.to_string()),
        ClaimError::HasState(_) => Unopened::HasState(error.to_string()),
        ClaimError::Damaged { .. } => Unopened::Damaged(error.to_string()),
        ClaimError::Conflict(owner) | ClaimError::Superseded(owner) => Unopened::Owned(owner),
    }
}
