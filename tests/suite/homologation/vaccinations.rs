//! The history that the server makes of a record's vaccination notes. What is refused of a note's labels is in `contents`.

use serde_json::Value;

use super::feeding::{MASKED, NORMAL, PDF, of_type, status, statuses};
use super::{DOCTOR, Example, accepted, address, alone, of_bytes};
use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines_and_in_xml!(
    one_history_of_all_notes,
    notes_that_are_none,
    many_notes_at_once,
    a_note_in_the_place_of_what_is_hidden
);

const UUID_1: &str = "41DAC707-7C96-47B7-B600-AC63D8002142";
const UUID_2: &str = "41DAC707-7C96-47B7-B600-AC63D8002143";

/// The entry of a vaccination.
pub fn entry(id: &str, cis: &str, day: &str, lot: &str) -> String {
    format!(
        "<entry><substanceAdministration classCode=\"SBADM\" moodCode=\"EVN\"><templateId root=\"1.2.250.1.213.1.1.3.45\"/><id root=\"{id}\"/>\
         <effectiveTime value=\"{day}\"/><consumable><manufacturedProduct><manufacturedMaterial>\
         <code code=\"{cis}\" displayName=\"Vaccin {cis}\" codeSystem=\"1.2.250.1.213.2.3.1\"/><lotNumberText>{lot}</lotNumberText>\
         </manufacturedMaterial></manufacturedProduct></consumable>\
         <performer><assignedEntity><id root=\"1.2.250.1.71.4.2.1\" extension=\"{DOCTOR}\"/></assignedEntity></performer>\
         </substanceAdministration></entry>"
    )
}

fn note_of(example: &Example<'_>, entries: &str) -> (Value, Vec<u8>) {
    let bytes = example.cda().replace("</section>", &format!("{entries}</section>")).into_bytes();
    (of_bytes(example, "text/xml", "urn:asip:ci-sis:vac-note:2021", &bytes), bytes)
}

/// Feeds a note with these entries.
pub fn feed(client: &Client, unique_id: &str, replaces: Option<&str>, entries: &str) -> Answer {
    let example = Example { replaces, ..of_type(unique_id, ("87273-9", "52"), NORMAL) };
    let (document, bytes) = note_of(&example, entries);
    client.post("/DocumentReference", alone(document, &bytes))
}

fn histories(client: &Client, status: &str) -> Vec<Value> {
    let path = format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status={status}&type=11369-6");
    let bundle = client.get(&path).json();
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.into_iter().map(|entry| entry["resource"].clone()).collect()
}

/// The one history that stands, and its text.
#[track_caller]
fn history(client: &Client) -> (Value, String) {
    let mut found = histories(client, "current");
    assert_eq!(found.len(), 1);
    let found = found.remove(0);
    let bytes = client.get(&address(&found)).bytes;
    assert_eq!(found["content"][0]["attachment"]["size"], bytes.len());
    (found, String::from_utf8(bytes).unwrap())
}

