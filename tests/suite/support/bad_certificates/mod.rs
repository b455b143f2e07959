//! Certificates that must get nobody in, and one good one of each kind.
//!
//! Source: `security.md` 2.4, « own set still needed »: public corpora lack the French profile.
//! Each bad one is a good one with one thing wrong, and the trusted authority signed it unless its name says
//! otherwise: nothing but that one thing can refuse it. OpenSSL builds no malformed certificate, so it is
//! written here byte by byte and OpenSSL only signs.

mod der;
mod leaf;

use std::path::Path;

use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;

use der::{NULL, PRINTABLE, TRUE, UTF8, distinguished_name, flags, integer, octets, sequence, utf8};
use leaf::*;

/// What a client presents.
pub struct Case {
    /// What is wrong, or for a good one what is particular.
    pub name: &'static str,
    /// DER, leaf first, then what the client presents beside it.
    pub chain: Vec<Vec<u8>>,
    /// Private key of the leaf, PKCS#8 DER.
    pub key: Vec<u8>,
}

/// Each must be refused, in the handshake or on the first request.
pub fn bad(certs: &Path) -> Vec<Case> {
    let pki = Pki::read(certs);
    let groups =
        [usages, issuers, signatures_and_dates, card_types, extensions, names, identifiers, keys, chains];
    groups.iter().flat_map(|group| group(&pki)).collect()
}

/// Each must be accepted. Without them a server that refuses everybody would pass.
pub fn good(certs: &Path) -> Vec<Case> {
    let pki = &Pki::read(certs);
    vec![
        pki.cps("CPS", |_| {}),
        pki.case(Kind::Cpf, "CPF with its future profession only", |_| {}),
        pki.cpe("CPE, named", |_| {}),
        pki.case(Kind::CpeService, "CPE, service card without a name", |_| {}),
        pki.case(Kind::Cpa, "CPA", |_| {}),
        pki.organisation("organisation, AUTH_CLI", |_| {}),
        // The three orders seen on real cards. DER sorts a set, so the lengths of the names make the order.
        pki.cps("GN, SN, CN in one relative name", |leaf| leaf.person("EVA", "MARTIN")),
        pki.cps("GN, CN, SN in one relative name", |leaf| leaf.person("EVA", "DE LA ROCHEFOUCAULD")),
        pki.cps("CN, SN, GN in one relative name", |leaf| leaf.person("MARIE-FRANCOISE", "SAINT-GERMAIN")),
        pki.cps("accents", |leaf| leaf.person("Éloïse Zoé", "LEFÈVRE-MÜLLER")),
        pki.cps("PrintableString names", |leaf| {
            leaf.bytes(TITLE, PRINTABLE, b"Infirmier");
            leaf.bytes(GIVEN_NAME, PRINTABLE, b"CLAIRE");
            leaf.bytes(SURNAME, PRINTABLE, b"BERNARD");
            leaf.bytes(COMMON_NAME, PRINTABLE, b"810100000016");
        }),
        pki.organisation("PrintableString names of an organisation", |leaf| {
            leaf.bytes(ORGANISATION, PRINTABLE, b"HOPITAL");
            leaf.bytes(UNIT, PRINTABLE, b"1750000101");
            leaf.bytes(COMMON_NAME, PRINTABLE, b"DPI");
        }),
        pki.cps("ADELI number", |leaf| leaf.text(COMMON_NAME, "00B6077602")),
        pki.cps("several specialities", |leaf| {
            leaf.put(SPECIALITIES, sequence(&[utf8("SM26"), utf8("SM54"), utf8("CEX22")]));
        }),
        // What stands behind the leaf is not used: nothing of it can make a path, nor break one.
        pki.cps("rubbish behind the leaf", |leaf| leaf.behind.push(b"rubbish".to_vec())),
        pki.case(Kind::Cpf, "CPF with both professions", |leaf| leaf.add(PROFESSION, integer(&[10]))),
        // The control of the cases with a wrong curve.
        pki.cps("P-256 key", |leaf| leaf.holds(&PKey::from_ec_key(elliptic(P_256)).unwrap())),
        // The control of the cases with too much behind the leaf.
        pki.cps("root presented too", |leaf| leaf.behind.push(pki.root.certificate.clone())),
    ]
}

