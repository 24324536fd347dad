//! `tofustate bootstrap`, the operator's login and the tokens of states, against a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod check;
mod command;
mod kubernetes;
#[path = "../../../common/log.rs"]
mod log;
mod login;
mod print;
mod prompt;
mod rights;
mod together;
mod tokens;
mod tried;
mod world;
mod wrong;
