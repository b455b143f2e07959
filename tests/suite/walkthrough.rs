//! The main job, end to end: what the sandbox invites a newcomer to try.

use habilis::sandbox::example::Example;

use crate::on_both_engines;
use crate::support::{Engine, OTHER, PATIENT, TEST, World};

on_both_engines!(
    a_record_exists_or_not,
    one_doctor_feeds_another_reads,
    who_may_not,
    a_declaration_is_taken_at_its_word,
    a_blocked_or_expired_doctor_is_told_so,
    closed_and_opposed_records,
    masked_documents_are_for_author_and_medecin_traitant,
);

fn a_record_exists_or_not(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");

    let open = doctor.get(&format!("/Patient?identifier={TEST}%7C{PATIENT}"));
    let (total, _) = open.found();
    assert_eq!(total, 1);
    let patient = &open.json()["entry"][0]["resource"];
    assert_eq!(patient["active"], true);
    assert_eq!(patient["identifier"][0]["value"], PATIENT);
    assert_eq!(patient["name"][0]["family"], "PAT-TROIS", "software does not show them unasked (EX_0.2-1020)");

    assert_eq!(open.link("self"), None, "it would name the INS");

    let closed = doctor.get(&format!("/Patient?identifier={TEST}%7C260017599900293"));
    assert_eq!(closed.json()["entry"][0]["resource"]["active"], false);
    let none = doctor.get(&format!("/Patient?identifier={TEST}%7C172047599900387"));
    assert_eq!(none.found(), (0, vec![]));
    let wrong_key = doctor.get(&format!("/Patient?identifier={TEST}%7C123456789012345"));
    wrong_key.assert_refused(400, "DMPInvalidResourceId", "key");
    let nia = doctor.get(&format!("/Patient?identifier=urn:oid:1.2.250.1.213.1.4.9%7C{PATIENT}"));
    assert_eq!(nia.found(), (0, vec![]), "no record is ever opened on a NIA");
    doctor.get("/Patient").assert_refused(400, "", "identifier");

    let posted = doctor.send(
        "POST",
        "/Patient/_search",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        Some(format!("identifier={TEST}%7C{PATIENT}")),
    );
    assert_eq!(posted.unwrap().json()["entry"], open.json()["entry"]);
}

fn one_doctor_feeds_another_reads(engine: Engine) {
    let world = World::start(engine);
    let (author, reader) = (world.client("cps-medecin"), world.client("cps-medecin-b"));
    let example = Example::new(TEST, PATIENT, "PAT-TROIS", "2.25.1001");

    let fed = author.post("", example.transaction());
    assert_eq!(fed.status, 200, "{}", fed.text());
    let answer = fed.json();
    assert_eq!(answer["type"], "transaction-response");
    let kinds: Vec<&str> = answer["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            assert_eq!(entry["response"]["status"], "201 Created");
            entry["response"]["location"].as_str().unwrap().split('/').next().unwrap()
        })
        .collect();
    assert_eq!(kinds, ["List", "DocumentReference", "Binary"], "one entry per entry, in order");

    let single_example = Example { unique_id: "2.25.1002", ..example.clone() };
    let single = author.post("/DocumentReference", single_example.single());
    assert_eq!(single.status, 201, "{}", single.text());
    let document = single.json();
    assert!(single.header("location").starts_with(&format!("{}/DocumentReference/", author.base())));
    assert_eq!(document["content"][0]["attachment"].get("data"), None, "the bytes are in the Binary");

    reader.find(PATIENT).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    reader.authorise(PATIENT);
    let found = reader.find(PATIENT);
    let (total, ids) = found.found();
    assert_eq!((total, ids.len()), (2, 2));
    assert!(ids.contains(&document["id"].as_str().unwrap().to_owned()));

    let bundle = found.json();
    let entries = bundle["entry"].as_array().unwrap();
    for entry in entries {
        let url = entry["resource"]["content"][0]["attachment"]["url"].as_str().unwrap();
        let bytes = reader.get(url);
        assert_eq!(bytes.status, 200);
        assert_eq!(bytes.header("content-type"), "text/xml");
        let unique_id = entry["resource"]["masterIdentifier"]["value"].as_str().unwrap();
        let fed = if unique_id.ends_with("1001") { &example } else { &single_example };
        assert_eq!(bytes.text(), fed.cda(), "byte for byte");
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'; sandbox"),
        ] {
            assert_eq!(bytes.header(header), value);
        }
        assert!(bytes.header("content-disposition").starts_with("attachment"));

        let as_resource = reader.send("GET", url, &[("Accept", "application/fhir+json")], None).unwrap();
        assert_eq!(as_resource.json()["resourceType"], "Binary");
        assert_eq!(reader.send("GET", url, &[("Accept", "image/png")], None).unwrap().status, 406);
        let read = reader.get(entry["fullUrl"].as_str().unwrap());
        assert_eq!(read.json(), entry["resource"], "read and search give the same text");
    }
}

