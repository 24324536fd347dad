//! A listener: connections are counted, limited and cut off when nothing moves; a stop lets what is under way finish.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroU32,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use axum_server::{
    Handle,
    accept::{Accept, DefaultAcceptor},
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hyper_util::rt::TokioTimer;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tracing::warn;

use super::{
    idle::{Deadline, Requests, Socket},
    tls::{TlsError, TlsFiles},
};
use crate::telemetry::HttpMetrics;

/// Limits of a request's head.
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 32 * 1024;
/// Requests at a time in one HTTP/2 connection.
const MAX_STREAMS: u32 = 32;
/// Connections that wait for a place at a time, beyond those that have one.
pub(crate) const MAX_WAITING: usize = 1_024;

/// What a listener may be told otherwise.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// TLS, where it is wanted.
    pub tls: Option<TlsFiles>,
    /// Connections at a time.
    pub connections: usize,
    /// How long a stop waits for what is under way.
    pub drain: Duration,
    /// How long things may take.
    pub times: ServerTimes,
}

/// How long things may take on a connection. The defaults are what is served with, and tests vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerTimes {
    /// How long a new connection may take until its first request is there, the TLS handshake and the head included.
    pub head: Duration,
    /// How long a connection may go without a request, or with next to nothing moving in one. Longer than any wait for
    /// the store.
    pub idle: Duration,
    /// How long a connection over the limit waits for a place.
    pub place: Duration,
    /// How often the certificate's files are looked at.
    pub reload: Duration,
}

impl Default for ServerTimes {
    fn default() -> Self {
        // A proxy keeps its connections for a minute (nginx): it should be the one that closes.
        let (head, idle) = (Duration::from_secs(10), Duration::from_secs(75));
        Self { head, idle, place: Duration::from_secs(5), reload: Duration::from_secs(10) }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { tls: None, connections: 4_096, drain: Duration::from_secs(60), times: ServerTimes::default() }
    }
}

/// Why a listener ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket.
    #[error("the listener failed: {0}")]
    Listen(#[from] io::Error),
}

/// Serves until `stop` changes or its sender is gone; then takes no new connections and waits for the old ones.
///
/// # Errors
/// The certificates cannot be used, or the socket fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServerOptions,
    metrics: &HttpMetrics,
    stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    listener.set_nonblocking(true)?;
    let (handle, drain, times) = (Handle::new(), options.drain, options.times);
    let stopper = {
        let (handle, mut stop) = (handle.clone(), stop.clone());
        tokio::spawn(async move {
            let _ = stop.changed().await;
            handle.graceful_shutdown(Some(drain));
        })
    };
    let of = |places| Arc::new(Semaphore::new(places));
    let places = Places {
        free: of(options.connections),
        waiting: of(MAX_WAITING),
        open: metrics.connections(),
        refused: metrics.refused(),
        // Once in a while is enough.
        told: Arc::new(RateLimiter::direct(Quota::per_minute(NonZeroU32::MIN))),
        times,
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener)?.handle(handle);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        // It also ends the wait for a next request. A first one has less time: `Deadline`.
        .header_read_timeout(times.idle)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(times.idle / 3)
        .keep_alive_timeout(times.idle / 3);
    match options.tls {
        None => server.acceptor(Guard { inner: DefaultAcceptor::new(), places }).serve(service).await?,
        Some(files) => {
            let config = RustlsConfig::from_config(Arc::new(files.load()?));
            let reload = tokio::spawn(files.reload(config.clone(), times.reload, stop));
            let inner = RustlsAcceptor::new(config).handshake_timeout(times.head);
            let served = server.acceptor(Guard { inner, places }).serve(service).await;
            reload.abort();
            served?;
        }
    }
    stopper.abort();
    Ok(())
}

#[derive(Clone)]
struct Places {
    free: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    open: Gauge,
    refused: Counter,
    told: Arc<DefaultDirectRateLimiter>,
    times: ServerTimes,
}

impl Places {
    fn refuse(&self) -> io::Error {
        self.refused.inc();
        if self.told.check().is_ok() {
            warn!("connections are refused: as many are open as --max-connections allows");
        }
        io::Error::other("too many connections")
    }
}

/// Lets a connection in when there is a place for it.
#[derive(Clone)]
struct Guard<A> {
    inner: A,
    places: Places,
}

impl<A, S> Accept<TcpStream, S> for Guard<A>
where
    A: Accept<Socket<Place>, Requests<S>> + Clone + Send + 'static,
    A::Future: Send,
    S: Send + 'static,
{
    type Stream = A::Stream;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Self { inner, places } = self.clone();
        Box::pin(async move {
            let place = match places.free.clone().try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => match places.waiting.try_acquire() {
                    Ok(_waits) => {
                        let place = timeout(places.times.place, places.free.clone().acquire_owned()).await;
                        place.ok().and_then(Result::ok)
                    }
                    Err(_) => None,
                },
            };
            let Some(place) = place else { return Err(places.refuse()) };
            stream.set_nodelay(true)?;
            places.open.inc();
            let place = Place { _permit: place, open: places.open };
            let deadline = Deadline::new(places.times.head, places.times.idle);
            let stream = Socket::new(stream, deadline.clone(), place);
            inner.accept(stream, Requests { inner: service, deadline }).await
        })
    }
}

struct Place {
    _permit: OwnedSemaphorePermit,
    open: Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}
