//! What is said when a data folder cannot be opened: what was seen, where, and what to do.

use std::{io, path::PathBuf};

/// Why a data folder could not be opened. No entry was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error(
        "the data folder {} is in use: another tofustate ({holder}) has it open. One process serves a data folder: stop that one, \
         or give this one a folder of its own",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process that has it, as far as it is known.
        holder: String,
    },
    /// There is something at the path that is no folder.
    #[error("{} is not a folder: name a folder for the data", folder.display())]
    NotAFolder {
        /// The path.
        folder: PathBuf,
    },
    /// The file is not one that tofustate wrote.
    #[error(
        "{} is not a database of tofustate ({found}): move it away or name another data folder; it was not changed",
        file.display()
    )]
    NotADatabase {
        /// The file.
        file: PathBuf,
        /// What was seen.
        found: String,
    },
    /// The file was written by another version of tofustate.
    #[error(
        "{} has format {found}, this tofustate knows format {known}: run the version that wrote it; the file was not changed",
        file.display()
    )]
    UnknownFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u64,
        /// The format of this version.
        known: u64,
    },
    /// The file is a database, but cannot be read.
    #[error("{} is damaged ({found}): restore it from a backup", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was seen.
        found: String,
    },
    /// The operating system said no.
    #[error(
        "{doing} {} failed: {source}. The data folder must be on a local disk with free space, writable by this user",
        path.display()
    )]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}
