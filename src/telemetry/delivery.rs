//! Whether spans reach their receiver: said in the log once when they do not, and when they do again. Nothing else waits
//! for them.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use tracing::{info, warn};

use super::otlp::chain;

/// How often it is said again that spans are lost.
const AGAIN: Duration = Duration::from_secs(600);

/// An exporter whose failures are in the log.
#[derive(Debug)]
pub(super) struct Reported<E> {
    exporter: E,
    /// Scheme, host and port.
    receiver: String,
    faults: Faults,
    failing: Mutex<Option<Failing>>,
}

#[derive(Debug)]
struct Failing {
    said: Instant,
    lost: usize,
}

impl<E> Reported<E> {
    pub(super) fn new(exporter: E, receiver: String, faults: Faults) -> Self {
        Self { exporter, receiver, faults, failing: Mutex::new(None) }
    }

    fn report(&self, spans: usize, result: &OTelSdkResult) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, failing.as_mut()) {
            (Ok(()), None) => {}
            (Ok(()), Some(before)) => {
                info!(receiver = self.receiver, lost = before.lost, "spans are sent again");
                *failing = None;
            }
            (Err(_), Some(before)) if before.said.elapsed() < AGAIN => before.lost += spans,
            (Err(error), before) => {
                let lost = before.map_or(0, |before| before.lost) + spans;
                let error = self.faults.take().unwrap_or_else(|| error.to_string());
                warn!(
                    receiver = self.receiver,
                    lost, error, "spans cannot be sent and are lost; states are served all the same"
                );
                *failing = Some(Failing { said: Instant::now(), lost });
            }
        }
    }
}

impl<E: SpanExporter> SpanExporter for Reported<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.report(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Why the last request over HTTP failed: the exporter itself says no more than "network error".
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<Mutex<Option<String>>>);

impl Faults {
    fn put(&self, fault: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An HTTP client that keeps why it failed.
#[derive(Debug)]
pub(super) struct Sender {
    client: reqwest::blocking::Client,
    faults: Faults,
}

impl Sender {
    pub(super) fn new(client: reqwest::blocking::Client, faults: Faults) -> Self {
        Self { client, faults }
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // An address may have a password in it.
        let answer = self.client.send_bytes(request).await.map_err(|error| match error.downcast::<reqwest::Error>() {
            Ok(error) => error.without_url().into(),
            Err(error) => error,
        });
        self.faults.put(answer.as_ref().err().map(|error| chain(error.as_ref())));
        answer
    }
}
