//! The engine on a store that fails on purpose, one call at a time: each call of a fixed run of work fails once in every
//! way that a store can, and each call of the engine is dropped after every number of polls. Time is paused, nothing is
//! random but names. Long runs with random faults are the model's (`tests/model`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod adopt;
mod dropped;
mod each_call;
mod limits;
mod races;
mod scenario;
mod stale;
mod store;
