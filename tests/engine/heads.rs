//! What stands at a state's path and is no head, no head of this release, or a damaged one: every verb is refused, and
//! nothing is written over it.

use redb::{Database, TableDefinition};
use tofustate::store::{
    EmbeddedKv, Epoch, Mark, Part, PartLabel, Settings, StateError, Value,
    head::{HeadError, MAX_HEAD},
};

use crate::world::{Asked, PATH, World, budget, noisy, owner, small};

const ENTRIES: TableDefinition<&str, &[u8]> = TableDefinition::new("entries");

async fn world_with_a_state() -> (World, Epoch) {
    let world = World::in_memory();
    let state = world.state().await;
    state.post(None, &noisy(1, 600_000)).await.unwrap();
    state.post(None, &small(2)).await.unwrap();
    let epoch = world.head().await.epoch;
    (world, epoch)
}

/// Every verb fails so, through a state that knows the head of before and through one that knows nothing; nothing
/// changes.
async fn refused(world: &World, epoch: Epoch, what: &str, expected: impl Fn(&HeadError) -> bool, warm: bool) {
    let before = (world.raw_head().await, world.parts().await);
    let mark = warm.then_some(Mark { epoch, revision: 1 });
    let state = world.open(owner(1), mark, Settings::default());
    let mut failed = state.every_verb_fails(epoch, true).await;
    failed.push(("register", state.register(&mut budget()).await.expect_err(what)));
    for (verb, error) in failed {
        match &error {
            StateError::Head(found) => {
                assert!(expected(found), "{what}, {verb}: {found:?}");
                assert_eq!(error.kind(), "damaged");
            }
            // Nothing was seen, or another epoch: that is told without a look at the store.
            StateError::WrongEpoch { .. } => assert!(verb.starts_with("accept"), "{what}, {verb}: {error:?}"),
            _ => panic!("{what}, {verb}: {error:?}"),
        }
    }
    world.until_parts(what, |parts| parts == before.1).await;
    assert_eq!(world.raw_head().await, before.0, "{what}: it was written over");
}

#[tokio::test]
async fn whatever_stands_there_is_left_alone() {
    let (world, epoch) = world_with_a_state().await;
    let good = world.head_text().await;
    let not_a_head = |error: &HeadError| matches!(error, HeadError::NotAHead(_));
    let damaged = |error: &HeadError| matches!(error, HeadError::Damaged(_));
    let newer = |error: &HeadError| matches!(error, HeadError::UnknownFormat(3));
    type Expected<'a> = &'a dyn Fn(&HeadError) -> bool;
    let no_format = good.replacen("\"format\":2,", "", 1);
    let format_3 = good.replacen("\"format\":2,", "\"format\":3,\"more\":[],", 1);
    let other_sum = good.replacen("\"sha256\":\"", "\"sha256\":\"zz", 1);
    let no_counter = good.replacen("\"next\":3", "\"next\":1", 1);
    assert!(no_format != good && format_3 != good && other_sum != good && no_counter != good);
    let large = format!("{good}{}", " ".repeat(MAX_HEAD));
    let cases: [(&str, &str, Expected<'_>); 12] = [
        ("nothing", "", &not_a_head),
        ("garbage", "\u{1}garbage", &not_a_head),
        ("another tool's state", r#"{"version":4,"serial":1,"lineage":"l","resources":[]}"#, &not_a_head),
        ("an array", "[]", &not_a_head),
        ("half a head", &good[..good.len() / 2], &not_a_head),
        ("a head less a byte", &good[..good.len() - 1], &not_a_head),
        ("no format", &no_format, &not_a_head),
        ("a newer format", &format_3, &newer),
        ("a version without its sum", &other_sum, &damaged),
        ("a counter that went back", &no_counter, &damaged),
        ("a head and more", &format!("{good}x"), &not_a_head),
        ("two heads", &format!("{good}{good}"), &not_a_head),
    ];
    for (what, text, expected) in cases {
        world.overwrite_head(text).await;
        for warm in [false, true] {
            refused(&world, epoch, what, expected, warm).await;
        }
    }
    let label = PartLabel { sha256: "0".repeat(64), path: PATH.into(), object: "1-a".into(), index: 0 };
    world.overwrite(PATH, Value::Part(Part { label, bytes: good.clone().into() })).await;
    refused(&world, epoch, "a part", not_a_head, false).await;
    // Put back, it is the head it was. White space is not damage.
    world.overwrite_head(&large).await;
    let state = world.open(owner(1), None, Settings::default());
    assert_eq!(state.pull().await.unwrap(), Some(small(2)));
}

#[tokio::test]
async fn a_state_that_worked_a_moment_ago_does_not_write_over_damage_either() {
    let (world, epoch) = world_with_a_state().await;
    let state = world.state().await;
    // Its cached head may be the base of a change.
    state.take_lock("x").await.unwrap();
    world.overwrite_head("garbage").await;
    let before = world.raw_head().await;
    for (verb, error) in state.every_verb_fails(epoch, true).await {
        let told = matches!(error, StateError::Head(_) | StateError::WrongEpoch { .. });
        assert!(told, "{verb}: {error:?}");
    }
    assert_eq!(world.raw_head().await, before);
}

#[tokio::test]
async fn an_entry_that_the_store_does_not_know_is_foreign() {
    let world = World::on_disk();
    let state = world.state().await;
    state.post(None, &small(1)).await.unwrap();
    let epoch = world.head().await.epoch;
    drop(state);
    let folder = world.close().await.unwrap();
    for raw in [&b"another program's"[..], b"", b"d", b"p\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
        let database = Database::open(folder.path().join("states.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(ENTRIES).unwrap().insert(PATH, raw).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let world = World::on(EmbeddedKv::open(folder.path()).unwrap(), None);
        let foreign = world.raw_head().await;
        assert!(matches!(foreign.value, Value::Foreign(_)), "{foreign:?}");
        let not_a_head = |error: &HeadError| matches!(error, HeadError::NotAHead(_));
        refused(&world, epoch, "a foreign entry", not_a_head, false).await;
        world.close().await;
        let database = Database::open(folder.path().join("states.redb")).unwrap();
        let table = redb::ReadableDatabase::begin_read(&database).unwrap().open_table(ENTRIES).unwrap();
        assert_eq!(table.get(PATH).unwrap().unwrap().value(), raw);
    }
}
