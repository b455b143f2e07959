//! The only place that knows HTTP.
//!
//! [`routes`] is the table of contents. Every handler goes through [`gate`], which recognises the caller, runs the
//! operation and lets nothing out that has no trace.

mod binary;
mod bundle;
mod consent;
mod document_reference;
mod document_search;
pub mod gate;
pub mod limits;
mod list;
mod mes;
mod metadata;
mod negotiation;
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
mod token;
mod value_set;

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use tokio::sync::Semaphore;

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
    /// What of the trust folder is not taken.
    pub trust_faults: std::sync::atomic::AtomicU64,
    /// Handshakes that were refused for their certificate.
    pub refused_handshakes: Arc<std::sync::atomic::AtomicU64>,
    /// Memory for the bodies of all requests under way, one permit a KiB.
    pub body_memory: Arc<Semaphore>,
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

/// The routes. What is not here does not exist.
pub fn routes(config: &mut web::ServiceConfig) {
    let resource =
        |path: &str| web::resource(path.to_owned()).default_service(web::to(gate::method_not_allowed));
    config
        .service(resource("/oauth2/token").route(web::post().to(token::open)))
        .service(resource("/oauth2/introspect").route(web::post().to(token::introspect)))
        .service(resource("/oauth2/jwks").route(web::get().to(token::keys)))
        .service(resource("/.well-known/smart-configuration").route(web::get().to(token::discovery)))
        .service(
            resource("/fhir/.well-known/smart-configuration").route(web::get().to(token::discovery_of_base)),
        )
        .service(resource("/fhir/metadata").route(web::get().to(metadata::capability_statement)))
        .service(resource("/fhir/Patient").route(web::get().to(patient::search)))
        .service(resource("/fhir/Patient/_search").route(web::post().to(patient::search_by_post)))
        .service(resource("/fhir/Patient/{id}/$fermer").route(web::post().to(patient::close)))
        .service(resource("/fhir/Patient/{id}").route(web::get().to(patient::read)))
        .service(
            resource("/fhir/Consent")
                .route(web::get().to(consent::search))
                .route(web::post().to(consent::create)),
        )
        .service(resource("/fhir/Consent/_search").route(web::post().to(consent::search_by_post)))
        .service(resource("/fhir/Consent/{id}").route(web::patch().to(consent::patch)))
        .service(
            resource("/fhir/DocumentReference")
                .route(web::get().to(document_reference::search))
                .route(web::post().to(document_reference::create))
                .route(web::patch().to(document_reference::patch_by_identifier)),
        )
        .service(
            resource("/fhir/DocumentReference/_search")
                .route(web::post().to(document_reference::search_by_post)),
        )
        .service(
            resource("/fhir/DocumentReference/$actualiser").route(web::post().to(document_reference::refresh)),
        )
        .service(
            resource("/fhir/DocumentReference/$generate-metadata")
                .route(web::post().to(document_reference::generate)),
        )
        .service(
            resource("/fhir/DocumentReference/{id}")
                .route(web::get().to(document_reference::read))
                .route(web::patch().to(document_reference::patch)),
        )
        .service(resource("/fhir/List").route(web::get().to(list::search)))
        .service(resource("/fhir/List/_search").route(web::post().to(list::search_by_post)))
        .service(resource("/fhir/List/{id}").route(web::get().to(list::read)))
        .service(resource("/fhir/ValueSet").route(web::get().to(value_set::search)))
        .service(resource("/fhir/ValueSet/_search").route(web::post().to(value_set::search_by_post)))
        .service(
            resource("/fhir/ValueSet/$expand")
                .route(web::get().to(value_set::expand))
                .route(web::post().to(value_set::expand_by_post)),
        )
        .service(
            resource("/fhir/ValueSet/$validate-code")
                .route(web::get().to(value_set::validate))
                .route(web::post().to(value_set::validate_by_post)),
        )
        .service(resource("/fhir/ValueSet/{id}/$expand").route(web::get().to(value_set::expand_one)))
        .service(resource("/fhir/ValueSet/{id}/$validate-code").route(web::get().to(value_set::validate_one)))
        .service(resource("/fhir/ValueSet/{id}").route(web::get().to(value_set::read)))
        .service(resource("/fhir/Binary/{id}").route(web::get().to(binary::read)))
        .service(resource("/fhir").route(web::post().to(bundle::transaction)))
        .service(resource("/fhir/").route(web::post().to(bundle::transaction)))
        .configure(patient_side)
        .default_service(web::to(gate::unknown_path));
}

/// The routes of the patient's side.
fn patient_side(config: &mut web::ServiceConfig) {
    let resource =
        |path: &str| web::resource(format!("/mes/v1{path}")).default_service(web::to(gate::method_not_allowed));
    config
        .service(resource("/dossiers").route(web::post().to(mes::open)))
        .service(resource("/dossiers/recherche").route(web::post().to(mes::find)))
        .service(
            resource("/dossiers/{id}")
                .route(web::get().to(mes::read))
                .route(web::patch().to(mes::change))
                .route(web::delete().to(mes::erase)),
        )
        .service(
            resource("/dossiers/{id}/professionnels/{professionnel}")
                .route(web::put().to(mes::set_professional))
                .route(web::delete().to(mes::forget_professional)),
        )
        .service(resource("/dossiers/{id}/documents").route(web::get().to(mes::list_documents)))
        .service(resource("/dossiers/{id}/documents/{document}").route(web::patch().to(mes::change_document)))
        .service(resource("/dossiers/{id}/traces").route(web::get().to(mes::accesses)));
}
