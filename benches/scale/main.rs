//! What thousands of resources cost, as tables: `make bench-scale`, or `cargo bench -p tofustate-e2e --bench scale -- 1000` for
//! another number of them than 10,000. The real operator with its own ServiceAccount and rights and the admission policies, on
//! a real OpenBao (raft) and a real API server with etcd, all on loopback; beside it what the same servers do for a client by
//! hand. Nothing here fails on a slow machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]

#[path = "../common/client.rs"]
mod client;
mod counts;
mod hand;
mod locks;
#[path = "../common/process.rs"]
mod process;
mod stages;
mod world;

use std::env;

use self::world::World;

/// How many resources, unless another number is given.
const COUNT: usize = 10_000;

fn main() {
    let mut numbers = env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let count = numbers.next().unwrap_or(COUNT);
    let Some(mut world) = World::start(count) else { return };
    let hand = hand::pairs(&world);
    hand::objects(&world);
    let made = stages::made(&mut world);
    let hand_after = hand::pairs(&world);
    println!("\nBy hand, policy and token: {hand:.0} pairs/s before, {hand_after:.0} after");
    println!(
        "Half of that is {:.0} resources/s; from nothing to Ready: {made:.0} resources/s",
        (hand + hand_after) / 4.0
    );
    stages::changed(&world);
    stages::idle(&world);
    locks::run(&world);
    stages::restarted(&mut world);
    stages::idle(&world);
}
