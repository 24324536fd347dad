//! Stored bytes of a version that are damaged, missing or another's: an error that names the version, never other bytes,
//! and everything else goes on.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tofustate::store::{
    Expect, Part, PartLabel, Sha256Sum, State, StateError, Value,
    head::{Body, Head, ObjectRef, Version},
    keys,
};

use crate::world::{Asked, PATH, World, budget, noisy, path, small};

/// Three versions: an object of several parts, one of one part, one in the head.
struct History {
    world: World,
    state: State,
    bodies: [Vec<u8>; 3],
}

impl History {
    async fn new(world: World) -> Self {
        let state = world.state().await;
        let bodies = [noisy(1, 2 << 20), noisy(2, 60_000), small(3)];
        for body in &bodies {
            state.post(None, body).await.unwrap();
        }
        let history = Self { world, state, bodies };
        assert!(history.object(1).await.parts >= 3 && history.object(2).await.parts == 1);
        history
    }

    async fn object(&self, number: u64) -> ObjectRef {
        match &self.world.head().await.version(number).unwrap().body {
            Body::Object(object) => object.clone(),
            Body::Inline(_) | Body::Delta(_) | Body::Patch(_) => panic!("version {number} is in the head"),
        }
    }

    async fn key(&self, number: u64, index: u32) -> String {
        keys::part(&path(), &self.object(number).await.name, index)
    }

    async fn part(&self, key: &str) -> Part {
        match self.world.raw(key).await.unwrap().value {
            Value::Part(part) => part,
            other => panic!("{other:?}"),
        }
    }

    /// That version reads as an error that names it and the fault; the others read as they were.
    async fn only_this_one_is_damaged(&self, number: u64, fault: &str, what: &str) {
        for other in 1..=3 {
            let body = &self.bodies[other as usize - 1];
            if other == number {
                let error = fails_short(&self.state, number, body, what).await;
                let said = error.to_string();
                assert!(said.starts_with(&format!("version {number} cannot be read: ")), "{what}: {said}");
                assert!(said.contains(fault), "{what}: {said}");
                assert!(matches!(error, StateError::DamagedVersion { version, .. } if version == number), "{error:?}");
            } else {
                assert!(self.state.pull_version(other).await.unwrap() == *body, "{what}: version {other}");
            }
        }
    }
}

