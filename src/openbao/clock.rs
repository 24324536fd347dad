//! OpenBao's clock, as its answers tell it: this machine's, and how far that is off.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

use crate::store::machine_time;

/// How far OpenBao's clock is ahead of this machine's, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct StoreClock {
    ahead: AtomicI64,
    /// As it was last told.
    told: AtomicI64,
}

/// From how much on it is told that the clocks differ, and how much more it has to be until it is told again, in
/// milliseconds.
const APART: i64 = 5_000;

impl StoreClock {
    /// The time there.
    pub(super) fn now(&self) -> Timestamp {
        let now = machine_time();
        now.checked_add(SignedDuration::from_millis(self.ahead.load(Ordering::Relaxed))).unwrap_or(now)
    }

    /// An answer carried `date`, in whole seconds, between those moments of this machine's clock. The offset stays where
    /// it is as long as that can be true, and else moves by as little as makes it so.
    pub(super) fn saw(&self, date: Timestamp, sent: Timestamp, received: Timestamp) {
        let date = date.as_millisecond();
        let (least, most) = (date - received.as_millisecond(), date + 1_000 - sent.as_millisecond());
        let before = self.ahead.load(Ordering::Relaxed);
        // A clock that was set meanwhile may have turned them round.
        let after = before.clamp(least.min(most), most.max(least));
        self.ahead.store(after, Ordering::Relaxed);
        if (after - self.told.load(Ordering::Relaxed)).abs() > APART {
            self.told.store(after, Ordering::Relaxed);
            tracing::warn!(
                seconds = after / 1_000,
                "OpenBao's clock is ahead of this machine's by that: locks and versions have OpenBao's time; set this machine's clock, and OpenBao's"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    fn offset(clock: &StoreClock) -> i64 {
        clock.ahead.load(Ordering::Relaxed)
    }

    #[test]
    fn a_clock_that_may_be_right_is_left_alone() {
        let clock = StoreClock::default();
        for (date, sent, received) in [(10_000, 10_000, 10_050), (10_000, 10_900, 11_100), (10_000, 9_950, 10_050)] {
            clock.saw(at(date), at(sent), at(received));
            assert_eq!(offset(&clock), 0, "{date} {sent} {received}");
        }
    }

    #[test]
    fn it_follows_the_server() {
        let clock = StoreClock::default();
        clock.saw(at(100_000), at(10_000), at(10_100));
        assert_eq!(offset(&clock), 89_900);
        // A second answer in the next second narrows it down, and does not throw it about.
        clock.saw(at(101_000), at(10_500), at(10_600));
        assert_eq!(offset(&clock), 90_400);
        clock.saw(at(101_000), at(11_000), at(11_100));
        assert_eq!(offset(&clock), 90_400);
        clock.saw(at(5_000), at(20_000), at(20_100));
        assert_eq!(offset(&clock), -14_000);
        let apart = Timestamp::now().duration_since(clock.now()).as_millis();
        assert!((13_000..15_000).contains(&apart), "{apart}");
    }
}
