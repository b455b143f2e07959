//! The text of a DocumentReference as it is kept, changed and given out: what was received stays byte for byte, what the server says is set.

use std::borrow::Cow;

use serde_json::json;
use serde_json::value::RawValue;

use super::DocumentReference;
use crate::error::Refusal;
use crate::fhir::codes::{label, system};
use crate::fhir::elements::{CodeableConcept, to_instant};
use crate::fhir::json::{RawObject, malformed, quoted, to_json, unreadable};
use crate::rights::{DocumentStatus, Labels};

/// Where the bytes of a document are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Binary/id`.
    Binary,
    /// `Bundle/id`: a FHIR document.
    Bundle,
}

impl Place {
    /// The resource's name.
    pub const fn name(self) -> &'static str {
        match self {
            Place::Binary => "Binary",
            Place::Bundle => "Bundle",
        }
    }
}

/// What the server puts into a DocumentReference that it takes.
#[derive(Debug)]
pub struct ServerElements<'a> {
    /// `id`.
    pub id: &'a str,
    /// `meta.lastUpdated`, microseconds.
    pub last_updated: i64,
    /// `subject`: the record, and the INS as a logical identifier.
    pub record_id: &'a str,
    /// System and value of the INS.
    pub ins: (&'a str, &'a str),
    /// The id of the Binary.
    pub binary_id: &'a str,
    /// `Binary`, or `Bundle` of a FHIR document.
    pub place: Place,
    /// Bytes.
    pub size: u64,
    /// SHA-1, base64.
    pub hash: &'a str,
    /// Class code and label, where the client gave no category.
    pub class: (&'a str, &'a str),
    /// Struct_IdNat and name of the caller's structure, where the client gave no custodian.
    pub custodian: Option<(&'a str, &'a str)>,
}

/// The text that is kept: received values byte for byte, with what the server sets. The attachment's `url` is relative;
/// [`link_position`] finds it, so that an answer can put the base before it.
///
/// # Errors
/// [`crate::error::Reason::MalformedBody`] when the text is no object.
pub fn accepted(text: &str, set: &ServerElements<'_>) -> Result<String, Refusal> {
    let mut resource = RawObject::parse(text)?;
    let profiles = received_profiles(resource.get("meta"));
    let last_updated = to_instant(set.last_updated);
    resource.set("id", quoted(set.id), Some("resourceType"));
    resource.set("meta", meta(1, &last_updated, profiles.as_deref()), Some("id"));
    if resource.get("identifier").is_none() {
        let logical = json!([{ "system": system::URI, "value": format!("urn:uuid:{}", set.id) }]);
        resource.set("identifier", to_json(&logical), Some("masterIdentifier"));
    }
    if resource.get("category").is_none() {
        const CLASS: &str = "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument";
        let (code, display) = set.class;
        let class = json!([{ "coding": [{ "system": CLASS, "code": code, "display": display }] }]);
        resource.set("category", to_json(&class), Some("type"));
    }
    let subject = json!({
        "reference": format!("Patient/{}", set.record_id),
        "identifier": { "system": set.ins.0, "value": set.ins.1 },
    });
    resource.set("subject", to_json(&subject), Some("category"));
    if resource.get("date").is_none() {
        resource.set("date", quoted(&last_updated), Some("subject"));
    }
    if let (None, Some((structure, name))) = (resource.get("custodian"), set.custodian) {
        let custodian = json!({
            "type": "Organization",
            "identifier": { "system": system::STRUCTURE, "value": structure },
            "display": name,
        });
        resource.set("custodian", to_json(&custodian), Some("author"));
    }
    let relations: Vec<&RawValue> = serde_json::from_str(resource.get("relatesTo").unwrap_or("[]"))
        .map_err(|error| unreadable("relatesTo", &error))?;
    let replaces = |relation: &&&RawValue| {
        RawObject::parse(relation.get()).is_ok_and(|relation| relation.get("code") == Some("\"replaces\""))
    };
    let kept: Vec<&str> = relations.iter().filter(replaces).map(|relation| relation.get()).collect();
    match kept.len() {
        0 => resource.remove("relatesTo"),
        count if count < relations.len() => {
            let kept = format!("[{}]", kept.join(","));
            resource.set("relatesTo", kept, None);
        }
        _ => {}
    }
    if resource.get("securityLabel").is_none() {
        const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
        let label =
            json!([{ "coding": [{ "system": CONFIDENTIALITY, "code": label::NORMAL, "display": "normal" }] }]);
        resource.set("securityLabel", to_json(&label), Some("author"));
    }
    let contents: Vec<&RawValue> = serde_json::from_str(resource.get("content").unwrap_or("[]"))
        .map_err(|error| unreadable("content", &error))?;
    let first = contents.first().map_or("{}", |content| content.get());
    let mut content = RawObject::parse(first)?;
    let mut attachment = RawObject::parse(content.get("attachment").unwrap_or("{}"))?;
    attachment.remove("data");
    attachment.set("url", quoted(&format!("{}/{}", set.place.name(), set.binary_id)), Some("language"));
    attachment.set("size", set.size.to_string(), Some("url"));
    attachment.set("hash", quoted(set.hash), Some("size"));
    let attachment = attachment.to_text();
    content.set("attachment", attachment, None);
    let content = format!("[{}]", content.to_text());
    resource.set("content", content, Some("securityLabel"));
    Ok(resource.to_text())
}

