//! Owner entries: claimed by one of many, raised, released, and left alone where they are damaged.

use tofustate::store::{
    Value, keys,
    owners::{ClaimError, Claimant, Leftover, claim, raise, release},
};
use tokio::task::JoinSet;

use crate::world::{World, budget, path};

fn who(name: &str) -> Claimant {
    Claimant { instance: "test".into(), namespace: "team".into(), name: name.into(), uid: Some(format!("uid-{name}")) }
}

async fn claims(world: &World, name: &str, adopt: bool) -> Result<u64, ClaimError> {
    claim(&*world.kv, &path(), &who(name), adopt, &mut budget()).await
}

async fn raises(world: &World, name: &str, above: u64) -> Result<u64, ClaimError> {
    raise(&*world.kv, &path(), &who(name), above, &mut budget()).await
}

async fn releases(world: &World, name: &str, claim: u64, leaves: Leftover) -> Result<(), ClaimError> {
    release(&*world.kv, &path(), &who(name), claim, leaves, &mut budget()).await
}

async fn text(world: &World) -> String {
    match world.raw(&keys::owner(&path())).await.unwrap().value {
        Value::Document(text) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

const A: &str = "team/a of instance test (claim 1)";

#[tokio::test]
async fn the_first_claim_wins_and_is_kept() {
    let world = World::in_memory();
    assert_eq!(claims(&world, "a", false).await, Ok(1));
    let entry = world.raw(&keys::owner(&path())).await;
    assert_eq!(claims(&world, "a", false).await, Ok(1));
    assert_eq!(claims(&world, "a", true).await, Ok(1));
    // A resource made anew under the same name is the same owner.
    let anew = Claimant { uid: None, ..who("a") };
    assert_eq!(claim(&*world.kv, &path(), &anew, false, &mut budget()).await, Ok(1));
    assert_eq!(world.raw(&keys::owner(&path())).await, entry, "asking again writes nothing");
    assert!(text(&world).await.contains("uid-a"));
}

#[tokio::test]
async fn a_path_that_is_anothers_is_refused_also_to_who_may_adopt() {
    let world = World::in_memory();
    claims(&world, "a", false).await.unwrap();
    let before = text(&world).await;
    for adopt in [false, true] {
        assert_eq!(claims(&world, "b", adopt).await, Err(ClaimError::Conflict(A.to_owned())));
    }
    for other in [Claimant { instance: "other".into(), ..who("a") }, Claimant { namespace: "other".into(), ..who("a") }]
    {
        let refused = claim(&*world.kv, &path(), &other, true, &mut budget()).await;
        assert_eq!(refused, Err(ClaimError::Conflict(A.to_owned())));
    }
    assert_eq!(raises(&world, "b", 7).await, Err(ClaimError::Conflict(A.to_owned())));
    let superseded = releases(&world, "b", 1, Leftover::Nothing).await;
    assert_eq!(superseded, Err(ClaimError::Superseded(A.to_owned())));
    assert_eq!(text(&world).await, before);
    let said = ClaimError::Conflict(A.to_owned()).to_string();
    assert!(said.contains(A) && said.contains("choose another path"), "{said}");
}

#[tokio::test]
async fn a_claim_is_raised_above_what_a_head_remembers() {
    let world = World::in_memory();
    claims(&world, "a", false).await.unwrap();
    assert_eq!(raises(&world, "a", 0).await, Ok(1), "it is above already");
    assert_eq!(raises(&world, "a", 1).await, Ok(2));
    assert_eq!(raises(&world, "a", 1).await, Ok(2), "done is done");
    assert_eq!(raises(&world, "a", 41).await, Ok(42));
    assert_eq!(claims(&world, "a", false).await, Ok(42));
    // Where the entry was lost with the store it is made again.
    let world = World::in_memory();
    assert_eq!(raises(&world, "a", 9).await, Ok(10));
}

#[tokio::test]
async fn what_was_released_goes_to_whom_it_may() {
    let world = World::in_memory();
    claims(&world, "a", false).await.unwrap();
    releases(&world, "a", 1, Leftover::State).await.unwrap();
    let entry = world.raw(&keys::owner(&path())).await;
    releases(&world, "a", 1, Leftover::State).await.unwrap();
    assert_eq!(world.raw(&keys::owner(&path())).await, entry, "done is done");
    assert_eq!(raises(&world, "a", 1).await, Err(ClaimError::Conflict(A.to_owned())));

    assert_eq!(claims(&world, "b", false).await, Err(ClaimError::HasState(A.to_owned())));
    assert_eq!(claims(&world, "a", false).await, Ok(2), "the former owner gets it back, with a higher claim");
    releases(&world, "a", 2, Leftover::State).await.unwrap();
    assert_eq!(claims(&world, "b", true).await, Ok(3), "adopted");
    releases(&world, "b", 3, Leftover::Nothing).await.unwrap();
    assert_eq!(claims(&world, "c", false).await, Ok(4), "nothing was left: anybody gets it");
    assert!(text(&world).await.contains("uid-c"));
}

#[tokio::test]
async fn a_release_of_before_takes_nothing_from_a_newer_claim() {
    let world = World::in_memory();
    claims(&world, "a", false).await.unwrap();
    releases(&world, "a", 1, Leftover::State).await.unwrap();
    claims(&world, "a", false).await.unwrap();
    let before = text(&world).await;
    let late = releases(&world, "a", 1, Leftover::Nothing).await;
    assert_eq!(late, Err(ClaimError::Superseded("team/a of instance test (claim 2)".to_owned())));
    assert_eq!(text(&world).await, before);
    // Of an entry that was set back it is still a release.
    releases(&world, "a", 5, Leftover::Nothing).await.unwrap();
    assert_eq!(claims(&world, "b", false).await, Ok(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_exactly_one_wins() {
    for round in 0..20 {
        let world = World::in_memory();
        let mut expected = 1;
        if round % 2 == 1 {
            claims(&world, "former", false).await.unwrap();
            releases(&world, "former", 1, Leftover::Nothing).await.unwrap();
            expected = 2;
        }
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            let kv = world.kv.clone();
            tasks.spawn(async move { claim(&*kv, &path(), &who(&format!("c{n}")), false, &mut budget()).await });
        }
        let answers = tasks.join_all().await;
        let won = answers.iter().filter(|answer| **answer == Ok(expected)).count();
        let lost = answers.iter().filter(|answer| matches!(answer, Err(ClaimError::Conflict(_)))).count();
        assert_eq!((won, lost), (1, 7), "round {round}: {answers:?}");
    }
}

#[tokio::test]
async fn a_damaged_entry_is_named_and_left_alone() {
    let world = World::in_memory();
    claims(&world, "a", false).await.unwrap();
    let good = text(&world).await;
    let marker = "s3cr3t-marker";
    let cases = [
        String::new(),
        marker.to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        good[..good.len() - 1].to_owned(),
        format!("{good}{good}"),
        good.replacen("\"format\":1", "\"format\":2", 1),
        good.replacen("\"claim\":1", "\"claim\":-1", 1),
        good.replacen("\"claim\":1", "\"claim\":18446744073709551615", 1),
        good.replacen("\"claim\":1", &format!("\"claim\":1,\"{marker}\":1"), 1),
        good.replacen("\"claim\":1", &format!("\"claim\":1,\"released\":\"{marker}\""), 1),
        // A head in its place.
        tofustate::store::Head::new(crate::world::owner(1)).encode(),
    ];
    for case in cases {
        assert_ne!(case, good);
        world.overwrite(&keys::owner(&path()), Value::Document(case.clone().into())).await;
        let before = world.raw(&keys::owner(&path())).await;
        let failed = [
            claims(&world, "a", true).await.map(drop),
            claims(&world, "b", false).await.map(drop),
            raises(&world, "a", 3).await.map(drop),
            releases(&world, "a", 1, Leftover::Nothing).await,
        ];
        for error in failed {
            let error = error.expect_err(&case);
            assert!(matches!(error, ClaimError::Damaged { .. }), "{case}: {error:?}");
            let said = format!("{error} {error:?}");
            assert!(
                said.contains(".owners/team:app") && said.contains("left alone") && !said.contains(marker),
                "{said}"
            );
        }
        assert_eq!(world.raw(&keys::owner(&path())).await, before, "{case}");
    }
}
