//! Who may use the API: ServiceAccounts, their tokens, and the kubeconfig files that clients are given.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::Cluster;
use crate::proxy::Proxy;

impl Cluster {
    /// Makes a ServiceAccount, which may do nothing yet.
    pub fn service_account(&self, namespace: &str, name: &str) {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        self.api().create(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &account).done();
    }

    /// A token of a ServiceAccount, as the kubelet asks for it (TokenRequest), good for an hour. No audience: for the API
    /// server itself.
    pub fn token(&self, namespace: &str, name: &str, audiences: &[&str]) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let asked = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": audiences, "expirationSeconds": 3600},
        });
        let answer = self.api().create(&path, &asked).done();
        answer["status"]["token"].as_str().expect("a token").to_owned()
    }

    /// Binds a ClusterRole to a ServiceAccount, in all namespaces.
    pub fn bind(&self, role: &str, namespace: &str, account: &str) {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("{role}:{namespace}:{account}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": account}],
        });
        self.api().create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).done();
    }

    /// Grants a ServiceAccount the rights of these rules, in all namespaces. Not `view`, `edit` or `admin`: without their
    /// controller those are empty.
    pub fn grant(&self, namespace: &str, account: &str, rules: &Value) {
        let name = format!("{namespace}:{account}");
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
        });
        self.api().create("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).done();
        self.bind(&name, namespace, account);
    }

    /// Whether a ServiceAccount may, as the API server sees it. A resource may have a subresource behind a slash; the
    /// namespace `""` is all of them.
    pub fn may(&self, account: (&str, &str), verb: &str, group: &str, resource: &str, namespace: &str) -> bool {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({
            "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace,
        });
        let (user_namespace, name) = account;
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": format!("system:serviceaccount:{user_namespace}:{name}"), "resourceAttributes": attributes},
        });
        let answer = self.api().create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).done();
        answer["status"]["allowed"] == true
    }

    /// A kubeconfig file of mode 0600 for whoever has this token.
    pub fn kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        kubeconfig(self.folder(), name, self.url(), &self.ca(), token)
    }

    /// For whoever has this token, by way of a [`Proxy`].
    pub fn kubeconfig_by(&self, proxy: &Proxy, name: &str, token: &str) -> PathBuf {
        kubeconfig(self.folder(), name, &proxy.url(), &self.ca(), token)
    }

    /// A proxy before the API server.
    pub fn proxy(&self) -> Proxy {
        Proxy::start_tls(self.url().trim_start_matches("https://"), &self.ca())
    }

    /// The admin's.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.kubeconfig("admin", &self.admin_token)
    }
}

/// JSON is YAML.
pub(super) fn kubeconfig(folder: &Path, name: &str, server: &str, ca: &Path, token: &str) -> PathBuf {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}],
        "current-context": "tests",
    });
    let file = folder.join(format!("{name}.kubeconfig"));
    // It is whole when it has its name: somebody may be reading the one before. A temporary file has mode 0600.
    let mut whole = NamedTempFile::new_in(folder).unwrap();
    whole.write_all(config.to_string().as_bytes()).unwrap();
    whole.persist(&file).unwrap();
    file
}
