//! Writing: 10 to 23.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tofustate::store::{Settings, head::Anomaly};
use tokio::sync::Semaphore;

use crate::{
    ask::ask,
    kv::{Call, Do},
    world::{PATH, Setup, World, large_state, lock_info, md5, state, until},
};

/// A body that comes in pieces of that size, its length unknown.
fn pieces(body: &str, size: usize) -> Body {
    let pieces: Vec<_> =
        body.as_bytes().chunks(size).map(Bytes::copy_from_slice).map(Ok::<_, std::io::Error>).collect();
    Body::from_stream(stream::iter(pieces))
}

#[tokio::test]
async fn c10_unlocked_and_no_id() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    assert_eq!(world.get().await.text(), state(1));
}

#[tokio::test]
async fn c10_where_a_lock_is_required() {
    let settings = Settings { lock_required: true, ..Settings::default() };
    let world = World::with(Setup { settings, ..Setup::default() }).await;
    let sentence = world.post(None, state(1)).await.is_error(409, "lock_required");
    assert!(sentence.contains("-lock=false"), "{sentence}");
    assert_eq!(world.stored().await, None);
    world.lock("a").await.is_ok();
    world.post(Some("a"), state(1)).await.is_ok();
    assert_eq!(world.get().await.text(), state(1));
}

#[tokio::test]
async fn c11_put_is_post() {
    let world = World::new().await;
    ask("PUT", &format!("/{PATH}")).body(state(1)).send(&world).await.is_ok();
    assert_eq!(world.get().await.text(), state(1));
    world.lock("a").await.is_ok();
    ask("PUT", &format!("/{PATH}?ID=b")).body(state(2)).send(&world).await.is_held(&lock_info("a"));
    ask("PUT", &format!("/{PATH}?ID=a")).body(state(2)).send(&world).await.is_ok();
    assert_eq!(world.get().await.text(), state(2));
}

#[tokio::test]
async fn c12_the_holder_writes() {
    let world = World::new().await;
    world.lock("a").await.is_ok();
    world.post(Some("a"), state(1)).await.is_ok();
    assert_eq!(world.get().await.text(), state(1));
}

#[tokio::test]
async fn c13_wrong_id_or_none_while_locked() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    world.lock("a").await.is_ok();
    let before = world.head().await;
    for id in [None, Some("b"), Some("A")] {
        for body in [state(2), large_state(2, 200_000)] {
            world.post(id, body).await.is_held(&lock_info("a"));
        }
    }
    assert_eq!(*world.head().await, *before, "nothing changed");
    until("parts of refused uploads are deleted", async || world.kv.parts_of(PATH).await == 0).await;
}

#[tokio::test]
async fn c14_an_id_while_nothing_is_locked() {
    let world = World::new().await;
    world.post(Some("never-held"), state(1)).await.is_error(409, "lock_gone");
    world.lock("a").await.is_ok();
    world.post(Some("a"), state(1)).await.is_ok();
    world.unlock("a").await.is_ok();
    world.post(Some("a"), state(2)).await.is_error(409, "lock_gone");
    world.post(Some("a"), large_state(2, 200_000)).await.is_error(409, "lock_gone");
    assert_eq!(world.get().await.text(), state(1));
}

#[tokio::test]
async fn c15_other_query_parameters() {
    let world = World::new().await;
    world.lock("a b+c/ö").await.is_ok();
    let id = "a%20b%2Bc%2F%C3%B6";
    for (serial, query) in
        [format!("x=1&ID={id}&y"), format!("ID={id}&&=&z=%zz"), format!("id=no&ID={id}&ID={id}")].iter().enumerate()
    {
        let body = state(serial as u64);
        ask("POST", &format!("/{PATH}?{query}")).body(body.clone()).send(&world).await.is_ok();
        assert_eq!(world.get().await.text(), body);
    }
    for query in ["ID=", "ID", "ID=a&ID=b", &format!("ID={}", "x".repeat(257))] {
        ask("POST", &format!("/{PATH}?{query}")).body(state(9)).send(&world).await.is_error(400, "bad_lock_id");
    }
    // Neither reads nor locks look at the query.
    assert_eq!(ask("GET", &format!("/{PATH}?ID=zzz&a=b")).send(&world).await.is(200).text(), state(2));
}

