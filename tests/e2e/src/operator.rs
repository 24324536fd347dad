//! The real `tofustate operator`, in a cluster and on an OpenBao, with its own ServiceAccount and rights: started, stopped,
//! killed and started again on the same port.

use std::{
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::{
    ask::ask,
    bao::Bao,
    kube::{Cluster, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, RBAC_FILE},
    server::Server,
    standalone::binary,
};

/// The name of the installation.
pub const INSTANCE: &str = "prod";

/// How long it has to answer; it may be frozen.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the Lease is good after it was renewed, in seconds: the next that is started after a kill waits as long.
const LEASE: &str = "6";

/// A replica of the operator, running or not.
#[derive(Debug)]
pub struct Operator {
    server: Server,
    /// What the connection Secrets say: the same for all replicas.
    internal: String,
    instance: &'static str,
    lease: &'static str,
}

impl Deref for Operator {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Operator {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Operator {
    /// One that is not started yet: its namespace, ServiceAccount and rights are made, where they are not there, and OpenBao
    /// is set up for it.
    pub fn new(cluster: &Cluster, server: &Bao) -> Self {
        Self::of(INSTANCE, cluster, server)
    }

    /// One of another installation.
    pub fn of(instance: &'static str, cluster: &Cluster, server: &Bao) -> Self {
        let token = server.bootstrap(instance, &[]);
        let mut operator = Self { instance, ..Self::without_store(cluster) };
        operator.reaches(server).env("BAO_TOKEN_FILE", path(&token));
        operator
    }

    /// One that nothing is told of OpenBao yet.
    pub fn without_store(cluster: &Cluster) -> Self {
        if cluster.api().get(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}")).is_none() {
            cluster.namespace(OPERATOR_NAMESPACE);
        }
        cluster.kubectl().must(&["apply", "--server-side", "-f", RBAC_FILE]);
        Self::installed(cluster)
    }

    /// One whose namespace, ServiceAccount and rights are there. Nothing is told of OpenBao yet.
    pub fn installed(cluster: &Cluster) -> Self {
        let config = cluster.kubeconfig("operator", &cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[]));
        let server = Server::new("operator");
        let mut operator =
            Self { internal: format!("http://{}", server.address()), server, instance: INSTANCE, lease: LEASE };
        operator.env("KUBECONFIG", path(&config));
        operator
    }

    /// Another replica, not started yet.
    pub fn another(&self) -> Self {
        Self {
            server: self.server.another(),
            internal: self.internal.clone(),
            instance: self.instance,
            lease: self.lease,
        }
    }

    /// With another time that the Lease is good, in seconds.
    pub fn set_lease(&mut self, seconds: &'static str) {
        self.lease = seconds;
    }

    /// Whether it runs the controller, as its metrics say; one that does not answer does not.
    pub fn leads(&self) -> bool {
        let metrics = ask("GET", &format!("{}/metrics", self.admin_url())).within(PATIENCE).try_send();
        metrics.is_ok_and(|answer| answer.text().lines().any(|line| line == "tofustate_leader 1"))
    }

    /// Where OpenBao is, from the next start on.
    pub fn reaches(&mut self, server: &Bao) -> &mut Server {
        self.env("BAO_ADDR", &server.addresses())
    }

    /// Starts it, and waits until it is ready.
    ///
    /// # Panics
    /// Where it ends instead, or is not ready at the deadline; with what it said.
    pub fn start(&mut self) {
        self.launch();
        self.await_ready();
    }

    /// Starts it, and waits for nothing.
    pub fn launch(&mut self) {
        let mut command = command(self.instance, &self.address(), &self.internal);
        command.args(["--lease", self.lease]);
        self.spawn(command);
    }

    /// Starts it, and answers what it said as it ended.
    ///
    /// # Panics
    /// Where it goes on, or ends well.
    pub fn refuses(&mut self) -> String {
        self.launch();
        self.refused()
    }

    /// The lines that it logged with this in their message.
    pub fn lines(&self, text: &str) -> Vec<Value> {
        let said = self.said();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"].as_str().is_some_and(|said| said.contains(text))).collect()
    }
}

/// `tofustate operator` of an installation, which listens at this address and tells clients of that URL.
pub fn command(instance: &str, address: &str, internal: &str) -> Command {
    let mut command = Command::new(binary());
    command.env_remove("KUBECONFIG").args(["operator", "--instance", instance, "--namespace", OPERATOR_NAMESPACE]);
    command.args(["--internal-url", internal, "--listen", address]);
    command
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Where a test may put a file of its own that ends with the cluster.
pub fn file(cluster: &Cluster, name: &str, text: &str) -> PathBuf {
    let file = cluster.folder().join(name);
    fs::write(&file, text).unwrap();
    file
}
