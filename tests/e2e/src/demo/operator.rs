//! The operator as its ServiceAccount, and what it needs of OpenBao.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tofustate_e2e::{
    ask::ask,
    bao::Bao,
    kube::{Cluster, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE},
    ports,
    process::Process,
    project::said,
    standalone::{binary, clean},
    tools::OPENBAO,
    wait,
};

const INSTANCE: &str = "demo";
/// OpenBao asks the API server about the operator's token with that token: it has to be for the API server.
const AUDIENCE: &str = "https://kubernetes.default.svc";
/// A token lives for an hour.
const ANOTHER_TOKEN: Duration = Duration::from_secs(20 * 60);
const LOOK: Duration = Duration::from_millis(100);

/// What the operator's namespace in OpenBao is called; the stand-in has none.
fn namespace() -> Option<&'static str> {
    (!OPENBAO.find().is_ok_and(|found| found.is_stand_in())).then_some("tofu")
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
    process: Process,
    listen: u16,
    /// The ServiceAccount's token, as the kubelet would put it there.
    token: PathBuf,
}

impl Operator {
    /// Starts it, and waits until it is ready.
    pub(crate) fn start(cluster: &Cluster, server: &Bao) -> Self {
        let token = cluster.folder().join("operator-token");
        fs::write(&token, cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[])).unwrap();
        let (listen, admin) = (ports::free(), ports::free());
        let mut command = clean(Command::new(binary()));
        command.env_remove("KUBECONFIG").args(["operator", "--instance", INSTANCE, "--namespace", OPERATOR_NAMESPACE]);
        command.arg(format!("--listen=127.0.0.1:{listen}")).arg(format!("--admin-listen=127.0.0.1:{admin}"));
        command.arg(format!("--internal-url=http://127.0.0.1:{listen}"));
        command.env("KUBECONFIG", kubeconfig(cluster, &token));
        command.env("BAO_ADDR", server.url(server.active()));
        command.envs(namespace().map(|namespace| ("BAO_NAMESPACE", namespace)));
        command.env("TOFUSTATE_OPENBAO_KUBERNETES_AUTH", "true");
        command.env("TOFUSTATE_OPENBAO_KUBERNETES_TOKEN_FILE", &token);
        command.env("TOFUSTATE_OPENBAO_KUBERNETES_AUDIENCE", AUDIENCE);
        let mut process = Process::spawn("tofustate operator", &mut command);
        wait::until("the operator is ready", || {
            if let Some(status) = process.ended() {
                panic!("the operator ended with {status}: {}", process.said());
            }
            match ask("GET", &format!("http://127.0.0.1:{admin}/readyz")).try_send() {
                Ok(answer) if answer.status() == 200 => Ok(()),
                not_yet => Err(format!("/readyz: {not_yet:?}; it said\n{}", process.tail())),
            }
        });
        Self { process, listen, token }
    }

    /// Where it serves states.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.listen)
    }

    /// Keeps its token fresh until the demo is interrupted.
    pub(crate) fn keep(&self, cluster: &Cluster) {
        let mut since = Instant::now();
        while !wait::resume() {
            if since.elapsed() > ANOTHER_TOKEN {
                fs::write(&self.token, cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[])).unwrap();
                since = Instant::now();
            }
            sleep(LOOK);
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// Where it does not end well.
    pub(crate) fn stop(mut self) {
        self.process.signal(Signal::TERM);
        let done = self.process.wait();
        assert!(done.status.success(), "the operator ended with {}: {}", done.status, said(&done));
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