/// The text of a document that another has replaced, in its next version.
///
/// # Errors
/// The kept text is no object, which would be a fault of ours.
pub fn superseded(text: &str, version: i64, last_updated: i64) -> Result<String, Refusal> {
    let mut resource = RawObject::parse(text)?;
    let profiles = received_profiles(resource.get("meta"));
    resource.set("meta", meta(version, &to_instant(last_updated), profiles.as_deref()), Some("id"));
    resource.set("status", Cow::Borrowed("\"superseded\""), None);
    Ok(resource.to_text())
}

/// A kept document in its next version.
#[derive(Clone, Copy, Debug)]
pub struct NextVersion {
    /// `meta.versionId`.
    pub version: i64,
    /// `meta.lastUpdated`, microseconds.
    pub last_updated: i64,
    /// `status`.
    pub status: DocumentStatus,
    /// `securityLabel`.
    pub labels: Labels,
    /// The extension of PDSm.
    pub archived: bool,
}

/// What a look-up tells of a document (TD3.1b): that it is there, under which id, in which version.
pub fn reference_of(id: &str, version: i64, last_updated: i64, status: &str, unique_id: &str) -> String {
    to_json(&json!({
        "resourceType": "DocumentReference",
        "id": id,
        "meta": {
            "versionId": version.to_string(),
            "lastUpdated": to_instant(last_updated),
            "tag": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED" }],
        },
        "masterIdentifier": { "system": system::URI, "value": unique_id },
        "status": status,
    }))
}

/// As [`reference_of`], from the kept text.
pub fn reference(text: &str) -> String {
    let read = |key: &str| RawObject::parse(text).ok().and_then(|object| object.get(key).map(str::to_owned));
    let parts = ["id", "meta", "masterIdentifier", "status"]
        .into_iter()
        .filter_map(|key| Some(format!("{}:{}", quoted(key), read(key)?)));
    let parts: Vec<String> =
        std::iter::once("\"resourceType\":\"DocumentReference\"".to_owned()).chain(parts).collect();
    format!("{{{}}}", parts.join(","))
}

impl DocumentReference<'_> {
    /// Whether it says of itself that it is archived.
    pub fn is_archived(&self) -> bool {
        let says = |text: &&RawValue| {
            let Ok(extension) = RawObject::parse(text.get()) else { return false };
            extension.get("url") == Some(quoted(IS_ARCHIVED).as_ref())
                && extension.get("valueBoolean") != Some("false")
        };
        self.extension.iter().any(says)
    }
}

