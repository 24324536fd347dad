//! The arguments of whatever serves states: how long requests wait, and how many there may be.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use clap::Args;

use crate::http::{HttpOptions, Rate};

/// How requests are served.
#[derive(Debug, Args)]
pub(super) struct ServingArgs {
    /// Seconds that a request waits for the store before it is answered with 503, from 5 to 120. Retries go on that long.
    #[arg(long, env = "TOFUSTATE_STORE_WAIT", value_name = "SECONDS", default_value = "25", value_parser = store_wait)]
    pub(super) store_wait: Duration,
    /// Requests a second for one state; without it there is no limit.
    #[arg(long, value_name = "N", requires = "request_burst")]
    pub(super) request_rate: Option<NonZeroU32>,
    /// Requests at once for one state.
    #[arg(long, value_name = "N", requires = "request_rate")]
    pub(super) request_burst: Option<NonZeroU32>,
}

impl ServingArgs {
    /// As the HTTP side has it. `traces`: spans are exported.
    pub(super) fn options(&self, traces: bool) -> HttpOptions {
        let requests = self.request_rate.zip(self.request_burst).map(|(per_second, burst)| Rate { per_second, burst });
        HttpOptions { budget: self.store_wait, requests, traces, ..HttpOptions::default() }
    }
}

/// Shorter than a failover takes would keep clients out; longer than they and proxies wait would be of no use.
fn store_wait(text: &str) -> Result<Duration, String> {
    seconds(text, 5..=120).map_err(|wrong| format!("{wrong}, such as 25"))
}

/// A number of seconds, with or without an `s`.
pub(super) fn seconds(text: &str, of: RangeInclusive<u64>) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse().ok().filter(|seconds| of.contains(seconds));
    let wrong = || format!("write a number of seconds from {} to {}", of.start(), of.end());
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

/// An address of a server.
pub(super) fn url(text: &str) -> Result<String, String> {
    let parsed = text.parse::<axum::http::Uri>().ok();
    let fits = parsed.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none());
    if fits { Ok(text.to_owned()) } else { Err("write it as https://states.example.org".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_the_store_has_bounds() {
        for (text, seconds) in [("5", 5), ("25s", 25), ("120", 120)] {
            assert_eq!(store_wait(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["4", "121", "", "-5", "1m", "5.5"] {
            assert!(store_wait(text).unwrap_err().contains("from 5 to 120"), "{text}");
        }
    }
}
