//! A receiver of spans over OTLP, gRPC and HTTP, that counts them and keeps nothing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Response, header},
    routing::{get, post},
};
use http_body_util::{BodyExt as _, Full};

/// The receiver; `GET /spans` answers how many came.
pub(crate) fn router() -> Router {
    let spans = Arc::new(AtomicUsize::new(0));
    Router::new()
        .route("/v1/traces", post(over_http))
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", post(over_grpc))
        .route("/spans", get(|State(spans): State<Arc<AtomicUsize>>| async move { spans.load(Relaxed).to_string() }))
        .with_state(spans)
}

async fn over_http(State(spans): State<Arc<AtomicUsize>>, body: Bytes) -> Response<Body> {
    spans.fetch_add(count(&body), Relaxed);
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    response
}

async fn over_grpc(State(spans): State<Arc<AtomicUsize>>, body: Bytes) -> Response<Body> {
    // A flag and the length, then the message; the answer is an empty one.
    spans.fetch_add(count(&body[5..]), Relaxed);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(&[0; 5])).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Spans in an `ExportTraceServiceRequest`: `resource_spans` 1, in them `scope_spans` 2, in them `spans` 2.
fn count(request: &[u8]) -> usize {
    let scopes = fields(request, 1).flat_map(|resource| fields(resource, 2));
    scopes.map(|scope| fields(scope, 2).count()).sum()
}

/// The fields of that number of a protobuf message, all of whose fields have a length or are numbers.
fn fields(mut message: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while !message.is_empty() {
            let tag = number(&mut message);
            match tag & 7 {
                0 => drop(number(&mut message)),
                2 => {
                    let length = usize::try_from(number(&mut message)).unwrap();
                    let (field, rest) = message.split_at(length);
                    message = rest;
                    if tag >> 3 == wanted {
                        return Some(field);
                    }
                }
                fixed => message = &message[if fixed == 1 { 8 } else { 4 }..],
            }
        }
        None
    })
}

/// Takes a number of variable length.
fn number(message: &mut &[u8]) -> u64 {
    let mut found = 0;
    for place in 0.. {
        let (&byte, rest) = message.split_first().unwrap();
        *message = rest;
        found |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    found
}
