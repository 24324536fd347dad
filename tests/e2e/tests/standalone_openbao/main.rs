//! `tofustate standalone --store openbao`, from an empty OpenBao to a real apply, and through what happens on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod arrival;
mod begin;
mod docs;
mod refusals;
mod replicas;
mod service;
mod tokens;

use tofustate_e2e::{
    ask::{Ask, lock_info, state},
    bao::{Bao, Setup},
    standalone::{Standalone, writer},
};

const PATH: &str = "team/app";
const INSTANCE: &str = "prod";

/// A server that is set up, and one replica of one path on it, not started yet.
fn world(test: &str) -> Option<(Bao, Standalone)> {
    let server = Setup::default().start(test)?;
    let standalone = on(&server);
    Some((server, standalone))
}

/// One more replica.
fn on(server: &Bao) -> Standalone {
    let token = server.bootstrap(INSTANCE, &[]);
    let standalone = Standalone::on(server, INSTANCE, &token);
    standalone.register(PATH, "");
    standalone
}

/// A request with the token that may write.
fn ask(server: &Standalone, method: &str, query: &str) -> Ask {
    tofustate_e2e::ask::ask(method, &format!("{}{query}", server.url(PATH))).token(&writer(PATH))
}

/// Writes a state, as a run does.
fn run(server: &Standalone, serial: u64) {
    let id = format!("run-{serial}");
    ask(server, "LOCK", "").body(lock_info(&id)).send().is(200);
    ask(server, "POST", &format!("?ID={id}")).body(state(serial, 100)).send().is(200);
    ask(server, "UNLOCK", "").body(lock_info(&id)).send().is(200);
}

/// The lines of the log with this in their message.
fn lines(server: &Standalone, text: &str) -> Vec<serde_json::Value> {
    server.log().into_iter().filter(|line| line["message"].as_str().is_some_and(|said| said.contains(text))).collect()
}
