//! Rates: failed logins for a peer and path, requests for a state where asked for.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock as _, clock::DefaultClock,
    state::keyed::DashMapStateStore,
};
use tracing::info;

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
    tidied: Mutex<Instant>,
}

impl<K: std::hash::Hash + Eq + Clone> Throttle<K> {
    pub(super) fn new(rate: Rate) -> Self {
        let limiter = RateLimiter::dashmap(Quota::per_second(rate.per_second).allow_burst(rate.burst));
        Self { limiter, tidied: Mutex::new(Instant::now()) }
    }

    /// Looking at all keys costs: once a second.
    fn may_tidy(&self) -> bool {
        let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
        let may = tidied.elapsed() >= Duration::from_secs(1);
        if may {
            *tidied = Instant::now();
        }
        may
    }

    /// Takes one, or says how long to wait.
    pub(super) fn take(&self, key: &K) -> Result<(), Duration> {
        if self.limiter.len() > TIDY_OVER && self.may_tidy() {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

/// Lines a second, over all peers and paths, that are logged of refused logins.
const TOLD: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// Failed logins. A right credential is never kept out: it is a failed one that gets 429 in place of 403.
pub(super) struct Logins {
    failed: Throttle<(IpAddr, StatePath)>,
    told: DefaultDirectRateLimiter,
}

impl Logins {
    pub(super) fn new(rate: Rate) -> Self {
        Self { failed: Throttle::new(rate), told: RateLimiter::direct(Quota::per_second(TOLD)) }
    }

    pub(super) fn check(&self, peer: IpAddr, path: &StatePath) -> Result<(), Duration> {
        self.failed.take(&(peer, path.clone()))?;
        // Clients show the status alone: whoever looks for the reason finds it here.
        if self.told.check().is_ok() {
            info!(%path, %peer, "login refused: the credential is not one of this path, or the path is not registered");
        }
        Ok(())
    }
}
