//! The real `tofustate standalone` under what a network can bring. No other program is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod crowd;
mod records;
mod start;
mod stop;
