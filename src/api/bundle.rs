//! ITI-65: `POST /`.

use actix_web::{HttpRequest, HttpResponse, web};

use super::negotiation::Accepted;
use super::respond::Answer;
use super::{gate, request, respond};
use crate::fhir::bundle::transaction_response;
use crate::operations::feed::{self, Form};

/// Feed documents (TD2.1, TD2.2; ITI-65).
///
/// A transaction of one SubmissionSet (List), DocumentReferences and their Binaries. All of it is kept, or none. Sending
/// the same again, byte for byte, is answered as the first time.
#[utoipa::path(
    post, path = "/fhir", tag = "TD2", operation_id = "provideDocumentBundle",
    request_body(content = super::openapi::Resource, content_type = "application/fhir+json", description = "Bundle of type transaction"),
    responses(
        (status = 200, description = "Bundle of type transaction-response, one entry per entry, in order", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 408, response = super::openapi::Outcome),
        (status = 409, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn transaction(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    gate::serve(&request, feed::PROVIDE, async |call| {
        Accepted::of(&request, &[]).choose(&request)?;
        // Before the body is taken in: who may not, costs no memory.
        feed::permitted_at_all(&call)?;
        let mut held = request::resource_body(&request, payload).await?;
        let request_id = call.trace.request_id.clone();
        let fed = feed::run(&call, Form::Transaction, held.take()).await?;
        Ok(fed.map(|fed| match fed {
            Ok(fed) => Answer::fhir(200, transaction_response(&fed.entries, fed.last_modified)),
            Err(refusal) => respond::failure(&refusal.into(), &request_id),
        }))
    })
    .await
}
