//! How many calls a second another server is asked at most, where somebody says so.

use std::{
    num::NonZeroU32,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use prometheus_client::metrics::counter::Counter;

/// A limit for calls, or none. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    limiter: Option<Arc<DefaultDirectRateLimiter>>,
    waited: Counter<f64, AtomicU64>,
}

impl Rate {
    /// At most so many a second; as many at once after a while without any.
    #[must_use]
    pub fn of(per_second: Option<NonZeroU32>) -> Self {
        let limiter = per_second.map(|most| Arc::new(RateLimiter::direct(Quota::per_second(most))));
        Self { limiter, waited: Counter::default() }
    }

    /// Waits until one more may be made.
    pub async fn turn(&self) {
        let Some(limiter) = &self.limiter else { return };
        if limiter.check().is_ok() {
            return;
        }
        let began = Instant::now();
        limiter.until_ready().await;
        self.waited.inc_by(began.elapsed().as_secs_f64());
    }

    /// Seconds that calls waited for their turn, in all.
    #[must_use]
    pub fn waited(&self) -> Counter<f64, AtomicU64> {
        self.waited.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_beyond_the_limit_wait_and_it_is_counted() {
        let free = Rate::of(None);
        for _ in 0..1_000 {
            free.turn().await;
        }
        assert!(free.waited().get() == 0.0);
        let rate = Rate::of(NonZeroU32::new(50));
        for _ in 0..55 {
            rate.turn().await;
        }
        assert!(rate.waited().get() > 0.0);
    }
}
