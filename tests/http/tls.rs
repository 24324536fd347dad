//! TLS: both versions of HTTP by ALPN, new certificates without a restart, client certificates.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tempfile::TempDir;
use tofustate::http::{ServerOptions, ServerTimes, TlsFiles};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    ask::ask,
    live::{DEADLINE, Fault, Live, send_over},
    world::{PATH, World, large_state, lock_info, state, until},
};

struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// A folder with the files of a server.
struct Files {
    folder: TempDir,
    client_ca: bool,
}

impl Files {
    fn new(pair: &Pair, client_ca: Option<&Ca>) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap(), client_ca: client_ca.is_some() };
        if let Some(ca) = client_ca {
            std::fs::write(files.path("client-ca.pem"), ca.pem()).unwrap();
        }
        files.put(pair);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, pair: &Pair) {
        std::fs::write(self.path("tls.crt"), &pair.certificate).unwrap();
        std::fs::write(self.path("tls.key"), &pair.key).unwrap();
    }

    fn options(&self) -> ServerOptions {
        let client_ca = self.client_ca.then(|| self.path("client-ca.pem"));
        let tls = Some(TlsFiles { certificate: self.path("tls.crt"), key: self.path("tls.key"), client_ca });
        let times = ServerTimes { reload: Duration::from_millis(20), ..ServerTimes::default() };
        ServerOptions { tls, times, ..ServerOptions::default() }
    }
}

async fn start(world: &World, options: ServerOptions) -> Live {
    // As `main` does; a second time is no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Live::start(&world.router, options).await
}

async fn connect(live: &Live, trust: &Ca, own: Option<&Pair>, alpn: &[&str]) -> io::Result<TlsStream<TcpStream>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trust.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("tofustate.test").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, live.tcp().await).await
}

/// Status of a GET over it; a handshake that the server refuses may show only then.
async fn get(stream: io::Result<TlsStream<TcpStream>>) -> Result<u16, Fault> {
    let stream = stream?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(send_over(stream, http2, ask("GET", &format!("/{PATH}")).request).await?.status)
}

#[tokio::test]
async fn c41_the_version_is_agreed_on_by_alpn() {
    let (world, ca) = (World::new().await, Ca::new("ca"));
    let files = Files::new(&ca.issue("tofustate.test"), None);
    let live = start(&world, files.options()).await;
    for (offer, http2) in
        [(vec!["h2", "http/1.1"], true), (vec!["h2"], true), (vec!["http/1.1"], false), (vec![], false)]
    {
        let open = async || connect(&live, &ca, None, &offer).await.unwrap();
        assert_eq!(open().await.get_ref().1.alpn_protocol() == Some(b"h2"), http2);
        let send = async |ask: crate::ask::Ask| send_over(open().await, http2, ask.request).await.unwrap();
        let of = |method: &str| ask(method, &format!("/{PATH}"));
        let body = large_state(1, 300_000);
        let id = format!("{offer:?}").replace(['"', '[', ']', ',', ' ', '/'], "-");
        send(of("LOCK").body(lock_info(&id))).await.is_ok();
        send(ask("POST", &format!("/{PATH}?ID={id}")).body(body.clone())).await.is_ok();
        assert_eq!(send(of("GET")).await.text(), body);
        send(of("UNLOCK").body(lock_info(&id))).await.is_ok();
        send(of("GET").token("wrong")).await.is_error(403, "forbidden");
    }
    assert!(connect(&live, &ca, None, &["spdy/3"]).await.is_err());
    assert!(connect(&live, &Ca::new("other"), None, &[]).await.is_err(), "the test's client does check");
    live.stop().await;
}

