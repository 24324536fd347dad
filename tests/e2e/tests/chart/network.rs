//! The NetworkPolicy: what it lets through.

use serde_json::{Value, json};

use crate::{
    rendered,
    world::{one, values},
};

fn ports(rule: &Value) -> Vec<&Value> {
    rule["ports"].as_array().unwrap().iter().map(|port| &port["port"]).collect()
}

#[test]
fn the_network_policy_leads_to_dns_everywhere_and_lets_in_who_scrapes() {
    let test = "the_network_policy_leads_to_dns_everywhere_and_lets_in_who_scrapes";
    let Some(world) = rendered::cluster(test) else { return };
    let policy = |set: &str| {
        let set = format!("networkPolicy.enabled=true,{set}");
        let file = world.rendered("policy", &["--values", &values("secret"), "--set", &set]);
        one(&world.would_apply(&file), "NetworkPolicy", "tofustate")["spec"].clone()
    };
    // What a Pod of DNS listens on; the port of its Service is never seen here.
    let egress =
        "networkPolicy.egress.enabled=true,config.baoAddr=http://[::1]:8300,config.otelEndpoint=https://otel/v1";
    let spec = policy(egress);
    assert_eq!(ports(&spec["egress"][0]), [53, 53, 5353, 5353]);
    let protocols: Vec<_> =
        spec["egress"][0]["ports"].as_array().unwrap().iter().map(|port| &port["protocol"]).collect();
    assert_eq!(protocols, ["UDP", "TCP", "UDP", "TCP"]);
    assert_eq!(ports(&spec["egress"][1]), [443, 6443, 8300]);

    // Nobody is let in to the metrics who was not named; with them named, or with a Service for them, they are.
    let spec = policy("metrics.service=false");
    assert_eq!(spec["ingress"].as_array().unwrap().len(), 1, "{spec}");
    let named = "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=platform";
    let spec = policy(named);
    assert_eq!(ports(&spec["ingress"][1]), ["admin"]);
    assert_eq!(spec["ingress"][1]["from"], json!([{"namespaceSelector": {"matchLabels": {"team": "platform"}}}]));
    let spec = policy("metrics.service=true");
    assert_eq!((ports(&spec["ingress"][1]), &spec["ingress"][1]["from"]), (vec![&json!("admin")], &Value::Null));
}
