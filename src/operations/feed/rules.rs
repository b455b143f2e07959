//! The rules of a feed on its metadata.
//!
//! Two levels: what is refused always, because it could harm or because nothing could be kept, and what a strict server
//! refuses besides: PDSm 3.1.1 and the DMP's affinity domain. Sources: `documents.md` 1.3 to 1.5, 2b, 5.3, 5.4.

use super::draft::{Draft, DraftDocument, DraftFolder};
use super::{content, shape};
use crate::error::{Issue, Reason, Refusal};
use crate::fhir::document_reference::Contained;
use crate::fhir::elements::instant;
use crate::fhir::submission_set::SubmissionSet;
use crate::identity::identifiers::{Ins, ins_system};
use crate::operations::{Call, Strictness};

/// What was found, by level.
#[derive(Debug, Default)]
pub(super) struct Findings {
    always: Vec<Issue>,
    strict: Vec<Issue>,
}

impl Findings {
    /// A finding that no server lets pass.
    pub fn always(&mut self, expression: String, diagnostics: impl Into<String>) {
        self.always.push(Issue::at(expression, diagnostics.into()));
    }

    /// The refusal that they make, if any.
    fn refusal(self, strict: bool) -> Option<Refusal> {
        let mut issues = self.always;
        if strict {
            issues.extend(self.strict);
        }
        Some(Refusal::of(Reason::InvalidMetadata, issues)?.by("PDSm 3.1.1 and the DMP's affinity domain"))
    }

    /// A finding that a tolerant server lets pass.
    pub fn strict(&mut self, expression: String, diagnostics: impl Into<String>) {
        self.strict.push(Issue::at(expression, diagnostics.into()));
    }
}

/// Checks all documents of a feed.
///
/// # Errors
/// The refusal, with every finding of its kind.
pub(super) fn check(
    call: &Call,
    draft: &Draft<'_>,
    ins: &(String, String),
    is_minor: bool,
) -> Result<(), Refusal> {
    let (mut findings, mut orphans) = (Findings::default(), Vec::new());
    for document in &draft.documents {
        type_is_for_professionals(call, document)?;
        if shape::document(document, &mut findings)? {
            orphans.push(document.at("contained"));
        }
        identifiers(document, &mut findings);
        codes(call, document, &mut findings);
        labels(call, document, is_minor, &mut findings);
        attachment(document, draft.list.is_some() && !document.is_bundle, &mut findings);
        context(document, draft.list.is_some(), &mut findings);
        responsible(call, document, &mut findings);
        patients(document, ins, &mut findings);
        let size = document.text.len();
        if size > MAXIMUM_METADATA + document.inline_data() {
            findings
                .always(document.at("id"), format!("a DocumentReference has at most {MAXIMUM_METADATA} bytes"));
        }
    }
    if draft.list.as_ref().is_some_and(|(text, _)| text.len() > MAXIMUM_METADATA) {
        findings.always("List".into(), format!("a List has at most {MAXIMUM_METADATA} bytes"));
    }
    unique_ids_differ(draft, &mut findings);
    if !Ins::new(&ins.0, &ins.1).is_ok_and(|ins| ins.key_is_right()) {
        let at = draft.documents.first().map_or(String::new(), |document| document.at("subject"));
        findings.strict(at, "the key of the INS is wrong");
    }
    if let Some((text, list)) = &draft.list {
        if shape::list(text, &mut findings)? {
            orphans.push("List.contained".to_owned());
        }
        submission_set(call, list, &mut findings);
    }
    for folder in &draft.folders {
        self::folder(call, folder, &mut findings);
    }
    let lists = draft.list.iter().map(|(_, list)| ("List.contained".to_owned(), list));
    for (at, list) in lists.chain(draft.folders.iter().map(|folder| (folder.at("contained"), &folder.list))) {
        if has_another_patient(&list.contained, ins) {
            findings.always(at, "a contained Patient has another INS than the record");
        }
    }
    // Who leaves a reference out leaves an orphan too: that is one fault, and told as the first.
    if findings.always.is_empty() && findings.strict.is_empty() {
        for place in orphans {
            findings.strict(place, "something is contained that nothing refers to");
        }
    }
    // What is refused in any mode says so before the bytes are looked at; what only a strict server refuses, after.
    let strict = call.services.strictness == Strictness::Strict;
    if !findings.always.is_empty() {
        return findings.refusal(strict).map_or(Ok(()), Err);
    }
    for document in &draft.documents {
        content::check(call, document, ins, &mut findings)?;
    }
    findings.refusal(strict).map_or(Ok(()), Err)
}

/// Bytes of a DocumentReference or List, at most: it comes back in every search. The published ones have 2 to 4 KiB.
const MAXIMUM_METADATA: usize = 128 << 10;

