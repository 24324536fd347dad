//! Where temporary files go. The tests leave it at what the system says; the demo puts all of them, those of the programs that
//! it starts too, into one folder, which marks the processes that are its own.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::{Builder, NamedTempFile, TempDir};

/// The variable that says to programs where temporary files go.
pub const VARIABLE: &str = "TMPDIR";

struct Scratch {
    folder: PathBuf,
    keep: bool,
}

static SCRATCH: OnceLock<Scratch> = OnceLock::new();

/// From now on all is written in this folder, and stays there where it is kept.
///
/// # Panics
/// Where it was said before.
pub fn within(folder: &Path, keep: bool) {
    let first = SCRATCH.set(Scratch { folder: folder.to_owned(), keep }).is_ok();
    assert!(first && tempfile::env::override_temp_dir(folder).is_ok(), "the folder is said once, and first");
}

fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.disable_cleanup(SCRATCH.get().is_some_and(|scratch| scratch.keep));
    builder
}

/// A folder of its own. `name` is how its name begins.
///
/// # Panics
/// Where it cannot be made.
pub fn folder(name: &str) -> TempDir {
    let made = builder().prefix(&format!("{name}-")).tempdir();
    made.unwrap_or_else(|error| panic!("no folder can be made in {}: {error}", env::temp_dir().display()))
}

/// A file of its own. `name` is how its name begins.
///
/// # Panics
/// Where it cannot be made.
pub fn file(name: &str) -> NamedTempFile {
    let name: String =
        name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).take(40).collect();
    let made = builder().prefix(&format!("{name}-")).tempfile();
    made.unwrap_or_else(|error| panic!("no file can be made in {}: {error}", env::temp_dir().display()))
}

/// Tells a program where temporary files go.
pub fn mark(command: &mut Command) -> &mut Command {
    if let Some(scratch) = SCRATCH.get() {
        command.env(VARIABLE, &scratch.folder);
    }
    command
}
