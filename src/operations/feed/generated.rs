//! ITI-106: a DocumentReference made from the header of a CDA document, to be fed as any other.
//!
//! The mapping is that of the CI-SIS from a CDA header to the metadata of XDS. What the header does not say is left out, and the rules
//! of a feed say what that means. Class and format come from the type and the template, as the value sets pair them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::decode_base64;
use super::media::Media;
use crate::cda::{Code, Identifier, Metadata, Organisation, Person};
use crate::error::{Reason, Refusal};
use crate::fhir::codes::{Codes, system};
use crate::fhir::elements::to_instant;
use crate::fhir::json::{set, to_json};
use crate::fhir::{parameters, xml};
use crate::identity::identifiers::ins_system;

/// Where the document stands in the body.
const DOCUMENT: &str = "Parameters.parameter('document').resource";

/// The body of a simplified publish (ITI-105) that says of the document what its header says.
///
/// # Errors
/// [`Reason::MalformedBody`], [`Reason::InvalidContent`].
pub(super) fn publish_of(body: &str, codes: &Codes, now: i64) -> Result<String, Refusal> {
    let binary = parameters::document(body)?;
    let media_type = binary.content_type.0.split(';').next().unwrap_or_default().trim();
    if Media::of(media_type) != Some(Media::Cda) {
        let why = "metadata are made of a CDA document (text/xml)";
        return Err(Refusal::at(Reason::InvalidContent, format!("{DOCUMENT}.contentType"), why));
    }
    let content = decode_base64(&binary.data.0, &format!("{DOCUMENT}.data"))?;
    described(&content, media_type, codes, now)
}

/// The DocumentReference of a CDA document, with the document in it.
///
/// # Errors
/// [`Reason::InvalidContent`].
pub(super) fn described(content: &[u8], media_type: &str, codes: &Codes, now: i64) -> Result<String, Refusal> {
    let header = Metadata::read(content).map_err(|fault| {
        Refusal::at(Reason::InvalidContent, format!("{DOCUMENT}.data"), fault.to_string())
            .by("ITI-106: metadata are made of the header of a CDA document")
    })?;
    let media_type = if header.is_self_presenting { "application/xslt+xml" } else { media_type };
    let text = to_json(&document_reference(&header, media_type, &BASE64.encode(content), codes, now));
    // What the header says badly would be kept and given out.
    xml::check(&text).map_err(|fault| {
        let why = format!("what the header says makes no FHIR: {fault}");
        Refusal::at(Reason::InvalidContent, format!("{DOCUMENT}.data"), why)
    })?;
    Ok(text)
}

fn document_reference(header: &Metadata, media_type: &str, data: &str, codes: &Codes, now: i64) -> Value {
    let mut contained = vec![patient(header)];
    let authors: Vec<Value> = header
        .authors
        .iter()
        .enumerate()
        .map(|(number, author)| person(author, &format!("auteur{}", number + 1), &mut contained))
        .collect();
    let authenticator =
        header.authenticator.as_ref().map(|person_| person(person_, "responsable", &mut contained));
    let r#type = codes.document_type(&header.r#type.code);
    let class = r#type.and_then(|r#type| codes.concept("JDV-J57", r#type.class));
    let ins = header.patient.ids.iter().find(|id| ins_system::is_key(&uri(&id.root)));
    let mut resource = json!({
        "resourceType": "DocumentReference",
        "contained": contained,
        "masterIdentifier": { "system": system::URI, "value": unique_id(&header.id) },
        "status": "current",
        "type": concept(&header.r#type, "JDV-J66", codes),
        "date": to_instant(now),
    });
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            set(&mut resource, key, value);
        }
    };
    let logical = |id: &Identifier| json!([{ "system": system::URI, "value": unique_id(id) }]);
    put("identifier", header.set_id.as_ref().map(logical));
    let coded = |concept: &crate::fhir::codes::Concept| json!({ "coding": [{ "system": concept.system, "code": concept.code, "display": concept.display }] });
    put("category", class.map(|class| json!([coded(class)])));
    put(
        "subject",
        ins.map(|ins| json!({ "identifier": { "system": uri(&ins.root), "value": ins.extension } })),
    );
    put("author", (!authors.is_empty()).then(|| authors.into()));
    put("authenticator", authenticator);
    put("custodian", header.custodian.as_ref().and_then(custodian));
    let related: Vec<Value> = header.related.iter().map(relation).collect();
    put("relatesTo", (!related.is_empty()).then(|| related.into()));
    put(
        "securityLabel",
        header.confidentiality.as_ref().map(|label| json!([concept(label, "JDV-J58", codes)])),
    );
    put("content", Some(json!([content(header, media_type, data, codes)])));
    put("context", Some(context(header, codes)));
    resource
}

