//! The gate: who calls, run, trace, answer.
//!
//! ```text
//! request ─► request id ─► peer ─► revocation, again ─► token ─► caller ─► budget ─► operation ─► Traced ─► answer
//!                                                          └─ refusal ─► trace ─► OperationOutcome
//! ```
//!
//! An answer that could tell by its time of what the caller may not see leaves at its pace ([`super::pace`]).
//!
//! A response carries a receipt that only this module can put on it, after the trace is durable. [`let_out`] is wrapped
//! around the whole listener and turns a response without a receipt into a 500: a route that forgets its trace gives
//! nothing away, and the first test that calls it sees so.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{self, HeaderName};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use jiff::Timestamp;

use super::Api;
use super::hostile::{self, Trouble};
use super::limits::Who;
use super::negotiation::Format;
use super::observe::Watch;
use super::pace::Arrival;
use super::peer::Peer;
use super::respond::{self, Answer};
use crate::audit::{TraceContext, Traced};
use crate::certificate::CertificateKind;
use crate::error::{Failure, Reason, Refusal};
use crate::identity::patient_side::PatientSide;
use crate::identity::scope::Scopes;
use crate::identity::{AccessMode, Caller, Session};
use crate::operations::open_session::Connection;
use crate::operations::patient_side::PatientCall;
use crate::operations::{Budget, Call, Operation, introspect};
use crate::store::lane::{Lane, in_lane};
use crate::tls::RevocationVerdict;

/// Name of the header that carries the request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Proof that the trace of a response is durable. Not constructible elsewhere.
struct Receipt(());

/// Serves a request of a recognised caller.
pub async fn serve<F>(request: &HttpRequest, operation: Operation, run: F) -> HttpResponse
where
    F: AsyncFnOnce(Call) -> Result<Traced<Answer>, Failure>,
{
    let Some(mut connected) = Connected::read(request, operation) else { return without_service() };
    let lane = connected.lane();
    let served = async move {
        let result = match connected.caller(operation).await {
            Ok(_) if let Some(instead) = connected.trouble.and_then(Trouble::instead) => {
                connected.made_up = true;
                Err(instead)
            }
            Ok(caller) => {
                let services = Arc::clone(&connected.api.services);
                let scopes = caller.session.as_ref().map(|session| session.scopes.and(connected.admitted));
                run(Call { caller, trace: connected.trace.clone(), services, scopes }).await
            }
            Err(failure) => Err(failure),
        };
        connected.answer(result, respond::failure).await
    };
    in_lane(lane, served).await
}

/// Serves a request that concerns no record: any valid certificate of a usable kind will do.
pub async fn serve_connected<F>(request: &HttpRequest, operation: Operation, run: F) -> HttpResponse
where
    F: AsyncFnOnce(&Api) -> Result<Answer, Failure>,
{
    let Some(mut connected) = Connected::read(request, operation) else { return without_service() };
    let admitted = connected.admit(operation).await;
    let answer = match admitted {
        Ok(()) => run(&connected.api).await,
        Err(failure) => Err(failure),
    };
    let result = match answer {
        Ok(answer) => {
            let trace = connected.trace.granted(answer.status, "concerns no record", None, &[]);
            connected.api.services.store.writer().record(trace, answer).await
        }
        Err(failure) => Err(failure),
    };
    connected.answer(result, respond::failure).await
}

/// Serves the patient's side: a connection whose certificate is on its list, and nobody else's. A token says nothing here.
pub async fn serve_patient_side<F>(request: &HttpRequest, operation: Operation, run: F) -> HttpResponse
where
    F: AsyncFnOnce(PatientCall) -> Result<Traced<Answer>, Failure>,
{
    let Some(mut connected) = Connected::read(request, operation) else { return without_service() };
    let result = match connected.patient_side(operation).await {
        Ok(side) => {
            let services = Arc::clone(&connected.api.services);
            run(PatientCall { side, trace: connected.trace.clone(), services }).await
        }
        Err(failure) => Err(failure),
    };
    connected.answer(result, respond::failure).await
}

/// Serves the token endpoints: a connection with a usable certificate, on which nobody acts yet.
pub async fn serve_token<F>(request: &HttpRequest, operation: Operation, run: F) -> HttpResponse
where
    F: AsyncFnOnce(Connection) -> Result<Traced<Answer>, Failure>,
{
    let Some(mut connected) = Connected::read(request, operation) else { return without_service() };
    let result = match connected.admit(operation).await.and_then(|()| connected.connection()) {
        Ok(connection) => run(connection).await,
        Err(failure) => Err(failure),
    };
    connected.answer(result, respond::oauth_failure).await
}

