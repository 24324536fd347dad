//! Retention, thinning, moving out, the trash.

use super::{
    super::{InlineLimits, THINNED_KEPT, TRASH_MOST, Trash},
    *,
};

const HOUR: i64 = 3_600;
/// When an object that is alone in the trash goes.
const LATE: i64 = 5_400;

fn retain(story: &mut Story, keep: &Retention) -> usize {
    let now = story.now();
    story.take(Ok(story.head.retained(keep, now))).unwrap().0
}

fn aged(seconds: u64) -> Retention {
    Retention { max_age: Some(Duration::from_secs(seconds)), ..all() }
}

#[test]
fn nothing_over_the_limits_changes_nothing() {
    let mut story = Story::new();
    assert_eq!(retain(&mut story, &versions(1)), 0);
    story.post(None, 1);
    let before = story.head.clone();
    let tightest = Retention { max_versions: 0, max_bytes: Some(0), max_age: Some(Duration::ZERO) };
    story.now = 1_000_000;
    assert_eq!(retain(&mut story, &tightest), 0, "the current version never goes");
    assert_eq!(story.head, before);
}

#[test]
fn the_oldest_go_first() {
    let mut story = Story::new();
    for serial in 1..=10 {
        story.post(None, serial);
    }
    assert_eq!(retain(&mut story, &versions(4)), 6);
    assert_eq!(story.numbers(), [7, 8, 9, 10]);
}

#[test]
fn bytes_count_as_stored_and_all_together() {
    let mut story = Story::new();
    for serial in 1..=4 {
        let ask = write_request(None, serial, &format!("state {serial}"));
        story.write(&in_object(ask, &format!("{serial}-a"), 1, 100)).unwrap();
    }
    let keep = |most| Retention { max_bytes: Some(most), ..all() };
    assert_eq!(retain(&mut story, &keep(400)), 0);
    assert_eq!(retain(&mut story, &keep(399)), 1);
    assert_eq!(retain(&mut story, &keep(100)), 2);
    assert_eq!(retain(&mut story, &keep(1)), 0, "the current version is over it alone");
    assert_eq!(story.numbers(), [4]);
    let trash: Vec<_> = story.head.trash.iter().map(|trash| &*trash.object.name).collect();
    assert_eq!(trash, ["1-a", "2-a", "3-a"]);
}

#[test]
fn age_counts_from_when_another_took_its_place() {
    let mut story = Story::new();
    story.post(None, 1);
    story.now = 10 * HOUR;
    story.post(None, 2);
    story.now = 11 * HOUR;
    // Version 1 is eleven hours old and was the state until an hour ago.
    assert_eq!(retain(&mut story, &aged(HOUR as u64)), 0);
    story.now += 1;
    assert_eq!(retain(&mut story, &aged(HOUR as u64)), 1);
    assert_eq!(story.numbers(), [2]);
}

#[test]
fn the_age_of_what_was_deleted_counts_from_its_deletion() {
    let mut story = Story::new();
    story.post(None, 1);
    story.now = 10 * HOUR;
    story.delete().unwrap();
    story.now = 11 * HOUR;
    assert_eq!(retain(&mut story, &aged(HOUR as u64)), 0);
    // A new state took its place later, which says nothing about when it ended.
    story.post(None, 2);
    story.now += 1;
    assert_eq!(retain(&mut story, &aged(HOUR as u64)), 1);
}

#[test]
fn several_can_be_too_old_at_once() {
    let mut story = Story::new();
    for serial in 1..=4 {
        story.post(None, serial);
        story.now += 10;
    }
    story.now = 25 + 100;
    assert_eq!(retain(&mut story, &aged(100)), 2, "those that ended at 10 and 20");
    assert_eq!(story.numbers(), [3, 4]);
}

#[test]
fn snapshots_of_a_lock_go_before_any_older_locks_version() {
    let mut story = Story::new();
    story.run("a", &[1]);
    story.run("b", &[2]);
    story.lock("c").unwrap();
    for serial in 3..=8 {
        story.post(Some("c"), serial);
    }
    retain(&mut story, &versions(4));
    assert_eq!(story.numbers(), [1, 2, 7, 8], "the snapshots 3 to 6 were thinned first");
    retain(&mut story, &versions(3));
    assert_eq!(story.numbers(), [1, 2, 8]);
    retain(&mut story, &versions(2));
    assert_eq!(story.numbers(), [2, 8], "then the oldest, and never the version before the apply");
    retain(&mut story, &versions(1));
    assert_eq!(story.numbers(), [2, 8]);
    story.unlock("c").unwrap();
    retain(&mut story, &versions(1));
    assert_eq!(story.numbers(), [8]);
}

