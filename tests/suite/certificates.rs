//! Certificates at the door: each bad one is refused on each endpoint, for the right reason in the trace; each good one is
//! let in.

use std::time::{Duration, Instant};

use habilis::store::TraceRow;

use crate::support::bad_certificates::{bad, good};
use crate::support::{Client, Engine, World, assert_expected};

/// The trace of a handshake that failed a moment ago, if the verifier was asked at all.
fn handshake_trace(world: &World, before: usize) -> Option<TraceRow> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        let found = world.traces().into_iter().skip(before).find(|trace| trace.operation == "TLS handshake");
        if found.is_some() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

#[test]
fn every_bad_certificate_is_refused_for_the_right_reason() {
    let world = World::start(Engine::Sqlite);
    let target = super::refusals::target(&world, "2.25.300");
    let cases = bad(&world.certs);
    assert!(cases.len() >= 60, "{} bad certificates", cases.len());
    let mut table = String::from(
        "# Bad certificates: how each is refused, and the rule in the trace. A handshake without a rule is one that TLS\n\
         # itself refused before the certificate was looked at.\n",
    );
    let operations = super::openapi::operations();
    for case in &cases {
        let before = world.traces().len();
        let client = Client::presenting(&world.certs, &case.chain, &case.key, world.listening.api.port());
        let outcome = match client.send("GET", "/metadata", &[], None) {
            Err(_) => {
                let trace = handshake_trace(&world, before);
                let rule = trace.map_or("-".to_owned(), |trace| {
                    assert_eq!((trace.outcome.as_str(), trace.status), ("refused", 0));
                    trace.rule
                });
                format!("handshake {rule}")
            }
            Ok(answer) => {
                answer.assert_refused(401, "DMPInvalidCertificate", "");
                let trace = world.traces_of(answer.request_id()).remove(0);
                // Whatever is asked for, the answer is the same.
                for (position, (_, _, operation)) in operations.iter().enumerate() {
                    let unique_id = format!("2.25.301.{position}");
                    let answer = super::refusals::request(&client, operation, &target, &unique_id).unwrap();
                    answer.assert_refused(401, "DMPInvalidCertificate", "");
                    let other = world.traces_of(answer.request_id()).remove(0);
                    assert_eq!((&other.rule, &other.outcome), (&trace.rule, &trace.outcome), "{operation}");
                }
                let why = answer.json()["issue"][0]["diagnostics"].as_str().unwrap().to_owned();
                format!("401 {} | {why}", trace.rule)
            }
        };
        table.push_str(&format!("{:<46} {outcome}\n", case.name));
    }
    assert_expected("bad_certificates.txt", &table);
}

/// The control: without good ones a server that refuses everybody would pass.
#[test]
fn every_good_certificate_is_let_in() {
    let world = World::start(Engine::Sqlite);
    let target = super::refusals::target(&world, "2.25.310");
    let operations = super::openapi::operations();
    for case in good(&world.certs) {
        let client = Client::presenting(&world.certs, &case.chain, &case.key, world.listening.api.port());
        for (position, (_, _, operation)) in operations.iter().enumerate() {
            let unique_id = format!("2.25.311.{}.{position}", case.name.len());
            let answer = super::refusals::request(&client, operation, &target, &unique_id)
                .unwrap_or_else(|error| panic!("{}: {error}", case.name));
            let refused = answer.text().contains("DMPInvalidCertificate");
            assert!(!refused, "{} {operation}: {}", case.name, answer.text());
            let trace = world.traces_of(answer.request_id()).remove(0);
            assert!(!trace.rule.contains("UnsuitableCertificate"), "{}: {}", case.name, trace.rule);
        }
    }
}

/// What the certificate says is who the trace names: names and numbers, whatever the order inside the name.
#[test]
fn the_trace_names_the_holder() {
    let world = World::start(Engine::Sqlite);
    for (card, kind, id) in [
        ("cps-medecin", "CPS", "810100000016"),
        ("cpf-interne", "CPF", "810100000107"),
        ("cpe-secretaire", "CPE", "3750000101/CPE0001"),
        ("cpe-service", "CPE", "3750000101/000000018"),
        ("cpa-support", "CPA", "500000000029751/CPA0001"),
        ("org-hopital", "certificate", "1750000010"),
    ] {
        let answer = world.client(card).get("/metadata");
        let trace = world.traces_of(answer.request_id()).remove(0);
        assert_eq!((trace.caller_kind.as_str(), trace.caller_id.as_str()), (kind, id), "{card}");
        assert!(trace.certificate.starts_with("TEST AC IGC-SANTE "), "{}", trace.certificate);
    }
}

/// Headers by which a proxy would speak of a certificate are read by nobody.
#[test]
fn forged_proxy_headers_say_nothing() {
    let world = World::start(Engine::Sqlite);
    let pem = std::fs::read_to_string(world.certs.join("cps-medecin.pem")).unwrap().replace('\n', "%0A");
    let organisation = world.client("org-hopital");
    for name in [
        "X-Client-Cert",
        "X-SSL-Client-Cert",
        "X-Forwarded-Client-Cert",
        "Client-Cert",
        "X-ARR-ClientCert",
        "X-SSL-Client-S-DN",
    ] {
        let patient = format!("/Patient?identifier={}%7C{}", crate::support::TEST, crate::support::OTHER);
        let answer = organisation.send("GET", &patient, &[(name, &pem[..2000])], None).unwrap();
        answer.assert_refused(401, "", "who acts");
        let trace = world.traces_of(answer.request_id()).remove(0);
        assert_eq!(trace.caller_id, "1750000010", "{name}");
    }
    let forwarded =
        [("X-Forwarded-For", "10.0.0.1"), ("Forwarded", "for=10.0.0.1"), ("X-User", "810100000016")];
    let answer = world.client("cpe-secretaire").send("GET", "/metadata", &forwarded, None).unwrap();
    assert_eq!(world.traces_of(answer.request_id()).remove(0).caller_id, "3750000101/CPE0001");
}
