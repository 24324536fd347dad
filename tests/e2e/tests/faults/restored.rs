//! The server goes back to an older snapshot under replicas that have seen more.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::Value;
use tofustate::store::StateError;
use tofustate_e2e::{ask::noisy_state, wait};

use crate::{
    replica::{Options, Replica, budget},
    world::World,
};

const PATH: &str = "team/app";

/// Two replicas that have both seen what was written after the snapshot, and the server set back to it. What was written
/// before, and after, and which version the entry had.
fn set_back(world: &World, options: Options, large: usize) -> ([Replica; 2], [Vec<u8>; 2], Value) {
    let replicas = ["one", "two"].map(|name| Replica::start(world, name, options));
    replicas.iter().for_each(|replica| drop(replica.serve(PATH)));
    let [one, two] = &replicas;
    let bodies = [noisy_state(1, large), noisy_state(2, large)];
    one.lock(PATH, "first").is(200);
    one.post(PATH, "first", &bodies[0]).is(200);
    one.unlock(PATH, "first").is(200);
    two.has(PATH, &bodies[0]);
    let snapshot = world.server.snapshot();
    one.lock(PATH, "held").is(200);
    two.post(PATH, "held", &bodies[1]).is(200);
    replicas.iter().for_each(|replica| replica.has(PATH, &bodies[1]));
    let seen = world.api().must("GET", "states/metadata/team/app", &Value::Null)["current_version"].clone();
    world.server.restore(&snapshot);
    (replicas, bodies, seen)
}

#[test]
fn a_store_that_was_set_back_answers_nothing_until_it_is_accepted() {
    let name = "a_store_that_was_set_back_answers_nothing_until_it_is_accepted";
    for large in [2_000, 900_000] {
        let Some(world) = World::set_up(name) else { return };
        let (replicas, [older, newer], _) = set_back(&world, Options::default(), large);
        let before = replicas[0].state(PATH).mark().unwrap();
        for replica in &replicas {
            replica.says(PATH, "held", &["was restored from an older copy"]);
        }
        // Nor does a replica that is started now with what they saw.
        let third = Replica::start(&world, "three", Options::default());
        let state = third.open(PATH, Some(before));
        third.says(PATH, "held", &["was restored from an older copy"]);
        assert!(matches!(third.run(state.register(&mut budget())), Err(StateError::HeadBehind { .. })));
        let lost = third.accept(PATH, true);
        assert!(matches!(lost, Err(StateError::HeadBehind { .. })), "an empty one is not what is there: {lost:?}");

        let [one, two] = &replicas;
        two.accept(PATH, false).unwrap();
        let after = two.state(PATH).mark().unwrap();
        assert!(after.epoch != before.epoch && after.revision > before.revision, "{after:?} after {before:?}");
        // The others follow; now it is the older state, since a person said so.
        for replica in [one, two, &third] {
            replica.has(PATH, &older);
            assert_eq!(replica.state(PATH).mark(), Some(after));
        }
        // What was locked since the snapshot is not.
        one.post(PATH, "held", &newer).is_error(409, "lock_gone");
        one.lock(PATH, "next").is(200);
        two.lock(PATH, "other").is(409);
        two.post(PATH, "next", &newer).is(200);
        third.has(PATH, &newer);
        one.unlock(PATH, "next").is(200);
        assert!(matches!(one.accept(PATH, false), Err(StateError::NothingToAccept)), "it was accepted");
    }
}

#[test]
fn a_head_from_before_a_restore_is_no_base_however_long_it_is_kept() {
    let name = "a_head_from_before_a_restore_is_no_base_however_long_it_is_kept";
    let Some(world) = World::set_up(name) else { return };
    let forever = Options { head_age: Duration::from_secs(3600), ..Options::default() };
    let (replicas, [older, _], seen) = set_back(&world, forever, 2_000);
    let [one, two] = &replicas;
    two.accept(PATH, false).unwrap();
    let epoch = two.state(PATH).mark().unwrap().epoch;
    two.lock(PATH, "theirs").is(200);
    // Revisions of the store are used again: this is the one that the other replica still has in mind, with another lock.
    let version = world.api().must("GET", "states/metadata/team/app", &Value::Null)["current_version"].clone();
    assert_eq!(version, seen, "the test is not of the case that it is for");
    // It is not acknowledged: refused, or said to be open where an attempt on the former node counts as one that may have
    // been done.
    let answer = one.post(PATH, "held", &noisy_state(8, 2_000));
    assert!([409, 503].contains(&answer.status()), "{}", answer.text());
    one.post(PATH, "held", &noisy_state(8, 2_000)).is(409);
    one.lock(PATH, "mine").is(409);
    one.has(PATH, &older);
    let theirs = noisy_state(7, 2_000);
    two.post(PATH, "theirs", &theirs).is(200);
    assert_eq!(one.state(PATH).mark().unwrap().epoch, epoch);
    one.has(PATH, &theirs);
    two.unlock(PATH, "theirs").is(200);
    one.lock(PATH, "mine").is(200);
    one.unlock(PATH, "mine").is(200);
}

#[test]
fn while_the_store_is_set_back_no_request_is_answered_from_the_past() {
    let name = "while_the_store_is_set_back_no_request_is_answered_from_the_past";
    let Some(world) = World::set_up(name) else { return };
    let replicas = ["one", "two"].map(|name| Replica::start(&world, name, Options::default()));
    replicas.iter().for_each(|replica| drop(replica.serve(PATH)));
    let [one, two] = &replicas;
    one.post(PATH, "", &noisy_state(1, 2_000)).is(200);
    let snapshot = world.server.snapshot();
    let newer = noisy_state(2, 2_000);
    two.post(PATH, "", &newer).is(200);
    replicas.iter().for_each(|replica| replica.has(PATH, &newer));
    let reads = AtomicU64::new(0);
    // Asked all the time, from before it begins until both say what happened: the newer state, or nothing.
    std::thread::scope(|scope| {
        let asked = replicas.each_ref().map(|replica| {
            let (newer, reads) = (&newer, &reads);
            scope.spawn(move || {
                wait::until("it says what happened", || match replica.get(PATH) {
                    answer if answer.status() == 200 => {
                        assert!(answer.bytes() == newer, "the older state was read");
                        Err(format!("{} reads", reads.fetch_add(1, Ordering::Relaxed)))
                    }
                    answer => {
                        answer.is(503);
                        let behind = answer.text().contains("was restored from an older copy");
                        if behind { Ok(()) } else { Err(answer.text()) }
                    }
                });
            })
        });
        wait::until("reads", || match reads.load(Ordering::Relaxed) {
            few @ ..20 => Err(format!("{few}")),
            _ => Ok(()),
        });
        world.server.restore(&snapshot);
        asked.into_iter().for_each(|asked| asked.join().unwrap());
    });
    println!("{name}: {reads:?} reads of the newer state");
    for replica in &replicas {
        replica.says(PATH, "none", &["was restored from an older copy"]);
    }
}
