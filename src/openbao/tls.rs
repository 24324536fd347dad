//! TLS for every connection to OpenBao: which CAs are believed, and the client's certificate.

use std::{fs, path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::Settings;

/// A certificate with those that signed it, and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What TLS needs, from the files and the system; or all that is wrong with them.
pub(super) fn config(settings: &Settings) -> Result<ClientConfig, Vec<String>> {
    let identity = settings.identity.as_ref().map(|(certificate, key)| identity(certificate, key)).transpose();
    let (roots, identity) = match (roots(settings), identity) {
        (Ok(roots), Ok(identity)) => (roots, identity),
        (roots, identity) => {
            let wrong = roots.err().into_iter().chain(identity.err().into_iter().flatten());
            return Err(wrong.collect());
        }
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| vec![format!("TLS: {error}")])?;
    let builder = builder.with_root_certificates(roots);
    let Some((chain, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let config = builder.with_client_auth_cert(chain, key);
    config.map_err(|error| vec![format!("BAO_CLIENT_CERT and BAO_CLIENT_KEY do not go together: {error}")])
}

fn roots(settings: &Settings) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = &settings.ca {
        for certificate in certificates(ca, "BAO_CACERT")? {
            let added = roots.add(certificate);
            added.map_err(|error| format!("{} (BAO_CACERT) has a certificate that is no CA: {error}", ca.display()))?;
        }
    } else if settings.addresses.iter().any(super::Address::is_https) {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err("this system has no CA certificates: name OpenBao's CA by BAO_CACERT".to_owned());
        }
    }
    Ok(roots)
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, Vec<String>> {
    let chain = certificates(certificate, "BAO_CLIENT_CERT");
    // The parser's message could quote the key.
    let unusable = || format!("{} (BAO_CLIENT_KEY) has no private key in PEM", key.display());
    let key =
        read(key, "BAO_CLIENT_KEY").and_then(|bytes| PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| unusable()));
    match (chain, key) {
        (Ok(chain), Ok(key)) => Ok((chain, key)),
        (chain, key) => Err(chain.err().into_iter().chain(key.err()).collect()),
    }
}

fn certificates(file: &Path, name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(file, name)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| format!("{} ({name}) is no PEM: {error}", file.display()))?;
    if found.is_empty() {
        return Err(format!("{} ({name}) has no certificate in PEM", file.display()));
    }
    Ok(found)
}

fn read(file: &Path, name: &str) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{} ({name}) cannot be read: {error}", file.display()))
}
