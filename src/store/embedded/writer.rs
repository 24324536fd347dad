//! The one thread that writes. It takes what is queued, has it judged in queue order and committed in one transaction with
//! one fsync, and answers each. After a fault of the disk it opens the database again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use redb::Database;
use tokio::sync::{mpsc, oneshot};

use super::{
    folder::Identity,
    place::Place,
    reader::{Shared, unavailable},
    transaction::{self, Answer, Change, Revisions},
};
use crate::store::KvError;

/// The most changes in one transaction, and about the most bytes: a batch is over in the time of a few fsyncs.
const BATCH: usize = 128;
const BATCH_BYTES: usize = 4 << 20;
/// What must be free beside twice the bytes of a write before one is tried again on a disk that was full: redb's own
/// pages.
const SLACK: u64 = 1 << 20;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Message {
    /// A put or a delete.
    Change(Job),
    /// A read failed in this generation: open the database again.
    Reopen(u64),
}

/// A put or a delete, and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: String,
    pub(super) change: Change,
    pub(super) answer: oneshot::Sender<Result<Answer, KvError>>,
}

impl Job {
    /// What it adds to the file, about.
    fn bytes(&self) -> usize {
        match &self.change {
            Change::Put(value, _) => self.key.len() + super::length(value),
            Change::Delete => 0,
        }
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    place: Place,
    /// The file that was opened.
    opened: Option<Identity>,
    revisions: Revisions,
    /// After the disk was full: writes of this size and more wait for free space.
    refuse_from: Option<usize>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, place: Place, database: &Database) -> Result<Self, redb::Error> {
        let opened = place.identity();
        Ok(Self { shared, place, opened, revisions: Revisions::read(database)?, refuse_from: None })
    }

    /// Serves the queue until its last sender is gone and it is empty, then closes the database and lets the folder go.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = Vec::new();
            let (mut bytes, mut broken) = (0, false);
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    // Nobody waits for it any more: dropped before its compare-and-swap.
                    Message::Change(job) if job.answer.is_closed() => {}
                    Message::Change(job) => {
                        bytes += job.bytes();
                        batch.push(job);
                    }
                    Message::Reopen(generation) => broken |= generation == self.shared.generation(),
                }
                next = if batch.len() < BATCH && bytes < BATCH_BYTES { queue.try_recv().ok() } else { None };
            }
            if broken || self.shared.database().is_err() {
                self.reopen("a read failed");
            }
            self.serve(batch);
        }
        drop(self.shared.replace(Err("it was closed".to_owned())));
    }

    fn serve(&mut self, batch: Vec<Job>) {
        let batch = self.refuse(batch);
        if batch.is_empty() {
            return;
        }
        let largest = batch.iter().map(Job::bytes).max().unwrap_or_default();
        match self.try_commit(&batch) {
            Ok(answers) => {
                if self.refuse_from.is_some_and(|from| largest >= from) {
                    self.refuse_from = None;
                }
                for (job, answer) in batch.into_iter().zip(answers) {
                    // An error: its caller went away meanwhile.
                    let _ = job.answer.send(answer);
                }
            }
            Err(failed) => {
                if failed.full {
                    // Half of it, so that few tries are made before all that is hopeless is refused at once.
                    self.refuse_from = Some(self.refuse_from.unwrap_or(usize::MAX).min(largest / 2));
                }
                let message = format!("writing to {} failed: {}", self.place, failed.message);
                tracing::error!(changes = batch.len(), "{message}");
                self.reopen(&message);
                for job in batch {
                    let error = unavailable(message.clone());
                    let _ = job.answer.send(Err(error));
                }
            }
        }
    }

    /// Answers what does not fit on a disk that was full and still is, without trying it: after a failed write redb has to
    /// be opened again, which reads the whole file. Deletes, and what is smaller, are tried: they often fit into pages that
    /// the file already has.
    fn refuse(&self, batch: Vec<Job>) -> Vec<Job> {
        let Some(from) = self.refuse_from else { return batch };
        let free = self.place.free().unwrap_or(u64::MAX);
        let hopeless = |job: &Job| {
            let needs = u64::try_from(job.bytes()).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(SLACK);
            matches!(job.change, Change::Put(..)) && job.bytes() >= from && free < needs
        };
        let (refused, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(hopeless);
        for job in refused {
            let message = format!(
                "not written to {}: the disk is full, {free} bytes are free; {}",
                self.place,
                self.place.room()
            );
            let _ = job.answer.send(Err(unavailable(message)));
        }
        batch
    }

    fn try_commit(&mut self, batch: &[Job]) -> Result<Vec<Result<Answer, KvError>>, Failed> {
        let shared = Arc::clone(&self.shared);
        let database = shared.database();
        let database = database.as_ref().map_err(|why| Failed { message: why.clone(), full: false })?;
        // A write to a file that no name leads to any more would be gone with this process.
        if let (Some(there), Some(opened)) = (self.place.identity(), self.opened)
            && there != opened
        {
            let message = "the file was moved away or replaced while it was open; put it back".to_owned();
            return Err(Failed { message, full: false });
        }
        // redb asserts its invariants: a broken file must not end the only thread that writes.
        match catch_unwind(AssertUnwindSafe(|| transaction::commit(database, batch, &mut self.revisions))) {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(error)) => {
                let (advice, full) = self.place.advice(&error);
                Err(Failed { message: format!("{error}; {advice}"), full })
            }
            Err(_) => Err(Failed { message: "an invariant of redb did not hold; see the log".to_owned(), full: false }),
        }
    }

    /// Closes the database and opens it anew: redb refuses all further use after an error of the operating system
    /// (`StorageError::PreviousIo`). The folder's own lock is held all the time.
    fn reopen(&mut self, why: &str) {
        let Place::Folder(folder) = &self.place else { return };
        // Closed here, outside the lock that readers take: they are refused meanwhile, not held up.
        drop(self.shared.replace(Err(format!("the database is being opened again: {why}"))));
        self.shared.next_generation();
        let opened = folder.open(true).map_err(|error| error.to_string()).and_then(|database| {
            let revisions = Revisions::read(&database).map_err(|error| error.to_string())?;
            Ok((database, revisions))
        });
        match opened {
            Ok((database, revisions)) => {
                self.revisions.never_below(revisions);
                self.opened = self.place.identity();
                tracing::warn!("{} was opened again", self.place);
                drop(self.shared.replace(Ok(database)));
            }
            Err(error) => {
                tracing::error!("{} could not be opened again: {error}", self.place);
                drop(self.shared.replace(Err(error)));
            }
        }
    }
}

struct Failed {
    message: String,
    full: bool,
}
