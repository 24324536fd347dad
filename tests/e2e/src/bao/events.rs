//! What happens to a running server: nodes end, freeze, are sealed, step down; the store goes back in time; its audit log.

use serde_json::{Value, json};

use super::{
    Bao,
    node::{AUDIT_LOG, Node},
};
use crate::wait;

impl Bao {
    /// `kill -9` of a node.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self, node: usize) {
        self.nodes[node].terminate();
    }

    /// Starts a node that was killed or terminated, and unseals it.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].start();
        self.unseal(node);
    }

    /// SIGSTOP: it keeps its connections and answers nobody.
    pub fn freeze(&mut self, node: usize) {
        self.nodes[node].freeze(true);
    }

    /// SIGCONT.
    pub fn thaw(&mut self, node: usize) {
        self.nodes[node].freeze(false);
    }

    /// Seals the active node, and gives it.
    pub fn seal(&self) -> usize {
        let active = self.active();
        self.node_api(active).must("PUT", "sys/seal", &Value::Null);
        active
    }

    /// Makes the active node give that up, and gives it. For 10 s it does not become active again.
    pub fn step_down(&self) -> usize {
        let active = self.active();
        self.node_api(active).must("PUT", "sys/step-down", &Value::Null);
        active
    }

    /// Unseals a node, and waits until it is.
    pub fn unseal(&self, node: usize) {
        let api = &self.nodes[node].api;
        // Once: a node that has just joined takes a moment, and one that is given its key again meanwhile unseals twice,
        // runs for leader twice, and after its first lost leadership takes itself for the leader for ever.
        api.must("PUT", "sys/unseal", &json!({"key": self.unseal_key}));
        wait::until(&format!("node {node} is unsealed"), || match api.health()? {
            200 | 429 => Ok(()),
            other => Err(format!("sys/health: {other}")),
        });
    }

    /// How many entries of its log were applied: each write is one or more.
    ///
    /// # Panics
    /// Where the server has no raft.
    pub fn applied(&self) -> u64 {
        let leader = self.api().ask("GET", "sys/leader", &Value::Null).unwrap().body;
        leader["raft_applied_index"].as_u64().expect("the raft index")
    }

    /// A snapshot of the whole store.
    ///
    /// # Panics
    /// Where the server gives none.
    pub fn snapshot(&self) -> Vec<u8> {
        match self.api().bytes("GET", "sys/storage/raft/snapshot", &[]) {
            Ok((200, snapshot)) => snapshot,
            other => panic!("snapshot: {:?}", other.map(|(status, _)| status)),
        }
    }

    /// Goes back to a snapshot, and waits until the server is there again.
    ///
    /// # Panics
    /// Where the server refuses it.
    pub fn restore(&self, snapshot: &[u8]) {
        let active_since = || self.api().must("GET", "sys/leader", &Value::Null)["active_time"].clone();
        let before = active_since();
        let (status, body) = self.api().bytes("POST", "sys/storage/raft/snapshot", snapshot).unwrap();
        assert!(matches!(status, 200..300), "restore: {status} {}", String::from_utf8_lossy(&body));
        // It answered before it began; when it is done the node is active anew.
        wait::until("the snapshot is restored", || match active_since() {
            since if since == before || since == "0001-01-01T00:00:00Z" => Err(format!("active since {since}")),
            _ => Ok(()),
        });
        self.settled();
    }

    /// Turns the audit log on, with accessors in the clear.
    pub fn audit_on(&self) {
        let options = json!({"file_path": AUDIT_LOG, "hmac_accessor": "false"});
        self.api().must("PUT", "sys/audit/file", &json!({"type": "file", "options": options}));
    }

    /// The entries of the audit log until now, node by node.
    pub fn audit(&self) -> Vec<Value> {
        self.nodes.iter().flat_map(Node::audit).collect()
    }
}
