//! What the tests with real programs share. Nothing is mocked: the server is the `tofustate` binary,
//! the clients and the servers behind it are what users run. For OpenBao alone there is a stand-in where it is not at hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

pub mod ask;
pub mod bao;
pub mod cargo;
pub mod chart;
pub mod client;
pub mod docs;
pub mod guard;
pub mod haproxy;
pub mod kube;
pub mod nginx;
pub mod operator;
pub mod pasted;
pub mod ports;
pub mod process;
pub mod project;
pub mod proxy;
pub mod recipe;
pub mod runs;
pub mod scratch;
pub mod server;
pub mod slow;
pub mod standalone;
pub mod tools;
pub mod used;
pub mod wait;
