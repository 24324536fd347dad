//! The admin listener: is it alive, is it ready, what does it count, which states does it serve.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry as Metrics};

use super::{reply::Reply, rows::StateRow};
use crate::{
    registry::{CredentialHash, Registry},
    store::Budget,
};

/// What must be so before requests are taken, by name. A gate that is shut says what is missing.
#[derive(Clone, Default)]
pub struct Gates {
    shut: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Gates {
    /// Shuts a gate.
    pub fn shut(&self, name: &'static str, missing: impl Into<String>) {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner).insert(name, missing.into());
    }

    /// Opens a gate.
    pub fn open(&self, name: &'static str) {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn missing(&self) -> BTreeMap<&'static str, String> {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How long the list of states may wait for the store, in all.
const LIST_TIME: Duration = Duration::from_secs(20);

struct Admin {
    gates: Gates,
    metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    token: Option<CredentialHash>,
}

/// The router of the admin listener. `token`: what the list of states asks for as Bearer; without one it is for this
/// machine only.
pub fn admin_router(gates: Gates, metrics: Arc<Metrics>, registry: Arc<Registry>, token: Option<&str>) -> Router {
    let token = token.map(CredentialHash::of);
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text))
        .route("/states", get(states))
        .with_state(Arc::new(Admin { gates, metrics, registry, token }))
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let missing = admin.gates.missing();
    if missing.is_empty() {
        return "ok\n".into_response();
    }
    let lines: String = missing.iter().map(|(gate, what)| format!("{gate}: {what}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

async fn metrics_text(State(admin): State<Arc<Admin>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &admin.metrics) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn states(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    if let Err(refused) = may_list(admin.token.as_ref(), peer, request.headers()) {
        return refused.response;
    }
    let mut rows = Vec::new();
    // One for all: where the store is away, each of thousands would wait.
    let mut budget = Budget::new(LIST_TIME);
    for backend in admin.registry.all() {
        let head = backend.state.recent(&mut budget).await;
        rows.push(StateRow::new(&backend, head.as_deref()));
    }
    Json(rows).into_response()
}

/// The list names states and people: it is for who has the admin token, or, where there is none, for this machine. Not for
/// a page in its browser that had its own name resolve to loopback: `Host` tells.
fn may_list(token: Option<&CredentialHash>, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Reply> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(token) = token {
        let given = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        if given.is_some_and(|(_, given)| CredentialHash::of(given.trim()).matches(token)) {
            return Ok(());
        }
        let sentence = "the list of states needs the admin token as Bearer: tofustate states --admin-token-file";
        return Err(Reply::error(StatusCode::UNAUTHORIZED, "no_credential", sentence)
            .with(header::WWW_AUTHENTICATE, "Bearer realm=\"tofustate-admin\""));
    }
    let host = text(header::HOST).map_or("", |host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    let local = host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if local && peer.is_some_and(|peer| peer.to_canonical().is_loopback()) {
        return Ok(());
    }
    let sentence =
        "without an admin token the list of states is for this machine only: start the server with --admin-token-file";
    Err(Reply::error(StatusCode::FORBIDDEN, "not_local", sentence))
}