/// A contained patient with another INS is a document that went to the wrong record.
fn patients(document: &DraftDocument<'_>, ins: &(String, String), findings: &mut Findings) {
    if has_another_patient(&document.resource.contained, ins) {
        findings.always(document.at("contained"), "a contained Patient has another INS than the record");
    }
}

fn has_another_patient(contained: &[Contained<'_>], (system, value): &(String, String)) -> bool {
    let patients = contained.iter().filter(|one| one.resource_type.0 == "Patient");
    patients.flat_map(|patient| &patient.identifier).any(|identifier| {
        ins_system::is_key(identifier.system())
            && (identifier.system() != system || identifier.value() != value)
    })
}

/// EX_2.1-1010.
fn type_is_for_professionals(call: &Call, document: &DraftDocument<'_>) -> Result<(), Refusal> {
    let code = document.resource.r#type.code();
    match call.services.codes.document_type(code) {
        Some(r#type) if !r#type.is_for_professionals() => Err(Refusal::at(
            Reason::TypeNotForProfessionals,
            document.at("type"),
            format!("{code} ({}) is not deposited by professionals", r#type.display),
        )
        .by("EX_2.1-1010: class 90 and DOCPAT*, REMB, 11369-6")),
        _ => Ok(()),
    }
}

fn identifiers(document: &DraftDocument<'_>, findings: &mut Findings) {
    let resource = &document.resource;
    if resource.is_archived() {
        findings.always(document.at("extension"), "a document is fed unarchived: TD3.3d archives it");
    }
    if resource.status.0 != "current" {
        findings.always(document.at("status"), "a document is fed as current");
    }
    let at = || document.at("masterIdentifier");
    match resource.unique_id() {
        None => findings.always(at(), "the document has no unique id (system urn:ietf:rfc:3986, urn:oid:…)"),
        Some(id) if id.len() > 128 + "urn:oid:".len() => {
            findings.always(at(), "a unique id has at most 128 characters (EX_2.1-1130)");
        }
        Some(id) => match (id.strip_prefix("urn:oid:"), id.strip_prefix("urn:uuid:")) {
            (Some(oid), _) if is_oid(oid) => {}
            (None, Some(_)) => {
                findings.strict(at(), "the DMP takes an OID as unique id, not a UUID (EX_2.1-1130)")
            }
            _ => findings.always(at(), "the unique id is not an OID (urn:oid:…, EX_2.1-1130)"),
        },
    }
    if resource.identifier.is_empty() {
        findings.strict(document.at("identifier"), "the logical id is missing");
    }
    match &resource.relates_to[..] {
        [] => {}
        [relation] if relation.code.0 == "replaces" => {}
        [_] => findings.always(document.at("relatesTo[0].code"), "only replaces is taken"),
        _ => findings.always(document.at("relatesTo"), "a document replaces one other"),
    }
}

fn is_oid(text: &str) -> bool {
    let arc = |arc: &str| {
        let digits = !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit());
        digits && (arc == "0" || !arc.starts_with('0'))
    };
    text.contains('.') && text.starts_with(['0', '1', '2']) && text.split('.').all(arc)
}

fn unique_ids_differ(draft: &Draft<'_>, findings: &mut Findings) {
    let mut seen = Vec::new();
    for document in &draft.documents {
        let id = document.resource.unique_id();
        if id.is_some() && seen.contains(&id) {
            findings.always(document.at("masterIdentifier"), "two documents of the feed have this unique id");
        }
        seen.push(id);
    }
}

