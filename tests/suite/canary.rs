//! What a client sends wrong is not repeated to it, and stands in no log and no metric: a marker in every input field, header and token.
//!
//! Names are told (an unknown element, an unknown parameter), values are not.

use std::collections::BTreeMap;

use habilis::sandbox::example::{Example, consent};
use serde_json::{Value, json};

use crate::support::{Client, Engine, FHIR_JSON, OTHER, PatientSide, Process, TEST, World, shared_pki};

const CANARY: &str = "kanari7c1f";

/// Each text in a body, one at a time, is the marker; not the names of parameters.
fn marked(body: &Value) -> Vec<(String, Value)> {
    fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, member)| paths(member, &format!("{at}/{name}"), found));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(place, item)| paths(item, &format!("{at}/{place}"), found));
            }
            Value::String(_) if !(at.contains("/parameter/") && at.ends_with("/name")) => {
                found.push(at.to_owned());
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    paths(body, "", &mut found);
    let marked = |path: String| {
        let mut body = body.clone();
        *body.pointer_mut(&path).unwrap() = CANARY.into();
        (path, body)
    };
    found.into_iter().map(marked).collect()
}

type Sent = (&'static str, String, Vec<(&'static str, String)>, Option<String>);

/// A request, and what of it is the marker.
fn requests(client: &Client) -> Vec<(String, Sent)> {
    let example = Example::new(TEST, OTHER, "OUVERT", "2.25.950");
    let fhir = || vec![("Content-Type", FHIR_JSON.to_owned())];
    let parse = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let mut all: Vec<(String, Sent)> = Vec::new();
    let patient = json!({ "system": TEST, "value": OTHER });
    for (path, body) in [
        ("", parse(example.transaction())),
        ("/DocumentReference", parse(example.single())),
        ("/Consent", parse(consent(TEST, OTHER))),
        (
            "/DocumentReference/$actualiser",
            json!({ "resourceType": "Parameters", "parameter": [
                { "name": "patient", "valueIdentifier": patient }, { "name": "connus", "valueId": "a" },
                { "name": "depuis", "valueDateTime": "2026-01-01" } ] }),
        ),
        (
            "/DocumentReference/$generate-metadata",
            json!({ "resourceType": "Parameters", "parameter": [{ "name": "document", "resource":
                { "resourceType": "Binary", "contentType": "text/xml", "data": "AAAA" } }] }),
        ),
        (
            "/ValueSet/$validate-code",
            json!({ "resourceType": "Parameters", "parameter": [
                { "name": "url", "valueUri": "x" }, { "name": "code", "valueCode": "y" } ] }),
        ),
    ] {
        for (what, body) in marked(&body) {
            all.push((
                format!("POST {path} {what}"),
                ("POST", path.to_owned(), fhir(), Some(body.to_string())),
            ));
        }
    }
    let operation = json!({ "resourceType": "Parameters", "parameter": [{ "name": "operation", "part": [
        { "name": "type", "valueCode": "replace" }, { "name": "path", "valueString": "DocumentReference.status" },
        { "name": "value", "valueCode": "entered-in-error" } ] }] });
    let json_patch = json!([{ "op": "replace", "path": "/status", "value": "entered-in-error" }]);
    let xml = format!(
        "<diff xmlns:f=\"http://hl7.org/fhir\"><replace sel=\"f:DocumentReference/f:{CANARY}/@value\">{CANARY}</replace></diff>"
    );
    let path = "/DocumentReference?identifier=urn:ietf:rfc:3986%7Curn:oid:2.25.950.1";
    for (kind, body) in marked(&operation)
        .into_iter()
        .map(|(_, body)| (FHIR_JSON, body.to_string()))
        .chain(
            marked(&json_patch).into_iter().map(|(_, body)| ("application/json-patch+json", body.to_string())),
        )
        .chain([
            ("application/xml-patch+xml", xml),
            (
                "application/fhir+xml",
                format!("<Parameters xmlns=\"http://hl7.org/fhir\"><id value=\"{CANARY} \"/></Parameters>"),
            ),
        ])
    {
        let headers = vec![("Content-Type", kind.to_owned())];
        all.push((format!("PATCH {kind}"), ("PATCH", path.to_owned(), headers, Some(body))));
    }
    for kind in ["DocumentReference", "List", "Patient", "Consent", "AuditEvent", "ValueSet"] {
        let known =
            format!("patient.identifier={TEST}%7C{OTHER}&status=current&code=submissionset&date=ge2020-01-01");
        for name in [
            "patient",
            "patient.identifier",
            "identifier",
            "status",
            "code",
            "date",
            "type",
            "category",
            "_count",
            "_sort",
            "_id",
            "_lastUpdated",
            "_include",
            "author",
            "author.given",
            "creation",
            "period-start",
            "event",
            "format",
            "security-label",
            "related:identifier",
            "isArchived",
            "relatesto",
            "_after",
            "_format",
            "_summary",
            "entity.identifier",
            "agent.identifier",
            "family",
            "birthdate",
            "gender",
            "url",
            "actor",
            "_offset",
            "status:not",
        ] {
            for value in [CANARY.to_owned(), format!("ge{CANARY}"), format!("{TEST}%7C{CANARY}")] {
                let path = format!("/{kind}?{known}&{name}={value}");
                all.push((format!("GET {kind} {name}"), ("GET", path, vec![], None)));
                let alone = format!("/{kind}?{name}={value}");
                all.push((
                    format!("GET {kind} {name} alone"),
                    ("GET", alone, vec![("Prefer", "handling=strict".into())], None),
                ));
            }
        }
        all.push((format!("GET {kind} id"), ("GET", format!("/{kind}/{CANARY}"), vec![], None)));
        all.push((format!("PUT {kind} id"), ("PUT", format!("/{kind}/{CANARY}"), fhir(), Some("{}".into()))));
    }
    for path in ["Binary", "Bundle", "Bundle/_history", "Patient/$fermer", "ValueSet/$expand?url=", CANARY] {
        all.push((format!("GET {path}"), ("GET", format!("/{path}/{CANARY}"), vec![], None)));
    }
    for header in [
        "Accept",
        "If-Match",
        "If-None-Match",
        "Range",
        "Prefer",
        "Content-Type",
        "Authorization",
        "Content-Encoding",
    ] {
        let value = match header {
            "Authorization" => format!("Bearer {CANARY}.{CANARY}.{CANARY}"),
            "Range" => format!("bytes={CANARY}"),
            _ => format!("{CANARY}/{CANARY}"),
        };
        for (method, path, body) in [
            ("GET", format!("/Patient?identifier={TEST}%7C{OTHER}"), None),
            ("POST", "/DocumentReference".to_owned(), Some("{}".to_owned())),
            ("PATCH", "/DocumentReference/a".to_owned(), Some("[]".to_owned())),
        ] {
            all.push((format!("{method} {header}"), (method, path, vec![(header, value.clone())], body)));
        }
    }
    let token = client.at_root("/oauth2/token");
    for field in [
        "grant_type",
        "scope",
        "assertion",
        "subject_token",
        "purpose_of_use",
        "motif",
        "patient",
        "connexion_secrete",
        "structure",
        CANARY,
    ] {
        for grant in [
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ] {
            let body = format!("grant_type={grant}&{field}={CANARY}");
            let form = vec![("Content-Type", "application/x-www-form-urlencoded".to_owned())];
            all.push((format!("token {field}"), ("POST", token.clone(), form, Some(body))));
        }
    }
    all
}

