//! `GET /metadata`.

use actix_web::{HttpRequest, HttpResponse};

use super::negotiation::Accepted;
use super::respond::Answer;
use super::{gate, request};
use crate::fhir::capability;
use crate::operations::{Budget, Operation};

/// What this server does.
///
/// The CapabilityStatement. Any valid client certificate will do.
#[utoipa::path(
    get, path = "/fhir/metadata", tag = "server", operation_id = "metadata",
    responses(
        (status = 200, description = "CapabilityStatement", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn capability_statement(request: HttpRequest) -> HttpResponse {
    gate::serve_connected(&request, Operation::without_scope("metadata", Budget::Read), async |api| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        Ok(Answer::fhir(200, capability::statement(&api.base, env!("CARGO_PKG_VERSION"), &api.started)))
    })
    .await
}