/// The answer to a path that does not exist.
pub async fn unknown_path(request: HttpRequest) -> HttpResponse {
    serve_connected(&request, Operation::without_scope("unknown path", Budget::Read), async |_| {
        Err(Refusal::new(Reason::NotFound, "no such path").by("contract: paths").into())
    })
    .await
}

/// The answer to a method that a path does not have, with those that it has (RFC 9110, 15.5.6).
pub async fn method_not_allowed(request: HttpRequest, allowed: &'static [&'static str]) -> HttpResponse {
    let mut response =
        serve_connected(&request, Operation::without_scope("unknown method", Budget::Read), async |_| {
            Err(Refusal::new(Reason::MethodNotAllowed, "this path does not have this method").into())
        })
        .await;
    if let Ok(allowed) = header::HeaderValue::from_str(&allowed.join(", ").to_ascii_uppercase()) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// Wrapped around the whole listener: no receipt, no answer.
///
/// # Errors
/// Those of actix itself.
pub async fn let_out(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let watch = Watch::begin(&mut request);
    let mut response = next.call(request).await?.map_into_boxed_body();
    let draining = |api: &web::Data<Api>| api.draining.load(Ordering::Relaxed);
    let draining = response.request().app_data().is_some_and(draining);
    if draining {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    if response.response().extensions().get::<Receipt>().is_some() {
        let response = match watch {
            Some(watch) => watch.end(response),
            None => response,
        };
        let cut = response.response().extensions().get::<hostile::Cut>().is_some();
        return Ok(if cut { response.map_body(|_, _| hostile::cut()) } else { response });
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
struct Connected<'a> {
    api: web::Data<Api>,
    request: &'a HttpRequest,
    peer: Option<&'a Peer>,
    trace: TraceContext,
    now: Timestamp,
    arrival: Arrival,
    /// Its answer could tell by its time of what the caller may not see, refused or not.
    even: bool,
    /// A budget has paid the call.
    paid: bool,
    /// What the software may do, of what its token is for.
    admitted: Scopes,
    /// What a hostile sandbox does to it.
    trouble: Option<Trouble>,
    /// The answer is not the operation's: a hostile sandbox gave it.
    made_up: bool,
}

impl<'a> Connected<'a> {
    fn read(request: &'a HttpRequest, operation: Operation) -> Option<Self> {
        let arrival = Arrival::now();
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
            operation.name,
            peer.map_or("", |peer| &peer.label),
            facts,
            recognised.map(AsRef::as_ref),
        );
        if let Some(peer) = peer {
            peer.note(&api.services.sessions.revocation, now);
        }
        let even = operation.even;
        let trouble = api.hostile.and_then(|hostile| hostile.trouble(environment.draw()));
        Some(Self {
            trouble,
            made_up: false,
            api,
            request,
            peer,
            trace,
            now,
            arrival,
            even,
            paid: false,
            admitted: Scopes::all(),
        })
    }

    /// The peer, if its certificate counts now.
    fn peer(&self) -> Result<&'a Peer, Refusal> {
        let peer = self
            .peer
            .ok_or_else(|| Refusal::new(Reason::UnsuitableCertificate, "no client certificate was read"))?;
        let verdict = self.api.services.sessions.revocation.verdict(peer.chain.link(), self.now);
        standing(verdict).map_or(Ok(peer), Err)
    }

    /// The peer, if its certificate is of a usable kind: one that is of no use does not become one by a token. An organisation
    /// without a token is nobody who acts, but it may ask what the server is.
    fn usable_peer(&self) -> Result<&'a Peer, Refusal> {
        let peer = self.peer()?;
        match &peer.caller {
            Err(refusal) if refusal.reason != Reason::TokenRequired => Err(refusal.clone()),
            _ => Ok(peer),
        }
    }

    /// Lets in whoever has a certificate of a usable kind, and counts the call.
    async fn admit(&mut self, operation: Operation) -> Result<(), Failure> {
        let peer = self.usable_peer()?;
        self.count(operation, peer, peer.caller.as_deref().ok()).await
    }

    /// The lane of who presents a token of an emergency that counts; what does not count is refused in the ordinary one.
    fn lane(&self) -> Lane {
        // Without a token nothing more is asked of the certificate: that is a call by card, the most of them.
        let Ok(Some(token)) = bearer(self.request) else { return Lane::Ordinary };
        let caller = self.usable_peer().ok().and_then(|peer| self.caller_of(peer, &token).ok());
        Lane::of(caller.is_some_and(|caller| caller.mode != AccessMode::Normal))
    }

    /// Who acts: by the token where there is one, else by the certificate alone. A token that does not count is no reason
    /// to fall back on the certificate: who presents one is held to it.
    async fn caller(&mut self, operation: Operation) -> Result<Arc<Caller>, Failure> {
        let peer = self.usable_peer()?;
        let caller = match bearer(self.request)? {
            Some(token) => {
                let caller = self.caller_of(peer, &token)?;
                self.trace = self.trace.now_known(&caller);
                let session =
                    caller.session.as_ref().ok_or_else(|| Failure::internal("a token without a session"))?;
                let admitted = self.api.services.sessions.software.load().admit(caller.software.as_ref())?;
                if let Some(scope) = operation.scope
                    && !session.scopes.and(admitted.scopes).hold(scope)
                {
                    let why = format!("the access token's scope does not hold {}", scope.name());
                    return Err(Refusal::new(Reason::InsufficientScope, why).into());
                }
                self.admitted = admitted.scopes;
                self.count(operation, peer, Some(&caller)).await?;
                if session.single_use && !self.spend(session).await? {
                    return Err(Refusal::new(Reason::TokenSpent, "the access token was used already").into());
                }
                caller
            }
            None => {
                let caller = peer.caller.clone()?;
                // Without a token no software has said which it is.
                self.api.services.sessions.software.load().admit(None)?;
                self.count(operation, peer, Some(&caller)).await?;
                caller
            }
        };
        Ok(self.with_directory(caller))
    }

    /// The caller, and the structures for which he might act: the directory may have changed since the connection began.
    fn with_directory(&self, caller: Arc<Caller>) -> Arc<Caller> {
        let directory = self.api.services.sessions.directory.load();
        let might_act_for = directory.might_act_for(caller.id(), caller.structure.as_deref());
        if might_act_for.is_empty() {
            return caller;
        }
        Arc::new(Caller { might_act_for, ..caller.as_ref().clone() })
    }

    /// The patient's side, if the certificate is on its list. Whoever else calls pays as for any other call.
    async fn patient_side(&mut self, operation: Operation) -> Result<PatientSide, Failure> {
        let peer = self.usable_peer()?;
        let listed = peer.certificate.as_ref().ok();
        if let Some(side) = listed.and_then(|facts| self.api.services.patient_side.recognise(facts)) {
            self.paid = true;
            return Ok(side);
        }
        self.count(operation, peer, peer.caller.as_deref().ok()).await?;
        let why = "this path is for the SI Mon espace santé alone";
        Err(Refusal::new(Reason::NoFunctionalRight, why).by("contract: listed certificates").into())
    }

    fn caller_of(&self, peer: &Peer, token: &str) -> Result<Arc<Caller>, Failure> {
        let sessions = &self.api.services.sessions;
        if let Some(known) = peer.known(token, self.now.as_second()) {
            return Ok(known);
        }
        let mut caller = sessions.tokens.caller(token, peer.chain.fingerprint(), self.now)?;
        let admitted = sessions
            .software
            .load()
            .admit(caller.software.as_ref())
            .map_err(|refusal| refusal.of_caller(&caller))?;
        caller.software = admitted.software;
        let caller = Arc::new(caller);
        peer.remember(token, &caller);
        Ok(caller)
    }

    /// Before anything is done with it: an AIR token counts once, whichever node it reaches.
    async fn spend(&self, session: &Session) -> Result<bool, Failure> {
        self.api.services.store.spend(introspect::spent_name(&session.id), session.expires_at).await
    }

    async fn count(
        &mut self,
        operation: Operation,
        peer: &Peer,
        caller: Option<&Caller>,
    ) -> Result<(), Failure> {
        let Some(limits) = &self.api.budgets else { return Ok(()) };
        let who = Who { certificate: peer.chain.fingerprint(), caller, organisation: is_organisation(peer) };
        limits.take(&self.api.services.store, operation.budget, &who, self.now.as_second()).await?;
        self.paid = true;
        Ok(())
    }

    fn connection(&self) -> Result<Connection, Failure> {
        let peer = self.peer()?;
        let certificate = peer.certificate.clone().map_err(Failure::internal)?;
        Ok(Connection {
            certificate,
            fingerprint: *peer.chain.fingerprint(),
            trace: self.trace.clone(),
            services: Arc::clone(&self.api.services),
        })
    }

    /// A traced answer goes out as it is; a failure is traced first.
    async fn answer(
        self,
        result: Result<Traced<Answer>, Failure>,
        to_answer: fn(&Failure, &str) -> Answer,
    ) -> HttpResponse {
        let request_id = &self.trace.request_id;
        let answer = match result {
            Ok(traced) => traced.into_inner(),
            Err(failure) => {
                // What no budget has paid costs a durable trace too: it comes at its own pace.
                if let (false, Some(limits), Some(peer)) = (self.paid, &self.api.budgets, self.peer) {
                    limits.hold_refusal(peer.chain.fingerprint(), is_organisation(peer)).await;
                }
                log(&failure, request_id);
                let answer = to_answer(&failure, request_id);
                let trace = self.trace.failed(&failure, answer.status);
                match self.api.services.store.writer().record(trace, answer).await {
                    Ok(traced) => traced.into_inner(),
                    // Traces cannot be written: 503, and nothing was done.
                    Err(failure) => {
                        log(&failure, request_id);
                        to_answer(&failure, request_id)
                    }
                }
            }
        };
        let answer = respond::in_format(answer, Format::of_answer(self.request), request_id).await;
        if self.even || (400..500).contains(&answer.status) {
            let environment = &self.api.services.environment;
            let whole = self.request.extensions().get::<Arrival>().copied();
            self.api.pace.hold(whole.unwrap_or(self.arrival), environment.draw()).await;
        }
        if let Some(Trouble::Late(by)) = self.trouble {
            actix_web::rt::time::sleep(by).await;
        }
        let mut response = respond::http(answer, request_id);
        if let Some(hostile) = self.api.hostile {
            response.headers_mut().insert(hostile::ANNOUNCED, hostile.announcement());
        }
        if self.made_up {
            response.extensions_mut().insert(hostile::Instead);
        }
        match self.trouble {
            Some(Trouble::Cut) => _ = response.extensions_mut().insert(hostile::Cut),
            Some(Trouble::Skewed(by)) => {
                if let Some(date) = hostile::date(self.api.services.environment.now(), by) {
                    response.headers_mut().insert(header::DATE, date);
                }
            }
            _ => {}
        }
        response.extensions_mut().insert(Receipt(()));
        response
    }
}

