//! One transaction: a batch of changes judged in order, and committed.

use jiff::Timestamp;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, WriteTransaction};

use super::{
    codec,
    folder::{BYTES, ENTRIES, META, REVISION_KEY},
    writer::Job,
};
use crate::store::{Expect, KvError, Revision, Value};

/// A put or a delete.
#[derive(Debug)]
pub(super) enum Change {
    Put(Value, Expect),
    Delete,
}

/// What came of a change that was committed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Put(Revision),
    Deleted,
}

/// Gives out revisions: each once in the life of the database, also where the commit that would have used it failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revisions(u64);

impl Revisions {
    /// Goes on where the database is.
    pub(super) fn read(database: &Database) -> Result<Self, redb::Error> {
        let meta = database.begin_read()?.open_table(META)?;
        Ok(Self(meta.get(REVISION_KEY)?.map_or(1, |next| next.value())))
    }

    /// Goes on at `other`, if that is later.
    pub(super) fn never_below(&mut self, other: Self) {
        self.0 = self.0.max(other.0);
    }
}

/// Judges and commits a batch; the answers are in its order. Where it fails, nothing of it may be relied on, not even that
/// it did not happen.
///
/// [`Durability::Immediate`] and nothing more: durable when the commit returns, with one fsync. From redb's documentation of
/// `WriteTransaction::set_two_phase_commit`: "All data is written with checksums. When opening the database after a crash, the
/// most recent of the two commit slots with a valid checksum is used", so a torn commit is found out and the one before it
/// holds. Two-phase commit pays a second fsync against someone who controls the order in which pages reach the disk and the
/// moment of the crash. `set_quick_repair` includes that and writes the allocator's state with each commit (twice the time of
/// a commit without fsyncs: 53 for 25 microseconds) to save reading the file after a crash: 256 MiB took 0.14 s.
pub(super) fn commit(
    database: &Database,
    batch: &[Job],
    revisions: &mut Revisions,
) -> Result<Vec<Result<Answer, KvError>>, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    let first = revisions.0;
    let mut tables = Tables { transaction: &transaction, entries: transaction.open_table(ENTRIES)?, bytes: None };
    let (mut answers, mut raw, mut changed) = (Vec::with_capacity(batch.len()), Vec::new(), false);
    for job in batch {
        let (answer, did) = match &job.change {
            Change::Put(value, expect) => tables.put(&job.key, value, *expect, revisions, &mut raw)?,
            Change::Delete => tables.delete(&job.key)?,
        };
        changed |= did;
        answers.push(answer);
    }
    drop(tables);
    if !changed {
        transaction.abort()?;
        return Ok(answers);
    }
    if revisions.0 != first {
        transaction.open_table(META)?.insert(REVISION_KEY, revisions.0)?;
    }
    transaction.commit()?;
    Ok(answers)
}

/// An answer, and whether anything was changed.
type Judged = (Result<Answer, KvError>, bool);

/// The tables of one transaction; the second is opened when a part needs it.
struct Tables<'t> {
    transaction: &'t WriteTransaction,
    entries: Table<'t, &'static str, &'static [u8]>,
    bytes: Option<Table<'t, &'static str, &'static [u8]>>,
}

impl<'t> Tables<'t> {
    fn bytes(&mut self) -> Result<&mut Table<'t, &'static str, &'static [u8]>, redb::Error> {
        match &mut self.bytes {
            Some(bytes) => Ok(bytes),
            none => Ok(none.insert(self.transaction.open_table(BYTES)?)),
        }
    }

    fn put(
        &mut self,
        key: &str,
        value: &Value,
        expect: Expect,
        revisions: &mut Revisions,
        raw: &mut Vec<u8>,
    ) -> Result<Judged, redb::Error> {
        let found = self.entries.get(key)?.map(|found| codec::header(found.value()));
        let holds = match (expect, found) {
            (Expect::Absent, None) => true,
            (Expect::At(Revision(at)), Some(Some(header))) => header.revision == at,
            // What is not ours has no revision that could match: it is never overwritten.
            _ => false,
        };
        if !holds {
            return Ok((Err(KvError::CasMismatch), false));
        }
        let Revisions(revision) = *revisions;
        if codec::encode(value, revision, Timestamp::now(), raw).is_none() {
            let why = format!("the label of the part {key} has a text of more than 65,535 bytes");
            return Ok((Err(KvError::TooLarge(why)), false));
        }
        self.entries.insert(key, raw.as_slice())?;
        let was_part = found.flatten().is_some_and(|header| header.part);
        if let Value::Part(part) = value {
            self.bytes()?.insert(key, &*part.bytes)?;
        } else if was_part {
            self.bytes()?.remove(key)?;
        }
        revisions.0 += 1;
        Ok((Ok(Answer::Put(Revision(revision))), true))
    }

    fn delete(&mut self, key: &str) -> Result<Judged, redb::Error> {
        let mut changed = self.entries.remove(key)?.is_some();
        changed |= self.bytes()?.remove(key)?.is_some();
        Ok((Ok(Answer::Deleted), changed))
    }
}
