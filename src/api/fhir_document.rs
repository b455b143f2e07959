//! TD3.2, ITI-68 of a FHIR document: `GET /Bundle/{id}`.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::negotiation::Accepted;
use super::respond::Answer;
use super::{Api, gate, partial, request, respond};
use crate::error::{Reason, Refusal};
use crate::operations::feed::FHIR_DOCUMENT;
use crate::operations::read_document::{self, Held, Part};

/// All the memory that bodies have together: a document for which it is not enough is read when nothing else is under way.
const ALL_MEMORY: u64 = (super::BODY_MEMORY as u64) << 10;

/// Retrieve a FHIR document (TD3.2, ITI-68).
///
/// The Bundle as it was fed, in JSON or XML. What may not be seen is answered like what does not exist.
#[utoipa::path(
    get, path = "/fhir/Bundle/{id}", tag = "TD3.2", operation_id = "readBundle",
    params(("id" = String, Path, description = "from content.attachment.url")),
    responses(
        (status = 200, description = "Bundle of type document", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 304, description = "The client holds it: If-None-Match names its ETag"),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn read(request: HttpRequest, api: web::Data<Api>, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, read_document::RETRIEVE, async |call| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        // Held whole, and written in another form: as much memory as a body that comes in. Without room the answer is « later ».
        let body = read_document::retrieve(&call, id.into_inner(), Held::All, |described| {
            if described.content_type != FHIR_DOCUMENT {
                return Err(Refusal::new(Reason::NotFound, "no such resource").by("the document is no Bundle"));
            }
            if partial::holds_it(&request, described.sha256) {
                return Ok(Part::NotModified);
            }
            match request::hold_memory(
                &request,
                &api.body_memory,
                described.size.saturating_mul(3).min(ALL_MEMORY),
            ) {
                true => Ok(Part::Whole),
                false => Err(Refusal {
                    retry_after: Some(2),
                    ..Refusal::new(Reason::BudgetSpent, "no memory for one more long document now")
                }),
            }
        })
        .await?;
        let request_id = call.trace.request_id.clone();
        Ok(body.map(|body| match body.into_text() {
            Ok((status, text, sha256)) => Answer::fhir(status, text).with(header::ETAG, partial::etag(&sha256)),
            // Invariant: the door took it in as text.
            Err(failure) => respond::failure(&failure, &request_id),
        }))
    })
    .await
}
