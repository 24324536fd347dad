//! A connection that does nothing for its clients is cut off: one that is silent, one that only pings, one that takes an
//! answer a byte a second.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Request, Response},
};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tower::Service;

/// What a connection has to move to go on, in bytes a second. Half of what a body has to, so that whoever sent one so
/// slowly still gets the answer; far more than pings are.
const LEAST_RATE: u128 = 512;

/// Until when a connection lives if nothing more happens. Shared by its socket and its requests.
#[derive(Clone)]
pub(super) struct Deadline {
    until: Arc<Mutex<Instant>>,
    idle: Duration,
}

impl Deadline {
    /// `first`: how long the first request may be away; `idle`: how long any after it.
    pub(super) fn new(first: Duration, idle: Duration) -> Self {
        Self { until: Arc::new(Mutex::new(Instant::now() + first)), idle }
    }

    fn get(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_off(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.idle;
    }
}

/// Puts the end off when a request begins and when its answer is gone.
#[derive(Clone)]
pub(super) struct Requests<S> {
    pub(super) inner: S,
    pub(super) deadline: Deadline,
}

impl<S, B> Service<Request<B>> for Requests<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.deadline.put_off();
        let answered = Answered(self.deadline.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            answered.0.put_off();
            Ok(answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _until_it_is_gone = &answered;
                    frame
                }))
            }))
        })
    }
}

struct Answered(Deadline);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.put_off();
    }
}

/// A socket that fails when its deadline is over. `held` goes with it.
pub(super) struct Socket<T> {
    stream: TcpStream,
    deadline: Deadline,
    timer: Pin<Box<Sleep>>,
    /// Bytes since they last put the end off.
    moved: u128,
    _held: T,
}

impl<T> Socket<T> {
    pub(super) fn new(stream: TcpStream, deadline: Deadline, held: T) -> Self {
        let timer = Box::pin(sleep_until(deadline.get()));
        Self { stream, deadline, timer, moved: 0, _held: held }
    }

    fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u128;
        if self.moved * 1_000 > self.deadline.idle.as_millis() * LEAST_RATE {
            self.moved = 0;
            self.deadline.put_off();
        }
    }

    /// Whether it is over; asked whenever the socket is, and woken for when it may be.
    fn over(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let until = self.deadline.get();
            if until <= Instant::now() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            if self.timer.deadline() > until {
                self.timer.as_mut().reset(until);
            }
            ready!(self.timer.as_mut().poll(cx));
            self.timer.as_mut().reset(self.deadline.get());
        }
    }

    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.over(cx).map(Err),
            Poll::Ready(Ok(bytes)) => {
                self.moved(bytes);
                Poll::Ready(Ok(bytes))
            }
            failed => failed,
        }
    }
}

impl<T: Unpin> AsyncRead for Socket<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.over(cx) {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.moved(buf.filled().len() - before);
        Poll::Ready(read)
    }
}

impl<T: Unpin> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
