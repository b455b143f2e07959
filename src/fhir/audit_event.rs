//! `AuditEvent`: a trace, in the shape of the ANS (TdE 2.0.0) and of IHE (BALP 1.1.4) where it has one for what was done.

use serde_json::{Value, json};
use uuid::Uuid;

use super::codes::system;
use super::elements::to_instant;
use super::json::{set, to_json};

/// The profile of the ANS, which every AuditEvent has.
const TDE: &str = "https://interop.esante.gouv.fr/ig/fhir/tde/StructureDefinition/tde-auditevent";
const BALP: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";

/// What is told of a request.
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    /// Microseconds.
    pub at: i64,
    /// `X-Request-Id`.
    pub request_id: &'a str,
    /// As `TD3.2 retrieve`.
    pub operation: &'a str,
    /// `CPS` …
    pub caller_kind: &'a str,
    /// PS_IdNat, or Struct_IdNat.
    pub caller_id: &'a str,
    /// Struct_IdNat.
    pub structure: Option<&'a str>,
    /// Profession and its second value.
    pub role: Option<&'a str>,
    /// Name, version and homologation id.
    pub software: Option<&'a str>,
    /// Issuer and serial number of the certificate: by which the caller reached the server.
    pub certificate: &'a str,
    /// `normal`, `bris_de_glace`, `centre_15`.
    pub mode: &'a str,
    /// Why, in an emergency.
    pub motif: Option<&'a str>,
    /// Our identifier.
    pub record_id: Option<&'a str>,
    /// Identifiers.
    pub objects: Vec<&'a str>,
    /// HTTP status.
    pub status: i32,
    /// The public base of the server.
    pub base: &'a str,
}

/// What was done, as HTTP and FHIR name it: interaction, action, and the profile of IHE.
fn kind(operation: &str) -> (&'static str, &'static str, Option<&'static str>) {
    match operation {
        "TD3.2 retrieve" | "TD3.1 read metadata" | "TD1.3a read administrative data" => {
            ("read", "R", Some("PatientRead"))
        }
        "TD3.1 read history" => ("history-instance", "R", None),
        "TD3.1 read submission set" => ("read", "R", None),
        "TD2 simplified publish" | "TD2 generate metadata" | "TD2 provide document bundle" => {
            ("create", "C", Some("PatientCreate"))
        }
        "TD0.3 declare authorisation" => ("create", "C", Some("PatientCreate")),
        "TD3.3 update document" | "TD0.3 revoke authorisation" => ("patch", "U", Some("PatientUpdate")),
        // A search whose very words BALP wants to see: they hold the patient's INS, and are not kept (decision 0030).
        _ if operation.contains("find") || operation.contains("list") || operation.contains("traces") => {
            ("search-type", "E", None)
        }
        _ => ("operation", "E", None),
    }
}

fn coding(system: &str, code: &str) -> Value {
    json!({ "system": system, "code": code })
}

/// The id of an AuditEvent: of its request and its instant, and not of its place in the log, which would tell how much happens.
pub fn id_of(request_id: &str, at: i64) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{request_id} {at}").as_bytes()).hyphenated().to_string()
}

/// Whether the objects of an operation's trace are documents, rather than consents or values.
pub fn about_documents(operation: &str) -> bool {
    const MORE: [&str; 3] = ["clock: announcement over", "clock: holder of age", "subscription: notify"];
    operation.starts_with("TD2") || operation.starts_with("TD3") || MORE.contains(&operation)
}

