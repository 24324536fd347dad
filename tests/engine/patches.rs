//! Large states that stand in the head as what differs from the ones before.

use tofustate::store::{
    Engine, EngineOptions, Kv as _, Settings, State, StateError,
    head::{Body, Retention},
    keys,
};

use crate::{
    states,
    world::{Asked, World, budget, owner, path, small},
};

const SIZE: usize = 200_000;

fn state(serial: u64) -> Vec<u8> {
    states::whole(1, serial, SIZE)
}

/// Runs with states of these serials: LOCK, GET, POST, UNLOCK.
async fn cycles(state: &State, serials: std::ops::RangeInclusive<u64>) {
    for serial in serials {
        let id = format!("run-{serial}");
        state.take_lock(&id).await.unwrap();
        state.pull().await.unwrap();
        state.post(Some(&id), &self::state(serial)).await.unwrap();
        state.let_go(&id).await.unwrap();
    }
}

/// The state as another process sees it, which has nothing in memory.
async fn elsewhere(world: &World) -> State {
    let engine = Engine::new(EngineOptions::default(), tofustate::telemetry::EngineMetrics::default());
    let state = World { kv: world.kv.clone(), engine, folder: None }.open(owner(1), None, Settings::default());
    state.register(&mut budget()).await.unwrap();
    state
}

/// Every version reads as the state of its serial, here and elsewhere.
async fn all_are_there(world: &World, here: &State) {
    let elsewhere = elsewhere(world).await;
    for version in &world.head().await.versions {
        let expected = state(version.serial);
        assert!(elsewhere.pull_version(version.number).await.unwrap() == expected, "version {}", version.number);
        assert!(here.pull_version(version.number).await.unwrap() == expected, "version {}, here", version.number);
    }
}

async fn patches(world: &World) -> Vec<u64> {
    let head = world.head().await;
    head.versions.iter().filter(|version| version.body.patch().is_some()).map(|version| version.number).collect()
}

#[tokio::test]
async fn most_writes_store_no_object() {
    let world = World::in_memory();
    let state = world.state().await;
    cycles(&state, 1..=40).await;
    all_are_there(&world, &state).await;
    let head = world.head().await;
    assert_eq!(head.versions.len(), 20);
    assert!(patches(&world).await.len() >= 18, "{:?}", patches(&world).await);
    assert!(world.parts().await.len() <= 4, "{:?}", world.parts().await);
    assert!(head.encode().len() < 32 << 10, "{}", head.encode().len());
    let longest = head.versions.iter().filter_map(|version| version.body.patch()).map(|patch| patch.deltas.len()).max();
    assert!(longest.unwrap() <= 16);
}

#[tokio::test]
async fn two_processes_in_turn() {
    let world = World::in_memory();
    let (here, there) = (world.state().await, elsewhere(&world).await);
    for serial in 1..=12 {
        let state = if serial % 2 == 0 { &here } else { &there };
        cycles(state, serial..=serial).await;
        let reader = if serial % 3 == 0 { &here } else { &there };
        assert!(reader.pull().await.unwrap().unwrap() == self::state(serial));
    }
    assert_eq!(patches(&world).await.len(), 11);
    all_are_there(&world, &here).await;
}

#[tokio::test]
async fn another_write_comes_in_between() {
    let world = World::in_memory();
    let (here, there) = (world.state().await, elsewhere(&world).await);
    cycles(&here, 1..=2).await;
    // What `here` knows of the head is of before.
    there.post(None, &state(3)).await.unwrap();
    here.post(None, &state(4)).await.unwrap();
    let head = world.head().await;
    assert!(matches!(head.current().unwrap().body, Body::Object(_)), "{:?}", head.current());
    all_are_there(&world, &here).await;
}

#[tokio::test]
async fn a_rollback_a_deletion_and_what_comes_after() {
    let world = World::in_memory();
    let state = world.state().await;
    cycles(&state, 1..=5).await;
    state.rollback(3, Some(5), "3@5", "tester", &mut budget()).await.unwrap();
    assert!(state.pull().await.unwrap().unwrap() == self::state(3));
    cycles(&state, 6..=6).await;
    state.delete("tester", &mut budget()).await.unwrap();
    assert_eq!(state.pull().await.unwrap(), None);
    cycles(&state, 7..=7).await;
    assert_eq!(patches(&world).await, [2, 3, 4, 5, 6, 7, 8]);
    all_are_there(&world, &state).await;
    let retention = Retention { max_versions: 1, ..Retention::default() };
    state.set_settings(Settings { retention, ..Settings::default() });
    state.maintain().await.unwrap();
    assert_eq!((patches(&world).await, world.parts().await.len()), (vec![8], 1), "its root stays");
    all_are_there(&world, &state).await;
    state.post(None, &small(9)).await.unwrap();
    let head = world.head().await;
    assert_eq!((head.trash.len(), matches!(head.current().unwrap().body, Body::Inline(_))), (1, true));
}

