//! Owners and epochs.

use super::*;
use crate::store::Epoch;

fn other(claim: u64) -> Owner {
    Owner { name: "other".into(), ..owner(claim) }
}

#[test]
fn a_new_head_is_empty_and_its_own() {
    let (one, two) = (Head::new(owner(1)), Head::new(owner(1)));
    assert_ne!(one.epoch, two.epoch);
    assert_eq!((one.revision, one.next, one.current), (1, 1, None));
    assert_eq!((one.check(), one.owned_by(&owner(1))), (Ok(()), Ok(())));
}

#[test]
fn only_the_very_owner_works_on_a_head() {
    let head = Head::new(owner(3));
    assert_eq!(head.owned_by(&owner(3)), Ok(()));
    let instance = Owner { instance: "test".into(), ..owner(3) };
    let namespace = Owner { namespace: "others".into(), ..owner(3) };
    let released = Owner { released: true, ..owner(3) };
    for not in [owner(2), owner(4), other(3), instance, namespace, released] {
        let refusal = head.owned_by(&not).unwrap_err();
        assert_eq!(refusal, Refusal::ForeignOwner(Box::new(owner(3))));
        assert_eq!(refusal.to_string(), "the path belongs to team/app of instance prod (claim 3)");
    }
}

#[test]
fn a_higher_claim_takes_over_and_changes_nothing_else() {
    let mut story = Story::new();
    story.post(None, 1);
    story.lock("a").unwrap();
    let before = story.head.clone();
    assert_eq!(story.take(story.head.taken_over(&owner(1))), Ok(((), false)));
    for low in [other(1), other(0), owner(0)] {
        let refusal = story.unchanged(|story| story.take(story.head.taken_over(&low)));
        assert_eq!(refusal, Refusal::ForeignOwner(Box::new(owner(1))));
    }
    assert_eq!(story.take(story.head.taken_over(&other(2))), Ok(((), true)));
    assert_eq!(story.head, Head { owner: other(2), revision: before.revision + 1, ..before });
    let stale = story.unchanged(|story| story.take(story.head.taken_over(&owner(1))));
    assert_eq!(stale, Refusal::ForeignOwner(Box::new(other(2))));
}

#[test]
fn a_release_ends_the_hold_and_keeps_the_state() {
    let mut story = Story::new();
    story.run("a", &[1, 2]);
    let before = story.head.clone();
    let now = story.now();
    assert_eq!(story.take(story.head.released(&owner(1), false, now)), Ok(((), true)));
    let gone = Owner { released: true, ..owner(1) };
    assert_eq!(story.head, Head { owner: gone.clone(), revision: before.revision + 1, ..before });
    assert!(story.head.owned_by(&owner(1)).is_err(), "a stale replica is refused");
    assert!(story.head.owned_by(&gone).is_ok());
    assert_eq!(story.take(story.head.released(&owner(1), false, now)), Ok(((), false)), "done is done");
    assert!(story.head.taken_over(&owner(1)).is_err(), "not by the claim that was given up");
    assert_eq!(story.take(story.head.taken_over(&owner(2))), Ok(((), true)));
}

#[test]
fn a_release_with_deletion_throws_everything_away() {
    let mut story = Story::new();
    story.write(&in_object(write_request(None, 1, "one"), "1-a", 2, 9)).unwrap();
    story.roll_back(1, Some(1), "1@1").unwrap();
    story.post(None, 3);
    story.now = 8;
    let now = story.now();
    assert_eq!(story.take(story.head.released(&owner(1), true, now)), Ok(((), true)));
    assert_eq!((story.head.current, story.numbers()), (None, vec![]));
    let trash: Vec<_> = story.head.trash.iter().map(|trash| (&*trash.object.name, trash.since)).collect();
    assert_eq!(trash, [("1-a", at(8))], "once, though two versions had it");
    assert_eq!(story.head.next, 4, "no number is used again");
    assert_eq!(story.take(story.head.released(&owner(1), true, now)), Ok(((), false)));
}

#[test]
fn a_release_that_kept_may_be_followed_by_one_that_deletes() {
    let mut story = Story::new();
    story.post(None, 1);
    let now = story.now();
    story.take(story.head.released(&owner(1), false, now)).unwrap();
    assert_eq!(story.take(story.head.released(&owner(1), true, now)), Ok(((), true)));
    assert_eq!(story.numbers(), [0; 0]);
}

#[test]
fn a_release_is_refused_while_locked_and_to_others() {
    let mut story = Story::new();
    let now = story.now();
    let foreign = story.unchanged(|story| story.take(story.head.released(&other(1), true, now)));
    assert_eq!(foreign, Refusal::ForeignOwner(Box::new(owner(1))));
    assert!(story.head.released(&owner(2), false, now).is_err());
    story.lock("a").unwrap();
    for delete in [false, true] {
        let refusal = story.unchanged(|story| story.take(story.head.released(&owner(1), delete, now)));
        assert_eq!(held_by(&refusal), "a");
    }
}

#[test]
fn accepting_goes_on_from_the_larger_counters_in_a_new_life() {
    let mut story = Story::new();
    story.run("a", &[1, 2]);
    let (head, seen) = (story.head.clone(), Epoch::random());
    for (seen_revision, revision, next) in [(100, 101, 101), (3, 6, 4), (5, 6, 6), (0, 6, 3)] {
        let accepted = head.accepted(seen, seen_revision);
        assert_eq!((accepted.revision, accepted.next), (revision, next), "seen {seen_revision}");
        assert_eq!(accepted.supersedes, [head.epoch, seen]);
        assert!(accepted.epoch != head.epoch && accepted.epoch != seen);
        assert_eq!(accepted.check(), Ok(()));
        let same = Head { epoch: head.epoch, revision: head.revision, next: head.next, supersedes: vec![], ..accepted };
        assert_eq!(same, head, "all else stays");
    }
}

#[test]
fn a_head_names_the_last_lives_it_replaced_each_once() {
    let mut head = Head::new(owner(1));
    let first = head.epoch;
    head = head.accepted(first, 7);
    assert_eq!(head.supersedes, [first]);
    let mut lives = vec![first];
    for _ in 0..10 {
        lives.push(head.epoch);
        head = head.accepted(head.epoch, head.revision);
    }
    assert_eq!(head.supersedes, lives[lives.len() - 8..]);
    assert_eq!(head.check(), Ok(()));
}

#[test]
fn an_empty_head_in_the_place_of_a_lost_one_uses_no_number_again() {
    let seen = Epoch::random();
    let head = Head::instead_of_lost(owner(2), seen, 41);
    assert_eq!((head.revision, head.next, head.current), (42, 42, None));
    assert_eq!((&head.supersedes[..], &head.owner), (&[seen][..], &owner(2)));
    assert_ne!(head.epoch, seen);
    assert_eq!(head.check(), Ok(()));
}
