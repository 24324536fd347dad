//! The metrics of the controller.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What is counted of reconciliations. Cloning shares the counters.
#[derive(Clone, Debug)]
pub struct ControllerMetrics {
    done: Family<Outcome, Counter>,
    seconds: Histogram,
    leader: Gauge,
}

impl Default for ControllerMetrics {
    fn default() -> Self {
        Self { done: Family::default(), seconds: super::seconds(), leader: Gauge::default() }
    }
}

impl ControllerMetrics {
    /// Adds the metrics to a registry, with names that begin with the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Reconciliations of resources, by what they came to: ok, away (the store), conflict or failed (the API server)";
        registry.register("reconciliations", help, self.done.clone());
        let help = "1 where this replica holds the Lease and runs the controller, else 0";
        registry.register("leader", help, self.leader.clone());
        let help = "Time a reconciliation took";
        registry.register_with_unit("reconciliation", help, Unit::Seconds, self.seconds.clone());
    }

    /// Whether this replica runs the controller.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// A reconciliation ended.
    pub fn reconciled(&self, outcome: &'static str, took: Duration) {
        self.done.get_or_create(&Outcome { outcome }).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
