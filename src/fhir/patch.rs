//! A PATCH of a DocumentReference, in the forms that vendors send: JSON Patch (RFC 6902), and FHIRPath Patch (a Parameters
//! resource). Both become what the document shall look like; only status, labels and archive may differ (PDSm, flow 03).

#![expect(clippy::indexing_slicing, reason = "a Value read by a key or place that is not there is null")]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::codes::label;
use super::document_reference::IS_ARCHIVED;
use super::json::set;
use crate::error::{Reason, Refusal};
use crate::rights::{DocumentAction, DocumentStatus, Labels};

/// A change that was asked for.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// `Parameters.parameter` named `operation`.
    FhirPath(Vec<Operation>),
}

/// One operation of a FHIRPath Patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    kind: String,
    path: String,
    name: Option<String>,
    value: Option<Value>,
}

fn malformed(why: impl Into<String>) -> Refusal {
    Refusal::new(Reason::MalformedBody, why.into())
}

fn not_updatable(element: &str) -> Refusal {
    let why = format!("a PATCH changes status, securityLabel and isArchived, not « {element} »");
    Refusal::at(Reason::ElementNotUpdatable, element.to_owned(), why).by("PDSm, update: three elements")
}

impl Patch {
    /// Reads a JSON Patch. The archive's path as the draft guide prints it, which is no JSON Pointer, is understood.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`].
    pub fn of_json_patch(text: &str) -> Result<Self, Refusal> {
        let mut value: Value = serde_json::from_str(text)
            .map_err(|error| malformed(format!("not JSON: line {}", error.line())))?;
        for operation in value.as_array_mut().into_iter().flatten() {
            let path = operation["path"].as_str().unwrap_or_default().to_owned();
            let draft = path.starts_with("/extension[") && path.ends_with("/valueBoolean");
            if draft && path.contains("isArchived") {
                // An add of the whole extension replaces what stands; a text is what the guide's example has.
                let archived = match &operation["value"] {
                    Value::String(text) => text.trim() == "true",
                    other => other.as_bool().unwrap_or_default(),
                };
                *operation = json!({
                    "op": "add",
                    "path": "/extension/-",
                    "value": { "url": IS_ARCHIVED, "valueBoolean": archived },
                });
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
            operations.push(Operation {
                kind: text("type").ok_or_else(|| malformed("an operation has a type"))?,
                path: text("path").ok_or_else(|| malformed("an operation has a path"))?,
                name: text("name"),
                value,
            });
        }
        if operations.is_empty() {
            return Err(malformed("the patch has no operation"));
        }
        Ok(Patch::FhirPath(operations))
    }

    /// What the patch would change of a document: the kept text before, the actions that lead there.
    ///
    /// # Errors
    /// [`Reason::ElementNotUpdatable`] for anything but the three elements, [`Reason::UpdateNotAllowed`] for a value that the DMP does
    /// not know.
    pub fn actions(
        &self,
        text: &str,
        labels: Labels,
        archived: bool,
        status: DocumentStatus,
    ) -> Result<Vec<DocumentAction>, Refusal> {
        let before: Value = serde_json::from_str(text).map_err(|_| malformed("the kept text is not JSON"))?;
        let mut after = before.clone();
        if after.get("extension").is_none() {
            // Vendors add behind the last extension where there is none yet.
            set(&mut after, "extension", json!([]));
        }
        match self {
            Patch::Json(patch) => json_patch::patch(&mut after, patch).map_err(|error| {
                Refusal::new(Reason::UpdateNotAllowed, format!("the patch does not apply: {error}"))
            })?,
            Patch::FhirPath(operations) => {
                for operation in operations {
                    operation.apply(&mut after)?;
                }
            }
        }
        only_the_three(&before, &after)?;
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
        let wanted = labels_of(&after["securityLabel"])?;
        // What is over (R1111-53) still stands in the kept text: asking for it again is asking for it anew.
        let told = labels_of(&before["securityLabel"])?;
        let untouched = wanted == told;
        if !untouched {
            let changes = [
                (wanted.masked && !told.masked, DocumentAction::Mask),
                (!wanted.masked && told.masked, DocumentAction::Unmask),
                (!wanted.invisible_to_patient && told.invisible_to_patient, DocumentAction::ShowToPatient),
                (
                    !wanted.invisible_to_representatives && told.invisible_to_representatives,
                    DocumentAction::ShowToRepresentatives,
                ),
                (
                    (wanted.invisible_to_patient && !labels.invisible_to_patient)
                        || (wanted.invisible_to_representatives && !labels.invisible_to_representatives),
                    DocumentAction::HideAgain,
                ),
            ];
            actions.extend(changes.into_iter().filter(|(wanted, _)| *wanted).map(|(_, action)| action));
        }
        match (archived, is_archived(&after["extension"])) {
            (false, true) => actions.push(DocumentAction::Archive),
            (true, false) => actions.push(DocumentAction::Unarchive),
            _ => {}
        }
        Ok(actions)
    }
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
    fn apply(&self, document: &mut Value) -> Result<(), Refusal> {
        let path = self.path.strip_prefix("DocumentReference").unwrap_or(&self.path);
        let path = path.strip_prefix('.').unwrap_or(path);
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
            (kind, path) if path.starts_with("securityLabel") => {
                let place = label_at(document, path).ok_or_else(|| not_updatable(&self.path))?;
                let labels = document.get_mut("securityLabel").and_then(Value::as_array_mut);
                let labels = labels.ok_or_else(|| not_updatable(&self.path))?;
                match (kind, labels.get_mut(place)) {
                    ("delete", Some(_)) => drop(labels.remove(place)),
                    ("replace", Some(label)) => *label = value()?,
                    _ => return Err(not_updatable(&self.path)),
                }
            }
            (kind, path)
                if path.starts_with("extension")
                    && path.contains("isArchived") | path.contains(IS_ARCHIVED) =>
            {
                let archived = match kind {
                    "delete" => false,
                    "add" | "replace" | "insert" => self
                        .value
                        .as_ref()
                        .and_then(|value| value.as_bool().or_else(|| value["valueBoolean"].as_bool()))
                        .ok_or_else(|| malformed("isArchived is a boolean"))?,
                    _ => return Err(not_updatable(&self.path)),
                };
                push(document, "extension", json!({ "url": IS_ARCHIVED, "valueBoolean": archived }));
            }
            _ => return Err(not_updatable(&self.path)),
        }
        Ok(())
    }
}

