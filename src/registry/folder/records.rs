//! What is remembered of each resource from one process to the next: its path, and how far its head was seen, so that a
//! store that was lost or set back is noticed. What a cluster keeps in `status`.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::task::{JoinSet, spawn_blocking};

use super::report::{Kind, Place, Problem, Reason};
use crate::private::PrivateFolder;
use crate::registry::ResourceName;
use crate::store::{Epoch, Mark, State, StatePath};

/// The format of records that this release writes.
const FORMAT: u32 = 1;
/// How many records are written at a time.
const AT_A_TIME: usize = 16;

/// A record, as its file holds it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordFile {
    format: u32,
    namespace: String,
    name: String,
    path: String,
    head_epoch: Epoch,
    head_revision: u64,
}

/// What an earlier process knew of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) path: StatePath,
    pub(super) mark: Mark,
}

/// The records of all resources, and the states that keep them up to date.
pub(super) struct Records {
    folder: PrivateFolder,
    kept: Mutex<BTreeMap<ResourceName, Arc<Kept>>>,
}

/// One resource whose record is kept up to date.
pub(super) struct Kept {
    name: ResourceName,
    path: StatePath,
    state: Mutex<Option<State>>,
    /// What the file says. Held while it is written: there is one writer.
    written: tokio::sync::Mutex<Option<Mark>>,
    failed: Mutex<Option<Problem>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Records {
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        Ok(Self {
            folder: PrivateFolder::open(data.join(super::FolderRegistry::RECORDS), ".json")?,
            kept: Mutex::default(),
        })
    }

    /// Reads the record of a resource. `None` only where there is none: a damaged one is an error.
    pub(super) fn read(&self, name: &ResourceName) -> Result<Option<Record>, Problem> {
        let found = self.folder.read(&name.namespace, &name.name).map_err(|error| error.to_string());
        let record = found.and_then(|bytes| bytes.map(|bytes| parse(name, &bytes)).transpose());
        record.map_err(|fault| {
            let message = format!(
                "the record of what was seen of this state cannot be used ({fault}), so a lost or older store would not be noticed: the path is not served; restore the file from a backup, or remove it if the store is known to be right"
            );
            self.problem(name, message)
        })
    }

    /// Takes a resource into care. `mark`: what its record says.
    pub(super) fn keep(&self, name: &ResourceName, path: &StatePath, mark: Option<Mark>) -> Arc<Kept> {
        let kept = Arc::new(Kept {
            name: name.clone(),
            path: path.clone(),
            state: Mutex::default(),
            written: tokio::sync::Mutex::new(mark),
            failed: Mutex::default(),
        });
        lock(&self.kept).insert(name.clone(), kept.clone());
        kept
    }

    /// Writes what the state has seen, unless that is written. It is on the disk when this returns.
    pub(super) async fn write(self: &Arc<Self>, kept: &Arc<Kept>) -> Result<(), Problem> {
        let mut written = kept.written.lock().await;
        let Some(mark) = kept.mark().filter(|mark| Some(*mark) != *written) else { return Ok(()) };
        let (records, of) = (self.clone(), kept.clone());
        let done =
            spawn_blocking(move || records.folder.write(&of.name.namespace, &of.name.name, &of.text(mark)?)).await;
        let failed = match done.map_err(io::Error::other).flatten() {
            Ok(()) => {
                *written = Some(mark);
                None
            }
            Err(error) => {
                let message = format!(
                    "the record of what was seen of this state cannot be written: {error}; make room on the disk, or mend the folder's rights"
                );
                Some(self.problem(&kept.name, message))
            }
        };
        lock(&kept.failed).clone_from(&failed);
        failed.map_or(Ok(()), Err)
    }

    /// Writes every record that is behind its state.
    pub(super) async fn write_all(self: &Arc<Self>) {
        let kept: Vec<_> = lock(&self.kept).values().cloned().collect();
        let mut writes = JoinSet::new();
        for one in kept.into_iter().filter(|one| one.is_behind()) {
            let records = self.clone();
            if writes.len() >= AT_A_TIME {
                let _ = writes.join_next().await;
            }
            writes.spawn(async move {
                if let Err(problem) = records.write(&one).await {
                    tracing::warn!("{problem}");
                }
            });
        }
        while writes.join_next().await.is_some() {}
    }

    /// What could not be written last.
    pub(super) fn problems(&self) -> Vec<Problem> {
        lock(&self.kept).values().filter_map(|kept| lock(&kept.failed).clone()).collect()
    }

    fn problem(&self, name: &ResourceName, message: String) -> Problem {
        let place = Place::file(&self.folder.file(&name.namespace, &name.name));
        Problem::error(Reason::DataFile, message).of(Kind::TofuStateBackend, name).at(&place)
    }
}

impl Kept {
    /// From now on this state says what is to be written.
    pub(super) fn follow(&self, state: &State) {
        *lock(&self.state) = Some(state.clone());
    }

    fn mark(&self) -> Option<Mark> {
        lock(&self.state).as_ref().and_then(State::mark)
    }

    /// One that is being written is looked at the next time.
    fn is_behind(&self) -> bool {
        self.mark().is_some_and(|mark| self.written.try_lock().is_ok_and(|written| *written != Some(mark)))
    }

    fn text(&self, mark: Mark) -> io::Result<Vec<u8>> {
        let file = RecordFile {
            format: FORMAT,
            namespace: self.name.namespace.clone(),
            name: self.name.name.clone(),
            path: self.path.to_string(),
            head_epoch: mark.epoch,
            head_revision: mark.revision,
        };
        let mut text = serde_json::to_vec(&file)?;
        text.push(b'\n');
        Ok(text)
    }
}

fn parse(name: &ResourceName, bytes: &[u8]) -> Result<Record, String> {
    let file: RecordFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if file.format != FORMAT {
        return Err(format!("format {}, and {FORMAT} is known", file.format));
    }
    if file.namespace != name.namespace || file.name != name.name {
        return Err(format!("it is the record of {}/{}", file.namespace, file.name));
    }
    let path = StatePath::parse(&file.path).map_err(|error| error.to_string())?;
    Ok(Record { path, mark: Mark { epoch: file.head_epoch, revision: file.head_revision } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_goes_there_and_back_and_a_damaged_one_is_no_absent_one() {
        let root = tempfile::tempdir().unwrap();
        let records = Records::open(root.path()).unwrap();
        let name = ResourceName { namespace: "n".into(), name: "net".into() };
        assert_eq!(records.read(&name), Ok(None));
        let path = StatePath::parse("n/net").unwrap();
        let mark = Mark { epoch: Epoch::random(), revision: 7 };
        let text = records.keep(&name, &path, None).text(mark).unwrap();
        records.folder.write(&name.namespace, &name.name, &text).unwrap();
        assert_eq!(records.read(&name), Ok(Some(Record { path, mark })));

        let text = String::from_utf8(text).unwrap();
        for damaged in [
            String::new(),
            text[..40].to_owned(),
            text.replace("\"format\":1", "\"format\":2"),
            text.replace("\"net\"", "\"other\""),
            text.replace("n/net", "../x"),
            text.replace("headRevision", "revision"),
        ] {
            records.folder.write(&name.namespace, &name.name, damaged.as_bytes()).unwrap();
            let problem = records.read(&name).unwrap_err();
            let file = problem.place.as_ref().unwrap().file.display().to_string();
            assert!(problem.reason == Reason::DataFile && file.ends_with("records/n/net.json"), "{problem}");
        }
    }
}
