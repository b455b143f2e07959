//! A certificate before it is signed, and who signs it.

use std::cell::Cell;
use std::path::Path;

use jiff::Timestamp;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::x509::X509;

use super::Case;
use super::der::{
    Attribute, NULL, PRINTABLE, TRUE, UTF8, distinguished_name, flags, integer, object_identifier, octets,
    sequence, tagged, time, utf8,
};

#[derive(Clone)]
pub struct Issuer {
    /// DER.
    pub name: Vec<u8>,
    pub key: PKey<Private>,
    pub key_id: Vec<u8>,
    /// DER.
    pub certificate: Vec<u8>,
    /// Name of its file and of its list.
    pub file: &'static str,
}

impl Issuer {
    fn read(certs: &Path, file: &'static str) -> Self {
        let read = |suffix: &str| std::fs::read(certs.join(format!("authorities/{file}.{suffix}"))).unwrap();
        let certificate = X509::from_pem(&read("pem")).unwrap();
        Self {
            name: certificate.subject_name().to_der().unwrap(),
            key: PKey::private_key_from_pem(&read("key")).unwrap(),
            key_id: certificate.subject_key_id().unwrap().as_slice().to_vec(),
            certificate: certificate.to_der().unwrap(),
            file,
        }
    }
}

pub struct Pki {
    pub root: Issuer,
    pub fort: Issuer,
    pub standard: Issuer,
    pub organisations: Issuer,
    /// The one key of all leaves: RSA keys take their time.
    pub key: PKey<Private>,
    /// The key of every authority that nobody trusts.
    pub stranger: PKey<Private>,
    /// Seconds since the epoch.
    now: i64,
    serial: Cell<u32>,
}

impl Pki {
    #[expect(clippy::disallowed_methods, reason = "the tests' own clock")]
    pub fn read(certs: &Path) -> Self {
        Self {
            root: Issuer::read(certs, "ACR-FO-TEST"),
            fort: Issuer::read(certs, "ACI-FO-PP-TEST"),
            standard: Issuer::read(certs, "ACI-ST-PP-TEST"),
            organisations: Issuer::read(certs, "ACI-EL-ORG-TEST"),
            key: PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
            stranger: PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
            now: Timestamp::now().as_second(),
            // Four bytes, the first of them not zero: DER as it stands.
            serial: Cell::new(0x0100_0000),
        }
    }

    pub fn case<'a>(&'a self, kind: Kind, name: &'static str, change: impl FnOnce(&mut Leaf<'a>)) -> Case {
        let mut leaf = Leaf::new(self, kind);
        change(&mut leaf);
        let mut chain = vec![leaf.der()];
        chain.append(&mut leaf.behind);
        Case { name, chain, key: leaf.key }
    }

    pub fn cps<'a>(&'a self, name: &'static str, change: impl FnOnce(&mut Leaf<'a>)) -> Case {
        self.case(Kind::Cps, name, change)
    }

    pub fn cpe<'a>(&'a self, name: &'static str, change: impl FnOnce(&mut Leaf<'a>)) -> Case {
        self.case(Kind::Cpe, name, change)
    }

    pub fn organisation<'a>(&'a self, name: &'static str, change: impl FnOnce(&mut Leaf<'a>)) -> Case {
        self.case(Kind::Organisation, name, change)
    }

    /// An authority that nobody trusts, shaped like a real one. It signs itself, whatever issuer it names.
    pub fn false_authority(&self, common_name: &str, issuer: Option<&[u8]>) -> Issuer {
        let subject = vec![
            vec![(COUNTRY, PRINTABLE, b"FR".to_vec())],
            vec![attribute(ORGANISATION, "ASIP-SANTE")],
            vec![attribute(UNIT, "0002 187512751")],
            vec![attribute(UNIT, "IGC-SANTE TEST")],
            vec![attribute(COMMON_NAME, common_name)],
        ];
        let name = distinguished_name(&subject);
        let public_key = self.stranger.public_key_to_der().unwrap();
        let itself = Issuer {
            name: issuer.map_or_else(|| name.clone(), <[u8]>::to_vec),
            key: self.stranger.clone(),
            key_id: key_id(&public_key),
            certificate: Vec::new(),
            file: "ACI-INCONNUE-TEST",
        };
        let certificate = Leaf {
            issuer: &itself,
            subject,
            public_key,
            constraints: sequence(&[TRUE.to_vec()]),
            usage: Some(CERTIFICATE_SIGN | LIST_SIGN),
            extended: None,
            extensions: Vec::new(),
            ..Leaf::new(self, Kind::Organisation)
        }
        .der();
        Issuer { name, certificate, ..itself }
    }
}

