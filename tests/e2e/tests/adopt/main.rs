//! `tofustate adopt` against a real server: entries as another service wrote them become states in their place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod back;
mod forms;
mod meanwhile;
mod old;
mod refusals;
#[allow(dead_code, reason = "the tests of bootstrap need more")]
#[path = "../bootstrap/world.rs"]
mod world;
