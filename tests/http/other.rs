//! Paths, methods, limits of rates, logs: 38 to 42, as far as the router shows them.

use std::{cell::Cell, num::NonZeroU32};

use crate::log::Log;
use tofustate::http::{HttpOptions, Rate};
use tracing_subscriber::{Layer as _, filter::dynamic_filter_fn, layer::SubscriberExt as _};

use crate::{
    ask::{ask, basic},
    kv::{Call, Do},
    world::{OTHER, OTHER_TOKEN, PATH, Setup, TOKEN, VIEWER, World, large_state, lock_info, state},
};

#[tokio::test]
async fn c38_hostile_paths() {
    let world = World::new().await;
    let (long, deep) = (format!("/{}", "a".repeat(201)), "/a".repeat(9));
    let bad = [
        "/",
        "//",
        "/team/app/",
        "//team/app",
        "/team//app",
        "/team/app//lock",
        "/team/app/lock/",
        "/team/app/lock/lock",
        "/./team/app",
        "/team/../team/app",
        "/team/app/..",
        "/..",
        "/team%2Fapp",
        "/team%2fapp",
        "/team/ap%70",
        "/team/app%00",
        "/team/app%0d%0aX:y",
        "/team/app;x=y",
        "/Team/app",
        "/team/app.",
        "/team\\app",
        "/lock",
        "/.versions/team:app/1-x",
        "/.owners/team:app",
        "/metrics",
        &long,
        &deep,
    ];
    for path in bad {
        if path == "/metrics" {
            // A path as any other: nothing but states is served here.
            ask("GET", path).send(&world).await.is_error(403, "forbidden");
            continue;
        }
        for method in ["GET", "POST", "DELETE", "LOCK", "UNLOCK"] {
            for ask in [ask(method, path).body(state(1)), ask(method, path).anonymous()] {
                ask.send(&world).await.is_error(400, "bad_path");
            }
        }
    }
    assert_eq!(world.stored().await, None);
}

#[tokio::test]
async fn c39_unknown_methods() {
    let world = World::new().await;
    for method in ["PATCH", "OPTIONS", "TRACE", "get", "lock", "PROPFIND", "X", "GETT"] {
        for path in [PATH, "nobody/registered/this"] {
            let answer = ask(method, &format!("/{path}")).anonymous().send(&world).await;
            answer.is_error(405, "bad_method");
            assert_eq!(answer.header("allow"), Some("GET, POST, PUT, DELETE, LOCK, UNLOCK"));
        }
    }
    // An answer to HEAD has no body.
    let answer = ask("HEAD", &format!("/{PATH}")).send(&world).await;
    assert_eq!(
        (answer.is(405).header("allow"), answer.text()),
        (Some("GET, POST, PUT, DELETE, LOCK, UNLOCK"), String::new())
    );
    for method in ["GET", "PATCH", "unlock"] {
        let answer = ask(method, &format!("/{PATH}/lock")).send(&world).await;
        answer.is_error(405, "bad_method");
        assert_eq!(answer.header("allow"), Some("POST, PUT, DELETE, LOCK, UNLOCK"));
    }
}

#[tokio::test]
async fn c40_before_the_registry_is_loaded() {
    let world = World::with(Setup { loaded: false, ..Setup::default() }).await;
    for token in [TOKEN, "wrong"] {
        for path in [PATH, "nobody/registered/this"] {
            for method in ["GET", "POST", "LOCK", "UNLOCK", "DELETE"] {
                let answer = ask(method, &format!("/{path}")).token(token).body(state(1)).send(&world).await;
                answer.is_error(503, "starting");
            }
        }
    }
}

fn rate(burst: u32) -> Rate {
    Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(burst).unwrap() }
}

#[tokio::test]
async fn c40_failed_logins_are_slowed_down() {
    let options = HttpOptions { failed_logins: rate(3), ..HttpOptions::default() };
    let world = World::with(Setup { options, ..Setup::default() }).await;
    world.post(None, state(1)).await.is_ok();
    for path in [PATH, "nobody/registered/this"] {
        let wrong = || ask("GET", &format!("/{path}")).token("wrong").send(&world);
        for _ in 0..3 {
            wrong().await.is_error(403, "forbidden");
        }
        wrong().await.is_error(429, "too_many_failed_logins");
    }
    // Neither the right credential nor another path pays for it.
    assert_eq!(world.get().await.is(200).text(), state(1));
    ask("GET", &format!("/{OTHER}")).token("wrong").send(&world).await.is_error(403, "forbidden");
    ask("GET", &format!("/{OTHER}")).token(OTHER_TOKEN).send(&world).await.is_error(404, "no_state");
    // What has no credential is no failed login.
    ask("GET", &format!("/{PATH}")).anonymous().send(&world).await.is_error(401, "no_credential");
}

