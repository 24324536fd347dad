//! How a head is read and changed: the one loop of compare-and-swap that every transition goes through.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    Budget, Entry, Expect, Head, KvError, StateError, Value,
    engine::Inner,
    head::{HeadError, MAX_HEAD, Refusal, Step},
    keys,
    known::{Base, Mark, behind},
    mutant,
};

impl Inner {
    /// Reads the head and checks it against what was seen, but not its owner. `None`: there is none, and none was seen.
    pub(super) async fn load_any(&self, budget: &mut Budget) -> Result<Option<Base>, StateError> {
        match self.load_raw(budget).await? {
            (Some(base), mark) if behind(&base.head, mark) => Err(self.behind_error(&base, mark)),
            (Some(base), _) => {
                self.remember(&base);
                Ok(Some(base))
            }
            (None, Some(mark)) => Err(StateError::HeadLost { epoch: mark.epoch }),
            (None, None) => Ok(None),
        }
    }

    fn behind_error(&self, base: &Base, mark: Option<Mark>) -> StateError {
        self.forget();
        let (epoch, seen) = mark.map_or((base.head.epoch, 0), |mark| (mark.epoch, mark.revision));
        StateError::HeadBehind { epoch, seen, found_epoch: base.head.epoch, found: base.head.revision }
    }

    /// The head as the store has it, and how far it had been seen when the call began.
    pub(super) async fn load_raw(&self, budget: &mut Budget) -> Result<(Option<Base>, Option<Mark>), StateError> {
        let key = keys::head(&self.path);
        loop {
            let (mark, known, generation) = (self.mark(), self.shared.clock.boot(), self.kv.generation());
            let read = self.call("get", budget, self.kv.get(&key)).await;
            match read {
                Ok(Some(entry)) => {
                    // Whatever stands there now, what was known before is no base any more.
                    let base = self.base_of(entry, known, generation).inspect_err(|_| self.forget())?;
                    return Ok((Some(base), mark));
                }
                Ok(None) => {
                    self.forget();
                    return Ok((None, mark));
                }
                Err(error) => self.retry("reading the head", budget, error).await?,
            }
        }
    }

    fn base_of(&self, entry: Entry, known: Duration, generation: u64) -> Result<Base, StateError> {
        let text = match entry.value {
            Value::Document(text) => text,
            Value::Part(_) => return Err(HeadError::NotAHead("a part of a state".to_owned()).into()),
            Value::Foreign(what) => return Err(HeadError::NotAHead(what).into()),
            Value::Deleted(what) => return Err(HeadError::Deleted(what).into()),
        };
        // The same bytes mean the same head, whatever the revision: reading them again is most of a read's work.
        let same = self.known_head(&text);
        let head = match same {
            Some(head) => head,
            None => Arc::new(Head::parse(&text)?),
        };
        Ok(Base { head, text, revision: entry.revision, known, generation })
    }

    /// Reads the head as one that this process may work on.
    pub(super) async fn load(&self, budget: &mut Budget) -> Result<Base, StateError> {
        let base = match self.load_any(budget).await {
            Err(StateError::HeadLost { .. }) if mutant::is("lost-head-made-anew") => self.create(budget).await?,
            found => found?.ok_or(StateError::NotRegistered)?,
        };
        base.head.owned_by(&self.owner)?;
        Ok(base)
    }

    /// Changes the head by `decide`, which sees a head and answers what it should become. It may be asked several
    /// times, and sees the bases of those earlier attempts that may have landed all the same. An answer that changes
    /// nothing is only taken from a head read after this call began.
    pub(super) async fn change<T: Send>(
        &self,
        doing: &'static str,
        budget: &mut Budget,
        decide: impl FnMut(&Head, Timestamp, &[Arc<Head>]) -> Result<Step<T>, StateError> + Send,
    ) -> Result<T, StateError> {
        let asked = self.shared.clock.boot();
        let turn = budget.within(self.queue.lock()).await.map_err(|_| StateError::Busy { doing })?;
        let done = self.change_in_turn(doing, asked, budget, decide).await;
        drop(turn);
        done
    }

