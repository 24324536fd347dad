//! The metrics of the connection to OpenBao.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Done {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    operation: &'static str,
}

/// What is counted of the calls on OpenBao. Cloning shares the counters.
#[derive(Clone, Debug)]
pub struct OpenBaoMetrics {
    calls: Family<Done, Counter>,
    seconds: Family<Named, Histogram>,
    changes: Counter,
}

impl Default for OpenBaoMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(super::seconds),
            changes: Counter::default(),
        }
    }
}

impl OpenBaoMetrics {
    /// Adds the metrics to a registry, with names that begin with the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("openbao_calls", "Calls on OpenBao, by what they came to", self.calls.clone());
        let help = "Time a call on OpenBao took, the look for the active node included";
        registry.register_with_unit("openbao_call", help, Unit::Seconds, self.seconds.clone());
        let help = "How many times another node was found active, or the same one anew";
        registry.register("openbao_active_node_changes", help, self.changes.clone());
    }

    /// A call ended.
    pub fn call(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.calls.get_or_create(&Done { operation, outcome }).inc();
        self.seconds.get_or_create(&Named { operation }).observe(took.as_secs_f64());
    }

    /// A node was found active, or anew.
    pub fn active_node_changed(&self) {
        self.changes.inc();
    }
}
