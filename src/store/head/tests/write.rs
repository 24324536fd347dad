//! POST, DELETE and rollback.

use super::{super::Anomaly, *};

#[test]
fn without_a_lock_and_without_an_id_10() {
    let mut story = Story::new();
    story.now = 3;
    let ask = write_request(None, 4, "one");
    let (done, _) = story.write(&ask).unwrap();
    assert_eq!(done, WriteDone { version: Some(1), repeated: false, anomalies: vec![] });
    let version = story.head.current().unwrap();
    assert_eq!((version.number, version.serial, version.time, version.size), (1, 4, at(3), 3));
    assert_eq!((&*version.identity, &version.lock, version.sha256), ("writer", &None, ask.sha256));
    assert_eq!((story.head.next, story.numbers()), (2, vec![1]));
}

#[test]
fn a_required_lock_is_required_10() {
    let mut story = Story::new();
    let ask = WriteRequest { lock_required: true, ..write_request(None, 1, "one") };
    assert_eq!(story.unchanged(|story| story.write(&ask)), Refusal::LockRequired);
    story.lock("a").unwrap();
    assert!(story.write(&WriteRequest { lock: Some("a".into()), ..ask }).is_ok());
}

#[test]
fn under_the_holders_id_12_22() {
    let mut story = Story::new();
    story.lock("a").unwrap();
    story.now = 7;
    for serial in 1..=3 {
        story.post(Some("a"), serial);
    }
    assert_eq!(story.numbers(), [1, 2, 3]);
    assert_eq!(story.head.lock.as_ref().unwrap().wrote, Some(at(7)));
    assert!(story.head.versions.iter().all(|version| version.lock.as_deref() == Some("a")));
}

#[test]
fn another_id_or_none_while_locked_13() {
    let mut story = Story::new();
    story.post(None, 1);
    story.lock("a").unwrap();
    for lock in [Some("b"), None] {
        let ask = write_request(lock, 2, "two");
        assert_eq!(held_by(&story.unchanged(|story| story.write(&ask))), "a", "{lock:?}");
    }
}

#[test]
fn an_id_while_nothing_is_locked_14() {
    let mut story = Story::new();
    let ask = write_request(Some("a"), 1, "one");
    assert_eq!(story.unchanged(|story| story.write(&ask)), Refusal::LockGone { id: "a".into() });
}

#[test]
fn the_same_write_again_is_the_same_write_18() {
    let mut story = Story::new();
    let repeat = |story: &mut Story, lock: Option<&str>, serial: u64| {
        let before = story.head.clone();
        let (done, changed) = story.write(&write_request(lock, serial, &format!("state {serial}"))).unwrap();
        assert!(done.repeated && !changed && done.anomalies.is_empty(), "{done:?}");
        assert_eq!(story.head, before);
        done.version
    };
    story.lock("a").unwrap();
    for serial in 1..=3 {
        story.post(Some("a"), serial);
    }
    assert_eq!(repeat(&mut story, Some("a"), 3), Some(3));
    assert_eq!(repeat(&mut story, Some("a"), 1), Some(1), "a late repeat: the newer state stays");
    story.unlock("a").unwrap();
    assert_eq!(repeat(&mut story, Some("a"), 3), Some(3), "its lock is gone");
    assert_eq!(repeat(&mut story, Some("a"), 2), Some(2));
    story.lock("b").unwrap();
    assert_eq!(repeat(&mut story, Some("a"), 2), Some(2), "another holds");
    story.post(Some("b"), 4);
    assert_eq!(repeat(&mut story, Some("a"), 3), Some(3));
    assert_eq!(story.head.current, Some(4));
}

#[test]
fn without_an_id_only_the_current_version_is_a_repeat_18() {
    let mut story = Story::new();
    story.post(None, 1);
    let one = write_request(None, 1, "state 1");
    assert!(story.write(&one).unwrap().0.repeated);
    story.post(None, 2);
    let (done, changed) = story.write(&one).unwrap();
    assert!(changed && !done.repeated, "older bytes without an ID are a new write");
    assert_eq!((done.version, done.anomalies), (Some(3), vec![Anomaly::SerialLower]));
}

#[test]
fn a_repeat_without_an_id_while_locked() {
    let mut story = Story::new();
    story.post(None, 1);
    story.lock("a").unwrap();
    let one = write_request(None, 1, "state 1");
    assert!(story.write(&one).unwrap().0.repeated, "it was written before the lock was taken");
    story.post(Some("a"), 2);
    let two = write_request(None, 2, "state 2");
    assert_eq!(held_by(&story.unchanged(|story| story.write(&two))), "a", "these bytes are the holder's");
}

#[test]
fn the_same_bytes_under_another_lock_are_a_write() {
    let mut story = Story::new();
    story.run("a", &[1]);
    story.lock("b").unwrap();
    let (done, changed) = story.write(&write_request(Some("b"), 1, "state 1")).unwrap();
    assert!(changed && done.anomalies.is_empty(), "the same state again is nothing strange: {done:?}");
    assert_eq!(story.head.current().unwrap().lock.as_deref(), Some("b"));
}

