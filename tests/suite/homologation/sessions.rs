//! The TD0.1 rows.

use habilis::environment::Clock;
use habilis::sandbox::CLIENT_ID;
use habilis::sandbox::example::Example;
use habilis::sandbox::pro_sante_connect::TokenForm;
use serde_json::json;

use super::BEARER;
use crate::on_both_engines;
use crate::support::establishment::{claims, seal, with};
use crate::support::{Answer, Client, Engine, OTHER, TEST, World};

on_both_engines!(td0_1);

fn feed(client: &Client, unique_id: &str) -> Answer {
    client.post("/DocumentReference", Example::new(TEST, OTHER, "OUVERT", unique_id).single())
}

fn exists(client: &Client) -> Answer {
    client.exists(OTHER)
}

fn token(client: &Client, form: &[(&str, &str)]) -> String {
    client.ask_token(form).token()
}

fn td0_1(engine: Engine) {
    let world = World::start(engine);
    let who = |answer: &Answer| {
        let trace = world.traces_of(answer.request_id()).remove(0);
        (trace.caller_id, trace.caller_structure, trace.mode, trace.authentication)
    };

    // 0.1-110: a doctor by card; person, role with speciality, structure and sector come from card and token, never from
    // the body of a request.
    let doctor = world.client("cps-medecin");
    let session = doctor.with_token(&token(
        &doctor,
        &[("grant_type", "client_credentials"), ("structure", "1750000101"), ("secteur_activite", "SA07")],
    ));
    let fed = feed(&session, "2.25.500");
    assert_eq!(fed.status, 201, "{}", fed.text());
    let expected = ("810100000016".into(), Some("1750000101".into()), "normal".into(), "DIRECTE".into());
    assert_eq!(who(&fed), expected);
    let kept = world.traces_of(fed.request_id()).remove(0);
    assert_eq!((kept.role.as_deref(), kept.sector.as_deref()), (Some("10 SM26"), Some("SA07")));
    session.authorise(OTHER);
    assert_eq!(session.find(OTHER).found().0, 1);

    // 0.1-120: staff with a named card. The act is the structure's; searching and reading are refused.
    let staff = world.client("cpe-secretaire");
    let mut example = Example::new(TEST, OTHER, "OUVERT", "2.25.501");
    example.author = "1750000101";
    let fed = staff.post("/DocumentReference", example.single());
    assert_eq!(fed.status, 201, "{}", fed.text());
    assert_eq!(who(&fed).1.as_deref(), Some("1750000101"));
    let id = fed.json()["id"].as_str().unwrap().to_owned();
    staff.find(OTHER).assert_refused(403, "DMPAccessForbidden", "sheet");
    staff.get(&format!("/DocumentReference/{id}")).assert_refused(403, "DMPAccessForbidden", "sheet");

    // 0.1-140: a pharmacist; without the section no session.
    let pharmacist = world.client("cps-pharmacien");
    pharmacist.ask_token(&[("grant_type", "client_credentials")]).assert_refused(
        400,
        "",
        "a pharmacist names a section",
    );
    let session = pharmacist
        .with_token(&token(&pharmacist, &[("grant_type", "client_credentials"), ("specialite", "A")]));
    session.authorise(OTHER);
    let found = session.find(OTHER);
    assert_eq!(found.status, 200);
    assert_eq!(world.traces_of(found.request_id()).remove(0).role.as_deref(), Some("21 A"), "both role values");

    // 0.1-150: a professional who is no doctor: one role value is enough.
    let midwife = world.client("cps-sage-femme");
    let session = midwife.with_token(&token(&midwife, &[("grant_type", "client_credentials")]));
    session.authorise(OTHER);
    assert_eq!(session.find(OTHER).status, 200);

    // 0.1-160: an expired card: no connection, nothing stored, and the refusal stands in the trace.
    let before = world.rows("document");
    let expired = world.client("cps-expire").send("GET", "/metadata", &[], None);
    assert!(expired.is_err(), "no connection");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let refused = world.traces().into_iter().rfind(|trace| trace.operation == "TLS handshake").unwrap();
    assert_eq!(
        (refused.outcome.as_str(), refused.rule.as_str()),
        ("refused", "UnsuitableCertificate: handshake: Expired")
    );
    assert_eq!(world.rows("document"), before);

    // 0.1-190: e-CPS: the token serves over the certificate with which it was obtained, and over no other.
    let software = world.client("org-psc");
    let subject = world.stand_in.sign_in("claire.bernard", CLIENT_ID, TokenForm::Opaque).unwrap();
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", subject.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("scope", "TD0.2 ITI-105 ITI-67"),
    ];
    let issued = token(&software, &form);
    let fed = feed(&software.with_token(&issued), "2.25.502");
    assert_eq!(fed.status, 201, "{}", fed.text());
    assert_eq!(who(&fed).0, "810100000016", "SubjectNameID");
    feed(&world.client("org-hopital").with_token(&issued), "2.25.503").assert_refused(
        401,
        "",
        "another certificate",
    );
    exists(&software.with_token(&subject)).assert_refused(401, "", "exchanged first");
    let several = world.stand_in.sign_in("odile.double", CLIENT_ID, TokenForm::Opaque).unwrap();
    let several =
        form.map(|(name, value)| (name, if name == "subject_token" { several.as_str() } else { value }));
    software.ask_token(&several).assert_refused(400, "", "name one");

    // 0.1-210: INDIRECTE: the structure is that of the certificate or one of its sites; no listing; a TLS server
    // certificate is no client.
    let issuer = format!("https://localhost:{}", world.listening.api.port());
    let now = world.clock.now().as_second();
    let indirect = claims(&issuer, "INDIRECTE", now, "homologation-210");
    let assertion = seal(&world.certs, "org-hopital-sign", &indirect);
    let hospital = world.client("org-hopital");
    let session = hospital.with_token(&token(&hospital, &[("grant_type", BEARER), ("assertion", &assertion)]));
    let fed = feed(&session, "2.25.504");
    assert_eq!(fed.status, 201, "{}", fed.text());
    assert_eq!(who(&fed).3, "INDIRECTE");
    session.find(OTHER).assert_refused(403, "DMPAccessForbidden", "sheet");
    let other = with(indirect.clone(), "/extensions/ihe_iua/subject_organization_id", json!("1750000028"));
    let other = seal(&world.certs, "org-hopital-sign", &other);
    hospital.ask_token(&[("grant_type", BEARER), ("assertion", &other)]).assert_refused(
        403,
        "DMPAccessForbidden",
        "one of its sites",
    );
    exists(&world.client("org-hopital-ssl")).assert_refused(
        401,
        "DMPInvalidCertificate",
        "SSL server certificate",
    );

    // 0.1-220: regulation: only a structure that the directory lists as a centre; it tests existence and lists nothing.
    let refused =
        seal(&world.certs, "org-hopital-sign", &regulation(&world, "1750000010", "homologation-220a"));
    hospital.ask_token(&[("grant_type", BEARER), ("assertion", &refused)]).assert_refused(
        403,
        "DMPAccessForbidden",
        "regulation centre",
    );
    let session = regulation_centre(&world);
    let found = exists(&session);
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(who(&found).2, "centre_15");
    session.find(OTHER).assert_refused(403, "DMPAccessForbidden", "sheet");

    // 0.1-400: AIR: once, within thirty seconds, with the primary authentication, for professionals of the directory;
    // never to feed.
    let air = |jti: &str| claims(&issuer, "INDIRECTE_RENFORCEE", now, jti);
    let open = |claims: &serde_json::Value| {
        let assertion = seal(&world.certs, "org-hopital-sign", claims);
        hospital.ask_token(&[("grant_type", BEARER), ("assertion", &assertion)])
    };
    let once = open(&air("homologation-400a")).token();
    let session = hospital.with_token(&once);
    let found = session.find(OTHER);
    assert_eq!(found.status, 200, "{}", found.text());
    assert!(who(&found).3.starts_with("INDIRECTE_RENFORCEE (carte CPE"), "with its proof");
    session.find(OTHER).assert_refused(401, "", "used already");
    let feeding = hospital.with_token(&open(&air("homologation-400b")).token());
    feed(&feeding, "2.25.505").assert_refused(403, "DMPAccessForbidden", "scope");
    let stranger = with(air("homologation-400c"), "/sub", json!("899900063480"));
    open(&stranger).assert_refused(403, "DMPAccessForbidden", "national directory");
    let unproven = with(air("homologation-400d"), "/extensions/dmp/authentification_primaire", json!(null));
    open(&unproven).assert_refused(400, "", "authentification_primaire");
    let late = hospital.with_token(&open(&air("homologation-400e")).token());
    world.clock.advance_seconds(31);
    late.find(OTHER).assert_refused(401, "", "has expired");
}

