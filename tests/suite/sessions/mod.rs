//! Sessions: who may open one, what it binds, what it is good for.

mod assertions;
mod pro_sante_connect;

use habilis::environment::Clock;
use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::{Answer, Client, Engine, FHIR_JSON, OTHER, Options, PATIENT, TEST, World};

on_both_engines!(a_stolen_token_is_worth_nothing, an_emergency_session_opens_one_record,);

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub fn issuer(world: &World) -> String {
    format!("https://localhost:{}", world.listening.api.port())
}

pub fn now(world: &World) -> i64 {
    world.clock.now().as_second()
}

/// A refusal of the token endpoint: OAuth error and OperationOutcome in one.
#[track_caller]
pub fn assert_error(answer: &Answer, status: u16, error: &str, phrase: &str) {
    let code = match status {
        403 => "DMPAccessForbidden".to_owned(),
        _ => answer.code(),
    };
    answer.assert_refused(status, &code, phrase);
    assert_eq!(answer.json()["error"], error, "{}", answer.text());
    assert!(answer.json()["error_description"].as_str().unwrap().contains(phrase), "{}", answer.text());
}

pub fn open(client: &Client, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend_from_slice(more);
    client.ask_token(&form)
}

pub fn exists(client: &Client) -> Answer {
    client.get(&format!("/Patient?identifier={TEST}%7C{OTHER}"))
}

fn a_stolen_token_is_worth_nothing(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    let token = open(&doctor, &[]).token();
    assert_eq!(exists(&doctor.with_token(&token)).status, 200, "control");
    for thief in ["cps-medecin-b", "org-hopital", "cpe-secretaire"] {
        let answer = exists(&world.client(thief).with_token(&token));
        answer.assert_refused(401, "", "another certificate");
        assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"");
        let trace = world.traces_of(answer.request_id()).remove(0);
        assert!(trace.rule.starts_with("TokenNotBound: RFC"), "{}", trace.rule);
        assert_ne!(trace.caller_id, "810100000016", "the thief is traced, not the victim");
    }
    // Altered, of another key, of another algorithm, not one at all.
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0";
    let flipped: String = signature.chars().rev().collect();
    for forged in [
        format!("{head}.{body}.{flipped}"),
        format!("{none}.{body}."),
        format!("{none}.{body}.{signature}"),
        format!("{head}.{}.{signature}", body.replace('A', "B")),
        "x".to_owned(),
        "x".repeat(20_000),
        pro_sante_connect::sign_in(&world, "claire.bernard"),
    ] {
        let answer = exists(&doctor.with_token(&forged));
        if forged.len() > 10_000 && answer.status == 431 {
            continue;
        }
        answer.assert_refused(401, "", "not an access token of this server");
    }
    let basic = doctor.send("GET", "/metadata", &[("Authorization", "Basic eDp5")], None).unwrap();
    assert_eq!(basic.status, 200, "what concerns no record asks for no token");
    let twice = doctor.with_token(&token).send(
        "GET",
        &format!("/Patient?identifier={TEST}%7C{OTHER}"),
        &[("Authorization", "Bearer x")],
        None,
    );
    twice.unwrap().assert_refused(401, "", "");
    // A certificate that is of no use does not become one by a token.
    let answer = exists(&world.client("org-hopital-ssl").with_token(&token));
    answer.assert_refused(401, "DMPInvalidCertificate", "SSL server certificate");
    world.clock.advance_seconds(3600);
    exists(&doctor.with_token(&token)).assert_refused(401, "", "has expired");
}

