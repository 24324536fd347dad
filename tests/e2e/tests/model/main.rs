//! The model-based test of the engine (`tests/model` of the main crate) with a real OpenBao beside its entries: each call
//! that reaches the model's store is made on the server too, which has to answer as the model expects.
//!
//! `MODEL_CALLS` sets how many calls a run makes, `MODEL_SEED` its first seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

#[path = "../../../model/client.rs"]
mod client;
#[path = "../../../model/events.rs"]
mod events;
#[path = "../../../model/oracle.rs"]
mod oracle;
#[path = "../../../model/play.rs"]
mod play;
mod real;
#[path = "../../../model/replica.rs"]
mod replica;
#[path = "../../../model/world.rs"]
mod world;

use std::sync::Arc;

use tofustate_e2e::bao::{Setup, fixture};

#[test]
fn openbao_answers_as_the_model_expects() {
    let Some(server) = Setup::default().start("openbao_answers_as_the_model_expects") else { return };
    let token = fixture::states(&server.api());
    let real = Arc::new(real::Beside::new(&server.url(0), &token.secret));
    play::worlds(play::setting("MODEL_CALLS", 1_500), 1_500, play::setting("MODEL_SEED", 1), Some(real.clone()));
    println!("{} calls of the server", real.calls());
}
