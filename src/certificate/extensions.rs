//! The private extensions of the GIP-CPS, under 1.2.250.1.71.

use x509_parser::der_parser::asn1_rs::{FromDer, Integer, Oid, Sequence, Utf8String, oid};
use x509_parser::prelude::X509Certificate;

use super::kind::{CardType, Unusable};

const CARD_TYPE: Oid<'static> = oid!(1.2.250.1.71.1.2.2);
const PROFESSION: Oid<'static> = oid!(1.2.250.1.71.1.2.7);
const FUTURE_PROFESSION: Oid<'static> = oid!(1.2.250.1.71.1.2.8);
const SPECIALITIES: Oid<'static> = oid!(1.2.250.1.71.4.2.5);

#[derive(Debug, Default)]
pub(super) struct PrivateExtensions {
    pub card_type: Option<CardType>,
    pub profession: Option<u16>,
    pub future_profession: Option<u16>,
    pub specialities: Vec<String>,
}

pub(super) fn read(certificate: &X509Certificate<'_>) -> Result<PrivateExtensions, Unusable> {
    let card_type = match integer(certificate, &CARD_TYPE)? {
        None => None,
        Some(0) => Some(CardType::Cps),
        Some(1) => Some(CardType::Cpf),
        Some(2) => Some(CardType::Cpe),
        Some(3) => Some(CardType::Cpa),
        Some(_) => return Err(Unusable::MalformedExtension),
    };
    Ok(PrivateExtensions {
        card_type,
        profession: integer(certificate, &PROFESSION)?,
        future_profession: integer(certificate, &FUTURE_PROFESSION)?,
        specialities: specialities(certificate)?,
    })
}

/// The DER of an extension that may stand once.
fn value<'a>(
    certificate: &'a X509Certificate<'_>,
    extension: &Oid<'static>,
) -> Result<Option<&'a [u8]>, Unusable> {
    let found = certificate.get_extension_unique(extension).map_err(|_| Unusable::RepeatedExtension)?;
    Ok(found.map(|extension| extension.value))
}

fn integer(certificate: &X509Certificate<'_>, extension: &Oid<'static>) -> Result<Option<u16>, Unusable> {
    let Some(der) = value(certificate, extension)? else { return Ok(None) };
    let (rest, integer) = Integer::from_der(der).map_err(|_| Unusable::MalformedExtension)?;
    if !rest.is_empty() {
        return Err(Unusable::MalformedExtension);
    }
    integer.as_u16().map(Some).map_err(|_| Unusable::MalformedExtension)
}

fn specialities(certificate: &X509Certificate<'_>) -> Result<Vec<String>, Unusable> {
    let Some(der) = value(certificate, &SPECIALITIES)? else { return Ok(Vec::new()) };
    let (rest, sequence) = Sequence::from_der(der).map_err(|_| Unusable::MalformedExtension)?;
    let mut content = sequence.content.as_ref();
    let mut codes = Vec::new();
    while !content.is_empty() {
        let (next, code) = Utf8String::from_der(content).map_err(|_| Unusable::MalformedExtension)?;
        codes.push(code.string());
        content = next;
    }
    let well_formed =
        codes.iter().all(|code: &String| !code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric()));
    if !rest.is_empty() || !well_formed {
        return Err(Unusable::MalformedExtension);
    }
    Ok(codes)
}
