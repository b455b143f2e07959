//! The TD0.2 rows: does a record exist, and how does it stand towards the caller.

use serde_json::{Value, json};

use super::{NO_RECORD, bris_de_glace, document, e_cps, establishment, extension, feed, patient};
use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines_and_in_xml!(td0_2, td0_2_states);

fn state(answer: &Answer) -> (Value, Value) {
    let patient = patient(answer);
    (extension(&patient, "dmp-autorisation"), extension(&patient, "dmp-medecin-traitant"))
}

fn td0_2(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    let records = world.rows("record");

    // 0.1-060#1: a valid INS without a record is an empty answer, and makes none.
    // 0.2-010: thirteen digits or another OID are a fault of the request, not an empty answer; no name stands for an INS.
    assert_eq!(doctor.exists(NO_RECORD).found(), (0, vec![]));
    assert_eq!(world.rows("record"), records);
    doctor.exists(&OTHER[..13]).assert_refused(400, "DMPInvalidResourceId", "15");
    let elsewhere = doctor.get(&format!("/Patient?identifier=urn:oid:1.2.3%7C{OTHER}"));
    elsewhere.assert_refused(400, "DMPInvalidResourceId", "system");
    doctor.get("/Patient?family=OUVERT").assert_refused(403, "DMPAccessForbidden", "TD0.5");

    // 0.1-060#2: an open record without authorisation.
    // 0.2-030: NON_EXISTE; searching is refused, feeding is not.
    let open = doctor.exists(OTHER);
    let found = patient(&open);
    assert_eq!(found["active"], true);
    assert_eq!(found["identifier"][0]["system"], TEST, "the system is echoed");
    assert_eq!(found["identifier"][0]["value"], OTHER);
    assert_eq!(found["name"][0]["family"], "OUVERT");
    assert_eq!(found["birthDate"], "1985-06-15");
    assert_eq!(state(&open), (json!("NON_EXISTE"), json!(false)));
    doctor.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    feed(&doctor, &document(OTHER, "2.25.600", &["N"]));

    // 0.2-040: authorised, not médecin traitant; by card and by e-CPS the same; what another masked stays hidden.
    let masked = document(OTHER, "2.25.601", &["N", "MASQUE_PS"]);
    feed(&world.client("cps-medecin-b"), &masked);
    doctor.authorise(OTHER);
    assert_eq!(state(&doctor.exists(OTHER)), (json!("VALIDE"), json!(false)));
    let software = e_cps(&world, "claire.bernard");
    assert_eq!(patient(&software.exists(OTHER)), patient(&doctor.exists(OTHER)));
    assert_eq!(doctor.find(OTHER).found().0, 1);
    assert_eq!(software.find(OTHER).found().0, 1);

    // 0.2-060: expired. The end is judged at the request, feeding goes on, a new declaration counts.
    let expired = "283117599901088";
    assert_eq!(state(&doctor.exists(expired)), (json!("EXPIRE"), json!(false)));
    doctor.find(expired).assert_refused(403, "DMPAccessForbidden", "over");
    feed(&doctor, &document(expired, "2.25.602", &["N"]));
    doctor.authorise(expired);
    assert_eq!(state(&doctor.exists(expired)).0, "VALIDE");
    assert_eq!(doctor.find(expired).found().0, 1);

    // 0.2-080: no record is ever opened on a NIA: nothing is found, fed or searched under one.
    let nia = "urn:oid:1.2.250.1.213.1.4.9";
    assert_eq!(doctor.get(&format!("/Patient?identifier={nia}%7C{OTHER}")).found(), (0, vec![]));
    let documents = world.rows("document");
    let mut example = document(OTHER, "2.25.603", &["N"]);
    example.ins_system = nia;
    doctor.post("/DocumentReference", example.single()).assert_refused(400, "DMPInvalidResourceId", "NIA");
    let search = format!("/DocumentReference?patient.identifier={nia}%7C{OTHER}&status=current");
    doctor.get(&search).assert_refused(400, "DMPInvalidResourceId", "NIA");
    assert_eq!(world.rows("document"), documents, "nothing is stored");
}

/// What TD0.2 says of each state, and to whom.
fn td0_2_states(engine: Engine) {
    let world = World::start(engine);
    let (doctor, blocked) = (world.client("cps-medecin"), world.client("cps-medecin-b"));
    let patients = PatientSide::of(&world);
    let blocking = blocked.exists("291087599900442");
    assert_eq!(state(&blocking).0, "INTERDIT");
    assert_eq!(patient(&blocking)["active"], true, "open, and blocked");
    // The médecin traitant needs no declaration, and is told so.
    assert_eq!(state(&doctor.exists("144027599900963")), (json!("VALIDE"), json!(true)));
    patients.set(OTHER, "810100000040", "droits_equivalents");
    assert_eq!(state(&world.client("cps-infirmier").exists(OTHER)), (json!("VALIDE"), json!(false)));
    patients.set(OTHER, "810100000040", "medecin_traitant");
    let nurse = state(&world.client("cps-infirmier").exists(OTHER));
    assert_eq!(nurse, (json!("NON_EXISTE"), json!(true)), "said of a nurse it counts for nothing");
    let closed = patient(&doctor.exists("260017599900293"));
    assert_eq!(closed["active"], false);
    let closure = closed["extension"].as_array().unwrap().iter();
    let closure = closure.clone().find(|one| one["url"].as_str().unwrap().ends_with("dmp-fermeture")).unwrap();
    assert_eq!(closure["extension"][1]["valueCodeableConcept"]["coding"][0]["code"], "DEMANDE_PATIENT");

    // A structure's authorisation is the state of who acts for it, and of nobody else.
    patients.set(OTHER, "1750000010", "autorise");
    assert_eq!(state(&doctor.exists(OTHER)).0, "NON_EXISTE");
    let hospital = super::session(&world, "cps-medecin", &[("structure", "1750000010")]);
    assert_eq!(state(&hospital.exists(OTHER)).0, "VALIDE");

    // A token that opens one record tells of no other, not even that it exists.
    let emergency = bris_de_glace(&world, "cps-infirmier", OTHER);
    assert_eq!(emergency.exists(OTHER).found().0, 1);
    for ins in ["144027599900963", NO_RECORD] {
        emergency.exists(ins).assert_refused(403, "DMPAccessForbidden", "another record");
    }

    // Who has the cell: every column but the CPA's.
    let indirect = establishment(&world, "INDIRECTE", &[]);
    let air = establishment(&world, "INDIRECTE_RENFORCEE", &[]);
    for client in [&indirect, &air, &world.client("cpe-secretaire"), &world.client("cps-medecin-travail")] {
        assert_eq!(client.exists(OTHER).found().0, 1);
    }
    let support: Client = world.client("cpa-support");
    support.exists(OTHER).assert_refused(403, "DMPAccessForbidden", "CPA");
}
