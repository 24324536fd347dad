//! The real `tofustate operator`, in a cluster and on an OpenBao, with its own ServiceAccount and rights: started, stopped,
//! killed and started again on the same port.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    ask::ask,
    bao::Bao,
    kube::{Cluster, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, RBAC_FILE},
    ports,
    process::Process,
    standalone::{binary, clean},
    wait,
};

/// The name of the installation.
pub const INSTANCE: &str = "prod";

/// An operator, running or not.
#[derive(Debug)]
pub struct Operator {
    listen: u16,
    admin: u16,
    args: Vec<String>,
    env: Vec<(String, String)>,
    running: Option<Process>,
    before: String,
}

impl Operator {
    /// One that is not started yet: its namespace, ServiceAccount and rights are made, where they are not there, and OpenBao
    /// is set up for it.
    pub fn new(cluster: &Cluster, server: &Bao) -> Self {
        let token = server.bootstrap(INSTANCE, &[]);
        let mut operator = Self::without_store(cluster);
        operator.env("BAO_TOKEN_FILE", path(&token)).reaches(server);
        operator
    }

    /// One that nothing is told of OpenBao yet.
    pub fn without_store(cluster: &Cluster) -> Self {
        if cluster.api().get(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}")).is_none() {
            cluster.namespace(OPERATOR_NAMESPACE);
        }
        cluster.kubectl().must(&["apply", "--server-side", "-f", RBAC_FILE]);
        let config = cluster.kubeconfig("operator", &cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[]));
        let mut operator = Self {
            listen: ports::free(),
            admin: ports::free(),
            args: Vec::new(),
            env: Vec::new(),
            running: None,
            before: String::new(),
        };
        operator.env("KUBECONFIG", path(&config));
        operator
    }

    /// Where OpenBao is, from the next start on.
    pub fn reaches(&mut self, server: &Bao) -> &mut Self {
        let nodes: Vec<_> = (0..server.nodes()).map(|node| server.url(node)).collect();
        self.env("BAO_ADDR", &nodes.join(","))
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
        let mut command = clean(Command::new(binary()));
        command.env_remove("KUBECONFIG").args(["operator", "--instance", INSTANCE, "--namespace", OPERATOR_NAMESPACE]);
        command.args(["--internal-url", &format!("http://{}", self.address()), "--listen", &self.address()]);
        command.args(["--admin-listen", &format!("127.0.0.1:{}", self.admin)]);
        command.args(&self.args).envs(self.env.iter().cloned());
        self.running = Some(Process::spawn("tofustate operator", &mut command));
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// Where it ends instead, or is not ready at the deadline; with what it said.
    pub fn await_ready(&mut self) {
        let url = format!("{}/readyz", self.admin_url());
        let process = self.running.as_mut().expect("it runs");
        wait::until("the operator is ready", || {
            if let Some(status) = process.ended() {
                panic!("the operator ended with {status}: {}", process.said());
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

    /// Starts it, and answers what it said as it ended.
    ///
    /// # Panics
    /// Where it goes on, or ends well.
    pub fn refuses(&mut self) -> String {
        self.launch();
        let mut process = self.running.take().expect("it runs");
        let status = process.wait().status;
        assert!(!status.success(), "it ended well: {}", process.said());
        self.before.push_str(&process.stderr());
        process.stderr()
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// Where it does not end by itself and well.
    pub fn terminate(&mut self) {
        let mut process = self.running.take().expect("it runs");
        process.signal(Signal::TERM);
        let status = process.wait().status;
        assert!(status.success(), "it ended with {status}: {}", process.said());
        self.before.push_str(&process.stderr());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut process = self.running.take().expect("it runs");
        process.kill();
        self.before.push_str(&process.stderr());
    }

    /// Whether it goes on.
    pub fn still_runs(&mut self) {
        let process = self.running.as_mut().expect("it runs");
        if let Some(status) = process.ended() {
            panic!("the operator ended with {status}: {}", process.said());
        }
    }

    /// All that it logged, over all its runs.
    pub fn said(&self) -> String {
        self.before.clone() + &self.running.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// The lines that it logged with this in their message.
    pub fn lines(&self, text: &str) -> Vec<Value> {
        let said = self.said();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"].as_str().is_some_and(|said| said.contains(text))).collect()
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