fn send(client: &Client, (method, path, headers, body): &Sent) -> crate::support::Answer {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client.send(method, path, &headers, body.clone()).unwrap()
}

#[test]
fn nothing_that_is_sent_is_repeated() {
    let world = World::start(Engine::Sqlite);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let mut leaks: BTreeMap<String, String> = BTreeMap::new();
    let (mut refused, all) = (0, requests(&doctor));
    for (what, sent) in &all {
        let answer = send(&doctor, sent);
        assert_ne!(answer.status, 500, "{what}: {}", answer.text());
        if answer.status < 400 {
            continue;
        }
        refused += 1;
        if answer.text().contains(CANARY) {
            leaks.entry(what.clone()).or_insert_with(|| answer.text().to_owned());
        }
    }
    let mes = PatientSide::of(&world);
    for (what, body) in marked(&crate::support::ins_body(OTHER, "titulaire")) {
        let answer = mes.send("POST", "/recherche", None, Some(body));
        if answer.status >= 400 && answer.text().contains(CANARY) {
            leaks.insert(what, answer.text().to_owned());
        }
    }
    assert!(refused > 500, "control: {refused} of {} were refused", all.len());
    let told: Vec<String> = leaks.iter().map(|(what, text)| format!("{what}: {text}")).collect();
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), told.join("\n"));
    assert!(!world.metrics().contains(CANARY));
}

/// The same to a server in a process of its own, whose whole log is read.
#[test]
fn nothing_that_is_sent_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("habilis.db").display());
    let log = folder.path().join("log");
    let server = Process::logging(&folder.path().join("data"), &database, &log);
    let doctor = Client::new(shared_pki(), Some("cps-medecin"), server.port);
    doctor.authorise(OTHER);
    for (_, sent) in &requests(&doctor) {
        send(&doctor, sent);
    }
    let cards = std::fs::read_dir(shared_pki()).unwrap();
    let keys = cards
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "key"));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("\"level\":"), "control: there is a log");
    assert!(!text.contains(CANARY), "{text}");
    assert!(!text.contains(OTHER) && !text.contains("810100000016"), "no identifier of anybody");
    for key in keys {
        let key = std::fs::read_to_string(key).unwrap();
        let inside = key.lines().nth(1).unwrap();
        assert!(!text.contains(inside), "no key");
    }
}
