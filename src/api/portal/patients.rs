//! The demonstration patients, and what each is for.

use actix_web::{HttpResponse, web};
use maud::html;

use super::layout::{View, page, table};
use super::{Portal, cards};

pub(super) async fn all(view: View, portal: web::Data<Portal>) -> HttpResponse {
    let Some(demonstration) = &portal.demonstration else { return cards::without() };
    let rows = html! {
        @for patient in demonstration.patients() {
            tr {
                th scope="row" { code { (patient.ins) } }
                td { (patient.family) " " (patient.given) }
                td { (patient.birth_date) }
                td { (view.of(patient.french, patient.english)) }
            }
        }
    };
    let head =
        ["INS", view.of("Traits", "Name"), view.of("Naissance", "Born"), view.of("Pour quoi", "What for")];
    let body = html! {
        p {
            (view.of("Système de l'INS : ", "System of the INS: ")) code { "urn:oid:1.2.250.1.213.1.4.10" } ". "
            (view.of("Tous les logiciels partagent ces dossiers ; ", "All software shares these records; "))
            a href="/homologation" { (view.of("une campagne en a à elle", "a run has its own")) } ". "
            code { "habilis sandbox --reset" } (view.of(" les rend comme au début.", " makes them as they were."))
        }
        (table(view.of("Patients de démonstration", "Demonstration patients"), &head, &rows))
    };
    page(&view, true, view.of("Patients de démonstration", "Demonstration patients"), None, &body)
}
