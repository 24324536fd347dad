//! The two listeners: clients' and the admin's. Plain HTTP outside of loopback has to be asked for.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use axum::Router;
use clap::Args;
use tokio::{sync::watch, time::sleep};

use super::{files, serving::seconds, tasks::Tasks};
use crate::{
    http::{Gates, ServerOptions, TlsError, TlsFiles, serve},
    telemetry::HttpMetrics,
};

/// Where to listen.
#[derive(Debug, Args)]
pub(super) struct ListenArgs {
    /// Where clients come: ADDRESS:PORT, such as [::]:8080, or :PORT for all IPv4 addresses.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Where /livez, /readyz, /metrics and /states are. Never with TLS.
    #[arg(long, env = "TOFUSTATE_ADMIN_LISTEN", default_value = "127.0.0.1:9090", value_parser = address)]
    admin_listen: SocketAddr,
    /// The certificate chain, PEM; read again when it changes.
    #[arg(long, env = "TOFUSTATE_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, env = "TOFUSTATE_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Clients must have a certificate that this CA signed, PEM.
    #[arg(long, env = "TOFUSTATE_TLS_CLIENT_CA", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Serve without TLS on other addresses than loopback: behind a proxy that has it.
    #[arg(long, env = "TOFUSTATE_ALLOW_PLAIN_HTTP")]
    allow_plain_http: bool,
    /// A file with the token that /states asks for; without one only this machine gets the list.
    #[arg(long, env = "TOFUSTATE_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    /// Connections at a time.
    #[arg(long, default_value = "4096", value_name = "N")]
    max_connections: NonZeroUsize,
    /// Seconds, from 0 to 300, that requests are still taken after a stop was asked for, while /readyz answers 503: as long
    /// as a balancer may take to notice.
    #[arg(long, env = "TOFUSTATE_LINGER", value_name = "SECONDS", default_value = "0", value_parser = linger)]
    linger: Duration,
}

fn linger(text: &str) -> Result<Duration, String> {
    seconds(text, 0..=300)
}

/// The gate that is shut from the stop on.
const STOPPING: &str = "stopping";
/// How long the end of requests that are under way is waited for, and of what else has to end with them.
pub(super) const DRAIN: Duration = Duration::from_secs(75);

/// Connections of the admin listener at a time.
pub(super) const ADMIN_CONNECTIONS: usize = 256;

/// `:8080` means all addresses of IPv4.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map_err(|_| format!("{text} is not ADDRESS:PORT, such as 127.0.0.1:8080 or :8080"))
}

/// Why the listeners cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    #[error("cannot listen on {address}: {error}; name another with {flag}, such as 127.0.0.1:0 for any free port")]
    Bind { flag: &'static str, address: SocketAddr, error: io::Error },
    #[error(
        "{0} is not on loopback and there is no certificate: tokens would go in the clear. Give --tls-cert and --tls-key, or --allow-plain-http behind a proxy that has TLS"
    )]
    Plain(SocketAddr),
    #[error(
        "the admin listener {0} is not on loopback and has no TLS: the admin token would go in the clear. Leave --admin-token-file out (then /states answers this machine only), or give --allow-plain-http"
    )]
    Admin(SocketAddr),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot read the admin token from {0}: {1}")]
    Token(PathBuf, String),
}

/// The bound listeners.
pub(super) struct Listen {
    clients: TcpListener,
    admin: TcpListener,
    addresses: (SocketAddr, SocketAddr),
    tls: Option<TlsFiles>,
    connections: usize,
    linger: Duration,
    pub(super) admin_token: Option<String>,
}

impl Listen {
    /// Binds both, so that a taken port is told before anything else happens.
    pub(super) fn open(args: &ListenArgs) -> Result<Self, ListenError> {
        let tls = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(certificate, key)| TlsFiles {
            certificate,
            key,
            client_ca: args.tls_client_ca.clone(),
        });
        if tls.is_none() && !args.allow_plain_http && !args.listen.ip().is_loopback() {
            return Err(ListenError::Plain(args.listen));
        }
        if args.admin_token_file.is_some() && !args.allow_plain_http && !args.admin_listen.ip().is_loopback() {
            return Err(ListenError::Admin(args.admin_listen));
        }
        let admin_token = args.admin_token_file.as_ref().map(token).transpose()?;
        // What is wrong with them is told before anything is made.
        tls.as_ref().map(TlsFiles::load).transpose()?;
        let bind = |flag, address: SocketAddr| {
            let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
            bound.map_err(|error| ListenError::Bind { flag, address, error })
        };
        let (clients_at, clients) = bind("--listen", args.listen)?;
        let (admin_at, admin) = bind("--admin-listen", args.admin_listen)?;
        let connections = files::allow(args.max_connections.get());
        let linger = args.linger;
        Ok(Self { clients, admin, addresses: (clients_at, admin_at), tls, connections, linger, admin_token })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.addresses.0
    }

    pub(super) fn admin_address(&self) -> SocketAddr {
        self.addresses.1
    }

    /// Where clients on this machine reach the listener.
    pub(super) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self.address();
        if address.ip().is_unspecified() {
            format!("{scheme}://localhost:{}", address.port())
        } else {
            format!("{scheme}://{address}")
        }
    }

    /// Where clients reach it by way of a Service of this name.
    pub(super) fn service_url(&self, name: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{name}:{}", self.address().port())
    }

    /// How long a stop may take.
    pub(super) fn stop_takes(&self) -> Duration {
        DRAIN + self.linger
    }

    /// Starts to serve.
    pub(super) fn serve(
        self,
        tasks: &mut Tasks,
        (app, admin): (Router, Router),
        metrics: &HttpMetrics,
        gates: Gates,
        stop: &watch::Receiver<bool>,
    ) {
        let (close, closed) = watch::channel(false);
        let mut asked = stop.clone();
        tasks.spawn("the end of the listeners", async move {
            let _ = asked.wait_for(|stop| *stop).await;
            gates.shut(STOPPING, "the process was asked to end");
            sleep(self.linger).await;
            close.send_replace(true);
            Ok(())
        });
        let options = ServerOptions { tls: self.tls, connections: self.connections, ..ServerOptions::default() };
        let (clients, counted, stop_clients) = (self.clients, metrics.clone(), closed.clone());
        tasks.spawn("the listener for clients", async move {
            serve(clients, app, options, &counted, stop_clients).await.map_err(|error| error.to_string())
        });
        let listener = self.admin;
        tasks.spawn("the admin listener", async move {
            let own = HttpMetrics::default();
            let options = ServerOptions { connections: ADMIN_CONNECTIONS, ..ServerOptions::default() };
            serve(listener, admin, options, &own, closed).await.map_err(|error| error.to_string())
        });
    }
}

fn token(file: &PathBuf) -> Result<String, ListenError> {
    let text = std::fs::read_to_string(file).map_err(|error| ListenError::Token(file.clone(), error.to_string()))?;
    match text.trim() {
        "" => Err(ListenError::Token(file.clone(), "it is empty".to_owned())),
        token => Ok(token.to_owned()),
    }
}
