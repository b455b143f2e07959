//! TD0.5: a patient without INS; TD1.3a: who the patient is; TD1.4: closing.

use serde_json::json;

use super::{
    DOCTOR, NO_RECORD, bris_de_glace, centre_15, document, e_cps, establishment, extension, feed, more_records,
};
use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Engine, OTHER, Options, PATIENT, PatientSide, World};

on_both_engines_and_in_xml!(td0_5, td1_3a, td1_4);

fn td0_5(engine: Engine) {
    let mut patients: Vec<(&str, &str, &str, u64)> = vec![
        ("MARTIN", "ALICE", "1970-01-02", 2_700_175_999_011),
        ("MARTIN", "BRUNO", "1971-02-03", 1_710_275_999_012),
        ("MARTINEZ", "CARLA", "1972-03-04", 2_720_375_999_013),
        ("LE-GÂTEUX", "DENIS", "1973-04-05", 1_730_475_999_014),
        ("100%_X", "EVE", "1974-05-06", 2_740_575_999_015),
    ];
    let crowd: Vec<u64> = (0..25).map(|number| 2_900_175_999_100 + number).collect();
    patients.extend(crowd.iter().map(|number| ("FOULE", "FANNY", "1990-01-01", *number)));
    let (lines, ins) = more_records(&patients);
    let world = World::start_with(engine, Options { records: Some(lines), ..Options::default() });
    let patient_side = PatientSide::of(&world);
    let doctor = centre_15(&world);
    let names = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let bundle = answer.json();
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        assert_eq!(bundle["total"], entries.len() as u64);
        let given =
            |entry: &serde_json::Value| entry["resource"]["name"][0]["given"][0].as_str().unwrap().to_owned();
        let mut names: Vec<String> = entries.iter().map(given).collect();
        names.sort();
        names
    };

    // 0.5-010: strict name match, in mode centre_15 alone; closed records and opposed patients are left out.
    let found = doctor.get("/Patient?family:exact=MARTIN");
    assert_eq!(names(&found), ["ALICE", "BRUNO"]);
    assert_eq!(
        found.json()["entry"][0]["resource"]["identifier"][0]["system"],
        crate::support::TEST,
        "to open the record"
    );
    assert_eq!(found.link("self"), None, "no link repeats a name");
    assert_eq!(
        names(&doctor.get("/Patient?family=martin")),
        ["ALICE", "BRUNO", "CARLA"],
        "how the name begins"
    );
    assert_eq!(
        names(&doctor.get("/Patient?family:exact=le%20gateux")),
        ["DENIS"],
        "accents and hyphens do not count"
    );
    assert_eq!(names(&doctor.get("/Patient?family=100%25")), ["EVE"]);
    assert_eq!(names(&doctor.get("/Patient?family=%25")), [""; 0], "no wildcard");
    assert_eq!(names(&doctor.get("/Patient?family=_")), [""; 0], "no wildcard");
    assert_eq!(names(&doctor.get("/Patient?family=MARTIN&birthdate=1971-02-03")), ["BRUNO"]);
    assert_eq!(names(&doctor.get("/Patient?family:exact=FERME")), [""; 0], "closed");
    assert_eq!(names(&doctor.get("/Patient?family:exact=SANSQUINZE")), [""; 0], "opposed");
    patient_side.change(&ins[0], json!({ "oppositionCentre15": true }));
    patient_side.set(&ins[1], "810100000099", "bloque");
    assert_eq!(names(&doctor.get("/Patient?family:exact=MARTIN")), [""; 0], "opposed since, and blocked");
    patient_side.change(&ins[0], json!({ "oppositionCentre15": false }));
    patient_side.set(&ins[1], "1750000028", "bloque");
    patient_side.forget(&ins[1], "810100000099");
    assert_eq!(names(&doctor.get("/Patient?family:exact=MARTIN")), ["ALICE"], "his centre is blocked");
    let normal = world.client("cps-regulateur");
    let emergency = bris_de_glace(&world, "cps-medecin", OTHER);
    for client in [&normal, &emergency, &world.client("cpe-secretaire")] {
        client.get("/Patient?family:exact=MARTIN").assert_refused(403, "DMPAccessForbidden", "TD0.5");
    }

    // 0.5-050: by the exact day, for a regulation centre's software; traced, each patient an object.
    let samu = super::sessions::regulation_centre(&world);
    let found = samu.get("/Patient?birthdate=1985-06-15");
    assert_eq!(names(&found), ["OLIVIER"]);
    let trace = world.traces_of(found.request_id()).remove(0);
    assert_eq!((trace.operation.as_str(), trace.mode.as_str()), ("TD0.5 find patient", "centre_15"));
    assert!(trace.objects.contains(&found.found().1[0]));
    samu.get("/Patient?birthdate=1985-06").assert_refused(400, "", "day of birth");
    let hospital = establishment(&world, "INDIRECTE", &[]);
    hospital.get("/Patient?birthdate=1985-06-15").assert_refused(403, "DMPAccessForbidden", "TD0.5");

    // 0.5-090: nobody of that name is no error, and :exact is no beginning.
    assert_eq!(doctor.get("/Patient?family:exact=MART").found(), (0, vec![]));

    // 0.5-500: too many: none of them, and the narrower search works.
    let many = doctor.get("/Patient?gender=female");
    many.assert_refused(422, "AE", "more than 20");
    assert_eq!(many.json()["issue"][0]["code"], "too-costly");
    assert!(!many.text().contains("FOULE") && !many.text().contains("290017599910"));
    doctor.get("/Patient?family=FOULE").assert_refused(422, "AE", "more than 20");
    assert_eq!(names(&doctor.get("/Patient?gender=female&birthdate=1970-01-02")), ["ALICE"]);
}

