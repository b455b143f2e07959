//! TD0.3: `POST /Consent`, `PATCH /Consent/{id}`; TD1.6, TD0.4: `GET /Consent?…`.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::negotiation::Accepted;
use super::respond::Answer;
use super::search_parameters::{ListPage, invalid, patient_key, since};
use super::{Api, gate, request, respond};
use crate::audit::Traced;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::bundle::{SearchEntry, SearchSet, searchset};
use crate::fhir::codes::system;
use crate::fhir::consent::taken_back;
use crate::fhir::elements::to_instant;
use crate::fhir::json::malformed;
use crate::fhir::patch;
use crate::operations::list_own_records::{self, Asked};
use crate::operations::list_professionals::{self, Filter};
use crate::operations::{Budget, Call, Operation, PatientKey, declare_authorisation, revoke_authorisation};

/// A search of Consents, before its parameters have said which transaction it is.
const SEARCH: Operation = Operation::without_scope("search Consent", Budget::Search);

/// Declare that the patient authorised the caller (TD0.3).
///
/// `status` active, `provision.type` permit, the patient by identifier; no actor means the caller. Staff declare for
/// their structure. An actor that refers to a contained CareTeam declares for the care team of which the caller is one.
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
        Accepted::of(&request, &[]).choose(&request)?;
        // Before the body is taken in: who may not, costs no memory.
        declare_authorisation::permitted_at_all(&call)?;
        let mut held = request::short_resource_body(&request, payload).await?;
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

