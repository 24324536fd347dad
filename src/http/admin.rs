//! The admin listener: is it alive, is it ready, what does it count, which states does it serve.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry as Metrics};
use serde::Serialize;

use super::reply::Reply;
use crate::{
    registry::{Backend, CredentialHash, Registry},
    store::{Budget, Head, LockInfo, StateError},
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

struct Admin {
    gates: Gates,
    metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    token: Option<CredentialHash>,
}

/// The router of the admin listener. `token`: what the list of states asks for as Bearer; without one the listener has
/// to be on loopback.
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

/// A state in the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StateRow {
    path: String,
    resource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<LockRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    versions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LockRow {
    id: String,
    who: String,
    identity: String,
    operation: String,
    since: String,
}

impl StateRow {
    fn new(backend: &Backend, head: Result<&Head, &StateError>) -> Self {
        let found = head.ok();
        let current = found.and_then(Head::current);
        Self {
            path: backend.path().to_string(),
            resource: backend.resource.to_string(),
            lock: found.and_then(|head| head.lock.as_ref()).map(|lock| {
                let info = LockInfo::parse(lock.info.as_bytes()).unwrap_or_default();
                LockRow {
                    id: lock.id.clone(),
                    who: info.who,
                    identity: lock.identity.clone(),
                    operation: info.operation,
                    since: lock.since.to_string(),
                }
            }),
            version: current.map(|version| version.number),
            serial: current.map(|version| version.serial),
            size: current.map(|version| version.size),
            versions: found.map_or(0, |head| head.versions.len()),
            modified: current.map(|version| version.time.to_string()),
            error: head.err().map(ToString::to_string),
        }
    }
}

async fn states(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    if let Some(token) = &admin.token {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).map(CredentialHash::of);
        if !given.is_some_and(|given| given.matches(token)) {
            let sentence = "the list of states needs the admin token as Bearer";
            return Reply::error(StatusCode::UNAUTHORIZED, "no_credential", sentence)
                .with(header::WWW_AUTHENTICATE, "Bearer realm=\"tofustate-admin\"")
                .response;
        }
    }
    let mut rows = Vec::new();
    for backend in admin.registry.all() {
        let head = backend.state.recent(&mut Budget::new(Duration::from_secs(5))).await;
        rows.push(StateRow::new(&backend, head.as_deref()));
    }
    Json(rows).into_response()
}
