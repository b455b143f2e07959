//! FHIRPath Patch: a Parameters resource whose operations name the three elements by path.

#![expect(clippy::indexing_slicing, reason = "a Value read by a key or place that is not there is null")]

use serde_json::{Value, json};

use super::{MOST_OPERATIONS, is_archive_url, malformed, not_updatable};
use crate::error::Refusal;
use crate::fhir::document_reference::IS_ARCHIVED;
use crate::fhir::json::set;

/// One operation of a FHIRPath Patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub(super) kind: String,
    pub(super) path: String,
    pub(super) name: Option<String>,
    pub(super) value: Option<Value>,
}

/// An extension that stands in parts: `url` and its value.
fn of_parts(part: &Value) -> Option<Value> {
    let mut object = serde_json::Map::new();
    for part in part["part"].as_array()? {
        let name = part["name"].as_str()?;
        let (key, value) = part.as_object()?.iter().find(|(key, _)| key.starts_with("value"))?;
        let key = if name == "value" || name == "value[x]" { key.clone() } else { name.to_owned() };
        object.insert(key, value.clone());
    }
    Some(Value::Object(object))
}

impl Operation {
    /// Reads the operations of a Parameters resource.
    ///
    /// # Errors
    /// [`MalformedBody`](crate::error::Reason::MalformedBody).
    pub(super) fn all_of(text: &str) -> Result<Vec<Self>, Refusal> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| malformed(format!("not JSON: line {}", error.line())))?;
        if value["resourceType"] != "Parameters" {
            return Err(malformed("a FHIRPath Patch is a Parameters resource"));
        }
        let mut operations = Vec::new();
        for parameter in value["parameter"].as_array().into_iter().flatten() {
            if parameter["name"] != "operation" {
                return Err(malformed("a FHIRPath Patch has parameters named operation"));
            }
            let part = |name: &str| {
                let parts = parameter["part"].as_array()?;
                parts.iter().find(|part| part["name"] == name)
            };
            let text = |name: &str| {
                let part = part(name)?.as_object()?;
                part.iter().find(|(key, _)| key.starts_with("value"))?.1.as_str().map(str::to_owned)
            };
            let value = part("value").and_then(|part| {
                let found = part.as_object()?.iter().find(|(key, _)| key.starts_with("value"));
                // A complex value may stand in parts of its own: an extension's url and value.
                found.map(|(_, value)| value.clone()).or_else(|| of_parts(part))
            });
            operations.push(Self {
                kind: text("type").ok_or_else(|| malformed("an operation has a type"))?,
                path: text("path").ok_or_else(|| malformed("an operation has a path"))?,
                name: text("name"),
                value,
            });
        }
        match operations.len() {
            0 => Err(malformed("the patch has no operation")),
            1..=MOST_OPERATIONS => Ok(operations),
            _ => Err(malformed(format!("a PATCH has at most {MOST_OPERATIONS} operations"))),
        }
    }

    /// The path below the resource; empty: the resource itself.
    pub(super) fn path(&self) -> &str {
        let path = self.path.strip_prefix("DocumentReference").unwrap_or(&self.path);
        path.strip_prefix('.').unwrap_or(path)
    }

    /// Applies it to the three elements.
    ///
    /// # Errors
    /// What [`Patch::actions`](super::Patch::actions) says.
    pub(super) fn apply(&self, document: &mut Value) -> Result<(), Refusal> {
        let path = self.path();
        let value = || self.value.clone().ok_or_else(|| malformed("the operation has no value"));
        let name = self.name.as_deref().unwrap_or_default();
        match (self.kind.as_str(), path) {
            ("replace", "status") => set(document, "status", value()?),
            ("add", "") if name == "status" => set(document, "status", value()?),
            ("replace", "securityLabel") => {
                let value = value()?;
                set(document, "securityLabel", if value.is_array() { value } else { json!([value]) });
            }
            ("delete", "securityLabel") => set(document, "securityLabel", json!([])),
            ("add" | "insert", "securityLabel") => push(document, "securityLabel", value()?),
            ("add", "") if name == "securityLabel" => push(document, "securityLabel", value()?),
            ("add", "") if name == "extension" => push(document, "extension", value()?),
            ("add" | "insert", "extension") => push(document, "extension", value()?),
            (kind @ ("delete" | "replace"), path) if path.starts_with("securityLabel") => {
                let places = labels_at(document, path).ok_or_else(|| not_updatable(&self.path))?;
                let labels = document.get_mut("securityLabel").and_then(Value::as_array_mut);
                let labels = labels.ok_or_else(|| not_updatable(&self.path))?;
                match (kind, places.as_slice()) {
                    ("delete", places) => places.iter().rev().for_each(|place| drop(labels.remove(*place))),
                    (_, [place]) => labels[*place] = value()?,
                    // One value in several places would grow with each operation.
                    _ => return Err(not_updatable(&self.path)),
                }
            }
            (kind @ ("delete" | "add" | "replace" | "insert"), path) if names_the_archive(path) => {
                let archived = match kind {
                    "delete" => false,
                    _ => self
                        .value
                        .as_ref()
                        .and_then(|value| value.as_bool().or_else(|| value["valueBoolean"].as_bool()))
                        .ok_or_else(|| malformed("isArchived is a boolean"))?,
                };
                push(document, "extension", json!({ "url": IS_ARCHIVED, "valueBoolean": archived }));
            }
            _ => return Err(not_updatable(&self.path)),
        }
        Ok(())
    }
}