#[tokio::test]
async fn what_has_little_in_common_is_stored_whole() {
    let world = World::in_memory();
    let state = world.state().await;
    cycles(&state, 1..=1).await;
    let others = [states::whole(2, 2, SIZE), states::whole(1, 3, 3 << 20), states::whole(1, 4, 3 << 20)];
    for (at, body) in others.iter().enumerate() {
        state.post(None, body).await.unwrap();
        assert!(state.pull_version(at as u64 + 2).await.unwrap() == *body);
    }
    assert_eq!(patches(&world).await, [0_u64; 0]);
}

/// Ten versions, the first of them the root of all others.
async fn ten() -> (World, State, String) {
    let world = World::in_memory();
    let state = world.state().await;
    cycles(&state, 1..=10).await;
    assert_eq!(patches(&world).await, (2..=10).collect::<Vec<_>>());
    let root = world.parts().await.remove(0);
    (world, state, root)
}

#[tokio::test]
async fn a_root_that_is_gone_or_damaged() {
    let (world, writer, root) = ten().await;
    let good = world.raw(&root).await.unwrap().value;
    let tofustate::store::Value::Part(part) = good.clone() else { panic!() };
    for gone in [true, false] {
        if gone {
            world.kv.delete_part(&root).await.unwrap();
        } else {
            let mut part = part.clone();
            part.bytes = part.bytes.slice(1..);
            world.overwrite(&root, tofustate::store::Value::Part(part)).await;
        }
        let elsewhere = elsewhere(&world).await;
        for number in 1..=10 {
            let error = elsewhere.pull_version(number).await.unwrap_err();
            assert!(matches!(error, StateError::DamagedVersion { version, .. } if version == number), "{error:?}");
            let (_, object) = root.rsplit_once('/').unwrap();
            assert!(error.to_string().contains(object), "{error}");
        }
        let error = elsewhere.pull().await.unwrap_err();
        assert!(matches!(error, StateError::DamagedVersion { version: 10, .. }), "never none: {error:?}");
        world.overwrite(&root, good.clone()).await;
    }
    all_are_there(&world, &writer).await;
    // Whoever cannot read it writes the next state whole, and that can be read.
    world.kv.delete_part(&root).await.unwrap();
    let elsewhere = elsewhere(&world).await;
    elsewhere.take_lock("x").await.unwrap();
    elsewhere.post(Some("x"), &state(11)).await.unwrap();
    assert!(matches!(world.head().await.current().unwrap().body, Body::Object(_)));
    assert!(elsewhere.pull().await.unwrap().unwrap() == state(11));
}

#[tokio::test]
async fn a_delta_that_is_damaged() {
    let (world, _, _) = ten().await;
    let other = world.head().await.version(4).unwrap().body.clone();
    world.alter_head(|head| std::sync::Arc::make_mut(&mut head.versions[6]).body = other.clone()).await;
    let elsewhere = elsewhere(&world).await;
    for number in 1..=10 {
        let read = elsewhere.pull_version(number).await;
        match number {
            1..=6 => assert!(read.unwrap() == state(number)),
            _ => {
                let error = read.unwrap_err();
                assert!(matches!(error, StateError::DamagedVersion { version, .. } if version == number), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn by_hand() {
    // What docs/openbao.md says: the root, then each delta with what came out before as its dictionary.
    let (world, _, root) = ten().await;
    let tofustate::store::Value::Part(part) = world.raw(&root).await.unwrap().value else { panic!() };
    assert_eq!(keys::parse_part(&path(), &root).unwrap().1, 0);
    let mut bytes = zstd::decode_all(&*part.bytes).unwrap();
    for version in &world.head().await.versions {
        for delta in version.body.patch().iter().flat_map(|patch| &patch.deltas) {
            let frame = delta.bytes().unwrap();
            let mut decoder = zstd::stream::read::Decoder::with_dictionary(&*frame, &bytes).unwrap();
            let mut next = Vec::new();
            std::io::Read::read_to_end(&mut decoder, &mut next).unwrap();
            bytes = next;
        }
        assert!(bytes == state(version.serial), "version {}", version.number);
    }
}
