//! The gate: who calls, run, trace, answer.
//!
//! ```text
//! request ─► request id ─► peer ─► revocation, again ─► caller ─► operation ─► Traced ─► answer
//!                                                          └─ refusal ─► trace ─► OperationOutcome
//! ```
//!
//! A response carries a receipt that only this module can put on it, after the trace is durable. [`let_out`] is wrapped
//! around the whole listener and turns a response without a receipt into a 500: a route that forgets its trace gives
//! nothing away, and the first test that calls it sees so.

use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderName;
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, web};

use super::Api;
use super::peer::Peer;
use super::respond::{self, Answer};
use crate::audit::{TraceContext, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::operations::Call;
use crate::tls::RevocationVerdict;

/// Name of the header that carries the request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Proof that the trace of a response is durable. Not constructible elsewhere.
struct Receipt(());

/// Serves a request of a recognised caller.
pub async fn serve<F>(request: &HttpRequest, operation: &'static str, run: F) -> HttpResponse
where
    F: AsyncFnOnce(Call) -> Result<Traced<Answer>, Failure>,
{
    let Some(connected) = Connected::read(request, operation) else { return without_service() };
    let result = match (&connected.refusal, &connected.caller) {
        (Some(refusal), _) | (None, Err(refusal)) => Err(refusal.clone().into()),
        (None, Ok(caller)) => {
            let services = Arc::clone(&connected.api.services);
            run(Call { caller: Arc::clone(caller), trace: connected.trace.clone(), services }).await
        }
    };
    connected.answer(result).await
}

/// Serves a request that concerns no record: any valid certificate of a usable kind will do.
pub async fn serve_connected<F>(request: &HttpRequest, operation: &'static str, run: F) -> HttpResponse
where
    F: FnOnce(&Api) -> Result<Answer, Refusal>,
{
    let Some(connected) = Connected::read(request, operation) else { return without_service() };
    let refusal = match (&connected.refusal, &connected.caller) {
        (Some(refusal), _) => Some(refusal.clone()),
        // An organisation without a token is nobody who acts, but it may ask what the server is.
        (None, Err(refusal)) if refusal.reason != Reason::TokenRequired => Some(refusal.clone()),
        _ => None,
    };
    let result = match refusal.map_or_else(|| run(&connected.api), Err) {
        Ok(answer) => {
            let trace = connected.trace.granted(answer.status, "concerns no record", None, &[]);
            connected.api.services.store.writer().record(trace, answer).await
        }
        Err(refusal) => Err(refusal.into()),
    };
    connected.answer(result).await
}

/// The answer to a path that does not exist.
pub async fn unknown_path(request: HttpRequest) -> HttpResponse {
    serve_connected(&request, "unknown path", |_| {
        Err(Refusal::new(Reason::NotFound, "no such path").by("contract: paths"))
    })
    .await
}

/// The answer to a method that a path does not have.
pub async fn method_not_allowed(request: HttpRequest) -> HttpResponse {
    serve_connected(&request, "unknown method", |_| {
        Err(Refusal::new(Reason::MethodNotAllowed, "this path does not have this method"))
    })
    .await
}

/// Wrapped around the whole listener: no receipt, no answer.
///
/// # Errors
/// Those of actix itself.
pub async fn let_out(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    if response.response().extensions().get::<Receipt>().is_some() {
        return Ok(response);
    }
    tracing::error!(path = response.request().path(), "an answer without a trace was held back");
    let (request, _) = response.into_parts();
    Ok(ServiceResponse::new(request, without_service()))
}

/// The answer where not even a trace can be begun. It carries no receipt and tells nothing.
fn without_service() -> HttpResponse {
    respond::http(respond::failure(&Failure::internal("no trace"), ""), "")
}

/// A request on a connection whose peer was recognised.
struct Connected {
    api: web::Data<Api>,
    trace: TraceContext,
    caller: Result<Arc<crate::identity::Caller>, Refusal>,
    /// Why nothing is served on this connection now, whoever calls.
    refusal: Option<Refusal>,
}

impl Connected {
    fn read(request: &HttpRequest, operation: &'static str) -> Option<Self> {
        let api = request.app_data::<web::Data<Api>>()?.clone();
        let environment = &api.services.environment;
        let now = environment.now();
        let request_id = request_id(request).unwrap_or_else(|| environment.next_id());
        let peer = request.conn_data::<Peer>();
        let facts = peer.and_then(|peer| peer.certificate.as_ref().ok());
        let recognised = peer.and_then(|peer| peer.caller.as_ref().ok());
        let trace = TraceContext::new(
            now.as_microsecond(),
            request_id,
            operation,
            peer.map_or("", |peer| &peer.label),
            facts,
            recognised.map(AsRef::as_ref),
        );
        let no_peer = || Refusal::new(Reason::UnsuitableCertificate, "no client certificate was read");
        let refusal = match peer {
            None => Some(no_peer()),
            Some(peer) => standing(api.revocation.verdict(peer.chain.links(), now)),
        };
        let caller = peer.map_or_else(|| Err(no_peer()), |peer| peer.caller.clone());
        Some(Self { api, trace, caller, refusal })
    }

    /// A traced answer goes out as it is; a failure is traced first.
    async fn answer(self, result: Result<Traced<Answer>, Failure>) -> HttpResponse {
        let request_id = &self.trace.request_id;
        let answer = match result {
            Ok(traced) => traced.into_inner(),
            Err(failure) => {
                log(&failure, request_id);
                let answer = respond::failure(&failure, request_id);
                let trace = self.trace.failed(&failure, answer.status);
                match self.api.services.store.writer().record(trace, answer).await {
                    Ok(traced) => traced.into_inner(),
                    // Traces cannot be written: 503, and nothing was done.
                    Err(failure) => {
                        log(&failure, request_id);
                        respond::failure(&failure, request_id)
                    }
                }
            }
        };
        let mut response = respond::http(answer, request_id);
        response.extensions_mut().insert(Receipt(()));
        response
    }
}

/// The cause goes to the log; a refusal is the caller's affair and stands in the trace.
fn log(failure: &Failure, request_id: &str) {
    match failure {
        Failure::Refused(_) => {}
        Failure::Unavailable { cause } => tracing::error!(%cause, request_id, "unavailable"),
        Failure::Internal { cause } => tracing::error!(%cause, request_id, "internal error"),
    }
}

fn standing(verdict: RevocationVerdict) -> Option<Refusal> {
    match verdict {
        RevocationVerdict::Good => None,
        RevocationVerdict::Revoked => {
            Some(Refusal::new(Reason::CertificateRevoked, "the certificate is on its issuer's revocation list"))
        }
        RevocationVerdict::Expired => {
            Some(Refusal::new(Reason::CertificateExpired, "the certificate is out of its dates"))
        }
        RevocationVerdict::Unknown => {
            Some(Refusal::new(Reason::RevocationUnknown, "no revocation list in force covers the certificate"))
        }
    }
}

/// A client's own request id, if it is one that can stand in a log line and in `OperationOutcome.id`.
fn request_id(request: &HttpRequest) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let fits = (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    fits.then(|| id.to_owned())
}