fn an_emergency_session_opens_one_record(engine: Engine) {
    let world = World::start(engine);
    let (document, _) = super::refusals::fed(&world, "2.25.410");
    let other = world.client("cps-medecin-b");
    let patient = format!("{TEST}|{OTHER}");
    for (form, phrase) in [
        (vec![("purpose_of_use", "bris_de_glace")], "motif"),
        (vec![("purpose_of_use", "bris_de_glace"), ("motif", "inconscient")], "patient"),
        (vec![("purpose_of_use", "bris_de_glace"), ("motif", "  "), ("patient", &patient)], "motif"),
        (vec![("purpose_of_use", "urgence")], "purpose_of_use"),
        (vec![("patient", "urn:oid:1.2.250.1.213.1.4.9|279035121518989")], "NIA"),
    ] {
        let answer = open(&other, &form);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains(phrase), "{phrase}: {}", answer.text());
    }
    let opened =
        open(&other, &[("purpose_of_use", "bris_de_glace"), ("motif", "inconscient"), ("patient", &patient)]);
    let token = opened.token();
    let emergency = other.with_token(&token);
    other.get(&format!("/DocumentReference/{document}")).assert_refused(404, "", "no such resource");
    assert_eq!(emergency.get(&format!("/DocumentReference/{document}")).status, 200);
    assert_eq!(emergency.find(OTHER).found().0, 1);
    assert_eq!(exists(&emergency).status, 200);
    // One record, by whichever way.
    for answer in [
        emergency.find(PATIENT),
        emergency.get(&format!("/Patient?identifier={TEST}%7C{PATIENT}")),
        emergency.post("/Consent", habilis::sandbox::example::consent(TEST, PATIENT)),
        emergency.post("/DocumentReference", Example::new(TEST, PATIENT, "PAT-TROIS", "2.25.411").single()),
    ] {
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(
            answer.text().contains("another record") || answer.text().contains("sheet"),
            "{}",
            answer.text()
        );
    }
    let elsewhere = world.client("cps-medecin");
    let single =
        elsewhere.post("/DocumentReference", Example::new(TEST, PATIENT, "PAT-TROIS", "2.25.412").single());
    let id = single.json()["id"].as_str().unwrap().to_owned();
    emergency.get(&format!("/DocumentReference/{id}")).assert_refused(404, "", "no such resource");
    // Opening and reading stand in the trace, with mode, reason and record.
    let opening = world.traces_of(opened.request_id()).remove(0);
    assert_eq!((opening.mode.as_str(), opening.motif.as_deref()), ("bris_de_glace", Some("inconscient")));
    assert!(opening.record_id.is_some() && opening.rule.contains("TD0.1 authenticate"), "{opening:?}");
    let reading = world
        .traces()
        .into_iter()
        .rfind(|trace| trace.outcome == "granted" && trace.operation == "TD3.1 find documents")
        .unwrap();
    assert_eq!((reading.mode.as_str(), reading.motif.as_deref()), ("bris_de_glace", Some("inconscient")));
    assert_eq!(reading.session_id, opening.session_id);
    // Who has no such mode, and a patient who is opposed.
    let staff = open(
        &world.client("cpe-secretaire"),
        &[("purpose_of_use", "bris_de_glace"), ("motif", "x"), ("patient", &patient)],
    );
    assert_error(&staff, 403, "access_denied", "professionals");
    assert_eq!(world.traces_of(staff.request_id()).remove(0).caller_id, "3750000101/CPE0001");
    assert_error(&open(&world.client("cpa-support"), &[]), 403, "access_denied", "CPA");
    let opposed = format!("{TEST}|155127599900576");
    let token =
        open(&other, &[("purpose_of_use", "bris_de_glace"), ("motif", "x"), ("patient", &opposed)]).token();
    other.with_token(&token).find("155127599900576").assert_refused(403, "DMPAccessForbidden", "opposed");
    // No record, and the token request does not say so.
    let none = format!("{TEST}|172047599900387");
    assert_eq!(
        open(&other, &[("purpose_of_use", "bris_de_glace"), ("motif", "x"), ("patient", &none)]).status,
        200
    );
}

#[test]
fn centre_15_is_for_regulating_doctors() {
    let world = World::start(Engine::Sqlite);
    let regulating = open(&world.client("cps-regulateur"), &[("purpose_of_use", "centre_15")]);
    let client = world.client("cps-regulateur").with_token(&regulating.token());
    let (document, _) = super::refusals::fed(&world, "2.25.420");
    assert_eq!(client.get(&format!("/DocumentReference/{document}")).status, 200);
    let trace = world.traces().pop().unwrap();
    assert_eq!((trace.mode.as_str(), trace.caller_structure.as_deref()), ("centre_15", Some("1750000028")));
    for card in ["cps-medecin", "cps-infirmier", "cpe-secretaire"] {
        assert_error(
            &open(&world.client(card), &[("purpose_of_use", "centre_15")]),
            403,
            "access_denied",
            "regulating",
        );
    }
    let elsewhere =
        open(&world.client("cps-medecin"), &[("purpose_of_use", "centre_15"), ("structure", "1750000028")]);
    assert_error(&elsewhere, 403, "access_denied", "no activity");
}

