//! What every store must do, whatever it is made of. Run it with a prefix of its own for each run: heads are never
//! deleted, so a store that lives on must not be asked twice about the same keys. A prefix looks like `run1/`.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use tofustate::store::{Entry, Expect, Kv, KvError, Part, PartLabel, Revision, Value, keys};
use tokio::task::JoinSet;

/// Everything here but [`revisions_are_never_given_again`].
pub(crate) async fn all(kv: &Arc<dyn Kv>, prefix: &str) {
    compare_and_swap(kv.as_ref(), prefix).await;
    documents_come_back(kv.as_ref(), prefix).await;
    parts_come_back(kv.as_ref(), prefix).await;
    parts_are_deleted_and_heads_never(kv.as_ref(), prefix).await;
    parts_are_listed(kv.as_ref(), prefix).await;
    what_is_too_large_is_refused(kv.as_ref(), prefix).await;
    one_of_many_wins(kv, prefix, 40, 8).await;
    different_keys_do_not_disturb_each_other(kv, prefix, 48).await;
}

/// A document.
pub(crate) fn document(text: &str) -> Value {
    Value::Document(text.into())
}

/// A part with a label that could be real.
pub(crate) fn part(bytes: impl Into<Bytes>, index: u32) -> Value {
    let label = PartLabel {
        sha256: format!("{index:064x}"),
        path: "team/network.prod".to_owned(),
        object: "41-9f3c".to_owned(),
        index,
    };
    Value::Part(Part { label, bytes: bytes.into() })
}

/// Bytes that do not compress and are the same each time.
pub(crate) fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(step).take(len).collect()
}

/// The entry under a key that has one.
pub(crate) async fn entry(kv: &dyn Kv, key: &str) -> Entry {
    kv.get(key).await.unwrap_or_else(|error| panic!("{key}: {error}")).unwrap_or_else(|| panic!("{key} is absent"))
}

async fn compare_and_swap(kv: &dyn Kv, prefix: &str) {
    let key = format!("{prefix}cas");
    assert_eq!(kv.get(&key).await.unwrap(), None);
    refused(kv, &key, Expect::At(Revision(1))).await;
    assert_eq!(kv.get(&key).await.unwrap(), None, "a refused put wrote");

    let mut seen = vec![kv.put(&key, &document("0"), Expect::Absent).await.unwrap()];
    refused(kv, &key, Expect::Absent).await;
    for text in ["1", "2", "2"] {
        let last = *seen.last().unwrap();
        let next = kv.put(&key, &document(text), Expect::At(last)).await.unwrap();
        assert!(!seen.contains(&next), "revision {next:?} was given before: {seen:?}");
        for stale in &seen {
            refused(kv, &key, Expect::At(*stale)).await;
        }
        refused(kv, &key, Expect::Absent).await;
        assert_eq!(entry(kv, &key).await, Entry { value: document(text), revision: next });
        seen.push(next);
    }
    let part = kv.put(&key, &part("a part", 0), Expect::At(*seen.last().unwrap())).await;
    assert!(part.is_ok(), "a document may become a part: {part:?}");
}

async fn refused(kv: &dyn Kv, key: &str, expect: Expect) {
    let answer = kv.put(key, &document("refused"), expect).await;
    assert!(matches!(answer, Err(KvError::CasMismatch)), "{key} {expect:?}: {answer:?}");
}

async fn documents_come_back(kv: &dyn Kv, prefix: &str) {
    let piece = "\u{0}\u{1f}\"\\/\n\r\t<>&\u{7f}äé€𝄞\u{2028}\u{feff}{\"n\":9007199254740993,\"x\":[]} ";
    let long = piece.repeat(200 * 1024 / piece.len());
    assert!(long.len() > 199 * 1024, "{}", long.len());
    for (name, text) in [("empty", ""), ("braces", "{}"), ("piece", piece), ("long", &long)] {
        let key = format!("{prefix}document-{name}");
        let revision = kv.put(&key, &document(text), Expect::Absent).await.unwrap();
        let read = entry(kv, &key).await;
        assert!(read.value == document(text), "{name} came back changed");
        assert_eq!(read.revision, revision);
    }
}

async fn parts_come_back(kv: &dyn Kv, prefix: &str) {
    let every: Vec<u8> = (0..=255).collect();
    let whole = noise(kv.part_bytes(), 7);
    let parts = [Bytes::new(), Bytes::from_static(&[0]), every.into(), noise(4096, 3), whole.slice(1..), whole];
    for (index, bytes) in (0_u32..).zip(parts) {
        let key = format!("{}{}:round/1-a.{index}", keys::VERSIONS, flat(prefix));
        let value = part(bytes, index);
        let revision = kv.put(&key, &value, Expect::Absent).await.unwrap();
        assert!(entry(kv, &key).await == Entry { value, revision }, "part {index} came back changed");
    }
    // A part is replaced as a whole.
    let key = format!("{}{}:round/1-a.3", keys::VERSIONS, flat(prefix));
    let revision = entry(kv, &key).await.revision;
    kv.put(&key, &part("short", 9), Expect::At(revision)).await.unwrap();
    assert_eq!(entry(kv, &key).await.value, part("short", 9));
}

