//! The clock of this machine that only measures: cached heads, uploads. What happens when is told by the store's clock.

use std::time::Duration;

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
