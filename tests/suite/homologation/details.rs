//! Details of the test book's rows that were found wanting once: each failed before it was mended.

use serde_json::json;

use super::feeding::{of_type, strict};
use super::*;
use crate::on_both_engines;
use crate::support::{Engine, OTHER};

on_both_engines!(
    archived_and_not,
    a_parameter_that_comes_again,
    ends_of_periods,
    two_names_of_xml,
    twenty_identifiers,
    a_format_of_another_body,
    a_code_of_another_system
);

const NORMAL: &[&str] = &["N"];
const ARCHIVED: &str = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived";

fn search(client: &Client, query: &str) -> Answer {
    client.get(&format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current{query}"))
}

fn archive_one(engine: Engine) -> (World, Client) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    for number in 1..=3 {
        feed(&doctor, &of_type(&format!("2.25.899.{number}"), ("34112-3", "10"), NORMAL));
    }
    let extension =
        json!([{ "op": "add", "path": "/extension", "value": [{ "url": ARCHIVED, "valueBoolean": true }] }]);
    assert_eq!(doctor.patch_document("2.25.899.3", &extension).status, 200);
    (world, doctor)
}

/// isArchived with both values asks for all of them.
fn archived_and_not(engine: Engine) {
    let (_world, doctor) = archive_one(engine);
    assert_eq!(search(&doctor, "&type=34112-3&isArchived=true,false").found().0, 3);
}

/// A parameter that comes again is « and ».
fn a_parameter_that_comes_again(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    feed(&doctor, &of_type("2.25.899.1", ("11506-3", "10"), NORMAL));
    feed(&doctor, &of_type("2.25.899.2", ("15507-7", "10"), NORMAL));
    assert_eq!(search(&doctor, "&type=11506-3&type=15507-7").found().0, 0);
}

/// The end of a period is a date with its own precision.
fn ends_of_periods(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    for (number, end) in ["2010-03-20T14:00:00Z", "2010-03-20", "2010-03-20T23:59:59Z"].into_iter().enumerate()
    {
        let id = format!("2.25.899.{number}");
        let example = of_type(&id, ("11488-4", "10"), NORMAL);
        let bytes = example.cda().into_bytes();
        let mut document = example.document_reference(&bytes);
        document["context"]["period"] = json!({ "start": "2010-03-19", "end": end });
        accepted(&doctor.post("/DocumentReference", alone(document, &bytes)));
    }
    let mut faults = Vec::new();
    for (query, expected) in [
        ("le2010-03-20T14:00:00Z", 1),
        ("le2010-03-20", 3),
        ("lt2010-03-21", 3),
        ("2010-03-20", 3),
        ("gt2010-03-20", 0),
        ("ge2010-03-21", 0),
        ("gt2010-03-20T14:00:00Z", 2),
    ] {
        let found = search(&doctor, &format!("&period-end={query}")).found().0;
        if found != expected {
            faults.push(format!("{query}: {found}, not {expected}"));
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
}

/// `text/xml` and `application/xml` name one thing (RFC 7303).
fn two_names_of_xml(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let example = of_type("2.25.899.1", ("CERT_DECL", "52"), NORMAL);
    let document = accepted(&doctor.post("/DocumentReference", example.single()));
    for accept in ["text/xml", "application/xml"] {
        let read = doctor.send("GET", &address(&document), &[("Accept", accept)], None).unwrap();
        assert_eq!((read.status, read.text()), (200, example.cda().as_str()), "{accept}");
    }
}

/// As many identifiers as the DMP of today takes.
fn twenty_identifiers(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let ids: Vec<String> = (1..=21).map(|n| format!("urn:oid:2.25.899.{n}")).collect();
    search(&doctor, &format!("&identifier={}", ids.join(","))).assert_refused(400, "", "20");
}

/// A picture under the format of a PDF is refused by a strict server.
fn a_format_of_another_body(engine: Engine) {
    let world = strict(engine);
    let doctor = world.client("cps-medecin");
    let example = of_type("2.25.899.1", ("CERT_DECL", "52"), NORMAL);
    let jpeg: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF";
    let described = of_bytes(&example, "image/jpeg", "urn:ihe:iti:xds-sd:pdf:2008", jpeg);
    let fed = doctor.post("/DocumentReference", alone(described, jpeg));
    assert_eq!(fed.status, 422, "a picture under the format of a PDF");
}

/// A code counts with its system.
fn a_code_of_another_system(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    feed(&doctor, &document(OTHER, "2.25.899.1", NORMAL));
    for query in ["type=urn:x%7C11488-4", "type=%7C11488-4", "setting=urn:x%7CAMBULATOIRE"] {
        assert_eq!(search(&doctor, &format!("&{query}")).found().0, 0, "{query}");
    }
}
