//! Whether a lock is older than the resource wants. What happens to such a one is the engine's.

use std::time::Duration;

use super::{conditions::Findings, context::Fault};
use crate::{
    crd::{clip, conditions::LOCK_STALE},
    store::{Budget, Head, LockInfo, State, StateError},
};
use jiff::Timestamp;

/// How often a stale lock is looked at, at most.
const SOONEST: Duration = Duration::from_secs(5);

/// Tells of a stale lock. Answers when it is to be looked at again: when the lock that is held becomes one, or when one that
/// is may have been used since.
///
/// # Errors
/// The store does not answer: then nothing is known, and what was told before is not taken back.
pub(super) async fn look(
    state: &State,
    after: Option<Duration>,
    findings: &mut Findings,
) -> Result<Option<Duration>, Fault> {
    let Some(after) = after else { return Ok(None) };
    let head = match state.recent(&mut Budget::new(super::LOOK)).await {
        Ok(head) => head,
        Err(error @ (StateError::Unavailable { .. } | StateError::Busy { .. })) => {
            return Err(Fault::Away(error.to_string()));
        }
        // What is wrong with the state is told elsewhere.
        Err(_) => return Ok(None),
    };
    Ok(tell(&head, after, state.now(), findings))
}

fn tell(head: &Head, after: Duration, now: Timestamp, findings: &mut Findings) -> Option<Duration> {
    let Some(lock) = &head.lock else {
        findings.waits(LOCK_STALE, "NotLocked", "nobody holds the lock");
        return None;
    };
    let quiet = lock.quiet(now);
    if quiet <= after {
        findings.waits(LOCK_STALE, "Held", "the lock is not older than spec.lock.staleAfter");
        return Some(after.saturating_sub(quiet) + Duration::from_secs(1));
    }
    let who = LockInfo::parse(lock.info.as_bytes()).map(|info| info.who).unwrap_or_default();
    findings.good(
        LOCK_STALE,
        "Stale",
        format!(
            "the lock {} of {} ({}) was quiet since {}, longer than spec.lock.staleAfter: if its run is gone, break it with the annotation tofustate.io/force-unlock: {}",
            clip(&lock.id),
            clip(&who),
            lock.identity,
            lock.last_active().strftime("%Y-%m-%dT%H:%M:%SZ"),
            clip(&lock.id)
        ),
    );
    // Its holder may write again.
    Some(after.max(SOONEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        OpId,
        head::{Lock, Owner},
    };

    #[test]
    fn a_lock_is_looked_at_again_whether_it_is_stale_or_will_be() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let owner = Owner { instance: "i".into(), namespace: "n".into(), name: "a".into(), claim: 1, released: false };
        let mut head = Head::new(owner);
        let mut found = Findings::default();
        let minute = Duration::from_secs(60);
        assert_eq!(tell(&head, minute, at(0), &mut found), None, "nobody holds it");
        head.lock = Some(Lock {
            id: "1".to_owned(),
            info: String::new(),
            identity: "token".to_owned(),
            credential: None,
            since: at(0),
            wrote: None,
            base: None,
            traceparent: None,
            op: OpId::of_request("x"),
        });
        assert_eq!(tell(&head, minute, at(20), &mut found), Some(Duration::from_secs(41)));
        assert_eq!(found.get(LOCK_STALE).unwrap().holds, Some(false));
        assert_eq!(tell(&head, minute, at(61), &mut found), Some(minute), "its holder may write again");
        assert_eq!(found.get(LOCK_STALE).unwrap().holds, Some(true));
        assert_eq!(tell(&head, Duration::ZERO, at(61), &mut found), Some(SOONEST));
    }
}