/// The text between quotes, single or double, that is all there is.
fn quoted_text(text: &str) -> Option<&str> {
    let text = text.trim();
    ['\'', '"'].into_iter().find_map(|quote| {
        text.strip_prefix(quote)?.strip_suffix(quote).filter(|inner| !inner.contains(['\'', '"']))
    })
}

/// `securityLabel[1]`, `securityLabel.where(coding.code='MASQUE_PS')`: which ones, ascending. No other form is one of ours; a concept that
/// carries several labels is none that can be named so.
fn labels_at(document: &Value, path: &str) -> Option<Vec<usize>> {
    let rest = path.strip_prefix("securityLabel")?;
    let labels = document["securityLabel"].as_array()?;
    if let Some(index) = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let place: usize = index.parse().ok()?;
        return (place < labels.len()).then(|| vec![place]);
    }
    let condition = rest.strip_prefix(".where(")?.strip_suffix(')')?;
    let code = quoted_text(condition.trim().strip_prefix("coding.code")?.trim_start().strip_prefix('=')?)?;
    let mut places = Vec::new();
    for (place, label) in labels.iter().enumerate() {
        let codings = label["coding"].as_array().map_or(&[][..], Vec::as_slice);
        match codings {
            [one] if one["code"] == code => places.push(place),
            several if several.iter().any(|coding| coding["code"] == code) => return None,
            _ => {}
        }
    }
    (!places.is_empty()).then_some(places)
}

/// `extension.where(url='…')` or `extension('…')`, with or without its value: the archive's.
fn names_the_archive(path: &str) -> bool {
    let url = || {
        let rest = path.strip_prefix("extension")?;
        let (selector, value) = rest.split_once(')')?;
        if !["", ".value", ".valueBoolean", ".value as Boolean"].contains(&value) {
            return None;
        }
        match selector.strip_prefix(".where(") {
            Some(condition) => {
                quoted_text(condition.trim().strip_prefix("url")?.trim_start().strip_prefix('=')?)
            }
            None => quoted_text(selector.strip_prefix('(')?),
        }
    };
    url().is_some_and(is_archive_url)
}

fn push(document: &mut Value, element: &str, value: Value) {
    match document.get_mut(element).and_then(Value::as_array_mut) {
        Some(held) => held.push(value),
        None => set(document, element, json!([value])),
    }
}