fn codes(call: &Call, document: &DraftDocument<'_>, findings: &mut Findings) {
    let (codes, resource) = (&call.services.codes, &document.resource);
    let code = resource.r#type.code();
    let class = resource.category.first().map(|category| category.code());
    match (codes.document_type(code), class) {
        (None, _) => findings.always(document.at("type"), "not a type of the DMP (JDV_J66)"),
        (Some(_), None) => findings.strict(document.at("category"), "the class is missing (JDV_J57)"),
        (Some(r#type), Some(class)) if r#type.class != class => findings.strict(
            document.at("category"),
            format!("the type {code} belongs to class {}, not {class}", r#type.class),
        ),
        _ => {}
    }
    let format = resource.content.first().and_then(|content| content.format.as_ref());
    let format = format.map(|format| format.code());
    if format.is_none_or(|format| codes.format(format).is_none()) {
        findings.strict(document.at("content[0].format"), "not a format of the DMP (JDV_J60)");
    }
    let facility = resource.context.facility_type.as_ref().map_or("", |facility| facility.code());
    if codes.facility_type(facility).is_none() {
        findings.strict(document.at("context.facilityType"), "not a facility type of the DMP (JDV_J61)");
    }
    let setting = resource.context.practice_setting.as_ref().map_or("", |setting| setting.code());
    if codes.practice_setting(setting).is_none() {
        findings.strict(document.at("context.practiceSetting"), "not a practice setting of the DMP (JDV_J62)");
    }
}

fn labels(call: &Call, document: &DraftDocument<'_>, is_minor: bool, findings: &mut Findings) {
    let at = || document.at("securityLabel");
    if document.resource.security_label.is_empty() {
        findings.strict(at(), "masking and visibility are stated for each document (EX_2.1-1050)");
    }
    match document.resource.labels() {
        Err(issue) => findings.always(at(), issue.diagnostics),
        Ok(labels) => {
            // R1111-50: what is deposited in secret connection is never visible to the representatives, not by a slip either.
            let secret = call.caller.session.as_ref().is_some_and(|session| session.secret);
            if secret && !labels.invisible_to_representatives {
                findings.always(at(), "a deposit in secret connection carries INVISIBLE_REPRESENTANTS_LEGAUX");
            }
            if labels.invisible_to_representatives && !is_minor {
                findings.always(at(), "INVISIBLE_REPRESENTANTS_LEGAUX is for the record of a minor (R1111-50)");
            }
            let cumul = call.services.tables.parameters.cumul_invisible_patient_masque_ps;
            if labels.masked && labels.invisible_to_patient && !cumul {
                findings.always(at(), "MASQUE_PS and INVISIBLE_PATIENT exclude each other (EX_2.1-1050)");
            }
            let labelled = labels.masked || labels.invisible_to_patient || labels.invisible_to_representatives;
            if document.resource.r#type.code() == crate::rights::VACCINATION_NOTE && labelled {
                findings.always(at(), "a vaccination note is N and nothing else (EX_2.1-2005)");
            }
        }
    }
}

fn attachment(document: &DraftDocument<'_>, in_transaction: bool, findings: &mut Findings) {
    let at = |element: &str| document.at(&format!("content[0].attachment.{element}"));
    if document.resource.content.len() != 1 {
        findings.always(document.at("content"), "a document has one content");
    }
    let Some(attachment) = document.resource.attachment() else { return };
    if !is_media_type(&attachment.content_type.0) {
        findings.always(at("contentType"), "the media type is missing or malformed");
    }
    match &attachment.title {
        None => findings.strict(at("title"), "the title is missing"),
        Some(title) if title.0.chars().count() > 128 => {
            findings.always(at("title"), "a title has at most 128 characters (EX_2.1-1070)");
        }
        Some(_) => {}
    }
    match &attachment.creation {
        None => findings.strict(at("creation"), "the date of the document is missing"),
        Some(creation) => {
            if let Err(error) = instant(&creation.0) {
                findings.always(at("creation"), error);
            }
        }
    }
    if document.is_bundle && (attachment.size.is_some() || attachment.hash.is_some()) {
        findings.strict(at("hash"), "size and hash of a FHIR document are absent (ITI-65)");
    }
    if !in_transaction {
        return;
    }
    if attachment.size.is_none() {
        findings.strict(at("size"), "the size is missing");
    }
    if attachment.hash.is_none() {
        findings.strict(at("hash"), "the hash is missing (SHA-1, base64)");
    }
    if attachment.language.as_ref().is_none_or(|language| language.0 != "fr-FR") {
        findings.strict(at("language"), "the language is fr-FR");
    }
}

/// `type/subtype`, and parameters of plain tokens: it is given back as a header.
fn is_media_type(text: &str) -> bool {
    let token = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !text.is_empty() && text.bytes().all(plain)
    };
    let mut parts = text.split(';');
    let kind = parts.next().and_then(|kind| kind.split_once('/'));
    let parameter = |part: &str| {
        part.trim_matches(' ').split_once('=').is_some_and(|(name, value)| token(name) && token(value))
    };
    text.len() <= 128
        && kind.is_some_and(|(kind, subtype)| token(kind) && token(subtype))
        && parts.all(parameter)
}

fn context(document: &DraftDocument<'_>, in_transaction: bool, findings: &mut Findings) {
    let resource = &document.resource;
    match &resource.date {
        None => findings.strict(document.at("date"), "the date is missing"),
        Some(date) => {
            if let Err(error) = instant(&date.0) {
                findings.always(document.at("date"), error);
            }
        }
    }
    let period = resource.context.period.as_ref();
    if period.and_then(|period| period.start.as_ref()).is_none() {
        findings.strict(document.at("context.period.start"), "the start of the act is missing");
    }
    for date in period.into_iter().flat_map(|period| period.start.iter().chain(&period.end)) {
        if let Err(error) = instant(&date.0) {
            findings.always(document.at("context.period"), error);
        }
    }
    if in_transaction && resource.context.source_patient_info.is_none() {
        findings
            .strict(document.at("context.sourcePatientInfo"), "the patient as the source knows him is missing");
    }
}

