//! The examples, a cluster with an operator, and the tools that look at both.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tofustate_e2e::{
    bao::{self, Bao},
    kube::{Cluster, Kubectl, Setup, tofustates},
    operator::Operator,
    tools::Found,
    wait,
};

/// A file or folder of the examples.
pub(crate) fn example(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/gitops").join(path).display().to_string()
}

/// A cluster with the definition, the rights, the policies and an operator that is not started.
pub(crate) struct World {
    pub(crate) operator: Operator,
    pub(crate) server: Bao,
    pub(crate) cluster: Cluster,
}

impl World {
    pub(crate) fn prepare(test: &str) -> Option<Self> {
        let cluster = Setup { crds: true, ..Setup::default() }.start(test)?;
        let server = bao::Setup::default().start(test)?;
        let operator = Operator::new(&cluster, &server);
        cluster.install_operator_rights();
        cluster.install_policies();
        Some(Self { operator, server, cluster })
    }

    /// Waits until a resource is so.
    pub(crate) fn until(&self, namespace: &str, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        wait::until(what, || {
            let found =
                self.cluster.api().get(&format!("{}/{name}", tofustates(namespace))).ok_or("it is not there")?;
            if so(&found) { Ok(found) } else { Err(format!("{found:#}; {}", self.operator.said())) }
        })
    }
}

/// The objects of a file, whatever they are: nothing is asked of a cluster about them.
pub(crate) fn objects(kubectl: &Kubectl, file: &Path) -> Vec<Value> {
    let file = file.to_str().unwrap();
    let said = kubectl.must(&["annotate", "--local", "--output=json", "-f", file, "tests=read"]);
    serde_json::Deserializer::from_str(&said).into_iter::<Value>().map(Result::unwrap).collect()
}

/// The objects of a kustomization.
pub(crate) fn kustomized(cluster: &Cluster, folder: &str) -> Vec<Value> {
    let text = cluster.kubectl().must(&["kustomize", &example(folder)]);
    let file: PathBuf = cluster.folder().join("kustomized.yaml");
    std::fs::write(&file, text).unwrap();
    objects(&cluster.kubectl(), &file)
}

/// What a program of ours says of an object: status and message.
pub(crate) fn asked(tool: &Found, args: &[&str], object: &Value) -> (String, String) {
    let mut child = Command::new(&tool.program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{args:?}: {}; {object:#}", String::from_utf8_lossy(&done.stderr));
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let text = |field: &str| said[field].as_str().unwrap().to_owned();
    (text("status"), text("message"))
}
