//! Anchors and issuing authorities, judged when they are loaded.
//!
//! A client's certificate is judged against these and nothing else: what it presents beside its own certificate is not
//! used to build a path (`docs/decisions/0013`). So all that webpki leaves unchecked on an authority (key usage, the
//! content of an anchor, weak keys) is checked once, here, and costs a handshake nothing.

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate, X509Version};

use super::revocation::{ChainLink, IssuerKey};

/// One authority that may stand above a leaf.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Its distinguished name, DER.
    pub name: Vec<u8>,
    /// Its common name.
    pub label: String,
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// Its subject key identifier.
    pub key_identifier: Option<Vec<u8>>,
    /// What names it to its issuer.
    pub link: ChainLink,
    level: usize,
    /// Whether its key usage lets it sign revocation lists.
    pub may_sign_lists: bool,
    /// How many issuing authorities may stand below it.
    room: Option<u32>,
}

impl Authority {
    /// Reads a self-signed root.
    ///
    /// # Errors
    /// What it lacks for an anchor.
    pub fn anchor(der: CertificateDer<'static>, now: Timestamp) -> Result<Self> {
        let (_, certificate) = parsed(&der)?;
        ensure!(
            certificate.subject().as_raw() == certificate.issuer().as_raw(),
            "an anchor is its own issuer: issuing authorities stand in the other file"
        );
        ensure!(certificate.extended_key_usage()?.is_none(), "an anchor has no extended key usage");
        let own = openssl::x509::X509::from_der(&der)?;
        ensure!(own.verify(&*own.public_key()?)?, "its own signature is not right");
        let mut anchor = Self::read(&der, &certificate, 0, now)?;
        // It may name no issuer's key; its own is.
        anchor.link.issuer.1 = anchor.key_identifier.clone().unwrap_or_default();
        Ok(anchor)
    }

    /// Reads an issuing authority below one of `above`.
    ///
    /// # Errors
    /// What it lacks, or that none of them issued it.
    pub fn issuing(der: CertificateDer<'static>, above: &[Authority], now: Timestamp) -> Result<Self> {
        let (_, certificate) = parsed(&der)?;
        let own = openssl::x509::X509::from_der(&der)?;
        // As the check of each request finds it: by name and key.
        let link = ChainLink::of(&certificate);
        let mut issuers = above.iter().filter(|issuer| issuer.may_have_issued(&link) && issuer.room != Some(0));
        let issuer = issuers
            .find(|issuer| {
                let key = openssl::x509::X509::from_der(&issuer.der).and_then(|issuer| issuer.public_key());
                key.is_ok_and(|key| own.verify(&key).unwrap_or(false))
            })
            .context("none of the authorities above it has signed it, or may have one below it")?;
        let mut authority = Self::read(&der, &certificate, issuer.level + 1, now)?;
        authority.room = match (issuer.room, authority.room) {
            (Some(above), Some(own)) => Some(own.min(above - 1)),
            (Some(above), None) => Some(above - 1),
            (None, own) => own,
        };
        Ok(authority)
    }

    /// An anchor of that name and key, with no certificate behind it.
    #[cfg(all(test, feature = "schedules"))]
    pub fn named(name: &[u8], key: Vec<u8>, issuer: IssuerKey) -> Self {
        Self {
            name: name.to_vec(),
            label: String::new(),
            der: Vec::new().into(),
            key_identifier: Some(key),
            link: ChainLink { issuer, serial: vec![0], not_before: 100, not_after: 1000 },
            level: 0,
            may_sign_lists: true,
            room: None,
        }
    }

    /// How many authorities stand above it.
    pub fn level(&self) -> usize {
        self.level
    }

    /// Self-signed, and trusted for itself.
    pub fn is_anchor(&self) -> bool {
        self.level == 0
    }

    /// Its name and key.
    pub fn issuer_key(&self) -> IssuerKey {
        (self.name.clone(), self.key_identifier.clone().unwrap_or_default())
    }

