//! A cluster, helm, and what both say of the chart.

use std::fs;

use serde_json::{Value, json};
use tofustate_e2e::{
    bao::Bao,
    chart::{CHART, Helm},
    kube::{Cluster, OPERATOR_NAMESPACE, Setup, condition, tofustates},
    operator::Operator,
    tools::HELM,
    wait,
};

/// Sets of values, by name.
pub(crate) const SETS: [&str; 3] = ["full", "secret", "minimal"];

pub(crate) fn values(set: &str) -> String {
    format!("{}/tests/chart/values/{set}.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// helm without a cluster; with the folder where it keeps what it keeps.
pub(crate) fn helm(test: &str) -> Option<(Helm, tempfile::TempDir)> {
    let (found, home) = (HELM.for_test(test)?, tempfile::tempdir().unwrap());
    Some((Helm::new(&found, home.path()), home))
}

/// A cluster in which nothing of tofustate is, and helm for it.
pub(crate) struct World {
    pub(crate) helm: Helm,
    pub(crate) cluster: Cluster,
}

impl World {
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::of(test, Setup::default())
    }

    pub(crate) fn of(test: &str, setup: Setup) -> Option<Self> {
        let found = HELM.for_test(test)?;
        let cluster = setup.start(test)?;
        Some(Self { helm: Helm::with(&found, &cluster), cluster })
    }

    /// `helm install`, into the operator's namespace and under its name, until the definition is served.
    pub(crate) fn install(&self, args: &[&str]) {
        let all = ["install", "tofustate", CHART, "--namespace", OPERATOR_NAMESPACE, "--create-namespace"];
        self.helm.must(&[&all, args].concat());
        self.cluster.await_crds();
    }

    /// What is rendered, as a file.
    pub(crate) fn rendered(&self, name: &str, args: &[&str]) -> String {
        let text = self.helm.must(&[&["template", "tofustate", CHART, "-n", OPERATOR_NAMESPACE], args].concat());
        let file = self.cluster.folder().join(format!("{name}.yaml"));
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// The objects of a file, as the API server would take them.
    pub(crate) fn would_apply(&self, file: &str) -> Vec<Value> {
        let args = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--output=json", "-f", file];
        let said = self.cluster.kubectl().must(&args);
        // One after the other, without anything between.
        serde_json::Deserializer::from_str(&said).into_iter::<Value>().map(Result::unwrap).flat_map(items).collect()
    }

    /// Makes a resource of the path `<namespace>/<name>`.
    pub(crate) fn create(&self, namespace: &str, name: &str) -> Value {
        let object = json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
            "metadata": {"name": name}, "spec": {"path": format!("{namespace}/{name}")},
        });
        self.cluster.api().create(&tofustates(namespace), &object).done()
    }

    /// Waits until a resource is ready.
    pub(crate) fn until_ready(&self, operator: &Operator, namespace: &str, name: &str) -> Value {
        self.until(operator, namespace, name, "it is ready", |found| {
            let current = found["status"]["observedGeneration"] == found["metadata"]["generation"];
            current && condition(found, "Ready").is_some_and(|ready| ready["status"] == "True")
        })
    }

    /// Waits until a resource is so; a failure shows it with what the operator said.
    pub(crate) fn until(
        &self,
        operator: &Operator,
        namespace: &str,
        name: &str,
        what: &str,
        so: impl Fn(&Value) -> bool,
    ) -> Value {
        wait::until(what, || {
            let found =
                self.cluster.api().get(&format!("{}/{name}", tofustates(namespace))).ok_or("it is not there")?;
            if so(&found) { Ok(found) } else { Err(format!("{found:#}; the operator said\n{}", operator.said())) }
        })
    }

    /// An operator with the rights that the chart gave, and its store.
    pub(crate) fn operator(&self, server: &Bao) -> Operator {
        let token = server.bootstrap(tofustate_e2e::operator::INSTANCE, &[]);
        let mut operator = Operator::installed(&self.cluster);
        operator.env("BAO_TOKEN_FILE", token.to_str().unwrap());
        operator.reaches(server);
        operator
    }
}

/// Those of a list, else the object.
fn items(object: Value) -> Vec<Value> {
    match object["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![object],
    }
}

/// The one object of this kind and name.
pub(crate) fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let one = found.next().unwrap_or_else(|| panic!("there is no {kind} {name}"));
    assert!(found.next().is_none(), "there is more than one {kind} {name}");
    one
}
