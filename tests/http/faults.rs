//! 1 and 40: a store that is away, refuses, lies or lost something is 503, and never "no state yet".

use std::{sync::Arc, time::Duration};

use tofustate::{
    http::HttpOptions,
    store::{Entry, Expect, Kv as _, KvError, Part, Revision, Value, keys},
};

use crate::{
    ask::{Answer, ask},
    kv::{Call, Do},
    world::{PATH, Setup, World, large_state, lock_info, memory, state},
};

const ALL: &[&str] = &["GET", "POST", "PUT", "DELETE", "LOCK", "UNLOCK"];

fn short() -> Setup {
    let options = HttpOptions { budget: Duration::from_millis(300), ..HttpOptions::default() };
    Setup { options, ..Setup::default() }
}

async fn each_verb(world: &World) -> Vec<Answer> {
    let mut answers = Vec::new();
    for method in ALL {
        let body = if method.ends_with("LOCK") { lock_info("a") } else { state(7) };
        answers.push(ask(method, &format!("/{PATH}")).body(body).send(world).await);
    }
    answers
}

fn away(seconds: Option<u64>) -> KvError {
    KvError::Unavailable { retry_after: seconds.map(Duration::from_secs), message: "sealed".into() }
}

fn foreign() -> Option<Entry> {
    Some(Entry { value: Value::Foreign("an entry with the fields a, b".into()), revision: Revision(1) })
}

#[tokio::test]
async fn c40_each_way_of_a_store_to_fail() {
    for (error, code) in [
        (away(None), "unavailable"),
        (away(Some(1)), "unavailable"),
        (away(Some(3_600)), "unavailable"),
        (KvError::Denied("no".into()), "store"),
        (KvError::Gone("no mount".into()), "store"),
        (KvError::Other("odd".into()), "unavailable"),
    ] {
        let world = World::with(short()).await;
        world.post(None, state(1)).await.is_ok();
        world.kv.plan({
            let error = error.clone();
            move |_, _| Some(Do::Fail(error.clone()))
        });
        for answer in each_verb(&world).await {
            answer.is_error(503, code);
        }
        world.kv.heal();
        assert_eq!(world.get().await.text(), state(1));
    }
}

#[tokio::test]
async fn c40_writes_fail_and_reads_go_on() {
    let world = World::with(short()).await;
    world.post(None, state(1)).await.is_ok();
    world.kv.every(Call::Put, Do::Fail(away(None)));
    for body in [state(2), large_state(2, 200_000)] {
        world.post(None, body).await.is_error(503, "unavailable");
    }
    world.lock("a").await.is_error(503, "unavailable");
    assert_eq!(world.get().await.text(), state(1));
    world.kv.every(Call::Put, Do::Fail(KvError::TooLarge("1 MiB".into())));
    world.post(None, state(2)).await.is_error(413, "too_large");
    world.kv.heal();
    world.lock("a").await.is_ok();
    assert_eq!(world.get().await.text(), state(1));
}

#[tokio::test]
async fn c40_a_store_that_does_not_answer() {
    let world = World::with(short()).await;
    world.post(None, state(1)).await.is_ok();
    world.kv.plan(|_, _| Some(Do::Wait(Duration::from_secs(3_600))));
    let answers = tokio::time::timeout(Duration::from_secs(60), each_verb(&world)).await;
    for answer in answers.expect("it waits no hour") {
        answer.is_error(503, "unavailable");
    }
}

#[tokio::test]
async fn c40_a_short_outage_is_not_seen() {
    let world = World::new().await;
    let mut left = 4;
    world.kv.plan(move |_, _| {
        left -= 1;
        (left >= 0).then(|| Do::Fail(away(None)))
    });
    world.post(None, state(1)).await.is_ok();
    assert_eq!(world.get().await.text(), state(1));
}

#[tokio::test]
async fn c18_c27_c35_an_answer_of_the_store_that_was_lost() {
    let world = World::new().await;
    let lose_next = || {
        let mut once = true;
        world.kv.plan(move |call, key| {
            let lose = once && call == Call::Put && key == PATH;
            once &= !lose;
            lose.then(|| Do::Lose(away(None)))
        });
    };
    lose_next();
    world.lock("a").await.is_ok();
    lose_next();
    world.post(Some("a"), state(1)).await.is_ok();
    lose_next();
    world.post(Some("a"), large_state(2, 100_000)).await.is_ok();
    assert_eq!(world.head().await.versions.len(), 2, "each was done once");
    lose_next();
    world.unlock("a").await.is_ok();
    lose_next();
    ask("DELETE", &format!("/{PATH}")).send(&world).await.is_ok();
    world.get().await.is_error(404, "no_state");
}

