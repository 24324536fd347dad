//! The proxy's connections: each request goes to the server on a connection of its own, and its fault happens to it.

use std::{
    convert::Infallible,
    io, net,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt, BodyStream, Full, StreamBody, combinators::BoxBody};
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
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::TlsConnector;

use super::{Fault, State, Upstream};

type Shared = Arc<Mutex<State>>;
type Whole = Response<Bytes>;
type Body = BoxBody<Bytes, io::Error>;

/// Between half an answer and the reset, so that the client gets the half.
const HALF_WAY: Duration = Duration::from_millis(50);
/// How long a watch lasts that is cut.
const WATCHED: Duration = Duration::from_secs(2);

/// Serves until it is dropped.
pub(super) async fn serve(listener: net::TcpListener, upstream: Arc<Upstream>, state: Shared) {
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
    upstream: Arc<Upstream>,
    state: Shared,
    socket: Arc<net::TcpStream>,
) -> io::Result<Response<Body>> {
    let watches = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
    let fault = {
        let path = format!("{}{}", request.uri().path(), if watches { "?watch" } else { "" });
        state.lock().unwrap().rules.iter_mut().find_map(|rule| rule.next(request.method().as_str(), &path))
    };
    let happened = |fault: Fault| *state.lock().unwrap().injected.entry(fault.name()).or_default() += 1;
    match fault {
        None if watches => passed(request, &upstream, None).await,
        Some(fault @ Fault::CutAnswer) if watches => {
            happened(fault);
            passed(request, &upstream, Some(WATCHED)).await
        }
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
async fn forward(request: Request<Bytes>, upstream: &Upstream) -> io::Result<Whole> {
    let (parts, body) = sent(request, upstream).await?.into_parts();
    let mut answer = Response::from_parts(parts, body.collect().await.map_err(lost)?.to_bytes());
    own_framing(answer.headers_mut());
    Ok(answer)
}

/// The answer as it comes, for so long.
async fn passed(request: Request<Bytes>, upstream: &Upstream, time: Option<Duration>) -> io::Result<Response<Body>> {
    let mut answer = sent(request, upstream).await?;
    own_framing(answer.headers_mut());
    let cut = async move {
        match time {
            Some(time) => sleep(time).await,
            None => std::future::pending().await,
        }
    };
    Ok(answer.map(|body| {
        let frames = BodyStream::new(body).map(|frame| frame.map_err(lost));
        let end = stream::once(async { Err(io::Error::other("the watch is cut")) });
        BodyExt::boxed(StreamBody::new(frames.take_until(cut).chain(end)))
    }))
}

async fn sent(mut request: Request<Bytes>, upstream: &Upstream) -> io::Result<Response<Incoming>> {
    let stream = TcpStream::connect(&upstream.address).await?;
    own_framing(request.headers_mut());
    let request = request.map(Full::new);
    match &upstream.tls {
        None => exchange(TokioIo::new(stream), request).await,
        Some(config) => {
            let name = ServerName::try_from("localhost").map_err(lost)?;
            exchange(TokioIo::new(TlsConnector::from(config.clone()).connect(name, stream).await?), request).await
        }
    }
}

async fn exchange<T>(stream: T, request: Request<Full<Bytes>>) -> io::Result<Response<Incoming>>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = client::conn::http1::handshake(stream).await.map_err(lost)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(lost)
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
