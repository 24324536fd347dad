//! The store that needs no server: one redb file in a folder. What lives where: this file hands work over, `reader` reads,
//! `writer` and `transaction` write, `codec` is the layout of an entry, `folder` the folder, its lock and its format.

mod codec;
mod error;
mod folder;
mod place;
mod reader;
#[cfg(test)]
mod tests;
mod transaction;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{Arc, RwLock, atomic::AtomicU64},
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use jiff::Timestamp;
use redb::{Database, backends::InMemoryBackend};
use tokio::sync::{mpsc, oneshot};

pub use self::{error::OpenError, folder::DataFolder};
use self::{
    folder::Folder,
    place::Place,
    reader::{Shared, unavailable},
    transaction::{Answer, Change},
    writer::{Job, Message, Writer},
};
use crate::store::{Entry, Expect, Kv, KvError, Listed, Revision, Value, keys};

/// Half a mebibyte less 1 KiB. redb gives a large value a run of pages rounded up to a power of two, key and page header
/// included: a full part wastes 1 KiB (100 of them made a file 0.4 % larger than their bytes), and the last one of an object
/// never more than 256 KiB.
const PART_BYTES: usize = (512 << 10) - 1024;
/// The most bytes of a document's text, as much as OpenBao takes. A head stays under 256 KiB.
const DOCUMENT_BYTES: usize = 1 << 20;
/// Changes that wait for the writer; more wait outside, in their callers.
const QUEUE: usize = 256;

/// The embedded store: entries in one redb database in a data folder, each change on the disk before it is answered.
///
/// One process has a folder at a time. Changes are committed in groups by a thread of its own, so that many at once share
/// one fsync. After an error of the disk, such as a full one, the database is opened again by itself, and
/// [`Kv::generation`] changes. Dropping it answers what is queued, closes the database and lets the folder go; the drop
/// waits for that, some milliseconds.
///
/// ```
/// # use tofustate::store::{EmbeddedKv, Expect, Kv, Value};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let kv = EmbeddedKv::in_memory()?;
/// let first = kv.put("team/net", &Value::Document("{}".into()), Expect::Absent).await?;
/// let entry = kv.get("team/net").await?.expect("it was just written");
/// assert_eq!(entry.revision, first);
/// # Ok(())
/// # }
/// ```
pub struct EmbeddedKv {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Message>>,
    writer: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl EmbeddedKv {
    /// The name of the database in its folder.
    pub const FILE: &str = folder::FILE;

    /// Opens the store in `folder`, and makes both where they are missing. Reads and checks the whole file where the last
    /// process did not end cleanly, so it may take a while: not for an async thread.
    ///
    /// # Errors
    /// The folder is in use, is none, cannot be written, or holds something that this version did not write.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let folder = Folder::take(folder)?;
        let database = folder.open(false)?;
        Self::start(Place::Folder(folder), database)
    }

    /// A store that is gone when it is dropped: for examples and benchmarks.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn in_memory() -> Result<Self, OpenError> {
        let backend = InMemoryBackend::new();
        let database = folder::builder(Path::new("memory")).create_with_backend(backend).map_err(redb::Error::from);
        let database = database.and_then(|database| folder::initialise(&database).map(|()| database));
        let database = database.map_err(|error| Place::Memory.damaged(&error))?;
        Self::start(Place::Memory, database)
    }

    fn start(place: Place, database: Database) -> Result<Self, OpenError> {
        let name = place.to_string();
        let shared = Arc::new(Shared { name, database: RwLock::new(Ok(database)), generation: AtomicU64::new(0) });
        let started = match &*shared.database() {
            Ok(database) => Writer::new(Arc::clone(&shared), place, database),
            Err(_) => return Err(place.damaged(&redb::Error::DatabaseClosed)),
        };
        let writer = started
            .map_err(|error| OpenError::Damaged { file: shared.name.clone().into(), found: error.to_string() })?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let writer =
            thread::Builder::new().name("tofustate-store".to_owned()).spawn(move || writer.run(jobs)).map_err(
                |source| OpenError::Io { doing: "starting the writer of", path: shared.name.clone().into(), source },
            )?;
        Ok(Self { queue: Some(queue), writer: Some(writer), shared })
    }

    async fn change(&self, key: &str, change: Change) -> Result<Answer, KvError> {
        let (answer, answered) = oneshot::channel();
        let ended = || unavailable(format!("{}: the writer has ended; restart tofustate", self.shared.name));
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        let job = Job { key: key.to_owned(), change, answer };
        queue.send(Message::Change(job)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Has the database opened again after a read that failed.
    fn look_after<T>(&self, generation: u64, read: Result<T, KvError>) -> Result<T, KvError> {
        if let (Err(KvError::Unavailable { .. }), Some(queue)) = (&read, &self.queue) {
            // Where the queue is full, the writer has work and finds out by itself.
            let _ = queue.try_send(Message::Reopen(generation));
        }
        read
    }

    async fn read_blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, KvError> + Send + 'static,
    ) -> Result<T, KvError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || read(&shared)).await;
        done.unwrap_or_else(|error| Err(KvError::Other(format!("a read of {} ended early: {error}", self.shared.name))))
    }
}

impl Drop for EmbeddedKv {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of {} panicked", self.shared.name);
        }
    }
}

impl fmt::Debug for EmbeddedKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedKv").field("file", &self.shared.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Kv for EmbeddedKv {
    /// A document is read on the calling thread: nearly always it is in redb's cache (2 microseconds for 20 KB, 7 for
    /// 200 KB) or the kernel's, and handing it to another thread and back cost 14 to 18 microseconds each time. Only the
    /// first read after a start waits for the disk, for one value. Parts are half a mebibyte and read once, so they go to a
    /// blocking thread. A commit under way holds up neither: a read sees the last transaction that is on the disk.
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let generation = self.shared.generation();
        let entry = if key.starts_with(keys::VERSIONS) {
            let key = key.to_owned();
            self.read_blocking(move |shared| shared.get(&key)).await
        } else {
            self.shared.get(key)
        };
        self.look_after(generation, entry)
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        let most = match value {
            Value::Document(_) => DOCUMENT_BYTES,
            Value::Part(_) => PART_BYTES,
            Value::Foreign(_) | Value::Deleted(_) => {
                return Err(KvError::Denied(format!("{key}: tofustate did not write this entry")));
            }
        };
        if length(value) > most {
            return Err(KvError::TooLarge(format!("{key} has {} bytes, at most {most} fit", length(value))));
        }
        match self.change(key, Change::Put(value.clone(), expect)).await? {
            Answer::Put(revision) => Ok(revision),
            Answer::Deleted => Err(KvError::Other(format!("{key} was deleted in place of a put"))),
        }
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        if !key.starts_with(keys::VERSIONS) {
            return Err(KvError::Denied(format!("{key} is no part: only keys under {} are deleted", keys::VERSIONS)));
        }
        self.change(key, Change::Delete).await.map(|_| ())
    }

    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        let generation = self.shared.generation();
        let prefix = prefix.to_owned();
        let listed = self.read_blocking(move |shared| shared.list(&prefix)).await;
        self.look_after(generation, listed)
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn part_bytes(&self) -> usize {
        PART_BYTES
    }

    fn generation(&self) -> u64 {
        self.shared.generation()
    }

    fn exclusive(&self) -> bool {
        true
    }
}

/// Bytes of a value, before any encoding.
fn length(value: &Value) -> usize {
    match value {
        Value::Document(text) => text.len(),
        Value::Part(part) => part.bytes.len(),
        Value::Foreign(_) | Value::Deleted(_) => 0,
    }
}
