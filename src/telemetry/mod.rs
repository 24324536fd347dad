//! Metrics. Labels are kinds and reasons, never a path, a token or an error's text.

mod engine;
mod http;

pub use engine::{EngineMetrics, UploadGuard};
pub use http::HttpMetrics;
