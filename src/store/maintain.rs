//! Work on a state that no client waits for: older versions move out of the head, retention, the trash, the sweep of
//! parts that no head names. When it is done is in `background`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tracing::{debug, info, warn};

use super::{
    Budget, Head, Sha256Sum, State, StateError,
    engine::Inner,
    head::{ObjectRef, Owner, Refusal, SWEEP_AGE, Step, Version, object_name_ok},
    keys,
    known::Base,
    mutant, object_name,
};

/// What background work may wait for the store.
const BUDGET: Duration = Duration::from_secs(25);
/// How many calls of the store are under way at once: the embedded one commits them together, another answers them side by
/// side.
const AT_A_TIME: usize = 16;
/// More parts than any object has: 256 MiB are 410 of them.
const MOST_PARTS: u32 = 1 << 16;

impl State {
    /// Releases a stale lock where the resource asks for it, moves older versions out of the head, applies the retention, deletes trash whose hour is over.
    ///
    /// # Errors
    /// As [`State::head`]; what was done until then stays done.
    pub async fn maintain(&self) -> Result<(), StateError> {
        self.timed("maintain", self.maintain_within(&mut Budget::new(BUDGET))).await
    }

    async fn maintain_within(&self, budget: &mut Budget) -> Result<(), StateError> {
        let inner = &self.inner;
        let mut head = inner.load(budget).await?.head;
        if let (Some(lock), Some(after)) = (&head.lock, inner.settings.load().release_after)
            && lock.quiet(inner.kv.now()) > after
        {
            match self.release_stale(after, budget).await {
                // Its holder wrote just now.
                Err(StateError::Refused(Refusal::Held(_))) => {}
                released => drop(released?),
            }
            head = inner.load(budget).await?.head;
        }
        let older = head.to_move_out(inner.shared.options.inline, false);
        if !older.is_empty() {
            self.move_out(&head, &older, budget).await?;
        }
        let keep = inner.settings.load().retention.clone();
        // Mostly a write has seen to it already: then nothing has to be read again.
        if matches!(head.retained(&keep, inner.kv.now()), Step::Change(..)) {
            let change = inner.change("applying the retention", budget, |head, now, _| Ok(head.retained(&keep, now)));
            let dropped = change.await?;
            info!(path = %inner.path, dropped, "older versions dropped by the retention");
        }
        self.empty_trash(&head).await
    }

    async fn move_out(&self, head: &Head, older: &[Arc<Version>], budget: &mut Budget) -> Result<(), StateError> {
        let began = self.inner.shared.clock.boot();
        let moved = self.inner.put_versions(head, older, budget).await?;
        let mut sent = false;
        let named = self.inner.change("moving older versions out", budget, |head, _, _| {
            // As with uploads: on a machine that was suspended meanwhile, the sweep of another may have been here and
            // the trash emptied again.
            if self.inner.outlived(began) {
                return Ok(Step::Same(Vec::new()));
            }
            let step = head.moved_out(&moved);
            sent |= matches!(step, Step::Change(..));
            Ok(step)
        });
        let named = named.await;
        if sent && !mutant::is("parts-deleted-after-cas") {
            return named.map(drop);
        }
        // No swap that names our objects was ever sent: they are ours to delete.
        for (_, _, object) in &moved {
            self.inner.delete_object(object, budget).await?;
        }
        named.map(drop)
    }

    /// Deletes what was due in `head`: what is in the trash once is named by no later head. Takes note of what went even
    /// where it is cut short, so that there is less to do the next time.
    async fn empty_trash(&self, head: &Head) -> Result<(), StateError> {
        let (inner, began) = (&self.inner, self.inner.shared.clock.boot());
        let (mut gone, mut done) = (Vec::new(), Ok(()));
        for objects in head.due_trash(inner.kv.now()).chunks(AT_A_TIME) {
            let budget = Budget::new(BUDGET);
            let deleted = join_all(objects.iter().map(|object| inner.delete_object(object, &budget))).await;
            for (object, deleted) in objects.iter().zip(deleted) {
                match deleted {
                    Ok(()) => gone.push(object.clone()),
                    Err(error) => done = Err(error),
                }
            }
            if done.is_err() {
                break;
            }
            if inner.shared.clock.boot().saturating_sub(began) > BUDGET {
                // Other states wait.
                self.wake();
                break;
            }
        }
        if !gone.is_empty() {
            let mut budget = Budget::new(BUDGET);
            inner.change("emptying the trash", &mut budget, |head, _, _| Ok(head.emptied(&gone))).await?;
            debug!(path = %inner.path, objects = gone.len(), "trash emptied");
        }
        done
    }

    /// Looks for parts that no head names (of uploads that broke off) and moves the old ones to the trash. Deletes
    /// nothing itself. Answers how many objects it found.
    ///
    /// # Errors
    /// As [`State::head`].
    pub async fn sweep(&self) -> Result<usize, StateError> {
        self.timed("sweep", self.sweep_within(&mut Budget::new(BUDGET))).await
    }

    async fn sweep_within(&self, budget: &mut Budget) -> Result<usize, StateError> {
        let found = self.old_objects(budget).await?;
        // The head is read after the list: what it names by then is no candidate, and what an upload means to name
        // later is in the trash for it to see.
        let swept = self.inner.change("sweeping", budget, |head, now, _| Ok(head.swept(&found, now))).await?;
        if !swept.is_empty() {
            self.inner.shared.metrics.removed("swept", swept.len());
            info!(path = %self.inner.path, objects = swept.len(), "parts that no version names were moved to the trash");
        }
        Ok(swept.len())
    }

