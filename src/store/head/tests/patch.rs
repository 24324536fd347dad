//! Patches, by what each version comes of: the same root and the same deltas, whatever goes before it.

use std::collections::BTreeMap;

use super::{
    super::{Patch, PatchLimits, Root},
    *,
};

/// A version's root and its deltas from there on, as they were when it was written.
pub(super) type Traces = BTreeMap<u64, (String, Vec<String>)>;

pub(super) const LIMITS: PatchLimits = PatchLimits { state: 1_000, delta: 40, deltas: 4, chain: 120, head: 400 };

fn text(inline: &Inline) -> String {
    String::from_utf8(inline.bytes().unwrap()).unwrap()
}

pub(super) fn traced(head: &Head, number: u64) -> Option<(String, Vec<String>)> {
    let (root, deltas) = head.traced(number)?;
    Some((root.object.name, deltas.iter().map(text).collect()))
}

/// Notes what new versions come of, and that it is the same of all others.
pub(super) fn same_as_ever(head: &Head, traces: &mut Traces) {
    for version in &head.versions {
        let Some(found) = traced(head, version.number) else { continue };
        assert!(head.names(&found.0) && !head.trashed(&found.0), "version {} hangs on {}", version.number, found.0);
        let source = version.copy_of.filter(|_| version.body.patch().is_some());
        let source = source.and_then(|source| traces.get(&source).cloned());
        let known = traces.entry(version.number).or_insert_with(|| source.unwrap_or_else(|| found.clone()));
        assert_eq!(*known, found, "version {}", version.number);
    }
}

/// A write of `text` as a patch of the newest version; `None` where there is none to be had.
pub(super) fn as_patch(head: &Head, mut ask: WriteRequest, delta: &str) -> Option<WriteRequest> {
    let (newest, most) = head.patchable(&LIMITS)?;
    let deltas = vec![Inline::new(delta.as_bytes()).unwrap()];
    let of = Some((newest.number, newest.sha256));
    let body = Body::Patch(Patch { root: None, deltas });
    ask.body = Some(NewBody { body, stored: delta.len() as u64, of });
    (delta.len() as u64 <= most).then_some(ask)
}

fn whole(serial: u64) -> WriteRequest {
    in_object(write_request(None, serial, &format!("state {serial}")), &format!("{serial}-root"), 2, 800)
}

fn patched(story: &Story, serial: u64) -> WriteRequest {
    let ask = write_request(None, serial, &format!("state {serial}"));
    as_patch(&story.head, ask, &format!("delta to {serial}")).unwrap()
}

/// An object and three patches, 1 to 4.
fn four() -> (Story, Traces) {
    let (mut story, mut traces) = (Story::new(), Traces::new());
    story.write(&whole(1)).unwrap();
    for serial in 2..=4 {
        let ask = patched(&story, serial);
        story.write(&ask).unwrap();
    }
    same_as_ever(&story.head, &mut traces);
    assert_eq!(traces[&4], ("1-root".to_owned(), ["delta to 2", "delta to 3", "delta to 4"].map(str::to_owned).into()));
    (story, traces)
}

#[test]
fn a_root_stays_for_what_hangs_on_it_and_goes_with_the_last() {
    let (mut story, mut traces) = four();
    for keep in [3, 2, 1] {
        story.keep = versions(keep);
        let (keep, now) = (story.keep.clone(), story.now());
        story.take(Ok(story.head.retained(&keep, now))).unwrap();
        same_as_ever(&story.head, &mut traces);
        assert!(story.head.names("1-root") && story.head.trash.is_empty());
    }
    let Body::Patch(patch) = &story.head.version(4).unwrap().body else { panic!() };
    assert_eq!((patch.deltas.len(), patch.root.as_ref().unwrap().sha256), (3, Sha256Sum::of(b"state 1")));
    assert_eq!(story.head.version(4).unwrap().stored, 30);
    story.write(&whole(5)).unwrap();
    assert!(!story.head.names("1-root") && story.head.trashed("1-root"));
}

#[test]
fn one_in_the_middle_goes() {
    for gone in 1..=3 {
        let (mut story, mut traces) = four();
        let mut head = story.head.next_revision();
        head.drop_version(gone, story.now());
        story.goes_on_as(head);
        same_as_ever(&story.head, &mut traces);
        assert_eq!(story.head.versions.len(), 3);
    }
}

