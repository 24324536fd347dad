//! Any requests, one after the other, through the router: no panic, no redirect, no fault of ours, and what was taken is
//! read again byte for byte.
//!
//! An input is text: requests apart by a line `---`, each a line with method and target, lines of headers, an empty
//! line, the body. Without a header `authorization` they come with the token that may write.

#![no_main]

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, Bytes},
    http::{Method, Request, Uri},
};
use http_body_util::BodyExt as _;
use tofustate::{
    http::{App, HttpOptions, router},
    registry::{Backend, Credential, CredentialHash, Registry, ResourceName, Role},
    store::{
        Budget, Engine, EngineOptions, Entry, Expect, Kv, KvError, Listed, Registration, Revision, Settings, StatePath,
        Value, head::Owner,
    },
    telemetry::{EngineMetrics, HttpMetrics},
};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const PATH: &str = "team/app";
const TOKEN: &str = "rw";
const VIEWER: &str = "ro";
const MOST_REQUESTS: usize = 12;

/// The smallest store that keeps the rules.
#[derive(Default)]
struct MemoryKv(Mutex<BTreeMap<String, Entry>>);

#[async_trait]
impl Kv for MemoryKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        let mut entries = self.0.lock().unwrap();
        let found = entries.get(key).map(|entry| entry.revision);
        let wanted = if let Expect::At(revision) = expect { Some(revision) } else { None };
        if found != wanted {
            return Err(KvError::CasMismatch);
        }
        let revision = Revision(found.map_or(1, |revision| revision.0 + 1));
        entries.insert(key.to_owned(), Entry { value: value.clone(), revision });
        Ok(revision)
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        let entries = self.0.lock().unwrap();
        let keys = entries.keys().filter(|key| key.starts_with(prefix));
        Ok(keys.map(|key| Listed { key: key.clone(), created: self.now() }).collect())
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    fn part_bytes(&self) -> usize {
        1_024
    }
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());

async fn served() -> Router {
    let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
    let owner =
        Owner { instance: "fuzz".into(), namespace: "team".into(), name: "app".into(), claim: 1, released: false };
    let settings = Settings { max_size: 64 * 1024, ..Settings::default() };
    let path = StatePath::parse(PATH).unwrap();
    let state = engine.open(Registration { path, kv: Arc::new(MemoryKv::default()), owner, mark: None, settings });
    state.register(&mut Budget::new(Duration::from_secs(5))).await.unwrap();
    let credentials = [("token", Role::ReadWrite, TOKEN), ("access/viewer", Role::ReadOnly, VIEWER)];
    let credentials = credentials
        .map(|(identity, role, token)| Credential { identity: identity.into(), role, hash: CredentialHash::of(token) });
    let resource = ResourceName { namespace: "team".into(), name: "app".into() };
    let registry = Arc::new(Registry::default());
    registry.replace([Arc::new(Backend { resource, state, credentials: credentials.into(), former: Vec::new() })]);
    router(App::new(registry, HttpOptions::default(), HttpMetrics::default()))
}

fn split<'a>(bytes: &'a [u8], by: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    match bytes.windows(by.len()).position(|window| window == by) {
        Some(at) => (&bytes[..at], Some(&bytes[at + by.len()..])),
        None => (bytes, None),
    }
}

/// What can be a request at all.
fn request(text: &[u8]) -> Option<(Request<Body>, Vec<u8>)> {
    let (head, body) = split(text, b"\n\n");
    let body = body.unwrap_or_default().to_vec();
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, target) = split(lines.next()?, b" ");
    // In pieces, or whole.
    let sent = if body.len() % 2 == 0 {
        Body::from(body.clone())
    } else {
        let pieces: Vec<_> = body.chunks(7).map(Bytes::copy_from_slice).map(Ok::<_, std::io::Error>).collect();
        Body::from_stream(futures_util::stream::iter(pieces))
    };
    let mut request = Request::builder().method(Method::from_bytes(method).ok()?).uri(Uri::try_from(target?).ok()?);
    for line in lines {
        let (name, value) = split(line, b": ");
        request = request.header(name, value?);
    }
    if request.headers_ref().is_some_and(|headers| !headers.contains_key("authorization")) {
        request = request.header("authorization", format!("Bearer {TOKEN}"));
    }
    Some((request.body(sent).ok()?, body))
}

async fn answer(router: &Router, request: Request<Body>) -> (u16, Bytes) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    assert!(!(300..400).contains(&status) && !headers.contains_key("location"), "{status}: a redirect");
    assert!(status < 500 || status == 503, "{status}");
    (status, response.into_body().collect().await.expect("a whole answer").to_bytes())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    RUNTIME.block_on(async {
        let router = served().await;
        let mut rest = Some(data);
        let mut written: Vec<Vec<u8>> = Vec::new();
        for _ in 0..MOST_REQUESTS {
            let Some(text) = rest else { break };
            let (first, behind) = split(text, b"\n---\n");
            rest = behind;
            let Some((request, body)) = request(first) else { continue };
            let method = request.method().clone();
            let writes = matches!(method, Method::POST | Method::PUT) && !request.uri().path().ends_with("/lock");
            let named = request.uri().query().is_some_and(|query| query.contains("ID"));
            let (status, said) = answer(&router, request).await;
            if status >= 400 && method != Method::HEAD {
                serde_json::from_slice::<serde_json::Value>(&said).expect("errors are JSON");
            }
            if !writes || status >= 300 {
                continue;
            }
            let get = Request::get(format!("/{PATH}")).header("authorization", format!("Bearer {TOKEN}"));
            let (status, found) = answer(&router, get.body(Body::empty()).unwrap()).await;
            // A late repeat under a lock leaves the newer state, or none where it was deleted since.
            let repeat = named && written.contains(&body);
            assert!(status == 200 && found == body || repeat, "taken with {status}, and not read again");
            written.push(body);
        }
    });
});
