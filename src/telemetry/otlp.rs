//! The export of spans by OTLP, as the `OTEL_*` variables ask for it. The exporter reads most of them itself; here is what
//! it does not: the certificates, and what is wrong with a value.

use std::{env, error::Error, fs, time::Duration};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    SpanExporter, WithHttpConfig as _, WithTonicConfig as _,
    tonic_types::transport::{Certificate, ClientTlsConfig, Identity},
};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::SdkTracerProvider,
};
use reqwest::Url;

use super::delivery::{Faults, Reported, Sender};

/// Whether a receiver of spans is named.
pub(super) fn wanted() -> bool {
    variable("ENDPOINT").is_some()
}

/// What makes and sends spans. To be called inside the tokio runtime.
///
/// # Errors
/// What is wrong with which variable; without its value, which may have a password in it.
pub(super) fn provider() -> Result<SdkTracerProvider, String> {
    let (name, endpoint) = variable("ENDPOINT").ok_or("OTEL_EXPORTER_OTLP_ENDPOINT is not set")?;
    let grpc = match variable("PROTOCOL") {
        None => false,
        Some((_, protocol)) if protocol == "http/protobuf" => false,
        Some((_, protocol)) if protocol == "grpc" => true,
        Some((name, protocol)) => return Err(format!("{name} is {protocol:?}: it can be grpc or http/protobuf")),
    };
    let url = url(&endpoint, grpc).ok_or_else(|| {
        let example = if grpc { "http://localhost:4317 for grpc" } else { "http://localhost:4318 for http/protobuf" };
        format!("{name} is not the address of a receiver, such as {example}")
    })?;
    let plain = url.scheme() == "http";
    let faults = Faults::default();
    let exporter = if grpc { over_grpc(plain) } else { over_http(plain, faults.clone()) }?;
    let receiver = url.origin().ascii_serialization();
    let exporter = Reported::new(exporter, receiver, faults);
    Ok(SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build())
}

/// The value of `OTEL_EXPORTER_OTLP_TRACES_<what>` or else `OTEL_EXPORTER_OTLP_<what>`, and which of them it was.
fn variable(what: &str) -> Option<(String, String)> {
    ["TRACES_", ""].iter().find_map(|kind| {
        let name = format!("OTEL_EXPORTER_OTLP_{kind}{what}");
        let value = env::var(&name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    })
}

/// The receiver's address. For gRPC it may be without a scheme.
fn url(endpoint: &str, grpc: bool) -> Option<Url> {
    let insecure = || variable("INSECURE").is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
    let url = if grpc && !endpoint.contains("://") {
        Url::parse(&format!("{}://{endpoint}", if insecure() { "http" } else { "https" })).ok()?
    } else {
        Url::parse(endpoint).ok()?
    };
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// The content of the file that a variable names.
fn file(what: &str) -> Result<Option<Vec<u8>>, String> {
    let Some((name, path)) = variable(what) else { return Ok(None) };
    fs::read(&path).map(Some).map_err(|error| format!("{name}: cannot read {path}: {error}"))
}

/// The client's own certificate and key, where the receiver asks for them.
fn identity() -> Result<Option<[Vec<u8>; 2]>, String> {
    match (file("CLIENT_CERTIFICATE")?, file("CLIENT_KEY")?) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some([certificate, key])),
        _ => Err("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY go together".to_owned()),
    }
}

fn over_grpc(plain: bool) -> Result<SpanExporter, String> {
    let mut exporter = SpanExporter::builder().with_tonic();
    if !plain {
        let tls = match file("CERTIFICATE")? {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_enabled_roots(),
        };
        exporter = exporter.with_tls_config(match identity()? {
            Some([certificate, key]) => tls.identity(Identity::from_pem(certificate, key)),
            None => tls,
        });
    }
    exporter.build().map_err(|error| error.to_string())
}

fn over_http(plain: bool, faults: Faults) -> Result<SpanExporter, String> {
    let timeout = variable("TIMEOUT").and_then(|(_, text)| text.parse().ok()).map_or(10_000, |millis: u64| millis);
    let mut client = reqwest::blocking::Client::builder().timeout(Duration::from_millis(timeout));
    if plain {
        // An image without certificates has none to load.
        client = client.tls_certs_only([]);
    } else {
        let bad = |name: &str, error: reqwest::Error| format!("{name}: {}", chain(&error));
        if let Some(pem) = file("CERTIFICATE")? {
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            client = client.tls_certs_only(certificates.map_err(|error| bad("OTEL_EXPORTER_OTLP_CERTIFICATE", error))?);
        }
        if let Some([certificate, key]) = identity()? {
            let identity = reqwest::Identity::from_pem(&[certificate, b"\n".to_vec(), key].concat());
            client = client.identity(identity.map_err(|error| bad("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", error))?);
        }
    }
    // It brings a runtime of its own, which must not be made inside of ours.
    let client = std::thread::spawn(move || client.build()).join().map_err(|_| "the HTTP client panicked")?;
    let client = client.map_err(|error| format!("no HTTP client: {}", chain(&error)))?;
    let exporter = SpanExporter::builder().with_http().with_http_client(Sender::new(client, faults));
    exporter.build().map_err(|error| error.to_string())
}

/// Who sends: what the environment says goes before our own.
fn resource() -> Resource {
    let own = [KeyValue::new("service.name", "tofustate"), KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let resource = Resource::builder_empty()
        .with_attributes(own)
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty()) {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// An error with its causes; the outer one alone says nothing.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_receivers() {
        let of = |endpoint: &str, grpc: bool| url(endpoint, grpc).map(|url| url.origin().ascii_serialization());
        for grpc in [false, true] {
            assert_eq!(of("http://localhost:4318/a/b", grpc).as_deref(), Some("http://localhost:4318"));
            assert_eq!(of("https://u:secret@host", grpc).as_deref(), Some("https://host"));
            for bad in ["", "ftp://host", "unix:///run/x", "http://", "not an address"] {
                assert_eq!(of(bad, grpc), None, "{bad}");
            }
        }
        assert_eq!(of("localhost:4317", false), None);
        assert_eq!(of("localhost:4317", true).as_deref(), Some("https://localhost:4317"));
    }
}
