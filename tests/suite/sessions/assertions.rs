//! What an establishment says of who acts: INDIRECTE and AIR.

use serde_json::{Value, json};

use super::{assert_error, claims_of, exists, issuer, now};
use crate::on_both_engines;
use crate::support::establishment::{claims, seal, with};
use crate::support::{Answer, Client, Engine, OTHER, Options, TEST, World};
use habilis::sandbox::example::Example;

on_both_engines!(an_air_token_counts_once_on_all_nodes, an_assertion_names_who_acts);

const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn assert_(world: &World, card: &str, signer: &str, claims: &Value) -> Answer {
    let assertion = seal(&world.certs, signer, claims);
    world.client(card).ask_token(&[("grant_type", BEARER), ("assertion", &assertion)])
}

fn an_air_token_counts_once_on_all_nodes(engine: Engine) {
    let world = World::start(engine);
    let second = world.second_node();
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let (document, _) = crate::refusals::fed(&world, "2.25.400");
    let hospital = world.client("org-hopital");
    let read =
        |client: &Client, token: &str| client.with_token(token).get(&format!("/DocumentReference/{document}"));
    let ask = |jti: &str| {
        assert_(
            &world,
            "org-hopital",
            "org-hopital-sign",
            &claims(&issuer(&world), "INDIRECTE_RENFORCEE", now(&world), jti),
        )
    };
    let first = ask("assertion-0001");
    // Thirty seconds from when it was asserted, of which one may have passed.
    let left = first.json()["expires_in"].as_i64().unwrap();
    assert!((25..=30).contains(&left), "{}", first.text());
    assert_eq!(
        first.json()["scope"],
        "TD0.2 TD0.3 ITI-67 ITI-68 TD0.4 TD0.5 TD1.3a TD1.4 TD1.6 TD3.1b TD3.3 ITI-66 ITI-81 ITI-110",
        "AIR never feeds"
    );
    let token = first.token();
    assert_eq!(read(&hospital, &token).status, 200);
    read(&hospital, &token).assert_refused(401, "", "used already");
    read(&second.client("org-hopital"), &token).assert_refused(401, "", "used already");
    // And the other way round: used on the second node, replayed on the first.
    let token = ask("assertion-0002").token();
    assert_eq!(
        read(&second.client("org-hopital"), &token).status,
        200,
        "a token of one node counts on the other"
    );
    read(&hospital, &token).assert_refused(401, "", "used already");
    // The assertion counts once too, whichever node it reaches.
    let assertion = seal(
        &world.certs,
        "org-hopital-sign",
        &claims(&issuer(&world), "INDIRECTE_RENFORCEE", now(&world), "assertion-0003"),
    );
    let form = [("grant_type", BEARER), ("assertion", assertion.as_str())];
    assert_eq!(hospital.ask_token(&form).status, 200);
    assert_error(&second.client("org-hopital").ask_token(&form), 401, "invalid_grant", "used already");
    assert_error(&hospital.ask_token(&form), 401, "invalid_grant", "used already");
    // Two at once on two nodes: one of them.
    let token = ask("assertion-0004").token();
    let statuses: Vec<u16> =
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for node in [&world, &second, &world, &second] {
                let (client, token, document) = (node.client("org-hopital"), &token, &document);
                threads.push(scope.spawn(move || {
                    client.with_token(token).get(&format!("/DocumentReference/{document}")).status
                }));
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    // Thirty seconds.
    let token = ask("assertion-0005").token();
    world.clock.advance_seconds(30);
    read(&hospital, &token).assert_refused(401, "", "has expired");
    // Feeding is in no scope, and the sheet says no as well.
    let token = ask("assertion-0006").token();
    let fed = hospital
        .with_token(&token)
        .post("/DocumentReference", Example::new(TEST, OTHER, "OUVERT", "2.25.401").single());
    fed.assert_refused(403, "DMPAccessForbidden", "scope does not hold ITI-105");
    let asked = seal(
        &world.certs,
        "org-hopital-sign",
        &claims(&issuer(&world), "INDIRECTE_RENFORCEE", now(&world), "assertion-0007"),
    );
    let feeding = [("grant_type", BEARER), ("assertion", asked.as_str()), ("scope", "ITI-65 ITI-105")];
    assert_error(&hospital.ask_token(&feeding), 400, "invalid_scope", "scope is some of");
    // The trace: establishment, professional, software, token.
    let granted = world
        .traces()
        .into_iter()
        .rfind(|trace| trace.operation == "TD3.1 read metadata" && trace.outcome == "granted")
        .unwrap();
    assert_eq!(granted.caller_kind, "PS");
    assert!(
        granted.authentication.starts_with("INDIRECTE_RENFORCEE (carte CPE, 20"),
        "{}",
        granted.authentication
    );
    assert_eq!((granted.role.as_deref(), granted.sector.as_deref()), (Some("10 SM26"), Some("SA01")));
    assert_eq!(granted.caller_id, "810100000016");
    assert_eq!(granted.caller_structure.as_deref(), Some("1750000010"));
    assert_eq!(granted.software.as_deref(), Some("Logiciel de démonstration 2.3 DEMO-DMP-0001"));
    assert!(granted.rule.starts_with("PDT-INF-606 TD3.2"), "{}", granted.rule);
    assert!(granted.session_id.is_some());
}

fn an_assertion_names_who_acts(engine: Engine) {
    let world = World::start(engine);
    let good = |jti: &str| claims(&issuer(&world), "INDIRECTE", now(&world), jti);
    let answer = assert_(&world, "org-hopital", "org-hopital-sign", &good("indirect-0001"));
    let hospital = world.client("org-hopital").with_token(&answer.token());
    assert_eq!(exists(&hospital).status, 200);
    let fed = hospital.post("/DocumentReference", Example::new(TEST, OTHER, "OUVERT", "2.25.440").single());
    assert_eq!(fed.status, 201, "{}", fed.text());
    let trace = world.traces_of(fed.request_id()).remove(0);
    assert_eq!((trace.authentication.as_str(), trace.caller_id.as_str()), ("INDIRECTE", "810100000016"));
    assert!(
        trace.rule.contains("organisation certificate indirect, anyone / normal = structure_attributed"),
        "{}",
        trace.rule
    );
    // The deposit is the structure's, not the named doctor's: she may not replace it as her own.
    hospital.find(OTHER).assert_refused(403, "DMPAccessForbidden", "sheet");
    let id = fed.json()["id"].as_str().unwrap().to_owned();
    hospital.get(&format!("/DocumentReference/{id}")).assert_refused(403, "DMPAccessForbidden", "sheet");
    // A site of the hospital; staff who are no professionals.
    let site = with(good("indirect-0002"), "/extensions/ihe_iua/subject_organization_id", json!("1750000051"));
    assert_eq!(assert_(&world, "org-hopital", "org-hopital-sign", &site).status, 200);
    let staff = with(good("indirect-0003"), "/sub", json!("810100000016"));
    let staff = with(
        staff,
        "/extensions/ihe_iua/subject_role",
        json!([{ "system": "1.2.250.1.213.1.1.4.6", "code": "SECRETARIAT_MEDICAL" }]),
    );
    let token = assert_(&world, "org-hopital", "org-hopital-sign", &staff).token();
    assert_eq!(claims_of(&token)["sub"], "1750000010/810100000016", "an establishment's number is no PS_IdNat");
    // What is wrong, one thing at a time.
    let iua = "/extensions/ihe_iua";
    let dmp = "/extensions/dmp";
    let faults = [
        ("/iss".to_owned(), json!("1750000028"), 403, "Struct_IdNat"),
        (format!("{iua}/subject_organization_id"), json!("1750000028"), 403, "one of its sites"),
        ("/sub".to_owned(), json!("810100000017"), 400, "PS_IdNat"),
        ("/aud".to_owned(), json!("https://other.example"), 400, "aud is"),
        ("/iat".to_owned(), json!(now(&world) + 60), 400, "future"),
        ("/exp".to_owned(), json!(now(&world) + 900), 400, "at most 300 seconds"),
        ("/exp".to_owned(), json!(now(&world) - 1), 400, "at most 300 seconds after iat"),
        ("/jti".to_owned(), json!("short"), 400, "jti"),
        ("/jti".to_owned(), Value::Null, 400, "cannot be read"),
        (format!("{dmp}/authentification_mode"), json!("DIRECTE"), 400, "INDIRECTE"),
        (format!("{dmp}/ressource_urn"), json!("urn:other"), 400, "urn:dmp"),
        (format!("{dmp}/secteur_activite"), Value::Null, 400, "secteur_activite"),
        (format!("{dmp}/secteur_activite"), json!("hôpital"), 400, "TRE_R02"),
        (format!("{dmp}/lps_nom"), Value::Null, 400, "lps_nom"),
        (format!("{dmp}/lps_version"), Value::Null, 400, "lps_version"),
        (format!("{dmp}/lps_id_homologation"), Value::Null, 400, "lps_id_homologation"),
        (format!("{iua}/subject_name"), Value::Null, 400, "subject_name"),
        (
            format!("{iua}/subject_role"),
            json!([{ "system": "1.2.250.1.71.1.2.7", "code": "10" }]),
            400,
            "second role",
        ),
        (
            format!("{iua}/subject_role"),
            json!([{ "system": "1.2.250.1.71.1.2.7", "code": "21" }]),
            400,
            "second role",
        ),
        (format!("{iua}/subject_role"), json!([{ "system": "1.2.3", "code": "10" }]), 400, "TRE_G15"),
        (format!("{iua}/subject_role"), json!([]), 400, "subject_role"),
        (format!("{iua}/purpose_of_use"), json!([]), 400, "TRE_R248"),
        (
            format!("{iua}/purpose_of_use"),
            json!([{ "system": "urn:oid:1.2.250.1.213.1.1.4.248", "code": "bris_de_glace" }]),
            403,
            "no bris_de_glace",
        ),
        (
            format!("{iua}/purpose_of_use"),
            json!([{ "system": "urn:oid:1.2.250.1.213.1.1.4.248", "code": "centre_15" }]),
            403,
            "regulation centre",
        ),
        (
            format!("{iua}/purpose_of_use"),
            json!([{ "system": "urn:oid:1.2.3", "code": "normal" }]),
            400,
            "TRE_R248",
        ),
        (format!("{dmp}/motif"), json!("a\u{0}b"), 400, "motif has at most"),
        (format!("{dmp}/motif"), json!("x".repeat(501)), 400, "motif has at most"),
        (format!("{dmp}/lps_nom"), json!("a\u{202e}b"), 400, "lps_nom"),
        (
            format!("{iua}/subject_role"),
            json!([{ "system": "1.2.250.1.213.1.1.4.6", "code": "EXP_PATIENT" }]),
            400,
            "no role of an establishment",
        ),
        (
            format!("{iua}/subject_role"),
            json!([{ "system": "1.2.250.1.71.1.2.7", "code": "10\u{0}" }]),
            400,
            "TRE_G15",
        ),
        (format!("{iua}/person_id"), json!("279035121518989"), 400, "urn:oid:"),
    ];
    for (number, (pointer, value, status, phrase)) in faults.into_iter().enumerate() {
        let claims = with(good(&format!("indirect-1{number:03}")), &pointer, value.clone());
        let answer = assert_(&world, "org-hopital", "org-hopital-sign", &claims);
        assert_eq!(answer.status, status, "{pointer} = {value}: {}", answer.text());
        assert!(answer.text().contains(phrase), "{pointer} = {value}: {}", answer.text());
    }
    // Who signed.
    let unknown = habilis::pki::Authority::unknown(jiff_now()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stranger = habilis::pki::Holder {
        structure: Some("1750000010".into()),
        structure_name: Some("HOPITAL".into()),
        common_name: Some("Cachet".into()),
        ..habilis::pki::Holder::new(habilis::pki::HolderKind::OrganisationSeal)
    };
    let certs = crate::support::pki_copy(folder.path());
    habilis::pki::PkiFolder::new(&certs).issue_under("stranger", &stranger, &unknown, jiff_now()).unwrap();
    for (signer, phrase) in [
        ("org-hopital", "not a valid signature certificate"),
        ("org-hopital-ssl", "not a valid signature certificate"),
        ("cps-medecin", "not a valid signature certificate"),
        ("stranger", "issuing authority"),
    ] {
        let assertion = seal(&certs, signer, &good(&format!("signer-{signer}")));
        let answer =
            world.client("org-hopital").ask_token(&[("grant_type", BEARER), ("assertion", &assertion)]);
        answer.assert_refused(400, "DMPInvalidCertificate", phrase);
        assert_eq!(answer.json()["error"], "invalid_grant");
    }
    let two = assert_(&world, "org-samu", "org-hopital-sign", &good("two-structures"));
    two.assert_refused(400, "DMPInvalidCertificate", "two structures");
    let altered = {
        let sealed = seal(&world.certs, "org-hopital-sign", &good("altered-0001"));
        let (head, rest) = sealed.split_once('.').unwrap();
        let other =
            seal(&world.certs, "org-hopital-sign", &with(good("altered-0002"), "/sub", json!("810100000024")));
        format!("{head}.{}.{}", other.split('.').nth(1).unwrap(), rest.split_once('.').unwrap().1)
    };
    let answer = world.client("org-hopital").ask_token(&[("grant_type", BEARER), ("assertion", &altered)]);
    assert_error(&answer, 400, "invalid_grant", "signature");
    // A parameter beside the assertion says the same, or is refused.
    let sealed = seal(&world.certs, "org-hopital-sign", &good("beside-0001"));
    let beside = [("grant_type", BEARER), ("assertion", sealed.as_str()), ("purpose_of_use", "centre_15")];
    assert_error(
        &world.client("org-hopital").ask_token(&beside),
        400,
        "invalid_request",
        "beside the assertion",
    );
    let same = [("grant_type", BEARER), ("assertion", sealed.as_str()), ("purpose_of_use", "normal")];
    assert_eq!(world.client("org-hopital").ask_token(&same).status, 200, "control");
}

#[test]
fn reinforced_authentication_wants_proof() {
    let world = World::start(Engine::Sqlite);
    let good = |jti: &str| claims(&issuer(&world), "INDIRECTE_RENFORCEE", now(&world), jti);
    let refused = |jti: &str, pointer: &str, value: Value, status: u16, phrase: &str| {
        let answer = assert_(&world, "org-hopital", "org-hopital-sign", &with(good(jti), pointer, value));
        assert_eq!(answer.status, status, "{pointer}: {}", answer.text());
        assert!(answer.text().contains(phrase), "{pointer}: {}", answer.text());
        world.traces_of(answer.request_id()).remove(0).rule
    };
    let rule = refused(
        "proof-0001",
        "/extensions/dmp/authentification_primaire",
        Value::Null,
        400,
        "authentification_primaire",
    );
    assert!(rule.contains("EX_AIR-050"), "{rule}");
    let rule = refused("proof-0002", "/exp", json!(now(&world) + 31), 400, "at most 30 seconds");
    assert!(rule.contains("EX_AIR-040"), "{rule}");
    let rule = refused("proof-0003", "/sub", json!("899900063480"), 403, "national directory");
    assert!(rule.contains("EX_AIR-020"), "{rule}");
    let rule = refused(
        "proof-0004",
        "/extensions/dmp/lps_id_homologation",
        json!("DEMO-DMP-0002"),
        403,
        "Consultation",
    );
    assert!(rule.contains("EX_AIR-010"), "{rule}");
    // Only those who work there, in their own profession and speciality.
    let rule = refused("proof-0011", "/sub", json!("810100000024"), 403, "no activity");
    assert!(rule.contains("PS et structure non liés"), "{rule}");
    let roles = |code: &str, detail: &str| {
        json!([
            { "system": "1.2.250.1.71.1.2.7", "code": code },
            { "system": "1.2.250.1.71.4.2.5", "code": detail },
        ])
    };
    let occupational = |jti: &str, detail: &str| {
        let claims = with(good(jti), "/sub", json!("810100000081"));
        assert_(
            &world,
            "org-hopital",
            "org-hopital-sign",
            &with(claims, "/extensions/ihe_iua/subject_role", roles("10", detail)),
        )
    };
    let answer = occupational("proof-0012", "SM26");
    assert!(answer.status == 400 && answer.text().contains("SM25"), "{}", answer.text());
    // He may be the médecin traitant of somebody: of this patient he is not.
    let session = world.client("org-hopital").with_token(&occupational("proof-0013", "SM25").token());
    let answer = session.find(OTHER);
    answer.assert_refused(403, "DMPAccessForbidden", "no column");
    assert!(world.traces_of(answer.request_id()).remove(0).rule.contains("PDT-INF-606: no column"));
    let training = json!([{ "system": "1.2.250.1.71.1.2.8", "code": "10" }]);
    refused("proof-0014", "/extensions/ihe_iua/subject_role", training, 403, "not in training");
    refused(
        "proof-0015",
        "/extensions/dmp/authentification_primaire",
        json!({ "method": "carte", "at": 1 }),
        400,
        "authentification_primaire",
    );
    let breaking = with(
        good("proof-0005"),
        "/extensions/ihe_iua/purpose_of_use",
        json!([{ "system": "urn:oid:1.2.250.1.213.1.1.4.248", "code": "bris_de_glace" }]),
    );
    assert_eq!(
        assert_(&world, "org-hopital", "org-hopital-sign", &breaking).status,
        400,
        "motif and record are missing"
    );
    let breaking = with(breaking, "/extensions/ihe_iua/person_id", json!(format!("{TEST}|{OTHER}")));
    let breaking = with(breaking, "/extensions/dmp/motif", json!("inconscient"));
    let breaking = with(breaking, "/jti", json!("proof-0006"));
    let token = assert_(&world, "org-hopital", "org-hopital-sign", &breaking).token();
    let answer = world.client("org-hopital").with_token(&token).find(OTHER);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let trace = world.traces_of(answer.request_id()).remove(0);
    assert_eq!((trace.mode.as_str(), trace.motif.as_deref()), ("bris_de_glace", Some("inconscient")));
}

#[test]
fn a_seal_that_is_revoked_or_forged_seals_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let certs = crate::support::pki_copy(folder.path());
    let pki = habilis::pki::PkiFolder::new(&certs);
    let world = World::start_with(Engine::Sqlite, Options { certs: Some(certs.clone()), ..Options::default() });
    let ask = |signer: &str, jti: &str| {
        assert_(&world, "org-hopital", signer, &claims(&issuer(&world), "INDIRECTE", now(&world), jti))
    };
    assert_eq!(ask("org-hopital-sign", "seal-0001").status, 200, "control");
    // An authority of the right name and another key.
    let authority =
        pki.authority(habilis::pki::Range::Elementaire, habilis::pki::Branch::Organisations).unwrap();
    let key = openssl::pkey::PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
    let forger = habilis::pki::Authority { key, ..authority };
    let holder = habilis::pki::Holder {
        structure: Some("1750000010".into()),
        structure_name: Some("HOPITAL".into()),
        common_name: Some("Cachet".into()),
        ..habilis::pki::Holder::new(habilis::pki::HolderKind::OrganisationSeal)
    };
    pki.issue_under("forged-seal", &holder, &forger, jiff_now()).unwrap();
    ask("forged-seal", "seal-0002").assert_refused(400, "DMPInvalidCertificate", "does not lead to an anchor");
    pki.revoke("org-hopital-sign", jiff_now()).unwrap();
    let begun = std::time::Instant::now();
    let mut number = 10;
    let refused = loop {
        number += 1;
        let answer = ask("org-hopital-sign", &format!("seal-00{number}"));
        if answer.status != 200 {
            break answer;
        }
        assert!(begun.elapsed().as_secs() < 5, "still served 5 s after the list landed");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    refused.assert_refused(400, "DMPInvalidCertificate", "it is revoked");
}

#[expect(clippy::disallowed_methods, reason = "the tests' own clock")]
fn jiff_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
