//! The homologation scenarios, through the real listener and on both engines. Codes are those of the CNDA's test book; the
//! words are ours. A row that is played is named in a comment, `// CODE:`; a step over `shared/data` looks whether one is missing.

mod authorisations;
mod contents;
mod details;
mod emergencies;
mod existence;
mod feeding;
mod finding;
mod identity;
mod retrieving;
mod secret;
mod sessions;
mod updates;
pub mod vaccinations;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use habilis::environment::Clock;
use habilis::sandbox::CLIENT_ID;
use habilis::sandbox::example::Example;
use habilis::sandbox::pro_sante_connect::TokenForm;
use serde_json::{Value, json};

use crate::support::establishment::{claims, seal, with};
use crate::support::{Answer, Client, TEST, World};

const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const NO_RECORD: &str = "172047599900387";
const MINOR: &str = "217057599900827";
/// PS_IdNat of `cps-medecin` and `cps-medecin-b`.
const DOCTOR: &str = "810100000016";
const DOCTOR_B: &str = "810100000024";

/// The card's holder in a session with these parameters.
#[track_caller]
pub fn session(world: &World, card: &str, form: &[(&str, &str)]) -> Client {
    let client = world.client(card);
    let mut all = vec![("grant_type", "client_credentials")];
    all.extend_from_slice(form);
    let token = client.ask_token(&all).token();
    client.with_token(&token)
}

/// The card's holder who breaks the glass of one record.
#[track_caller]
pub fn bris_de_glace(world: &World, card: &str, ins: &str) -> Client {
    let patient = format!("{TEST}|{ins}");
    session(
        world,
        card,
        &[("purpose_of_use", "bris_de_glace"), ("motif", "inconscient"), ("patient", &patient)],
    )
}

/// A doctor who regulates.
#[track_caller]
fn centre_15(world: &World) -> Client {
    session(world, "cps-regulateur", &[("purpose_of_use", "centre_15")])
}

/// A professional with e-CPS, in the software of the health centre, for every transaction.
#[track_caller]
pub fn e_cps(world: &World, login: &str) -> Client {
    let software = world.client("org-psc");
    let subject = world.stand_in.sign_in(login, CLIENT_ID, TokenForm::Opaque).unwrap();
    let token = software
        .ask_token(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", &subject),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            (
                "scope",
                "TD0.2 TD0.3 TD0.4 TD1.3a TD1.4 TD1.6 TD3.1b TD3.3 ITI-65 ITI-105 ITI-66 ITI-67 ITI-68 ITI-81 ITI-110",
            ),
        ])
        .token();
    software.with_token(&token)
}

/// The hospital's software with a session of a kind, for `cps-medecin` unless the assertion says otherwise. AIR: one request.
#[track_caller]
fn establishment(world: &World, mode: &str, changes: &[(&str, Value)]) -> Client {
    let issuer = format!("https://localhost:{}", world.listening.api.port());
    let jti = format!("homologation-{}", uuid());
    let mut asserted = claims(&issuer, mode, world.clock.now().as_second(), &jti);
    for (pointer, value) in changes {
        asserted = with(asserted, pointer, value.clone());
    }
    let assertion = seal(&world.certs, "org-hopital-sign", &asserted);
    let hospital = world.client("org-hopital");
    let token = hospital.ask_token(&[("grant_type", BEARER), ("assertion", &assertion)]).token();
    hospital.with_token(&token)
}

/// The changes that make an assertion name a member of the hospital's staff.
fn as_staff() -> [(&'static str, Value); 2] {
    [
        ("/sub", json!("3750000010/CPE0001")),
        (
            "/extensions/ihe_iua/subject_role",
            json!([{ "system": "urn:oid:1.2.250.1.213.1.1.4.6", "code": "SECRETARIAT_MEDICAL" }]),
        ),
    ]
}

#[expect(clippy::disallowed_methods, reason = "the tests' own identifiers")]
fn uuid() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}

