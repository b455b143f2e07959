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
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow, default)]
    full_url: BorrowedText<'a>,
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

/// Any resource: a patient may be contained in each.
#[derive(Default, Deserialize)]
struct Containing<'a> {
    #[serde(borrow, default)]
    contained: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Patient<'a> {
    #[serde(borrow, default)]
    id: BorrowedText<'a>,
    #[serde(borrow, default)]
    identifier: Vec<Identifier<'a>>,
}

const NOT_FHIR: &str = "not a resource as FHIR has it";

/// System and value of each.
type Identifiers = Vec<(String, String)>;

/// What is read of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FhirDocument {
    /// `Bundle.identifier.value`.
    pub identifier: Option<String>,
    /// `Composition.type`, the first code.
    pub type_code: String,
    /// System and value of each identifier of whom the Composition is about; empty where its subject leads nowhere.
    pub subject_ids: Identifiers,
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
        let first =
            bundle.entry.first().and_then(|entry| entry.resource).filter(|first| kind(first) == "Composition");
        let first = first.ok_or("the first entry of a document is its Composition")?;
        let composition: Composition<'_> =
            serde_json::from_str(first.get()).map_err(|_| "not a Composition as FHIR has it")?;
        let of = |identifier: &Identifier<'_>| (identifier.system().to_owned(), identifier.value().to_owned());
        let patient = |text: &'_ RawValue| -> Result<Option<(String, Identifiers)>, &'static str> {
            if kind(text) != "Patient" {
                return Ok(None);
            }
            let read: Patient<'_> = serde_json::from_str(text.get()).map_err(|_| NOT_FHIR)?;
            Ok(Some((read.id.0.to_string(), read.identifier.iter().map(of).collect())))
        };
        // Every patient, by how the Composition may name him: what another resource contains, it cannot.
        let mut patients: Vec<(Vec<String>, Identifiers)> = Vec::new();
        for (place, entry) in bundle.entry.iter().enumerate() {
            let Some(resource) = entry.resource else { continue };
            if let Some((id, ids)) = patient(resource)? {
                patients.push((vec![entry.full_url.0.to_string(), format!("Patient/{id}")], ids));
            }
            let containing: Containing<'_> = serde_json::from_str(resource.get()).map_err(|_| NOT_FHIR)?;
            for contained in containing.contained {
                if let Some((id, ids)) = patient(contained)? {
                    let names = if place == 0 { vec![format!("#{id}")] } else { Vec::new() };
                    patients.push((names, ids));
                }
            }
        }
        let mut subject_ids: Vec<_> =
            composition.subject.iter().filter_map(|subject| subject.identifier.as_ref()).map(of).collect();
        let named = composition.subject.as_ref().map_or("", Reference::literal);
        let is_named = |names: &[String]| !named.is_empty() && names.iter().any(|name| name == named);
        subject_ids
            .extend(patients.iter().filter(|(names, _)| is_named(names)).flat_map(|(_, ids)| ids.clone()));
        Ok(Self {
            identifier: bundle.identifier.as_ref().map(|identifier| identifier.value().to_owned()),
            type_code: composition.r#type.code().to_owned(),
            subject_ids,
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
        assert_eq!(read.subject_ids, [("s".to_owned(), "1".to_owned())]);
        let subject = |reference: &str, contained: &str| {
            let entry = r#"{"fullUrl":"urn:uuid:7","resource":{"resourceType":"Patient","id":"p","#;
            let text = text.replace(r#"{"resource":{"resourceType":"Patient","#, entry);
            let named = format!(r#""subject":{{"reference":"{reference}"}}{contained}"#);
            let text = text.replace(r#""subject":{"identifier":{"system":"s","value":"1"}}"#, &named);
            FhirDocument::read(&text).unwrap().subject_ids
        };
        for reference in ["urn:uuid:7", "Patient/p"] {
            assert_eq!(subject(reference, ""), [("s".to_owned(), "2".to_owned())], "{reference}");
        }
        let contained =
            r#","contained":[{"resourceType":"Patient","id":"c","identifier":[{"system":"s","value":"3"}]}]"#;
        assert_eq!(subject("#c", contained), [("s".to_owned(), "3".to_owned())]);
        assert!(subject("urn:uuid:8", "").is_empty() && subject("", "").is_empty());
        // One that another resource contains is in the document, and is not its subject.
        let elsewhere = text.replace(
            r#"{"resourceType":"Patient","identifier":[{"system":"s","value":"2"}]}"#,
            r##"{"resourceType":"Observation","contained":[{"resourceType":"Patient","id":"c","identifier":[{"system":"s","value":"4"}]}],"subject":{"reference":"#c"}}"##,
        );
        let named = r##""subject":{"reference":"#c"}"##;
        let named = elsewhere.replace(r#""subject":{"identifier":{"system":"s","value":"1"}}"#, named);
        assert!(FhirDocument::read(&named).unwrap().subject_ids.is_empty());
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
