//! What `kubectl` does with the resource.

use serde_json::{Value, json};
use tofustate_e2e::kube::{CRD_FILE, Cluster, Kubectl, Shared, condition, is_true, tofustates};

use crate::{created, named};

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tofustates.tofustate.io";

/// Two resources, of which `prod` is locked and has a state.
fn two(cluster: &Cluster, namespace: &str) {
    cluster.namespace(namespace);
    for name in ["prod", "test"] {
        created(cluster, namespace, &named(name, &json!({"path": format!("{namespace}/{name}")})));
    }
    let status = json!({
        "observedGeneration": 1,
        "locked": true,
        "lock": {"id": "7c0e-lock", "who": "ann@laptop", "operation": "OperationTypeApply", "since": "2025-06-01T12:00:00Z"},
        "state": {"serial": 42, "size": 4096, "versions": 3},
        "endpoints": {"internal": "https://tofustate.svc/state"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "all is there", "lastTransitionTime": "2025-06-01T12:00:00Z"}],
    });
    cluster.api().merge(&format!("{}/prod/status", tofustates(namespace)), &json!({"status": status})).done();
}

/// The heads of the columns, and the line of an object.
fn table(text: &str, name: &str) -> (Vec<String>, String) {
    let head = text.lines().next().unwrap_or_default();
    // Names of columns have single spaces.
    let head = head.split("  ").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
    (head, line.to_owned())
}

#[test]
fn the_committed_definition_is_taken_as_it_is() {
    let Some(cluster) = Shared::cluster("the_committed_definition_is_taken_as_it_is") else { return };
    let kubectl = cluster.kubectl();
    kubectl.must(&["wait", "--for=condition=Established", "--timeout=60s", "crd/tofustates.tofustate.io"]);
    let crd = cluster.api().get(CRD).unwrap();
    for (name, wanted) in [("NamesAccepted", true), ("Established", true), ("NonStructuralSchema", false)] {
        assert_eq!(condition(&crd, name).is_some_and(is_true), wanted, "{name}: {}", crd["status"]);
    }
    // Once more changes nothing; neither with the client's own merge, which warns that it did not begin it.
    let before = crd["metadata"]["resourceVersion"].clone();
    kubectl.must(&["apply", "--server-side", "-f", CRD_FILE]);
    assert_eq!(cluster.api().get(CRD).unwrap()["metadata"]["resourceVersion"], before);
    kubectl.must(&["apply", "--dry-run=server", "--validate=strict", "-f", CRD_FILE]);
}

#[test]
fn the_names_and_the_columns() {
    let Some(cluster) = Shared::cluster("the_names_and_the_columns") else { return };
    two(&cluster, "columns");
    let kubectl = cluster.kubectl();
    let get = |args: &[&str]| kubectl.must(&[&["get", "-n", "columns"], args].concat());
    let (head, line) = table(&get(&["tofustates"]), "prod");
    assert_eq!(head, ["NAME", "PATH", "LOCKED BY", "OPERATION", "SINCE", "SERIAL", "READY", "AGE"]);
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!(cells[..4], ["prod", "columns/prod", "ann@laptop", "OperationTypeApply"], "{line}");
    assert_eq!(cells[5..7], ["42", "True"], "{line}");
    for name in ["tofustatebackend", "tofustatebackends", "tofustate", "tsb", "tofu", "tofustates.tofustate.io"] {
        assert!(table(&get(&[name]), "test").1.contains("columns/test"), "{name}");
    }
    let (head, line) = table(&get(&["tofustates", "-o", "wide"]), "prod");
    assert_eq!(head[8..], ["LOCK ID", "SIZE", "VERSIONS", "ENDPOINT", "MESSAGE"]);
    assert!(
        line.contains("7c0e-lock  ") && line.contains("4096   3          https://tofustate.svc/state   all is there"),
        "{line}"
    );
    let all = kubectl.must(&["api-resources", "--api-group=tofustate.io", "--no-headers"]);
    let words: Vec<_> = all.split_whitespace().collect();
    assert_eq!(
        words,
        ["tofustates", "tofustatebackends,tofustate,tsb", "tofustate.io/v1alpha1", "true", "TofuStateBackend"]
    );
}

#[test]
fn explain_teaches() {
    let Some(cluster) = Shared::cluster("explain_teaches") else { return };
    let explain = |of: &str| explained(&cluster.kubectl(), of);
    let spec = explain("tofustates.spec");
    for says in [
        "GROUP: tofustate.io",
        "KIND: TofuStateBackend",
        "path <string> -required-",
        "maxSize <string>",
        "The state that is wanted",
    ] {
        assert!(spec.contains(says), "{says}: {spec}");
    }
    let action = explain("tsb.spec.lock.staleAction");
    assert!(action.contains("ENUM: None Release") && action.contains("Default: None"), "{action}");
    assert!(explain("tofustates.status.lock.since").contains("by the store's clock"));
}

/// In single spaces: it breaks its lines.
fn explained(kubectl: &Kubectl, of: &str) -> String {
    kubectl.must(&["explain", of]).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn fields_select() {
    let Some(cluster) = Shared::cluster("fields_select") else { return };
    two(&cluster, "select");
    let select = |selector: &str| -> Vec<String> {
        let args = ["get", "tofustates", "-n", "select", "-o", "name", "--field-selector", selector];
        cluster.kubectl().must(&args).lines().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert_eq!(select("status.locked=true"), ["prod"]);
    assert_eq!(select("status.locked=false"), ["test"], "it is there from the beginning");
    assert_eq!(select("spec.path=select/test"), ["test"]);
    assert_eq!(select("status.locked=true,spec.path=select/prod"), ["prod"]);
    assert_eq!(select("status.locked=true,spec.path=select/test"), Vec::<String>::new());
    assert_eq!(select("status.locked!=true,metadata.name=test"), ["test"]);
    // A watch with one sees a lock come and go.
    let seen = cluster.api().watch(&tofustates("select"), "&fieldSelector=status.locked%3Dtrue");
    seen.until("the lock that is there", |event| event["object"]["metadata"]["name"] == "prod");
    let status = |locked: bool| {
        let status = json!({"status": {"locked": locked}});
        cluster.api().merge(&format!("{}/test/status", tofustates("select")), &status).done();
    };
    let kind = |wanted: &'static str| {
        move |event: &Value| event["type"] == wanted && event["object"]["metadata"]["name"] == "test"
    };
    status(true);
    seen.until("the new lock", kind("ADDED"));
    status(false);
    seen.until("its end", kind("DELETED"));
    cluster.kubectl().must(&[
        "wait",
        "-n",
        "select",
        "--for=jsonpath={.status.locked}=false",
        "tofustates/test",
        "--timeout=60s",
    ]);
}

#[test]
fn a_mistake_is_told_at_the_terminal() {
    let Some(cluster) = Shared::cluster("a_mistake_is_told_at_the_terminal") else { return };
    let file = cluster.folder().join("mistakes.json");
    let kubectl = cluster.kubectl();
    for (spec, says) in [
        (json!({"path": "a", "maxsize": "1Gi"}), "unknown field \"spec.maxsize\""),
        (json!({"path": "Team A"}), "write 1 to 8 segments joined by '/', such as team-a/network/prod"),
        (json!({"path": "a", "maxSize": "lots"}), "write a size such as 256Mi, 1.5Gi, 1G"),
    ] {
        std::fs::write(&file, named("wrong", &spec).to_string()).unwrap();
        let said = kubectl.fails(&["apply", "-f", file.to_str().unwrap()]);
        assert!(said.contains(says), "{said}");
    }
}
