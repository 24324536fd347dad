//! Logs and traces, set up once for the process: text on a terminal and JSON otherwise; spans to an OTLP receiver where
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or the one for traces) is set.

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest, warn};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{DynFilterFn, FilterExt as _, filter_fn},
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::otlp;

/// How many lines wait to be written at most.
const LINES: usize = 8_192;

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

/// Ends the export of spans and the log when it is dropped, after sending what is left.
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
    _log: WorkerGuard,
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
        // It waits for the receiver for five seconds at most.
        if self.provider.take().is_some_and(|provider| provider.shutdown().is_err()) {
            warn!("the last spans could not be sent");
        }
    }
}

/// Sets up logs and, where an endpoint is given in the environment, the export of spans. To be called inside the tokio
/// runtime.
///
/// # Errors
/// `RUST_LOG` is wrong, or logs were set up before. A receiver of spans that cannot be used is a warning.
pub fn start() -> Result<Telemetry, TelemetryError> {
    let provider = otlp::wanted().then(otlp::provider).transpose();
    let (provider, fault) = match provider {
        Ok(provider) => (provider, None),
        Err(fault) => (None, Some(fault)),
    };
    let spans = provider.as_ref().map(|provider| {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("tofustate"));
        let layer = layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false);
        // Nothing asks OpenTelemetry which span is current; to tell it each time that one goes on is a fifth of a span's cost.
        let layer = layer.with_context_activation(false);
        layer.with_filter(DynFilterFn::new(exported).with_callsite_filter(ours).with_max_level_hint(DEEPEST))
    });
    // What a line is about stands in its own fields.
    let lines = filter()?.and(filter_fn(|metadata| metadata.is_event()));
    // A terminal or a pipe that nobody reads must not hold a request up: then lines are lost.
    let (writer, log) = NonBlockingBuilder::default().buffered_lines_limit(LINES).finish(std::io::stderr());
    let registry = Registry::default().with(spans).with(logs(writer).with_filter(lines));
    registry.try_init().map_err(|error| TelemetryError::Twice(error.to_string()))?;
    if let Some(fault) = fault {
        warn!(%fault, "spans are not exported");
    }
    Ok(Telemetry { provider, _log: log })
}

/// The deepest level of spans that are exported.
const DEEPEST: LevelFilter = LevelFilter::INFO;

/// Of what is logged in a span only what is wrong goes with it: all of it cost as much as the span itself.
fn wanted(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= if metadata.is_span() { DEEPEST } else { LevelFilter::WARN }
}

/// Spans are our own only: those of the libraries tell of each frame, also of each that carries spans away.
fn ours(metadata: &Metadata<'_>) -> Interest {
    let ours = metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
    if ours && wanted(metadata) { Interest::sometimes() } else { Interest::never() }
}

/// Requests, and what is done in them; not what is done in the background.
fn exported<S: Subscriber + for<'a> LookupSpan<'a>>(metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
    wanted(metadata) && (metadata.name() == super::REQUEST || context.lookup_current().is_some())
}

fn filter() -> Result<EnvFilter, TelemetryError> {
    let wanted = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let text = wanted.map_or_else(|| FILTER.to_owned(), |text| format!("{text},{}", NEVER.join(",")));
    EnvFilter::try_new(&text).map_err(|error| TelemetryError::Filter(error.to_string()))
}

fn logs<S: Subscriber + for<'a> LookupSpan<'a>>(writer: NonBlocking) -> Box<dyn Layer<S> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    if std::io::stderr().is_terminal() {
        layer.with_target(false).boxed()
    } else {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    }
}