/// A document of a type with labels, as the author of the card would send it.
fn document<'a>(ins: &'a str, unique_id: &'a str, labels: &'a [&'a str]) -> Example<'a> {
    Example { labels, ..Example::new(TEST, ins, "X", unique_id) }
}

/// Feeds it (ITI-105); `DocumentReference.id`.
#[track_caller]
fn feed(client: &Client, example: &Example<'_>) -> String {
    let answer = client.post("/DocumentReference", example.single());
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// The DocumentReference of bytes that are another thing than the example's CDA document.
fn of_bytes(example: &Example<'_>, content_type: &str, format: &str, bytes: &[u8]) -> Value {
    let mut document = example.document_reference(bytes);
    document["content"][0]["attachment"]["contentType"] = content_type.into();
    document["content"][0]["format"]["code"] = format.into();
    document
}

/// A document as it is fed alone (ITI-105).
fn alone(mut document: Value, bytes: &[u8]) -> String {
    document["content"][0]["attachment"]["data"] = STANDARD.encode(bytes).into();
    document.to_string()
}

/// What was fed alone, as the server has it.
#[track_caller]
fn accepted(answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.text());
    let document = answer.json();
    assert_eq!((&document["status"], &document["meta"]["versionId"]), (&json!("current"), &json!("1")));
    document
}

/// Where the bytes of a document are.
#[track_caller]
fn address(document: &Value) -> String {
    document["content"][0]["attachment"]["url"].as_str().unwrap().to_owned()
}

/// The ids of the documents that a transaction made, in its order.
#[track_caller]
fn created(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let entries = answer["entry"].as_array().unwrap().iter();
    let made = entries.filter(|entry| entry["response"]["status"] == "201 Created");
    made.filter_map(|entry| entry["response"]["location"].as_str()?.strip_prefix("DocumentReference/"))
        .map(|rest| rest.split('/').next().unwrap().to_owned())
        .collect()
}

/// A CDA document of level 1: a header around a file.
fn level_1(example: &Example<'_>, media_type: &str, bytes: &[u8]) -> Vec<u8> {
    let cda = example.cda();
    let (before, rest) = cda.split_once("<structuredBody").unwrap();
    let (_, after) = rest.split_once("</structuredBody>").unwrap();
    let data = STANDARD.encode(bytes);
    let text = format!("<text mediaType=\"{media_type}\" representation=\"B64\">{data}</text>");
    format!("{before}<nonXMLBody>{text}</nonXMLBody>{after}").into_bytes()
}

/// A self-presenting CDA document: a style sheet around it, with more in its template.
fn self_presenting(example: &Example<'_>, more: &str) -> Vec<u8> {
    let cda = example.cda();
    let (_, cda) = cda.split_once("?>").unwrap();
    format!(
        "<xsl:stylesheet version=\"1.0\" xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\" xmlns:d=\"urn:x\">\
         <d:document>{cda}</d:document><xsl:template match=\"/\"><p>Biologie</p>{more}</xsl:template></xsl:stylesheet>"
    )
    .into_bytes()
}

/// A KOS manifest, as far as its meta group.
fn manifest() -> Vec<u8> {
    let class = "1.2.840.10008.5.1.4.1.1.88.59\0";
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM\x02\0\x02\0UI");
    bytes.extend(u16::try_from(class.len()).unwrap().to_le_bytes());
    bytes.extend(class.as_bytes());
    bytes
}

const KOS_FORMAT: &str = "1.2.840.10008.5.1.4.1.1.88.59";

/// What documents of one examination say of it: `context.related`, by kind of number.
fn examination(numbers: &[(&str, &str)]) -> Value {
    let related = |(kind, value): &(&str, &str)| {
        json!({ "identifier": {
            "type": { "coding": [{ "system": "urn:ietf:rfc:3986", "code": format!("urn:ihe:iti:xds:{kind}") }] },
            "value": value,
        } })
    };
    numbers.iter().map(related).collect()
}

/// The one patient of an answer.
#[track_caller]
fn patient(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bundle = answer.json();
    assert_eq!(bundle["total"], 1, "{bundle}");
    bundle["entry"][0]["resource"].clone()
}

/// The value of an extension of the DMP, or null.
fn extension(resource: &Value, name: &str) -> Value {
    let url = format!("https://interop.esante.gouv.fr/ig/fhir/dmp/StructureDefinition/{name}");
    let all = resource["extension"].as_array().cloned().unwrap_or_default();
    let Some(found) = all.into_iter().find(|extension| extension["url"] == url.as_str()) else {
        return Value::Null;
    };
    found
        .as_object()
        .unwrap()
        .iter()
        .find(|(key, _)| key.starts_with("value"))
        .map_or(found.clone(), |(_, v)| v.clone())
}

/// An INS with its key, of thirteen digits.
fn ins_of(thirteen: u64) -> String {
    format!("{thirteen:013}{:02}", 97 - thirteen % 97)
}

/// Lines for a server's further records: name, given name, day of birth; the INS of each.
fn more_records(patients: &[(&str, &str, &str, u64)]) -> (String, Vec<String>) {
    let numbers: Vec<String> = patients.iter().map(|(.., number)| ins_of(*number)).collect();
    let lines = patients
        .iter()
        .zip(&numbers)
        .map(|((family, given, born, _), ins)| format!("{TEST}\t{ins}\t{family}\t{given}\t{born}\n"))
        .collect();
    (lines, numbers)
}
