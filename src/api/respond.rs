//! Answers: the one place that turns a domain error into what a client sees.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::gate::REQUEST_ID;
use super::negotiation::Format;
use super::request::beside;
use crate::error::{Failure, Reason};
use crate::fhir::{outcome, xml};
use crate::store::StoredBody;

/// The media type of every FHIR answer.
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";
const FHIR_XML: &str = "application/fhir+xml; charset=utf-8";
/// OAuth, JWKS, discovery.
const JSON: &str = "application/json";
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
    /// What is sent behind the body, in pieces.
    behind: Option<Behind>,
}

/// A long document behind the beginning of a body.
#[derive(Clone, Debug)]
pub struct Behind {
    /// Its bytes.
    pub stored: StoredBody,
    /// The first, and the one behind the last.
    pub bounds: (u64, u64),
    /// As base64, with this text behind it: inside a Binary.
    pub inside: Option<String>,
}

impl Answer {
    /// A FHIR resource.
    pub fn fhir(status: u16, resource: String) -> Self {
        Self {
            status,
            content_type: FHIR_JSON.into(),
            headers: Vec::new(),
            body: Bytes::from(resource),
            behind: None,
        }
    }

    /// JSON that is no FHIR.
    pub fn json(status: u16, text: String) -> Self {
        Self { status, content_type: JSON.into(), headers: Vec::new(), body: Bytes::from(text), behind: None }
    }

    /// A document's own bytes, served inert: no sniffing, no rendering, no caching.
    pub fn bytes(status: u16, content_type: String, disposition: String, body: Bytes) -> Self {
        Self { status, content_type: content_type.into(), headers: Vec::new(), body, behind: None }
            .with(header::CONTENT_DISPOSITION, disposition)
            .with(header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".into())
    }

    /// A FHIR resource in a form of which it is known how it is written: it is not written again.
    pub fn written(status: u16, format: Format, beginning: String) -> Self {
        let content_type = if format == Format::Json { FHIR_JSON } else { FHIR_XML };
        Self {
            status,
            content_type: content_type.into(),
            headers: Vec::new(),
            body: Bytes::from(beginning),
            behind: None,
        }
    }

    /// With a long document behind what it holds.
    pub fn followed_by(self, behind: Option<Behind>) -> Self {
        Self { behind, ..self }
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
            let text = outcome::refusal(refusal.reason, &refusal.issues, request_id);
            let answer = Answer::fhir(refusal.reason.status(), text);
            let answer = match token_error(refusal.reason) {
                // RFC 6750, 3: what is wrong with the token that was presented.
                Some(error) => answer.with(header::WWW_AUTHENTICATE, format!("Bearer error=\"{error}\"")),
                None => answer,
            };
            let answer = match refusal.whole {
                Some(size) => answer.with(header::CONTENT_RANGE, format!("bytes */{size}")),
                None => answer,
            };
            let answer = match refusal.reason {
                Reason::ElementNotUpdatable => answer.with(header::ALLOW, "GET, PATCH".into()),
                _ => answer,
            };
            match refusal.retry_after {
                Some(seconds) => answer.with(header::RETRY_AFTER, seconds.to_string()),
                None => answer,
            }
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

/// The error code of RFC 6750, where an access token is at fault.
const fn token_error(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::TokenInvalid | Reason::TokenExpired | Reason::TokenSpent | Reason::TokenNotBound => {
            Some("invalid_token")
        }
        Reason::InsufficientScope => Some("insufficient_scope"),
        Reason::TokenRequired => Some("invalid_request"),
        _ => None,
    }
}

/// The error code of RFC 6749 (5.2), for the token endpoint.
const fn oauth_error(failure: &Failure) -> &'static str {
    match failure {
        Failure::Unavailable { .. } => "temporarily_unavailable",
        Failure::Internal { .. } => "server_error",
        Failure::Refused(refusal) => match refusal.reason {
            Reason::InvalidGrant | Reason::InvalidSeal | Reason::TokenSpent | Reason::InvalidIns => {
                "invalid_grant"
            }
            Reason::InvalidScope => "invalid_scope",
            Reason::UnsupportedGrant => "unsupported_grant_type",
            Reason::UnknownClient | Reason::SoftwareRefused => "unauthorized_client",
            Reason::UnsuitableCertificate
            | Reason::CertificateRevoked
            | Reason::CertificateExpired
            | Reason::RevocationUnknown => "invalid_client",
            Reason::BudgetSpent => "slow_down",
            _ => match refusal.reason.status() {
                403 => "access_denied",
                _ => "invalid_request",
            },
        },
    }
}

/// The answer of the token endpoint to a failure: the error of RFC 6749 and the OperationOutcome in one object, so that an
/// OAuth library and a FHIR client both find what they look for (`docs/decisions/0016`).
pub fn oauth_failure(failed: &Failure, request_id: &str) -> Answer {
    let answer = failure(failed, request_id);
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&answer.body).unwrap_or_default();
    object.insert("error".into(), oauth_error(failed).into());
    if let Failure::Refused(refusal) = failed
        && let Some(issue) = refusal.issues.first()
    {
        object.insert("error_description".into(), outcome::allowed(&issue.diagnostics).into());
    }
    Answer {
        content_type: JSON.into(),
        body: Bytes::from(serde_json::Value::Object(object).to_string()),
        ..answer
    }
}

