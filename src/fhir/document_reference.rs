//! `DocumentReference`: read for rights, search and rules; kept as the text received ([`kept`]).

mod kept;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::kept::{
    IS_ARCHIVED, NextVersion, Place, ServerElements, accepted, labelled, link_position, next_version,
    reference, reference_of, shown, superseded,
};
use super::codes::{label, system};
use super::elements::{CodeableConcept, Coding, Identifier, Reference};
use super::json::{BorrowedText, RawObject, malformed, unreadable};
use crate::error::{Issue, Refusal};
use crate::rights::Labels;

/// The elements that are read. All are optional here: which must be there is a rule, with its own answer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentReference<'a> {
    /// Always `DocumentReference`.
    #[serde(borrow, default)]
    pub resource_type: BorrowedText<'a>,
    /// The document's unique id, `urn:oid:…`.
    #[serde(borrow, default)]
    pub master_identifier: Option<Identifier<'a>>,
    /// Logical id; a unique id may stand here too.
    #[serde(borrow, default)]
    pub identifier: Vec<Identifier<'a>>,
    /// `current`.
    #[serde(borrow, default)]
    pub status: BorrowedText<'a>,
    /// JDV_J66.
    #[serde(borrow, default)]
    pub r#type: CodeableConcept<'a>,
    /// JDV_J57.
    #[serde(borrow, default)]
    pub category: Vec<CodeableConcept<'a>>,
    /// The patient.
    #[serde(borrow, default)]
    pub subject: Option<Reference<'a>>,
    /// When the DocumentReference was made.
    #[serde(borrow, default)]
    pub date: Option<BorrowedText<'a>>,
    /// Authors.
    #[serde(borrow, default)]
    pub author: Vec<Reference<'a>>,
    /// Custodian.
    #[serde(borrow, default)]
    pub custodian: Option<Reference<'a>>,
    /// Replaced documents.
    #[serde(borrow, default)]
    pub relates_to: Vec<RelatesTo<'a>>,
    /// Visibility.
    #[serde(borrow, default)]
    pub security_label: Vec<CodeableConcept<'a>>,
    /// One attachment.
    #[serde(borrow, default)]
    pub content: Vec<Content<'a>>,
    /// Circumstances.
    #[serde(borrow, default)]
    pub context: Context<'a>,
    /// Contained resources.
    #[serde(borrow, default)]
    pub contained: Vec<Contained<'a>>,
    /// Extensions: of these that of archived documents is read.
    #[serde(borrow, default)]
    pub extension: Vec<&'a RawValue>,
}

/// `DocumentReference.relatesTo`.
#[derive(Debug, Deserialize)]
pub struct RelatesTo<'a> {
    /// `replaces`, `appends`, `transforms`, `signs`.
    #[serde(borrow, default)]
    pub code: BorrowedText<'a>,
    /// The other document.
    #[serde(borrow, default)]
    pub target: Reference<'a>,
}

/// `DocumentReference.content`.
#[derive(Debug, Default, Deserialize)]
pub struct Content<'a> {
    /// The attachment.
    #[serde(borrow, default)]
    pub attachment: Attachment<'a>,
    /// JDV_J60.
    #[serde(borrow, default)]
    pub format: Option<Coding<'a>>,
}

/// `Attachment`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment<'a> {
    /// Media type.
    #[serde(borrow, default)]
    pub content_type: BorrowedText<'a>,
    /// `fr-FR`.
    #[serde(borrow, default)]
    pub language: Option<BorrowedText<'a>>,
    /// ITI-65: the `fullUrl` of a Binary.
    #[serde(borrow, default)]
    pub url: Option<BorrowedText<'a>>,
    /// ITI-105: the bytes, base64.
    #[serde(borrow, default)]
    pub data: Option<BorrowedText<'a>>,
    /// Bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// SHA-1, base64.
    #[serde(borrow, default)]
    pub hash: Option<BorrowedText<'a>>,
    /// Title, at most 128 characters.
    #[serde(borrow, default)]
    pub title: Option<BorrowedText<'a>>,
    /// When the document was made.
    #[serde(borrow, default)]
    pub creation: Option<BorrowedText<'a>>,
}

/// `DocumentReference.context`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context<'a> {
    /// What was done, and on what: acts, modalities, regions of the body.
    #[serde(borrow, default)]
    pub event: Vec<CodeableConcept<'a>>,
    /// When the act took place.
    #[serde(borrow, default)]
    pub period: Option<Period<'a>>,
    /// JDV_J61.
    #[serde(borrow, default)]
    pub facility_type: Option<CodeableConcept<'a>>,
    /// JDV_J62.
    #[serde(borrow, default)]
    pub practice_setting: Option<CodeableConcept<'a>>,
    /// The patient as the source knows him.
    #[serde(borrow, default)]
    pub source_patient_info: Option<Reference<'a>>,
}

