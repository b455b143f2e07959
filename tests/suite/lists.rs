//! Revocation lists, one fault each: which are taken, and which are not.

use habilis::pki::{Branch, PkiFolder, Range};
use habilis::tls::authority::Authority;
use habilis::tls::trust::{self, Covers};
use jiff::Timestamp;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::AuthorityKeyIdentifier;
use openssl::x509::{CrlNumber, X509, X509Builder, X509CrlBuilder, X509Extension, X509RevokedBuilder};

use crate::support::shared_pki;

/// A list to be made, right but for what a test changes.
struct Made<'a> {
    issuer: &'a X509,
    key: &'a PKey<Private>,
    number: u32,
    this_update: i64,
    next_update: i64,
    extensions: Vec<(&'static str, bool, Vec<u8>)>,
    revoked: u32,
}

impl Made<'_> {
    fn der(&self, now: i64) -> Vec<u8> {
        let mut builder = X509CrlBuilder::new().unwrap();
        builder.set_issuer_name(self.issuer.subject_name()).unwrap();
        builder.set_last_update(&Asn1Time::from_unix(now + self.this_update).unwrap()).unwrap();
        builder.set_next_update(&Asn1Time::from_unix(now + self.next_update).unwrap()).unwrap();
        for serial in 1..=self.revoked {
            let mut entry = X509RevokedBuilder::new().unwrap();
            entry.set_revocation_date(&Asn1Time::from_unix(now).unwrap()).unwrap();
            let serial = BigNum::from_u32(serial).unwrap().to_asn1_integer().unwrap();
            entry.set_serial_number(&serial).unwrap();
            builder.add_revoked(entry.build()).unwrap();
        }
        let holder = X509Builder::new().unwrap();
        let context = holder.x509v3_context(Some(self.issuer), None);
        let key = AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap();
        builder.append_extension(key).unwrap();
        let number = CrlNumber::new(BigNum::from_u32(self.number).unwrap()).unwrap();
        builder.append_extension(number.build().unwrap()).unwrap();
        for (oid, critical, value) in &self.extensions {
            let oid = Asn1Object::from_str(oid).unwrap();
            let value = Asn1OctetString::new_from_bytes(value).unwrap();
            builder.append_extension(X509Extension::new_from_der(&oid, *critical, &value).unwrap()).unwrap();
        }
        builder.sign(self.key, MessageDigest::sha256()).unwrap();
        builder.build().unwrap().to_der().unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests' own clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// IssuingDistributionPoint with one flag: 1 users, 2 authorities, 4 indirect, 5 attributes; 0 for a name alone.
fn distribution_point(flag: u8) -> Vec<u8> {
    match flag {
        0 => {
            // [0] { [0] { [6] "http://x" } }
            let mut der = vec![0x30, 0x0e, 0xa0, 0x0c, 0xa0, 0x0a, 0x86, 0x08];
            der.extend(b"http://x");
            der
        }
        flag => vec![0x30, 0x03, 0x80 | flag, 0x01, 0xff],
    }
}

#[test]
fn each_fault_is_named_and_a_whole_list_is_taken() {
    let pki = PkiFolder::new(shared_pki());
    let issuing = pki.authority(Range::Fort, Branch::Personnes).unwrap();
    let other = pki.authority(Range::Standard, Branch::Personnes).unwrap();
    let instant = now();
    let trust = pki.trust().load(instant).unwrap();
    let authorities: &[Authority] = &trust.authorities;
    let right = || Made {
        issuer: &issuing.certificate,
        key: &issuing.key,
        number: 7,
        this_update: -60,
        next_update: 3600,
        extensions: Vec::new(),
        revoked: 2,
    };
    let read = |made: &Made<'_>| {
        trust::read_list(&made.der(instant.as_second()), authorities, instant)
            .map(|(_, list)| list)
            .map_err(|error| format!("{error:#}"))
    };
    let list = read(&right()).unwrap();
    assert_eq!((list.number.as_slice(), list.revoked.len()), (&[7][..], 2), "control");
    let point = |flag| vec![("2.5.29.28", true, distribution_point(flag))];
    for (what, made, fault) in [
        ("another's key", Made { key: &other.key, ..right() }, "its signature is not that of"),
        ("over", Made { next_update: -1, ..right() }, "past its nextUpdate"),
        ("from the future", Made { this_update: 900, ..right() }, "made in the future"),
        ("delta", Made { extensions: vec![("2.5.29.27", true, vec![2, 1, 1])], ..right() }, "a delta list"),
        ("indirect", Made { extensions: point(4), ..right() }, "indirect"),
        ("of attributes", Made { extensions: point(5), ..right() }, "indirect"),
        ("of authorities alone", Made { extensions: point(2), ..right() }, "a partial list"),
        (
            "unknown critical extension",
            Made { extensions: vec![("1.2.3.4", true, vec![5, 0])], ..right() },
            "not understood",
        ),
    ] {
        let told = read(&made).unwrap_err();
        assert!(told.contains(fault), "{what}: {told}");
    }
    // A distribution point by name, or of users alone from who issues users alone, is a complete list.
    for flag in [0, 1] {
        assert!(read(&Made { extensions: point(flag), ..right() }).is_ok(), "flag {flag}");
    }
    // OpenSSL makes no list without a number: the extension is renamed.
    let mut der = right().der(instant.as_second());
    let number = der.windows(3).position(|oid| oid == [0x55, 0x1d, 0x14]).unwrap();
    der[number + 2] = 0x63;
    assert!(trust::facts(&der).unwrap_err().to_string().contains("no number"));
    let facts = trust::facts(&Made { extensions: point(1), ..right() }.der(instant.as_second())).unwrap();
    assert_eq!(facts.covers, Covers::Users);
    // Cut off, with bytes behind, from nobody.
    let der = right().der(instant.as_second());
    for bytes in [&der[..der.len() - 1], &[der.as_slice(), b"x"].concat(), b"", b"-----BEGIN X509 CRL-----"] {
        assert!(trust::read_list(bytes, authorities, instant).is_err());
    }
    assert!(trust::read_list(&der, &[], instant).is_err(), "its issuer is not among the authorities");
}

