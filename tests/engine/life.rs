//! Heads of others, heads that are gone, heads of before: every verb is refused and nothing changes, until a person says
//! otherwise.

use tofustate::store::{
    Epoch, Mark, Settings, State, StateError,
    head::{Owner, Refusal},
};

use crate::world::{Asked, PATH, World, budget, noisy, owner, path, small};

fn other() -> Owner {
    Owner { name: "other".into(), ..owner(2) }
}

/// Every verb fails as `expected` says, and the store is as it was.
async fn every_verb(world: &World, state: &State, epoch: Epoch, expected: impl Fn(&str, &StateError) -> bool) {
    let before = (world.raw(PATH).await, world.parts().await);
    // A release of what this owner released already is done, and may still delete.
    let released = before.0.is_some() && world.head().await.owner == Owner { released: true, ..owner(1) };
    for (verb, error) in state.every_verb_fails(epoch, !released).await {
        assert!(expected(verb, &error), "{verb}: {error:?}");
    }
    world.until_parts("every verb", |parts| parts == before.1).await;
    assert_eq!(world.raw(PATH).await, before.0);
}

fn foreign(error: &StateError) -> bool {
    matches!(error, StateError::Refused(Refusal::ForeignOwner(_))) && error.kind() == "foreign_owner"
}

#[tokio::test]
async fn a_head_of_another_owner_is_left_alone() {
    let cases = [
        other(),
        owner(2),
        Owner { released: true, ..owner(1) },
        Owner { instance: "other".into(), ..owner(1) },
        Owner { namespace: "other".into(), ..owner(1) },
    ];
    for theirs in cases {
        let world = World::in_memory();
        // One that knows the head of before, and one that knows nothing.
        let warm = world.state().await;
        warm.post(None, &noisy(1, 600_000)).await.unwrap();
        warm.take_lock("x").await.unwrap();
        let cold = world.open(owner(1), None, Settings::default());
        world
            .alter_head(|head| {
                head.revision += 1;
                head.owner = theirs.clone();
            })
            .await;
        let epoch = world.head().await.epoch;
        for state in [&warm, &cold] {
            every_verb(&world, state, epoch, |verb, error| {
                foreign(error)
                    || verb.starts_with("accept")
                        && matches!(error, StateError::WrongEpoch { .. } | StateError::NothingToAccept)
            })
            .await;
            assert!(foreign(&state.register(&mut budget()).await.unwrap_err()));
        }
        // The head's owner goes on with it, whose lock it is all the same.
        let state = world.open(theirs.clone(), None, Settings::default());
        assert_eq!(state.head(&mut budget()).await.unwrap().lock.as_ref().unwrap().id, "x");
    }
}

#[tokio::test]
async fn a_take_over_ends_every_replica_of_the_former_owner() {
    let world = World::in_memory();
    let former = world.state().await;
    former.take_lock("a").await.unwrap();
    let mut upload = former.upload(tofustate::store::WriteCall { lock: Some("a"), ..Default::default() }).unwrap();
    let body = noisy(1, 2 << 20);
    upload.push(&body[..1 << 20], &mut budget()).await.unwrap();
    let next = world.open(other(), None, Settings::default());
    next.register(&mut budget()).await.unwrap();
    next.register(&mut budget()).await.unwrap();
    upload.push(&body[1 << 20..], &mut budget()).await.unwrap();
    assert!(foreign(&upload.finish(&mut budget()).await.unwrap_err()));
    // A swap that named its parts was sent: they are the sweep's.
    assert!(!world.parts().await.is_empty());
    assert!(foreign(&former.let_go("a").await.unwrap_err()));
    assert!(foreign(&former.pull().await.unwrap_err()));
    next.post(Some("a"), &small(1)).await.unwrap();
    next.let_go("a").await.unwrap();
    assert_eq!(next.pull().await.unwrap(), Some(small(1)));
}

#[tokio::test]
async fn a_release_keeps_the_state_for_the_next_claim() {
    let world = World::in_memory();
    let state = world.state().await;
    state.post(None, &small(1)).await.unwrap();
    state.take_lock("a").await.unwrap();
    for delete in [false, true] {
        let error = state.release(delete, &mut budget()).await.unwrap_err();
        assert_eq!(error.holder().unwrap().id, "a");
    }
    state.let_go("a").await.unwrap();
    state.release(false, &mut budget()).await.unwrap();
    state.release(false, &mut budget()).await.unwrap();
    assert!(foreign(&state.pull().await.unwrap_err()));
    assert!(foreign(&state.register(&mut budget()).await.unwrap_err()));
    let next = world.open(owner(2), None, Settings::default());
    next.register(&mut budget()).await.unwrap();
    assert_eq!(next.pull().await.unwrap(), Some(small(1)));
}

