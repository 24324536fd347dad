//! What a server tells: spans, seen at a real OpenTelemetry Collector, and log lines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "tests")]

mod collector;
mod lost;
mod replicas;
mod runs;
mod said;
mod settings;

use tofustate_e2e::{
    ask::{Ask, lock_info},
    standalone::{Standalone, writer},
};

const PATH: &str = "team/app";

/// A request with the token that may write.
fn ask(server: &Standalone, method: &str, query: &str) -> Ask {
    tofustate_e2e::ask::ask(method, &format!("{}{query}", server.url(PATH))).token(&writer(PATH))
}

/// LOCK and UNLOCK: two requests.
fn lock_and_unlock(server: &Standalone, id: &str) {
    for method in ["LOCK", "UNLOCK"] {
        ask(server, method, "").body(lock_info(id)).send().is(200);
    }
}

/// A server that is not started yet, of one path.
fn server() -> Standalone {
    let server = Standalone::new();
    server.register(PATH, "");
    server
}

/// The lines of the log with this in their message.
fn lines(server: &Standalone, text: &str) -> Vec<serde_json::Value> {
    server.log().into_iter().filter(|line| line["message"].as_str().is_some_and(|said| said.contains(text))).collect()
}
