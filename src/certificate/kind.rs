//! What kind of certificate it is, from its extensions, key usage and issuer; never from its name.
//!
//! The trap: an SSL server certificate carries `clientAuth` too, so the extended key usage alone does not make an
//! organisation's client certificate (EX_GEN-1450).

use thiserror::Error;
use x509_parser::prelude::{ExtendedKeyUsage, KeyUsage, X509Certificate};

use super::subject::Subject;

/// The card type printed in 1.2.250.1.71.1.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardType {
    /// Professional.
    Cps,
    /// Professional in training.
    Cpf,
    /// Staff of an establishment or practice.
    Cpe,
    /// Authorised staff (support, administration).
    Cpa,
}

/// The kinds with which a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    /// Authentication certificate of a card.
    Card(CardType),
    /// Organisation, AUTH_CLI.
    OrganisationClient,
    /// Organisation, SIGN: it seals assertions, and connects nobody.
    OrganisationSeal,
}

impl std::fmt::Display for CertificateKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            CertificateKind::Card(CardType::Cps) => "CPS",
            CertificateKind::Card(CardType::Cpf) => "CPF",
            CertificateKind::Card(CardType::Cpe) => "CPE",
            CertificateKind::Card(CardType::Cpa) => "CPA",
            CertificateKind::OrganisationClient => "AUTH_CLI",
            CertificateKind::OrganisationSeal => "SIGN",
        })
    }
}

/// Why a certificate is none with which a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unusable {
    /// It cannot be parsed.
    #[error("the certificate cannot be parsed")]
    Unreadable,
    /// A name attribute is empty, holds control characters or is not text.
    #[error("an attribute of the subject is not readable text")]
    UnreadableName,
    /// The subject has no common name.
    #[error("the subject has no common name")]
    NoCommonName,
    /// A name attribute stands twice.
    #[error("an attribute of the subject stands twice")]
    RepeatedAttribute,
    /// A private extension stands twice.
    #[error("a private extension stands twice")]
    RepeatedExtension,
    /// A private extension does not hold what it should.
    #[error("a private extension is malformed")]
    MalformedExtension,
    /// Key usage or extended key usage is missing.
    #[error("key usage or extended key usage is missing")]
    NoUsage,
    /// A signature or seal certificate.
    #[error("a signature or seal certificate; connect with the authentication certificate (AUTH_CLI)")]
    Signature,
    /// An assertion was signed with something else than a seal.
    #[error("not a valid signature certificate: an assertion is signed with the organisation's seal (SIGN)")]
    NotASeal,
    /// An SSL server certificate.
    #[error("an SSL server certificate; connect with the organisation's client certificate (AUTH_CLI)")]
    Server,
    /// Card extensions under an authority for organisations, or the reverse.
    #[error("the card type does not belong under this issuing authority")]
    WrongIssuer,
    /// A professional's card without a profession, or an organisation without its structure.
    #[error("the certificate lacks the profession or the structure that its kind must carry")]
    Incomplete,
}

/// The branch of IGC-Santé that issued a certificate, read off the authority's own common name. The chain to that
/// authority has been verified, so the name is the authority's and not the holder's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Branch {
    /// Cards of professionals.
    PersonsFort,
    /// Cards of staff.
    PersonsStandard,
    Organisations,
}

fn branch(issuer: &str) -> Option<Branch> {
    let mut words = issuer.rsplit(' ');
    match (words.next(), words.next()) {
        (Some("PERSONNES"), Some("FORT")) => Some(Branch::PersonsFort),
        (Some("PERSONNES"), Some("STANDARD")) => Some(Branch::PersonsStandard),
        (Some("ORGANISATIONS"), Some("ELEMENTAIRE" | "STANDARD" | "FORT")) => Some(Branch::Organisations),
        _ => None,
    }
}

pub(super) fn decide(
    certificate: &X509Certificate<'_>,
    issuer: &str,
    card_type: Option<CardType>,
    subject: &Subject,
) -> Result<CertificateKind, Unusable> {
    let (usage, extended) = usages(certificate)?;
    let seals = usage.non_repudiation() || extended.email_protection;
    if !usage.digital_signature() || seals || !extended.client_auth {
        return Err(Unusable::Signature);
    }
    if extended.server_auth || usage.key_encipherment() {
        return Err(Unusable::Server);
    }
    match (card_type, branch(issuer)) {
        (Some(card), Some(Branch::PersonsFort)) => Ok(CertificateKind::Card(card)),
        (Some(card @ (CardType::Cpe | CardType::Cpa)), Some(Branch::PersonsStandard)) => {
            Ok(CertificateKind::Card(card))
        }
        (None, Some(Branch::Organisations)) if subject.structure.is_some() => {
            Ok(CertificateKind::OrganisationClient)
        }
        (None, Some(Branch::Organisations)) => Err(Unusable::Incomplete),
        _ => Err(Unusable::WrongIssuer),
    }
}

/// As [`decide`], for a seal: signature with non-repudiation, for e-mail protection, and no client.
pub(super) fn decide_seal(
    certificate: &X509Certificate<'_>,
    issuer: &str,
    card_type: Option<CardType>,
    subject: &Subject,
) -> Result<CertificateKind, Unusable> {
    let (usage, extended) = usages(certificate)?;
    let seals = usage.digital_signature() && usage.non_repudiation() && extended.email_protection;
    if !seals || extended.client_auth || extended.server_auth || extended.any {
        return Err(Unusable::NotASeal);
    }
    match (card_type, branch(issuer)) {
        (None, Some(Branch::Organisations)) if subject.structure.is_some() => {
            Ok(CertificateKind::OrganisationSeal)
        }
        (None, Some(Branch::Organisations)) => Err(Unusable::Incomplete),
        _ => Err(Unusable::WrongIssuer),
    }
}

fn usages<'a>(
    certificate: &'a X509Certificate<'_>,
) -> Result<(&'a KeyUsage, &'a ExtendedKeyUsage<'a>), Unusable> {
    let usage = certificate.key_usage().map_err(|_| Unusable::RepeatedExtension)?;
    let extended = certificate.extended_key_usage().map_err(|_| Unusable::RepeatedExtension)?;
    match (usage, extended) {
        (Some(usage), Some(extended)) => Ok((usage.value, extended.value)),
        _ => Err(Unusable::NoUsage),
    }
}
