//! What stands in the folder: each file read whole, kept until it changes, and the folder taken as it is between two looks
//! that are alike.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::sleep,
    time::{Duration, SystemTime},
};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::{
    manifest::FileContent,
    report::{Place, Problem, Reason, Severity},
    scan::{FolderLimits, Scan, Stamp, Unseen, scan},
    yaml,
};

/// How often a folder that changes under our eyes is looked at again, and how long after.
const ROUNDS: usize = 5;
const PAUSE: Duration = Duration::from_millis(50);
/// How long a file has to be left alone before it is read: its writer may be half through.
const QUIET: Duration = Duration::from_millis(50);
/// How long another change of a file may not show in its times; and how long a file has to stay empty to be taken at its
/// word: a writer that has cut it and was then held up looks the same.
const TICK: Duration = Duration::from_secs(2);
/// How long a file has to be gone: a checkout, an editor or rsync may be about to write it anew.
const GONE: Duration = Duration::from_millis(500);
/// How often one file is.
const READS: usize = 3;

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) files: Vec<Arc<FileContent>>,
    /// The files that stood there, those that could not be read among them.
    pub(super) paths: Vec<PathBuf>,
    pub(super) problems: Vec<Problem>,
    pub(super) unseen: Unseen,
    /// The folder itself could be read.
    pub(super) read: bool,
    /// Some of it is to be looked at again, changed or not.
    pub(super) again: bool,
}

/// The folder, with what is known of each file.
pub(super) struct Folder {
    root: PathBuf,
    except: PathBuf,
    limits: FolderLimits,
    files: HashMap<PathBuf, Known>,
    contents: Option<Arc<Contents>>,
}

struct Known {
    stamp: Stamp,
    /// Another change may not show in the stamp.
    young: bool,
    sum: [u8; 32],
    content: Arc<FileContent>,
}

/// Files that could not be read this time, and why.
#[derive(Default)]
struct Reads {
    /// Any was read.
    any: bool,
    /// Those that changed or vanished meanwhile.
    moved: Vec<PathBuf>,
    failed: BTreeMap<PathBuf, String>,
}

impl Folder {
    pub(super) fn new(root: PathBuf, except: PathBuf, limits: FolderLimits) -> Self {
        Self { root, except, limits, files: HashMap::new(), contents: None }
    }

    /// Looks again. The second answer: whether anything is otherwise than at the last look.
    pub(super) fn refresh(&mut self) -> (Arc<Contents>, bool) {
        let mut look = self.scan();
        let mut reads = self.read(&look);
        let mut settled = !reads.any;
        if self.lost(&look) {
            settled = false;
            sleep(GONE);
        }
        let mut odd = Vec::new();
        for round in 0..ROUNDS {
            if settled {
                break;
            }
            if round > 0 {
                sleep(PAUSE);
            }
            let after = self.scan();
            settled = reads.moved.is_empty() && after == look;
            if !settled {
                odd = differing(&look, &after);
                look = after;
                reads = self.read(&look);
            }
        }
        reads.moved.extend(odd);
        let new = self.assemble(look, reads, settled);
        let same = self.contents.as_ref().filter(|old| alike(old, &new)).cloned();
        let changed = same.is_none();
        let contents = same.unwrap_or_else(|| Arc::new(new));
        self.contents = Some(contents.clone());
        (contents, changed)
    }

    /// Whether a file that was there at the last look is not any more.
    fn lost(&self, look: &Scan) -> bool {
        let there: HashSet<&PathBuf> = look.files.iter().map(|(path, _)| path).collect();
        let known = self.contents.iter().flat_map(|contents| &contents.paths);
        look.read && known.into_iter().any(|path| !there.contains(path))
    }

    fn scan(&self) -> Scan {
        scan(&self.root, &self.except, &self.limits)
    }

    /// Reads the files that changed since they were read, or may have.
    fn read(&mut self, look: &Scan) -> Reads {
        let mut reads = Reads::default();
        for (path, stamp) in &look.files {
            if self.files.get(path).is_some_and(|known| known.stamp == *stamp && !known.young) {
                continue;
            }
            reads.any = true;
            // Before the file is looked at: what is quiet by then stayed as it is while it was read.
            let now = SystemTime::now();
            match read_whole(path, self.limits.file_bytes) {
                Ok(Some((bytes, stamp))) if stamp.younger(if bytes.is_empty() { TICK } else { QUIET }, now) => {
                    reads.moved.push(path.clone());
                }
                Ok(Some((bytes, stamp))) => self.take(path, &bytes, stamp, stamp.younger(TICK, now)),
                Ok(None) => reads.moved.push(path.clone()),
                Err(error) => drop(reads.failed.insert(path.clone(), error.to_string())),
            }
        }
        reads
    }

