//! Connections that the server itself makes, to one receiver whose authority the operator names.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::listener::crypto_provider;

/// TLS towards a server whose certificate leads to one of these anchors (PEM), and to no others: not to those of the system.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn trusting(anchors: &Path) -> Result<ClientConfig> {
    let at = || anchors.display().to_string();
    let mut roots = RootCertStore::empty();
    for anchor in CertificateDer::pem_file_iter(anchors).with_context(at)? {
        roots.add(anchor.with_context(at)?).with_context(at)?;
    }
    ensure!(!roots.is_empty(), "{}: no certificate", at());
    Ok(ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