#[tokio::test]
async fn c16_content_md5() {
    let world = World::new().await;
    let post = |sum: &str, body: String| ask("POST", &format!("/{PATH}")).header("content-md5", sum).body(body);
    let (small, large) = (state(1), large_state(1, 200_000));
    for body in [&small, &large] {
        for bad in
            [md5(b"another"), "!!!".into(), String::new(), "YQ==".into(), "d41d8cd98f00b204e9800998ecf8427e".into()]
        {
            post(&bad, body.clone()).send(&world).await.is_error(400, "bad_body");
            assert_eq!(world.stored().await, None, "{bad}");
        }
    }
    until("parts of refused uploads are deleted", async || world.kv.parts_of(PATH).await == 0).await;
    post(&md5(small.as_bytes()), small.clone()).send(&world).await.is_ok();
    post(&md5(large.as_bytes()), large.clone()).send(&world).await.is_ok();
    assert_eq!(world.get().await.text(), large);
    // Bytes that are no text.
    let mut odd = post("x", state(3));
    let value = axum::http::HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    odd.request.headers_mut().insert("content-md5", value);
    odd.send(&world).await.is_error(400, "bad_header");
}

#[tokio::test]
async fn c17_what_is_no_state() {
    let world = World::new().await;
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"version":4,"serial":1,"lineage":"l","x":{open}{close}}}"#)
    };
    let whole = state(1);
    let bad = [
        "",
        " \n",
        "hello",
        "[]",
        "null",
        "4",
        "\"{}\"",
        "{}",
        r#"{"version":4}"#,
        r#"{"serial":null}"#,
        r#"{"serial":"1"}"#,
        r#"{"serial":-1}"#,
        r#"{"serial":1.5}"#,
        r#"{"serial":18446744073709551616}"#,
        r#"{"serial":[1]}"#,
        r#"{"a":{"serial":1}}"#,
        r#"{"serial":1,}"#,
        r#"{'serial':1}"#,
        "{\"serial\":1,\"a\":\"\u{1}\"}",
        r#"{"serial":1} {"serial":2}"#,
        r#"{"serial":1}]"#,
        &whole[..whole.len() - 3],
        &deep(10_001),
    ];
    for body in bad {
        for body in [Body::from(body.to_owned()), pieces(body, 3)] {
            world.post(None, body).await.is_error(400, "bad_body");
        }
        assert_eq!(world.stored().await, None);
    }
    world.post(None, &b"{\"serial\":1,\"a\":\"\xff\"}"[..]).await.is_error(400, "bad_body");
    // The same after parts of it were stored.
    let cut = large_state(1, 200_000);
    world.post(None, cut[..cut.len() - 2].to_owned()).await.is_error(400, "bad_body");
    world.post(None, format!("{cut}x")).await.is_error(400, "bad_body");
    until("parts of refused uploads are deleted", async || world.kv.parts_of(PATH).await == 0).await;
    assert_eq!(world.head().await.next, 1, "nothing was stored at any time");
    for good in [deep(10_000), r#"{"serial":18446744073709551615}"#.to_owned(), r#"{"serial":0}"#.to_owned()] {
        world.post(None, good.clone()).await.is_ok();
        assert_eq!(world.get().await.text(), good);
    }
}

