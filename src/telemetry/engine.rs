//! The metrics of the state engine.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::calls::Calls;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// What the engine counts. Cloning shares the counters.
#[derive(Clone, Debug, Default)]
pub struct EngineMetrics {
    operations: Calls,
    store_calls: Calls,
    anomalies: Family<Kind, Counter>,
    bytes: Family<Kind, Counter>,
    removed: Family<Kind, Counter>,
    uploads: Gauge,
}

impl EngineMetrics {
    /// Adds the metrics to a registry, with names that begin with the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Operations on states, by what they came to";
        registry.register("state_operations", help, self.operations.counter());
        let help = "Time an operation took, waiting for the store included";
        registry.register_with_unit("state_operation", help, Unit::Seconds, self.operations.seconds());
        registry.register("store_calls", "Calls of the store, by what they came to", self.store_calls.counter());
        let help = "Time a call of the store took";
        registry.register_with_unit("store_call", help, Unit::Seconds, self.store_calls.seconds());
        registry.register("state_anomalies", "Writes that were accepted and are strange", self.anomalies.clone());
        let help = "Bytes of states, as clients read and write them";
        registry.register_with_unit("state", help, Unit::Bytes, self.bytes.clone());
        let help = "What retention and the sweep removed: versions, objects deleted, objects swept into the trash";
        registry.register("state_removed", help, self.removed.clone());
        registry.register("state_uploads", "Large uploads under way", self.uploads.clone());
    }

    /// An operation ended.
    pub fn operation(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.operations.ended(operation, outcome, took);
    }

    /// A call of the store ended.
    pub fn store_call(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.store_calls.ended(operation, outcome, took);
    }

    /// A strange write was accepted.
    pub fn anomaly(&self, kind: &'static str) {
        self.anomalies.get_or_create(&Kind { kind }).inc();
    }

    /// Bytes went by: `read` or `written`.
    pub fn bytes(&self, kind: &'static str, count: u64) {
        self.bytes.get_or_create(&Kind { kind }).inc_by(count);
    }

    /// Things went: `version`, `object` or `swept`.
    pub fn removed(&self, kind: &'static str, count: usize) {
        self.removed.get_or_create(&Kind { kind }).inc_by(count as u64);
    }

    /// A large upload began; it ends when the answer is dropped.
    #[must_use]
    pub fn upload(&self) -> UploadGuard {
        self.uploads.inc();
        UploadGuard(self.uploads.clone())
    }
}

/// Counts one upload while it lives.
#[derive(Debug)]
pub struct UploadGuard(Gauge);

impl Drop for UploadGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
