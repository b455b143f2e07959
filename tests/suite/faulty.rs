//! Faulty submissions: each a good one with one fault, refused by a strict server with its own status, code and expression, and nothing
//! stored. What FHIR itself does not know is refused at the door, whatever the server's mode.

use std::collections::HashSet;

use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::on_both_engines_and_in_xml;
use crate::support::{Engine, Options, PATIENT, TEST, World};

on_both_engines_and_in_xml!(faulty_submissions);

const METADATA: &str = "XDSRegistryMetadataError";
const CONTENT: &str = "XDSRepositoryMetadataError";

/// A fault: where, and what stands there instead (null: nothing); status, code, expression.
type Fault = (&'static str, Value, u16, &'static str, &'static str);

/// `R` is the DocumentReference, `L` the List, `B` the Binary, `E` the entries.
fn path(short: &str) -> String {
    let (first, rest) = short.split_once('/').unwrap_or((short, ""));
    let whole = match first {
        "R" => "/entry/1/resource".to_owned(),
        "L" => "/entry/0/resource".to_owned(),
        "B" => "/entry/2/resource".to_owned(),
        "E" => "/entry".to_owned(),
        other => format!("/{other}"),
    };
    if rest.is_empty() { whole } else { format!("{whole}/{rest}") }
}

fn faults() -> Vec<Fault> {
    let coded = |code: &str| json!({ "coding": [{ "system": "urn:x", "code": code }] });
    let labels = |codes: &[&str]| json!(codes.iter().map(|code| coded(code)).collect::<Vec<_>>());
    vec![
        // The documents' identifiers.
        ("R/masterIdentifier/value", json!("urn:oid:1.2^3"), 422, METADATA, "R.masterIdentifier"),
        ("R/masterIdentifier/value", json!("urn:oid:2.25.01"), 422, METADATA, "R.masterIdentifier"),
        (
            "R/masterIdentifier/value",
            json!(format!("urn:oid:1.{}", "2".repeat(130))),
            422,
            METADATA,
            "R.masterIdentifier",
        ),
        ("R/masterIdentifier/value", json!("urn:oid:2.25.99"), 422, METADATA, "R.masterIdentifier.value"),
        ("R/identifier", Value::Null, 422, METADATA, "R.identifier"),
        // State and codes.
        ("R/status", json!("superseded"), 422, METADATA, "R.status"),
        ("R/status", json!("entered-in-error"), 422, METADATA, "R.status"),
        ("R/status", Value::Null, 422, METADATA, "R.status"),
        ("R/type", coded("1-1"), 422, METADATA, "R.type"),
        ("R/type", Value::Null, 422, METADATA, "R.type"),
        ("R/type", coded("11369-6"), 422, METADATA, "R.type"),
        ("R/type", coded("DOCPAT01"), 422, METADATA, "R.type"),
        ("R/type", coded("REMB"), 422, METADATA, "R.type"),
        ("R/type", coded("11502-2"), 422, METADATA, "R.type"),
        ("R/category", json!([coded("90")]), 422, METADATA, "R.category"),
        ("R/category", json!([coded("11")]), 422, METADATA, "R.category"),
        ("R/content/0/format/code", json!("urn:x"), 422, METADATA, "R.content[0].format"),
        ("R/content/0/format", Value::Null, 422, METADATA, "R.content[0].format"),
        ("R/context/facilityType", coded("22232009"), 422, METADATA, "R.context.facilityType"),
        ("R/context/facilityType", Value::Null, 422, METADATA, "R.context.facilityType"),
        ("R/context/practiceSetting", coded("394802001"), 422, METADATA, "R.context.practiceSetting"),
        ("R/context/practiceSetting", Value::Null, 422, METADATA, "R.context.practiceSetting"),
        // Patient and people.
        ("R/subject", Value::Null, 400, "", ""),
        ("R/subject", json!({ "reference": "#patient" }), 400, "", ""),
        (
            "R/subject",
            json!({ "reference": format!("Patient?identifier={TEST}|185067599900166") }),
            422,
            METADATA,
            "",
        ),
        (
            "R/subject",
            json!({ "reference": format!("Patient?identifier={TEST}|279035121518980") }),
            400,
            "DMPInvalidResourceId",
            "",
        ),
        (
            "R/subject",
            json!({ "reference": format!("Patient?identifier={TEST}|172047599900387") }),
            404,
            "XDSUnknownPatientId",
            "",
        ),
        ("R/contained/0/identifier/0/value", json!("185067599900166"), 422, METADATA, "R.contained"),
        ("R/author", Value::Null, 422, METADATA, "R.author"),
        ("R/contained/1/identifier/0/value", json!("899700218896"), 422, METADATA, "R.author"),
        ("R/custodian", Value::Null, 422, METADATA, "R.custodian"),
        ("R/context/sourcePatientInfo", Value::Null, 422, METADATA, "R.context.sourcePatientInfo"),
        // Dates.
        ("R/date", Value::Null, 422, METADATA, "R.date"),
        ("R/date", json!("hier"), 400, "", "R.date"),
        ("R/date", json!("2026-02-30"), 400, "", "R.date"),
        ("R/date", json!("2026-02-28"), 400, "", "R.date"),
        ("R/context/period", Value::Null, 422, METADATA, "R.context.period.start"),
        ("R/context/period/start", json!("2026-13-01"), 400, "", "R.context.period.start"),
        ("R/context/period/end", json!("demain"), 400, "", "R.context.period.end"),
        ("R/content/0/attachment/creation", json!("12/06/2026"), 400, "", "R.content[0].attachment.creation"),
        ("R/content/0/attachment/creation", Value::Null, 422, METADATA, "R.content[0].attachment.creation"),
        // Labels.
        ("R/securityLabel", Value::Null, 422, METADATA, "R.securityLabel"),
        ("R/securityLabel", labels(&["R"]), 422, METADATA, "R.securityLabel"),
        ("R/securityLabel", labels(&["MASQUE_PT"]), 422, METADATA, "R.securityLabel"),
        ("R/securityLabel", labels(&["N", "MASQUE_PS", "INVISIBLE_PATIENT"]), 422, METADATA, "R.securityLabel"),
        ("R/securityLabel", labels(&["N", "INVISIBLE_REPRESENTANTS_LEGAUX"]), 422, METADATA, "R.securityLabel"),
        // The attachment.
        (
            "R/content/0/attachment/title",
            json!("x".repeat(129)),
            422,
            METADATA,
            "R.content[0].attachment.title",
        ),
        ("R/content/0/attachment/title", Value::Null, 422, METADATA, "R.content[0].attachment.title"),
        ("R/content/0/attachment/language", json!("en"), 422, METADATA, "R.content[0].attachment.language"),
        (
            "R/content/0/attachment/hash",
            json!("AAAA"),
            422,
            "XDSNonIdenticalHash",
            "R.content[0].attachment.hash",
        ),
        ("R/content/0/attachment/hash", Value::Null, 422, METADATA, "R.content[0].attachment.hash"),
        ("R/content/0/attachment/size", json!(3), 422, "XDSNonIdenticalHash", "R.content[0].attachment.size"),
        ("R/content/0/attachment/size", Value::Null, 422, METADATA, "R.content[0].attachment.size"),
        ("R/content/0/attachment/url", json!("urn:uuid:nothing"), 422, METADATA, "R.content[0].attachment.url"),
        ("R/content/0/attachment/url", Value::Null, 422, METADATA, "R.content[0].attachment.url"),
        (
            "R/content/0/attachment/contentType",
            json!("application/pdf"),
            422,
            METADATA,
            "R.content[0].attachment.contentType",
        ),
        (
            "R/content/0/attachment/contentType",
            json!("text/html"),
            422,
            METADATA,
            "R.content[0].attachment.contentType",
        ),
        ("R/content", Value::Null, 422, METADATA, "R.content[0].attachment.url"),
        // Relations.
        (
            "R/relatesTo",
            json!([{ "code": "signs", "target": { "reference": "DocumentReference/x" } }]),
            422,
            METADATA,
            "R.relatesTo[0].code",
        ),
        (
            "R/relatesTo",
            json!([{ "code": "replaces", "target": { "reference": "DocumentReference/x" } }]),
            422,
            METADATA,
            "R.relatesTo[0].target",
        ),
        // The SubmissionSet.
        ("L/identifier", Value::Null, 422, METADATA, "List.identifier"),
        ("L/source", Value::Null, 422, METADATA, "List.source"),
        ("L/source/reference", json!("#nobody"), 422, METADATA, "List.source"),
        ("L/contained/0/resourceType", json!("Practitioner"), 422, METADATA, "List.source"),
        ("L/date", Value::Null, 422, METADATA, "List.date"),
        ("L/date", json!("hier"), 400, "", "Bundle.entry[0].resource.date"),
        (
            "L/extension/0/valueCodeableConcept",
            coded("11"),
            422,
            METADATA,
            "List.extension('ihe-designationType')",
        ),
        ("L/entry", Value::Null, 422, METADATA, "List.entry"),
        ("L/code/coding/0/code", json!("worklist"), 422, "", "Bundle.entry[0]"),
        ("L/subject/reference", json!(format!("Patient?identifier={TEST}|185067599900166")), 422, METADATA, ""),
        // The transaction.
        ("type", json!("batch"), 400, "", ""),
        ("E/0", Value::Null, 400, "", ""),
        ("E/1", Value::Null, 400, "", ""),
        ("E/2", Value::Null, 422, METADATA, "R.content[0].attachment.url"),
        ("E/1/request/method", json!("PUT"), 422, "", "Bundle.entry[1]"),
        ("E/1/resource", Value::Null, 422, "", "Bundle.entry[1]"),
        ("B/data", json!("?"), 400, "", ""),
        ("B/data", json!("JVBERi0xLjc="), 422, "XDSNonIdenticalHash", "R.content[0].attachment.size"),
        ("B/contentType", json!("application/pdf"), 422, METADATA, "R.content[0].attachment.contentType"),
        // What PDSm closes or fixes.
        ("R/docStatus", json!("final"), 422, METADATA, "R.docStatus"),
        ("R/category/1", coded("10"), 422, METADATA, "R.category"),
        ("L/status", json!("retired"), 422, METADATA, "List.status"),
        ("L/status", Value::Null, 422, METADATA, "List.status"),
        ("L/mode", json!("snapshot"), 422, METADATA, "List.mode"),
        ("L/code/coding/0/system", json!("http://example.org"), 422, METADATA, "List.code"),
        ("L/code/coding/0/system", Value::Null, 422, METADATA, "List.code"),
        ("L/extension/1", Value::Null, 422, METADATA, "List.extension('ihe-sourceId')"),
        ("L/encounter", json!({ "reference": "Encounter/1" }), 422, METADATA, "List.encounter"),
        // References inside.
        ("R/authenticator/reference", json!("#nobody"), 422, METADATA, "R.authenticator"),
        ("R/context/sourcePatientInfo/reference", json!("#x"), 422, METADATA, "R.context"),
        ("R/contained/2", json!({ "resourceType": "Device", "id": "alone" }), 422, METADATA, "R.contained"),
        // What no value of FHIR is.
        ("R/content/0/attachment/title", json!(""), 400, "", "R.content[0].attachment.title"),
        ("R/masterIdentifier/system", json!("urn:ietf: rfc"), 400, "", "R.masterIdentifier.system"),
        ("R/contained/1/id", json!("a_b"), 400, "", "R.contained[1].id"),
        ("R/content/0/attachment/size", json!(-1), 400, "", "R.content[0].attachment.size"),
        ("R/meta/profile/0", json!("a b"), 400, "", "R.meta.profile[0]"),
        ("R/status", json!(" current"), 400, "", "R.status"),
        ("R/text", json!({ "status": "generated" }), 400, "", "R.text.div"),
        ("R/extension", json!([{ "valueBoolean": true }]), 400, "", "R.extension[0].url"),
        (
            "R/modifierExtension",
            json!([{ "url": "http://example.org/not", "valueBoolean": true }]),
            400,
            "",
            "R.modifierExtension",
        ),
        // What FHIR does not know.
        ("R/titre", json!("x"), 400, "", ""),
        ("R/content/0/attachment/size", json!("200"), 400, "", ""),
        ("R/category", coded("10"), 400, "", ""),
        ("R/author", json!([]), 400, "", ""),
        ("L/resourceType", json!("Liste"), 400, "", ""),
        ("R/securityLabel", json!(["N"]), 400, "", ""),
    ]
}

fn faulty_submissions(engine: Engine) {
    let world = World::start_with(engine, Options { strict: true, ..Options::default() });
    let doctor = world.client("cps-medecin");
    let before =
        (world.rows("document"), world.rows("submission_set"), world.bodies(), world.rows("search_term"));
    let faults = faults();
    assert!(faults.len() >= 60, "{}", faults.len());
    let mut failures = Vec::new();
    for (number, (short, value, status, code, expression)) in faults.iter().enumerate() {
        let unique_id = format!("2.25.7{number:03}");
        let mut bundle: Value =
            serde_json::from_str(&Example::new(TEST, PATIENT, "PAT-TROIS", &unique_id).transaction()).unwrap();
        change(&mut bundle, &path(short), value.clone());
        let answer = doctor.post("", bundle.to_string());
        let expression = expression
            .strip_prefix("R.")
            .map_or((*expression).to_owned(), |rest| format!("Bundle.entry[1].resource.{rest}"));
        let outcome = answer.json();
        let issues = outcome["issue"].as_array().cloned().unwrap_or_default();
        let told: HashSet<&str> = issues.iter().filter_map(|issue| issue["expression"][0].as_str()).collect();
        let named = if expression.is_empty() { true } else { told == HashSet::from([expression.as_str()]) };
        let french = issues
            .iter()
            .all(|issue| issue["details"]["text"].as_str().is_some_and(|text| text.ends_with('.')));
        if answer.status != *status || answer.code() != *code || !named || !french {
            failures.push(format!(
                "{short} = {value}: {} {} {told:?}: {}",
                answer.status,
                answer.code(),
                answer.text()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let after =
        (world.rows("document"), world.rows("submission_set"), world.bodies(), world.rows("search_term"));
    assert_eq!(before, after, "nothing is stored");
    // Control: without a fault it is.
    let good = Example::new(TEST, PATIENT, "PAT-TROIS", "2.25.7999").transaction();
    assert_eq!(doctor.post("", good).status, 200);
    let html = Example::new(TEST, PATIENT, "X", "2.25.7998");
    let page = html.transaction_of(html.document_reference(b"<html/>"), b"<html/>");
    doctor.post("", page).assert_refused(422, CONTENT, "no ClinicalDocument");
}

fn change(bundle: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match bundle.pointer_mut(parent).unwrap() {
        Value::Array(held) if value.is_null() => drop(held.remove(name.parse().unwrap())),
        Value::Array(held) if held.len() == name.parse::<usize>().unwrap() => held.push(value),
        Value::Array(held) => held[name.parse::<usize>().unwrap()] = value,
        Value::Object(held) if value.is_null() => drop(held.remove(name)),
        held => held[name] = value,
    }
}