/// Take back one's own authorisation, or give up being médecin traitant (TD0.3).
///
/// A PATCH of `status` to `inactive`, as JSON Patch, XML Patch or FHIRPath Patch; the id is that of the Consent declared or listed.
/// `If-Match` is understood.
#[utoipa::path(
    patch, path = "/fhir/Consent/{id}", tag = "TD0.3", operation_id = "patchConsent",
    params(
        ("id" = String, Path, description = "Consent.id"),
        ("If-Match" = Option<String>, Header, description = "The version that is meant, as its ETag")
    ),
    request_body(content(
        (super::openapi::JsonPatch = "application/json-patch+json"),
        (super::openapi::Resource = "application/fhir+json")
    ), description = "status becomes inactive"),
    responses(
        (status = 200, description = "Taken back; the Consent, inactive", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 405, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 412, response = super::openapi::Outcome),
        (status = 413, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn patch(request: HttpRequest, id: web::Path<String>, payload: web::Payload) -> HttpResponse {
    gate::serve(&request, revoke_authorisation::OPERATION, async |call| {
        Accepted::of(&request, &[]).choose(&request)?;
        revoke_authorisation::permitted_at_all(&call)?;
        let if_match = request::if_match(&request)?;
        let (form, mut held) = request::patch_body(&request, payload).await?;
        status_becomes_inactive(form, &held.take())?;
        let request_id = call.trace.request_id.clone();
        let revoked = revoke_authorisation::run(&call, id.into_inner(), if_match).await?;
        Ok(revoked.map(|revoked| match revoked {
            Ok(revoked) => Answer::fhir(200, taken_back(&revoked.id, &revoked.record_id)),
            Err(refusal) => respond::failure(&refusal.into(), &request_id),
        }))
    })
    .await
}

/// A Consent changes in one way: its status becomes inactive.
fn status_becomes_inactive(form: request::PatchForm, text: &str) -> Result<(), Refusal> {
    let read = || serde_json::from_str::<Value>(text).map_err(|_| malformed("not JSON"));
    let other = || {
        Refusal::at(Reason::ElementNotUpdatable, "Consent", "a PATCH of a Consent makes its status inactive")
            .by("TD0.3: removal")
    };
    let inactive = match form {
        request::PatchForm::Json => {
            let value = read()?;
            let operations = value.as_array().ok_or_else(|| malformed("not a JSON Patch"))?;
            let [operation] = operations.as_slice() else { return Err(other()) };
            let says = |key: &str, text: &str| operation.get(key).is_some_and(|value| value == text);
            says("op", "replace") && says("path", "/status") && says("value", "inactive")
        }
        request::PatchForm::FhirPath => {
            let value = read()?;
            let parameters = value.get("parameter").and_then(Value::as_array);
            let [parameter] = parameters.ok_or_else(|| malformed("not Parameters"))?.as_slice() else {
                return Err(other());
            };
            let part = |name: &str| {
                let parts = parameter.get("part")?.as_array()?;
                let part = parts.iter().find(|part| part.get("name").is_some_and(|value| value == name))?;
                part.as_object()?.iter().find(|(key, _)| key.starts_with("value"))?.1.as_str()
            };
            part("type") == Some("replace")
                && part("path") == Some("Consent.status")
                && part("value") == Some("inactive")
        }
        request::PatchForm::Xml => patch::xml_sets_status(text, "Consent", "inactive")?,
    };
    if inactive { Ok(()) } else { Err(other()) }
}

/// List who is authorised on a record and who is blocked (TD1.6), or the records on which one is authoriser (TD0.4).
///
/// With a patient: TD1.6. With an actor, or a date alone: TD0.4, the records on which this actor (the caller, where none is named)
/// holds an authorisation in force; `date` says since when.
#[utoipa::path(
    get, path = "/fhir/Consent", tag = "TD0.3", operation_id = "searchConsent",
    params(
        ("patient.identifier" = Option<String>, Query, description = "TD1.6: INS as system|value; this or patient", example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"),
        ("patient" = Option<String>, Query, description = "TD1.6: Patient/id; this or patient.identifier"),
        ("provision-type" = Option<String>, Query, description = "TD1.6: permit or deny (blocked)"),
        ("actor:identifier" = Option<String>, Query, description = "TD0.4: PS_IdNat or Struct_IdNat as system|value"),
        ("date" = Option<String>, Query, description = "TD0.4: authorisations since then", example = "ge2026-01-01"),
        ("status" = Option<String>, Query, description = "active or inactive; TD0.4 has active ones alone", example = "active"),
        ("_include" = Option<String>, Query, description = "TD0.4: Consent:patient"),
        ("_count" = Option<u32>, Query, description = "entries on a page, 100 unless said, at most 200"),
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

/// The searches of Consents (TD1.6, TD0.4), the parameters in the body.
///
/// As the search by GET; an INS in a body stands in no proxy's log.
#[utoipa::path(
    post, path = "/fhir/Consent/_search", tag = "TD0.3", operation_id = "searchConsentByPost",
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

#[derive(Default)]
struct ConsentSearch {
    patient: Option<PatientKey>,
    filter: Filter,
    actor: Option<(String, String)>,
    since: Option<i64>,
    include_patient: bool,
    page: ListPage,
}

async fn run(
    request: &HttpRequest,
    api: &Api,
    call: Call,
    parameters: request::Parameters,
) -> Result<Traced<Answer>, Failure> {
    Accepted::of(request, &parameters).choose(request)?;
    let mut search = ConsentSearch::read(&parameters)?;
    match search.patient.take() {
        Some(patient) if search.actor.is_none() && search.since.is_none() => {
            professionals(api, &call.turn_to(list_professionals::OPERATION)?, patient, search.filter).await
        }
        Some(_) => Err(Refusal::new(
            Reason::InvalidSearchParameter,
            "patient (TD1.6) and actor or date (TD0.4) belong to different transactions: one of them",
        )
        .into()),
        None if search.actor.is_none() && search.since.is_none() => {
            let why = "a search carries patient (TD1.6), or actor:identifier or date (TD0.4)";
            Err(Refusal::at(Reason::MissingSearchParameter, "patient", why).into())
        }
        None => own_records(api, &call.turn_to(list_own_records::OPERATION)?, search).await,
    }
}

async fn professionals(
    api: &Api,
    call: &Call,
    patient: PatientKey,
    filter: Filter,
) -> Result<Traced<Answer>, Failure> {
    let now = call.trace.at;
    let held = list_professionals::run(call, patient, filter).await?;
    Ok(held.map(|held| {
        let entries: Vec<SearchEntry> = held
            .iter()
            .map(|one| SearchEntry {
                path: format!("Consent/{}", one.id),
                resource: one.to_text(now, false),
                link: None,
            })
            .collect();
        let bundle = searchset(&api.base, entries.len() as u64, None, None, &entries);
        Answer::fhir(200, bundle)
    }))
}

async fn own_records(api: &Api, call: &Call, search: ConsentSearch) -> Result<Traced<Answer>, Failure> {
    let now = call.trace.at;
    let asked = Asked {
        actor: search.actor.as_ref().map(|(_, value)| value.clone()),
        authorised_since: search.since,
        documents_since: None,
        count: search.page.count,
        offset: search.page.offset,
    };
    let own = list_own_records::run(call, asked).await?;
    Ok(own.map(|own| {
        let entries: Vec<SearchEntry> = own
            .records
            .iter()
            .map(|record| SearchEntry {
                path: format!("Consent/{}", record.consent.id),
                resource: record.consent.to_text(now, false),
                link: None,
            })
            .collect();
        let patients = own.records.iter().filter(|_| search.include_patient);
        let included: Vec<SearchEntry> = patients
            .map(|record| SearchEntry {
                path: format!("Patient/{}", record.consent.record_id),
                resource: record.patient.traits(),
                link: None,
            })
            .collect();
        let mut parameters = vec![("status", "active".to_owned())];
        if let Some((actor_system, value)) = &search.actor {
            parameters.push(("actor:identifier", format!("{actor_system}|{value}")));
        }
        parameters.extend(search.since.map(|since| ("date", format!("ge{}", to_instant(since)))));
        if search.include_patient {
            parameters.push(("_include", "Consent:patient".to_owned()));
        }
        let page = search.page;
        let this = page.link("Consent", &parameters, page.offset);
        let next = own.more.then(|| page.link("Consent", &parameters, page.offset + page.count));
        let total = own.total as u64;
        let bundle = SearchSet {
            base: &api.base,
            total,
            this: Some(&this),
            next: next.as_deref(),
            entries: &entries,
            included: &included,
            warning: None,
        };
        Answer::fhir(200, bundle.to_text())
    }))
}

impl ConsentSearch {
    fn read(parameters: &request::Parameters) -> Result<Self, Refusal> {
        let mut search = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in parameters {
            let place = if name.contains("patient") { "patient" } else { name.as_str() };
            if seen.contains(&place) {
                return Err(invalid(name, "this parameter stands twice"));
            }
            seen.push(place);
            match name.as_str() {
                "patient.identifier" | "patient:identifier" | "patient" => {
                    search.patient = Some(patient_key(name, value)?);
                }
                "actor:identifier" | "actor.identifier" => {
                    let (actor_system, id) = value
                        .split_once('|')
                        .filter(|(_, id)| !id.is_empty())
                        .ok_or_else(|| invalid(name, "wants system|value of a professional or a structure"))?;
                    if ![system::PROFESSIONAL, system::STRUCTURE].contains(&actor_system) {
                        return Err(invalid(name, "an actor is named by PS_IdNat or Struct_IdNat"));
                    }
                    search.actor = Some((actor_system.to_owned(), id.to_owned()));
                }
                "date" | "period" => search.since = Some(since(name, value)?),
                "status" => {
                    search.filter.active = Some(match value.as_str() {
                        "active" => true,
                        "inactive" => false,
                        _ => return Err(invalid(name, "wants active or inactive")),
                    });
                }
                "provision-type" => {
                    search.filter.denied = Some(match value.as_str() {
                        "permit" => false,
                        "deny" => true,
                        _ => return Err(invalid(name, "wants permit or deny")),
                    });
                }
                "_include" if value == "Consent:patient" => search.include_patient = true,
                "_count" | "_offset" => search.page.read(name, value)?,
                "_format" | "_pretty" => {}
                _ => return Err(invalid(name, "this server does not know this parameter")),
            }
        }
        let of_own = search.patient.is_none();
        if of_own && (search.filter.active == Some(false) || search.filter.denied.is_some()) {
            return Err(invalid("status", "TD0.4 lists authorisations in force"));
        }
        Ok(search)
    }
}
