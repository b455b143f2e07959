//! A verified certificate → the facts printed on it, and what kind it is.
//!
//! Everything is read by object identifier, never by position or from a printed name: the order inside the
//! multi-valued name of a card varies. Source: `identity-and-rights.md` 1.2 and 1.3.

mod extensions;
mod kind;
mod subject;

pub use kind::{CardType, CertificateKind, Unusable};
pub use subject::{Subject, is_invisible};

use x509_parser::prelude::{FromDer, X509Certificate};

/// What one certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// What it may be used for here.
    pub kind: CertificateKind,
    /// The holder's names and identifiers.
    pub subject: Subject,
    /// Profession, TRE_G15 (`10` is a doctor), from 1.2.250.1.71.1.2.7.
    pub profession: Option<String>,
    /// Future profession of a professional in training, TRE_G16, from 1.2.250.1.71.1.2.8.
    pub future_profession: Option<String>,
    /// Specialities, TRE_R01 (`SM26`), from 1.2.250.1.71.4.2.5.
    pub specialities: Vec<String>,
}

/// Issuer and serial number of any certificate, for traces: those of no use here are named too.
pub fn label(der: &[u8]) -> String {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return String::new() };
    let issuer =
        subject::single(certificate.issuer(), &subject::COMMON_NAME).ok().flatten().unwrap_or_default();
    // Of a certificate that nobody has judged yet: no more than one of ours would have.
    let issuer: String = issuer.chars().take(80).collect();
    let serial: String = certificate.raw_serial().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    format!("{issuer} / {serial}")
}

impl CertificateFacts {
    /// Reads a certificate that TLS has verified.
    ///
    /// # Errors
    /// Why it is not one with which a client connects.
    pub fn read(der: &[u8]) -> Result<Self, Unusable> {
        Self::read_for(der, kind::decide)
    }

    /// Reads a certificate with which an assertion was signed, and whose chain has been verified.
    ///
    /// # Errors
    /// Why it is no organisation's seal.
    pub fn read_seal(der: &[u8]) -> Result<Self, Unusable> {
        Self::read_for(der, kind::decide_seal)
    }

    fn read_for(
        der: &[u8],
        decide: fn(&X509Certificate<'_>, &str, Option<CardType>, &Subject) -> Result<CertificateKind, Unusable>,
    ) -> Result<Self, Unusable> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Unusable::Unreadable)?;
        if !rest.is_empty() {
            return Err(Unusable::Unreadable);
        }
        let subject = Subject::read(certificate.subject())?;
        let issuer =
            subject::single(certificate.issuer(), &subject::COMMON_NAME)?.ok_or(Unusable::Unreadable)?;
        let private = extensions::read(&certificate)?;
        let kind = decide(&certificate, &issuer, private.card_type, &subject)?;
        Ok(Self {
            kind,
            subject,
            profession: private.profession.map(|code| code.to_string()),
            future_profession: private.future_profession.map(|code| code.to_string()),
            specialities: private.specialities,
        })
    }
}
