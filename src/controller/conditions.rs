//! From what was found to the conditions of the status. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::crd::{
    conditions::{READY, STALLED, TYPES, reason::SUSPENDED},
    plain,
};

/// The longest message that the API server takes, in characters.
const MAX_MESSAGE: usize = 32_768;

/// What a stage found of one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it holds; `None`: it is not known yet.
    pub holds: Option<bool>,
    /// One word for machines.
    pub reason: String,
    /// What was found and what to do, for people.
    pub message: String,
    /// Only a person can change it.
    pub needs_person: bool,
}

/// What all stages found of a resource, by condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the order of their names. A map would take thrice the room, of each of thousands of resources.
    found: Vec<(&'static str, Finding)>,
    /// What a person has to do though nothing keeps the state from being used.
    needed: Option<Finding>,
    /// The resource is suspended.
    suspended: bool,
}

impl Findings {
    /// It holds.
    pub fn good(&mut self, condition: &'static str, reason: &str, message: impl Into<String>) {
        self.set(condition, Some(true), reason, message, false);
    }

    /// It does not hold, and may by itself or by another part's doing.
    pub fn waits(&mut self, condition: &'static str, reason: &str, message: impl Into<String>) {
        self.set(condition, Some(false), reason, message, false);
    }

    /// It does not hold until a person does what the message says.
    pub fn stalls(&mut self, condition: &'static str, reason: &str, message: impl Into<String>) {
        self.set(condition, Some(false), reason, message, true);
    }

    /// It cannot be told now.
    pub fn unknown(&mut self, condition: &'static str, reason: &str, message: impl Into<String>) {
        self.set(condition, None, reason, message, false);
    }

    /// A person has to do something, though the state can be used.
    pub fn needs(&mut self, reason: &str, message: impl Into<String>) {
        let (reason, message) = (reason.to_owned(), message.into());
        self.needed = Some(Finding { holds: Some(true), reason, message, needs_person: true });
    }

    /// Changes of the resource wait.
    pub fn suspended(&mut self) {
        self.suspended = true;
    }

    fn set(
        &mut self,
        condition: &'static str,
        holds: Option<bool>,
        reason: &str,
        message: impl Into<String>,
        needs_person: bool,
    ) {
        let finding = Finding { holds, reason: reason.to_owned(), message: message.into(), needs_person };
        insert(&mut self.found, condition, finding);
    }

    /// What was found of a condition.
    #[must_use]
    pub fn get(&self, condition: &str) -> Option<&Finding> {
        let at = self.found.binary_search_by_key(&condition, |(name, _)| name).ok()?;
        self.found.get(at).map(|(_, finding)| finding)
    }

    /// The conditions, `Ready` and `Stalled` made from the others. `before`: those of the status. The time of a condition
    /// is that of its last change.
    #[must_use]
    pub fn conditions(&self, before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
        let mut all = self.clone();
        insert(&mut all.found, READY, self.ready());
        if let Some(stalled) = self.stalled() {
            insert(&mut all.found, STALLED, stalled);
        }
        let one = |name: &&'static str| {
            let found = all.get(name)?;
            let status = match found.holds {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let former = before.iter().find(|condition| condition.type_ == *name && condition.status == status);
            Some(Condition {
                type_: (*name).to_owned(),
                status: status.to_owned(),
                reason: found.reason.clone(),
                message: found.message.chars().take(MAX_MESSAGE).map(plain).collect(),
                observed_generation: Some(generation),
                last_transition_time: former.map_or(Time(now), |former| former.last_transition_time.clone()),
            })
        };
        TYPES.iter().filter_map(one).collect()
    }

    /// What keeps the state from being used, worst first.
    fn missing(&self) -> Vec<(&'static str, &Finding)> {
        let decides = |name: &str| name != crate::crd::conditions::LOCK_STALE;
        let mut missing: Vec<_> = TYPES
            .iter()
            .filter_map(|name| Some((*name, self.get(name)?)))
            .filter(|(name, found)| decides(name) && found.holds != Some(true))
            .collect();
        missing.sort_by_key(|(_, found)| !found.needs_person);
        missing
    }

