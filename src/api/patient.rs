//! TD0.2: `GET /Patient?identifier=…`.

use actix_web::{HttpRequest, HttpResponse, web};

use super::respond::Answer;
use super::search_parameters::{invalid, patient_key};
use super::{Api, gate, request};
use crate::audit::Traced;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::bundle::{SearchEntry, searchset};
use crate::operations::{Call, PatientKey, test_existence};

/// Test whether a record exists (TD0.2).
///
/// No entry: the patient has no record. One entry: `active` tells whether it is open.
#[utoipa::path(
    get, path = "/fhir/Patient", tag = "TD0.2", operation_id = "searchPatient",
    params(("identifier" = String, Query, description = "INS as system|value", example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989")),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    gate::serve(&request, test_existence::OPERATION, async |call| {
        run(&request, &api, call, request::query(&request)?).await
    })
    .await
}

/// Test whether a record exists (TD0.2), the INS in the body.
///
/// As the search by GET; an INS in a body stands in no proxy's log.
#[utoipa::path(
    post, path = "/fhir/Patient/_search", tag = "TD0.2", operation_id = "searchPatientByPost",
    request_body(content = super::openapi::PatientSearchForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search_by_post(request: HttpRequest, api: web::Data<Api>, payload: web::Payload) -> HttpResponse {
    gate::serve(&request, test_existence::OPERATION, async |call| {
        let parameters = request::form(&request, payload).await?;
        run(&request, &api, call, parameters).await
    })
    .await
}

async fn run(
    request: &HttpRequest,
    api: &Api,
    call: Call,
    parameters: request::Parameters,
) -> Result<Traced<Answer>, Failure> {
    request::Accepted::of(request, &parameters).require_fhir_json()?;
    let patient = identifier(parameters)?;
    let found = test_existence::run(&call, patient).await?;
    Ok(found.map(|record| {
        let entries: Vec<SearchEntry> = record
            .iter()
            .map(|record| SearchEntry {
                path: format!("Patient/{}", record.id),
                resource: record.to_text(),
                link: None,
            })
            .collect();
        // No self link: it would name the INS.
        Answer::fhir(200, searchset(&api.base, entries.len() as u64, None, None, &entries))
    }))
}

fn identifier(parameters: request::Parameters) -> Result<PatientKey, Refusal> {
    let mut found = None;
    for (name, value) in &parameters {
        match name.as_str() {
            "identifier" if found.is_none() => found = Some(patient_key(name, value)?),
            "identifier" => return Err(invalid(name, "the patient is named twice")),
            "_format" | "_pretty" => {}
            _ => return Err(invalid(name, "this server does not know this parameter")),
        }
    }
    found.ok_or_else(|| {
        Refusal::at(Reason::MissingSearchParameter, "identifier", "a search carries identifier (TD0.2)")
    })
}
