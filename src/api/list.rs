//! ITI-66: `List` as SubmissionSet and as Folder.

use actix_web::{HttpRequest, HttpResponse, web};

use super::negotiation::Accepted;
use super::pages::Pages;
use super::record_search::{RecordSearch, link};
use super::respond::Answer;
use super::submission_set_search::{KIND, SubmissionSetSearch};
use super::{Api, gate, request};
use crate::audit::Traced;
use crate::error::Failure;
use crate::fhir::bundle::SearchSet;
use crate::fhir::outcome;
use crate::operations::{Call, find_submission_sets};

/// Find submission sets and folders (ITI-66).
///
/// Newest first. One is there for who may see a document of it, and names those documents alone.
#[utoipa::path(
    get, path = "/fhir/List", tag = "TD3.1", operation_id = "searchList",
    params(
        ("patient.identifier" = Option<String>, Query, description = "INS as system|value; this or patient", example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"),
        ("patient" = Option<String>, Query, description = "Patient/id; this or patient.identifier"),
        ("code" = String, Query, description = "submissionset or folder, or both with a comma between", example = "submissionset"),
        ("status" = String, Query, description = "current", example = "current"),
        ("date" = Option<String>, Query, description = "date of submission, with ge, gt, le, lt, sa, eb", example = "ge2024-01-01"),
        ("identifier" = Option<String>, Query, description = "unique id or entry UUID"),
        ("designationType" = Option<String>, Query, description = "content type, JDV_J59"),
        ("sourceId" = Option<String>, Query, description = "the system that sent it"),
        ("source.family" = Option<String>, Query, description = "family name of who sent it, its beginning; whole with :exact"),
        ("source.given" = Option<String>, Query, description = "given name, likewise"),
        ("authorOrg" = Option<String>, Query, description = "identifier of the organisation"),
        ("_include" = Option<String>, Query, description = "List:item: the documents with them"),
        ("_id" = Option<String>, Query, description = "List.id"),
        ("_count" = Option<u32>, Query, description = "sets on a page, 100 unless said, at most 200; 0 for the total alone"),
    ),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    gate::serve(&request, find_submission_sets::SEARCH, async |call| {
        find(&request, &api, call, request::query(&request)?).await
    })
    .await
}

/// Find submission sets (ITI-66), the INS in the body.
///
/// As the search by GET; an INS in a body stands in no proxy's log.
#[utoipa::path(
    post, path = "/fhir/List/_search", tag = "TD3.1", operation_id = "searchListByPost",
    request_body(content = super::openapi::SearchForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search_by_post(request: HttpRequest, api: web::Data<Api>, payload: web::Payload) -> HttpResponse {
    gate::serve(&request, find_submission_sets::SEARCH, async |call| {
        let parameters = request::form(&request, payload).await?;
        find(&request, &api, call, parameters).await
    })
    .await
}

async fn find(
    request: &HttpRequest,
    api: &Api,
    call: Call,
    parameters: request::Parameters,
) -> Result<Traced<Answer>, Failure> {
    Accepted::of(request, &parameters).choose(request)?;
    let pages = Pages::of(&call);
    let search = SubmissionSetSearch::read(parameters, request::handling(request), &pages)?;
    let RecordSearch { patient, ignored, repeated, .. } = search.record;
    let after = search.page.after.clone();
    let warning = (!ignored.is_empty()).then(|| outcome::ignored(&ignored));
    let found = find_submission_sets::run(&call, patient, search.criteria, search.page).await?;
    Ok(found.map(|found| {
        let link = |after| link(KIND, &repeated, found.record_id.as_deref(), after, &pages);
        let (this, next) = (link(after.as_ref()), found.found.page.next.as_ref().map(|next| link(Some(next))));
        let bundle = SearchSet {
            base: &api.base,
            total: found.found.page.total,
            this: Some(&this),
            next: next.as_deref(),
            entries: &found.found.page.entries,
            included: &found.found.included,
            warning: warning.as_deref(),
        };
        Answer::fhir(200, bundle.to_text())
    }))
}

/// Read one submission set or folder.
///
/// One of which no document may be seen is answered like what does not exist.
#[utoipa::path(
    get, path = "/fhir/List/{id}", tag = "TD3.1", operation_id = "readList",
    params(("id" = String, Path, description = "List.id")),
    responses(
        (status = 200, description = "List", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn read(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, find_submission_sets::READ, async |call| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        let list = find_submission_sets::read(&call, id.into_inner()).await?;
        Ok(list.map(|list| Answer::fhir(200, list)))
    })
    .await
}
