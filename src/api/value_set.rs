//! The value sets of the DMP, read-only (SVCM ITI-95, 97, 99): enough for software to build its lists from.

use actix_web::{HttpRequest, HttpResponse, web};

use super::negotiation::Accepted;
use super::respond::Answer;
use super::{Api, gate, request};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::codes::ValueSet;
use crate::fhir::json::to_json;
use crate::fhir::value_set::{Asked, Expansion, expanded, resource, validated};
use crate::fhir::{bundle, parameters};
use crate::operations::{Budget, Operation};

const SEARCH: Operation = Operation::without_scope("find value sets", Budget::Read);
const READ: Operation = Operation::without_scope("read value set", Budget::Read);
const EXPAND: Operation = Operation::without_scope("expand value set", Budget::Read);
const VALIDATE: Operation = Operation::without_scope("validate code", Budget::Read);

/// Parameters of `$expand` that change nothing here: nothing is nested, inactive, excluded or translated.
const WITHOUT_EFFECT: [&str; 9] = [
    "_format",
    "_pretty",
    "activeOnly",
    "displayLanguage",
    "excludeNested",
    "includeDefinition",
    "includeDesignations",
    "date",
    "abstract",
];

/// Find value sets.
///
/// Without parameters all of them; their codes come with $expand. Any valid client certificate will do.
#[utoipa::path(
    get, path = "/fhir/ValueSet", tag = "value sets", operation_id = "searchValueSet",
    params(("url" = Option<String>, Query, description = "canonical address", example = "https://mos.esante.gouv.fr/NOS/JDV_J57-ClassCode-DMP/FHIR/JDV-J57-ClassCode-DMP")),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search(request: HttpRequest) -> HttpResponse {
    gate::serve_connected(&request, SEARCH, async |api| {
        let parameters = request::query(&request)?;
        find(&request, api, &parameters)
    })
    .await
}

