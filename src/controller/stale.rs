//! Whether a lock is older than the resource wants. What happens to such a one is the engine's.

use std::time::Duration;

use super::conditions::Findings;
use crate::{
    crd::{clip, conditions::LOCK_STALE},
    store::{Budget, Head, LockInfo, State},
};
use jiff::Timestamp;

/// Tells of a stale lock. Answers when the lock that is held becomes one.
pub(super) async fn look(state: &State, after: Option<Duration>, findings: &mut Findings) -> Option<Duration> {
    let after = after?;
    let head = state.recent(&mut Budget::new(super::LOOK)).await.ok()?;
    tell(&head, after, state.now(), findings)
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
    None
}
