//! Bodies that are refused: the right error, nothing stored, and the store goes on.

use tofustate::store::{BodyError, Settings, StateError, WriteCall};

use crate::world::{Asked, World, budget, noisy, owner, small};

fn serial(value: &str) -> Vec<u8> {
    format!(r#"{{"version":4,"serial":{value},"lineage":"l"}}"#).into()
}

/// A good state with that changed.
fn end(mut body: Vec<u8>, after: &[u8]) -> Vec<u8> {
    body.extend_from_slice(after);
    body
}

fn cases() -> Vec<(&'static str, Vec<u8>, BodyError)> {
    use BodyError::{BadSerial, Empty, InvalidUtf8, NoSerial, NotJson, NotObject, TooDeep, TrailingData, Truncated};
    let large = noisy(9, 2 << 20);
    let cut = large.len() - 5;
    let deep = |depth: usize| format!(r#"{{"serial":9,"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth)).into_bytes();
    let keys: String = (0..1_000_000).map(|n| format!("\"k{n}\":0,")).collect();
    let not_json = |offset, found| NotJson { offset, found };
    let utf8 = small(9).len() as u64 + 1;
    vec![
        ("empty", Vec::new(), Empty),
        ("white space", b" \r\n\t".to_vec(), Empty),
        ("cut", small(9)[..20].to_vec(), Truncated),
        ("a large one that is cut", large[..cut].to_vec(), Truncated),
        ("no JSON", b"state".to_vec(), not_json(0, "a letter")),
        ("HTML", b"<html>".to_vec(), not_json(0, "a mark")),
        ("NUL", vec![0; 100], not_json(0, "a control character")),
        ("an array", b"[1]".to_vec(), NotObject),
        ("null", b"null".to_vec(), NotObject),
        ("a text", b"\"state\"".to_vec(), NotObject),
        ("no serial", br#"{"version":4,"lineage":"l"}"#.to_vec(), NoSerial),
        ("a serial deeper down", br#"{"a":{"serial":1}}"#.to_vec(), NoSerial),
        ("a negative serial", serial("-1"), BadSerial),
        ("a serial with a fraction", serial("1.0"), BadSerial),
        ("a serial with an exponent", serial("1e3"), BadSerial),
        ("a serial of 65 bits", serial("18446744073709551616"), BadSerial),
        ("a text for a serial", serial("\"1\""), BadSerial),
        ("null for a serial", serial("null"), BadSerial),
        ("a second value", end(small(9), b" {}"), TrailingData { offset: small(9).len() as u64 + 1 }),
        ("a second large value", end(large.clone(), &large), TrailingData { offset: large.len() as u64 }),
        ("too deep", deep(10_000), TooDeep),
        ("a hundred thousand deep", deep(100_000), TooDeep),
        ("never closed", b"[".repeat(1 << 20), NotObject),
        ("objects never closed", br#"{"a":"#.repeat(200_000), TooDeep),
        ("a million keys and no serial", format!("{{{keys}\"last\":0}}").into(), NoSerial),
        ("no UTF-8", end(small(9), b" \xff"), InvalidUtf8 { offset: utf8 }),
    ]
}

/// Refused through every way in: whole, in small pieces, in large ones.
async fn refused(world: &World, name: &str, body: &[u8], expected: &BodyError) {
    let state = world.state().await;
    let before = (world.raw_head().await, world.parts().await);
    for chunk in [body.len().max(1), 7, 65_537] {
        // Byte by byte is slow for a large one and shows no more.
        if chunk == 7 && body.len() > 200_000 {
            continue;
        }
        let error = state.post_in(WriteCall::default(), body, chunk).await.expect_err(name);
        match (&error, expected) {
            (StateError::Body(BodyError::NotJson { offset, .. }), BodyError::NotJson { offset: at, .. }) => {
                assert_eq!(offset, at, "{name}");
            }
            (StateError::Body(found), _) => assert_eq!(found, expected, "{name}"),
            _ => panic!("{name}: {error:?}"),
        }
        assert_eq!(error.kind(), "bad_body");
        let parts = before.1.clone();
        world.until_parts(name, move |now| now == parts).await;
        assert_eq!(world.raw_head().await, before.0, "{name}: the head changed");
    }
}

#[tokio::test]
async fn what_is_no_state_is_refused_and_stores_nothing() {
    for world in [World::in_memory(), World::on_disk()] {
        let state = world.state().await;
        let old = noisy(1, 900_000);
        state.post(None, &old).await.unwrap();
        for (name, body, expected) in cases() {
            refused(&world, name, &body, &expected).await;
        }
        assert_eq!(state.pull().await.unwrap().as_ref(), Some(&old));
        assert_eq!(state.post(None, &small(2)).await.unwrap().version, Some(2));
        assert_eq!(state.pull().await.unwrap(), Some(small(2)));
    }
}

#[tokio::test]
async fn what_is_strange_and_a_state_is_taken() {
    let state = World::in_memory().state().await;
    let keys: String = (0..1_000_000).map(|n| format!("\"k{n}\":0,")).collect();
    let nested = |depth: usize| format!(r#"{{"a":{}{},"serial":1}}"#, "[".repeat(depth), "]".repeat(depth));
    for body in [format!("{{{keys}\"serial\":1}}"), nested(9_999), serial_text("18446744073709551615")] {
        state.post(None, body.as_bytes()).await.unwrap();
        assert!(state.pull().await.unwrap().is_some_and(|read| read == body.as_bytes()), "{:.40}", body);
    }
}

fn serial_text(value: &str) -> String {
    String::from_utf8(serial(value)).unwrap()
}

#[tokio::test]
async fn a_body_that_is_not_what_was_announced_is_refused() {
    let world = World::in_memory();
    let state = world.state().await;
    state.post(None, &small(1)).await.unwrap();
    let before = world.raw_head().await;
    for body in [small(2), noisy(2, 2 << 20)] {
        let md5 = |md5| WriteCall { content_md5: Some(md5), ..WriteCall::default() };
        for bad in ["", "x", "1B2M2Y8AsgTpgAmY7PhCfg", "1B2M2Y8AsgTpgAmY7PhCfg===", "AAAA", "é"] {
            let error = state.post_in(md5(bad), &body, 100_000).await.unwrap_err();
            assert!(matches!(error, StateError::BadMd5), "{bad:?}: {error:?}");
        }
        let error = state.post_in(md5("1B2M2Y8AsgTpgAmY7PhCfg=="), &body, 100_000).await.unwrap_err();
        assert!(matches!(error, StateError::Md5Mismatch), "{error:?}");
        let length = body.len() as u64;
        for announced in [length - 1, length + 1, 0] {
            let call = WriteCall { length: Some(announced), ..WriteCall::default() };
            let error = state.post_in(call, &body, 100_000).await.unwrap_err();
            let StateError::CutShort { found, announced: told } = error else { panic!("{error:?}") };
            assert_eq!((found, told), (length, announced));
        }
        world.until_parts("of refused uploads", <[String]>::is_empty).await;
        assert_eq!(world.raw_head().await, before);
    }
    // What is right is taken, with white space around the header's value too.
    let call = WriteCall { content_md5: Some(" mZFLIyvTelC5g8XnyQrpOw== "), length: Some(12), ..WriteCall::default() };
    let md5_of = br#"{"serial":2}"#;
    let right = base64_md5(md5_of);
    let call = WriteCall { content_md5: Some(&right), ..call };
    state.post_in(call, md5_of, 5).await.unwrap();
    assert_eq!(state.pull().await.unwrap().as_deref(), Some(&md5_of[..]));
}

fn base64_md5(body: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use md5::{Digest as _, Md5};
    format!(" {} ", STANDARD.encode(Md5::digest(body)))
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_at_once_or_when_it_gets_there() {
    let world = World::in_memory();
    let body = noisy(2, 1_500_000);
    let limit = body.len() as u64 - 1;
    let state = world.open(owner(1), None, Settings { max_size: limit, ..Settings::default() });
    state.register(&mut budget()).await.unwrap();
    state.post(None, &small(1)).await.unwrap();
    let before = world.raw_head().await;

    let call = WriteCall { length: Some(limit + 1), ..WriteCall::default() };
    let error = state.upload(call).err().expect("its length alone is over the limit");
    assert!(matches!(error, StateError::TooLarge { limit: told } if told == limit), "{error:?}");
    assert!(error.to_string().contains("spec.maxSize"), "{error}");

    let mut upload = state.upload(WriteCall::default()).unwrap();
    upload.push(&body[..body.len() - 1], &mut budget()).await.unwrap();
    assert!(!world.parts().await.is_empty(), "parts of it are stored by now");
    let error = upload.push(&body[body.len() - 1..], &mut budget()).await.unwrap_err();
    assert!(matches!(error, StateError::TooLarge { .. }), "{error:?}");
    drop(upload);
    world.until_parts("of the upload that was too large", <[String]>::is_empty).await;
    assert_eq!(world.raw_head().await, before);

    state.set_settings(Settings { max_size: limit + 1, ..Settings::default() });
    state.post_in(WriteCall::default(), &body, 99_999).await.unwrap();
    assert_eq!(state.pull().await.unwrap(), Some(body));
}

#[tokio::test]
async fn lock_bodies_that_are_none_are_refused() {
    let world = World::in_memory();
    let state = world.state().await;
    let before = world.raw_head().await;
    let long = format!("{{\"ID\":\"{}\"}}", "x".repeat(300));
    let huge = format!("{{\"ID\":\"a\",\"Info\":\"{}\"}}", "x".repeat(16 << 10));
    let deep = format!("{{\"ID\":\"a\",\"Info\":{}}}", "[".repeat(10_000));
    let bodies = ["{}", "[]", "null", "x", "{\"ID\":", "{\"ID\":7}", "{\"ID\":\"\"}", &long, &huge, &deep, " "];
    for body in bodies.iter().map(|body| body.as_bytes()).chain([&b"{\"ID\":\"\xff\"}"[..]]) {
        let call = tofustate::store::LockCall { info: body, identity: "tester", ..Default::default() };
        let locked = state.lock(call, &mut budget()).await.unwrap_err();
        let unlocked = state.unlock(body, "tester", &mut budget()).await.unwrap_err();
        for error in [locked, unlocked] {
            assert!(matches!(error, StateError::LockInfo(_)), "{:.40}: {error:?}", String::from_utf8_lossy(body));
        }
    }
    let call = tofustate::store::LockCall::default();
    assert!(matches!(state.lock(call, &mut budget()).await, Err(StateError::LockInfo(_))), "no body at all");
    assert_eq!(world.raw_head().await, before);
    state.take_lock("a").await.unwrap();
}

#[tokio::test]
async fn the_largest_lock_body_comes_back_byte_for_byte() {
    let world = World::in_memory();
    let state = world.state().await;
    // As much as there may be of what takes most room in the head.
    let mut body = r#"{ "ID" : "a", "Info" : ""#.to_owned();
    while body.len() < (16 << 10) - 3 {
        body.push_str("\\\"");
    }
    body.truncate((16 << 10) - 4);
    body.push_str("\\\"\"}");
    assert!(body.len() <= 16 << 10);
    let call = tofustate::store::LockCall { info: body.as_bytes(), identity: "tester", ..Default::default() };
    state.lock(call, &mut budget()).await.unwrap();
    let error = state.take_lock("b").await.unwrap_err();
    assert_eq!(error.holder().unwrap().info, body);
    assert_eq!(world.head().await.lock.unwrap().info, body);
    state.post(Some("a"), &noisy(1, 15_000)).await.unwrap();
    state.let_go("a").await.unwrap();
}
