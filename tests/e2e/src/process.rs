//! A program that a test started: it ends with the test, and what it said is there for a failure's message.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::NamedTempFile;

use crate::{scratch, wait};

/// How many lines of what a program said a failure shows.
const TAIL: usize = 100;

/// A running program and those that it started, in a process group of their own. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    out: NamedTempFile,
    err: NamedTempFile,
}

impl Process {
    /// Starts a program. `name` is for messages.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let (out, err) = (scratch::file(&format!("{name}-out")), scratch::file(&format!("{name}-err")));
        let child = scratch::mark(command)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.reopen().unwrap())
            .stderr(err.reopen().unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self { name: name.to_owned(), child, out, err }
    }

    /// What it wrote to standard output until now.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.out.path()).unwrap()).into_owned()
    }

    /// What it wrote to standard error until now.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.err.path()).unwrap()).into_owned()
    }

    /// All that it said until now.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout(), self.stderr())
    }

    /// The end of what it said until now.
    pub fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Whether it ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal; not to what it started. After SIGSTOP it stands still: until all its threads do, it may answer.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
        if signal == Signal::STOP {
            wait::until("all threads stand still", || if self.stands_still() { Ok(()) } else { Err(self.said()) });
        }
    }

    fn stands_still(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        // The state comes after the name, which stands in brackets and may have some in it.
        let state = |stat: &str| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        threads.flatten().all(|thread| {
            // One that just ended stands still, too.
            fs::read_to_string(thread.path().join("stat"))
                .map_or(true, |stat| matches!(state(&stat), Some('T' | 't' | 'Z' | 'X')))
        })
    }

    /// Sends it and what it started a signal, as a terminal does on Ctrl-C.
    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(self.pid(), signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone; what it started lives on until this is dropped.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ended.
    ///
    /// # Panics
    /// At the deadline, with what it said.
    pub fn wait(&mut self) -> Output {
        let what = format!("the end of {}", self.name);
        let status =
            wait::until(&what, || self.ended().ok_or_else(|| format!("it runs on, and said\n{}", self.said())));
        Output { status, stdout: fs::read(self.out.path()).unwrap(), stderr: fs::read(self.err.path()).unwrap() }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What it started may outlive it, and is of the same group.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
        if thread::panicking() && !wait::interrupted() {
            eprintln!(
                "--- {} said, at the end of {} lines:\n{}\n---",
                self.name,
                self.said().lines().count(),
                self.tail()
            );
        }
    }
}