    async fn change_in_turn<T: Send>(
        &self,
        doing: &'static str,
        asked: Duration,
        budget: &mut Budget,
        mut decide: impl FnMut(&Head, Timestamp, &[Arc<Head>]) -> Result<Step<T>, StateError> + Send,
    ) -> Result<T, StateError> {
        let mut cached = self.cached();
        let mut maybe = Vec::new();
        let mut made_room = false;
        loop {
            let (base, fresh) = match cached.take() {
                Some(base) => (base.clone(), base.known > asked),
                None => (self.load(budget).await?, true),
            };
            let owned = base.head.owned_by(&self.owner).map_err(StateError::from);
            let step = owned.and_then(|()| decide(&base.head, self.kv.now(), &maybe));
            let (head, done) = match step {
                Ok(Step::Change(head, done)) => (*head, done),
                _ if !fresh && !mutant::is("answer-from-cached-head") => continue,
                Ok(Step::Same(done)) => return Ok(done),
                Err(error) => return Err(error),
            };
            match self.swap(&base, head, !made_room, budget).await {
                Ok(()) => return Ok(done),
                Err(Swap::NoRoom) => {
                    // What could not move out will not later; where only the swap failed, it will.
                    made_room = !self.make_room(&base, budget).await?;
                }
                Err(Swap::Wrong(fault)) => return Err(StateError::Internal { doing, fault: fault.to_owned() }),
                Err(Swap::Full(bytes)) => return Err(Refusal::HeadFull { bytes }.into()),
                // Another was faster, or an earlier attempt of ours: the next look tells.
                Err(Swap::Store(KvError::CasMismatch)) => {
                    let waited = budget.pause(Some(Duration::from_millis(5))).await;
                    waited.map_err(|_| StateError::Busy { doing })?;
                }
                Err(Swap::Store(error)) => {
                    if error.ambiguous() {
                        maybe.push(base.head);
                    }
                    self.retry(doing, budget, error).await?;
                }
            }
        }
    }

    /// One compare-and-swap of the head. One that is too large asks for versions to `move_out` first, or drops them.
    async fn swap(&self, base: &Base, mut head: Head, move_out: bool, budget: &mut Budget) -> Result<(), Swap> {
        let mut text = head.encode();
        if text.len() > MAX_HEAD {
            if move_out && !base.head.to_move_out(self.shared.options.inline, true).is_empty() {
                return Err(Swap::NoRoom);
            }
            let before = (text.len(), head.versions.len());
            if !head.shrink(self.kv.now()) {
                return Err(Swap::Full(text.len()));
            }
            tracing::warn!(
                path = %self.path, bytes = before.0, dropped = before.1 - head.versions.len(), trash = head.trash.len(),
                "the head has no room: the oldest versions were dropped before the retention asked for it"
            );
            text = head.encode();
        }
        if text.is_empty() {
            return Err(Swap::Wrong("it cannot be written as JSON"));
        }
        if let Err(fault) = head.check() {
            // A transition made a head that no reader would take: better refused than written.
            return Err(Swap::Wrong(fault));
        }
        let text: Arc<str> = text.into();
        let (known, generation) = (self.shared.clock.boot(), self.kv.generation());
        // Whatever comes of it, the old head is no base any more; if this call is dropped half-way, nothing is.
        self.forget();
        let key = keys::head(&self.path);
        let mut expected = base.revision;
        if mutant::is("no-cas")
            && let Ok(Some(entry)) = self.kv.get(&key).await
        {
            expected = entry.revision;
        }
        let value = Value::Document(text.clone());
        let put = self.call("put", budget, self.kv.put(&key, &value, Expect::At(expected))).await;
        let revision = put.map_err(Swap::Store)?;
        let dropped = base.head.versions.iter().filter(|version| head.version(version.number).is_none()).count();
        if dropped > 0 {
            self.shared.metrics.removed("version", dropped);
            tracing::debug!(path = %self.path, dropped, "older versions dropped");
        }
        self.remember(&Base { head: Arc::new(head), text, revision, known, generation });
        Ok(())
    }