    fn take(&mut self, path: &Path, bytes: &[u8], stamp: Stamp, young: bool) {
        let sum: [u8; 32] = Sha256::digest(bytes).into();
        let same = self.files.get(path).filter(|known| known.sum == sum).map(|known| known.content.clone());
        let content = same.unwrap_or_else(|| Arc::new(parse(path, bytes)));
        self.files.insert(path.to_owned(), Known { stamp, young, sum, content });
    }

    fn assemble(&mut self, look: Scan, reads: Reads, settled: bool) -> Contents {
        let Scan { files, mut problems, mut unseen, read } = look;
        let again = !settled || !reads.failed.is_empty();
        let mut contents = Vec::new();
        let mut skipped: BTreeMap<&str, (usize, &Path)> = BTreeMap::new();
        for (path, error) in &reads.failed {
            problems
                .push(Problem::error(Reason::Unreadable, format!("it cannot be read: {error}")).at(&Place::file(path)));
            unseen.under.push(path.clone());
        }
        for (path, _) in files.iter().filter(|(path, _)| !reads.failed.contains_key(path)) {
            let Some(known) = self.files.get(path) else { continue };
            problems.extend(known.content.nameless.iter().cloned());
            if !known.content.nameless.is_empty() {
                unseen.under.push(path.clone());
            }
            for (what, count) in &known.content.skipped {
                skipped.entry(what).or_insert((0, path)).0 += count;
            }
            contents.push(known.content.clone());
        }
        for (what, (count, first)) in skipped {
            let message = format!("passed over: {count} documents ({what}); this is the first file with one");
            problems.push(Problem::new(Severity::Note, Reason::Skipped, message).at(&Place::file(first)));
        }
        if !settled {
            let message = "the folder changes while it is read: what of it is missing now is not taken for removed";
            problems.push(Problem::new(Severity::Warning, Reason::Changing, message).at(&Place::file(&self.root)));
            unseen.under.extend(reads.moved);
        }
        if !unseen.all {
            let there: HashSet<&PathBuf> = files.iter().map(|(path, _)| path).collect();
            self.files.retain(|path, _| there.contains(path));
        }
        let paths = files.into_iter().map(|(path, _)| path).collect();
        Contents { files: contents, paths, problems, unseen, read, again }
    }
}

/// Files that are in one of two looks alone, or otherwise than in the other.
fn differing(a: &Scan, b: &Scan) -> Vec<PathBuf> {
    let only = |a: &Scan, b: &Scan| -> Vec<PathBuf> {
        let there: HashMap<&PathBuf, &Stamp> = b.files.iter().map(|(path, stamp)| (path, stamp)).collect();
        let odd = a.files.iter().filter(|(path, stamp)| there.get(path).is_none_or(|other| *other != stamp));
        odd.map(|(path, _)| path.clone()).collect()
    };
    [only(a, b), only(b, a)].concat()
}

fn alike(a: &Contents, b: &Contents) -> bool {
    let files = a.paths == b.paths
        && a.files.len() == b.files.len()
        && a.files.iter().zip(&b.files).all(|(a, b)| Arc::ptr_eq(a, b));
    files && a.problems == b.problems && a.unseen == b.unseen && a.read == b.read && a.again == b.again
}

fn parse(path: &Path, bytes: &[u8]) -> FileContent {
    let place = Place::file(path);
    let Ok(text) = std::str::from_utf8(bytes) else {
        let problem = Problem::error(Reason::NotYaml, "this is not UTF-8: save it as such").at(&place);
        return FileContent { nameless: vec![problem], ..FileContent::default() };
    };
    let json = path.extension().is_some_and(|extension| extension == "json");
    FileContent::read(&place, if json { yaml::json_documents(text) } else { yaml::documents(text) })
}

/// The bytes of a file and what it was while they were read; `None` where it would not stay the same.
fn read_whole(path: &Path, limit: u64) -> io::Result<Option<(Vec<u8>, Stamp)>> {
    // A pipe that took the file's place would be waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    for _ in 0..READS {
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(limit)).unwrap_or_default());
        (&file).take(limit).read_to_end(&mut bytes)?;
        if let Some(stamp) = unchanged(&file, path, Stamp::of(&meta), bytes.len()) {
            return Ok(Some((bytes, stamp)));
        }
    }
    Ok(None)
}

