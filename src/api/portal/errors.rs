//! The error catalogue.

use actix_web::{HttpResponse, web};
use maud::html;

use super::Portal;
use super::layout::{View, page, table};
use crate::error::{Reason, catalogue};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/errors", web::get().to(all)).route("/errors.json", web::get().to(as_data));
}

async fn all(view: View, portal: web::Data<Portal>) -> HttpResponse {
    let rows = html! {
        @for reason in Reason::ALL {
            @let (when, remedy) = reason.explained();
            tr {
                td { (reason.status()) }
                td { code { (reason.code().unwrap_or(reason.issue_code())) } }
                td lang="fr" { (reason.french()) }
                td lang="en" { (when) }
                td lang="en" { (remedy) }
            }
        }
    };
    let head = [
        view.of("Statut", "Status"),
        "Code",
        view.of("Au professionnel", "To the professional"),
        view.of("Quand (anglais)", "When"),
        view.of("Que faire (anglais)", "What to do"),
    ];
    let body = html! {
        p { (view.of("Les mêmes en ", "The same as ")) a href="/errors.json" { "JSON" } "." }
        (table(view.of("Refus et erreurs", "Refusals and errors"), &head, &rows))
    };
    page(&view, portal.demonstration.is_some(), view.of("Erreurs", "Errors"), None, &body)
}

async fn as_data() -> HttpResponse {
    match catalogue::to_json() {
        Ok(text) => HttpResponse::Ok().content_type("application/json").body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
