//! The part of the status that `tofustate-http` writes, as JSON, and how what stands there is to what should. Pure.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::{
    crd::TofuStateBackendStatus,
    store::{Mark, Sha256Sum},
};

/// The fields that the HTTP backend writes, and no other part does.
pub const FIELDS: [&str; 6] = ["locked", "lock", "state", "history", "headEpoch", "headRevision"];

/// Those fields of a status.
#[must_use]
pub(super) fn own(status: &TofuStateBackendStatus) -> Value {
    let own = TofuStateBackendStatus {
        locked: status.locked,
        lock: status.lock.clone(),
        state: status.state.clone(),
        history: status.history.clone(),
        head_epoch: status.head_epoch.clone(),
        head_revision: status.head_revision,
        ..TofuStateBackendStatus::default()
    };
    serde_json::to_value(own).unwrap_or_default()
}

/// Those fields of a status that may have others, too.
pub(super) fn own_fields(mut status: Value) -> Value {
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|name, _| FIELDS.contains(&name.as_str()));
    }
    status
}

/// Those fields, as much as it takes to know them again: thousands of states are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    epoch: Option<String>,
    revision: Option<i64>,
    sum: Sha256Sum,
}

impl Shown {
    pub(super) fn of(own: &Value) -> Self {
        Self {
            epoch: own["headEpoch"].as_str().map(str::to_owned),
            revision: own["headRevision"].as_i64(),
            sum: Sha256Sum::of(own.to_string().as_bytes()),
        }
    }

    /// Whether it tells of a head that is as far as this.
    pub(super) fn is_of(&self, mark: Mark) -> bool {
        self.epoch.as_deref() == Some(&*mark.epoch.to_string())
            && self.revision.is_some_and(|revision| u64::try_from(revision) == Ok(mark.revision))
    }

    pub(super) fn revision(&self) -> Option<i64> {
        self.revision
    }

    /// Whether this is what stood there before that did.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.revision < other.revision
    }
}

/// What stands in a status, next to what a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// Just that.
    Same,
    /// The status speaks of a later head of the same epoch: another replica's.
    Newer,
    /// Something else, of the same head: somebody wrote there, or another release did.
    Altered,
    /// Something older, or of another epoch.
    Older,
}

/// Compares what stands there with what should.
#[must_use]
pub(super) fn compare(shown: &Shown, wanted: &Shown) -> Stands {
    if shown == wanted {
        return Stands::Same;
    }
    if shown.epoch != wanted.epoch {
        return Stands::Older;
    }
    match shown.revision.cmp(&wanted.revision) {
        Ordering::Greater => Stands::Newer,
        Ordering::Equal => Stands::Altered,
        Ordering::Less => Stands::Older,
    }
}

/// A merge patch that takes away what stands in `found` and not in `wanted`; `None` where nothing does. Server-side apply
/// takes away only what nobody else ever wrote.
#[must_use]
pub(in crate::controller) fn strays(found: &Value, wanted: &Value) -> Option<Value> {
    let (Value::Object(found), Value::Object(wanted)) = (found, wanted) else { return None };
    let stray = |(name, value): (&String, &Value)| match wanted.get(name) {
        None => Some((name.clone(), Value::Null)),
        Some(wanted) => strays(value, wanted).map(|inner| (name.clone(), inner)),
    };
    let patch: Map<String, Value> = found.iter().filter_map(stray).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::{Head, head::Owner};

    #[test]
    fn the_fields_are_those_that_a_head_gives_and_no_others() {
        let status: TofuStateBackendStatus = serde_json::from_value(json!({
            "observedGeneration": 2, "conditions": [], "endpoints": {"internal": "x"}, "openbao": {"policy": "p"},
            "lastHandled": {}, "locked": true, "lock": {"id": "1", "since": "2025-06-01T12:00:00.5Z"},
            "headEpoch": "e", "headRevision": 4,
        }))
        .unwrap();
        // Kubernetes keeps whole seconds of what is written as its own type.
        let lock = json!({"id": "1", "since": "2025-06-01T12:00:00Z"});
        assert_eq!(own(&status), json!({"locked": true, "lock": lock, "headEpoch": "e", "headRevision": 4}));

        let owner = Owner { instance: "i".into(), namespace: "n".into(), name: "a".into(), claim: 1, released: false };
        let all = serde_json::to_value(super::super::super::head::status(&Head::new(owner))).unwrap();
        assert!(all.as_object().unwrap().keys().all(|name| FIELDS.contains(&name.as_str())), "{all}");
    }

    #[test]
    fn a_later_head_is_left_and_all_else_is_put_right() {
        let status = |epoch: &str, revision: i64, locked: bool| json!({"headEpoch": epoch, "headRevision": revision, "locked": locked});
        let wanted = status("e", 5, false);
        for (shown, stands) in [
            (status("e", 5, false), Stands::Same),
            (status("e", 6, true), Stands::Newer),
            (status("e", 5, true), Stands::Altered),
            (status("e", 4, false), Stands::Older),
            (status("d", 9, false), Stands::Older),
            (json!({"locked": false}), Stands::Older),
            (json!({"locked": false, "headEpoch": "e"}), Stands::Older),
        ] {
            assert_eq!(compare(&Shown::of(&shown), &Shown::of(&wanted)), stands, "{shown}");
        }
    }

    #[test]
    fn strays_are_taken_away_one_by_one() {
        let wanted = json!({"locked": false, "state": {"serial": 1}, "history": [{"event": "Written"}]});
        for (found, patch) in [
            (wanted.clone(), None),
            (json!({"locked": true, "state": {"serial": 2}}), None),
            (json!({"locked": false, "lock": {"who": "eve"}}), Some(json!({"lock": null}))),
            (
                json!({"state": {"serial": 1, "size": 2}, "lock": {}}),
                Some(json!({"state": {"size": null}, "lock": null})),
            ),
        ] {
            assert_eq!(strays(&found, &wanted), patch, "{found}");
        }
    }
}
