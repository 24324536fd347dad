//! Bodies that are taken: stored and read back byte for byte, whatever their shape and however they come in.

use bytes::Bytes;
use tofustate::store::{
    Kv, Sha256Sum, State, WriteCall,
    head::{Body, Version},
};

use crate::world::{Asked, World, budget, noisy, small};

/// Reads the current version in pieces.
async fn pieces(state: &State) -> (Version, Vec<Bytes>) {
    let mut reader = state.read(&mut budget()).await.unwrap().expect("there is a state");
    let version = reader.version().clone();
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next(&mut budget()).await.unwrap() {
        assert!(!piece.is_empty() && piece.len() <= 128 << 10, "{}", piece.len());
        pieces.push(piece);
    }
    assert!(reader.next(&mut budget()).await.unwrap().is_none(), "after the end there is nothing");
    (version, pieces)
}

/// Writes, and reads back what was written.
async fn comes_back(state: &State, body: &[u8], chunk: usize) -> Version {
    let call = WriteCall { length: Some(body.len() as u64), identity: "tester", ..WriteCall::default() };
    let done = state.post_in(call, body, chunk).await.unwrap();
    let (version, pieces) = pieces(state).await;
    assert_eq!(done.version, Some(version.number));
    assert!(pieces.concat() == body, "{} bytes in pieces of {chunk} came back changed", body.len());
    assert_eq!((version.size, version.sha256), (body.len() as u64, Sha256Sum::of(body)));
    version
}

