//! Logs, metrics and traces. Labels are kinds and reasons, never a path, a token or an error's text.

mod calls;
mod controller;
mod delivery;
mod engine;
mod http;
mod kubernetes;
mod openbao;
mod otlp;
mod report;
mod run;
mod start;

pub use controller::ControllerMetrics;
pub use engine::{EngineMetrics, UploadGuard};
pub use http::HttpMetrics;
pub use kubernetes::KubernetesMetrics;
pub use openbao::OpenBaoMetrics;
pub use report::ReportMetrics;
pub use run::{join, traceparent};
pub use start::{Telemetry, TelemetryError, start};

/// The name of the span of a request: with it a trace begins or goes on.
pub const REQUEST: &str = "request";

/// A histogram of times in seconds, from half a millisecond to the longest that a request waits.
fn seconds() -> prometheus_client::metrics::histogram::Histogram {
    let bounds = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
    prometheus_client::metrics::histogram::Histogram::new(bounds)
}
