//! The part of the status that the controller applies: what it should be, and whether it is so already. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use super::conditions::Findings;
use crate::crd::{
    Endpoints, GROUP, LastHandled, OpenBaoStatus, TofuStateBackend, TofuStateBackendStatus, VERSION, conditions::TYPES,
};
use crate::store::Mark;

/// As whom the controller applies its part of a status, of all replicas.
pub const MANAGER: &str = "tofustate-controller";

/// How much later a token may end before that is worth a patch.
const WORTH_TELLING: i64 = 3_600;

/// What the controller found.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Of the conditions.
    pub findings: Findings,
    /// Where the state is served.
    pub endpoints: Option<Endpoints>,
    /// What OpenBao has for it.
    pub openbao: Option<OpenBaoStatus>,
    /// What came of requests by annotation.
    pub last_handled: Option<LastHandled>,
}

impl Draft {
    /// The status as the controller wants it.
    #[must_use]
    pub fn status(&self, resource: &TofuStateBackend, now: Timestamp) -> TofuStateBackendStatus {
        let generation = resource.metadata.generation.unwrap_or_default();
        let before = resource.status.as_ref();
        let conditions = before.and_then(|status| status.conditions.clone()).unwrap_or_default();
        TofuStateBackendStatus {
            observed_generation: Some(generation),
            conditions: Some(self.findings.conditions(&conditions, generation, now)),
            endpoints: self.endpoints.clone(),
            openbao: settled(self.openbao.clone(), before.and_then(|status| status.openbao.as_ref())),
            last_handled: self.last_handled.clone(),
            ..TofuStateBackendStatus::default()
        }
    }
}

/// The time that a token ends moves a little each time it is looked at.
fn settled(wanted: Option<OpenBaoStatus>, before: Option<&OpenBaoStatus>) -> Option<OpenBaoStatus> {
    let (Some(mut wanted), Some(before)) = (wanted.clone(), before) else { return wanted };
    if let (Some(new), Some(old)) = (&wanted.token_expires, &before.token_expires)
        && (new.0.as_second() - old.0.as_second()).abs() < WORTH_TELLING
    {
        wanted.token_expires = Some(old.clone());
    }
    Some(wanted)
}

/// Whether the status is as the controller wants it. What others write into it does not count.
#[must_use]
pub fn is_so(status: Option<&TofuStateBackendStatus>, wanted: &TofuStateBackendStatus) -> bool {
    let Some(status) = status else { return false };
    let ours = |conditions: &Option<Vec<Condition>>| -> Vec<Condition> {
        let all = conditions.iter().flatten();
        let mut ours: Vec<_> = all.filter(|one| TYPES.contains(&one.type_.as_str())).cloned().collect();
        ours.sort_by(|a, b| a.type_.cmp(&b.type_));
        ours
    };
    status.observed_generation == wanted.observed_generation
        && ours(&status.conditions) == ours(&wanted.conditions)
        && status.endpoints == wanted.endpoints
        && status.openbao == wanted.openbao
        && status.last_handled == wanted.last_handled
}

/// A merge patch of the status that takes away what stands in the controller's part of it and is not wanted; `None` where
/// nothing does.
#[must_use]
pub fn strays(found: Option<&TofuStateBackendStatus>, wanted: &TofuStateBackendStatus) -> Option<Value> {
    let found = found?;
    let part = |of: &TofuStateBackendStatus| {
        serde_json::to_value(TofuStateBackendStatus {
            endpoints: of.endpoints.clone(),
            openbao: of.openbao.clone(),
            last_handled: of.last_handled.clone(),
            ..TofuStateBackendStatus::default()
        })
        .unwrap_or_default()
    };
    let mut patch = super::report::strays(&part(found), &part(wanted));
    let is_stray = |one: &&Condition| TYPES.contains(&one.type_.as_str()) && wanted.condition(&one.type_).is_none();
    let conditions = found.conditions.iter().flatten();
    if conditions.clone().any(|one| is_stray(&one)) {
        // A list is merged as a whole.
        let kept: Vec<_> = conditions.filter(|one| !is_stray(one)).collect();
        patch.get_or_insert_with(|| json!({}))["conditions"] = json!(kept);
    }
    patch
}

/// Whether the status knows of another life of the head than this, or of none: that has to be taken down before the path
/// is served. How far a head got is told later.
#[must_use]
pub fn is_newer(status: Option<&TofuStateBackendStatus>, seen: Option<Mark>) -> bool {
    let known = status.and_then(|status| status.head_epoch.as_deref());
    seen.is_some_and(|seen| known != Some(seen.epoch.to_string().as_str()))
}

/// The object to apply to the status of a resource.
#[must_use]
pub fn patch(resource: &TofuStateBackend, status: &TofuStateBackendStatus) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "TofuStateBackend",
        // The API server does not compare a uid where a status is patched: whoever must not write into an object that was
        // made anew under the name sends its resourceVersion too.
        "metadata": {
            "name": resource.metadata.name, "namespace": resource.metadata.namespace, "uid": resource.metadata.uid,
        },
        "status": status,
    })
}

/// Conditions that are otherwise than before, for Events: the new one.
#[must_use]
pub fn news<'a>(before: Option<&Said>, now: &'a TofuStateBackendStatus) -> Vec<&'a Condition> {
    let new = |condition: &&Condition| before.is_none_or(|before| !before.0.contains(&sum(condition)));
    now.conditions.iter().flatten().filter(new).collect()
}

/// What the conditions of a status said, as much as it takes to know it again.
pub struct Said(Box<[u64]>);

impl Said {
    /// By this status.
    #[must_use]
    pub fn of(status: &TofuStateBackendStatus) -> Self {
        Self(status.conditions.iter().flatten().map(sum).collect())
    }
}

fn sum(condition: &Condition) -> u64 {
    super::news::sum(&(&condition.type_, &condition.status, &condition.reason))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::crd::{TofuStateBackendSpec, conditions::PATH_CLAIMED};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn nothing_is_applied_where_nothing_changed() {
        let mut resource = TofuStateBackend::new("net", TofuStateBackendSpec::new("team/net"));
        resource.metadata.generation = Some(2);
        let mut draft = Draft::default();
        draft.findings.good(PATH_CLAIMED, "Claimed", "");
        let bao = |second| OpenBaoStatus {
            policy: Some("p".to_owned()),
            token_accessor: Some("a".to_owned()),
            token_expires: Some(Time(at(second))),
            claim: Some(1),
        };
        draft.openbao = Some(bao(100_000));
        let first = draft.status(&resource, at(1));
        assert!(!is_so(None, &first));
        assert_eq!(news(None, &first).len(), 2);
        resource.status = Some(TofuStateBackendStatus { locked: Some(true), ..first.clone() });
        draft.openbao = Some(bao(100_090));
        let second = draft.status(&resource, at(2));
        assert!(
            is_so(resource.status.as_ref(), &second)
                && news(resource.status.as_ref().map(Said::of).as_ref(), &second).is_empty()
        );
        draft.openbao = Some(bao(200_000));
        assert!(!is_so(resource.status.as_ref(), &draft.status(&resource, at(3))));
        let mut tampered = resource.clone();
        let status = tampered.status.as_mut().unwrap();
        status.conditions.as_mut().unwrap().retain(|condition| condition.type_ != "Ready");
        draft.openbao = Some(bao(100_000));
        assert!(!is_so(tampered.status.as_ref(), &draft.status(&tampered, at(3))));
        assert_eq!(patch(&resource, &second)["status"].get("locked"), None);
    }
}
