//! The test cards: to be downloaded, and one more to be made.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::demonstration::{CardAsked, Demonstration, Taken};
use super::layout::{View, page, table};
use super::{Portal, failed, file, from_elsewhere, nothing, refused, wants_json};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/cartes", web::get().to(all))
        .route("/cartes", web::post().to(issue))
        .route("/cartes/{card}.{kind}", web::get().to(one));
}

pub(super) fn without() -> HttpResponse {
    nothing("cards are of the sandbox")
}

/// The formats of a card, with what each is for.
const KINDS: [&str; 3] = ["pem", "key", "p12"];

async fn all(view: View, portal: web::Data<Portal>) -> HttpResponse {
    let Some(demonstration) = &portal.demonstration else { return without() };
    match written(&view, demonstration.as_ref()) {
        Ok(body) => page(&view, true, view.of("Cartes de test", "Test cards"), None, &body),
        Err(error) => failed(&error),
    }
}

fn written(view: &View, demonstration: &dyn Demonstration) -> anyhow::Result<Markup> {
    let cards = demonstration.cards()?;
    let rows = html! {
        @for card in &cards {
            tr {
                th scope="row" { code { (card.name) } }
                td { (card.kind) }
                td { (card.holder) }
                td { @for kind in KINDS { a href={ "/cartes/" (card.name) "." (kind) } { (kind) } " " } }
                td { a href={ "/appels?carte=" (card.name) } { (view.of("appels", "calls")) } }
            }
        }
    };
    let head = [
        view.of("Fichier", "File"),
        "Type",
        view.of("Porteur", "Holder"),
        "Formats",
        view.of("Vu d'ici", "Seen here"),
    ];
    Ok(html! {
        p {
            (view.of("PEM et clé pour curl et la plupart des bibliothèques, PKCS#12 (mot de passe ", "PEM and key for curl and most libraries, PKCS#12 (password "))
            code { "habilis" } ") "
            (view.of("pour un navigateur, Java ou .NET. Dans ", "for a browser, Java or .NET. In ")) code { (demonstration.certs()) } ". "
            a href="/homologation/autorites.pem" { (view.of("Autorités du serveur", "The server's authorities")) }
        }
        (table(view.of("Les cartes", "The cards"), &head, &rows))
        h2 id="etablir" { (view.of("Établir une carte", "Issue a card")) }
        form method="post" action="/cartes" {
            label for="kind" { "Type" }
            select name="kind" id="kind" {
                option value="cps" { "CPS" }
                option value="cpe" { "CPE" }
                option value="organisation" { (view.of("organisation (AUTH_CLI)", "organisation (AUTH_CLI)")) }
            }
            label for="name" { (view.of("Nom du fichier", "Name of the file")) }
            input name="name" id="name" required pattern="[a-z0-9\\-]{1,40}" placeholder="cps-dr-martin";
            label for="family" { (view.of("Nom de famille, ou nom de l'organisation", "Family name, or the organisation's name")) }
            input name="family" id="family" required maxlength="60";
            label for="given" { (view.of("Prénom (CPS, CPE)", "Given name (CPS, CPE)")) }
            input name="given" id="given" maxlength="60";
            label for="rpps" { (view.of("RPPS, onze chiffres (CPS)", "RPPS, eleven digits (CPS)")) }
            input name="rpps" id="rpps" inputmode="numeric" pattern="[0-9]{11}" placeholder="10100000206";
            label for="profession" { (view.of("Profession (CPS)", "Profession (CPS)")) }
            select name="profession" id="profession" {
                @for (code, name) in super::professions::PROFESSIONS {
                    @if !code.contains('-') { option value=(code) { (name) " (" (code) ")" } }
                }
            }
            p { button { (view.of("Établir", "Issue")) } }
        }
        p { (view.of("Plus de choix en ligne de commande : ", "More choice on the command line: ")) code { "habilis pki issue --help" } "." }
    })
}

async fn issue(request: HttpRequest, portal: web::Data<Portal>, asked: web::Form<CardAsked>) -> HttpResponse {
    let Some(demonstration) = &portal.demonstration else { return without() };
    if from_elsewhere(&request) {
        return refused("the form of another site");
    }
    let asked = asked.into_inner();
    let name = asked.name.clone();
    if let Err(why) = asked.check() {
        return refused(&why.to_string());
    }
    match demonstration.issue(asked).await {
        Ok(()) if wants_json(&request) => HttpResponse::Created().json(
            serde_json::json!({ "name": name, "files": KINDS.map(|kind| format!("/cartes/{name}.{kind}")) }),
        ),
        Ok(()) => HttpResponse::SeeOther().insert_header((header::LOCATION, "/cartes")).finish(),
        Err(error) if error.is::<Taken>() => refused(&error.to_string()),
        Err(error) => failed(&error),
    }
}

async fn one(portal: web::Data<Portal>, path: web::Path<(String, String)>) -> HttpResponse {
    let Some(demonstration) = &portal.demonstration else { return without() };
    let (name, kind) = path.into_inner();
    let media = if kind == "p12" { "application/x-pkcs12" } else { "application/x-pem-file" };
    match demonstration.card(&name, &kind) {
        Ok(path) => file(&path, media, &format!("{name}.{kind}")),
        Err(why) => nothing(&why.to_string()),
    }
}
