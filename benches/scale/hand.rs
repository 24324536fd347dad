//! What the same servers do for a client by hand: a policy and a token, and the objects that a resource has in the cluster.

use std::{
    fs,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Instant,
};

use serde_json::json;
use tofustate_e2e::{kube::tofustates, operator::INSTANCE};

use crate::{
    client::Connection,
    world::{World, at_once},
};

const CONNECTIONS: usize = 16;
/// Of each time.
const PAIRS: usize = 2_000;
/// Resources by hand.
const OBJECTS: usize = 500;

static ROUND: AtomicUsize = AtomicUsize::new(0);

/// Writes policies and mints tokens as the operator does, and nothing else. Answers how many of both a second.
pub(crate) fn pairs(world: &World) -> f64 {
    let round = ROUND.fetch_add(1, Relaxed);
    let address: SocketAddr =
        world.server.url(0).trim_start_matches("http://").to_socket_addrs().unwrap().next().unwrap();
    let token = fs::read_to_string(world.server.root_token_file()).unwrap();
    let pairs = PAIRS.min(world.count);
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let headers = format!("X-Vault-Token: {}\r\n", token.trim());
                let mut connection = Connection::with_headers(address, headers).unwrap();
                let mut answer = Vec::new();
                loop {
                    let n = next.fetch_add(1, Relaxed);
                    if n >= pairs {
                        return;
                    }
                    let policy = format!("tofustate/{INSTANCE}/by-hand-{round}/{n}");
                    let text = format!(
                        "path \"states/data/by-hand-{round}/{n}\" {{ capabilities = [\"create\", \"read\", \"update\"] }}\n\
                         path \"states/data/.versions/by-hand-{round}:{n}/*\" {{ capabilities = [\"create\", \"read\", \"update\"] }}\n\
                         path \"states/metadata/.versions/by-hand-{round}:{n}/*\" {{ capabilities = [\"read\", \"list\", \"delete\"] }}\n"
                    );
                    let mut post = |path: &str, body: serde_json::Value, status: u16| {
                        let body = serde_json::to_vec(&body).unwrap();
                        let got = connection.call("POST", path, None, &body, &mut answer).unwrap();
                        assert_eq!(got, status, "{path}: {}", String::from_utf8_lossy(&answer));
                    };
                    post(&format!("/v1/sys/policies/acl/{policy}"), json!({"policy": text}), 204);
                    let body = json!({
                        "policies": [policy], "no_default_policy": true, "renewable": true,
                        "display_name": format!("tofustate by-hand/{n}"),
                    });
                    post(&format!("/v1/auth/token/create/tofustate-{INSTANCE}"), body, 200);
                }
            });
        }
    });
    pairs as f64 / began.elapsed().as_secs_f64()
}

/// Makes in the cluster what a resource has there, with the calls that it takes at least: the resource, its finalizer, two
/// Secrets, a ConfigMap, the status of two field managers.
pub(crate) fn objects(world: &World) {
    let api = &world.api;
    let namespace = world.cluster.namespace("by-hand");
    let core = format!("/api/v1/namespaces/{namespace}");
    let count = OBJECTS.min(world.count);
    let condition = |name: &str| {
        json!({
            "type": name, "status": "True", "reason": "Written", "message": "what is said where all is well is as long as this",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        })
    };
    let types = ["Ready", "PathClaimed", "PolicySynced", "TokenReady", "CredentialsReady", "StoreReachable"];
    let ours = json!({
        "observedGeneration": 1, "conditions": types.map(condition),
        "endpoints": {"internal": "http://tofustate.tofustate.svc/by-hand/hand-00000"},
        "openbao": {"policy": "tofustate/prod/by-hand/hand-00000", "tokenAccessor": "Kj2hYtQ0fN3sDx5vB8mRwZpL"},
    });
    let head = json!({"locked": false, "history": [], "headEpoch": "0f".repeat(16), "headRevision": 1});
    let began = Instant::now();
    at_once(count, |n| {
        let name = format!("hand-{n:05}");
        let meta = |name: &str| json!({"name": name, "labels": {"app.kubernetes.io/managed-by": "by-hand"}});
        let kind = json!({"apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend"});
        let mut resource = kind.clone();
        resource["metadata"] = json!({"name": name});
        resource["spec"] = json!({"path": format!("{namespace}/{name}")});
        api.create(&tofustates(&namespace), &resource).done();
        let at = format!("{}/{name}", tofustates(&namespace));
        api.merge(&at, &json!({"metadata": {"finalizers": ["example.com/by-hand"]}})).done();
        for (manager, part) in [("by-hand-http", &head), ("by-hand-controller", &ours)] {
            let mut status = kind.clone();
            status["metadata"] = json!({"name": name});
            status["status"] = part.clone();
            api.apply(&format!("{at}/status"), manager, true, &status).done();
        }
        let values = json!({"a": "eHh4".repeat(8), "b": "eHh4".repeat(64)});
        for secret in ["token", "connection"] {
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta(&format!("{name}-{secret}")), "data": values});
            api.create(&format!("{core}/secrets"), &secret).done();
        }
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(&name), "data": {"backend.hcl": "x".repeat(300)}});
        api.create(&format!("{core}/configmaps"), &config).done();
    });
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!(
        "By hand, the objects of a resource in the cluster (7 writes, 8 at a time, nobody watching): {rate:.0} resources/s"
    );
    at_once(count, |n| {
        let at = format!("{}/hand-{n:05}", tofustates(&namespace));
        api.merge(&at, &json!({"metadata": {"finalizers": null}})).done();
        api.delete(&at).done();
    });
}
