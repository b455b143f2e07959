//! The server's TLS configuration, and the chain that a peer presented.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use aws_lc_rs::digest;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::revocation::ChainLink;
use super::trust::read_certificates;
use super::verifier::ReloadableVerifier;
use crate::environment::Clock;

/// The cryptography of every connection: rustls' defaults on aws-lc (TLS 1.2 with ECDHE and AEAD, TLS 1.3).
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

/// TLS 1.2 and 1.3, client certificate required, no session resumption: a resumed session would bypass both
/// revocation and expiry.
///
/// # Errors
/// The server's own certificate or key cannot be read or do not fit.
pub fn server_config(
    certificate: &Path,
    key: &Path,
    verifier: Arc<ReloadableVerifier>,
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig> {
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read {}", key.display()))?;
    let mut config = ServerConfig::builder_with_details(crypto_provider(), Arc::new(ClockTime(clock)))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(read_certificates(certificate)?, key)
        .context("the server's certificate and key do not fit")?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Shows another certificate of the same name in ten handshakes of twenty, as a server does whose certificate is renewed: who pins the first
/// one is shut out. For hostile sandboxes.
///
/// # Errors
/// The other certificate or its key cannot be read or do not fit.
pub fn renew_now_and_then(config: &mut ServerConfig, certificate: &Path, key: &Path) -> Result<()> {
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read {}", key.display()))?;
    let renewed = CertifiedKey::from_der(read_certificates(certificate)?, key, config.crypto_provider())?;
    config.cert_resolver = Arc::new(Renewing {
        usual: Arc::clone(&config.cert_resolver),
        renewed: Arc::new(renewed),
        handshakes: AtomicU64::new(0),
    });
    Ok(())
}

#[derive(Debug)]
struct Renewing {
    usual: Arc<dyn ResolvesServerCert>,
    renewed: Arc<CertifiedKey>,
    handshakes: AtomicU64,
}

impl ResolvesServerCert for Renewing {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self.handshakes.fetch_add(1, Ordering::Relaxed) / 10 % 2 {
            0 => self.usual.resolve(hello),
            _ => Some(Arc::clone(&self.renewed)),
        }
    }
}

#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// The certificate of a peer whose handshake succeeded. Only a finished TLS session yields one.
#[derive(Debug)]
pub struct PeerCertificate {
    leaf: Arc<[u8]>,
    link: ChainLink,
    fingerprint: [u8; 32],
}

impl PeerCertificate {
    /// Reads it off a session; `None` without a client certificate, which the configuration excludes.
    pub fn of(session: &rustls::ServerConnection) -> Option<Self> {
        if session.is_handshaking() {
            return None;
        }
        let leaf: Arc<[u8]> = Arc::from(session.peer_certificates()?.first()?.as_ref());
        let link = ChainLink::of(&X509Certificate::from_der(&leaf).ok()?.1);
        let fingerprint = fingerprint(&leaf);
        Some(Self { leaf, link, fingerprint })
    }

    /// The certificate, DER.
    pub fn leaf(&self) -> &Arc<[u8]> {
        &self.leaf
    }

    /// What names it to its issuer.
    pub fn link(&self) -> &ChainLink {
        &self.link
    }

    /// SHA-256 of the certificate: `x5t#S256` of RFC 8705 before its encoding.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

/// SHA-256 of a certificate's DER.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    fingerprint
}
