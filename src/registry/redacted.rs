//! Values that no log, error or `Debug` may show.

use std::fmt;

/// A value that has to be asked for by name before it can be shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// Hides a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_shows_nothing_by_itself() {
        let secret = super::Redacted::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "(redacted) Some(\n    (redacted),\n)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
