//! What an assertion may say, claim by claim, at its limits. That seal and signature count is the suite's to show.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_790_000_000;
const IUA: &str = "/extensions/ihe_iua";
const DMP: &str = "/extensions/dmp";
const INS: &str = "urn:oid:1.2.250.1.213.1.4.10|279035121518989";

fn directory() -> Directory {
    Directory::parse(
        "810100000016\t10\t1750000010\tSM26,SM54\n810100000024\t10\t\tSM26\n810100000040\t60\t1750000010\n\
         810100000057\t21\t1750000010\tA\n",
        "1750000010\t\tyes\tHOPITAL\n1750000028\t1750000010\tno\tSITE\n1750000036\t\tno\tAUTRE\n17500000\t1750000010\tno\tBAD\n",
    )
    .unwrap()
}

fn claims(mode: &str) -> Value {
    json!({
        "iss": "1750000010", "sub": "810100000016", "aud": "https://habilis.example",
        "iat": NOW, "exp": NOW + 30, "jti": "12345678",
        "extensions": {
            "ihe_iua": {
                "subject_name": "  CLAIRE BERNARD ",
                "subject_organization_id": "1750000010",
                "subject_role": [
                    { "system": "urn:oid:1.2.250.1.71.1.2.7", "code": "10" },
                    { "system": "urn:oid:1.2.250.1.71.4.2.5", "code": "SM26" },
                ],
                "purpose_of_use": [{ "system": "urn:oid:1.2.250.1.213.1.1.4.248", "code": "normal" }],
            },
            "dmp": {
                "authentification_mode": mode, "secteur_activite": "SA01^1.2.250.1.71.4.2.4",
                "ressource_urn": "urn:dmp", "lps_nom": "Logiciel", "lps_version": "2.3",
                "lps_id_homologation": "DEMO-DMP-0001",
                "authentification_primaire": { "method": " carte CPE ", "at": NOW - 60 },
            },
        },
    })
}

/// The claims with changes: pointer and value, null removes.
fn changed(mode: &str, changes: &[(&str, Value)]) -> Value {
    let mut claims = claims(mode);
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => drop(parent.remove(name)),
            value => drop(parent.insert(name.to_owned(), value.clone())),
        }
    }
    claims
}

fn judged_for(client: &str, claims: &Value) -> Result<Assertion, Refusal> {
    let (directory, revocation) = (directory(), Revocation::new(HashMap::new(), Vec::new()));
    let reader = Reader {
        revocation: &revocation,
        directory: &directory,
        checks: IdentifierChecks { keys: true, editor_accounts: false },
        client,
        issuer: "https://habilis.example",
        now: Timestamp::from_second(NOW).unwrap(),
    };
    reader.judge(&serde_json::from_value(claims.clone()).unwrap())
}

fn judged(mode: &str, changes: &[(&str, Value)]) -> Result<Assertion, Refusal> {
    judged_for("1750000010", &changed(mode, changes))
}

#[track_caller]
fn refused(mode: &str, changes: &[(&str, Value)], reason: Reason, phrase: &str) {
    let refusal = judged(mode, changes).unwrap_err();
    assert_eq!(refusal.reason, reason, "{changes:?}");
    let told = format!("{} {}", refusal.issues[0].diagnostics, refusal.rule);
    assert!(told.contains(phrase), "{changes:?}: {told}");
}

fn role(system: &str, code: &str) -> Value {
    json!({ "system": system, "code": code })
}

fn purpose(code: &str) -> Value {
    json!([{ "system": "1.2.250.1.213.1.1.4.248", "code": code }])
}

