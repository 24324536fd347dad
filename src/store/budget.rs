//! How long one request may wait for the store, and how it waits between attempts.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// What is left of a request's time for the store. Only waiting counts: time that a client takes to send or to read a
/// body does not, nor does that of a part of a state that got through.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Duration,
    pause: Duration,
}

/// The first pause between attempts; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The time is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl Budget {
    /// That much time.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self { left: time, pause: FIRST_PAUSE }
    }

    /// Waits for `work` no longer than what is left.
    pub(crate) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Exhausted> {
        self.spend(timeout(self.left, work)).await.map_err(|_| Exhausted)
    }

    /// Waits for `work` that keeps to what is left by itself: several calls at once, each with a clone of this.
    pub(crate) async fn spend<T>(&mut self, work: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let done = work.await;
        self.left = self.left.saturating_sub(start.elapsed());
        done
    }

    /// Waits before the next attempt: as long as the store asked, else a growing time, with jitter.
    pub(crate) async fn pause(&mut self, asked: Option<Duration>) -> Result<(), Exhausted> {
        let time = asked.unwrap_or(self.pause).mul_f64(rand::random_range(0.5..1.0));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if time >= self.left {
            return Err(Exhausted);
        }
        self.within(sleep(time)).await
    }
}
