//! The operator as its ServiceAccount, and what it needs of OpenBao.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tofustate_e2e::{
    bao::Bao,
    kube::{Cluster, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE},
    operator,
    project::said,
    server::Server,
    tools::OPENBAO,
};

const INSTANCE: &str = "demo";
/// OpenBao asks the API server about the operator's token with that token: it has to be for the API server.
const AUDIENCE: &str = "https://kubernetes.default.svc";
/// A token lives for an hour.
const ANOTHER_TOKEN: Duration = Duration::from_secs(20 * 60);

/// Whether there is no OpenBao itself.
pub(crate) fn is_stand_in() -> bool {
    OPENBAO.find().is_ok_and(|found| found.is_stand_in())
}

/// What the operator's namespace in OpenBao is called; the stand-in has none.
fn namespace() -> Option<&'static str> {
    (!is_stand_in()).then_some("tofu")
}

/// `tofustate bootstrap`, with the login of Pods; gives what it said.
pub(crate) fn bootstrap(cluster: &Cluster, server: &Bao) -> String {
    // It lets OpenBao review its token.
    cluster.bind("system:auth-delegator", OPERATOR_NAMESPACE, OPERATOR_ACCOUNT);
    let host = format!("--kubernetes-host={}", cluster.url());
    let ca = format!("--kubernetes-ca-file={}", cluster.ca().display());
    let audience = format!("--kubernetes-audience={AUDIENCE}");
    let mut args = vec!["--kubernetes-auth", &*host, &*ca, &*audience];
    if let Some(namespace) = namespace() {
        args.extend(["--namespace", namespace]);
    }
    let done = server.try_bootstrap(INSTANCE, &args);
    assert!(done.status.success(), "tofustate bootstrap: {}", said(&done));
    said(&done)
}

pub(crate) struct Operator {
    server: Server,
    /// The ServiceAccount's token, as the kubelet would put it there.
    token: PathBuf,
}

impl Operator {
    /// Starts it, and waits until it is ready.
    pub(crate) fn start(cluster: &Cluster, bao: &Bao) -> Self {
        let token = cluster.folder().join("operator-token");
        fs::write(&token, cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[])).unwrap();
        let mut server = Server::new("operator");
        server.env("KUBECONFIG", kubeconfig(cluster, &token).to_str().unwrap());
        server.env("BAO_ADDR", &bao.url(bao.active()));
        if let Some(namespace) = namespace() {
            server.env("BAO_NAMESPACE", namespace);
        }
        server.env("TOFUSTATE_OPENBAO_KUBERNETES_AUTH", "true");
        server.env("TOFUSTATE_OPENBAO_KUBERNETES_TOKEN_FILE", token.to_str().unwrap());
        server.env("TOFUSTATE_OPENBAO_KUBERNETES_AUDIENCE", AUDIENCE);
        server.spawn(operator::command(INSTANCE, &server.address(), &format!("http://{}", server.address())));
        server.await_ready();
        Self { server, token }
    }

    /// Where it serves states.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Keeps its token fresh as long as the demo stays up.
    pub(crate) fn keep(&self, cluster: &Cluster, stay: impl FnOnce(&mut dyn FnMut())) {
        let mut since = Instant::now();
        stay(&mut || {
            if since.elapsed() > ANOTHER_TOKEN {
                fs::write(&self.token, cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[])).unwrap();
                since = Instant::now();
            }
        });
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// Where it does not end well.
    pub(crate) fn stop(mut self) {
        self.server.terminate();
    }
}

/// With the token's file in place of the token: it is read again.
fn kubeconfig(cluster: &Cluster, token: &PathBuf) -> PathBuf {
    let file = cluster.kubeconfig("operator", "");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["users"][0]["user"] = json!({"tokenFile": token});
    fs::write(&file, config.to_string()).unwrap();
    file
}