async fn parts_are_deleted_and_heads_never(kv: &dyn Kv, prefix: &str) {
    let key = format!("{}{}:gone/1-a", keys::VERSIONS, flat(prefix));
    kv.delete_part(&key).await.expect("deleting what is not there succeeds");
    for bytes in ["one", "two"] {
        kv.put(&key, &part(bytes, 0), Expect::Absent).await.expect("after a deletion there is nothing");
        kv.delete_part(&key).await.unwrap();
        assert_eq!(kv.get(&key).await.unwrap(), None);
        kv.delete_part(&key).await.expect("a second time too");
    }
    let head = format!("{prefix}head");
    kv.put(&head, &document("{}"), Expect::Absent).await.unwrap();
    for key in [head.clone(), format!("{prefix}absent"), format!("{}{}", keys::OWNERS, flat(prefix))] {
        let answer = kv.delete_part(&key).await;
        assert!(matches!(answer, Err(KvError::Denied(_))), "{key}: {answer:?}");
    }
    assert_eq!(entry(kv, &head).await.value, document("{}"));
}

async fn parts_are_listed(kv: &dyn Kv, prefix: &str) {
    let under = |state: &str| format!("{}{}:{state}/", keys::VERSIONS, flat(prefix));
    assert_eq!(kv.list_parts(&under("list")).await.unwrap(), vec![]);
    let before = kv.now();
    let mut made = HashSet::new();
    for name in ["1-a", "1-a.1", "1-a.2", "2-b", "10-c"] {
        let key = format!("{}{name}", under("list"));
        kv.put(&key, &part(name, 0), Expect::Absent).await.unwrap();
        made.insert(key);
    }
    // States whose names begin alike, before and after in any order of bytes.
    for state in ["lis", "list2", "list.x", "list-x", "list:x", "lisu"] {
        kv.put(&format!("{}1-a", under(state)), &part("other", 0), Expect::Absent).await.unwrap();
    }
    let listed = kv.list_parts(&under("list")).await.unwrap();
    let slack = Duration::from_secs(60);
    for one in &listed {
        let plausible = before - slack <= one.created && one.created <= kv.now() + slack;
        assert!(plausible, "{} was made at {}, it is {}", one.key, one.created, Timestamp::now());
    }
    assert_eq!(listed.len(), made.len());
    assert_eq!(listed.into_iter().map(|one| one.key).collect::<HashSet<_>>(), made);

    kv.delete_part(&format!("{}2-b", under("list"))).await.unwrap();
    assert_eq!(kv.list_parts(&under("list")).await.unwrap().len(), made.len() - 1);
}

async fn what_is_too_large_is_refused(kv: &dyn Kv, prefix: &str) {
    let key = format!("{}{}:large/1-a", keys::VERSIONS, flat(prefix));
    let answer = kv.put(&key, &part(noise(kv.part_bytes() * 2 + (1 << 20), 1), 0), Expect::Absent).await;
    assert!(matches!(answer, Err(KvError::TooLarge(_))), "{answer:?}");
    assert_eq!(kv.get(&key).await.unwrap(), None);
    let key = format!("{prefix}large");
    let answer = kv.put(&key, &document(&"x".repeat(4 << 20)), Expect::Absent).await;
    assert!(matches!(answer, Err(KvError::TooLarge(_))), "{answer:?}");
    assert_eq!(kv.get(&key).await.unwrap(), None);
}

async fn one_of_many_wins(kv: &Arc<dyn Kv>, prefix: &str, rounds: usize, writers: usize) {
    let key = format!("{prefix}race");
    let mut expect = Expect::Absent;
    for round in 0..rounds {
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let (kv, key) = (Arc::clone(kv), key.clone());
            tasks.spawn(async move {
                let value = document(&format!("round {round} writer {writer}"));
                (kv.put(&key, &value, expect).await, value)
            });
        }
        let answers = tasks.join_all().await;
        let won: Vec<_> = answers.iter().filter_map(|(answer, value)| Some((answer.as_ref().ok()?, value))).collect();
        let lost = answers.iter().filter(|(answer, _)| matches!(answer, Err(KvError::CasMismatch))).count();
        let [(revision, value)] = won[..] else { panic!("round {round}: {answers:?}") };
        assert_eq!(lost, writers - 1, "round {round}: {answers:?}");
        assert_eq!(entry(kv.as_ref(), &key).await, Entry { value: value.clone(), revision: *revision });
        expect = Expect::At(*revision);
    }
}

async fn different_keys_do_not_disturb_each_other(kv: &Arc<dyn Kv>, prefix: &str, keys: u32) {
    let mut tasks = JoinSet::new();
    for n in 0..keys {
        let (kv, key) = (Arc::clone(kv), format!("{prefix}many-{n}"));
        tasks.spawn(async move {
            let first = kv.put(&key, &document("first"), Expect::Absent).await?;
            kv.put(&key, &document(&key), Expect::At(first)).await?;
            Ok::<_, KvError>((entry(kv.as_ref(), &key).await.value, document(&key)))
        });
    }
    for done in tasks.join_all().await {
        let (read, written) = done.unwrap();
        assert_eq!(read, written);
    }
}

/// For a store that never gives a revision twice, also not after a part was deleted and made again.
pub(crate) async fn revisions_are_never_given_again(kv: &dyn Kv, prefix: &str) {
    let key = format!("{}{}:again/1-a", keys::VERSIONS, flat(prefix));
    let mut seen: Vec<Revision> = Vec::new();
    for _ in 0..3 {
        let made = kv.put(&key, &part("a life", 0), Expect::Absent).await.unwrap();
        for old in &seen {
            refused(kv, &key, Expect::At(*old)).await;
        }
        seen.push(made);
        kv.delete_part(&key).await.unwrap();
        refused(kv, &key, Expect::At(made)).await;
    }
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len(), "{seen:?}");
}

fn flat(prefix: &str) -> String {
    prefix.trim_end_matches('/').replace('/', ":")
}
