//! The pages of the homologation kit: open a run, fetch its cards, see what was judged. In the sandbox alone.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::layout::{View, page, table};
use super::{Portal, failed, file, from_elsewhere, nothing, refused, wants_json};
use crate::homologation::cases::{self, Case};
use crate::homologation::judge::Verdict;
use crate::homologation::kit::{Act, Asked, Kit};
use crate::homologation::report::{Counts, Report};
use crate::homologation::run::Run;

/// The routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/homologation", web::get().to(all))
        .route("/homologation", web::post().to(open))
        .route("/homologation/autorites.pem", web::get().to(authorities))
        .route("/homologation/{run}", web::get().to(one))
        .route("/homologation/{run}/rapport.json", web::get().to(as_json))
        .route("/homologation/{run}/rapport.xml", web::get().to(as_junit))
        .route("/homologation/{run}/cartes/{card}.{kind}", web::get().to(card))
        .route("/homologation/{run}/patients/{patient}/{act}", web::post().to(act));
}

fn kit_of(portal: &Portal) -> Option<Arc<dyn Kit>> {
    portal.api.kit.clone()
}

fn without_kit() -> HttpResponse {
    nothing("homologation is of the sandbox")
}

/// The runs, and a form for one more.
async fn all(view: View, portal: web::Data<Portal>) -> HttpResponse {
    let Some(kit) = kit_of(&portal) else { return without_kit() };
    let Ok(runs) = kit.runs() else { return nothing("the runs cannot be read") };
    let rows = html! {
        @for run in &runs {
            tr {
                th scope="row" { a href={ "/homologation/" (run.id) } { (run.id) } }
                td { (run.name) } td { (run.software) } td { (run.profile) }
            }
        }
    };
    let head = [
        view.of("Campagne", "Run"),
        view.of("Éditeur", "Vendor"),
        view.of("Logiciel", "Software"),
        view.of("Profil", "Profile"),
    ];
    let body = html! {
        p {
            (view.of("Une campagne donne des cartes et des patients à un logiciel, et juge par ses vrais appels les ", "A run gives cards and patients to a software, and judges by its real calls the "))
            (cases::all().len()) (view.of(" lignes du cahier d'homologation.", " rows of the homologation."))
        }
        @if runs.is_empty() { p { (view.of("Aucune campagne n'est ouverte.", "No run is open.")) } }
        @else { (table(view.of("Campagnes", "Runs"), &head, &rows)) }
        h2 id="ouvrir" { (view.of("Ouvrir une campagne", "Open a run")) }
        form method="post" action="/homologation" {
            label for="name" { (view.of("Éditeur", "Vendor")) }
            input name="name" id="name" required maxlength="100";
            label for="software" { (view.of("Logiciel et version", "Software and version")) }
            input name="software" id="software" required maxlength="100";
            label for="profile" { (view.of("Profil DMP", "DMP profile")) }
            select name="profile" id="profile" {
                option { "Alimentation, consultation" } option { "Alimentation" } option { "Consultation" }
            }
            p { button { (view.of("Ouvrir", "Open")) } }
        }
        p {
            (view.of("Ou en ligne de commande : ", "Or on the command line: "))
            code { "curl -H 'Accept: application/json' -d name=… -d software=… -d profile=… http://127.0.0.1:8080/homologation" }
        }
    };
    page(&view, portal.demonstration.is_some(), "Homologation", None, &body)
}

async fn open(request: HttpRequest, portal: web::Data<Portal>, asked: web::Form<Asked>) -> HttpResponse {
    let Some(kit) = kit_of(&portal) else { return without_kit() };
    if from_elsewhere(&request) {
        return refused("the form of another site");
    }
    let asked = asked.into_inner();
    if let Err(why) = asked.check() {
        return refused(&why.to_string());
    }
    match kit.open(asked).await {
        Ok(run) if wants_json(&request) => HttpResponse::Created().json(&run),
        Ok(run) => see(&run.id),
        Err(error) => failed(&error),
    }
}

fn see(id: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, format!("/homologation/{id}"))).finish()
}