#[test]
fn snapshots_of_older_locks_are_thinned_too_the_oldest_first() {
    let mut story = Story::new();
    story.run("a", &[1, 2]);
    story.run("b", &[3, 4]);
    retain(&mut story, &versions(3));
    assert_eq!(story.numbers(), [2, 3, 4]);
    retain(&mut story, &versions(2));
    assert_eq!(story.numbers(), [2, 4]);
}

#[test]
fn writes_without_a_lock_are_no_snapshots_of_one_another() {
    let mut story = Story::new();
    story.post(None, 1);
    story.run("a", &[2, 3]);
    story.post(None, 4);
    story.post(None, 5);
    retain(&mut story, &versions(4));
    assert_eq!(story.numbers(), [1, 3, 4, 5]);
}

#[test]
fn the_version_before_the_apply_outlives_every_limit_while_the_lock_is_held() {
    let mut story = Story::new();
    story.write(&in_object(write_request(None, 1, "state 1"), "1-a", 1, 500)).unwrap();
    story.lock("a").unwrap();
    for serial in 2..=5 {
        story.post(Some("a"), serial);
    }
    story.now = 100 * HOUR;
    let tightest = Retention { max_versions: 1, max_bytes: Some(1), max_age: Some(Duration::ZERO) };
    retain(&mut story, &tightest);
    assert_eq!(story.numbers(), [1, 5]);
    story.keep = tightest;
    story.post(Some("a"), 6);
    assert_eq!(story.numbers(), [1, 6]);
}

#[test]
fn at_most_2048_sums_are_kept_the_newest() {
    let mut story = Story::new();
    story.keep = versions(1);
    let many = THINNED_KEPT as u64 + 10;
    story.run("a", &(1..=10).collect::<Vec<_>>());
    story.lock("b").unwrap();
    for serial in 11..=10 + many {
        // Not `post`, which reads and checks each head.
        let (ask, op) = (write_request(Some("b"), serial, &format!("state {serial}")), story.new_op());
        let Ok(Step::Change(head, _)) = story.head.written(&ask, op, &story.keep, at(0)) else { panic!("{serial}") };
        story.head = *head;
    }
    let kept: Vec<_> = story.head.thinned.iter().map(|thinned| (&*thinned.lock, thinned.sums.len())).collect();
    let total: usize = kept.iter().map(|(_, sums)| sums).sum();
    assert_eq!(total, THINNED_KEPT, "{kept:?}");
    let repeat = |serial: u64, lock: &str| {
        let ask = write_request(Some(lock), serial, &format!("state {serial}"));
        story.head.written(&ask, op("again"), &all(), at(0)).is_ok_and(|step| matches!(step, Step::Same(_)))
    };
    assert!(repeat(10 + many, "b") && repeat(9 + many, "b") && repeat(8 + many, "b"));
    assert!(!repeat(11, "b"), "the first was forgotten");
    assert!(story.head.encode().len() < super::super::MAX_HEAD);
}

#[test]
fn sums_are_kept_for_the_holder_and_the_lock_before_it() {
    let mut story = Story::new();
    story.keep = versions(1);
    story.run("a", &[1, 2]);
    story.run("b", &[3, 4]);
    let locks = |story: &Story| -> Vec<String> { story.head.thinned.iter().map(|t| t.lock.clone()).collect() };
    assert_eq!(locks(&story), ["b"], "of the lock before, no repeat comes any more");
    story.lock("c").unwrap();
    story.post(Some("c"), 5);
    story.post(Some("c"), 6);
    assert_eq!(locks(&story), ["b", "c"]);
    let late = write_request(Some("b"), 3, "state 3");
    assert!(story.write(&late).unwrap().0.repeated, "while c holds");
    // A version of a lock of long ago that goes is not remembered.
    let mut story = Story::new();
    story.run("a", &[1]);
    story.run("b", &[2]);
    retain(&mut story, &versions(1));
    assert!(locks(&story).is_empty());
}

