//! What the status says of the store, in place of a look at it: a process that starts, or comes to lead, believes of a resource
//! that is ready what stands there, and looks itself at a time of its own, within the resync. Thousands are served at once by
//! it, without a storm. Nothing is risked: the claim in the status and the head that was seen are compared with the head itself
//! in each request.

use std::time::Duration;

use super::{
    FINALIZER,
    conditions::Findings,
    context::{Checked, Context, Held, name_of},
    requests,
    store::wish,
};
use crate::{
    crd::{
        Settings, TofuStateBackend, TofuStateBackendStatus,
        conditions::{PATH_CLAIMED, POLICY_SYNCED, READY, STORE_REACHABLE, TOKEN_READY},
    },
    store::State,
};
use tokio::time::Instant;

/// How much of the resync may go by until the store is looked at.
pub(super) const SHARE: f64 = 0.9;
/// How long the looks of a process that starts are apart: of a few resources it knows all at once, of thousands within the
/// resync.
const EACH: Duration = Duration::from_millis(50);
/// What a look at the store says of a resource.
const LOOKED_AT: [&str; 4] = [PATH_CLAIMED, POLICY_SYNCED, TOKEN_READY, STORE_REACHABLE];

/// The state as the status has it, and until when that is good enough; `None` where it has to be looked at.
pub(super) fn open(
    context: &Context,
    held: &mut Held,
    resource: &TofuStateBackend,
    settings: &Settings,
) -> Option<(State, Checked)> {
    // After a restore it may be of a time before what was done since.
    let status = resource.status.as_ref().filter(|_| context.restored.times() == 0)?;
    let claim = claim(resource, status)?;
    let name = name_of(resource);
    let policy = context.openbao.policy(&name.namespace, &name.name)?;
    // Another installation's claim is none of this; and who of two has it has to be looked for.
    if status.openbao.as_ref()?.policy.as_deref() != Some(policy.as_str()) || !context.rivals(resource).is_empty() {
        return None;
    }
    let now = Instant::now();
    let spread = || {
        let all = u32::try_from(context.resources.len()).unwrap_or(u32::MAX);
        let longest = context.options.resync.mul_f64(SHARE);
        now + EACH.saturating_mul(all).min(longest).mul_f64(rand::random_range(0.0..1.0))
    };
    let until = *held.record.get_or_insert_with(spread);
    if until <= now {
        return None;
    }
    let wish = wish(context, held, resource, &settings.path, settings.into());
    let mark = wish.mark?;
    let state = match &held.open {
        Some((state, of))
            if *of == claim
                && state.path() == &settings.path
                && state.mark().is_some_and(|own| own.epoch == mark.epoch) =>
        {
            state.clone()
        }
        // What this process saw counts, too.
        Some(_) => return None,
        None => {
            // It has them from the begin: nothing is to be done about it.
            held.settings = Some(wish.settings.clone());
            context.paths.handle(&wish, claim)
        }
    };
    let mut findings = Findings::default();
    for condition in LOOKED_AT {
        let found = status.condition(condition)?;
        findings.good(condition, &found.reason, found.message.clone());
    }
    held.open = Some((state.clone(), claim));
    let generation = resource.metadata.generation;
    Some((state, Checked { until, generation, good: true, findings, openbao: status.openbao.clone() }))
}

/// The claim of a resource of which everything was done that it asks for.
fn claim(resource: &TofuStateBackend, status: &TofuStateBackendStatus) -> Option<u64> {
    let metadata = &resource.metadata;
    let holds = |name: &&str| status.condition(name).is_some_and(|found| found.status == "True");
    let done = status.observed_generation == metadata.generation
        && metadata.deletion_timestamp.is_none()
        && metadata.finalizers.iter().flatten().any(|one| one == FINALIZER)
        && status.head_epoch.is_some()
        && status.head_revision.is_some()
        && LOOKED_AT.iter().chain([&READY]).all(holds)
        && !requests::asks(resource);
    let claim = status.openbao.as_ref()?.claim?;
    u64::try_from(claim).ok().filter(|claim| done && *claim > 0)
}

impl Checked {
    /// How long until the store is looked at again, with room for what comes a little early.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now()).div_f64(SHARE).max(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crd::annotations::{FORCE_UNLOCK, RECONCILE, ROLLBACK_TO};

    fn of(change: &Value) -> Option<u64> {
        let condition = |name: &&str| json!({"type": name, "status": "True", "reason": "r", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let conditions: Vec<_> = LOOKED_AT.iter().chain([&READY]).map(condition).collect();
        let mut all = json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
            "metadata": {"name": "app", "namespace": "team", "generation": 2, "finalizers": [FINALIZER]},
            "spec": {"path": "team/app"},
            "status": {
                "observedGeneration": 2, "conditions": conditions, "openbao": {"claim": 3}, "headEpoch": "e", "headRevision": 1,
                "lastHandled": {"forceUnlock": {"request": "1", "outcome": "Done"}},
            },
        });
        for (place, value) in change.as_object().unwrap() {
            *all.pointer_mut(place).unwrap() = value.clone();
        }
        let resource: TofuStateBackend = serde_json::from_value(all).unwrap();
        let status = resource.status.clone().unwrap();
        claim(&resource, &status)
    }

    #[test]
    fn only_of_a_resource_of_which_all_was_done_the_status_is_believed() {
        assert_eq!(of(&json!({})), Some(3));
        let asked = |name: &str, value: &str| {
            json!({"/metadata": {
                "name": "app", "generation": 2, "finalizers": [FINALIZER], "annotations": {name: value},
            }})
        };
        for done in [asked(FORCE_UNLOCK, "1"), asked("other", "x")] {
            assert_eq!(of(&done), Some(3), "{done}");
        }
        for not in [
            json!({"/metadata/generation": 3}),
            json!({"/metadata/finalizers": ["other"]}),
            json!({"/metadata": {"name": "app", "generation": 2, "finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            json!({"/status/openbao": {}}),
            json!({"/status/openbao/claim": 0}),
            json!({"/status/openbao/claim": -1}),
            json!({"/status/headEpoch": null}),
            json!({"/status/headRevision": null}),
            json!({"/status/conditions/0/status": "False"}),
            json!({"/status/conditions/3/status": "Unknown"}),
            json!({"/status/conditions/4/status": "False"}),
            json!({"/status/conditions": []}),
            asked(FORCE_UNLOCK, "2"),
            asked(ROLLBACK_TO, "1@2"),
            asked(RECONCILE, "now"),
        ] {
            assert_eq!(of(&not), None, "{not}");
        }
    }
}
