//! Locks: 24 to 37.

use std::sync::Arc;

use jiff::SignedDuration;
use tofustate::store::{EmbeddedKv, Settings};

use crate::{
    ask::{Answer, Ask, ask},
    kv::FaultKv,
    world::{PATH, Setup, World, lock_info, state},
};

fn on_lock(method: &str) -> Ask {
    ask(method, &format!("/{PATH}"))
}

async fn blind_unlock(world: &World) -> Answer {
    on_lock("UNLOCK").send(world).await
}

async fn holder(world: &World) -> Option<String> {
    world.head().await.lock.as_ref().map(|lock| lock.id.clone())
}

#[tokio::test]
async fn c24_a_free_lock() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    world.lock("a").await.is_ok();
    let head = world.head().await;
    let lock = head.lock.as_ref().unwrap();
    assert_eq!((lock.id.as_str(), lock.identity.as_str(), lock.info.as_str()), ("a", "token", &*lock_info("a")));
}

#[tokio::test]
async fn c25_a_state_that_was_never_written() {
    let world = World::new().await;
    world.lock("a").await.is_ok();
    assert_eq!(holder(&world).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn c26_held_by_another() {
    let world = World::new().await;
    // Not as serde would write it: the holder's own bytes come back.
    let own =
        "{ \"ID\":\"a\",\n\t\"Who\" : \"\\u00e9va@dësk\", \"Created\":\"2026-01-02T03:04:05Z\", \"More\": [1, 2.0] }\n";
    on_lock("LOCK").body(own).send(&world).await.is_ok();
    world.lock("b").await.is_held(own);
    world.post(Some("b"), state(1)).await.is_held(own);
    world.unlock("b").await.is_held(own);
    on_lock("DELETE").send(&world).await.is_held(own);
}

#[tokio::test]
async fn c27_the_same_id_again() {
    let world = World::new().await;
    world.lock("a").await.is_ok();
    let before = world.head().await;
    world.lock("a").await.is_ok();
    assert_eq!(*world.head().await, *before);
    world.unlock("a").await.is_ok();
    // A late repeat of the LOCK must not make a lock that nobody holds.
    world.lock("a").await.is_error(409, "late_repeat");
    assert_eq!(holder(&world).await, None);
    world.lock("b").await.is_ok();
    world.lock("a").await.is_held(&lock_info("b"));
}

#[tokio::test]
async fn c28_bodies_that_are_no_lock_info() {
    let world = World::new().await;
    let long = format!(r#"{{"ID":"{}"}}"#, "x".repeat(257));
    for body in ["", "{}", "[]", "null", "\"a\"", r#"{"ID":""}"#, r#"{"ID":7}"#, r#"{"id":"a"}"#, r#"{"ID":"a""#, &long]
    {
        on_lock("LOCK").body(body.to_owned()).send(&world).await.is_error(400, "bad_body");
    }
    on_lock("LOCK").body(&b"{\"ID\":\"\xff\"}"[..]).send(&world).await.is_error(400, "bad_body");
    let sized = |size: usize| {
        let short = r#"{"ID":"a","Info":""}"#.len();
        format!(r#"{{"ID":"a","Info":"{}"}}"#, "x".repeat(size - short))
    };
    for method in ["LOCK", "UNLOCK"] {
        on_lock(method).body(sized(16 * 1024 + 1)).send(&world).await.is_error(413, "too_large");
        on_lock(method).body(sized(4 << 20)).send(&world).await.is_error(413, "too_large");
    }
    assert_eq!(holder(&world).await, None);
    on_lock("LOCK").body(sized(16 * 1024)).send(&world).await.is_ok();
    world.lock("b").await.is_held(&sized(16 * 1024));
    for body in ["{}", "[]", "x", r#"{"ID":""}"#] {
        on_lock("UNLOCK").body(body).send(&world).await.is_error(400, "bad_body");
    }
    assert_eq!(holder(&world).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn c29_the_lock_url_of_gitlab() {
    let world = World::new().await;
    let url = format!("/{PATH}/lock");
    for (lock, unlock) in [("POST", "DELETE"), ("PUT", "DELETE"), ("LOCK", "UNLOCK"), ("POST", "UNLOCK")] {
        let id = format!("{lock}-{unlock}");
        ask(lock, &url).body(lock_info(&id)).send(&world).await.is_ok();
        ask(lock, &url).body(lock_info(&id)).send(&world).await.is_ok();
        ask(lock, &url).body(lock_info("other")).send(&world).await.is_held(&lock_info(&id));
        world.post(None, state(1)).await.is_held(&lock_info(&id));
        ask(unlock, &url).body(lock_info("other")).send(&world).await.is_held(&lock_info(&id));
        ask(unlock, &url).body(lock_info(&id)).send(&world).await.is_ok();
        ask(unlock, &url).body(lock_info(&id)).send(&world).await.is_ok();
        ask(lock, &url).body(lock_info(&id)).send(&world).await.is_error(409, "late_repeat");
        assert_eq!(holder(&world).await, None);
    }
    assert_eq!(world.stored().await, None, "the lock's URL is no state's");
    // The two ways are of one lock.
    ask("POST", &url).body(lock_info("x")).send(&world).await.is_ok();
    world.lock("y").await.is_held(&lock_info("x"));
    world.unlock("x").await.is_ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c30_many_at_once() {
    let world = Arc::new(World::new().await);
    for round in 0..10 {
        let asked: Vec<_> = (0..24)
            .map(|number| {
                let world = world.clone();
                tokio::spawn(async move { world.lock(&format!("{round}-{number}")).await })
            })
            .collect();
        let mut granted = Vec::new();
        let mut refused = Vec::new();
        for (number, asked) in asked.into_iter().enumerate() {
            let answer = asked.await.unwrap();
            if answer.status == 200 { granted.push(format!("{round}-{number}")) } else { refused.push(answer) }
        }
        assert_eq!(granted.len(), 1, "{granted:?}");
        for answer in refused {
            answer.is_held(&lock_info(&granted[0]));
        }
        world.unlock(&granted[0]).await.is_ok();
    }
}

#[tokio::test]
async fn c31_a_restart_keeps_the_lock_and_nothing_expires() {
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        let kv = FaultKv::new(EmbeddedKv::open(folder.path()).unwrap(), 16 * 1024);
        World::with(Setup { kv: Some(kv), ..Setup::default() }).await
    };
    let world = start().await;
    world.lock("a").await.is_ok();
    world.post(Some("a"), state(1)).await.is_ok();
    drop(world);
    let world = start().await;
    world.kv.later(SignedDuration::from_hours(24 * 365));
    world.lock("b").await.is_held(&lock_info("a"));
    assert_eq!(world.get().await.text(), state(1));
    world.post(Some("a"), state(2)).await.is_ok();
    world.unlock("a").await.is_ok();
    drop(world);
    // What was released stays known.
    let world = start().await;
    world.unlock("a").await.is_ok();
    world.lock("a").await.is_error(409, "late_repeat");
}

#[tokio::test]
async fn c32_unlock_with_the_whole_lock_info() {
    let world = World::new().await;
    world.lock("a").await.is_ok();
    world.unlock("a").await.is_ok();
    assert_eq!(holder(&world).await, None);
}

#[tokio::test]
async fn c33_unlock_with_the_id_alone() {
    let world = World::new().await;
    world.lock("a").await.is_ok();
    // OpenTofu's force-unlock.
    let body =
        r#"{"ID":"a","Operation":"","Info":"","Who":"","Version":"","Created":"0001-01-01T00:00:00Z","Path":""}"#;
    on_lock("UNLOCK").body(body).send(&world).await.is_ok();
    world.lock("b").await.is_ok();
    on_lock("UNLOCK").body(r#"{"ID":"b"}"#).send(&world).await.is_ok();
    assert_eq!(holder(&world).await, None);
}

#[tokio::test]
async fn c34_unlock_with_a_wrong_id() {
    let world = World::new().await;
    world.lock("a").await.is_ok();
    world.unlock("b").await.is_held(&lock_info("a"));
    assert_eq!(holder(&world).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn c35_unlock_of_an_id_that_was_just_released() {
    let world = World::new().await;
    world.unlock("never").await.is_error(409, "never_held");
    world.lock("a").await.is_ok();
    world.unlock("a").await.is_ok();
    let before = world.head().await;
    world.unlock("a").await.is_ok();
    assert_eq!(*world.head().await, *before);
    world.lock("b").await.is_ok();
    world.unlock("a").await.is_ok();
    assert_eq!(holder(&world).await.as_deref(), Some("b"), "another's lock stays");
    world.unlock("never").await.is_held(&lock_info("b"));
}

#[tokio::test]
async fn c36_unlock_without_a_body() {
    let world = World::new().await;
    blind_unlock(&world).await.is_ok();
    world.lock("a").await.is_ok();
    blind_unlock(&world).await.is_held(&lock_info("a"));
    world.kv.later(SignedDuration::from_secs(50));
    // A write shows that the holder lives.
    world.post(Some("a"), state(1)).await.is_ok();
    world.kv.later(SignedDuration::from_secs(50));
    blind_unlock(&world).await.is_held(&lock_info("a"));
    world.kv.later(SignedDuration::from_secs(11));
    ask("DELETE", &format!("/{PATH}/lock")).send(&world).await.is_ok();
    let head = world.head().await;
    let released = head.released.last().unwrap();
    assert_eq!((head.lock.as_ref(), released.id.as_str(), released.forced), (None, "a", true));
    // The client repeats it blindly; whoever locked in between is young.
    blind_unlock(&world).await.is_ok();
    world.lock("b").await.is_ok();
    blind_unlock(&world).await.is_held(&lock_info("b"));
    world.post(Some("a"), state(2)).await.is_held(&lock_info("b"));
}

#[tokio::test]
async fn c36_unlock_without_a_body_where_it_is_denied() {
    let settings = Settings { client_force_unlock: false, ..Settings::default() };
    let world = World::with(Setup { settings, ..Setup::default() }).await;
    world.lock("a").await.is_ok();
    world.kv.later(SignedDuration::from_hours(24 * 365));
    blind_unlock(&world).await.is_held(&lock_info("a"));
    // With the id it is another matter.
    on_lock("UNLOCK").body(r#"{"ID":"a"}"#).send(&world).await.is_ok();
}

#[tokio::test]
async fn c40_an_id_cannot_break_the_line_it_stands_in() {
    let world = World::new().await;
    let info = r#"{"ID":"a\nb\u001b[1m"}"#;
    for method in ["LOCK", "UNLOCK"] {
        on_lock(method).body(info).send(&world).await.is_error(400, "bad_body");
    }
    let sentence = world.post(Some("a%0Ab%1B"), state(1)).await.is_error(409, "lock_gone");
    assert!(sentence.contains(r"lock a\nb\u{1b} is"), "{sentence}");
}

#[tokio::test]
async fn c37_delete_of_the_state() {
    let world = World::new().await;
    on_lock("DELETE").send(&world).await.is_ok();
    world.post(None, state(1)).await.is_ok();
    world.lock("a").await.is_ok();
    on_lock("DELETE").send(&world).await.is_held(&lock_info("a"));
    on_lock("DELETE").body(lock_info("a")).send(&world).await.is_held(&lock_info("a"));
    assert_eq!(world.get().await.text(), state(1));
    world.unlock("a").await.is_ok();
    on_lock("DELETE").send(&world).await.is_ok();
    on_lock("DELETE").send(&world).await.is_ok();
    world.get().await.is_error(404, "no_state");
    assert_eq!(world.head().await.versions.len(), 1, "the history stays");
}
