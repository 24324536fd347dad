//! Random sequences of transitions: each head that comes of one is held against what is true of every head (see
//! [`Story::goes_on_as`]) and of that transition.

use proptest::prelude::*;

use super::{super::InlineLimits, *};
use crate::store::{Epoch, object_name};

#[derive(Clone, Debug)]
enum Act {
    Wait(i64),
    Lock(u8),
    Unlock(u8),
    Quiet(u64),
    Write { lock: Option<u8>, serial: u8, place: Place },
    WriteFromHolder { serial: u8, place: Place },
    Delete,
    RollBack { back: u64, request: u8 },
    Limits(u32, Option<u64>, Option<u64>),
    Retain,
    MoveOut(bool),
    Empty,
    Sweep(u8),
    TakeOver,
    Accept(u64),
}

/// Where a write's bytes are to stand.
#[derive(Clone, Copy, Debug)]
enum Place {
    Head,
    Object,
    /// As a patch, where one is to be had; else in an object.
    Patch,
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![1 => Just(Place::Head), 1 => Just(Place::Object), 2 => Just(Place::Patch)]
}

fn act() -> impl Strategy<Value = Act> {
    let id = || 0_u8..4;
    prop_oneof![
        3 => (-10_i64..5_000).prop_map(Act::Wait),
        3 => id().prop_map(Act::Lock),
        3 => id().prop_map(Act::Unlock),
        1 => (0_u64..4_000).prop_map(Act::Quiet),
        3 => (prop::option::of(id()), any::<u8>(), place())
            .prop_map(|(lock, serial, place)| Act::Write { lock, serial, place }),
        8 => (any::<u8>(), place()).prop_map(|(serial, place)| Act::WriteFromHolder { serial, place }),
        1 => Just(Act::Delete),
        2 => (0_u64..6, id()).prop_map(|(back, request)| Act::RollBack { back, request }),
        1 => (1_u32..6, prop::option::of(0_u64..4_000), prop::option::of(0_u64..4_000))
            .prop_map(|(versions, bytes, age)| Act::Limits(versions, bytes, age)),
        2 => Just(Act::Retain),
        2 => any::<bool>().prop_map(Act::MoveOut),
        2 => Just(Act::Empty),
        1 => id().prop_map(Act::Sweep),
        1 => Just(Act::TakeOver),
        1 => (0_u64..400).prop_map(Act::Accept),
    ]
}

fn id(n: u8) -> String {
    format!("id-{n}")
}

