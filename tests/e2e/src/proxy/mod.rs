//! A real HTTP/1.1 proxy between a client and a server, which does to requests and answers what a network and a load
//! balancer do. It counts what it did: a test of faults that met none shows nothing.

mod forward;
mod rules;
mod service;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{runtime::Builder, sync::oneshot};

use self::rules::Rule;
pub use self::{
    rules::{Fault, RetryAfter},
    service::Service,
};

/// Where requests go.
struct Upstream {
    address: String,
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// A proxy before one server. It ends with it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    /// Faults that happened, by name.
    injected: BTreeMap<String, u64>,
    /// Answers of the server that came back as they were, at once.
    untouched: u64,
    met: Met,
}

/// What the server itself did to requests that met no fault of the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// It has not answered yet.
    pub pending: u64,
    /// It was not there, or went without an answer.
    pub unanswered: u64,
    /// It answered 503, such as while it is sealed.
    pub unavailable: u64,
}

impl Proxy {
    /// Starts one before the server at `upstream`, an address and a port. It need not be there yet.
    pub fn start(upstream: &str) -> Self {
        Self::before(Upstream { address: upstream.to_owned(), tls: None })
    }

    /// Starts one before a server of HTTPS at `upstream`, which the CA of this file vouches for. Clients reach it without
    /// TLS. Watches of the Kubernetes API pass as they come, and are `?watch` at the end of their path for a rule.
    pub fn start_tls(upstream: &str, ca: &Path) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Self::before(Upstream { address: upstream.to_owned(), tls: Some(Arc::new(config)) })
    }

    fn before(upstream: Upstream) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = oneshot::channel();
        let (shared, upstream) = (state.clone(), Arc::new(upstream));
        // A runtime of its own: a test that waits without yielding does not hold the proxy up.
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = forward::serve(listener, upstream, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Where a client reaches it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the first request for which `matches(method, path)` holds meets the first of these faults, and so on. A
    /// path begins with `/v1/` and has no query. Where several rules match, the oldest that has a fault for it counts.
    pub fn script(
        &self,
        matches: impl Fn(&str, &str) -> bool + Send + 'static,
        faults: impl IntoIterator<Item = Option<Fault>>,
    ) {
        self.state().rules.push(Rule::script(Box::new(matches), faults));
    }

    /// From now on so many of a hundred requests that match meet one of these faults, drawn from a seed.
    pub fn random(
        &self,
        matches: impl Fn(&str, &str) -> bool + Send + 'static,
        seed: u64,
        percent: u32,
        faults: &[Fault],
    ) {
        self.state().rules.push(Rule::random(Box::new(matches), seed, percent, faults));
    }

    /// No more faults.
    pub fn calm(&self) {
        self.state().rules.clear();
    }

    /// How many faults happened until now, by [`Fault::name`].
    pub fn injected(&self) -> BTreeMap<String, u64> {
        self.state().injected.clone()
    }

    /// How many answers came back as the server gave them, at once.
    pub fn untouched(&self) -> u64 {
        self.state().untouched
    }

    /// What the server itself did to requests until now.
    pub fn met(&self) -> Met {
        self.state().met
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ended = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        assert!(ended || thread::panicking(), "the proxy panicked");
    }
}

/// Says how many faults the proxies of a test injected, past the test's captured output, and gives their sum.
///
/// # Panics
/// Where it is none: the test was one of faults.
pub fn injected<'a>(test: &str, proxies: impl IntoIterator<Item = &'a Proxy>) -> u64 {
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in proxies.into_iter().flat_map(Proxy::injected) {
        *all.entry(name).or_default() += count;
    }
    let sum = all.values().sum();
    assert_ne!(sum, 0, "{test}: no fault was injected");
    let _ = writeln!(io::stderr(), "{test}: {sum} faults injected: {all:?}");
    sum
}
