//! What a server tells: what it printed and logged, its metrics, its states, a state's bytes.

use std::{
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::Value;

use super::{Standalone, binary, viewer};
use crate::{ask::ask, process::Process, wait};

impl Standalone {
    /// The lines that it logged until now, over all its runs.
    pub fn log(&self) -> Vec<Value> {
        self.catch_up();
        self.said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Lines are written by a thread of their own, in order: one that is caused now comes after all before it.
    fn catch_up(&self) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let quiet = self.has_env("RUST_LOG");
        let Some(process) = self.running().filter(|_| !quiet) else { return };
        let mut asked = Vec::new();
        wait::until("the log is written", || {
            let path = format!("caught-up/{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
            if agent.get(self.url(&path)).header("Authorization", "Bearer nobodys").call().is_err() {
                // It is about to end, or takes no connections in the clear.
                return Ok(());
            }
            asked.push(format!("{path}\""));
            let said = process.stderr();
            if asked.iter().any(|line| said.contains(line)) { Ok(()) } else { Err(format!("{asked:?} in {said}")) }
        });
    }

    /// The lines that it logged about a path with this message, such as `state written`.
    pub fn logged(&self, path: &str, message: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["path"] == path && line["message"] == message).collect()
    }

    /// What `tofustate states` prints with these arguments.
    pub fn states(&self, args: &[&str]) -> String {
        let mut command = Command::new(binary());
        command.arg("states").args(["--admin", &self.admin_url()]).args(args).env_remove("TOFUSTATE_ADMIN_TOKEN_FILE");
        let output = Process::spawn("tofustate states", &mut command).wait();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The state as `tofustate states -o json` lists it.
    pub fn row(&self, path: &str) -> Value {
        let rows: Vec<Value> = serde_json::from_str(&self.states(&["-o", "json"])).unwrap();
        rows.into_iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("{path} is not listed"))
    }

    /// The lock of a state as `tofustate states` lists it. Waits until there is one.
    pub fn await_lock(&self, path: &str) -> Value {
        wait::until("a lock", || {
            let row = self.row(path);
            row.get("lock").cloned().ok_or_else(|| format!("{path} is not locked: {row}"))
        })
    }

    /// The state as JSON.
    pub fn state(&self, path: &str) -> Value {
        let bytes = self.bytes(path).unwrap_or_else(|| panic!("{path} has no state"));
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The bytes of a state, asked for with its credential that may only read. None where there is none yet.
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let answer = ask("GET", &self.url(path)).token(&viewer(path)).send();
        match answer.status() {
            404 => None,
            _ => Some(answer.is(200).bytes().to_owned()),
        }
    }
}
