//! How a head reads and writes: one JSON text, checked as it is read.

use std::collections::HashSet;

use serde::Deserialize;

use super::Head;

/// The format that this release writes, and the newest that it reads. Since 2 a version may be a patch.
pub const FORMAT: u32 = 2;
/// The oldest that it reads.
const OLDEST: u32 = 1;
/// The largest head, in bytes of JSON.
pub const MAX_HEAD: usize = 256 * 1024;

/// Why an entry is not a head that this release may work on. It is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Something else stands at the path.
    #[error(
        "the entry at this path is no tofustate head ({0}); it is left alone: if it is a state of tofu-state, tofustate adopt with this path takes it over; else move it away, or choose another path"
    )]
    NotAHead(String),
    /// What stood at the path was deleted, and the store remembers that.
    #[error("the entry at this path is {0}; nothing is written over it")]
    Deleted(String),
    /// Written by a newer release.
    #[error(
        "the head has format {0} and this release reads format {FORMAT}: run the release that wrote it, or a newer one"
    )]
    UnknownFormat(u64),
    /// Damaged.
    #[error("the head is damaged ({0}); nothing is served or changed until it is restored from a backup of the store")]
    Damaged(String),
}

/// What every format of a head has.
#[derive(Deserialize)]
struct Probe {
    format: Option<u64>,
    epoch: Option<serde::de::IgnoredAny>,
}

impl Head {
    /// Reads a head and checks that it is in itself right.
    ///
    /// # Errors
    /// It is no head, of another format, or damaged. The text never has any of the entry's content.
    pub fn parse(text: &str) -> Result<Self, HeadError> {
        let head: Self = match serde_json::from_str(text) {
            Ok(head) => head,
            Err(error) => return Err(diagnose(text, &error)),
        };
        if !(OLDEST..=FORMAT).contains(&head.format) {
            return Err(HeadError::UnknownFormat(u64::from(head.format)));
        }
        head.check().map_err(|fault| HeadError::Damaged(fault.to_owned()))?;
        Ok(head)
    }

    /// Writes the head as it stands in its entry.
    #[must_use]
    pub fn encode(&self) -> String {
        // Nothing in a head can fail to serialise: no maps with other keys than strings, no foreign `Serialize`.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn names_trash(&self) -> bool {
        let trash: HashSet<&str> = self.trash.iter().map(|trash| trash.object.name.as_str()).collect();
        let mut named = self.versions.iter().filter_map(|version| version.body.object());
        !trash.is_empty() && named.any(|object| trash.contains(object.name.as_str()))
    }

    /// What must be true of every head.
    pub(in crate::store) fn check(&self) -> Result<(), &'static str> {
        // The status repeats them, and this is Kubernetes' integer; so none can be counted past its end either.
        let most = i64::MAX.unsigned_abs();
        let counters = [self.revision, self.next, self.owner.claim].into_iter().all(|counter| counter <= most);
        let ordered = self.versions.is_sorted_by(|a, b| a.number < b.number);
        let rules = [
            (ordered, "its versions are not in order"),
            (self.versions.last().is_none_or(|last| last.number < self.next), "its next version number was used"),
            (self.versions.first().is_none_or(|first| first.number > 0), "it has a version 0"),
            (self.current.is_none() || self.current().is_some(), "its current version is not among its versions"),
            (counters && self.revision > 0 && self.next > 0, "a counter is out of its range"),
            (!self.names_trash(), "it names an object that it threw away"),
            (self.deltas_have_a_base(), "the base of a delta is not in the head"),
            (self.patches_have_a_root(), "nothing tells what a patch is of"),
            (
                self.versions
                    .iter()
                    .filter_map(|version| version.body.object())
                    .all(|object| object.parts > 0 && object_name_ok(&object.name))
                    && self.trash.iter().all(|trash| object_name_ok(&trash.object.name)),
                "an object's name or number of parts is wrong",
            ),
        ];
        rules.iter().find(|(right, _)| !right).map_or(Ok(()), |(_, fault)| Err(*fault))
    }
}

/// A name that cannot lead out of the state's own parts.
pub(in crate::store) fn object_name_ok(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// What is wrong with a text that is no head of this format. Says where, never what stands there.
fn diagnose(text: &str, error: &serde_json::Error) -> HeadError {
    match serde_json::from_str::<Probe>(text) {
        Ok(Probe { format: Some(format), epoch: Some(_) })
            if !(u64::from(OLDEST)..=u64::from(FORMAT)).contains(&format) =>
        {
            HeadError::UnknownFormat(format)
        }
        Ok(Probe { format: Some(_), epoch: Some(_) }) => {
            HeadError::Damaged(format!("it does not read as format {FORMAT} at column {}", error.column()))
        }
        Ok(_) => HeadError::NotAHead("a JSON object without format and epoch".to_owned()),
        Err(_) => HeadError::NotAHead(format!("no JSON object at column {}", error.column())),
    }
}

/// Sums as one base64 text: 2,048 of them as single strings would be twice the size.
pub(super) mod sums {
    use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::store::ShortSum;

    pub(in super::super) fn serialize<S: Serializer>(sums: &[ShortSum], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = sums.iter().flat_map(|sum| *sum.as_bytes()).collect();
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ShortSum>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| D::Error::custom("sums are not base64"))?;
        let (sums, rest) = bytes.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(D::Error::custom("sums are not of 16 bytes each"));
        }
        Ok(sums.iter().map(|sum| ShortSum::from_bytes(*sum)).collect())
    }
}
