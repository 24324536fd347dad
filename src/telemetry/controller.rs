//! The metrics of the controller.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
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
}

impl Default for ControllerMetrics {
    fn default() -> Self {
        Self { done: Family::default(), seconds: super::seconds() }
    }
}

impl ControllerMetrics {
    /// Adds the metrics to a registry, with names that begin with the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Reconciliations of resources, by what they came to: ok, away (the store), conflict or failed (the API server)";
        registry.register("reconciliations", help, self.done.clone());
        let help = "Time a reconciliation took";
        registry.register_with_unit("reconciliation", help, Unit::Seconds, self.seconds.clone());
    }

    /// A reconciliation ended.
    pub fn reconciled(&self, outcome: &'static str, took: Duration) {
        self.done.get_or_create(&Outcome { outcome }).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
