//! What is never answered, whatever is asked: a redirect, a 5xx but 503, a panic. And what is written is read again.

use axum::{body::Body, http::Request};
use proptest::prelude::*;
use tower::ServiceExt as _;

use crate::{
    ask::{Answer, basic},
    world::{OTHER, OTHER_TOKEN, PATH, TOKEN, VIEWER, World, lock_info, state},
};

fn method() -> impl Strategy<Value = String> {
    const USUAL: &[&str] = &["GET", "POST", "PUT", "DELETE", "LOCK", "UNLOCK"];
    const ODD: &[&str] = &["HEAD", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI", "PROPFIND"];
    prop_oneof![8 => proptest::sample::select(USUAL).prop_map(str::to_owned),
        1 => proptest::sample::select(ODD).prop_map(str::to_owned),
        1 => "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}"]
}

fn target() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        6 => Just(format!("/{PATH}")),
        2 => Just(format!("/{PATH}/lock")),
        1 => Just(format!("/{OTHER}")),
        2 => "(/{1,2}[a-z0-9._%-]{0,9}){0,10}",
        1 => "/[!-~&&[^?# \"<>`{}|\\^]]{0,60}",
        1 => "(/(\\.{1,2}|%2[eEfF]|team|app|lock)){1,6}/?",
    ];
    let query = prop_oneof![
        4 => Just(String::new()),
        3 => "\\?ID=[a-c]",
        1 => "\\?[!-~&&[^# \"<>`{}|\\^]]{0,40}",
    ];
    (path, query).prop_map(|(path, query)| format!("{path}{query}"))
}

fn credential() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        6 => Just(Some(basic(TOKEN))),
        1 => Just(Some(format!("Bearer {TOKEN}"))),
        1 => Just(Some(basic(VIEWER))),
        1 => Just(Some(basic(OTHER_TOKEN))),
        1 => Just(None),
        1 => "[ -~]{0,30}".prop_map(Some),
        1 => "(Basic|Bearer|basic) [ -~]{0,30}".prop_map(Some),
    ]
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    const NAMES: &[&str] = &[
        "content-md5",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "expect",
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-http-method-override",
        "traceparent",
        "if-none-match",
        "range",
        "accept-encoding",
        "connection",
        "upgrade",
    ];
    let value = prop_oneof![
        "[ -~]{0,40}".prop_map(String::into_bytes),
        "[0-9]{1,22}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>().prop_filter("of a header", |byte| *byte >= 32 && *byte != 127), 0..20),
    ];
    proptest::collection::vec((proptest::sample::select(NAMES).prop_map(str::to_owned), value), 0..4)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..20u64).prop_map(|serial| state(serial).into_bytes()),
        3 => "[a-c]".prop_map(|id| lock_info(&id).into_bytes()),
        1 => Just(Vec::new()),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => "\\{\"(serial|ID)\":[ -~]{0,30}\\}".prop_map(String::into_bytes),
    ]
}

async fn asked(world: &World, request: Request<Body>) -> Answer {
    Answer::of(world.router.clone().oneshot(request).await.unwrap()).await
}

#[test]
fn c38_never_a_redirect_and_never_a_fault_of_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let config = ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut seen = std::collections::BTreeMap::<u16, u32>::new();
    let counts = std::cell::RefCell::new(&mut seen);
    let inputs = (method(), target(), credential(), headers(), body());
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let done = runner.run(&inputs, |(method, target, credential, headers, body)| {
        let mut request = Request::builder().method(method.as_str()).uri(target.as_str());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        // What no Request can be, no client can send either.
        let Ok(request) = request.body(Body::from(body.clone())) else { return Ok(()) };
        let answer = runtime.block_on(asked(&world, request));
        let status = answer.status;
        *counts.borrow_mut().entry(status).or_default() += 1;
        prop_assert!(!(300..400).contains(&status), "{status}");
        prop_assert!(status < 500 || status == 503, "{status}: {}", answer.text());
        prop_assert_eq!(answer.header("location"), None);
        match status {
            200 => {}
            _ if method == "HEAD" => prop_assert!(answer.body.is_empty()),
            405 => prop_assert!(answer.header("allow").is_some()),
            _ => prop_assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok(), "{}", answer.text()),
        }
        if (method == "POST" || method == "PUT") && status == 200 && !target.contains("/lock") {
            let found = runtime.block_on(world.stored()).unwrap_or_default();
            let known = runtime.block_on(world.head()).versions.len() > 1;
            // The repeat of an earlier write leaves the newer state.
            prop_assert!(found == body || (known && target.contains("ID=")) || target.contains(OTHER));
        }
        Ok(())
    });
    done.unwrap();
    for status in [200, 400, 401, 403, 404, 405, 409] {
        assert!(seen.contains_key(&status), "the inputs are not what this test takes them for: {seen:?}");
    }
}
