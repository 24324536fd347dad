//! The servers, the operator and its resources.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tofustate_e2e::{
    bao,
    kube::{Api, Cluster, Setup},
    operator::Operator,
    tools::{ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, all_there},
};

/// Resources of one namespace.
const EACH: usize = 100;
/// Calls of the API server at a time.
const AT_ONCE: usize = 8;

pub(crate) struct World {
    pub(crate) count: usize,
    // In the order in which they end.
    pub(crate) operator: Operator,
    pub(crate) server: bao::Bao,
    pub(crate) cluster: Cluster,
    /// For many calls.
    pub(crate) api: Api,
}

/// A state as a run has it.
#[derive(Clone)]
pub(crate) struct StateOf {
    pub(crate) path: String,
    pub(crate) token: String,
}

impl World {
    /// `None` where a server for it is not there.
    pub(crate) fn start(count: usize) -> Option<Self> {
        if !all_there(&[ETCD, KUBE_APISERVER, KUBECTL, OPENBAO]) {
            return None;
        }
        let cluster = Setup { crds: true, ..Setup::default() }.start("the benchmark")?;
        let server = bao::Setup::default().start("the benchmark")?;
        let operator = Operator::new(&cluster, &server);
        cluster.install_operator_rights();
        cluster.install_policies();
        let api = cluster.steady_api(AT_ONCE);
        Some(Self { count, operator, server, cluster, api })
    }

    /// The namespace and the name of a resource.
    pub(crate) fn name(n: usize) -> (String, String) {
        (format!("team-{:03}", n / EACH), format!("net-{:03}", n % EACH))
    }

    pub(crate) fn at(n: usize) -> String {
        let (namespace, name) = Self::name(n);
        format!("{}/{name}", tofustate_e2e::kube::tofustates(&namespace))
    }

    /// Makes all resources; nobody looks at them yet.
    pub(crate) fn create(&self) {
        for n in (0..self.count).step_by(EACH) {
            self.cluster.namespace(&Self::name(n).0);
        }
        at_once(self.count, |n| {
            let (namespace, name) = Self::name(n);
            let resource = json!({
                "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
                "metadata": {"name": name}, "spec": {"path": format!("{namespace}/{name}")},
            });
            self.api.create(&tofustate_e2e::kube::tofustates(&namespace), &resource).done();
        });
    }

    /// All resources, one after the other.
    pub(crate) fn resources(&self) -> Vec<Value> {
        self.list("/apis/tofustate.io/v1alpha1/tofustates?limit=500")
    }

    fn list(&self, path: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut next = String::new();
        loop {
            let mut page = self.api.get(&format!("{path}{next}")).expect("a list");
            if let Value::Array(items) = page["items"].take() {
                all.extend(items);
            }
            match page["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => next = format!("&continue={token}"),
                _ => return all,
            }
        }
    }

    /// The states with these numbers, with their tokens.
    pub(crate) fn states(&self, numbers: impl Iterator<Item = usize>) -> Vec<StateOf> {
        let one = |n| {
            let (namespace, name) = Self::name(n);
            let secret = format!("/api/v1/namespaces/{namespace}/secrets/{name}-tofustate");
            let secret = self.api.get(&secret).expect("the connection Secret");
            let token = STANDARD.decode(secret["data"]["TF_HTTP_PASSWORD"].as_str().unwrap()).unwrap();
            StateOf { path: format!("{namespace}/{name}"), token: String::from_utf8(token).unwrap() }
        };
        numbers.map(one).collect()
    }
}

/// Does it for each number, several at a time.
pub(crate) fn at_once(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let go = || {
        loop {
            let n = next.fetch_add(1, Relaxed);
            if n >= count {
                return;
            }
            work(n);
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(go))));
}
