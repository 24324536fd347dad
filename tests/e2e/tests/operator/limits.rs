//! How much the operator may ask of the API server and of OpenBao.

use serde_json::json;

use crate::world::{Setting, World};

#[test]
fn within_its_limits_it_waits_and_gets_there() {
    let args = &["--workers", "8", "--kubernetes-rate", "4"];
    let Some(mut world) =
        World::prepare("within_its_limits_it_waits_and_gets_there", Setting { args, ..Setting::default() })
    else {
        return;
    };
    world.operator.env("TOFUSTATE_OPENBAO_RATE", "2");
    world.operator.start();
    let namespace = world.cluster.namespace("limited");
    let names: Vec<_> = (0..6).map(|n| format!("app-{n}")).collect();
    names.iter().for_each(|name| drop(world.create(&namespace, name, json!({}))));
    names.iter().for_each(|name| drop(world.until_ready(&namespace, name)));
    let metrics = world.operator.metrics();
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {metrics}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(value("tofustate_kubernetes_rate_wait_seconds_total") > 0.0, "{metrics}");
    assert!(value("tofustate_openbao_rate_wait_seconds_total") > 0.0, "{metrics}");
    // Six connection Secrets, as many of tokens, and the ConfigMaps.
    let created = value("tofustate_kubernetes_calls_total{operation=\"create\",outcome=\"ok\"}");
    assert!(created >= 18.0, "{metrics}");
}