/// Many people over one certificate.
fn is_organisation(peer: &Peer) -> bool {
    matches!(&peer.certificate, Ok(facts) if facts.kind == CertificateKind::OrganisationClient)
}

/// The access token of a request, from the one place where it may stand (RFC 6750, 2.1).
fn bearer(request: &HttpRequest) -> Result<Option<String>, Refusal> {
    let invalid = |why: &'static str| Refusal::new(Reason::TokenInvalid, why);
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let Some(value) = headers.next() else { return Ok(None) };
    if headers.next().is_some() {
        return Err(invalid("Authorization stands more than once"));
    }
    let text = value.to_str().map_err(|_| invalid("Authorization is not readable"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim().to_owned()))
        }
        _ => Err(invalid("Authorization is Bearer and an access token")),
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
        RevocationVerdict::Revoked => Some(Refusal::new(
            Reason::CertificateRevoked,
            "the certificate is revoked: by its issuer's revocation list, or by its responder",
        )),
        RevocationVerdict::Expired => {
            Some(Refusal::new(Reason::CertificateExpired, "the certificate is out of its dates"))
        }
        RevocationVerdict::Unknown => {
            Some(Refusal::new(Reason::RevocationUnknown, "no revocation list in force covers the certificate"))
        }
    }
}

/// Asks again, after a body came in slowly: the caller may have been revoked meanwhile, and nothing has been done yet.
///
/// # Errors
/// As at the beginning of the request.
pub(super) fn still_standing(request: &HttpRequest, api: &Api) -> Result<(), Refusal> {
    let Some(peer) = request.conn_data::<Peer>() else { return Ok(()) };
    let now = api.services.environment.now();
    standing(api.services.sessions.revocation.verdict(peer.chain.link(), now)).map_or(Ok(()), Err)
}

/// A client's own request id, if it is one that can stand in a log line and in `OperationOutcome.id`.
fn request_id(request: &HttpRequest) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let fits = (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    fits.then(|| id.to_owned())
}
