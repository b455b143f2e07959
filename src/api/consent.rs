//! TD0.3: `POST /Consent`.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::respond::Answer;
use super::{Api, gate, request, respond};
use crate::operations::declare_authorisation;

/// Declare that the patient authorised the caller (TD0.3).
///
/// `status` active, `provision.type` permit, the patient by identifier; no actor means the caller. Staff declare for
/// their structure.
#[utoipa::path(
    post, path = "/fhir/Consent", tag = "TD0.3", operation_id = "createConsent",
    request_body(content = super::openapi::Resource, content_type = "application/fhir+json", description = "Consent"),
    responses(
        (status = 201, description = "Kept; the Consent", content_type = "application/fhir+json", body = super::openapi::Resource,
         headers(("Location" = String, description = "Where it is"))),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 408, response = super::openapi::Outcome),
        (status = 413, response = super::openapi::Outcome), (status = 422, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn create(request: HttpRequest, api: web::Data<Api>, payload: web::Payload) -> HttpResponse {
    gate::serve(&request, declare_authorisation::OPERATION, async |call| {
        request::Accepted::of(&request, &[]).require_fhir_json()?;
        // Before the body is taken in: who may not, costs no memory.
        declare_authorisation::permitted_at_all(&call)?;
        let mut held = request::json_body(&request, payload).await?;
        let request_id = call.trace.request_id.clone();
        let declared = declare_authorisation::run(&call, held.take()).await?;
        Ok(declared.map(|declared| match declared {
            Ok(declared) => Answer::fhir(201, declared.resource)
                .with(header::LOCATION, format!("{}/Consent/{}/_history/1", api.base, declared.id))
                .with(header::ETAG, "W/\"1\"".into()),
            Err(refusal) => respond::failure(&refusal.into(), &request_id),
        }))
    })
    .await
}
