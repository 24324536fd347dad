//! The figures of the store, as tables: `make bench`, or `cargo bench --bench store -- cycle heads large` for some of them.
//! Nothing here fails on a slow machine: every table shows beside each figure what the same machine does in the same run
//! without the engine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]

mod cycle;
mod heads;
mod large;
#[path = "../common/lock_info.rs"]
mod lock_info;
#[path = "../common/paced.rs"]
mod paced;
#[path = "../common/process.rs"]
mod process;
mod replay;
#[path = "../../tests/common/states.rs"]
mod states;
#[path = "../common/table.rs"]
mod table;

use std::{env, sync::Arc, time::Duration};

use tofustate::{
    store::{
        Budget, Engine, EngineOptions, Kv, Registration, Settings, State, StatePath,
        head::{Owner, Retention},
    },
    telemetry::EngineMetrics,
};

fn main() {
    let asked: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if asked.first().is_some_and(|first| first == "child") {
        return large::as_child(&asked[1..]);
    }
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|arg| arg == name);
    if wanted("cycle") {
        cycle::run();
    }
    if wanted("heads") {
        heads::run();
    }
    if wanted("large") {
        large::run();
    }
}

/// What a server has: a thread for each processor.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn engine() -> Engine {
    Engine::new(EngineOptions::default(), EngineMetrics::default())
}

/// A state of its own in `kv`, registered.
async fn state(engine: &Engine, kv: Arc<dyn Kv>, max_versions: u32) -> State {
    let retention = Retention { max_versions, ..Retention::default() };
    let state = engine.open(Registration {
        path: StatePath::parse("payments/network/production").unwrap(),
        kv,
        owner: Owner {
            instance: "main".into(),
            namespace: "payments".into(),
            name: "network-production".into(),
            claim: 1,
            released: false,
        },
        mark: None,
        settings: Settings { retention, ..Settings::default() },
    });
    state.register(&mut budget()).await.unwrap();
    state
}

fn budget() -> Budget {
    Budget::new(Duration::from_secs(25))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
