//! The judge of client certificates in the handshake.
//!
//! It wraps the verifier of rustls, which does signatures, dates and extended key usage, and adds what that
//! one leaves out (measured, `docs/decisions/0004` and `0013`): a cap on what is presented, before anything is looked
//! at; revocation, from the registry that each request asks again; paths through the operator's own authorities alone, never through what the client brought; the leaf's key usage,
//! extensions and serial number. The inner verifier can be swapped while the server runs. What is refused is told to
//! whoever listens, so that it stands in the trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use tokio::sync::mpsc;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;

use super::authority::authority_key;
use super::revocation::{ChainLink, Revocation, RevocationVerdict};
use super::trust::Trust;

/// Certificates presented behind the leaf, at most: an issuing authority and a root, and one more.
const MAXIMUM_PRESENTED: usize = 3;
/// The largest certificate seen is 2.3 KiB.
const MAXIMUM_CERTIFICATE: usize = 16 << 10;

/// Why, when more is presented than is looked at.
const TOO_MUCH: &str = "TooMuchPresented";

/// A handshake that was refused for its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeRefusal {
    /// The certificate presented, DER; empty when it is too large to look at.
    pub leaf: Vec<u8>,
    /// Why.
    pub reason: String,
}

/// See the module.
#[derive(Debug)]
pub struct ReloadableVerifier {
    inner: ArcSwap<Inner>,
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
    revocation: Arc<Revocation>,
    refusals: Option<mpsc::Sender<HandshakeRefusal>>,
    refused: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Inner {
    verifier: Arc<dyn ClientCertVerifier>,
    /// What may stand between a leaf and an anchor.
    issuing: Vec<CertificateDer<'static>>,
}

impl ReloadableVerifier {
    /// A verifier of the given trust. What is revoked is asked of the registry, as each request does: rustls would verify the
    /// signature of a whole list in every handshake, and knows lists by name alone.
    ///
    /// # Errors
    /// An anchor that rustls does not take.
    pub fn new(trust: &Trust, revocation: Arc<Revocation>, provider: Arc<CryptoProvider>) -> Result<Self> {
        let inner = build(trust, &provider)?;
        let hints = inner.verifier.root_hint_subjects().to_vec();
        Ok(Self {
            inner: ArcSwap::from_pointee(inner),
            provider,
            hints,
            revocation,
            refusals: None,
            refused: Arc::default(),
        })
    }

    /// Tells of refusals from now on. When the listener does not keep up, refusals go untold, and are refused all the
    /// same: nobody fills our disk without a certificate.
    pub fn telling(self, refusals: mpsc::Sender<HandshakeRefusal>) -> Self {
        Self { refusals: Some(refusals), ..self }
    }

    /// Puts another trust in force for the handshakes to come.
    ///
    /// # Errors
    /// An anchor that rustls does not take: then the old trust stays in force.
    pub fn replace(&self, trust: &Trust) -> Result<()> {
        self.inner.store(Arc::new(build(trust, &self.provider)?));
        Ok(())
    }

    /// Handshakes refused so far.
    pub fn refused(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.refused)
    }

    fn tell(&self, end_entity: &CertificateDer<'_>, error: &Error) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(refusals) = &self.refusals {
            let leaf = if end_entity.len() > MAXIMUM_CERTIFICATE { Vec::new() } else { end_entity.to_vec() };
            // Full: see `telling`.
            let _ = refusals.try_send(HandshakeRefusal { leaf, reason: reason(error) });
        }
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        presented: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let oversized = |certificate: &CertificateDer<'_>| certificate.len() > MAXIMUM_CERTIFICATE;
        if presented.len() > MAXIMUM_PRESENTED || oversized(end_entity) || presented.iter().any(oversized) {
            return Err(Error::General(TOO_MUCH.into()));
        }
        let inner = self.inner.load();
        let verified = inner.verifier.verify_client_cert(end_entity, &inner.issuing, now)?;
        let link = leaf_profile(end_entity)?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let now = Timestamp::from_second(seconds).map_err(|_| Error::FailedToGetCurrentTime)?;
        match self.revocation.verdict(&link, now) {
            RevocationVerdict::Good => Ok(verified),
            RevocationVerdict::Revoked => {
                // Whether its responder lifts it again is asked, though it gets no connection.
                self.revocation.note(&link, &Arc::from(end_entity.as_ref()), now);
                Err(CertificateError::Revoked.into())
            }
            RevocationVerdict::Expired => Err(CertificateError::Expired.into()),
            RevocationVerdict::Unknown => Err(CertificateError::UnknownRevocationStatus.into()),
        }
    }
}

