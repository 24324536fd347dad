//! The router of the protocol: one function, every layer in one place. Path and method first, then who calls, then the
//! rate, then the verb.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, Response, StatusCode, Version, header, request::Parts},
};
use tracing::{Instrument as _, Span, debug, field::Empty, info_span, record_all};

use super::{
    auth::{Caller, authenticate, is_current},
    body::{BodyTimes, Incoming},
    delete, lock, read,
    reply::Reply,
    target::{BadTarget, Verb, target},
    throttle::{Logins, Rate, Throttle},
    write,
};
use crate::{
    crd::StatePath,
    registry::{Credential, CredentialHash, Registry, Role},
    store::{Budget, Head},
    telemetry::{self, HttpMetrics},
};

/// What the HTTP side may be told otherwise.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// How long one request may wait for the store.
    pub budget: Duration,
    /// Requests for one state, where they are to be limited.
    pub requests: Option<Rate>,
    /// Failed logins of one peer for one path.
    pub failed_logins: Rate,
    /// How slowly a body may come in.
    pub body: BodyTimes,
    /// Spans are exported: requests join the trace of their run.
    pub traces: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        let one = NonZeroU32::MIN;
        let failed_logins = Rate { per_second: one, burst: one.saturating_add(19) };
        Self {
            budget: Duration::from_secs(25),
            requests: None,
            failed_logins,
            body: BodyTimes::default(),
            traces: false,
        }
    }
}

/// How long a request may wait for the head that says which trace it is of.
const TRACE_LOOK: Duration = Duration::from_secs(1);

/// What all requests share.
pub struct App {
    pub(super) registry: Arc<Registry>,
    pub(super) logins: Logins,
    /// Stands in for the credentials of a path that is not registered.
    pub(super) nobody: Vec<Credential>,
    requests: Option<Throttle<StatePath>>,
    options: HttpOptions,
    metrics: HttpMetrics,
}

impl App {
    /// The state of a router.
    #[must_use]
    pub fn new(registry: Arc<Registry>, options: HttpOptions, metrics: HttpMetrics) -> Arc<Self> {
        let nobody = Credential {
            identity: String::new(),
            role: Role::ReadOnly,
            hash: CredentialHash::of(&rand::random::<u128>().to_string()),
        };
        Arc::new(Self {
            registry,
            logins: Logins::new(options.failed_logins),
            nobody: vec![nobody],
            requests: options.requests.map(Throttle::new),
            options,
            metrics,
        })
    }

    pub(super) fn traces(&self) -> bool {
        self.options.traces
    }

    /// How long a client may leave a piece of an answer lying.
    pub(super) fn stall(&self) -> Duration {
        self.options.body.idle
    }

    pub(super) fn budget(&self) -> Budget {
        Budget::new(self.options.budget)
    }
}

/// The router of the protocol.
pub fn router(app: Arc<App>) -> Router {
    // Paths have one to eight segments and methods are not all known to axum: one handler looks at both.
    Router::new().fallback(handle).with_state(app)
}

async fn handle(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let mut incoming = Incoming::new(body, app.options.body);
    let (verb, mut reply) = match target(&parts.method, &parts.uri) {
        Ok((path, verb)) => (verb.as_str(), answer(&app, &path, verb, &parts, &mut incoming).await),
        Err(bad) => ("none", bad_target(&bad)),
    };
    // Whatever still comes is read away for a while, so that the client gets to read the answer; but no request is
    // looked for behind it.
    if incoming.unread() && parts.version <= Version::HTTP_11 {
        reply.response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let status = reply.response.status();
    app.metrics.request(verb, reply.outcome, status.as_u16(), began.elapsed());
    debug!(verb, outcome = reply.outcome, status = status.as_u16(), "answered");
    reply.response
}

async fn answer(app: &App, path: &StatePath, verb: Verb, parts: &Parts, incoming: &mut Incoming) -> Reply {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let caller = match authenticate(app, path, &parts.headers, peer) {
        Ok(caller) => caller,
        Err(reply) => return reply,
    };
    if let Some(Err(wait)) = app.requests.as_ref().map(|rate| rate.take(path)) {
        return Reply::slow_down("too_many_requests", "too many requests for this state; wait, then try again", wait);
    }
    let span = span(app, &caller, verb, parts).await;
    let done = dispatch(app, &caller, verb, parts, incoming).instrument(span.clone()).await;
    let reply = done.unwrap_or_else(|refused| refused);
    let status = reply.response.status();
    record_all!(span, outcome = reply.outcome, http.response.status_code = status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    reply
}

/// The span of a request that was let in. A request of the run that holds the lock is part of the trace that the lock
/// carries. A GET or UNLOCK does not say which run it is of: who holds the lock counts.
async fn span(app: &App, caller: &Caller, verb: Verb, parts: &Parts) -> Span {
    let span = info_span!(
        telemetry::REQUEST,
        otel.name = verb.as_str().to_ascii_uppercase(),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = parts.method.as_str(),
        http.response.status_code = Empty,
        path = %caller.backend.path(),
        identity = caller.identity,
        outcome = Empty,
    );
    // A LOCK begins a run.
    if !app.options.traces || verb == Verb::Lock {
        return span;
    }
    if let Some(head) = head(caller, verb, parts).await
        && let Some(lock) = head.lock.as_ref().filter(|lock| lock.identity == caller.identity)
        && let Some(traceparent) = &lock.traceparent
        && (verb != Verb::Write || write::names_lock(&parts.uri, &lock.id))
    {
        telemetry::join(&span, traceparent);
    }
    span
}

/// The head that says of which run a request is. What this replica saw last does for a write whose lock it knows; else
/// another one may have granted or released a lock since.
async fn head(caller: &Caller, verb: Verb, parts: &Parts) -> Option<Arc<Head>> {
    let (state, budget) = (&caller.backend.state, &mut Budget::new(TRACE_LOOK));
    let known = |head: &Arc<Head>| head.lock.as_ref().is_some_and(|lock| write::names_lock(&parts.uri, &lock.id));
    if verb == Verb::Write
        && let Some(head) = state.recent(budget).await.ok().filter(known)
    {
        return Some(head);
    }
    state.latest(budget).await.ok()
}

async fn dispatch(
    app: &App,
    caller: &Caller,
    verb: Verb,
    parts: &Parts,
    incoming: &mut Incoming,
) -> Result<Reply, Reply> {
    if !matches!(verb, Verb::Write | Verb::Unlock) {
        is_current(caller)?;
    }
    match verb {
        Verb::Get => read::get(app, caller, &parts.headers).await,
        Verb::Write => write::post(app, caller, &parts.uri, &parts.headers, incoming).await,
        Verb::Delete => delete::delete(app, caller).await,
        Verb::Lock => lock::lock(app, caller, incoming).await,
        Verb::Unlock => lock::unlock(app, caller, incoming).await,
    }
}

fn bad_target(bad: &BadTarget) -> Reply {
    match bad {
        BadTarget::Path(error) => {
            let sentence = format!("this is no state path: {error}");
            Reply::error(StatusCode::BAD_REQUEST, "bad_path", &sentence)
        }
        BadTarget::Method(allowed) => {
            let sentence = format!("the method is not one of this URL's: {allowed}");
            Reply::error(StatusCode::METHOD_NOT_ALLOWED, "bad_method", &sentence).with(header::ALLOW, *allowed)
        }
    }
}
