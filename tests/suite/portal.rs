//! The portal: pages and health, never health data, no client certificate.

use crate::support::{Engine, Options, PATIENT, World, pki_copy};

#[test]
fn pages_health_and_metrics() {
    let world = World::start(Engine::Sqlite);
    let get = |path: &str| {
        let answer = reqwest::blocking::get(format!("http://{}{path}", world.listening.portal)).unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    };
    let (status, home) = get("/");
    assert_eq!(status, 200);
    assert!(home.contains("cps-medecin") && home.contains(PATIENT), "cards, and a patient of the first calls");
    assert!(home.contains("ne fait pas foi"), "the demonstration matrix is marked");
    let (_, docs) = get("/docs");
    for (method, path, _) in super::openapi::operations() {
        assert!(docs.contains(&format!("<code>{method} {path}</code>")), "{method} {path}");
    }
    assert_eq!(get("/openapi.json").1, habilis::api::openapi::json().unwrap());
    let (_, errors) = get("/errors");
    for reason in habilis::error::Reason::ALL {
        assert!(errors.contains(reason.french()), "{reason:?}");
    }
    assert_eq!(get("/errors.json").1, habilis::error::catalogue::to_json().unwrap());
    assert_eq!(get("/health/live"), (200, "live\n".into()));
    assert_eq!(get("/health/ready"), (200, "store: ok\nrevocation lists: ok\nstopping: no\n".into()));
    let (_, metrics) = get("/metrics");
    assert!(metrics.contains("habilis_commits_total "));
    assert!(!metrics.contains(PATIENT));
    assert_eq!(get("/fhir/metadata").0, 404, "the API is not here");
}

/// A card is made on the portal, counts at once, and what it did is seen there; no other file of the folder is given, and no other site makes one.
#[test]
fn cards_are_made_and_their_calls_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let certs = Some(pki_copy(folder.path()));
    let world = World::start_with(Engine::Sqlite, Options { certs, ..Options::default() });
    let at = |path: &str| format!("http://{}{path}", world.listening.portal);
    let http =
        reqwest::blocking::Client::builder().timeout(std::time::Duration::from_secs(60)).build().unwrap();
    let status = |path: &str| http.get(at(path)).send().unwrap().status().as_u16();
    for (path, expected) in [
        ("/cartes/cps-medecin.pem", 200),
        ("/cartes/cps-medecin.p12", 200),
        ("/cartes/cps-medecin.crt", 404),
        ("/cartes/server.key", 404),
        ("/cartes/habilis.key", 404),
        ("/cartes/token.key", 404),
        ("/cartes/..%2fcerts%2fserver.key", 404),
        ("/cartes/%2e%2e.pem", 404),
        ("/appels?carte=server", 404),
        ("/appels?carte=nobody", 404),
    ] {
        assert_eq!(status(path), expected, "{path}");
    }
    let form = [
        ("kind", "cps"),
        ("name", "cps-new"),
        ("family", "Neuf"),
        ("given", "Nora"),
        ("rpps", "10100000206"),
        ("profession", "10"),
    ];
    let with = |changed: (&'static str, &'static str)| {
        form.map(|(name, value)| if name == changed.0 { (name, changed.1) } else { (name, value) })
    };
    let ask = |form: &[(&str, &str)]| {
        http.post(at("/cartes")).header("Accept", "application/json").form(form).send().unwrap()
    };
    for wrong in [
        ("name", "../x"),
        ("name", ""),
        // Files of the sandbox's own, and cards of a run.
        ("name", "token"),
        ("name", "audit"),
        ("name", "server-renewed"),
        ("name", "r0001-cps-x"),
        ("kind", "root"),
        ("rpps", "1"),
        ("rpps", "10100000207"),
        ("profession", "x"),
        ("profession", "99"),
        ("family", ""),
    ] {
        assert_eq!(ask(&with(wrong)).status(), 400, "{wrong:?}");
    }
    let elsewhere = http.post(at("/cartes")).header("Sec-Fetch-Site", "cross-site").form(&form).send().unwrap();
    assert_eq!(elsewhere.status(), 400, "another site's form");
    let rebound = http.post(at("/cartes")).header("Host", "evil.example:8080").form(&form).send().unwrap();
    assert_eq!(rebound.status(), 400, "a name that was bound to this machine");
    let made = ask(&form);
    assert_eq!(made.status(), 201, "{}", made.text().unwrap());
    assert_eq!(ask(&form).status(), 400, "there is one of that name");
    let card = world.client("cps-new");
    assert_eq!(card.exists(PATIENT).status, 200);
    // It may act at once for the structure that the directory has for it.
    let session = [("grant_type", "client_credentials"), ("structure", "1750000101")];
    let answer = card.ask_token(&session);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let page = http.get(at("/appels?carte=cps-new")).send().unwrap().text().unwrap();
    for seen in ["/fhir/Patient", "accordé", "PDT-INF-526 TD0.2", "/oauth2/token"] {
        assert!(page.contains(seen), "{seen}: {page}");
    }
    let other = http.get(at("/appels?carte=cps-medecin")).send().unwrap().text().unwrap();
    assert!(!other.contains("/oauth2/token"), "the calls of one card alone");
}

#[test]
fn each_page_speaks_two_languages() {
    let world = World::start(Engine::Sqlite);
    let http = reqwest::blocking::Client::new();
    let ask = |path: &str, headers: &[(&str, &str)]| {
        let mut request = http.get(format!("http://{}{path}", world.listening.portal));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().unwrap()
    };
    let of = |path: &str, headers: &[(&str, &str)]| {
        let page = ask(path, headers).text().unwrap();
        if page.contains("<html lang=\"en\">") { "en" } else { "fr" }
    };
    for path in [
        "/",
        "/cartes",
        "/patients",
        "/homologation",
        "/appels",
        "/docs",
        "/droits",
        "/droits/matrice",
        "/errors",
        "/etat",
    ] {
        assert_eq!(of(path, &[]), "fr", "{path}");
        assert_eq!(of(path, &[("Accept-Language", "en-GB,fr;q=0.5")]), "en", "{path}");
        assert_eq!(of(path, &[("Accept-Language", "en"), ("Cookie", "lang=fr")]), "fr", "{path}");
        assert_eq!(of(&format!("{path}?lang=en"), &[("Cookie", "lang=fr")]), "en", "{path}");
        let policy = ask(path, &[]).headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{path}: {policy}");
    }
    let cookie = ask("/?lang=en", &[]).headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("lang=en"), "{cookie}");
}
