//! LOCK and UNLOCK.

use super::*;

#[test]
fn a_free_lock_is_granted_and_kept_whole_24_25() {
    let mut story = Story::new();
    story.now = 5;
    let ask = LockRequest {
        info: "{ \"ID\" : \"a\", \"Info\": \"\\u00e4\" }\n".to_owned(),
        credential: Some("hash".to_owned().into()),
        traceparent: Some("00-trace-01".to_owned()),
        ..lock_request("a")
    };
    let granted = story.head.locked(&ask, op("x"), story.now());
    assert_eq!(story.take(granted), Ok(((), true)));
    let expected = Lock {
        id: "a".into(),
        info: ask.info.clone(),
        identity: "of-a".into(),
        credential: ask.credential.clone(),
        since: at(5),
        wrote: None,
        base: None,
        traceparent: ask.traceparent.clone(),
        op: op("x"),
    };
    assert_eq!(story.head.lock, Some(expected));
}

#[test]
fn the_lock_remembers_the_state_before_the_apply() {
    let mut story = Story::new();
    story.post(None, 1);
    story.lock("a").unwrap();
    story.post(Some("a"), 2);
    assert_eq!(story.head.lock.as_ref().unwrap().base, Some(1));
}

#[test]
fn a_held_lock_is_refused_with_its_holder_26() {
    let mut story = Story::new();
    story.lock("a").unwrap();
    let refusal = story.unchanged(|story| story.lock("b"));
    assert_eq!(refusal, Refusal::Held(Box::new(story.head.lock.clone().unwrap())));
    assert_eq!(refusal.to_string(), "the state is locked by of-a (lock a)");
}

#[test]
fn the_id_that_holds_is_granted_again_and_nothing_changes_27() {
    let mut story = Story::new();
    story.lock("a").unwrap();
    let before = story.head.clone();
    story.now = 100;
    assert_eq!(story.lock("a"), Ok(((), false)));
    assert_eq!(story.head, before);
}

#[test]
fn a_late_repeat_of_a_lock_makes_no_ghost_27() {
    let mut story = Story::new();
    story.run("a", &[]);
    assert_eq!(story.unchanged(|story| story.lock("a")), Refusal::LateRepeat { id: "a".into() });
    // Who holds is told first.
    story.lock("b").unwrap();
    assert_eq!(held_by(&story.unchanged(|story| story.lock("a"))), "b");
}

#[test]
fn the_last_16_released_ids_are_known() {
    let mut story = Story::new();
    for n in 0..17 {
        story.run(&format!("id-{n}"), &[]);
    }
    assert_eq!(story.head.released.len(), 16);
    assert_eq!(story.unlock("id-1"), Ok((None, false)));
    assert_eq!(story.unchanged(|story| story.unlock("id-0")), Refusal::NeverHeld { id: "id-0".into() });
    assert!(story.lock("id-1").is_err());
    assert_eq!(story.lock("id-0"), Ok(((), true)), "an id that is forgotten is a new one");
}

#[test]
fn the_holder_unlocks_and_is_remembered_32_33() {
    let mut story = Story::new();
    story.lock("a").unwrap();
    story.now = 9;
    let lock = story.head.lock.clone().unwrap();
    let done = story.head.unlocked(&Unlock::ById("a".into()), "me", op("u"), story.now());
    assert_eq!(story.take(done), Ok((Some(lock), true)));
    assert_eq!(story.head.lock, None);
    let [released] = &story.head.released[..] else { panic!("{:?}", story.head.released) };
    let said = (&*released.id, released.at, &*released.by, released.forced, released.op);
    assert_eq!(said, ("a", at(9), "me", false, op("u")));
}

#[test]
fn an_unlock_of_another_id_leaves_the_lock_34() {
    let mut story = Story::new();
    story.lock("a").unwrap();
    assert_eq!(held_by(&story.unchanged(|story| story.unlock("b"))), "a");
    assert_eq!(held_by(&story.unchanged(|story| story.unlock_by(&Unlock::Forced("b".into())))), "a");
}

#[test]
fn an_id_that_was_just_released_unlocks_again_whoever_holds_35() {
    let mut story = Story::new();
    story.run("a", &[]);
    assert_eq!(story.unlock("a"), Ok((None, false)));
    story.lock("b").unwrap();
    assert_eq!(story.unlock("a"), Ok((None, false)));
    assert_eq!(story.unlock_by(&Unlock::Forced("a".into())), Ok((None, false)));
    assert_eq!(story.head.lock.as_ref().unwrap().id, "b");
}

