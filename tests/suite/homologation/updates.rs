//! The TD3.3 rows: mask and unmask, show, delete, archive; and what the patient's side changes of documents.

use serde_json::{Value, json};

use super::{DOCTOR, as_staff, bris_de_glace, document, e_cps, establishment, feed, session};
use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines_and_in_xml!(
    td3_3a,
    td3_3a_covers_older_versions,
    td3_3b,
    td3_3c,
    td3_3c_after_opposition,
    td3_3d,
    the_patients_documents,
    a_replacement_keeps_the_mask,
    a_replacement_keeps_an_announcement,
    fed_again_after_a_change,
    a_hostile_patch_changes_nothing,
    a_change_is_answered_as_a_read_would_be,
    an_older_version_keeps_its_own_labels,
);

/// TRAITE: `cps-medecin` is his médecin traitant.
const TREATED: &str = "144027599900963";
const MASKED: &[&str] = &["N", "MASQUE_PS"];
const NORMAL: &[&str] = &["N"];
const ARCHIVED: &str = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived";

/// The labels of a DocumentReference, sorted.
fn labels(document: &Value) -> Vec<String> {
    let labels = document["securityLabel"].as_array().unwrap().iter();
    let mut labels: Vec<String> =
        labels.map(|label| label["coding"][0]["code"].as_str().unwrap().to_owned()).collect();
    labels.sort();
    labels
}

