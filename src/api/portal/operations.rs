//! The OpenAPI description, to be read: each operation with its parameters, bodies and answers.

use actix_web::{HttpResponse, web};
use maud::{Markup, html};
use serde_json::Value;

use super::Portal;
use super::layout::{View, page};
use crate::api::openapi;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/docs", web::get().to(all)).route("/openapi.json", web::get().to(description));
}

async fn description() -> HttpResponse {
    match openapi::json() {
        Ok(text) => HttpResponse::Ok().content_type("application/json").body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

async fn all(view: View, portal: web::Data<Portal>) -> HttpResponse {
    let Ok(description) = openapi::json() else { return HttpResponse::InternalServerError().finish() };
    let description: Value = serde_json::from_str(&description).unwrap_or_default();
    let body = written(&view, &description);
    page(&view, portal.demonstration.is_some(), view.of("Opérations", "Operations"), None, &body)
}

/// A member of an object; null where there is none.
fn of<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    of(value, name).as_str().unwrap_or_default()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What a reference points to, as `#/components/responses/Outcome`; what is none, is itself.
fn resolved<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    let path = of(value, "$ref").as_str().and_then(|path| path.strip_prefix('#'));
    path.and_then(|path| description.pointer(path)).unwrap_or(value)
}

/// Method, path, and what is said of it.
type Operation<'a> = (&'a str, &'a str, &'a Value);

fn written(view: &View, description: &Value) -> Markup {
    let mut by_tag: Vec<(&str, Vec<Operation<'_>>)> = Vec::new();
    for (path, methods) in members(of(description, "paths")) {
        for (method, operation) in members(methods) {
            let tag = items(of(operation, "tags")).next().and_then(Value::as_str).unwrap_or_default();
            let one = (method.as_str(), path.as_str(), operation);
            match by_tag.iter_mut().find(|(of, _)| *of == tag) {
                Some((_, all)) => all.push(one),
                None => by_tag.push((tag, vec![one])),
            }
        }
    }
    by_tag.sort_by_key(|(tag, _)| *tag);
    let said = |tag: &str| {
        let tag = items(of(description, "tags")).find(|one| text(one, "name") == tag);
        tag.map(|tag| text(tag, "description")).unwrap_or_default()
    };
    html! {
        p {
            (view.of("Le contrat complet est en ", "The whole contract is in ")) a href="/openapi.json" { "OpenAPI 3.1" }
            (view.of(", les refus sous ", ", refusals under ")) a href="/errors" { (view.of("Erreurs", "Errors")) } ". "
            (view.of("Les textes sont en anglais, pour qui intègre.", ""))
        }
        nav aria-label=(view.of("Chapitres", "Chapters")) {
            ul { @for (tag, _) in &by_tag { li { a href={ "#" (tag) } { (tag) } } } }
        }
        @for (tag, operations) in &by_tag {
            h2 id=(tag) { (tag) }
            p lang="en" { (said(tag)) }
            @for (method, path, operation) in operations {
                details lang="en" id=(text(operation, "operationId")) {
                    summary { code { (method.to_uppercase()) " " (path) } " " (text(operation, "summary")) }
                    p { (text(operation, "description")) }
                    (parameters(view, operation))
                    (body(view, description, operation))
                    (answers(view, description, operation))
                }
            }
        }
    }
}

fn parameters(view: &View, operation: &Value) -> Markup {
    let mut all = items(of(operation, "parameters")).peekable();
    if all.peek().is_none() {
        return html! {};
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(view.of("Paramètres", "Parameters")) { table {
            caption { (view.of("Paramètres", "Parameters")) }
            thead { tr {
                th scope="col" { (view.of("Nom", "Name")) } th scope="col" { (view.of("Où", "In")) }
                th scope="col" { (view.of("Sens", "Meaning")) } th scope="col" { (view.of("Exemple", "Example")) }
            } }
            tbody {
                @for parameter in all {
                    tr {
                        th scope="row" { code { (text(parameter, "name")) } @if of(parameter, "required") == true { " *" } }
                        td { (text(parameter, "in")) }
                        td { (text(parameter, "description")) }
                        td { @if let Some(example) = of(parameter, "example").as_str() { code { (example) } } }
                    }
                }
            }
        } }
    }
}

fn body(view: &View, description: &Value, operation: &Value) -> Markup {
    let asked = of(operation, "requestBody");
    html! {
        @if asked.is_object() {
            p { strong { (view.of("Corps : ", "Body: ")) } (text(asked, "description")) }
            (contents(description, asked))
        }
    }
}

/// Media types, with the schema's name and an example where there is one.
fn contents(description: &Value, of_what: &Value) -> Markup {
    html! {
        ul {
            @for (media, content) in members(of(of_what, "content")) {
                li {
                    code { (media) } " "
                    @let schema = of(content, "schema");
                    @if let Some(name) = text(schema, "$ref").rsplit('/').next().filter(|name| !name.is_empty()) { (name) }
                    @let fields: Vec<(&String, &Value)> = members(of(resolved(description, schema), "properties")).collect();
                    @if !fields.is_empty() {
                        ": " @for (name, _) in fields { code { (name) } " " }
                    }
                    @let example = of(content, "example");
                    @if !example.is_null() { pre tabindex="0" { code { (shown(example)) } } }
                }
            }
        }
    }
}

fn shown(example: &Value) -> String {
    match example.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string_pretty(example).unwrap_or_default(),
    }
}

fn answers(view: &View, description: &Value, operation: &Value) -> Markup {
    let (good, refused): (Vec<_>, Vec<_>) =
        members(of(operation, "responses")).partition(|(status, _)| status.starts_with('2'));
    html! {
        @for (status, answer) in good {
            @let answer = resolved(description, answer);
            p { strong { (status) } " " (text(answer, "description")) }
            (contents(description, answer))
        }
        p { (view.of("Refus : ", "Refusals: ")) @for (status, _) in refused { code { (status) } " " } }
    }
}
