//! What the two servers of `tofustate` have in common, whatever serves their states: ports that stay theirs, a process that
//! is started, stopped, killed and started again, and what it said over all its runs.

use std::process::Command;

use rustix::process::Signal;

use crate::{ask::ask, ports, process::Process, standalone::clean, wait};

/// A server, running or not.
#[derive(Debug)]
pub struct Server {
    name: String,
    listen: u16,
    admin: u16,
    args: Vec<String>,
    env: Vec<(String, String)>,
    running: Option<Process>,
    /// What the runs before said: standard output and standard error.
    before: (String, String),
}

impl Server {
    /// One that is not started yet, of this command of `tofustate`.
    pub fn new(command: &str) -> Self {
        Self {
            name: format!("tofustate {command}"),
            listen: ports::free(),
            admin: ports::free(),
            args: Vec::new(),
            env: Vec::new(),
            running: None,
            before: Default::default(),
        }
    }

    /// Another of the same command, with the same arguments and environment, on ports of its own.
    pub(crate) fn another(&self) -> Self {
        Self {
            name: self.name.clone(),
            listen: ports::free(),
            admin: ports::free(),
            args: self.args.clone(),
            env: self.env.clone(),
            running: None,
            before: Default::default(),
        }
    }

    /// One more argument, from the next start on.
    pub fn arg(&mut self, arg: &str) -> &mut Self {
        self.args.push(arg.to_owned());
        self
    }

    /// One more variable of its environment, from the next start on.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether a variable of its environment is set by the test.
    pub(crate) fn has_env(&self, name: &str) -> bool {
        self.env.iter().any(|(set, _)| set == name)
    }

    /// Starts a command with what was asked for, and waits for nothing.
    pub fn spawn(&mut self, command: Command) {
        let mut command = clean(command);
        command.args(["--admin-listen", &format!("127.0.0.1:{}", self.admin)]);
        command.args(&self.args).envs(self.env.iter().cloned());
        self.running = Some(Process::spawn(&self.name, &mut command));
    }

    /// The process, where it runs.
    pub(crate) fn running(&self) -> Option<&Process> {
        self.running.as_ref()
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// Where it ends instead, or is not ready at the deadline; with what it said.
    pub fn await_ready(&mut self) {
        let url = format!("{}/readyz", self.admin_url());
        let process = self.running.as_mut().expect("it runs");
        wait::until("the server is ready", || {
            if let Some(status) = process.ended() {
                panic!("the server ended with {status}: {}", process.said());
            }
            match ask("GET", &url).try_send() {
                Ok(answer) if answer.status() == 200 => Ok(()),
                not_yet => Err(format!("/readyz: {not_yet:?}; it said\n{}", process.said())),
            }
        });
    }

    /// Waits until it is not ready for a reason with this text, and answers all that is missing.
    pub fn await_shut(&self, text: &str) -> String {
        wait::until(&format!("not ready: {text}"), || {
            match ask("GET", &format!("{}/readyz", self.admin_url())).try_send() {
                Ok(answer) if answer.status() == 503 && answer.text().contains(text) => Ok(answer.text()),
                other => Err(format!("/readyz: {:?}", other.map(|answer| answer.text()))),
            }
        })
    }

    /// What it said as it ended, which it does by itself.
    ///
    /// # Panics
    /// Where it goes on, or ends well.
    pub(crate) fn refused(&mut self) -> String {
        let mut process = self.running.take().expect("it runs");
        let status = process.wait().status;
        assert!(!status.success(), "it ended well: {}", process.said());
        self.keep(&process);
        process.stderr()
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// Where it does not end by itself and well.
    pub fn terminate(&mut self) {
        self.end(Signal::TERM);
    }

    /// A signal, and waits for the end.
    ///
    /// # Panics
    /// Where it does not end by itself and well.
    pub fn end(&mut self, signal: Signal) {
        self.signal(signal);
        self.ended();
    }

    /// A signal, to what it answers.
    pub fn signal(&self, signal: Signal) -> &Process {
        let process = self.running.as_ref().expect("it runs");
        process.signal(signal);
        process
    }

    /// Waits for the end that a signal asked for.
    ///
    /// # Panics
    /// Where it does not end by itself and well.
    pub fn ended(&mut self) {
        let mut process = self.running.take().expect("it runs");
        let status = process.wait().status;
        assert!(status.success(), "it ended with {status}: {}", process.said());
        self.keep(&process);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut process = self.running.take().expect("it runs");
        process.kill();
        self.keep(&process);
    }

    /// Its process id.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn id(&self) -> u32 {
        self.running.as_ref().expect("it runs").id()
    }

    /// Whether it goes on.
    pub fn still_runs(&mut self) {
        let process = self.running.as_mut().expect("it runs");
        if let Some(status) = process.ended() {
            panic!("the server ended with {status}: {}", process.said());
        }
    }

    fn keep(&mut self, process: &Process) {
        self.before.0.push_str(&process.stdout());
        self.before.1.push_str(&process.stderr());
    }

    /// What it printed, over all its runs.
    pub fn printed(&self) -> String {
        self.before.0.clone() + &self.running.as_ref().map(Process::stdout).unwrap_or_default()
    }

    /// All that it logged, over all its runs.
    pub fn said(&self) -> String {
        self.before.1.clone() + &self.running.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// `127.0.0.1:<port>` of the clients' listener.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.listen)
    }

    /// The address of a state.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address())
    }

    /// The admin listener.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin)
    }

    /// The metrics.
    pub fn metrics(&self) -> String {
        ask("GET", &format!("{}/metrics", self.admin_url())).send().is(200).text()
    }

    /// Reconciliations of an operator since it started, whatever they came to.
    pub fn reconciled(&self) -> u64 {
        let metrics = self.metrics();
        let lines = metrics.lines().filter(|line| line.starts_with("tofustate_reconciliations_total"));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }
}