/// The text of an AuditEvent.
pub fn audit_event(event: &Event<'_>) -> String {
    let (interaction, action, balp) = kind(event.operation);
    let granted = event.status < 400;
    let id = id_of(event.request_id, event.at);
    let balp = balp.filter(|_| granted && event.record_id.is_some() && event.objects.len() == 1);
    let profiles: Vec<String> =
        std::iter::once(TDE.to_owned()).chain(balp.map(|name| format!("{BALP}{name}"))).collect();
    // IHE: the source of a read is the server, that of all else the client.
    let (source, destination) = (coding(DCM, "110153"), coding(DCM, "110152"));
    let (of_client, of_server) =
        if interaction == "read" { (destination, source) } else { (source, destination) };
    let mut who = json!({ "resourceType": "PractitionerRole", "id": "acteur" });
    let person = !event.caller_id.is_empty();
    if person {
        let identifier = json!({ "system": system::PROFESSIONAL, "value": event.caller_id });
        set(&mut who, "practitioner", json!({ "identifier": identifier, "display": event.caller_kind }));
    }
    if let Some(structure) = event.structure {
        let identifier = json!({ "system": system::STRUCTURE, "value": structure });
        set(&mut who, "organization", json!({ "identifier": identifier }));
    }
    let mut client = json!({
        "type": { "coding": [of_client] },
        "who": { "reference": "#acteur" },
        "requestor": true,
        "network": { "address": if event.certificate.is_empty() { "inconnu" } else { event.certificate } },
    });
    if let Some(role) = event.role {
        set(&mut client, "role", json!([{ "text": role }]));
    }
    if let Some(software) = event.software {
        set(&mut client, "name", software);
    }
    if !event.mode.is_empty() {
        let mut purpose = json!({ "coding": [coding("urn:oid:1.2.250.1.213.1.1.4.248", event.mode)] });
        if let Some(motif) = event.motif {
            set(&mut purpose, "text", motif);
        }
        set(&mut client, "purposeOfUse", json!([purpose]));
    }
    let server = json!({ "identifier": { "system": system::URI, "value": event.base }, "display": "DMP" });
    let mut entities = Vec::new();
    if let Some(record_id) = event.record_id {
        entities.push(json!({
            "what": { "reference": format!("Patient/{record_id}") },
            "type": coding("http://terminology.hl7.org/CodeSystem/audit-entity-type", "1"),
            "role": coding("http://terminology.hl7.org/CodeSystem/object-role", "1"),
        }));
    }
    for object in &event.objects {
        // A document by its resource; what else there is, by its identifier.
        let what = match about_documents(event.operation) {
            true => json!({ "reference": format!("DocumentReference/{object}") }),
            false => json!({ "identifier": { "value": object } }),
        };
        entities.push(json!({
            "what": what,
            "type": coding("http://terminology.hl7.org/CodeSystem/audit-entity-type", "2"),
            "role": coding("http://terminology.hl7.org/CodeSystem/object-role", "4"),
        }));
    }
    entities.push(json!({
        "what": { "identifier": { "value": event.request_id } },
        "type": coding("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId"),
    }));
    to_json(&json!({
        "resourceType": "AuditEvent",
        "id": id,
        "meta": { "profile": profiles },
        "contained": [who],
        "type": coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest"),
        "subtype": [coding("http://hl7.org/fhir/restful-interaction", interaction)],
        "action": action,
        "period": { "start": to_instant(event.at), "end": to_instant(event.at) },
        "recorded": to_instant(event.at),
        "outcome": if granted { "0" } else if event.status >= 500 { "8" } else { "4" },
        "outcomeDesc": format!("{} : {}", event.operation, event.status),
        "agent": [
            client,
            {
                "type": { "coding": [of_server] },
                "who": server,
                "requestor": false,
                "network": { "address": event.base },
            },
        ],
        "source": {
            "observer": server,
            "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "3")],
        },
        "entity": entities,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_claimed_where_they_are_kept() {
        let read = Event {
            operation: "TD3.2 retrieve",
            status: 200,
            record_id: Some("r"),
            objects: vec!["d"],
            base: "https://dmp.example/fhir",
            ..Event::default()
        };
        let profiles = |event: &Event<'_>| {
            let json: Value = serde_json::from_str(&audit_event(event)).unwrap();
            (json["meta"]["profile"].as_array().unwrap().len(), json["outcome"].as_str().unwrap().to_owned())
        };
        assert_eq!(profiles(&read), (2, "0".into()));
        // Refused, of two documents, of no record, a search: TdE alone.
        assert_eq!(profiles(&Event { status: 404, ..read.clone() }), (1, "4".into()));
        assert_eq!(profiles(&Event { status: 503, ..read.clone() }), (1, "8".into()));
        assert_eq!(profiles(&Event { objects: vec!["d", "e"], ..read.clone() }).0, 1);
        assert_eq!(profiles(&Event { record_id: None, ..read.clone() }).0, 1);
        assert_eq!(profiles(&Event { operation: "TD3.1 find documents", ..read.clone() }).0, 1);
        let id = |at: i64| {
            let json: Value = serde_json::from_str(&audit_event(&Event { at, ..read.clone() })).unwrap();
            json["id"].clone()
        };
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }
}
