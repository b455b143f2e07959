//! Answers: the one place that turns a domain error into what a client sees.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use bytes::Bytes;

use super::gate::REQUEST_ID;
use crate::error::Failure;
use crate::fhir::outcome;

/// The media type of every FHIR answer.
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";
/// How long a client waits before it tries again, seconds.
const RETRY_AFTER: &str = "2";

/// An answer, before it is HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    content_type: Cow<'static, str>,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl Answer {
    /// A FHIR resource.
    pub fn fhir(status: u16, resource: String) -> Self {
        Self { status, content_type: FHIR_JSON.into(), headers: Vec::new(), body: Bytes::from(resource) }
    }

    /// A document's own bytes, served inert: no sniffing, no rendering, no caching.
    pub fn bytes(content_type: String, name: &str, body: Bytes) -> Self {
        Self { status: 200, content_type: content_type.into(), headers: Vec::new(), body }
            .with(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
            .with(header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".into())
    }

    /// With one more header.
    pub fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// The answer to a failure. The cause of what is not the caller's affair stays inside.
pub fn failure(failure: &Failure, request_id: &str) -> Answer {
    match failure {
        Failure::Refused(refusal) => {
            Answer::fhir(refusal.reason.status(), outcome::refusal(refusal.reason, &refusal.issues, request_id))
        }
        Failure::Unavailable { .. } => Answer::fhir(
            503,
            outcome::failure(
                "transient",
                "Le DMP est momentanément indisponible. Réessayez dans un instant.",
                "the service cannot do its work now; try again (a repeated feed is answered as the first time)",
                request_id,
            ),
        )
        .with(header::RETRY_AFTER, RETRY_AFTER.to_owned()),
        Failure::Internal { .. } => Answer::fhir(
            500,
            outcome::failure(
                "exception",
                "Une erreur est survenue. Signalez-la avec le numéro de la requête.",
                "internal error; report it with the X-Request-Id",
                request_id,
            ),
        ),
    }
}

/// HTTP. Health data are kept by no cache.
pub(super) fn http(answer: Answer, request_id: &str) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    let content_type = HeaderValue::from_str(&answer.content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if let Ok(value) = HeaderValue::from_str(request_id)
        && !request_id.is_empty()
    {
        response.insert_header((REQUEST_ID, value));
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.insert_header((name, value));
        }
    }
    response.body(answer.body)
}