/// Find value sets, the parameters in the body.
#[utoipa::path(
    post, path = "/fhir/ValueSet/_search", tag = "value sets", operation_id = "searchValueSetByPost",
    request_body(content = super::openapi::SearchForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Bundle of type searchset", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 408, response = super::openapi::Outcome),
        (status = 413, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn search_by_post(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    gate::serve_connected(&request, SEARCH, async |api| {
        let parameters = request::form(&request, payload).await?;
        find(&request, api, &parameters)
    })
    .await
}

fn find(request: &HttpRequest, api: &Api, parameters: &request::Parameters) -> Result<Answer, Failure> {
    Accepted::of(request, parameters).choose(request)?;
    let wanted = Wanted::read(parameters, &["url"])?;
    let found = api.services.codes.value_sets().iter();
    let found = found.filter(|set| wanted.get("url").is_none_or(|url| url == set.url()));
    let entries: Vec<bundle::SearchEntry> = found
        .map(|set| bundle::SearchEntry {
            path: format!("ValueSet/{}", set.id),
            resource: to_json(&resource(set)),
            link: None,
        })
        .collect();
    let total = u64::try_from(entries.len()).map_err(Failure::internal)?;
    Ok(Answer::fhir(200, bundle::searchset(&api.base, total, Some("ValueSet"), None, &entries)))
}

/// Read one value set.
///
/// Its name and version; its codes come with $expand.
#[utoipa::path(
    get, path = "/fhir/ValueSet/{id}", tag = "value sets", operation_id = "readValueSet",
    params(("id" = String, Path, description = "ValueSet.id", example = "JDV-J57-ClassCode-DMP")),
    responses(
        (status = 200, description = "ValueSet", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 406, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn read(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve_connected(&request, READ, async |api| {
        Accepted::of(&request, &request::query(&request)?).choose(&request)?;
        Ok(Answer::fhir(200, to_json(&resource(by_id(api, &id)?))))
    })
    .await
}

/// Expand a value set.
///
/// Its codes, those alone whose label or code holds the filter.
#[utoipa::path(
    get, path = "/fhir/ValueSet/$expand", tag = "value sets", operation_id = "expandValueSet",
    params(
        ("url" = String, Query, description = "canonical address", example = "https://mos.esante.gouv.fr/NOS/JDV_J57-ClassCode-DMP/FHIR/JDV-J57-ClassCode-DMP"),
        ("filter" = Option<String>, Query, description = "a part of the label or of the code", example = "synth"),
        ("offset" = Option<u32>, Query, description = "where to begin"),
        ("count" = Option<u32>, Query, description = "how many, at most"),
    ),
    responses(
        (status = 200, description = "ValueSet with expansion", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn expand(request: HttpRequest) -> HttpResponse {
    gate::serve_connected(&request, EXPAND, async |api| {
        let parameters = request::query(&request)?;
        expansion(&request, api, None, &parameters)
    })
    .await
}

/// Expand a value set, the parameters in the body.
#[utoipa::path(
    post, path = "/fhir/ValueSet/$expand", tag = "value sets", operation_id = "expandValueSetByPost",
    request_body(content = super::openapi::Resource, content_type = "application/fhir+json", description = "Parameters: url, filter, offset, count"),
    responses(
        (status = 200, description = "ValueSet with expansion", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn expand_by_post(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    gate::serve_connected(&request, EXPAND, async |api| {
        let parameters = in_body(&request, payload).await?;
        expansion(&request, api, None, &parameters)
    })
    .await
}

/// Expand the value set of an id.
#[utoipa::path(
    get, path = "/fhir/ValueSet/{id}/$expand", tag = "value sets", operation_id = "expandOneValueSet",
    params(
        ("id" = String, Path, description = "ValueSet.id", example = "JDV-J57-ClassCode-DMP"),
        ("filter" = Option<String>, Query, description = "a part of the label or of the code", example = "synth"),
        ("offset" = Option<u32>, Query, description = "where to begin"),
        ("count" = Option<u32>, Query, description = "how many, at most"),
    ),
    responses(
        (status = 200, description = "ValueSet with expansion", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn expand_one(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve_connected(&request, EXPAND, async |api| {
        let parameters = request::query(&request)?;
        expansion(&request, api, Some(&id), &parameters)
    })
    .await
}

/// Ask whether a value set holds a code.
#[utoipa::path(
    get, path = "/fhir/ValueSet/$validate-code", tag = "value sets", operation_id = "validateCode",
    params(
        ("url" = String, Query, description = "canonical address", example = "https://mos.esante.gouv.fr/NOS/JDV_J57-ClassCode-DMP/FHIR/JDV-J57-ClassCode-DMP"),
        ("code" = String, Query, description = "the code", example = "11"),
        ("system" = Option<String>, Query, description = "URI of its code system"),
        ("display" = Option<String>, Query, description = "a label that is held against ours"),
    ),
    responses(
        (status = 200, description = "Parameters: result, display, message", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn validate(request: HttpRequest) -> HttpResponse {
    gate::serve_connected(&request, VALIDATE, async |api| {
        let parameters = request::query(&request)?;
        validation(&request, api, None, &parameters)
    })
    .await
}

/// Ask whether a value set holds a code, the parameters in the body.
#[utoipa::path(
    post, path = "/fhir/ValueSet/$validate-code", tag = "value sets", operation_id = "validateCodeByPost",
    request_body(content = super::openapi::Resource, content_type = "application/fhir+json", description = "Parameters: url, and code with system, or coding"),
    responses(
        (status = 200, description = "Parameters: result, display, message", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn validate_by_post(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    gate::serve_connected(&request, VALIDATE, async |api| {
        let parameters = in_body(&request, payload).await?;
        validation(&request, api, None, &parameters)
    })
    .await
}

/// Ask whether the value set of an id holds a code.
#[utoipa::path(
    get, path = "/fhir/ValueSet/{id}/$validate-code", tag = "value sets", operation_id = "validateCodeOfOne",
    params(
        ("id" = String, Path, description = "ValueSet.id", example = "JDV-J57-ClassCode-DMP"),
        ("code" = String, Query, description = "the code", example = "11"),
        ("system" = Option<String>, Query, description = "URI of its code system"),
        ("display" = Option<String>, Query, description = "a label that is held against ours"),
    ),
    responses(
        (status = 200, description = "Parameters: result, display, message", content_type = "application/fhir+json", body = super::openapi::Resource),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 406, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn validate_one(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve_connected(&request, VALIDATE, async |api| {
        let parameters = request::query(&request)?;
        validation(&request, api, Some(&id), &parameters)
    })
    .await
}

fn expansion(
    request: &HttpRequest,
    api: &Api,
    id: Option<&str>,
    parameters: &request::Parameters,
) -> Result<Answer, Failure> {
    Accepted::of(request, parameters).choose(request)?;
    let wanted = Wanted::read(parameters, &["url", "filter", "offset", "count"])?;
    let of = wanted.value_set(api, id)?;
    let environment = &api.services.environment;
    let expansion = Expansion {
        filter: wanted.get("filter"),
        offset: wanted.number("offset")?.unwrap_or_default(),
        count: wanted.number("count")?,
        timestamp: &environment.now().to_string(),
        identifier: &format!("urn:uuid:{}", environment.next_id()),
    };
    Ok(Answer::fhir(200, expanded(of, &expansion)))
}

fn validation(
    request: &HttpRequest,
    api: &Api,
    id: Option<&str>,
    parameters: &request::Parameters,
) -> Result<Answer, Failure> {
    Accepted::of(request, parameters).choose(request)?;
    let wanted = Wanted::read(parameters, &["url", "code", "system", "display"])?;
    let of = wanted.value_set(api, id)?;
    let missing = || Refusal::at(Reason::MissingSearchParameter, "code", "$validate-code carries code");
    let code = wanted.get("code").ok_or_else(missing)?;
    let asked = Asked { code, system: wanted.get("system"), display: wanted.get("display") };
    Ok(Answer::fhir(200, validated(of, &asked)))
}

async fn in_body(request: &HttpRequest, payload: web::Payload) -> Result<request::Parameters, Failure> {
    let mut held = request::short_resource_body(request, payload).await?;
    Ok(parameters::pairs(&held.take())?)
}

fn by_id<'a>(api: &'a Api, id: &str) -> Result<&'a ValueSet, Refusal> {
    one_of(api, |set| set.id == id)
}

fn one_of(api: &Api, is_wanted: impl Fn(&ValueSet) -> bool) -> Result<&ValueSet, Refusal> {
    let found = api.services.codes.value_sets().iter().find(|set| is_wanted(set));
    found.ok_or_else(|| Refusal::new(Reason::NotFound, "no such value set").by("the value sets of the DMP"))
}

/// The parameters of a call, each once.
struct Wanted<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Wanted<'a> {
    fn read(parameters: &'a request::Parameters, known: &[&str]) -> Result<Self, Refusal> {
        let mut wanted = Self(Vec::new());
        for (name, value) in parameters {
            match name.as_str() {
                name if known.contains(&name) && wanted.get(name).is_none() => wanted.0.push((name, value)),
                name if WITHOUT_EFFECT.contains(&name) => {}
                name => {
                    let why = format!("known here, each once: {}", known.join(", "));
                    return Err(Refusal::at(Reason::InvalidSearchParameter, name, why));
                }
            }
        }
        Ok(wanted)
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let wrong = |_| Refusal::at(Reason::InvalidSearchParameter, name, "a whole number");
        self.get(name).map(|text| text.parse::<u16>().map(usize::from).map_err(wrong)).transpose()
    }

    /// The one of an id, or else of an address, of any version: there is one of each.
    fn value_set(&self, api: &'a Api, id: Option<&str>) -> Result<&'a ValueSet, Refusal> {
        if let Some(id) = id {
            return by_id(api, id);
        }
        let missing = || Refusal::at(Reason::MissingSearchParameter, "url", "the address of the value set");
        let url = self.get("url").ok_or_else(missing)?;
        let bare = url.split('|').next().unwrap_or_default();
        one_of(api, |set| set.url() == bare)
    }
}