/// The claims of an establishment that regulates, or says so.
fn regulation(world: &World, issuer_id: &str, jti: &str) -> serde_json::Value {
    let issuer = format!("https://localhost:{}", world.listening.api.port());
    let claims = claims(&issuer, "INDIRECTE", world.clock.now().as_second(), jti);
    let claims = with(claims, "/iss", json!(issuer_id));
    let claims = with(claims, "/extensions/ihe_iua/subject_organization_id", json!(issuer_id));
    let centre = json!([{ "system": "urn:oid:1.2.250.1.213.1.1.4.248", "code": "centre_15" }]);
    with(claims, "/extensions/ihe_iua/purpose_of_use", centre)
}

/// The software of a regulation centre. The sandbox has no seal of the SAMU: one is issued as a vendor would.
pub fn regulation_centre(world: &World) -> Client {
    let folder = tempfile::tempdir().unwrap();
    let certs = crate::support::pki_copy(folder.path());
    let seal_of_samu = habilis::pki::HolderKind::OrganisationSeal;
    issue(&certs, "samu-sign", seal_of_samu, "1750000028", "SAMU DE DEMONSTRATION");
    let assertion = seal(&certs, "samu-sign", &regulation(world, "1750000028", "homologation-220b"));
    let samu = world.client("org-samu");
    samu.with_token(&token(&samu, &[("grant_type", BEARER), ("assertion", &assertion)]))
}

/// Issues an organisation's certificate from the authorities of a copy: the keys are those that the server trusts.
pub fn issue(
    certs: &std::path::Path,
    name: &str,
    kind: habilis::pki::HolderKind,
    structure: &str,
    label: &str,
) {
    use habilis::pki::{Holder, PkiFolder};
    let holder = Holder {
        structure: Some(structure.into()),
        structure_name: Some(label.into()),
        common_name: Some("Cachet".into()),
        ..Holder::new(kind)
    };
    PkiFolder::new(certs).issue(name, &holder, jiff_now()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the tests' own clock")]
fn jiff_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