/// `securityLabel[1]`, `securityLabel.where(coding.code='MASQUE_PS')`: which one.
fn label_at(document: &Value, path: &str) -> Option<usize> {
    let rest = path.strip_prefix("securityLabel")?;
    let labels = document["securityLabel"].as_array()?;
    let place = match rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(index) => index.parse().ok()?,
        None => {
            let code = rest.split(['\'', '"']).nth(1)?;
            labels.iter().position(|label| label["coding"][0]["code"] == code)?
        }
    };
    (place < labels.len()).then_some(place)
}

fn push(document: &mut Value, element: &str, value: Value) {
    match document.get_mut(element).and_then(Value::as_array_mut) {
        Some(held) => held.push(value),
        None => set(document, element, json!([value])),
    }
}

/// Whether anything else than the three elements differs.
fn only_the_three(before: &Value, after: &Value) -> Result<(), Refusal> {
    let empty = serde_json::Map::new();
    let (before, after) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let elements: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for element in elements {
        let same = match element.as_str() {
            "status" | "securityLabel" => true,
            "extension" => others(before.get(element)) == others(after.get(element)),
            _ => before.get(element) == after.get(element),
        };
        if !same {
            return Err(not_updatable(&format!("DocumentReference.{element}")));
        }
    }
    Ok(())
}