#[test]
fn what_is_said_is_kept() {
    let said = judged("INDIRECTE", &[]).unwrap();
    assert_eq!(
        said.actor,
        Actor::Professional {
            id: "810100000016".into(),
            profession: Profession::new("10"),
            specialities: vec!["SM26".into()],
            in_training: false,
        }
    );
    assert_eq!((said.authentication, said.mode), (Authentication::Indirect, AccessMode::Normal));
    assert_eq!(
        (said.structure.as_str(), said.name.as_str(), said.sector.as_str()),
        ("1750000010", "CLAIRE BERNARD", "SA01")
    );
    assert_eq!(
        (said.record, said.motif, said.proof, said.declared_role, said.secret),
        (None, None, None, None, false)
    );
    assert_eq!((said.software.name.as_str(), said.software.version.as_str()), ("Logiciel", "2.3"));
    assert_eq!(said.software.homologation_id, "DEMO-DMP-0001");
    assert_eq!((said.once.as_str(), said.issued_at, said.expires_at), ("1750000010/12345678", NOW, NOW + 30));

    let proven = judged("INDIRECTE_RENFORCEE", &[]).unwrap();
    assert_eq!(proven.authentication, Authentication::IndirectReinforced);
    assert_eq!(proven.proof.as_deref(), Some("carte CPE, 2026-09-21T14:12:20Z"));

    let mode = format!("{IUA}/purpose_of_use");
    let (person, motif, secret) =
        (format!("{IUA}/person_id"), format!("{DMP}/motif"), format!("{DMP}/connexion_secrete"));
    let breaking: [(&str, Value); 4] = [
        (&mode, purpose("bris_de_glace")),
        (&person, json!(INS)),
        (&motif, json!(" inconscient ")),
        (&secret, json!(true)),
    ];
    let broken = judged("INDIRECTE_RENFORCEE", &breaking).unwrap();
    assert_eq!(
        (broken.mode, broken.motif.as_deref(), broken.secret),
        (AccessMode::BrisDeGlace, Some("inconscient"), true)
    );
    assert_eq!(broken.record.unwrap().value(), "279035121518989");
    for missing in [&person, &motif] {
        let mut changes = breaking.to_vec();
        changes.push((missing, Value::Null));
        refused("INDIRECTE_RENFORCEE", &changes, Reason::InvalidGrant, "wants a motif, and one record");
    }
    refused("INDIRECTE", &breaking, Reason::WrongMode, "PDT-INF-526");
    let nobody = [(person.as_str(), json!("279035121518989"))];
    refused("INDIRECTE", &nobody, Reason::InvalidIns, "urn:oid:");
    refused("DIRECTE", &[], Reason::InvalidGrant, "authentification_mode is");
    refused("", &[], Reason::InvalidGrant, "authentification_mode is");
}

/// Each instant on either side of its limit, seconds from now.
#[test]
fn instants() {
    for (mode, iat, exp, expected) in [
        ("INDIRECTE", 0, 300, None),
        ("INDIRECTE", 0, 301, Some("at most 300 seconds")),
        ("INDIRECTE", 5, 6, None),
        ("INDIRECTE", 6, 7, Some("in the future")),
        ("INDIRECTE", -299, 1, None),
        ("INDIRECTE", -300, 0, Some("has expired")),
        ("INDIRECTE", -10, -1, Some("has expired")),
        ("INDIRECTE", 0, 0, Some("at most 300 seconds")),
        ("INDIRECTE", 4, 3, Some("at most 300 seconds")),
        ("INDIRECTE_RENFORCEE", 0, 30, None),
        ("INDIRECTE_RENFORCEE", 0, 31, Some("EX_AIR-040")),
        ("INDIRECTE_RENFORCEE", -30, 0, Some("has expired")),
    ] {
        let changes = [("/iat", json!(NOW + iat)), ("/exp", json!(NOW + exp))];
        match expected {
            // The proof is older than the assertion.
            None => drop(judged(mode, &changes).unwrap()),
            Some(phrase) => refused(mode, &changes, Reason::InvalidGrant, phrase),
        }
    }
    let far = [("/iat", json!(i64::MIN)), ("/exp", json!(i64::MAX))];
    refused("INDIRECTE", &far, Reason::InvalidGrant, "at most 300 seconds");
}

#[test]
fn one_of_each_kind_of_text() {
    let resource = format!("{DMP}/ressource_urn");
    for (pointer, good, bad, phrase) in [
        (
            "/aud",
            vec![json!("https://habilis.example/oauth2/token"), json!(["x", "https://habilis.example"])],
            vec![json!("https://habilis.example/"), json!([])],
            "aud is",
        ),
        (
            "/jti",
            vec![json!("a".repeat(128)), json!("!2345~78")],
            vec![json!("1234567"), json!("a".repeat(129)), json!("1234 5678"), json!("é23456789")],
            "jti has",
        ),
        (&resource, vec![], vec![json!("urn:x"), Value::Null], "urn:dmp"),
    ] {
        for value in good {
            judged("INDIRECTE", &[(pointer, value)]).unwrap();
        }
        for value in bad {
            refused("INDIRECTE", &[(pointer, value)], Reason::InvalidGrant, phrase);
        }
    }
    for name in ["ihe_iua/subject_name", "dmp/lps_nom", "dmp/lps_version", "dmp/lps_id_homologation"] {
        let pointer = format!("/extensions/{name}");
        let judge = |value: Value| judged("INDIRECTE", &[(&pointer, value)]);
        assert!(judge(json!("a".repeat(256))).is_ok(), "{name}");
        for bad in [Value::Null, json!(" "), json!("a".repeat(257)), json!("a\u{0}b"), json!("a\u{202e}b")] {
            refused("INDIRECTE", &[(&pointer, bad)], Reason::InvalidGrant, "is missing");
        }
    }
    assert_eq!(sector("SA07").unwrap(), "SA07");
    for bad in ["SA7", "SA123", "SAx1", "07", "SA07^1.2.3", "TSA07"] {
        assert_eq!(sector(bad).unwrap_err().reason, Reason::InvalidGrant, "{bad}");
    }
    assert_eq!(motif(Some(" ")), Ok(None));
    assert_eq!(motif(Some(&"é".repeat(500))), Ok(Some("é".repeat(500))));
    assert!(motif(Some(&"é".repeat(501))).is_err());
    assert!(motif(Some("a\u{7}b")).is_err());
    assert_eq!(motif(None), Ok(None));
}

