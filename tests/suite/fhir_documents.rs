//! FHIR documents: a Bundle of type document in place of a Binary (ITI-65, FHIR Document Publish), or alone (ITI-105).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Client, Engine, OTHER, Options, PATIENT, TEST, World};

on_both_engines_and_in_xml!(a_document_is_fed_found_and_read, what_is_no_document_of_this_record);

const FHIR: &str = "application/fhir+json";

fn document(unique_id: &str, ins: &str) -> Value {
    json!({
        "resourceType": "Bundle",
        "identifier": { "system": "urn:ietf:rfc:3986", "value": format!("urn:oid:{unique_id}") },
        "type": "document",
        "timestamp": "2026-06-12T10:00:00+02:00",
        "entry": [
            {
                "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000041",
                "resource": {
                    "resourceType": "Composition",
                    "status": "final",
                    "type": { "coding": [{ "system": "http://loinc.org", "code": "11488-4" }] },
                    "subject": { "reference": "urn:uuid:00000000-0000-4000-8000-000000000042" },
                    "date": "2026-06-12T10:00:00+02:00",
                    "author": [{ "display": "Dr Li" }],
                    "title": "Compte rendu de consultation",
                    "section": [{ "title": "Examen", "text": {
                        "status": "generated",
                        "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Sans particularité</p></div>",
                    } }],
                },
            },
            {
                "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000042",
                "resource": {
                    "resourceType": "Patient",
                    "identifier": [{ "system": TEST, "value": ins }],
                    "multipleBirthInteger": 1,
                },
            },
        ],
    })
}

/// The feed, the Bundle in place of the Binary.
fn transaction(unique_id: &str, document: &Value) -> Value {
    let example = Example::new(TEST, OTHER, "OUVERT", unique_id);
    let mut reference = example.document_reference(b"x");
    let attachment = reference["content"][0]["attachment"].as_object_mut().unwrap();
    attachment.insert("contentType".into(), FHIR.into());
    attachment.retain(|name, _| name != "size" && name != "hash");
    let mut bundle: Value = serde_json::from_str(&example.transaction_of(reference, b"x")).unwrap();
    bundle["entry"][2]["resource"] = document.clone();
    bundle["entry"][2]["request"]["url"] = "Bundle".into();
    bundle
}

fn native(client: &Client, url: &str, accept: &str) -> Answer {
    client.send("GET", url, &[("Accept", accept)], None).unwrap()
}