#[tokio::test]
async fn c18_the_same_write_again() {
    let world = World::new().await;
    world.lock("a").await.is_ok();
    for (first, second) in [(state(1), state(2)), (large_state(3, 200_000), large_state(4, 200_000))] {
        world.post(Some("a"), first.clone()).await.is_ok();
        let next = world.head().await.next;
        world.post(Some("a"), first.clone()).await.is_ok();
        assert_eq!(world.head().await.next, next, "no new version");
        world.post(Some("a"), second.clone()).await.is_ok();
        // A late repeat of the earlier one.
        world.post(Some("a"), first).await.is_ok();
        assert_eq!(world.get().await.text(), second);
        assert_eq!(world.head().await.next, next + 1);
    }
    let (last, next) = (large_state(4, 200_000), world.head().await.next);
    world.unlock("a").await.is_ok();
    world.post(Some("a"), last.clone()).await.is_ok();
    world.lock("b").await.is_ok();
    // The lock is gone, and another holds: still only a repeat.
    world.post(Some("a"), last.clone()).await.is_ok();
    world.post(Some("a"), state(2)).await.is_ok();
    assert_eq!(world.get().await.text(), last);
    assert_eq!(world.head().await.next, next);
}

#[tokio::test]
async fn c18_the_same_write_again_without_a_lock() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    world.post(None, state(1)).await.is_ok();
    assert_eq!(world.head().await.next, 2);
    world.post(None, state(2)).await.is_ok();
    world.post(None, state(1)).await.is_ok();
    assert_eq!((world.get().await.text(), world.head().await.next), (state(1), 4), "older bytes are a new write");
}