fn usages(pki: &Pki) -> Vec<Case> {
    let seal = DIGITAL_SIGNATURE | NON_REPUDIATION;
    let server = DIGITAL_SIGNATURE | KEY_ENCIPHERMENT;
    vec![
        pki.organisation("organisation's seal certificate", |leaf| leaf.used(seal, &[EMAIL])),
        pki.cps("card's signature certificate", |leaf| leaf.used(NON_REPUDIATION, &[EMAIL])),
        pki.organisation("SSL server certificate", |leaf| leaf.used(server, &[SERVER, CLIENT])),
        pki.cps("no keyUsage", |leaf| leaf.usage = None),
        pki.cps("no extendedKeyUsage", |leaf| leaf.extended = None),
        pki.cps("keyUsage keyEncipherment only", |leaf| leaf.usage = Some(KEY_ENCIPHERMENT)),
        pki.cps("keyUsage with keyCertSign", |leaf| leaf.usage = Some(DIGITAL_SIGNATURE | CERTIFICATE_SIGN)),
        pki.cps("keyUsage without a bit", |leaf| leaf.usage = Some(0)),
        pki.cps("extendedKeyUsage any only", |leaf| leaf.extended = Some(vec!["2.5.29.37.0"])),
        pki.cps("extendedKeyUsage serverAuth only", |leaf| leaf.extended = Some(vec![SERVER])),
        pki.cps("extendedKeyUsage empty", |leaf| leaf.extended = Some(Vec::new())),
        pki.cps("signature certificate with clientAuth too", |leaf| leaf.used(seal, &[EMAIL, CLIENT])),
    ]
}

fn issuers(pki: &Pki) -> Vec<Case> {
    const FORT_PERSONS: &str = "TEST AC IGC-SANTE FORT PERSONNES";
    let unknown = pki.false_authority("TEST AC INCONNUE FORT PERSONNES", None);
    let forged = Issuer { key: pki.stranger.clone(), ..pki.fort.clone() };
    let alike = pki.false_authority(FORT_PERSONS, None);
    let alike_below_root = pki.false_authority(FORT_PERSONS, Some(&pki.root.name));
    assert_eq!(alike.name, pki.fort.name, "it is alike");
    let holder = Issuer {
        name: distinguished_name(&subject(Kind::Cps)),
        key: pki.key.clone(),
        key_id: key_id(&pki.key.public_key_to_der().unwrap()),
        certificate: pki.cps("", |_| {}).chain.remove(0),
        ..pki.fort.clone()
    };
    vec![
        pki.cps("unknown root", |leaf| leaf.under(&unknown)),
        pki.cps("self-signed", |leaf| {
            leaf.under(&holder);
            leaf.behind.clear();
        }),
        pki.cps("issued by another holder", |leaf| {
            leaf.under(&holder);
            leaf.behind.push(pki.fort.certificate.clone());
            // Not the issuer's own name: webpki would refuse a loop, and for no other reason.
            leaf.text(COMMON_NAME, "810100000024");
        }),
        pki.cps("issued by a root directly", |leaf| leaf.under(&pki.root)),
        pki.cps("right issuer's name, another key", |leaf| leaf.under(&forged)),
        pki.cps("look-alike authority, self-signed", |leaf| leaf.under(&alike)),
        pki.cps("look-alike authority that says it is below the root", |leaf| leaf.under(&alike_below_root)),
        Case {
            name: "authority's certificate as a client's",
            chain: vec![pki.fort.certificate.clone()],
            key: pki.fort.key.private_key_to_pkcs8().unwrap(),
        },
        pki.cps("card under ORGANISATIONS", |leaf| leaf.under(&pki.organisations)),
        pki.organisation("organisation under PERSONNES", |leaf| leaf.under(&pki.standard)),
    ]
}

