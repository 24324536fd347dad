//! What reads as a head and what does not, and that nothing of an entry gets into a message.

use serde_json::{Value, json};

use super::{
    super::{FORMAT, HeadError, MAX_HEAD, THINNED_KEPT, TRASH_MOST, Thinned, Trash},
    *,
};
use crate::store::{Epoch, MAX_LOCK_INFO};

const MARKER: &str = "s3cr3t-marker";

/// A head with something of everything.
fn rich() -> Head {
    let mut story = Story::new();
    story.keep = versions(3);
    story.write(&in_object(write_request(None, 1, MARKER), "1-a", 2, 9)).unwrap();
    story.run("a", &[2, 3, 4, 5]);
    story.delete().unwrap();
    story.roll_back(4, None, "4@none").unwrap();
    story.write(&write_request(None, 1, MARKER)).unwrap();
    story.lock("b").unwrap();
    let head = story.head.accepted(Epoch::random(), 1);
    assert!(!head.thinned.is_empty() && !head.trash.is_empty() && !head.released.is_empty());
    head
}

/// The JSON of a head in which no version is packed.
fn plain(head: &Head) -> Value {
    let mut json: Value = serde_json::from_str(&head.encode()).unwrap();
    json["versions"] = serde_json::to_value(&*head.versions).unwrap();
    json
}

/// The same with all but the newest version packed, whatever they are.
fn packed(mut json: Value) -> Value {
    if let Some(versions) = json["versions"].as_array_mut()
        && let Some(newest) = versions.pop()
    {
        let older = zstd::bulk::compress(&serde_json::to_vec(versions).unwrap(), 3).unwrap();
        *versions = vec![json!(BASE64.encode(older)), newest];
    }
    json
}

fn altered(alter: impl FnOnce(&mut Value)) -> HeadError {
    let mut json = plain(&rich());
    alter(&mut json);
    let error = Head::parse(&json.to_string()).expect_err(&format!("it was taken for a head: {json}"));
    let json = packed(json);
    let hidden = Head::parse(&json.to_string()).expect_err(&format!("it was taken for a head: {json}"));
    assert_eq!(std::mem::discriminant(&hidden), std::mem::discriminant(&error));
    let said = format!("{error} {error:?} {hidden} {hidden:?}");
    assert!(!said.contains(MARKER) && !said.contains(&BASE64.encode(MARKER)), "{said}");
    error
}

fn damaged(alter: impl FnOnce(&mut Value)) -> String {
    match altered(alter) {
        HeadError::Damaged(fault) => fault,
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_head_reads_as_it_was_written() {
    let head = rich();
    assert_eq!(Head::parse(&head.encode()), Ok(head.clone()));
    assert_eq!(Head::parse(&plain(&head).to_string()), Ok(head.clone()), "also where nothing is packed");
    let indented = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&head.encode()).unwrap()).unwrap();
    assert_eq!(Head::parse(&format!(" {indented}\n")), Ok(head));
}

#[test]
fn older_versions_that_cannot_be_unpacked_are_damage() {
    let bomb = zstd::bulk::compress(&vec![b' '; 64 << 20], 3).unwrap();
    let texts = ["", MARKER, "AAAA", &BASE64.encode(bomb), &BASE64.encode(zstd::bulk::compress(b"{}", 3).unwrap())];
    for text in texts {
        for at in 0..2 {
            let fault = damaged(|head| head["versions"][at] = json!(text));
            assert!(fault.contains("does not read as format 2"), "{fault}");
        }
    }
}

#[test]
fn the_fuzzers_seeds_are_heads() {
    let new = include_str!("../../../../fuzz/seeds/head/new.json");
    assert_eq!(Head::parse(new).unwrap().encode(), new);
    let full = Head::parse(include_str!("../../../../fuzz/seeds/head/full.json")).unwrap();
    let packed = include_str!("../../../../fuzz/seeds/head/packed.json");
    assert_eq!(Head::parse(packed), Ok(full));
    let patched = Head::parse(include_str!("../../../../fuzz/seeds/head/patched.json")).unwrap();
    let (root, deltas) = patched.traced(6).unwrap();
    assert_eq!((root.object.name.as_str(), deltas.len()), ("2-root", 3));
}

