//! Metrics. Labels are kinds and reasons, never a path, a token or an error's text.

mod engine;

pub use engine::{EngineMetrics, UploadGuard};