#[test]
fn structures_and_modes() {
    let named = format!("{IUA}/subject_organization_id");
    assert_eq!(
        judged("INDIRECTE", &[(&named, json!("1750000028"))]).unwrap().structure,
        "1750000028",
        "a site"
    );
    for changes in [
        [(named.as_str(), json!("1750000036")), ("/iss", json!("1750000010"))],
        [(named.as_str(), json!("1750000010")), ("/iss", json!("1750000028"))],
        [(named.as_str(), json!("1750000028")), ("/iss", json!("1750000028"))],
        // Listed as a site, and no Struct_IdNat.
        [(named.as_str(), json!("17500000")), ("/iss", json!("1750000010"))],
    ] {
        refused("INDIRECTE", &changes, Reason::StructureNotLinked, "CNDA 0.1-210");
    }
    refused("INDIRECTE", &[(&named, Value::Null)], Reason::InvalidGrant, "subject_organization_id is missing");

    let mode = format!("{IUA}/purpose_of_use");
    assert_eq!(judged("INDIRECTE", &[(&mode, purpose("centre_15"))]).unwrap().mode, AccessMode::Centre15);
    let proven = judged("INDIRECTE_RENFORCEE", &[(&mode, purpose("centre_15"))]).unwrap();
    assert_eq!(proven.mode, AccessMode::Centre15);
    for bad in [json!([]), purpose("urgence"), json!([{ "system": "1.2.3", "code": "normal" }]), {
        let one = purpose("normal")[0].clone();
        json!([one, one])
    }] {
        refused("INDIRECTE", &[(&mode, bad)], Reason::InvalidGrant, "TRE_R248");
    }
    // Another establishment, which is no regulation centre.
    let elsewhere = changed(
        "INDIRECTE",
        &[("/iss", json!("1750000036")), (&named, json!("1750000036")), (&mode, purpose("centre_15"))],
    );
    let refusal = judged_for("1750000036", &elsewhere).unwrap_err();
    assert_eq!(
        (refusal.reason, &*refusal.rule),
        (Reason::WrongMode, "CNDA 0.1-220: regulation centres of the directory")
    );
    // A nurse does not regulate.
    let nurse = format!("{IUA}/subject_role");
    let changes = [
        ("/sub", json!("810100000040")),
        (nurse.as_str(), json!([role("1.2.250.1.71.1.2.7", "60")])),
        (mode.as_str(), purpose("centre_15")),
    ];
    refused("INDIRECTE_RENFORCEE", &changes, Reason::WrongMode, "L1111-17 I");
    assert!(judged("INDIRECTE_RENFORCEE", &changes[..2]).is_ok(), "control");
}

