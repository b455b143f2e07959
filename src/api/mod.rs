//! The only place that knows HTTP.
//!
//! [`routes`] is the table of contents. Every handler goes through [`gate`], which recognises the caller, runs the
//! operation and lets nothing out that has no trace.

mod binary;
mod bundle;
mod consent;
mod document_reference;
pub mod gate;
mod metadata;
pub mod openapi;
mod patient;
pub mod peer;
pub mod portal;
mod request;
mod respond;
mod search_parameters;

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use tokio::sync::Semaphore;

use crate::operations::Services;
use crate::tls::Revocation;

/// What every request of the API listener works with.
#[derive(Debug)]
pub struct Api {
    /// Operations' services.
    pub services: Arc<Services>,
    /// The check made on every request.
    pub revocation: Arc<Revocation>,
    /// The public base, `https://host:port/fhir`, without a slash at the end.
    pub base: String,
    /// When the server started, ISO: the date of the CapabilityStatement.
    pub started: String,
    /// Limits of one request.
    pub limits: RequestLimits,
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

/// The routes under `/fhir`. What is not here does not exist.
pub fn routes(config: &mut web::ServiceConfig) {
    let resource =
        |path: &str| web::resource(path.to_owned()).default_service(web::to(gate::method_not_allowed));
    config
        .service(resource("/fhir/metadata").route(web::get().to(metadata::capability_statement)))
        .service(resource("/fhir/Patient").route(web::get().to(patient::search)))
        .service(resource("/fhir/Patient/_search").route(web::post().to(patient::search_by_post)))
        .service(resource("/fhir/Consent").route(web::post().to(consent::create)))
        .service(
            resource("/fhir/DocumentReference")
                .route(web::get().to(document_reference::search))
                .route(web::post().to(document_reference::create)),
        )
        .service(
            resource("/fhir/DocumentReference/_search")
                .route(web::post().to(document_reference::search_by_post)),
        )
        .service(resource("/fhir/DocumentReference/{id}").route(web::get().to(document_reference::read)))
        .service(resource("/fhir/Binary/{id}").route(web::get().to(binary::read)))
        .service(resource("/fhir").route(web::post().to(bundle::transaction)))
        .service(resource("/fhir/").route(web::post().to(bundle::transaction)))
        .default_service(web::to(gate::unknown_path));
}
