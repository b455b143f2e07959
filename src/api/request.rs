//! What is read of a request: body, query, accepted formats.

use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, web};
use futures_util::StreamExt;

use super::{Api, RequestLimits};
use crate::error::{Reason, Refusal};
use crate::fhir::json;

/// The name-value pairs of a query or of a form.
pub type Parameters = Vec<(String, String)>;

/// A JSON body that was let in by the door: whole, in time, of an acceptable size, no key twice.
///
/// # Errors
/// [`Reason::MalformedBody`], [`Reason::BodyTooLarge`], [`Reason::BodyTooSlow`].
pub async fn json_body(request: &HttpRequest, payload: web::Payload) -> Result<String, Refusal> {
    match request.content_type() {
        "application/fhir+json" | "application/json" => {}
        other => {
            return Err(json::malformed(&format!("Content-Type is application/fhir+json, not « {other} »")));
        }
    }
    let body = body(request, payload).await?;
    json::admit(&body).map(str::to_owned)
}

/// The pairs of a form body (`POST …/_search`) and of the query.
///
/// # Errors
/// [`Reason::MalformedBody`], [`Reason::BodyTooLarge`], [`Reason::BodyTooSlow`], [`Reason::InvalidSearchParameter`].
pub async fn form(request: &HttpRequest, payload: web::Payload) -> Result<Parameters, Refusal> {
    if request.content_type() != "application/x-www-form-urlencoded" {
        return Err(json::malformed("a search by POST is application/x-www-form-urlencoded"));
    }
    let body = body(request, payload).await?;
    let text = std::str::from_utf8(&body).map_err(|_| json::malformed("the form is not UTF-8"))?;
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

async fn body(request: &HttpRequest, mut payload: web::Payload) -> Result<Vec<u8>, Refusal> {
    let limits = request.app_data::<web::Data<Api>>().map(|api| api.limits);
    let limits = limits.unwrap_or(RequestLimits { body: 0, body_deadline: std::time::Duration::ZERO });
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(json::malformed("no Content-Encoding is taken"));
    }
    let too_large = || Refusal::new(Reason::BodyTooLarge, format!("a body has at most {} bytes", limits.body));
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits.body) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(announced.unwrap_or_default());
    let read = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| json::malformed(&format!("the body broke off: {error}")))?;
            if body.len() + chunk.len() > limits.body {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(limits.body_deadline, read).await {
        Ok(read) => read?,
        Err(_) => return Err(Refusal::new(Reason::BodyTooSlow, "the body did not arrive in time")),
    }
    Ok(body)
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
