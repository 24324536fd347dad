//! The model-based test of the state engine: many clients over several engines on one store, with faults at any call.
//! No two holders, no acknowledged write lost, every read one whole acknowledged version, late repeats harmless.
//!
//! `MODEL_CALLS` sets how many calls a run makes, `MODEL_SEED` its first seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

mod client;
mod events;
mod oracle;
mod play;
mod replica;
mod world;

#[test]
fn promises_hold_under_faults() {
    play::worlds(play::setting("MODEL_CALLS", 6_000), 3_000, play::setting("MODEL_SEED", 1), None);
}