#[test]
fn an_unlock_whose_answer_was_lost_breaks_nobody_elses_lock() {
    let mut story = Story::new();
    for ask in [Unlock::ById("a".into()), Unlock::Quiet(Duration::ZERO)] {
        story.head.released.clear();
        story.now += 10;
        story.lock("a").unwrap();
        story.now += 10;
        let name = format!("{ask:?}");
        let step = story.head.unlocked(&ask, "me", op(&name), story.now());
        assert!(story.take(step).unwrap().0.is_some());
        story.lock("b").unwrap();
        story.now += 10;
        let again = story.head.unlocked(&ask, "me", op(&name), story.now());
        assert_eq!(story.take(again), Ok((None, false)), "{name}");
        assert_eq!(story.unlock("b").map(|(_, changed)| changed), Ok(true));
    }
}

#[test]
fn an_id_that_never_held_does_not_unlock_35() {
    let mut story = Story::new();
    assert_eq!(story.unchanged(|story| story.unlock("a")), Refusal::NeverHeld { id: "a".into() });
    let forced = story.unchanged(|story| story.unlock_by(&Unlock::Forced("a".into())));
    assert_eq!(forced, Refusal::NeverHeld { id: "a".into() });
}

#[test]
fn a_person_breaks_a_lock_and_its_holder_is_told() {
    let mut story = Story::new();
    story.lock("a").unwrap();
    let (released, _) = story.unlock_by(&Unlock::Forced("a".into())).unwrap();
    assert_eq!(released.unwrap().id, "a");
    assert!(story.head.released.last().unwrap().forced);
    let write = write_request(Some("a"), 1, "late");
    assert_eq!(story.unchanged(|story| story.write(&write)), Refusal::LockGone { id: "a".into() });
}

#[test]
fn an_unlock_without_a_body_breaks_a_quiet_lock_only_36() {
    let mut story = Story::new();
    story.now = 1_000;
    story.lock("a").unwrap();
    let blind = Unlock::Quiet(MINUTE);
    for now in [0, 1_000, 1_059, 1_060] {
        story.now = now;
        assert_eq!(held_by(&story.unchanged(|story| story.unlock_by(&blind))), "a", "at {now}");
    }
    story.now = 1_061;
    let (released, changed) = story.unlock_by(&blind).unwrap();
    assert_eq!((released.unwrap().id.as_str(), changed), ("a", true));
    assert!(story.head.released.last().unwrap().forced, "recorded as forced");
    assert_eq!(story.unlock_by(&blind), Ok((None, false)), "the client repeats it blindly");
}

#[test]
fn a_holder_that_writes_is_not_quiet_36() {
    let mut story = Story::new();
    story.lock("a").unwrap();
    story.now = 100;
    story.post(Some("a"), 1);
    // A repeat is no write.
    story.now = 150;
    let repeat = write_request(Some("a"), 1, "state 1");
    assert!(story.write(&repeat).unwrap().0.repeated);
    story.now = 160;
    assert_eq!(held_by(&story.unchanged(|story| story.unlock_by(&Unlock::Quiet(MINUTE)))), "a");
    story.now = 161;
    assert!(story.unlock_by(&Unlock::Quiet(MINUTE)).is_ok());
}

#[test]
fn deny_never_breaks_a_lock_and_still_succeeds_on_none_36() {
    let mut story = Story::new();
    let deny = Unlock::Quiet(Duration::MAX);
    assert_eq!(story.unlock_by(&deny), Ok((None, false)));
    story.lock("a").unwrap();
    story.now = 200 * 365 * 86_400;
    assert_eq!(held_by(&story.unchanged(|story| story.unlock_by(&deny))), "a");
}

#[test]
fn a_clock_that_went_back_makes_no_lock_old() {
    let mut story = Story::new();
    story.now = 500;
    story.lock("a").unwrap();
    let lock = story.head.lock.as_ref().unwrap();
    assert_eq!(lock.quiet(at(0)), Duration::ZERO);
    let odd = Lock { wrote: Some(at(100)), ..lock.clone() };
    assert_eq!(odd.quiet(at(510)), Duration::from_secs(10), "a write before the grant counts as none");
}
