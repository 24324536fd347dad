//! Which credentials a state had and has, as hashes: so that one that was replaced may end the run whose lock it took, also
//! after this process ended. Kept in an annotation of the connection Secret. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::registry::{Former, MOST_FORMER, SaltedHash};
use crate::store::Redacted;

/// How long a replaced credential may still end its run.
const GRACE: SignedDuration = SignedDuration::from_hours(1);

/// The credentials of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By identity, in their order. A map would take many times the room, of each of thousands of states.
    current: Box<[(String, SaltedHash)]>,
    /// Those that were replaced a while ago at most.
    pub former: Vec<Former>,
    /// The last `tofustate.io/revoke-now`.
    revoked: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(default)]
    current: BTreeMap<String, Redacted<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<KeptFormer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct KeptFormer {
    identity: String,
    hash: Redacted<String>,
    until: Timestamp,
}

impl Ledger {
    /// With these credentials from now on. `revoke`: the annotation that ends the time of those before.
    #[must_use]
    pub fn with(&self, tokens: &[(String, Redacted<String>)], revoke: Option<&str>, now: Timestamp) -> Self {
        let is_current = |hash: &SaltedHash| tokens.iter().any(|(_, token)| hash.is_of(token.expose()));
        let mut former: Vec<Former> =
            self.former.iter().filter(|former| former.until > now && !is_current(&former.hash)).cloned().collect();
        let until = now.saturating_add(GRACE).unwrap_or(Timestamp::MAX);
        let replaced = self.current.iter().filter(|(_, hash)| !is_current(hash));
        former.extend(replaced.map(|(identity, hash)| Former { identity: identity.clone(), hash: *hash, until }));
        if self.revokes(revoke) {
            former.clear();
        }
        let over = former.len().saturating_sub(MOST_FORMER);
        former.drain(..over);
        let hash = |(identity, token): &(String, Redacted<String>)| {
            let known = self.hash(identity).filter(|hash| hash.is_of(token.expose()));
            (identity.clone(), known.copied().unwrap_or_else(|| SaltedHash::of(token.expose())))
        };
        let revoked = revoke.map(str::to_owned).or_else(|| self.revoked.clone());
        Self { current: sorted(tokens.iter().map(hash)), former, revoked }
    }

    /// With the same credentials, while others cannot be given out.
    #[must_use]
    pub fn still(&self, revoke: Option<&str>, now: Timestamp) -> Self {
        let mut still = self.clone();
        still.former.retain(|former| former.until > now && !self.revokes(revoke));
        still.revoked = revoke.map(str::to_owned).or(still.revoked);
        still
    }

    fn revokes(&self, revoke: Option<&str>) -> bool {
        revoke.is_some() && revoke != self.revoked.as_deref()
    }

    /// Whether this is the credential that somebody has now.
    #[must_use]
    pub fn is_current(&self, identity: &str, token: &str) -> bool {
        self.hash(identity).is_some_and(|hash| hash.is_of(token))
    }

    fn hash(&self, identity: &str) -> Option<&SaltedHash> {
        self.current.iter().find(|(name, _)| name == identity).map(|(_, hash)| hash)
    }

