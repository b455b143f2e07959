//! TD0.2, TD0.4 by last document, TD0.5: `GET /Patient?…`; TD1.3a: `GET /Patient/{id}`; TD1.4: `POST /Patient/{id}/$fermer`.

use actix_web::{HttpRequest, HttpResponse, web};

use super::negotiation::Accepted;
use super::respond::Answer;
use super::search_parameters::{ListPage, since};
use super::search_parameters::{invalid, patient_key};
use super::{Api, gate, request, respond};
use crate::audit::Traced;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::bundle::{SearchEntry, searchset};
use crate::identity::identifiers::ins_system;
use crate::operations::list_own_records::{self, Asked};
use crate::operations::{
    Budget, Call, Operation, PatientKey, close_record, find_patient, read_patient, test_existence,
};
use crate::store::{IdentityCriteria, family_key};

/// A search of patients, before its parameters have said which transaction it is.
const SEARCH: Operation = Operation::without_scope("search Patient", Budget::Search);

/// Test whether a record exists (TD0.2), list one's records by their last document (TD0.4), find a patient without INS (TD0.5).
///
/// With `identifier`: no entry, the patient has no record; one entry, `active` tells whether it is open, and extensions how it stands
/// towards the caller. With `_has:DocumentReference:patient:_lastUpdated`: one's own records with something new since then. With traits:
/// in mode centre_15 alone.
#[utoipa::path(
    get, path = "/fhir/Patient", tag = "TD0.2", operation_id = "searchPatient",
    params(
        ("identifier" = Option<String>, Query, description = "TD0.2: INS as system|value", example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"),
        ("_has:DocumentReference:patient:_lastUpdated" = Option<String>, Query, description = "TD0.4: records with a document fed or changed since then", example = "ge2026-01-01"),
        ("family" = Option<String>, Query, description = "TD0.5: how the birth name begins; family:exact for the whole"),
        ("birthdate" = Option<String>, Query, description = "TD0.5: day of birth", example = "1979-03-28"),
        ("gender" = Option<String>, Query, description = "TD0.5: male, female or unknown"),
        ("_count" = Option<u32>, Query, description = "TD0.4: entries on a page, 100 unless said, at most 200"),
    ),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    gate::serve(&request, SEARCH, async |call| run(&request, &api, call, request::query(&request)?).await).await
}

/// The searches of patients (TD0.2, TD0.4, TD0.5), the parameters in the body.
///
/// As the search by GET; an INS or a name in a body stands in no proxy's log.
#[utoipa::path(
    post, path = "/fhir/Patient/_search", tag = "TD0.2", operation_id = "searchPatientByPost",
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
        run(&request, &api, call, parameters).await
    })
    .await
}

/// What a search of patients is.
enum Search {
    Existence(PatientKey),
    /// By a NIA, on which no record is ever opened (CNDA 0.2-080).
    Provisional,
    OwnRecords {
        since: i64,
        page: ListPage,
    },
    Traits(IdentityCriteria),
}

async fn run(
    request: &HttpRequest,
    api: &Api,
    call: Call,
    parameters: request::Parameters,
) -> Result<Traced<Answer>, Failure> {
    Accepted::of(request, &parameters).choose(request)?;
    match read_search(&parameters)? {
        Search::Existence(patient) => existence(api, &call.turn_to(test_existence::OPERATION)?, patient).await,
        Search::Provisional => {
            let call = call.turn_to(test_existence::OPERATION)?;
            let none = test_existence::provisional(&call).await?;
            Ok(none.map(|()| Answer::fhir(200, searchset(&api.base, 0, None, None, &[]))))
        }
        Search::OwnRecords { since, page } => {
            own_records(api, &call.turn_to(list_own_records::OPERATION)?, since, page).await
        }
        Search::Traits(criteria) => traits(api, &call.turn_to(find_patient::OPERATION)?, criteria).await,
    }
}

async fn existence(api: &Api, call: &Call, patient: PatientKey) -> Result<Traced<Answer>, Failure> {
    let found = test_existence::run(call, patient).await?;
    Ok(found.map(|found| {
        let entries: Vec<SearchEntry> = found
            .iter()
            .map(|found| {
                entry(&found.record.id, found.record.existence(Some((found.authorisation, found.relation))))
            })
            .collect();
        // No self link: it would name the INS.
        Answer::fhir(200, searchset(&api.base, entries.len() as u64, None, None, &entries))
    }))
}

async fn own_records(api: &Api, call: &Call, since: i64, page: ListPage) -> Result<Traced<Answer>, Failure> {
    let asked =
        Asked { documents_since: Some(since), count: page.count, offset: page.offset, ..Asked::default() };
    let own = list_own_records::run(call, asked).await?;
    Ok(own.map(|own| {
        let entries: Vec<SearchEntry> = own
            .records
            .iter()
            .map(|record| entry(&record.consent.record_id, record.patient.traits()))
            .collect();
        let parameters = [(
            "_has:DocumentReference:patient:_lastUpdated",
            format!("ge{}", crate::fhir::elements::to_instant(since)),
        )];
        let this = page.link("Patient", &parameters, page.offset);
        let next = own.more.then(|| page.link("Patient", &parameters, page.offset + page.count));
        Answer::fhir(200, searchset(&api.base, own.total as u64, Some(&this), next.as_deref(), &entries))
    }))
}