#[test]
fn a_token_is_for_the_transactions_that_it_names() {
    let world = World::start(Engine::Sqlite);
    let doctor = world.client("cps-medecin");
    let answer = open(&doctor, &[("scope", "openid TD0.2 ITI-67")]);
    assert_eq!(answer.json()["scope"], "TD0.2 ITI-67", "what was granted is said");
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert_eq!(answer.header("cache-control"), "no-store");
    let narrow = doctor.with_token(&answer.token());
    assert_eq!(exists(&narrow).status, 200);
    let fed = narrow.post("/DocumentReference", Example::new(TEST, OTHER, "OUVERT", "2.25.430").single());
    fed.assert_refused(403, "DMPAccessForbidden", "scope does not hold ITI-105");
    assert_eq!(fed.header("www-authenticate"), "Bearer error=\"insufficient_scope\"");
    assert_error(&open(&doctor, &[("scope", "openid profile")]), 400, "invalid_scope", "scope is some of");
    assert_error(&doctor.ask_token(&[("grant_type", "password")]), 400, "unsupported_grant_type", "grant_type");
    assert_error(&doctor.ask_token(&[]), 400, "invalid_request", "grant_type");
    let twice =
        doctor.ask_token(&[("grant_type", "client_credentials"), ("scope", "TD0.2"), ("scope", "ITI-67")]);
    assert_error(&twice, 400, "invalid_request", "more than once");
    let url = doctor.at_root("/oauth2/token?grant_type=client_credentials");
    let in_url = doctor.send(
        "POST",
        &url,
        &[("Content-Type", "application/x-www-form-urlencoded")],
        Some(String::new()),
    );
    assert_error(&in_url.unwrap(), 400, "invalid_request", "not into the URL");
}

#[test]
fn a_structure_is_one_where_the_professional_exercises() {
    let world = World::start(Engine::Sqlite);
    let doctor = world.client("cps-medecin");
    let token = open(
        &doctor,
        &[("structure", "1750000101"), ("secteur_activite", "SA07"), ("situation_exercice", "10C")],
    )
    .token();
    let answer = exists(&doctor.with_token(&token));
    assert_eq!(world.traces_of(answer.request_id()).remove(0).caller_structure.as_deref(), Some("1750000101"));
    assert_error(&open(&doctor, &[("structure", "1750000028")]), 403, "access_denied", "no activity");
    assert_error(&open(&doctor, &[("situation_exercice", "21C")]), 403, "access_denied", "situation_exercice");
    assert_error(&open(&doctor, &[("secteur_activite", "07")]), 400, "invalid_request", "TRE_R02");
    let staff = world.client("cpe-secretaire");
    assert_eq!(open(&staff, &[("structure", "1750000101")]).status, 200);
    assert_error(&open(&staff, &[("structure", "1750000010")]), 403, "access_denied", "that of the card");
    // The section of a pharmacist stands on no card; a doctor's speciality does.
    let pharmacist = world.client("cps-pharmacien");
    assert_error(&open(&pharmacist, &[]), 400, "invalid_request", "TRE_G05");
    assert_eq!(open(&pharmacist, &[("specialite", "A")]).status, 200);
    assert_error(&open(&doctor, &[("specialite", "SM99")]), 400, "invalid_request", "SM26");
}

