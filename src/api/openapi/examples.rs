//! Bodies to begin with, which a sandbox takes (`tests/suite/openapi.rs` sends them): one document, fed alone or in a submission.

use serde_json::{Value, json};
use utoipa::Modify;
use utoipa::openapi::RefOr;

/// Where an example stands: path, method, media type.
type Place = (&'static str, &'static str, &'static str);

const JSON: &str = "application/fhir+json";
const PATCH: &str = "application/json-patch+json";
const INS: &str = "279035121518989";
const INS_SYSTEM: &str = "urn:oid:1.2.250.1.213.1.4.10";

/// Puts the examples in their places.
pub(super) struct Examples;

impl Modify for Examples {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for ((path, method, media), example) in all() {
            let Some(item) = openapi.paths.paths.get_mut(path) else { continue };
            let operation = if method == "patch" { item.patch.as_mut() } else { item.post.as_mut() };
            let Some(RefOr::T(body)) = operation.and_then(|operation| operation.request_body.as_mut()) else {
                continue;
            };
            if let Some(RefOr::T(content)) = body.content.get_mut(media) {
                content.example = Some(example);
            }
        }
    }
}

fn all() -> [(Place, Value); 7] {
    let mask =
        json!([{ "op": "add", "path": "/securityLabel/-", "value": { "coding": [{ "code": "MASQUE_PS" }] } }]);
    let patient = json!({ "system": INS_SYSTEM, "value": INS });
    [
        (("/fhir/Consent", "post", JSON), consent()),
        (
            ("/fhir/Consent/{id}", "patch", PATCH),
            json!([{ "op": "replace", "path": "/status", "value": "inactive" }]),
        ),
        (("/fhir/DocumentReference", "post", JSON), document()),
        (("/fhir/DocumentReference", "patch", PATCH), mask.clone()),
        (("/fhir/DocumentReference/{id}", "patch", PATCH), mask),
        (
            ("/fhir/DocumentReference/$actualiser", "post", JSON),
            json!({ "resourceType": "Parameters", "parameter": [
            { "name": "patient", "valueIdentifier": patient },
            { "name": "depuis", "valueDateTime": "2026-01-01T00:00:00Z" },
        ] }),
        ),
        (("/fhir", "post", JSON), transaction()),
    ]
}

/// TD0.3: the patient authorises the caller.
fn consent() -> Value {
    json!({
        "resourceType": "Consent", "status": "active",
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
        "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
        "patient": { "identifier": { "system": INS_SYSTEM, "value": INS } },
        "provision": { "type": "permit" },
    })
}

/// A document of one line, by `cps-medecin`.
fn described(data: Value) -> Value {
    let mut attachment = json!({
        "contentType": "text/plain", "language": "fr-FR", "title": "Compte rendu de consultation",
        "size": 27, "hash": "zkuJqkZkgskZkBny2SQj+lKUF/I=",
    });
    if let (Some(attachment), Value::Object(data)) = (attachment.as_object_mut(), data) {
        attachment.extend(data);
    }
    json!({
        "resourceType": "DocumentReference",
        "contained": [{ "resourceType": "PractitionerRole", "id": "auteur",
            "identifier": [{ "system": "urn:oid:1.2.250.1.71.4.2.1", "value": "810100000016" }] }],
        "masterIdentifier": { "system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.31415926535897932384626433832795" },
        "status": "current",
        "type": { "coding": [{ "system": "http://loinc.org", "code": "11488-4" }] },
        "subject": { "identifier": { "system": INS_SYSTEM, "value": INS } },
        "author": [{ "reference": "#auteur" }],
        "content": [{ "attachment": attachment, "format": {
            "system": "https://mos.esante.gouv.fr/NOS/TRE_A11-IheFormatCode/FHIR/TRE-A11-IheFormatCode",
            "code": "urn:ihe:iti:xds-sd:text:2008",
        } }],
        "context": { "period": { "start": "2026-06-12T09:30:00+02:00" } },
    })
}

/// Examen sans particularité.
const DATA: &str = "RXhhbWVuIHNhbnMgcGFydGljdWxhcml0w6ku";

fn document() -> Value {
    described(json!({ "data": DATA }))
}

/// ITI-65: the same document, in a submission.
fn transaction() -> Value {
    json!({
        "resourceType": "Bundle", "type": "transaction",
        "entry": [
            { "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001", "request": { "method": "POST", "url": "List" }, "resource": {
                "resourceType": "List",
                "extension": [{ "url": "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-sourceId",
                    "valueIdentifier": { "value": "urn:oid:1.2.250.1.999.1" } }],
                "identifier": [
                    { "use": "official", "system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.27182818284590452353602874713526" },
                    { "use": "usual", "system": "urn:ietf:rfc:3986", "value": "urn:uuid:00000000-0000-4000-8000-000000000001" },
                ],
                "status": "current", "mode": "working",
                "code": { "coding": [{ "system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "code": "submissionset" }] },
                "subject": { "identifier": { "system": INS_SYSTEM, "value": INS } },
                "date": "2026-06-12T09:31:00+02:00",
                "entry": [{ "item": { "reference": "urn:uuid:00000000-0000-4000-8000-000000000002" } }],
            } },
            { "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000002", "request": { "method": "POST", "url": "DocumentReference" },
                "resource": described(json!({ "url": "urn:uuid:00000000-0000-4000-8000-000000000003" })) },
            { "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000003", "request": { "method": "POST", "url": "Binary" },
                "resource": { "resourceType": "Binary", "contentType": "text/plain", "data": DATA } },
        ],
    })
}