fn who_may_not(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin");
    // A telemedicine request: the dentist's cell says no (arrêté of 2023-10-26, press).
    let telemedicine = Example {
        type_code: "75496-0",
        unique_id: "2.25.2001",
        ..Example::new(TEST, PATIENT, "PAT-TROIS", "2.25.2001")
    };
    let report = Example::new(TEST, PATIENT, "PAT-TROIS", "2.25.2002");
    for example in [&telemedicine, &report] {
        assert_eq!(author.post("", example.transaction()).status, 200);
    }
    let (dentist, doctor) = (world.client("cps-dentiste"), world.client("cps-medecin-b"));
    dentist.authorise(PATIENT);
    doctor.authorise(PATIENT);
    assert_eq!(doctor.find(PATIENT).found().0, 2);
    let (total, ids) = dentist.find(PATIENT).found();
    assert_eq!((total, ids.len()), (1, 1), "not in the total either");

    let hidden = doctor
        .get(&format!("/DocumentReference?patient.identifier={TEST}%7C{PATIENT}&status=current&type=75496-0"));
    let url = hidden.first_attachment();
    assert_eq!(doctor.get(&url).status, 200);
    let (refused, absent) = (dentist.get(&url), dentist.get("/Binary/00000000-0000-4000-8000-000000000000"));
    refused.assert_refused(404, "", "no such resource");
    let without_id = |answer: &crate::support::Answer| answer.text().replace(answer.request_id(), "");
    assert_eq!(without_id(&refused), without_id(&absent), "hidden and absent are the same");

    let secretary = world.client("cpe-secretaire");
    secretary.find(PATIENT).assert_refused(403, "DMPAccessForbidden", "TD3.1 search metadata / CPE");
    secretary.get(&url).assert_refused(403, "DMPAccessForbidden", "TD3.2 read: not masked / CPE");
    let by_secretary = Example::new(TEST, PATIENT, "PAT-TROIS", "2.25.2003");
    assert_eq!(secretary.post("", by_secretary.transaction()).status, 200, "TD2.2");
    assert_eq!(doctor.find(PATIENT).found().0, 3);

    for card in ["org-hopital", "org-psc", "org-mes", "org-samu"] {
        let organisation = world.client(card);
        organisation.find(PATIENT).assert_refused(401, "", "access token");
        organisation.get(&url).assert_refused(401, "", "access token");
    }
    let occupational = world.client("cps-medecin-travail");
    occupational.get(&url).assert_refused(404, "", "no such resource");
    world.client("cpa-support").find(PATIENT).assert_refused(403, "DMPAccessForbidden", "CPA");
}