/// PDSm's extension for archived documents.
pub const IS_ARCHIVED: &str =
    "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived";

/// The text of a document after a change, and where its link begins. Nothing but status, labels and archive changes.
///
/// # Errors
/// The kept text is no object, which would be a fault of ours.
pub fn next_version(
    text: &str,
    binary_id: &str,
    next: &NextVersion,
) -> Result<(String, Option<usize>), Refusal> {
    let mut resource = RawObject::parse(text)?;
    let profiles = received_profiles(resource.get("meta"));
    let meta = meta(next.version, &to_instant(next.last_updated), profiles.as_deref());
    resource.set("meta", meta, Some("id"));
    resource.set("status", quoted(next.status.code()), None);
    let labels = with_labels(resource.get("securityLabel").unwrap_or("[]"), next.labels)?;
    resource.set("securityLabel", labels, Some("author"));
    let extensions = with_archived(resource.get("extension").unwrap_or("[]"), next.archived)?;
    match extensions {
        Some(extensions) => resource.set("extension", extensions, Some("meta")),
        None => resource.remove("extension"),
    }
    let text = resource.to_text();
    let link = link_position(&text, binary_id);
    Ok((text, link))
}

/// The text as somebody sees it to whom the announcement is over, or who may not know of what the document replaced.
///
/// # Errors
/// As [`next_version`].
pub fn shown(
    text: &str,
    binary_id: &str,
    announcement_over: bool,
    names_hidden: bool,
) -> Result<(String, Option<usize>), Refusal> {
    let mut resource = RawObject::parse(text)?;
    if announcement_over {
        let labels = DocumentReference::read(text)?.labels().map_err(|issue| malformed(&issue.diagnostics))?;
        let labels = Labels { invisible_to_patient: false, ..labels };
        let labels = with_labels(resource.get("securityLabel").unwrap_or("[]"), labels)?;
        resource.set("securityLabel", labels, Some("author"));
    }
    if names_hidden {
        resource.remove("relatesTo");
    }
    let text = resource.to_text();
    let link = link_position(&text, binary_id);
    Ok((text, link))
}

/// The text with these labels beside those that it has, and where its link begins.
///
/// # Errors
/// As [`next_version`].
pub fn labelled(text: &str, binary_id: &str, more: Labels) -> Result<(String, Option<usize>), Refusal> {
    let mut resource = RawObject::parse(text)?;
    let labels = DocumentReference::read(text)?.labels().map_err(|issue| malformed(&issue.diagnostics))?;
    let labels = with_labels(resource.get("securityLabel").unwrap_or("[]"), labels.and(more))?;
    resource.set("securityLabel", labels, Some("author"));
    let text = resource.to_text();
    let link = link_position(&text, binary_id);
    Ok((text, link))
}

/// `securityLabel` with these labels: what was received and still holds stays as it was.
fn with_labels(text: &str, labels: Labels) -> Result<String, Refusal> {
    const STATUS: &str =
        "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument";
    const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
    let held: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| unreadable("securityLabel", &error))?;
    let wanted = [
        (label::NORMAL, true, CONFIDENTIALITY),
        (label::MASQUE_PS, labels.masked, STATUS),
        (label::INVISIBLE_PATIENT, labels.invisible_to_patient, STATUS),
        (label::INVISIBLE_REPRESENTANTS_LEGAUX, labels.invisible_to_representatives, STATUS),
    ];
    let mut kept: Vec<Cow<'_, str>> = Vec::new();
    let mut stand: Vec<&str> = Vec::new();
    for concept in held {
        let read: CodeableConcept<'_> =
            serde_json::from_str(concept.get()).map_err(|error| unreadable("securityLabel", &error))?;
        let known = wanted.iter().find(|(code, holds, _)| *holds && *code == read.code());
        // One concept with several labels is taken apart below.
        if let (1, Some((code, ..))) = (read.coding.len(), known)
            && !stand.contains(code)
        {
            stand.push(code);
            kept.push(Cow::Borrowed(concept.get()));
        }
    }
    for (code, holds, system) in wanted {
        if holds && !stand.contains(&code) {
            kept.push(to_json(&json!({ "coding": [{ "system": system, "code": code }] })).into());
        }
    }
    Ok(format!("[{}]", kept.join(",")))
}