    fn read(
        der: &CertificateDer<'static>,
        certificate: &X509Certificate<'_>,
        level: usize,
        now: Timestamp,
    ) -> Result<Self> {
        ensure!(certificate.version() == X509Version::V3, "not an X.509 certificate of version 3");
        ensure!(!certificate.subject().as_raw().is_empty(), "no name");
        ensure!(certificate.subject().iter().next().is_some(), "no name");
        let link = ChainLink::of(certificate);
        ensure!((link.not_before..=link.not_after).contains(&now.as_second()), "out of its dates");
        let constraints = certificate.basic_constraints()?.context("no basic constraints")?;
        ensure!(
            constraints.critical && constraints.value.ca,
            "its basic constraints do not make it an authority"
        );
        let usage = certificate.key_usage()?.context("no key usage")?;
        ensure!(usage.value.key_cert_sign(), "its key usage does not let it sign certificates");
        check_extensions(certificate)?;
        check_key(der)?;
        let label = certificate
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .unwrap_or("(no common name)")
            .to_owned();
        Ok(Self {
            name: certificate.subject().as_raw().to_vec(),
            label,
            der: der.clone(),
            key_identifier: key_identifier(certificate),
            link,
            level,
            may_sign_lists: usage.value.crl_sign(),
            room: constraints.value.path_len_constraint,
        })
    }

    /// Whether this one may have signed a leaf that names this issuer and this issuer's key.
    pub fn may_have_issued(&self, leaf: &ChainLink) -> bool {
        let (name, key) = &leaf.issuer;
        self.name == *name && self.key_identifier.as_ref() == Some(key)
    }
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Result<(&'a [u8], X509Certificate<'a>)> {
    let (rest, certificate) = X509Certificate::from_der(der).ok().context("an authority cannot be parsed")?;
    ensure!(rest.is_empty(), "bytes after the end of an authority's certificate");
    Ok((rest, certificate))
}

/// Every extension once; none that is critical and unknown; those of the keys as RFC 5280 wants them.
fn check_extensions(certificate: &X509Certificate<'_>) -> Result<()> {
    ensure!(certificate.extensions_map().is_ok(), "an extension stands twice");
    for extension in certificate.extensions() {
        let parsed = extension.parsed_extension();
        if let ParsedExtension::ParseError { .. } = parsed {
            bail!("a malformed extension {}", extension.oid);
        }
        match parsed {
            ParsedExtension::SubjectKeyIdentifier(_) | ParsedExtension::AuthorityKeyIdentifier(_) => {
                ensure!(!extension.critical, "a key identifier that is critical");
            }
            ParsedExtension::PolicyConstraints(_) => {
                ensure!(extension.critical, "policy constraints that are not critical");
            }
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::NameConstraints(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::ExtendedKeyUsage(_) => {}
            _ => ensure!(!extension.critical, "a critical extension {} that is not understood", extension.oid),
        }
    }
    let own = key_identifier(certificate);
    ensure!(own.is_some(), "no subject key identifier");
    if certificate.subject().as_raw() == certificate.issuer().as_raw() {
        let named = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(named) => Some(named),
            _ => None,
        });
        if let Some(named) = named {
            let plain = named.authority_cert_issuer.is_none() && named.authority_cert_serial.is_none();
            ensure!(plain && authority_key(certificate) == own, "the key identifiers of an anchor differ");
        }
    } else {
        ensure!(authority_key(certificate).is_some(), "no authority key identifier");
    }
    Ok(())
}

/// RSA of at least 2048 bits, or EC on P-256, P-384 or P-521.
fn check_key(der: &CertificateDer<'_>) -> Result<()> {
    use openssl::nid::Nid;
    let key = openssl::x509::X509::from_der(der)?.public_key()?;
    if let Ok(rsa) = key.rsa() {
        let bits = rsa.n().num_bits();
        ensure!(bits >= 2048 && bits % 8 == 0, "an RSA key of {bits} bits");
        return Ok(());
    }
    let curve = key.ec_key().ok().and_then(|key| key.group().curve_name());
    ensure!(
        matches!(curve, Some(Nid::X9_62_PRIME256V1 | Nid::SECP384R1 | Nid::SECP521R1)),
        "a key that is neither RSA nor on P-256, P-384 or P-521"
    );
    Ok(())
}

fn key_identifier(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
        _ => None,
    })
}

/// The key identifier by which a certificate names its issuer.
pub(super) fn authority_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => {
            identifier.key_identifier.as_ref().map(|identifier| identifier.0.to_vec())
        }
        _ => None,
    })
}