fn signatures_and_dates(pki: &Pki) -> Vec<Case> {
    const HOUR: i64 = 3600;
    let mut flipped = pki.cps("signature with one bit flipped", |_| {});
    *flipped.chain[0].last_mut().unwrap() ^= 1;
    let serial = pki.cps("serial number changed after signing", |leaf| leaf.serial = b"SERIAL-1".to_vec());
    let subject = pki.cps("subject changed after signing", |_| {});
    vec![
        flipped,
        changed(serial, b"SERIAL-1", b"SERIAL-2"),
        changed(subject, b"810100000016", b"810100000024"),
        pki.cps("valid in an hour", |leaf| leaf.validity = (HOUR, 2 * HOUR)),
        pki.cps("expired a second ago", |leaf| leaf.validity = (-HOUR, -1)),
        pki.cps("expired long ago", |leaf| leaf.validity = (-15 * YEAR, -12 * YEAR)),
        pki.cps("notAfter before notBefore", |leaf| leaf.validity = (HOUR, -HOUR)),
        pki.cps("SHA-1 signature of the authority", |leaf| leaf.signed_with(Digest::Sha1)),
        pki.cps("MD5 signature of the authority", |leaf| leaf.signed_with(Digest::Md5)),
        // The outer one is that of the signature, so that the signature itself is right.
        pki.cps("two different signature algorithms", |leaf| leaf.inner_digest = Digest::Sha512),
    ]
}

fn card_types(pki: &Pki) -> Vec<Case> {
    let mut trailing = integer(&[0]);
    trailing.push(0);
    let of = |name, value: Vec<u8>| pki.cps(name, |leaf| leaf.put(CARD_TYPE, value));
    vec![
        pki.cps("card type missing", |leaf| leaf.lose_extension(CARD_TYPE)),
        pki.cps("card type twice", |leaf| leaf.add(CARD_TYPE, integer(&[2]))),
        of("card type 9", integer(&[9])),
        of("card type is an OCTET STRING", octets(&[0])),
        of("card type is NULL", NULL.to_vec()),
        of("card type is nothing", Vec::new()),
        of("card type of 20 bytes", integer(&[1; 20])),
        of("card type with a byte behind it", trailing),
    ]
}

fn extensions(pki: &Pki) -> Vec<Case> {
    let profession = |name, value: Vec<u8>| pki.cps(name, |leaf| leaf.put(PROFESSION, value));
    let specialities = |name, value: Vec<u8>| pki.cps(name, |leaf| leaf.put(SPECIALITIES, value));
    vec![
        pki.organisation("organisation whose OU is no Struct_IdNat", |leaf| leaf.text(UNIT, "HOPITAL")),
        pki.organisation("organisation with a wrong key", |leaf| leaf.text(UNIT, "1750000011")),
        pki.cps("doctor without a speciality", |leaf| leaf.lose_extension(SPECIALITIES)),
        pki.cps("profession missing", |leaf| leaf.lose_extension(PROFESSION)),
        pki.cps("profession twice", |leaf| leaf.add(PROFESSION, integer(&[60]))),
        profession("profession negative", integer(&[0xf6])),
        profession("profession is text", utf8("10")),
        specialities("specialities are no SEQUENCE", utf8("SM26")),
        specialities("speciality empty", sequence(&[utf8("SM26"), utf8("")])),
        specialities("speciality with a control character", sequence(&[utf8("SM\u{7}26")])),
        specialities(
            "specialities 1000 levels deep",
            (0..1000).fold(utf8("SM26"), |inner, _| sequence(&[inner])),
        ),
        pki.cps("specialities twice", |leaf| {
            leaf.add(SPECIALITIES, sequence(&[utf8("SM25")]));
        }),
        pki.cps("unknown critical extension", |leaf| leaf.extensions.push((UNKNOWN, true, NULL.to_vec()))),
        pki.cps("extension of 20 KiB", |leaf| leaf.add(UNKNOWN, octets(&[0; 20 << 10]))),
        pki.cps("keyUsage twice", |leaf| leaf.add(KEY_USAGE, flags(DIGITAL_SIGNATURE))),
        pki.cps("basicConstraints twice", |leaf| leaf.add(CONSTRAINTS, sequence(&[]))),
        pki.cps("basicConstraints CA:TRUE", |leaf| leaf.constraints = sequence(&[TRUE.to_vec()])),
    ]
}

