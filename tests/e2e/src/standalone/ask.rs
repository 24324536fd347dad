//! What a server tells: what it printed and logged, its metrics, its states, a state's bytes.

use std::process::Command;

use serde_json::Value;

use super::{Standalone, binary, viewer};
use crate::{process::Process, wait};

impl Standalone {
    /// What it printed, over all its runs.
    pub fn printed(&self) -> String {
        self.before.0.clone() + &self.running.as_ref().map(Process::stdout).unwrap_or_default()
    }

    /// The lines that it logged, over all its runs.
    pub fn log(&self) -> Vec<Value> {
        let text = self.before.1.clone() + &self.running.as_ref().map(Process::stderr).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The lines that it logged about a path with this message, such as `state written`.
    pub fn logged(&self, path: &str, message: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["path"] == path && line["message"] == message).collect()
    }

    /// The metrics.
    pub fn metrics(&self) -> String {
        let (status, body) = get(&format!("{}/metrics", self.admin_url()), None).unwrap();
        assert_eq!(status, 200);
        String::from_utf8(body).unwrap()
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
        let (status, body) = get(&self.url(path), Some(&viewer(path))).unwrap();
        match status {
            200 => Some(body),
            404 => None,
            other => panic!("{path}: {other}: {}", String::from_utf8_lossy(&body)),
        }
    }
}

/// The status and the body.
pub(super) fn get(url: &str, token: Option<&str>) -> Result<(u16, Vec<u8>), ureq::Error> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
    let mut request = agent.get(url);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut answer = request.call()?;
    let body = answer.body_mut().with_config().limit(u64::MAX).read_to_vec()?;
    Ok((answer.status().as_u16(), body))
}