    /// One call of the store, inside the budget. An error drops what is known of the head.
    pub(super) async fn call<T>(
        &self,
        name: &'static str,
        budget: &mut Budget,
        call: impl Future<Output = Result<T, KvError>>,
    ) -> Result<T, KvError> {
        let began = self.shared.clock.boot();
        let answer = budget.within(call).await.unwrap_or_else(|_| {
            let message = "no answer in the time that a request may wait".to_owned();
            Err(KvError::Unavailable { retry_after: None, message })
        });
        let outcome = match &answer {
            Ok(_) => "ok",
            Err(error) => {
                self.forget();
                error.kind()
            }
        };
        self.shared.metrics.store_call(name, outcome, self.shared.clock.boot().saturating_sub(began));
        answer
    }

    /// Waits before another attempt, where one makes sense: also after a refusal, since another token may be on its way.
    pub(super) async fn retry(
        &self,
        doing: &'static str,
        budget: &mut Budget,
        error: KvError,
    ) -> Result<(), StateError> {
        let asked = match &error {
            KvError::Unavailable { retry_after, .. } => *retry_after,
            KvError::Other(_) | KvError::Denied(_) => None,
            _ => return Err(StateError::Store { doing, error }),
        };
        let waited = budget.pause(asked).await;
        waited.map_err(|_| match error {
            KvError::Unavailable { message, .. } | KvError::Other(message) => {
                StateError::Unavailable { doing, message, retry_after: asked }
            }
            error => StateError::Store { doing, error },
        })
    }

    /// Waits before another attempt of a [`replace`](Self::replace) that failed, where one makes sense.
    pub(super) async fn again(
        &self,
        doing: &'static str,
        error: StateError,
        budget: &mut Budget,
    ) -> Result<(), StateError> {
        match error {
            StateError::Store { error: KvError::CasMismatch, .. } => {
                budget.pause(None).await.map_err(|_| StateError::Busy { doing })
            }
            StateError::Store { error, .. } => self.retry(doing, budget, error).await,
            other => Err(other),
        }
    }

    /// Whether parts that were stored since `began` may have been swept by now: nothing may name them any more.
    pub(super) fn outlived(&self, began: Duration) -> bool {
        self.shared.clock.boot().saturating_sub(began) > self.shared.options.upload_time
    }

    /// Makes the first head of a path that never had one; another replica may be faster.
    pub(super) async fn create(&self, budget: &mut Budget) -> Result<Base, StateError> {
        self.put_absent(Head::new(self.owner.clone()), budget).await
    }

    /// Puts a head where none is, and answers the head that is there then.
    pub(super) async fn put_absent(&self, head: Head, budget: &mut Budget) -> Result<Base, StateError> {
        let value = Value::Document(head.encode().into());
        loop {
            let put = self.call("put", budget, self.kv.put(&keys::head(&self.path), &value, Expect::Absent)).await;
            match put {
                Ok(_) | Err(KvError::CasMismatch) => {}
                Err(error) => {
                    self.retry("creating the head", budget, error).await?;
                    continue;
                }
            }
            match self.load_raw(budget).await? {
                (Some(base), mark) if behind(&base.head, mark) => return Err(self.behind_error(&base, mark)),
                (Some(base), _) => {
                    self.remember(&base);
                    return Ok(base);
                }
                (None, _) => budget.pause(None).await.map_err(|_| StateError::Busy { doing: "creating the head" })?,
            }
        }
    }

    /// Swaps the head once, whatever was seen before: for take-overs and on a person's word. May be tried again.
    pub(super) async fn replace(&self, base: &Base, head: Head, budget: &mut Budget) -> Result<(), StateError> {
        let doing = "replacing the head";
        match self.swap(base, head, false, budget).await {
            Ok(()) => Ok(()),
            Err(Swap::NoRoom | Swap::Full(_)) => Err(Refusal::HeadFull { bytes: base.text.len() }.into()),
            Err(Swap::Wrong(fault)) => Err(StateError::Internal { doing, fault: fault.to_owned() }),
            Err(Swap::Store(error)) => Err(StateError::Store { doing, error }),
        }
    }
}

/// Why a swap did not happen.
enum Swap {
    /// The head is too large and has versions that can move out first.
    NoRoom,
    /// The head is too large and nothing can go.
    Full(usize),
    /// The new head breaks a rule of every head.
    Wrong(&'static str),
    Store(KvError),
}
