//! A FHIR document: a Bundle of type `document`, read as far as its metadata must agree with it.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::bundle::AnyResource;
use super::elements::{CodeableConcept, Identifier, Reference};
use super::json::BorrowedText;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    #[serde(borrow, default)]
    resource_type: BorrowedText<'a>,
    #[serde(borrow, default)]
    r#type: BorrowedText<'a>,
    #[serde(borrow, default)]
    identifier: Option<Identifier<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Composition<'a> {
    #[serde(borrow, default)]
    r#type: CodeableConcept<'a>,
    #[serde(borrow, default)]
    subject: Option<Reference<'a>>,
}

#[derive(Default, Deserialize)]
struct Patient<'a> {
    #[serde(borrow, default)]
    identifier: Vec<Identifier<'a>>,
}

/// What is read of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FhirDocument {
    /// `Bundle.identifier.value`.
    pub identifier: Option<String>,
    /// `Composition.type`, the first code.
    pub type_code: String,
    /// System and value of every identifier of every Patient in it, and of the Composition's subject.
    pub patient_ids: Vec<(String, String)>,
}

impl FhirDocument {
    /// Reads a Bundle that the door has let in.
    ///
    /// # Errors
    /// What of it is no document (FHIR R4, 3.3.1).
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let bundle: Bundle<'_> = serde_json::from_str(text).map_err(|_| "not a Bundle as FHIR has it")?;
        if bundle.resource_type.0 != "Bundle" || bundle.r#type.0 != "document" {
            return Err("not a Bundle of type document");
        }
        if bundle.timestamp.is_none() {
            return Err("a document has a timestamp");
        }
        if bundle.identifier.as_ref().is_none_or(|identifier| identifier.value().is_empty()) {
            return Err("a document has an identifier");
        }
        let kind = |resource: &RawValue| {
            serde_json::from_str::<AnyResource<'_>>(resource.get())
                .map_or(String::new(), |any| any.resource_type.0.to_string())
        };
        let mut resources = bundle.entry.iter().filter_map(|entry| entry.resource).peekable();
        let first = resources.peek().filter(|first| kind(first) == "Composition");
        let first = first.ok_or("the first entry of a document is its Composition")?;
        let composition: Composition<'_> =
            serde_json::from_str(first.get()).map_err(|_| "not a Composition as FHIR has it")?;
        let of = |identifier: &Identifier<'_>| (identifier.system().to_owned(), identifier.value().to_owned());
        let subject = composition.subject.as_ref().and_then(|subject| subject.identifier.as_ref());
        let mut patient_ids: Vec<_> = subject.map(of).into_iter().collect();
        for resource in resources.filter(|resource| kind(resource) == "Patient") {
            let patient: Patient<'_> =
                serde_json::from_str(resource.get()).map_err(|_| "not a Patient as FHIR has it")?;
            patient_ids.extend(patient.identifier.iter().map(of));
        }
        Ok(Self {
            identifier: bundle.identifier.as_ref().map(|identifier| identifier.value().to_owned()),
            type_code: composition.r#type.code().to_owned(),
            patient_ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_document() {
        let text = r#"{"resourceType":"Bundle","type":"document","identifier":{"value":"urn:oid:1.2"},"timestamp":"2026-01-01T00:00:00Z","entry":[
            {"resource":{"resourceType":"Composition","type":{"coding":[{"code":"11488-4"}]},"subject":{"identifier":{"system":"s","value":"1"}}}},
            {"resource":{"resourceType":"Patient","identifier":[{"system":"s","value":"2"}]}}]}"#;
        let read = FhirDocument::read(text).unwrap();
        assert_eq!((read.identifier.as_deref(), read.type_code.as_str()), (Some("urn:oid:1.2"), "11488-4"));
        assert_eq!(read.patient_ids, [("s".to_owned(), "1".to_owned()), ("s".to_owned(), "2".to_owned())]);
        for (from, to, why) in [
            ("\"document\"", "\"collection\"", "not a Bundle of type document"),
            ("Composition", "Basic", "the first entry of a document is its Composition"),
            ("\"timestamp\"", "\"x\"", "a document has a timestamp"),
            ("\"urn:oid:1.2\"", "\"\"", "a document has an identifier"),
        ] {
            assert_eq!(FhirDocument::read(&text.replace(from, to)), Err(why));
        }
        assert!(FhirDocument::read("[]").is_err());
    }
}
