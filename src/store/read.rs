//! GET: a version on its way out, checked before it leaves.

use std::{cell::Cell, sync::Arc};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::{
    Budget, Sha256Sum, State, StateError,
    compression::SMALL,
    head::{Body, ObjectRef, Version},
    parts::PartError,
    shares::Place,
};

/// The most bytes of one piece of the answer.
const PIECE: usize = 128 * 1024;
/// The most memory that a frame may ask for, as a power of two: 8 MiB. Ours ask for 2; zstd's own bound is 128.
const MOST_WINDOW: u32 = 23;

/// A version on its way out. The last piece leaves only when the whole was checked, so that a fault cuts the answer
/// short of its length.
pub struct Reader {
    state: State,
    version: Arc<Version>,
    /// `None` once the frame has ended.
    decoder: Option<Decoder<'static>>,
    input: Bytes,
    /// Of a patch: the state itself, as far as it did not leave yet.
    plain: Bytes,
    /// Parts that are still to come.
    rest: Option<(ObjectRef, u32)>,
    sha256: Sha256,
    size: u64,
    held: Option<Bytes>,
    /// Of a large one, which takes memory until its client has it.
    place: Option<Place>,
    /// The whole was right. Without it there is no end: a `next` that failed or was dropped half-way is none.
    whole: bool,
}

thread_local! {
    // To set one up takes as long as to decompress a small state.
    static DECODER: Cell<Option<Decoder<'static>>> = const { Cell::new(None) };
}

impl State {
    /// GET: the current version, `None` where there is no state. The head is read from the store each time.
    ///
    /// # Errors
    /// As [`State::head`], and [`StateError::DamagedVersion`].
    pub async fn read(&self, budget: &mut Budget) -> Result<Option<Reader>, StateError> {
        self.timed("read", self.open_version(None, budget)).await
    }

    /// A version of the history.
    ///
    /// # Errors
    /// As [`State::read`], and [`StateError::NoSuchVersion`].
    pub async fn read_version(&self, number: u64, budget: &mut Budget) -> Result<Reader, StateError> {
        let opened = self.timed("read_version", self.open_version(Some(number), budget)).await?;
        opened.ok_or(StateError::NoSuchVersion(number))
    }

    async fn open_version(&self, number: Option<u64>, budget: &mut Budget) -> Result<Option<Reader>, StateError> {
        let (mut before, mut place): (Option<Arc<Version>>, _) = (None, None);
        loop {
            let base = self.inner.load(budget).await?;
            let version = match number {
                None => base.head.current(),
                Some(number) => Some(base.head.version(number).ok_or(StateError::NoSuchVersion(number))?),
            };
            let Some(version) = version.cloned() else { return Ok(None) };
            if version.size > PIECE as u64 && place.is_none() {
                place = self.inner.reads.place(budget).await;
                if place.is_none() {
                    return Err(StateError::Busy { doing: "waiting for other reads" });
                }
            }
            let (input, rest) = match &version.body {
                Body::Inline(inline) => {
                    let bytes = inline.bytes().ok_or_else(|| damaged(&version, "its inline bytes are no base64"))?;
                    (Bytes::from(bytes), None)
                }
                Body::Delta(_) => {
                    let alone = base.head.alone(version.number).and_then(|inline| inline.bytes());
                    let bytes =
                        alone.ok_or_else(|| damaged(&version, "its bytes, or those of a later one, are damaged"))?;
                    (Bytes::from(bytes), None)
                }
                Body::Object(object) => match self.inner.get_part(object, 0, budget).await {
                    Ok(part) => (part, Some((object.clone(), 1))),
                    // It may have gone because the version did: look again, once for each head.
                    Err(PartError::Missing(_)) if before.as_ref().is_none_or(|before| before.body != version.body) => {
                        before = Some(version);
                        continue;
                    }
                    Err(error) => return Err(part_error(&version, error)),
                },
                Body::Patch(_) => match self.inner.whole(&base.head, &version, budget).await {
                    Ok(whole) => return Reader::of_whole(self, version, whole, place, budget).await.map(Some),
                    Err(PartError::Missing(_)) if before.as_ref().is_none_or(|before| before.body != version.body) => {
                        before = Some(version);
                        continue;
                    }
                    Err(error) => return Err(part_error(&version, error)),
                },
            };
            if rest.is_none() && version.size > PIECE as u64 {
                // Parts have a sum each; bytes in the head have only the one of the whole, which is known at its end.
                Reader::new(self, version.clone(), input.clone(), None)?.verify(budget).await?;
            }
            let mut reader = Reader::new(self, version, input, rest)?;
            reader.place = place;
            reader.held = reader.piece(budget).await?;
            if reader.held.is_none() {
                reader.check()?;
                reader.whole = true;
            }
            return Ok(Some(reader));
        }
    }
}

impl Reader {
    fn new(
        state: &State,
        version: Arc<Version>,
        input: Bytes,
        rest: Option<(ObjectRef, u32)>,
    ) -> Result<Self, StateError> {
        let decoder = Some(decoder().map_err(|error| damaged(&version, error))?);
        let (state, sha256) = (state.clone(), Sha256::new());
        Ok(Self {
            state,
            version,
            decoder,
            input,
            rest,
            sha256,
            size: 0,
            held: None,
            place: None,
            whole: false,
            plain: Bytes::new(),
        })
    }

