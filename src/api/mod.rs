//! The only place that knows HTTP.
//!
//! [`routes`] is the table of contents. Every handler goes through [`gate`], which recognises the caller, runs the
//! operation and lets nothing out that has no trace.

mod audit_event;
mod binary;
mod bundle;
mod consent;
mod document_reference;
mod document_search;
mod fhir_document;
pub mod gate;
pub mod hostile;
pub mod limits;
mod list;
mod mes;
mod metadata;
mod negotiation;
mod observe;
pub mod openapi;
pub mod pace;
mod pages;
mod partial;
mod patient;
pub mod peer;
pub mod portal;
mod record_search;
mod request;
mod respond;
mod search_parameters;
mod submission_set_search;
pub mod subscription;
mod token;
mod value_set;

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, web};
use tokio::sync::Semaphore;

use crate::homologation::kit::Kit;
use crate::operations::Services;
use crate::tls::ocsp::OcspFigures;

/// What every request of the API listener works with.
#[derive(Debug)]
pub struct Api {
    /// Operations' services.
    pub services: Arc<Services>,
    /// The public base, `https://host:port/fhir`, without a slash at the end.
    pub base: String,
    /// When the server started, ISO: the date of the CapabilityStatement.
    pub started: String,
    /// Limits of one request.
    pub limits: RequestLimits,
    /// How often a caller may call. None: as often as it likes.
    pub budgets: Option<limits::Limits>,
    /// When an answer leaves that could tell of what is hidden.
    pub pace: pace::Pace,
    /// What OCSP responders said.
    pub responders: Arc<OcspFigures>,
    /// How many traces of this node the last checkpoint covers.
    pub traces_signed: std::sync::atomic::AtomicU64,
    /// What of the trust folder is not taken.
    pub trust_faults: std::sync::atomic::AtomicU64,
    /// Handshakes that were refused for their certificate.
    pub refused_handshakes: Arc<std::sync::atomic::AtomicU64>,
    /// The server is about to stop: who is answered is told to go elsewhere with the next request.
    pub draining: std::sync::atomic::AtomicBool,
    /// Memory for the bodies of all requests under way, one permit a KiB.
    pub body_memory: Arc<Semaphore>,
    /// How the sandbox troubles its clients.
    pub hostile: Option<hostile::Hostile>,
    /// The sandbox's homologation kit.
    pub kit: Option<Arc<dyn Kit>>,
}

/// Large bodies under way, KiB. Who finds no room is told to come later.
pub const BODY_MEMORY: usize = 512 << 10;

/// Limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Bytes of a body, at most.
    pub body: usize,
    /// How long a body may take to arrive.
    pub body_deadline: Duration,
}

/// A path, its methods with their handlers, and what answers the others.
macro_rules! at {
    ($config:expr, $path:expr, $($method:ident $handler:path),+) => {
        $config.service(
            web::resource($path)$(.route(web::$method().to($handler)))+.default_service(web::to(
                |request: HttpRequest| gate::method_not_allowed(request, &[$(stringify!($method)),+]),
            )),
        )
    };
}

/// The routes. What is not here does not exist.
pub fn routes(config: &mut web::ServiceConfig) {
    at!(config, "/oauth2/token", post token::open);
    at!(config, "/oauth2/introspect", post token::introspect);
    at!(config, "/oauth2/jwks", get token::keys);
    at!(config, "/.well-known/smart-configuration", get token::discovery);
    at!(config, "/fhir/.well-known/smart-configuration", get token::discovery_of_base);
    at!(config, "/fhir/metadata", get metadata::capability_statement);
    at!(config, "/fhir/Patient", get patient::search);
    at!(config, "/fhir/Patient/_search", post patient::search_by_post);
    at!(config, "/fhir/Patient/{id}/$fermer", post patient::close);
    at!(config, "/fhir/Patient/{id}", get patient::read);
    at!(config, "/fhir/Consent", get consent::search, post consent::create);
    at!(config, "/fhir/Consent/_search", post consent::search_by_post);
    at!(config, "/fhir/Consent/{id}", patch consent::patch);
    at!(
        config,
        "/fhir/DocumentReference",
        get document_reference::search,
        post document_reference::create,
        patch document_reference::patch_by_identifier
    );
    at!(config, "/fhir/DocumentReference/_search", post document_reference::search_by_post);
    at!(config, "/fhir/DocumentReference/$actualiser", post document_reference::refresh);
    at!(config, "/fhir/DocumentReference/$generate-metadata", post document_reference::generate);
    at!(config, "/fhir/DocumentReference/{id}/_history", get document_reference::history);
    at!(config, "/fhir/DocumentReference/{id}/_history/{version}", get document_reference::read_version);
    at!(config, "/fhir/DocumentReference/{id}", get document_reference::read, patch document_reference::patch);
    at!(config, "/fhir/List", get list::search);
    at!(config, "/fhir/List/_search", post list::search_by_post);
    at!(config, "/fhir/List/{id}", get list::read);
    at!(config, "/fhir/Subscription", get subscription::search, post subscription::create);
    at!(config, "/fhir/Subscription/_search", post subscription::search_by_post);
    at!(config, "/fhir/Subscription/{id}/$status", get subscription::status);
    at!(config, "/fhir/Subscription/{id}", get subscription::read, put subscription::update, delete subscription::delete);
    at!(config, "/fhir/AuditEvent", get audit_event::search);
    at!(config, "/fhir/AuditEvent/_search", post audit_event::search_by_post);
    at!(config, "/fhir/ValueSet", get value_set::search);
    at!(config, "/fhir/ValueSet/_search", post value_set::search_by_post);
    at!(config, "/fhir/ValueSet/$expand", get value_set::expand, post value_set::expand_by_post);
    at!(config, "/fhir/ValueSet/$validate-code", get value_set::validate, post value_set::validate_by_post);
    at!(config, "/fhir/ValueSet/{id}/$expand", get value_set::expand_one);
    at!(config, "/fhir/ValueSet/{id}/$validate-code", get value_set::validate_one);
    at!(config, "/fhir/ValueSet/{id}", get value_set::read);
    at!(config, "/fhir/Bundle/{id}", get fhir_document::read);
    at!(config, "/fhir/Binary/{id}", get binary::read);
    at!(config, "/fhir", post bundle::transaction);
    at!(config, "/fhir/", post bundle::transaction);
    patient_side(config);
    config.default_service(web::to(gate::unknown_path));
}

/// The routes of the patient's side.
fn patient_side(config: &mut web::ServiceConfig) {
    at!(config, "/mes/v1/dossiers", post mes::open);
    at!(config, "/mes/v1/dossiers/recherche", post mes::find);
    at!(config, "/mes/v1/dossiers/{id}", get mes::read, patch mes::change, delete mes::erase);
    at!(
        config,
        "/mes/v1/dossiers/{id}/professionnels/{professionnel}",
        put mes::set_professional,
        delete mes::forget_professional
    );
    at!(config, "/mes/v1/dossiers/{id}/documents", get mes::list_documents);
    at!(config, "/mes/v1/dossiers/{id}/documents/{document}", patch mes::change_document);
    at!(config, "/mes/v1/dossiers/{id}/traces", get mes::accesses);
}
