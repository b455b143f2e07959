//! `Consent` as TD0.3 uses it: the professional declares that the patient authorised it.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::document_reference::Period;
use super::elements::{Identifier, PatientReference, Reference, end_of, instant, to_instant};
use super::json::{BorrowedText, RawObject, malformed, quoted, to_json, unreadable};
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
    #[serde(borrow, default, rename = "provision")]
    provision_text: Option<&'a RawValue>,
    #[serde(skip)]
    provision: Option<Provision<'a>>,
    #[serde(borrow, default)]
    modifier_extension: Option<&'a RawValue>,
}

/// What a declaration may say. A narrower one (a purpose, a class of data, a nested denial) is refused rather than kept
/// and granted wide.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Provision<'a> {
    #[serde(borrow, default)]
    r#type: BorrowedText<'a>,
    #[serde(borrow, default)]
    actor: Vec<ConsentActor<'a>>,
    #[serde(borrow, default)]
    period: Option<Period<'a>>,
    #[serde(borrow, default, rename = "id")]
    _id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "extension")]
    _extension: Option<&'a RawValue>,
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
        let mut read: Self = serde_json::from_str(text).map_err(|error| unreadable("not a Consent", &error))?;
        if let Some(provision) = read.provision_text {
            let narrower = |error| {
                let diagnostics = format!("not a declaration that can be granted as it says: {error}");
                Refusal::at(Reason::InvalidMetadata, "Consent.provision", diagnostics)
            };
            read.provision = Some(serde_json::from_str(provision.get()).map_err(narrower)?);
        }
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
        if read.modifier_extension.is_some() {
            issues.push(Issue::at("Consent.modifierExtension", "no modifier extension is known here"));
        }
        Refusal::of(Reason::InvalidMetadata, issues).map_or(Ok(read), Err)
    }

    /// When the authorisation ends at the latest, microseconds: as declared, and not after `latest`.
    ///
    /// # Errors
    /// [`Reason::InvalidMetadata`]: the period is malformed, over, or not begun.
    pub fn until(&self, now: i64, latest: i64) -> Result<i64, Refusal> {
        const PERIOD: &str = "Consent.provision.period";
        let Some(period) = self.provision.as_ref().and_then(|provision| provision.period.as_ref()) else {
            return Ok(latest);
        };
        let invalid = |diagnostics: String| Refusal::at(Reason::InvalidMetadata, PERIOD, diagnostics);
        if let Some(start) = &period.start
            && instant(&start.0).map_err(invalid)? > now
        {
            return Err(invalid("an authorisation begins when it is declared".into()));
        }
        let Some(end) = &period.end else { return Ok(latest) };
        match end_of(&end.0).map_err(invalid)? {
            end if end <= now => Err(invalid("the period is over".into())),
            end => Ok(end.min(latest)),
        }
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
        let literal = actors.iter().any(|actor| !actor.reference.literal().is_empty());
        actors.len() > 1 || literal || (actors.len() == 1 && self.actor().is_none())
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
