//! ITI-67, ITI-105, and reading one DocumentReference.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::document_search::{DocumentSearch, KIND};
use super::negotiation::Accepted;
use super::pages::Pages;
use super::record_search::{RecordSearch, link};
use super::respond::Answer;
use super::search_parameters::invalid;
use super::{Api, gate, request, respond};
use crate::audit::Traced;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::bundle::{self, SearchEntry, SearchSet, with_base};
use crate::fhir::patch::Patch;
use crate::fhir::refresh::{Asked, Told};
use crate::fhir::{document_reference, outcome, parameters};
use crate::operations::feed::{self, Form};
use crate::operations::find_documents::Hits;
use crate::operations::update_document::{self, Updated};
use crate::operations::{
    Budget, Call, Operation, PatientKey, find_documents, read_document, refresh_documents,
};
use crate::store::{DocumentKey, DocumentSummary, Known};

/// A search of documents, before its parameters have said whether it is a look-up (TD3.1b).
const SEARCH: Operation = Operation::without_scope("TD3.1 find documents", Budget::Search);

/// Find documents (TD3.1a, TD3.1b; ITI-67).
///
/// Newest first. What the caller may not see is in no entry, no total and no page.
#[utoipa::path(
    get, path = "/fhir/DocumentReference", tag = "TD3.1", operation_id = "searchDocumentReference",
    params(
        ("patient.identifier" = Option<String>, Query, description = "INS as system|value; this or patient", example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"),
        ("patient" = Option<String>, Query, description = "Patient/id; this or patient.identifier"),
        ("status" = Option<String>, Query, description = "current, superseded; mandatory without identifier", example = "current"),
        ("type" = Option<String>, Query, description = "JDV_J66", example = "http://loinc.org|11488-4"),
        ("category" = Option<String>, Query, description = "JDV_J57"),
        ("format" = Option<String>, Query, description = "JDV_J60"),
        ("facility" = Option<String>, Query, description = "JDV_J61"),
        ("setting" = Option<String>, Query, description = "JDV_J62"),
        ("identifier" = Option<String>, Query, description = "unique id (TD3.1b)", example = "urn:ietf:rfc:3986|urn:oid:1.2.250.1"),
        ("date" = Option<String>, Query, description = "date of the DocumentReference, with ge, gt, le, lt, sa, eb", example = "ge2024-01-01"),
        ("creation" = Option<String>, Query, description = "date of the document, likewise"),
        ("period" = Option<String>, Query, description = "period of the act, likewise"),
        ("period-start" = Option<String>, Query, description = "its start, likewise"),
        ("period-end" = Option<String>, Query, description = "its end, likewise"),
        ("_lastUpdated" = Option<String>, Query, description = "last change, likewise"),
        ("event" = Option<String>, Query, description = "act that was documented"),
        ("author" = Option<String>, Query, description = "identifier of an author, as system|value"),
        ("author.family" = Option<String>, Query, description = "family name of an author, its beginning; whole with :exact"),
        ("author.given" = Option<String>, Query, description = "given name of an author, likewise"),
        ("related:identifier" = Option<String>, Query, description = "study, order or accession number; the type of number may stand before it", example = "urn:ihe:iti:xds:2016:studyInstanceUID|1.2.250.1"),
        ("relatesto" = Option<String>, Query, description = "DocumentReference/id that was replaced"),
        ("security-label" = Option<String>, Query, description = "N, MASQUE_PS, INVISIBLE_PATIENT, INVISIBLE_REPRESENTANTS_LEGAUX"),
        ("isArchived" = Option<bool>, Query, description = "archived ones alone, or the others alone"),
        ("_sort" = Option<String>, Query, description = "-date (the newest first, which is the rule) or date"),
        ("_id" = Option<String>, Query, description = "DocumentReference.id"),
        ("_count" = Option<u32>, Query, description = "documents on a page, 100 unless said, at most 500; 0 for the total alone"),
    ),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    gate::serve(&request, SEARCH, async |call| find(&request, &api, call, request::query(&request)?).await)
        .await
}

