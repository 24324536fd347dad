//! The metrics of the HTTP backend.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    verb: &'static str,
    outcome: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: &'static str,
}

/// What the HTTP backend counts. Cloning shares the counters.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: Family<Answered, Counter>,
    seconds: Family<Verb, Histogram>,
    connections: Gauge,
    refused: Counter,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(super::seconds),
            connections: Gauge::default(),
            refused: Counter::default(),
        }
    }
}

impl HttpMetrics {
    /// Adds the metrics to a registry, with names that begin with the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "Requests, by verb and what they came to", self.requests.clone());
        let help = "Time until the answer began, the body's time included";
        registry.register_with_unit("http_request", help, Unit::Seconds, self.seconds.clone());
        registry.register("http_connections", "Open connections", self.connections.clone());
        let help = "Connections that were closed at once, for as many as are taken were open";
        registry.register("http_connections_refused", help, self.refused.clone());
    }

    /// A request was answered.
    pub fn request(&self, verb: &'static str, outcome: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Answered { verb, outcome, status }).inc();
        self.seconds.get_or_create(&Verb { verb }).observe(took.as_secs_f64());
    }

    /// Connections for which there was no place.
    #[must_use]
    pub fn refused(&self) -> Counter {
        self.refused.clone()
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> Gauge {
        self.connections.clone()
    }
}
