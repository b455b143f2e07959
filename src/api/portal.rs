//! The portal: a second listener for vendors and operators, without client certificates and without health data.

mod homologation;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::{Api, openapi};
use crate::error::{Reason, catalogue};

/// What the portal shows.
#[derive(Debug)]
pub struct Portal {
    /// The API beside it.
    pub api: Arc<Api>,
    /// Text of the first page, HTML.
    pub home: String,
}

/// The routes of the portal.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(home))
        .route("/docs", web::get().to(docs))
        .route("/openapi.json", web::get().to(description))
        .route("/errors", web::get().to(errors))
        .route("/errors.json", web::get().to(errors_as_data))
        .route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics))
        .configure(homologation::routes);
}

fn page(body: &str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
        ))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(format!(
            "<!doctype html><html lang=\"fr\"><head><meta charset=\"utf-8\"><title>Habilis</title>\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <style>body{{font:1rem/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
             pre{{background:#f4f4f4;padding:1rem;overflow-x:auto}}table{{border-collapse:collapse}}\
             td,th{{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}}</style></head>\
             <body><main>{body}</main></body></html>"
        ))
}

async fn home(portal: web::Data<Portal>) -> HttpResponse {
    page(&portal.home)
}

/// The operations as a table, from the OpenAPI description.
#[expect(clippy::indexing_slicing, reason = "reading a JSON value by key does not panic")]
async fn docs() -> HttpResponse {
    let Ok(description) = openapi::json() else { return HttpResponse::InternalServerError().finish() };
    let description: serde_json::Value = serde_json::from_str(&description).unwrap_or_default();
    let mut rows = String::new();
    for (path, methods) in description["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let text = |key: &str| escaped(operation[key].as_str().unwrap_or_default());
            rows.push_str(&format!(
                "<tr><td><code>{} {}</code></td><td>{}</td><td>{}</td></tr>",
                method.to_uppercase(),
                escaped(path),
                text("summary"),
                text("description"),
            ));
        }
    }
    page(&format!(
        "<h1>Opérations</h1><p>Le contrat complet est en <a href=\"/openapi.json\">OpenAPI 3.1</a>, les refus sous <a href=\"/errors\">Erreurs</a>.</p>\
         <table><thead><tr><th>Appel</th><th>What</th><th>Description</th></tr></thead><tbody>{rows}</tbody></table>"
    ))
}

