//! What the tests of the store on OpenBao stand on: the servers come up, fail as they are told to, and come back; the proxy
//! injects what it counts. On a real OpenBao, or the stand-in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod faults;
mod nodes;
mod servers;

use serde_json::{Value, json};
use tofustate_e2e::bao::{Answer, Api};

/// A write under compare-and-swap.
fn write(api: &Api, path: &str, value: &str, cas: u64) -> Result<Answer, String> {
    api.ask("POST", &format!("states/data/{path}"), &json!({"options": {"cas": cas}, "data": {"value": value}}))
}

/// The value and its version.
fn read(api: &Api, path: &str) -> (Value, u64) {
    let data = api.must("GET", &format!("states/data/{path}"), &Value::Null);
    (data["data"]["value"].clone(), data["metadata"]["version"].as_u64().unwrap())
}

fn status(answer: Result<Answer, String>) -> u16 {
    answer.unwrap().status
}
