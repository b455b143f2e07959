//! `Consent` as TD0.3 uses it: the professional declares that the patient authorised it.

use serde::Deserialize;
use serde_json::json;

use super::elements::{Identifier, PatientReference, Reference, to_instant};
use super::json::{BorrowedText, RawObject, malformed, quoted, to_json};
use crate::error::{Issue, Reason, Refusal};

/// The elements that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consent<'a> {
    #[serde(borrow, default)]
    resource_type: BorrowedText<'a>,
    #[serde(borrow, default)]
    status: BorrowedText<'a>,
    /// The patient.
    #[serde(borrow, default)]
    pub patient: Option<Reference<'a>>,
    #[serde(borrow, default)]
    provision: Option<Provision<'a>>,
}

#[derive(Debug, Deserialize)]
struct Provision<'a> {
    #[serde(borrow, default)]
    r#type: BorrowedText<'a>,
    #[serde(borrow, default)]
    actor: Vec<ConsentActor<'a>>,
}

#[derive(Debug, Deserialize)]
struct ConsentActor<'a> {
    #[serde(borrow, default)]
    reference: Reference<'a>,
}

impl<'a> Consent<'a> {
    /// Reads a declaration: `status` active, `provision.type` permit.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`] when it is no Consent, [`Reason::InvalidMetadata`] when it declares something else.
    pub fn read(text: &'a str) -> Result<Self, Refusal> {
        let read: Self =
            serde_json::from_str(text).map_err(|error| malformed(&format!("not a Consent: {error}")))?;
        if read.resource_type.0 != "Consent" {
            return Err(malformed("resourceType is not Consent"));
        }
        if read.patient.is_none() {
            return Err(Refusal::at(Reason::MalformedBody, "Consent.patient", "the patient is missing"));
        }
        let mut issues = Vec::new();
        if read.status.0 != "active" {
            issues.push(Issue::at("Consent.status", "a declaration is active"));
        }
        if read.provision.as_ref().is_none_or(|provision| provision.r#type.0 != "permit") {
            issues.push(Issue::at("Consent.provision.type", "a declaration permits"));
        }
        Refusal::of(Reason::InvalidMetadata, issues).map_or(Ok(read), Err)
    }

    /// The patient.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`] when the reference is of no known form.
    pub fn patient(&'a self) -> Result<PatientReference<'a>, Refusal> {
        let missing = || Refusal::at(Reason::MalformedBody, "Consent.patient", "the patient is missing");
        let reference = self.patient.as_ref().ok_or_else(missing)?;
        PatientReference::read(reference, "Consent.patient")
            .map_err(|issue| Refusal { issues: vec![issue], ..missing() })
    }

    /// The actor's identifier; none means the caller.
    pub fn actor(&self) -> Option<&Identifier<'a>> {
        let actor = self.provision.as_ref()?.actor.first()?;
        actor.reference.identifier.as_ref()
    }

    /// Whether an actor is named in another way than by its identifier.
    pub fn has_unreadable_actor(&self) -> bool {
        let actors = self.provision.as_ref().map_or(&[][..], |provision| &provision.actor);
        actors.len() > 1 || (actors.len() == 1 && self.actor().is_none())
    }
}

/// The text that is kept and answered: as received, with the server's id, meta and the authorised actor.
///
/// # Errors
/// [`Reason::MalformedBody`] when the text is no object.
pub fn accepted(text: &str, id: &str, record_id: &str, last_updated: i64) -> Result<String, Refusal> {
    let mut consent = RawObject::parse(text)?;
    let meta = format!("{{\"versionId\":\"1\",\"lastUpdated\":\"{}\"}}", to_instant(last_updated));
    consent.set("id", quoted(id), Some("resourceType"));
    consent.set("meta", meta, Some("id"));
    consent.set("patient", to_json(&json!({ "reference": format!("Patient/{record_id}") })), Some("category"));
    consent.set("dateTime", quoted(&to_instant(last_updated)), Some("patient"));
    Ok(consent.to_text())
}
