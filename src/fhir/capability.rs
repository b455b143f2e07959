//! `CapabilityStatement`: what this server does, no more.

use serde_json::{Value, json};

use super::json::{set, to_json};

/// The statement, for a base URL.
pub fn statement(base: &str, version: &str, date: &str) -> String {
    let search = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    let resource = |kind: &str, interactions: &[&str], parameters: Vec<Value>| {
        let listed: Vec<_> = interactions.iter().map(|code| json!({ "code": code })).collect();
        let mut resource = json!({ "type": kind, "interaction": listed });
        if !parameters.is_empty() {
            set(&mut resource, "searchParam", parameters);
        }
        match kind {
            // A PATCH of a document by its unique id.
            "DocumentReference" => set(&mut resource, "conditionalUpdate", true),
            "Patient" => {
                let definition = "https://github.com/habilis/OperationDefinition/patient-fermer";
                set(&mut resource, "operation", json!([{ "name": "fermer", "definition": definition }]));
            }
            _ => {}
        }
        resource
    };
    let documents = vec![
        search("patient", "reference"),
        search("patient.identifier", "token"),
        search("status", "token"),
        search("type", "token"),
        search("category", "token"),
        search("format", "token"),
        search("facility", "token"),
        search("setting", "token"),
        search("identifier", "token"),
        search("date", "date"),
        search("creation", "date"),
        search("_id", "token"),
    ];
    let patients = vec![
        search("identifier", "token"),
        search("family", "string"),
        search("birthdate", "date"),
        search("gender", "token"),
    ];
    let consents = vec![
        search("patient", "reference"),
        search("patient.identifier", "token"),
        search("actor:identifier", "token"),
        search("date", "date"),
        search("status", "token"),
        search("provision-type", "token"),
    ];
    to_json(&json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": { "name": "Habilis", "version": version },
        "implementation": { "description": "Habilis, professional side of the DMP", "url": base },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml"],
        "patchFormat": ["application/json-patch+json", "application/xml-patch+xml", "application/fhir+json", "application/fhir+xml"],
        "rest": [{
            "mode": "server",
            "security": {
                "description": "Mutual TLS with a certificate of IGC-Santé on every connection; an access token \
                                (Bearer, bound to the certificate, RFC 8705) where the certificate alone does not say \
                                who acts or in which mode: see /.well-known/smart-configuration.",
                "service": [{ "coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                    "code": "OAuth",
                }] }],
            },
            "resource": [
                resource("Patient", &["read", "search-type"], patients),
                resource("Consent", &["create", "patch", "search-type"], consents),
                resource("DocumentReference", &["create", "patch", "read", "search-type"], documents),
                resource("Binary", &["read"], vec![]),
            ],
            "interaction": [{ "code": "transaction" }],
        }],
    }))
}