#[test]
fn another_format_is_left_to_the_release_that_wrote_it() {
    for format in [0, 3, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(altered(|head| head["format"] = json!(format)), HeadError::UnknownFormat(format));
    }
    // Whatever else it may hold.
    let newer = |head: &mut Value| *head = json!({"format": 3, "epoch": {"new": true}, "states": [1]});
    let error = altered(newer);
    assert_eq!(error, HeadError::UnknownFormat(3));
    assert!(error.to_string().contains(&format!("reads format {FORMAT}: run the release that wrote it")), "{error}");
}

#[test]
fn one_of_the_format_before_is_read_and_written_anew() {
    let old = Head::parse(include_str!("../../../../fuzz/seeds/head/full.json")).unwrap();
    assert_eq!(old.format, 1);
    let next = old.next_revision();
    assert_eq!((next.format, Head::parse(&next.encode())), (FORMAT, Ok(next)));
}

#[test]
fn what_is_no_head_is_left_alone() {
    for text in ["", " ", "{", "[]", "7", "null", "\"head\"", "{}", "{\"a\":1}", "\u{0}", &"[".repeat(100_000), MARKER]
    {
        let error = Head::parse(text).unwrap_err();
        assert!(matches!(error, HeadError::NotAHead(_)), "{text:.20}: {error:?}");
        assert!(error.to_string().contains("it is left alone") && !error.to_string().contains(MARKER), "{error}");
    }
    for field in ["format", "epoch"] {
        let missing = altered(|head| drop(head.as_object_mut().unwrap().remove(field)));
        assert!(matches!(missing, HeadError::NotAHead(_)), "{field}: {missing:?}");
    }
    assert!(matches!(altered(|head| head["format"] = json!(MARKER)), HeadError::NotAHead(_)));
    // A state that another tool wrote there.
    let state = altered(|head| *head = json!({"version": 4, "serial": 1, "lineage": MARKER, "resources": []}));
    assert!(matches!(state, HeadError::NotAHead(_)), "{state:?}");
}

#[test]
fn a_cut_head_is_never_taken_for_one() {
    let text = rich().encode();
    for cut in (0..text.len()).step_by(7) {
        assert!(Head::parse(&text[..cut]).is_err(), "{cut}");
    }
    assert!(Head::parse(&format!("{text}{text}")).is_err());
}

#[test]
fn fields_that_nobody_knows_or_that_miss_are_damage() {
    let fields: Vec<String> =
        serde_json::from_str::<serde_json::Map<String, Value>>(&rich().encode()).unwrap().keys().cloned().collect();
    assert!(damaged(|head| head[MARKER] = json!(1)).contains("does not read as format 2 at column"));
    damaged(|head| head["versions"][0][MARKER] = json!(MARKER));
    damaged(|head| head["lock"][MARKER] = json!(MARKER));
    for field in &fields {
        if !["format", "epoch"].contains(&field.as_str()) {
            damaged(|head| head[field] = json!({ MARKER: MARKER }));
        }
    }
    for field in ["revision", "owner", "next"] {
        damaged(|head| drop(head.as_object_mut().unwrap().remove(field)));
    }
    let twice = rich().encode().replacen("{", "{\"next\":77,", 1);
    assert!(matches!(Head::parse(&twice), Err(HeadError::Damaged(_))));
}

