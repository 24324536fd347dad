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