#[tokio::test]
async fn c41_what_is_no_tls_is_cut_off() {
    let (world, ca) = (World::new().await, Ca::new("ca"));
    let files = Files::new(&ca.issue("tofustate.test"), None);
    let mut options = files.options();
    options.times.head = Duration::from_millis(300);
    let live = start(&world, options).await;
    let mut raw = live.raw().await;
    raw.write(format!("GET /{PATH} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, raw.0.read_to_end(&mut answer)).await.expect("it is closed");
    assert!(!answer.starts_with(b"HTTP/"));
    // A handshake that never begins, and one that crawls.
    let mut silent = live.raw().await;
    assert!(silent.is_closed().await);
    let mut crawls = live.tcp().await;
    crawls.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    until("it is cut off", async || crawls.write_all(b"\0").await.is_err()).await;
    assert_eq!(world.seen(), Vec::<String>::new());
    live.connections(0).await;
    live.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart() {
    let (world, old, new) = (World::new().await, Ca::new("old"), Ca::new("new"));
    world.post(None, state(1)).await.is_ok();
    let files = Files::new(&old.issue("tofustate.test"), None);
    let live = start(&world, files.options()).await;
    let before = connect(&live, &old, None, &["http/1.1"]).await.unwrap();
    assert!(connect(&live, &new, None, &[]).await.is_err());
    // A certificate whose key is not there yet: the old one stays in use.
    let pair = new.issue("tofustate.test");
    std::fs::write(files.path("tls.crt"), &pair.certificate).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(get(connect(&live, &old, None, &[]).await).await.unwrap(), 200);
    files.put(&pair);
    until("the new certificate is served", async || connect(&live, &new, None, &[]).await.is_ok()).await;
    assert_eq!(get(connect(&live, &new, None, &["h2"]).await).await.unwrap(), 200);
    assert!(connect(&live, &old, None, &[]).await.is_err());
    // A connection of before goes on.
    assert_eq!(get(Ok(before)).await.unwrap(), 200);
    live.stop().await;
}

#[tokio::test]
async fn client_certificates_where_asked_for() {
    let (world, ca, clients) = (World::new().await, Ca::new("ca"), Ca::new("clients"));
    world.post(None, state(1)).await.is_ok();
    let files = Files::new(&ca.issue("tofustate.test"), Some(&clients));
    let live = start(&world, files.options()).await;
    let (right, wrong) = (clients.issue("runner"), Ca::new("clients").issue("runner"));
    for alpn in ["h2", "http/1.1"] {
        assert_eq!(get(connect(&live, &ca, Some(&right), &[alpn]).await).await.unwrap(), 200);
        assert!(get(connect(&live, &ca, None, &[alpn]).await).await.is_err(), "none");
        assert!(get(connect(&live, &ca, Some(&wrong), &[alpn]).await).await.is_err(), "of another CA");
    }
    // It does not stand in for the credential.
    let stream = connect(&live, &ca, Some(&right), &["http/1.1"]).await.unwrap();
    let answer = send_over(stream, false, ask("GET", &format!("/{PATH}")).anonymous().request).await.unwrap();
    answer.is_error(401, "no_credential");
    let get = |seen: &&String| seen.starts_with("GET");
    assert_eq!(world.seen().iter().filter(get).count(), 3, "refused ones never got to the router");
    live.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_say_which() {
    let (world, ca) = (World::new().await, Ca::new("ca"));
    let files = Files::new(&ca.issue("tofustate.test"), None);
    let fault = |files: &Files| files.options().tls.unwrap().load().err().map(|error| error.to_string());
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert_eq!(fault(&files), None);
    std::fs::write(files.path("tls.key"), ca.issue("other").key).unwrap();
    assert!(fault(&files).unwrap().contains("tls.crt"));
    std::fs::write(files.path("tls.key"), "no key").unwrap();
    assert!(fault(&files).unwrap().contains("tls.key"));
    std::fs::write(files.path("tls.crt"), "").unwrap();
    assert!(fault(&files).unwrap().contains("tls.crt"));
    std::fs::remove_file(files.path("tls.crt")).unwrap();
    let error = fault(&files).unwrap();
    assert!(error.contains("tls.crt") && error.contains("certificate"), "{error}");
    drop(world);
}
