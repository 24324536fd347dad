//! Install, upgrade, uninstall, and install again.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use tofustate_e2e::{
    bao,
    chart::{CHART, LEAST},
    kube::{OPERATOR_NAMESPACE, tofustates},
};

use crate::world::World;

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tofustates.tofustate.io";

/// A column that the definition has now.
const COLUMN: &str = "Message";

/// The chart as one that was released before: under another version, with a definition that lacks a column and a role that
/// lacks a rule.
fn earlier(folder: &Path) -> String {
    let to = folder.join("earlier");
    copy(Path::new(CHART), &to);
    let file = to.join("Chart.yaml");
    let chart = fs::read_to_string(&file).unwrap();
    let lines = chart.lines().map(|line| match line.split_once(": ") {
        Some((key @ ("version" | "appVersion"), _)) => format!("{key}: 0.0.1\n"),
        _ => format!("{line}\n"),
    });
    fs::write(&file, lines.collect::<String>()).unwrap();
    without(&to.join("files/tofustates.tofustate.io.yaml"), "    - description: What is missing, where", 5);
    without(&to.join("templates/rbac.yaml"), "  - apiGroups: [events.k8s.io]", 3);
    to.display().to_string()
}

/// Takes some lines away, from the first that begins so.
fn without(file: &Path, start: &str, lines: usize) {
    let text = fs::read_to_string(file).unwrap();
    let all: Vec<_> = text.lines().collect();
    let at = all.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in {text}"));
    fs::write(file, [&all[..at], &all[at + lines..]].concat().join("\n") + "\n").unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Uids of a release's objects, and of all resources, by kind and name.
fn uids(world: &World) -> BTreeMap<String, String> {
    let release = "app.kubernetes.io/instance=tofustate";
    let kinds = "serviceaccounts,configmaps,services,deployments,poddisruptionbudgets,roles,rolebindings";
    let cluster = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,crds";
    let kubectl = world.cluster.kubectl();
    let of = |kinds: &str| kubectl.must(&["get", kinds, "-n", OPERATOR_NAMESPACE, "-l", release, "-o=json"]);
    let resources = kubectl.must(&["get", "tofustates,secrets", "-n", "team-a", "-o=json"]);
    let mut all = BTreeMap::new();
    for list in [of(kinds), of(cluster), resources] {
        for object in serde_json::from_str::<Value>(&list).unwrap()["items"].as_array().unwrap() {
            let name = format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            all.insert(name, object["metadata"]["uid"].as_str().unwrap().to_owned());
        }
    }
    all
}

#[test]
fn an_upgrade_keeps_every_object_and_an_uninstall_the_definition_and_the_resources() {
    let test = "an_upgrade_keeps_every_object_and_an_uninstall_the_definition_and_the_resources";
    let Some(world) = World::start(test) else { return };
    let Some(server) = bao::Setup::default().start(test) else { return };
    let api = world.cluster.api();
    let namespace = ["--namespace", OPERATOR_NAMESPACE];
    let earlier = earlier(world.cluster.folder());
    let install = ["install", "tofustate", &earlier, "--create-namespace", "--set", "replicas=1"];
    let said = world.helm.must(&[&install[..], &namespace, LEAST].concat());
    let next = "TOFUSTATE_OPENBAO_ALLOW_PLAIN_HTTP=true tofustate bootstrap --instance prod --openbao-addr 'http://openbao-active.openbao.svc:8200' ";
    assert!(said.contains(next), "it does not say the next step: {said}");
    assert!(said.contains("kubectl -n team wait --for=condition=Ready tofustates/app"), "{said}");
    world.cluster.await_crds();
    world.cluster.namespace("team-a");
    let mut operator = world.operator(&server);
    operator.start();
    world.create("team-a", "app");
    let ready = world.until_ready(&operator, "team-a", "app");

    let columns = || api.get(CRD).unwrap()["spec"]["versions"][0]["additionalPrinterColumns"].to_string();
    let rules = || {
        let role = api.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/tofustate-operator").unwrap();
        role["rules"].to_string()
    };
    let new = || (columns().contains(&format!("{COLUMN:?}")), rules().contains("events.k8s.io"));
    assert_eq!(new(), (false, false), "the chart before lacks neither");

    // The operator goes on over an upgrade, here as an old replica does until the new one is there.
    let before = uids(&world);
    assert!(before.len() >= 20, "{before:?}");
    world.helm.must(&[&["upgrade", "tofustate", CHART, "--reset-then-reuse-values"], &namespace[..]].concat());
    assert_eq!(uids(&world), before);
    let deployment = format!("/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/tofustate");
    let image = |deployment: Value| deployment["spec"]["template"]["spec"]["containers"][0]["image"].to_string();
    assert!(!image(api.get(&deployment).unwrap()).contains("0.0.1"), "the upgrade changed nothing");
    assert_eq!(new(), (true, true), "what is new did not come with the upgrade");
    world.create("team-a", "later");
    world.until_ready(&operator, "team-a", "later");
    let path = format!("{}/app", tofustates("team-a"));
    assert_eq!(api.get(&path).unwrap()["status"]["headEpoch"], ready["status"]["headEpoch"]);
    operator.terminate();

    // Back to the version before, and away.
    world.helm.must(&[&["rollback", "tofustate", "1"], &namespace[..]].concat());
    assert_eq!(new(), (false, false), "the rollback left what was new");
    let kept = uids(&world);
    let said = world.helm.must(&[&["uninstall", "tofustate"], &namespace[..]].concat());
    assert!(said.contains("[CustomResourceDefinition] tofustates.tofustate.io"), "{said}");
    let left: BTreeMap<_, _> = uids(&world);
    let gone: Vec<_> = kept.keys().filter(|name| !left.contains_key(*name)).collect();
    for (name, uid) in &left {
        assert_eq!(kept.get(name), Some(uid), "{name}");
        let ours = ["CustomResourceDefinition ", "TofuStateBackend ", "Secret "];
        assert!(ours.iter().any(|kind| name.starts_with(kind)), "{name} was left");
    }
    assert!(gone.contains(&&"ClusterRole tofustate-operator".to_owned()), "{gone:?}");
    assert!(left.contains_key("TofuStateBackend app") && left.contains_key("TofuStateBackend later"), "{left:?}");

    // And again: the definition is this release's, and what was registered is served.
    world.install(LEAST);
    let mut operator = world.operator(&server);
    operator.start();
    let again = world.until_ready(&operator, "team-a", "app");
    assert_eq!(again["metadata"]["uid"], ready["metadata"]["uid"]);
    assert_eq!(again["status"]["headEpoch"], ready["status"]["headEpoch"]);
    let crd = api.get(CRD).unwrap();
    assert_eq!(crd["metadata"]["annotations"]["meta.helm.sh/release-name"], "tofustate");
}

/// A cluster that was set up with kubectl is taken over by the chart.
#[test]
fn the_chart_takes_over_what_was_applied_with_kubectl() {
    let Some(world) = World::start("the_chart_takes_over_what_was_applied_with_kubectl") else { return };
    world.cluster.install_crds();
    world.cluster.install_operator_rights();
    world.cluster.install_policies();
    world.cluster.namespace("team-a");
    let app = world.create("team-a", "app");
    let args = ["install", "tofustate", CHART, "--namespace", OPERATOR_NAMESPACE];
    let said = world.helm.fails(&[&args[..], LEAST].concat());
    assert!(said.contains("cannot be imported into the current release"), "{said}");
    world.helm.must(&[&args[..], &["--take-ownership"], LEAST].concat());
    let path = format!("{}/app", tofustates("team-a"));
    assert_eq!(world.cluster.api().get(&path).unwrap()["metadata"]["uid"], app["metadata"]["uid"]);
}
