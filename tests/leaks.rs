//! Nothing of a state, and no credential, in an error, a `Debug` or a log, whatever goes wrong. A binary of its own: whether
//! a line is logged at all is decided once for a process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "engine/world.rs"]
#[allow(dead_code, reason = "the engine's tests use the rest")]
mod world;

#[path = "common/log.rs"]
mod log;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tofustate::store::{LockCall, StateError, Value, WriteCall};

use log::Log;
use world::{Asked, PATH, World, budget, info, noisy, small};

const MARKER: &str = "h4rdly-a-s3cret";
const CREDENTIAL: &str = "5alted-ha5h";

fn hidden(said: &str, what: &str) {
    for secret in [MARKER, CREDENTIAL, &BASE64.encode(MARKER)[..18]] {
        assert!(!said.contains(secret), "{what} shows {secret}: {said}");
    }
}

fn secret_state(serial: u64, filler: usize) -> Vec<u8> {
    let noise = String::from_utf8(noisy(serial, filler)).unwrap();
    let noise = noise.trim_end_matches("\"}");
    format!(r#"{noise}","outputs":{{"{MARKER}":{{"value":"{MARKER}"}}}}}}"#).into_bytes()
}

#[tokio::test]
async fn no_error_no_debug_and_no_log_line_shows_what_is_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let world = World::in_memory();
    let state = world.state().await;
    let mut said = Vec::new();
    let mut note = |error: StateError| said.push(format!("{error}\n{error:?}"));

    let text = info("a");
    let call = || LockCall {
        info: text.as_bytes(),
        identity: "tester",
        credential: Some(CREDENTIAL.to_owned().into()),
        traceparent: None,
    };
    hidden(&format!("{:?}", call()), "LockCall");
    state.lock(call(), &mut budget()).await.unwrap();
    for filler in [0, 20_000, 900_000] {
        state.post(Some("a"), &secret_state(1, filler)).await.unwrap();
    }
    note(state.take_lock("b").await.unwrap_err());
    note(state.post(Some("b"), &secret_state(2, 10)).await.unwrap_err());
    note(state.post(None, &secret_state(2, 900_000)).await.unwrap_err());

    // Bodies with a fault at every place where the marker is about to stand or has just stood.
    let good = secret_state(3, 0);
    for cut in 0..good.len() {
        let mut broken = good[..cut].to_vec();
        note(state.post(Some("a"), &broken).await.unwrap_err());
        broken.extend_from_slice(b"\x01");
        note(state.post(Some("a"), &broken).await.unwrap_err());
        broken.pop();
        broken.extend_from_slice(MARKER.as_bytes());
        note(state.post(Some("a"), &broken).await.unwrap_err());
    }
    let serial = format!(r#"{{"serial":"{MARKER}"}}"#);
    note(state.post(Some("a"), serial.as_bytes()).await.unwrap_err());
    for bad in [format!("{{\"ID\":7,\"{MARKER}\":1}}"), MARKER.to_owned(), format!("\"{MARKER}")] {
        let lock = LockCall { info: bad.as_bytes(), identity: "tester", ..LockCall::default() };
        note(state.lock(lock, &mut budget()).await.unwrap_err());
        note(state.unlock(bad.as_bytes(), "tester", &mut budget()).await.unwrap_err());
    }
    let call = WriteCall { content_md5: Some(MARKER), lock: Some("a"), ..WriteCall::default() };
    note(state.upload(call).err().unwrap());
    let upload = WriteCall { lock: Some("a"), length: Some(3), ..WriteCall::default() };
    note(state.write(upload, &good, &mut budget()).await.unwrap_err());

    // What is damaged.
    for key in world.parts().await {
        let Some(entry) = world.raw(&key).await else { continue };
        hidden(&format!("{entry:?}"), "an entry with a part");
        let Value::Part(mut part) = entry.value else { continue };
        part.bytes = secret_state(1, 0).into();
        world.overwrite(&key, Value::Part(part)).await;
    }
    note(state.pull().await.unwrap_err());
    note(state.pull_version(3).await.unwrap_err());
    hidden(&format!("{:?} {:?}", world.raw_head().await, world.head().await), "the head's entry");
    let head = world.head_text().await;
    let epoch = world.head().await.epoch;
    let state_there = String::from_utf8(secret_state(1, 0)).unwrap();
    let heads = [
        head.replacen("\"epoch\"", &format!("\"{MARKER}\":\"{MARKER}\",\"epoch\""), 1),
        head.replacen("\"format\":2", &format!("\"format\":\"{MARKER}\""), 1),
        head.replacen("\"since\":\"", &format!("\"since\":\"{MARKER}"), 1),
        state_there,
        MARKER.to_owned(),
    ];
    for bad in heads {
        world.overwrite_head(&bad).await;
        for (_, error) in state.every_verb_fails(epoch, true).await {
            note(error);
        }
    }
    world.overwrite(PATH, Value::Document(head.into())).await;
    state.let_go("a").await.unwrap();
    state.post(None, &small(9)).await.unwrap();

    assert!(said.len() > 300, "{}", said.len());
    said.iter().for_each(|said| hidden(said, "an error"));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("state written") && log.contains("cannot be read") && log.contains("unlocked"), "{log:.3000}");
    hidden(&log, "the log");
}
