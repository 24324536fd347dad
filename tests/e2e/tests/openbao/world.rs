//! A server, and a connection of ours to it.

use std::{future::Future, sync::Arc, time::Duration};

use tofustate::{
    openbao::{Address, Bao, OpenBaoKv, Settings, Token},
    store::{Kv, KvError},
    telemetry::OpenBaoMetrics,
};
use tofustate_e2e::bao::{self, fixture};
use tokio::time::{Instant, sleep};

/// Runs a test that is no more than what it waits for.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test)
}

/// Settings for these nodes.
pub(crate) fn settings(server: &bao::Bao, nodes: &[usize]) -> Settings {
    Settings::new(nodes.iter().map(|node| Address::parse(&server.url(*node), false).unwrap()).collect())
}

/// A connection that knows the first node.
pub(crate) fn connect(server: &bao::Bao) -> Bao {
    Bao::new(settings(server, &[0]), OpenBaoMetrics::default()).unwrap()
}

pub(crate) fn kv(bao: &Bao, token: &fixture::Token) -> OpenBaoKv {
    OpenBaoKv::new(bao.clone(), Arc::new(Token::parse(&token.secret).unwrap()))
}

pub(crate) fn dynamic(kv: OpenBaoKv) -> Arc<dyn Kv> {
    Arc::new(kv)
}

/// Does what blocks, such as anything asked of the server past our client.
pub(crate) fn off<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// How long an operation of the engine waits for the store.
const BUDGET: Duration = Duration::from_secs(25);

/// Repeats a call while the store is away, as the engine does.
pub(crate) async fn insist<T, F: Future<Output = Result<T, KvError>>>(what: &str, call: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        match call().await {
            Ok(done) => return done,
            Err(KvError::Unavailable { .. }) if began.elapsed() < BUDGET => sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{what} after {:?}: {error}", began.elapsed()),
        }
    }
}
