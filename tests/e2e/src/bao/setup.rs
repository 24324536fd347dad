//! How a server comes up: its nodes, initialised, unsealed and joined.

use std::{fs, path::PathBuf, sync::atomic::AtomicUsize};

use serde_json::{Value, json};

use super::{
    Bao,
    node::{Node, Spec},
    tls::Tls,
};
use crate::{
    ports,
    proxy::{Proxy, Service},
    scratch,
    tools::{self, Found},
    used,
};

/// How a server is set up. `Setup::default()` is one node with plain HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How many nodes: one, or a raft cluster of three.
    pub nodes: usize,
    /// HTTPS, with a client certificate asked for.
    pub tls: bool,
    /// Clients reach each node through a [`Proxy`] of its own, and its `api_addr` is that proxy's. Plain HTTP only.
    pub proxied: bool,
    /// There is one address that leads to the active node, a [`Service`], and it is the `api_addr` of each. Plain HTTP only.
    pub service: bool,
    /// Raft's `max_entry_size` in bytes, where it is not the default of 1 MiB.
    pub max_entry_size: Option<u32>,
    /// Not for the stand-in: the test is of what only OpenBao has.
    pub openbao_only: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { nodes: 1, tls: false, proxied: false, service: false, max_entry_size: None, openbao_only: false }
    }
}

/// OpenBao itself, for a test of what the stand-in has not. None where it is not there: the test then is in the closing table
/// as skipped.
pub fn openbao(test: &str) -> Option<Found> {
    if tools::OPENBAO.find().is_ok_and(|server| server.is_stand_in()) {
        used::skip(&tools::OPENBAO, test, "only the stand-in is there");
        return None;
    }
    tools::OPENBAO.for_test(test)
}

impl Setup {
    /// Starts it for a test, initialised, unsealed and with every node in its place. None where there is no server: the
    /// test then is in the closing table as skipped.
    ///
    /// # Panics
    /// Where the server does not come up.
    pub fn start(&self, test: &str) -> Option<Bao> {
        let server = if self.openbao_only { openbao(test)? } else { tools::OPENBAO.for_test(test)? };
        let folder = scratch::folder("openbao");
        let tls = self.tls.then(|| Tls::make(&folder.path().join("tls")));
        assert!(!(self.tls && self.proxied), "the proxy reads what it forwards");
        assert!(!(self.service && (self.tls || self.proxied)), "the service is the one thing between");
        let service = self.service.then(Service::start);
        let (mut nodes, mut proxies) = (Vec::new(), Vec::new());
        for index in 0..self.nodes {
            let (name, address) = (format!("node-{index}"), format!("127.0.0.1:{}", ports::free()));
            if self.proxied {
                proxies.push(Proxy::start(&address));
            }
            if let Some(service) = &service {
                service.add(&address);
            }
            nodes.push(Node::new(Spec {
                folder: folder.path().join(&name),
                name,
                server: &server,
                address,
                cluster_address: format!("127.0.0.1:{}", ports::free()),
                proxy: proxies.last().map(Proxy::url).or_else(|| service.as_ref().map(Service::url)),
                tls: tls.as_ref(),
                max_entry_size: self.max_entry_size,
            }));
        }
        nodes.iter_mut().for_each(Node::start);
        let mut made = nodes[0].api.must("PUT", "sys/init", &json!({"secret_shares": 1, "secret_threshold": 1}));
        let text = |value: &mut Value| match value.take() {
            Value::String(text) => text,
            _ => panic!("sys/init gave no key or no token"),
        };
        let unseal_key = text(&mut made["keys_base64"][0]);
        let root_token = text(&mut made["root_token"]);
        let bao = Bao { nodes, proxies, service, tls, unseal_key, root_token, active: AtomicUsize::new(0), folder };
        bao.unseal(0);
        bao.active();
        for index in 1..self.nodes {
            bao.join(index);
            bao.unseal(index);
        }
        bao.settled();
        Some(bao)
    }
}

impl Bao {
    fn join(&self, node: usize) {
        let mut asked = json!({"leader_api_addr": self.nodes[0].url});
        if let Some(tls) = &self.tls {
            let pem = |file: PathBuf| json!(fs::read_to_string(file).unwrap());
            asked["leader_ca_cert"] = pem(tls.ca());
            asked["leader_client_cert"] = pem(tls.client_certificate());
            asked["leader_client_key"] = pem(tls.client_key());
        }
        self.nodes[node].api.must("POST", "sys/storage/raft/join", &asked);
    }
}
