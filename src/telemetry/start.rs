//! Logs and traces, set up once for the process: text on a terminal and JSON otherwise; spans to an OTLP receiver where
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or the one for traces) is set.

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Subscriber, warn};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt as _, registry::LookupSpan, util::SubscriberInitExt as _,
};

/// What is logged unless `RUST_LOG` says otherwise. Some libraries log what must not be shown, or every conflict.
const FILTER: &str = "info,vaultrs=off,rustify=off,hyper=warn,h2=warn,rustls=warn,opentelemetry=warn,tower=warn";

/// What `FILTER` keeps out stays out whatever `RUST_LOG` says: these print bodies or tokens.
const NEVER: &[&str] = &["vaultrs=off", "rustify=off"];

/// Why logs or traces cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` cannot be read.
    #[error("RUST_LOG is no filter: {0}; write for example RUST_LOG=info,tofustate=debug")]
    Filter(String),
    /// Something set up logs before.
    #[error("logs were set up twice: {0}")]
    Twice(String),
}

/// Ends the export of spans when it is dropped, after sending what is left.
#[derive(Debug, Default)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Whether spans are exported.
    #[must_use]
    pub fn exports(&self) -> bool {
        self.provider.is_some()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            // Nobody is left to be told.
            let _ = provider.shutdown();
        }
    }
}

/// Sets up logs and, where an endpoint is given in the environment, the export of spans. To be called inside the tokio
/// runtime.
///
/// # Errors
/// `RUST_LOG` is wrong, or logs were set up before. A receiver of spans that cannot be used is a warning.
pub fn start() -> Result<Telemetry, TelemetryError> {
    let provider = exporter_wanted().then(tracer).transpose();
    let (provider, fault) = match provider {
        Ok(provider) => (provider, None),
        Err(fault) => (None, Some(fault)),
    };
    let spans = provider.as_ref().map(|provider| {
        let tracer = provider.tracer("tofustate");
        tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false)
    });
    let registry = Registry::default().with(spans).with(logs().with_filter(filter()?));
    registry.try_init().map_err(|error| TelemetryError::Twice(error.to_string()))?;
    if let Some(fault) = fault {
        warn!(%fault, "spans are not exported: check the OTEL_EXPORTER_OTLP_* variables");
    }
    Ok(Telemetry { provider })
}

fn exporter_wanted() -> bool {
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The exporter takes its endpoint, protocol (`grpc` or `http/protobuf`), headers and time-out from the environment.
fn tracer() -> Result<SdkTracerProvider, String> {
    let exporter = SpanExporter::builder().build().map_err(|error| error.to_string())?;
    let resource = Resource::builder().with_service_name(service_name()).build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

fn service_name() -> String {
    std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "tofustate".to_owned())
}

fn filter() -> Result<EnvFilter, TelemetryError> {
    let wanted = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let text = wanted.map_or_else(|| FILTER.to_owned(), |text| format!("{text},{}", NEVER.join(",")));
    EnvFilter::try_new(&text).map_err(|error| TelemetryError::Filter(error.to_string()))
}

fn logs<S: Subscriber + for<'a> LookupSpan<'a>>() -> Box<dyn Layer<S> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        layer.with_target(false).boxed()
    } else {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    }
}