pub fn claims_of(token: &str) -> Value {
    use base64::Engine;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn introspection_and_discovery_describe_what_is_there() {
    let world = World::start(Engine::Sqlite);
    let doctor = world.client("cps-medecin");
    let token = open(&doctor, &[("scope", "TD0.2")]).token();
    let read = doctor.ask_introspection(&token);
    assert_eq!(
        (&read["active"], &read["scope"], &read["sub"]),
        (&json!(true), &json!("TD0.2"), &json!("810100000016"))
    );
    assert_eq!(claims_of(&token)["cnf"], read["cnf"]);
    let thief = world.client("cps-medecin-b").ask_introspection(&token);
    assert_eq!(thief, json!({ "active": false }), "to others it does not exist");
    assert_eq!(doctor.ask_introspection("nonsense"), json!({ "active": false }));
    let discovery = doctor.get("/.well-known/smart-configuration").json();
    assert_eq!(discovery, doctor.get(&doctor.at_root("/.well-known/smart-configuration")).json());
    assert_eq!(discovery["issuer"], issuer(&world));
    assert_eq!(discovery["token_endpoint"], doctor.at_root("/oauth2/token"));
    assert_eq!(discovery["tls_client_certificate_bound_access_tokens"], true);
    // The keys verify the token, by whoever wants to.
    let keys = doctor.get(discovery["jwks_uri"].as_str().unwrap()).json();
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(keys.find(header.kid.as_ref().unwrap()).unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&[issuer(&world)]);
    assert!(jsonwebtoken::decode::<Value>(&token, &key, &validation).is_ok());
}

#[test]
fn software_is_known_marked_or_refused() {
    use habilis::identity::software::Unregistered;
    let marking = World::start(Engine::Sqlite);
    let doctor = marking.client("cps-medecin");
    let named = |name, version, id| [("lps_nom", name), ("lps_version", version), ("lps_id_homologation", id)];
    let token = open(&doctor, &named("Inconnu", "1", "X-1")).token();
    let answer = exists(&doctor.with_token(&token));
    let trace = marking.traces_of(answer.request_id()).remove(0);
    assert_eq!(trace.software.as_deref(), Some("Inconnu 1 X-1 (unregistered)"));
    let feeds = open(&doctor, &named("Alimenteur de démonstration", "1.0", "DEMO-DMP-0002"));
    assert_eq!(
        feeds.json()["scope"],
        "TD0.2 ITI-65 ITI-105 TD1.3a TD3.1b TD3.3",
        "its profile is Alimentation"
    );
    let suspended = open(&doctor, &named("Logiciel suspendu", "1.0", "DEMO-DMP-0003"));
    assert_error(&suspended, 403, "unauthorized_client", "suspended");
    let dodging = open(&doctor, &named("Logiciel suspendu", "0.1", "DEMO-DMP-0003"));
    assert_error(&dodging, 403, "unauthorized_client", "suspended");
    assert!(marking.traces_of(dodging.request_id()).remove(0).software.unwrap().contains("DEMO-DMP-0003"));
    let other = open(&doctor, &named("Alimenteur de démonstration", "0.1", "DEMO-DMP-0002"));
    assert_eq!(
        other.json()["scope"],
        "TD0.2 ITI-65 ITI-105 TD1.3a TD3.1b TD3.3",
        "another version gives no more"
    );
    let refusing = World::start_with(
        Engine::Sqlite,
        Options { unregistered: Unregistered::Refused, ..Options::default() },
    );
    let doctor = refusing.client("cps-medecin");
    assert_error(&open(&doctor, &named("Inconnu", "1", "X-1")), 403, "unauthorized_client", "no software");
    exists(&doctor).assert_refused(403, "DMPAccessForbidden", "registry");
    let token = open(&doctor, &named("Logiciel de démonstration", "1.0", "DEMO-DMP-0001")).token();
    assert_eq!(exists(&doctor.with_token(&token)).status, 200);
    assert_eq!(doctor.get("/metadata").status, 200, "what the server is may be asked by anybody");
}

#[test]
fn budgets_are_each_callers_own_and_searching_never_blocks_feeding() {
    use habilis::api::limits::{Allowance, Budgets};
    for shared in [false, true] {
        let budgets = Budgets {
            search: Allowance::new(3, 3),
            token: Allowance::new(2, 2),
            read: Allowance::new(100, 100),
            feed: Allowance::new(100, 100),
            shared,
        };
        let world = World::start_with(Engine::Sqlite, Options { budgets: Some(budgets), ..Options::default() });
        let doctor = world.client("cps-medecin");
        let mut spent = None;
        for _ in 0..8 {
            let answer = exists(&doctor);
            if answer.status == 429 {
                spent = Some(answer);
                break;
            }
            assert_eq!(answer.status, 200);
        }
        let spent = spent.expect("the budget is spent");
        spent.assert_refused(429, "DMPAccessDeniedByExcededThreshold", "search budget");
        let wait: u64 = spent.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        let trace = world.traces_of(spent.request_id()).remove(0);
        assert!(trace.rule.contains("EX_3.1-2035"), "{}", trace.rule);
        // Feeding, reading, another caller: as ever.
        let fed = doctor.send(
            "POST",
            "/DocumentReference",
            &[("Content-Type", FHIR_JSON)],
            Some(Example::new(TEST, OTHER, "OUVERT", "2.25.450").single()),
        );
        assert_eq!(fed.unwrap().status, 201);
        assert_eq!(doctor.get("/metadata").status, 200);
        assert_eq!(exists(&world.client("cps-medecin-b")).status, 200);
        // A token does not give a second budget.
        let token = open(&doctor, &[]).token();
        assert_eq!(exists(&doctor.with_token(&token)).status, 429, "shared {shared}");
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(open(&doctor, &[]).status);
        }
        assert!(statuses.contains(&429), "{statuses:?}");
    }
}