async fn traits(api: &Api, call: &Call, criteria: IdentityCriteria) -> Result<Traced<Answer>, Failure> {
    let found = find_patient::run(call, criteria).await?;
    Ok(found.map(|found| {
        let entries: Vec<SearchEntry> = found.iter().map(|record| entry(&record.id, record.traits())).collect();
        Answer::fhir(200, searchset(&api.base, entries.len() as u64, None, None, &entries))
    }))
}

fn entry(id: &str, resource: String) -> SearchEntry {
    SearchEntry { path: format!("Patient/{id}"), resource, link: None }
}

fn read_search(parameters: &request::Parameters) -> Result<Search, Refusal> {
    let (mut patient, mut own, mut page) = (None, None, ListPage::default());
    let mut traits = IdentityCriteria::default();
    let (mut by_traits, mut provisional) = (false, false);
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in parameters {
        if seen.contains(&name.as_str()) {
            return Err(invalid(name, "this parameter stands twice"));
        }
        seen.push(name);
        let given = || match value.trim() {
            "" => Err(invalid(name, "the value is empty")),
            value => Ok(value.to_owned()),
        };
        match name.as_str() {
            "identifier" if value.split('|').next() == Some(ins_system::NIA) => provisional = true,
            "identifier" => patient = Some(patient_key(name, value)?),
            "_has:DocumentReference:patient:_lastUpdated" => own = Some(since(name, value)?),
            "_count" | "_offset" => page.read(name, value)?,
            "family" => traits.family_prefix = Some(family_key(&given()?)),
            "family:exact" => traits.family_exact = Some(family_key(&given()?)),
            "birthdate" => {
                let day: Result<jiff::civil::Date, _> = value.strip_prefix("eq").unwrap_or(value).parse();
                let day = day.map_err(|_| invalid(name, "wants a day of birth, 1979-03-28"))?;
                traits.birth_date = Some(day.to_string());
            }
            "gender" if ["male", "female", "unknown"].contains(&value.as_str()) => {
                traits.gender = Some(value.clone());
            }
            "gender" => return Err(invalid(name, "wants male, female or unknown")),
            "_format" | "_pretty" => continue,
            _ => return Err(invalid(name, "this server does not know this parameter")),
        }
        by_traits |= ["family", "family:exact", "birthdate", "gender"].contains(&name.as_str());
    }
    if provisional && own.is_none() && !by_traits {
        return Ok(Search::Provisional);
    }
    match (patient, own, by_traits) {
        (Some(patient), None, false) => Ok(Search::Existence(patient)),
        (None, Some(since), false) => Ok(Search::OwnRecords { since, page }),
        (None, None, true) => Ok(Search::Traits(traits)),
        (None, None, false) => {
            let diagnostics = "a search carries identifier (TD0.2), _has:DocumentReference:patient:_lastUpdated \
                               (TD0.4), or traits (TD0.5)";
            Err(Refusal::at(Reason::MissingSearchParameter, "identifier", diagnostics))
        }
        _ => Err(Refusal::new(
            Reason::InvalidSearchParameter,
            "identifier, _has and traits belong to different transactions: one of them",
        )),
    }
}

/// Read who the patient is (TD1.3a).
///
/// Identity, contacts, representatives, and whether the patient is opposed to emergency access.
#[utoipa::path(
    get, path = "/fhir/Patient/{id}", tag = "TD1", operation_id = "readPatient",
    params(("id" = String, Path, description = "Patient.id, from TD0.2")),
    responses(
        (status = 200, description = "Patient", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn read(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, read_patient::OPERATION, async |call| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        let record = read_patient::run(&call, id.into_inner()).await?;
        // No ETag: the record's version counts what the patient decides, and some of it is not for the caller to know.
        Ok(record.map(|record| Answer::fhir(200, record.administrative())))
    })
    .await
}

/// Close the record at the patient's request (TD1.4).
///
/// By a professional whom the patient authorised, where the record is not attached to Mon espace santé.
#[utoipa::path(
    post, path = "/fhir/Patient/{id}/$fermer", tag = "TD1", operation_id = "closeRecord",
    params(("id" = String, Path, description = "Patient.id, from TD0.2")),
    responses(
        (status = 200, description = "Closed; the Patient", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn close(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, close_record::OPERATION, async |call| {
        Accepted::of(&request, &[]).choose(&request)?;
        let request_id = call.trace.request_id.clone();
        let closed = close_record::run(&call, id.into_inner()).await?;
        Ok(closed.map(|closed| match closed {
            Ok(record) => Answer::fhir(200, record.existence(None)),
            Err(refusal) => respond::failure(&refusal.into(), &request_id),
        }))
    })
    .await
}
