//! Logs, metrics and traces. Labels are kinds and reasons, never a path, a token or an error's text.

mod engine;
mod http;
mod run;
mod start;

pub use engine::{EngineMetrics, UploadGuard};
pub use http::HttpMetrics;
pub use run::{join, traceparent};
pub use start::{Telemetry, TelemetryError, start};