#[derive(Clone, Copy)]
pub enum Kind {
    Cps,
    Cpf,
    Cpe,
    CpeService,
    Cpa,
    Organisation,
}

/// With RSA and the padding of PKCS#1 1.5.
#[derive(Clone, Copy)]
pub enum Digest {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    fn algorithm(self) -> MessageDigest {
        match self {
            Digest::Md5 => MessageDigest::md5(),
            Digest::Sha1 => MessageDigest::sha1(),
            Digest::Sha256 => MessageDigest::sha256(),
            Digest::Sha512 => MessageDigest::sha512(),
        }
    }

    fn identifier(self) -> Vec<u8> {
        let with_rsa = match self {
            Digest::Md5 => "1.2.840.113549.1.1.4",
            Digest::Sha1 => "1.2.840.113549.1.1.5",
            Digest::Sha256 => "1.2.840.113549.1.1.11",
            Digest::Sha512 => "1.2.840.113549.1.1.13",
        };
        sequence(&[object_identifier(with_rsa), NULL.to_vec()])
    }
}

/// Type, whether critical, DER of the value.
type Extension = (&'static str, bool, Vec<u8>);

/// A certificate before it is signed. As made it is good, and like those of `src/pki/holder.rs`.
pub struct Leaf<'a> {
    pub issuer: &'a Issuer,
    /// What the client presents beside it.
    pub behind: Vec<Vec<u8>>,
    /// Each inner list is one relative name.
    pub subject: Vec<Vec<Attribute>>,
    /// Content of the INTEGER.
    pub serial: Vec<u8>,
    now: i64,
    /// First and last second, counted from now.
    pub validity: (i64, i64),
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    /// What the client signs with, PKCS#8 DER.
    pub key: Vec<u8>,
    digest: Digest,
    /// What the signed part says of the signature.
    pub inner_digest: Digest,
    pub constraints: Vec<u8>,
    pub usage: Option<u8>,
    pub extended: Option<Vec<&'static str>>,
    pub extensions: Vec<Extension>,
    /// 3 or 1.
    pub version: u8,
}

impl<'a> Leaf<'a> {
    pub fn new(pki: &'a Pki, kind: Kind) -> Self {
        let (issuer, card_type) = match kind {
            Kind::Cps => (&pki.fort, Some(0)),
            Kind::Cpf => (&pki.fort, Some(1)),
            Kind::Cpe | Kind::CpeService => (&pki.standard, Some(2)),
            Kind::Cpa => (&pki.standard, Some(3)),
            Kind::Organisation => (&pki.organisations, None),
        };
        let mut extended = vec![CLIENT];
        let mut extensions = vec![(SUPPORT, false, octets(&[if card_type.is_some() { 0x80 } else { 0x83 }]))];
        if let Some(card_type) = card_type {
            extended.push(SMART_CARD_LOGON);
            extensions.push((CARD_TYPE, false, integer(&[card_type])));
            extensions.push((CARD_SERIAL, false, tagged(PRINTABLE, b"8025000001/2600000000")));
        }
        match kind {
            Kind::Cps => {
                extensions.push((PROFESSION, false, integer(&[10])));
                extensions.push((SPECIALITIES, false, sequence(&[utf8("SM26")])));
            }
            Kind::Cpf => extensions.push((FUTURE_PROFESSION, false, integer(&[10]))),
            _ => {}
        }
        pki.serial.set(pki.serial.get() + 1);
        Self {
            issuer,
            behind: vec![issuer.certificate.clone()],
            subject: subject(kind),
            serial: pki.serial.get().to_be_bytes().to_vec(),
            now: pki.now,
            validity: (-DAY, 3 * YEAR),
            public_key: pki.key.public_key_to_der().unwrap(),
            key: pki.key.private_key_to_pkcs8().unwrap(),
            digest: Digest::Sha256,
            inner_digest: Digest::Sha256,
            constraints: sequence(&[]),
            usage: Some(DIGITAL_SIGNATURE),
            extended: Some(extended),
            extensions,
            version: 3,
        }
    }