    /// Objects in the store all of whose parts are old.
    async fn old_objects(&self, budget: &mut Budget) -> Result<Vec<ObjectRef>, StateError> {
        let inner = &self.inner;
        let now = inner.kv.now();
        let mut objects: BTreeMap<String, (u32, bool)> = BTreeMap::new();
        for listed in inner.list(budget).await? {
            let Some((name, index)) = keys::parse_part(&inner.path, &listed.key) else { continue };
            // Not one that we wrote: no head may name it, not even in its trash.
            if !object_name_ok(name) || index >= MOST_PARTS {
                continue;
            }
            let age = Duration::try_from(now.duration_since(listed.created)).unwrap_or_default();
            let old = age > SWEEP_AGE || mutant::is("sweep-without-age");
            let (parts, all_old) = objects.entry(name.to_owned()).or_insert((0, true));
            *parts = (*parts).max(index + 1);
            *all_old &= old;
        }
        let old = objects.into_iter().filter(|(_, (_, old))| *old);
        Ok(old.map(|(name, (parts, _))| ObjectRef { name, parts }).collect())
    }

    /// Deletes every object of a path that was released with `delete`: those in the trash, and those that no head
    /// named. Then the trash is empty.
    pub(super) async fn delete_all_objects(&self, budget: &mut Budget) -> Result<(), StateError> {
        // Large histories have thousands of parts: each step has the time of a call, so that none is too long for it.
        let each = budget.clone();
        let all = self.inner.list(&mut Budget::new(BUDGET)).await?;
        // The head is read after the list: while it is still given up, nothing in the list is of whoever comes next.
        self.released_head(budget).await?;
        for some in all.chunks(AT_A_TIME) {
            let parts = some.iter().map(|listed| {
                let mut budget = each.clone();
                async move { self.inner.delete_part(&listed.key, &mut budget).await }
            });
            join_all(parts).await.into_iter().collect::<Result<(), _>>()?;
        }
        let budget = &mut each.clone();
        loop {
            let base = self.released_head(budget).await?;
            let trash: Vec<_> = base.head.trash.iter().map(|trash| trash.object.clone()).collect();
            let Step::Change(head, ()) = base.head.emptied(&trash) else { return Ok(()) };
            match self.inner.replace(&base, *head, budget).await {
                Ok(()) => return Ok(()),
                Err(error) => self.inner.again("emptying the trash", error, budget).await?,
            }
        }
    }

    /// The head that this owner gave up. Whoever claimed the path since has versions and a trash of its own.
    async fn released_head(&self, budget: &mut Budget) -> Result<Base, StateError> {
        let base = self.inner.load_any(budget).await?.ok_or(StateError::NotRegistered)?;
        base.head.owned_by(&Owner { released: true, ..self.inner.owner.clone() })?;
        Ok(base)
    }
}

impl Inner {
    pub(super) async fn list(&self, budget: &mut Budget) -> Result<Vec<super::Listed>, StateError> {
        let prefix = keys::versions(&self.path);
        loop {
            match self.call("list_parts", budget, self.kv.list_parts(&prefix)).await {
                Ok(listed) => return Ok(listed),
                Err(error) => self.retry("listing the parts of the state", budget, error).await?,
            }
        }
    }

    /// Copies inline versions into objects of their own.
    async fn put_versions(
        &self,
        head: &Head,
        versions: &[Arc<Version>],
        budget: &mut Budget,
    ) -> Result<Vec<(u64, Sha256Sum, ObjectRef)>, StateError> {
        let mut moved = Vec::new();
        for some in versions.chunks(AT_A_TIME) {
            let each = budget.clone();
            let puts = join_all(some.iter().map(|version| self.put_version(head, version, each.clone())));
            for put in budget.spend(puts).await {
                moved.extend(put?);
            }
        }
        Ok(moved)
    }

    /// `None` where its bytes cannot be read.
    async fn put_version(
        &self,
        head: &Head,
        version: &Version,
        mut budget: Budget,
    ) -> Result<Option<(u64, Sha256Sum, ObjectRef)>, StateError> {
        let Some(bytes) = head.alone(version.number).and_then(|inline| inline.bytes()) else {
            warn!(path = %self.path, version = version.number, "its inline bytes are damaged: it stays as it is");
            return Ok(None);
        };
        let name = object_name(version.number);
        let mut parts = 0;
        self.put_parts(&name, &mut parts, bytes, &mut budget).await?;
        Ok(Some((version.number, version.sha256, ObjectRef { name, parts })))
    }

    /// Moves all but the current version out of a head that has no room for the next change. The caller has the turn.
    /// Answers whether another look makes sense: false where there is nothing that could move.
    pub(super) async fn make_room(&self, base: &Base, budget: &mut Budget) -> Result<bool, StateError> {
        let began = self.shared.clock.boot();
        let older = base.head.to_move_out(self.shared.options.inline, true);
        let moved = self.put_versions(&base.head, &older, budget).await?;
        loop {
            // Not the base: it may be too old by now to build on.
            let base = self.load(budget).await?;
            if self.outlived(began) {
                return Ok(true);
            }
            let Step::Change(head, _) = base.head.moved_out(&moved) else { return Ok(!moved.is_empty()) };
            match self.replace(&base, *head, budget).await {
                Ok(()) => return Ok(true),
                Err(error) => self.again("moving older versions out", error, budget).await?,
            }
        }
    }
}
