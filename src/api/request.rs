//! What is read of a request: body, query, accepted formats.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, web};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::json;

/// The name-value pairs of a query or of a form.
pub type Parameters = Vec<(String, String)>;

/// A body in memory, and its share of the memory that all bodies together may take.
#[derive(Debug)]
pub struct Held<T> {
    value: T,
    _share: Vec<OwnedSemaphorePermit>,
}

impl Held<String> {
    /// The text. The share is given back when the guard is dropped: after the answer is made.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.value)
    }
}

/// A JSON body that was let in by the door: whole, in time, of an acceptable size, no key twice.
///
/// # Errors
/// [`Reason::MalformedBody`], [`Reason::BodyTooLarge`], [`Reason::BodyTooSlow`]; [`Failure::Unavailable`] when the
/// bodies under way leave no room.
pub async fn json_body(request: &HttpRequest, payload: web::Payload) -> Result<Held<String>, Failure> {
    json_body_of(request, payload, usize::MAX).await
}

/// As [`json_body`], for what is short.
///
/// # Errors
/// As [`json_body`].
pub async fn small_json_body(request: &HttpRequest, payload: web::Payload) -> Result<Held<String>, Failure> {
    const SHORT: usize = 64 << 10;
    json_body_of(request, payload, SHORT).await
}

async fn json_body_of(
    request: &HttpRequest,
    payload: web::Payload,
    most: usize,
) -> Result<Held<String>, Failure> {
    /// Below it the walk through a body is shorter than the way to another thread.
    const SMALL: usize = 256 << 10;
    match request.content_type() {
        "application/fhir+json" | "application/json" => {}
        other => {
            return Err(
                json::malformed(&format!("Content-Type is application/fhir+json, not « {other} »")).into()
            );
        }
    }
    let Held { value: body, _share } = body(request, payload, most).await?;
    let text = String::from_utf8(body).map_err(|error| json::malformed(&format!("not UTF-8: {error}")))?;
    let value = if text.len() <= SMALL {
        json::admit(&text)?;
        text
    } else {
        let admitted = tokio::task::spawn_blocking(move || json::admit(&text).map(|()| text)).await;
        admitted.map_err(Failure::internal)??
    };
    Ok(Held { value, _share })
}

/// The form of a PATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchForm {
    /// RFC 6902, `application/json-patch+json`.
    Json,
    /// A Parameters resource, `application/fhir+json`.
    FhirPath,
}

/// The body of a PATCH.
///
/// # Errors
/// As [`json_body`].
pub async fn patch_body(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<(PatchForm, Held<String>), Failure> {
    /// A change of labels is short.
    const PATCH: usize = 64 << 10;
    let form = match request.content_type() {
        "application/json-patch+json" => PatchForm::Json,
        "application/fhir+json" | "application/json" => PatchForm::FhirPath,
        other => {
            let why = format!(
                "Content-Type is application/json-patch+json or application/fhir+json (Parameters), not « {other} »"
            );
            return Err(json::malformed(&why).into());
        }
    };
    let Held { value, _share } = body(request, payload, PATCH).await?;
    let text = String::from_utf8(value).map_err(|error| json::malformed(&format!("not UTF-8: {error}")))?;
    json::admit(&text)?;
    Ok((form, Held { value: text, _share }))
}

/// The version that `If-Match` names, `W/"3"` or `"3"`.
///
/// # Errors
/// [`Reason::VersionConflict`]: it is no version of ours.
pub fn if_match(request: &HttpRequest) -> Result<Option<i64>, Refusal> {
    let Some(value) = request.headers().get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let version = text.strip_prefix("W/").unwrap_or(text).trim_matches('"').parse();
    version.map(Some).map_err(|_| {
        Refusal::new(Reason::VersionConflict, "If-Match names no version of this server").by("If-Match")
    })
}

/// The pairs of a form body (`POST …/_search`) and of the query.
///
/// # Errors
/// [`Reason::MalformedBody`], [`Reason::BodyTooLarge`], [`Reason::BodyTooSlow`], [`Reason::InvalidSearchParameter`].
pub async fn form(request: &HttpRequest, payload: web::Payload) -> Result<Parameters, Failure> {
    /// A search is short.
    const FORM: usize = 64 << 10;
    if request.content_type() != "application/x-www-form-urlencoded" {
        return Err(json::malformed("the body is application/x-www-form-urlencoded").into());
    }
    let body = body(request, payload, FORM).await?;
    let text = std::str::from_utf8(&body.value).map_err(|_| json::malformed("the form is not UTF-8"))?;
    let mut parameters = pairs(text)?;
    parameters.extend(query(request)?);
    Ok(parameters)
}

/// The pairs of the query.
///
/// # Errors
/// [`Reason::InvalidSearchParameter`].
pub fn query(request: &HttpRequest) -> Result<Parameters, Refusal> {
    pairs(request.query_string())
}

fn pairs(text: &str) -> Result<Parameters, Refusal> {
    let pairs = web::Query::<Parameters>::from_query(text)
        .map_err(|error| Refusal::new(Reason::InvalidSearchParameter, error.to_string()))?
        .into_inner();
    if pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(Refusal::new(Reason::InvalidSearchParameter, "U+0000 in a parameter"));
    }
    Ok(pairs)
}

