//! What every page has: its language, the way to the others, and nothing from outside.

use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use maud::{DOCTYPE, Markup, html};

use super::asked;

/// The language of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    French,
    English,
}

impl Language {
    /// The text in it.
    pub(super) const fn of<'a>(self, french: &'a str, english: &'a str) -> &'a str {
        match self {
            Language::French => french,
            Language::English => english,
        }
    }

    const fn code(self) -> &'static str {
        self.of("fr", "en")
    }

    fn of_code(code: &str) -> Option<Self> {
        match code {
            "fr" => Some(Language::French),
            "en" => Some(Language::English),
            _ => None,
        }
    }
}

/// Who looks: in which language, and at which page.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) language: Language,
    path: String,
    /// Asked for just now, and to be remembered.
    chosen: bool,
}

impl View {
    /// The text in the language of who looks.
    pub(super) const fn of<'a>(&self, french: &'a str, english: &'a str) -> &'a str {
        self.language.of(french, english)
    }
}

impl FromRequest for View {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let chosen = asked(request, "lang").and_then(|code| Language::of_code(&code));
        let remembered = || request.cookie(COOKIE).and_then(|cookie| Language::of_code(cookie.value()));
        let wished = || {
            let wishes = request.headers().get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
            let codes = wishes.split(',').filter_map(|wish| Language::of_code(wish.trim().get(..2)?));
            codes.into_iter().next()
        };
        let language = chosen.or_else(remembered).or_else(wished).unwrap_or(Language::French);
        ready(Ok(Self { language, path: request.path().to_owned(), chosen: chosen.is_some() }))
    }
}

const COOKIE: &str = "lang";

/// The pages: address, French, English. Those of the sandbox alone come first.
const PAGES: [(&str, &str, &str); 9] = [
    ("/", "Premiers pas", "First steps"),
    ("/cartes", "Cartes", "Cards"),
    ("/patients", "Patients", "Patients"),
    ("/homologation", "Homologation", "Homologation"),
    ("/appels", "Mes appels", "My calls"),
    ("/docs", "Opérations", "Operations"),
    ("/droits", "Droits", "Rights"),
    ("/errors", "Erreurs", "Errors"),
    ("/etat", "État", "State"),
];
/// Where they are those of the sandbox.
const OF_THE_SANDBOX: [&str; 4] = ["/cartes", "/patients", "/homologation", "/appels"];

/// A page. `again`: it is to be asked for again after so many seconds.
pub(super) fn page(view: &View, sandbox: bool, title: &str, again: Option<u32>, body: &Markup) -> HttpResponse {
    let other = if view.language == Language::French { Language::English } else { Language::French };
    let shown = PAGES.iter().filter(|(path, ..)| sandbox || !OF_THE_SANDBOX.contains(path));
    let text = html! {
        (DOCTYPE)
        html lang=(view.language.code()) {
            head {
                meta charset="utf-8";
                title { (title) " · Habilis" }
                meta name="viewport" content="width=device-width";
                @if let Some(seconds) = again { meta http-equiv="refresh" content=(seconds); }
                link rel="stylesheet" href="/portal.css";
            }
            body {
                a.skip href="#contenu" { (view.of("Aller au contenu", "Skip to the content")) }
                header {
                    strong { "Habilis" }
                    nav aria-label=(view.of("Pages", "Pages")) {
                        ul {
                            @for (path, french, english) in shown {
                                li {
                                    a href=(path) aria-current=[is_here(&view.path, path).then_some("page")] {
                                        (view.of(french, english))
                                    }
                                }
                            }
                        }
                    }
                    a href={ (view.path) "?lang=" (other.code()) } hreflang=(other.code()) lang=(other.code()) {
                        (other.of("Français", "English"))
                    }
                }
                main id="contenu" { h1 { (title) } (body) }
            }
        }
    };
    let mut answer = HttpResponse::Ok();
    if view.chosen {
        answer.cookie(Cookie::build(COOKIE, view.language.code()).path("/").same_site(SameSite::Lax).finish());
    }
    answer
        .content_type("text/html; charset=utf-8")
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .body(text.into_string())
}

fn is_here(path: &str, page: &str) -> bool {
    path == page || page != "/" && path.strip_prefix(page).is_some_and(|rest| rest.starts_with('/'))
}

/// A table that scrolls by itself: what it is about, its head, its rows.
pub(super) fn table(caption: &str, head: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// The style of every page.
pub(super) async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "max-age=3600"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(include_str!("portal.css"))
}