    fn ready(&self) -> Finding {
        let missing = self.missing();
        let Some((_, first)) = missing.first() else {
            let (reason, message) = match self.suspended {
                false => (READY, "the state can be used"),
                true => (SUSPENDED, "the state can be used; changes of this resource wait while spec.suspend is true"),
            };
            let (reason, message) = (reason.to_owned(), message.to_owned());
            return Finding { holds: Some(true), reason, message, needs_person: false };
        };
        let said: Vec<&str> = missing.iter().map(|(_, found)| found.message.as_str()).collect();
        let holds = if missing.iter().all(|(_, found)| found.holds.is_none()) { None } else { Some(false) };
        Finding { holds, reason: first.reason.clone(), message: said.join("; "), needs_person: false }
    }

    fn stalled(&self) -> Option<Finding> {
        let missing = self.missing().into_iter().find(|(_, found)| found.needs_person);
        let found = missing.map(|(_, found)| found).or(self.needed.as_ref())?;
        Some(Finding { holds: Some(true), ..found.clone() })
    }
}

fn insert(found: &mut Vec<(&'static str, Finding)>, condition: &'static str, finding: Finding) {
    match found.binary_search_by_key(&condition, |(name, _)| name) {
        Ok(at) => found[at].1 = finding,
        Err(at) => found.insert(at, (condition, finding)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::conditions::{CREDENTIALS_READY, LOCK_STALE, PATH_CLAIMED, TOKEN_READY, reason};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn short(conditions: &[Condition]) -> Vec<(&str, &str, &str, i64)> {
        let one = |c: &Condition| c.last_transition_time.0.as_second();
        conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str(), one(c))).collect()
    }

    #[test]
    fn ready_says_all_that_is_missing_and_what_a_person_must_do_comes_first() {
        let mut found = Findings::default();
        found.good(PATH_CLAIMED, "Claimed", "");
        found.waits(TOKEN_READY, "NoToken", "OpenBao does not answer");
        found.stalls(CREDENTIALS_READY, reason::SECRET_NOT_FOUND, "make the Secret s");
        let conditions = found.conditions(&[], 3, at(5));
        assert_eq!(
            short(&conditions),
            [
                ("Ready", "False", "SecretNotFound", 5),
                ("PathClaimed", "True", "Claimed", 5),
                ("TokenReady", "False", "NoToken", 5),
                ("CredentialsReady", "False", "SecretNotFound", 5),
                ("Stalled", "True", "SecretNotFound", 5),
            ]
        );
        assert_eq!(conditions[0].message, "make the Secret s; OpenBao does not answer");
        assert!(conditions.iter().all(|condition| condition.observed_generation == Some(3)));
    }

    #[test]
    fn a_time_is_that_of_the_last_change_and_a_stale_lock_keeps_nobody_out() {
        let mut found = Findings::default();
        found.waits(TOKEN_READY, "NoToken", "a");
        let first = found.conditions(&[], 1, at(1));
        found.waits(TOKEN_READY, "NoToken", "b");
        let second = found.conditions(&first, 1, at(2));
        assert_eq!(second[1].last_transition_time.0, at(1));
        assert_eq!(second[1].message, "b");
        found.good(TOKEN_READY, "Minted", "");
        found.good(LOCK_STALE, "Older", "held for a day");
        let third = found.conditions(&second, 1, at(3));
        assert_eq!(
            short(&third),
            [("Ready", "True", "Ready", 3), ("TokenReady", "True", "Minted", 3), ("LockStale", "True", "Older", 3)]
        );
        found.waits(LOCK_STALE, "Held", "");
        assert_eq!(found.conditions(&third, 1, at(4))[0].status, "True");
    }

    #[test]
    fn a_person_may_be_needed_though_the_state_can_be_used() {
        let mut found = Findings::default();
        found.good(PATH_CLAIMED, "Claimed", "");
        found.suspended();
        found.needs("WaitingForUnlock", "break the lock");
        let said = found.conditions(&[], 1, at(1));
        let expected = [
            ("Ready", "True", "Suspended", 1),
            ("PathClaimed", "True", "Claimed", 1),
            ("Stalled", "True", "WaitingForUnlock", 1),
        ];
        assert_eq!(short(&said), expected);
    }

    #[test]
    fn what_is_not_known_is_neither() {
        let mut found = Findings::default();
        found.unknown(PATH_CLAIMED, "StoreUnavailable", "OpenBao does not answer");
        assert_eq!(found.conditions(&[], 1, at(1))[0].status, "Unknown");
    }
}