fn shapes() -> Vec<(&'static str, Vec<u8>)> {
    let spaced = format!("\n\t \r\n{{ \"serial\" : 3 ,\n \"a\" : [ ] }}{}\n", " ".repeat(70_000));
    let indented: String = (0..3_000).map(|n| format!("    {{\n      \"name\": \"größe-{n}\"\n    }},\n")).collect();
    let indented = format!("{{\n  \"serial\": 4,\n  \"resources\": [\n{indented}    {{}}\n  ]\n}}\n");
    let noise = noisy(5, 300_000);
    let secret = String::from_utf8_lossy(&noise[40..]).replace(['"', '}'], "");
    let encrypted = format!(
        r#"{{"serial":5,"lineage":"4ccf0dd0","meta":{{"key_provider.pbkdf2.k":"eyJ9"}},"encrypted_data":"{secret}","encryption_version":"v0"}}"#
    );
    vec![
        ("tiny", br#"{"serial":0}"#.to_vec()),
        ("small", small(1)),
        ("white space", spaced.into()),
        ("indented", indented.into()),
        ("encrypted by the client", encrypted.into()),
        ("escapes", br#"{"serial":6,"a":"\u0000\ud83d\ude00\/\\ \u2028","a":"twice"}"#.to_vec()),
        ("UTF-8", "{\"serial\":7,\"ä\":\"日本🦀\u{2028}\u{feff}\"}".into()),
        ("several parts", noisy(8, 3 << 20)),
    ]
}

#[tokio::test]
async fn every_shape_comes_back_byte_for_byte() {
    for world in [World::in_memory(), World::on_disk()] {
        let state = world.state().await;
        for (name, body) in shapes() {
            let version = comes_back(&state, &body, body.len()).await;
            assert_eq!(version.encrypted, name == "encrypted by the client", "{name}");
            if name == "several parts" {
                let Body::Object(object) = &version.body else { panic!("{version:?}") };
                assert_eq!(u64::from(object.parts), version.stored.div_ceil(world.kv.part_bytes() as u64));
                assert!(object.parts >= 4, "{object:?}");
                assert_eq!(
                    world.parts().await.iter().filter(|key| key.contains(&object.name)).count(),
                    object.parts as usize
                );
            }
        }
    }
}

#[tokio::test]
async fn however_it_comes_in() {
    let state = World::in_memory().state().await;
    for chunk in [1, 3, 7, 1_000] {
        let mut body = small(chunk as u64);
        body.extend_from_slice(" \n".repeat(chunk).as_bytes());
        comes_back(&state, &body, chunk).await;
    }
    for chunk in [997, 4_096, 65_535, 65_536, 65_537, 1 << 20, 10 << 20] {
        comes_back(&state, &noisy(chunk as u64, 2 << 20), chunk).await;
    }
}

#[tokio::test]
async fn around_the_size_from_which_it_streams() {
    let state = World::in_memory().state().await;
    let frame = noisy(100, 0).len();
    for size in [65_535, 65_536, 65_537, 131_071, 131_072, 131_073, 262_144] {
        for chunk in [size, size - 1, 65_536, 10_000] {
            let body = noisy(100 + (size * 7 + chunk) as u64 % 800, size - frame);
            assert_eq!(body.len(), size);
            comes_back(&state, &body, chunk).await;
        }
    }
}

#[tokio::test]
async fn around_the_size_that_stands_in_the_head() {
    let world = World::in_memory();
    let state = world.state().await;
    let (mut inline, mut object) = (0, u64::MAX);
    // Each character adds six bits: every size comes up.
    for len in 21_500..22_000 {
        let version = comes_back(&state, &noisy(100, len), len).await;
        match version.body {
            Body::Inline(_) | Body::Delta(_) => inline = inline.max(version.stored),
            Body::Patch(_) => panic!("they have nothing in common"),
            Body::Object(_) => object = object.min(version.stored),
        }
        if object < u64::MAX && inline == 16 << 10 {
            break;
        }
    }
    assert_eq!((inline, object), (16 << 10, (16 << 10) + 1));
}

#[tokio::test]
async fn sixty_four_mebibytes_that_compress_well() {
    let world = World::in_memory();
    let state = world.state().await;
    let mut body = br#"{"serial":1,"a":[""#.to_vec();
    let line = b"the same line of a state over and over, \",\n  \"";
    while body.len() < 64 << 20 {
        body.extend_from_slice(line);
    }
    body.extend_from_slice(b"\"]}");
    let version = comes_back(&state, &body, 1 << 20).await;
    assert!(version.stored < 64 << 10, "{}", version.stored);
}

#[tokio::test]
async fn every_version_of_the_history_can_be_read_wherever_it_stands() {
    for world in [World::in_memory(), World::on_disk()] {
        let state = world.state().await;
        let bodies: Vec<_> = [0, 21_000, 30_000, 20_000, 900_000, 19_000, 15_000, 21_000, 21_000, 10]
            .iter()
            .zip(1..)
            .map(|(len, serial)| noisy(serial, *len))
            .collect();
        for body in &bodies {
            comes_back(&state, body, 100_000).await;
        }
        for maintained in [false, true] {
            for (body, number) in bodies.iter().zip(1..) {
                let mut reader = state.read_version(number, &mut budget()).await.unwrap();
                assert_eq!(reader.version().number, number);
                let mut read = Vec::new();
                while let Some(piece) = reader.next(&mut budget()).await.unwrap() {
                    read.extend_from_slice(&piece);
                }
                assert!(read == *body, "version {number}, maintained: {maintained}");
            }
            let inline = world.head().await.inline_bytes();
            assert_eq!(maintained, inline <= 64 << 10, "{inline}");
            state.maintain().await.unwrap();
        }
        assert!(state.pull_version(0).await.is_err() && state.pull_version(11).await.is_err());
    }
}

#[tokio::test]
async fn opening_the_store_again_finds_every_version() {
    let world = World::on_disk();
    let bodies = [small(1), noisy(2, 900_000), noisy(3, 20_000)];
    let state = world.state().await;
    for body in &bodies {
        state.post(None, body).await.unwrap();
    }
    state.take_lock("a").await.unwrap();
    let mark = state.mark();
    drop(state);
    let folder = world.close().await;
    let path = folder.as_ref().unwrap().path();
    let world = World::on(tofustate::store::EmbeddedKv::open(path).unwrap(), None);
    let state = world.open(crate::world::owner(1), mark, Default::default());
    state.register(&mut budget()).await.unwrap();
    for (body, number) in bodies.iter().zip(1..) {
        assert!(state.pull_version(number).await.unwrap() == *body, "version {number}");
    }
    assert_eq!(state.take_lock("b").await.unwrap_err().holder().unwrap().id, "a");
    state.let_go("a").await.unwrap();
}
