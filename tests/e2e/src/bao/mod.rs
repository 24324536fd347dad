//! A real OpenBao, or the stand-in built where there is none, for one test: one node or a raft cluster on loopback.

mod api;
mod bootstrap;
mod events;
pub mod fixture;
mod node;
mod setup;
pub mod tls;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use tempfile::TempDir;

use self::node::Node;
pub use self::{
    api::{Answer, Api},
    setup::{Setup, openbao},
    tls::Tls,
};
use crate::{
    proxy::{Proxy, Service},
    wait,
};

/// A running server of one node or more. Its processes end with it.
pub struct Bao {
    nodes: Vec<Node>,
    proxies: Vec<Proxy>,
    service: Option<Service>,
    tls: Option<Tls>,
    unseal_key: String,
    root_token: String,
    /// Whom the last look found active: asked first.
    active: AtomicUsize,
    /// Last, since it is removed when dropped.
    folder: TempDir,
}

impl Bao {
    /// The API of the active node, as root.
    pub fn api(&self) -> Api {
        self.node_api(self.active())
    }

    /// The API of a node, as root; past its proxy.
    pub fn node_api(&self, node: usize) -> Api {
        self.nodes[node].api.with_token(&self.root_token)
    }

    /// The API of a node for a client that trusts the authority and has no certificate of its own.
    pub fn api_without_certificate(&self, node: usize) -> Api {
        Api::new(&self.nodes[node].url, Some((self.tls(), false)))
    }

    /// The API of a node through its proxy, without a token.
    pub fn proxied_api(&self, node: usize) -> Api {
        Api::new(&self.proxies[node].url(), None)
    }

    /// Where a client reaches a node: through its proxy, where there is one.
    pub fn url(&self, node: usize) -> String {
        self.proxies.get(node).map_or_else(|| self.nodes[node].url.clone(), Proxy::url)
    }

    /// The proxy before a node.
    ///
    /// # Panics
    /// Where it was not set up with proxies.
    pub fn proxy(&self, node: usize) -> &Proxy {
        &self.proxies[node]
    }

    /// The one address that leads to the active node.
    ///
    /// # Panics
    /// Where it was not set up with one.
    pub fn service(&self) -> &Service {
        self.service.as_ref().expect("it is set up with a service")
    }

    /// The files for HTTPS.
    ///
    /// # Panics
    /// Where it was not set up with TLS.
    pub fn tls(&self) -> &Tls {
        self.tls.as_ref().expect("it is set up with TLS")
    }

    /// The one key that unseals it.
    pub fn unseal_key(&self) -> &str {
        &self.unseal_key
    }

    /// A file of mode 0600 with the root token.
    pub fn root_token_file(&self) -> PathBuf {
        self.secret_file("root-token", &self.root_token)
    }

    /// A file of mode 0600 with a secret, as long as the server lives.
    pub fn secret_file(&self, name: &str, secret: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        tls::write_secret(&file, secret);
        file
    }

    /// How many nodes there are, running or not.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The addresses of all nodes, as `BAO_ADDR` has them.
    pub fn addresses(&self) -> String {
        let nodes: Vec<_> = (0..self.nodes()).map(|node| self.url(node)).collect();
        nodes.join(",")
    }

    /// Waits until a node is active, and gives it. A frozen one does not count.
    pub fn active(&self) -> usize {
        self.find_active(|_| true)
    }

    /// Waits until another node than this one is active, and gives it.
    pub fn active_but(&self, former: usize) -> usize {
        self.find_active(|node| node != former)
    }

    fn find_active(&self, counts: impl Fn(usize) -> bool) -> usize {
        wait::until("a node is active", || {
            let first = self.active.load(Ordering::Relaxed);
            let order = (first..self.nodes()).chain(0..first);
            let mut answers = Vec::new();
            for node in order.filter(|node| counts(*node) && self.nodes[*node].up()) {
                match self.nodes[node].api.health() {
                    Ok(200) => {
                        self.active.store(node, Ordering::Relaxed);
                        return Ok(node);
                    }
                    other => answers.push((node, other)),
                }
            }
            Err(format!("sys/health of the nodes: {answers:?}"))
        })
    }

    /// A node that is up and not active.
    ///
    /// # Panics
    /// Where there is none.
    pub fn standby(&self) -> usize {
        let active = self.active();
        let mut others = (0..self.nodes()).filter(|node| *node != active && self.nodes[*node].up());
        others.next().expect("a standby")
    }

    /// Waits until all nodes have a vote, are healthy, and one is active: from then on any one may fail.
    pub fn settled(&self) {
        wait::until("every node has a vote and is healthy", || {
            let api = self.api();
            let peers = api.ask("GET", "sys/storage/raft/configuration", &Value::Null)?;
            let voters = peers.body["data"]["config"]["servers"]
                .as_array()
                .map_or(0, |servers| servers.iter().filter(|server| server["voter"] == true).count());
            let health = api.ask("GET", "sys/storage/raft/autopilot/state", &Value::Null)?;
            let standbys = self.nodes.iter().filter(|node| node.api.health() == Ok(429)).count();
            let all = voters == self.nodes() && standbys + 1 == self.nodes();
            if all && health.body["data"]["healthy"] == true {
                return Ok(());
            }
            Err(format!("{standbys} standbys; peers: {peers:?}; autopilot: {health:?}"))
        });
    }
}
