//! Deltas: all versions are read back, whatever goes and in which order.

use proptest::prelude::*;

use super::{super::InlineLimits, *};
use crate::store::head::Retention;

/// A state of some twenty resources of which a few differ from the one of the serial before.
fn state(serial: u64) -> String {
    let resources = (0..20).map(|resource| {
        let changed = serial - serial % (resource + 2);
        format!(
            "{{\"name\": \"resource-{resource}\", \"id\": \"{}\"}}",
            Sha256Sum::of(format!("{resource} {changed}").as_bytes())
        )
    });
    format!("{{\"serial\": {serial}, \"resources\": [{}]}}", resources.collect::<Vec<_>>().join(",\n"))
}

/// A write of a text, compressed as the engine does it.
fn write(lock: Option<&str>, serial: u64, text: &str) -> WriteRequest {
    let bytes = zstd::bulk::compress(text.as_bytes(), 3).unwrap();
    let mut ask = write_request(lock, serial, text);
    ask.body = Some(NewBody { stored: bytes.len() as u64, body: Body::Inline(Inline::new(&bytes).unwrap()), of: None });
    ask
}

fn deltas(head: &Head) -> Vec<u64> {
    let deltas = head.versions.iter().filter(|version| version.body.is_delta());
    deltas.map(|version| version.number).collect()
}

/// Each version that stands in the head is read back from it, by the others and alone.
fn all_are_there(head: &Head) {
    for version in head.versions.iter().filter(|version| version.body.inline().is_some()) {
        let alone = head.alone(version.number).unwrap().bytes().unwrap();
        let whole = zstd::bulk::decompress(&alone, 1 << 20).unwrap();
        assert_eq!(Sha256Sum::of(&whole), version.sha256, "version {}", version.number);
        assert_eq!(whole.len() as u64, version.size);
    }
}

/// A story of twenty writes, each of another state, if `lock` under it.
fn twenty(lock: Option<&str>) -> Story {
    let mut story = Story::new();
    if let Some(lock) = lock {
        story.lock(lock).unwrap();
    }
    for serial in 1..=20 {
        story.write(&write(lock, serial, &state(serial))).unwrap();
    }
    story
}

#[test]
fn twenty_versions_take_less_than_four_times_the_room_of_one() {
    let story = twenty(None);
    assert_eq!(deltas(&story.head), (1..20).collect::<Vec<_>>());
    all_are_there(&story.head);
    let one = story.head.current().unwrap().stored;
    assert!(story.head.inline_bytes() < 4 * one, "{} of {one} each", story.head.inline_bytes());
    assert!(story.head.to_move_out(InlineLimits::default(), false).is_empty());
}

#[test]
fn the_oldest_goes_and_the_others_stay_as_they_are() {
    let mut story = twenty(None);
    story.keep = versions(5);
    story.write(&write(None, 21, &state(21))).unwrap();
    assert_eq!((story.numbers(), deltas(&story.head)), (vec![17, 18, 19, 20, 21], vec![17, 18, 19, 20]));
    all_are_there(&story.head);
}

#[test]
fn a_base_goes_and_its_delta_gets_the_next_one() {
    // A run's snapshots are thinned to the last before anything older goes.
    let mut story = Story::new();
    story.write(&write(None, 1, &state(1))).unwrap();
    story.lock("a").unwrap();
    story.keep = versions(3);
    for serial in 2..=9 {
        story.write(&write(Some("a"), serial, &state(serial))).unwrap();
        all_are_there(&story.head);
    }
    assert_eq!((story.numbers(), deltas(&story.head)), (vec![1, 8, 9], vec![1, 8]));
}

#[test]
fn what_has_nothing_in_common_stays_whole() {
    let mut story = Story::new();
    let random =
        |seed: u64| (0..40).map(|n| Sha256Sum::of(format!("{seed} {n}").as_bytes()).to_string()).collect::<String>();
    for serial in 1..=3 {
        story.write(&write(None, serial, &random(serial))).unwrap();
    }
    assert_eq!(deltas(&story.head), [0_u64; 0]);
    all_are_there(&story.head);
    // Encrypted ones have never.
    for serial in 4..=5 {
        let mut ask = write(None, serial, &state(serial));
        ask.facts.encrypted = true;
        story.write(&ask).unwrap();
    }
    assert_eq!(deltas(&story.head), [0_u64; 0]);
}

