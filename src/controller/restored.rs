//! A cluster that went back to an earlier time, for its etcd was restored from a backup. Watches that began before would show
//! nothing until it is as far as it was: the API server takes them to have seen that. So they begin anew. It is seen by the
//! resourceVersion of the Lease, which is written all the time, and by those of the resources that a later list shows.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;
use tracing::warn;

/// How often the cluster was seen to have gone back. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Restored {
    times: Arc<watch::Sender<u64>>,
    /// The latest resourceVersion of the Lease that was seen.
    latest: Arc<AtomicU64>,
}

impl Restored {
    /// Takes note of the Lease's resourceVersion as it is now: as long as nobody restores a backup it never goes back, and it is
    /// written all the time.
    pub(super) fn look(&self, version: Option<&str>) {
        let Some(version) = version.and_then(|version| version.parse::<u64>().ok()) else { return };
        let before = self.latest.swap(version, Ordering::AcqRel);
        if version < before {
            self.went_back(before, version, self.times());
        }
    }

    /// Takes note of a resource's resourceVersion, and of the one that it had `before`: where both were told by watches that
    /// began when the cluster had gone back so many `times`, it never gets less either.
    pub(super) fn compare(&self, before: Option<u64>, version: Option<u64>, times: u64) {
        if let (Some(before), Some(version)) = (before, version)
            && version < before
        {
            self.went_back(before, version, times);
        }
    }

    fn went_back(&self, before: u64, version: u64, times: u64) {
        let new = self.times.send_if_modified(|now| {
            let new = *now == times;
            *now += u64::from(new);
            new
        });
        if new {
            warn!(
                before,
                version,
                "the cluster went back to an earlier time, as after its restore from a backup: all is looked at anew"
            );
        }
    }

    /// How often; where it ever did, what stands in the cluster may be of a time before what this process saw.
    pub(super) fn times(&self) -> u64 {
        *self.times.borrow()
    }

    /// Hears of each time.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.times.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_less_than_one_before_is_a_restore() {
        let restored = Restored::default();
        let mut times = restored.subscribe();
        for version in [Some("9"), Some("9"), Some("10"), None, Some("odd"), Some("11")] {
            restored.look(version);
        }
        assert!(restored.times() == 0 && !times.has_changed().unwrap());
        restored.look(Some("10"));
        assert!(restored.times() == 1 && times.has_changed().unwrap());
        times.mark_unchanged();
        restored.look(Some("12"));
        assert!(!times.has_changed().unwrap(), "it goes on from there");
        for (before, version, of) in
            [(Some(9), Some(8), 0), (Some(9), Some(9), 1), (None, Some(8), 1), (Some(9), None, 1)]
        {
            restored.compare(before, version, of);
            assert_eq!(restored.times(), 1, "{before:?} {version:?} {of}");
        }
        restored.compare(Some(9), Some(8), 1);
        restored.compare(Some(7), Some(6), 1);
        assert_eq!(restored.times(), 2, "one list shows it many times");
    }
}
