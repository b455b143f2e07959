//! TD3.2, ITI-68: `GET /Binary/{id}`.

use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::negotiation::{Accepted, Form, Format};
use super::respond::{Answer, Behind};
use super::{gate, partial, request, respond};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::json::quoted;
use crate::fhir::xml;
use crate::operations::feed::FHIR_DOCUMENT;
use crate::operations::read_document::{self, Body, Content, Held, Part};

/// The media type of imaging manifests.
const DICOM: &str = "application/dicom";

fn is_dicom(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(DICOM)
}

/// Read a document (TD3.2; ITI-68).
///
/// The bytes as they were fed, or a Binary resource when `Accept` names `application/fhir+json` or `application/fhir+xml`. What may not be seen is
/// answered like what does not exist. The bytes never change under their address: `If-None-Match` and `Range` are understood.
/// Software that accepts `text/xml` and no DICOM gets, of an imaging manifest, a CDA document of plain text that tells of it.
#[utoipa::path(
    get, path = "/fhir/Binary/{id}", tag = "TD3.2", operation_id = "readBinary",
    params(
        ("id" = String, Path, description = "Binary.id, from content.attachment.url"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of what the client holds")
    ),
    responses(
        (status = 200, description = "The document's bytes", content((super::openapi::Bytes = "*/*"), (super::openapi::Resource = "application/fhir+json"))),
        (status = 206, description = "The part that Range names", body = super::openapi::Bytes, content_type = "*/*"),
        (status = 304, description = "The client holds it: If-None-Match names its ETag"),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 416, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn read(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, read_document::RETRIEVE, async |call| {
        let accepted = Accepted::of(&request, &request::query(&request)?);
        let body = read_document::retrieve(&call, id.into_inner(), Held::Short, |described| {
            // A FHIR document is a Bundle, and has its own address.
            if described.content_type == FHIR_DOCUMENT {
                return Err(Refusal::new(Reason::NotFound, "no such resource").by("the document is a Bundle"));
            }
            match accepted.form_of(described.content_type) {
                Some(Form::Native) => partial::wanted(&request, described.sha256, described.size),
                Some(Form::Resource(_)) => Ok(Part::Whole),
                None if is_dicom(described.content_type) && accepted.takes_xml() => Ok(Part::Notice),
                None => {
                    let why = format!("the document is {}", described.content_type);
                    Err(Refusal::new(Reason::NotAcceptable, why))
                }
            }
        })
        .await?;
        let request_id = call.trace.request_id.clone();
        Ok(body.map(|body| match accepted.form_of(&body.content_type) {
            Some(Form::Resource(format)) => resource(&request, body, format)
                .unwrap_or_else(|failure| respond::failure(&failure, &request_id)),
            _ => {
                let disposition = partial::disposition(&body.title, &body.content_type, &body.binary_id);
                let bounds = body.bounds();
                let (held, behind) = match body.content {
                    Content::Held(bytes) => (bytes, None),
                    Content::Stored(stored) => (Bytes::new(), Some(Behind { stored, bounds, inside: None })),
                };
                let answer = Answer::bytes(body.part.status(), body.content_type, disposition, held)
                    .followed_by(behind)
                    .with(header::ETAG, partial::etag(&body.sha256))
                    .with(header::ACCEPT_RANGES, "bytes".into());
                match body.part {
                    Part::Range(first, last) => {
                        answer.with(header::CONTENT_RANGE, format!("bytes {first}-{last}/{}", body.size))
                    }
                    Part::Whole | Part::NotModified | Part::Notice => answer,
                }
            }
        }))
    })
    .await
}

/// The document as a Binary, in JSON or XML.
///
/// # Errors
/// [`Failure::Internal`]: it cannot be written, which what was taken in can.
fn resource(request: &HttpRequest, body: Body, format: Format) -> Result<Answer, Failure> {
    let written = |data: &str| {
        format!(
            "{{\"resourceType\":\"Binary\",\"id\":{},\"contentType\":{},\"data\":\"{data}\"}}",
            quoted(&body.binary_id),
            quoted(&body.content_type),
        )
    };
    let bounds = body.bounds();
    match &body.content {
        Content::Held(bytes) => {
            request.extensions_mut().insert(format);
            Ok(Answer::fhir(200, written(&BASE64.encode(bytes))))
        }
        Content::Stored(stored) => {
            // What stands where the data will: the last of its kind in either form.
            const DATA: &str = "AAAA";
            let whole = match format {
                Format::Json => written(DATA),
                Format::Xml => xml::to_xml(&written(DATA)).map_err(Failure::internal)?,
            };
            let (before, after) =
                whole.rsplit_once(DATA).ok_or_else(|| Failure::internal("a Binary without data"))?;
            let behind = Behind { stored: stored.clone(), bounds, inside: Some(after.to_owned()) };
            Ok(Answer::written(200, format, before.to_owned()).followed_by(Some(behind)))
        }
    }
}