#[test]
fn values_that_cannot_be_are_damage() {
    for number in [json!(-1), json!(1.5), json!("1"), json!(null), json!(18_446_744_073_709_551_616.0)] {
        damaged(|head| head["revision"] = number.clone());
        damaged(|head| head["versions"][1]["size"] = number.clone());
    }
    damaged(|head| head["versions"][0]["sha256"] = json!("00"));
    damaged(|head| head["versions"][0]["sha256"] = json!("G".repeat(64)));
    damaged(|head| head["versions"][0]["time"] = json!(MARKER));
    damaged(|head| head["versions"][0]["encoding"] = json!("gzip"));
    damaged(|head| head["versions"][0]["body"] = json!({"elsewhere": MARKER}));
    damaged(|head| head["versions"][0]["anomalies"] = json!(["Nothing"]));
    damaged(|head| head["thinned"][0]["sums"] = json!("A"));
    damaged(|head| head["thinned"][0]["sums"] = json!(MARKER));
    damaged(|head| head["thinned"][0]["sums"] = json!("AAAA"));
    damaged(|head| head["released"][0]["op"] = json!(7));
}

#[test]
fn what_contradicts_itself_is_damage() {
    let first = |head: &Value| head["versions"][0]["number"].clone();
    type Alter<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, Alter<'_>); 11] = [
        ("not in order", &|head| head["versions"].as_array_mut().unwrap().reverse()),
        ("not in order", &|head| head["versions"][1]["number"] = first(head)),
        ("next version number was used", &|head| head["next"] = head["current"].clone()),
        ("has a version 0", &|head| head["versions"][0]["number"] = json!(0)),
        ("current version is not among", &|head| head["current"] = json!(1)),
        ("a counter is", &|head| head["revision"] = json!(0)),
        ("a counter is", &|head| head["revision"] = json!(u64::MAX)),
        ("a counter is", &|head| head["next"] = json!(u64::MAX)),
        ("a counter is", &|head| head["owner"]["claim"] = json!(u64::MAX)),
        ("threw away", &|head| {
            head["versions"][0]["body"] = json!({"object": {"name": head["trash"][0]["object"]["name"], "parts": 1}});
        }),
        ("number of parts", &|head| head["versions"][0]["body"] = json!({"object": {"name": "1-x", "parts": 0}})),
    ];
    for (fault, alter) in cases {
        let said = damaged(alter);
        assert!(said.contains(fault), "{fault}: {said}");
    }
    for name in ["", "../team:other/1-a", "1-a.7", "a/b", "1-A", &"a".repeat(65)] {
        let at_version = damaged(|head| head["versions"][0]["body"] = json!({"object": {"name": name, "parts": 1}}));
        let in_trash = damaged(|head| head["trash"][0]["object"]["name"] = json!(name));
        assert!(at_version.contains("object's name") && in_trash.contains("object's name"), "{name:?}");
    }
}

#[test]
fn sizes_that_nothing_has_are_added_up_all_the_same() {
    let mut json = plain(&rich());
    for version in json["versions"].as_array_mut().unwrap() {
        version["stored"] = json!(u64::MAX);
    }
    let head = Head::parse(&json.to_string()).unwrap();
    let keep = Retention { max_bytes: Some(1), ..all() };
    assert!(matches!(head.retained(&keep, at(0)), Step::Change(..)));
}

/// A head as full as it gets: versions that say `text` of themselves, the largest LockInfo, all the sums.
fn full(text: impl Fn(u64) -> String) -> Head {
    let mut head = Head::new(owner(1));
    let ask = |serial: u64| {
        let mut ask = write_request(None, serial, "x");
        ask.facts.lineage = Some(text(serial));
        ask.facts.tool_version = Some(text(serial + 1_000));
        in_object(ask, &crate::store::object_name(serial), 400, 1 << 28)
    };
    for serial in 0..200 {
        let op = op(&serial.to_string());
        let ask = WriteRequest { sha256: Sha256Sum::of(op.to_string().as_bytes()), ..ask(serial) };
        let Ok(Step::Change(next, _)) = head.written(&ask, op, &all(), at(0)) else { panic!("{serial}") };
        head = *next;
    }
    // Quotes stand with a backslash each in the head.
    let info = "\"".repeat(MAX_LOCK_INFO);
    let request = LockRequest { info, ..lock_request(&"\"".repeat(256)) };
    let Ok(Step::Change(next, ())) = head.locked(&request, op("lock"), at(0)) else { panic!("not locked") };
    head = *next;
    let sum = Sha256Sum::of(b"sum").short();
    head.thinned = vec![Thinned { lock: request.id, sums: vec![sum; THINNED_KEPT] }];
    head
}

