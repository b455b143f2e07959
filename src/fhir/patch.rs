//! A PATCH of a DocumentReference, in the forms that vendors send: JSON Patch (RFC 6902), and FHIRPath Patch (a Parameters
//! resource). Both become what status, labels and archive shall be; nothing else may be named (PDSm, flow 03).
//!
//! A patch is applied to a small document of those three elements alone: what else the kept text holds is never read, copied or
//! told.

#![expect(clippy::indexing_slicing, reason = "a Value read by a key or place that is not there is null")]

mod fhir_path;
mod xml_patch;

use serde_json::{Value, json};

pub use self::fhir_path::Operation;
use super::codes::label;
use super::definitions;
use super::document_reference::IS_ARCHIVED;
use crate::error::{Reason, Refusal};
use crate::rights::{DocumentAction, DocumentStatus, Labels};

/// Operations of one patch: three elements want no more.
const MOST_OPERATIONS: usize = 50;

/// A change that was asked for.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902: add, remove, replace and test of the three elements.
    Json(json_patch::Patch),
    /// `Parameters.parameter` named `operation`.
    FhirPath(Vec<Operation>),
}

/// The elements that a PATCH may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// `status`.
    pub status: bool,
    /// `securityLabel`.
    pub labels: bool,
    /// The extension for archived documents.
    pub archive: bool,
}

fn malformed(why: impl Into<String>) -> Refusal {
    Refusal::new(Reason::MalformedBody, why.into())
}

/// `path`: as the patch has it, in whatever language. It is told by the element that it leads into, and not in its own words.
fn not_updatable(path: &str) -> Refusal {
    let why = "a PATCH changes status, securityLabel and isArchived, and nothing else";
    let known = definitions::resource("DocumentReference");
    let mut words = path.split(|c: char| !c.is_ascii_alphanumeric());
    let element = words.find(|word| known.is_some_and(|known| known.element(word).is_some()));
    let at = element.map_or("DocumentReference".to_owned(), |element| format!("DocumentReference.{element}"));
    Refusal::at(Reason::ElementNotUpdatable, at, why).by("PDSm, update: three elements")
}

/// The element of the three that a JSON Pointer leads into.
fn element_of(pointer: &str) -> Option<&'static str> {
    let element = pointer.strip_prefix('/')?.split('/').next()?;
    ["status", "securityLabel", "extension"].into_iter().find(|known| *known == element)
}

impl Patch {
    /// Reads a JSON Patch. The archive's path as the draft guide prints it, which is no JSON Pointer, is understood.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`]; [`Reason::ElementNotUpdatable`] for an operation on anything but the three elements.
    pub fn of_json_patch(text: &str) -> Result<Self, Refusal> {
        let mut value: Value = serde_json::from_str(text)
            .map_err(|error| malformed(format!("not JSON: line {}", error.line())))?;
        let operations = value.as_array_mut().ok_or_else(|| malformed("not a JSON Patch (RFC 6902)"))?;
        if operations.len() > MOST_OPERATIONS {
            return Err(malformed(format!("a PATCH has at most {MOST_OPERATIONS} operations")));
        }
        for operation in operations {
            let path = operation["path"].as_str().unwrap_or_default().to_owned();
            let draft = path.starts_with("/extension[") && path.ends_with("/valueBoolean");
            if draft && path.contains("isArchived") {
                // An add of the whole extension replaces what stands; a text is what the guide's example has.
                let said = match (operation["op"].as_str().unwrap_or_default(), &operation["value"]) {
                    ("remove", _) => Some(false),
                    ("add" | "replace", Value::String(text)) => text.trim().parse().ok(),
                    ("add" | "replace", Value::Bool(said)) => Some(*said),
                    _ => None,
                };
                let archived =
                    said.ok_or_else(|| malformed("isArchived is set to true or false, or removed"))?;
                *operation = json!({
                    "op": "add",
                    "path": "/extension/-",
                    "value": { "url": IS_ARCHIVED, "valueBoolean": archived },
                });
                continue;
            }
            let known = ["add", "remove", "replace", "test"].iter().any(|op| operation["op"] == *op);
            if !known || element_of(&path).is_none() {
                return Err(not_updatable(&path));
            }
        }
        let patch = serde_json::from_value(value);
        patch.map(Patch::Json).map_err(|_| malformed("not a JSON Patch (RFC 6902)"))
    }

