//! The TD0.3, TD0.4 and TD1.6 rows: declare and take back, list one's records, list the professionals.

use serde_json::{Value, json};

use super::{
    DOCTOR, DOCTOR_B, MINOR, as_staff, bris_de_glace, centre_15, document, e_cps, establishment, extension,
    feed, patient, session,
};
use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Client, Engine, OTHER, PATIENT, PatientSide, TEST, World};
use habilis::environment::Clock;

on_both_engines_and_in_xml!(
    td0_3,
    td0_3_for_a_structure,
    td0_3_for_a_care_team,
    td0_3_taken_back,
    td0_4,
    td0_4_by_last_document,
    td1_6
);

const PERSON: &str = "urn:oid:1.2.250.1.71.4.2.1";
const STRUCTURE: &str = "urn:oid:1.2.250.1.71.4.2.2";
const PRACTICE: &str = "1750000101";

/// A declaration with a provision.
fn declaration(ins: &str, provision: &Value) -> String {
    let text = habilis::sandbox::example::consent(TEST, ins);
    let mut consent: Value = serde_json::from_str(&text).unwrap();
    consent["provision"] = provision.clone();
    consent.to_string()
}

fn for_actor(system: &str, id: &str) -> Value {
    json!({ "type": "permit", "actor": [{ "reference": { "identifier": { "system": system, "value": id } } }] })
}

fn state(client: &Client, ins: &str) -> Value {
    extension(&patient(&client.exists(ins)), "dmp-autorisation")
}

