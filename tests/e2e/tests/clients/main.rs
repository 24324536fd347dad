//! Real clients against a real server: OpenTofu and Terraform as users run them, each scenario with both. Nothing is
//! downloaded: the resource is `terraform_data`, which is part of both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod encryption;
mod force_unlock;
mod interrupted;
mod life;
mod locks;
mod migrate;
mod pasted;
mod push;
mod remote_state;
mod restart;
mod settings;
mod snapshots;

use serde_json::Value;
use tofustate_e2e::client::Client;

/// The state that most scenarios are about.
const PATH: &str = "team/app";

/// The resources of a state, by name: whether each is tainted.
fn resources(state: &Value) -> Vec<(&str, bool)> {
    let resources = state["resources"].as_array().unwrap().iter();
    let found = resources.map(|it| (it["name"].as_str().unwrap(), it["instances"][0]["status"] == "tainted"));
    found.collect()
}

/// The text of a field.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// That a client's refusal says who holds the lock. Terraform says of the answer the id alone, and then shows the lock that
/// it wanted itself; who it is, `tofustate states` tells.
fn assert_names_holder(client: &Client, refusal: &str, lock: &Value) {
    assert!(refusal.contains(text(lock, "id")), "{lock}: {refusal}");
    if !client.is_terraform() {
        let shown = |field: &str, name: &str| {
            refusal.lines().any(|line| line.contains(field) && line.ends_with(text(lock, name)))
        };
        assert!(shown("ID:", "id") && shown("Who:", "who") && shown("Operation:", "operation"), "{lock}: {refusal}");
    }
}
