//! Connections that the server itself makes, to one receiver whose authority the operator names.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::listener::crypto_provider;

/// TLS towards a server whose certificate leads to one of these anchors (PEM), and to no others: not to those of the system.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn trusting(anchors: &Path) -> Result<ClientConfig> {
    Ok(begun(anchors)?.with_no_client_auth())
}

/// The same, with the server's own certificate as a client (chain, PEM) and its key.
///
/// # Errors
/// A file cannot be read, or does not hold what it should.
pub fn presenting(anchors: &Path, certificate: &Path, key: &Path) -> Result<ClientConfig> {
    let at = |path: &Path| path.display().to_string();
    let chain = CertificateDer::pem_file_iter(certificate).with_context(|| at(certificate))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().with_context(|| at(certificate))?;
    let key_read = PrivateKeyDer::from_pem_file(key).with_context(|| at(key))?;
    begun(anchors)?.with_client_auth_cert(chain, key_read).with_context(|| at(key))
}

fn begun(anchors: &Path) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let at = || anchors.display().to_string();
    let mut roots = RootCertStore::empty();
    for anchor in CertificateDer::pem_file_iter(anchors).with_context(at)? {
        roots.add(anchor.with_context(at)?).with_context(at)?;
    }
    ensure!(!roots.is_empty(), "{}: no certificate", at());
    Ok(ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots))
}