async fn report(portal: &Portal, id: String) -> Result<Report, Box<HttpResponse>> {
    let kit = kit_of(portal).ok_or_else(|| Box::new(without_kit()))?;
    if !Run::is_id(&id) {
        return Err(Box::new(nothing("there is no such run")));
    }
    match web::block(move || kit.report(&id)).await {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => Err(Box::new(nothing(&format!("{error:#}")))),
        Err(error) => Err(Box::new(failed(&error.into()))),
    }
}

async fn as_json(portal: web::Data<Portal>, id: web::Path<String>) -> HttpResponse {
    match report(&portal, id.into_inner()).await {
        Ok(report) => HttpResponse::Ok().json(report.json()),
        Err(answer) => *answer,
    }
}

async fn as_junit(portal: web::Data<Portal>, id: web::Path<String>) -> HttpResponse {
    match report(&portal, id.into_inner()).await.map(|report| report.junit()) {
        Ok(Ok(text)) => HttpResponse::Ok().content_type("application/xml; charset=utf-8").body(text),
        Ok(Err(error)) => failed(&error),
        Err(answer) => *answer,
    }
}

async fn one(view: View, portal: web::Data<Portal>, id: web::Path<String>) -> HttpResponse {
    match report(&portal, id.into_inner()).await {
        Ok(report) => {
            let title = format!("{} {}", view.of("Campagne", "Run"), report.run.id);
            page(&view, portal.demonstration.is_some(), &title, None, &written(&view, &report))
        }
        Err(answer) => *answer,
    }
}

fn written(view: &View, report: &Report) -> Markup {
    let run = &report.run;
    let Counts { passed, failed, not_played, not_judged } = report.counts();
    html! {
        p { (run.name) ", " (run.software) ", " (run.profile) ". " a href="/homologation" { (view.of("Toutes les campagnes", "All runs")) } }
        p {
            strong { (passed) } (view.of(" réussis, ", " passed, ")) strong { (failed) } (view.of(" échecs, ", " failed, "))
            (not_played) (view.of(" non joués, ", " not played, ")) (not_judged) (view.of(" non jugés ici. ", " not judged here. "))
            a href={ "/homologation/" (run.id) "/rapport.json" } { "JSON" } " "
            a href={ "/homologation/" (run.id) "/rapport.xml" } { "JUnit" }
        }
        p {
            (view.of("Un appel compte pour la ligne qu'il nomme dans l'en-tête ", "A call counts for the row that it names in the header "))
            code { "X-Habilis-Case: 3.1-090" } (view.of(", sinon pour toutes celles qu'il joue.", ", else for all that it plays."))
        }
        @for code in &report.unknown {
            p.note { code { "X-Habilis-Case: " (code) } (view.of(" n'est le code d'aucune ligne.", " is the code of no row.")) }
        }
        h2 { (view.of("Cartes", "Cards")) }
        p {
            (view.of("Mot de passe des p12 : ", "Password of the p12: ")) code { "habilis" } ". "
            a href="/homologation/autorites.pem" { (view.of("Autorités du serveur", "The server's authorities")) }
        }
        (table(view.of("Cartes de la campagne", "Cards of the run"), &[view.of("Fichier", "File"), view.of("Porteur", "Holder"), "Formats"], &cards(run)))
        h2 { "Patients" }
        (table(
            view.of("Patients de la campagne", "Patients of the run"),
            &[view.of("Rôle", "Role"), "INS", view.of("Traits", "Name"), view.of("Pour", "For"), view.of("Le patient", "The patient")],
            &patients(run),
        ))
        h2 { (view.of("Lignes", "Rows")) }
        (table(
            view.of("Lignes jugées", "Judged rows"),
            &["Code", "Transaction", view.of("Acteur, dossier", "Actor, record"), view.of("Appel → réponse", "Call → answer"), "Verdict", view.of("Constat", "Finding")],
            &html! { @for (case, verdict) in &report.rows { (row(view, case, verdict)) } },
        ))
        h2 { (view.of("Derniers appels", "Last calls")) }
        (table(
            view.of("Appels de la campagne", "Calls of the run"),
            &[view.of("Appel", "Call"), view.of("Statut", "Status"), view.of("Jugé comme", "Judged as"), view.of("Règle", "Rule"), view.of("Requête", "Request")],
            &calls(report),
        ))
    }
}

