//! The proxy's connections: each request goes to the server on a connection of its own, and its fault happens to it.

use std::{
    convert::Infallible,
    io, net,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Frame, Incoming},
    client,
    header::{CONNECTION, CONTENT_LENGTH, RETRY_AFTER, TRANSFER_ENCODING},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_socket_linger;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{Fault, State};

type Shared = Arc<Mutex<State>>;
type Whole = Response<Bytes>;
type Body = BoxBody<Bytes, io::Error>;

/// Between half an answer and the reset, so that the client gets the half.
const HALF_WAY: Duration = Duration::from_millis(50);

/// Serves until it is dropped.
pub(super) async fn serve(listener: net::TcpListener, upstream: Arc<str>, state: Shared) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (upstream, state) = (upstream.clone(), state.clone());
        tokio::spawn(async move {
            // A second handle of the socket, to reset it by.
            let stream = stream.into_std().unwrap();
            let socket = Arc::new(stream.try_clone().unwrap());
            let service = service_fn(|request: Request<Incoming>| {
                let (upstream, state, socket) = (upstream.clone(), state.clone(), socket.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let request = Request::from_parts(parts, body.collect().await.map_err(lost)?.to_bytes());
                    // A task of its own: what was sent to the server goes on where the client has gone.
                    tokio::spawn(handle(request, upstream, state, socket)).await.map_err(lost)?
                }
            });
            let stream = TokioIo::new(TcpStream::from_std(stream).unwrap());
            // It ends with an error wherever a fault closed it.
            let _ = http1::Builder::new().serve_connection(stream, service).await;
        });
    }
}

/// The answer for the client; an error closes its connection without one.
async fn handle(
    request: Request<Bytes>,
    upstream: Arc<str>,
    state: Shared,
    socket: Arc<net::TcpStream>,
) -> io::Result<Response<Body>> {
    let fault = {
        let (method, path) = (request.method().as_str(), request.uri().path());
        state.lock().unwrap().rules.iter_mut().find_map(|rule| rule.next(method, path))
    };
    let happened = |fault: Fault| *state.lock().unwrap().injected.entry(fault.name()).or_default() += 1;
    match fault {
        None => {
            state.lock().unwrap().met.pending += 1;
            let answer = forward(request, &upstream).await;
            let mut state = state.lock().unwrap();
            state.met.pending -= 1;
            match &answer {
                Ok(answer) => {
                    state.untouched += 1;
                    state.met.unavailable += u64::from(answer.status() == StatusCode::SERVICE_UNAVAILABLE);
                }
                Err(_) => state.met.unanswered += 1,
            }
            Ok(whole(answer?))
        }
        Some(Fault::DropRequest) => {
            happened(Fault::DropRequest);
            Err(io::Error::other("the request is dropped"))
        }
        Some(fault @ Fault::HoldRequest(time)) => {
            happened(fault);
            sleep(time).await;
            Ok(whole(forward(request, &upstream).await?))
        }
        Some(fault @ Fault::Answer(status, retry_after)) => {
            happened(fault);
            let mut answer = Response::new(Bytes::from_static(b"a proxy's own answer\n"));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            Ok(whole(answer))
        }
        // The others happen to an answer: where the server gives none, they did not happen.
        Some(fault) => {
            let answer = forward(request, &upstream).await?;
            happened(fault);
            match fault {
                Fault::HoldAnswer(time) => {
                    sleep(time).await;
                    Ok(whole(answer))
                }
                Fault::CutAnswer => {
                    set_socket_linger(&*socket, Some(Duration::ZERO))?;
                    Ok(half(answer))
                }
                _ => Err(io::Error::other("the answer is dropped")),
            }
        }
    }
}

/// Asks the server, on a connection that nothing else uses: none that was kept can fail.
async fn forward(mut request: Request<Bytes>, upstream: &str) -> io::Result<Whole> {
    let stream = TcpStream::connect(upstream).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    tokio::spawn(connection);
    own_framing(request.headers_mut());
    let (parts, body) = sender.send_request(request.map(Full::new)).await.map_err(lost)?.into_parts();
    let mut answer = Response::from_parts(parts, body.collect().await.map_err(lost)?.to_bytes());
    own_framing(answer.headers_mut());
    Ok(answer)
}

/// Both sides frame a body as they send it.
fn own_framing(headers: &mut HeaderMap) {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

fn whole(answer: Whole) -> Response<Body> {
    answer.map(|body| Full::new(body).map_err(|never: Infallible| match never {}).boxed())
}

/// Half of the body under the whole's length, then an error that ends the connection.
fn half(mut answer: Whole) -> Response<Body> {
    let length = answer.body().len();
    answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    answer.map(|body| {
        let first = stream::iter([Ok(Frame::data(body.slice(..length / 2)))]);
        let then = stream::once(async {
            sleep(HALF_WAY).await;
            Err(io::Error::other("the answer is cut"))
        });
        BodyExt::boxed(StreamBody::new(first.chain(then)))
    })
}

fn lost(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