fn build(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Inner> {
    let mut roots = RootCertStore::empty();
    for anchor in trust.authorities.iter().filter(|authority| authority.level() == 0) {
        roots.add(anchor.der.clone()).context("a trust anchor is not acceptable")?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .context("the anchors make no verifier")?;
    let issuing = trust.authorities.iter().filter(|authority| authority.level() > 0);
    Ok(Inner { verifier, issuing: issuing.map(|authority| authority.der.clone()).collect() })
}

impl ClientCertVerifier for ReloadableVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        presented: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, presented, now).inspect_err(|error| self.tell(end_entity, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = self.inner.load().verifier.verify_tls12_signature(message, certificate, signature);
        verified.inspect_err(|error| self.tell(certificate, error))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = self.inner.load().verifier.verify_tls13_signature(message, certificate, signature);
        verified.inspect_err(|error| self.tell(certificate, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.load().verifier.supported_verify_schemes()
    }
}

fn rsa_bits(modulus: &[u8]) -> usize {
    let significant = modulus.iter().position(|byte| *byte != 0).and_then(|first| modulus.get(first..));
    significant
        .map_or(0, |bytes| bytes.len() * 8 - bytes.first().map_or(0, |first| first.leading_zeros() as usize))
}

/// One word, the same for the same fault: no text of the certificate, no dates.
fn reason(error: &Error) -> String {
    let whole = format!("{error:?}");
    // InvalidCertificate(Expired…), InvalidCertificate(Other(OtherError(CaUsedAsEndEntity))).
    let wrappers = ["InvalidCertificate", "Other", "OtherError", "General"];
    let mut words = whole.split(['(', ')', '{', '}', ' ', ',', '"']).filter(|word| !word.is_empty());
    let word = words.find(|word| !wrappers.contains(word)).unwrap_or("InvalidCertificate");
    word.strip_suffix("Context").unwrap_or(word).to_owned()
}

/// What webpki leaves out on a leaf. Key usage and extended key usage must both be there and allow a client's handshake;
/// every extension stands once, and those that RFC 5280 wants harmless are.
fn leaf_profile(der: &CertificateDer<'_>) -> Result<ChainLink, Error> {
    let purpose = || Error::from(CertificateError::InvalidPurpose);
    let encoding = || Error::from(CertificateError::BadEncoding);
    let (rest, leaf) = X509Certificate::from_der(der).map_err(|_| encoding())?;
    let usage = leaf.key_usage().map_err(|_| encoding())?.ok_or_else(purpose)?.value;
    let extended = leaf.extended_key_usage().map_err(|_| encoding())?.ok_or_else(purpose)?.value;
    let signs_authorities = usage.key_cert_sign() || usage.crl_sign();
    if !usage.digital_signature() || signs_authorities || !extended.client_auth || extended.any {
        return Err(purpose());
    }
    if let Ok(PublicKey::RSA(key)) = leaf.public_key().parsed() {
        let bits = rsa_bits(key.modulus);
        if bits < 2048 || !bits.is_multiple_of(8) {
            return Err(encoding());
        }
    }
    let serial = leaf.raw_serial();
    let serial_is_right = (1..=20).contains(&serial.len())
        && serial.iter().any(|byte| *byte != 0)
        && serial.first().is_some_and(|first| first & 0x80 == 0);
    let nameless = leaf.issuer().iter().next().is_none() || leaf.subject().iter().next().is_none();
    let extensions = leaf.extensions().iter().all(|extension| match extension.parsed_extension() {
        ParsedExtension::ParseError { .. } => false,
        ParsedExtension::SubjectKeyIdentifier(_)
        | ParsedExtension::AuthorityKeyIdentifier(_)
        | ParsedExtension::AuthorityInfoAccess(_) => !extension.critical,
        ParsedExtension::NameConstraints(_) => false,
        _ => true,
    });
    let whole = rest.is_empty()
        && leaf.version() == X509Version::V3
        && leaf.extensions_map().is_ok()
        && serial_is_right
        // By it the per-request check finds the one authority that signed.
        && authority_key(&leaf).is_some()
        && !nameless
        && extensions;
    if whole { Ok(ChainLink::of(&leaf)) } else { Err(encoding()) }
}
