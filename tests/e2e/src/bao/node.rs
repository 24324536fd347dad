//! One node: its folder, its configuration, its process.

use std::{env, fs, path::PathBuf, process::Command};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{api::Api, tls::Tls};
use crate::{process::Process, tools::Found, wait};

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    /// Without a token.
    pub(super) api: Api,
    /// Where it listens.
    pub(super) url: String,
    folder: PathBuf,
    server: Found,
    process: Option<Process>,
    /// The processes before: what they said belongs to a failure's message.
    ended: Vec<Process>,
    frozen: bool,
}

/// What nodes differ in.
pub(super) struct Spec<'a> {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) server: &'a Found,
    pub(super) address: String,
    pub(super) cluster_address: String,
    /// Where clients are told to reach it, if not where it listens.
    pub(super) proxy: Option<String>,
    pub(super) tls: Option<&'a Tls>,
    pub(super) max_entry_size: Option<u32>,
}

impl Node {
    /// Writes its configuration; does not start it.
    pub(super) fn new(spec: Spec<'_>) -> Self {
        let url = format!("{}://{}", if spec.tls.is_some() { "https" } else { "http" }, spec.address);
        fs::create_dir_all(spec.folder.join("raft")).unwrap();
        let mut listener = json!({
            "address": spec.address,
            "cluster_address": spec.cluster_address,
            "tls_disable": spec.tls.is_none(),
        });
        if let Some(tls) = spec.tls {
            listener["tls_cert_file"] = json!(tls.server_certificate());
            listener["tls_key_file"] = json!(tls.server_key());
            listener["tls_client_ca_file"] = json!(tls.ca());
            listener["tls_require_and_verify_client_cert"] = json!(true);
        }
        let mut raft = json!({
            "path": spec.folder.join("raft"),
            "node_id": spec.name,
            // The leader is missed within 4 s, where it is 10 by default, and a node that joined has its vote soon. Less is
            // not borne by a busy machine: the leader gives up after a second without the others, half of that with 1.
            "performance_multiplier": "2",
            "autopilot_reconcile_interval": "300ms",
            "autopilot_update_interval": "100ms",
        });
        if let Some(bytes) = spec.max_entry_size {
            raft["max_entry_size"] = json!(bytes.to_string());
        }
        let config = json!({
            "listener": [{"tcp": listener}],
            "storage": {"raft": raft},
            "api_addr": spec.proxy.as_ref().unwrap_or(&url),
            "cluster_addr": format!("https://{}", spec.cluster_address),
            "unsafe_allow_api_audit_creation": true,
        });
        fs::write(spec.folder.join("config.json"), config.to_string()).unwrap();
        let api = Api::new(&url, spec.tls.map(|tls| (tls, true)));
        let (name, folder, server) = (spec.name, spec.folder, spec.server.clone());
        Self { name, api, url, folder, server, process: None, ended: Vec::new(), frozen: false }
    }

    /// Starts it, and waits until it answers; sealed, or not initialised yet.
    pub(super) fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.name);
        let mut command = Command::new(&self.server.program);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy().to_ascii_uppercase();
            if text.starts_with("BAO_") || text.starts_with("VAULT_") || text.ends_with("_PROXY") {
                command.env_remove(&name);
            }
        }
        command.args(["server", "-config=config.json"]).current_dir(&self.folder);
        let title = format!("{} {} as {}", self.server.name, self.server.version, self.name);
        let mut process = Process::spawn(&title, &mut command);
        wait::until(&format!("{} answers", self.name), || {
            if let Some(status) = process.ended() {
                panic!("{} ended with {status}", self.name);
            }
            self.api.health()
        });
        self.process = Some(process);
        self.frozen = false;
    }

    /// Whether it runs and is not frozen.
    pub(super) fn up(&self) -> bool {
        self.process.is_some() && !self.frozen
    }

    pub(super) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill();
        self.ended.push(process);
    }

    pub(super) fn terminate(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(Signal::TERM);
        let status = process.wait().status;
        self.ended.push(process);
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    pub(super) fn freeze(&mut self, frozen: bool) {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        self.process.as_ref().expect("it runs").signal(signal);
        self.frozen = frozen;
    }

    /// The audit log's entries; it is in the node's own folder, since the device's path is a relative one.
    pub(super) fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join(AUDIT_LOG)).unwrap_or_default();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// Relative to the folder that a node runs in.
pub(super) const AUDIT_LOG: &str = "audit.log";
