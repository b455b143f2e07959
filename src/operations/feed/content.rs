//! The document's bytes: hash, size, and a CDA header that must say what the metadata say.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::draft::DraftDocument;
use super::media::{self, Media};
use super::rules::Findings;
use super::vaccinations;
use crate::cda::Header;
use crate::error::{Issue, Reason, Refusal};
use crate::fhir::document::FhirDocument;
use crate::fhir::enclosed::{Enclosed, each_enclosed};
use crate::fhir::{json, xml};
use crate::identity::identifiers::ins_system;
use crate::operations::Call;
use crate::rights::VACCINATION_NOTE;

/// SHA-1, as FHIR R4 and XDS want it for the wire; ours is SHA-256.
pub(super) fn sha1_base64(content: &[u8]) -> String {
    BASE64.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, content).as_ref())
}

/// Checks the bytes of one document.
///
/// # Errors
/// [`Reason::HashMismatch`], [`Reason::InvalidContent`], [`Reason::ContentMismatch`]: these are refused however
/// tolerant the server is.
pub(super) fn check(
    call: &Call,
    document: &DraftDocument<'_>,
    ins: &(String, String),
    findings: &mut Findings,
) -> Result<(), Refusal> {
    let Some(attachment) = document.resource.attachment() else { return Ok(()) };
    if document.content.is_empty() {
        return Err(Refusal::at(Reason::InvalidContent, document.at("content[0].attachment"), "no bytes"));
    }
    let known = !document.is_bundle;
    let size = known && attachment.size.is_some_and(|size| size != document.content.len() as u64);
    let hash = known && attachment.hash.as_ref().is_some_and(|hash| hash.0 != sha1_base64(&document.content));
    if size || hash {
        let element =
            document.at(if size { "content[0].attachment.size" } else { "content[0].attachment.hash" });
        let diagnostics = "not those of the bytes received (size in bytes, hash SHA-1 in base64)";
        return Err(Refusal::at(Reason::HashMismatch, element, diagnostics));
    }
    let mut parts = attachment.content_type.0.split(';').map(str::trim);
    let content_type = parts.next().unwrap_or_default();
    let charset =
        parts.find_map(|part| part.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset")));
    let at_type = document.at("content[0].attachment.contentType");
    let of_binary = document.binary_content_type.as_deref();
    if of_binary.is_some_and(|of_binary| of_binary != attachment.content_type.0) {
        let diagnostics = match document.is_bundle {
            true => "a FHIR document is application/fhir+json, and is read in either form",
            false => "not the contentType of the Binary",
        };
        return Err(Refusal::at(Reason::ContentMismatch, at_type, diagnostics));
    }
    let media = Media::of(content_type);
    if document.resource.r#type.code() == VACCINATION_NOTE && media != Some(Media::Cda) {
        findings.always(at_type.clone(), "a vaccination note is a CDA document (EX_2.1-2010)");
    }
    match media {
        Some(Media::Cda) => check_cda(document, content_type, ins, findings),
        Some(Media::FhirDocument) => check_fhir_document(document, ins, findings),
        Some(media) => {
            if !fits(call, document, media) {
                let at = document.at("content[0].format");
                findings
                    .strict(at, format!("the format is that of another body than {content_type} (ASS_A12)"));
            }
            media
                .check(&document.content, charset.map(|(_, charset)| charset))
                .map_err(|why| Refusal::at(Reason::ContentMismatch, at_type, why).by(BY_CONTENT))
        }
        None => Err(Refusal::at(Reason::InvalidContent, at_type, "the DMP takes no such media type")),
    }
}

/// Whether the format says of a body that is no XML what its media type says (ASS_A12).
fn fits(call: &Call, document: &DraftDocument<'_>, media: Media) -> bool {
    const BODIES: [&str; 5] = ["application/pdf", "text/plain", "text/rtf", "image/jpeg", "image/tiff"];
    let format = document.resource.content.first().and_then(|content| content.format.as_ref());
    let format = format.map_or("", |format| format.code());
    let of_format = BODIES.into_iter().find(|body| call.services.codes.cda_format(body) == Some(format));
    of_format.is_none_or(|body| Media::of(body) == Some(media))
}

/// The rule that a trace quotes.
const BY_CONTENT: &str = "a document is what it is declared to be";