/// The extensions that are not the archive's.
fn others(extensions: Option<&Value>) -> Vec<&Value> {
    let all = extensions.and_then(Value::as_array).into_iter().flatten();
    all.filter(|extension| !is_the_archive(extension)).collect()
}

/// Vendors write the extension's URL, or that of the search parameter, which the guide's example has.
fn is_the_archive(extension: &Value) -> bool {
    extension["url"].as_str().is_some_and(|url| url == IS_ARCHIVED || url.ends_with("isArchived"))
}

/// The last one counts: an add comes behind what stood.
fn is_archived(extensions: &Value) -> bool {
    let mut all = extensions.as_array().into_iter().flatten();
    all.rfind(|extension| is_the_archive(extension)).is_some_and(|one| one["valueBoolean"] == true)
}

fn labels_of(concepts: &Value) -> Result<Labels, Refusal> {
    let mut labels = Labels::default();
    let unknown = |what: &str| {
        let why = format!(
            "« {what} » is not a label of the DMP (N, MASQUE_PS, INVISIBLE_PATIENT, INVISIBLE_REPRESENTANTS_LEGAUX)"
        );
        Refusal::at(Reason::UpdateNotAllowed, "DocumentReference.securityLabel", why).by("JDV_J58")
    };
    for concept in concepts.as_array().into_iter().flatten() {
        // A bare text is what the guide's own example has: no CodeableConcept.
        let codings = concept["coding"].as_array().ok_or_else(|| unknown(concept.as_str().unwrap_or("?")))?;
        for coding in codings {
            match coding["code"].as_str().map(str::trim).unwrap_or_default() {
                label::NORMAL => {}
                label::MASQUE_PS => labels.masked = true,
                label::INVISIBLE_PATIENT => labels.invisible_to_patient = true,
                label::INVISIBLE_REPRESENTANTS_LEGAUX => labels.invisible_to_representatives = true,
                other => return Err(unknown(other)),
            }
        }
    }
    if concepts.is_string() {
        return Err(unknown(concepts.as_str().unwrap_or_default()));
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"resourceType":"DocumentReference","id":"d","status":"current","title":"t","securityLabel":[{"coding":[{"code":"N"}]},{"coding":[{"code":"INVISIBLE_PATIENT"}]}]}"#;

    fn json(patch: Value) -> Result<Vec<DocumentAction>, Refusal> {
        let labels = Labels { invisible_to_patient: true, ..Labels::default() };
        Patch::of_json_patch(&patch.to_string())?.actions(TEXT, labels, false, DocumentStatus::Current)
    }

    fn path(
        kind: &str,
        path: &str,
        name: Option<&str>,
        value: Option<Value>,
    ) -> Result<Vec<DocumentAction>, Refusal> {
        let labels = Labels { invisible_to_patient: true, ..Labels::default() };
        let mut part =
            vec![json!({ "name": "type", "valueCode": kind }), json!({ "name": "path", "valueString": path })];
        part.extend(name.map(|name| json!({ "name": "name", "valueString": name })));
        part.extend(value.map(|value| {
            let key = if value.is_boolean() {
                "valueBoolean"
            } else if value.is_string() {
                "valueCode"
            } else {
                "valueCodeableConcept"
            };
            let mut object = json!({ "name": "value" });
            object[key] = value;
            object
        }));
        let text =
            json!({ "resourceType": "Parameters", "parameter": [{ "name": "operation", "part": part }] });
        Patch::of_parameters(&text.to_string())?.actions(TEXT, labels, false, DocumentStatus::Current)
    }

    fn concept(code: &str) -> Value {
        json!({ "coding": [{ "code": code }] })
    }

    #[test]
    fn a_json_patch_becomes_actions() {
        use DocumentAction::{Archive, Delete, HideAgain, Mask, ShowToPatient};
        let one = |op: &str, path: &str, value: Value| {
            json(json!([{ "op": op, "path": path, "value": value }])).unwrap()
        };
        assert_eq!(one("replace", "/status", json!("entered-in-error")), [Delete]);
        assert_eq!(one("replace", "/securityLabel", json!([concept("N")])), [ShowToPatient]);
        assert_eq!(one("add", "/securityLabel/-", concept("MASQUE_PS")), [Mask]);
        assert_eq!(one("replace", "/securityLabel", json!([concept("MASQUE_PS")])), [Mask, ShowToPatient]);
        assert_eq!(one("add", "/securityLabel/-", concept("INVISIBLE_REPRESENTANTS_LEGAUX")), [HideAgain]);
        assert_eq!(one("add", "/extension", json!([{ "url": IS_ARCHIVED, "valueBoolean": true }])), [Archive]);
        assert_eq!(one("replace", "/status", json!("current ")), [], "as the guide prints it");
        let draft = r#"/extension[url:"https://x/SearchParameter/PDSm-isArchived"]/valueBoolean"#;
        let with_extension = TEXT.replace("\"title\"", "\"extension\":[],\"title\"");
        let patch =
            Patch::of_json_patch(&json!([{ "op": "replace", "path": draft, "value": "true" }]).to_string())
                .unwrap();
        let labels = Labels { invisible_to_patient: true, ..Labels::default() };
        assert_eq!(patch.actions(&with_extension, labels, false, DocumentStatus::Current).unwrap(), [Archive]);
    }

    #[test]
    fn a_fhirpath_patch_becomes_actions() {
        use DocumentAction::{Archive, Delete, Mask, ShowToPatient};
        assert_eq!(
            path("replace", "DocumentReference.status", None, Some(json!("entered-in-error"))).unwrap(),
            [Delete]
        );
        assert_eq!(
            path("add", "DocumentReference", Some("securityLabel"), Some(concept("MASQUE_PS"))).unwrap(),
            [Mask]
        );
        assert_eq!(path("delete", "DocumentReference.securityLabel[1]", None, None).unwrap(), [ShowToPatient]);
        let code = "DocumentReference.securityLabel.where(coding.code='INVISIBLE_PATIENT')";
        assert_eq!(path("delete", code, None, None).unwrap(), [ShowToPatient]);
        let archive = format!("DocumentReference.extension.where(url='{IS_ARCHIVED}').value");
        assert_eq!(path("replace", &archive, None, Some(json!(true))).unwrap(), [Archive]);
    }

    #[test]
    fn what_may_not_change_is_refused() {
        let reason = |refused: Result<Vec<DocumentAction>, Refusal>| refused.unwrap_err().reason;
        assert_eq!(
            reason(json(json!([{ "op": "replace", "path": "/title", "value": "x" }]))),
            Reason::ElementNotUpdatable
        );
        assert_eq!(reason(json(json!([{ "op": "remove", "path": "/title" }]))), Reason::ElementNotUpdatable);
        assert_eq!(
            reason(json(json!([{ "op": "add", "path": "/extension", "value": [{ "url": "x" }] }]))),
            Reason::ElementNotUpdatable
        );
        assert_eq!(
            reason(path("replace", "DocumentReference.title", None, Some(json!("x")))),
            Reason::ElementNotUpdatable
        );
        assert_eq!(
            reason(json(json!([{ "op": "replace", "path": "/status", "value": "superseded" }]))),
            Reason::UpdateNotAllowed
        );
        assert_eq!(
            reason(json(json!([{ "op": "replace", "path": "/securityLabel", "value": "restricted" }]))),
            Reason::UpdateNotAllowed
        );
        assert_eq!(
            reason(json(
                json!([{ "op": "replace", "path": "/securityLabel", "value": [concept("MASQUE_PT")] }])
            )),
            Reason::UpdateNotAllowed
        );
        assert_eq!(reason(json(json!({}))), Reason::MalformedBody);
        assert!(Patch::of_parameters("{\"resourceType\":\"Parameters\"}").is_err());
    }
}
