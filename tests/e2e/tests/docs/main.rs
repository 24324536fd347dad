//! The commands of README.md and docs/, run as a person pastes them: into a shell, with the programs on the PATH. What stands
//! there for an address, a port or a file of this machine is put in place by each test; the rest is as it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod by_hand;
mod pages;
mod readme;
mod restore;
mod shell;
mod threats;
