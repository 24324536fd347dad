//! The figures of the HTTP backend, as tables: `make bench-http`, or `cargo bench --bench http -- cycle large many tracing`
//! for some of them. The servers are processes of their own, the clients are threads of this one. Nothing here fails on a
//! slow machine: every table shows beside each figure what the same machine does in the same run with a bare server.
//!
//! `PEER=<name>=http://<user>:<password>@<address>/<path with {n}>` runs the cycles of another server of the protocol,
//! too, where `{n}` is the number of the state. It has to run already.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]

mod bare;
mod child;
#[path = "../common/client.rs"]
mod client;
mod cycle;
mod large;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/lock_info.rs"]
mod lock_info;
mod many;
#[path = "../common/ours.rs"]
mod ours;
#[path = "../common/paced.rs"]
mod paced;
#[path = "../common/process.rs"]
mod process;
mod server;
mod sink;
#[path = "../../tests/common/states.rs"]
mod states;
#[path = "../common/table.rs"]
mod table;
mod tracing;
#[path = "../common/transfer.rs"]
mod transfer;

use std::env;

fn main() {
    let asked: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if asked.first().is_some_and(|first| first == "child") {
        return child::run(&asked[1..]);
    }
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|arg| arg == name);
    if wanted("cycle") {
        cycle::run();
    }
    if wanted("large") {
        large::run();
    }
    if wanted("many") {
        many::run();
    }
    if wanted("tracing") {
        tracing::run();
    }
}