#[test]
fn an_older_list_or_one_that_runs_backwards_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let certs = crate::support::pki_copy(folder.path());
    let pki = PkiFolder::new(&certs);
    let issuing = pki.authority(Range::Fort, Branch::Personnes).unwrap();
    let instant = now();
    let path = certs.join("trust/crl/ACI-FO-PP-TEST.crl");
    let put = |number: u32, this_update: i64, next_update: i64, revoked: u32| {
        let made = Made {
            issuer: &issuing.certificate,
            key: &issuing.key,
            number,
            this_update,
            next_update,
            extensions: Vec::new(),
            revoked,
        };
        std::fs::write(&path, made.der(instant.as_second())).unwrap();
    };
    let trust = pki.trust();
    let of = |loaded: &habilis::tls::Trust| {
        let held =
            loaded.authorities.iter().find(|authority| authority.label.ends_with("FORT PERSONNES")).unwrap();
        loaded.lists[&held.issuer_key()].revoked.len()
    };
    put(10, -3600, 3600, 5);
    let in_force = trust.load(instant).unwrap();
    assert_eq!(of(&in_force), 5);
    put(9, -7200, 3600, 1);
    let beside = trust.load_beside(&in_force, instant).unwrap();
    assert_eq!(of(&beside), 5);
    assert!(beside.faults.iter().any(|fault| fault.contains("only an older list")), "{:?}", beside.faults);
    put(9, -60, 3600, 1);
    let beside = trust.load_beside(&in_force, instant).unwrap();
    assert_eq!(of(&beside), 5);
    assert!(beside.faults.iter().any(|fault| fault.contains("lower number")), "{:?}", beside.faults);
    // Control: a later one with a higher number counts, and so does any good one once the held one is over.
    put(11, -60, 3600, 6);
    let beside = trust.load_beside(&in_force, instant).unwrap();
    assert_eq!((of(&beside), beside.faults.len()), (6, 0));
    put(9, -60, 9000, 1);
    let later = instant + jiff::SignedDuration::from_secs(4000);
    assert_eq!(of(&trust.load_beside(&in_force, later).unwrap()), 1);
}
