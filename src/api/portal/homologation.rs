//! The pages of the homologation kit: open a run, fetch its cards, see what was judged. In the sandbox alone.

use std::path::Path;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::{Portal, escaped, page};
use crate::homologation::cases;
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

fn nothing(why: &str) -> HttpResponse {
    HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body(format!("{why}\n"))
}

fn refused(why: &str) -> HttpResponse {
    HttpResponse::BadRequest().content_type("text/plain; charset=utf-8").body(format!("{why}\n"))
}

fn kit_of(portal: &Portal) -> Option<Arc<dyn Kit>> {
    portal.api.kit.clone()
}

fn without_kit() -> HttpResponse {
    nothing("homologation is of the sandbox")
}

/// Another site's page must not act here in the name of who looks at it.
fn from_elsewhere(request: &HttpRequest) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let site = header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    // Browsers say the one to localhost alone, and the other always.
    let host = header("host").unwrap_or_default();
    let origin =
        header("origin").is_some_and(|origin| origin.split_once("://").is_none_or(|(_, of)| of != host));
    site || origin
}

fn wants_json(request: &HttpRequest) -> bool {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accepts.is_some_and(|accept| accept.contains("application/json"))
}

/// The runs, and a form for one more.
async fn all(portal: web::Data<Portal>) -> HttpResponse {
    let Some(kit) = kit_of(&portal) else { return without_kit() };
    let Ok(runs) = kit.runs() else { return nothing("the runs cannot be read") };
    let rows: String = runs
        .iter()
        .map(|run| {
            format!(
                "<tr><td><a href=\"/homologation/{0}\">{0}</a></td><td>{1}</td><td>{2}</td><td>{3}</td></tr>",
                run.id,
                escaped(&run.name),
                escaped(&run.software),
                escaped(&run.profile)
            )
        })
        .collect();
    let list = match runs.is_empty() {
        true => "<p>Aucune campagne n'est ouverte.</p>".to_owned(),
        false => format!(
            "<table><thead><tr><th>Campagne</th><th>Éditeur</th><th>Logiciel</th><th>Profil</th></tr></thead><tbody>{rows}</tbody></table>"
        ),
    };
    page(&format!(
        "<h1>Homologation</h1>\
         <p>Une campagne donne des cartes et des patients à un logiciel, et juge par ses vrais appels les {} lignes du cahier \
         d'homologation.</p>{list}\
         <h2>Ouvrir une campagne</h2>\
         <form method=\"post\" action=\"/homologation\">\
         <p><label>Éditeur<br><input name=\"name\" required maxlength=\"100\"></label></p>\
         <p><label>Logiciel et version<br><input name=\"software\" required maxlength=\"100\"></label></p>\
         <p><label>Profil DMP<br><select name=\"profile\"><option>Alimentation, consultation</option><option>Alimentation</option>\
         <option>Consultation</option></select></label></p>\
         <p><button>Ouvrir</button></p></form>\
         <p>Ou en ligne de commande : <code>curl -H 'Accept: application/json' -d name=… -d software=… -d profile=… \
         http://127.0.0.1:8080/homologation</code></p>",
        cases::all().len()
    ))
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

fn failed(error: &anyhow::Error) -> HttpResponse {
    tracing::error!(error = format!("{error:#}"), "the homologation kit");
    HttpResponse::InternalServerError().content_type("text/plain; charset=utf-8").body(format!("{error:#}\n"))
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

async fn one(portal: web::Data<Portal>, id: web::Path<String>) -> HttpResponse {
    match report(&portal, id.into_inner()).await {
        Ok(report) => page(&written(&report)),
        Err(answer) => *answer,
    }
}

fn written(report: &Report) -> String {
    let run = &report.run;
    let Counts { passed, failed, not_played, not_judged } = report.counts();
    let cards: String = run
        .cards
        .iter()
        .map(|(name, whose)| {
            let link = |kind| format!("<a href=\"/homologation/{}/cartes/{name}.{kind}\">{kind}</a>", run.id);
            let links = ["pem", "key", "p12"].map(link).join(" ");
            format!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{links}</td></tr>",
                escaped(name),
                escaped(whose)
            )
        })
        .collect();
    let patients: String = run
        .patients
        .iter()
        .map(|(role, patient)| {
            let button = |(_, word, text): (Act, &str, &str)| {
                format!(
                    "<form method=\"post\" action=\"/homologation/{}/patients/{role}/{word}\" style=\"display:inline\">\
                     <button>{text}</button></form> ",
                    run.id
                )
            };
            let acts = match patient.record_id.is_empty() {
                true => String::new(),
                false => Act::ALL.map(button).concat(),
            };
            format!(
                "<tr><td>{}</td><td><code>{}</code></td><td>{} {}<br>{}</td><td>{}</td><td>{acts}</td></tr>",
                escaped(role),
                escaped(&patient.ins),
                escaped(&patient.family),
                escaped(&patient.given),
                escaped(&patient.birth_date),
                escaped(&patient.what_for),
            )
        })
        .collect();
    let rows: String = report
        .rows
        .iter()
        .map(|(case, verdict)| {
            let (word, more) = match verdict {
                Verdict::Passed(requests) => ("réussi", escaped(&requests.join(" "))),
                Verdict::Failed(finding) => (
                    "<strong>échec</strong>",
                    format!(
                        "{}{}{}<br>requête <code>{}</code>",
                        escaped(&finding.what),
                        told("élément", &finding.element),
                        told("règle", &finding.rule),
                        escaped(&finding.request_id)
                    ),
                ),
                Verdict::NotPlayed(hint) => ("non joué", escaped(hint.as_deref().unwrap_or_default())),
                Verdict::NotJudged(why) => ("non jugé", escaped(why)),
            };
            format!(
                "<tr id=\"{0}\"><td>{0}</td><td>{1}</td><td>{2}, {3}</td><td>{4}<br>→ {5}</td><td>{word}</td><td>{more}</td></tr>",
                escaped(&case.code),
                escaped(&case.transaction),
                escaped(&case.actor),
                escaped(&case.patient),
                escaped(&case.when),
                escaped(&case.then),
            )
        })
        .collect();
    let calls: String = report
        .calls
        .iter()
        .rev()
        .take(100)
        .map(|call| {
            format!(
                "<tr><td><code>{} {}</code></td><td>{}</td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>",
                escaped(&call.seen.method),
                escaped(&call.seen.path),
                call.seen.status,
                call.kind,
                escaped(&call.rule),
                escaped(&call.seen.request_id),
            )
        })
        .collect();
    format!(
        "<h1>Campagne {id}</h1><p>{name}, {software}, {profile}. <a href=\"/homologation\">Toutes les campagnes</a></p>\
         <p><strong>{passed}</strong> réussis, <strong>{failed}</strong> échecs, {not_played} non joués, {not_judged} non jugés ici. \
         <a href=\"/homologation/{id}/rapport.json\">JSON</a> <a href=\"/homologation/{id}/rapport.xml\">JUnit</a></p>\
         <p>Un appel compte pour la ligne qu'il nomme dans l'en-tête <code>X-Habilis-Case: 3.1-090</code>, sinon pour toutes celles \
         qu'il joue.</p>\
         <h2>Cartes</h2><p>Mot de passe des p12 : <code>habilis</code>. <a href=\"/homologation/autorites.pem\">Autorités du serveur</a></p>\
         <table><thead><tr><th>Fichier</th><th>Porteur</th><th>Formats</th></tr></thead><tbody>{cards}</tbody></table>\
         <h2>Patients</h2><table><thead><tr><th>Rôle</th><th>INS</th><th>Traits</th><th>Pour</th><th>Le patient</th></tr></thead>\
         <tbody>{patients}</tbody></table>\
         <h2>Lignes</h2><table><thead><tr><th>Code</th><th>Transaction</th><th>Acteur, dossier</th><th>Appel → réponse</th><th>Verdict</th>\
         <th>Constat</th></tr></thead><tbody>{rows}</tbody></table>\
         <h2>Derniers appels</h2><table><thead><tr><th>Appel</th><th>Statut</th><th>Jugé comme</th><th>Règle</th><th>Requête</th></tr>\
         </thead><tbody>{calls}</tbody></table>",
        id = run.id,
        name = escaped(&run.name),
        software = escaped(&run.software),
        profile = escaped(&run.profile),
    )
}

fn told(what: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<br>{what} <code>{}</code>", escaped(text)) }
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
