//! The calls that were made with a card: request, decision, rule, trace, who was told.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::demonstration::CallShown;
use super::layout::{View, page, table};
use super::{Portal, asked, cards, failed, nothing};

/// Seconds after which the page is asked for again, where one follows.
const AGAIN: u32 = 3;

pub(super) async fn all(view: View, request: HttpRequest, portal: web::Data<Portal>) -> HttpResponse {
    let Some(demonstration) = portal.demonstration.clone() else { return cards::without() };
    let (card, follows) = (asked(&request, "carte"), asked(&request, "suivre").is_some());
    let named = card.clone();
    // Names are read from their folder, traces from the database.
    let read = web::block(move || {
        let names = demonstration.names()?;
        let known = named.filter(|name| names.contains(name));
        let calls = known.map(|name| demonstration.calls(&name)).transpose()?;
        anyhow::Ok((names, calls))
    });
    let (names, calls) = match read.await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => return failed(&error),
        Err(error) => return failed(&error.into()),
    };
    if card.is_some() && calls.is_none() {
        return nothing("there is no such card");
    }
    let body = html! {
        form method="get" action="/appels" {
            label for="carte" { (view.of("Carte", "Card")) }
            select name="carte" id="carte" {
                @for name in &names { option value=(name) selected[card.as_ref() == Some(name)] { (name) } }
            }
            " " label for="suivre" { input type="checkbox" name="suivre" id="suivre" value="1" checked[follows]; " "
                (view.of("suivre : la page se recharge toutes les trois secondes", "follow: the page reloads every three seconds")) }
            p { button { (view.of("Montrer", "Show")) } }
        }
        @match (&card, &calls) {
            (Some(card), Some(calls)) if calls.is_empty() => p { (view.of("Aucun appel encore avec ", "No call yet with ")) code { (card) } "." }
            (Some(card), Some(calls)) => (written(&view, card, calls)),
            _ => p { (view.of("Choisissez la carte avec laquelle vous appelez.", "Choose the card that you call with.")) }
        }
        p { (view.of("Un bac à sable n'envoie rien : on voit qui serait prévenu, et par où (docs/notices.md).", "A sandbox sends nothing: one sees who would be told, and how (docs/notices.md).")) }
        p { (view.of("Une poignée de main refusée n'est pas un appel : rien n'en est dit ici.", "A handshake that is refused is no call: nothing of it is told here.")) }
    };
    let again = (follows && card.is_some()).then_some(AGAIN);
    page(&view, true, view.of("Mes appels", "My calls"), again, &body)
}

fn written(view: &View, card: &str, calls: &[CallShown]) -> Markup {
    let rows = html! {
        @for call in calls {
            tr {
                td { (time(call.seen.at)) }
                td {
                    code { (call.seen.method) " " (call.seen.path) }
                    @if !call.seen.query.is_empty() { br; code { "?" (call.seen.query) } }
                }
                td { (call.seen.status) }
                td { (outcome(view, &call.outcome)) br; (call.operation) }
                td { (call.rule) }
                td { code { (call.seen.request_id) } @if !call.place.is_empty() { br; (call.place) } }
                td {
                    @for notice in &call.notices {
                        (notice.kind) " → " (notice.told) ", " (notice.channel)
                        @if let Some(state) = &notice.state { " (" (state) ")" }
                        br;
                    }
                }
            }
        }
    };
    let head = [
        view.of("Quand (UTC)", "When (UTC)"),
        view.of("Requête", "Request"),
        view.of("Statut", "Status"),
        view.of("Décision", "Decision"),
        view.of("Règle", "Rule"),
        view.of("Trace", "Trace"),
        view.of("Qui en est prévenu", "Who is told"),
    ];
    table(&format!("{}, {}", view.of("Derniers appels", "Last calls"), card), &head, &rows)
}

fn outcome<'a>(view: &View, outcome: &'a str) -> &'a str {
    match outcome {
        "granted" => view.of("accordé", "granted"),
        "refused" => view.of("refusé", "refused"),
        "hidden" => view.of("comme inexistant", "as if not there"),
        "failed" => view.of("échoué", "failed"),
        other => other,
    }
}

fn time(microseconds: i64) -> String {
    jiff::Timestamp::from_microsecond(microseconds)
        .map(|at| at.strftime("%H:%M:%S%.3f").to_string())
        .unwrap_or_default()
}