    /// Puts another issuer above it, and presents that one.
    pub fn under(&mut self, issuer: &'a Issuer) {
        self.issuer = issuer;
        self.behind = vec![issuer.certificate.clone()];
    }

    /// Gives it a key of its own.
    pub fn holds(&mut self, key: &PKey<Private>) {
        self.public_key = key.public_key_to_der().unwrap();
        self.key = key.private_key_to_pkcs8().unwrap();
    }

    pub fn signed_with(&mut self, digest: Digest) {
        (self.digest, self.inner_digest) = (digest, digest);
    }

    pub fn used(&mut self, usage: u8, purposes: &[&'static str]) {
        (self.usage, self.extended) = (Some(usage), Some(purposes.to_vec()));
    }

    /// Gives an attribute that is there another value.
    pub fn bytes(&mut self, of: &'static str, tag: u8, value: &[u8]) {
        let attribute = self.subject.iter_mut().flatten().find(|attribute| attribute.0 == of).unwrap();
        *attribute = (of, tag, value.to_vec());
    }

    pub fn text(&mut self, of: &'static str, text: &str) {
        self.bytes(of, UTF8, text.as_bytes());
    }

    pub fn person(&mut self, given: &str, family: &str) {
        self.text(GIVEN_NAME, given);
        self.text(SURNAME, family);
    }

    /// One more relative name.
    pub fn also(&mut self, of: &'static str, text: &str) {
        self.subject.push(vec![attribute(of, text)]);
    }

    pub fn lose(&mut self, of: &'static str) {
        self.subject.iter_mut().for_each(|relative| relative.retain(|attribute| attribute.0 != of));
        self.subject.retain(|relative| !relative.is_empty());
    }

    /// One more extension, even of a type that is there.
    pub fn add(&mut self, of: &'static str, value: Vec<u8>) {
        self.extensions.push((of, false, value));
    }

    pub fn put(&mut self, of: &'static str, value: Vec<u8>) {
        self.lose_extension(of);
        self.add(of, value);
    }

    pub fn lose_extension(&mut self, of: &'static str) {
        self.extensions.retain(|extension| extension.0 != of);
    }

    pub fn der(&self) -> Vec<u8> {
        let signed = self.signed_part();
        let mut signer = Signer::new(self.digest.algorithm(), &self.issuer.key).unwrap();
        // A BIT STRING begins with the number of its unused bits.
        let mut signature = vec![0];
        signature.extend(signer.sign_oneshot_to_vec(&signed).unwrap());
        sequence(&[signed, self.digest.identifier(), tagged(0x03, &signature)])
    }

    fn signed_part(&self) -> Vec<u8> {
        let (from, until) = self.validity;
        let mut parts = vec![
            integer(&self.serial),
            self.inner_digest.identifier(),
            self.issuer.name.clone(),
            sequence(&[time(self.now + from), time(self.now + until)]),
            distinguished_name(&self.subject),
            self.public_key.clone(),
        ];
        // Version 1 does not say so and has no extensions.
        if self.version == 3 {
            parts.insert(0, tagged(0xa0, &integer(&[2])));
            parts.push(tagged(0xa3, &self.all_extensions()));
        }
        sequence(&parts)
    }

    fn all_extensions(&self) -> Vec<u8> {
        let list = format!("http://igc-sante.esante.gouv.fr/CRL/{}.crl", self.issuer.file);
        let point = tagged(0xa0, &tagged(0xa0, &tagged(0x86, list.as_bytes())));
        let mut all: Vec<Extension> = vec![(CONSTRAINTS, false, self.constraints.clone())];
        all.extend(self.usage.map(|usage| (KEY_USAGE, true, flags(usage))));
        all.extend(self.extended.as_deref().map(|of| ("2.5.29.37", false, purposes(of))));
        all.extend([
            ("2.5.29.14", false, octets(&key_id(&self.public_key))),
            ("2.5.29.35", false, sequence(&[tagged(0x80, &self.issuer.key_id)])),
            ("2.5.29.32", false, sequence(&[sequence(&[object_identifier(TEST_POLICY)])])),
            ("2.5.29.31", false, sequence(&[sequence(&[point])])),
        ]);
        all.extend(self.extensions.iter().cloned());
        let encode = |(of, critical, value): Extension| {
            let critical = if critical { TRUE.to_vec() } else { Vec::new() };
            sequence(&[object_identifier(of), critical, octets(&value)])
        };
        sequence(&all.into_iter().map(encode).collect::<Vec<_>>())
    }
}

pub fn subject(kind: Kind) -> Vec<Vec<Attribute>> {
    let one = |of, text| vec![attribute(of, text)];
    let person =
        |id| vec![attribute(GIVEN_NAME, "CLAIRE"), attribute(SURNAME, "BERNARD"), attribute(COMMON_NAME, id)];
    let mut subject = vec![vec![(COUNTRY, PRINTABLE, b"FR".to_vec())]];
    if !matches!(kind, Kind::Cps | Kind::Cpf) {
        subject.push(one("2.5.4.8", "Paris (75)"));
        subject.push(one(ORGANISATION, "CABINET DU DR BERNARD"));
        subject.push(one(UNIT, "1750000101"));
    }
    subject.extend(match kind {
        Kind::Cps | Kind::Cpf => vec![one(TITLE, "Médecin"), person("810100000016")],
        Kind::Cpe => vec![one(TITLE, "Personnel santé ou social"), person("3750000101/CPE0001")],
        Kind::CpeService => vec![
            one(TITLE, "Carte de service santé ou social"),
            one("2.5.4.65", "EMPLOYE000000018"),
            one(COMMON_NAME, "3750000101/000000018"),
        ],
        Kind::Cpa => vec![one(TITLE, "Personnel santé ou social"), person("500000000029751/CPA0001")],
        Kind::Organisation => vec![one(COMMON_NAME, "DPI de démonstration")],
    });
    subject
}

pub fn attribute(of: &'static str, text: &str) -> Attribute {
    (of, UTF8, text.as_bytes().to_vec())
}

/// An extendedKeyUsage.
fn purposes(of: &[&str]) -> Vec<u8> {
    sequence(&of.iter().map(|purpose| object_identifier(purpose)).collect::<Vec<_>>())
}

/// What names a key: any digest will do.
pub fn key_id(public_key: &[u8]) -> Vec<u8> {
    hash(MessageDigest::sha1(), public_key).unwrap().to_vec()
}

pub fn elliptic(curve: Nid) -> EcKey<Private> {
    EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()
}

pub const P_256: Nid = Nid::X9_62_PRIME256V1;
const DAY: i64 = 86_400;
pub const YEAR: i64 = 365 * DAY;

pub const DIGITAL_SIGNATURE: u8 = 0x80;
pub const NON_REPUDIATION: u8 = 0x40;
pub const KEY_ENCIPHERMENT: u8 = 0x20;
pub const CERTIFICATE_SIGN: u8 = 0x04;
const LIST_SIGN: u8 = 0x02;

pub const SERVER: &str = "1.3.6.1.5.5.7.3.1";
pub const CLIENT: &str = "1.3.6.1.5.5.7.3.2";
pub const EMAIL: &str = "1.3.6.1.5.5.7.3.4";
const SMART_CARD_LOGON: &str = "1.3.6.1.4.1.311.20.2.2";

pub const COMMON_NAME: &str = "2.5.4.3";
pub const SURNAME: &str = "2.5.4.4";
pub const SERIAL_NUMBER: &str = "2.5.4.5";
const COUNTRY: &str = "2.5.4.6";
pub const ORGANISATION: &str = "2.5.4.10";
pub const UNIT: &str = "2.5.4.11";
pub const TITLE: &str = "2.5.4.12";
pub const GIVEN_NAME: &str = "2.5.4.42";

pub const KEY_USAGE: &str = "2.5.29.15";
pub const CONSTRAINTS: &str = "2.5.29.19";
pub const CARD_TYPE: &str = "1.2.250.1.71.1.2.2";
const CARD_SERIAL: &str = "1.2.250.1.71.1.2.3";
const SUPPORT: &str = "1.2.250.1.71.1.2.5";
pub const PROFESSION: &str = "1.2.250.1.71.1.2.7";
const FUTURE_PROFESSION: &str = "1.2.250.1.71.1.2.8";
pub const SPECIALITIES: &str = "1.2.250.1.71.4.2.5";
pub const UNKNOWN: &str = "1.2.250.1.71.99.1";
const TEST_POLICY: &str = "1.2.250.1.213.1.7.2.1.1.1.1";