async fn description() -> HttpResponse {
    match openapi::json() {
        Ok(text) => HttpResponse::Ok().content_type("application/json").body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// The error catalogue.
async fn errors() -> HttpResponse {
    let mut rows = String::new();
    for reason in Reason::ALL {
        let (when, remedy) = reason.explained();
        rows.push_str(&format!(
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            reason.status(),
            escaped(reason.code().unwrap_or(reason.issue_code())),
            escaped(reason.french()),
            escaped(when),
            escaped(remedy),
        ));
    }
    page(&format!(
        "<h1>Erreurs</h1><p>Les mêmes en <a href=\"/errors.json\">JSON</a>.</p><table><thead><tr><th>Statut</th><th>Code</th>\
         <th>Au professionnel</th><th>When</th><th>What to do</th></tr></thead><tbody>{rows}</tbody></table>"
    ))
}

async fn errors_as_data() -> HttpResponse {
    match catalogue::to_json() {
        Ok(text) => HttpResponse::Ok().content_type("application/json").body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("live\n")
}

/// Ready: the store reads and writes, the revocation lists are in force, and the server is not about to stop.
async fn ready(portal: web::Data<Portal>) -> HttpResponse {
    let services = &portal.api.services;
    let now = services.environment.now().as_second();
    let lists = portal.api.services.sessions.revocation.earliest_next_update().is_some_and(|next| next > now);
    let store = services.store.is_ready().await;
    let stays = !portal.api.draining.load(Ordering::Relaxed);
    let text = format!(
        "store: {}\nrevocation lists: {}\nstopping: {}\n",
        ok(store),
        ok(lists),
        if stays { "no" } else { "yes" }
    );
    if store && lists && stays {
        HttpResponse::Ok().content_type("text/plain").body(text)
    } else {
        HttpResponse::ServiceUnavailable().content_type("text/plain").body(text)
    }
}

/// What an operator watches, in Prometheus' text form: no identifier of anybody.
async fn metrics(portal: web::Data<Portal>) -> HttpResponse {
    let services = &portal.api.services;
    let now = services.environment.now().as_second();
    let lists = portal
        .api
        .services
        .sessions
        .revocation
        .earliest_next_update()
        .map_or(0, |next| next.saturating_sub(now));
    let figures = services.store.writer().figures();
    // Without the store no figures of it: the others are told all the same.
    let notices = services.store.count_notices().await.unwrap_or_default();
    let notices: String = notices
        .iter()
        .map(|(state, count)| format!("habilis_notices{{state=\"{state}\"}} {count}\n"))
        .collect();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(format!(
        "# HELP habilis_revocation_lists_seconds Seconds until the first revocation list is due.\n\
         # TYPE habilis_revocation_lists_seconds gauge\n\
         habilis_revocation_lists_seconds {lists}\n\
         # HELP habilis_commits_total Durable commits.\n\
         # TYPE habilis_commits_total counter\n\
         habilis_commits_total {}\n\
         # HELP habilis_committed_units_total Units of work (feeds, declarations, traces) in those commits.\n\
         # TYPE habilis_committed_units_total counter\n\
         habilis_committed_units_total {}\n\
         # HELP habilis_write_queue Units of work that wait for a commit.\n\
         # TYPE habilis_write_queue gauge\n\
         habilis_write_queue {}\n\
         # HELP habilis_disk_full 1: the disk is full, nothing is written but traces.\n\
         # TYPE habilis_disk_full gauge\n\
         habilis_disk_full {}\n\
         # HELP habilis_ocsp_answers_total What OCSP responders said of certificates in use.\n\
         # TYPE habilis_ocsp_answers_total counter\n\
         habilis_ocsp_answers_total{{status=\"good\"}} {}\n\
         habilis_ocsp_answers_total{{status=\"revoked\"}} {}\n\
         habilis_ocsp_answers_total{{status=\"failed\"}} {}\n\
         # HELP habilis_trust_faults Anchors, authorities and lists in the trust folder that are not taken.\n\
         # TYPE habilis_trust_faults gauge\n\
         habilis_trust_faults {}\n\
         # HELP habilis_refused_handshakes_total Handshakes refused for the client's certificate.\n\
         # TYPE habilis_refused_handshakes_total counter\n\
         habilis_refused_handshakes_total {}\n\
         # HELP habilis_notices Notices by what became of them.\n\
         # TYPE habilis_notices gauge\n\
         {notices}\
         # HELP habilis_trace_log_size Traces in this node's log.\n\
         # TYPE habilis_trace_log_size gauge\n\
         habilis_trace_log_size {}\n\
         # HELP habilis_trace_log_signed Traces that the last checkpoint covers.\n\
         # TYPE habilis_trace_log_signed gauge\n\
         habilis_trace_log_signed {}\n\
         # HELP habilis_budget_callers Callers whose budgets are not whole.\n\
         # TYPE habilis_budget_callers gauge\n\
         habilis_budget_callers {}\n",
        figures.commits,
        figures.units,
        figures.waiting,
        u8::from(figures.full),
        portal.api.responders.good.load(Ordering::Relaxed),
        portal.api.responders.revoked.load(Ordering::Relaxed),
        portal.api.responders.failed.load(Ordering::Relaxed),
        portal.api.trust_faults.load(Ordering::Relaxed),
        portal.api.refused_handshakes.load(Ordering::Relaxed),
        services.store.writer().head().map_or(0, |head| head.size()),
        portal.api.traces_signed.load(Ordering::Relaxed),
        portal.api.budgets.as_ref().map_or(0, super::limits::Limits::remembered),
    ))
}

fn ok(ok: bool) -> &'static str {
    if ok { "ok" } else { "not available" }
}

/// HTML's five.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
