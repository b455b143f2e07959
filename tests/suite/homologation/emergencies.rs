//! Bris de glace and Centre 15: what opens, what does not, and what is written down.

use serde_json::json;

use super::{bris_de_glace, centre_15, document, e_cps, establishment, feed, session};
use crate::on_both_engines_and_in_xml;
use crate::support::{Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines_and_in_xml!(bris_de_glace_rows, centre_15_rows, the_matrix_applies, emergencies_and_relations);

/// URGENT: masked documents open in emergencies; holds one that `cps-medecin-b` masked.
const URGENT: &str = "163097599900722";
/// Opposed to bris de glace, opposed to Centre 15.
const NO_BRIS_DE_GLACE: &str = "155127599900576";
const NO_CENTRE_15: &str = "248037599900630";
const MASKED: &[&str] = &["N", "MASQUE_PS"];

fn bris_de_glace_rows(engine: Engine) {
    let world = World::start(engine);
    let (doctor, author, mes) =
        (world.client("cps-medecin"), world.client("cps-medecin-b"), PatientSide::of(&world));
    for (ins, normal, masked) in [(URGENT, "2.25.710", "2.25.711"), (OTHER, "2.25.712", "2.25.713")] {
        feed(&author, &document(ins, normal, &["N"]));
        feed(&author, &document(ins, masked, MASKED));
    }

    // 3.1-150: without authorisation, with a reason; masked documents only where the patient opened them to emergencies; no
    // authorisation comes of it; mode and reason are written down.
    doctor.find(URGENT).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    let emergency = bris_de_glace(&world, "cps-medecin", URGENT);
    let found = emergency.find(URGENT);
    assert_eq!(found.found().0, 3, "the fixture's masked one with them");
    let trace = world.traces_of(found.request_id()).remove(0);
    assert_eq!((trace.mode.as_str(), trace.motif.as_deref()), ("bris_de_glace", Some("inconscient")));
    assert!(trace.rule.contains("L1111-17 I: bris de glace"), "{}", trace.rule);
    let url = found.first_attachment();
    assert_eq!(emergency.get(&url).status, 200);
    doctor.find(URGENT).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    mes.change(URGENT, json!({ "masquesOuvertsEnUrgence": false }));
    assert_eq!(emergency.find(URGENT).found().0, 1, "the very next request");
    assert_eq!(bris_de_glace(&world, "cps-medecin", OTHER).find(OTHER).found().0, 1, "off by default");
    assert_eq!(
        bris_de_glace(&world, "cps-medecin-b", OTHER).find(OTHER).found().0,
        2,
        "the author sees his own"
    );
    // No reason, no record: no session.
    let asked = |form: &[(&str, &str)]| {
        let mut all = vec![("grant_type", "client_credentials"), ("purpose_of_use", "bris_de_glace")];
        all.extend_from_slice(form);
        doctor.ask_token(&all)
    };
    let patient = format!("{TEST}|{OTHER}");
    asked(&[("patient", &patient)]).assert_refused(400, "", "motif");
    asked(&[("motif", "inconscient")]).assert_refused(400, "", "patient");
    // That record alone, whatever the route.
    let other_url = bris_de_glace(&world, "cps-medecin", OTHER).find(OTHER).first_attachment();
    emergency.find(OTHER).assert_refused(403, "DMPAccessForbidden", "another record");
    emergency.get(&other_url).assert_refused(404, "", "no such resource");
    emergency.look_up(OTHER, "2.25.712").assert_refused(403, "DMPAccessForbidden", "another record");
    emergency.delete_document("2.25.712").assert_refused(404, "", "no such resource");
    let fed = emergency.post("/DocumentReference", document(OTHER, "2.25.714", &["N"]).single());
    fed.assert_refused(403, "DMPAccessForbidden", "another record");
    // Opposed, and blocked: refused, and written down.
    let opposed = bris_de_glace(&world, "cps-medecin", NO_BRIS_DE_GLACE).find(NO_BRIS_DE_GLACE);
    opposed.assert_refused(403, "DMPAccessForbidden", "opposed");
    let trace = world.traces_of(opposed.request_id()).remove(0);
    assert_eq!((trace.outcome.as_str(), trace.mode.as_str()), ("refused", "bris_de_glace"));
    let blocked = bris_de_glace(&world, "cps-medecin-b", "291087599900442").find("291087599900442");
    blocked.assert_refused(403, "DMPAccessForbidden", "blocked");
    // Feeding is open in an emergency too.
    feed(&emergency, &document(URGENT, "2.25.715", &["N"]));
    // By e-CPS and AIR the same way.
    let patient = json!(format!("{TEST}|{URGENT}"));
    let code = json!([{ "system": "urn:oid:1.2.250.1.213.1.1.4.248", "code": "bris_de_glace" }]);
    let air = establishment(
        &world,
        "INDIRECTE_RENFORCEE",
        &[
            ("/extensions/ihe_iua/purpose_of_use", code),
            ("/extensions/dmp/motif", json!("inconscient")),
            ("/extensions/ihe_iua/person_id", patient),
        ],
    );
    assert_eq!(air.find(URGENT).found().0, 2);
}

fn centre_15_rows(engine: Engine) {
    let world = World::start(engine);
    let mes = PatientSide::of(&world);
    let author = world.client("cps-medecin-b");
    let masked = feed(&author, &document(OTHER, "2.25.720", MASKED));
    feed(&author, &document(OTHER, "2.25.721", &["N"]));
    feed(&author, &document(NO_CENTRE_15, "2.25.722", &["N"]));
    author.authorise(NO_CENTRE_15);
    let doctor = centre_15(&world);

    // 3.1-240: opposed: no entry and no total, nor the content by its address; written down; not in TD0.5 either.
    let refused = doctor.find(NO_CENTRE_15);
    refused.assert_refused(403, "DMPAccessForbidden", "opposed");
    assert!(!refused.text().contains("total"));
    let url = author.find(NO_CENTRE_15).first_attachment();
    doctor.get(&url).assert_refused(404, "", "no such resource");
    let trace = world.traces_of(refused.request_id()).remove(0);
    assert_eq!((trace.outcome.as_str(), trace.mode.as_str()), ("refused", "centre_15"));
    assert_eq!(doctor.get("/Patient?family:exact=SANSQUINZE").found(), (0, vec![]));

    assert_eq!(doctor.find(OTHER).found().0, 1, "without the masked one");
    mes.change(OTHER, json!({ "masquesOuvertsEnUrgence": true }));
    assert!(doctor.find(OTHER).found().1.contains(&masked));
    mes.change(OTHER, json!({ "oppositionCentre15": true }));
    doctor.find(OTHER).assert_refused(403, "DMPAccessForbidden", "opposed");
    mes.change(OTHER, json!({ "oppositionCentre15": false }));
    mes.set(OTHER, "1750000028", "bloque");
    doctor.find(OTHER).assert_refused(403, "DMPAccessForbidden", "blocked");
    // The two switches are apart.
    assert_eq!(doctor.find(NO_BRIS_DE_GLACE).status, 200);
    assert_eq!(bris_de_glace(&world, "cps-medecin", NO_CENTRE_15).find(NO_CENTRE_15).found().0, 1);
}

/// The habilitation matrix applies in an emergency as well.
fn the_matrix_applies(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin-b");
    let mut request = document(OTHER, "2.25.730", &["N"]);
    request.type_code = "75496-0";
    feed(&author, &request);
    feed(&author, &document(OTHER, "2.25.731", &["N"]));
    let dentist = bris_de_glace(&world, "cps-dentiste", OTHER);
    assert_eq!(dentist.find(OTHER).found().0, 1);
    assert_eq!(bris_de_glace(&world, "cps-medecin", OTHER).find(OTHER).found().0, 2, "control");
    let doctor = session(&world, "cps-medecin-b", &[]);
    doctor.authorise(OTHER);
    let found = doctor
        .get(&format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&type=75496-0"));
    let url = found.first_attachment();
    let hidden = dentist.get(&url);
    hidden.assert_refused(404, "", "no such resource");
    let rule = world.traces_of(hidden.request_id()).remove(0).rule;
    assert!(rule.contains("habilitation matrix") && rule.contains("× 75496-0 is not yes"), "{rule}");
}

/// Médecin traitant and equal rights: everything, without a declaration, in mode normal and through broken glass.
fn emergencies_and_relations(engine: Engine) {
    let world = World::start(engine);
    let mes = PatientSide::of(&world);
    let (doctor, nurse, author) =
        (world.client("cps-medecin"), world.client("cps-infirmier"), world.client("cps-medecin-b"));
    feed(&author, &document(OTHER, "2.25.740", MASKED));
    let sees = |client: &Client| client.find(OTHER).status == 200 && client.find(OTHER).found().0 == 1;
    assert!(!sees(&nurse) && !sees(&doctor));
    mes.set(OTHER, "810100000040", "droits_equivalents");
    mes.set(OTHER, "810100000016", "medecin_traitant");
    assert!(sees(&nurse) && sees(&doctor) && sees(&e_cps(&world, "claire.bernard")), "several at once");
    assert_eq!(establishment(&world, "INDIRECTE_RENFORCEE", &[]).find(OTHER).found().0, 1);
    // Equal rights are not the doctor's alone, « médecin traitant » said of a nurse counts for nothing.
    mes.set(OTHER, "810100000040", "medecin_traitant");
    nurse.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    // Blocked afterwards: whatever he was, he is no more; unblocked, he has to be named again.
    mes.set(OTHER, "810100000016", "bloque");
    doctor.find(OTHER).assert_refused(403, "DMPAccessForbidden", "blocked");
    mes.forget(OTHER, "810100000016");
    doctor.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    // A structure that is blocked blocks whoever acts for it, médecin traitant included; and whoever might, where he does not say for
    // whom he acts. For another structure he does.
    mes.set(OTHER, "810100000016", "medecin_traitant");
    mes.set(OTHER, "1750000101", "bloque");
    doctor.find(OTHER).assert_refused(403, "DMPAccessForbidden", "blocked");
    assert!(sees(&session(&world, "cps-medecin", &[("structure", "1750000010")])));
    session(&world, "cps-medecin", &[("structure", "1750000101")]).find(OTHER).assert_refused(
        403,
        "DMPAccessForbidden",
        "blocked",
    );
    // Optimistic locking: a change at another version is refused, one without a version as well.
    let record = mes.record(OTHER);
    let path = format!("/{}", record.id);
    let change = Some(json!({ "oppositionBrisDeGlace": true }));
    mes.send("PATCH", &path, Some(record.version - 1), change.clone()).assert_refused(
        412,
        "",
        "another version",
    );
    mes.send("PATCH", &path, None, change.clone()).assert_refused(412, "", "If-Match");
    assert_eq!(mes.send("PATCH", &path, Some(record.version), change).status, 200);
    assert_eq!(mes.record(OTHER).json["oppositionBrisDeGlace"], true);
    assert_eq!(mes.record(OTHER).version, record.version + 1);
    // Nobody else speaks for patients.
    for card in ["cps-medecin", "org-hopital", "org-psc", "cpa-support"] {
        let answer = world.client(card).get(&mes.url(&path));
        answer.assert_refused(403, "DMPAccessForbidden", "SI Mon espace santé alone");
    }
}
