//! The embedded store on a real disk: the conformance tests, then what only it must stand: a second process, a full disk, a
//! file that is not its own, `kill -9`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{
    disk::{Disk, fill},
    kv_conformance::{self as conformance, document, entry, noise, part},
};
use rand::RngExt;
use redb::{Database, DatabaseError, TableDefinition};
use tempfile::TempDir;
use tofustate::store::{EmbeddedKv, Expect, Kv, KvError, OpenError, Revision, Value};

const DEADLINE: Duration = Duration::from_secs(30);
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Opens what nobody has open. A program that another test of this process starts has all locks of the process for a moment,
/// until it is another program.
fn soon<T, E>(open: impl Fn() -> Result<T, E>, is_in_use: impl Fn(&E) -> bool) -> Result<T, E> {
    let began = Instant::now();
    loop {
        match open() {
            Err(error) if is_in_use(&error) && began.elapsed() < DEADLINE => thread::sleep(Duration::from_millis(10)),
            done => return done,
        }
    }
}

fn free(folder: &Path) -> Result<EmbeddedKv, OpenError> {
    soon(|| EmbeddedKv::open(folder), |error| matches!(error, OpenError::InUse { .. }))
}

fn open(folder: &Path) -> EmbeddedKv {
    free(folder).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(folder: &Path) -> String {
    free(folder).expect_err("the folder was opened").to_string()
}

/// What is said of a folder that somebody has open.
fn in_use(folder: &Path) -> String {
    let error = EmbeddedKv::open(folder).expect_err("the folder was opened");
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    error.to_string()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms_on_a_disk() {
    let folder = TempDir::new().unwrap();
    let kv: Arc<dyn Kv> = Arc::new(open(folder.path()));
    conformance::all(&kv, "run/").await;
    conformance::revisions_are_never_given_again(kv.as_ref(), "run/").await;
}

#[tokio::test]
async fn it_conforms_in_memory() {
    let kv: Arc<dyn Kv> = Arc::new(EmbeddedKv::in_memory().unwrap());
    conformance::all(&kv, "run/").await;
    conformance::revisions_are_never_given_again(kv.as_ref(), "run/").await;
}

#[tokio::test]
async fn any_text_is_a_key() {
    let kv = EmbeddedKv::in_memory().unwrap();
    for key in ["", "\0", "ä/€", ".versions/", &"k".repeat(10_000)] {
        kv.put(key, &document(key), Expect::Absent).await.unwrap();
        assert_eq!(entry(&kv, key).await.value, document(key));
    }
}

#[tokio::test]
async fn opening_again_finds_everything() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("made/for it");
    let (head, piece) = ("team/net", ".versions/team:net/1-a");
    let mut revisions = Vec::new();
    {
        let kv = open(&folder);
        assert_eq!((mode(&folder), mode(&folder.join("states.redb"))), (0o700, 0o600));
        revisions.push(kv.put(head, &document("{}"), Expect::Absent).await.unwrap());
        revisions.push(kv.put(piece, &part(noise(100_000, 1), 0), Expect::Absent).await.unwrap());
        kv.delete_part(".versions/team:net/0-absent").await.unwrap();
    }
    for round in 0..3_u64 {
        let kv = open(&folder);
        let read = entry(&kv, head).await;
        assert_eq!(&read.revision, revisions.last().filter(|_| round > 0).unwrap_or(&revisions[0]));
        assert!(entry(&kv, piece).await.value == part(noise(100_000, 1), 0));
        assert_eq!(kv.list_parts(".versions/team:net/").await.unwrap().len(), 1);
        let next = kv.put(head, &document("{\"n\":1}"), Expect::At(read.revision)).await.unwrap();
        assert!(!revisions.contains(&next), "{next:?} was given before: {revisions:?}");
        revisions.push(next);
    }
}

#[tokio::test]
async fn a_folder_has_one_owner() {
    let folder = TempDir::new().unwrap();
    let kv = open(folder.path());
    let said = in_use(folder.path());
    let named = folder.path().display().to_string();
    for part in [&*named, &format!("pid {}", std::process::id()), "another tofustate", "stop that one"] {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
    let child = another_process("open", folder.path());
    let out = child.wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.contains(&format!("refused: {said}")), "{out}");

    kv.put("a", &document("1"), Expect::Absent).await.unwrap();
    drop(kv);
    let out = another_process("open", folder.path()).wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.contains("opened"), "a dropped store lets its folder go: {out}");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("states.redb");
    for content in [&b""[..], b"x", b"redb", &[0; 8192], &noise(300_000, 5)] {
        fs::write(&file, content).unwrap();
        let said = refused(folder.path());
        assert!(said.contains(&*file.to_string_lossy()) && said.contains("not a database of tofustate"), "{said}");
        assert_eq!(fs::read(&file).unwrap(), content, "{said}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left beside it");
    }
    let mut damaged = b"redb\x1a\x0a\xa9\x0d\x0a".to_vec();
    damaged.extend(noise(300_000, 6));
    fs::write(&file, &damaged).unwrap();
    let error = free(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::read(&file).unwrap(), damaged);

    fs::remove_file(&file).unwrap();
    drop(Database::create(&file).unwrap());
    let before = fs::read(&file).unwrap();
    let said = refused(folder.path());
    assert!(said.contains("a redb database of something else"), "{said}");
    assert!(fs::read(&file).unwrap() == before, "another program's database was changed");

    let error = EmbeddedKv::open(&file).unwrap_err();
    assert!(matches!(error, OpenError::NotAFolder { .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_format_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("states.redb");
    open(folder.path()).put("a", &document("kept"), Expect::Absent).await.unwrap();
    let set = |format: u64| {
        let in_use = |error: &DatabaseError| matches!(error, DatabaseError::DatabaseAlreadyOpen);
        let database = soon(|| Database::open(&file), in_use).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    };
    set(2);
    let before = fs::read(&file).unwrap();
    let said = refused(folder.path());
    assert!(said.contains("has format 2, this tofustate knows format 1"), "{said}");
    assert!(fs::read(&file).unwrap() == before, "the file was changed");
    set(1);
    assert_eq!(entry(&open(folder.path()), "a").await.value, document("kept"));
}

#[test]
fn a_cut_file_is_damaged() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("states.redb");
    drop(open(folder.path()));
    File::options().write(true).open(&file).unwrap().set_len(5000).unwrap();
    let error = free(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let Some(disk) = Disk::mount("size=1m,ro") else { return };
    let said = refused(&disk.path);
    assert!(said.contains(&*disk.path.to_string_lossy()) && said.contains("Read-only file system"), "{said}");
    assert_eq!(fs::read_dir(&disk.path).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_disk_ends_with_the_disk() {
    let Some(disk) = Disk::mount("size=16m") else { return };
    let folder = disk.path.join("data");
    let kv = open(&folder);
    let old = kv.put("team/net", &document("old"), Expect::Absent).await.unwrap();
    let old_part = noise(200_000, 1);
    kv.put(".versions/team:net/0-old", &part(old_part.clone(), 0), Expect::Absent).await.unwrap();
    let generation = kv.generation();

    for round in 0..3 {
        let filler = disk.path.join("filler");
        fill(&filler);
        let mut written = 0_u32;
        let said = loop {
            let key = format!(".versions/team:net/{round}-full.{written}");
            match kv.put(&key, &part(noise(kv.part_bytes(), written.into()), written), Expect::Absent).await {
                Ok(_) => written += 1,
                Err(KvError::Unavailable { message, .. }) => break message,
                Err(error) => panic!("{error}"),
            }
            assert!(written < 64, "the disk does not fill");
        };
        let advice = format!("free space on the disk of {}", folder.display());
        assert!(said.contains(&advice) && said.contains("states.redb"), "{said}");

        // While it is full, what was there is there, and nobody else gets the folder.
        assert_eq!(entry(&kv, "team/net").await.revision, old);
        assert!(entry(&kv, ".versions/team:net/0-old").await.value == part(old_part.clone(), 0));
        let listed = kv.list_parts(&format!(".versions/team:net/{round}-full")).await.unwrap();
        assert_eq!(listed.len(), usize::try_from(written).unwrap(), "a failed put left something");
        in_use(&folder);
        let generation = kv.generation();
        for _ in 0..5 {
            let again = kv.put(".versions/team:net/9-x", &part(noise(kv.part_bytes(), 2), 0), Expect::Absent).await;
            assert!(
                matches!(&again, Err(KvError::Unavailable { message, .. }) if message.contains(&advice)),
                "{again:?}"
            );
        }
        assert_eq!(kv.generation(), generation, "what is hopeless was tried, and the whole file read each time");
        // Nothing is started again: the disk has room, so it writes.
        fs::remove_file(&filler).unwrap();
        let key = format!("after-{round}");
        kv.put(&key, &part(noise(kv.part_bytes(), 3), 0), Expect::Absent).await.unwrap();
        kv.put(&format!("{key}-head"), &document("new"), Expect::Absent).await.unwrap();
        for n in 0..written {
            kv.delete_part(&format!(".versions/team:net/{round}-full.{n}")).await.unwrap();
        }
    }
    assert_ne!(kv.generation(), generation);
    drop(kv);
    let kv = open(&folder);
    assert_eq!(entry(&kv, "team/net").await.revision, old);
    assert!(entry(&kv, "after-2").await.value == part(noise(kv.part_bytes(), 3), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_could_not_be_read_is_opened_again() {
    let folder = TempDir::new().unwrap();
    let (file, aside) = (folder.path().join("states.redb"), folder.path().join("aside"));
    let kv = open(folder.path());
    kv.put("team/net", &document("kept"), Expect::Absent).await.unwrap();
    // More than the cache holds, so that the first ones are read from the disk.
    let names: Vec<String> = (0..64).map(|n| format!(".versions/team:net/1-a.{n}")).collect();
    for key in &names {
        kv.put(key, &part(noise(kv.part_bytes(), 1), 0), Expect::Absent).await.unwrap();
    }
    let generation = kv.generation();
    fs::copy(&file, &aside).unwrap();
    File::options().write(true).open(&file).unwrap().set_len(4096).unwrap();
    let said = kv.get(&names[0]).await.unwrap_err();
    let named = said.to_string().contains(&*file.to_string_lossy());
    assert!(named && matches!(said, KvError::Unavailable { .. }), "{said}");
    let opened_again = async {
        while kv.generation() == generation {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), opened_again).await.expect("it was not opened again");
    let answer = kv.put("a", &document("1"), Expect::Absent).await;
    assert!(matches!(answer, Err(KvError::Unavailable { .. })), "{answer:?}");
    in_use(folder.path());

    // The same file, for it is the one that is opened.
    fs::copy(&aside, &file).unwrap();
    kv.put("a", &document("1"), Expect::Absent).await.unwrap();
    assert_eq!(entry(&kv, "team/net").await.value, document("kept"));
    for key in &names {
        assert!(entry(&kv, key).await.value == part(noise(kv.part_bytes(), 1), 0), "{key}");
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_into_a_file_that_was_moved_away() {
    for replaced in [false, true] {
        let folder = TempDir::new().unwrap();
        let (file, aside) = (folder.path().join("states.redb"), folder.path().join("aside"));
        let kv = open(folder.path());
        let first = kv.put("team/app", &document("1"), Expect::Absent).await.unwrap();
        fs::rename(&file, &aside).unwrap();
        if replaced {
            // As by a restored backup.
            fs::copy(&aside, &file).unwrap();
        }
        let lost = kv.put("team/app", &document("2"), Expect::At(first)).await;
        let Err(KvError::Unavailable { message, .. }) = lost else { panic!("{lost:?}") };
        assert!(message.contains("states.redb") && message.contains("moved"), "{message}");
        let generation = kv.generation();
        assert!(generation > 0);
        if replaced {
            // The file that is there now is what is served.
            kv.put("team/app", &document("3"), Expect::At(first)).await.unwrap();
        } else {
            assert!(kv.get("team/app").await.is_err() && kv.put("b", &document("x"), Expect::Absent).await.is_err());
            fs::rename(&aside, &file).unwrap();
            kv.put("team/app", &document("3"), Expect::At(first)).await.unwrap();
        }
        drop(kv);
        let kv = open(folder.path());
        assert_eq!(kv.get("team/app").await.unwrap().unwrap().value, document("3"));
    }
}

#[test]
fn a_full_disk_at_the_start_leaves_nothing_half_made() {
    let Some(disk) = Disk::mount("size=1m") else { return };
    let folder = disk.path.join("data");
    let filler = disk.path.join("filler");
    fill(&filler);
    let said = refused(&folder);
    assert!(said.contains("No space left on device") && said.contains(&*folder.to_string_lossy()), "{said}");
    fs::remove_file(&filler).unwrap();
    drop(open(&folder));
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    let folder = TempDir::new().unwrap();
    let mut random = rand::rng();
    let (mut acknowledged, mut killed_in_work) = (BTreeMap::new(), 0);
    for round in 0..30 {
        let mut child = another_process("write", folder.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let wanted = random.random_range(1..120);
        let mut got = 0;
        // Each line is one that the child wrote after its put had returned.
        let mut note = |line: String| {
            let Some((key, rest)) = line.strip_prefix("ack ").and_then(|ack| ack.split_once(' ')) else { return 0 };
            let (revision, number) = rest.split_once(' ').unwrap();
            let ack: (u64, u64) = (revision.parse().unwrap(), number.parse().unwrap());
            acknowledged.insert(key.to_owned(), ack);
            1
        };
        while got < wanted {
            got += note(lines.next().unwrap_or_else(|| panic!("round {round}: the child ended by itself")));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        got += lines.map(&mut note).sum::<u32>();
        killed_in_work += u32::from(got >= wanted);

        let kv = open(folder.path());
        for (key, (revision, number)) in &mut acknowledged {
            let read = entry(&kv, key).await;
            // One more put may have been committed without its answer; from here on it is known.
            let more = u64::from(read.revision != Revision(*revision));
            (*revision, *number) = (read.revision.0, *number + more);
            match read.value {
                Value::Document(text) => {
                    let found: u64 = text.trim_end_matches('.').parse().unwrap();
                    assert_eq!(found, *number, "round {round} {key}");
                }
                value => assert!(value == part(noise(30_000, *number), 0), "round {round} {key}"),
            }
        }
    }
    assert_eq!(killed_in_work, 30);
    assert!(acknowledged.len() > 30, "{}", acknowledged.len());
}

/// Not a test: what [`another_process`] runs, as this same binary.
#[test]
fn as_another_process() {
    let (Ok(what), Some(folder)) = (env::var("TOFUSTATE_TEST_CHILD"), env::var_os("TOFUSTATE_TEST_FOLDER")) else {
        return;
    };
    let folder = PathBuf::from(folder);
    // The harness has begun a line that it ends with the test.
    println!();
    match (&*what, EmbeddedKv::open(&folder)) {
        ("open", Ok(_)) => println!("opened"),
        ("open", Err(error)) => println!("refused: {error}"),
        (_, kv) => {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(write_for_ever(Arc::new(kv.unwrap())));
        }
    }
}

/// Four writers of heads and two of parts, each acknowledging on stdout what was acknowledged to it.
async fn write_for_ever(kv: Arc<EmbeddedKv>) {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let kv = Arc::clone(&kv);
        tasks.spawn(async move {
            let key = format!("head-{task}");
            let (mut expect, mut number) = match kv.get(&key).await.unwrap() {
                None => (Expect::Absent, 0),
                Some(entry) => {
                    let Value::Document(text) = entry.value else { panic!("{key} is no document") };
                    (Expect::At(entry.revision), text.trim_end_matches('.').parse().unwrap())
                }
            };
            loop {
                number += 1;
                let text = format!("{number}{}", ".".repeat(5000));
                let revision = kv.put(&key, &document(&text), expect).await.unwrap();
                acknowledge(&key, revision, number);
                expect = Expect::At(revision);
            }
        });
    }
    for task in 0..2 {
        let kv = Arc::clone(&kv);
        tasks.spawn(async move {
            let known = kv.list_parts(&format!(".versions/part-{task}/")).await.unwrap().len();
            for number in u64::try_from(known).unwrap().. {
                let key = format!(".versions/part-{task}/{number}");
                let revision = kv.put(&key, &part(noise(30_000, number), 0), Expect::Absent).await.unwrap();
                acknowledge(&key, revision, number);
            }
        });
    }
    tasks.join_all().await;
}

fn acknowledge(key: &str, revision: Revision, number: u64) {
    // One write for one line: what the parent reads is whole.
    let line = format!("ack {key} {} {number}\n", revision.0);
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

fn another_process(what: &str, folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "as_another_process", "--nocapture", "--test-threads=1"])
        .env("TOFUSTATE_TEST_CHILD", what)
        .env("TOFUSTATE_TEST_FOLDER", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