fn td1_3a(engine: Engine) {
    let (lines, ins) = more_records(&[("NON_RENSEIGNE", "GUY", "1980-01-01", 1_800_175_999_020)]);
    let world = World::start_with(engine, Options { records: Some(lines), ..Options::default() });
    let doctor = world.client("cps-medecin");
    let id = |ins: &str| doctor.exists(ins).found().1.remove(0);

    // 1.3a-010: identity, contacts, representatives, both oppositions; by card and e-CPS, to staff and establishments too.
    let (other, mes) = (id(OTHER), PatientSide::of(&world));
    doctor.get(&format!("/Patient/{other}")).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    for ins in [OTHER, super::MINOR, "155127599900576", "248037599900630", &ins[0]] {
        doctor.authorise(ins);
    }
    for structure in ["1750000101", "1750000010"] {
        mes.set(OTHER, structure, "autorise");
    }
    let read = doctor.get(&format!("/Patient/{other}"));
    assert_eq!(read.status, 200, "{}", read.text());
    assert_eq!(read.header("etag"), "", "the version would count what is not for the caller to know");
    let patient = read.json();
    assert_eq!(patient["address"][0]["city"], "PARIS");
    assert_eq!(patient["telecom"][0]["system"], "email");
    for flag in ["dmp-opposition-bris-de-glace", "dmp-opposition-acces-urgence"] {
        assert_eq!(extension(&patient, flag), false, "{flag} is always there");
    }
    let indirect = establishment(&world, "INDIRECTE", &[]);
    let air = establishment(&world, "INDIRECTE_RENFORCEE", &[]);
    for client in [&e_cps(&world, "claire.bernard"), &world.client("cpe-secretaire"), &indirect, &air] {
        assert_eq!(client.get(&format!("/Patient/{other}")).json(), patient);
    }
    assert_eq!(world.traces_of(read.request_id()).remove(0).operation, "TD1.3a read administrative data");
    let minor = doctor.get(&format!("/Patient/{}", id(super::MINOR))).json();
    assert_eq!(minor["contact"].as_array().unwrap().len(), 2, "legal representatives");
    let opposed = doctor.get(&format!("/Patient/{}", id("155127599900576"))).json();
    assert_eq!(extension(&opposed, "dmp-opposition-bris-de-glace"), true);
    assert_eq!(extension(&opposed, "dmp-opposition-acces-urgence"), false);
    let opposed = doctor.get(&format!("/Patient/{}", id("248037599900630"))).json();
    assert_eq!(extension(&opposed, "dmp-opposition-acces-urgence"), true);

    // 1.3a-200: a placeholder for a name stays what it is.
    let patient = doctor.get(&format!("/Patient/{}", id(&ins[0]))).json();
    assert_eq!(patient["name"][0]["family"], "NON_RENSEIGNE");

    doctor.get("/Patient/unknown").assert_refused(404, "", "no such resource");
    let closed = doctor.get(&format!("/Patient/{}", id("260017599900293")));
    closed.assert_refused(422, "", "closed");
    let blocked = world.client("cps-medecin-b").get(&format!("/Patient/{}", id("291087599900442")));
    blocked.assert_refused(403, "DMPAccessForbidden", "blocked");
    world.client("cpa-support").get(&format!("/Patient/{other}")).assert_refused(
        403,
        "DMPAccessForbidden",
        "CPA",
    );
}