#[test]
fn a_rollback_copies_what_it_takes_to_read_it() {
    let (mut story, mut traces) = four();
    story.roll_back(3, Some(4), "to 3").unwrap();
    same_as_ever(&story.head, &mut traces);
    assert_eq!(traces[&5], traces[&3]);
    assert_eq!(story.head.version(5).unwrap().stored, 20);
    // And it can be patched again.
    let ask = patched(&story, 6);
    story.write(&ask).unwrap();
    story.keep = versions(1);
    story.write(&whole(7)).unwrap();
    assert_eq!(story.head.trash.len(), 1);
}

#[test]
fn only_the_newest_can_be_patched() {
    let (mut story, _) = four();
    let late = patched(&story, 5);
    story.write(&whole(6)).unwrap();
    assert_eq!(story.unchanged(|story| story.write(&late)), Refusal::NotNewest);
    // The same number with other bytes: a head from before, or from another life.
    let (mut story, _) = four();
    let late = patched(&story, 5);
    story.head.edit(4, |version| version.sha256 = Sha256Sum::of(b"another"));
    assert_eq!(story.unchanged(|story| story.write(&late)), Refusal::NotNewest);
}

#[test]
fn limits_of_patches() {
    let (mut story, _) = four();
    assert_eq!(story.head.patchable(&LIMITS).unwrap().1, 40);
    let most = |limits: PatchLimits, head: &Head| head.patchable(&limits).map(|(_, most)| most);
    assert_eq!(most(PatchLimits { chain: 31, ..LIMITS }, &story.head), Some(1));
    assert_eq!(most(PatchLimits { chain: 30, ..LIMITS }, &story.head), None);
    assert_eq!(most(PatchLimits { head: 35, ..LIMITS }, &story.head), Some(5));
    assert_eq!(most(PatchLimits { deltas: 3, ..LIMITS }, &story.head), None);
    assert_eq!(most(PatchLimits { state: 6, ..LIMITS }, &story.head), None, "it would be larger than is held");
    assert_eq!(most(PatchLimits { delta: 90, ..LIMITS }, &story.head), Some(50), "a sixteenth of the root");
    story.head.edit(4, |version| version.encrypted = true);
    assert_eq!(most(LIMITS, &story.head), None);
    let mut story = Story::new();
    assert_eq!(most(LIMITS, &story.head), None);
    story.write(&write_request(None, 1, "small")).unwrap();
    assert_eq!(most(LIMITS, &story.head), None, "one in the head is no root");
}

#[test]
fn a_patch_of_nothing_makes_no_head() {
    let fault = |alter: &dyn Fn(&mut Head)| {
        let (mut story, _) = four();
        alter(&mut story.head);
        Head::parse(&story.head.encode()).unwrap_err().to_string()
    };
    let gone = fault(&|head| drop(head.versions.remove(0)));
    assert!(gone.contains("nothing tells what a patch is of"), "{gone}");
    let inline = Body::Inline(Inline::new(b"x").unwrap());
    let other = fault(&|head| head.edit(2, |version| version.body = inline.clone()));
    assert!(other.contains("nothing tells what a patch is of"), "{other}");
    let none = fault(&|head| head.edit(3, |v| v.body = Body::Patch(Patch { root: None, deltas: Vec::new() })));
    assert!(none.contains("nothing tells what a patch is of"), "{none}");
    let root = |name: &str, parts| {
        let (sum, deltas) = (Sha256Sum::of(b"x"), vec![Inline::new(b"x").unwrap()]);
        let root = Some(Root { object: object(name, parts), size: 1, stored: 1, sha256: sum });
        Body::Patch(Patch { root, deltas })
    };
    for (name, parts) in [("../x", 1), ("x", 0)] {
        let bad = fault(&|head| head.edit(3, |version| version.body = root(name, parts)));
        assert!(bad.contains("an object's name or number of parts is wrong"), "{bad}");
    }
}

#[test]
fn what_several_versions_hang_on_counts_once_and_a_rollback_keeps_what_it_came_from() {
    let (mut story, _) = four();
    let most = story.head.versions.iter().map(|version| version.stored).sum::<u64>() + 100;
    story.keep = Retention { max_versions: 20, max_bytes: Some(most), max_age: None };
    story.roll_back(2, Some(4), "back").unwrap();
    let copy = story.head.version(5).unwrap();
    assert!(copy.body.patch().is_some_and(|patch| patch.root.is_some()), "{copy:?}");
    assert_eq!(story.head.versions.len(), 5, "the root is stored once");
}