#[test]
fn moving_out_begins_over_the_limit_and_spares_the_newest() {
    let limits = InlineLimits { version: 10, kept: 20, most: 40 };
    let mut story = Story::new();
    for serial in 1..=4 {
        story.write(&write_request(None, serial, &format!("bytes: {serial:03}"))).unwrap();
    }
    assert_eq!(story.head.inline_bytes(), 40);
    assert!(story.head.to_move_out(limits, false).is_empty(), "not before there is more than that");
    story.write(&write_request(None, 5, "bytes: 005")).unwrap();
    let out = |story: &Story, hard| story.head.to_move_out(limits, hard).iter().map(|v| v.number).collect::<Vec<_>>();
    assert_eq!(out(&story, false), [1, 2], "the current one and 20 bytes of older ones stay");
    assert_eq!(out(&story, true), [1, 2, 3, 4], "all but the current one");
    story.delete().unwrap();
    assert_eq!(out(&story, true), [1, 2, 3, 4, 5]);
}

#[test]
fn a_hole_is_not_filled_with_an_older_version() {
    let limits = InlineLimits { version: 100, kept: 20, most: 20 };
    let mut story = Story::new();
    for (serial, text) in [(1, "small"), (2, "this one is a good deal larger"), (3, "small"), (4, "now")] {
        story.write(&write_request(None, serial, text)).unwrap();
    }
    let out: Vec<_> = story.head.to_move_out(limits, false).iter().map(|version| version.number).collect();
    assert_eq!(out, [1, 2], "what stays are the newest, without gaps");
}

#[test]
fn what_moved_out_is_named_where_the_version_is_still_the_same() {
    let mut story = Story::new();
    for serial in 1..=3 {
        story.post(None, serial);
    }
    let sum = |story: &Story, number| story.head.version(number).unwrap().sha256;
    let moved = vec![
        (1, sum(&story, 1), object("1-out", 1)),
        (2, sum(&story, 1), object("2-out", 1)),
        (9, sum(&story, 1), object("9-out", 1)),
    ];
    let (named, changed) = story.take(Ok(story.head.moved_out(&moved))).unwrap();
    assert!(changed);
    assert_eq!(named, [object("1-out", 1)], "the second has other bytes, the third is gone");
    assert_eq!(story.head.version(1).unwrap().body, Body::Object(object("1-out", 1)));
    let (named, changed) = story.take(Ok(story.head.moved_out(&moved))).unwrap();
    assert!(named.is_empty() && !changed, "once");
    // Nor is anything named that waits to be deleted.
    let swept = story.head.swept(&[object("3-out", 1)], story.now());
    story.take(Ok(swept)).unwrap();
    let late = [(3, sum(&story, 3), object("3-out", 1))];
    assert_eq!(story.take(Ok(story.head.moved_out(&late))), Ok((vec![], false)));
}

#[test]
fn an_object_of_two_versions_goes_with_the_last() {
    let mut story = Story::new();
    story.write(&in_object(write_request(None, 1, "one"), "1-a", 2, 9)).unwrap();
    story.post(None, 2);
    story.roll_back(1, Some(2), "1@2").unwrap();
    retain(&mut story, &versions(1));
    assert_eq!((story.numbers(), story.head.trash.len()), (vec![3], 0), "the copy still has it");
    story.post(None, 4);
    story.now = 77;
    retain(&mut story, &versions(1));
    assert_eq!(story.head.trash, [Trash { object: object("1-a", 2), since: at(77), swept: false }]);
}

#[test]
fn trash_waits_an_hour_and_for_more() {
    let mut story = Story::new();
    story.write(&in_object(write_request(None, 1, "one"), "1-a", 1, 9)).unwrap();
    story.post(None, 2);
    retain(&mut story, &versions(1));
    assert_eq!(story.head.due_trash(at(LATE - 1)), []);
    assert_eq!(story.head.due_trash(at(-HOUR)), [], "nor after the clock went back");
    let due = story.head.due_trash(at(LATE));
    assert_eq!(due, [object("1-a", 1)]);
    assert_eq!(story.take(Ok(story.head.emptied(&[]))), Ok(((), false)));
    assert_eq!(story.take(Ok(story.head.emptied(&due))), Ok(((), true)));
    assert_eq!(story.head.trash, []);
    assert_eq!(story.take(Ok(story.head.emptied(&due))), Ok(((), false)));

    // One each minute: sixteen whose hour is over are enough.
    let mut head = Head::new(owner(1));
    let minute = |n: usize| Trash { object: object(&format!("{n}-t"), 1), since: at(60 * n as i64), swept: false };
    head.trash = (0..20).map(minute).collect();
    assert_eq!(head.due(&all(), None), Some(at(HOUR + 15 * 60)));
    assert_eq!(head.due_trash(at(HOUR + 15 * 60 - 1)), []);
    assert_eq!(head.due_trash(at(HOUR + 15 * 60)).len(), 16);
    head.trash.truncate(15);
    assert_eq!(head.due(&all(), None), Some(at(LATE)));
    assert_eq!(head.due_trash(at(LATE - 1)), []);
    assert_eq!(head.due_trash(at(LATE)).len(), 15);
}

