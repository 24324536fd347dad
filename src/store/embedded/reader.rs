//! What readers and the writer share: the open database, and the two reads. A read is one redb read transaction, so it sees
//! the last commit that is on the disk and waits for none under way.

use std::sync::{
    PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase};

use super::{
    codec::{self, Stored},
    folder::{BYTES, ENTRIES},
};
use crate::store::{Entry, KvError, Listed, Part, Revision, Value};

/// What readers and the writer share.
pub(super) struct Shared {
    /// The file, for messages.
    pub(super) name: String,
    /// The database, or why there is none just now. Only ever held for one read or one commit; the writer alone replaces
    /// it.
    pub(super) database: RwLock<Result<Database, String>>,
    pub(super) generation: AtomicU64,
}

impl Shared {
    pub(super) fn database(&self) -> RwLockReadGuard<'_, Result<Database, String>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the reads under way. The one before is for the caller to drop, which closes it.
    pub(super) fn replace(&self, with: Result<Database, String>) -> Result<Database, String> {
        std::mem::replace(&mut *self.database.write().unwrap_or_else(PoisonError::into_inner), with)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.read(key, |transaction| {
            let entries = transaction.open_table(ENTRIES)?;
            let Some(raw) = entries.get(key)? else { return Ok(None) };
            let (header, stored) = match codec::decode(raw.value()) {
                Ok(decoded) => decoded,
                // No entry is written at revision 0: nothing can be put in place of it.
                Err(found) => return Ok(Some(Entry { value: Value::Foreign(found), revision: Revision(0) })),
            };
            let value = match stored {
                Stored::Document(text) => Value::Document(text.into()),
                Stored::Part(label, len) => {
                    let bytes = transaction.open_table(BYTES)?.get(key)?.map(|raw| Bytes::copy_from_slice(raw.value()));
                    match bytes {
                        Some(bytes) if bytes.len() == len => Value::Part(Part { label, bytes }),
                        Some(bytes) => {
                            Value::Foreign(format!("a part of {len} bytes with {} bytes beside it", bytes.len()))
                        }
                        None => Value::Foreign(format!("a part of {len} bytes without its bytes")),
                    }
                }
            };
            let revision = if matches!(value, Value::Foreign(_)) { 0 } else { header.revision };
            Ok(Some(Entry { value, revision: Revision(revision) }))
        })
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        self.read(prefix, |transaction| {
            let mut listed = Vec::new();
            for row in transaction.open_table(ENTRIES)?.range(prefix..)? {
                let (key, raw) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                if let Some(header) = codec::header(raw.value())
                    && header.part
                {
                    listed.push(Listed { key: key.value().to_owned(), created: header.created });
                }
            }
            Ok(listed)
        })
    }

    fn read<T>(&self, key: &str, work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, KvError> {
        let database = self.database();
        let database = database.as_ref().map_err(|why| unavailable(format!("{}: {why}", self.name)))?;
        database.begin_read().map_err(redb::Error::from).and_then(|transaction| work(&transaction)).map_err(|error| {
            match error {
                redb::Error::Corrupted(found) => KvError::Other(format!(
                    "{key} in {} is damaged ({found}); restore the file from a backup",
                    self.name
                )),
                error => unavailable(format!("reading {key} from {} failed: {error}; check the disk", self.name)),
            }
        })
    }
}

/// A passing fault, in full.
pub(super) fn unavailable(message: String) -> KvError {
    KvError::Unavailable { retry_after: None, message }
}
