//! What is kept and used but never shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value whose `Debug` shows nothing of it. It has no `Display`; serialising writes it as it is, for the store.
///
/// ```
/// use tofustate::store::Redacted;
/// let hash = Redacted::from("5e88…".to_owned());
/// assert_eq!(format!("{hash:?}"), "[redacted]");
/// assert_eq!(hash.expose(), "5e88…");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// The value. Not for a log, a message or a label.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value, owned. Not for a log, a message or a label.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> From<T> for Redacted<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