/// TD1.4: closed by a professional at the patient's request; reopened by the patient, everything is there again.
fn td1_4(engine: Engine) {
    let world = World::start(engine);
    let (doctor, patients) = (world.client("cps-medecin"), PatientSide::of(&world));
    let close = |client: &crate::support::Client, id: &str| {
        client.send("POST", &format!("/Patient/{id}/$fermer"), &[], None).unwrap()
    };
    let id = doctor.exists(OTHER).found().1.remove(0);
    feed(&doctor, &document(OTHER, "2.25.610", &["N"]));
    close(&doctor, &id).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    doctor.authorise(OTHER);
    close(&world.client("cpe-secretaire"), &id).assert_refused(403, "DMPAccessForbidden", "professional");
    let emergency = bris_de_glace(&world, "cps-infirmier", OTHER);
    close(&emergency, &id).assert_refused(403, "DMPAccessForbidden", "mode normal");
    let attached = doctor.exists(PATIENT).found().1.remove(0);
    doctor.authorise(PATIENT);
    close(&doctor, &attached).assert_refused(403, "DMPAccessForbidden", "Mon espace santé");
    close(&doctor, "unknown").assert_refused(404, "", "no such resource");

    let closed = close(&doctor, &id);
    assert_eq!(closed.status, 200, "{}", closed.text());
    assert_eq!(closed.json()["active"], false);
    close(&doctor, &id).assert_refused(422, "", "closed");
    doctor.find(OTHER).assert_refused(422, "", "closed");
    let fed = doctor.post("/DocumentReference", document(OTHER, "2.25.611", &["N"]).single());
    fed.assert_refused(422, "", "closed");

    patients.change(OTHER, json!({ "etat": "ouvert" }));
    assert_eq!(doctor.find(OTHER).found().0, 1, "everything is there again");
    assert_eq!(patients.record(OTHER).json["professionnels"][0]["id"], DOCTOR);

    // Erased: gone for everybody, as if it had never been; another may be opened for the same INS.
    let url = doctor.find(OTHER).first_attachment();
    let record = patients.record(OTHER);
    let erased = patients.send("DELETE", &format!("/{}", record.id), Some(record.version), None);
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert_eq!(doctor.exists(OTHER).found(), (0, vec![]));
    assert_eq!(doctor.find(OTHER).json()["entry"], doctor.find(NO_RECORD).json()["entry"]);
    doctor.get(&url).assert_refused(404, "", "no such resource");
    let gone = patients.send("GET", &format!("/{}?lecteur=titulaire", record.id), None, None);
    gone.assert_refused(404, "", "no such record");
    assert_eq!(world.rows("trace"), world.traces().len() as i64, "its traces stay");
    let again = json!({
        "ins": { "systeme": crate::support::TEST, "valeur": OTHER },
        "nom": "OUVERT", "prenom": "OLIVIER", "dateNaissance": "1985-06-15",
    });
    let opened = patients.send("POST", "", None, Some(again.clone()));
    assert_eq!(opened.status, 201, "{}", opened.text());
    patients.send("POST", "", None, Some(again)).assert_refused(409, "", "there is a record");
    assert_eq!(doctor.exists(OTHER).found().0, 1);
}

/// What is opened and changed on the patient's side is read closely: what is misspelt or contradictory changes nothing.
#[test]
fn the_patients_side_is_read_closely() {
    let world = World::start(Engine::Sqlite);
    let mes = PatientSide::of(&world);
    let person = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut body = json!({
            "ins": { "systeme": crate::support::TEST, "valeur": NO_RECORD },
            "nom": "NOUVEAU", "prenom": "NOE", "dateNaissance": "1972-04-01",
        });
        change(&mut body);
        mes.send("POST", "", None, Some(body))
    };
    type Change<'a> = &'a dyn Fn(&mut serde_json::Value);
    let refused: [(&str, Change<'_>); 8] = [
        ("nom", &|body| body["nom"] = json!("")),
        ("nom", &|body| body["nom"] = json!("X".repeat(101))),
        ("prenom", &|body| body["prenom"] = json!("NO\u{202e}E")),
        ("dateNaissance", &|body| body["dateNaissance"] = json!("2999-01-01")),
        ("dateNaissance", &|body| body["dateNaissance"] = json!("1972-04-01T00:00:00")),
        ("sexe", &|body| body["sexe"] = json!("M")),
        ("", &|body| body["administratif"] = json!({ "adresse": [] })),
        ("", &|body| body["administratif"] = json!({ "telecom": "x" })),
    ];
    for (element, change) in refused {
        let answer = person(change);
        assert_eq!(answer.status, 400, "{element}: {}", answer.text());
        assert!(!answer.text().contains(NO_RECORD));
        if !element.is_empty() {
            assert_eq!(answer.json()["issue"][0]["expression"][0], element);
        }
    }
    assert_eq!(person(&|_| {}).status, 201, "control");
    let record = mes.record(OTHER);
    let change = |body: serde_json::Value| {
        mes.send("PATCH", &format!("/{}", record.id), Some(record.version), Some(body))
    };
    for body in [json!({}), json!({ "oppositionBrisDeGlas": true }), json!({ "etat": "clos" }), json!([])] {
        assert_eq!(change(body).status, 400);
    }
    assert_eq!(mes.record(OTHER).version, record.version, "nothing changed");
    // Closed twice: when and why stays as it was.
    let closed = mes.record("260017599900293");
    mes.change("260017599900293", json!({ "etat": "ferme" }));
    assert_eq!(mes.record("260017599900293").json["fermeLe"], closed.json["fermeLe"]);
    for (method, path) in [("GET", "/x%00y?lecteur=titulaire"), ("GET", "/unknown/traces?lecteur=titulaire")] {
        mes.send(method, path, None, None).assert_refused(404, "", "no such");
    }
    let lecteur = mes.send("GET", &format!("/{}/documents", record.id), None, None);
    lecteur.assert_refused(400, "", "lecteur");
}
