//! What an operator and a balancer ask: alive, ready, and the figures.

use std::sync::atomic::Ordering;

use actix_web::{HttpResponse, web};
use maud::html;

use super::Portal;
use super::layout::{View, page};
use crate::api::limits;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/etat", web::get().to(shown))
        .route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics));
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("live\n")
}

/// What keeps a server from being ready.
struct Readiness {
    store: bool,
    lists: bool,
    stays: bool,
}

impl Readiness {
    /// Ready: the store reads and writes, the revocation lists are in force, and the server is not about to stop.
    async fn of(portal: &Portal) -> Self {
        let services = &portal.api.services;
        let now = services.environment.now().as_second();
        let due = services.sessions.revocation.earliest_next_update();
        Self {
            store: services.store.is_ready().await,
            lists: due.is_some_and(|next| next > now),
            stays: !portal.api.draining.load(Ordering::Relaxed),
        }
    }

    const fn is_ready(&self) -> bool {
        self.store && self.lists && self.stays
    }
}

async fn ready(portal: web::Data<Portal>) -> HttpResponse {
    let is = Readiness::of(&portal).await;
    let text = format!(
        "store: {}\nrevocation lists: {}\nstopping: {}\n",
        ok(is.store),
        ok(is.lists),
        if is.stays { "no" } else { "yes" }
    );
    let mut answer = if is.is_ready() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.content_type("text/plain").body(text)
}

/// The same, for people.
async fn shown(view: View, portal: web::Data<Portal>) -> HttpResponse {
    let is = Readiness::of(&portal).await;
    let services = &portal.api.services;
    let figures = services.store.writer().figures();
    let said = |ok: bool| view.of(if ok { "oui" } else { "non" }, if ok { "yes" } else { "no" });
    let due = services.sessions.revocation.earliest_next_update();
    let due = due
        .and_then(|due| jiff::Timestamp::from_second(due).ok())
        .map(|due| due.to_string())
        .unwrap_or_default();
    let body = html! {
        table { tbody {
            tr { th scope="row" { "Version" } td { (env!("CARGO_PKG_VERSION")) } }
            tr { th scope="row" { (view.of("Prêt", "Ready")) } td { strong { (said(is.is_ready())) } } }
            tr { th scope="row" { (view.of("Le magasin lit et écrit", "The store reads and writes")) } td { (said(is.store)) } }
            tr { th scope="row" { (view.of("Listes de révocation en vigueur", "Revocation lists in force")) } td { (said(is.lists)) ", " (due) } }
            tr { th scope="row" { (view.of("S'arrête", "Stopping")) } td { (said(!is.stays)) } }
            tr { th scope="row" { (view.of("Écritures en attente", "Writes that wait")) } td { (figures.waiting) } }
            tr { th scope="row" { (view.of("Disque plein", "Disk full")) } td { (said(figures.full)) } }
        } }
        p { (view.of("Pour une machine : ", "For a machine: ")) a href="/health/ready" { "/health/ready" } ", " a href="/metrics" { "/metrics" } " (Prometheus)." }
    };
    page(&view, portal.demonstration.is_some(), view.of("État du serveur", "State of the server"), None, &body)
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
        portal.api.budgets.as_ref().map_or(0, limits::Limits::remembered),
    ))
}

fn ok(ok: bool) -> &'static str {
    if ok { "ok" } else { "not available" }
}
