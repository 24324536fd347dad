//! The wire: HTTP/1.1 connections to OpenBao's nodes, one request at a time on each, so that it is known which node gave
//! which answer. A body goes out of one buffer and comes into one. What answers mean is in `answer`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response,
    body::{Body as _, Incoming},
    client::conn::http1::{Builder, SendRequest},
    header::{CONTENT_TYPE, DATE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Address, Fault, Settings, Token, client};
use crate::store::{BootClock, Clock as _};

/// Connections that nobody uses are closed after this time, before the server does it.
const IDLE: Duration = Duration::from_secs(60);
/// How many calls are under way at most: more would not make a server faster, and so many new connections at once slow it
/// down. Also how many idle connections are kept.
const MOST_CALLS: usize = 64;
/// The largest answer that is read: an entry of a mebibyte, every character of it escaped.
const MOST: usize = 8 << 20;

/// What is read of an answer at a time; left alone, it grows with the answer.
const BUFFER: usize = 64 << 10;

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// After `/v1/`, with its query.
    pub(super) path: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) token: Option<&'a Token>,
    pub(super) body: Bytes,
    /// How large the answer may be: the server does not say so of large ones.
    pub(super) room: usize,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// The server's `Date`.
    pub(super) date: Option<Timestamp>,
    pub(super) body: Vec<u8>,
}

/// A connection to one node, or to the one that a load balancer chose.
pub(super) struct Connection {
    address: Arc<Address>,
    sender: SendRequest<Full<Bytes>>,
    /// It was used before, so that the server may have closed it meanwhile.
    pub(super) used: bool,
    /// When the node at the other end last said that it is the active one, by [`BootClock`]: what was said before this
    /// machine was suspended is old.
    pub(super) confirmed: Option<Duration>,
    /// When it was last used, by the same clock.
    last: Duration,
}

/// How connections are made, and those that nobody uses at the moment.
pub(super) struct Wire {
    tls: TlsConnector,
    connect: Duration,
    call: Duration,
    idle: Mutex<Vec<Connection>>,
    /// How many calls may be under way.
    turns: Semaphore,
}

/// How long ago that was, by [`BootClock`].
pub(super) fn since(moment: Duration) -> Duration {
    BootClock.boot().saturating_sub(moment)
}

impl Connection {
    /// Where it leads.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }
}

impl Wire {
    pub(super) fn new(settings: &Settings, tls: ClientConfig) -> Self {
        let (connect, call) = (settings.connect_timeout, settings.call_timeout);
        let turns = Semaphore::new(MOST_CALLS);
        Self { tls: TlsConnector::from(Arc::new(tls)), connect, call, idle: Mutex::default(), turns }
    }

