//! A small disk that a test may fill.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A small file system of its own, unmounted when dropped.
pub(crate) struct Disk {
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    _folder: TempDir,
}

impl Disk {
    /// `None`, said aloud, where one may not mount.
    pub(crate) fn mount(options: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tofustate-test"]).arg(folder.path()).output();
        match mount {
            Ok(out) if out.status.success() => Some(Self { path: folder.path().to_owned(), _folder: folder }),
            Ok(out) => skipped(String::from_utf8_lossy(&out.stderr).trim()),
            Err(error) => skipped(&error.to_string()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(&self.path).status();
        assert!(done.is_ok_and(|status| status.success()), "{} stays mounted", self.path.display());
    }
}

/// Past the harness, which keeps the output of a test that passes to itself.
fn skipped(why: &str) -> Option<Disk> {
    let said = format!("SKIPPED, as no file system could be mounted: {why}\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    None
}

/// Writes a file until nothing more fits.
pub(crate) fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [65_536, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    file.sync_all().unwrap();
}