/// A declaration grants what it says and no more; what cannot be granted as said is refused.
fn a_declaration_is_taken_at_its_word(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    let declare = |provision: serde_json::Value| {
        let mut consent: serde_json::Value =
            serde_json::from_str(&habilis::sandbox::example::consent(TEST, OTHER)).unwrap();
        consent["provision"] = provision;
        doctor.post("/Consent", consent.to_string())
    };
    use serde_json::json;
    let person = "urn:oid:1.2.250.1.71.4.2.1";
    for (provision, status) in [
        (json!({ "type": "deny" }), 422),
        (json!({ "type": "permit", "purpose": [{ "code": "TREAT" }] }), 422),
        (json!({ "type": "permit", "provision": [{ "type": "deny" }] }), 422),
        (json!({ "type": "permit", "period": { "end": "2020-01-01" } }), 422),
        (json!({ "type": "permit", "period": { "start": "2100-01-01" } }), 422),
        (
            json!({ "type": "permit", "actor": [{ "reference": { "identifier": { "system": person, "value": "810100000024" } } }] }),
            403,
        ),
        (json!({ "type": "permit", "actor": [{ "reference": { "reference": "Practitioner/1" } }] }), 422),
    ] {
        let answer = declare(provision.clone());
        assert_eq!(answer.status, status, "{provision}: {}", answer.text());
    }
    doctor.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    let end = (jiff_now() + jiff::SignedDuration::from_hours(72)).to_string();
    let own = json!({ "reference": { "identifier": { "system": person, "value": "810100000016" } } });
    assert_eq!(declare(json!({ "type": "permit", "period": { "end": end }, "actor": [own] })).status, 201);
    assert_eq!(doctor.find(OTHER).status, 200);
    world.clock.advance(4);
    doctor.find(OTHER).assert_refused(403, "DMPAccessForbidden", "over");
    // Who may not declare at all learns nothing of what exists.
    let support = world.client("cpa-support");
    for ins in [OTHER, "172047599900387"] {
        let answer = support.post("/Consent", habilis::sandbox::example::consent(TEST, ins));
        answer.assert_refused(403, "DMPAccessForbidden", "CPA");
        let answer = support.post("", Example::new(TEST, ins, "X", "2.25.5001").transaction());
        answer.assert_refused(403, "DMPAccessForbidden", "CPA");
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests' own clock")]
fn jiff_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn a_blocked_or_expired_doctor_is_told_so(engine: Engine) {
    let world = World::start(engine);
    let blocked = world.client("cps-medecin-b");
    let ins = "291087599900442";
    blocked.find(ins).assert_refused(403, "DMPAccessForbidden", "blocked");
    let consent = habilis::sandbox::example::consent(TEST, ins);
    blocked.post("/Consent", consent).assert_refused(403, "DMPAccessForbidden", "blocked");
    let feed = Example::new(TEST, ins, "BLOQUANTE", "2.25.3001").transaction();
    blocked.post("", feed).assert_refused(403, "DMPAccessForbidden", "blocked");
    assert_eq!(world.rows("document") - 2, 0, "the two of the fixtures, no other");

    let doctor = world.client("cps-medecin");
    let expired = "283117599901088";
    doctor.find(expired).assert_refused(403, "DMPAccessForbidden", "over");
    doctor.authorise(expired);
    assert_eq!(doctor.find(expired).found().0, 0);
    // An authorisation lasts as long as the parameter says, and no longer.
    world.clock.advance(364);
    assert_eq!(doctor.find(expired).status, 200);
}

fn closed_and_opposed_records(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    let (closed, opposed) = ("260017599900293", "159077599901185");
    let feed = |ins: &str, id: &str| Example::new(TEST, ins, "X", id).transaction();
    doctor.post("", feed(closed, "2.25.4001")).assert_refused(422, "", "closed");
    doctor.post("", feed(opposed, "2.25.4002")).assert_refused(403, "DMPAccessForbidden", "opposed");
    doctor.post("", feed("172047599900387", "2.25.4003")).assert_refused(
        404,
        "XDSUnknownPatientId",
        "no record",
    );
    let none = doctor.find("172047599900387");
    assert_eq!(none.found(), (0, vec![]));
    assert_eq!(doctor.find(OTHER).code(), "DMPAccessForbidden");
    assert_eq!(world.bodies(), 2, "the two of the fixtures, no other");
}

fn masked_documents_are_for_author_and_medecin_traitant(engine: Engine) {
    let world = World::start(engine);
    let ins = "144027599900963";
    let (treating, author, other) =
        (world.client("cps-medecin"), world.client("cps-medecin-b"), world.client("cps-infirmier"));
    // The médecin traitant needs no declaration.
    let found = treating.find(ins);
    assert_eq!(found.found().0, 1);
    assert_eq!(treating.get(&found.first_attachment()).status, 200);
    author.authorise(ins);
    assert_eq!(author.find(ins).found().0, 1, "the author keeps access");
    other.authorise(ins);
    assert_eq!(other.find(ins).found(), (0, vec![]));
    assert_eq!(other.get(&found.first_attachment()).status, 404);
}
