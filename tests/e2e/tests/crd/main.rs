//! The CustomResourceDefinition on a real API server: what it admits, next to what `crd::admit` does; what `kubectl` shows;
//! what the status takes. And the cluster that tests are given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

// The same table that tests/crd has.
#[path = "../../../crd/cases.rs"]
mod cases;
mod cluster;
mod kstatus;
mod kubectl;
mod rules;
mod status;
mod texts;

use serde_json::{Value, json};
use tofustate_e2e::kube::{Answer, Cluster, tofustates};

/// A resource with this spec. A rule reads this name.
fn resource(spec: &Value) -> Value {
    named("net", spec)
}

fn named(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend", "metadata": {"name": name}, "spec": spec})
}

/// What the server would do with a new resource, unknown fields refused.
fn would_create(cluster: &Cluster, object: &Value) -> Answer {
    cluster.api().create(&format!("{}?dryRun=All&fieldValidation=Strict", tofustates("default")), object)
}

/// A resource that is there, in the namespace `namespace`.
fn created(cluster: &Cluster, namespace: &str, object: &Value) -> Value {
    cluster.api().create(&format!("{}?fieldValidation=Strict", tofustates(namespace)), object).done()
}
