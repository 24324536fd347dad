//! The data folder: who may have it open, and the database file in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition, TableError};

use super::error::OpenError;

/// Numbers about the database: [`FORMAT_KEY`] and [`REVISION_KEY`].
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// What [`super::codec`] writes, by key.
pub(super) const ENTRIES: TableDefinition<&str, &[u8]> = TableDefinition::new("entries");
/// The bytes of parts, by key.
pub(super) const BYTES: TableDefinition<&str, &[u8]> = TableDefinition::new("bytes");
/// The layout of the tables.
const FORMAT_KEY: &str = "format";
const FORMAT: u64 = 1;
/// No revision from this one on was ever given to an entry.
pub(super) const REVISION_KEY: &str = "revision";

pub(super) const FILE: &str = "states.redb";
const NEW_FILE: &str = "states.redb.new";
const LOCK_FILE: &str = "tofustate.lock";
/// What a redb file begins with (redb's `docs/design.md`, "Database header").
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// redb's page cache, half of it at most for pages not written yet. redb's default of 1 GiB is for a process that is a
/// database; here heads are what is read again and again, and a few thousand fit. Behind it stands the page cache of the
/// kernel.
const CACHE_BYTES: usize = 12 << 20;

fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { doing, path: path.to_owned(), source }
}

/// What stands under a name on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    Nothing,
    File { device: u64, inode: u64 },
}

/// A folder that this process has, until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    file: PathBuf,
    /// A lock of its own beside redb's: it is held while the database is closed and opened again after an error, and
    /// says who has it.
    lock: File,
}

impl Folder {
    /// Makes the folder and an empty database where they are missing, and takes the lock.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let file = path.join(FILE);
        make_folder(path)?;
        // Before the lock file is made: a folder that is not ours stays as it is.
        let known = check_magic(&file)?;
        let lock = lock(path)?;
        let folder = Self { path: path.to_owned(), file, lock };
        if known || check_magic(&folder.file)? {
            folder.check_unchanged()?;
        } else {
            folder.create()?;
        }
        Ok(folder)
    }

    /// The database file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Which file has the database's name; `None` where that cannot be told.
    pub(super) fn identity(&self) -> Option<Identity> {
        match fs::metadata(&self.file) {
            Ok(found) => Some(Identity::File { device: found.dev(), inode: found.ino() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Identity::Nothing),
            Err(_) => None,
        }
    }

    /// Bytes that an ordinary user may still write on the folder's disk.
    pub(super) fn free(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(&self.lock).ok()?;
        disk.f_bavail.checked_mul(disk.f_frsize)
    }

    /// Opens the database; after an unclean end redb reads and checks all of it. `distrust` after a failed write: the
    /// kernel marks pages clean that it could not write, so what it still has in memory may not be on the disk. It is
    /// asked to forget it, and redb's checksums then judge what is.
    pub(super) fn open(&self, distrust: bool) -> Result<Database, OpenError> {
        if distrust {
            let file = File::open(&self.file).map_err(io("opening", &self.file))?;
            if let Err(error) = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed) {
                tracing::warn!(file = %self.file.display(), %error, "the page cache could not be dropped");
            }
        }
        // Not `create`, which makes a new database of a file that was emptied.
        let database = builder(&self.file).open(&self.file).map_err(|error| self.refused(error))?;
        self.check_format(&database)?;
        Ok(database)
    }

    /// Looks at the format without writing a byte, where redb lets one: not after an unclean end.
    fn check_unchanged(&self) -> Result<(), OpenError> {
        match builder(&self.file).open_read_only(&self.file) {
            Ok(database) => self.check_format(&database),
            Err(DatabaseError::RepairAborted) => Ok(()),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn check_format(&self, database: &impl ReadableDatabase) -> Result<(), OpenError> {
        let format = || -> Result<Option<u64>, redb::Error> {
            match database.begin_read()?.open_table(META) {
                Ok(meta) => Ok(meta.get(FORMAT_KEY)?.map(|found| found.value())),
                Err(TableError::Storage(error)) => Err(error.into()),
                Err(_) => Ok(None),
            }
        };
        let not_ours = |found: String| OpenError::NotADatabase { file: self.file.clone(), found };
        match format() {
            Ok(Some(FORMAT)) => Ok(()),
            Ok(Some(found)) => Err(OpenError::UnknownFormat { file: self.file.clone(), found, known: FORMAT }),
            Ok(None) => Err(not_ours("a redb database of something else".to_owned())),
            Err(error) => Err(OpenError::Damaged { file: self.file.clone(), found: error.to_string() }),
        }
    }

    /// Makes the database under another name first: a crash never leaves half a file under its own.
    fn create(&self) -> Result<(), OpenError> {
        let new = self.path.join(NEW_FILE);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("removing", &new)(error)),
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(io("creating", &new))?;
        let database = builder(&new).create_file(file).map_err(|error| self.refused(error))?;
        initialise(&database).map_err(|error| OpenError::Io {
            doing: "creating",
            path: new.clone(),
            source: io::Error::other(error),
        })?;
        drop(database);
        File::open(&new).and_then(|file| file.sync_all()).map_err(io("syncing", &new))?;
        fs::rename(&new, &self.file).map_err(io("creating", &self.file))?;
        sync_folder(&self.path)
    }

    fn refused(&self, error: DatabaseError) -> OpenError {
        let file = self.file.clone();
        match error {
            DatabaseError::DatabaseAlreadyOpen => {
                OpenError::InUse { folder: self.path.clone(), holder: "or another program".to_owned() }
            }
            DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
                OpenError::Io { doing: "opening", path: file, source }
            }
            other => OpenError::Damaged { file, found: other.to_string() },
        }
    }
}

