//! What cannot be seen from outside: rows that are not ours, and the queue while a commit is under way.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use redb::WriteTransaction;

use super::{
    folder::{BYTES, ENTRIES},
    *,
};
use crate::store::{Part, PartLabel};

fn document(text: &str) -> Value {
    Value::Document(text.into())
}

fn part(bytes: &'static [u8]) -> Value {
    let label = PartLabel { sha256: String::new(), path: "p".into(), object: "1-a".into(), index: 0 };
    Value::Part(Part { label, bytes: Bytes::from_static(bytes) })
}

/// Keeps the writer from beginning a transaction.
fn hold(kv: &EmbeddedKv) -> WriteTransaction {
    kv.shared.database().as_ref().unwrap().begin_write().unwrap()
}

fn change_row(kv: &EmbeddedKv, change: impl FnOnce(&WriteTransaction)) {
    let transaction = hold(kv);
    change(&transaction);
    transaction.commit().unwrap();
}

async fn is_foreign(kv: &EmbeddedKv, key: &str, seen: &str) {
    let entry = kv.get(key).await.unwrap().unwrap();
    assert_eq!(entry.value, Value::Foreign(seen.to_owned()), "{key}");
    for expect in [Expect::Absent, Expect::At(entry.revision), Expect::At(Revision(0))] {
        let answer = kv.put(key, &document("{}"), expect).await;
        assert!(matches!(answer, Err(KvError::CasMismatch)), "{key} was overwritten: {answer:?}");
    }
    assert_eq!(kv.get(key).await.unwrap().unwrap(), entry);
}

#[tokio::test]
async fn what_is_not_ours_is_shown_and_never_overwritten() {
    let kv = EmbeddedKv::in_memory().unwrap();
    let rows: [(&str, &[u8], &str); 4] = [
        ("empty", b"", "0 bytes with a damaged header"),
        ("other", b"?12345678123456789", "18 bytes of the unknown kind 0x3f"),
        ("zeros", &[0; 40], "40 bytes of the unknown kind 0x00"),
        ("short", b"d123", "4 bytes with a damaged header"),
    ];
    change_row(&kv, |transaction| {
        let mut entries = transaction.open_table(ENTRIES).unwrap();
        for (key, raw, _) in rows {
            entries.insert(key, raw).unwrap();
        }
    });
    for (key, _, seen) in rows {
        is_foreign(&kv, key, seen).await;
    }
    assert_eq!(kv.list_parts("").await.unwrap(), vec![]);
    assert!(matches!(kv.put("a", &Value::Foreign(String::new()), Expect::Absent).await, Err(KvError::Denied(_))));
}

#[tokio::test]
async fn a_part_without_its_bytes_is_foreign_and_can_be_deleted() {
    let kv = EmbeddedKv::in_memory().unwrap();
    let key = ".versions/p/1-a";
    kv.put(key, &part(b"12345"), Expect::Absent).await.unwrap();
    change_row(&kv, |transaction| {
        transaction.open_table(BYTES).unwrap().insert(key, &b"1234"[..]).unwrap();
    });
    let seen = kv.get(key).await.unwrap().unwrap();
    assert_eq!(seen.value, Value::Foreign("a part of 5 bytes with 4 bytes beside it".to_owned()));
    change_row(&kv, |transaction| {
        transaction.open_table(BYTES).unwrap().remove(key).unwrap();
    });
    let seen = kv.get(key).await.unwrap().unwrap();
    assert_eq!(
        (seen.value, seen.revision),
        (Value::Foreign("a part of 5 bytes without its bytes".into()), Revision(0))
    );
    kv.delete_part(key).await.unwrap();
    assert_eq!(kv.get(key).await.unwrap(), None);
}

#[tokio::test]
async fn a_deletion_takes_the_bytes_and_a_list_has_parts_alone() {
    let kv = EmbeddedKv::in_memory().unwrap();
    let key = ".versions/p/1-a";
    kv.put(key, &part(b"12345"), Expect::Absent).await.unwrap();
    kv.put(".versions/p/1-b", &document("{}"), Expect::Absent).await.unwrap();
    let listed: Vec<_> = kv.list_parts(".versions/p/").await.unwrap().into_iter().map(|one| one.key).collect();
    assert_eq!(listed, [key]);
    kv.delete_part(key).await.unwrap();
    change_row(&kv, |transaction| {
        assert!(transaction.open_table(BYTES).unwrap().remove(key).unwrap().is_none());
    });
}

#[tokio::test]
async fn a_document_in_place_of_a_part_leaves_no_bytes() {
    let kv = EmbeddedKv::in_memory().unwrap();
    let revision = kv.put("a", &part(b"12345"), Expect::Absent).await.unwrap();
    kv.put("a", &document("{}"), Expect::At(revision)).await.unwrap();
    change_row(&kv, |transaction| {
        assert!(transaction.open_table(BYTES).unwrap().remove("a").unwrap().is_none());
    });
}

#[tokio::test]
async fn work_whose_caller_has_gone_is_not_done() {
    let kv = EmbeddedKv::in_memory().unwrap();
    let held = hold(&kv);
    let mut context = Context::from_waker(Waker::noop());
    let (one, two, three) = (document("1"), document("2"), document("3"));
    let mut first = pin!(kv.put("first", &one, Expect::Absent));
    assert!(first.as_mut().poll(&mut context).is_pending());
    // The writer has taken it, and waits for the transaction.
    let queue = kv.queue.clone().unwrap();
    let taken = async {
        while queue.capacity() < QUEUE {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), taken).await.expect("the writer takes nothing");
    drop(queue);
    {
        let mut gone = pin!(kv.put("second", &two, Expect::Absent));
        assert!(gone.as_mut().poll(&mut context).is_pending());
    }
    let mut last = pin!(kv.put("third", &three, Expect::Absent));
    assert!(last.as_mut().poll(&mut context).is_pending());
    // A read waits for no commit.
    assert_eq!(kv.get("first").await.unwrap(), None);
    held.abort().unwrap();
    first.await.unwrap();
    last.await.unwrap();
    assert_eq!(kv.get("second").await.unwrap(), None, "nobody waited for it");
    assert!(kv.get("first").await.unwrap().is_some() && kv.get("third").await.unwrap().is_some());
}

#[tokio::test]
async fn one_batch_is_judged_in_queue_order() {
    let kv = EmbeddedKv::in_memory().unwrap();
    let held = hold(&kv);
    let mut context = Context::from_waker(Waker::noop());
    let values: Vec<_> = (0..6).map(|n| document(&n.to_string())).collect();
    let mut puts: Vec<_> = values.iter().map(|value| Box::pin(kv.put("a", value, Expect::Absent))).collect();
    for put in &mut puts {
        assert!(matches!(put.as_mut().poll(&mut context), Poll::Pending));
    }
    held.abort().unwrap();
    let mut answers = Vec::new();
    for put in puts {
        answers.push(put.await);
    }
    let (first, others) = answers.split_first().unwrap();
    assert!(others.iter().all(|answer| matches!(answer, Err(KvError::CasMismatch))), "{answers:?}");
    let entry = Entry { value: values[0].clone(), revision: *first.as_ref().unwrap() };
    assert_eq!(kv.get("a").await.unwrap(), Some(entry));
}
