//! The conformance list of the protocol, by number: `c13_…` is number 13. What is logic goes through the router alone
//! (`read`, `write`, `lock`, `other`, `faults`), what is of the wire over real sockets (`wire`, `smuggling`, `limits`,
//! `tls`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

mod admin;
mod ask;
mod faults;
mod idle;
mod kv;
mod limits;
mod live;
mod lock;
#[path = "../common/log.rs"]
mod log;
mod never;
mod other;
mod read;
mod smuggling;
mod tls;
mod wire;
mod world;
mod write;
