//! POST: a body on its way into the store. Parts first, the head last.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{info, warn};

use super::{
    Budget, OpId, State, StateError,
    compression::{SMALL, compress, decompress},
    head::{Body, Inline, NewBody, ObjectRef, Patch, Refusal, Step, WriteDone, WriteRequest},
    intake,
    intake::{Intake, Rest, Taken},
    mutant, object_name,
    shares::Place,
    state::attempt,
    wholes::BASE,
};
use crate::telemetry::UploadGuard;

/// A write as a client announced it.
#[derive(Clone, Debug, Default)]
pub struct WriteCall<'a> {
    /// The lock id (`?ID=`), if one was given.
    pub lock: Option<&'a str>,
    /// Whose credential writes.
    pub identity: &'a str,
    /// `Content-MD5`, if it was sent.
    pub content_md5: Option<&'a str>,
    /// `Content-Length`, if it was sent.
    pub length: Option<u64>,
}

/// A body on its way in. Dropping it gives the write up: parts that it stored are deleted, unless the head may name
/// them.
pub struct Upload {
    state: State,
    lock: Option<String>,
    identity: String,
    content_md5: Option<String>,
    length: Option<u64>,
    op: OpId,
    began: Duration,
    intake: Option<Intake>,
    object: String,
    /// How many parts may be stored.
    parts: u32,
    /// Bytes in them.
    stored: u64,
    /// The generation of the store that has the first part.
    generation: u64,
    /// Why this cannot become a version any more. Set while a push is under way: one that is dropped leaves bytes out.
    failed: Option<StateError>,
    /// Why this can only be a repeat: then nothing is stored.
    refused: Option<StateError>,
    /// A swap that names our parts may be on its way.
    swap_sent: bool,
    large: Option<Large>,
}

/// What a large upload holds.
struct Large {
    _guard: UploadGuard,
    _process: Place,
    _path: OwnedSemaphorePermit,
}

impl State {
    /// POST of a body that is there whole. See [`State::upload`].
    ///
    /// # Errors
    /// As [`Upload::push`] and [`Upload::finish`].
    pub async fn write(&self, call: WriteCall<'_>, body: &[u8], budget: &mut Budget) -> Result<WriteDone, StateError> {
        let mut upload = self.upload(call)?;
        upload.push(body, budget).await?;
        upload.finish(budget).await
    }

    /// Begins a POST.
    ///
    /// # Errors
    /// A length over the limit, or a `Content-MD5` that is none.
    pub fn upload(&self, call: WriteCall<'_>) -> Result<Upload, StateError> {
        let begun = self.begin_upload(call);
        if let Err(error) = &begun {
            self.inner.shared.metrics.operation("write", error.kind(), Duration::ZERO);
            error.log("write", &self.inner.path);
        }
        begun
    }

    fn begin_upload(&self, call: WriteCall<'_>) -> Result<Upload, StateError> {
        let limit = self.inner.settings.load().max_size;
        if call.length.is_some_and(|length| length > limit) {
            return Err(StateError::TooLarge { limit });
        }
        let expected = self.inner.last_head().map_or(1, |head| head.next);
        Ok(Upload {
            state: self.clone(),
            lock: call.lock.map(str::to_owned),
            identity: call.identity.to_owned(),
            content_md5: call.content_md5.map(intake::content_md5).transpose()?,
            length: call.length,
            op: OpId::random(),
            began: self.inner.shared.clock.boot(),
            intake: Some(Intake::new(limit)),
            object: object_name(expected),
            parts: 0,
            stored: 0,
            generation: self.inner.kv.generation(),
            failed: None,
            refused: None,
            swap_sent: false,
            large: None,
        })
    }
}