    /// From the text that was kept. What is no such text is as none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let Ok(kept) = serde_json::from_str::<Kept>(text) else { return Self::default() };
        let current = kept.current.into_iter();
        Self {
            current: sorted(current.filter_map(|(name, hash)| Some((name, SaltedHash::parse(hash.expose())?)))),
            former: kept
                .former
                .into_iter()
                .filter_map(|KeptFormer { identity, hash, until }| {
                    Some(Former { identity, hash: SaltedHash::parse(hash.expose())?, until })
                })
                .collect(),
            revoked: kept.revoked,
        }
    }

    /// The text to be kept.
    #[must_use]
    pub fn to_text(&self) -> String {
        let former = self.former.iter().map(|former| KeptFormer {
            identity: former.identity.clone(),
            hash: former.hash.to_text(),
            until: former.until,
        });
        let kept = Kept {
            current: self.current.iter().map(|(name, hash)| (name.clone(), hash.to_text())).collect(),
            former: former.collect(),
            revoked: self.revoked.clone(),
        };
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn sorted(all: impl Iterator<Item = (String, SaltedHash)>) -> Box<[(String, SaltedHash)]> {
    // Of two of one name the last counts.
    all.collect::<BTreeMap<_, _>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn tokens(of: &[(&str, &str)]) -> Vec<(String, Redacted<String>)> {
        of.iter().map(|(name, token)| ((*name).to_owned(), (*token).to_owned().into())).collect()
    }

    fn former(ledger: &Ledger) -> Vec<(&str, i64)> {
        ledger.former.iter().map(|former| (former.identity.as_str(), former.until.as_second() / 60)).collect()
    }

    #[test]
    fn what_is_replaced_has_an_hour_and_a_person_may_end_it() {
        let first = Ledger::default().with(&tokens(&[("token", "one"), ("access/ci", "ci")]), None, at(0));
        assert_eq!(
            first.with(&tokens(&[("token", "one"), ("access/ci", "ci")]), None, at(5)),
            first,
            "nothing changed"
        );
        let second = first.with(&tokens(&[("token", "two")]), None, at(10));
        assert_eq!(former(&second), [("access/ci", 70), ("token", 70)]);
        assert!(second.former[1].hash.is_of("one"));
        let third = second.with(&tokens(&[("token", "three"), ("access/ci", "ci")]), None, at(20));
        assert_eq!(former(&third), [("token", 70), ("token", 80)], "ci is back");
        assert_eq!(
            former(&third.with(&tokens(&[("token", "three")]), None, at(75))),
            [("token", 80), ("access/ci", 135)]
        );
        let ended = third.with(&tokens(&[("token", "three")]), Some("now"), at(30));
        assert_eq!(former(&ended), []);
        let later = ended.with(&tokens(&[("token", "four")]), Some("now"), at(40));
        assert_eq!(former(&later), [("token", 100)], "a word is good once");
        assert_eq!(former(&later.with(&tokens(&[("token", "four")]), Some("again"), at(41))), []);
        let each_minute =
            (0..60).fold(first.clone(), |ledger, n| ledger.with(&tokens(&[("token", &n.to_string())]), None, at(n)));
        assert!(each_minute.former.iter().any(|former| former.hash.is_of("one")));
        let many = (0..100).fold(first, |ledger, n| ledger.with(&tokens(&[("token", &n.to_string())]), None, at(0)));
        assert!(many.former.len() == MOST_FORMER && many.former[MOST_FORMER - 1].hash.is_of("98"), "the last ones");
    }

    #[test]
    fn while_a_new_one_cannot_be_given_out_the_old_one_is_current() {
        let first = Ledger::default().with(&tokens(&[("token", "one")]), None, at(0));
        let second = first.with(&tokens(&[("token", "two")]), None, at(10));
        assert_eq!(second.still(None, at(20)), second);
        assert_eq!(former(&second.still(None, at(70))), []);
        let ended = second.still(Some("now"), at(20));
        assert_eq!((former(&ended), ended.still(Some("now"), at(21))), (vec![], ended.clone()));
        assert_eq!(former(&ended.with(&tokens(&[("token", "three")]), Some("now"), at(30))), [("token", 90)]);
    }

    #[test]
    fn it_is_kept_without_a_token_in_it() {
        let ledger = Ledger::default().with(&tokens(&[("token", "s3cret")]), Some("x"), at(0));
        let ledger = ledger.with(&tokens(&[("token", "0ther")]), Some("x"), at(1));
        let text = ledger.to_text();
        assert!(!text.contains("s3cret") && !text.contains("0ther"), "{text}");
        assert!(!format!("{ledger:?}").contains("s3cret"));
        assert_eq!(Ledger::parse(&text), ledger);
        for bad in ["", "{", "[]", "null", r#"{"current":{"token":"no hash"}}"#] {
            assert!(Ledger::parse(bad).is_empty(), "{bad}");
        }
    }
}
