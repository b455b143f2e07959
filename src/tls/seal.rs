//! The chain of a seal: the organisation's signature certificate on an assertion, judged outside a handshake.
//!
//! As in the handshake, paths go through the operator's own authorities alone.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::revocation::{ChainLink, Revocation, RevocationVerdict};

/// id-kp-emailProtection, 1.3.6.1.5.5.7.3.4: the purpose of a SIGN certificate.
const EMAIL_PROTECTION: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 4];
/// The largest certificate seen is 2.3 KiB.
const MAXIMUM_CERTIFICATE: usize = 16 << 10;

/// Checks path, purpose, dates and revocation.
///
/// # Errors
/// Why it does not count.
pub fn verify(leaf: &[u8], revocation: &Revocation, now: Timestamp) -> Result<()> {
    ensure!(leaf.len() <= MAXIMUM_CERTIFICATE, "the certificate is too large");
    let authorities = revocation.authorities();
    let mut anchors = Vec::new();
    for anchor in authorities.iter().filter(|authority| authority.level() == 0) {
        anchors.push(webpki::anchor_from_trusted_cert(&anchor.der)?);
    }
    let issuing: Vec<CertificateDer<'_>> = authorities
        .iter()
        .filter(|authority| authority.level() > 0)
        .map(|authority| authority.der.clone())
        .collect();
    let der = CertificateDer::from(leaf);
    let seconds = u64::try_from(now.as_second()).context("an instant before the epoch")?;
    EndEntityCert::try_from(&der)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &issuing,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            // Required on the leaf by `certificate::kind`; authorities have no extended key usage.
            KeyUsage::required_if_present(EMAIL_PROTECTION),
            None,
            None,
        )
        .context("its chain does not lead to an anchor")?;
    let (_, certificate) = X509Certificate::from_der(leaf).ok().context("it cannot be parsed")?;
    let link = ChainLink::of(&certificate);
    // Its responder is asked about it, as about the certificates of connections. Only now: one of ours has issued it.
    revocation.note(&link, &Arc::from(leaf), now);
    match revocation.verdict(&link, now) {
        RevocationVerdict::Good => Ok(()),
        RevocationVerdict::Revoked => Err(anyhow::anyhow!("it is revoked")),
        RevocationVerdict::Expired => Err(anyhow::anyhow!("it is out of its dates")),
        RevocationVerdict::Unknown => Err(anyhow::anyhow!("no revocation list in force covers it")),
    }
}