#[tokio::test]
async fn c01_a_lost_head_is_not_an_empty_state() {
    let world = World::with(short()).await;
    world.post(None, state(1)).await.is_ok();
    world.kv.every(Call::Get, Do::Find(None));
    for answer in each_verb(&world).await {
        let sentence = answer.is_error(503, "head_lost");
        assert!(sentence.contains("accept-empty"), "{sentence}");
    }
}

#[tokio::test]
async fn c01_a_head_that_was_lost_before_this_process_began() {
    let world = World::new().await;
    let mark = world.state.mark();
    let fresh = World::with(Setup { kv: Some(memory()), mark, register: false, ..short() }).await;
    for answer in each_verb(&fresh).await {
        answer.is_error(503, "head_lost");
    }
    // Nor was anything ever there.
    let fresh = World::with(Setup { kv: Some(memory()), register: false, ..short() }).await;
    for answer in each_verb(&fresh).await {
        answer.is_error(503, "head_lost");
    }
}

#[tokio::test]
async fn c01_a_head_that_is_behind() {
    let world = World::with(short()).await;
    let old = world.kv.entry(PATH).await;
    world.post(None, state(1)).await.is_ok();
    world.kv.every(Call::Get, Do::Find(old));
    let answers = each_verb(&world).await;
    // The first to see it is GET; after that nothing is built on what was seen before.
    for answer in answers {
        let sentence = answer.is_error(503, "head_behind");
        assert!(sentence.contains("accept-restore"), "{sentence}");
    }
}

#[tokio::test]
async fn c01_an_entry_that_is_no_head_of_ours() {
    let unknown = r#"{"format":99,"epoch":"x"}"#;
    let document = |text: &str| Some(Entry { value: Value::Document(text.into()), revision: Revision(1) });
    for found in [document(unknown), document("{}"), document("no JSON"), document(""), foreign()] {
        let world = World::with(short()).await;
        world.post(None, state(1)).await.is_ok();
        world.kv.every(Call::Get, Do::Find(found.clone()));
        for answer in each_verb(&world).await {
            answer.is_error(503, "damaged");
        }
        world.kv.heal();
        assert_eq!(world.get().await.text(), state(1), "nothing was written over it");
    }
}

#[tokio::test]
async fn c01_a_head_of_another_owner() {
    let world = World::with(short()).await;
    world.post(None, state(1)).await.is_ok();
    let entry = world.kv.entry(PATH).await.unwrap();
    let Value::Document(text) = &entry.value else { panic!("a head is a document") };
    let others = text.replacen(r#""name":"app""#, r#""name":"ppa""#, 1);
    assert_ne!(others.as_str(), &**text);
    world.kv.put(PATH, &Value::Document(others.into()), Expect::At(entry.revision)).await.unwrap();
    for answer in each_verb(&world).await {
        answer.is_error(503, "foreign_owner");
    }
}

#[tokio::test]
async fn c01_a_version_whose_first_part_is_gone_or_damaged() {
    let world = World::with(short()).await;
    world.post(None, large_state(1, 200_000)).await.is_ok();
    let damage = |entry: Entry| {
        let Value::Part(Part { label, bytes }) = entry.value else { panic!("a part") };
        let mut bytes = bytes.to_vec();
        bytes[7] ^= 1;
        Entry { value: Value::Part(Part { label, bytes: bytes.into() }), ..entry }
    };
    let object = world.head().await.current().unwrap().body.object().unwrap().name.clone();
    let first = Arc::new(keys::part(world.state.path(), &object, 0));
    let damaged = damage(world.kv.entry(&first).await.unwrap());
    for found in [None, foreign(), Some(damaged)] {
        world.kv.plan({
            let first = first.clone();
            move |call, key| (call == Call::Get && key == *first).then(|| Do::Find(found.clone()))
        });
        world.get().await.is_error(503, "damaged");
        // A new state can be written all the same.
        world.lock("a").await;
    }
}