#[tokio::test]
async fn c19_strange_writes_are_taken_and_recorded() {
    let world = World::new().await;
    let with = |serial: u64, lineage: &str, x: u64| {
        format!(r#"{{"version":4,"serial":{serial},"lineage":"{lineage}","x":{x}}}"#)
    };
    for (body, anomalies) in [
        (with(5, "l", 0), vec![]),
        (with(6, "l", 0), vec![]),
        (with(4, "l", 0), vec![Anomaly::SerialLower]),
        (with(9, "l", 0), vec![Anomaly::SerialGap]),
        (with(9, "l", 1), vec![Anomaly::SerialEqual]),
        (with(10, "m", 1), vec![Anomaly::LineageChanged]),
        (with(1, "n", 1), vec![Anomaly::SerialLower, Anomaly::LineageChanged]),
    ] {
        world.post(None, body.clone()).await.is_ok();
        assert_eq!(world.get().await.text(), body);
        assert_eq!(world.head().await.current().unwrap().anomalies, anomalies, "{body}");
    }
}

#[tokio::test]
async fn c20_returned_verbatim() {
    let world = World::new().await;
    for body in [
        r#"{"serial":3,"lineage":"l","meta":{"key_provider.pbkdf2.k":"e30="},"encrypted_data":"c2VjcmV0","encryption_version":"v0"}"#,
        "{\"serial\":4}\n\n \t\r\n",
        " \n{ \"serial\" :  5 }",
        "{\"serial\":6,\"x\":\"\\u00e9 \u{1f600} \\/ \\\\\",\"y\":1e400,\"z\":-0.0,\"x\":2}",
        "{\r\n\t\"serial\": 7,\r\n\t\"resources\": [ ]\r\n}",
    ] {
        for body in [Body::from(body), pieces(body, 1)] {
            world.post(None, body).await.is_ok();
        }
        let answer = world.get().await;
        assert_eq!(answer.text(), body);
        assert_eq!(answer.header("content-md5"), Some(md5(body.as_bytes()).as_str()));
        assert_eq!(world.head().await.current().unwrap().encrypted, body.contains("encrypted_data"));
    }
    let twice = format!("{}{}", state(8), state(8));
    world.post(None, twice).await.is_error(400, "bad_body");
}

#[tokio::test]
async fn c21_over_the_limit() {
    let settings = Settings { max_size: 100_000, ..Settings::default() };
    let world = World::with(Setup { settings, ..Setup::default() }).await;
    let at = |size: usize| {
        let short = large_state(2, 1_000).len();
        large_state(2, 1_000 + size - short)
    };
    assert_eq!(at(100_000).len(), 100_000);
    world.post(None, state(1)).await.is_ok();
    let announced = |length: usize, body: Body| {
        ask("POST", &format!("/{PATH}")).header("content-length", &length.to_string()).body(body).send(&world)
    };
    // At once: none of the body has to come.
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let sentence = announced(100_001, never).await.is_error(413, "too_large");
    assert!(sentence.contains("100000") && sentence.contains("maxSize"), "{sentence}");
    announced(usize::MAX, Body::empty()).await.is_error(413, "too_large");
    // As soon as it is over, where no length was given.
    world.post(None, pieces(&at(100_001), 999)).await.is_error(413, "too_large");
    // Fewer or more bytes than announced.
    announced(5_000, at(6_000).into()).await.is_error(400, "bad_body");
    announced(7_000, at(6_000).into()).await.is_error(400, "bad_body");
    assert_eq!(world.get().await.text(), state(1), "the old state is there");
    until("parts of refused uploads are deleted", async || world.kv.parts_of(PATH).await == 0).await;
    world.post(None, pieces(&at(100_000), 999)).await.is_ok();
    announced(100_000, large_state(3, 1_000 + 100_000 - large_state(3, 1_000).len()).into()).await.is_ok();
}

#[tokio::test]
async fn c22_several_writes_under_one_lock() {
    let world = World::new().await;
    world.lock("a").await.is_ok();
    for serial in 1..60 {
        world.post(Some("a"), state(serial)).await.is_ok();
    }
    assert_eq!(world.get().await.text(), state(59));
    world.unlock("a").await.is_ok();
}

#[tokio::test]
async fn c23_answered_only_once_it_is_stored() {
    let world = Arc::new(World::new().await);
    for body in [state(1), large_state(2, 200_000)] {
        let before = world.stored().await;
        let gate = Arc::new(Semaphore::new(0));
        world.kv.plan({
            let gate = gate.clone();
            move |call, key| (call == Call::Put && key == PATH).then(|| Do::Hold(gate.clone()))
        });
        let puts = world.kv.count(Call::Put);
        let (asked, sent) = (world.clone(), body.clone());
        let writing = tokio::spawn(async move { asked.post(None, sent).await });
        until("the head is about to be written", async || {
            let parts = if body.len() > 100_000 { 8 } else { 0 };
            world.kv.count(Call::Put) > puts + parts && world.stored().await == before
        })
        .await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(!writing.is_finished());
        assert_eq!(world.stored().await, before, "the old state, whole");
        gate.add_permits(1);
        writing.await.unwrap().is_ok();
        assert_eq!(world.stored().await.unwrap(), body.as_bytes());
        world.kv.heal();
    }
}

#[tokio::test]
async fn c23_a_client_that_goes_away_leaves_nothing() {
    let world = Arc::new(World::new().await);
    world.post(None, state(1)).await.is_ok();
    let body = large_state(2, 300_000);
    let half = Bytes::copy_from_slice(&body.as_bytes()[..200_000]);
    use futures_util::StreamExt as _;
    let endless = stream::iter([Ok::<_, std::io::Error>(half)]).chain(stream::pending());
    let asked = world.clone();
    let writing = tokio::spawn(async move { asked.post(None, Body::from_stream(endless)).await });
    until("parts are stored", async || world.kv.parts_of(PATH).await > 3).await;
    writing.abort();
    until("they are deleted", async || world.kv.parts_of(PATH).await == 0).await;
    assert_eq!(world.stored().await.unwrap(), state(1).as_bytes());
    // The place of a large upload is free again.
    world.post(None, body.clone()).await.is_ok();
    // A body that breaks.
    let broken = [Ok(Bytes::from(large_state(3, 200_000))), Err(std::io::Error::other("cut"))];
    world.post(None, Body::from_stream(stream::iter(broken))).await.is_error(400, "cut_short");
    assert_eq!(world.stored().await.unwrap(), body.as_bytes());
}
