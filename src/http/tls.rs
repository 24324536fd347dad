//! TLS: certificates from files, read again when they change; client certificates where asked for.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc, time::Duration};

use axum_server::tls_rustls::RustlsConfig;
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::sync::watch;
use tracing::{error, info};

/// Where the certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// Who must have signed a client's certificate, PEM. `None`: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of its kind.
    #[error("cannot read {what} from {file}: {fault}")]
    File {
        /// What was wanted.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What was found.
        fault: String,
    },
    /// The certificate and key do not go together.
    #[error("the certificate {file} and its key cannot be used: {fault}")]
    Pair {
        /// The certificate.
        file: PathBuf,
        /// What was found.
        fault: String,
    },
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(&self) -> Result<ServerConfig, TlsError> {
        let chain = certificates("the certificate", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| self.fault("the private key", &self.key, &error))?;
        let builder = ServerConfig::builder();
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for root in certificates("the client CA", file)? {
                    roots.add(root).map_err(|error| self.fault("the client CA", file, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| self.fault("the client CA", file, &error))?)
            }
        };
        let config = builder.with_single_cert(chain, key);
        let mut config =
            config.map_err(|error| TlsError::Pair { file: self.certificate.clone(), fault: error.to_string() })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    #[allow(clippy::unused_self)]
    fn fault(&self, what: &'static str, file: &std::path::Path, error: &dyn std::fmt::Display) -> TlsError {
        TlsError::File { what, file: file.to_owned(), fault: error.to_string() }
    }

    /// What tells one version of the files from another: a swap of a mounted Secret changes what the links point to, and a
    /// copy may keep the time of what it was made from.
    fn changed(&self) -> Vec<Option<(u64, u64, i64, i64)>> {
        let files = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let look = |data: std::fs::Metadata| (data.ino(), data.size(), data.ctime(), data.ctime_nsec());
        files.into_iter().flatten().map(|file| std::fs::metadata(file).map(look).ok()).collect()
    }

    /// Looks at the files `every` so often and reads them again when they changed, until `stop`. Files that do not go
    /// together, or cannot be read, leave the old ones in use, and are tried again.
    pub(super) async fn reload(self, config: RustlsConfig, every: Duration, mut stop: watch::Receiver<bool>) {
        let (mut before, mut said) = (self.changed(), None);
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(every) => {}
            }
            let now = self.changed();
            if now == before {
                continue;
            }
            match self.load() {
                Ok(fresh) => {
                    (before, said) = (now, None);
                    config.reload_from_config(Arc::new(fresh));
                    info!(certificate = %self.certificate.display(), "certificate read again");
                }
                Err(error) => {
                    let error = error.to_string();
                    if said.as_ref() != Some(&error) {
                        error!(error, "the certificate changed and cannot be used; the old one stays");
                    }
                    said = Some(error);
                }
            }
        }
    }
}

fn certificates(what: &'static str, file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |fault: String| TlsError::File { what, file: file.to_owned(), fault };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| fault(error.to_string()))?.collect();
    let found = found.map_err(|error| fault(error.to_string()))?;
    if found.is_empty() { Err(fault("it holds no certificate".to_owned())) } else { Ok(found) }
}