impl Upload {
    /// Takes the next bytes of the body. `budget` is spent by waiting for the store only.
    ///
    /// # Errors
    /// The body is no state or too large, the lock is gone, the upload took too long, or the store is away. Nothing was
    /// stored then, and every further call of this upload fails with the same error.
    pub async fn push(&mut self, bytes: &[u8], budget: &mut Budget) -> Result<(), StateError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let fault = "it was to go on after a push that was given up half-way".to_owned();
        self.failed = Some(StateError::Internal { doing: "taking a state", fault });
        let pushed = self.push_inner(bytes, budget).await;
        self.failed = pushed.as_ref().err().cloned();
        if let Err(error) = &pushed {
            let shared = &self.state.inner.shared;
            let took = shared.clock.boot().saturating_sub(self.began);
            shared.metrics.operation("write", error.kind(), took);
            error.log("write", &self.state.inner.path);
        }
        pushed
    }

    async fn push_inner(&mut self, bytes: &[u8], budget: &mut Budget) -> Result<(), StateError> {
        let Some(intake) = &mut self.intake else { return Ok(()) };
        // First the turn, then the memory.
        if self.large.is_none() && intake.is_large(bytes.len()) {
            self.begin_large(budget).await?;
        }
        let Some(intake) = &mut self.intake else { return Ok(()) };
        intake.push(bytes)?;
        let inner = self.state.inner.clone();
        while let Some(bytes) = self.intake.as_mut().and_then(|intake| intake.take(inner.part_size())) {
            self.still_wanted(budget).await?;
            if self.refused.is_some() {
                break;
            }
            self.stored += bytes.len() as u64;
            inner.put_parts(&self.object, &mut self.parts, bytes, budget).await?;
        }
        Ok(())
    }

    /// The end of the body: makes it the current version. Durable where this returns without an error.
    ///
    /// # Errors
    /// As [`Upload::push`]; a conflict with the lock; a body that does not match `Content-MD5` or its length. After
    /// [`StateError::Unavailable`] the write may have happened: the same write again finds out.
    pub async fn finish(mut self, budget: &mut Budget) -> Result<WriteDone, StateError> {
        let state = self.state.clone();
        state.timed("write", self.finish_inner(budget)).await
    }

    async fn finish_inner(&mut self, budget: &mut Budget) -> Result<WriteDone, StateError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let intake = self.intake.take().ok_or(StateError::Busy { doing: "finishing an upload twice" })?;
        if let Some(announced) = self.length.filter(|length| *length != intake.size()) {
            return Err(StateError::CutShort { found: intake.size(), announced });
        }
        let mut taken = intake.finish()?;
        if self.content_md5.as_ref().is_some_and(|md5| *md5 != taken.md5) {
            return Err(StateError::Md5Mismatch);
        }
        let done = match std::mem::replace(&mut taken.rest, Rest::Compressed(Vec::new())) {
            Rest::Whole(body) => self.finish_whole(&taken, body.into(), budget).await?,
            Rest::Compressed(rest) => self.finish_compressed(&taken, rest, budget).await?,
        };
        self.report(&taken, &done);
        Ok(done)
    }

    /// Of a body that is there whole: as a patch, where that is small.
    async fn finish_whole(
        &mut self,
        taken: &Taken,
        whole: Bytes,
        budget: &mut Budget,
    ) -> Result<WriteDone, StateError> {
        let compressed = || compress(&[], &whole).map_err(intake::compressing);
        let small = if whole.len() <= SMALL { Some(compressed()?) } else { None };
        let fits = small.as_ref().is_some_and(|frame| frame.len() as u64 <= self.inline_most());
        let patch = if fits { None } else { self.patch(taken, &whole, budget).await };
        let base = patch.as_ref().and_then(|patch| patch.of.map(|(_, sum)| sum));
        let patched = match patch {
            Some(patch) => match self.swap(taken, Some(patch), budget).await {
                // Another was faster: then it is stored as it is. No swap names that object yet.
                Err(StateError::Refused(Refusal::NotNewest)) => {
                    self.swap_sent = false;
                    None
                }
                done => Some(done?),
            },
            None => None,
        };
        let done = match (patched, small) {
            (Some(done), _) => done,
            (None, Some(frame)) => self.finish_compressed(taken, frame, budget).await?,
            (None, None) => self.finish_compressed(taken, compressed()?, budget).await?,
        };
        // The next one is told from it.
        if !done.repeated && !fits && whole.len() as u64 <= self.state.inner.shared.options.patches.state {
            self.state.inner.shared.wholes.put(&self.state.inner.path, taken.sha256, &whole, base.as_ref());
        }
        Ok(done)
    }

    async fn finish_compressed(
        &mut self,
        taken: &Taken,
        rest: Vec<u8>,
        budget: &mut Budget,
    ) -> Result<WriteDone, StateError> {
        let late = mutant::is("head-before-parts") && rest.len() as u64 > self.inline_most();
        let after = if late { rest.clone() } else { Vec::new() };
        let body = self.store(rest, late, budget).await?;
        let done = self.swap(taken, body, budget).await?;
        if late {
            let state = self.state.clone();
            state.inner.put_parts(&self.object, &mut self.parts, after, budget).await?;
        }
        Ok(done)
    }

    /// The state as what differs from the newest version, where that saves anything and can be had.
    async fn patch(&self, taken: &Taken, whole: &Bytes, budget: &mut Budget) -> Option<NewBody> {
        let (inner, limits) = (&self.state.inner, &self.state.inner.shared.options.patches);
        if self.refused.is_some() || taken.facts.encrypted || taken.size > limits.state {
            return None;
        }
        let head = match inner.cached_head() {
            Some(head) => head,
            // The swap would read it.
            None => inner.load(budget).await.ok()?.head,
        };
        let (newest, most) = head.patchable(limits)?;
        let base = match inner.whole(&head, newest, &mut Budget::new(BASE)).await {
            Ok(base) => base,
            Err(_) => {
                warn!(path = %inner.path, version = newest.number, "it cannot be read: the next one is stored whole");
                return None;
            }
        };
        let delta = compress(&base, whole).ok().filter(|delta| delta.len() as u64 <= most)?;
        // What is acknowledged has to come out of it again.
        let again = decompress(&base, &delta, whole.len()).ok()?;
        let deltas = vec![Inline::new(&delta).ok().filter(|_| again == *whole)?];
        let (stored, of) = (delta.len() as u64, Some((newest.number, newest.sha256)));
        Some(NewBody { body: Body::Patch(Patch { root: None, deltas }), stored, of })
    }

    fn inline_most(&self) -> u64 {
        self.state.inner.shared.options.inline.version
    }

    /// Stores what is left of the body, unless it is small enough for the head or can only be a repeat.
    async fn store(&mut self, rest: Vec<u8>, late: bool, budget: &mut Budget) -> Result<Option<NewBody>, StateError> {
        if self.refused.is_some() {
            return Ok(None);
        }
        let inner = self.state.inner.clone();
        let stored = self.stored + rest.len() as u64;
        if self.parts == 0 && stored <= self.inline_most() {
            let inline = Inline::new(&rest).map_err(|error| StateError::Internal {
                doing: "putting the state into its head",
                fault: error.to_string(),
            })?;
            return Ok(Some(NewBody { body: Body::Inline(inline), stored, of: None }));
        }
        let mut parts = self.parts;
        if late {
            parts += u32::try_from(rest.len().div_ceil(inner.part_size())).unwrap_or(u32::MAX);
        } else {
            inner.put_parts(&self.object, &mut self.parts, rest, budget).await?;
            parts = self.parts;
        }
        let object = ObjectRef { name: self.object.clone(), parts };
        // A store that was set back under the upload may have lost parts, and its head may be the one of now.
        if inner.kv.generation() != self.generation && !inner.has_object(&object, budget).await? {
            let message =
                "parts of this upload are gone from the store: was it set back? Send the state again".to_owned();
            return Err(StateError::Unavailable { doing: "writing the state", message, retry_after: None });
        }
        Ok(Some(NewBody { body: Body::Object(object), stored, of: None }))
    }

    async fn swap(
        &mut self,
        taken: &Taken,
        body: Option<NewBody>,
        budget: &mut Budget,
    ) -> Result<WriteDone, StateError> {
        let state = self.state.clone();
        let settings = state.inner.settings.load_full();
        let mut ask = WriteRequest {
            lock: self.lock.clone(),
            identity: self.identity.clone(),
            facts: taken.facts.clone(),
            size: taken.size,
            sha256: taken.sha256,
            md5: taken.md5.clone(),
            body,
            lock_required: settings.lock_required,
            tried: Vec::new(),
        };
        let (op, began) = (self.op, self.began);
        let swap_sent = &mut self.swap_sent;
        let done = state.inner.change("writing the state", budget, |head, now, maybe| {
            // After the head was read: whatever the sweep did since is in it, or makes the swap fail.
            if state.inner.outlived(began) {
                return Err(StateError::UploadTooSlow);
            }
            ask.tried = maybe.iter().map(|base| base.next).collect();
            let step = head.written(&ask, attempt(op), &settings.retention, now)?;
            *swap_sent |= matches!(step, Step::Change(..));
            Ok(step)
        });
        match (done.await, self.refused.take()) {
            (Err(StateError::Refused(Refusal::NotKept)), Some(before)) => Err(before),
            (done, _) => done,
        }
    }

    fn report(&self, taken: &Taken, done: &WriteDone) {
        let inner = &self.state.inner;
        inner.shared.metrics.bytes("written", taken.size);
        for anomaly in &done.anomalies {
            inner.shared.metrics.anomaly(anomaly.as_str());
        }
        let (path, serial, lock) = (&inner.path, taken.facts.serial, self.lock.as_deref());
        if done.repeated {
            info!(%path, identity = self.identity, version = done.version, serial, lock, "write repeated; nothing changed");
        } else if done.anomalies.is_empty() {
            info!(%path, identity = self.identity, version = done.version, serial, lock, size = taken.size, "state written");
        } else {
            let anomalies = &done.anomalies;
            warn!(%path, identity = self.identity, version = done.version, serial, lock, ?anomalies, "strange state written");
        }
        // Most writes leave nothing to do.
        if inner.is_due() {
            self.state.wake();
        }
    }

    /// Waits for a large upload's turn, then looks whether it makes sense.
    async fn begin_large(&mut self, budget: &mut Budget) -> Result<(), StateError> {
        let inner = self.state.inner.clone();
        let doing = "waiting for other uploads";
        let path = budget.within(inner.upload.clone().acquire_owned()).await;
        let Ok(Ok(path)) = path else { return Err(StateError::Busy { doing }) };
        let Some(process) = inner.uploads.place(budget).await else { return Err(StateError::Busy { doing }) };
        self.large = Some(Large { _guard: inner.shared.metrics.upload(), _process: process, _path: path });
        // Its own LOCK has just shown the head, as a rule. The swap at the end decides.
        if inner.cached_head().is_none_or(|head| self.in_the_way(Some(&head)).is_some()) {
            self.look(budget).await?;
        }
        // Clients announce a length; what comes without one may be as long as it likes, and streams.
        let limits = &inner.shared.options.patches;
        if self.length.is_some_and(|length| length <= limits.state)
            && inner.cached_head().is_some_and(|head| head.patchable(limits).is_some())
            && let Some(intake) = &mut self.intake
        {
            intake.hold(usize::try_from(limits.state).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// An upload whose lock is gone ends at once; one that was too slow as well.
    async fn still_wanted(&mut self, budget: &mut Budget) -> Result<(), StateError> {
        let inner = self.state.inner.clone();
        if inner.outlived(self.began) {
            return Err(StateError::UploadTooSlow);
        }
        if self.in_the_way(inner.last_head().as_deref()).is_some() {
            self.look(budget).await?;
            if let Some(refused) = self.refused.take() {
                return Err(refused);
            }
        }
        Ok(())
    }

    /// Reads the head: a write that it refuses can only be a repeat, and is hashed without being stored.
    async fn look(&mut self, budget: &mut Budget) -> Result<(), StateError> {
        let base = self.state.inner.load(budget).await?;
        self.refused = self.in_the_way(Some(&base.head)).map(StateError::from);
        if self.refused.is_some()
            && let Some(intake) = &mut self.intake
        {
            intake.drop_bytes();
        }
        Ok(())
    }

    fn in_the_way(&self, head: Option<&super::Head>) -> Option<Refusal> {
        match (&head?.lock, &self.lock) {
            (Some(lock), Some(id)) if lock.id == *id => None,
            (Some(lock), _) => Some(Refusal::Held(Box::new(lock.clone()))),
            (None, Some(id)) => Some(Refusal::LockGone { id: id.clone() }),
            (None, None) => None,
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let keep = self.swap_sent && !mutant::is("parts-deleted-after-cas");
        if self.parts == 0 || keep {
            return;
        }
        let (state, object) = (self.state.clone(), ObjectRef { name: self.object.clone(), parts: self.parts });
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let budget = Budget::new(Duration::from_secs(25));
            if let Err(error) = state.inner.delete_object(&object, &budget).await {
                info!(path = %state.inner.path, %error, "parts of an upload that was given up stay until the sweep");
            }
        });
    }
}