#[tokio::test]
async fn c40_requests_are_limited_where_asked_for() {
    let options = HttpOptions { requests: Some(rate(4)), ..HttpOptions::default() };
    let world = World::with(Setup { options, ..Setup::default() }).await;
    world.post(None, state(1)).await.is_ok();
    // Of strangers none counts: they cannot keep the owner out.
    for _ in 0..5 {
        ask("GET", &format!("/{PATH}")).token("wrong").send(&world).await.is(403);
    }
    for _ in 0..3 {
        world.get().await.is(200);
    }
    world.get().await.is_error(429, "too_many_requests");
    world.post(None, state(2)).await.is_error(429, "too_many_requests");
    ask("GET", &format!("/{OTHER}")).token(OTHER_TOKEN).send(&world).await.is_error(404, "no_state");
    assert_eq!(world.stored().await.unwrap(), state(1).as_bytes());
}

thread_local! {
    // The subscriber is everybody's, since what is enabled is: other tests are left out by their threads.
    static RECORDED: Cell<bool> = const { Cell::new(false) };
}

/// Everything at the level TRACE, of us and of what is below us, while all kinds of requests come over real sockets.
#[tokio::test]
async fn c42_no_body_and_no_credential_reaches_a_log() {
    let log = Log::default();
    let ours = dynamic_filter_fn(|_, _| RECORDED.get());
    let layer = tracing_subscriber::fmt::layer().with_writer(log.clone()).with_filter(ours);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    RECORDED.set(true);
    let world = World::new().await;
    let secret = "hunter2-in-the-state";
    let body = format!(r#"{{"serial":1,"lineage":"l","outputs":{{"{secret}":"{secret}"}}}}"#);
    let broken = format!(r#"{{"serial":1,"{secret}":{secret}}}"#);
    let large = large_state(2, 200_000).replacen(r#""lineage":"l""#, &format!(r#""lineage":"l","y":"{secret}""#), 1);
    let live = crate::live::Live::start(&world.router, Default::default()).await;
    for http2 in [false, true] {
        let target = format!("/{PATH}");
        for (method, target, body) in [
            ("POST", target.clone(), body.clone()),
            ("POST", target.clone(), broken.clone()),
            ("POST", target.clone(), large.clone()),
            ("POST", format!("{target}?ID=gone"), body.clone()),
            ("LOCK", target.clone(), format!(r#"{{"ID":"a","Info":"{secret}"}}"#)),
            ("LOCK", target.clone(), format!(r#"{{"ID":"a","Info":{secret}}}"#)),
            ("POST", target.clone(), body.clone()),
            ("UNLOCK", target.clone(), r#"{"ID":"a"}"#.to_owned()),
            ("GET", target.clone(), String::new()),
            ("GET", format!("{target}/"), String::new()),
            ("PATCH", target.clone(), body.clone()),
        ] {
            for credential in
                [basic(TOKEN), format!("Bearer {TOKEN}"), basic(VIEWER), basic("wrong-wrong"), "Digest odd-odd".into()]
            {
                let ask = ask(method, &target).header("authorization", &credential).body(body.clone());
                live.send(http2, ask.request).await.unwrap();
            }
        }
    }
    world.kv.every(Call::Put, Do::Fail(tofustate::store::KvError::Denied("no".into())));
    ask("POST", &format!("/{PATH}")).body(body.replace(":1", ":2")).send(&world).await.is_error(503, "store");
    ask("LOCK", &format!("/{PATH}")).body(lock_info("b")).send(&world).await.is_error(503, "store");
    live.stop().await;
    RECORDED.set(false);
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    for expected in ["state written", "refused", "failed", "answered", "h2::"] {
        assert!(log.contains(expected), "the log is not what this test takes it for: no {expected}");
    }
    let encoded = |token: &str| basic(token).strip_prefix("Basic ").unwrap().to_owned();
    for secret in [secret, TOKEN, VIEWER, "wrong-wrong", "odd-odd", &encoded(TOKEN), &encoded(VIEWER), "hunter2"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
}
