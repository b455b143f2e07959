//! Who a test certificate is issued to, and the certificate.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use openssl::asn1::{Asn1Object, Asn1OctetString};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name};

use super::authority::{Authority, Branch, Range, at, random_serial};
use super::der::{self, Attribute};

/// What a test certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum HolderKind {
    /// Professional's card.
    Cps,
    /// Card of a professional in training.
    Cpf,
    /// Card of named staff.
    Cpe,
    /// Card of unnamed staff, « carte de service ».
    CpeService,
    /// Card of authorised staff.
    Cpa,
    /// Organisation, client (AUTH_CLI).
    OrganisationClient,
    /// Organisation, seal (SIGN).
    OrganisationSeal,
    /// Organisation, server (SSL).
    OrganisationServer,
}

/// When a test certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday, for three years.
    Now,
    /// It ended yesterday.
    Over,
}

/// The holder of a test certificate.
#[derive(Clone, Debug)]
pub struct Holder {
    /// What the certificate is.
    pub kind: HolderKind,
    /// Family name. None on an unnamed card.
    pub family: Option<String>,
    /// Given name. None on an unnamed card.
    pub given: Option<String>,
    /// PS_IdNat of a person.
    pub id: Option<String>,
    /// Struct_IdNat.
    pub structure: Option<String>,
    /// The structure's name; for an organisation its `O`.
    pub structure_name: Option<String>,
    /// TRE_G15.
    pub profession: Option<u8>,
    /// Label of the profession, the card's `title`.
    pub title: Option<String>,
    /// TRE_R01.
    pub specialities: Vec<String>,
    /// Common name of an organisation: free text, or a host name.
    pub common_name: Option<String>,
    /// Host names of a server certificate.
    pub hosts: Vec<String>,
    /// When it is valid.
    pub validity: Validity,
}

const CARD_TYPE: &str = "1.2.250.1.71.1.2.2";
const CARD_SERIAL: &str = "1.2.250.1.71.1.2.3";
const SUPPORT: &str = "1.2.250.1.71.1.2.5";
const PROFESSION: &str = "1.2.250.1.71.1.2.7";
const FUTURE_PROFESSION: &str = "1.2.250.1.71.1.2.8";
const SPECIALITIES: &str = "1.2.250.1.71.4.2.5";
/// The one policy of all TEST leaves.
const TEST_POLICY: &str = "1.2.250.1.213.1.7.2.1.1.1.1";

impl HolderKind {
    /// The authority that issues it.
    pub const fn issuer(self) -> (Range, Branch) {
        match self {
            HolderKind::Cps | HolderKind::Cpf => (Range::Fort, Branch::Personnes),
            HolderKind::Cpe | HolderKind::CpeService | HolderKind::Cpa => (Range::Standard, Branch::Personnes),
            HolderKind::OrganisationClient | HolderKind::OrganisationSeal | HolderKind::OrganisationServer => {
                (Range::Elementaire, Branch::Organisations)
            }
        }
    }

    /// 1.2.250.1.71.1.2.2.
    const fn card_type(self) -> Option<u8> {
        match self {
            HolderKind::Cps => Some(0),
            HolderKind::Cpf => Some(1),
            HolderKind::Cpe | HolderKind::CpeService => Some(2),
            HolderKind::Cpa => Some(3),
            _ => None,
        }
    }
}

impl Holder {
    /// A holder of whom nothing is known yet.
    pub fn new(kind: HolderKind) -> Self {
        Self {
            kind,
            family: None,
            given: None,
            id: None,
            structure: None,
            structure_name: None,
            profession: None,
            title: None,
            specialities: Vec::new(),
            common_name: None,
            hosts: Vec::new(),
            validity: Validity::Now,
        }
    }

    /// Makes key and certificate.
    ///
    /// # Errors
    /// OpenSSL's, or a holder that lacks what its kind must carry.
    pub fn issue(&self, issuer: &Authority, now: Timestamp) -> Result<(X509, PKey<Private>)> {
        // The server's own key: the holder has the choice, and an EC signature costs a twentieth of an RSA one.
        let key = if self.hosts.is_empty() {
            PKey::from_rsa(Rsa::generate(2048)?)?
        } else {
            PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?
        };
        let mut builder = X509Builder::new()?;
        builder.set_version(2)?;
        builder.set_serial_number(&*random_serial()?)?;
        builder.set_subject_name(&*X509Name::from_der(&self.name()?)?)?;
        builder.set_issuer_name(issuer.certificate.subject_name())?;
        builder.set_pubkey(&key)?;
        let (from, until) = match self.validity {
            Validity::Now => (-1, 3 * 365),
            Validity::Over => (-400, -1),
        };
        builder.set_not_before(&*at(now, from)?)?;
        builder.set_not_after(&*at(now, until)?)?;
        builder.append_extension(BasicConstraints::new().build()?)?;
        self.usages(&mut builder)?;
        let context = builder.x509v3_context(Some(&issuer.certificate), None);
        let keys = [
            SubjectKeyIdentifier::new().build(&context)?,
            AuthorityKeyIdentifier::new().keyid(true).build(&context)?,
        ];
        for extension in keys {
            builder.append_extension(extension)?;
        }
        for (oid, value) in self.private_extensions(issuer) {
            builder.append_extension(extension(oid, &value)?)?;
        }
        if !self.hosts.is_empty() {
            let mut names = SubjectAlternativeName::new();
            for host in &self.hosts {
                match host.parse::<std::net::IpAddr>() {
                    Ok(_) => names.ip(host),
                    Err(_) => names.dns(host),
                };
            }
            let names = names.build(&builder.x509v3_context(Some(&issuer.certificate), None))?;
            builder.append_extension(names)?;
        }
        builder.sign(&issuer.key, MessageDigest::sha256())?;
        Ok((builder.build(), key))
    }

