//! Checks a state body while it streams past: strict JSON, one object, an unsigned `serial`; and reads the few facts
//! that a version records. Nothing of the body is kept beyond those facts, whatever its size and however it is cut.
//! No hashing, no compression, no limit on the size: those are the upload's.

mod facts;
mod nest;
mod run;
mod scan;
mod text;
mod utf8;

use scan::Scanner;
use utf8::Utf8;

/// The deepest nesting of objects and arrays that is accepted, the outer object counted: Go's `encoding/json`, which
/// the clients read states with, refuses more.
pub const MAX_DEPTH: usize = 10_000;

/// How many characters of a captured string are kept.
const MAX_TEXT: usize = 256;

/// What a state body says of itself. Only its top level counts, and of a key that is there twice the last, much as in
/// Go's `encoding/json` (which also takes `Serial` for `serial`, and a `null` for nothing said; no client writes either).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StateFacts {
    /// The `serial`.
    pub serial: u64,
    /// The `lineage` if it is a string, its first 256 characters.
    pub lineage: Option<String>,
    /// The `terraform_version` (OpenTofu calls it so as well) if it is a string, its first 256 characters.
    pub tool_version: Option<String>,
    /// The number of elements of `resources`, if that is an array.
    pub resources: Option<u64>,
    /// Whether the client encrypted the state: there are an `encrypted_data` and an `encryption_version`, whatever else
    /// there is (OpenTofu's `internal/encryption/base.go`).
    pub encrypted: bool,
}

/// Why a body is not taken. States are secret: no more of one gets in here than an offset, from 0, and the kind of the
/// byte that stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Nothing, or nothing but white space.
    #[error("the body is empty; send the state as one JSON object")]
    Empty,
    /// The end came inside the object.
    #[error("the body ends before its JSON object does; send the whole state")]
    Truncated,
    /// A byte that the grammar of RFC 8259 does not have at its place.
    #[error(
        "the body is not JSON: it has {found} at byte {offset} that cannot stand there; send the state as tofu wrote it"
    )]
    NotJson {
        /// Where.
        offset: u64,
        /// What kind of byte stands there.
        found: &'static str,
    },
    /// Another kind of JSON value.
    #[error("the body is JSON but not an object; send the state as one JSON object")]
    NotObject,
    /// Something other than white space after the object.
    #[error("the body goes on after its JSON object, at byte {offset}; send one state and nothing after it")]
    TrailingData {
        /// Where.
        offset: u64,
    },
    /// Over [`MAX_DEPTH`].
    #[error(
        "the body nests objects and arrays more than {MAX_DEPTH} deep, which no client reads back; nest less deeply"
    )]
    TooDeep,
    /// No `serial` at the top level.
    #[error("the body has no \"serial\" at its top level; send a whole state, as `tofu state pull` prints it")]
    NoSerial,
    /// The `serial` is not an unsigned 64-bit integer written as one.
    #[error("the body's \"serial\" is not a whole number from 0 to {}; send a state with one that is", u64::MAX)]
    BadSerial,
    /// Bytes that are no UTF-8 text.
    #[error("the body is not UTF-8 at byte {offset}; send the state as tofu wrote it (some shells redirect as UTF-16)")]
    InvalidUtf8 {
        /// Where the character that is none begins.
        offset: u64,
    },
}

/// Checks a body that comes in pieces.
///
/// ```
/// use tofustate::store::Checker;
/// let mut checker = Checker::new();
/// checker.push(br#"{"version": 4, "ser"#)?;
/// checker.push(br#"ial": 7}"#)?;
/// assert_eq!(checker.finish()?.serial, 7);
/// # Ok::<(), tofustate::store::BodyError>(())
/// ```
#[derive(Default)]
pub struct Checker {
    utf8: Utf8,
    scanner: Scanner,
    failed: Option<BodyError>,
}

impl Checker {
    /// A checker that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes. How the body is cut into pieces makes no difference to any result but when it comes.
    ///
    /// # Errors
    /// The first fault of the body, and the same one ever after.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let Self { utf8, scanner, .. } = self;
        let result = utf8.push(bytes, |text, offset| scanner.scan(text, offset));
        self.failed = result.err();
        result
    }

    /// The body has ended: what it says of itself.
    ///
    /// # Errors
    /// The first fault of the body. A missing or bad `serial` is only told here, as a later one decides.
    pub fn finish(self) -> Result<StateFacts, BodyError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.utf8.finish(self.scanner.in_text())?;
        self.scanner.finish()
    }

    /// Bytes held on the heap, for the test of the bound.
    #[cfg(test)]
    fn heap_bytes(&self) -> usize {
        self.scanner.heap_bytes()
    }
}

#[cfg(test)]
mod tests;