/// EX_2.1-1140: who feeds is an author. Whatever is declared, the store keeps the identity of the certificate.
fn responsible(call: &Call, document: &DraftDocument<'_>, findings: &mut Findings) {
    let resource = &document.resource;
    if resource.author.is_empty() {
        findings.strict(document.at("author"), "the author is missing");
    }
    let wanted = call.caller.accountable_structure().unwrap_or(call.caller.id());
    if !resource.author.is_empty() && !document.names_author(wanted) {
        findings.strict(document.at("author"), format!("who feeds is an author: {wanted} (EX_2.1-1140)"));
    }
    if resource.custodian.is_none() && call.caller.structure.is_none() {
        findings.strict(document.at("custodian"), "the custodian is missing, and the card names no structure");
    }
}

fn submission_set(call: &Call, list: &SubmissionSet<'_>, findings: &mut Findings) {
    if list.identifier.is_empty() {
        findings.strict("List.identifier".into(), "the unique id and the entry UUID are missing");
    }
    match list.designation_type() {
        Some((system, code)) if call.services.codes.content_type(system, code).is_some() => {}
        _ => {
            findings.strict(
                "List.extension('ihe-designationType')".into(),
                "not a content type of the DMP (JDV_J59)",
            );
        }
    }
    let source = list.source.as_ref().map_or("", |source| source.literal());
    let target = source.strip_prefix('#').and_then(|id| list.contained.iter().find(|one| one.id.0 == id));
    match target.map(|target| target.resource_type.0.as_ref()) {
        Some("PractitionerRole") => sender(call, list, findings),
        Some("Device" | "Patient") => {}
        Some(kind) => findings.strict(
            "List.source".into(),
            format!("the source is a PractitionerRole, a Device or a Patient, not a {kind}"),
        ),
        None => findings.strict("List.source".into(), "the source is missing or not contained"),
    }
    match &list.date {
        None => findings.strict("List.date".into(), "the date of submission is missing"),
        Some(date) => {
            if let Err(error) = instant(&date.0) {
                findings.always("List.date".into(), error);
            }
        }
    }
}

/// Who sends is who is authenticated, or the structure for which he acts (2.1-900): said by what the source contains and refers to.
fn sender(call: &Call, list: &SubmissionSet<'_>, findings: &mut Findings) {
    let caller = &call.caller;
    // An establishment names its staff behind its own number.
    let local = |value: &str| caller.id().strip_suffix(value).is_some_and(|before| before.ends_with('/'));
    let is_caller =
        |value: &str| value == caller.id() || local(value) || caller.structure.as_deref() == Some(value);
    let mut named = list.contained.iter().flat_map(Contained::names);
    if !named.any(|identifier| !identifier.value().is_empty() && is_caller(identifier.value())) {
        let who = caller.id();
        findings.strict("List.source".into(), format!("who sends is who is authenticated: {who} (2.1-900)"));
    }
}

/// PDSm's folder: what is in it, and of what kind it is.
fn folder(call: &Call, folder: &DraftFolder<'_>, findings: &mut Findings) {
    if folder.list.entry.is_empty() {
        findings.always(folder.at("entry"), "a folder holds documents");
    }
    if folder.text.len() > MAXIMUM_METADATA {
        findings.always(folder.at("id"), format!("a List has at most {MAXIMUM_METADATA} bytes"));
    }
    match folder.list.date.as_ref().map(|date| instant(&date.0)) {
        Some(Err(error)) => findings.always(folder.at("date"), error),
        None if folder.update_of.is_none() => findings.strict(folder.at("date"), "the date is missing"),
        _ => {}
    }
    let known = folder.list.designation_type();
    let known = known.is_some_and(|(system, code)| call.services.codes.content_type(system, code).is_some());
    if folder.update_of.is_none() && !known {
        let at = folder.at("extension('ihe-designationType')");
        findings.strict(at, "a folder says of what kind it is (JDV_J59)");
    }
}

#[cfg(test)]
mod tests {
    use super::{is_media_type, is_oid};

    #[test]
    fn media_types() {
        for text in ["text/xml", "text/xml; charset=utf-8", "application/xslt+xml"] {
            assert!(is_media_type(text), "{text}");
        }
        for text in ["", "text", "text/", "application/pdf;\r\nX: y", "text/xml; charset", "text/x y"] {
            assert!(!is_media_type(text), "{text}");
        }
    }

    #[test]
    fn oids() {
        for oid in ["1.2.250.1.213.1.1.1.13.2022.1.1", "2.25.329800735698586629295641978511506172918", "0.0"] {
            assert!(is_oid(oid), "{oid}");
        }
        for text in ["", "1", "1..2", "1.02", "3.1", "1.2^x", "1.2.", ".1.2", "a.b"] {
            assert!(!is_oid(text), "{text}");
        }
    }
}