fn uri(oid: &str) -> String {
    format!("urn:oid:{oid}")
}

/// An id as one name: an extension stands behind the root, as XDS writes it.
fn unique_id(id: &Identifier) -> String {
    match id.extension.as_str() {
        "" => uri(&id.root),
        extension => format!("urn:oid:{}^{extension}", id.root),
    }
}

/// A code with its system as FHIR names it, and our label where we know one.
fn concept(code: &Code, value_set: &str, codes: &Codes) -> Value {
    let known = codes.concept(value_set, &code.code);
    let system = codes.system_of_oid(&code.system).or(known.map(|known| known.system));
    let mut coding = json!({
        "system": system.map_or_else(|| uri(&code.system), str::to_owned),
        "code": code.code,
    });
    let display = known.map_or(code.display.as_str(), |known| known.display);
    if !display.is_empty() {
        set(&mut coding, "display", display);
    }
    json!({ "coding": [coding] })
}

fn name(family: &str, given: &[String]) -> Option<Value> {
    let mut name = json!({});
    if !family.is_empty() {
        set(&mut name, "family", family);
    }
    let given: Vec<&String> = given.iter().filter(|given| !given.is_empty()).collect();
    if !given.is_empty() {
        set(&mut name, "given", json!(given));
    }
    name.as_object().is_some_and(|name| !name.is_empty()).then(|| json!([name]))
}

fn identifiers<'a>(ids: impl IntoIterator<Item = &'a Identifier>) -> Option<Value> {
    let ids: Vec<Value> = ids
        .into_iter()
        .filter(|id| !id.root.is_empty() && !id.extension.is_empty())
        .map(|id| json!({ "system": uri(&id.root), "value": id.extension }))
        .collect();
    (!ids.is_empty()).then(|| ids.into())
}

/// A resource with those of its elements that are there.
fn with(mut resource: Value, elements: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    for (key, value) in elements {
        if let Some(value) = value {
            set(&mut resource, key, value);
        }
    }
    resource
}

fn patient(header: &Metadata) -> Value {
    let patient = &header.patient;
    with(
        json!({ "resourceType": "Patient", "id": "patient" }),
        [
            ("identifier", identifiers(&patient.ids)),
            ("name", name(&patient.family, &patient.given)),
            ("gender", patient.gender.map(Value::from)),
            ("birthDate", patient.birth_date.clone().map(Value::from)),
        ],
    )
}

/// Adds who wrote the document to what is contained, and names it.
fn person(person: &Person, id: &str, contained: &mut Vec<Value>) -> Value {
    if let Some(device) = &person.device {
        let named = (!device.is_empty()).then(|| json!([{ "name": device, "type": "model-name" }]));
        let elements = [("identifier", identifiers(&person.id)), ("deviceName", named)];
        contained.push(with(json!({ "resourceType": "Device", "id": id }), elements));
        return json!({ "reference": format!("#{id}") });
    }
    let mut role = json!({
        "resourceType": "PractitionerRole",
        "id": id,
        "practitioner": { "reference": format!("#{id}-personne") },
    });
    let elements = [("identifier", identifiers(&person.id)), ("name", name(&person.family, &person.given))];
    contained.push(with(json!({ "resourceType": "Practitioner", "id": format!("{id}-personne") }), elements));
    if let Some(organisation) = &person.organisation {
        let named = (!organisation.name.is_empty()).then(|| Value::from(organisation.name.as_str()));
        let elements = [("identifier", identifiers(&organisation.id)), ("name", named)];
        let of = json!({ "resourceType": "Organization", "id": format!("{id}-structure") });
        contained.push(with(of, elements));
        set(&mut role, "organization", json!({ "reference": format!("#{id}-structure") }));
    }
    contained.push(role);
    json!({ "reference": format!("#{id}") })
}

