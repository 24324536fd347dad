//! What can be done with one state: each verb of the protocol, and what a person asks for.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tracing::info;

use super::{
    Budget, Epoch, Head, LockInfo, OpId, Redacted, Settings, StateError, StatePath,
    engine::Inner,
    head::{Lock, LockRequest, Step, Unlock},
    known::Mark,
    mutant,
    owners::Leftover,
};

/// One state. Cloning shares it.
#[derive(Clone)]
pub struct State {
    pub(super) inner: Arc<Inner>,
}

/// A LOCK as a client sent it.
#[derive(Clone, Debug, Default)]
pub struct LockCall<'a> {
    /// The body: the client's LockInfo.
    pub info: &'a [u8],
    /// Whose credential asks.
    pub identity: &'a str,
    /// A salted hash of that credential.
    pub credential: Option<Redacted<String>>,
    /// The trace of the run.
    pub traceparent: Option<String>,
}

impl State {
    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Whether both are the same handle: what one knows, the other does.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &StatePath {
        &self.inner.path
    }

    /// The time by the store's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.kv.now()
    }

    /// Changes what the resource asks for.
    pub fn set_settings(&self, settings: Settings) {
        self.inner.settings.store(Arc::new(settings));
        self.wake();
    }

    /// Calls `told` for each newer head that this process sees, its own changes at once, until it answers false. It must not
    /// wait. The head itself is [`State::recent`].
    pub fn tell(&self, told: impl Fn() -> bool + Send + Sync + 'static) {
        let mut all = self.inner.told();
        // As a rule it stays the only one.
        all.reserve_exact(1);
        all.push(Box::new(told));
    }

    /// The head as it was seen in the last seconds, or else read now: to show, never to decide.
    ///
    /// # Errors
    /// As [`State::head`].
    pub async fn recent(&self, budget: &mut Budget) -> Result<Arc<Head>, StateError> {
        match self.inner.last_head() {
            Some(head) => Ok(head),
            None => self.head(budget).await,
        }
    }

    /// The head as it is now, to show: as it was seen last where only this process writes to the store, else read.
    ///
    /// # Errors
    /// As [`State::head`].
    pub async fn latest(&self, budget: &mut Budget) -> Result<Arc<Head>, StateError> {
        if self.inner.kv.exclusive() { self.recent(budget).await } else { self.head(budget).await }
    }

    /// How far the head was seen, for [`Registration::mark`](super::Registration::mark) of the next process.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        self.inner.mark()
    }

    /// Reads the head: who holds the lock, the versions, the trash.
    ///
    /// # Errors
    /// As every call: the store is away, or the head is lost, behind, damaged or another's.
    pub async fn head(&self, budget: &mut Budget) -> Result<Arc<Head>, StateError> {
        self.timed("head", async { Ok(self.inner.load(budget).await?.head) }).await
    }

    /// Makes sure that the path has a head and that this owner has it: creates the head of a path that never had one
    /// (no mark), takes one over with a higher claim.
    ///
    /// # Errors
    /// [`StateError::HeadLost`] where a head was seen and is gone; a foreign owner of the same or a higher claim.
    pub async fn register(&self, budget: &mut Budget) -> Result<(), StateError> {
        let work = async {
            loop {
                let base = match self.inner.load_any(budget).await? {
                    Some(base) => base,
                    None => self.inner.create(budget).await?,
                };
                let head = match base.head.taken_over(&self.inner.owner)? {
                    Step::Same(()) => return Ok(()),
                    Step::Change(head, ()) => head,
                };
                let former = base.head.owner.clone();
                match self.inner.replace(&base, *head, budget).await {
                    Ok(()) => {
                        info!(path = %self.inner.path, owner = %self.inner.owner, %former, "state taken over");
                        return Ok(());
                    }
                    Err(error) => self.inner.again("registering the path", error, budget).await?,
                }
            }
        };
        self.timed("register", work).await
    }

    /// LOCK. Granted (again) where this returns without an error.
    ///
    /// # Errors
    /// [`Refusal::Held`] with the holder, [`Refusal::LateRepeat`], or a body that is no LockInfo.
    pub async fn lock(&self, call: LockCall<'_>, budget: &mut Budget) -> Result<(), StateError> {
        let work = async {
            let info = LockInfo::parse(call.info)?;
            let ask = LockRequest {
                id: info.id,
                info: String::from_utf8_lossy(call.info).into_owned(),
                identity: call.identity.to_owned(),
                credential: call.credential,
                traceparent: call.traceparent,
            };
            let op = OpId::random();
            let mut anew = false;
            let change = self.inner.change("taking the lock", budget, |head, now, _| {
                let step = head.locked(&ask, attempt(op), now)?;
                anew = matches!(step, Step::Change(..)) || head.lock.as_ref().is_some_and(|lock| lock.op == op);
                Ok(step)
            });
            change.await?;
            let (path, identity, lock) = (&self.inner.path, &ask.identity, &ask.id);
            if anew {
                info!(%path, identity, lock, who = info.who, operation = info.operation, "locked");
            }
            Ok(())
        };
        self.timed("lock", work).await
    }

    /// UNLOCK with a body, or without one (`body` empty): Terraform's force-unlock. Answers the lock that was released;
    /// `None` where it was released before.
    ///
    /// # Errors
    /// [`Refusal::Held`] with the holder, [`Refusal::NeverHeld`], or a body that is no LockInfo.
    pub async fn unlock(&self, body: &[u8], identity: &str, budget: &mut Budget) -> Result<Option<Lock>, StateError> {
        let work = async {
            let ask = if body.is_empty() {
                let allowed = self.inner.settings.load().client_force_unlock;
                Unlock::Quiet(if allowed { self.inner.shared.options.blind_unlock } else { Duration::MAX })
            } else {
                Unlock::ById(LockInfo::parse(body)?.id)
            };
            self.release_lock(&ask, identity, budget).await
        };
        self.timed("unlock", work).await
    }

    /// Breaks the lock of that id, on a person's word.
    ///
    /// # Errors
    /// [`Refusal::Held`] where another lock is held, [`Refusal::NeverHeld`].
    pub async fn force_unlock(&self, id: &str, by: &str, budget: &mut Budget) -> Result<Option<Lock>, StateError> {
        self.timed("force_unlock", self.release_lock(&Unlock::Forced(id.to_owned()), by, budget)).await
    }

    /// Breaks the lock if its holder did nothing for longer than `after` (`spec.lock.staleAction: Release`).
    ///
    /// # Errors
    /// [`Refusal::Held`] where it did.
    pub async fn release_stale(&self, after: Duration, budget: &mut Budget) -> Result<Option<Lock>, StateError> {
        self.timed("release_stale", self.release_lock(&Unlock::Quiet(after), "tofustate/stale", budget)).await
    }

    async fn release_lock(&self, ask: &Unlock, by: &str, budget: &mut Budget) -> Result<Option<Lock>, StateError> {
        let op = OpId::random();
        let change = self
            .inner
            .change("releasing the lock", budget, |head, now, _| Ok(head.unlocked(ask, by, attempt(op), now)?));
        let released = change.await?;
        if let Some(lock) = &released {
            let forced = !matches!(ask, Unlock::ById(_));
            info!(path = %self.inner.path, identity = by, lock = lock.id, holder = lock.identity, forced, "unlocked");
        }
        Ok(released)
    }

    /// DELETE: clears the current version; history stays. Answers the version that was cleared, `None` where there was
    /// no state.
    ///
    /// # Errors
    /// [`Refusal::Held`] while locked.
    pub async fn delete(&self, identity: &str, budget: &mut Budget) -> Result<Option<u64>, StateError> {
        let work = async {
            let op = OpId::random();
            let change = self.inner.change("deleting the state", budget, |head, now, maybe| {
                let tried: Vec<u64> = maybe.iter().filter_map(|base| base.current).collect();
                Ok(head.cleared(&tried, identity, attempt(op), now)?)
            });
            let version = change.await?;
            if mutant::is("head-deleted") {
                let _ = self.inner.kv.delete_part(&super::keys::head(&self.inner.path)).await;
            }
            if version.is_some() {
                info!(path = %self.inner.path, identity, version, "state deleted; its history stays");
            }
            Ok(version)
        };
        self.timed("delete", work).await
    }

    /// Makes version `target` current again, as a copy, if `expected` is current (`None`: no state). `request` names
    /// what was asked: the same request is done once. Answers the new version.
    ///
    /// # Errors
    /// [`Refusal::Held`] while locked, [`Refusal::StaleCurrent`], [`Refusal::NoSuchVersion`].
    pub async fn rollback(
        &self,
        target: u64,
        expected: Option<u64>,
        request: &str,
        by: &str,
        budget: &mut Budget,
    ) -> Result<u64, StateError> {
        let work = async {
            let keep = self.inner.settings.load().retention.clone();
            let op = OpId::of_request(&format!("{}\n{request}", self.inner.path));
            let change = self.inner.change("rolling back", budget, |head, now, _| {
                Ok(head.rolled_back(target, expected, by, op, &keep, now)?)
            });
            let version = change.await?;
            info!(path = %self.inner.path, identity = by, target, version, "rolled back");
            Ok(version)
        };
        self.timed("rollback", work).await
    }

    /// Gives the path up: from then on no replica changes or reads it for this owner. `delete`: its versions go, and
    /// the head stays, empty. Answers what it leaves. Done already is done, but for versions that are still to be deleted.
    ///
    /// # Errors
    /// [`Refusal::Held`] while locked.
    pub async fn release(&self, delete: bool, budget: &mut Budget) -> Result<Leftover, StateError> {
        let work = async {
            let leaves = loop {
                let base = self.inner.load_any(budget).await?.ok_or(StateError::NotRegistered)?;
                let step = base.head.released(&self.inner.owner, delete, self.inner.kv.now())?;
                let leaves = match delete || base.head.versions.is_empty() {
                    true => Leftover::Nothing,
                    false => Leftover::State,
                };
                let Step::Change(head, ()) = step else { break leaves };
                match self.inner.replace(&base, *head, budget).await {
                    Ok(()) => break leaves,
                    Err(error) => self.inner.again("releasing the path", error, budget).await?,
                }
            };
            info!(path = %self.inner.path, owner = %self.inner.owner, delete, "path released");
            if delete {
                self.delete_all_objects(budget).await?;
            }
            Ok(leaves)
        };
        self.timed("release", work).await
    }

    /// Takes the store as it is, on a person's word: an empty head where the one of `epoch` was lost.
    ///
    /// # Errors
    /// Another epoch was seen last, or the head is there; [`StateError::HeadBehind`] where it is an older one.
    pub async fn accept_empty(&self, epoch: Epoch, budget: &mut Budget) -> Result<(), StateError> {
        let work = async {
            let mark = self.mark_of(epoch)?;
            match self.inner.load_any(budget).await {
                Err(StateError::HeadLost { .. }) => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(StateError::NothingToAccept),
            }
            let empty = Head::instead_of_lost(self.inner.owner.clone(), mark.epoch, mark.revision);
            self.inner.put_absent(empty, budget).await?;
            info!(path = %self.inner.path, lost = %epoch, "empty state accepted");
            Ok(())
        };
        self.timed("accept_empty", work).await
    }

    /// Takes the store as it is, on a person's word: the head that is behind the one of `epoch` that was seen.
    ///
    /// # Errors
    /// Another epoch was seen last, the head is gone, another's, or not behind.
    pub async fn accept_restore(&self, epoch: Epoch, budget: &mut Budget) -> Result<(), StateError> {
        let work = async {
            let mark = self.mark_of(epoch)?;
            let mut tried = Vec::new();
            loop {
                let (base, _) = self.inner.load_raw(budget).await?;
                let base = base.ok_or(StateError::HeadLost { epoch })?;
                // Ours, or one that our claim takes over: another's is not ours to accept.
                base.head.taken_over(&self.inner.owner)?;
                if tried.contains(&base.head.epoch) {
                    // An attempt whose answer was lost. Takes note of it.
                    self.inner.load_any(budget).await?;
                    break;
                }
                if base.head.epoch == mark.epoch && base.head.revision >= mark.revision
                    || base.head.supersedes.contains(&mark.epoch)
                {
                    return Err(StateError::NothingToAccept);
                }
                let head = base.head.accepted(mark.epoch, mark.revision);
                tried.push(head.epoch);
                match self.inner.replace(&base, head, budget).await {
                    Ok(()) => break,
                    Err(error) => self.inner.again("accepting the head", error, budget).await?,
                }
            }
            info!(path = %self.inner.path, behind = %epoch, "restored head accepted");
            Ok(())
        };
        self.timed("accept_restore", work).await
    }

    fn mark_of(&self, epoch: Epoch) -> Result<Mark, StateError> {
        let mark = self.inner.mark();
        mark.filter(|mark| mark.epoch == epoch)
            .ok_or(StateError::WrongEpoch { named: epoch, seen: mark.map(|mark| mark.epoch) })
    }

    /// Runs an operation, and counts what it came to and how long it took.
    pub(super) async fn timed<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, StateError>>,
    ) -> Result<T, StateError> {
        use tracing::Instrument as _;
        let began = self.inner.shared.clock.boot();
        // Each request does one thing with a state and has a span of its own: this one is for those who look closer.
        let span = tracing::debug_span!("state", operation, path = %self.inner.path);
        let done = work.instrument(span).await;
        let outcome = done.as_ref().map_or_else(StateError::kind, |_| "ok");
        self.inner.shared.metrics.operation(operation, outcome, self.inner.shared.clock.boot().saturating_sub(began));
        if let Err(error) = &done {
            error.log(operation, &self.inner.path);
        }
        done
    }
}

/// The operation's id for one attempt: the same for all.
pub(super) fn attempt(op: OpId) -> OpId {
    if mutant::is("fresh-id-each-attempt") { OpId::random() } else { op }
}
