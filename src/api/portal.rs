//! The portal: a second listener for vendors and operators, without client certificates and without health data.
//!
//! Pages are made here, without scripts and without anything from outside; each says in French or English the same.

mod begin;
mod calls;
mod cards;
pub mod demonstration;
mod errors;
mod homologation;
mod layout;
mod operations;
mod patients;
mod professions;
mod rights;
mod state;

use std::path::Path;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::Api;
use demonstration::Demonstration;

/// What the portal shows.
#[derive(Debug)]
pub struct Portal {
    /// The API beside it.
    pub api: Arc<Api>,
    /// What a sandbox shows of itself; none on a server of real records.
    pub demonstration: Option<Arc<dyn Demonstration>>,
}

/// The routes of the portal.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(begin::home))
        .route("/portal.css", web::get().to(layout::style))
        .route("/patients", web::get().to(patients::all))
        .route("/appels", web::get().to(calls::all))
        .configure(cards::routes)
        .configure(rights::routes)
        .configure(operations::routes)
        .configure(errors::routes)
        .configure(state::routes)
        .configure(homologation::routes);
}

fn nothing(why: &str) -> HttpResponse {
    HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body(format!("{why}\n"))
}

fn refused(why: &str) -> HttpResponse {
    HttpResponse::BadRequest().content_type("text/plain; charset=utf-8").body(format!("{why}\n"))
}

fn failed(error: &anyhow::Error) -> HttpResponse {
    tracing::error!(error = format!("{error:#}"), "the portal");
    HttpResponse::InternalServerError().content_type("text/plain; charset=utf-8").body(format!("{error:#}\n"))
}

/// Another site's page must not act here in the name of who looks at it, nor under a name of its own that leads here: a name of the network at hand has no dot.
fn from_elsewhere(request: &HttpRequest) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let site = header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    // Browsers say the one to localhost alone, and the other always.
    let host = header("host").unwrap_or_default();
    let origin =
        header("origin").is_some_and(|origin| origin.split_once("://").is_none_or(|(_, of)| of != host));
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let rebound = name.contains('.') && name.parse::<std::net::Ipv4Addr>().is_err() && !name.starts_with('[');
    site || origin || rebound
}

/// A parameter of the address; what is empty is none.
fn asked(request: &HttpRequest, name: &str) -> Option<String> {
    url::form_urlencoded::parse(request.query_string().as_bytes())
        .find(|(of, value)| of == name && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

fn wants_json(request: &HttpRequest) -> bool {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accepts.is_some_and(|accept| accept.contains("application/json"))
}

fn file(path: &Path, media: &'static str, name: &str) -> HttpResponse {
    match std::fs::read(path) {
        Ok(bytes) => HttpResponse::Ok()
            .content_type(media)
            .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .body(bytes),
        Err(_) => nothing("there is no such file"),
    }
}
