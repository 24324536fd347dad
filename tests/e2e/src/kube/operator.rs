//! What the operator finds in a cluster: its namespace, its ServiceAccount with the committed rights, the committed admission
//! policies.

use serde_json::{Value, json};

use super::{Api, Cluster, tofustates};
use crate::wait;

/// The rights and the policies as they are committed.
pub const RBAC_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/operator/rbac.yaml");
/// See [`RBAC_FILE`].
pub const ADMISSION_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/operator/admission.yaml");
/// The operator's namespace and its ServiceAccount there.
pub const OPERATOR_NAMESPACE: &str = "tofustate";
/// See [`OPERATOR_NAMESPACE`].
pub const OPERATOR_ACCOUNT: &str = "tofustate";

impl Cluster {
    /// Makes the operator's namespace and applies its rights there; waits until they hold. Safe to repeat.
    pub fn install_operator_rights(&self) {
        let path = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}});
        self.api().apply(&path, "tests", true, &namespace).done();
        self.kubectl().must(&["apply", "--server-side", "--force-conflicts", "-f", RBAC_FILE]);
        let (operator, tokens) = (self.operator(), format!("{path}/secrets"));
        for path in [&tokens, "/apis/tofustate.io/v1alpha1/tofustates", "/api/v1/namespaces"] {
            operator.until(path, "the operator has its rights", |_| true);
        }
    }

    /// The API as the operator's ServiceAccount.
    pub fn operator(&self) -> Api {
        self.api().with_token(&self.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[]))
    }

    /// Sets the tenancy that the admission policies go by, and waits until it is in force. Needs the policies.
    pub fn set_tenancy(&self, tenancy: &str) {
        let config = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/configmaps/tofustate-tenancy");
        self.api().merge(&config, &json!({"data": {"tenancy": tenancy}})).done();
        let probe = json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
            "metadata": {"name": "elsewhere"}, "spec": {"path": "elsewhere/probe"},
        });
        let says = match tenancy {
            "Open" => None,
            "Annotation" => Some("does not say which paths it may register"),
            _ => Some("is not the namespace"),
        };
        wait::until(&format!("the tenancy {tenancy} is in force"), || {
            let answer = self.api().ask("POST", &format!("{}?dryRun=All", tofustates(OPERATOR_NAMESPACE)), &probe)?;
            let message = answer.body["message"].as_str().unwrap_or_default();
            let so = says.map_or(answer.status == 201, |says| message.contains(says));
            if so { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }

    /// Applies the admission policies, and waits until each is in force. Safe to repeat. Needs the rights, and the
    /// definition of the resources.
    pub fn install_policies(&self) {
        self.kubectl().must(&["apply", "--server-side", "--force-conflicts", "-f", ADMISSION_FILE]);
        let probes = tofustates(OPERATOR_NAMESPACE);
        let probe = |name: &str, path: &str| {
            json!({
                "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
                "metadata": {"name": name}, "spec": {"path": path},
            })
        };
        let (api, operator) = (self.api(), self.operator());
        let refused = |what: &str, api: &Api, method: &str, path: &str, body: &Value, says: &str| {
            wait::until(what, || {
                let answer = api.ask(method, path, body)?;
                let message = answer.body["message"].as_str().unwrap_or_default();
                if answer.status == 403 && message.contains(says) { Ok(()) } else { Err(format!("{answer:?}")) }
            });
        };
        let elsewhere = probe("elsewhere", "elsewhere/probe");
        let says = "is not the namespace";
        refused("the tenancy is watched", api, "POST", &format!("{probes}?dryRun=All"), &elsewhere, says);

        // Of its own for each time: tests install at once.
        let made = wait::until("a probe is there", || {
            let mut made = probe("", "tofustate/probe");
            made["metadata"] = json!({"generateName": "probe-"});
            let answer = api.ask("POST", &probes, &made)?;
            if answer.status == 201 { Ok(answer.body) } else { Err(format!("{answer:?}")) }
        });
        let object = format!("{probes}/{}", made["metadata"]["name"].as_str().unwrap());
        api.merge(&format!("{object}/status"), &json!({"status": {"locked": true}})).done();
        let dry = format!("{object}?dryRun=All");
        refused("deletion is watched", api, "DELETE", &dry, &Value::Null, "is locked by");
        wait::until("the annotations are watched", || {
            let patch = json!({"metadata": {"annotations": {"tofustate.io/force-unlock": "1"}}});
            let answer = operator.merge(&dry, &patch);
            if answer.status == 403 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
        api.merge(&format!("{object}/status"), &json!({"status": {"locked": false}})).done();
        api.delete(&object).done();
    }
}
