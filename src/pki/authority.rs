//! Roots and issuing authorities, and their revocation lists.

use anyhow::{Context, Result};
use jiff::Timestamp;
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Builder, X509CrlBuilder, X509Name, X509RevokedBuilder};

use super::der;

/// The three ranges of IGC-Santé, each with its own root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// Software certificates of organisations.
    Elementaire,
    /// CPE, CPA.
    Standard,
    /// CPS, CPF.
    Fort,
}

/// What an issuing authority issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Branch {
    /// Cards.
    Personnes,
    /// Organisations.
    Organisations,
}

impl Range {
    /// As in the authorities' names.
    pub const fn name(self) -> &'static str {
        match self {
            Range::Elementaire => "ELEMENTAIRE",
            Range::Standard => "STANDARD",
            Range::Fort => "FORT",
        }
    }

    /// As in the files' names.
    const fn short(self) -> &'static str {
        match self {
            Range::Elementaire => "EL",
            Range::Standard => "ST",
            Range::Fort => "FO",
        }
    }
}

/// An authority: certificate and key.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Its certificate.
    pub certificate: X509,
    /// Its key.
    pub key: PKey<Private>,
    /// Name of its files and of its list, `ACR-FO-TEST`, `ACI-FO-PP-TEST`.
    pub file: String,
}

const AUTHORITY_BITS: u32 = 4096;
/// Leaves have two years; authorities outlive them.
const AUTHORITY_DAYS: i64 = 20 * 365;

impl Authority {
    /// A self-signed root.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn root(range: Range, now: Timestamp) -> Result<Self> {
        let file = format!("ACR-{}-TEST", range.short());
        Self::make(format!("TEST AC RACINE IGC-SANTE {}", range.name()), file, None, now)
    }

    /// An issuing authority below a root.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn issuing(range: Range, branch: Branch, root: &Authority, now: Timestamp) -> Result<Self> {
        let (label, short) = match branch {
            Branch::Personnes => ("PERSONNES", "PP"),
            Branch::Organisations => ("ORGANISATIONS", "ORG"),
        };
        let file = format!("ACI-{}-{short}-TEST", range.short());
        Self::make(format!("TEST AC IGC-SANTE {} {label}", range.name()), file, Some(root), now)
    }

    /// An authority of a name that no trust knows, shaped like a real one: for the certificate of an unknown root.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn unknown(now: Timestamp) -> Result<Self> {
        Self::make("TEST AC INCONNUE FORT PERSONNES".into(), "ACI-INCONNUE-TEST".into(), None, now)
    }

    fn make(common_name: String, file: String, issuer: Option<&Authority>, now: Timestamp) -> Result<Self> {
        let key = PKey::from_rsa(Rsa::generate(AUTHORITY_BITS)?)?;
        let name = authority_name(common_name)?;
        let mut builder = X509Builder::new()?;
        builder.set_version(2)?;
        builder.set_serial_number(&*random_serial()?)?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(issuer.map_or(&name, |issuer| issuer.certificate.subject_name()))?;
        builder.set_pubkey(&key)?;
        builder.set_not_before(at(now, -1)?.as_ref())?;
        builder.set_not_after(at(now, AUTHORITY_DAYS)?.as_ref())?;
        let mut constraints = BasicConstraints::new();
        constraints.critical().ca();
        if issuer.is_some() {
            constraints.pathlen(0);
        }
        builder.append_extension(constraints.build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
        let context = builder.x509v3_context(issuer.map(|issuer| &*issuer.certificate), None);
        let subject_key = SubjectKeyIdentifier::new().build(&context)?;
        builder.append_extension(subject_key)?;
        if let Some(issuer) = issuer {
            let context = builder.x509v3_context(Some(&issuer.certificate), None);
            let authority_key = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
            builder.append_extension(authority_key)?;
        }
        builder.sign(issuer.map_or(&key, |issuer| &issuer.key), MessageDigest::sha256())?;
        Ok(Self { certificate: builder.build(), key, file })
    }

    /// A complete revocation list of these serial numbers (hexadecimal), valid for so many days.
    ///
    /// # Errors
    /// OpenSSL's, or a serial number that is not hexadecimal.
    pub fn revocation_list(
        &self,
        serials: &[String],
        number: u64,
        days: i64,
        now: Timestamp,
    ) -> Result<Vec<u8>> {
        let mut builder = X509CrlBuilder::new()?;
        builder.set_issuer_name(self.certificate.subject_name())?;
        builder.set_last_update(at(now, 0)?.as_ref())?;
        builder.set_next_update(at(now, days)?.as_ref())?;
        for serial in serials {
            let mut revoked = X509RevokedBuilder::new()?;
            revoked.set_revocation_date(at(now, 0)?.as_ref())?;
            let serial = BigNum::from_hex_str(serial).context("a serial number is hexadecimal")?;
            revoked.set_serial_number(&*serial.to_asn1_integer()?)?;
            builder.add_revoked(revoked.build())?;
        }
        let holder = X509Builder::new()?;
        let context = holder.x509v3_context(Some(&self.certificate), None);
        builder.append_extension(AuthorityKeyIdentifier::new().keyid(true).build(&context)?)?;
        let number = openssl::x509::CrlNumber::new(BigNum::from_dec_str(&number.to_string())?)?;
        builder.append_extension(number.build()?)?;
        builder.sort()?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok(builder.build()?.to_pem()?)
    }
}

/// `C=FR, O=ASIP-SANTE, OU=0002 187512751, OU=IGC-SANTE TEST, CN=…`.
fn authority_name(common_name: String) -> Result<X509Name> {
    let one = |oid, text: &str| vec![(oid, text.to_owned())];
    let der = der::name(&[
        one("2.5.4.6", "FR"),
        one("2.5.4.10", "ASIP-SANTE"),
        one("2.5.4.11", "0002 187512751"),
        one("2.5.4.11", "IGC-SANTE TEST"),
        vec![("2.5.4.3", common_name)],
    ]);
    Ok(X509Name::from_der(&der)?)
}

/// A random positive serial number of 127 bits.
pub(super) fn random_serial() -> Result<Asn1Integer> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    Ok(serial.to_asn1_integer()?)
}

/// An instant so many days from now.
pub(super) fn at(now: Timestamp, days: i64) -> Result<Asn1Time> {
    Ok(Asn1Time::from_unix(now.as_second() + days * 86_400)?)
}
