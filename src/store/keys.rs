//! Where entries stand in the store. Nothing else spells a key.

use super::Sha256Sum;
use crate::crd::StatePath;

/// What keys of parts begin with; state paths cannot.
pub const VERSIONS: &str = ".versions/";
/// What keys of owner entries begin with.
pub const OWNERS: &str = ".owners/";

/// What names of objects begin with that keep what stood at a path before its head.
const ORIGINAL: &str = "original_";

/// The head of a state.
#[must_use]
pub fn head(path: &StatePath) -> String {
    path.as_str().to_owned()
}

/// Who may have a path.
#[must_use]
pub fn owner(path: &StatePath) -> String {
    format!("{OWNERS}{}", flat(path))
}

/// What the keys of all parts of a state begin with.
#[must_use]
pub fn versions(path: &StatePath) -> String {
    format!("{VERSIONS}{}/", flat(path))
}

/// A part of an object: the first has the object's name, the further ones `.<n>` after it.
#[must_use]
pub fn part(path: &StatePath, object: &str, index: u32) -> String {
    let first = format!("{}{object}", versions(path));
    if index == 0 { first } else { format!("{first}.{index}") }
}

/// The object that keeps the bytes of an entry which stood at a path before its head. No object of a version can have such a
/// name, for its `_`: no head names it, and the sweep leaves it. With the same bytes it is the same one.
#[must_use]
pub fn original(bytes: &Sha256Sum) -> String {
    format!("{ORIGINAL}{:.16}", bytes.to_string())
}

/// Whether an object's name is one of [`original`].
#[must_use]
pub fn is_original(object: &str) -> bool {
    object.starts_with(ORIGINAL)
}

/// The object and index that a part's key names, if it is one of `path`.
#[must_use]
pub fn parse_part<'a>(path: &StatePath, key: &'a str) -> Option<(&'a str, u32)> {
    let name = key.strip_prefix(&versions(path))?;
    match name.split_once('.') {
        None => Some((name, 0)),
        Some((object, index)) => Some((object, index.parse().ok()?)),
    }
}

fn flat(path: &StatePath) -> String {
    path.as_str().replace('/', ":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_keys_go_there_and_back() {
        let path = StatePath::parse("team/net.work").unwrap();
        for (object, index) in [("7-abc", 0), ("7-abc", 12)] {
            let key = part(&path, object, index);
            assert_eq!(parse_part(&path, &key), Some((object, index)), "{key}");
        }
        assert_eq!(part(&path, "7-abc", 2), ".versions/team:net.work/7-abc.2");
        assert_eq!(owner(&path), ".owners/team:net.work");
        assert_eq!(parse_part(&path, ".versions/team:other/7-abc"), None);
        let kept = original(&Sha256Sum::of(b"x"));
        assert_eq!(parse_part(&path, &part(&path, &kept, 1)), Some((kept.as_str(), 1)));
        assert_eq!((kept.as_str(), is_original(&kept)), ("original_2d711642b726b044", true));
        assert!(!is_original("7-abc") && !crate::store::head::object_name_ok(&kept), "no head may name it");
    }
}