impl Story {
    fn act(&mut self, act: Act) {
        let now = self.now();
        match act {
            Act::Wait(seconds) => self.now += seconds,
            Act::Lock(n) => {
                let held = self.head.lock.clone();
                match self.lock(&id(n)) {
                    Ok(((), true)) => assert!(held.is_none() && !self.head.released.iter().any(|r| r.id == id(n))),
                    Ok(((), false)) => assert_eq!(held.unwrap().id, id(n)),
                    Err(Refusal::Held(lock)) => assert_eq!(Some(*lock), held),
                    Err(refusal) => assert_eq!(refusal, Refusal::LateRepeat { id: id(n) }),
                }
            }
            Act::Unlock(n) => {
                let held = self.head.lock.clone();
                match self.unlock(&id(n)) {
                    Ok((released, true)) => assert!(released == held && self.head.lock.is_none()),
                    Ok((released, false)) => assert!(released.is_none() && self.head.recently_released(&id(n))),
                    Err(_) => assert_eq!(self.head.lock, held),
                }
            }
            Act::Quiet(seconds) => {
                let quiet = self.head.lock.as_ref().map(|lock| lock.quiet(now));
                let broken = self.unlock_by(&Unlock::Quiet(Duration::from_secs(seconds)));
                assert_eq!(broken.is_ok(), quiet.is_none_or(|quiet| quiet > Duration::from_secs(seconds)));
            }
            Act::Write { lock, serial, place } => self.random_write(lock.map(id).as_deref(), serial, place),
            Act::WriteFromHolder { serial, place } => {
                let holder = self.head.lock.as_ref().map(|lock| lock.id.clone());
                self.random_write(holder.as_deref(), serial, place);
            }
            Act::Delete => {
                let locked = self.head.lock.is_some();
                assert_eq!(self.delete().is_err(), locked);
                assert!(locked || self.head.current.is_none());
            }
            Act::RollBack { back, request } => {
                let (target, expected) = (self.head.next.saturating_sub(back), self.head.current);
                let source = self.head.version(target).cloned();
                if let Ok((number, true)) = self.roll_back(target, expected, &format!("request {request}")) {
                    assert_eq!(self.head.current, Some(number));
                    assert_eq!(self.head.current().unwrap().sha256, source.unwrap().sha256);
                }
            }
            Act::Limits(max_versions, max_bytes, age) => {
                self.keep = Retention { max_versions, max_bytes, max_age: age.map(Duration::from_secs) };
            }
            Act::Retain => {
                let (keep, before) = (self.keep.clone(), self.head.clone());
                self.take(Ok(self.head.retained(&keep, now))).unwrap();
                let protected = usize::from(self.head.current.is_some()) + 1;
                assert!(self.numbers().len() <= protected.max(keep.max_versions as usize));
                assert!((&self.head.lock, self.head.current) == (&before.lock, before.current));
                assert_eq!(self.take(Ok(self.head.retained(&keep, now))), Ok((0, false)), "once is enough");
            }
            Act::MoveOut(hard) => {
                let limits = InlineLimits { version: 20, kept: 20, most: 40 };
                let older = self.head.to_move_out(limits, hard);
                let moved: Vec<_> =
                    older.iter().map(|v| (v.number, v.sha256, object(&object_name(v.number), 1))).collect();
                let (named, _) = self.take(Ok(self.head.moved_out(&moved))).unwrap();
                assert_eq!(named.len(), moved.len());
                assert!(self.head.to_move_out(limits, hard).is_empty());
            }
            Act::Empty => {
                let due = self.head.due_trash(now);
                self.take(Ok(self.head.emptied(&due))).unwrap();
                assert_eq!(self.head.due_trash(now), []);
            }
            Act::Sweep(n) => {
                let named = self.head.versions.iter().filter_map(|version| version.body.object().cloned());
                let mut found: Vec<_> = named.collect();
                found.push(object(&format!("{n}-lost-{}", self.count), 1));
                let swept = self.head.swept(&found, now);
                assert!(self.take(Ok(swept)).unwrap().0.len() <= 1);
            }
            Act::TakeOver => {
                let next = owner(self.head.owner.claim + 1);
                self.take(self.head.taken_over(&next)).unwrap();
            }
            Act::Accept(revision) => {
                let before = self.head.epoch;
                self.goes_on_as(self.head.accepted(before, revision));
                assert!(self.head.epoch != before && self.head.supersedes.contains(&before));
                assert!(self.head.next > revision && self.head.revision > revision);
            }
        }
    }

    fn random_write(&mut self, lock: Option<&str>, serial: u8, place: Place) {
        let text = format!("state {serial} of some bytes");
        let mut ask = write_request(lock, serial.into(), &text);
        let delta = format!("delta to {}", self.head.next);
        let patched = matches!(place, Place::Patch).then(|| patch::as_patch(&self.head, ask.clone(), &delta)).flatten();
        if let Some(patched) = patched {
            ask = patched;
        } else if !matches!(place, Place::Head) {
            let name = object_name(self.head.next);
            ask = in_object(ask, &name, 1, 800);
        }
        let before = self.head.clone();
        let holder = before.lock.as_ref().map(|held| held.id.clone());
        match self.write(&ask) {
            Ok((done, true)) => {
                assert_eq!(holder.as_deref(), lock, "only the holder writes, or anybody where nobody holds");
                assert_eq!((done.version, self.head.current), (Some(before.next), Some(before.next)));
                let base = before.lock.as_ref().and_then(|held| held.base);
                assert!(base.is_none_or(|base| before.version(base).is_none() || self.head.version(base).is_some()));
            }
            Ok((done, false)) => {
                assert!(done.repeated);
                let version = done.version.and_then(|number| before.version(number));
                assert!(done.version.is_none() || version.unwrap().sha256 == ask.sha256);
            }
            Err(Refusal::Held(held)) => assert!(Some(&held.id) == holder.as_ref() && lock != Some(&*held.id)),
            Err(refusal) => assert_eq!(refusal, Refusal::LockGone { id: lock.unwrap().to_owned() }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_head_is_a_head(acts in prop::collection::vec(act(), 1..120)) {
        let (mut story, mut traces) = (Story::new(), patch::Traces::new());
        for act in acts {
            story.act(act);
            patch::same_as_ever(&story.head, &mut traces);
        }
    }

    #[test]
    fn an_accepted_head_is_behind_nothing_it_replaced(seen in 0_u64..u64::from(u32::MAX), found in 1_u64..1_000) {
        let mut head = Head::new(owner(1));
        head.revision = found;
        let seen_epoch = Epoch::random();
        let accepted = head.accepted(seen_epoch, seen);
        prop_assert!(accepted.revision > seen && accepted.revision > found && accepted.next > seen);
        prop_assert!(accepted.supersedes.contains(&seen_epoch) && accepted.supersedes.contains(&head.epoch));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        let _ = Head::parse(&text);
    }
}