/// Bodies up to this size are outside the common memory: searches, declarations, small documents.
const FREE: usize = 64 << 10;
/// By how much larger ones ask for more.
const STEP: usize = 1 << 20;

async fn body(request: &HttpRequest, mut payload: web::Payload, most: usize) -> Result<Held<Vec<u8>>, Failure> {
    let api = request.app_data::<web::Data<Api>>().ok_or_else(|| Failure::internal("no service"))?;
    let (limit, deadline) = (api.limits.body.min(most), api.limits.body_deadline);
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(json::malformed("no Content-Encoding is taken").into());
    }
    let too_large = || Refusal::new(Reason::BodyTooLarge, format!("a body has at most {limit} bytes"));
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large().into());
    }
    let read = async {
        let mut share = Vec::new();
        let mut body = Vec::with_capacity(announced.unwrap_or_default().min(FREE));
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| json::malformed(&format!("the body broke off: {error}")))?;
            if body.len() + chunk.len() > limit {
                return Err(too_large().into());
            }
            body.extend_from_slice(&chunk);
            // Memory is asked for as bytes arrive, by the step; without room the answer is « later », at once.
            while body.len() > FREE + share.len() * STEP {
                let step = u32::try_from(STEP / 1024).map_err(Failure::internal)?;
                let more = Arc::clone(&api.body_memory).try_acquire_many_owned(step);
                share.push(more.map_err(|_| Failure::unavailable("no memory for one more large body"))?);
            }
        }
        super::gate::still_standing(request, api)?;
        Ok(Held { value: body, _share: share })
    };
    match tokio::time::timeout(deadline, read).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::new(Reason::BodyTooSlow, "the body did not arrive in time").into()),
    }
}

/// What a client accepts, from `_format` or else from `Accept`.
#[derive(Clone, Debug)]
pub struct Accepted(Vec<String>);

impl Accepted {
    /// Reads it. `q` weights are not weighed: an order of preference changes nothing where one format is served.
    pub fn of(request: &HttpRequest, parameters: &[(String, String)]) -> Self {
        let format = parameters.iter().find(|(name, _)| name == "_format");
        let list = match format {
            Some((_, value)) if value == "json" => "application/fhir+json".to_owned(),
            Some((_, value)) if value == "xml" => "application/fhir+xml".to_owned(),
            // A plus sign in a query is a space.
            Some((_, value)) => value.replace(' ', "+"),
            None => {
                let values = request.headers().get_all(header::ACCEPT);
                values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
            }
        };
        let types = list.split(',').filter(|range| !range.contains("q=0;") && !range.trim().ends_with("q=0"));
        let types = types.map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        Self(types.filter(|range| !range.is_empty()).collect())
    }

    /// Whether this media type will do.
    pub fn takes(&self, media_type: &str) -> bool {
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let family = media_type.split('/').next().unwrap_or_default();
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|range| range == "*/*" || *range == media_type || range.strip_suffix("/*") == Some(family))
    }

    /// Whether FHIR JSON is asked for by name.
    pub fn names_fhir_json(&self) -> bool {
        self.0.iter().any(|range| range == "application/fhir+json" || range == "application/json")
    }

    /// Refuses unless FHIR JSON will do.
    ///
    /// # Errors
    /// [`Reason::NotAcceptable`].
    pub fn require_fhir_json(&self) -> Result<(), Refusal> {
        if self.takes("application/fhir+json") || self.takes("application/json") {
            return Ok(());
        }
        Err(Refusal::new(Reason::NotAcceptable, "this server answers application/fhir+json"))
    }
}