/// Where the common name of an organisation serves, it is free text: no check of an identifier refuses first.
fn names(pki: &Pki) -> Vec<Case> {
    let utf16: Vec<u8> = "810100000016".encode_utf16().flat_map(u16::to_be_bytes).collect();
    vec![
        pki.cps("two CN", |leaf| leaf.also(COMMON_NAME, "810100000024")),
        pki.cps("two CN in one relative name", |leaf| {
            leaf.subject.last_mut().unwrap().push(attribute(COMMON_NAME, "810100000024"));
        }),
        pki.organisation("two OU on an organisation", |leaf| leaf.also(UNIT, "1750000010")),
        pki.cpe("two OU on a CPE", |leaf| leaf.also(UNIT, "1750000010")),
        pki.organisation("two O", |leaf| leaf.also(ORGANISATION, "AUTRE")),
        pki.cps("two given names", |leaf| leaf.also(GIVEN_NAME, "ANNE")),
        pki.cps("two serialNumber in the subject", |leaf| {
            leaf.also(SERIAL_NUMBER, "1");
            leaf.also(SERIAL_NUMBER, "2");
        }),
        pki.organisation("NUL in CN", |leaf| leaf.text(COMMON_NAME, "DPI\0.example")),
        pki.cps("NUL behind a PS_IdNat", |leaf| leaf.text(COMMON_NAME, "810100000016\0")),
        pki.cps("line break in SN", |leaf| leaf.text(SURNAME, "BERNARD\nADMIN")),
        pki.cps("control character in SN", |leaf| leaf.text(SURNAME, "BER\u{1b}[2JNARD")),
        pki.cps("right-to-left override in SN", |leaf| leaf.text(SURNAME, "BER\u{202e}DRAN")),
        pki.organisation("CN empty", |leaf| leaf.text(COMMON_NAME, "")),
        pki.organisation("no CN", |leaf| leaf.lose(COMMON_NAME)),
        pki.organisation("organisation without OU", |leaf| leaf.lose(UNIT)),
        pki.cpe("CPE without OU", |leaf| leaf.lose(UNIT)),
        pki.organisation("CN in T61String", |leaf| leaf.bytes(COMMON_NAME, 0x14, b"R\xe9gulation")),
        pki.cps("CN in BMPString", |leaf| leaf.bytes(COMMON_NAME, 0x1e, &utf16)),
        pki.organisation("CN is not UTF-8", |leaf| leaf.bytes(COMMON_NAME, UTF8, b"R\xe9gulation")),
    ]
}

fn identifiers(pki: &Pki) -> Vec<Case> {
    let cps = |name, id: &str| pki.cps(name, |leaf| leaf.text(COMMON_NAME, id));
    let structure = |name, id: &str| pki.cpe(name, |leaf| leaf.text(UNIT, id));
    vec![
        cps("RPPS with a wrong key", "810100000017"),
        cps("RPPS with a space before it", " 810100000016"),
        cps("RPPS with a space behind it", "810100000016 "),
        cps("RPPS with a space in it", "8101 00000016"),
        cps("RPPS with a zero before it", "8010100000016"),
        cps("RPPS in full-width digits", "8１０１０００００１６"),
        // As many bytes as an RPPS has.
        cps("RPPS with a full-width digit", "81010000\u{ff10}1"),
        cps("PS_IdNat with a Cyrillic a", "81010000001\u{430}"),
        // As many bytes as an ADELI number has.
        cps("ADELI number with a Cyrillic A", "00\u{410}607760"),
        cps("PS_IdNat in lower case", "00b6077602"),
        cps("identifier of staff on a CPS", "3750000101/CPE0001"),
        pki.cpe("PS_IdNat of a professional on a CPE", |leaf| leaf.text(COMMON_NAME, "810100000016")),
        structure("FINESS of 8 digits", "175000010"),
        structure("FINESS with a wrong key", "1750000102"),
        structure("structure of an unknown prefix", "9750000101"),
    ]
}