#[test]
fn roles() {
    const PROFESSION: &str = "urn:oid:1.2.250.1.71.1.2.7";
    const FUTURE: &str = "1.2.250.1.71.1.2.8";
    const SPECIALITY: &str = "1.2.250.1.71.4.2.5";
    const SECTION: &str = "1.2.250.1.71.4.2.6";
    const STAFF: &str = "urn:oid:1.2.250.1.213.1.1.4.6";
    let roles = format!("{IUA}/subject_role");
    let judge = |sub: &str, given: Value| judged("INDIRECTE", &[("/sub", json!(sub)), (&roles, given)]);
    let told = |sub: &str, given: Value| match judge(sub, given) {
        Ok(Assertion {
            actor: Actor::Professional { id, profession, specialities, in_training },
            declared_role,
            ..
        }) => {
            let declared = declared_role.unwrap_or_default();
            format!("{id} {} {} {in_training} {declared}", profession.code(), specialities.join(","))
        }
        Ok(Assertion { actor: Actor::NamedStaff { id, role }, declared_role: None, .. }) => {
            format!("{id} {role}")
        }
        Ok(other) => format!("{other:?}"),
        Err(refusal) => refusal.issues[0].diagnostics.to_string(),
    };
    let doctor = "810100000016";
    for (sub, given, expected) in [
        (doctor, json!([role(PROFESSION, "10"), role(SPECIALITY, "SM54")]), "810100000016 10 SM54 false "),
        // The directory knows nothing there of this one: what is said is declared, not proven.
        (
            "810100000024",
            json!([role(PROFESSION, "10"), role(SPECIALITY, "SM26")]),
            "810100000024 10  false SM26",
        ),
        ("810100000057", json!([role(PROFESSION, "21"), role(SECTION, "A")]), "810100000057 21 A false "),
        ("810100000040", json!([role(PROFESSION, "60")]), "810100000040 60  false "),
        ("810100000040", json!([role(PROFESSION, "60"), role(SPECIALITY, "SM26")]), "810100000040 60  false "),
        ("899900000016", json!([role(FUTURE, "10")]), "sub is the PS_IdNat"),
        (doctor, json!([role(FUTURE, "10")]), "810100000016 10  true "),
        (doctor, json!([role(PROFESSION, "10")]), "a doctor's second role"),
        (doctor, json!([role(PROFESSION, "10"), role(SECTION, "A")]), "a doctor's second role"),
        (doctor, json!([role(PROFESSION, "21"), role(SPECIALITY, "SM26")]), "a doctor's second role"),
        (doctor, json!([role(PROFESSION, "10"), role(SPECIALITY, "SM99")]), "specialite is one of"),
        ("810100000017", json!([role(PROFESSION, "10"), role(SPECIALITY, "SM26")]), "sub is the PS_IdNat"),
        (doctor, json!([role(PROFESSION, "")]), "a code of TRE_G15"),
        (doctor, json!([role(PROFESSION, "1000")]), "a code of TRE_G15"),
        (doctor, json!([role(PROFESSION, "1a")]), "a code of TRE_G15"),
        (doctor, json!([role(PROFESSION, "100")]), "810100000016 100  false "),
        (doctor, json!([]), "subject_role is missing"),
        (doctor, json!([role("1.2.3", "10")]), "is of TRE_G15"),
        (
            "CPE1",
            json!([role(STAFF, "SECRETARIAT_MEDICAL")]),
            "1750000010/CPE1 SECRETARIAT_MEDICAL^1.2.250.1.213.1.1.4.6",
        ),
        ("CPE1", json!([role("1.2.250.1.213.1.6.1.4", "A1")]), "1750000010/CPE1 A1^1.2.250.1.213.1.6.1.4"),
        ("CPE1", json!([role("1.2.250.1.213.1.6.1.107", "A1")]), "1750000010/CPE1 A1^1.2.250.1.213.1.6.1.107"),
        ("", json!([role(STAFF, "A")]), "1 to 64 characters"),
        ("C\u{0}", json!([role(STAFF, "A")]), "1 to 64 characters"),
        (&"c".repeat(65), json!([role(STAFF, "A")]), "1 to 64 characters"),
        ("CPE1", json!([role(STAFF, "EXP_PATIENT")]), "no role of an establishment"),
        ("CPE1", json!([role(STAFF, "ALIM_AM")]), "no role of an establishment"),
        ("CPE1", json!([role(STAFF, "")]), "no role of an establishment"),
        ("CPE1", json!([role(STAFF, "a")]), "no role of an establishment"),
        ("CPE1", json!([role(STAFF, "A^B")]), "no role of an establishment"),
        ("CPE1", json!([role(STAFF, &"A".repeat(33))]), "no role of an establishment"),
    ] {
        let told = told(sub, given.clone());
        let equal = if expected.starts_with("8") || expected.starts_with("1750") {
            told == expected
        } else {
            told.contains(expected)
        };
        assert!(equal, "{sub} {given}: « {told} », not « {expected} »");
    }
    for sub in ["c".repeat(64), "A".repeat(32)] {
        let code = "A".repeat(32);
        assert!(judge(&sub, json!([role(STAFF, &code)])).is_ok());
    }
    // A secret connection is a professional's.
    let secret = format!("{DMP}/connexion_secrete");
    let changes =
        [("/sub", json!("CPE1")), (roles.as_str(), json!([role(STAFF, "A1")])), (secret.as_str(), json!(true))];
    refused("INDIRECTE", &changes, Reason::WrongMode, "R1111-50");
    assert!(judged("INDIRECTE", &[(secret.as_str(), json!(true))]).unwrap().secret);
}

