//! What a document or a SubmissionSet is found by beside its columns: authors, events, related things, identifiers.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::fhir::elements::{CodeableConcept, Coding, Identifier, Reference};
use crate::fhir::json::{BorrowedText, unreadable};
use crate::fhir::submission_set::SOURCE_ID;
use crate::store::{NewTerm, TermKind, family_key};

/// Terms of one resource, at most: what is beyond is kept, and not found by.
const MOST: usize = 200;

/// The elements that are read here, of either resource.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described<'a> {
    #[serde(borrow, default)]
    contained: Vec<Contained<'a>>,
    #[serde(borrow, default)]
    author: Vec<Reference<'a>>,
    #[serde(borrow, default)]
    source: Option<Source<'a>>,
    #[serde(borrow, default)]
    master_identifier: Option<Identifier<'a>>,
    #[serde(borrow, default)]
    identifier: Vec<Identifier<'a>>,
    #[serde(borrow, default)]
    extension: Vec<Extension<'a>>,
    #[serde(borrow, default)]
    context: Context<'a>,
}

#[derive(Default, Deserialize)]
struct Context<'a> {
    #[serde(borrow, default)]
    event: Vec<CodeableConcept<'a>>,
    #[serde(borrow, default)]
    related: Vec<Related<'a>>,
}

#[derive(Deserialize)]
struct Related<'a> {
    #[serde(borrow, default)]
    reference: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    identifier: Option<TypedIdentifier<'a>>,
}

#[derive(Deserialize)]
struct TypedIdentifier<'a> {
    #[serde(borrow, default)]
    r#type: CodeableConcept<'a>,
    #[serde(borrow, default)]
    system: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    value: Option<BorrowedText<'a>>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, default)]
    reference: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    identifier: Option<Identifier<'a>>,
    #[serde(borrow, default)]
    extension: Vec<Extension<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extension<'a> {
    #[serde(borrow, default)]
    url: BorrowedText<'a>,
    #[serde(borrow, default)]
    value_codeable_concept: Option<CodeableConcept<'a>>,
    #[serde(borrow, default)]
    value_identifier: Option<Identifier<'a>>,
    #[serde(borrow, default)]
    value_reference: Option<Reference<'a>>,
    #[serde(borrow, default)]
    value_human_name: Option<HumanName<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contained<'a> {
    #[serde(borrow, default)]
    id: BorrowedText<'a>,
    #[serde(borrow, default)]
    identifier: Vec<Identifier<'a>>,
    /// Names of a person; the name of an organisation is a text.
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    practitioner: Option<Reference<'a>>,
    #[serde(borrow, default)]
    extension: Vec<Extension<'a>>,
}

#[derive(Default, Deserialize)]
struct HumanName<'a> {
    #[serde(borrow, default)]
    family: Option<BorrowedText<'a>>,
    /// A place may hold no more than extensions.
    #[serde(borrow, default)]
    given: Vec<Option<BorrowedText<'a>>>,
}

struct Terms {
    owner_id: String,
    terms: Vec<NewTerm>,
}

impl Terms {
    fn push(&mut self, kind: TermKind, system: &str, value: &str) {
        if value.is_empty() || self.terms.len() >= MOST || system.len() + value.len() > 512 {
            return;
        }
        let term = NewTerm {
            owner_id: self.owner_id.clone(),
            kind: kind.code(),
            token: format!("{system}|{value}"),
            value: value.to_owned(),
        };
        if !self.terms.contains(&term) {
            self.terms.push(term);
        }
    }

    fn identifier(&mut self, kind: TermKind, identifier: &Identifier<'_>) {
        self.push(kind, identifier.system(), identifier.value());
    }

    fn name(&mut self, (family, given): (TermKind, TermKind), name: &HumanName<'_>) {
        if let Some(text) = &name.family {
            self.push(family, "", &family_key(&text.0));
        }
        for text in name.given.iter().flatten() {
            self.push(given, "", &family_key(&text.0));
        }
    }

