//! `List` as a SubmissionSet: read for the rules, kept as the text received.

use serde::Deserialize;
use serde_json::json;

use super::codes::system;
use super::document_reference::Contained;
use super::elements::{CodeableConcept, Identifier, Reference, to_instant};
use super::json::{BorrowedText, RawObject, malformed, quoted, to_json, unreadable};
use crate::error::Refusal;

/// Extension: content type of the set.
pub const DESIGNATION_TYPE: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-designationType";
/// Extension: the source system.
pub const SOURCE_ID: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-sourceId";

/// The elements that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubmissionSet<'a> {
    /// Always `List`.
    #[serde(borrow, default)]
    pub resource_type: BorrowedText<'a>,
    /// Unique id and entry UUID.
    #[serde(borrow, default)]
    pub identifier: Vec<Identifier<'a>>,
    /// `submissionset`.
    #[serde(borrow, default)]
    pub code: CodeableConcept<'a>,
    /// The patient.
    #[serde(borrow, default)]
    pub subject: Option<Reference<'a>>,
    /// When it was sent.
    #[serde(borrow, default)]
    pub date: Option<BorrowedText<'a>>,
    /// Who sent it.
    #[serde(borrow, default)]
    pub source: Option<Reference<'a>>,
    /// designationType, sourceId and others.
    #[serde(borrow, default)]
    pub extension: Vec<Extension<'a>>,
    /// The documents.
    #[serde(borrow, default)]
    pub entry: Vec<ListEntry<'a>>,
    /// Contained resources.
    #[serde(borrow, default)]
    pub contained: Vec<Contained<'a>>,
}

/// An extension, as far as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extension<'a> {
    /// Its definition.
    #[serde(borrow, default)]
    pub url: BorrowedText<'a>,
    /// For designationType.
    #[serde(borrow, default)]
    pub value_codeable_concept: Option<CodeableConcept<'a>>,
}

/// `List.entry`.
#[derive(Debug, Deserialize)]
pub struct ListEntry<'a> {
    /// A document of the same transaction.
    #[serde(borrow, default)]
    pub item: Reference<'a>,
}

impl<'a> SubmissionSet<'a> {
    /// Reads a resource.
    ///
    /// # Errors
    /// [`crate::error::Reason::MalformedBody`] when an element has another shape than FHIR gives it.
    pub fn read(text: &'a str) -> Result<Self, Refusal> {
        let read: Self = serde_json::from_str(text).map_err(|error| unreadable("not a List", &error))?;
        if read.resource_type.0 != "List" {
            return Err(malformed("resourceType is not List"));
        }
        Ok(read)
    }

    /// The content type, JDV_J59: system and code.
    pub fn designation_type(&self) -> Option<(&str, &str)> {
        let extension = self.extension.iter().find(|extension| extension.url.0 == DESIGNATION_TYPE)?;
        let coding = extension.value_codeable_concept.as_ref()?.coding.first()?;
        Some((coding.system(), coding.code()))
    }
}

/// The text that is kept: received values byte for byte, with the server's id, subject and entries.
///
/// # Errors
/// [`crate::error::Reason::MalformedBody`] when the text is no object.
pub fn accepted(
    text: &str,
    id: &str,
    record_id: &str,
    document_ids: &[&str],
    last_updated: i64,
) -> Result<String, Refusal> {
    let mut list = RawObject::parse(text)?;
    let meta = format!("{{\"versionId\":\"1\",\"lastUpdated\":\"{}\"}}", to_instant(last_updated));
    list.set("id", quoted(id), Some("resourceType"));
    list.set("meta", meta, Some("id"));
    list.set("subject", to_json(&json!({ "reference": format!("Patient/{record_id}") })), Some("code"));
    list.set("entry", entries(document_ids), Some("source"));
    Ok(list.to_text())
}

/// A kept SubmissionSet, with the documents that may be seen.
///
/// # Errors
/// The kept text is no object, which would be a fault of ours.
pub fn with_entries(text: &str, document_ids: &[&str]) -> Result<String, Refusal> {
    let mut list = RawObject::parse(text)?;
    list.set("entry", entries(document_ids), Some("source"));
    Ok(list.to_text())
}

/// Who sends a SubmissionSet that the server makes.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// A professional: PS_IdNat.
    Professional(&'a str),
    /// An organisation: Struct_IdNat.
    Organisation(&'a str),
}

/// The SubmissionSet that the server makes for a document fed alone (ITI-105). `content_type`: system and code of JDV_J59.
pub fn made_by_server(
    id: &str,
    record_id: &str,
    document_id: &str,
    sender: Sender<'_>,
    content_type: (&str, &str),
    now: i64,
) -> String {
    let uuid = format!("urn:uuid:{id}");
    let (role, system, value) = match sender {
        Sender::Professional(value) => ("practitioner", system::PROFESSIONAL, value),
        Sender::Organisation(value) => ("organization", system::STRUCTURE, value),
    };
    to_json(&json!({
        "resourceType": "List",
        "id": id,
        "meta": { "versionId": "1", "lastUpdated": to_instant(now) },
        "contained": [{
            "resourceType": "PractitionerRole",
            "id": "source",
            role: { "identifier": { "system": system, "value": value } },
        }],
        "extension": [
            { "url": DESIGNATION_TYPE, "valueCodeableConcept": { "coding": [{ "system": content_type.0, "code": content_type.1 }] } },
            { "url": SOURCE_ID, "valueIdentifier": { "system": system::URI, "value": uuid } },
        ],
        "identifier": [{ "use": "official", "system": system::URI, "value": uuid }],
        "status": "current",
        "mode": "working",
        "code": { "coding": [{ "system": system::LIST_TYPE, "code": "submissionset" }] },
        "subject": { "reference": format!("Patient/{record_id}") },
        "date": to_instant(now),
        "source": { "reference": "#source" },
        "entry": [{ "item": { "reference": format!("DocumentReference/{document_id}") } }],
    }))
}

fn entries(document_ids: &[&str]) -> String {
    let entries: Vec<_> = document_ids
        .iter()
        .map(|id| json!({ "item": { "reference": format!("DocumentReference/{id}") } }))
        .collect();
    to_json(&entries)
}