#[test]
fn one_in_an_object_is_no_base() {
    let mut story = Story::new();
    for serial in 1..=3 {
        story.write(&write(None, serial, &state(serial))).unwrap();
    }
    story.write(&in_object(write(None, 4, &state(4)), "4-big", 2, 9)).unwrap();
    story.write(&write(None, 5, &state(5))).unwrap();
    assert_eq!(deltas(&story.head), [1, 2]);
    // Two bases go, the second with none after it.
    story.keep = versions(4);
    story.now += 1;
    story.write(&write(None, 6, &state(6))).unwrap();
    assert_eq!((story.numbers(), deltas(&story.head)), (vec![3, 4, 5, 6], vec![5]));
    all_are_there(&story.head);
}

#[test]
fn a_rollback_copies_a_delta() {
    let mut story = twenty(None);
    let (number, _) = story.roll_back(7, Some(20), "to 7").unwrap();
    let (copy, source) = (story.head.version(number).unwrap(), story.head.version(7).unwrap());
    assert_eq!((copy.sha256, copy.size, copy.copy_of), (source.sha256, source.size, Some(7)));
    assert!(matches!(copy.body, Body::Inline(_)));
    all_are_there(&story.head);
}

#[test]
fn what_moves_out_leaves_no_delta_without_its_base() {
    let mut story = twenty(None);
    let out = story.head.to_move_out(InlineLimits::default(), true);
    assert_eq!(out.len(), 19);
    let moved = |numbers: &[u64]| -> Vec<_> {
        let named = numbers.iter().map(|number| (story.head.version(*number).unwrap().sha256, *number));
        named.map(|(sum, number)| (number, sum, object(&format!("{number}-out"), 1))).collect()
    };
    // Without the first, the second has to stay, and so on.
    assert!(matches!(story.head.moved_out(&moved(&[2, 3])), Step::Same(_)));
    let some = moved(&[1, 2, 3, 5]);
    let (named, _) = story.take(Ok(story.head.moved_out(&some))).unwrap();
    assert_eq!(named.len(), 3, "4 is a delta of 5");
    all_are_there(&story.head);
}

#[test]
fn a_damaged_one_damages_the_older_ones_and_no_other() {
    let mut story = twenty(None);
    story.head.edit(10, |version| version.body = Body::Delta(Inline::new(b"nothing of the kind").unwrap()));
    let readable: Vec<u64> = (1..=20).filter(|number| story.head.alone(*number).is_some()).collect();
    assert_eq!(readable, (11..=20).collect::<Vec<_>>());
    let refusal = story.unchanged(|story| story.roll_back(4, Some(20), "to 4"));
    assert_eq!(refusal, Refusal::Unreadable { version: 4 });
    // What goes on does so: the damaged bytes stay for whoever looks into them.
    story.keep = versions(8);
    story.write(&write(None, 21, &state(21))).unwrap();
    all_are_there(&story.head);
    let mut story = twenty(Some("a"));
    story.head.edit(3, |version| version.body = Body::Delta(Inline::new(b"nothing of the kind").unwrap()));
    story.head.edit(4, |version| version.lock = None);
    story.keep = versions(18);
    story.write(&write(Some("a"), 21, &state(21))).unwrap();
    assert_eq!(story.head.check(), Ok(()));
}

proptest! {
    #[test]
    fn whatever_goes_the_others_are_read(
        steps in prop::collection::vec((0_u8..6, 1_u32..9), 1..60),
    ) {
        let mut story = Story::new();
        let mut held = None;
        for (serial, (step, number)) in (1..).zip(steps) {
            match step {
                0 if held.is_none() => {
                    held = Some(format!("lock-{serial}"));
                    story.lock(held.as_ref().unwrap()).unwrap();
                }
                0 => {
                    story.unlock(&held.take().unwrap()).unwrap();
                }
                1 => story.keep = Retention { max_versions: number, ..story.keep },
                2 => {
                    let target = story.numbers().get(number as usize).copied();
                    let current = story.head.current;
                    if let (None, Some(target)) = (&held, target) {
                        story.roll_back(target, current, &format!("{serial}")).unwrap();
                    }
                }
                3 => {
                    let name = format!("{serial}-big");
                    story.write(&in_object(write(held.as_deref(), serial, &state(serial)), &name, 1, 9)).unwrap();
                }
                _ => {
                    story.write(&write(held.as_deref(), serial, &state(serial))).unwrap();
                }
            }
            all_are_there(&story.head);
        }
    }
}