    /// A person who is contained: identifiers and names, of the role and of who plays it.
    fn person(
        &mut self,
        described: &Described<'_>,
        reference: &str,
        kinds: (TermKind, TermKind, TermKind),
        deep: bool,
    ) {
        let Some(id) = reference.strip_prefix('#') else { return };
        let Some(one) = described.contained.iter().find(|one| one.id.0 == id) else { return };
        let (identifiers, family, given) = kinds;
        for identifier in &one.identifier {
            self.identifier(identifiers, identifier);
        }
        // An organisation's name is a text, and no name of a person.
        let names: Vec<HumanName<'_>> =
            one.name.and_then(|name| serde_json::from_str(name.get()).ok()).unwrap_or_default();
        for name in names.iter().chain(one.extension.iter().filter_map(|one| one.value_human_name.as_ref())) {
            self.name((family, given), name);
        }
        if let Some(practitioner) = one.practitioner.as_ref().filter(|_| deep) {
            if let Some(identifier) = &practitioner.identifier {
                self.identifier(identifiers, identifier);
            }
            self.person(described, practitioner.literal(), kinds, false);
        }
    }
}

fn described(text: &str) -> Result<Described<'_>, Refusal> {
    serde_json::from_str(text).map_err(|error| unreadable("not as FHIR has it", &error))
}

/// The terms of a DocumentReference.
///
/// # Errors
/// An element has another shape than FHIR gives it.
pub(super) fn of_document(text: &str, owner_id: &str) -> Result<Vec<NewTerm>, Refusal> {
    let described = described(text)?;
    let mut terms = Terms { owner_id: owner_id.to_owned(), terms: Vec::new() };
    for identifier in described.master_identifier.iter().chain(&described.identifier) {
        terms.identifier(TermKind::Identifier, identifier);
    }
    for author in &described.author {
        if let Some(identifier) = &author.identifier {
            terms.identifier(TermKind::Author, identifier);
        }
        let kinds = (TermKind::Author, TermKind::AuthorFamily, TermKind::AuthorGiven);
        terms.person(&described, author.literal(), kinds, true);
    }
    for coding in described.context.event.iter().flat_map(|event| &event.coding) {
        terms.push(TermKind::Event, coding.system(), coding.code());
    }
    for related in &described.context.related {
        if let Some(reference) = &related.reference {
            terms.push(TermKind::Related, "", &reference.0);
        }
        let Some(identifier) = &related.identifier else { continue };
        let text =
            |text: &Option<BorrowedText<'_>>| text.as_ref().map_or(String::new(), |text| text.0.to_string());
        let (system, value) = (text(&identifier.system), text(&identifier.value));
        // An OID stands with its prefix or without it.
        let value = value.strip_prefix("urn:oid:").unwrap_or(&value);
        terms.push(TermKind::Related, &system, value);
        // What kind of number it is: a study's is no accession number.
        for kind in identifier.r#type.coding.iter().map(Coding::code).filter(|kind| !kind.is_empty()) {
            terms.push(TermKind::Related, kind, value);
        }
    }
    Ok(terms.terms)
}