#[test]
fn proofs() {
    const AIR: &str = "INDIRECTE_RENFORCEE";
    let (roles, proof) = (format!("{IUA}/subject_role"), format!("{DMP}/authentification_primaire"));
    let given = |method: &str, at: i64| json!({ "method": method, "at": NOW + at });
    for good in [given(&"m".repeat(64), 0), given("m", -43_200)] {
        assert!(judged(AIR, &[(&proof, good)]).is_ok());
    }
    for bad in [
        Value::Null,
        given("", -1),
        given(" ", -1),
        given(&"m".repeat(65), -1),
        given("a\u{7}b", -1),
        given("m", 1),
        given("m", -43_201),
    ] {
        refused(AIR, &[(&proof, bad)], Reason::InvalidGrant, "EX_AIR-050");
    }
    assert!(judged("INDIRECTE", &[(&proof, Value::Null)]).unwrap().proof.is_none());
    let other = json!([role("1.2.250.1.71.1.2.7", "60")]);
    refused(AIR, &[(&roles, other)], Reason::UnknownProfessional, "EX_AIR-020: professionals");
    refused(AIR, &[("/sub", json!("810100000024"))], Reason::StructureNotLinked, "PS et structure non liés");
    let training = json!([role("1.2.250.1.71.1.2.8", "10")]);
    refused(AIR, &[(&roles, training)], Reason::UnknownProfessional, "not in training");
    let staff = [("/sub", json!("CPE1")), (roles.as_str(), json!([role("1.2.250.1.213.1.1.4.6", "A1")]))];
    assert!(judged(AIR, &staff).is_ok(), "staff are the establishment's to know");
}

/// DER puts a zero before a high bit; the components of a key have none.
#[test]
fn components_of_a_key() {
    assert_eq!(number(&[0, 0x80, 0, 1]), [0x80, 0, 1]);
    assert_eq!(number(&[1, 0]), [1, 0]);
    assert!(number(&[0, 0]).is_empty());
}

/// A certificate on a curve, and its key.
fn on_curve(curve: openssl::nid::Nid) -> (Vec<u8>, Vec<u8>) {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::x509::{X509, X509Name};
    let key = PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "Cachet").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    (certificate.build().to_der().unwrap(), key.private_key_to_pkcs8().unwrap())
}

/// The algorithm is that of the seal's key, and verifies what the key signed.
#[test]
fn seals_on_curves() {
    use jsonwebtoken::{EncodingKey, Header};
    use openssl::nid::Nid;
    for (curve, right, wrong) in [
        (Nid::X9_62_PRIME256V1, Algorithm::ES256, Algorithm::ES384),
        (Nid::SECP384R1, Algorithm::ES384, Algorithm::ES256),
    ] {
        let (leaf, der) = on_curve(curve);
        let signing = EncodingKey::from_ec_der(&der);
        let text = jsonwebtoken::encode(&Header::new(right), &json!({ "a": 1 }), &signing).unwrap();
        let (algorithm, verifying) = key(&leaf, right).unwrap();
        assert_eq!(algorithm, right);
        assert!(jsonwebtoken::decode::<Value>(&text, &verifying, &signature_only(algorithm)).is_ok());
        for other in [wrong, Algorithm::RS256, Algorithm::HS256] {
            assert!(key(&leaf, other).is_none(), "{other:?}");
        }
    }
    assert!(key(b"no certificate", Algorithm::ES256).is_none());
}

#[test]
fn a_text_that_is_too_long_is_not_looked_at() {
    let (directory, revocation) = (directory(), Revocation::new(HashMap::new(), Vec::new()));
    let reader = Reader {
        revocation: &revocation,
        directory: &directory,
        checks: IdentifierChecks { keys: true, editor_accounts: false },
        client: "1750000010",
        issuer: "https://habilis.example",
        now: Timestamp::from_second(NOW).unwrap(),
    };
    for (length, expected) in
        [(MAXIMUM, "not a signed JWT"), (MAXIMUM + 1, "too long"), (MAXIMUM * 2, "too long")]
    {
        let refusal = reader.read(&"x".repeat(length)).unwrap_err();
        assert!(refusal.issues[0].diagnostics.contains(expected), "{length}");
    }
}
