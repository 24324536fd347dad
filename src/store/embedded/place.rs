//! Where a database is kept, and what a person can do there about an error.

use std::{fmt, io::ErrorKind};

use super::{
    error::OpenError,
    folder::{Folder, Identity},
};

/// Where the database is.
#[derive(Debug)]
pub(super) enum Place {
    Memory,
    Folder(Folder),
}

impl Place {
    pub(super) fn free(&self) -> Option<u64> {
        match self {
            Self::Memory => None,
            Self::Folder(folder) => folder.free(),
        }
    }

    /// Which file has the database's name, where there is one and it can be told.
    pub(super) fn identity(&self) -> Option<Identity> {
        match self {
            Self::Memory => None,
            Self::Folder(folder) => folder.identity(),
        }
    }

    /// What a full disk needs.
    pub(super) fn room(&self) -> String {
        match self {
            Self::Memory => "free memory".to_owned(),
            Self::Folder(folder) => {
                format!("free space on the disk of {}, then writing works again by itself", folder.path().display())
            }
        }
    }

    /// What to do about an error, and whether it says that the disk is full.
    pub(super) fn advice(&self, error: &redb::Error) -> (String, bool) {
        match error {
            redb::Error::Io(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                (self.room(), true)
            }
            redb::Error::Corrupted(_) => ("restore the file from a backup".to_owned(), false),
            _ => ("check the disk; it is tried again by itself".to_owned(), false),
        }
    }

    pub(super) fn damaged(&self, error: &redb::Error) -> OpenError {
        OpenError::Damaged { file: self.to_string().into(), found: error.to_string() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Folder(folder) => write!(f, "{}", folder.file().display()),
        }
    }
}