/// The terms of a SubmissionSet.
///
/// # Errors
/// As [`of_document`].
pub(super) fn of_list(text: &str, owner_id: &str) -> Result<Vec<NewTerm>, Refusal> {
    const AUTHOR_ORG: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-authorOrg";
    let described = described(text)?;
    let mut terms = Terms { owner_id: owner_id.to_owned(), terms: Vec::new() };
    for identifier in &described.identifier {
        terms.identifier(TermKind::Identifier, identifier);
    }
    for extension in &described.extension {
        for coding in extension.value_codeable_concept.iter().flat_map(|concept| &concept.coding) {
            terms.push(TermKind::DesignationType, coding.system(), coding.code());
        }
        if extension.url.0 == SOURCE_ID {
            extension.value_identifier.iter().for_each(|one| terms.identifier(TermKind::SourceId, one));
        }
    }
    if let Some(source) = &described.source {
        if let Some(identifier) = &source.identifier {
            terms.identifier(TermKind::Author, identifier);
        }
        let kinds = (TermKind::Author, TermKind::AuthorFamily, TermKind::AuthorGiven);
        terms.person(&described, source.reference.as_ref().map_or("", |text| &text.0), kinds, true);
        for extension in source.extension.iter().filter(|extension| extension.url.0 == AUTHOR_ORG) {
            let Some(organisation) = &extension.value_reference else { continue };
            if let Some(identifier) = &organisation.identifier {
                terms.identifier(TermKind::AuthorOrg, identifier);
            }
            let kinds = (TermKind::AuthorOrg, TermKind::AuthorOrg, TermKind::AuthorOrg);
            terms.person(&described, organisation.literal(), kinds, false);
        }
    }
    Ok(terms.terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(terms: &[NewTerm]) -> Vec<String> {
        terms.iter().map(|term| format!("{} {}", term.kind, term.token)).collect()
    }

    #[test]
    fn of_a_document() {
        let text = r##"{"resourceType":"DocumentReference",
            "contained":[
                {"resourceType":"Practitioner","id":"p","identifier":[{"system":"urn:ps","value":"8101"}],"name":[{"family":"Bérnard-Li","given":["Claire",null]}]},
                {"resourceType":"PractitionerRole","id":"r","practitioner":{"reference":"#p"},"identifier":[{"value":"role"}]},
                {"resourceType":"Organization","id":"o","name":"CABINET"},
                {"resourceType":"PractitionerRole","id":"loop","practitioner":{"reference":"#loop"}}],
            "masterIdentifier":{"system":"urn:ietf:rfc:3986","value":"urn:oid:1.2"},
            "identifier":[{"system":"urn:x","value":"1"},{"system":"urn:x","value":"1"}],
            "author":[{"reference":"#r"},{"reference":"#o"},{"reference":"#loop"},{"reference":"#none"},{"identifier":{"system":"urn:ps","value":"8102"}}],
            "context":{"event":[{"coding":[{"system":"urn:ccam","code":"A"},{"code":"B"}]}],
                "related":[{"identifier":{"type":{"coding":[{"code":"urn:study"}]},"system":"urn:s","value":"urn:oid:1.9"}},{"reference":"Encounter/1"},{}]}}"##;
        assert_eq!(
            told(&of_document(text, "d").unwrap()),
            [
                "identifier urn:ietf:rfc:3986|urn:oid:1.2",
                "identifier urn:x|1",
                "author |role",
                "author urn:ps|8101",
                "author.family |BERNARD LI",
                "author.given |CLAIRE",
                "author urn:ps|8102",
                "event urn:ccam|A",
                "event |B",
                "related urn:s|1.9",
                "related urn:study|1.9",
                "related |Encounter/1",
            ]
        );
        assert!(of_document(r#"{"author":{}}"#, "d").is_err());
        let many = format!(
            r#"{{"identifier":[{}]}}"#,
            (0..300).map(|n| format!(r#"{{"value":"{n}"}}"#)).collect::<Vec<_>>().join(",")
        );
        assert_eq!(of_document(&many, "d").unwrap().len(), MOST);
    }

    #[test]
    fn of_a_submission_set() {
        let text = r##"{"resourceType":"List",
            "contained":[{"resourceType":"PractitionerRole","id":"s","identifier":[{"value":"8101"}],"extension":[{"url":"x","valueHumanName":{"family":"Li"}}]},
                {"resourceType":"Organization","id":"o","identifier":[{"system":"urn:st","value":"1750"}],"name":"CABINET"}],
            "extension":[{"url":"https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-designationType","valueCodeableConcept":{"coding":[{"system":"urn:d","code":"04"}]}},
                {"url":"https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-sourceId","valueIdentifier":{"value":"urn:oid:1.5"}}],
            "identifier":[{"value":"urn:oid:1.6"}],
            "source":{"reference":"#s","extension":[{"url":"https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-authorOrg","valueReference":{"reference":"#o"}}]}}"##;
        assert_eq!(
            told(&of_list(text, "l").unwrap()),
            [
                "identifier |urn:oid:1.6",
                "designationType urn:d|04",
                "sourceId |urn:oid:1.5",
                "author |8101",
                "author.family |LI",
                "authorOrg urn:st|1750",
            ]
        );
    }
}
