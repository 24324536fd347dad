//! The admin listener: what it says, and to whom.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, header},
};
use tofustate::http::{Gates, StateRow, admin_router};
use tower::ServiceExt as _;

use crate::{
    ask::{Answer, ask},
    world::{OTHER, PATH, TOKEN, VIEWER, World, state},
};

const ADMIN: &str = "admin-token-of-these-tests";

struct Admin {
    gates: Gates,
    router: Router,
}

impl Admin {
    fn of(world: &World, token: Option<&str>) -> Self {
        let mut metrics = prometheus_client::registry::Registry::with_prefix("tofustate");
        world.metrics.register(&mut metrics);
        let gates = Gates::default();
        let router = admin_router(gates.clone(), Arc::new(metrics), world.registry.clone(), token);
        Self { gates, router }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask(target, "127.0.0.1:9090", "127.0.0.1:50000", None).await
    }

    async fn ask(&self, target: &str, host: &str, peer: &str, authorization: Option<&str>) -> Answer {
        let mut request = Request::get(target).header(header::HOST, host);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }
}

#[tokio::test]
async fn a_gate_that_is_shut_says_what_is_missing() {
    let world = World::new().await;
    let admin = Admin::of(&world, None);
    admin.get("/livez").await.is(200);
    admin.get("/readyz").await.is(200);
    admin.gates.shut("registry", "the folder of manifests was not read yet");
    admin.gates.shut("store", "sealed");
    let answer = admin.get("/readyz").await;
    answer.is(503);
    assert_eq!(answer.text(), "registry: the folder of manifests was not read yet\nstore: sealed\n");
    admin.get("/livez").await.is(200);
    admin.gates.open("registry");
    assert_eq!(admin.get("/readyz").await.text(), "store: sealed\n");
    admin.gates.open("store");
    admin.get("/readyz").await.is(200);
}

#[tokio::test]
async fn the_list_of_states_says_who_holds_which_lock() {
    let world = World::new().await;
    world.post(None, state(7)).await.is_ok();
    world.lock("a").await.is_ok();
    let answer = Admin::of(&world, None).get("/states").await;
    answer.is(200);
    let rows: Vec<StateRow> = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(rows.iter().map(|row| row.path.as_str()).collect::<Vec<_>>(), [PATH, OTHER]);
    let lock = rows[0].lock.as_ref().unwrap();
    assert_eq!((lock.id.as_str(), lock.identity.as_str()), ("a", "token"));
    assert_eq!((rows[0].serial, rows[0].version, rows[1].serial), (Some(7), Some(1), None));
    for secret in [TOKEN, VIEWER] {
        assert!(!answer.text().contains(secret));
    }
}

#[tokio::test]
async fn without_a_token_the_list_is_for_this_machine() {
    let world = World::new().await;
    let admin = Admin::of(&world, None);
    for (host, peer) in [("localhost:1", "127.0.0.1:5"), ("127.0.0.1", "127.8.0.1:5"), ("[::1]:9090", "[::1]:5")] {
        admin.ask("/states", host, peer, None).await.is(200);
    }
    for (host, peer) in [
        ("127.0.0.1:9090", "192.0.2.7:5"),
        // A page whose own name was made to lead here.
        ("rebound.example:9090", "127.0.0.1:5"),
        ("127.0.0.1.example", "127.0.0.1:5"),
        ("", "127.0.0.1:5"),
    ] {
        let sentence = admin.ask("/states", host, peer, None).await.is_error(403, "not_local");
        assert!(sentence.contains("--admin-token-file"), "{host} {peer}: {sentence}");
    }
    // Probes and metrics come from elsewhere.
    for target in ["/livez", "/readyz", "/metrics"] {
        admin.ask(target, "pod:9090", "192.0.2.7:5", None).await.is(200);
    }
}

#[tokio::test]
async fn with_a_token_the_list_is_for_who_has_it() {
    let world = World::new().await;
    let admin = Admin::of(&world, Some(ADMIN));
    let ask = async |authorization: Option<&str>| {
        admin.ask("/states", "tofustate.example", "192.0.2.7:5", authorization).await
    };
    for right in [format!("Bearer {ADMIN}"), format!("bearer  {ADMIN}")] {
        ask(Some(&right)).await.is(200);
    }
    for wrong in ["Bearer x", "Bearer", ADMIN, "Basic YTpi", &format!("Bearer {TOKEN}")] {
        ask(Some(wrong)).await.is_error(401, "no_credential");
    }
    let answer = ask(None).await;
    answer.is_error(401, "no_credential");
    assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
    admin.get("/states").await.is_error(401, "no_credential");
}

#[tokio::test]
async fn requests_are_counted_by_kind_and_never_by_path() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    world.lock("a").await.is_ok();
    world.lock("b").await.is(409);
    ask("GET", &format!("/{PATH}")).token("wrong").send(&world).await.is(403);
    ask("BREW", &format!("/{PATH}")).send(&world).await.is(405);
    let answer = Admin::of(&world, None).get("/metrics").await;
    answer.is(200);
    let kind = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = answer.text();
    for (verb, outcome, status) in [
        ("post", "ok", 200),
        ("lock", "ok", 200),
        ("lock", "locked", 409),
        ("get", "forbidden", 403),
        ("none", "bad_method", 405),
    ] {
        let line =
            format!("tofustate_http_requests_total{{verb=\"{verb}\",outcome=\"{outcome}\",status=\"{status}\"}} 1\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    assert!(text.contains("tofustate_http_request_seconds_count{verb=\"lock\"} 2\n"), "{text}");
    assert!(text.contains("tofustate_http_connections 0\n") && text.ends_with("# EOF\n"), "{text}");
    for never in [PATH, "team", TOKEN, "wrong"] {
        assert!(!text.contains(never), "{never}: {text}");
    }
}
