//! The metrics of the connection to OpenBao.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::calls::Calls;

/// What is counted of the calls on OpenBao. Cloning shares the counters.
#[derive(Clone, Debug, Default)]
pub struct OpenBaoMetrics {
    calls: Calls,
    changes: Counter,
    away: Gauge,
}

impl OpenBaoMetrics {
    /// Adds the metrics to a registry, with names that begin with the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("openbao_calls", "Calls on OpenBao, by what they came to", self.calls.counter());
        let help = "Time a call on OpenBao took, the look for the active node included";
        registry.register_with_unit("openbao_call", help, Unit::Seconds, self.calls.seconds());
        let help = "How many times another node was found active, or the same one anew";
        registry.register("openbao_active_node_changes", help, self.changes.clone());
        let help =
            "1 while OpenBao is away for longer than a failover takes and requests are answered with 503, else 0";
        registry.register("openbao_away", help, self.away.clone());
    }

    /// A call ended.
    pub fn call(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.calls.ended(operation, outcome, took);
    }

    /// Whether OpenBao is away for longer than a failover takes.
    pub fn away(&self, away: bool) {
        self.away.set(away.into());
    }

    /// A node was found active, or anew.
    pub fn active_node_changed(&self) {
        self.changes.inc();
    }
}
