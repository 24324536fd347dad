//! The status of a TofuStateBackend, and how values that come from clients and stores are made fit to stand in it. The
//! parts are in observed.rs; who writes what when lives in the controller and the HTTP backend.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use super::{Endpoints, HistoryEntry, LastHandled, LockStatus, OpenBaoStatus, StateStatus, rules};

/// How many entries `history` has at most.
pub const MAX_HISTORY: usize = 10;
/// How many characters of a client's text stand in the status.
pub const MAX_CLIENT_TEXT: usize = 256;

/// What tofustate last saw of the state: its lock, its current version, its history, and whether everything that it needs
/// is in place. Written by tofustate only.
// Every field is optional, so that two field managers can each apply their own, and so that the status of an older or
// newer tofustate decodes. A part that does not decode counts as absent: no status may keep a state from being served.
// headEpoch is not lenient: taking it for absent would let a lost state pass for one that never was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("default" = {"observedGeneration": -1}, "x-kubernetes-validations" = rules::status()))]
pub struct TofuStateBackendStatus {
    /// The metadata.generation that the conditions speak of; -1 until tofustate has seen this resource. While it is lower
    /// than metadata.generation, a change has not been looked at yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Whether everything is in place. Ready: the state can be used (a lock does not change this). PathClaimed: the path
    /// belongs to this resource. PolicySynced and TokenReady: the state's own OpenBao policy and token are in place.
    /// CredentialsReady: the Secrets that the spec names are there and the connection Secret is written. StoreReachable:
    /// False for a fault of this state's own, not for a shared outage. LockStale: the lock is older than
    /// spec.lock.staleAfter. Stalled: a person must act; the message says what to do.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Condition>", extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Option<Vec<Condition>>,

    /// Where the state is served.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Endpoints")]
    pub endpoints: Option<Endpoints>,

    /// Whether somebody holds the lock. Always there, so that kubectl get tofustates --field-selector status.locked=true
    /// lists what is locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool", extend("default" = false))]
    pub locked: Option<bool>,

    /// The lock and its holder; absent while nobody holds it.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LockStatus")]
    pub lock: Option<LockStatus>,

    /// The current version of the state; absent while there is none.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "StateStatus")]
    pub state: Option<StateStatus>,

    /// The last 10 things that happened to the state, the newest first. The store keeps more versions than stand here, as
    /// many as spec.retention says.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<HistoryEntry>", length(max = MAX_HISTORY), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Option<Vec<HistoryEntry>>,

    /// What OpenBao holds for this state. Absent where states are kept elsewhere.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OpenBaoStatus")]
    pub openbao: Option<OpenBaoStatus>,

    /// The last request of each kind that was made by annotation, and what came of it.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LastHandled")]
    pub last_handled: Option<LastHandled>,

    /// A random text that was made together with the state's entry in the store. Where it is set and the store has no such
    /// entry, or one of another epoch, the state was lost or replaced: it is not served until a person says so with the
    /// annotation tofustate.io/accept-empty or tofustate.io/accept-restore. Once set it is never removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rules::MAX_EPOCH))]
    pub head_epoch: Option<String>,

    /// How many changes the state's entry in the store has seen since the epoch began. It only grows within an epoch; a
    /// store that has a lower one was restored from an older snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub head_revision: Option<i64>,
}

impl TofuStateBackendStatus {
    /// The condition of this type, if it was ever set.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().flatten().find(|c| c.type_ == type_)
    }
}

/// A text that a client sent, cut to what the status holds.
#[must_use]
pub fn clip(text: &str) -> String {
    text.chars().take(MAX_CLIENT_TEXT).map(plain).collect()
}

/// A character that the API server takes where an object is applied: that is YAML to it, also where it is JSON, and YAML
/// has no control characters. Others stand for those.
#[must_use]
pub fn plain(character: char) -> char {
    match character {
        '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    }
}

/// A number of the store or of a state, as the status shows it: Kubernetes has signed 64-bit integers only, so a number
/// that is larger is shown as the largest of those. For the eye; nothing is decided from it.
#[must_use]
pub fn shown(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_another_version_decodes() {
        let status: TofuStateBackendStatus = serde_json::from_value(serde_json::json!({
            "observedGeneration": 3,
            "fromTheFuture": {"a": 1},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z", "new": 1}],
            "endpoints": "moved",
            "locked": true,
            "lock": {"id": "x", "since": "not a time"},
            "state": {"serial": "7", "version": 3},
            "history": [{"event": "SomethingNew", "version": 2}],
            "lastHandled": null,
            "headEpoch": "e",
        }))
        .unwrap();
        assert_eq!(status.observed_generation, Some(3));
        assert_eq!(status.condition("Ready").map(|c| c.status.as_str()), Some("True"));
        assert_eq!((status.endpoints, status.locked, status.head_epoch.as_deref()), (None, Some(true), Some("e")));
        assert_eq!(status.lock.unwrap().id.as_deref(), Some("x"));
        assert_eq!(status.state.unwrap().version, Some(3));
        assert_eq!(status.history.unwrap()[0].event.as_deref(), Some("SomethingNew"));
    }

    #[test]
    fn an_epoch_that_does_not_decode_is_not_taken_for_absent() {
        assert!(serde_json::from_value::<TofuStateBackendStatus>(serde_json::json!({"headEpoch": 7})).is_err());
    }

    #[test]
    fn a_part_applied_alone_names_no_other_field() {
        let status = TofuStateBackendStatus { head_revision: Some(4), ..Default::default() };
        assert_eq!(serde_json::to_value(status).unwrap(), serde_json::json!({"headRevision": 4}));
    }

    #[test]
    fn client_text_and_numbers_are_made_to_fit() {
        assert_eq!(clip(&"ä".repeat(300)), "ä".repeat(256));
        assert_eq!(clip("alice@laptop"), "alice@laptop");
        assert_eq!(clip("\u{1b}[31m\r\n\u{7f}\u{85}\u{ffff}\u{202e}é"), "�[31m�����\u{202e}é");
        assert_eq!(shown(7), 7);
        assert_eq!(shown(u64::MAX), i64::MAX);
    }
}