    /// The subject, DER. The name of a card is one multi-valued relative name.
    fn name(&self) -> Result<Vec<u8>> {
        let one = |oid: &'static str, text: &str| vec![(oid, text.to_owned())];
        let required = |value: &Option<String>, what: &str| -> Result<String> {
            value.clone().with_context(|| format!("a {:?} certificate needs {what}", self.kind))
        };
        let mut relative: Vec<Vec<Attribute>> = vec![one("2.5.4.6", "FR")];
        let title = |default: &str| one("2.5.4.12", self.title.as_deref().unwrap_or(default));
        let person = || -> Result<Vec<Attribute>> {
            Ok(vec![
                ("2.5.4.42", required(&self.given, "a given name")?),
                ("2.5.4.4", required(&self.family, "a family name")?),
                ("2.5.4.3", required(&self.id, "an identifier (PS_IdNat)")?),
            ])
        };
        let organisation = || -> Result<[Vec<Attribute>; 3]> {
            Ok([
                one("2.5.4.8", "Paris (75)"),
                one("2.5.4.10", &required(&self.structure_name, "the structure's name")?),
                one("2.5.4.11", &required(&self.structure, "a structure (Struct_IdNat)")?),
            ])
        };
        match self.kind {
            HolderKind::Cps | HolderKind::Cpf => {
                if self.profession.is_none() {
                    bail!("a {:?} certificate needs a profession", self.kind);
                }
                relative.push(title("Médecin"));
                relative.push(person()?);
            }
            HolderKind::Cpe | HolderKind::Cpa => {
                relative.extend(organisation()?);
                relative.push(title("Personnel santé ou social"));
                relative.push(person()?);
            }
            HolderKind::CpeService => {
                relative.extend(organisation()?);
                relative.push(title("Carte de service santé ou social"));
                relative.push(one("2.5.4.65", "EMPLOYE000000018"));
                relative.push(one("2.5.4.3", &required(&self.id, "an identifier (PS_IdNat)")?));
            }
            _ => {
                relative.extend(organisation()?);
                relative.push(one("2.5.4.3", &required(&self.common_name, "a common name")?));
            }
        }
        Ok(der::name(&relative))
    }

    fn usages(&self, builder: &mut X509Builder) -> Result<()> {
        let mut usage = KeyUsage::new();
        let mut extended = ExtendedKeyUsage::new();
        usage.critical().digital_signature();
        match self.kind {
            HolderKind::OrganisationClient => {
                extended.client_auth();
            }
            HolderKind::OrganisationSeal => {
                usage.non_repudiation();
                extended.email_protection();
            }
            HolderKind::OrganisationServer => {
                usage.key_encipherment();
                extended.server_auth().client_auth();
            }
            _ => {
                extended.client_auth().other("1.3.6.1.4.1.311.20.2.2");
            }
        }
        builder.append_extension(usage.build()?)?;
        builder.append_extension(extended.build()?)?;
        Ok(())
    }

    fn private_extensions(&self, issuer: &Authority) -> Vec<(&'static str, Vec<u8>)> {
        let list = format!("http://igc-sante.esante.gouv.fr/CRL/{}.crl", issuer.file);
        let point = der::context(0, &der::context(0, &der::ia5_context(6, &list)));
        let mut extensions = vec![
            ("2.5.29.32", der::sequence(&[der::sequence(&[der::object_identifier(TEST_POLICY)])])),
            ("2.5.29.31", der::sequence(&[der::sequence(&[point])])),
        ];
        let Some(card_type) = self.kind.card_type() else {
            extensions.push((SUPPORT, der::octets(&[0x83])));
            return extensions;
        };
        extensions.push((SUPPORT, der::octets(&[0x80])));
        extensions.push((CARD_TYPE, der::integer(card_type)));
        extensions.push((CARD_SERIAL, der::printable("8025000001/2600000000")));
        if let Some(profession) = self.profession {
            let oid = if self.kind == HolderKind::Cpf { FUTURE_PROFESSION } else { PROFESSION };
            extensions.push((oid, der::integer(profession)));
        }
        if !self.specialities.is_empty() {
            let codes: Vec<Vec<u8>> = self.specialities.iter().map(|code| der::utf8(code)).collect();
            extensions.push((SPECIALITIES, der::sequence(&codes)));
        }
        extensions
    }
}

fn extension(oid: &str, value: &[u8]) -> Result<X509Extension> {
    let oid = Asn1Object::from_str(oid)?;
    let value = Asn1OctetString::new_from_bytes(value)?;
    Ok(X509Extension::new_from_der(&oid, false, &value)?)
}