/// Find documents (TD3.1a, TD3.1b; ITI-67), the INS in the body.
///
/// As the search by GET; an INS in a body stands in no proxy's log.
#[utoipa::path(
    post, path = "/fhir/DocumentReference/_search", tag = "TD3.1", operation_id = "searchDocumentReferenceByPost",
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
    gate::serve(&request, SEARCH, async |call| {
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
    let search = DocumentSearch::read(parameters, request::handling(request), &pages, &api.services.codes)?;
    let RecordSearch { patient, ignored, repeated, .. } = search.record;
    let after = search.page.after.clone();
    let warning = (!ignored.is_empty()).then(|| outcome::ignored(&ignored));
    let found = find_documents::run(&call, patient, search.criteria, search.page).await?;
    Ok(found.map(|found| {
        let record_id = found.record_id.as_deref();
        let this = link(KIND, &repeated, record_id, after.as_ref(), &pages);
        let (entries, total, next) = match found.page {
            Hits::Documents(page) => (page.entries, page.total, page.next),
            Hits::References(references) => {
                let entry = |one: &DocumentSummary| SearchEntry {
                    path: format!("DocumentReference/{}", one.id),
                    resource: reference_of(one),
                    link: None,
                };
                let entries: Vec<SearchEntry> = references.iter().map(entry).collect();
                let total = entries.len() as u64;
                (entries, total, None)
            }
        };
        let next = next.map(|next| link(KIND, &repeated, record_id, Some(&next), &pages));
        let bundle = SearchSet {
            base: &api.base,
            total,
            this: Some(&this),
            next: next.as_deref(),
            entries: &entries,
            included: &[],
            warning: warning.as_deref(),
        };
        Answer::fhir(200, bundle.to_text())
    }))
}

/// What changed in a record (`$actualiser`).
///
/// Parameters: `patient` (valueIdentifier, the INS), and `depuis` (valueDateTime) or `connus` (valueId, or valueReference with the version
/// that the software holds), or both. The answer names what is `nouveau` and `modifie` with its DocumentReference, `remplace` with its
/// successor (`par`), and which of `connus` are `disparu`: deleted, masked or never there, told apart by nobody. `instant` is the
/// next call's `depuis`: ten minutes before this one at the latest, so that nothing is missed that was under way; what changed since then is told
/// again, unless `connus` names it with its version. `incomplet` says that there is more.
#[utoipa::path(
    post, path = "/fhir/DocumentReference/$actualiser", tag = "TD3.1", operation_id = "refreshDocuments",
    request_body(content = super::openapi::Resource, content_type = "application/fhir+json", description = "Parameters"),
    responses(
        (status = 200, description = "Parameters", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn refresh(request: HttpRequest, api: web::Data<Api>, payload: web::Payload) -> HttpResponse {
    gate::serve(&request, refresh_documents::OPERATION, async |call| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        let mut held = request::short_resource_body(&request, payload).await?;
        let Asked { patient: (system, value), since, known } = Asked::read(&held.take())?;
        let patient = PatientKey::of_identifier(&system, &value, "Parameters.parameter('patient')")?;
        let known = known.into_iter().map(|(id, version)| Known { id, version }).collect();
        let changes = refresh_documents::run(&call, patient, since, known).await?;
        Ok(changes.map(|changes| {
            let told = Told {
                base: &api.base,
                as_of: changes.as_of,
                more: changes.more,
                new: &changes.new,
                changed: &changes.changed,
                replaced: &changes.replaced,
                gone: &changes.gone,
            };
            Answer::fhir(200, told.to_text())
        }))
    })
    .await
}

/// Feed one document (ITI-105).
///
/// A DocumentReference with the bytes in `content.attachment.data`. The server makes the SubmissionSet and the Binary.
#[utoipa::path(
    post, path = "/fhir/DocumentReference", tag = "TD2", operation_id = "publishDocument",
    request_body(content = super::openapi::Resource, content_type = "application/fhir+json", description = "DocumentReference"),
    responses(
        (status = 201, description = "Kept; the DocumentReference", content_type = "application/fhir+json", body = super::openapi::Resource,
         headers(("Location" = String, description = "Where it is"))),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 408, response = super::openapi::Outcome),
        (status = 409, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn create(request: HttpRequest, api: web::Data<Api>, payload: web::Payload) -> HttpResponse {
    gate::serve(&request, feed::PUBLISH, async |call| {
        Accepted::of(&request, &[]).choose(&request)?;
        // Before the body is taken in: who may not, costs no memory.
        feed::permitted_at_all(&call)?;
        let mut held = request::resource_body(&request, payload).await?;
        let request_id = call.trace.request_id.clone();
        let fed = feed::run(&call, Form::Single, held.take()).await?;
        Ok(fed.map(|fed| match fed {
            Ok(fed) => {
                let document = fed.published.unwrap_or_default();
                let id = fed.document_ids.first().map_or("", String::as_str);
                let version = document.version;
                Answer::fhir(201, with_base(&document.resource, document.link, &api.base))
                    .with(header::LOCATION, format!("{}/DocumentReference/{id}/_history/{version}", api.base))
                    .with(header::ETAG, format!("W/\"{version}\""))
            }
            Err(refusal) => respond::failure(&refusal.into(), &request_id),
        }))
    })
    .await
}

/// Feed a CDA document whose header says what is to be known of it (ITI-106).
///
/// Parameters with one parameter, `document`, a Binary of text/xml. The server makes DocumentReference and SubmissionSet of the header, holds
/// them to the rules of a feed, and answers where the DocumentReference is.
#[utoipa::path(
    post, path = "/fhir/DocumentReference/$generate-metadata", tag = "TD2", operation_id = "generateMetadata",
    request_body(content = super::openapi::Resource, content_type = "application/fhir+json", description = "Parameters: document"),
    responses(
        (status = 200, description = "Kept; Parameters with a reference, DocumentReference", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 408, response = super::openapi::Outcome),
        (status = 409, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn generate(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    gate::serve(&request, feed::GENERATE, async |call| {
        Accepted::of(&request, &[]).choose(&request)?;
        // Before the body is taken in: who may not, costs no memory.
        feed::permitted_at_all(&call)?;
        let mut held = request::resource_body(&request, payload).await?;
        let request_id = call.trace.request_id.clone();
        let fed = feed::run(&call, Form::Document, held.take()).await?;
        Ok(fed.map(|fed| match fed {
            Ok(fed) => {
                let id = fed.document_ids.first().map_or("", String::as_str);
                Answer::fhir(
                    200,
                    parameters::reference("DocumentReference", &format!("DocumentReference/{id}")),
                )
            }
            Err(refusal) => respond::failure(&refusal.into(), &request_id),
        }))
    })
    .await
}

/// Change a document by its identifier (TD3.3a to d).
///
/// As the PATCH by id; `identifier` is the unique id.
#[utoipa::path(
    patch, path = "/fhir/DocumentReference", tag = "TD3.3", operation_id = "patchDocumentReferenceByIdentifier",
    params(
        ("identifier" = String, Query, description = "unique id", example = "urn:ietf:rfc:3986|urn:oid:1.2.250.1"),
        ("If-Match" = Option<String>, Header, description = "The version that is meant, as its ETag")
    ),
    request_body(content(
        (super::openapi::JsonPatch = "application/json-patch+json"),
        (super::openapi::Resource = "application/fhir+json")
    ), description = "status, securityLabel, isArchived"),
    responses(
        (status = 200, description = "Changed; the DocumentReference", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 405, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 412, response = super::openapi::Outcome),
        (status = 413, response = super::openapi::Outcome), (status = 422, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn patch_by_identifier(
    request: HttpRequest,
    api: web::Data<Api>,
    payload: web::Payload,
) -> HttpResponse {
    gate::serve(&request, update_document::OPERATION, async |call| {
        let key = unique_id(request::query(&request)?)?;
        change(&request, &api, call, key, payload).await
    })
    .await
}

/// Change a document (TD3.3a to d).
///
/// `status` to entered-in-error, `securityLabel`, the isArchived extension, and nothing else; JSON Patch, XML Patch or FHIRPath Patch. `If-Match`
/// says which version is meant. What may not be seen is answered like what does not exist.
#[utoipa::path(
    patch, path = "/fhir/DocumentReference/{id}", tag = "TD3.3", operation_id = "patchDocumentReference",
    params(
        ("id" = String, Path, description = "DocumentReference.id"),
        ("If-Match" = Option<String>, Header, description = "The version that is meant, as its ETag")
    ),
    request_body(content(
        (super::openapi::JsonPatch = "application/json-patch+json"),
        (super::openapi::Resource = "application/fhir+json")
    ), description = "status, securityLabel, isArchived"),
    responses(
        (status = 200, description = "Changed; the DocumentReference", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 405, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 412, response = super::openapi::Outcome),
        (status = 413, response = super::openapi::Outcome), (status = 422, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn patch(
    request: HttpRequest,
    api: web::Data<Api>,
    id: web::Path<String>,
    payload: web::Payload,
) -> HttpResponse {
    gate::serve(&request, update_document::OPERATION, async |call| {
        change(&request, &api, call, DocumentKey::Id(id.into_inner()), payload).await
    })
    .await
}

/// What one DocumentReference was.
///
/// Version for version, the newest first. A version is there for who may see the document now and might have seen it then.
#[utoipa::path(
    get, path = "/fhir/DocumentReference/{id}/_history", tag = "TD3.1", operation_id = "documentReferenceHistory",
    params(("id" = String, Path, description = "DocumentReference.id")),
    responses(
        (status = 200, description = "Bundle of type history", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn history(request: HttpRequest, api: web::Data<Api>, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, read_document::HISTORY, async |call| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        let id = id.into_inner();
        let path = format!("DocumentReference/{id}");
        let versions = read_document::history(&call, id, None).await?;
        Ok(versions.map(|versions| {
            let versions: Vec<_> =
                versions.into_iter().map(|one| (one.version, one.resource, one.link)).collect();
            Answer::fhir(200, bundle::history(&api.base, &path, &versions))
        }))
    })
    .await
}

/// One version of a DocumentReference.
#[utoipa::path(
    get, path = "/fhir/DocumentReference/{id}/_history/{version}", tag = "TD3.1", operation_id = "readDocumentReferenceVersion",
    params(
        ("id" = String, Path, description = "DocumentReference.id"),
        ("version" = String, Path, description = "meta.versionId", example = "1"),
    ),
    responses(
        (status = 200, description = "DocumentReference", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn read_version(
    request: HttpRequest,
    api: web::Data<Api>,
    path: web::Path<(String, String)>,
) -> HttpResponse {
    gate::serve(&request, read_document::HISTORY, async |call| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        let (id, version) = path.into_inner();
        // What is no version of ours is answered like one that is not there.
        let version = version.parse::<i64>().unwrap_or(-1);
        let versions = read_document::history(&call, id, Some(version)).await?;
        Ok(versions.map(|versions| match versions.into_iter().next() {
            Some(one) => Answer::fhir(200, with_base(&one.resource, one.link, &api.base))
                .with(header::ETAG, format!("W/\"{}\"", one.version)),
            // Invariant: a history without a version is a refusal.
            None => respond::failure(&Failure::internal("a history without a version"), &call.trace.request_id),
        }))
    })
    .await
}

/// What a look-up tells, and the answer to who may change a document and not read it: which version stands, and no more.
fn reference_of(one: &DocumentSummary) -> String {
    document_reference::reference_of(&one.id, one.version, one.updated_at, &one.status, &one.unique_id)
}

fn unique_id(parameters: request::Parameters) -> Result<DocumentKey, Refusal> {
    let mut found = None;
    for (name, value) in &parameters {
        match name.as_str() {
            "identifier" if found.is_none() => {
                let (_, value) = value.split_once('|').unwrap_or(("", value));
                found = Some(DocumentKey::UniqueId(value.to_owned()));
            }
            "_format" | "_pretty" => {}
            _ => return Err(invalid(name, "a conditional PATCH carries identifier, once")),
        }
    }
    found.ok_or_else(|| {
        let why = "a conditional PATCH carries identifier (the document's unique id)";
        Refusal::at(Reason::MissingSearchParameter, "identifier", why)
    })
}

async fn change(
    request: &HttpRequest,
    api: &Api,
    call: Call,
    key: DocumentKey,
    payload: web::Payload,
) -> Result<Traced<Answer>, Failure> {
    Accepted::of(request, &[]).choose(request)?;
    // Before the body is taken in: who may not, costs no memory.
    update_document::permitted_at_all(&call)?;
    let if_match = request::if_match(request)?;
    let (form, mut held) = request::patch_body(request, payload).await?;
    let patch = match form {
        request::PatchForm::Json => Patch::of_json_patch(&held.take())?,
        request::PatchForm::FhirPath => Patch::of_parameters(&held.take())?,
        request::PatchForm::Xml => Patch::of_xml_patch(&held.take())?,
    };
    let request_id = call.trace.request_id.clone();
    let updated = update_document::run(&call, key, patch, if_match).await?;
    Ok(updated.map(|updated| match updated {
        Ok(Updated::Seen(document)) => {
            Answer::fhir(200, with_base(&document.resource, document.link, &api.base))
                .with(header::ETAG, format!("W/\"{}\"", document.version))
        }
        Ok(Updated::Known(reference)) => Answer::fhir(200, reference_of(&reference))
            .with(header::ETAG, format!("W/\"{}\"", reference.version)),
        Err(refusal) => respond::failure(&refusal.into(), &request_id),
    }))
}

/// Read one DocumentReference.
///
/// What may not be seen is answered like what does not exist.
#[utoipa::path(
    get, path = "/fhir/DocumentReference/{id}", tag = "TD3.1", operation_id = "readDocumentReference",
    params(("id" = String, Path, description = "DocumentReference.id")),
    responses(
        (status = 200, description = "DocumentReference", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn read(request: HttpRequest, api: web::Data<Api>, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, read_document::READ, async |call| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        let document = read_document::read(&call, id.into_inner()).await?;
        Ok(document.map(|document| {
            Answer::fhir(200, with_base(&document.resource, document.link, &api.base))
                .with(header::ETAG, format!("W/\"{}\"", document.version))
        }))
    })
    .await
}
