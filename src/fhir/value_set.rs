//! `ValueSet`: read, expanded and asked whether it holds a code. Read-only: the tables come with the program.

use serde_json::{Value, json};

use super::codes::{Concept, ValueSet};
use super::json::{set, to_json};
use super::outcome::allowed;

/// What `$expand` is asked.
#[derive(Debug, Default)]
pub struct Expansion<'a> {
    /// A part of the label or of the code, in any case.
    pub filter: Option<&'a str>,
    /// Where to begin.
    pub offset: usize,
    /// How many, at most.
    pub count: Option<usize>,
    /// When it is asked, an instant.
    pub timestamp: &'a str,
    /// `urn:uuid:…`, of this expansion.
    pub identifier: &'a str,
}

/// What `$validate-code` is asked.
#[derive(Debug, Default)]
pub struct Asked<'a> {
    /// The code.
    pub code: &'a str,
    /// URI of its code system; without it the code alone counts.
    pub system: Option<&'a str>,
    /// A label that is held against ours.
    pub display: Option<&'a str>,
}

/// The value set, without its codes: `$expand` gives them.
pub fn resource(of: &ValueSet) -> Value {
    json!({
        "resourceType": "ValueSet",
        "id": of.id,
        "url": of.url(),
        "version": of.version,
        "name": of.id.replace('-', "_"),
        "title": of.title,
        "status": "active",
        "date": of.version,
        "publisher": "Agence du Numérique en Santé",
    })
}

/// The value set with its codes.
pub fn expanded(of: &ValueSet, asked: &Expansion<'_>) -> String {
    let wanted = asked.filter.map(str::to_lowercase);
    let matches = |concept: &&Concept| {
        wanted.as_ref().is_none_or(|wanted| {
            concept.display.to_lowercase().contains(wanted) || concept.code.to_lowercase().contains(wanted)
        })
    };
    let all: Vec<&Concept> = of.concepts.iter().filter(matches).collect();
    let page = all.iter().skip(asked.offset).take(asked.count.unwrap_or(usize::MAX));
    let contains: Vec<Value> =
        page.map(|one| json!({ "system": one.system, "code": one.code, "display": one.display })).collect();
    let mut expansion = json!({
        "identifier": asked.identifier,
        "timestamp": asked.timestamp,
        "total": all.len(),
        "offset": asked.offset,
    });
    // FHIR has no empty arrays.
    if !contains.is_empty() {
        set(&mut expansion, "contains", contains);
    }
    let mut resource = resource(of);
    set(&mut resource, "expansion", expansion);
    to_json(&resource)
}

/// Whether it holds a code: Parameters with `result`, `display` where it does, `message` where there is one to give.
pub fn validated(of: &ValueSet, asked: &Asked<'_>) -> String {
    let of_system = |one: &&Concept| asked.system.is_none_or(|system| system == one.system);
    let found = of.concepts.iter().filter(|one| one.code == asked.code).find(of_system);
    let other_display =
        |one: &&Concept| asked.display.is_some_and(|display| !display.trim().eq_ignore_ascii_case(one.display));
    let (result, message) = match found {
        None => {
            let system = asked.system.map_or(String::new(), |system| format!("{system}|"));
            (false, Some(format!("« {system}{} » n'est pas dans {}", asked.code, of.id)))
        }
        Some(one) if other_display(&one) => (false, Some(format!("le libellé est « {} »", one.display))),
        Some(_) => (true, None),
    };
    let mut parameters = vec![json!({ "name": "result", "valueBoolean": result })];
    parameters.extend(message.map(|message| json!({ "name": "message", "valueString": allowed(&message) })));
    parameters.extend(found.map(|one| json!({ "name": "display", "valueString": one.display })));
    to_json(&json!({ "resourceType": "Parameters", "parameter": parameters }))
}
