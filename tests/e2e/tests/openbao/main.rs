//! The store over OpenBao, against a real server: the conformance tests of every store, and what only a server does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod active;
mod conformance;
mod engine;
#[allow(dead_code, reason = "the embedded store has one more")]
#[path = "../../../common/kv_conformance.rs"]
mod kv_conformance;
mod refusals;
mod traffic;
mod wire;
mod work;
mod world;