    /// Of a state that is there whole, and checked.
    async fn of_whole(
        state: &State,
        version: Arc<Version>,
        whole: Bytes,
        place: Option<Place>,
        budget: &mut Budget,
    ) -> Result<Self, StateError> {
        let mut reader = Self::new(state, version, Bytes::new(), None)?;
        (reader.decoder, reader.plain, reader.place) = (None, whole, place);
        reader.held = reader.piece(budget).await?;
        Ok(reader)
    }

    /// Reads all of it and keeps nothing.
    async fn verify(mut self, budget: &mut Budget) -> Result<(), StateError> {
        while self.piece(budget).await?.is_some() {
            tokio::task::yield_now().await;
        }
        self.check()
    }

    /// What the head says of the version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The next piece, `None` after the last.
    ///
    /// # Errors
    /// What comes does not match what the head says, or the store is away. The answer has to end there, short of its
    /// length: every further call fails too, also after one that was dropped half-way.
    pub async fn next(&mut self, budget: &mut Budget) -> Result<Option<Bytes>, StateError> {
        let Some(piece) = self.held.take() else {
            if self.whole {
                return Ok(None);
            }
            let fault = "it was to go on after a call that failed or was given up half-way".to_owned();
            return Err(StateError::Internal { doing: "reading a state", fault });
        };
        self.held = match self.piece(budget).await {
            Ok(next) => next,
            Err(error) => {
                error.log("read", self.state.path());
                return Err(error);
            }
        };
        if self.held.is_none() {
            self.check().inspect_err(|error| error.log("read", self.state.path()))?;
            self.whole = true;
        }
        self.state.inner.shared.metrics.bytes("read", piece.len() as u64);
        Ok(Some(piece))
    }

    /// All that is left.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub async fn read_to_end(mut self, budget: &mut Budget) -> Result<Vec<u8>, StateError> {
        let mut body = Vec::with_capacity(usize::try_from(self.version.size).unwrap_or(0).min(64 << 20));
        while let Some(piece) = self.next(budget).await? {
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// Decompresses the next piece, where it has to be.
    async fn piece(&mut self, budget: &mut Budget) -> Result<Option<Bytes>, StateError> {
        if !self.plain.is_empty() {
            let piece = self.plain.split_to(PIECE.min(self.plain.len()));
            self.sha256.update(&piece);
            self.size += piece.len() as u64;
            return Ok(Some(piece));
        }
        let left = usize::try_from(self.version.size - self.size.min(self.version.size)).unwrap_or(usize::MAX);
        // One byte more than there should be: so that too many are noticed.
        let mut out = Vec::with_capacity(PIECE.min(left.saturating_add(1)));
        loop {
            if let Some(decoder) = &mut self.decoder {
                let (mut input, mut output) = (InBuffer::around(&self.input), OutBuffer::around(&mut out));
                let hint = decoder.run(&mut input, &mut output);
                let (used, made) = (input.pos(), output.pos());
                if hint.map_err(|_| self.damaged("its bytes do not decompress"))? == 0 {
                    self.give_back();
                }
                self.input = self.input.slice(used..);
                if made > 0 {
                    self.sha256.update(&out);
                    self.size += made as u64;
                    if self.size > self.version.size {
                        return Err(self.damaged("it has more bytes than the head says"));
                    }
                    return Ok(Some(out.into()));
                }
                if used > 0 && !self.input.is_empty() {
                    continue;
                }
            }
            if !self.input.is_empty() {
                return Err(self.damaged("it has more compressed bytes than it should"));
            }
            match &mut self.rest {
                Some((object, index)) if *index < object.parts => {
                    let (object, at) = (object.clone(), *index);
                    *index += 1;
                    let part = self.state.inner.get_part(&object, at, budget).await;
                    self.input = part.map_err(|error| part_error(&self.version, error))?;
                }
                _ => return Ok(None),
            }
        }
    }

    /// The frame has ended. A decoder is kept for the next one, unless it has the window of a frame whose length was not
    /// known when it began: that is megabytes.
    fn give_back(&mut self) {
        let decoder = self.decoder.take();
        if self.version.size <= SMALL as u64 {
            DECODER.set(decoder);
        }
    }

    /// The whole, against what the head says.
    fn check(&self) -> Result<(), StateError> {
        if self.size != self.version.size {
            return Err(self.damaged("it has fewer bytes than the head says"));
        }
        if self.decoder.is_some() {
            return Err(self.damaged("its compressed bytes end too early"));
        }
        if Sha256Sum::from_bytes(self.sha256.clone().finalize().into()) != self.version.sha256 {
            return Err(self.damaged("its SHA-256 is not the one in the head"));
        }
        Ok(())
    }

    fn damaged(&self, fault: &str) -> StateError {
        damaged(&self.version, fault)
    }
}

/// A decoder at the beginning of a frame.
fn decoder() -> std::io::Result<Decoder<'static>> {
    match DECODER.take() {
        Some(mut decoder) => decoder.reinit().map(|()| decoder),
        None => {
            let mut decoder = Decoder::new()?;
            decoder.set_parameter(DParameter::WindowLogMax(MOST_WINDOW))?;
            Ok(decoder)
        }
    }
}

fn damaged(version: &Version, fault: impl ToString) -> StateError {
    StateError::DamagedVersion { version: version.number, fault: fault.to_string() }
}

fn part_error(version: &Version, error: PartError) -> StateError {
    match error {
        PartError::Missing(what) => damaged(version, format!("{what} is missing")),
        PartError::Damaged(fault) => damaged(version, fault),
        PartError::Store(error) => error,
    }
}
