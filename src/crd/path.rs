//! The path of a state, as a type: what the CEL rule of `spec.path` admits and nothing else. No keys of the store.

use std::fmt;

/// The longest path, in characters. The CEL rule's cost depends on it.
pub const MAX_PATH: usize = 200;
/// The most segments of a path.
pub const MAX_SEGMENTS: usize = 8;

/// A registered or registrable state path: 1 to 8 segments of `[a-z0-9]([a-z0-9._-]*[a-z0-9])?` joined by `/`, at most
/// 200 characters, no `..`, the last segment neither `lock` nor ending in `.lock` (those are lock URLs).
///
/// ```
/// use tofustate::crd::StatePath;
/// assert!(StatePath::parse("team-a/network/prod").is_ok());
/// assert!(StatePath::parse("team-a/network/lock").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatePath(String);

/// Why a text is no state path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing at all.
    #[error("the path is empty; give 1 to {MAX_SEGMENTS} segments such as team-a/network")]
    Empty,
    /// Over [`MAX_PATH`] characters.
    #[error("the path is longer than {MAX_PATH} characters")]
    TooLong,
    /// Over [`MAX_SEGMENTS`] segments.
    #[error("the path has more than {MAX_SEGMENTS} segments")]
    TooDeep,
    /// A segment that is empty, or has a character or an end that is not allowed.
    #[error(
        "each segment of the path is lower-case letters, digits, '.', '_' and '-', begins and ends with a letter or a digit, and has no '..'"
    )]
    Segment,
    /// The last segment is reserved for lock URLs.
    #[error("the last segment of the path is 'lock' or ends in '.lock', which lock URLs use; choose another name")]
    Lock,
}

impl StatePath {
    /// Checks a text against the rule.
    ///
    /// # Errors
    /// The first part of the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        let segments: Vec<&str> = text.split('/').collect();
        if segments.len() > MAX_SEGMENTS {
            return Err(PathError::TooDeep);
        }
        if !segments.iter().all(|s| segment_ok(s)) {
            return Err(PathError::Segment);
        }
        match segments.last() {
            Some(last) if *last == "lock" || last.ends_with(".lock") => Err(PathError::Lock),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The path as written, without a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment: with tenancy `Namespace`, the namespace.
    #[must_use]
    pub fn first_segment(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

fn segment_ok(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = |b: &u8| edge(b) || matches!(b, b'.' | b'_' | b'-');
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(inner)
        && !segment.contains("..")
}

impl fmt::Display for StatePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StatePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_what_the_design_says() {
        for ok in
            ["a", "a/b", "team-a/net.work/prod_1", "1/2/3/4/5/6/7/8", "locks", "a.lock/b", "lock/a", &"a".repeat(200)]
        {
            assert_eq!(StatePath::parse(ok).map(|p| p.to_string()), Ok(ok.to_owned()));
        }
    }

    #[test]
    fn refuses_each_break_of_the_rule() {
        for (bad, why) in [
            ("", PathError::Empty),
            (&*"a".repeat(201), PathError::TooLong),
            ("1/2/3/4/5/6/7/8/9", PathError::TooDeep),
            ("/a", PathError::Segment),
            ("a/", PathError::Segment),
            ("a//b", PathError::Segment),
            ("A", PathError::Segment),
            ("-a", PathError::Segment),
            ("a.", PathError::Segment),
            ("a..b", PathError::Segment),
            ("a:b", PathError::Segment),
            ("a/../b", PathError::Segment),
            ("ä", PathError::Segment),
            ("a/lock", PathError::Lock),
            ("a/b.lock", PathError::Lock),
        ] {
            assert_eq!(StatePath::parse(bad), Err(why), "{bad:?}");
        }
    }
}
