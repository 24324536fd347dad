//! Calls of one kind, counted by what they came to, with the time that they took.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Done {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Named {
    operation: &'static str,
}

/// A counter and a histogram of calls. Cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    ended: Family<Done, Counter>,
    seconds: Family<Named, Histogram>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { ended: Family::default(), seconds: Family::new_with_constructor(super::seconds) }
    }
}

impl Calls {
    /// How many ended, to be registered.
    pub(super) fn counter(&self) -> Family<Done, Counter> {
        self.ended.clone()
    }

    /// How long they took, to be registered.
    pub(super) fn seconds(&self) -> Family<Named, Histogram> {
        self.seconds.clone()
    }

    /// One ended.
    pub(super) fn ended(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.ended.get_or_create(&Done { operation, outcome }).inc();
        self.seconds.get_or_create(&Named { operation }).observe(took.as_secs_f64());
    }
}