fn calls(report: &Report) -> Markup {
    html! {
        @for call in report.calls.iter().rev().take(100) {
            tr {
                td { code { (call.seen.method) " " (call.seen.path) } } td { (call.seen.status) } td { (call.kind) }
                td { (call.rule) } td { code { (call.seen.request_id) } }
            }
        }
    }
}

fn cards(run: &Run) -> Markup {
    html! {
        @for (name, whose) in &run.cards {
            tr {
                th scope="row" { code { (name) } }
                td { (whose) }
                td { @for kind in ["pem", "key", "p12"] { a href={ "/homologation/" (run.id) "/cartes/" (name) "." (kind) } { (kind) } " " } }
            }
        }
    }
}

fn patients(run: &Run) -> Markup {
    html! {
        @for (role, patient) in &run.patients {
            tr {
                th scope="row" { (role) }
                td.ins { code { (patient.ins) } }
                td { (patient.family) " " (patient.given) br; (patient.birth_date) }
                td { (patient.what_for) }
                td {
                    @if !patient.record_id.is_empty() {
                        @for (_, word, text) in Act::ALL {
                            form.act method="post" action={ "/homologation/" (run.id) "/patients/" (role) "/" (word) } {
                                button { (text) }
                            }
                            " "
                        }
                    }
                }
            }
        }
    }
}

fn row(view: &View, case: &Case, verdict: &Verdict) -> Markup {
    let (class, word) = match verdict {
        Verdict::Passed(_) => ("yes", view.of("réussi", "passed")),
        Verdict::Failed(_) => ("no", view.of("échec", "failed")),
        Verdict::NotPlayed(_) => ("", view.of("non joué", "not played")),
        Verdict::NotJudged(_) => ("", view.of("non jugé", "not judged")),
    };
    html! {
        tr id=(case.code) {
            th scope="row" { (case.code) }
            td { (case.transaction) } td { (case.actor) ", " (case.patient) } td { (case.when) br; "→ " (case.then) }
            td class=(class) { (word) }
            td {
                @match verdict {
                    Verdict::Passed(requests) => (requests.join(" ")),
                    Verdict::Failed(finding) => {
                        (finding.what)
                        (told(view.of("élément", "element"), &finding.element))
                        (told(view.of("règle", "rule"), &finding.rule))
                        (told(view.of("requête", "request"), &finding.request_id))
                    },
                    Verdict::NotPlayed(hint) => (hint.as_deref().unwrap_or_default()),
                    Verdict::NotJudged(why) => (why),
                }
            }
        }
    }
}

fn told(what: &str, text: &str) -> Markup {
    html! { @if !text.is_empty() { br; (what) " " code { (text) } } }
}

async fn authorities(portal: web::Data<Portal>) -> HttpResponse {
    let Some(kit) = kit_of(&portal) else { return without_kit() };
    file(kit.authorities(), "application/x-pem-file", "autorites.pem")
}

async fn card(portal: web::Data<Portal>, path: web::Path<(String, String, String)>) -> HttpResponse {
    let Some(kit) = kit_of(&portal) else { return without_kit() };
    let (id, name, kind) = path.into_inner();
    let media = if kind == "p12" { "application/x-pkcs12" } else { "application/x-pem-file" };
    match kit.card(&id, &name, &kind) {
        Ok(path) => file(&path, media, &format!("{name}.{kind}")),
        Err(why) => nothing(&why.to_string()),
    }
}

async fn act(
    request: HttpRequest,
    portal: web::Data<Portal>,
    path: web::Path<(String, String, String)>,
) -> HttpResponse {
    let Some(kit) = kit_of(&portal) else { return without_kit() };
    if from_elsewhere(&request) {
        return refused("the form of another site");
    }
    let (id, patient, word) = path.into_inner();
    let Some(act) = Act::of_word(&word) else { return nothing("a patient does no such thing") };
    match kit.act(&id, &patient, act).await {
        Ok(()) if wants_json(&request) => HttpResponse::NoContent().finish(),
        Ok(()) => see(&id),
        Err(error) => nothing(&format!("{error:#}")),
    }
}