fn keys(pki: &Pki) -> Vec<Case> {
    let weak_rsa = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
    let weak_curve = PKey::from_ec_key(elliptic(Nid::X9_62_PRIME192V1)).unwrap();
    let key = elliptic(P_256);
    let mut group = EcGroup::from_curve_name(P_256).unwrap();
    group.set_asn1_flag(Asn1Flag::EXPLICIT_CURVE);
    let explicit = PKey::from_ec_key(EcKey::from_public_key(&group, key.public_key()).unwrap()).unwrap();
    let key = PKey::from_ec_key(key).unwrap();
    vec![
        // A client on aws-lc can load neither key, so the case has the ordinary one, and the signature of the
        // handshake is wrong too: a refusal shows little, unless the server judges the key before.
        pki.cps("RSA-1024 key", |leaf| leaf.public_key = weak_rsa.public_key_to_der().unwrap()),
        pki.cps("P-192 key", |leaf| leaf.public_key = weak_curve.public_key_to_der().unwrap()),
        // The client signs as P-256, rightly: only that the curve is written out can refuse it.
        pki.cps("P-256 key whose curve is written out", |leaf| {
            leaf.holds(&key);
            leaf.public_key = explicit.public_key_to_der().unwrap();
        }),
        pki.cps("X.509 version 1", |leaf| leaf.version = 1),
        pki.cps("serial number negative", |leaf| leaf.serial = vec![0x80, 0, 1]),
        pki.cps("serial number zero", |leaf| leaf.serial = vec![0]),
        pki.cps("serial number of 25 bytes", |leaf| leaf.serial = vec![1; 25]),
    ]
}

fn chains(pki: &Pki) -> Vec<Case> {
    let unrelated = pki.false_authority("AC SANS RAPPORT", None).certificate;
    let fifty = pki.cps("50 certificates", |leaf| leaf.behind.extend(vec![unrelated.clone(); 48]));
    // A TLS stack refuses a larger message, and nobody would have judged the number.
    assert!(fifty.chain.iter().map(|der| der.len() + 5).sum::<usize>() < 0xff00);
    let large = |bytes| {
        let mut leaf = Leaf::new(pki, Kind::Organisation);
        leaf.add(UNKNOWN, octets(&vec![0; bytes]));
        leaf.der()
    };
    let mut reversed = pki.cps("leaf presented last", |_| {});
    reversed.chain.reverse();
    let mut longer = pki.cps("byte behind the leaf's end", |_| {});
    longer.chain[0].push(0);
    let mut empty = pki.cps("leaf of no bytes", |_| {});
    empty.chain[0].clear();
    let mut hollow = pki.cps("leaf of two bytes", |_| {});
    hollow.chain[0] = sequence(&[]);
    let behind = |name, der: Vec<u8>| pki.cps(name, |leaf| leaf.behind.insert(0, der));
    vec![
        fifty,
        pki.cps("5 certificates", |leaf| leaf.behind.extend(vec![unrelated.clone(); 3])),
        behind("certificate of 20 KiB behind the leaf", large(20 << 10)),
        behind("certificate of 64 KiB behind the leaf", large(64 << 10)),
        reversed,
        longer,
        empty,
        hollow,
    ]
}

/// The leaf with some bytes changed after it was signed.
fn changed(mut case: Case, from: &[u8], to: &[u8]) -> Case {
    let leaf = &mut case.chain[0];
    let at = leaf.windows(from.len()).position(|window| window == from).unwrap();
    leaf[at..at + from.len()].copy_from_slice(to);
    case
}
