//! What is committed twice is the same.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use tofustate_e2e::{
    chart::{CHART, LEAST},
    kube::CRD_FILE,
};

use crate::world::{World, helm};

#[test]
fn deploy_operator_is_what_the_chart_says() {
    let Some((helm, _home)) = helm("deploy_operator_is_what_the_chart_says") else { return };
    for (file, text) in helm.operator_yaml() {
        let committed = fs::read_to_string(Path::new(CHART).join("../operator").join(file)).unwrap();
        assert!(committed == text, "deploy/operator/{file} is not what deploy/chart says: make manifests");
    }
}

#[test]
fn the_chart_has_the_definition_and_the_version_of_the_program() {
    let Some((helm, _home)) = helm("the_chart_has_the_definition_and_the_version_of_the_program") else { return };
    let copy = fs::read_to_string(Path::new(CHART).join("files/tofustates.tofustate.io.yaml")).unwrap();
    assert!(copy == fs::read_to_string(CRD_FILE).unwrap(), "the chart's copy of deploy/crds is another: make crds");
    let chart = helm.must(&["show", "chart", CHART]);
    let chart: BTreeMap<_, _> = chart.lines().filter_map(|line| line.split_once(": ")).collect();
    let manifest = fs::read_to_string(Path::new(CHART).join("../../Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"');
    assert_eq!((chart["version"], chart["appVersion"]), (version, version), "Chart.yaml and Cargo.toml");
}

#[test]
fn the_definition_comes_through_the_template_unchanged_and_is_kept() {
    let Some(world) = World::start("the_definition_comes_through_the_template_unchanged_and_is_kept") else { return };
    let file = world.rendered("crd", &[LEAST, &["--show-only", "templates/crd.yaml"]].concat());
    let rendered = world.would_apply(&file).remove(0);
    let committed = world.would_apply(CRD_FILE).remove(0);
    assert_eq!(rendered["spec"], committed["spec"]);
    assert_eq!(rendered["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert_eq!(committed["metadata"]["annotations"], Value::Null);
}
