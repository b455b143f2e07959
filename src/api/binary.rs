//! TD3.2, ITI-68: `GET /Binary/{id}`.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::negotiation::{Accepted, Form};
use super::respond::Answer;
use super::{gate, request};
use crate::fhir::json::quoted;
use crate::operations::read_document;

/// Read a document (TD3.2; ITI-68).
///
/// The bytes as they were fed, or a Binary resource when `Accept` names `application/fhir+json` or `application/fhir+xml`. What may not be seen is
/// answered like what does not exist.
#[utoipa::path(
    get, path = "/fhir/Binary/{id}", tag = "TD3.2", operation_id = "readBinary",
    params(("id" = String, Path, description = "Binary.id, from content.attachment.url")),
    responses(
        (status = 200, description = "The document's bytes", content((String = "application/octet-stream"), (super::openapi::Resource = "application/fhir+json"))),
        (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn read(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, read_document::RETRIEVE, async |call| {
        let accepted = Accepted::of(&request, &request::query(&request)?);
        let asked = accepted.clone();
        let acceptable = move |content_type: &str| asked.form_of(content_type).is_some();
        let body = read_document::retrieve(&call, id.into_inner(), acceptable).await?;
        Ok(body.map(|body| match accepted.form_of(&body.content_type) {
            Some(Form::Resource(format)) => {
                request.extensions_mut().insert(format);
                let resource = format!(
                    "{{\"resourceType\":\"Binary\",\"id\":{},\"contentType\":{},\"data\":\"{}\"}}",
                    quoted(&body.binary_id),
                    quoted(&body.content_type),
                    BASE64.encode(&body.bytes)
                );
                Answer::fhir(200, resource)
            }
            _ => Answer::bytes(body.content_type, &body.binary_id, body.bytes),
        }))
    })
    .await
}
