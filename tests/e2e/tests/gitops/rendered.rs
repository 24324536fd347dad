//! What Kustomize makes of the states, and helm of the values that are given to Flux and Argo CD.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use tofustate_e2e::{
    chart::{CHART, Helm},
    kube::{Cluster, Setup},
    tools::HELM,
};

use crate::world::{example, kustomized, objects};

fn named<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn each_workspace_is_a_state_and_a_job_with_its_own_secret() {
    let test = "each_workspace_is_a_state_and_a_job_with_its_own_secret";
    let Some(cluster) = (Setup { crds: true, ..Setup::default() }).start(test) else { return };
    let all = kustomized(&cluster, "states");
    let (states, jobs) = (named(&all, "TofuStateBackend"), named(&all, "Job"));
    let folders = fs::read_dir(example("states/workspaces")).unwrap().count();
    assert_eq!((states.len(), jobs.len()), (folders, folders));
    let mut paths = BTreeSet::new();
    for state in &states {
        let name = state["metadata"]["name"].as_str().unwrap();
        let namespace = state["metadata"]["namespace"].as_str().unwrap();
        let path = state["spec"]["path"].as_str().unwrap();
        assert!(path.starts_with(&format!("{namespace}/")) && paths.insert(path), "{path}");
        let job = jobs.iter().find(|job| job["metadata"]["name"] == name).unwrap_or_else(|| panic!("no Job {name}"));
        let pod = &job["spec"]["template"]["spec"];
        // A run that is stopped has to come to its end.
        assert_eq!(pod["terminationGracePeriodSeconds"], 600);
        let secret = &pod["containers"][0]["envFrom"][0]["secretRef"]["name"];
        assert_eq!(secret.as_str(), Some(format!("{name}-tofustate").as_str()));
        let config = &pod["volumes"][0]["configMap"]["name"];
        let made = named(&all, "ConfigMap")
            .into_iter()
            .any(|map| map["metadata"]["name"] == *config && map["metadata"]["namespace"] == namespace);
        assert!(made, "{name}: there is no ConfigMap {config} in {namespace}");
    }
    // The API server takes all of it, where only restricted Pods are admitted.
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a", "labels": labels}});
    cluster.api().create("/api/v1/namespaces", &namespace).done();
    cluster.service_account("team-a", "default");
    let file = cluster.folder().join("kustomized.yaml");
    cluster.kubectl().must(&["apply", "--dry-run=server", "-f", file.to_str().unwrap()]);
    for job in jobs {
        let spec = &job["spec"]["template"]["spec"];
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "run-"}, "spec": spec});
        cluster.api().create("/api/v1/namespaces/team-a/pods?dryRun=All", &pod).done();
    }

    // What Flux waits for is what there is, and it waits for the operator first.
    let flux = objects(&cluster.kubectl(), example("flux/kustomizations.yaml").as_ref());
    let of = |name: &str| flux.iter().find(|object| object["metadata"]["name"] == name).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let waits: BTreeSet<_> =
        of("states")["spec"]["healthChecks"].as_array().unwrap().iter().map(|check| text(&check["name"])).collect();
    assert_eq!(waits, states.iter().map(|state| text(&state["metadata"]["name"])).collect());
    assert_eq!(of("states")["spec"]["dependsOn"][0]["name"], of("tofustate")["metadata"]["name"]);
    for kustomization in &flux {
        let path = kustomization["spec"]["path"].as_str().unwrap();
        let folder = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
        assert!(fs::metadata(&folder).is_ok_and(|found| found.is_dir()), "there is no {path}");
    }
    // Argo CD: the same folder, after the definition.
    let argo = objects(&cluster.kubectl(), example("argocd/applications.yaml").as_ref());
    assert_eq!(argo[1]["spec"]["source"]["path"], "examples/gitops/states");
    assert_eq!(argo[0]["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"], "-1");
    // A sync that applies all of it would make every Job anew, and stop its run.
    let options = argo[1]["spec"]["syncPolicy"]["syncOptions"].as_array().unwrap();
    assert!(options.contains(&json!("ApplyOutOfSyncOnly=true")), "{options:?}");
    for state in &states {
        let options = &state["metadata"]["annotations"]["argocd.argoproj.io/sync-options"];
        assert_eq!(options, "SkipDryRunOnMissingResource=true");
    }
}

#[test]
fn the_values_for_flux_and_argo_cd_are_values_of_the_chart() {
    let test = "the_values_for_flux_and_argo_cd_are_values_of_the_chart";
    let Some(found) = HELM.for_test(test) else { return };
    let Some(cluster) = Setup::default().start(test) else { return };
    let helm = Helm::new(&found, cluster.folder());
    let release = objects(&cluster.kubectl(), example("flux/operator/operator.yaml").as_ref());
    // The layer that is the chart, by name: an artifact may have others.
    let layer = &named(&release, "OCIRepository")[0]["spec"]["layerSelector"];
    assert_eq!(layer["mediaType"], "application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    assert_eq!(layer["operation"], "copy");
    let release = named(&release, "HelmRelease")[0];
    let application = objects(&cluster.kubectl(), example("argocd/applications.yaml").as_ref()).remove(0);
    for (name, values) in
        [("flux", &release["spec"]["values"]), ("argocd", &application["spec"]["source"]["helm"]["valuesObject"])]
    {
        let rendered = template(&cluster, &helm, name, values);
        assert!(rendered.contains("kind: Certificate") && rendered.contains("kind: Deployment"), "{name}");
    }
}

fn template(cluster: &Cluster, helm: &Helm, name: &str, values: &Value) -> String {
    assert!(values.is_object(), "{name}: {values}");
    let file = cluster.folder().join(format!("{name}.json"));
    fs::write(&file, values.to_string()).unwrap();
    helm.must(&["template", "tofustate", CHART, "-n", "tofustate", "--values", file.to_str().unwrap()])
}
