//! The engine on the embedded store: bad bodies, bodies byte for byte, damage, owners and epochs, uploads that break off,
//! what others do between two calls, a full disk. Interleavings and faults of the store are the model's (`tests/model`);
//! what gets into a message or a log is in `tests/leaks.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod background;
mod bad_bodies;
mod bodies;
mod damage;
#[path = "../common/disk.rs"]
mod disk;
mod full_disk;
mod heads;
mod life;
mod meanwhile;
mod owners;
mod patches;
mod refusals;
#[path = "../common/states.rs"]
mod states;
mod uploads;
mod world;
