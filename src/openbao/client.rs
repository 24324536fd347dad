//! One connection to OpenBao: its settings, the two HTTP clients, what is known of the server. What is done with it is in
//! `call` and `kv` (states), `control` (the rest) and `active` (which node).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{
    header::{HeaderMap, HeaderValue},
    redirect::Policy,
};
use rustls::ClientConfig;

use super::{Settings, SettingsError, active::Active, clock::StoreClock, entry, settings::env, tls, wire::Wire};
use crate::{rate::Rate, telemetry::OpenBaoMetrics};

/// A connection to OpenBao. Cloning shares it. It has no token: each call names its own.
#[derive(Clone)]
pub struct Bao {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    metrics: OpenBaoMetrics,
    wire: Wire,
    http: reqwest::Client,
    rate: Rate,
    active: Active,
    clock: StoreClock,
    part_bytes: AtomicUsize,
}

impl Bao {
    /// Prepares a connection; nothing is sent yet. Reads the files that the settings name.
    ///
    /// # Errors
    /// The settings are wrong, or a file of them cannot be used.
    pub fn new(mut settings: Settings, metrics: OpenBaoMetrics) -> Result<Self, SettingsError> {
        let wrong = settings.wrong();
        Self::of(settings, wrong, metrics)
    }

    /// Prepares a connection as the environment says, for requests that wait for the store for `wait`.
    ///
    /// # Errors
    /// All that is wrong with the variables and with the files that they name.
    pub fn from_env(wait: Duration, metrics: OpenBaoMetrics) -> Result<Self, SettingsError> {
        let (settings, wrong) = Settings::gather(env, Some(wait));
        Self::of(settings, wrong, metrics)
    }

    fn of(settings: Settings, mut wrong: Vec<String>, metrics: OpenBaoMetrics) -> Result<Self, SettingsError> {
        let made =
            tls::config(&settings).and_then(|tls| Ok((Wire::new(&settings, tls.clone()), http(&settings, tls)?)));
        match made {
            Ok((wire, http)) if wrong.is_empty() => {
                let (active, clock) = (Active::default(), StoreClock::default());
                let part_bytes = AtomicUsize::new(entry::PART_BYTES);
                let rate = Rate::of(settings.rate);
                Ok(Self { inner: Arc::new(Inner { settings, metrics, wire, http, rate, active, clock, part_bytes }) })
            }
            Ok(_) => Err(SettingsError(wrong)),
            Err(faults) => {
                wrong.extend(faults);
                Err(SettingsError(wrong))
            }
        }
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(super) fn metrics(&self) -> &OpenBaoMetrics {
        &self.inner.metrics
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.inner.wire
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.inner.http
    }

    /// The limit of calls that no client asked for.
    #[must_use]
    pub fn rate(&self) -> &Rate {
        &self.inner.rate
    }

    pub(super) fn active_node(&self) -> &Active {
        &self.inner.active
    }

    pub(super) fn clock(&self) -> &StoreClock {
        &self.inner.clock
    }

    /// How many bytes a part may have, as far as it was found out.
    pub(super) fn part_bytes(&self) -> usize {
        self.inner.part_bytes.load(Ordering::Relaxed)
    }

    /// A part of `size` bytes was too large for a server that takes `limit` bytes an entry, where it said so.
    pub(super) fn too_large(&self, size: usize, limit: Option<usize>) {
        let fits = entry::part_bytes(size, limit);
        let before = self.inner.part_bytes.fetch_min(fits, Ordering::Relaxed);
        if fits < before {
            tracing::warn!(bytes = fits, "OpenBao takes smaller entries than usual: parts of states will be smaller");
        }
    }
}

impl fmt::Debug for Bao {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bao").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

/// The client for control calls. It follows no redirect: that would take the token along. It takes nothing from the
/// environment, proxies neither.
fn http(settings: &Settings, tls: ClientConfig) -> Result<reqwest::Client, Vec<String>> {
    let mut headers = HeaderMap::new();
    // A standby says so, in place of passing the request on.
    headers.insert("X-Vault-No-Request-Forwarding", HeaderValue::from_static("true"));
    let built = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .default_headers(headers)
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.call_timeout)
        .build();
    built.map_err(|error| vec![format!("the HTTP client cannot be made: {error}")])
}

/// How OpenBao's audit log knows us.
pub(super) const USER_AGENT: &str = concat!("tofustate/", env!("CARGO_PKG_VERSION"));