/// A data folder without a database, for a store that is elsewhere. This process has it until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    _lock: File,
}

impl DataFolder {
    /// Makes the folder where it is missing, and takes it.
    ///
    /// # Errors
    /// Another process has it, it is no folder, or it cannot be written.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        make_folder(path)?;
        Ok(Self { _lock: lock(path)? })
    }
}

/// How every database is opened.
pub(super) fn builder(file: &Path) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let file = file.to_owned();
    builder.set_repair_callback(move |repair| {
        let percent = (repair.progress() * 100.0).round();
        tracing::warn!(file = %file.display(), percent, "the database was not closed cleanly: reading and checking all of it");
    });
    builder
}

/// Makes the tables of an empty database.
pub(super) fn initialise(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT_KEY, FORMAT)?;
        meta.insert(REVISION_KEY, 1)?;
        transaction.open_table(ENTRIES)?;
        transaction.open_table(BYTES)?;
    }
    Ok(transaction.commit()?)
}

/// Whether there is a database; an error where there is something else.
fn check_magic(file: &Path) -> Result<bool, OpenError> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io("opening", file)(error)),
    };
    let mut begin = Vec::new();
    let length = u64::try_from(MAGIC.len()).unwrap_or(u64::MAX);
    opened.take(length).read_to_end(&mut begin).map_err(io("reading", file))?;
    let found = if begin.is_empty() { "an empty file" } else { "a file of something else" };
    (begin == MAGIC)
        .then_some(true)
        .ok_or_else(|| OpenError::NotADatabase { file: file.to_owned(), found: found.to_owned() })
}

/// Makes the folder, readable by its owner alone, so that a power cut cannot lose it again.
fn make_folder(path: &Path) -> Result<(), OpenError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(OpenError::NotAFolder { folder: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io("opening", path)(error)),
    }
    let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let parents: Vec<PathBuf> = missing.filter_map(Path::parent).map(Path::to_owned).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("creating", path))?;
    for parent in parents {
        sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { &parent })?;
    }
    Ok(())
}

fn sync_folder(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io("syncing", path))
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io("creating", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let holder = if known { format!("pid {}", pid.trim()) } else { "pid unknown".to_owned() };
            return Err(OpenError::InUse { folder: folder.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(io("locking", &path)(error)),
    }
    // Whoever is refused from now on reads it. On a full disk it stays empty: the lock counts, not the number.
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = written {
        tracing::warn!(file = %path.display(), %error, "the process id could not be written");
    }
    Ok(file)
}