    /// Waits for a call's turn, which ends when the answer is dropped.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.acquire().await.ok()
    }

    /// A connection to `address`, an idle one where there is one.
    pub(super) async fn connection(&self, address: &Address) -> Result<Connection, Fault> {
        match self.take(address) {
            Some(connection) => Ok(connection),
            None => self.connect(address).await,
        }
    }

    fn take(&self, address: &Address) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| since(connection.last) < IDLE && !connection.sender.is_closed());
        let at = idle.iter().rposition(|connection| *connection.address == *address)?;
        Some(idle.remove(at))
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_CALLS && !connection.sender.is_closed() {
            idle.push(Connection { last: BootClock.boot(), used: true, ..connection });
        }
    }

    /// A new connection.
    pub(super) async fn connect(&self, address: &Address) -> Result<Connection, Fault> {
        let made = timeout(self.connect, self.open(address)).await;
        made.unwrap_or_else(|_| Err(Fault::Unreachable(format!("{address} cannot be reached: no answer in time"))))
    }

    async fn open(&self, address: &Address) -> Result<Connection, Fault> {
        let away = |error: std::io::Error| Fault::Unreachable(format!("{address} cannot be reached: {error}"));
        let stream = TcpStream::connect((address.host(), address.port())).await.map_err(away)?;
        // Small requests are not to wait for one another.
        stream.set_nodelay(true).map_err(away)?;
        let sender = if address.is_https() {
            let refused = |error: &dyn std::fmt::Display| Fault::Tls(format!("{address}: TLS failed: {error}"));
            let name = ServerName::try_from(address.host().to_owned()).map_err(|error| refused(&error))?;
            let failed = |error: std::io::Error| match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(error) => Fault::of_tls(&address.to_string(), error),
                None => refused(&error),
            };
            let stream = self.tls.connect(name, stream).await.map_err(failed)?;
            speak(stream, address).await?
        } else {
            speak(stream, address).await?
        };
        Ok(Connection {
            address: Arc::new(address.clone()),
            sender,
            used: false,
            confirmed: None,
            last: BootClock.boot(),
        })
    }

    /// Asks once. After an error the connection is of no use any more.
    pub(super) async fn exchange(&self, connection: &mut Connection, ask: &Ask<'_>) -> Result<Answer, Fault> {
        let address = connection.address.clone();
        let request = request(&address, ask)?;
        let answered = timeout(self.call, async {
            let broken = |error| broken(&address, &error);
            // The end of the last answer may not have come through to it.
            connection.sender.ready().await.map_err(|_| closed(&address))?;
            let response = connection.sender.send_request(request).await.map_err(broken)?;
            read(&address, response, ask.room).await
        });
        answered.await.unwrap_or_else(|_| Err(Fault::Lost(format!("{address}: no answer in {:?}", self.call))))
    }
}

async fn speak<T>(stream: T, address: &Address) -> Result<SendRequest<Full<Bytes>>, Fault>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let made = Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|error| Fault::Unreachable(format!("{address}: {error}")))?;
    // It ends when the sender is dropped or the server closes; whoever waits for an answer is told.
    tokio::spawn(connection);
    Ok(sender)
}

fn request(address: &Address, ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, Fault> {
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(format!("/v1/{}", ask.path))
        .header(HOST, address.authority())
        .header(USER_AGENT, client::USER_AGENT)
        .header("X-Vault-Request", "true")
        // A standby says so, in place of passing the request on.
        .header("X-Vault-No-Request-Forwarding", "true");
    if let Some(namespace) = ask.namespace {
        request = request.header("X-Vault-Namespace", namespace);
    }
    if let Some(token) = ask.token
        && let Ok(mut value) = HeaderValue::from_str(token.expose())
    {
        value.set_sensitive(true);
        request = request.header("X-Vault-Token", value);
    }
    if !ask.body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let unsent = |error| Fault::Unreachable(format!("a request for {address} cannot be made: {error}"));
    request.body(Full::new(ask.body.clone())).map_err(unsent)
}

async fn read(address: &Address, response: Response<Incoming>, room: usize) -> Result<Answer, Fault> {
    let (head, mut incoming) = response.into_parts();
    let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let retry_after = text(RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let date = text(DATE).and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
    let announced = incoming.size_hint().exact().and_then(|size| usize::try_from(size).ok()).unwrap_or(room);
    let mut body = Vec::with_capacity(announced.min(MOST));
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| broken(address, &error))?;
        let Ok(data) = frame.into_data() else { continue };
        if body.len() + data.len() > MOST {
            return Err(Fault::Strange(format!("the answer of {address} has over {MOST} bytes")));
        }
        body.extend_from_slice(&data);
    }
    Ok(Answer { status: head.status.as_u16(), retry_after, date, body })
}

/// What the end of a connection means for the request that was on it.
fn broken(address: &Address, error: &hyper::Error) -> Fault {
    if error.is_canceled() {
        return closed(address);
    }
    Fault::Lost(format!("{address}: the connection broke before the answer ended"))
}

fn closed(address: &Address) -> Fault {
    Fault::Unreachable(format!("{address}: the connection was closed before the request was sent"))
}
