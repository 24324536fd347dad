//! A person's shell.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use tofustate_e2e::{
    process::Process,
    project::said,
    standalone::{binary, clean},
    tools::{self, Found},
};

/// A folder to work in, and what is set and found there.
pub(crate) struct Shell {
    folder: TempDir,
    at: PathBuf,
    env: Vec<(String, String)>,
}

impl Shell {
    /// With `tofustate` and these programs on the PATH, each under its usual name.
    pub(crate) fn new(programs: &[&Found]) -> Self {
        let folder = TempDir::new().unwrap();
        let (bin, at) = (folder.path().join("bin"), folder.path().join("work"));
        fs::create_dir(&bin).unwrap();
        fs::create_dir(&at).unwrap();
        symlink(binary(), bin.join("tofustate")).unwrap();
        for found in programs {
            symlink(&found.program, bin.join(found.name)).unwrap();
        }
        let usual = std::env::var("PATH").unwrap();
        let env = vec![
            ("PATH".to_owned(), format!("{}:{usual}", bin.display())),
            ("HOME".to_owned(), folder.path().display().to_string()),
        ];
        Self { folder, at, env }
    }

    /// One more variable.
    pub(crate) fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder that it works in.
    pub(crate) fn at(&self) -> &Path {
        &self.at
    }

    /// Works in another folder.
    pub(crate) fn go(&mut self, folder: &Path) -> &mut Self {
        self.at = folder.to_owned();
        self
    }

    /// A program of its own on the PATH.
    pub(crate) fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.folder.path().join("bin").join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Pastes commands, and waits for nothing. The first that fails ends it.
    pub(crate) fn start(&self, commands: &str) -> Process {
        let mut shell = clean(Command::new("bash"));
        tools::clean(&mut shell);
        shell.env_remove("KUBECONFIG").envs(self.env.iter().cloned());
        shell.args(["-eo", "pipefail", "-c", commands]).current_dir(&self.at);
        Process::spawn("the commands", &mut shell)
    }

    /// Pastes commands, and gives what they wrote to standard output.
    ///
    /// # Panics
    /// Where one fails, with what they said.
    pub(crate) fn paste(&self, commands: &str) -> String {
        let done = self.start(commands).wait();
        assert!(done.status.success(), "{commands}\n{}", said(&done));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Pastes commands of which one fails, and gives all that they said.
    ///
    /// # Panics
    /// Where none does.
    pub(crate) fn fails(&self, commands: &str) -> String {
        let done = self.start(commands).wait();
        assert!(!done.status.success(), "{commands}\n{}", said(&done));
        said(&done)
    }
}