/// `extension` with the archive's, or without; `None` when there is none left.
fn with_archived(text: &str, archived: bool) -> Result<Option<String>, Refusal> {
    let held: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| unreadable("extension", &error))?;
    let mut kept: Vec<Cow<'_, str>> = Vec::new();
    for extension in held {
        let url = RawObject::parse(extension.get())?.get("url").map(str::to_owned);
        if url.as_deref() != Some(quoted(IS_ARCHIVED).as_str()) {
            kept.push(Cow::Borrowed(extension.get()));
        }
    }
    if archived {
        kept.push(to_json(&json!({ "url": IS_ARCHIVED, "valueBoolean": true })).into());
    }
    Ok((!kept.is_empty()).then(|| format!("[{}]", kept.join(","))))
}

fn received_profiles(meta: Option<&str>) -> Option<String> {
    let meta = RawObject::parse(meta?).ok()?;
    let mut profiles: Vec<String> = serde_json::from_str(meta.get("profile")?).ok()?;
    // What was fed alone is kept with what a simplified publish may not have: an address instead of the bytes.
    for profile in &mut profiles {
        if let Some((canonical, _)) = profile.rsplit_once('/').filter(|(_, name)| SIMPLIFIED.contains(name)) {
            *profile = match canonical.contains("/pdsm/") {
                true => format!("{canonical}/pdsm-comprehensive-document-reference"),
                false => format!("{canonical}/IHE.MHD.Comprehensive.DocumentReference"),
            };
        }
    }
    Some(to_json(&profiles))
}

/// Profiles of a document that is fed alone (ITI-105).
const SIMPLIFIED: [&str; 2] = ["pdsm-simplified-publish", "IHE.MHD.SimplifiedPublish.DocumentReference"];

fn meta(version: i64, last_updated: &str, profiles: Option<&str>) -> String {
    let profiles = profiles.map(|profiles| format!(",\"profile\":{profiles}")).unwrap_or_default();
    format!("{{\"versionId\":\"{version}\",\"lastUpdated\":\"{last_updated}\"{profiles}}}")
}

