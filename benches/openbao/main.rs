//! The figures of the store over OpenBao, as tables: `make bench-openbao`, or `cargo bench -p tofustate-e2e --bench openbao --
//! cycle large` for some of them. One real server, a raft node on loopback that fsyncs, under all of it; beside ours the four
//! calls that a client by hand makes of KV v2. Nothing here fails on a slow machine: the rounds take turns.
//!
//! `PEER` names other servers of the protocol, as in `make bench-http`; they have to run already, over whatever they have.
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
#[path = "../common/ours.rs"]
mod ours;
#[path = "../common/paced.rs"]
mod paced;
#[path = "../common/process.rs"]
mod process;
#[path = "../../tests/common/states.rs"]
mod states;
#[path = "../common/table.rs"]
mod table;
#[path = "../common/transfer.rs"]
mod transfer;
mod world;

use std::env;

fn main() {
    // As `tofustate` itself does; it may have one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let asked: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if asked.first().is_some_and(|first| first == "child") {
        return child::run(&asked[1..]);
    }
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|arg| arg == name);
    let Some(world) = world::World::start() else { return };
    if wanted("cycle") {
        cycle::run(&world);
    }
    if wanted("large") {
        large::run(&world);
    }
}
