//! What a head says, as the part of the status that `tofustate-http` applies: lock, state, history. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    crd::{
        HistoryEntry, LockStatus, MAX_HISTORY, StateStatus, TofuStateBackendStatus, clip,
        event::{DELETED, FORCE_UNLOCKED, ROLLED_BACK, WRITTEN},
        shown,
    },
    store::{
        Head, LockInfo,
        head::{Lock, Released, Version},
    },
};

/// The status of a state with this head. Every field that the HTTP backend applies, and no other.
#[must_use]
pub fn status(head: &Head) -> TofuStateBackendStatus {
    TofuStateBackendStatus {
        locked: Some(head.lock.is_some()),
        lock: head.lock.as_ref().map(lock),
        state: head.current().map(|version| state(version, head.versions.len())),
        history: Some(history(head)),
        head_epoch: Some(head.epoch.to_string()),
        head_revision: Some(shown(head.revision)),
        ..TofuStateBackendStatus::default()
    }
}

fn lock(lock: &Lock) -> LockStatus {
    // One that does not parse any more still holds.
    let info = LockInfo::parse(lock.info.as_bytes()).unwrap_or_default();
    LockStatus {
        id: Some(clip(&lock.id)),
        // It is what people see in the table: a lock without a name would look like none.
        who: text(&info.who).or_else(|| text(&lock.identity)),
        identity: text(&lock.identity),
        operation: text(&info.operation),
        info: text(&info.info),
        since: Some(Time(lock.since)),
        created: text(&info.created),
        tool_version: text(&info.version),
    }
}

fn state(version: &Version, versions: usize) -> StateStatus {
    StateStatus {
        version: Some(shown(version.number)),
        versions: i64::try_from(versions).ok(),
        serial: Some(shown(version.serial)),
        lineage: version.lineage.as_deref().and_then(text),
        size: Some(shown(version.size)),
        stored_size: Some(shown(version.stored)),
        sha256: Some(version.sha256.to_string()),
        resources: version.resources.map(shown),
        tool_version: version.tool_version.as_deref().and_then(text),
        modified: Some(Time(version.time)),
        encrypted: Some(version.encrypted),
    }
}

/// The last things that happened, the newest first.
fn history(head: &Head) -> Vec<HistoryEntry> {
    let mut all: Vec<(Timestamp, HistoryEntry)> = Vec::new();
    for version in &head.versions {
        all.push((version.time, written(version)));
        if let Some(deletion) = &version.deleted {
            let mut entry = of_version(version, DELETED, deletion.at);
            entry.identity = text(&deletion.by);
            all.push((deletion.at, entry));
        }
    }
    all.extend(head.released.iter().filter(|released| released.forced).map(|released| (released.at, broken(released))));
    // Stable: of the same instant, a deletion comes after what it deleted.
    all.sort_by_key(|(time, _)| *time);
    all.into_iter().rev().take(MAX_HISTORY).map(|(_, entry)| entry).collect()
}

fn written(version: &Version) -> HistoryEntry {
    let event = if version.copy_of.is_some() { ROLLED_BACK } else { WRITTEN };
    let anomalies: Vec<&str> = version.anomalies.iter().map(|anomaly| anomaly.as_str()).collect();
    HistoryEntry {
        identity: text(&version.identity),
        lock_id: version.lock.as_deref().and_then(text),
        anomaly: text(&anomalies.join(", ")),
        ..of_version(version, event, version.time)
    }
}

fn of_version(version: &Version, event: &str, time: Timestamp) -> HistoryEntry {
    HistoryEntry {
        event: Some(event.to_owned()),
        time: Some(Time(time)),
        version: Some(shown(version.number)),
        serial: Some(shown(version.serial)),
        size: Some(shown(version.size)),
        resources: version.resources.map(shown),
        tool_version: version.tool_version.as_deref().and_then(text),
        ..HistoryEntry::default()
    }
}

fn broken(released: &Released) -> HistoryEntry {
    HistoryEntry {
        event: Some(FORCE_UNLOCKED.to_owned()),
        time: Some(Time(released.at)),
        identity: text(&released.by),
        lock_id: text(&released.id),
        ..HistoryEntry::default()
    }
}

/// A client's text, cut; nothing where it said nothing.
fn text(said: &str) -> Option<String> {
    (!said.is_empty()).then(|| clip(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OpId;

    #[test]
    fn a_lock_whose_client_says_no_name_is_shown_by_its_credential() {
        let held = |info: &str| Lock {
            id: "1".to_owned(),
            info: info.to_owned(),
            identity: "access/ci".to_owned(),
            credential: None,
            since: jiff::Timestamp::UNIX_EPOCH,
            wrote: None,
            base: None,
            traceparent: None,
            op: OpId::random(),
        };
        for (info, who) in
            [(r#"{"ID":"1","Who":"ann@laptop"}"#, "ann@laptop"), (r#"{"ID":"1"}"#, "access/ci"), ("?", "access/ci")]
        {
            assert_eq!(lock(&held(info)).who.as_deref(), Some(who), "{info}");
        }
    }
}