#[test]
fn an_operation_finds_what_it_did_whatever_came_since() {
    let mut story = Story::new();
    let ask = write_request(None, 1, "state 1");
    let step = story.head.written(&ask, op("mine"), &all(), story.now());
    assert_eq!(story.take(step).unwrap().0.version, Some(1));
    story.run("b", &[2, 3]);
    story.lock("c").unwrap();
    let again = story.head.written(&WriteRequest { tried: vec![1], ..ask }, op("mine"), &all(), story.now());
    let (done, changed) = story.take(again).unwrap();
    assert_eq!((done.version, done.repeated, changed), (Some(1), true, false));
}

#[test]
fn an_operation_whose_version_may_be_gone_says_so() {
    let mut story = Story::new();
    story.keep = versions(1);
    story.post(None, 1);
    story.post(None, 2);
    let ask = |tried| WriteRequest { tried, ..write_request(None, 9, "mine") };
    assert_eq!(story.unchanged(|story| story.write(&ask(vec![1]))), Refusal::Unknown);
    assert_eq!(story.unchanged(|story| story.write(&ask(vec![2, 1]))), Refusal::Unknown);
    // Version 2 is another's, version 3 was never made: neither is ours.
    assert!(story.write(&ask(vec![2, 3])).is_ok());
}

#[test]
fn what_was_thinned_is_known_as_a_repeat_18() {
    let mut story = Story::new();
    story.keep = versions(2);
    story.lock("a").unwrap();
    for serial in 1..=6 {
        story.post(Some("a"), serial);
    }
    assert_eq!(story.numbers(), [5, 6]);
    for lock_held in [true, false] {
        if !lock_held {
            story.unlock("a").unwrap();
        }
        for serial in 1..=4 {
            let ask = write_request(Some("a"), serial, &format!("state {serial}"));
            let (done, changed) = story.write(&ask).unwrap();
            assert_eq!((done.version, done.repeated, changed), (None, true, false), "serial {serial}");
        }
    }
    // The sums are those of lock "a".
    let other = write_request(Some("b"), 1, "state 1");
    assert_eq!(story.unchanged(|story| story.write(&other)), Refusal::LockGone { id: "b".into() });
}

#[test]
fn what_is_strange_is_taken_and_said_19() {
    use Anomaly::{LineageChanged, SerialEqual, SerialGap, SerialLower};
    let cases: [(u64, &str, &[Anomaly]); 8] = [
        (11, "line", &[]),
        (10, "line", &[SerialEqual]),
        (9, "line", &[SerialLower]),
        (0, "line", &[SerialLower]),
        (12, "line", &[SerialGap]),
        (u64::MAX, "line", &[SerialGap]),
        (11, "other", &[LineageChanged]),
        (1, "other", &[SerialLower, LineageChanged]),
    ];
    for (serial, lineage, expected) in cases {
        let mut story = Story::new();
        assert!(story.write(&write_request(None, 10, "ten")).unwrap().0.anomalies.is_empty(), "the first is never");
        let mut ask = write_request(None, serial, "next");
        ask.facts.lineage = Some(lineage.to_owned());
        let (done, _) = story.write(&ask).unwrap();
        assert_eq!(done.anomalies, expected, "{serial} {lineage}");
        assert_eq!(story.head.current().unwrap().anomalies, expected);
    }
    let mut story = Story::new();
    story.write(&write_request(None, u64::MAX, "most")).unwrap();
    let ask = write_request(None, u64::MAX, "most again");
    assert_eq!(story.write(&ask).unwrap().0.anomalies, [SerialEqual]);
    // After a DELETE there is nothing to compare with.
    story.delete().unwrap();
    assert!(story.write(&write_request(None, 1, "anew")).unwrap().0.anomalies.is_empty());
}

#[test]
fn bytes_that_were_only_hashed_are_no_write() {
    let mut story = Story::new();
    story.post(None, 1);
    let hashed = |text: &str| WriteRequest { body: None, ..write_request(None, 2, text) };
    assert_eq!(story.unchanged(|story| story.write(&hashed("new"))), Refusal::NotKept);
    assert!(story.write(&hashed("state 1")).unwrap().0.repeated);
    // A conflict comes before it.
    story.lock("a").unwrap();
    assert_eq!(held_by(&story.unchanged(|story| story.write(&hashed("new")))), "a");
}

#[test]
fn an_object_that_was_swept_is_not_named() {
    let mut story = Story::new();
    let ask = in_object(write_request(None, 1, "one"), "1-abc", 2, 100);
    let swept = story.head.swept(&[object("1-abc", 1)], story.now());
    story.take(Ok(swept)).unwrap();
    assert_eq!(story.unchanged(|story| story.write(&ask)), Refusal::ObjectTrashed);
    assert!(story.write(&in_object(ask, "1-abd", 2, 100)).is_ok());
}

#[test]
fn a_write_keeps_to_the_limits_at_once() {
    let mut story = Story::new();
    story.keep = versions(3);
    for serial in 1..=5 {
        story.post(None, serial);
    }
    assert_eq!(story.numbers(), [3, 4, 5]);
}

