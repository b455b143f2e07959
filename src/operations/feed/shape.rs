//! What FHIR and PDSm ask of the shape of a DocumentReference and a List, beyond names and values: references inside that lead
//! somewhere, elements that the profiles close or fix.

use std::collections::HashSet;

use serde_json::Value;

use super::draft::DraftDocument;
use super::rules::Findings;
use crate::error::Refusal;
use crate::fhir::codes::system;
use crate::fhir::json::unreadable;
use crate::fhir::submission_set::{DESIGNATION_TYPE, SOURCE_ID};

/// Elements of a List that PDSm closes.
const CLOSED_IN_A_LIST: [&str; 3] = ["encounter", "orderedBy", "emptyReason"];

/// Checks a DocumentReference, and tells whether something is contained in it that nothing refers to (dom-3).
///
/// # Errors
/// Its text cannot be read, which the door would have refused.
pub(super) fn document(document: &DraftDocument<'_>, findings: &mut Findings) -> Result<bool, Refusal> {
    let resource = read(document.text)?;
    let orphans = inside(&resource, &|element| document.at(element), findings);
    if resource.get("docStatus").is_some() {
        findings.strict(document.at("docStatus"), "PDSm has no docStatus");
    }
    if document.resource.category.len() > 1 {
        findings.strict(document.at("category"), "a document has one class");
    }
    Ok(orphans)
}

/// Checks a List, likewise.
///
/// # Errors
/// As [`document`].
pub(super) fn list(text: &str, findings: &mut Findings) -> Result<bool, Refusal> {
    let resource = read(text)?;
    let at = |element: &str| format!("List.{element}");
    let orphans = inside(&resource, &at, findings);
    for (element, fixed) in [("status", "current"), ("mode", "working")] {
        if resource.get(element).and_then(Value::as_str) != Some(fixed) {
            findings.strict(at(element), format!("it is « {fixed} »"));
        }
    }
    let list_type = resource.pointer("/code/coding/0/system").and_then(Value::as_str).unwrap_or_default();
    // It stands as http too in what is published.
    if list_type.replacen("http:", "https:", 1) != system::LIST_TYPE {
        findings.strict(at("code"), format!("its system is {}", system::LIST_TYPE));
    }
    for element in CLOSED_IN_A_LIST.into_iter().filter(|element| resource.get(*element).is_some()) {
        findings.strict(at(element), "PDSm has no such element");
    }
    let urls: Vec<&str> = resource
        .get("extension")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|extension| extension.get("url")?.as_str())
        .collect();
    let count = |wanted: &str| urls.iter().filter(|url| **url == wanted).count();
    if count(SOURCE_ID) != 1 {
        findings.strict(at("extension('ihe-sourceId')"), "the system that sent it is named once");
    }
    if count(DESIGNATION_TYPE) > 1 {
        findings.strict(at("extension('ihe-designationType')"), "the content type stands once");
    }
    Ok(orphans)
}

fn read(text: &str) -> Result<Value, Refusal> {
    serde_json::from_str(text).map_err(|error| unreadable("a resource", &error))
}

/// A reference to what is contained finds it (ref-1). Whether something is contained that nothing refers to.
fn inside(resource: &Value, at: &dyn Fn(&str) -> String, findings: &mut Findings) -> bool {
    let contained: HashSet<&str> = resource
        .get("contained")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("id")?.as_str())
        .collect();
    let mut referred = HashSet::new();
    for (element, value) in resource.as_object().into_iter().flatten() {
        let mut here = Vec::new();
        local_references(value, &mut here);
        if let Some(nothing) = here.iter().find(|id| !id.is_empty() && !contained.contains(*id)) {
            let shown: String = nothing.chars().take(64).collect();
            findings.always(at(element), format!("« #{shown} » names nothing that is contained"));
        }
        referred.extend(here);
    }
    contained.iter().any(|id| !referred.contains(id))
}

fn local_references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member.as_str().filter(|_| key == "reference").and_then(|text| text.strip_prefix('#')) {
                    Some(id) => found.push(id),
                    None => local_references(member, found),
                }
            }
        }
        Value::Array(members) => members.iter().for_each(|member| local_references(member, found)),
        _ => {}
    }
}