    /// Reads a FHIRPath Patch.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`].
    pub fn of_parameters(text: &str) -> Result<Self, Refusal> {
        Operation::all_of(text).map(Patch::FhirPath)
    }

    /// Reads an XML Patch: what it says, a FHIRPath Patch can say.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`]; [`Reason::ElementNotUpdatable`] for a selector of anything but the three elements.
    pub fn of_xml_patch(text: &str) -> Result<Self, Refusal> {
        xml_patch::operations(text, "DocumentReference").map(Patch::FhirPath)
    }

    /// The elements that it names, whatever the document.
    pub fn touches(&self) -> Touched {
        let mut touched = Touched::default();
        let mut note = |element: &str| match element {
            "status" => touched.status = true,
            "securityLabel" => touched.labels = true,
            _ => touched.archive = true,
        };
        match self {
            Patch::Json(json_patch::Patch(operations)) => {
                for operation in operations {
                    let pointer = operation.path().to_string();
                    element_of(&pointer).into_iter().for_each(&mut note);
                }
            }
            Patch::FhirPath(operations) => {
                for operation in operations {
                    let element = match operation.path() {
                        "" => operation.name.as_deref().unwrap_or_default(),
                        path => path,
                    };
                    let element = ["status", "securityLabel"].into_iter().find(|one| element.starts_with(one));
                    note(element.unwrap_or("extension"));
                }
            }
        }
        touched
    }

    /// What the patch would change of a document, `kept` as the caller is shown it: the actions that lead there.
    ///
    /// # Errors
    /// [`Reason::ElementNotUpdatable`] for anything but the three elements, [`Reason::UpdateNotAllowed`] for a value that the DMP does
    /// not know.
    pub fn actions(
        &self,
        kept: &Value,
        labels: Labels,
        status: DocumentStatus,
    ) -> Result<Vec<DocumentAction>, Refusal> {
        let list = |element: &str| kept.get(element).filter(|held| held.is_array()).cloned();
        // Vendors add behind the last extension where there is none yet.
        let before = json!({
            "status": kept["status"],
            "securityLabel": list("securityLabel").unwrap_or_else(|| json!([])),
            "extension": list("extension").unwrap_or_else(|| json!([])),
        });
        let mut after = before.clone();
        match self {
            // Not the one that undoes what it did: `after` is ours to throw away.
            Patch::Json(patch) => json_patch::patch_unsafe(&mut after, patch).map_err(|_| {
                Refusal::new(Reason::UpdateNotAllowed, "the patch does not apply to the document as it stands")
                    .by("RFC 6902")
            })?,
            Patch::FhirPath(operations) => {
                for operation in operations {
                    operation.apply(&mut after)?;
                }
            }
        }
        if others(&before["extension"]) != others(&after["extension"]) {
            return Err(not_updatable("DocumentReference.extension"));
        }
        let wanted_status = after["status"].as_str().map(str::trim).unwrap_or_default();
        let mut actions = Vec::new();
        match DocumentStatus::of_code(wanted_status) {
            Some(wanted) if wanted == status => {}
            Some(DocumentStatus::EnteredInError) => actions.push(DocumentAction::Delete),
            _ => {
                return Err(Refusal::at(
                    Reason::UpdateNotAllowed,
                    "DocumentReference.status",
                    "a status becomes entered-in-error by PATCH; superseded comes by replacement",
                )
                .by("TD3.3c"));
            }
        }
        if before["securityLabel"] != after["securityLabel"] {
            let wanted = labels_of(&after["securityLabel"])?;
            // What covers a document from its successor is no label of its own.
            let told = labels_of(&before["securityLabel"])?;
            let changes = [
                (wanted.masked && !told.masked, DocumentAction::Mask),
                (!wanted.masked && told.masked, DocumentAction::Unmask),
                (!wanted.invisible_to_patient && labels.invisible_to_patient, DocumentAction::ShowToPatient),
                (
                    !wanted.invisible_to_representatives && labels.invisible_to_representatives,
                    DocumentAction::ShowToRepresentatives,
                ),
                (wanted.invisible_to_patient && !labels.invisible_to_patient, DocumentAction::HideFromPatient),
                (
                    wanted.invisible_to_representatives && !labels.invisible_to_representatives,
                    DocumentAction::HideFromRepresentatives,
                ),
            ];
            actions.extend(changes.into_iter().filter(|(wanted, _)| *wanted).map(|(_, action)| action));
        }
        match (is_archived(&before["extension"])?, is_archived(&after["extension"])?) {
            (false, true) => actions.push(DocumentAction::Archive),
            (true, false) => actions.push(DocumentAction::Unarchive),
            _ => {}
        }
        Ok(actions)
    }
}

