//! What the tests with real programs share. Nothing here stands in for a program: the server is the `tofustate` binary,
//! the clients are what users run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

pub mod ask;
pub mod client;
pub mod ports;
pub mod process;
pub mod project;
pub mod recipe;
pub mod standalone;
pub mod tools;
pub mod used;
pub mod wait;