fn a_document_is_fed_found_and_read(engine: Engine) {
    let world = World::start_with(engine, Options { strict: true, ..Options::default() });
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let sent = document("2.25.780", OTHER);
    let bundle = transaction("2.25.780", &sent);
    let fed = author.post("", bundle.to_string());
    assert_eq!(fed.status, 200, "{}", fed.text());
    let location = fed.json()["entry"][2]["response"]["location"].as_str().unwrap().to_owned();
    assert!(location.starts_with("Bundle/"), "{location}");
    assert_eq!(author.post("", bundle.to_string()).json(), fed.json(), "the same again");

    let found = author.find(OTHER);
    let url = found.first_attachment();
    assert!(
        url.contains("/fhir/Bundle/") && location.starts_with(&url[url.find("Bundle/").unwrap()..]),
        "{url}"
    );
    let attachment = &found.json()["entry"][0]["resource"]["content"][0]["attachment"];
    let json = native(&author, &url, FHIR);
    assert_eq!((json.status, json.json()), (200, sent.clone()));
    assert_eq!(attachment["size"], json.text().len());
    let xml = native(&author, &url, "application/fhir+xml");
    assert!(xml.text().starts_with("<Bundle xmlns=\"http://hl7.org/fhir\">"), "{}", xml.text());
    assert!(xml.text().contains("<multipleBirthInteger value=\"1\"/>"));
    assert_eq!(native(&author, &url, "image/png").status, 406);
    let held = [("Accept", FHIR), ("If-None-Match", json.header("etag"))];
    assert_eq!(author.send("GET", &url, &held, None).unwrap().status, 304);
    // It is no Binary; and a Binary is no Bundle.
    let id = url.rsplit('/').next().unwrap();
    author.get(&format!("/Binary/{id}")).assert_refused(404, "", "no such resource");
    let cda =
        author.post("/DocumentReference", Example::new(TEST, OTHER, "OUVERT", "2.25.781").single()).json();
    let binary =
        cda["content"][0]["attachment"]["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    author.get(&format!("/Bundle/{binary}")).assert_refused(404, "", "no such resource");
    // Masked, it is not there for another.
    let other = world.client("cps-infirmier");
    other.authorise(OTHER);
    assert_eq!(native(&other, &url, FHIR).status, 200);
    assert_eq!(author.label("2.25.780", &["N", "MASQUE_PS"]).status, 200);
    native(&other, &url, FHIR).assert_refused(404, "", "no such resource");
    assert_eq!(native(&author, &url, FHIR).status, 200);

    // Alone (ITI-105), its bytes in the attachment.
    let bytes = document("2.25.782", OTHER).to_string();
    let mut single: Value =
        serde_json::from_str(&Example::new(TEST, OTHER, "OUVERT", "2.25.782").single()).unwrap();
    let attachment = single["content"][0]["attachment"].as_object_mut().unwrap();
    attachment.retain(|name, _| name != "size" && name != "hash");
    attachment.insert("contentType".into(), FHIR.into());
    attachment.insert("data".into(), BASE64.encode(&bytes).into());
    let published = author.post("/DocumentReference", single.to_string());
    assert_eq!(published.status, 201, "{}", published.text());
    let url = published.json()["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
    assert_eq!(
        native(&author, &url, FHIR).json().to_string(),
        serde_json::from_str::<Value>(&bytes).unwrap().to_string()
    );
}

fn what_is_no_document_of_this_record(engine: Engine) {
    let world = World::start_with(engine, Options { strict: true, ..Options::default() });
    let author = world.client("cps-medecin");
    let before = (world.rows("document"), world.bodies());
    const CONTENT: &str = "XDSRepositoryMetadataError";
    const METADATA: &str = "XDSRegistryMetadataError";
    type Change = fn(&mut Value);
    let faults: [(&str, Change, &str); 9] = [
        (
            METADATA,
            |document| document["entry"][1]["resource"]["identifier"][0]["value"] = PATIENT.into(),
            "another patient",
        ),
        (
            METADATA,
            |document| document["entry"][1]["resource"]["identifier"][0]["system"] = "urn:x".into(),
            "another patient",
        ),
        // Named by nothing but an identifier.
        (
            METADATA,
            |document| {
                let observation = json!({
                    "resourceType": "Observation", "status": "final", "code": { "text": "Poids" },
                    "subject": { "identifier": { "system": TEST, "value": PATIENT } },
                });
                document["entry"].as_array_mut().unwrap().push(json!({ "resource": observation }));
            },
            "another patient",
        ),
        // Contained in what the Composition is not about: in the document all the same.
        (
            METADATA,
            |document| {
                let observation = json!({
                    "resourceType": "Observation",
                    "contained": [{
                        "resourceType": "Patient",
                        "id": "p",
                        "identifier": [{ "system": TEST, "value": PATIENT }],
                    }],
                    "status": "final",
                    "code": { "text": "Poids" },
                    "subject": { "reference": "#p" },
                });
                document["entry"].as_array_mut().unwrap().push(json!({ "resource": observation }));
            },
            "another patient",
        ),
        (
            METADATA,
            |document| document["entry"][0]["resource"]["type"]["coding"][0]["code"] = "1-1".into(),
            "another type",
        ),
        (METADATA, |document| document["identifier"]["value"] = "urn:oid:1.2.3".into(), "another identifier"),
        (CONTENT, |document| document["type"] = "collection".into(), "not a Bundle of type document"),
        (
            CONTENT,
            |document| {
                document["entry"].as_array_mut().unwrap().remove(0);
            },
            "its Composition",
        ),
        (
            CONTENT,
            |document| {
                document.as_object_mut().unwrap().remove("timestamp");
            },
            "a timestamp",
        ),
    ];
    for (number, (code, change, phrase)) in faults.into_iter().enumerate() {
        let unique_id = format!("2.25.783{number}");
        let mut sent = document(&unique_id, OTHER);
        change(&mut sent);
        author.post("", transaction(&unique_id, &sent).to_string()).assert_refused(422, code, phrase);
    }
    // What FHIR does not know is refused at the door; the media type is the form in which it is kept.
    let mut sent = document("2.25.784", OTHER);
    sent["entry"][0]["resource"]["titre"] = "x".into();
    assert_eq!(author.post("", transaction("2.25.784", &sent).to_string()).status, 400);
    let mut bundle = transaction("2.25.785", &document("2.25.785", OTHER));
    bundle["entry"][1]["resource"]["content"][0]["attachment"]["contentType"] = "application/fhir+xml".into();
    author.post("", bundle.to_string()).assert_refused(422, METADATA, "is application/fhir+json");
    // What the document encloses is judged as what is fed alone.
    let enclosing = |media_type: &str, bytes: &[u8]| {
        let mut sent = document("2.25.787", OTHER);
        let mut binary = json!({ "resourceType": "Binary", "data": BASE64.encode(bytes) });
        if !media_type.is_empty() {
            binary["contentType"] = media_type.into();
        }
        sent["entry"].as_array_mut().unwrap().push(json!({ "resource": binary }));
        sent
    };
    let of_another = Example::new(TEST, PATIENT, "X", "2.25.788").cda();
    for (media_type, bytes, phrase) in [
        ("application/pdf", b"<html>".as_slice(), "not application/pdf"),
        ("text/html", b"<html>", "the DMP takes no"),
        ("image/svg+xml", b"<svg/>", "the DMP takes no"),
        ("text/xml", b"<!DOCTYPE x><x/>", "DTD"),
        ("image/png", b"GIF89a", "not image/png"),
        ("text/xml", of_another.as_bytes(), "about another patient"),
        ("", b"MZ", "the DMP takes no such"),
    ] {
        let sent = transaction("2.25.787", &enclosing(media_type, bytes));
        author.post("", sent.to_string()).assert_refused(422, METADATA, phrase);
    }
    assert_eq!((world.rows("document"), world.bodies()), before);
    let sent = transaction("2.25.787", &enclosing("application/pdf", b"%PDF-1.7"));
    assert_eq!(author.post("", sent.to_string()).status, 200, "control");
    let before = (world.rows("document"), world.bodies());
    // An active narrative.
    for div in [
        "<script>x</script>",
        "<p onclick=\"x\">x</p>",
        "<a href=\"javascript:x\">x</a>",
        "<iframe src=\"x\"/>",
    ] {
        let mut sent = document("2.25.786", OTHER);
        sent["entry"][0]["resource"]["section"][0]["text"]["div"] =
            format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{div}</div>").into();
        let refused = author.post("", transaction("2.25.786", &sent).to_string());
        assert_eq!(refused.status, 400, "{div}: {}", refused.text());
    }
    assert_eq!((world.rows("document"), world.bodies()), before);
}