#[test]
fn a_secret_connection_deposits_nothing_that_representatives_see() {
    let world = World::start(Engine::Sqlite);
    let doctor = world.client("cps-medecin");
    let minor = "217057599900827";
    let secret = doctor.with_token(&open(&doctor, &[("connexion_secrete", "true")]).token());
    let plain = Example::new(TEST, minor, "MINEURE", "2.25.460");
    let refused = secret.post("/DocumentReference", plain.single());
    refused.assert_refused(422, "XDSRegistryMetadataError", "INVISIBLE_REPRESENTANTS_LEGAUX");
    let hidden = Example {
        labels: &["N", "INVISIBLE_REPRESENTANTS_LEGAUX"],
        ..Example::new(TEST, minor, "MINEURE", "2.25.461")
    };
    assert_eq!(secret.post("/DocumentReference", hidden.single()).status, 201);
    assert_eq!(doctor.post("/DocumentReference", plain.single()).status, 201, "control: no secret connection");
    let staff = open(&world.client("cpe-secretaire"), &[("connexion_secrete", "true")]);
    assert_error(&staff, 403, "access_denied", "secret connection");
    assert_error(&open(&doctor, &[("connexion_secrete", "oui")]), 400, "invalid_request", "true or false");
}

#[test]
fn nodes_that_share_budgets_count_together() {
    use habilis::api::limits::{Allowance, Budgets};
    for (shared, expected) in [(true, 6), (false, 12)] {
        let budgets = Budgets { search: Allowance::new(6, 6), shared, ..Budgets::default() };
        let world = World::start_with(Engine::Sqlite, Options { budgets: Some(budgets), ..Options::default() });
        let second = world.second_node();
        let mut served = 0;
        for _ in 0..8 {
            for node in [&world, &second] {
                served += usize::from(exists(&node.client("cps-medecin")).status == 200);
            }
        }
        // A minute may begin meanwhile, and a local budget grows by one in ten seconds.
        assert!((expected..=expected + 6).contains(&served), "shared {shared}: {served}");
        if !shared {
            assert!(served >= 12, "each node has its own");
        }
    }
}

/// A refusal that no budget pays is a durable trace all the same: one certificate gets so many a minute.
#[test]
fn refusals_come_at_their_own_pace() {
    use habilis::api::limits::Budgets;
    let answered = |budgets: Option<Budgets>| {
        let world = World::start_with(Engine::Sqlite, Options { budgets, ..Options::default() });
        let forger = world.client("cps-medecin").with_token("x");
        let begun = std::time::Instant::now();
        let mut answered = 0;
        while begun.elapsed().as_secs() < 3 && answered < 400 {
            exists(&forger).assert_refused(401, "", "not an access token");
            answered += 1;
        }
        // Another certificate does not wait.
        assert_eq!(exists(&world.client("cps-medecin-b")).status, 200);
        answered
    };
    let held = answered(Some(Budgets::default()));
    assert!((120..=140).contains(&held), "{held}");
    let free = answered(None);
    assert!(free > 200, "control: {free}");
}
