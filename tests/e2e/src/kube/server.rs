//! One program of the cluster: how it is started, its process, and those before it.

use std::{env, path::PathBuf, process::Command};

use rustix::process::Signal;

use crate::{process::Process, tools::Found};

#[derive(Debug)]
pub(super) struct Server {
    found: Found,
    args: Vec<String>,
    folder: PathBuf,
    process: Option<Process>,
    /// The processes before: what they said belongs to a failure's message.
    ended: Vec<Process>,
}

impl Server {
    /// Does not start it. `folder` is where it runs.
    pub(super) fn new(found: &Found, folder: PathBuf, args: Vec<String>) -> Self {
        Self { found: found.clone(), args, folder, process: None, ended: Vec::new() }
    }

    /// Starts it; its caller waits until it answers.
    pub(super) fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.found.name);
        let mut command = Command::new(&self.found.program);
        command.args(&self.args).current_dir(&self.folder);
        clean(&mut command);
        let title = format!("{} {}", self.found.name, self.found.version);
        self.process = Some(Process::spawn(&title, &mut command));
    }

    /// Whether its process is there; it may be frozen.
    pub(super) fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// That it has not ended of itself.
    ///
    /// # Panics
    /// Where it did, with what it said last.
    pub(super) fn still_runs(&mut self) {
        let process = self.process.as_mut().expect("it was started");
        if let Some(status) = process.ended() {
            panic!("{} ended with {status}, and said\n{}", self.found.name, process.tail());
        }
    }

    pub(super) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill();
        self.ended.push(process);
    }

    /// SIGTERM, and waits for the end. How it ends is its own matter: etcd passes the signal on to itself.
    pub(super) fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(Signal::TERM);
        process.wait();
        self.ended.push(process);
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// What all its processes said last.
    pub(super) fn tail(&self) -> String {
        let tails = self.ended.iter().chain(&self.process).map(Process::tail);
        tails.map(|tail| format!("--- {} said at last:\n{tail}\n", self.found.name)).collect()
    }
}

/// Leaves nothing of this machine's settings for Kubernetes, etcd and proxies in a command's environment.
pub(super) fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if ["KUBE", "ETCD_"].iter().any(|start| text.starts_with(start)) || text.ends_with("_PROXY") {
            command.env_remove(&name);
        }
    }
}