#[track_caller]
fn changed(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The version of a document in the store.
fn version(client: &Client, id: &str) -> Value {
    let read = client.get(&format!("/DocumentReference/{id}"));
    assert_eq!(read.status, 200, "{}", read.text());
    read.json()["meta"]["versionId"].clone()
}

fn hidden(answer: &Answer) {
    answer.assert_refused(404, "", "no such resource");
}

fn td3_3a(engine: Engine) {
    let world = World::start(engine);
    let (treating, author) = (world.client("cps-medecin"), world.client("cps-medecin-b"));
    let other = world.client("cps-infirmier");
    for client in [&author, &other] {
        client.authorise(TREATED);
    }

    // 3.3-050: the médecin traitant unmasks what another author masked; who does not see it, is told nothing; the author may;
    // not in an emergency; and masking again has no end.
    let mut example = document(TREATED, "2.25.650", MASKED);
    (example.type_code, example.class_code) = ("15508-5", "10");
    let id = feed(&author, &example);
    hidden(&other.label("2.25.650", NORMAL));
    assert_eq!(labels(&changed(&author.label("2.25.650", NORMAL))), ["N"]);
    assert_eq!(version(&other, &id), "2", "visible to the other, in its second version");
    assert_eq!(labels(&changed(&author.label("2.25.650", MASKED))), ["MASQUE_PS", "N"]);
    let before = changed(&treating.get(&format!("/DocumentReference/{id}")));
    let unmasked = treating.label("2.25.650", NORMAL);
    assert_eq!(labels(&changed(&unmasked)), ["N"]);
    assert_eq!(unmasked.json()["meta"]["versionId"], "4");
    assert!(unmasked.json()["meta"]["lastUpdated"].as_str() > before["meta"]["lastUpdated"].as_str());
    assert_eq!(unmasked.header("etag"), "W/\"4\"");
    assert_eq!(changed(&treating.label("2.25.650", MASKED))["meta"]["versionId"], "5");
    let by_token = e_cps(&world, "claire.bernard");
    assert_eq!(labels(&changed(&by_token.label("2.25.650", NORMAL))), ["N"]);
    let emergency = bris_de_glace(&world, "cps-medecin", TREATED);
    emergency.label("2.25.650", MASKED).assert_refused(403, "DMPAccessForbidden", "TD3.3a");
    super::centre_15(&world).label("2.25.650", MASKED).assert_refused(403, "DMPAccessForbidden", "TD3.3a");
    assert_eq!(version(&treating, &id), "6", "nothing changed");

    // 3.3-160: any professional with rights masks in mode normal; then he sees it no more and cannot undo it; N stays.
    let mut example = document(TREATED, "2.25.651", NORMAL);
    (example.type_code, example.class_code) = ("60568-3", "10");
    let id = feed(&author, &example);
    let masked = changed(&other.patch_document(
        "2.25.651",
        &json!([{ "op": "add", "path": "/securityLabel/-", "value": { "coding": [{ "code": "MASQUE_PS" }] } }]),
    ));
    assert_eq!(masked["id"], id.as_str());
    assert_eq!(labels(&changed(&author.get(&format!("/DocumentReference/{id}")))), ["MASQUE_PS", "N"]);
    assert!(!other.find(TREATED).found().1.contains(&id));
    hidden(&other.get(&format!("/DocumentReference/{id}")));
    hidden(&other.label("2.25.651", NORMAL));
    for (path, value) in [("/description", json!("x")), ("/subject", json!({ "reference": "Patient/x" }))] {
        let replaced =
            author.patch_document("2.25.651", &json!([{ "op": "add", "path": path, "value": value }]));
        replaced.assert_refused(405, "", "status, securityLabel and isArchived");
    }
    assert_eq!(version(&author, &id), "2");

    // 3.3-200: AIR changes labels though it may not feed; staff do not, and each change wants a token of its own.
    let air = establishment(&world, "INDIRECTE_RENFORCEE", &[]);
    let unmasked = air.label("2.25.651", NORMAL);
    assert_eq!(labels(&changed(&unmasked)), ["N"]);
    air.label("2.25.651", MASKED).assert_refused(401, "", "used already");
    let staff = establishment(&world, "INDIRECTE_RENFORCEE", &as_staff());
    hidden(&staff.label("2.25.651", MASKED));

    // If-Match says which version is meant.
    let headers =
        |version: &'static str| [("Content-Type", "application/json-patch+json"), ("If-Match", version)];
    let mask = json!([{ "op": "replace", "path": "/securityLabel", "value": [{ "coding": [{ "code": "MASQUE_PS" }] }] }]);
    let path = format!("/DocumentReference/{id}");
    let patch = |version| author.send("PATCH", &path, &headers(version), Some(mask.to_string())).unwrap();
    patch("W/\"1\"").assert_refused(412, "", "another version");
    assert_eq!(patch("W/\"3\"").status, 200);
}

/// Masking the current version covers those that it replaced; unmasking it uncovers what is not masked by itself.
fn td3_3a_covers_older_versions(engine: Engine) {
    let world = World::start(engine);
    let (author, other) = (world.client("cps-medecin-b"), world.client("cps-infirmier"));
    for client in [&author, &other] {
        client.authorise(OTHER);
    }
    let first = feed(&author, &document(OTHER, "2.25.660", NORMAL));
    let second =
        feed(&author, &super::Example { replaces: Some("2.25.660"), ..document(OTHER, "2.25.661", NORMAL) });
    let third =
        feed(&author, &super::Example { replaces: Some("2.25.661"), ..document(OTHER, "2.25.662", MASKED) });
    let all = |client: &Client| {
        let path = format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current,superseded");
        let mut ids = client.get(&path).found().1;
        ids.sort();
        ids
    };
    let sorted = |ids: &[&String]| {
        let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(all(&author), sorted(&[&first, &second, &third]));
    assert_eq!(all(&other), [""; 0], "fed masked: it covers the older versions");
    assert_eq!(author.label("2.25.662", NORMAL).status, 200);
    assert_eq!(all(&other), sorted(&[&first, &second, &third]));
    // Masked alone, an older version covers those before it, and not the current one.
    assert_eq!(author.label("2.25.661", MASKED).status, 200);
    assert_eq!(all(&other), sorted(&[&third]));
    let shown = changed(&other.get(&format!("/DocumentReference/{third}")));
    assert_eq!(shown["relatesTo"], Value::Null, "what may not be seen is not named");
    assert!(!shown.to_string().contains(&second));
    let listed = other.find(OTHER).json();
    assert_eq!(listed["entry"][0]["resource"], shown, "search and read say the same");
    // Nor does a PATCH tell more than a read: one that changes nothing, one that does.
    let unchanged = json!([{ "op": "test", "path": "/status", "value": "current" }]);
    assert_eq!(changed(&other.patch_document("2.25.662", &unchanged)), shown);
    assert!(!other.label("2.25.662", MASKED).text().contains(&second));
    assert_eq!(author.label("2.25.662", NORMAL).status, 200);
    assert_eq!(
        changed(&author.get(&format!("/DocumentReference/{third}")))["relatesTo"][0]["code"],
        "replaces"
    );
    // Unmasked, current and older: the one that is masked by itself stays so.
    assert_eq!(author.label("2.25.662", MASKED).status, 200);
    assert_eq!(author.label("2.25.662", NORMAL).status, 200);
    assert_eq!(all(&other), sorted(&[&third]));
    assert_eq!(author.label("2.25.661", NORMAL).status, 200);
    assert_eq!(all(&other), sorted(&[&first, &second, &third]));
}

/// What the patient, or anybody, masked stays masked through a replacement by who could not unmask it.
fn a_replacement_keeps_the_mask(engine: Engine) {
    let world = World::start(engine);
    let (author, staff, mes) =
        (world.client("cps-medecin-b"), world.client("cpe-secretaire"), PatientSide::of(&world));
    let nurse = world.client("cps-infirmier");
    nurse.authorise(OTHER);
    let replace = |client: &Client, new: &str, old: &str| {
        feed(client, &super::Example { replaces: Some(old), ..document(OTHER, new, NORMAL) })
    };
    let first = feed(&staff, &document(OTHER, "2.25.665", NORMAL));
    assert!(nurse.find(OTHER).found().1.contains(&first), "control");
    assert_eq!(mes.change_document(OTHER, &first, json!({ "masque": true })).status, 200);
    let second = replace(&staff, "2.25.666", "2.25.665");
    assert_eq!(nurse.find(OTHER).found(), (0, vec![]), "corrected, and still masked");
    hidden(&nurse.get(&format!("/DocumentReference/{second}")));
    // The patient takes the mask off again: both versions are there.
    assert_eq!(mes.change_document(OTHER, &second, json!({ "masque": false })).status, 200);
    assert_eq!(nurse.find(OTHER).found().1, [second]);
    // The author with the patient's authorisation may unmask his own, and so may his new version.
    feed(&author, &document(OTHER, "2.25.667", MASKED));
    let kept = replace(&author, "2.25.668", "2.25.667");
    assert!(!nurse.find(OTHER).found().1.contains(&kept), "without authorisation he could not");
    author.authorise(OTHER);
    let shown = replace(&author, "2.25.669", "2.25.668");
    assert!(nurse.find(OTHER).found().1.contains(&shown));
    assert_eq!(labels(&changed(&author.get(&format!("/DocumentReference/{kept}")))), ["MASQUE_PS", "N"]);
}

/// TD3.3b is not the staff's: what a doctor was to announce, their corrected copy does not tell; nor does its month begin anew.
fn a_replacement_keeps_an_announcement(engine: Engine) {
    let world = World::start(engine);
    let (reader, staff, mes) =
        (world.client("cps-medecin"), world.client("cpe-secretaire"), PatientSide::of(&world));
    reader.authorise(OTHER);
    let result = |unique_id, replaces, labels| {
        let mut example = super::Example { replaces, ..document(OTHER, unique_id, labels) };
        (example.type_code, example.class_code) = ("34874-8", "10");
        feed(&staff, &example)
    };
    result("2.25.681", None, &["N", "INVISIBLE_PATIENT"]);
    world.clock.advance(20);
    let corrected = result("2.25.682", Some("2.25.681"), NORMAL);
    assert!(!mes.documents(OTHER, "titulaire").contains(&corrected));
    let read = changed(&reader.get(&format!("/DocumentReference/{corrected}")));
    assert_eq!(labels(&read), ["INVISIBLE_PATIENT", "N"], "those who read it see that it waits");
    // Over a month after the first deposit.
    world.clock.advance(12);
    assert!(mes.documents(OTHER, "titulaire").contains(&corrected));
    // Control: what was never hidden is told at once.
    result("2.25.683", None, NORMAL);
    let told = result("2.25.684", Some("2.25.683"), NORMAL);
    assert!(mes.documents(OTHER, "titulaire").contains(&told));
}

/// A feed that is sent again is answered as the first time, and tells nothing of what became of the document since.
fn fed_again_after_a_change(engine: Engine) {
    let world = World::start(engine);
    let (author, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    let example = document(OTHER, "2.25.706", NORMAL);
    let first = author.post("/DocumentReference", example.single());
    let id = first.json()["id"].as_str().unwrap().to_owned();
    let again = author.post("/DocumentReference", example.single());
    assert_eq!((again.status, again.json()), (201, first.json()), "unchanged since");
    assert_eq!(mes.change_document(OTHER, &id, json!({ "masque": true })).status, 200);
    let again = author.post("/DocumentReference", example.single());
    assert_eq!(again.status, 201);
    assert_eq!(again.header("etag"), "W/\"2\"");
    assert!(!again.text().contains("MASQUE_PS") && !again.text().contains("Binary/"), "{}", again.text());
    assert_eq!(author.delete_document("2.25.706").status, 200);
    let again = author.post("/DocumentReference", example.single());
    again.assert_refused(409, "XDSDuplicateUniqueIdInRegistry", "another document");
}

fn archive(client: &Client, unique_id: &str, value: bool) -> Answer {
    let extension = json!({ "url": ARCHIVED, "valueBoolean": value });
    client.patch_document(unique_id, &json!([{ "op": "add", "path": "/extension/-", "value": extension }]))
}

/// What covers an older version is no label of its own, whatever is changed of it; and a deletion is one more version of each.
fn an_older_version_keeps_its_own_labels(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin-b");
    author.authorise(OTHER);
    feed(&author, &document(OTHER, "2.25.685", NORMAL));
    let newer = super::Example { replaces: Some("2.25.685"), ..document(OTHER, "2.25.686", MASKED) };
    feed(&author, &newer);
    assert_eq!(labels(&changed(&archive(&author, "2.25.685", true))), ["N"], "masked by its successor alone");
    assert_eq!(world.rows("document WHERE unique_id = 'urn:oid:2.25.685' AND masked"), 1);
    assert_eq!(author.label("2.25.686", NORMAL).status, 200);
    assert_eq!(world.rows("document WHERE unique_id = 'urn:oid:2.25.685' AND NOT masked"), 1);
    assert_eq!(author.delete_document("2.25.686").status, 200);
    // Fed, replaced, archived, deleted.
    let gone = "document WHERE unique_id = 'urn:oid:2.25.685' AND status = 'entered-in-error' AND version = 4";
    assert_eq!(world.rows(gone), 1);
    let text = world.text("SELECT resource AS text FROM document WHERE unique_id = 'urn:oid:2.25.685'");
    assert!(text.contains(r#""versionId":"4""#), "{text}");
}

/// The answer to a PATCH shows what a read shows: an announcement until it is over, a relation to what may be seen.
fn a_change_is_answered_as_a_read_would_be(engine: Engine) {
    let world = World::start(engine);
    let (author, reader, mes) =
        (world.client("cps-medecin-b"), world.client("cps-medecin"), PatientSide::of(&world));
    author.authorise(OTHER);
    reader.authorise(OTHER);
    let as_read = |client: &Client, unique_id: &str, archived: bool| {
        let answer = changed(&archive(client, unique_id, archived));
        let read = changed(&client.get(&format!("/DocumentReference/{}", answer["id"].as_str().unwrap())));
        assert_eq!(answer, read, "{unique_id}");
        answer
    };
    // Announced: the label is there, and goes by itself after a month; a plain document has none before or after.
    feed(&author, &document(OTHER, "2.25.680", &["N", "INVISIBLE_PATIENT"]));
    feed(&author, &document(OTHER, "2.25.681", NORMAL));
    assert_eq!(labels(&as_read(&author, "2.25.680", true)), ["INVISIBLE_PATIENT", "N"]);
    assert_eq!(labels(&as_read(&author, "2.25.681", true)), ["N"]);
    world.clock.advance(32);
    author.authorise(OTHER);
    reader.authorise(OTHER);
    assert_eq!(labels(&as_read(&author, "2.25.680", false)), ["N"]);
    // A relation is named to who may see where it leads.
    let older = feed(&author, &document(OTHER, "2.25.682", NORMAL));
    let newer = super::Example { replaces: Some("2.25.682"), ..document(OTHER, "2.25.683", NORMAL) };
    feed(&author, &newer);
    assert_eq!(as_read(&author, "2.25.683", true)["relatesTo"].as_array().map(Vec::len), Some(1));
    assert_eq!(mes.change_document(OTHER, &older, json!({ "masque": true })).status, 200);
    assert_eq!(as_read(&author, "2.25.683", false)["relatesTo"].as_array().map(Vec::len), Some(1), "his own");
    let shown = changed(&reader.label("2.25.683", NORMAL));
    assert_eq!(shown.get("relatesTo"), None, "{shown}");
    assert_eq!(shown, changed(&reader.get(&format!("/DocumentReference/{}", shown["id"].as_str().unwrap()))));
}

/// What a PATCH cannot be: nothing that ends the writer, fills the memory or reads another element.
fn a_hostile_patch_changes_nothing(engine: Engine) {
    let world = World::start(engine);
    let (author, staff) = (world.client("cps-medecin"), world.client("cpe-secretaire"));
    author.authorise(OTHER);
    feed(&author, &document(OTHER, "2.25.707", NORMAL));
    let doubling: Vec<Value> = (0..40)
        .map(|_| json!({ "op": "copy", "from": "/securityLabel", "path": "/securityLabel/-" }))
        .collect();
    for operations in [
        json!([{ "op": "move", "from": "/masterIdentifier/value", "path": "/masterIdentifier" }, { "op": "test", "path": "/status", "value": "x" }]),
        json!([{ "op": "add", "path": "/x", "value": {} }, { "op": "move", "from": "/x", "path": "/nope/z" }]),
        json!(doubling),
        json!([{ "op": "copy", "from": "/subject/identifier/value", "path": "/securityLabel/-" }]),
        json!([{ "op": "test", "path": "/title", "value": "x" }]),
    ] {
        author.patch_document("2.25.707", &operations).assert_refused(
            405,
            "",
            "status, securityLabel and isArchived",
        );
    }
    // One value for several places would grow with each operation; for one place it is a change like any other.
    let label = |kind: &str, path: &str, more: Value| {
        json!({ "name": "operation", "part": [
            { "name": "type", "valueCode": kind }, { "name": "path", "valueString": path }, more,
            { "name": "value", "valueCodeableConcept": { "coding": [{ "code": "N" }] } },
        ] })
    };
    let twice = label("add", "DocumentReference", json!({ "name": "name", "valueString": "securityLabel" }));
    let place = "DocumentReference.securityLabel.where(coding.code='N')";
    let both = label("replace", place, json!({ "name": "index", "valueInteger": 0 }));
    let target = "/DocumentReference?identifier=urn:ietf:rfc:3986%7Curn:oid:2.25.707";
    let headers = [("Content-Type", "application/fhir+json")];
    let fhir_path = |operations: Value| {
        let parameters = json!({ "resourceType": "Parameters", "parameter": operations });
        author.send("PATCH", target, &headers, Some(parameters.to_string())).unwrap()
    };
    fhir_path(json!([&twice, &both])).assert_refused(405, "", "securityLabel");
    assert_eq!(fhir_path(json!([&both])).status, 200, "control: {}", fhir_path(json!([&both])).text());
    // Who may delete and not read learns nothing by what a patch would change: masked or not, the answer is the same.
    let own = feed(&staff, &document(OTHER, "2.25.708", NORMAL));
    let probe =
        json!([{ "op": "replace", "path": "/securityLabel", "value": [{ "coding": [{ "code": "N" }] }] }]);
    let test = json!([{ "op": "test", "path": "/securityLabel/1/coding/0/code", "value": "MASQUE_PS" }]);
    let without_id = |answer: &Answer| answer.text().replace(answer.request_id(), "");
    let told = [&probe, &test].map(|patch| without_id(&staff.patch_document("2.25.708", patch)));
    let mes = PatientSide::of(&world);
    assert_eq!(mes.change_document(OTHER, &own, json!({ "masque": true })).status, 200);
    assert_eq!([&probe, &test].map(|patch| without_id(&staff.patch_document("2.25.708", patch))), told);
    staff.patch_document("2.25.708", &probe).assert_refused(403, "DMPAccessForbidden", "TD3.3a");
    // The writer still writes.
    assert_eq!(author.label("2.25.707", MASKED).status, 200);
}

fn td3_3b(engine: Engine) {
    let world = World::start(engine);
    let (reader, author, mes) =
        (world.client("cps-medecin"), world.client("cps-medecin-b"), PatientSide::of(&world));
    reader.authorise(OTHER);
    author.authorise(OTHER);
    let announced: &[&str] = &["N", "INVISIBLE_PATIENT"];

    // TNR-03#5: shown to the patient; the patient's side has it from then on; not to be hidden again.
    // 3.3-060: by any professional with rights, not the author alone; one way.
    for (unique_id, client) in [("2.25.670", &reader), ("2.25.671", &e_cps(&world, "claire.bernard"))] {
        let mut example = document(OTHER, unique_id, announced);
        (example.type_code, example.class_code) = ("34874-8", "10");
        let id = feed(&author, &example);
        assert!(!mes.documents(OTHER, "titulaire").contains(&id));
        let shown = client.label(unique_id, NORMAL);
        assert_eq!(labels(&changed(&shown)), ["N"]);
        assert_eq!(shown.json()["meta"]["versionId"], "2");
        assert!(mes.documents(OTHER, "titulaire").contains(&id));
        let again = author.label(unique_id, announced);
        again.assert_refused(422, "XDSRegistryMetadataError", "not hidden again");
        assert_eq!(version(&author, &id), "2");
    }
    // Hidden from the patient and masked at once: not while the parameter is false.
    feed(&author, &document(OTHER, "2.25.672", announced));
    let both = author.label("2.25.672", &["N", "INVISIBLE_PATIENT", "MASQUE_PS"]);
    both.assert_refused(422, "XDSRegistryMetadataError", "exclude each other");
    // One step that shows and masks is allowed: at no time are both there.
    assert_eq!(author.label("2.25.672", MASKED).status, 200, "{}", author.label("2.25.672", MASKED).text());

    // R1111-53: an announcement is over after a month, by itself; a replacement does not lengthen it.
    let waiting = feed(&author, &document(OTHER, "2.25.673", announced));
    world.clock.advance(20);
    let newer = super::Example { replaces: Some("2.25.673"), ..document(OTHER, "2.25.674", announced) };
    let newer = feed(&author, &newer);
    assert!(!mes.documents(OTHER, "titulaire").contains(&newer));
    assert_eq!(
        labels(&changed(&reader.get(&format!("/DocumentReference/{newer}")))),
        ["INVISIBLE_PATIENT", "N"]
    );
    world.clock.advance(12);
    let seen = mes.documents(OTHER, "titulaire");
    assert!(seen.contains(&newer) && seen.contains(&waiting), "a month after the first deposit");
    assert_eq!(labels(&changed(&reader.get(&format!("/DocumentReference/{newer}")))), ["N"]);
    author.label("2.25.674", announced).assert_refused(422, "XDSRegistryMetadataError", "not hidden again");
    let again = super::Example { replaces: Some("2.25.674"), ..document(OTHER, "2.25.675", announced) };
    author.post("/DocumentReference", again.single()).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "not hidden again",
    );
}

fn td3_3c(engine: Engine) {
    let world = World::start(engine);
    let (author, other) = (world.client("cps-medecin"), world.client("cps-medecin-b"));
    let feed_as = |unique_id: &str, labels: &[&str]| feed(&author, &document(OTHER, unique_id, labels));

    // TNR-01#3: the author deletes without any authorisation: look-up, then PATCH; final.
    // 3.3-540: the look-up gives the reference alone, for that identifier alone; the content is refused.
    let id = feed_as("2.25.680", NORMAL);
    feed_as("2.25.681", NORMAL);
    author.find(OTHER).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    let found = author.look_up(OTHER, "2.25.680");
    assert_eq!(found.found(), (1, vec![id.clone()]));
    let reference = found.json()["entry"][0]["resource"].clone();
    let keys: Vec<&String> = reference.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["resourceType", "id", "meta", "masterIdentifier", "status"], "cut down");
    assert_eq!(reference["meta"]["tag"][0]["code"], "SUBSETTED");
    hidden(&author.get(&format!("/DocumentReference/{id}")));
    assert_eq!(other.look_up(OTHER, "2.25.680").found(), (0, vec![]), "another's is nothing to look up");
    let deleted = author.delete_document("2.25.680");
    assert_eq!(changed(&deleted)["status"], "entered-in-error");
    assert_eq!(author.look_up(OTHER, "2.25.680").found(), (0, vec![]));
    let back = json!([{ "op": "replace", "path": "/status", "value": "current" }]);
    hidden(&author.patch_document("2.25.680", &back));
    hidden(&author.delete_document("2.25.680"));
    let mut again = document(OTHER, "2.25.680", NORMAL);
    again.size = 5_000;
    let again = author.post("/DocumentReference", again.single());
    again.assert_refused(409, "XDSDuplicateUniqueIdInRegistry", "another document");

    // 3.3-070: with authorisation; not by another, not even the médecin traitant; older versions go with it, none goes alone.
    author.authorise(OTHER);
    other.authorise(OTHER);
    let first = feed_as("2.25.682", NORMAL);
    let second =
        feed(&author, &super::Example { replaces: Some("2.25.682"), ..document(OTHER, "2.25.683", NORMAL) });
    PatientSide::of(&world).set(OTHER, "810100000024", "medecin_traitant");
    other.delete_document("2.25.683").assert_refused(403, "DMPAccessForbidden", "only the author");
    author.delete_document("2.25.682").assert_refused(422, "XDSRegistryMetadataError", "not alone");
    let by_token = e_cps(&world, "claire.bernard");
    assert_eq!(changed(&by_token.delete_document("2.25.683"))["status"], "entered-in-error");
    for id in [&first, &second] {
        hidden(&author.get(&format!("/DocumentReference/{id}")));
    }
    let everything = format!(
        "/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current,superseded,entered-in-error"
    );
    assert_eq!(author.get(&everything).found().0, 1, "2.25.681 alone");

    // 3.3-080: a mask does not stop the author; who does not see it gets 404, not 403.
    feed_as("2.25.684", MASKED);
    let nurse = world.client("cps-infirmier");
    nurse.authorise(OTHER);
    let (masked, absent) = (nurse.delete_document("2.25.684"), nurse.delete_document("2.25.999"));
    let without_id = |answer: &Answer| answer.text().replace(answer.request_id(), "");
    hidden(&masked);
    assert_eq!(without_id(&masked), without_id(&absent));
    assert_eq!(author.delete_document("2.25.684").status, 200);

    // 3.3-800: of several documents of one examination one is deleted, the others stay.
    let stays = feed_as("2.25.685", NORMAL);
    feed_as("2.25.686", NORMAL);
    assert_eq!(author.delete_document("2.25.686").status, 200);
    assert!(author.find(OTHER).found().1.contains(&stays));
    assert_eq!(author.look_up(OTHER, "2.25.686").found(), (0, vec![]));
    // In an emergency the author deletes his own, too.
    feed_as("2.25.687", NORMAL);
    assert_eq!(bris_de_glace(&world, "cps-medecin", OTHER).delete_document("2.25.687").status, 200);
}

fn td3_3c_after_opposition(engine: Engine) {
    let world = World::start(engine);
    let (author, staff, mes) =
        (world.client("cps-medecin"), world.client("cpe-secretaire"), PatientSide::of(&world));
    for (client, prefix) in [(&author, "2.25.690"), (&staff, "2.25.691")] {
        for number in 1..=2 {
            feed(client, &document(OTHER, &format!("{prefix}.{number}"), NORMAL));
        }
    }
    author.authorise(OTHER);
    mes.change(OTHER, json!({ "oppositionAlimentation": true }));
    let new =
        |client: &Client, example: super::Example<'_>| client.post("/DocumentReference", example.single());
    for (client, prefix) in [(&author, "2.25.690"), (&staff, "2.25.691")] {
        let (first, second) = (format!("{prefix}.1"), format!("{prefix}.2"));
        // 2.1-970#3: nothing new. 2.2-980#3: nor of staff.
        let refused = new(client, document(OTHER, &format!("{prefix}.3"), NORMAL));
        refused.assert_refused(403, "DMPAccessForbidden", "opposed to feeding");
        // 2.1-970#4: a replacement by the author. 2.2-980#4: or of the structure.
        let newer = format!("{prefix}.4");
        let replaced =
            new(client, super::Example { replaces: Some(&first), ..document(OTHER, &newer, NORMAL) });
        assert_eq!(replaced.status, 201, "{}", replaced.text());
        // 2.1-970#5: the author deletes. 2.2-980#5: staff what their structure fed.
        assert_eq!(client.delete_document(&second).status, 200);
    }
    // Labels and archive are feeding, too; another structure's staff see nothing of it.
    author.label("2.25.690.4", MASKED).assert_refused(403, "DMPAccessForbidden", "opposed to feeding");
    let elsewhere = establishment(&world, "INDIRECTE", &[]);
    hidden(&elsewhere.delete_document("2.25.691.4"));
    assert_eq!(staff.look_up(OTHER, "2.25.691.4").found().0, 1);
    assert_eq!(staff.look_up(OTHER, "2.25.690.4").found().0, 0, "the doctor's own is not the practice's");
    hidden(&staff.delete_document("2.25.690.4"));
}

fn td3_3d(engine: Engine) {
    let world = World::start(engine);
    let (treating, author, nurse) =
        (world.client("cps-medecin"), world.client("cps-medecin-b"), world.client("cps-infirmier"));
    for client in [&author, &nurse] {
        client.authorise(TREATED);
    }
    let archived = |document: &Value| {
        let all = document["extension"].as_array().cloned().unwrap_or_default();
        all.iter().any(|extension| extension["url"] == ARCHIVED && extension["valueBoolean"] == true)
    };
    // 3.3-120: author and médecin traitant; who is neither, is not allowed; archived is still current; FHIRPath Patch works, and
    // the form of the draft guide, which is no JSON Pointer.
    let mut example = document(TREATED, "2.25.695", NORMAL);
    (example.type_code, example.class_code) = ("11502-2", "10");
    feed(&author, &example);
    archive(&nurse, "2.25.695", true).assert_refused(403, "DMPAccessForbidden", "only the author");
    let set = changed(&archive(&author, "2.25.695", true));
    assert!(archived(&set));
    assert_eq!(set["status"], "current");
    let unset = changed(&archive(&e_cps(&world, "claire.bernard"), "2.25.695", false));
    assert!(!archived(&unset));
    assert_eq!(unset["extension"], Value::Null);
    let parameters = json!({
        "resourceType": "Parameters",
        "parameter": [{ "name": "operation", "part": [
            { "name": "type", "valueCode": "add" },
            { "name": "path", "valueString": "DocumentReference" },
            { "name": "name", "valueString": "extension" },
            { "name": "value", "valueExtension": { "url": ARCHIVED, "valueBoolean": true } },
        ] }],
    });
    let headers = [("Content-Type", "application/fhir+json")];
    let path = "/DocumentReference?identifier=urn:ietf:rfc:3986%7Curn:oid:2.25.695";
    let by_path = treating.send("PATCH", path, &headers, Some(parameters.to_string())).unwrap();
    assert!(archived(&changed(&by_path)));
    let draft = json!([{ "op": "replace", "path": "/extension[url:\"https://interop.esante.gouv.fr/ig/fhir/pdsm/SearchParameter/PDSm-isArchived\"]/valueBoolean", "value": "false" }]);
    assert!(!archived(&changed(&treating.patch_document("2.25.695", &draft))));
    // A doctor who is neither: sheet 526 in normal, 606 says any; the stricter reading is the default.
    let other = world.client("cpf-interne");
    other.authorise(TREATED);
    archive(&other, "2.25.695", true).assert_refused(403, "DMPAccessForbidden", "only the author");
    // In an emergency any document, says the sheet.
    let emergency = bris_de_glace(&world, "cpf-interne", TREATED);
    assert!(archived(&changed(&archive(&emergency, "2.25.695", true))));
    // Archived documents are found and read all the same, by who may.
    assert_eq!(nurse.find(TREATED).found().0, 1);
}

/// What the patient changes of his documents, and what of others' he does not.
fn the_patients_documents(engine: Engine) {
    let world = World::start(engine);
    let (author, nurse, mes) =
        (world.client("cps-medecin-b"), world.client("cps-infirmier"), PatientSide::of(&world));
    nurse.authorise(OTHER);
    let id = feed(&author, &document(OTHER, "2.25.700", NORMAL));
    let other_record = feed(&author, &document(TREATED, "2.25.701", NORMAL));
    let announced = feed(&author, &document(OTHER, "2.25.702", &["N", "INVISIBLE_PATIENT"]));
    assert_eq!(mes.change_document(OTHER, &id, json!({ "masque": true })).status, 200);
    hidden(&nurse.get(&format!("/DocumentReference/{id}")));
    assert_eq!(mes.change_document(OTHER, &id, json!({ "masque": false })).status, 200);
    assert_eq!(nurse.get(&format!("/DocumentReference/{id}")).status, 200);
    for change in [json!({ "archive": true }), json!({ "supprime": true })] {
        mes.change_document(OTHER, &id, change).assert_refused(
            403,
            "DMPAccessForbidden",
            "taken back by its author",
        );
    }
    for absent in [&announced, &other_record, &"unknown".to_owned()] {
        mes.change_document(OTHER, absent, json!({ "masque": true })).assert_refused(
            404,
            "",
            "no such document",
        );
    }
    mes.change_document(OTHER, &id, json!({ "masqué": true })).assert_refused(400, "", "unknown");

    // 3.2-510: a document that the patient deposited is his, or the médecin traitant's, to archive and delete.
    let own = feed(&author, &document(OTHER, "2.25.703", NORMAL));
    world
        .sql(&format!("UPDATE document SET author_id = 'patient', author_structure = NULL WHERE id = '{own}'"));
    author.authorise(OTHER);
    assert_eq!(author.get(&format!("/DocumentReference/{own}")).status, 200);
    author.delete_document("2.25.703").assert_refused(403, "DMPAccessForbidden", "note (*)");
    let replacing = super::Example { replaces: Some("2.25.703"), ..document(OTHER, "2.25.704", NORMAL) };
    author.post("/DocumentReference", replacing.single()).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "not known",
    );
    mes.set(OTHER, DOCTOR, "medecin_traitant");
    let treating = session(&world, "cps-medecin", &[]);
    assert_eq!(treating.delete_document("2.25.703").status, 200);
    hidden(&author.get(&format!("/DocumentReference/{own}")));
    // All documents masked at once, those to come included; the author and the médecin traitant still see.
    mes.change(OTHER, json!({ "documentsMasques": true }));
    assert_eq!(nurse.find(OTHER).found(), (0, vec![]));
    assert_eq!(treating.find(OTHER).found().0, 2);
    assert_eq!(author.find(OTHER).found().0, 2);
    feed(&treating, &document(OTHER, "2.25.705", NORMAL));
    assert_eq!(nurse.find(OTHER).found().0, 0);
    assert_eq!(author.find(OTHER).found().0, 2, "his own alone");
}
