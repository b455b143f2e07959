//! What is read of a request: body and query.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, web};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Api;
use super::negotiation::Format;
use super::pace::Arrival;
use super::search_parameters::Handling;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::{json, xml};

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

/// A FHIR body that was let in by the door, as JSON: whole, in time, of an acceptable size, no key twice, and of elements that
/// FHIR R4 knows. XML says the same and becomes JSON here.
///
/// # Errors
/// [`Reason::MalformedBody`], [`Reason::BodyTooLarge`], [`Reason::BodyTooSlow`]; [`Failure::Unavailable`] when the
/// bodies under way leave no room.
pub async fn resource_body(request: &HttpRequest, payload: web::Payload) -> Result<Held<String>, Failure> {
    resource_body_of(request, payload, usize::MAX).await
}

/// As [`resource_body`], of what is never long: no document is in it.
///
/// # Errors
/// As [`resource_body`].
pub async fn short_resource_body(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Held<String>, Failure> {
    resource_body_of(request, payload, NO_DOCUMENT).await
}

/// Bytes of a resource that holds no document: a thousand ids that software holds, a care team.
const NO_DOCUMENT: usize = 256 << 10;

async fn resource_body_of(
    request: &HttpRequest,
    payload: web::Payload,
    most: usize,
) -> Result<Held<String>, Failure> {
    let format = Format::of_body(request.content_type())
        .ok_or_else(|| json::malformed("Content-Type is application/fhir+json or application/fhir+xml"))?;
    let Held { value, _share } = body(request, payload, most).await?;
    let value = beside(value, move |body| {
        let text = utf_8(body)?;
        match format {
            Format::Json => {
                json::admit(&text)?;
                xml::check(&text).map(|()| text)
            }
            Format::Xml => xml::to_json(&text).and_then(|text| xml::check(&text).map(|()| text)),
        }
        .map_err(|fault| {
            let why = format!("not a resource of FHIR R4: {fault}");
            // A fault of the text itself stands at no element.
            let at_element = fault.path.chars().all(|c| c.is_ascii_alphanumeric() || "._[]:-".contains(c));
            match at_element && !fault.path.is_empty() {
                true => Refusal::at(Reason::MalformedBody, fault.path, why).into(),
                false => json::malformed(&why).into(),
            }
        })
    })
    .await?;
    Ok(Held { value, _share })
}

/// Reads or writes a body: a long one on another thread.
pub(super) async fn beside<T: Send + 'static>(
    body: Vec<u8>,
    read: impl FnOnce(Vec<u8>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    /// Below it the walk through a body is shorter than the way to another thread.
    const SMALL: usize = 256 << 10;
    if body.len() <= SMALL {
        return read(body);
    }
    tokio::task::spawn_blocking(move || read(body)).await.map_err(Failure::internal)?
}

fn utf_8(body: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(body).map_err(|error| json::malformed(&format!("not UTF-8: {error}")))
}

/// A short JSON body that is no FHIR: whole, in time, no key twice.
///
/// # Errors
/// As [`resource_body`].
pub async fn small_json_body(request: &HttpRequest, payload: web::Payload) -> Result<Held<String>, Failure> {
    match request.content_type() {
        "application/json" | "application/fhir+json" => {}
        _ => return Err(json::malformed("Content-Type is application/json").into()),
    }
    let Held { value, _share } = body(request, payload, SHORT).await?;
    let text = utf_8(value)?;
    json::admit(&text)?;
    Ok(Held { value: text, _share })
}

/// Bytes of a body that holds a few values.
const SHORT: usize = 64 << 10;

/// The form of a PATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchForm {
    /// RFC 6902, `application/json-patch+json`.
    Json,
    /// A Parameters resource, `application/fhir+json` or `application/fhir+xml`.
    FhirPath,
    /// RFC 5261, `application/xml-patch+xml`.
    Xml,
}

/// The body of a PATCH. A change of labels is short.
///
/// # Errors
/// As [`resource_body`].
pub async fn patch_body(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<(PatchForm, Held<String>), Failure> {
    let form = match request.content_type() {
        "application/json-patch+json" => PatchForm::Json,
        "application/xml-patch+xml" => PatchForm::Xml,
        other if Format::of_body(other) == Some(Format::Xml) => {
            return Ok((PatchForm::FhirPath, resource_body_of(request, payload, SHORT).await?));
        }
        // Not held against FHIR R4: vendors send `valueExtension`, which its Parameters do not have, and nothing of it is kept.
        other if Format::of_body(other).is_some() => PatchForm::FhirPath,
        _ => {
            let why = "Content-Type is application/json-patch+json, application/xml-patch+xml, or application/fhir+json or \
                       +xml with Parameters";
            return Err(json::malformed(why).into());
        }
    };
    let Held { value, _share } = body(request, payload, SHORT).await?;
    let text = utf_8(value)?;
    if form != PatchForm::Xml {
        json::admit(&text)?;
    }
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

/// What `Prefer: handling=…` wants of parameters that are not known.
pub fn handling(request: &HttpRequest) -> Handling {
    let strict = |value: &header::HeaderValue| {
        value.to_str().is_ok_and(|text| text.split([',', ';']).any(|one| one.trim() == "handling=strict"))
    };
    match request.headers().get_all("prefer").any(strict) {
        true => Handling::Strict,
        false => Handling::Lenient,
    }
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

pub(super) fn pairs(text: &str) -> Result<Parameters, Refusal> {
    let pairs = web::Query::<Parameters>::from_query(text)
        .map_err(|error| Refusal::new(Reason::InvalidSearchParameter, error.to_string()))?
        .into_inner();
    if pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(Refusal::new(Reason::InvalidSearchParameter, "U+0000 in a parameter"));
    }
    Ok(pairs)
}

/// Takes so many bytes of the memory that all bodies together may take, until the answer is written in its form; `false` without room.
pub fn hold_memory(request: &HttpRequest, memory: &Arc<Semaphore>, bytes: u64) -> bool {
    let kibibytes = u32::try_from(bytes >> 10).ok();
    let share = kibibytes.and_then(|kibibytes| Arc::clone(memory).try_acquire_many_owned(kibibytes).ok());
    let Some(share) = share else { return false };
    // The handler ends before the answer is written as XML; the request does not.
    request.extensions_mut().insert(Share(share));
    true
}

/// What [`hold_memory`] took.
struct Share(#[expect(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit);

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
        request.extensions_mut().insert(Arrival::now());
        Ok(Held { value: body, _share: share })
    };
    match tokio::time::timeout(deadline, read).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::new(Reason::BodyTooSlow, "the body did not arrive in time").into()),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn memory_is_held_as_long_as_its_request() {
        let memory = Arc::new(Semaphore::new(10));
        let first = TestRequest::default().to_http_request();
        assert!(hold_memory(&first, &memory, 8 << 10));
        let second = TestRequest::default().to_http_request();
        assert!(!hold_memory(&second, &memory, 3 << 10) && hold_memory(&second, &memory, 2 << 10));
        assert_eq!(memory.available_permits(), 0);
        drop(first);
        assert_eq!(memory.available_permits(), 8);
        assert!(!hold_memory(&second, &memory, u64::MAX));
    }
}