#[test]
fn a_delete_clears_the_current_version_and_nothing_else_8_37() {
    let mut story = Story::new();
    story.run("a", &[1, 2]);
    story.now = 60;
    let before = story.head.clone();
    let step = story.head.cleared(&[], "me", op("d"), story.now());
    assert_eq!(story.take(step), Ok((Some(2), true)));
    assert_eq!((story.head.current, story.numbers()), (None, vec![1, 2]));
    let deletion = story.head.version(2).unwrap().deleted.clone().unwrap();
    assert_eq!((deletion.at, &*deletion.by, deletion.op), (at(60), "me", op("d")));
    assert_eq!((&story.head.released, story.head.next), (&before.released, 3));

    assert_eq!(story.delete(), Ok((None, false)), "there is none: done");
    assert_eq!(story.post(None, 3), 3);
}

#[test]
fn a_delete_is_refused_while_locked_37() {
    let mut story = Story::new();
    story.lock("a").unwrap();
    assert_eq!(held_by(&story.unchanged(Story::delete)), "a", "of a state that is not there too");
    story.post(Some("a"), 1);
    assert_eq!(held_by(&story.unchanged(Story::delete)), "a");
}

#[test]
fn a_delete_whose_answer_was_lost_deletes_nothing_newer() {
    let mut story = Story::new();
    story.post(None, 1);
    story.delete().unwrap();
    let again = story.head.cleared(&[1], "me", op("d"), story.now());
    assert_eq!(story.take(again), Ok((Some(1), false)));
    // Also where another wrote, and where another holds the lock by now.
    story.post(None, 2);
    story.lock("b").unwrap();
    let again = story.head.cleared(&[1], "me", op("d"), story.now());
    assert_eq!(story.take(again), Ok((Some(1), false)));
    assert_eq!(story.head.current, Some(2));
}

#[test]
fn a_rollback_copies_forward() {
    let mut story = Story::new();
    story.write(&in_object(write_request(None, 1, "one"), "1-abc", 3, 100)).unwrap();
    story.run("a", &[2]);
    story.now = 50;
    assert_eq!(story.roll_back(1, Some(2), "1@2"), Ok((3, true)));
    let (copy, source) = (story.head.current().unwrap(), story.head.version(1).unwrap());
    assert_eq!((copy.number, copy.copy_of, copy.time, &copy.lock), (3, Some(1), at(50), &None));
    assert_eq!((copy.sha256, copy.serial, &copy.body), (source.sha256, 1, &source.body));
    assert_eq!(&*copy.identity, "somebody");
}

#[test]
fn a_rollback_is_done_once() {
    let mut story = Story::new();
    story.run("a", &[1, 2]);
    assert_eq!(story.roll_back(1, Some(2), "1@2"), Ok((3, true)));
    assert_eq!(story.roll_back(1, Some(2), "1@2"), Ok((3, false)));
    story.post(None, 4);
    assert_eq!(story.roll_back(1, Some(2), "1@2"), Ok((3, false)), "whatever came since");
    story.lock("b").unwrap();
    assert_eq!(story.roll_back(1, Some(2), "1@2"), Ok((3, false)), "done is done, also while locked");
    assert_eq!(story.head.current, Some(4));
    story.unlock("b").unwrap();
    // Its version is gone: the version it named is not current any more.
    story.keep = versions(1);
    story.post(None, 5);
    let stale = Refusal::StaleCurrent { current: Some(5) };
    assert_eq!(story.unchanged(|story| story.roll_back(1, Some(2), "1@2")), stale);
}

#[test]
fn a_rollback_is_refused() {
    let mut story = Story::new();
    story.run("a", &[1, 2]);
    let stale = story.unchanged(|story| story.roll_back(1, Some(1), "1@1"));
    assert_eq!(stale, Refusal::StaleCurrent { current: Some(2) });
    assert_eq!(
        stale.to_string(),
        "the current version is 2, not the one that the request names; look again and ask anew"
    );
    assert!(story.unchanged(|story| story.roll_back(1, None, "1@none")).to_string().contains("version is 2"));
    let missing = story.unchanged(|story| story.roll_back(9, Some(2), "9@2"));
    assert_eq!(missing, Refusal::NoSuchVersion { version: 9 });
    story.lock("b").unwrap();
    assert_eq!(held_by(&story.unchanged(|story| story.roll_back(1, Some(2), "1@2"))), "b");
}

#[test]
fn a_rollback_restores_what_was_deleted() {
    let mut story = Story::new();
    story.post(None, 1);
    story.delete().unwrap();
    let stale = story.unchanged(|story| story.roll_back(1, Some(1), "1@1"));
    assert_eq!(stale, Refusal::StaleCurrent { current: None });
    assert!(stale.to_string().contains("version is none"));
    assert_eq!(story.roll_back(1, None, "1@none"), Ok((2, true)));
    assert_eq!(story.head.current().unwrap().deleted, None);
    assert!(story.head.version(1).unwrap().deleted.is_some());
}
