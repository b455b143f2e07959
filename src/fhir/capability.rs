//! `CapabilityStatement`: what this server does, no more.

use serde_json::{Value, json};

use super::json::{set, to_json};
use super::subscription::Topic;

/// Parameters of a search of documents (ITI-67), without modifiers: name and type.
pub const DOCUMENT_SEARCH: [(&str, &str); 24] = [
    ("_id", "token"),
    ("_lastUpdated", "date"),
    ("author", "reference"),
    ("author.family", "string"),
    ("author.given", "string"),
    ("category", "token"),
    ("creation", "date"),
    ("date", "date"),
    ("event", "token"),
    ("facility", "token"),
    ("format", "token"),
    ("identifier", "token"),
    ("isArchived", "token"),
    ("patient", "reference"),
    ("patient.identifier", "token"),
    ("period", "date"),
    ("period-end", "date"),
    ("period-start", "date"),
    ("related", "reference"),
    ("relatesto", "reference"),
    ("security-label", "token"),
    ("setting", "token"),
    ("status", "token"),
    ("type", "token"),
];

/// Parameters of a search of submission sets (ITI-66), likewise.
pub const LIST_SEARCH: [(&str, &str); 13] = [
    ("_id", "token"),
    ("authorOrg", "reference"),
    ("code", "token"),
    ("date", "date"),
    ("designationType", "token"),
    ("identifier", "token"),
    ("patient", "reference"),
    ("patient.identifier", "token"),
    ("source", "reference"),
    ("source.family", "string"),
    ("source.given", "string"),
    ("sourceId", "token"),
    ("status", "token"),
];

/// Parameters of a search of traces (ITI-81), likewise.
pub const AUDIT_EVENT_SEARCH: [(&str, &str); 6] = [
    ("agent.identifier", "token"),
    ("date", "date"),
    ("entity.identifier", "token"),
    ("patient", "reference"),
    ("patient.identifier", "token"),
    ("period-start", "date"),
];

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
            "DocumentReference" => {
                set(&mut resource, "conditionalUpdate", true);
                let refresh = "https://github.com/habilis/OperationDefinition/documentreference-actualiser";
                let generate = "https://profiles.ihe.net/ITI/MHD/OperationDefinition/generate-metadata";
                let operations = json!([
                    { "name": "actualiser", "definition": refresh },
                    { "name": "generate-metadata", "definition": generate },
                ]);
                set(&mut resource, "operation", operations);
            }
            "ValueSet" => {
                const HL7: &str = "http://hl7.org/fhir/OperationDefinition/ValueSet";
                let operations = ["expand", "validate-code"]
                    .map(|name| json!({ "name": name, "definition": format!("{HL7}-{name}") }));
                set(&mut resource, "operation", operations.to_vec());
            }
            "Subscription" => {
                const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport";
                let definition = format!("{BACKPORT}/OperationDefinition/backport-subscription-status");
                set(&mut resource, "operation", json!([{ "name": "status", "definition": definition }]));
                let profile = format!("{BACKPORT}/StructureDefinition/backport-subscription");
                set(&mut resource, "supportedProfile", json!([profile]));
                let topic = |topic: Topic| {
                    json!({
                        "url": format!("{BACKPORT}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"),
                        "valueCanonical": topic.canonical(),
                    })
                };
                set(&mut resource, "extension", Topic::ALL.map(topic).to_vec());
            }
            "List" => set(&mut resource, "searchInclude", json!(["List:item"])),
            "Patient" => {
                let definition = "https://github.com/habilis/OperationDefinition/patient-fermer";
                set(&mut resource, "operation", json!([{ "name": "fermer", "definition": definition }]));
            }
            _ => {}
        }
        resource
    };
    let all =
        |known: &[(&str, &str)]| known.iter().map(|(name, kind)| search(name, kind)).collect::<Vec<Value>>();
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
    let subscriptions = vec![search("_id", "token"), search("status", "token"), search("url", "uri")];
    to_json(&json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": { "name": "Habilis", "version": version },
        "instantiates": [
            "https://interop.esante.gouv.fr/ig/fhir/pdsm/CapabilityStatement/PDSm-GestionnaireDePartageDeDocuments",
            "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentResponder",
            "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient",
            "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.Generate",
            "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.Simplified",
            "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.Fdoc",
            "http://hl7.eu/fhir/eu-health-data-api/CapabilityStatement/document-access-provider-eu-api",
        ],
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
                resource("DocumentReference", &["create", "history-instance", "patch", "read", "search-type", "vread"], all(&DOCUMENT_SEARCH)),
                resource("List", &["read", "search-type"], all(&LIST_SEARCH)),
                resource("Subscription", &["create", "delete", "read", "search-type", "update"], subscriptions),
                resource("AuditEvent", &["search-type"], all(&AUDIT_EVENT_SEARCH)),
                resource("Binary", &["read"], vec![]),
                resource("Bundle", &["read"], vec![]),
                resource("ValueSet", &["read", "search-type"], vec![search("url", "uri")]),
            ],
            "interaction": [{ "code": "transaction" }],
        }],
    }))
}