/// The answer in the form that is asked for. What cannot be written in it is a fault of ours, since it was taken in as FHIR: it goes out
/// as JSON then. What its trace says was done, and nobody is told otherwise.
pub(super) async fn in_format(answer: Answer, format: Format, request_id: &str) -> Answer {
    let is_whole = answer.behind.is_none() && !answer.body.is_empty();
    if format == Format::Json || answer.content_type != FHIR_JSON || !is_whole {
        return answer;
    }
    let written = beside(answer.body.to_vec(), |body| {
        let text = String::from_utf8(body).map_err(Failure::internal)?;
        xml::to_xml(&text).map_err(Failure::internal)
    });
    match written.await {
        Ok(xml) => Answer { content_type: FHIR_XML.into(), body: Bytes::from(xml), ..answer },
        Err(failure) => {
            tracing::error!(%failure, request_id, "an answer goes out as JSON: it could not be written as XML");
            answer
        }
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
    match answer.behind {
        None => response.body(answer.body),
        Some(behind) => {
            let length = answer.body.len() as u64 + behind.length();
            let beginning = futures_util::stream::iter(
                Some(Ok(answer.body)).filter(|body| !matches!(body, Ok(body) if body.is_empty())),
            );
            response.body(SizedStream::new(length, beginning.chain(behind.pieces(request_id.to_owned()))))
        }
    }
}

impl Behind {
    /// Bytes that are sent.
    fn length(&self) -> u64 {
        let bytes = self.bounds.1.saturating_sub(self.bounds.0);
        match &self.inside {
            None => bytes,
            Some(text) => bytes.div_ceil(3) * 4 + text.len() as u64,
        }
    }

    /// What is sent, piece for piece. A fault on the way breaks the answer off: it is shorter than it said.
    fn pieces(self, request_id: String) -> impl Stream<Item = Result<Bytes, Failure>> {
        let Self { stored, bounds, inside } = self;
        let in_base64 = inside.is_some();
        // Base64 goes by three bytes: what is left of a piece goes before the next.
        let pieces = stored.pieces(bounds.0, bounds.1).map(move |piece| {
            piece.inspect_err(|failure| tracing::error!(%failure, request_id, "an answer broke off"))
        });
        let ends = inside.map(|text| Ok(Bytes::from(text)));
        let mut left = Vec::new();
        let mut at = bounds.0;
        pieces
            .map(move |piece| {
                let piece = piece?;
                if !in_base64 {
                    return Ok(piece);
                }
                at += piece.len() as u64;
                left.extend_from_slice(&piece);
                let whole = if at == bounds.1 { left.len() } else { left.len() - left.len() % 3 };
                let rest = left.split_off(whole);
                Ok(Bytes::from(BASE64.encode(std::mem::replace(&mut left, rest))))
            })
            .chain(futures_util::stream::iter(ends))
    }
}
