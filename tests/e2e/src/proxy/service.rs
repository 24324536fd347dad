//! One address that leads to the active node of OpenBao, as a Kubernetes service of the active one does: it learns some time
//! after the fact who that is, keeps to the last one where nobody is, and connections that are there stay where they lead.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener as Listener, TcpStream},
    runtime::Builder,
    sync::oneshot,
    time::{sleep, timeout},
};

/// How often nodes are asked, and how long one may take to answer.
const ASK: Duration = Duration::from_millis(300);

/// Such an address. It ends with it.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    nodes: Mutex<Vec<String>>,
    leads_to: Mutex<Option<String>>,
    moves: AtomicU64,
    refused: AtomicU64,
}

impl Service {
    /// Starts one before no nodes yet.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let served = shared.clone();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, served.clone()) => {}
                    () = follow(&served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// One more node, an address and a port.
    pub fn add(&self, node: &str) {
        self.shared.nodes.lock().unwrap().push(node.to_owned());
    }

    /// Where a client reaches it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often it moved from one node to another.
    pub fn moves(&self) -> u64 {
        self.shared.moves.load(Ordering::Relaxed)
    }

    /// How many connections found nobody where it led.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let listener = Listener::from_std(listener).unwrap();
    loop {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let shared = shared.clone();
        tokio::spawn(async move {
            let node = shared.leads_to.lock().unwrap().clone().unwrap_or_default();
            match TcpStream::connect(node).await {
                // It ends with an error where a side was killed.
                Ok(mut server) => drop(copy_bidirectional(&mut client, &mut server).await),
                Err(_) => drop(shared.refused.fetch_add(1, Ordering::Relaxed)),
            }
        });
    }
}

async fn follow(shared: &Shared) {
    loop {
        let nodes = shared.nodes.lock().unwrap().clone();
        for node in nodes {
            if timeout(ASK, is_active(&node)).await == Ok(true) {
                let former = shared.leads_to.lock().unwrap().replace(node.clone());
                let moved = former.is_some_and(|former| former != node);
                shared.moves.fetch_add(moved.into(), Ordering::Relaxed);
            }
        }
        sleep(ASK).await;
    }
}

/// Whether a node says that it is the active one.
async fn is_active(node: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(node).await?;
        stream.write_all(b"GET /v1/sys/health HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    ask.await.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200 "))
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ended = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        assert!(ended || thread::panicking(), "the service panicked");
    }
}
