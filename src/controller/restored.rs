//! A cluster that went back to an earlier time, for its etcd was restored from a backup. Watches that began before would show
//! nothing until it is as far as it was: the API server takes them to have seen that. So they begin anew.

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
            warn!(
                before,
                version,
                "the cluster went back to an earlier time, as after its restore from a backup: all is looked at anew"
            );
            self.times.send_modify(|times| *times += 1);
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
    }
}