/// `Period`.
#[derive(Debug, Default, Deserialize)]
pub struct Period<'a> {
    /// Start.
    #[serde(borrow, default)]
    pub start: Option<BorrowedText<'a>>,
    /// End.
    #[serde(borrow, default)]
    pub end: Option<BorrowedText<'a>>,
}

/// A contained resource, as far as identity goes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contained<'a> {
    /// Its type.
    #[serde(borrow, default)]
    pub resource_type: BorrowedText<'a>,
    /// Its local id.
    #[serde(borrow, default)]
    pub id: BorrowedText<'a>,
    /// Its identifiers.
    #[serde(borrow, default)]
    pub identifier: Vec<Identifier<'a>>,
    /// Of a PractitionerRole: who.
    #[serde(borrow, default)]
    pub practitioner: Option<Reference<'a>>,
    /// Of a PractitionerRole: for whom.
    #[serde(borrow, default)]
    pub organization: Option<Reference<'a>>,
}

impl<'a> Contained<'a> {
    /// Every identifier by which it says who it is about.
    pub fn names(&self) -> impl Iterator<Item = &Identifier<'a>> {
        let referred = [&self.practitioner, &self.organization].into_iter().flatten();
        self.identifier.iter().chain(referred.filter_map(|reference| reference.identifier.as_ref()))
    }
}

impl<'a> DocumentReference<'a> {
    /// Reads a resource.
    ///
    /// # Errors
    /// [`crate::error::Reason::MalformedBody`] when an element has another shape than FHIR gives it.
    pub fn read(text: &'a str) -> Result<Self, Refusal> {
        let read: Self =
            serde_json::from_str(text).map_err(|error| unreadable("not a DocumentReference", &error))?;
        if read.resource_type.0 != "DocumentReference" {
            return Err(malformed("resourceType is not DocumentReference"));
        }
        shapes(text)?;
        Ok(read)
    }

    /// The unique id: `masterIdentifier`, or else an `identifier` in URI form (both stand in the published guides).
    pub fn unique_id(&self) -> Option<&str> {
        let uri = |identifier: &&Identifier<'_>| identifier.system() == system::URI;
        let candidates = self.master_identifier.iter().chain(self.identifier.iter());
        candidates.filter(uri).map(Identifier::value).find(|value| !value.is_empty())
    }

    /// The attachment; the rules say that there is one.
    pub fn attachment(&self) -> Option<&Attachment<'a>> {
        self.content.first().map(|content| &content.attachment)
    }

    /// The visibility labels, as a set. `N` is the neutral one and may stand beside the others.
    ///
    /// # Errors
    /// A label that the DMP does not know.
    pub fn labels(&self) -> Result<Labels, Issue> {
        let mut labels = Labels::default();
        for coding in self.security_label.iter().flat_map(|concept| &concept.coding) {
            match coding.code() {
                label::NORMAL => {}
                label::MASQUE_PS => labels.masked = true,
                label::INVISIBLE_PATIENT => labels.invisible_to_patient = true,
                label::INVISIBLE_REPRESENTANTS_LEGAUX => labels.invisible_to_representatives = true,
                _ => {
                    return Err(Issue::at(
                        "DocumentReference.securityLabel",
                        "a label is none of the DMP (N, MASQUE_PS, INVISIBLE_PATIENT, INVISIBLE_REPRESENTANTS_LEGAUX)",
                    ));
                }
            }
        }
        Ok(labels)
    }
}

/// serde reads an array as a struct, place by place. What is kept must be what FHIR says it is.
fn shapes(text: &str) -> Result<(), Refusal> {
    const OBJECTS: [&str; 8] =
        ["masterIdentifier", "type", "subject", "custodian", "authenticator", "context", "meta", "text"];
    const ARRAYS: [&str; 8] =
        ["identifier", "category", "author", "securityLabel", "content", "relatesTo", "contained", "extension"];
    let resource = RawObject::parse(text)?;
    for (elements, begins) in [(OBJECTS, '{'), (ARRAYS, '[')] {
        for element in elements {
            if resource.get(element).is_some_and(|value| !value.starts_with(begins)) {
                return Err(malformed(&format!("DocumentReference.{element} does not begin with {begins}")));
            }
        }
    }
    Ok(())
}
