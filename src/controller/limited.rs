//! The client's calls of the API server: counted, and no more of them a second than is allowed.

use std::{
    task::{Context, Poll, ready},
    time::Instant,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Either},
};
use hyper::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Service};

use crate::{rate::Rate, telemetry::KubernetesMetrics};

/// A service that waits for its turn before each call.
pub(super) struct Limited<S> {
    inner: S,
    rate: Rate,
    metrics: KubernetesMetrics,
    /// Its turn is waited for, or has come.
    turn: Option<Either<BoxFuture<'static, ()>, ()>>,
}

impl<S> Limited<S> {
    pub(super) fn new(inner: S, rate: Rate, metrics: KubernetesMetrics) -> Self {
        Self { inner, rate, metrics, turn: None }
    }
}

impl<S, B> Service<Request<Body>> for Limited<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let turn = self.turn.get_or_insert_with(|| {
            let rate = self.rate.clone();
            Either::Left(async move { rate.turn().await }.boxed())
        });
        if let Either::Left(waiting) = turn {
            ready!(waiting.poll_unpin(context));
            *turn = Either::Right(());
        }
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.turn = None;
        let (metrics, began, operation) = (self.metrics.clone(), Instant::now(), operation(&request));
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await;
            let outcome = answer.as_ref().map_or("unanswered", |answer| outcome(answer.status().as_u16()));
            metrics.called(operation, outcome, began.elapsed());
            answer
        }
        .boxed()
    }
}

/// What a request does, in the words of the API server's rights.
fn operation(request: &Request<Body>) -> &'static str {
    let watches = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
    match request.method().as_str() {
        "GET" if watches => "watch",
        "GET" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

fn outcome(status: u16) -> &'static str {
    match status {
        200..=399 => "ok",
        409 => "conflict",
        429 => "throttled",
        400..=499 => "refused",
        _ => "failed",
    }
}