fn one_history_of_all_notes(engine: Engine) {
    let world = World::start(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    doctor.authorise(OTHER);
    assert_eq!(histories(&doctor, "current").len(), 0);
    // 2.1-710: a note makes the history, the next one makes it anew.
    accepted(&feed(&doctor, "2.25.820.1", None, &entry(UUID_1, "68747507", "20090928", "LOT-A")));
    let (first, text) = history(&doctor);
    assert!(text.contains(UUID_1) && text.contains("LOT-A") && text.contains(OTHER), "{text}");
    assert_eq!(first["custodian"]["identifier"]["value"], "318003502400041");
    assert!(first["relatesTo"].is_null());
    // A transaction does so as well as a document alone.
    let example = of_type("2.25.820.2", ("87273-9", "52"), NORMAL);
    let (document, bytes) = note_of(&example, &entry(UUID_2, "61077869", "19750101", "LOT-B"));
    assert_eq!(statuses(&doctor.post("", example.transaction_of(document, &bytes))), ["201 Created"; 3]);
    // 3.2-550: it is one, tells of all notes, the oldest vaccination first, and says which history it replaces.
    let (second, text) = history(&doctor);
    assert!(text.find("LOT-B").unwrap() < text.find("LOT-A").unwrap(), "{text}");
    assert_eq!(second["relatesTo"][0]["code"], "replaces");
    assert_eq!(
        second["relatesTo"][0]["target"]["identifier"]["value"], first["masterIdentifier"]["value"],
        "{second}"
    );
    let older = histories(&doctor, "superseded");
    assert_eq!(older.iter().map(|one| &one["id"]).collect::<Vec<_>>(), [&first["id"]]);
    assert!(!String::from_utf8(doctor.get(&address(&older[0])).bytes).unwrap().contains("LOT-B"));
    // The same submission again is answered as the first time, and makes nothing.
    accepted(&feed(&doctor, "2.25.820.1", None, &entry(UUID_1, "68747507", "20090928", "LOT-A")));
    assert_eq!(history(&doctor).0["id"], second["id"]);

    // One vaccine on one day is one vaccination, under whatever id.
    let before = (world.rows("document"), world.bodies(), world.rows("vaccination"));
    feed(&doctor, "2.25.820.3", None, &entry(UUID_2, "68747507", "20090928", "LOT-C")).assert_refused(
        422,
        "DMPFragmentCVAError",
        "68747507",
    );
    assert_eq!((world.rows("document"), world.bodies(), world.rows("vaccination")), before);
    // But a note may replace its own.
    let corrected = entry(UUID_1, "68747507", "20090928", "LOT-D");
    accepted(&feed(&doctor, "2.25.820.4", Some("2.25.820.1"), &corrected));
    let (third, text) = history(&doctor);
    // The histories that told of the note that is replaced are not there any more, in no version.
    assert_eq!(histories(&doctor, "current,superseded").len(), 1);
    assert!(third["relatesTo"].is_null());
    assert!(text.contains("LOT-D") && text.contains("LOT-B") && !text.contains("LOT-A"), "{text}");

    // A professional neither deletes the history nor feeds one; what the patient hides of it stays hidden when it is made anew.
    let unique_id = third["masterIdentifier"]["value"].as_str().unwrap().trim_start_matches("urn:oid:");
    assert_eq!(doctor.delete_document(unique_id).status, 403);
    let id = third["id"].as_str().unwrap();
    let mask = serde_json::json!({ "masque": true });
    assert_eq!(mes.change_document(OTHER, id, mask).status, 200);
    assert_eq!(histories(&doctor, "current").len(), 0);
    assert_eq!(doctor.delete_document("2.25.820.2").status, 200);
    assert_eq!(histories(&doctor, "current,superseded").len(), 0);
    let shown =
        world.text("SELECT resource AS text FROM document WHERE type_code = '11369-6' AND status = 'current'");
    assert!(shown.contains("MASQUE_PS"), "{shown}");
    // Without notes there is no history.
    assert_eq!(doctor.delete_document("2.25.820.4").status, 200);
    let left = "SELECT CAST(count(*) AS TEXT) AS text FROM document WHERE type_code = '11369-6' AND status = 'current'";
    assert_eq!(world.text(left), "0");
    // The day and vaccine of a note that was deleted are free again. What the patient hid stays hidden, until he shows it.
    accepted(&feed(&doctor, "2.25.820.5", None, &entry(UUID_1, "68747507", "20090928", "LOT-E")));
    assert_eq!(histories(&doctor, "current").len(), 0);
    let id = world.text("SELECT id AS text FROM document WHERE type_code = '11369-6' AND status = 'current'");
    assert_eq!(mes.change_document(OTHER, &id, serde_json::json!({ "masque": false })).status, 200);
    assert!(history(&doctor).1.contains("LOT-E"));
    assert_eq!(status(&world, "2.25.820.4"), "entered-in-error");
}

fn notes_that_are_none(engine: Engine) {
    let world = super::feeding::strict(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let before = (world.rows("document"), world.bodies());
    let right = entry(UUID_1, "68747507", "20090928", "L");
    let two = right.clone() + &entry(UUID_2, "61077869", "19750101", "L");
    for (entries, phrase) in [
        (two, "one vaccination (EX_2.1-2010)"),
        (entry("1.2.3", "68747507", "20090928", "L"), "UUID (EX_2.1-2030)"),
        (String::new(), "FR-Vaccination (EX_2.1-2010)"),
        (entry(UUID_1, "68747507", "2009", "L"), "the day of the vaccination"),
        (right.replace(DOCTOR, "899999999999"), "who vaccinated is among the authors (EX_2.1-2020)"),
    ] {
        feed(&doctor, "2.25.821.1", None, &entries).assert_refused(422, "XDSRegistryMetadataError", phrase);
    }
    // Longer than a history can bear; and what is no CDA document at all.
    let long = right.replace("</lotNumberText>", &format!("{}</lotNumberText>", "x".repeat(20_000)));
    feed(&doctor, "2.25.821.1", None, &long).assert_refused(422, "XDSRegistryMetadataError", "too long");
    let example = of_type("2.25.821.3", ("87273-9", "52"), NORMAL);
    let pdf = of_bytes(&example, "application/pdf", "urn:asip:ci-sis:vac-note:2021", PDF);
    doctor.post("/DocumentReference", alone(pdf, PDF)).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "is a CDA document (EX_2.1-2010)",
    );
    assert_eq!((world.rows("document"), world.bodies()), before);
    // A parameter of the media type changes nothing.
    let (mut described, bytes) = note_of(&of_type("2.25.821.4", ("87273-9", "52"), NORMAL), &right);
    described["content"][0]["attachment"]["contentType"] = "text/xml; charset=utf-8".into();
    accepted(&doctor.post("/DocumentReference", alone(described, &bytes)));
    feed(&doctor, "2.25.821.1", None, &right).assert_refused(422, "DMPFragmentCVAError", "68747507");
    assert_eq!(doctor.delete_document("2.25.821.4").status, 200);
    accepted(&feed(&doctor, "2.25.821.1", None, &right));
    assert_eq!(histories(&doctor, "current").len(), 1, "control");
    // A history is fed by nobody, masked or not.
    for labels in [NORMAL, MASKED] {
        let history = of_type("2.25.821.2", ("11369-6", "52"), labels).single();
        doctor.post("/DocumentReference", history).assert_refused(422, "XDSRegistryMetadataError", "11369-6");
    }
}

fn many_notes_at_once(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let world = &world;
            scope.spawn(move || {
                let doctor = world.client("cps-medecin");
                // Two each of four vaccinations: one of each pair is refused.
                let vaccination = entry(UUID_1, &format!("6000000{}", number % 4), "20200101", "L");
                let answer = feed(&doctor, &format!("2.25.822.{number}"), None, &vaccination);
                assert!([201, 422].contains(&answer.status), "{}", answer.text());
            });
        }
    });
    let (_, text) = history(&doctor);
    assert_eq!(text.matches("<substanceAdministration").count(), 4, "{text}");
    assert_eq!(world.rows("vaccination"), 4);
}

/// A note that would take over a mask is refused: it would stand masked, and open in the history.
fn a_note_in_the_place_of_what_is_hidden(engine: Engine) {
    let world = World::start(engine);
    let (author, mes) = (world.client("cps-medecin-b"), PatientSide::of(&world));
    let report = of_type("2.25.823.1", ("11488-4", "11"), NORMAL);
    let id = accepted(&author.post("/DocumentReference", report.single()))["id"].as_str().unwrap().to_owned();
    assert_eq!(mes.change_document(OTHER, &id, serde_json::json!({ "masque": true })).status, 200);
    let note = entry(UUID_1, "68747507", "20090928", "LOT-X");
    let before = (world.rows("document"), world.bodies());
    feed(&author, "2.25.823.2", Some("2.25.823.1"), &note).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "does not replace a document that is masked",
    );
    assert_eq!((world.rows("document"), world.bodies()), before);
    assert_eq!(mes.change_document(OTHER, &id, serde_json::json!({ "masque": false })).status, 200);
    accepted(&feed(&author, "2.25.823.2", Some("2.25.823.1"), &note));
}