/// Whether an XML Patch of a resource sets its status to a code, and does nothing else.
///
/// # Errors
/// [`Reason::MalformedBody`]; [`Reason::ElementNotUpdatable`] for a selector of anything else.
pub fn xml_sets_status(text: &str, resource: &str, code: &str) -> Result<bool, Refusal> {
    let operations = xml_patch::operations(text, resource)?;
    Ok(match operations.as_slice() {
        [only] => only.kind == "replace" && only.path == "status" && only.value == Some(json!(code)),
        _ => false,
    })
}

/// The extensions that are not the archive's.
fn others(extensions: &Value) -> Vec<&Value> {
    let all = extensions.as_array().into_iter().flatten();
    all.filter(|extension| !is_the_archive(extension)).collect()
}

/// Vendors write the extension's URL, or that of the search parameter, which the guide's example has.
fn is_archive_url(url: &str) -> bool {
    url == IS_ARCHIVED || url.ends_with("isArchived")
}

fn is_the_archive(extension: &Value) -> bool {
    extension["url"].as_str().is_some_and(is_archive_url)
}

/// The last one counts: an add comes behind what stood.
fn is_archived(extensions: &Value) -> Result<bool, Refusal> {
    let mut all = extensions.as_array().into_iter().flatten();
    let Some(last) = all.rfind(|extension| is_the_archive(extension)) else { return Ok(false) };
    last["valueBoolean"].as_bool().ok_or_else(|| {
        Refusal::at(Reason::UpdateNotAllowed, "DocumentReference.extension", "isArchived is a boolean")
            .by("PDSm: pdsm-ext-is-archived")
    })
}

/// The labels of a list of concepts, each with at least one coding. Whatever cannot be read as that is no set of labels, and not an
/// empty one: what was meant to mask would unmask.
fn labels_of(concepts: &Value) -> Result<Labels, Refusal> {
    let unknown = || {
        let why =
            "a label is none of the DMP (N, MASQUE_PS, INVISIBLE_PATIENT, INVISIBLE_REPRESENTANTS_LEGAUX)";
        Refusal::at(Reason::UpdateNotAllowed, "DocumentReference.securityLabel", why).by("JDV_J58")
    };
    let mut labels = Labels::default();
    let concepts = match concepts {
        Value::Null => return Ok(labels),
        Value::Array(concepts) => concepts,
        _ => return Err(unknown()),
    };
    for concept in concepts {
        // A bare text is what the guide's own example has: no CodeableConcept.
        let codings = concept["coding"].as_array().filter(|codings| !codings.is_empty());
        for coding in codings.ok_or_else(unknown)? {
            match coding["code"].as_str().map(str::trim).unwrap_or_default() {
                label::NORMAL => {}
                label::MASQUE_PS => labels.masked = true,
                label::INVISIBLE_PATIENT => labels.invisible_to_patient = true,
                label::INVISIBLE_REPRESENTANTS_LEGAUX => labels.invisible_to_representatives = true,
                _ => return Err(unknown()),
            }
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests;
