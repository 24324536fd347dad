//! Rates: failed logins for a peer and path, requests for a state where asked for.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use governor::{Quota, RateLimiter, clock::Clock as _, clock::DefaultClock, state::keyed::DashMapStateStore};

use crate::crd::StatePath;

/// So many at once, and so many a second on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many a second.
    pub per_second: NonZeroU32,
    /// How many at once.
    pub burst: NonZeroU32,
}

/// Keys over which the store of a limiter is tidied.
const TIDY_OVER: usize = 10_000;

/// A rate for each key of a kind.
pub(super) struct Throttle<K: std::hash::Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, DefaultClock>,
}

impl<K: std::hash::Hash + Eq + Clone> Throttle<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self { limiter: RateLimiter::dashmap(Quota::per_second(rate.per_second).allow_burst(rate.burst)) }
    }

    /// Takes one, or says how long to wait.
    pub(super) fn take(&self, key: &K) -> Result<(), Duration> {
        if self.limiter.len() > TIDY_OVER {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

/// Failed logins. A right credential is never kept out: it is a failed one that gets 429 in place of 403.
pub(super) struct Logins(Throttle<(IpAddr, StatePath)>);

impl Logins {
    pub(super) fn new(rate: Rate) -> Self {
        Self(Throttle::new(rate))
    }

    pub(super) fn check(&self, peer: IpAddr, path: &StatePath) -> Result<(), Duration> {
        self.0.take(&(peer, path.clone()))
    }
}