fn custodian(organisation: &Organisation) -> Option<Value> {
    let id = organisation.id.as_ref()?;
    let named = (!organisation.name.is_empty()).then(|| Value::from(organisation.name.as_str()));
    let identifier = json!({ "system": uri(&id.root), "value": id.extension });
    Some(with(json!({ "identifier": identifier }), [("display", named)]))
}

fn relation((kind, id): &(String, Identifier)) -> Value {
    let code = match kind.as_str() {
        "RPLC" => "replaces",
        "APND" => "appends",
        _ => "transforms",
    };
    json!({ "code": code, "target": { "identifier": { "system": system::URI, "value": unique_id(id) } } })
}

fn content(header: &Metadata, media_type: &str, data: &str, codes: &Codes) -> Value {
    let title = (!header.title.is_empty()).then(|| Value::from(header.title.as_str()));
    let attachment = with(
        json!({ "contentType": media_type }),
        [
            ("language", header.language.clone().map(Value::from)),
            ("data", Some(data.into())),
            ("title", title),
            ("creation", header.creation.clone().map(Value::from)),
        ],
    );
    // What the body is, where it is no XML; else the template that has a format of the DMP, the most particular one last.
    let formats = |names: &mut dyn Iterator<Item = &String>| {
        let formats: Vec<&str> = names.filter_map(|name| codes.cda_format(name)).collect();
        formats.iter().copied().find(|format| codes.format(format).is_some()).or(formats.first().copied())
    };
    let format = match &header.body {
        Some(media_type) => codes.cda_format(media_type),
        None => formats(&mut header.templates.iter().rev()),
    };
    // IHE's own, for what its media type tells enough of. It is no format of the DMP, and a strict server says so.
    const SUFFICIENT: (&str, &str) = (
        "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
        "urn:ihe:iti:xds:2017:mimeTypeSufficient",
    );
    let format = match format.and_then(|format| codes.concept("JDV-J60", format)) {
        Some(known) => json!({ "system": known.system, "code": known.code, "display": known.display }),
        None => json!({ "system": SUFFICIENT.0, "code": SUFFICIENT.1 }),
    };
    json!({ "attachment": attachment, "format": format })
}

fn context(header: &Metadata, codes: &Codes) -> Value {
    let (start, end) = &header.period;
    let period =
        start.as_ref().map(|start| with(json!({ "start": start }), [("end", end.clone().map(Value::from))]));
    let setting = header.setting.as_ref().or_else(|| {
        let organisations = header.authors.iter().filter_map(|author| author.organisation.as_ref());
        organisations.filter_map(|organisation| organisation.setting.as_ref()).next()
    });
    let events: Vec<Value> = header
        .events
        .iter()
        .filter(|event| !event.code.is_empty() && !event.system.is_empty())
        .map(|event| concept(event, "", codes))
        .collect();
    // IHE's kind of number for an order.
    const ORDER: &str = "urn:ihe:iti:xds:2013:order";
    let orders: Vec<Value> = header
        .orders
        .iter()
        .filter(|order| !order.root.is_empty())
        .map(|order| {
            let (of, value) = match order.extension.as_str() {
                "" => (system::URI.to_owned(), uri(&order.root)),
                extension => (uri(&order.root), extension.to_owned()),
            };
            let kind = json!({ "coding": [{ "system": system::URI, "code": ORDER }] });
            json!({ "identifier": { "type": kind, "system": of, "value": value } })
        })
        .collect();
    with(
        json!({}),
        [
            ("event", (!events.is_empty()).then(|| events.into())),
            ("period", period),
            ("facilityType", header.facility.as_ref().map(|code| concept(code, "JDV-J61", codes))),
            ("practiceSetting", setting.map(|code| concept(code, "JDV-J62", codes))),
            ("sourcePatientInfo", Some(json!({ "reference": "#patient" }))),
            ("related", (!orders.is_empty()).then(|| orders.into())),
        ],
    )
}
