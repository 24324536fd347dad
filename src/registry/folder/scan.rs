//! Walks the folder: which files there are, and what tells a changed one. Reads no file.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::report::{Place, Problem, Reason, Severity};

/// How much of a folder is read. Beyond it things are reported, and what was known stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderLimits {
    /// Manifest files.
    pub files: usize,
    /// Entries of any kind that are looked at.
    pub entries: usize,
    /// Folders in folders.
    pub depth: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

impl Default for FolderLimits {
    fn default() -> Self {
        Self { files: 50_000, entries: 500_000, depth: 32, file_bytes: 16 << 20, total_bytes: 256 << 20 }
    }
}

/// What a changed file has otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    id: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            id: id(meta),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether the file changed less than `time` before `now`, by a clock that may go a little wrong.
    pub(super) fn younger(&self, time: Duration, now: SystemTime) -> bool {
        let changed = Duration::new(self.changed.0.unsigned_abs(), u32::try_from(self.changed.1).unwrap_or_default());
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        changed + time > now && changed < now + time
    }
}

fn id(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// What the walk could not see: what was known from there is not taken for vanished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) all: bool,
    pub(super) under: Vec<PathBuf>,
}

impl Unseen {
    pub(super) fn covers(&self, file: &Path) -> bool {
        self.all || self.under.iter().any(|seen| file.starts_with(seen))
    }
}

/// The manifest files of a folder, in the order of their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) files: Vec<(PathBuf, Stamp)>,
    pub(super) problems: Vec<Problem>,
    pub(super) unseen: Unseen,
    /// The folder itself could be read.
    pub(super) read: bool,
}

/// Looks through `root`, but for hidden entries and for the folder `except`.
pub(super) fn scan(root: &Path, except: &Path, limits: &FolderLimits) -> Scan {
    let mut walk = Walk { limits, scan: Scan::default(), seen: HashSet::new(), way: Vec::new(), entries: 0, bytes: 0 };
    if let Ok(meta) = fs::metadata(except) {
        walk.seen.insert(id(&meta));
    }
    match fs::metadata(root) {
        Ok(meta) if meta.is_dir() => {
            walk.scan.read = true;
            walk.folder(root, id(&meta));
        }
        Ok(_) => walk.lost(root, Reason::Unreadable, "this is no folder: name the folder that holds the manifests"),
        Err(error) => walk.lost(root, Reason::Unreadable, format!("the folder cannot be read: {error}")),
    }
    let mut scan = walk.scan;
    scan.unseen.all |= !scan.read;
    scan
}

struct Walk<'a> {
    limits: &'a FolderLimits,
    scan: Scan,
    /// Folders and files that were met, under whatever name.
    seen: HashSet<(u64, u64)>,
    /// The folders that lead here.
    way: Vec<(u64, u64)>,
    entries: usize,
    bytes: u64,
}

impl Walk<'_> {
    fn lost(&mut self, path: &Path, reason: Reason, message: impl Into<String>) {
        self.scan.problems.push(Problem::error(reason, message).at(&Place::file(path)));
        self.scan.unseen.under.push(path.to_owned());
    }

    fn folder(&mut self, path: &Path, id: (u64, u64)) {
        if self.way.contains(&id) {
            let message = "symbolic links lead in a circle back to this folder: it is not followed; remove the link";
            self.scan.problems.push(Problem::error(Reason::SymlinkLoop, message).at(&Place::file(path)));
            return;
        }
        if !self.seen.insert(id) {
            return;
        }
        if self.way.len() > self.limits.depth {
            let message = format!("more than {} folders in each other: it is not read", self.limits.depth);
            return self.lost(path, Reason::TooMuch, message);
        }
        let listed = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => return self.lost(path, Reason::Unreadable, format!("the folder cannot be read: {error}")),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        self.way.push(id);
        for entry in entries {
            self.entries += 1;
            if self.entries > self.limits.entries {
                if self.entries == self.limits.entries + 1 {
                    let message = format!("more than {} entries: the rest is not read", self.limits.entries);
                    self.lost(path, Reason::TooMuch, message);
                    self.scan.unseen.all = true;
                }
                break;
            }
            // `..data` of a mounted ConfigMap among them: what is visible links through it.
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                self.entry(&entry.path());
            }
        }
        self.way.pop();
    }

    fn entry(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => self.folder(path, id(&meta)),
            Ok(_) if !manifest_name(path) => {}
            Ok(meta) if meta.is_file() => self.file(path, &meta),
            Ok(_) => self.lost(path, Reason::Unreadable, "this is no regular file: it is not read"),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                self.lost(path, Reason::SymlinkLoop, "symbolic links lead in a circle: it is not followed");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Else it vanished between the two looks: the next pass knows.
                if fs::symlink_metadata(path).is_ok() {
                    let message = "the symbolic link leads to nothing: mend or remove it";
                    let problem = Problem::new(Severity::Warning, Reason::Unreadable, message);
                    self.scan.problems.push(problem.at(&Place::file(path)));
                    self.scan.unseen.under.push(path.to_owned());
                }
            }
            Err(error) => self.lost(path, Reason::Unreadable, format!("it cannot be read: {error}")),
        }
    }

    fn file(&mut self, path: &Path, meta: &Metadata) {
        let FolderLimits { files, file_bytes, total_bytes, .. } = *self.limits;
        if !self.seen.insert(id(meta)) {
            return;
        }
        if meta.size() > file_bytes {
            let message = format!("{} bytes, and at most {file_bytes} are read: split the file", meta.size());
            return self.lost(path, Reason::TooMuch, message);
        }
        self.bytes = self.bytes.saturating_add(meta.size());
        if self.scan.files.len() >= files || self.bytes > total_bytes {
            if !self.scan.unseen.all {
                let message = format!("more than {files} manifest files or {total_bytes} bytes: the rest is not read");
                self.lost(path, Reason::TooMuch, message);
                self.scan.unseen.all = true;
            }
            return;
        }
        self.scan.files.push((path.to_owned(), Stamp::of(meta)));
    }
}

fn manifest_name(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
}
