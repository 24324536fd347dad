//! Reading: 1 to 9.

use std::num::NonZeroU32;

use tofustate::{
    http::{HttpOptions, Rate},
    store::{Engine, EngineOptions, Registration, Settings},
};

use crate::{
    ask::ask,
    world::{OTHER, OTHER_TOKEN, PATH, Setup, TOKEN, VIEWER, World, budget, large_state, lock_info, md5, state},
};

const VERBS: &[(&str, &str)] = &[
    ("GET", ""),
    ("POST", ""),
    ("PUT", ""),
    ("DELETE", ""),
    ("LOCK", ""),
    ("UNLOCK", ""),
    ("POST", "/lock"),
    ("DELETE", "/lock"),
];

#[tokio::test]
async fn c01_registered_and_never_written() {
    let world = World::new().await;
    world.get().await.is_error(404, "no_state");
}

#[tokio::test]
async fn c02_what_was_written_is_read() {
    let world = World::new().await;
    for body in [state(1), state(2), large_state(3, 200_000), large_state(4, 5_000)] {
        world.post(None, body.clone()).await.is_ok();
        let answer = world.get().await;
        answer.is(200);
        assert_eq!(answer.text(), body);
        assert_eq!(answer.header("content-md5"), Some(md5(body.as_bytes()).as_str()));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()));
    }
    assert!(world.kv.parts_of(PATH).await > 8, "some of it is in many parts");
}

#[tokio::test]
async fn c03_locked_and_never_written() {
    let world = World::new().await;
    world.lock("a").await.is_ok();
    world.get().await.is_error(404, "no_state");
}

#[tokio::test]
async fn c04_another_holds_the_lock() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    world.lock("a").await.is_ok();
    for token in [TOKEN, VIEWER] {
        let answer = ask("GET", &format!("/{PATH}")).token(token).send(&world).await;
        assert_eq!(answer.is(200).text(), state(1));
    }
}

/// What a redirect leaves of a LOCK, POST or UNLOCK; to a client a 200 would say that it was done.
#[tokio::test]
async fn a_get_that_was_something_else_is_refused() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    let sum = md5(state(2).as_bytes());
    for query in ["", "?ID=a"] {
        let redirected = ask("GET", &format!("/{PATH}{query}")).header("content-md5", &sum);
        redirected.send(&world).await.is_error(400, "redirected");
    }
    let nobody = ask("GET", &format!("/{PATH}")).header("content-md5", &sum).token("wrong");
    nobody.send(&world).await.is_error(403, "forbidden");
}

#[tokio::test]
async fn c05_no_credential() {
    let world = World::new().await;
    for (method, end) in VERBS {
        for path in [PATH, "nobody/registered/this"] {
            let bare = || ask(method, &format!("/{path}{end}")).body(state(1)).anonymous();
            let strange = ["Digest x=y", "Basic", "Basic ???", "Basic bm9jb2xvbg==", "Bearer", "rw-token"];
            let asked = strange.into_iter().map(|value| bare().header("authorization", value));
            for ask in asked.chain([bare()]) {
                let answer = ask.send(&world).await;
                answer.is_error(401, "no_credential");
                assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"tofustate\", charset=\"UTF-8\""));
            }
        }
    }
    assert_eq!(world.stored().await, None);
}

#[tokio::test]
async fn c06_wrong_credential_or_unregistered_path() {
    let many = NonZeroU32::new(1_000).unwrap();
    let options = HttpOptions { failed_logins: Rate { per_second: many, burst: many }, ..HttpOptions::default() };
    let world = World::with(Setup { options, ..Setup::default() }).await;
    for (method, end) in VERBS {
        let mut answers = Vec::new();
        for (path, token) in [(PATH, "wrong"), ("nobody/registered/this", TOKEN), (PATH, OTHER_TOKEN), (OTHER, VIEWER)]
        {
            let target = format!("/{path}{end}");
            answers.push(ask(method, &target).token(token).body(state(1)).send(&world).await);
            answers.push(ask(method, &target).bearer(token).body(state(1)).send(&world).await);
        }
        answers[0].is_error(403, "forbidden");
        for answer in &answers[1..] {
            assert_eq!(*answer, answers[0], "{method} {end}: the same bytes");
        }
    }
    assert_eq!((world.stored().await, &world.head().await.lock), (None, &None));
}

#[tokio::test]
async fn c06_basic_and_bearer_are_the_same() {
    let world = World::new().await;
    let target = format!("/{PATH}");
    ask("POST", &target).bearer(TOKEN).body(state(1)).send(&world).await.is_ok();
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = ask("GET", &target).header("authorization", &format!("{scheme} {TOKEN}")).send(&world).await;
        assert_eq!(answer.is(200).text(), state(1));
    }
    assert_eq!(ask("GET", &target).token(TOKEN).send(&world).await.is(200).text(), state(1));
}

#[tokio::test]
async fn c06_a_credential_that_may_only_read() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    for (method, end) in VERBS {
        let target = format!("/{PATH}{end}");
        let answer = ask(method, &target).token(VIEWER).body(lock_info("a")).send(&world).await;
        match (*method, *end) {
            ("GET", _) => assert_eq!(answer.is(200).text(), state(1)),
            ("LOCK" | "UNLOCK", _) | (_, "/lock") => {
                let sentence = answer.is_error(403, "read_only");
                assert!(sentence.contains("-lock=false"), "{sentence}");
            }
            _ => assert!(answer.is_error(403, "read_only").contains("ReadWrite")),
        }
    }
    let head = world.head().await;
    assert_eq!((head.lock.as_ref(), head.current), (None, Some(1)));
}

#[tokio::test]
async fn c07_gzip_is_not_forced_upon_anybody() {
    let world = World::new().await;
    let body = large_state(1, 100_000);
    world.post(None, body.clone()).await.is_ok();
    for accepts in ["gzip", "gzip, deflate, br", "identity", "*;q=0"] {
        let answer = ask("GET", &format!("/{PATH}")).header("accept-encoding", accepts).send(&world).await;
        assert_eq!(answer.is(200).header("content-encoding"), None);
        assert_eq!(answer.text(), body);
    }
}

#[tokio::test]
async fn c08_after_a_delete() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    ask("DELETE", &format!("/{PATH}")).send(&world).await.is_ok();
    world.get().await.is_error(404, "no_state");
    world.post(None, state(2)).await.is_ok();
    assert_eq!(world.get().await.text(), state(2));
}

#[tokio::test]
async fn c09_any_replica_reads_what_was_just_written() {
    let world = World::new().await;
    let engine = Engine::new(EngineOptions::default(), Default::default());
    let replica = engine.open(Registration {
        path: world.state.path().clone(),
        kv: world.kv.clone(),
        owner: world.head().await.owner.clone(),
        mark: None,
        settings: Settings::default(),
    });
    for serial in 1..20 {
        // The replica has a head in its cache, from the serial before.
        world.post(None, state(serial)).await.is_ok();
        let read = replica.read(&mut budget()).await.unwrap().unwrap();
        assert_eq!(read.read_to_end(&mut budget()).await.unwrap(), state(serial).as_bytes());
    }
}
