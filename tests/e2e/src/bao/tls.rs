//! A certificate authority, and what it issued: a certificate for a server on loopback, and one for a client.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use ureq::tls::{Certificate, ClientCert, PrivateKey};

/// The files of a TLS set-up, PEM, in one folder.
#[derive(Debug)]
pub struct Tls(PathBuf);

impl Tls {
    /// Makes all of it anew.
    pub fn make(folder: &Path) -> Self {
        let tls = Self(folder.to_owned());
        fs::create_dir(folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "CA of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(tls.ca(), ca.pem()).unwrap();
        let server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let mut client = CertificateParams::new(Vec::new()).unwrap();
        client.distinguished_name.push(DnType::CommonName, "client of the tests");
        for (params, certificate, key_file) in
            [(server, tls.server_certificate(), tls.server_key()), (client, tls.client_certificate(), tls.client_key())]
        {
            let key = KeyPair::generate().unwrap();
            fs::write(certificate, params.signed_by(&key, &ca).unwrap().pem()).unwrap();
            write_secret(&key_file, &key.serialize_pem());
        }
        tls
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// The server's certificate, for `localhost` and `127.0.0.1`.
    pub fn server_certificate(&self) -> PathBuf {
        self.0.join("server.pem")
    }

    /// The server's key.
    pub fn server_key(&self) -> PathBuf {
        self.0.join("server.key")
    }

    /// A client's certificate.
    pub fn client_certificate(&self) -> PathBuf {
        self.0.join("client.pem")
    }

    /// A client's key.
    pub fn client_key(&self) -> PathBuf {
        self.0.join("client.key")
    }

    /// The root certificate, for clients.
    pub fn root(&self) -> Certificate<'static> {
        Certificate::from_pem(&fs::read(self.ca()).unwrap()).unwrap()
    }

    pub(super) fn client(&self) -> ClientCert {
        let certificate = Certificate::from_pem(&fs::read(self.client_certificate()).unwrap()).unwrap();
        ClientCert::new_with_certs(&[certificate], PrivateKey::from_pem(&fs::read(self.client_key()).unwrap()).unwrap())
    }
}

/// Writes a file that nobody else may read.
///
/// # Panics
/// Where it cannot be written.
pub fn write_secret(file: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
