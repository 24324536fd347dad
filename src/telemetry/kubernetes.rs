//! The metrics of the calls of the API server.

use std::time::Duration;

use prometheus_client::registry::{Registry, Unit};

use super::calls::Calls;

/// What is counted of the calls of the API server. Cloning shares the counters.
#[derive(Clone, Debug, Default)]
pub struct KubernetesMetrics {
    calls: Calls,
}

impl KubernetesMetrics {
    /// Adds the metrics to a registry, with names that begin with the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Calls of the API server, by what they came to: ok, conflict, throttled (429), refused, failed or unanswered";
        registry.register("kubernetes_calls", help, self.calls.counter());
        let help = "Time until a call of the API server was answered";
        registry.register_with_unit("kubernetes_call", help, Unit::Seconds, self.calls.seconds());
    }

    /// A call was answered, or was not.
    pub fn called(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.calls.ended(operation, outcome, took);
    }
}
