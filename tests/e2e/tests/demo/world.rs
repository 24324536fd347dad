//! A demo in a folder for temporary files that is its own: what it leaves is seen there, and who was told of it.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use tempfile::TempDir;
use tofustate_e2e::{
    process::Process,
    project::said,
    standalone::{binary, clean},
    tools::ALL,
    wait,
};

pub(crate) struct World {
    folder: TempDir,
    env: Vec<(String, String)>,
    /// With what this machine has.
    tools: bool,
}

impl World {
    /// With the programs of this machine.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["tmp", "bin", "cache"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, env: Vec::new(), tools: true }
    }

    /// With Rust alone, and nothing built.
    pub(crate) fn bare() -> Self {
        let mut world = Self { tools: false, ..Self::new() };
        let [bin, cache] = ["bin", "cache"].map(|name| world.folder.path().join(name).display().to_string());
        world.env("PATH", &bin).env("TOFUSTATE_TOOLS", &cache);
        world
    }

    /// One more variable.
    pub(crate) fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more program on the PATH of a bare one.
    pub(crate) fn program(&self, name: &str, program: &Path) {
        symlink(program, self.folder.path().join("bin").join(name)).unwrap();
    }

    /// The folder that the demo makes its own in.
    pub(crate) fn tmp(&self) -> std::path::PathBuf {
        self.folder.path().join("tmp")
    }

    /// Starts it.
    pub(crate) fn start(&self, args: &[&str]) -> Process {
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_demo")));
        for name in ["STACK", "ONCE", "KEEP"] {
            command.env_remove(name);
        }
        if !self.tools {
            for tool in ALL {
                command.env_remove(tool.variable);
            }
        }
        command.env("TMPDIR", self.tmp()).env("TOFUSTATE_BIN", binary()).envs(self.env.iter().cloned()).args(args);
        Process::spawn("the demo", &mut command)
    }

    /// Runs it with `ONCE=1`, and gives all that it said.
    ///
    /// # Panics
    /// Where it does not end so.
    pub(crate) fn once(&mut self, well: bool) -> String {
        let done = self.env("ONCE", "1").start(&[]).wait();
        let text = said(&done);
        assert_eq!(done.status.success(), well, "{text}");
        text
    }

    /// Waits until it said something.
    pub(crate) fn until_said(demo: &mut Process, what: &str) -> String {
        wait::until(what, || {
            let text = demo.said();
            assert!(demo.ended().is_none(), "it ended: {text}");
            if text.contains(what) { Ok(text) } else { Err(text) }
        })
    }

    /// The command lines of the processes that were told of its folder.
    pub(crate) fn processes(&self) -> Vec<String> {
        let ours = self.tmp().display().to_string().into_bytes();
        let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let told = entries.filter(|process| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            environment.windows(ours.len()).any(|part| part == ours)
        });
        let line = |process: &Path| fs::read(process.join("cmdline")).unwrap_or_default();
        told.map(|process| String::from_utf8_lossy(&line(&process)).replace('\0', " ")).collect()
    }

    /// Waits until nothing is left of it.
    pub(crate) fn nothing_is_left(&self) {
        wait::until("no process and no file is left", || {
            let files: Vec<_> = fs::read_dir(self.tmp()).unwrap().flatten().map(|entry| entry.path()).collect();
            let processes = self.processes();
            if files.is_empty() && processes.is_empty() { Ok(()) } else { Err(format!("{files:?} {processes:?}")) }
        });
    }
}