#[test]
fn the_background_is_told_when_something_comes_due() {
    let mut story = Story::new();
    story.post(None, 1);
    story.now = 10;
    story.post(None, 2);
    story.now = 20;
    assert_eq!(story.head.due(&all(), None), None);
    assert_eq!(story.head.due(&aged(100), None), Some(at(110)), "version 1 ended at 10; the current one has not");
    story.delete().unwrap();
    story.lock("a").unwrap();
    assert_eq!(story.head.due(&aged(5), None), Some(at(15)), "it is due already");
    // What is due goes, and then nothing is.
    story.now = 26;
    retain(&mut story, &aged(5));
    assert_eq!((story.numbers().len(), story.head.due(&aged(5), None)), (0, None));

    let mut story = Story::new();
    story.write(&in_object(write_request(None, 1, "one"), "1-a", 1, 9)).unwrap();
    story.post(None, 2);
    story.now = 7;
    retain(&mut story, &versions(1));
    assert_eq!(story.head.due(&all(), None), Some(at(7 + LATE)), "the trash");
    assert_eq!(story.head.due_trash(at(7 + LATE)).len(), 1);
    // The version before the apply is kept however old it is.
    let mut story = Story::new();
    story.post(None, 1);
    story.lock("a").unwrap();
    story.post(Some("a"), 2);
    assert_eq!(story.head.due(&aged(5), None), None);
    // A lock that may go stale: from its holder's last write.
    story.now = 50;
    story.post(Some("a"), 3);
    assert_eq!(story.head.due(&all(), Some(Duration::from_secs(HOUR as u64))), Some(at(50 + HOUR)));
}

#[test]
fn over_512_the_oldest_go_early_and_swept_ones_never() {
    let mut head = Head::new(owner(1));
    let trash = |n: usize, swept| Trash { object: object(&format!("{n}-t"), 1), since: at(0), swept };
    head.trash = (0..TRASH_MOST + 3).map(|n| trash(n, n < 2)).collect();
    let early: Vec<_> = head.due_trash(at(1)).into_iter().map(|object| object.name).collect();
    assert_eq!(early, ["2-t", "3-t", "4-t"]);
    head.trash = (0..TRASH_MOST + 3).map(|n| trash(n, true)).collect();
    assert_eq!(head.due_trash(at(HOUR - 1)), []);
    assert_eq!(head.due_trash(at(HOUR)).len(), TRASH_MOST + 3);
}

#[test]
fn the_sweep_takes_what_no_version_names() {
    let mut story = Story::new();
    story.write(&in_object(write_request(None, 1, "one"), "1-a", 2, 9)).unwrap();
    let found = [object("1-a", 2), object("1-lost", 4), object("7-lost", 1)];
    let (swept, _) = story.take(Ok(story.head.swept(&found, at(5)))).unwrap();
    assert_eq!(swept, found[1..]);
    let expected = Trash { object: object("1-lost", 4), since: at(5), swept: true };
    assert_eq!(story.head.trash[0], expected);
    assert_eq!(story.take(Ok(story.head.swept(&found, at(6)))), Ok((vec![], false)), "they are there already");
}

#[test]
fn the_sweep_takes_no_more_than_the_trash_holds() {
    let mut story = Story::new();
    let found: Vec<_> = (0..TRASH_MOST + 10).map(|n| object(&format!("{n}-lost"), 1)).collect();
    let (swept, _) = story.take(Ok(story.head.swept(&found, at(0)))).unwrap();
    assert_eq!(swept.len(), TRASH_MOST);
    assert_eq!(story.take(Ok(story.head.swept(&found, at(0)))), Ok((vec![], false)));
}
