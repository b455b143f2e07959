//! The first page: what this is, and the first calls, to be pasted as they are.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use maud::{Markup, html};

use super::demonstration::Platform;
use super::layout::{View, page};
use super::{Portal, asked};

pub(super) async fn home(view: View, request: HttpRequest, portal: web::Data<Portal>) -> HttpResponse {
    let body = match &portal.demonstration {
        None => without_demonstration(&view),
        Some(demonstration) => {
            let platform = platform(&request);
            html! {
                p.note {
                    (view.of(
                        "Bac à sable : le volet professionnel du DMP en FHIR. Les données sont de démonstration ; la matrice d'habilitation est en partie \
                         inventée et ne fait pas foi.",
                        "Sandbox: the professional side of the DMP over FHIR. Its data are made up; the habilitation matrix is partly invented and no \
                         authority.",
                    ))
                }
                ul {
                    li { "API : " code { (demonstration.base()) } " · TLS " (view.of("mutuel", "mutual")) }
                    li { (view.of("Cartes : ", "Cards: ")) code { (demonstration.certs()) } " · " a href="/cartes" { (view.of("télécharger, en établir une", "download, issue one")) } }
                    li { (view.of("Contrat : ", "Contract: ")) a href="/openapi.json" { "OpenAPI" } " · " a href="/docs" { (view.of("opérations", "operations")) } }
                }
                h2 { (view.of("Premiers appels", "First calls")) }
                p {
                    (view.of("Commandes pour ", "Commands for "))
                    @for (other, word, name) in Platform::ALL {
                        @if other == platform { strong { (name) } } @else { a href={ "/?platform=" (word) } { (name) } }
                        " "
                    }
                }
                @for (number, call) in demonstration.first_calls(platform).iter().enumerate() {
                    h3 { (number + 1) ". " (view.of(call.french, call.english)) }
                    pre tabindex="0" { code { (call.command) } }
                }
                p { (view.of("Ce que chaque appel a donné, décision et règle comprises : ", "What each call came to, decision and rule included: "))
                    a href="/appels?carte=cps-medecin" { (view.of("Mes appels", "My calls")) } }
                h2 { (view.of("Ensuite", "Then")) }
                ol {
                    li { a href="/homologation" { (view.of("Ouvrir une campagne d'homologation", "Open a homologation run")) }
                        (view.of(" : des cartes et des patients à vous, et 98 lignes jugées par vos appels.", ": cards and patients of your own, and 98 rows judged by your calls.")) }
                    li { a href="/patients" { (view.of("Choisir un patient", "Choose a patient")) }
                        (view.of(" : chacun montre un cas (fermé, opposé, mineur, masqué…).", ": each shows a case (closed, opposed, minor, masked…).")) }
                    li { a href="/errors" { (view.of("Comprendre un refus", "Understand a refusal")) }
                        (view.of(", ", ", ")) a href="/droits" { (view.of("et la table qui l'a décidé", "and the table that decided it")) } "." }
                }
            }
        }
    };
    page(&view, portal.demonstration.is_some(), view.of("Premiers pas", "First steps"), None, &body)
}

fn without_demonstration(view: &View) -> Markup {
    html! {
        p { (view.of("Volet professionnel du DMP en FHIR. Cette adresse ne sert ni dossier, ni carte.", "The professional side of the DMP over FHIR. No record and no card is served here.")) }
        ul {
            li { a href="/docs" { (view.of("Opérations", "Operations")) } " · " a href="/openapi.json" { "OpenAPI" } }
            li { a href="/etat" { (view.of("État", "State")) } " · " a href="/metrics" { "Prometheus" } }
        }
    }
}

/// As asked for, or as the browser's.
fn platform(request: &HttpRequest) -> Platform {
    let asked = asked(request, "platform").and_then(|word| Platform::of_word(&word));
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    asked.unwrap_or(match agent {
        Some(agent) if agent.contains("Windows") => Platform::Windows,
        _ => Platform::Unix,
    })
}
