//! The clock of this machine that only measures: cached heads, uploads. What happens when is told by the store's clock.

use std::{sync::LazyLock, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// The time of day of this machine, which may be wrong. A build for tests may be told by how many seconds, in
/// `TOFUSTATE_TEST_CLOCK`.
#[must_use]
pub fn machine_time() -> Timestamp {
    let now = Timestamp::now();
    if !cfg!(debug_assertions) {
        return now;
    }
    static WRONG_BY: LazyLock<i64> = LazyLock::new(|| {
        std::env::var("TOFUSTATE_TEST_CLOCK").ok().and_then(|text| text.parse().ok()).unwrap_or_default()
    });
    now.checked_add(SignedDuration::from_secs(*WRONG_BY)).unwrap_or(now)
}

/// A clock that never goes back and counts the time that the machine was suspended.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment.
    fn boot(&self) -> Duration;
}

/// Linux `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn boot(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
    }
}
