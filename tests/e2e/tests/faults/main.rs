//! What happens to OpenBao, or is done to what tofustate has there, under replicas that serve: each heals, or says what is
//! missing, and none is ever answered with "no state yet" or with a wrong state. Here all is asked as clients do, over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod asks;
mod audit;
mod clients;
mod cluster;
mod memory;
mod missing;
mod replica;
mod restored;
mod rights;
#[path = "../../../common/states.rs"]
mod states;
mod tokens;
mod tried;
mod wire;
#[allow(dead_code, reason = "the set-up of the tests of bootstrap, of which this needs a part")]
#[path = "../bootstrap/world.rs"]
mod world;