#[tokio::test]
async fn a_release_with_deletion_leaves_an_empty_head_and_no_parts() {
    let world = World::in_memory();
    let state = world.state().await;
    state.post(None, &noisy(1, 1 << 20)).await.unwrap();
    state.post(None, &small(2)).await.unwrap();
    // A part that no head names goes too.
    let lost = tofustate::store::keys::part(&path(), "7-lost", 3);
    let part = world.raw(&world.parts().await[0]).await.unwrap().value;
    world.overwrite(&lost, part).await;
    state.release(true, &mut budget()).await.unwrap();
    assert_eq!(world.parts().await, [""; 0]);
    let head = world.head().await;
    assert!(head.versions.is_empty() && head.trash.is_empty() && head.current.is_none() && head.owner.released);
    state.release(true, &mut budget()).await.unwrap();
    let next = world.open(owner(2), None, Settings::default());
    next.register(&mut budget()).await.unwrap();
    assert_eq!(next.pull().await.unwrap(), None);
    assert_eq!(next.post(None, &small(3)).await.unwrap().version, Some(3), "no number is used again");
    // A release of before that comes late deletes nothing of the next owner's.
    assert!(foreign(&state.release(true, &mut budget()).await.unwrap_err()));
    assert_eq!(next.pull().await.unwrap(), Some(small(3)));
}

#[tokio::test]
async fn a_path_that_was_never_registered_gets_no_head_by_any_verb_but_that() {
    let world = World::in_memory();
    let state = world.open(owner(1), None, Settings::default());
    every_verb(&world, &state, Epoch::random(), |verb, error| {
        if verb.starts_with("accept") {
            matches!(error, StateError::WrongEpoch { seen: None, .. })
        } else {
            matches!(error, StateError::NotRegistered)
        }
    })
    .await;
    assert_eq!(world.raw(PATH).await, None);
    state.register(&mut budget()).await.unwrap();
    assert_eq!(state.pull().await.unwrap(), None);
}

#[tokio::test]
async fn a_head_that_was_seen_and_is_gone_is_lost() {
    let world = World::in_memory();
    let mark = Mark { epoch: Epoch::random(), revision: 41 };
    let state = world.open(owner(1), Some(mark), Settings::default());
    let lost = |error: &StateError| {
        let said = error.to_string();
        let told = matches!(error, StateError::HeadLost { epoch } if *epoch == mark.epoch);
        told && error.kind() == "head_lost" && said.contains(&format!("tofustate.io/accept-empty: {}", mark.epoch))
    };
    every_verb(&world, &state, mark.epoch, |verb, error| {
        lost(error) || verb.starts_with("accept") && matches!(error, StateError::WrongEpoch { seen: Some(_), .. })
    })
    .await;
    assert!(lost(&state.register(&mut budget()).await.unwrap_err()));
    assert_eq!(world.raw(PATH).await, None, "no head is made in its place");

    state.accept_empty(mark.epoch, &mut budget()).await.unwrap();
    assert_eq!(state.pull().await.unwrap(), None);
    let head = world.head().await;
    assert_eq!((head.supersedes.as_slice(), head.revision > 41), (&[mark.epoch][..], true));
    assert!(state.post(None, &small(1)).await.unwrap().version.unwrap() > 41, "no number is used again");
    // Another replica that saw the lost one goes on with the new one.
    let replica = world.open(owner(1), Some(mark), Settings::default());
    assert_eq!(replica.pull().await.unwrap(), Some(small(1)));
    for state in [&state, &replica] {
        let again = state.accept_empty(mark.epoch, &mut budget()).await.unwrap_err();
        assert!(matches!(again, StateError::WrongEpoch { .. }), "{again:?}");
        let nothing = state.accept_empty(head.epoch, &mut budget()).await.unwrap_err();
        assert!(matches!(nothing, StateError::NothingToAccept), "{nothing:?}");
    }
    assert_eq!(state.pull().await.unwrap(), Some(small(1)));
}