/// Reads a version that is damaged: what comes before the error is a beginning of the right bytes, and not all of them.
async fn fails_short(state: &State, number: u64, body: &[u8], what: &str) -> StateError {
    let mut reader = match state.read_version(number, &mut budget()).await {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    let mut read = Vec::new();
    let error = loop {
        match reader.next(&mut budget()).await {
            Ok(Some(piece)) => read.extend_from_slice(&piece),
            Ok(None) => panic!("{what}: {} bytes were read to the end", read.len()),
            Err(error) => break error,
        }
    };
    assert!(read.len() < body.len(), "{what}: all bytes came before the error");
    assert!(body.starts_with(&read), "{what}: other bytes came out");
    assert!(reader.next(&mut budget()).await.is_err(), "{what}: an end came after the error");
    error
}

fn label(part: &Part, change: impl FnOnce(&mut PartLabel)) -> Value {
    let mut part = part.clone();
    change(&mut part.label);
    Value::Part(part)
}

fn bytes(part: &Part, relabel: bool, change: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut bytes = part.bytes.to_vec();
    change(&mut bytes);
    let mut label = part.label.clone();
    if relabel {
        label.sha256 = Sha256Sum::of(&bytes).to_string();
    }
    Value::Part(Part { label, bytes: bytes.into() })
}

#[tokio::test]
async fn a_part_that_is_not_the_one_that_is_meant() {
    for world in [World::in_memory(), World::on_disk()] {
        let history = History::new(world).await;
        let last = history.object(1).await.parts - 1;
        for (number, index) in [(1, 0), (1, 1), (1, last), (2, 0)] {
            let key = history.key(number, index).await;
            let (good, other) = (history.part(&key).await, history.part(&history.key(1, 1).await).await);
            let mut bad = vec![
                ("another bit", "its SHA-256", bytes(&good, false, |bytes| bytes[777] ^= 4)),
                ("a byte less", "its SHA-256", bytes(&good, false, |bytes| bytes.truncate(bytes.len() - 1))),
                ("a byte more", "its SHA-256", bytes(&good, false, |bytes| bytes.push(0))),
                ("no bytes", "its SHA-256", bytes(&good, false, Vec::clear)),
                ("another path", "is another's", label(&good, |label| label.path = "team/other".into())),
                ("another object", "is another's", label(&good, |label| label.object.push('0'))),
                ("another index", "is another's", label(&good, |label| label.index += 1)),
                ("another sum", "its SHA-256", label(&good, |label| label.sha256 = "0".repeat(64))),
                ("no sum", "its SHA-256", label(&good, |label| label.sha256.clear())),
                ("a document", "is no part of a state", Value::Document("{}".into())),
            ];
            if good.bytes.len() == tofustate::store::Kv::part_bytes(&*history.world.kv) {
                // The store takes no part that is larger.
                bad.retain(|(what, ..)| *what != "a byte more");
            }
            if other.label != good.label {
                bad.push(("another part", "is another's", Value::Part(other)));
            }
            for (what, fault, value) in bad {
                history.world.overwrite(&key, value).await;
                history.only_this_one_is_damaged(number, fault, &format!("{what} at {number}.{index}")).await;
            }
            history.world.overwrite(&key, Value::Part(good)).await;
            assert!(history.state.pull_version(number).await.unwrap() == history.bodies[number as usize - 1]);
        }
    }
}

#[tokio::test]
async fn a_part_that_says_that_it_is_right_and_has_other_bytes() {
    let history = History::new(World::in_memory()).await;
    let last = history.object(1).await.parts - 1;
    let key = history.key(1, last).await;
    let good = history.part(&key).await;
    let extra = |bytes: &mut Vec<u8>| bytes.push(0);
    // What follows the end of the compressed bytes.
    history.world.overwrite(&key, bytes(&good, true, extra)).await;
    history.only_this_one_is_damaged(1, "more compressed bytes", "a byte more").await;
    history.world.overwrite(&key, bytes(&good, true, |bytes| bytes.extend_from_slice(&good.bytes))).await;
    history.only_this_one_is_damaged(1, "more compressed bytes", "twice").await;
    history.world.overwrite(&key, bytes(&good, true, |bytes| bytes.truncate(bytes.len() / 2))).await;
    history.only_this_one_is_damaged(1, "fewer bytes", "half").await;
    history.world.overwrite(&key, bytes(&good, true, Vec::clear)).await;
    history.only_this_one_is_damaged(1, "fewer bytes", "nothing").await;
    history.world.overwrite(&key, bytes(&good, true, |bytes| bytes.truncate(bytes.len() - 1))).await;
    history.only_this_one_is_damaged(1, "", "a byte less").await;
    let key = history.key(2, 0).await;
    history.world.overwrite(&key, bytes(&history.part(&key).await, true, |bytes| bytes[0] ^= 1)).await;
    history.world.overwrite(&history.key(1, last).await, Value::Part(good)).await;
    history.only_this_one_is_damaged(2, "do not decompress", "no frame").await;
}

#[tokio::test]
async fn a_part_that_is_gone() {
    for world in [World::in_memory(), World::on_disk()] {
        let history = History::new(world).await;
        let last = history.object(1).await.parts - 1;
        for (number, index) in [(1, 0), (1, 1), (1, last), (2, 0)] {
            let key = history.key(number, index).await;
            let good = history.part(&key).await;
            tofustate::store::Kv::delete_part(&*history.world.kv, &key).await.unwrap();
            let fault = format!("part {index} of object {} is missing", history.object(number).await.name);
            history.only_this_one_is_damaged(number, &fault, &key).await;
            history.world.overwrite(&key, Value::Part(good)).await;
        }
    }
}

#[tokio::test]
async fn a_version_of_which_the_head_says_something_else() {
    let history = History::new(World::in_memory()).await;
    let good = history.world.head_text().await;
    type Change = fn(&mut Version);
    let changes: [(&str, &str, Change); 7] = [
        ("another sum", "its SHA-256 is not the one in the head", |v| v.sha256 = Sha256Sum::of(b"another")),
        ("a byte less", "", |v| v.size -= 1),
        ("a byte more", "fewer bytes than the head says", |v| v.size += 1),
        ("none", "", |v| v.size = 0),
        ("no end of them", "fewer bytes than the head says", |v| v.size = u64::MAX),
        ("a part less", "", |v| object_of(v, |object| object.parts -= 1)),
        ("a part more", "", |v| object_of(v, |object| object.parts += 1)),
    ];
    for number in 1..=3 {
        for (what, fault, change) in changes {
            let inline = number == 3;
            // One part less than one makes no head.
            if what.contains("part") && (inline || number == 2 && what.contains("less")) {
                continue;
            }
            history.world.alter_head(|head| alter(head, number, change)).await;
            history.only_this_one_is_damaged(number, fault, &format!("{what} of {number}")).await;
            history.world.overwrite_head(&good).await;
        }
    }
}

fn alter(head: &mut Head, number: u64, change: impl FnOnce(&mut Version)) {
    let version = head.versions.iter_mut().find(|version| version.number == number).unwrap();
    change(std::sync::Arc::make_mut(version));
}

fn object_of(version: &mut Version, change: impl FnOnce(&mut ObjectRef)) {
    match &mut version.body {
        Body::Object(object) => change(object),
        Body::Inline(_) | Body::Delta(_) | Body::Patch(_) => panic!("it is in the head"),
    }
}

fn inline_bytes(head: &Head, number: u64) -> Vec<u8> {
    match &head.version(number).unwrap().body {
        Body::Inline(inline) => inline.bytes().unwrap(),
        Body::Delta(_) | Body::Object(_) | Body::Patch(_) => panic!("it does not stand whole in the head"),
    }
}

/// Whatever text, where base64 should stand.
fn inline(text: &str) -> Body {
    Body::Inline(serde_json::from_str(&format!("\"{text}\"")).unwrap())
}

#[tokio::test]
async fn inline_bytes_that_are_damaged() {
    let history = History::new(World::in_memory()).await;
    let good = history.world.head_text().await;
    let raw = inline_bytes(&history.world.head().await, 3);
    let text = BASE64.encode(&raw);
    let cases = [
        ("no base64", "no base64", "*".repeat(text.len())),
        ("base64 of another alphabet", "no base64", format!("-_-_{text}")),
        ("cut", "no base64", text[..text.len() - 1].to_owned()),
        ("nothing", "fewer bytes", String::new()),
        ("half", "fewer bytes", BASE64.encode(&raw[..raw.len() / 2])),
        ("more", "more compressed bytes", BASE64.encode([&raw[..], b"x"].concat())),
        ("twice", "more compressed bytes", BASE64.encode([&raw[..], &raw[..]].concat())),
        ("another", "decompress", BASE64.encode(b"no frame at all")),
    ];
    for (what, fault, text) in cases {
        history.world.alter_head(|head| alter(head, 3, |version| version.body = inline(&text))).await;
        history.only_this_one_is_damaged(3, fault, what).await;
        history.world.overwrite_head(&good).await;
    }
}

#[tokio::test]
async fn no_bit_of_inline_bytes_can_turn_without_being_noticed() {
    let world = World::in_memory();
    let state = world.state().await;
    // Small as it is stored, and several pieces as it is read.
    let mut body = br#"{"serial":1,"a":["x""#.to_vec();
    for n in 0..30_000 {
        body.extend_from_slice(format!(",\"{}\"", n % 50).as_bytes());
    }
    body.extend_from_slice(b"]}");
    // What streams has no length in its frame, what comes at once and is small has.
    for body in [body, small(2)] {
        let number = state.post(None, &body).await.unwrap().version.unwrap();
        let good = world.head_text().await;
        let raw = inline_bytes(&world.head().await, number);
        let mut noticed = 0;
        for bit in 0..raw.len() * 8 {
            // A larger one has runs that are alike: every bit of its beginning, then some.
            if bit > 1_000 && bit % 13 != 0 {
                continue;
            }
            let mut turned = raw.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            world.alter_head(|head| alter(head, number, |v| v.body = inline(&BASE64.encode(turned)))).await;
            // Some bits mean nothing (the size of the window): then the bytes are right.
            if state.pull_version(number).await.is_ok_and(|read| read == body) {
                continue;
            }
            fails_short(&state, number, &body, &format!("bit {bit}")).await;
            noticed += 1;
        }
        assert!(noticed > 300, "{noticed}");
        world.overwrite_head(&good).await;
        assert!(state.pull().await.unwrap().is_some_and(|read| read == body));
    }
}

#[tokio::test]
async fn a_damaged_version_stops_nobody_and_nothing_is_repaired_over_it() {
    let history = History::new(World::in_memory()).await;
    let (world, state) = (&history.world, &history.state);
    let (damaged, gone) = (history.key(1, 1).await, history.key(2, 0).await);
    let value = bytes(&history.part(&damaged).await, false, |bytes| bytes[9] ^= 9);
    world.overwrite(&damaged, value).await;
    let evidence = world.raw(&damaged).await;
    tofustate::store::Kv::delete_part(&*world.kv, &gone).await.unwrap();
    // The current version too.
    state.rollback(1, Some(3), "1@3", "tester", &mut budget()).await.unwrap();
    let error = state.pull().await.unwrap_err();
    assert!(error.to_string().starts_with("version 4 cannot be read"), "{error}");

    state.take_lock("a").await.unwrap();
    assert!(state.pull().await.is_err());
    state.post(Some("a"), &small(9)).await.unwrap();
    assert_eq!(state.pull().await.unwrap(), Some(small(9)));
    state.let_go("a").await.unwrap();
    state.maintain().await.unwrap();
    state.sweep().await.unwrap();
    state.delete("tester", &mut budget()).await.unwrap();
    assert_eq!(state.pull().await.unwrap(), None);
    state.rollback(3, None, "3@none", "tester", &mut budget()).await.unwrap();
    assert_eq!(state.pull().await.unwrap(), Some(small(3)));
    assert_eq!(world.raw(&damaged).await, evidence);
    assert_eq!(world.raw(&gone).await, None);
}

#[tokio::test]
async fn damaged_inline_bytes_stop_neither_writes_nor_the_background_work() {
    let world = World::in_memory();
    let state = world.state().await;
    for serial in 1..=8 {
        state.post(None, &noisy(serial, 18_000)).await.unwrap();
    }
    world.alter_head(|head| alter(head, 1, |version| version.body = inline("no base64!"))).await;
    let done = state.maintain().await;
    assert!(done.is_ok(), "{done:?}");
    let head = world.head().await;
    assert!(head.inline_bytes() < 64 << 10, "the others moved out: {}", head.inline_bytes());
    let error = state.pull_version(1).await.unwrap_err();
    assert!(error.to_string().starts_with("version 1 cannot be read"), "{error}");
    for number in 2..=8 {
        assert!(state.pull_version(number).await.unwrap() == noisy(number, 18_000), "version {number}");
    }
}

#[tokio::test]
async fn a_part_of_another_state_is_never_served() {
    let history = History::new(World::in_memory()).await;
    let key = history.key(2, 0).await;
    let stolen = history.part(&key).await;
    // The same object's name under another path.
    let other = tofustate::store::StatePath::parse("team/other").unwrap();
    let world = &history.world;
    let stolen_key = keys::part(&other, &stolen.label.object, 0);
    tofustate::store::Kv::put(&*world.kv, &stolen_key, &Value::Part(stolen), Expect::Absent).await.unwrap();
    let head = world.head().await;
    let text: std::sync::Arc<str> = head.encode().into();
    tofustate::store::Kv::put(&*world.kv, other.as_str(), &Value::Document(text), Expect::Absent).await.unwrap();
    let state = world.engine.open(tofustate::store::Registration {
        path: other,
        kv: world.kv.clone(),
        owner: head.owner.clone(),
        mark: None,
        settings: Default::default(),
    });
    let error = state.pull_version(2).await.unwrap_err();
    assert!(error.to_string().contains("is another's (see its label in the store)"), "{error}");
    assert_ne!(PATH, state.path().as_str());
}
