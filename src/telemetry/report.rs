//! The metrics of what is told to Kubernetes: the status of the served states.

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

/// What is counted of the reports of states. Cloning shares the counters.
#[derive(Clone, Debug)]
pub struct ReportMetrics {
    patches: Family<Outcome, Counter>,
    seconds: Histogram,
    behind: Gauge,
}

impl Default for ReportMetrics {
    fn default() -> Self {
        Self { patches: Family::default(), seconds: super::seconds(), behind: Gauge::default() }
    }
}

impl ReportMetrics {
    /// Adds the metrics to a registry, with names that begin with the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Patches of the status with what a head says, by what they came to";
        registry.register("status_patches", help, self.patches.clone());
        let help = "Time from a change of a head that this process saw until it stood in the status";
        registry.register_with_unit("status_report", help, Unit::Seconds, self.seconds.clone());
        let help = "States whose last change does not stand in the status yet";
        registry.register("status_reports_pending", help, self.behind.clone());
    }

    /// A patch was answered, or was not.
    pub fn patched(&self, outcome: &'static str) {
        self.patches.get_or_create(&Outcome { outcome }).inc();
    }

    /// A change stands in the status.
    pub fn shown(&self, after: Duration) {
        self.seconds.observe(after.as_secs_f64());
    }

    /// One more state, or one less, has a change that does not stand in the status yet.
    pub fn pending(&self, more: bool) {
        if more {
            self.behind.inc()
        } else {
            self.behind.dec()
        };
    }
}