#[tokio::test]
async fn a_head_that_is_behind_is_not_built_upon() {
    let world = World::in_memory();
    let first = world.state().await;
    first.post(None, &noisy(1, 600_000)).await.unwrap();
    let found = world.head().await;
    let seen = [
        Mark { epoch: found.epoch, revision: found.revision + 1 },
        Mark { epoch: Epoch::random(), revision: 1 },
        Mark { epoch: Epoch::random(), revision: 900 },
    ];
    for mark in seen {
        let good = world.head_text().await;
        let found = world.head().await;
        let state = world.open(owner(1), Some(mark), Settings::default());
        let behind = |error: &StateError| {
            let StateError::HeadBehind { epoch, seen, found_epoch, found: at } = error else { return false };
            let said = error.to_string();
            (*epoch, *seen, *found_epoch, *at) == (mark.epoch, mark.revision, found.epoch, found.revision)
                && said.contains(&format!("tofustate.io/accept-restore: {}", mark.epoch))
                && error.kind() == "head_behind"
        };
        every_verb(&world, &state, Epoch::random(), |verb, error| {
            behind(error) || verb.starts_with("accept") && matches!(error, StateError::WrongEpoch { .. })
        })
        .await;
        assert!(behind(&state.register(&mut budget()).await.unwrap_err()));
        let older = state.accept_empty(mark.epoch, &mut budget()).await.unwrap_err();
        assert!(behind(&older), "there is a head: {older:?}");

        state.accept_restore(mark.epoch, &mut budget()).await.unwrap();
        assert_eq!(state.pull().await.unwrap(), Some(noisy(1, 600_000)));
        let head = world.head().await;
        assert!(head.revision > mark.revision.max(found.revision) && head.next > mark.revision);
        assert!(head.supersedes.ends_with(&[mark.epoch]) || head.supersedes.contains(&found.epoch));
        state.take_lock("a").await.unwrap();
        state.let_go("a").await.unwrap();
        let again = state.accept_restore(mark.epoch, &mut budget()).await.unwrap_err();
        assert!(matches!(again, StateError::WrongEpoch { .. }), "{again:?}");
        // A replica that saw what this one saw goes on, and has nothing to accept.
        let replica = world.open(owner(1), Some(mark), Settings::default());
        let nothing = replica.accept_restore(mark.epoch, &mut budget()).await.unwrap_err();
        assert!(matches!(nothing, StateError::NothingToAccept), "{nothing:?}");
        replica.take_lock("b").await.unwrap();
        replica.let_go("b").await.unwrap();
        world.overwrite_head(&good).await;
    }
}

#[tokio::test]
async fn nothing_is_accepted_of_another_owners_head() {
    let world = World::in_memory();
    world.state().await.post(None, &small(1)).await.unwrap();
    world.alter_head(|head| head.owner = other()).await;
    let before = world.raw_head().await;
    let mark = Mark { epoch: world.head().await.epoch, revision: 900 };
    let state = world.open(owner(1), Some(mark), Settings::default());
    assert!(foreign(&state.accept_restore(mark.epoch, &mut budget()).await.unwrap_err()));
    assert_eq!(world.raw_head().await, before);
    // One with a higher claim would take it over, so it may.
    let state = world.open(owner(3), Some(mark), Settings::default());
    state.accept_restore(mark.epoch, &mut budget()).await.unwrap();
    state.register(&mut budget()).await.unwrap();
    assert_eq!(state.pull().await.unwrap(), Some(small(1)));
}

#[tokio::test]
async fn a_replica_follows_what_another_did() {
    let world = World::in_memory();
    let (one, two) = (world.state().await, world.state().await);
    one.take_lock("a").await.unwrap();
    assert_eq!(two.take_lock("b").await.unwrap_err().holder().unwrap().id, "a");
    two.post(Some("a"), &small(1)).await.unwrap();
    assert_eq!(one.pull().await.unwrap(), Some(small(1)));
    two.force_unlock("a", "admin", &mut budget()).await.unwrap();
    let late = one.post(Some("a"), &small(2)).await.unwrap_err();
    assert!(matches!(late, StateError::Refused(Refusal::LockGone { .. })), "{late:?}");
    assert!(one.post(Some("a"), &small(1)).await.unwrap().repeated, "a repeat of what landed");
}
