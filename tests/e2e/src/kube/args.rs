//! How the cluster's programs are started: all on loopback, with files of one folder.

use std::path::Path;

use crate::bao::Tls;

/// Who issues tokens of ServiceAccounts, and whom they are for unless they say so.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc";
/// Files in the cluster's folder.
pub(super) const TOKENS: &str = "tokens.csv";
pub(super) const SIGNING_KEY: &str = "service-accounts.key";
pub(super) const VERIFYING_KEY: &str = "service-accounts.pub";
/// Who wrote what, and what of it is noted.
pub(super) const AUDIT: &str = "audit.log";
pub(super) const AUDIT_POLICY: &str = "audit-policy.json";

fn of(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

pub(super) fn etcd(folder: &Path, [client, peer]: [u16; 2]) -> Vec<String> {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    vec![
        "--name=etcd".to_owned(),
        format!("--data-dir={}", of(folder, "etcd")),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=etcd={peer}"),
        // A `kill -9` loses nothing by it, only a machine that stops does.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

pub(super) fn apiserver(folder: &Path, tls: &Tls, etcd: u16, port: u16) -> Vec<String> {
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", tls.server_certificate().display()),
        format!("--tls-private-key-file={}", tls.server_key().display()),
        // An address on loopback may not stand in an Endpoints object.
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        // As OpenShift does: who lets the end of something wait for what it owns needs a right for it. The operator does not.
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".to_owned(),
        format!("--token-auth-file={}", of(folder, TOKENS)),
        format!("--service-account-issuer={ISSUER}"),
        format!("--service-account-signing-key-file={}", of(folder, SIGNING_KEY)),
        format!("--service-account-key-file={}", of(folder, VERIFYING_KEY)),
        "--profiling=false".to_owned(),
    ]
}

/// A line for each, at once.
pub(super) fn audit(folder: &Path) -> [String; 3] {
    [
        format!("--audit-policy-file={}", of(folder, AUDIT_POLICY)),
        format!("--audit-log-path={}", of(folder, AUDIT)),
        "--audit-log-mode=blocking".to_owned(),
    ]
}

pub(super) fn controllers(folder: &Path, kubeconfig: &Path, port: u16) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller".to_owned(),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // It makes itself a certificate.
        format!("--cert-dir={}", of(folder, "controllers")),
        "--profiling=false".to_owned(),
    ]
}