/// Where the attachment's relative `url` begins in a kept text.
pub fn link_position(text: &str, binary_id: &str) -> Option<usize> {
    // The Binary's identifier is drawn after the text was received: it stands in it once. Both places have names of one length.
    const { assert!("Binary/".len() == "Bundle/".len()) };
    text.find(binary_id)?.checked_sub("Binary/".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_received_stays_and_what_the_server_sets_is_set() {
        let received = r#"{"resourceType":"DocumentReference","meta":{"profile":["p"],"tag":[]},"x":{"v":1.10},"masterIdentifier":{"system":"urn:ietf:rfc:3986","value":"urn:oid:1.2"},"status":"current","type":{"coding":[{"code":"11488-4"}]},"subject":{"reference":"Patient?identifier=a|b"},"author":[],"content":[{"attachment":{"contentType":"text/xml","data":"AAAA","title":"t","creation":"2026-06-12"},"format":{"code":"f"}}]}"#;
        let set = ServerElements {
            id: "doc-1",
            last_updated: 0,
            record_id: "rec-1",
            ins: ("sys", "val"),
            binary_id: "bin-1",
            place: Place::Binary,
            size: 3,
            hash: "h",
            class: ("10", "Compte rendu"),
            custodian: Some(("10B0057881", "Cabinet")),
        };
        let text = accepted(received, &set).unwrap();
        assert!(text.starts_with(r#"{"resourceType":"DocumentReference","id":"doc-1","meta":{"versionId":"1","lastUpdated":"1970-01-01T00:00:00Z","profile":["p"]},"x":{"v":1.10},"#), "{text}");
        assert!(text.contains(r#""content":[{"attachment":{"contentType":"text/xml","title":"t","creation":"2026-06-12","url":"Binary/bin-1","size":3,"hash":"h"},"format":{"code":"f"}}]"#), "{text}");
        let position = link_position(&text, "bin-1").unwrap();
        assert!(text[position..].starts_with("Binary/bin-1\""));
        let read = DocumentReference::read(&text).unwrap();
        assert_eq!(read.unique_id(), Some("urn:oid:1.2"));
        assert_eq!(read.labels().unwrap(), Labels::default());
        assert_eq!(read.custodian.unwrap().identifier.unwrap().value(), "10B0057881");

        let next = superseded(&text, 2, 1_000_000).unwrap();
        assert!(next.contains(r#""versionId":"2","lastUpdated":"1970-01-01T00:00:01Z","profile":["p"]"#));
        assert!(next.contains(r#""status":"superseded""#));
    }

    #[test]
    fn a_change_touches_status_labels_and_archive_alone() {
        let text = r#"{"resourceType":"DocumentReference","id":"d","meta":{"versionId":"1"},"extension":[{"url":"x","valueDecimal":1.10}],"status":"current","author":[],"securityLabel":[{"coding":[{"code":"N","display":"kept"}]},{"coding":[{"code":"INVISIBLE_PATIENT"}]}],"content":[{"attachment":{"url":"Binary/bin-1"}}],"relatesTo":[{"code":"replaces"}]}"#;
        let labels = Labels { masked: true, ..Labels::default() };
        let next = NextVersion {
            version: 2,
            last_updated: 0,
            status: DocumentStatus::Current,
            labels,
            archived: true,
        };
        let (changed, link) = next_version(text, "bin-1", &next).unwrap();
        assert!(
            changed.contains(
                r#""securityLabel":[{"coding":[{"code":"N","display":"kept"}]},{"coding":[{"system":"#
            ),
            "{changed}"
        );
        assert!(
            changed.contains(r#""extension":[{"url":"x","valueDecimal":1.10},{"url":"https://interop"#)
                || changed.contains("valueBoolean"),
            "{changed}"
        );
        assert!(changed[link.unwrap()..].starts_with("Binary/bin-1"));
        let back = NextVersion { version: 3, labels: Labels::default(), archived: false, ..next };
        let (back, _) = next_version(&changed, "bin-1", &back).unwrap();
        assert!(back.contains(r#""extension":[{"url":"x","valueDecimal":1.10}],"#), "{back}");
        assert!(back.contains(r#""securityLabel":[{"coding":[{"code":"N","display":"kept"}]}]"#), "{back}");

        let (over, _) = shown(text, "bin-1", true, true).unwrap();
        assert!(!over.contains("INVISIBLE_PATIENT") && !over.contains("relatesTo"), "{over}");
        assert!(over.contains(r#""versionId":"1""#));
    }

    #[test]
    fn labels_are_a_set() {
        let labels = |codes: &[&str]| {
            let codings: Vec<_> = codes.iter().map(|code| json!({ "coding": [{ "code": code }] })).collect();
            let text = json!({ "resourceType": "DocumentReference", "securityLabel": codings }).to_string();
            DocumentReference::read(&text).unwrap().labels()
        };
        assert!(labels(&["N", "MASQUE_PS"]).unwrap().masked);
        assert!(labels(&["INVISIBLE_PATIENT"]).unwrap().invisible_to_patient);
        assert!(labels(&["MASQUE_PT"]).is_err());
    }
}