/// A FHIR document (ITI-65, FHIR Document Publish; a simplified publish may carry one too): FHIR as the door wants it of any body, and
/// about the patient, of the type that the metadata say.
fn check_fhir_document(
    document: &DraftDocument<'_>,
    (system, value): &(String, String),
    findings: &mut Findings,
) -> Result<(), Refusal> {
    let at = |element: &str| document.at(element);
    let invalid = |why: String| {
        Refusal::at(Reason::InvalidContent, at("content[0].attachment"), why)
            .by("a FHIR document is a Bundle of type document (FHIR R4, 3.3.1)")
    };
    let text = std::str::from_utf8(&document.content).map_err(|_| invalid("not UTF-8".into()))?;
    json::admit(text).map_err(|refusal| {
        invalid(refusal.issues.first().map_or_else(String::new, |issue| issue.diagnostics.to_string()))
    })?;
    xml::check(text).map_err(|fault| invalid(format!("not a resource of FHIR R4: {fault}")))?;
    let read = FhirDocument::read(text).map_err(|why| invalid(why.to_owned()))?;
    let mut others = 0;
    each_enclosed(text, |found| match found {
        Enclosed::File { media_type, data } => media::check_enclosed(media_type, data, (system, value)),
        Enclosed::Elsewhere(url)
            if url.trim_start().get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("data:")) =>
        {
            Err("it stands in its own address".to_owned())
        }
        Enclosed::Elsewhere(_) => Ok(()),
        // Wherever another patient is named: as a subject, in a Bundle within, in whatever else.
        Enclosed::Identifier(of, is) => {
            others += usize::from(ins_system::is_key(of) && (of != system || is != value));
            Ok(())
        }
    })
    .map_err(|why| {
        Refusal::at(
            Reason::ContentMismatch,
            at("content[0].attachment"),
            format!("a file in the document: {why}"),
        )
        .by(BY_CONTENT)
    })?;
    let mut mismatches = Vec::new();
    // Whom it is about is the patient of the record, and nobody with another INS is in it.
    let is_own = |(of, is): &(String, String)| of == system && is == value;
    if !read.subject_ids.iter().any(is_own) || others > 0 {
        mismatches.push(Issue::at(at("subject"), "the FHIR document is about another patient"));
    }
    if read.type_code != document.resource.r#type.code() {
        mismatches.push(Issue::at(at("type"), "the Composition has another type"));
    }
    if read.identifier.as_deref() != document.resource.unique_id() {
        findings.strict(at("masterIdentifier.value"), "the Bundle has another identifier");
    }
    match Refusal::of(Reason::ContentMismatch, mismatches) {
        Some(refusal) => Err(refusal.by("a FHIR document and the metadata agree: patient, type")),
        None => Ok(()),
    }
}

fn check_cda(
    document: &DraftDocument<'_>,
    content_type: &str,
    (system, value): &(String, String),
    findings: &mut Findings,
) -> Result<(), Refusal> {
    let at = |element: &str| document.at(element);
    let header = Header::read(&document.content).map_err(|fault| {
        Refusal::at(Reason::InvalidContent, at("content[0].attachment"), fault.to_string())
            .by("EX_2.1-1115, CDA: a document is well-formed, without DTD, script or outside resource")
    })?;
    if let Some(body) = &header.body {
        let at_body = || at("content[0].attachment");
        media::check_body(body)
            .map_err(|why| Refusal::at(Reason::ContentMismatch, at_body(), why).by(BY_CONTENT))?;
    }
    let authors = document.authors_apart_from_organisations();
    if header.authors > 0 && authors > 0 && header.authors != authors {
        let why = format!("the CDA header has {} authors, the metadata {authors} (2.1-900)", header.authors);
        findings.strict(at("author"), why);
    }
    let mut mismatches = Vec::new();

    match header.patient_ids.as_slice() {
        [] => findings.strict(at("subject"), "the CDA header names no patient (recordTarget)"),
        ids => {
            let own = |(root, extension): &(String, String)| {
                system.strip_prefix("urn:oid:") == Some(root) && value == extension
            };
            // Local identifiers stand beside the INS; another INS does not.
            let other_ins = |(root, extension): &(String, String)| {
                ins_system::is_key(&format!("urn:oid:{root}")) && extension != value
            };
            if !ids.iter().any(own) || ids.iter().any(other_ins) {
                mismatches.push(Issue::at(at("subject"), "the CDA document is about another patient"));
            }
        }
    }
    let unique_id = document.resource.unique_id().unwrap_or_default();
    let bare = unique_id.strip_prefix("urn:oid:").or_else(|| unique_id.strip_prefix("urn:uuid:"));
    match header.id.as_deref() {
        None => findings.strict(at("masterIdentifier"), "the CDA header has no id"),
        Some(id) if bare.is_some_and(|bare| bare.eq_ignore_ascii_case(id)) => {}
        Some(_) => mismatches.push(Issue::at(at("masterIdentifier.value"), "the CDA header has another id")),
    }
    match header.type_code.as_deref() {
        None => findings.strict(at("type"), "the CDA header has no code"),
        Some(code) if code == document.resource.r#type.code() => {}
        Some(_) => {
            mismatches.push(Issue::at(at("type"), "the CDA header has another code"));
        }
    }
    if document.resource.r#type.code() == VACCINATION_NOTE {
        vaccinations::check(document, findings)?;
    }
    if header.is_self_presenting != (content_type == "application/xslt+xml") {
        findings.strict(
            at("content[0].attachment.contentType"),
            "application/xslt+xml is the type of a self-presenting CDA document and of no other",
        );
    }
    match Refusal::of(Reason::ContentMismatch, mismatches) {
        Some(refusal) => Err(refusal.by("the CDA header and the metadata agree: patient, unique id, type")),
        None => Ok(()),
    }
}