fn unchanged(file: &File, path: &Path, before: Stamp, read: usize) -> Option<Stamp> {
    let after = file.metadata().ok()?;
    let named = fs::metadata(path).ok()?;
    let whole = u64::try_from(read).is_ok_and(|read| read == after.len());
    (whole && Stamp::of(&after) == before && Stamp::of(&named) == before).then_some(before)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(root: &Path) -> Folder {
        Folder::new(root.to_owned(), root.join("data"), FolderLimits::default())
    }

    fn manifest(name: &str) -> String {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\n")
    }

    fn names(contents: &Contents) -> Vec<String> {
        contents.files.iter().flat_map(|file| file.secrets.iter().map(|item| item.name.name.clone())).collect()
    }

    #[test]
    fn a_second_look_finds_what_changed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = folder(root.path());
        fs::write(root.path().join("a.yaml"), manifest("a")).unwrap();
        let (contents, changed) = folder.refresh();
        assert!(changed && contents.read && names(&contents) == ["a"]);
        assert!(!folder.refresh().1);
        // As large, within the same tick of the clock, under the same inode.
        fs::write(root.path().join("a.yaml"), manifest("b")).unwrap();
        let (contents, changed) = folder.refresh();
        assert!(changed && names(&contents) == ["b"]);
        fs::write(root.path().join("a.yaml"), manifest("b")).unwrap();
        assert!(!folder.refresh().1, "the same bytes again");
        fs::remove_file(root.path().join("a.yaml")).unwrap();
        let (contents, changed) = folder.refresh();
        assert!(changed && names(&contents).is_empty() && contents.unseen == Unseen::default());
        drop(root);
        let (contents, changed) = folder.refresh();
        assert!(changed && !contents.read && contents.unseen.all);
    }

    #[test]
    fn what_is_read_and_what_is_not() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for dir in ["sub/deep", ".git", "data", "..2025", "other"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        for (file, name) in [
            ("b.yml", "b"),
            ("sub/deep/c.yaml", "c"),
            (".hidden.yaml", "no"),
            (".git/x.yaml", "no"),
            ("data/x.yaml", "no"),
            ("..2025/d.yaml", "d"),
            ("e.txt", "no"),
        ] {
            fs::write(at(file), manifest(name)).unwrap();
        }
        fs::write(at("f.json"), r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "f"}}"#).unwrap();
        // A mounted ConfigMap, a second name of a file, a second name of a folder.
        symlink("..2025", at("..data")).unwrap();
        symlink("..data/d.yaml", at("d.yaml")).unwrap();
        symlink("../b.yml", at("other/again.yaml")).unwrap();
        symlink("../sub", at("other/sub")).unwrap();
        let (contents, _) = folder(root.path()).refresh();
        assert_eq!(names(&contents), ["b", "d", "f", "c"]);
        assert!(contents.problems.is_empty(), "{:?}", contents.problems);
    }

    #[test]
    fn circles_limits_and_odd_files_are_reported() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir_all(at("deep/1/2/3/4")).unwrap();
        symlink("../..", at("a/b/up")).unwrap();
        symlink("y.yaml", at("x.yaml")).unwrap();
        symlink("x.yaml", at("y.yaml")).unwrap();
        symlink("nowhere", at("z.yaml")).unwrap();
        fs::write(at("large.yaml"), "x".repeat(2000)).unwrap();
        fs::write(at("latin.yaml"), [0xff]).unwrap();
        fs::write(at("a.yaml"), manifest("a")).unwrap();
        let limits = FolderLimits { depth: 3, file_bytes: 1000, ..FolderLimits::default() };
        let mut folder = Folder::new(root.path().to_owned(), at("data"), limits);
        let (contents, _) = folder.refresh();
        let mut found: Vec<_> = contents
            .problems
            .iter()
            .map(|p| {
                (p.place.as_ref().unwrap().file.strip_prefix(root.path()).unwrap().display().to_string(), p.reason)
            })
            .collect();
        found.sort();
        let expected = [
            ("a/b/up", Reason::SymlinkLoop),
            ("deep/1/2/3", Reason::TooMuch),
            ("large.yaml", Reason::TooMuch),
            ("latin.yaml", Reason::NotYaml),
            ("x.yaml", Reason::SymlinkLoop),
            ("y.yaml", Reason::SymlinkLoop),
            ("z.yaml", Reason::Unreadable),
        ];
        assert_eq!(found, expected.map(|(file, reason)| (file.to_owned(), reason)));
        assert_eq!(names(&contents), ["a"]);
        assert!(!folder.refresh().1);

        let limits = FolderLimits { files: 1, ..FolderLimits::default() };
        let (contents, _) = Folder::new(root.path().to_owned(), at("data"), limits).refresh();
        assert!(contents.unseen.all && contents.files.len() == 1);
        let limits = FolderLimits { entries: 3, ..FolderLimits::default() };
        let (contents, _) = Folder::new(root.path().to_owned(), at("data"), limits).refresh();
        let over = contents.problems.iter().filter(|problem| problem.message.contains("entries")).count();
        assert!(contents.unseen.all && over == 1, "{:?}", contents.problems);
    }

    /// Cut by a writer that was held up before it wrote.
    #[test]
    fn a_file_that_was_just_emptied_holds_what_it_held() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.yaml");
        fs::write(&file, manifest("a")).unwrap();
        let mut folder = folder(root.path());
        assert_eq!(names(&folder.refresh().0), ["a"]);
        fs::write(&file, "").unwrap();
        sleep(QUIET * 2);
        let (contents, _) = folder.refresh();
        assert!(contents.again && contents.unseen.covers(&file), "{:?}", contents.problems);
        assert_eq!(names(&contents), ["a"]);
        fs::write(&file, manifest("b")).unwrap();
        assert_eq!(names(&folder.refresh().0), ["b"]);
    }

    /// One that never comes to rest, such as a link into /proc, holds nothing else up.
    #[test]
    fn a_file_that_always_changes_is_alone_in_it() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::write(root.path().join(format!("{name}.yaml")), manifest(name)).unwrap();
        }
        symlink("/proc/self/status", root.path().join("p.yaml")).unwrap();
        let mut folder = folder(root.path());
        folder.refresh();
        fs::remove_file(root.path().join("a.yaml")).unwrap();
        let (contents, _) = folder.refresh();
        assert!(contents.again && !contents.unseen.covers(&root.path().join("a.yaml")), "{:?}", contents.unseen);
        assert!(names(&contents).contains(&"b".to_owned()) && !names(&contents).contains(&"a".to_owned()));
    }

    #[test]
    fn a_file_of_nothing_but_mistakes_is_given_up() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.yaml"), manifest("a") + &"---\n[\n".repeat(100_000)).unwrap();
        let kinds: String = (0..1_000).map(|n| format!("---\napiVersion: v1\nkind: K{n}\n")).collect();
        fs::write(root.path().join("k.yaml"), kinds).unwrap();
        let (contents, _) = folder(root.path()).refresh();
        assert!(contents.problems.len() < 50, "{}", contents.problems.len());
        let given_up = contents.problems.iter().filter(|problem| problem.message.contains("the rest is not read"));
        assert_eq!(given_up.count(), 1);
        assert_eq!(names(&contents), ["a"]);
        assert!(contents.unseen.covers(&root.path().join("a.yaml")), "what else it had is not taken for removed");
    }

    /// As an editor or a checkout does it.
    #[test]
    fn a_file_that_is_deleted_and_written_anew_is_not_taken_for_removed() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.yaml");
        fs::write(&file, manifest("a")).unwrap();
        let mut folder = folder(root.path());
        assert_eq!(names(&folder.refresh().0), ["a"]);
        fs::remove_file(&file).unwrap();
        let contents = std::thread::scope(|scope| {
            scope.spawn(|| {
                sleep(GONE / 10);
                fs::write(&file, manifest("a")).unwrap();
            });
            folder.refresh().0
        });
        assert_eq!(names(&contents), ["a"], "{:?}", contents.problems);
        fs::remove_file(&file).unwrap();
        assert_eq!(names(&folder.refresh().0), [""; 0]);
    }

    /// A file that is written all the time, not by rename: what is taken is whole.
    #[test]
    fn a_file_that_is_replaced_while_it_is_read_is_never_half_read() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.yaml");
        let text = |n: usize| manifest(&format!("n{n}")) + &format!("stringData: {{pad: '{}'}}\n", "x".repeat(200_000));
        fs::write(&file, text(0)).unwrap();
        let mut folder = folder(root.path());
        assert_eq!(names(&folder.refresh().0), ["n0"]);
        let stop = std::sync::atomic::AtomicBool::new(false);
        let looks = std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1.. {
                    fs::write(&file, text(n)).unwrap();
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    sleep(Duration::from_millis(3));
                }
            });
            let looks: Vec<_> = (0..5).map(|_| folder.refresh().0).collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            looks
        });
        for contents in looks {
            assert_eq!(names(&contents).len(), 1);
            assert!(contents.problems.iter().all(|p| p.reason == Reason::Changing), "{:?}", contents.problems);
            assert!(contents.again || contents.problems.is_empty());
        }
        let (contents, _) = folder.refresh();
        assert!(contents.problems.is_empty() && names(&contents) != ["n0"]);
    }
}
