//! A real server on a free port, and clients: hyper's for HTTP/1.1 and HTTP/2, and raw bytes.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, Uri},
};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tofustate::{
    http::{ServeError, ServerOptions, serve},
    telemetry::HttpMetrics,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{ask::Answer, world::until};

/// Nothing here takes so long; what does, fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Live {
    pub address: SocketAddr,
    pub metrics: HttpMetrics,
    stop: watch::Sender<bool>,
    serving: JoinHandle<Result<(), ServeError>>,
}

pub type Fault = Box<dyn std::error::Error + Send + Sync>;

impl Live {
    pub async fn start(router: &Router, options: ServerOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (router, metrics) = (router.clone(), HttpMetrics::default());
        let serving = {
            let metrics = metrics.clone();
            tokio::spawn(async move { serve(listener, router, options, &metrics, stopped).await })
        };
        Self { address, metrics, stop, serving }
    }

    pub fn begin_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops, and waits until all is done.
    pub async fn stop(self) {
        self.begin_stop();
        timeout(DEADLINE, self.serving).await.expect("it stops").unwrap().unwrap();
    }

    pub async fn ended(&self) {
        until("the server ends", async || self.serving.is_finished()).await;
    }

    pub async fn connections(&self, count: i64) {
        until("the number of connections", async || self.metrics.connections().get() == count).await;
    }

    pub async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub async fn raw(&self) -> Raw<TcpStream> {
        Raw(self.tcp().await)
    }

    /// One request on a connection of its own.
    pub async fn send(&self, http2: bool, request: Request<Body>) -> Result<Answer, Fault> {
        send_over(self.tcp().await, http2, request).await
    }
}

/// The same target, with the scheme and authority that HTTP/2 wants.
pub fn absolute(mut request: Request<Body>) -> Request<Body> {
    let target = request.uri().path_and_query().unwrap().to_string();
    *request.uri_mut() = format!("http://tofustate.test{target}").parse::<Uri>().unwrap();
    request
}

/// One request over a connection.
pub async fn send_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    http2: bool,
    request: Request<Body>,
) -> Result<Answer, Fault> {
    let work = async {
        let io = TokioIo::new(stream);
        let response = if http2 {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            sender.send_request(absolute(request)).await?
        } else {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        };
        whole(response).await
    };
    timeout(DEADLINE, work).await?
}

/// An answer that may be cut short.
pub async fn whole(response: axum::http::Response<hyper::body::Incoming>) -> Result<Answer, Fault> {
    use http_body_util::BodyExt as _;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
}

/// A client that sends what it is told.
pub struct Raw<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).await.unwrap();
    }

    pub async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        timeout(DEADLINE, self.0.write_all(bytes.as_ref())).await.expect("it is taken")
    }

    async fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        let read = timeout(DEADLINE, self.0.read(&mut byte)).await.expect("something comes");
        matches!(read, Ok(1)).then_some(byte[0])
    }

    /// The next answer, `None` where the connection is closed before one begins.
    pub async fn answer(&mut self) -> Option<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.byte().await {
                Some(byte) => head.push(byte),
                None if head.is_empty() => return None,
                None => panic!("cut short: {}", String::from_utf8_lossy(&head)),
            }
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap();
        assert!(status.starts_with("HTTP/1."), "{head}");
        let status = status[9..12].parse().unwrap();
        let mut headers = axum::http::HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            let name = axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let length = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        timeout(DEADLINE, self.0.read_exact(&mut body)).await.expect("the body comes").unwrap();
        Some(Answer { status, headers, body })
    }

    /// All answers until the server closes the connection. A reset is an end as well.
    pub async fn answers(&mut self) -> Vec<Answer> {
        let mut all = Vec::new();
        while let Some(answer) = self.answer().await {
            all.push(answer);
        }
        all
    }

    /// Whether the server closed the connection, without another byte, before the deadline.
    pub async fn is_closed(&mut self) -> bool {
        self.byte().await.is_none()
    }
}
