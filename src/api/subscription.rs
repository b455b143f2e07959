//! ITI-110 and its kin: `Subscription` (HL7's Subscriptions R5 Backport for R4; id-only, rest-hook).

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::document_search::known;
use super::negotiation::Accepted;
use super::peer::Peer;
use super::respond::Answer;
use super::search_parameters::{ListPage, bounded, invalid, patient_key};
use super::{Api, gate, request, respond};
use crate::audit::Traced;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::bundle::{SearchEntry, searchset};
use crate::fhir::codes::Codes;
use crate::fhir::subscription::{AskedSubscription, SubscriptionStatus};
use crate::operations::subscriptions::{self, SubscriptionFilter, Wanted, state};
use crate::operations::{Call, PatientKey};
use crate::store::{OpenedSubscription, SubscriptionCriteria};

/// Follow a record (ITI-110).
///
/// What becomes of its documents is POSTed to the receiver, by id alone, as far as the caller may know it when it is told. The receiver's host is on the operator's list.
#[utoipa::path(
    post, path = "/fhir/Subscription", tag = "subscriptions", operation_id = "createSubscription",
    request_body(content = super::openapi::Resource, content_type = "application/fhir+json", description = "Subscription, status requested"),
    responses(
        (status = 201, description = "Kept; the Subscription", content_type = "application/fhir+json", body = super::openapi::Resource,
         headers(("Location" = String, description = "Where it is"))),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 408, response = super::openapi::Outcome),
        (status = 413, response = super::openapi::Outcome), (status = 422, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn create(request: HttpRequest, api: web::Data<Api>, payload: web::Payload) -> HttpResponse {
    gate::serve(&request, subscriptions::CREATE, async |call| {
        Accepted::of(&request, &[]).choose(&request)?;
        subscriptions::permitted_at_all(&call)?;
        let mut held = request::short_resource_body(&request, payload).await?;
        let asked = AskedSubscription::read(&held.take())?;
        if asked.status == SubscriptionStatus::Off {
            let why = "a new subscription is requested";
            return Err(Refusal::at(Reason::SubscriptionRefused, "Subscription.status", why).into());
        }
        let kept = subscriptions::keep(&call, wanted(&request, &api, asked)?, None).await?;
        let base = api.base.clone();
        Ok(answer(kept, &call, move |kept| {
            let location = format!("{base}/Subscription/{}", kept.row.id);
            Ok(resource(201, kept)?.with(header::LOCATION, location))
        }))
    })
    .await
}

/// Ask for a subscription again, or end it.
///
/// `status` requested: everything is decided and checked anew, the receiver is asked again. `status` off: nothing more is told.
#[utoipa::path(
    put, path = "/fhir/Subscription/{id}", tag = "subscriptions", operation_id = "updateSubscription",
    params(("id" = String, Path, description = "Subscription.id")),
    request_body(content = super::openapi::Resource, content_type = "application/fhir+json", description = "Subscription, status requested or off"),
    responses(
        (status = 200, description = "The Subscription", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 408, response = super::openapi::Outcome),
        (status = 413, response = super::openapi::Outcome), (status = 422, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn update(
    request: HttpRequest,
    api: web::Data<Api>,
    id: web::Path<String>,
    payload: web::Payload,
) -> HttpResponse {
    gate::serve(&request, subscriptions::CHANGE, async |call| {
        Accepted::of(&request, &[]).choose(&request)?;
        subscriptions::permitted_at_all(&call)?;
        let mut held = request::short_resource_body(&request, payload).await?;
        let asked = AskedSubscription::read(&held.take())?;
        let (id, if_match) = (id.into_inner(), request::if_match(&request)?);
        if asked.id().is_some_and(|named| named != id) {
            return Err(Refusal::at(
                Reason::MalformedBody,
                "Subscription.id",
                "the body is of another resource",
            )
            .into());
        }
        let changed = match asked.status {
            SubscriptionStatus::Off => subscriptions::end(&call, id, if_match).await?,
            _ => subscriptions::keep(&call, wanted(&request, &api, asked)?, Some((id, if_match))).await?,
        };
        Ok(answer(changed, &call, |kept| resource(200, kept)))
    })
    .await
}

/// Delete a subscription.
///
/// Nothing more is told, and nothing of it is kept.
#[utoipa::path(
    delete, path = "/fhir/Subscription/{id}", tag = "subscriptions", operation_id = "deleteSubscription",
    params(("id" = String, Path, description = "Subscription.id")),
    responses(
        (status = 200, description = "The Subscription as it was", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn delete(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, subscriptions::DELETE, async |call| {
        Accepted::of(&request, &[]).choose(&request)?;
        let deleted = subscriptions::delete(&call, id.into_inner()).await?;
        Ok(answer(deleted, &call, |kept| resource(200, kept)))
    })
    .await
}

/// Read a subscription.
///
/// One's own alone.
#[utoipa::path(
    get, path = "/fhir/Subscription/{id}", tag = "subscriptions", operation_id = "readSubscription",
    params(("id" = String, Path, description = "Subscription.id")),
    responses(
        (status = 200, description = "Subscription", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn read(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, subscriptions::READ, async |call| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        let found = subscriptions::read(&call, id.into_inner()).await?;
        Ok(answer(found.map(Ok), &call, |found| resource(200, found)))
    })
    .await
}

/// How a subscription stands.
///
/// `Parameters` of the profile backport-subscription-status-r4 in a Bundle: state, error, how many events there were.
#[utoipa::path(
    get, path = "/fhir/Subscription/{id}/$status", tag = "subscriptions", operation_id = "statusOfSubscription",
    params(("id" = String, Path, description = "Subscription.id")),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn status(request: HttpRequest, api: web::Data<Api>, id: web::Path<String>) -> HttpResponse {
    gate::serve(&request, subscriptions::STATUS, async |call| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        let found = subscriptions::read(&call, id.into_inner()).await?;
        Ok(found.map(|found| Answer::fhir(200, state(&found).status_bundle(&api.base))))
    })
    .await
}

/// List one's own subscriptions.
///
/// The newest first.
#[utoipa::path(
    get, path = "/fhir/Subscription", tag = "subscriptions", operation_id = "searchSubscription",
    params(
        ("status" = Option<String>, Query, description = "requested, active, error, off", example = "active"),
        ("url" = Option<String>, Query, description = "the receiver"),
        ("_id" = Option<String>, Query, description = "Subscription.id"),
        ("_count" = Option<u32>, Query, description = "entries on a page, 100 unless said, at most 200"),
    ),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    gate::serve(&request, subscriptions::SEARCH, async |call| {
        find(&request, &api, &call, request::query(&request)?).await
    })
    .await
}

/// List one's own subscriptions, the parameters in the body.
///
/// As the search by GET.
#[utoipa::path(
    post, path = "/fhir/Subscription/_search", tag = "subscriptions", operation_id = "searchSubscriptionByPost",
    request_body(content = super::openapi::SearchForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search_by_post(request: HttpRequest, api: web::Data<Api>, payload: web::Payload) -> HttpResponse {
    gate::serve(&request, subscriptions::SEARCH, async |call| {
        let parameters = request::form(&request, payload).await?;
        find(&request, &api, &call, parameters).await
    })
    .await
}

async fn find(
    request: &HttpRequest,
    api: &Api,
    call: &Call,
    parameters: request::Parameters,
) -> Result<Traced<Answer>, Failure> {
    Accepted::of(request, &parameters).choose(request)?;
    bounded(&parameters)?;
    let (mut criteria, mut page) = (SubscriptionCriteria::default(), ListPage::default());
    let mut repeated: Vec<(&str, String)> = Vec::new();
    for (name, value) in &parameters {
        let values = || value.split(',').map(str::to_owned);
        match name.as_str() {
            "_id" => criteria.ids.extend(values()),
            "status" => criteria.statuses.extend(values()),
            "url" => criteria.endpoints.push(value.clone()),
            "_count" | "_offset" => {
                page.read(name, value)?;
                continue;
            }
            "_format" | "_pretty" => continue,
            _ => return Err(invalid(name, "this server does not know this parameter").into()),
        }
        repeated.push((name, value.clone()));
    }
    let rows = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let found = subscriptions::search(call, criteria, (rows(page.count), rows(page.offset))).await?;
    let mut entries = Vec::new();
    let mut total = 0;
    let found = found.map(|(of_page, of_all)| {
        total = u64::try_from(of_all).unwrap_or_default();
        of_page
    });
    Ok(found.map(|of_page| {
        for one in &of_page {
            let Ok(text) = state(one).resource(&one.resource) else { continue };
            entries.push(SearchEntry {
                path: format!("Subscription/{}", one.row.id),
                resource: text,
                link: None,
            });
        }
        let this = page.link("Subscription", &repeated, page.offset);
        let behind = page.offset.saturating_add(of_page.len());
        let more = u64::try_from(behind).is_ok_and(|behind| behind < total) && !of_page.is_empty();
        let next = more.then(|| page.link("Subscription", &repeated, behind));
        Answer::fhir(200, searchset(&api.base, total, Some(&this), next.as_deref(), &entries))
    }))
}

/// The parts of what is asked for that are read by those who know them.
fn wanted(request: &HttpRequest, api: &Api, asked: AskedSubscription) -> Result<Wanted, Failure> {
    let peer = request.conn_data::<Peer>().ok_or_else(|| Failure::internal("a caller without a connection"))?;
    let certificate = peer.chain.link().clone();
    let (patient, filter) = filter(&asked, &api.services.codes).map_err(|refusal| match refusal.reason {
        Reason::InvalidIns => refusal,
        _ => Refusal { reason: Reason::SubscriptionRefused, ..refusal },
    })?;
    Ok(Wanted { asked, patient, filter, certificate })
}

fn filter(asked: &AskedSubscription, codes: &Codes) -> Result<(PatientKey, SubscriptionFilter), Refusal> {
    const CRITERIA: &str = "Subscription.criteria";
    let mut filter = SubscriptionFilter::default();
    let mut patient: Option<PatientKey> = None;
    let mut pairs = Vec::new();
    for text in &asked.filters {
        pairs.extend(
            request::pairs(text)
                .map_err(|refusal| Refusal::at(refusal.reason, CRITERIA, "a filter is a query"))?,
        );
    }
    bounded(&pairs)?;
    for (name, value) in &pairs {
        let codes_of = |value_set: &str| {
            known(name, value, value_set, codes)
                .map_err(|_| Refusal::at(Reason::SubscriptionRefused, CRITERIA, "a code"))
        };
        match name.as_str() {
            "patient" | "patient.identifier" | "patient:identifier" => {
                let key = patient_key(name, value).map_err(|refusal| {
                    let why =
                        refusal.issues.first().map_or("no patient".into(), |issue| issue.diagnostics.clone());
                    Refusal::at(refusal.reason, CRITERIA, why)
                })?;
                if patient.replace(key).is_some() {
                    return Err(Refusal::at(
                        Reason::SubscriptionRefused,
                        CRITERIA,
                        "the patient is named twice",
                    ));
                }
            }
            "type" => filter.types.push(codes_of("JDV-J66")?),
            "category" => filter.classes.push(codes_of("JDV-J57")?),
            "format" => filter.formats.push(codes_of("JDV-J60")?),
            "facility" => filter.facilities.push(codes_of("JDV-J61")?),
            "setting" => filter.settings.push(codes_of("JDV-J62")?),
            _ => {
                let why =
                    "filters are patient or patient.identifier, type, category, format, facility, setting";
                return Err(Refusal::at(Reason::SubscriptionRefused, CRITERIA, why));
            }
        }
    }
    let patient = patient
        .ok_or_else(|| Refusal::at(Reason::SubscriptionRefused, CRITERIA, "a filter names the patient"))?;
    Ok((patient, filter))
}

fn resource(status: u16, of: &OpenedSubscription) -> Result<Answer, Failure> {
    let text = state(of).resource(&of.resource).map_err(Failure::internal)?;
    Ok(Answer::fhir(status, text).with(header::ETAG, format!("W/\"{}\"", of.row.version)))
}

fn answer(
    traced: Traced<Result<OpenedSubscription, Refusal>>,
    call: &Call,
    show: impl FnOnce(&OpenedSubscription) -> Result<Answer, Failure>,
) -> Traced<Answer> {
    let request_id = call.trace.request_id.clone();
    traced.map(|result| match result.map_err(Failure::from).and_then(|kept| show(&kept)) {
        Ok(answer) => answer,
        Err(failure) => respond::failure(&failure, &request_id),
    })
}
