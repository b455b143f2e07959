//! ITI-81: `AuditEvent`, the traces.

use actix_web::{HttpRequest, HttpResponse, web};

use super::negotiation::Accepted;
use super::pages::Pages;
use super::record_search::{link, place};
use super::respond::Answer;
use super::search_parameters::{DEFAULT_COUNT, MAXIMUM_COUNT, bounded, invalid, patient_key, range};
use super::{Api, gate, request};
use crate::audit::Traced;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::audit_event::{Event, audit_event, id_of};
use crate::fhir::bundle::{SearchEntry, SearchSet};
use crate::fhir::capability::AUDIT_EVENT_SEARCH;
use crate::fhir::outcome;
use crate::operations::{Call, PatientKey, read_traces};
use crate::store::{PageCursor, TraceCriteria, TraceRow};

/// What links of pages are for.
const KIND: &str = "AuditEvent";

/// Read traces (ITI-81).
///
/// A professional reads his own, the médecin traitant all of his patient's record; the newest first. A date bound is mandatory. Reading traces is
/// traced as well.
#[utoipa::path(
    get, path = "/fhir/AuditEvent", tag = "traces", operation_id = "searchAuditEvent",
    params(
        ("date" = String, Query, description = "when, with ge, gt, le, lt; a lower bound or a date at least", example = "ge2026-01-01"),
        ("entity.identifier" = Option<String>, Query, description = "INS as system|value: the traces of a record", example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"),
        ("patient" = Option<String>, Query, description = "Patient/id, in its place"),
        ("agent.identifier" = Option<String>, Query, description = "PS_IdNat: by this professional alone"),
        ("period-start" = Option<String>, Query, description = "as date (TdE)"),
        ("_count" = Option<u32>, Query, description = "traces on a page, 100 unless said, at most 200; 0 for the total alone"),
    ),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 422, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    gate::serve(&request, read_traces::OPERATION, async |call| {
        find(&request, &api, call, request::query(&request)?).await
    })
    .await
}

/// Read traces (ITI-81), the INS in the body.
///
/// As the search by GET; an INS in a body stands in no proxy's log.
#[utoipa::path(
    post, path = "/fhir/AuditEvent/_search", tag = "traces", operation_id = "searchAuditEventByPost",
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
    gate::serve(&request, read_traces::OPERATION, async |call| {
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
    let search = Search::read(parameters, request::handling(request), &pages)?;
    let warning = (!search.ignored.is_empty()).then(|| outcome::ignored(&search.ignored));
    let (repeated, after) = (search.repeated, search.criteria.after.clone());
    let found = read_traces::run(&call, search.patient, search.criteria).await?;
    Ok(found.map(|found| {
        let link =
            |after: Option<&PageCursor>| link(KIND, &repeated, found.record_id.as_deref(), after, &pages);
        let entries: Vec<SearchEntry> = found.page.rows.iter().map(|row| entry(row, &api.base)).collect();
        let (this, next) = (link(after.as_ref()), found.page.next.as_ref().map(|next| link(Some(next))));
        let bundle = SearchSet {
            base: &api.base,
            total: found.page.total,
            this: Some(&this),
            next: next.as_deref(),
            entries: &entries,
            included: &[],
            warning: warning.as_deref(),
        };
        Answer::fhir(200, bundle.to_text())
    }))
}

fn entry(row: &TraceRow, base: &str) -> SearchEntry {
    let event = Event {
        at: row.at,
        request_id: &row.request_id,
        operation: &row.operation,
        caller_kind: &row.caller_kind,
        caller_id: &row.caller_id,
        structure: row.caller_structure.as_deref(),
        role: row.role.as_deref(),
        software: row.software.as_deref(),
        certificate: &row.certificate,
        mode: &row.mode,
        motif: row.motif.as_deref(),
        record_id: row.record_id.as_deref(),
        objects: row.objects.split(' ').filter(|object| !object.is_empty()).collect(),
        status: row.status,
        base,
    };
    let path = format!("{KIND}/{}", id_of(event.request_id, event.at));
    SearchEntry { path, resource: audit_event(&event), link: None }
}

struct Search {
    patient: Option<PatientKey>,
    criteria: TraceCriteria,
    ignored: Vec<String>,
    /// What a link repeats: no INS among them.
    repeated: Vec<(String, String)>,
}

impl Search {
    fn read(
        parameters: request::Parameters,
        handling: super::search_parameters::Handling,
        pages: &Pages<'_>,
    ) -> Result<Self, Refusal> {
        bounded(&parameters)?;
        let known: Vec<&str> = AUDIT_EVENT_SEARCH.iter().map(|(name, _)| *name).collect();
        let mut criteria = TraceCriteria { size: DEFAULT_COUNT, ..TraceCriteria::default() };
        let (mut patient, mut named, mut after) = (None, None, None);
        let (mut ignored, mut repeated, mut dated) = (Vec::new(), Vec::new(), false);
        for (name, value) in parameters {
            match name.as_str() {
                "entity.identifier" | "patient.identifier" | "patient" => {
                    let key = patient_key(&name, &value)?;
                    if patient.replace(key).is_some() {
                        return Err(invalid(&name, "the patient is named twice"));
                    }
                    named = Some(value);
                    continue;
                }
                "_after" => {
                    after = Some(value);
                    continue;
                }
                "_format" | "_pretty" => continue,
                "date" | "period-start" => {
                    let bound = range(&name, &value)?;
                    dated |= bound.from.is_some();
                    criteria.at = criteria.at.and(bound);
                }
                "agent.identifier" => {
                    let id = value.rsplit('|').next().unwrap_or_default();
                    criteria.professional = Some(id.to_owned());
                }
                "_count" => {
                    let count: usize = value.parse().map_err(|_| invalid(&name, "not a number"))?;
                    criteria.size = count.min(MAXIMUM_COUNT);
                }
                _ => {
                    handling.leave_aside(&name, &known, &mut ignored)?;
                    continue;
                }
            }
            repeated.push((name, value));
        }
        if !dated {
            let why = "a search of traces carries date with a lower bound, as ge2026-01-01 (ITI-81)";
            return Err(Refusal::at(Reason::MissingSearchParameter, "date", why));
        }
        criteria.after = place(KIND, &repeated, named.as_deref(), after.as_deref(), pages)?;
        Ok(Self { patient, criteria, ignored, repeated })
    }
}