#[test]
fn two_hundred_versions_of_a_usual_kind_fit() {
    let uuid = "9f1f2d0c-5b4e-8c3a-6c1e-0a2b4c6d8e0f";
    let head = full(|_| uuid.to_owned());
    assert_eq!(head.versions.len(), 200);
    let size = head.encode().len();
    assert!(size < MAX_HEAD - 22 * 1024, "{size}: the current version of 16 KiB has no room");
    assert_eq!(Head::parse(&head.encode()), Ok(head));
}

#[test]
fn what_does_not_fit_shrinks_and_keeps_what_matters() {
    // Of the longest kind, and with nothing in common that packing could save.
    let text = |seed: u64| {
        let sums = (0..8).map(|n| Sha256Sum::of(format!("{seed} {n}").as_bytes()).to_string()).collect::<String>();
        let characters = sums.as_bytes().as_chunks::<2>().0.iter().enumerate();
        let code = |(at, pair): (usize, &[u8; 2])| {
            0x4e00 + (at as u32 * 31 + u32::from(pair[0]) * 128 + u32::from(pair[1])) % 0x5000
        };
        characters.map(|one| char::from_u32(code(one)).unwrap()).collect::<String>()
    };
    let mut head = full(text);
    head.trash = (0..TRASH_MOST)
        .map(|n| Trash { object: object(&format!("{n}-{}", "0".repeat(24)), 400), since: at(0), swept: false })
        .collect();
    head.lock.as_mut().unwrap().base = Some(1);
    assert!(head.encode().len() > MAX_HEAD);
    assert!(head.shrink(at(1)));
    assert!(head.encode().len() <= MAX_HEAD);
    assert_eq!(head.check(), Ok(()));
    assert_eq!((head.current, head.versions.first().map(|version| version.number)), (Some(200), Some(1)));
    assert_eq!(head.versions.get(1).map(|version| version.number + 1), head.versions.get(2).map(|v| v.number));
    assert_eq!(Head::parse(&head.encode()), Ok(head));
}

#[test]
fn what_cannot_shrink_says_so() {
    let mut head = Head::new(owner(1));
    head.lock = Some(full(|_| "x".to_owned()).lock.unwrap());
    head.lock.as_mut().unwrap().traceparent = Some("\"".repeat(MAX_HEAD));
    assert!(!head.shrink(at(0)));
}

#[test]
fn nothing_secret_is_in_a_debug() {
    let mut story = Story::new();
    for serial in 1..=3 {
        story.write(&write_request(None, serial, &format!("{MARKER}{serial}"))).unwrap();
    }
    let packed = plain(&story.head)["versions"].as_array().unwrap().len();
    assert!(packed == 3 && story.head.encode().contains("[\"KLUv"), "something is packed");
    let request = LockRequest { credential: Some(MARKER.to_owned().into()), ..lock_request("a") };
    let locked = story.head.locked(&request, op("l"), at(0));
    story.take(locked).unwrap();
    let held = story.unchanged(|story| story.lock("b"));
    let ask = write_request(None, 1, MARKER);
    let said = format!("{:?} {request:?} {held:?} {ask:?}", story.head);
    assert!(!said.contains(MARKER) && !said.contains(&BASE64.encode(MARKER)) && !said.contains("KLUv"), "{said}");
    let kept = Head::parse(&story.head.encode()).unwrap();
    assert_eq!(kept.lock.unwrap().credential, request.credential, "it is kept all the same");
}
