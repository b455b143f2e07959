//! The judge of client certificates in the handshake.
//!
//! It wraps the verifier of rustls, which does paths, dates, signatures, extended key usage and revocation, and adds
//! what that one leaves out (measured, `docs/decisions/0004`): a cap on what is presented, before any path is
//! built, and the leaf's key usage. The inner verifier can be swapped while the server runs.

use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::trust::Trust;

/// IGC-Santé has one issuing level: leaf, issuing authority, root. One more is tolerated.
const MAXIMUM_INTERMEDIATES: usize = 3;
/// The largest certificate seen is 2.3 KiB.
const MAXIMUM_CERTIFICATE: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub struct ReloadableVerifier {
    inner: ArcSwap<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
}

impl ReloadableVerifier {
    /// A verifier of the given trust.
    ///
    /// # Errors
    /// An anchor or a list that rustls does not take.
    pub fn new(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<Self> {
        let inner = build(trust, &provider)?;
        let hints = inner.root_hint_subjects().to_vec();
        Ok(Self { inner: ArcSwap::from_pointee(inner), provider, hints })
    }

    /// Puts another trust in force for the handshakes to come.
    ///
    /// # Errors
    /// An anchor or a list that rustls does not take: then the old trust stays in force.
    pub fn replace(&self, trust: &Trust) -> Result<()> {
        self.inner.store(Arc::new(build(trust, &self.provider)?));
        Ok(())
    }
}

fn build(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for anchor in &trust.anchors {
        roots.add(anchor.clone()).context("a trust anchor is not acceptable")?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(trust.lists.values().map(|held| held.der.clone()))
        .enforce_revocation_expiration()
        .build()
        .context("the anchors and revocation lists make no verifier")
}

impl ClientCertVerifier for ReloadableVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let oversized = |certificate: &CertificateDer<'_>| certificate.len() > MAXIMUM_CERTIFICATE;
        if intermediates.len() > MAXIMUM_INTERMEDIATES
            || oversized(end_entity)
            || intermediates.iter().any(oversized)
        {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let verified = self.inner.load().verify_client_cert(end_entity, intermediates, now)?;
        if !may_sign_a_handshake(end_entity) {
            return Err(CertificateError::InvalidPurpose.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.load().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.load().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.load().supported_verify_schemes()
    }
}

/// Key usage must be present and allow a digital signature. webpki does not look at it.
fn may_sign_a_handshake(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| {
        matches!(certificate.key_usage(), Ok(Some(usage)) if usage.value.digital_signature())
    })
}
