//! A real Kubernetes API server with its etcd on loopback, as far as an operator needs a cluster: RBAC, ServiceAccount
//! tokens, admission, custom resources. No nodes, so nothing runs in it; controllers only where they are asked for.

mod access;
mod api;
mod args;
mod events;
mod kstatus;
mod kubectl;
mod operator;
mod server;
mod setup;
mod shared;
mod watch;

use std::{path::Path, time::Duration};

use serde_json::json;
use tempfile::TempDir;

use self::server::Server;
pub use self::{
    api::{Answer, Api},
    events::Part,
    kstatus::{Kstatus, kstatus},
    kubectl::Kubectl,
    operator::{ADMISSION_FILE, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, RBAC_FILE},
    setup::{Asked, Setup},
    shared::Shared,
    watch::Watch,
};
use crate::{bao::Tls, tools::Found};

/// The CustomResourceDefinition as it is committed.
pub const CRD_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds/tofustates.tofustate.io.yaml");

/// The resources of a namespace, as a path of the API.
pub fn tofustates(namespace: &str) -> String {
    format!("/apis/tofustate.io/v1alpha1/namespaces/{namespace}/tofustates")
}

/// A running cluster. Its processes end with it.
pub struct Cluster {
    api: Api,
    kubectl: Found,
    tls: Tls,
    admin_token: String,
    took: Duration,
    // In the order in which they end.
    controllers: Option<Server>,
    apiserver: Server,
    etcd: Server,
    /// Last, since it is removed when dropped.
    folder: TempDir,
}

impl Cluster {
    /// An API server and its etcd for a test. None where a program for it is not there: the test then is in the closing
    /// table as skipped.
    pub fn start(test: &str) -> Option<Self> {
        Setup::default().start(test)
    }

    /// The API as an admin, whom RBAC does not bind (`system:masters`).
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The same over so many connections that stay open: for thousands of calls.
    pub fn steady_api(&self, connections: usize) -> Api {
        Api::with_idle(self.api.base(), &self.tls, connections).with_token(&self.admin_token)
    }

    /// Where the API server listens: `https://127.0.0.1:…`, also after a restart.
    pub fn url(&self) -> &str {
        self.api.base()
    }

    /// The file with the certificate of the API server's authority.
    pub fn ca(&self) -> std::path::PathBuf {
        self.tls.ca()
    }

    /// How long the cluster took to come up.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Where a test puts files that belong to the cluster.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a namespace, and gives its name.
    pub fn namespace(&self, name: &str) -> String {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.api.create("/api/v1/namespaces", &namespace).done();
        name.to_owned()
    }

    /// Applies the CustomResourceDefinition as it is committed, and waits until its resources are served.
    pub fn install_crds(&self) {
        self.kubectl().must(&["apply", "--server-side", "-f", CRD_FILE]);
        self.await_crds();
    }

    /// Waits until the resources are served, whoever made their definition.
    pub fn await_crds(&self) {
        let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tofustates.tofustate.io";
        self.api.until(crd, "the definition is established", |crd| condition(crd, "Established").is_some_and(is_true));
        // The condition comes a moment before the handler, and some more before what kubectl explains and checks by.
        for path in [&tofustates("default"), "/openapi/v3/apis/tofustate.io/v1alpha1", "/openapi/v2"] {
            self.api.until(path, "tofustates are served", |found| found.to_string().contains("TofuStateBackend"));
        }
    }
}

/// A condition of an object's status.
pub fn condition<'a>(object: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    let mut conditions = object["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == name)
}

/// Whether a condition's status is `True`.
pub fn is_true(condition: &serde_json::Value) -> bool {
    condition["status"] == "True"
}