#[track_caller]
fn declared(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn take_back(client: &Client, consent: &str) -> Answer {
    let inactive = json!([{ "op": "replace", "path": "/status", "value": "inactive" }]);
    client.patch(&format!("/Consent/{consent}"), &inactive)
}

fn td0_3(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    let own = |ins: &str| habilis::sandbox::example::consent(TEST, ins);

    // TNR-03#1: the search before the declaration is refused, and then gives the type that was asked for.
    let attested = crate::support::PATIENT;
    let mut certificate = document(attested, "2.25.620", &["N"]);
    (certificate.type_code, certificate.class_code) = ("CERT_DECL", "60");
    feed(&world.client("cps-medecin-b"), &certificate);
    feed(&world.client("cps-medecin-b"), &document(attested, "2.25.621", &["N"]));
    let search =
        format!("/DocumentReference?patient.identifier={TEST}%7C{attested}&status=current&type=CERT_DECL");
    doctor.get(&search).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    doctor.authorise(attested);
    let found = doctor.get(&search);
    assert_eq!(found.found().0, 1);
    assert_eq!(world.traces_of(found.request_id()).len(), 1);

    // 0.3-010: for oneself, in mode normal, not an occupational doctor; TD0.2 then says VALIDE, and the end is set.
    let kept = doctor
        .post("/Consent", declaration(OTHER, &json!({ "type": "permit", "period": { "end": "2099-01-01" } })));
    declared(&kept);
    let period = kept.json()["provision"]["period"].clone();
    assert!(period["end"].as_str().unwrap() < "2098", "until when it counts, not what was asked: {period}");
    assert_eq!(kept.json()["provision"]["actor"][0]["reference"]["identifier"]["value"], DOCTOR);
    assert_eq!(state(&doctor, OTHER), "VALIDE");
    let listed = doctor.get(&format!("/Consent?patient.identifier={TEST}%7C{OTHER}")).json();
    assert!(listed["entry"][0]["resource"]["provision"]["period"]["end"].is_string(), "{listed}");
    let another = doctor.post("/Consent", declaration(OTHER, &for_actor(PERSON, DOCTOR_B)));
    another.assert_refused(403, "DMPAccessForbidden", "the caller's own");
    let nurse = "cps-infirmier";
    bris_de_glace(&world, nurse, MINOR).post("/Consent", own(MINOR)).assert_refused(
        403,
        "DMPAccessForbidden",
        "TD0.3",
    );
    centre_15(&world).post("/Consent", own(MINOR)).assert_refused(403, "DMPAccessForbidden", "TD0.3");
    let occupational = world.client("cps-medecin-travail");
    occupational.post("/Consent", own(MINOR)).assert_refused(403, "DMPAccessForbidden", "occupational doctor");
    let indirect = establishment(&world, "INDIRECTE", &[]);
    indirect.post("/Consent", own(MINOR)).assert_refused(403, "DMPAccessForbidden", "indirect");
    declared(&e_cps(&world, "claire.bernard").post("/Consent", own(MINOR)));
    assert_eq!(state(&doctor, MINOR), "VALIDE", "of the person, whichever way she connects");
    declared(&establishment(&world, "INDIRECTE_RENFORCEE", &[]).post("/Consent", own("155127599900576")));
}

fn td0_3_for_a_structure(engine: Engine) {
    let world = World::start(engine);
    let staff = world.client("cpe-secretaire");
    feed(&world.client("cps-infirmier"), &document(OTHER, "2.25.630", &["N"]));

    // 0.3-100: the secretary records the consent; whoever acts for the structure reads, nobody else; she does not, nor does she
    // take it back. Taken back, it is over for all of them at once.
    let member = session(&world, "cps-medecin", &[("structure", PRACTICE)]);
    member.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    let consent = declared(&staff.post("/Consent", declaration(OTHER, &for_actor(STRUCTURE, PRACTICE))));
    assert_eq!(member.find(OTHER).found().0, 1);
    assert_eq!(state(&member, OTHER), "VALIDE");
    let elsewhere = session(&world, "cps-medecin", &[("structure", "1750000010")]);
    for client in [&elsewhere, &world.client("cps-medecin"), &world.client("cps-medecin-b")] {
        client.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    }
    staff.find(OTHER).assert_refused(403, "DMPAccessForbidden", "TD3.1");
    take_back(&staff, &consent).assert_refused(403, "DMPAccessForbidden", "TD0.3");
    take_back(&elsewhere, &consent).assert_refused(404, "", "no such resource");
    assert_eq!(take_back(&member, &consent).status, 200);
    member.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    let other_structure = declaration(OTHER, &for_actor(STRUCTURE, "1750000010"));
    staff.post("/Consent", other_structure).assert_refused(403, "DMPAccessForbidden", "the caller's own");
    let secretary = establishment(&world, "INDIRECTE_RENFORCEE", &as_staff());
    declared(&secretary.post("/Consent", declaration(OTHER, &for_actor(STRUCTURE, "1750000010"))));
    assert_eq!(elsewhere.find(OTHER).found().0, 1, "606 note (1): for the establishment");
}

/// R1111-46: the consent to one member is deemed given to the team that he declares, and ends with it.
fn td0_3_for_a_care_team(engine: Engine) {
    let world = World::start(engine);
    let (doctor, nurse, other) =
        (world.client("cps-medecin"), world.client("cps-infirmier"), world.client("cps-kine"));
    let team = |members: &[(&str, &str)]| {
        let mut consent: Value = serde_json::from_str(&declaration(
            OTHER,
            &json!({ "type": "permit", "actor": [{ "reference": { "reference": "#equipe" } }] }),
        ))
        .unwrap();
        let members = members
            .iter()
            .map(|(system, id)| json!({ "member": { "identifier": { "system": system, "value": id } } }));
        consent["contained"] = json!([{ "resourceType": "CareTeam", "id": "equipe", "participant": members.collect::<Vec<Value>>() }]);
        consent.to_string()
    };
    let without_the_caller = doctor.post("/Consent", team(&[(PERSON, "810100000040")]));
    without_the_caller.assert_refused(422, "XDSRegistryMetadataError", "is a member");
    let unnamed = doctor.post("/Consent", team(&[(PERSON, DOCTOR), ("urn:oid:1.2.3", "810100000040")]));
    unnamed.assert_refused(422, "XDSRegistryMetadataError", "PS_IdNat or Struct_IdNat");
    let members = [(PERSON, DOCTOR), (PERSON, "810100000040"), (STRUCTURE, "1750000036")];
    // A narrower team than what would be granted, or a vaguer one, is refused.
    for (pointer, value) in [
        ("/contained/0/status", json!("inactive")),
        ("/contained/0/period", json!({ "end": "2020-01-01" })),
        ("/contained/0/participant/0/period", json!({ "end": "2020-01-01" })),
        ("/contained/0/modifierExtension", json!([{ "url": "urn:x", "valueBoolean": true }])),
        ("/contained/1", json!({ "resourceType": "CareTeam", "id": "equipe" })),
        ("/implicitRules", json!("https://x")),
        ("/provision/actor/0/modifierExtension", json!([{ "url": "urn:x", "valueBoolean": true }])),
    ] {
        let mut consent: Value = serde_json::from_str(&team(&members)).unwrap();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match consent.pointer_mut(parent).unwrap() {
            Value::Array(held) => held.push(value),
            held => held[name] = value,
        }
        let refused = doctor.post("/Consent", consent.to_string());
        // FHIR itself has nobody go on who does not know it.
        let status = if pointer.ends_with("modifierExtension") { 400 } else { 422 };
        assert_eq!(refused.status, status, "{pointer}: {}", refused.text());
    }
    // What narrows nothing may be said of it.
    let mut talkative: Value = serde_json::from_str(&team(&members)).unwrap();
    for (name, said) in [
        ("name", json!("équipe")),
        ("language", json!("fr")),
        ("identifier", json!([{ "value": "1" }])),
        ("category", json!([{ "text": "soins" }])),
        ("managingOrganization", json!([{ "display": "cabinet" }])),
        ("subject", json!({ "display": "patient" })),
        ("meta", json!({ "source": "urn:x" })),
        ("text", json!({ "status": "empty", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"/>" })),
    ] {
        talkative["contained"][0][name] = said;
    }
    talkative["contained"][0]["participant"][0]["id"] = json!("un");
    let talkative = declared(&doctor.post("/Consent", talkative.to_string()));
    assert_eq!(take_back(&doctor, &talkative).status, 200);
    let staff = world.client("cpe-secretaire");
    let by_staff = staff.post("/Consent", team(&[(STRUCTURE, PRACTICE), (PERSON, "810100000040")]));
    by_staff.assert_refused(403, "DMPAccessForbidden", "not of a care team");
    // What a colleague holds by himself is neither shortened nor taken back with the team.
    let kine = "810100000073";
    other.authorise(OTHER);
    let of_both = declared(&doctor.post("/Consent", team(&[(PERSON, DOCTOR), (PERSON, kine)])));
    assert_eq!(take_back(&doctor, &of_both).status, 200);
    assert_eq!(other.find(OTHER).status, 200);
    PatientSide::of(&world).forget(OTHER, kine);
    let consent = declared(&doctor.post("/Consent", team(&members)));
    for client in [&doctor, &nurse] {
        assert_eq!(client.find(OTHER).found().0, 0, "may search");
    }
    let found = nurse.find(OTHER);
    let rule = world.traces_of(found.request_id()).remove(0).rule;
    assert!(rule.contains("given to the care team"), "{rule}");
    other.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    // A member of the team takes back his own; who declared it takes back the whole.
    let listed = doctor.get(&format!("/Consent?patient.identifier={TEST}%7C{OTHER}")).json();
    assert_eq!(listed["total"], 3, "{listed}");
    assert_eq!(take_back(&doctor, &consent).status, 200);
    for client in [&doctor, &nurse] {
        client.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    }
    // Whom the patient blocked no team brings back.
    PatientSide::of(&world).set(OTHER, "810100000040", "bloque");
    declared(&doctor.post("/Consent", team(&members)));
    nurse.find(OTHER).assert_refused(403, "DMPAccessForbidden", "blocked");
}

fn td0_3_taken_back(engine: Engine) {
    let world = World::start(engine);
    let (doctor, other) = (world.client("cps-medecin"), world.client("cps-medecin-b"));
    let consent = declared(&doctor.post("/Consent", habilis::sandbox::example::consent(TEST, OTHER)));
    // Somebody else's is not there; nor is what never was.
    let (hidden, absent) = (take_back(&other, &consent), take_back(&other, "unknown"));
    hidden.assert_refused(404, "", "no such resource");
    let without_id = |answer: &Answer| answer.text().replace(answer.request_id(), "");
    assert_eq!(without_id(&hidden), without_id(&absent));
    assert_eq!(doctor.find(OTHER).status, 200);
    let elsewise = doctor.patch(
        &format!("/Consent/{consent}"),
        &json!([{ "op": "replace", "path": "/status", "value": "rejected" }]),
    );
    elsewise.assert_refused(405, "", "inactive");
    let parameters = json!({
        "resourceType": "Parameters",
        "parameter": [{ "name": "operation", "part": [
            { "name": "type", "valueCode": "replace" },
            { "name": "path", "valueString": "Consent.status" },
            { "name": "value", "valueCode": "inactive" },
        ] }],
    });
    let headers = [("Content-Type", "application/fhir+json"), ("If-Match", "W/\"2\"")];
    let send = |client: &Client| {
        client.send("PATCH", &format!("/Consent/{consent}"), &headers, Some(parameters.to_string())).unwrap()
    };
    send(&doctor).assert_refused(412, "", "another version");
    send(&other).assert_refused(404, "", "no such resource");
    assert_eq!(doctor.find(OTHER).status, 200);
    let headers = [("Content-Type", "application/fhir+json"), ("If-Match", "W/\"1\"")];
    let taken =
        doctor.send("PATCH", &format!("/Consent/{consent}"), &headers, Some(parameters.to_string())).unwrap();
    assert_eq!((taken.status, taken.json()["status"].clone()), (200, json!("inactive")), "{}", taken.text());
    assert_eq!(state(&doctor, OTHER), "NON_EXISTE");
    doctor.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    take_back(&doctor, &consent).assert_refused(404, "", "no such resource");

    // A blocking is the patient's: who is blocked neither takes it back nor declares anew.
    let blocked = "291087599900442";
    let blocking = PatientSide::of(&world).record(blocked).json;
    assert_eq!(blocking["professionnels"][0]["statut"], "bloque");
    other.post("/Consent", habilis::sandbox::example::consent(TEST, blocked)).assert_refused(
        403,
        "DMPAccessForbidden",
        "blocked",
    );

    // The médecin traitant gives up what he is, and is then one doctor among others.
    let treated = "144027599900963";
    let listed = doctor.get(&format!("/Consent?patient.identifier={TEST}%7C{treated}")).json();
    let treating = listed["entry"][0]["resource"].clone();
    assert_eq!(treating["provision"]["actor"][0]["role"]["coding"][0]["code"], "MEDECIN_TRAITANT");
    let treating = treating["id"].as_str().unwrap();
    take_back(&other, treating).assert_refused(404, "", "no such resource");
    assert_eq!(take_back(&doctor, treating).status, 200);
    doctor.find(treated).assert_refused(403, "DMPAccessForbidden", "no authorisation");
}

fn of_actor(client: &Client, id: &str, more: &str) -> Answer {
    client.get(&format!("/Consent?actor:identifier={PERSON}%7C{id}&status=active{more}"))
}

/// The INS of the patients that a list includes.
#[track_caller]
fn patients(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bundle = answer.json();
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let patients = entries.iter().filter(|entry| entry["resource"]["resourceType"] == "Patient");
    let mut patients: Vec<String> = patients
        .map(|entry| entry["resource"]["identifier"][0]["value"].as_str().unwrap().to_owned())
        .collect();
    patients.sort();
    patients
}

fn td0_4(engine: Engine) {
    let world = World::start(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    for ins in [OTHER, PATIENT, MINOR, "155127599900576"] {
        doctor.authorise(ins);
    }
    world.client("cps-medecin-b").authorise("248037599900630");
    mes.set(MINOR, DOCTOR, "bloque");
    mes.change("155127599900576", json!({ "etat": "ferme" }));
    // His médecin traitant needs no authorisation to be listed: TRAITE.
    let treated = "144027599900963";
    let all = "&date=ge2011-03-01&_include=Consent:patient";

    // 0.4-010: those who authorised the caller since a day, that day included; closed, blocked and expired are not there; by card,
    // e-CPS and AIR; nobody else's patients.
    let listed = of_actor(&doctor, DOCTOR, all);
    assert_eq!(patients(&listed), [treated, OTHER, PATIENT]);
    assert_eq!(listed.json()["total"], 3);
    assert!(!listed.text().contains("DocumentReference"), "no word of documents");
    assert!(!listed.link("self").unwrap().contains(OTHER));
    assert_eq!(patients(&of_actor(&e_cps(&world, "claire.bernard"), DOCTOR, all)), [treated, OTHER, PATIENT]);
    let air = establishment(&world, "INDIRECTE_RENFORCEE", &[]);
    assert_eq!(patients(&of_actor(&air, DOCTOR, all)), [treated, OTHER, PATIENT]);
    of_actor(&doctor, DOCTOR_B, all).assert_refused(403, "DMPAccessForbidden", "that of the caller");
    assert_eq!(patients(&of_actor(&doctor, DOCTOR, "&date=ge2100-01-01&_include=Consent:patient")), [""; 0]);
    let today = listed.json()["entry"][0]["resource"]["dateTime"].as_str().unwrap()[..10].to_owned();
    let since = format!("&date=ge{today}&_include=Consent:patient");
    assert_eq!(patients(&of_actor(&doctor, DOCTOR, &since)), [treated, OTHER, PATIENT], "that day included");
    let end = (world.clock.now() + jiff::SignedDuration::from_hours(72)).to_string();
    declared(&doctor.post(
        "/Consent",
        declaration("276067599901258", &json!({ "type": "permit", "period": { "end": end } })),
    ));
    assert_eq!(of_actor(&doctor, DOCTOR, "").found().0, 4);
    world.clock.advance(4);
    assert_eq!(of_actor(&doctor, DOCTOR, "").found().0, 3, "over");
    // Blocked as somebody who might act for a structure: the list does not tell of it either.
    mes.set("276067599901258", "1750000036", "bloque");
    declared(
        &session(&world, "cps-medecin", &[("structure", PRACTICE)])
            .post("/Consent", habilis::sandbox::example::consent(TEST, "276067599901258")),
    );
    assert_eq!(of_actor(&doctor, DOCTOR, "").found().0, 3);
    // Pages of one: the same patients, and a blocking on the way takes one away and nothing else.
    let first = of_actor(&doctor, DOCTOR, "&_count=1");
    assert_eq!(first.found().0, 3);
    let second = doctor.get(&first.link("next").unwrap());
    let third = doctor.get(&second.link("next").unwrap());
    let mut pages = [&first, &second, &third].map(|page| page.found().1.remove(0));
    pages.sort();
    let mut whole = of_actor(&doctor, DOCTOR, "").found().1;
    whole.sort();
    assert_eq!(pages.to_vec(), whole);
    assert_eq!(third.link("next"), None);
    let emergency = bris_de_glace(&world, "cps-medecin", OTHER);
    of_actor(&emergency, DOCTOR, all).assert_refused(403, "DMPAccessForbidden", "another record");
    mes.change("276067599901258", json!({ "etat": "ferme" }));

    // 0.4-015: staff see the lists of the professionals of their own structure, and gain no document by it.
    let staff = world.client("cpe-secretaire");
    assert_eq!(patients(&of_actor(&staff, DOCTOR, all)), [OTHER, PATIENT]);
    // Whose own structure the patient blocked does not learn of him by a colleague's list.
    mes.set(OTHER, PRACTICE, "bloque");
    assert_eq!(patients(&of_actor(&staff, DOCTOR, all)), [PATIENT]);
    mes.forget(OTHER, PRACTICE);
    of_actor(&staff, DOCTOR_B, all).assert_refused(403, "DMPAccessForbidden", "note");
    staff.find(OTHER).assert_refused(403, "DMPAccessForbidden", "TD3.1");
    // Sheet 526, note (3): an establishment's software sees its own new authorisations, by date.
    mes.set(OTHER, "1750000010", "autorise");
    let indirect = establishment(&world, "INDIRECTE", &[]);
    let own = |more: &str| {
        indirect.get(&format!("/Consent?actor:identifier={STRUCTURE}%7C1750000010&status=active{more}"))
    };
    assert_eq!(patients(&own(all)), [OTHER]);
    own("").assert_refused(403, "DMPAccessForbidden", "by date");
    of_actor(&indirect, DOCTOR_B, all).assert_refused(403, "DMPAccessForbidden", "note");
    world.client("cpa-support").get("/Consent?date=ge2011-03-01").assert_refused(
        403,
        "DMPAccessForbidden",
        "CPA",
    );
}

fn td0_4_by_last_document(engine: Engine) {
    let world = World::start(engine);
    let (doctor, other) = (world.client("cps-medecin"), world.client("cps-medecin-b"));
    let changed = |client: &Client| {
        patients(&client.get("/Patient?_has:DocumentReference:patient:_lastUpdated=ge2010-03-01"))
    };
    let (masked, deleted, closed) = (MINOR, "155127599900576", "248037599900630");
    for ins in [OTHER, PATIENT, masked, deleted, closed, "276067599901258"] {
        doctor.authorise(ins);
    }
    let treated = "144027599900963";
    // 0.4-020: records with something new that the caller may see: not masked, not deleted, not in a record that it may not read.
    assert_eq!(changed(&doctor), [treated], "as médecin traitant; the others have no documents yet");
    for (ins, id, labels) in [
        (OTHER, "2.25.640", &["N"][..]),
        (PATIENT, "2.25.641", &["N", "INVISIBLE_PATIENT"]),
        (masked, "2.25.642", &["N", "MASQUE_PS"]),
        (deleted, "2.25.643", &["N"]),
        (closed, "2.25.644", &["N"]),
        ("276067599901258", "2.25.645", &["N"]),
        ("144027599900963", "2.25.646", &["N"]),
    ] {
        feed(&other, &document(ins, id, labels));
    }
    assert_eq!(other.delete_document("2.25.643").status, 200);
    PatientSide::of(&world).change(closed, json!({ "etat": "ferme" }));
    assert_eq!(changed(&doctor), [treated, OTHER, PATIENT]);
    assert_eq!(changed(&other), [""; 0], "without authorisation nobody's");
    assert_eq!(
        patients(&doctor.get("/Patient?_has:DocumentReference:patient:_lastUpdated=ge2100-01-01")),
        [""; 0]
    );
    let page = doctor.get("/Patient?_has:DocumentReference:patient:_lastUpdated=ge2010-03-01&_count=1");
    assert_eq!(page.json()["total"], 3);
    assert_ne!(patients(&page), patients(&doctor.get(&page.link("next").unwrap())));
}

fn td1_6(engine: Engine) {
    let world = World::start(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    doctor.authorise(OTHER);
    mes.set(OTHER, DOCTOR_B, "bloque");
    mes.set(OTHER, "810100000040", "droits_equivalents");
    mes.set(OTHER, "1750000036", "autorise");
    let list = |client: &Client, more: &str| {
        client.get(&format!("/Consent?patient.identifier={TEST}%7C{OTHER}{more}"))
    };
    let holders = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let bundle = answer.json();
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        assert_eq!(bundle["total"], entries.len() as u64);
        let holder = |entry: &Value| {
            let provision = &entry["resource"]["provision"];
            let id = provision["actor"][0]["reference"]["identifier"]["value"].as_str().unwrap();
            format!("{id} {}", provision["type"].as_str().unwrap())
        };
        let mut holders: Vec<String> = entries.iter().map(holder).collect();
        holders.sort();
        holders
    };
    let (own, structure) = ("810100000016 permit", "1750000036 permit");
    let (equal, blocked) = ("810100000040 permit", "810100000024 deny");

    // 1.6-010: everybody, with identifier, name, profession, kind and since when; in mode normal; by card, e-CPS, AIR, and to an
    // occupational doctor; not to staff or establishments.
    let all = list(&doctor, "");
    assert_eq!(holders(&all), [structure, own, blocked, equal]);
    let bundle = all.json();
    let entry = bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]);
    let mine = entry
        .clone()
        .find(|one| one["provision"]["actor"][0]["reference"]["identifier"]["value"] == DOCTOR)
        .unwrap();
    assert_eq!(mine["provision"]["actor"][0]["reference"]["display"], "BERNARD CLAIRE");
    assert_eq!(mine["provision"]["actor"][0]["role"]["coding"][1]["code"], "10");
    assert_eq!(mine["provision"]["actor"][0]["role"]["coding"][0]["code"], "AUTORISATION");
    assert!(mine["provision"]["period"]["start"].is_string() && mine["provision"]["period"]["end"].is_string());
    assert_eq!(holders(&list(&e_cps(&world, "claire.bernard"), "")).len(), 4);
    assert_eq!(holders(&list(&establishment(&world, "INDIRECTE_RENFORCEE", &[]), "")).len(), 4);
    for client in [
        &bris_de_glace(&world, "cps-infirmier", OTHER),
        &centre_15(&world),
        &world.client("cpe-secretaire"),
        &establishment(&world, "INDIRECTE", &[]),
        &establishment(&world, "INDIRECTE_RENFORCEE", &as_staff()),
    ] {
        list(client, "").assert_refused(403, "DMPAccessForbidden", "TD1.6");
    }
    let occupational = world.client("cps-medecin-travail");
    list(&occupational, "").assert_refused(403, "DMPAccessForbidden", "no authorisation");
    mes.set(OTHER, "810100000081", "autorise");
    assert_eq!(holders(&list(&occupational, "")).len(), 5);
    mes.forget(OTHER, "810100000081");

    // 1.6-030: the blocked alone; who is blocked himself gets no list.
    assert_eq!(holders(&list(&doctor, "&status=active&provision-type=deny")), [blocked]);
    assert_eq!(holders(&list(&doctor, "&provision-type=permit")), [structure, own, equal]);
    list(&world.client("cps-medecin-b"), "").assert_refused(403, "DMPAccessForbidden", "blocked");
    let absent = doctor.get(&format!("/Consent?patient.identifier={TEST}%7C{}", super::NO_RECORD));
    assert_eq!(absent.found(), (0, vec![]));
    let last = |holder: &str| {
        let bundle = list(&doctor, "").json();
        let entries = bundle["entry"].as_array().unwrap().iter().map(|entry| entry["resource"].clone());
        let mut named =
            entries.filter(|one| one["provision"]["actor"][0]["reference"]["identifier"]["value"] == holder);
        extension(&named.next().unwrap(), "dmp-derniere-action")
    };
    assert!(last(DOCTOR).is_string(), "when he last did something");
    assert_eq!(last(DOCTOR_B), Value::Null, "refused is not done");
    let nurse = world.client("cps-infirmier");
    let end = (world.clock.now() + jiff::SignedDuration::from_hours(72)).to_string();
    declared(
        &nurse.post("/Consent", declaration(OTHER, &json!({ "type": "permit", "period": { "end": end } }))),
    );
    assert!(last("810100000040").is_string());
    world.clock.advance(4);
    assert_eq!(holders(&list(&doctor, "&status=inactive")), ["810100000040 permit"], "over since");
}
