//! What is wrong with a resource, told so that a person can mend it: the field, what stands there, what to write.

use std::fmt;

/// How much of a wrong value is repeated.
const SHOWN: usize = 80;

/// One field that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found:?}; {expected}")]
pub struct FieldError {
    /// Where: `spec.maxSize`.
    pub field: String,
    /// What stands there, cut at 80 characters.
    pub found: String,
    /// What to write.
    pub expected: String,
}

impl FieldError {
    /// An error about `field`, where `found` stands.
    pub fn new(field: impl Into<String>, found: &str, expected: impl fmt::Display) -> Self {
        Self { field: field.into(), found: found.chars().take(SHOWN).collect(), expected: expected.to_string() }
    }
}

/// Everything that is wrong with a resource; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub Vec<FieldError>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            let sep = if n == 0 { "" } else { ". " };
            write!(f, "{sep}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}
