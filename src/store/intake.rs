//! A body on its way in: hashed, checked and compressed as it arrives. Touches no store.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use md5::Md5;
use sha2::{Digest as _, Sha256};
use zstd::stream::write::Encoder;

use super::{
    Checker, Sha256Sum, StateError, StateFacts,
    compression::{LEVEL, SMALL, compress},
};

/// A body on its way in.
pub(super) struct Intake {
    checker: Checker,
    sha256: Sha256,
    md5: Md5,
    size: u64,
    limit: u64,
    /// Bodies up to this size are kept whole until their end.
    held: usize,
    out: Out,
}

enum Out {
    /// The body so far, whole.
    Small(Vec<u8>),
    /// Compressed bytes that nobody took yet are in the encoder's vector.
    Stream(Box<Encoder<'static, Vec<u8>>>),
    /// Hashed and checked only.
    Nothing,
}

/// A body that came in whole.
pub(super) struct Taken {
    pub(super) facts: StateFacts,
    pub(super) size: u64,
    pub(super) sha256: Sha256Sum,
    /// In base64.
    pub(super) md5: String,
    pub(super) rest: Rest,
}

/// What is left of a body to be stored.
pub(super) enum Rest {
    /// All of it, as it came.
    Whole(Vec<u8>),
    /// Compressed bytes that were not taken before.
    Compressed(Vec<u8>),
}

impl Rest {
    /// Compressed.
    pub(super) fn compressed(self) -> Result<Vec<u8>, StateError> {
        match self {
            Self::Whole(body) => compress(&[], &body).map_err(compressing),
            Self::Compressed(bytes) => Ok(bytes),
        }
    }
}

impl Intake {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            checker: Checker::new(),
            sha256: Sha256::new(),
            md5: Md5::new(),
            size: 0,
            limit,
            held: SMALL,
            out: Out::Small(Vec::new()),
        }
    }

    /// Bytes that came so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Keeps a body of up to so many bytes whole until its end, to be told from another.
    pub(super) fn hold(&mut self, most: usize) {
        self.held = most.max(SMALL);
    }

    /// Whether `more` bytes would make it a large body.
    pub(super) fn is_large(&self, more: usize) -> bool {
        match &self.out {
            Out::Small(body) => body.len() + more > SMALL && self.size + more as u64 <= self.limit,
            Out::Stream(_) => true,
            Out::Nothing => false,
        }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            return Err(StateError::TooLarge { limit: self.limit });
        }
        self.checker.push(bytes)?;
        self.sha256.update(bytes);
        self.md5.update(bytes);
        match &mut self.out {
            Out::Small(body) if body.len() + bytes.len() <= self.held => body.extend_from_slice(bytes),
            Out::Small(body) => {
                let mut encoder = Encoder::new(Vec::new(), LEVEL).map_err(compressing)?;
                encoder.write_all(body).map_err(compressing)?;
                encoder.write_all(bytes).map_err(compressing)?;
                self.out = Out::Stream(Box::new(encoder));
            }
            Out::Stream(encoder) => encoder.write_all(bytes).map_err(compressing)?,
            Out::Nothing => {}
        }
        Ok(())
    }

    /// The next `size` compressed bytes, once there are so many.
    pub(super) fn take(&mut self, size: usize) -> Option<Bytes> {
        let Out::Stream(encoder) = &mut self.out else { return None };
        (encoder.get_ref().len() >= size).then(|| split(encoder.get_mut(), size))
    }

    /// From here on only hashes and checks.
    pub(super) fn drop_bytes(&mut self) {
        self.out = Out::Nothing;
    }

    /// The end of the body.
    pub(super) fn finish(self) -> Result<Taken, StateError> {
        let facts = self.checker.finish()?;
        let rest = match self.out {
            Out::Small(body) => Rest::Whole(body),
            Out::Stream(encoder) => Rest::Compressed(encoder.finish().map_err(compressing)?),
            Out::Nothing => Rest::Compressed(Vec::new()),
        };
        Ok(Taken {
            facts,
            size: self.size,
            sha256: Sha256Sum::from_bytes(self.sha256.finalize().into()),
            md5: BASE64.encode(self.md5.finalize()),
            rest,
        })
    }
}

/// The first `size` bytes of `bytes`, which keeps the others.
pub(super) fn split(bytes: &mut Vec<u8>, size: usize) -> Bytes {
    let rest = bytes.split_off(size.min(bytes.len()));
    std::mem::replace(bytes, rest).into()
}

pub(super) fn compressing(error: std::io::Error) -> StateError {
    StateError::Internal { doing: "compressing the state", fault: error.to_string() }
}

/// `Content-MD5` as a client sent it, in the form that [`Taken::md5`] has.
pub(super) fn content_md5(header: &str) -> Result<String, StateError> {
    match BASE64.decode(header.trim()) {
        Ok(sum) if sum.len() == 16 => Ok(BASE64.encode(sum)),
        _ => Err(StateError::BadMd5),
    }
}
