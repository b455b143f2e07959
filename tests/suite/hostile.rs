//! Hostile mode: a client that sends the same again loses nothing and has nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use habilis::api::hostile::Hostile;
use habilis::sandbox::example::Example;

use crate::on_both_engines;
use crate::support::{Client, Engine, OTHER, Options, TEST, World, pki_copy, tls_config};

on_both_engines!(who_sends_again_has_all_of_it_once);

const LATE: Duration = Duration::from_millis(250);

/// Sends until it is taken, and counts what came before.
fn fed(world: &World, client: &mut Client, unique_id: &str, seen: &mut BTreeMap<&'static str, u32>) {
    let json = [("Content-Type", "application/fhir+json")];
    let body = Example::new(TEST, OTHER, "OUVERT", unique_id).transaction();
    for _ in 0..50 {
        let begun = Instant::now();
        let kind = match client.send("POST", "", &json, Some(body.clone())) {
            Err(_) => {
                *client = world.client("cps-medecin");
                "cut"
            }
            Ok(answer) => {
                assert_eq!(answer.header("x-habilis-hostile"), "60");
                match answer.status {
                    200 if begun.elapsed() >= LATE => "late",
                    200 => "taken",
                    429 | 503 => {
                        assert!(answer.header("retry-after").parse::<u32>().is_ok());
                        assert!(answer.text().contains("OperationOutcome"));
                        if answer.status == 429 { "429" } else { "503" }
                    }
                    status => panic!("{status}: {}", answer.text()),
                }
            }
        };
        *seen.entry(kind).or_default() += 1;
        if matches!(kind, "late" | "taken") {
            return;
        }
    }
    panic!("{unique_id} is never taken");
}

fn who_sends_again_has_all_of_it_once(engine: Engine) {
    let hostile = Some(Hostile { share: 60, late: LATE });
    let world = World::start_with(engine, Options { hostile, ..Options::default() });
    let (mut client, mut seen) = (world.client("cps-medecin"), BTreeMap::new());
    let before = world.rows("document");
    for number in 0..40 {
        fed(&world, &mut client, &format!("2.25.5300{number}"), &mut seen);
    }
    assert_eq!(world.rows("document"), before + 40, "{seen:?}");
    for kind in ["cut", "late", "taken", "429", "503"] {
        assert!(seen.contains_key(kind), "{kind}: {seen:?}");
    }
    // What was cut was done, and has its trace: of those that were sent again some are answered as the first time.
    let traces = world.traces();
    let again = traces.iter().filter(|trace| trace.rule.contains("fed before, byte for byte")).count();
    assert_eq!(again as u32, seen["cut"], "{seen:?}");
    let refused = traces.iter().filter(|trace| [429, 503].contains(&trace.status)).count();
    assert_eq!(refused as u32, seen["429"] + seen["503"], "each has its trace");
}

#[test]
fn nobody_is_troubled_unless_it_is_asked_for() {
    let world = World::start(Engine::Sqlite);
    let answer = world.client("cps-medecin").get("/metadata");
    assert!(answer.headers.get("x-habilis-hostile").is_none());
}

/// What hostile mode answers instead of an operation is not judged, and nothing else is left out.
#[test]
fn the_kit_knows_what_was_made_up() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = Some(Hostile { share: 60, late: Duration::ZERO });
    let certs = Some(pki_copy(folder.path()));
    let world = World::start_with(Engine::Sqlite, Options { hostile, certs, ..Options::default() });
    let form = [("name", "X"), ("software", "X"), ("profile", "X")];
    let http = reqwest::blocking::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let opened =
        http.post(format!("http://{}/homologation", world.listening.portal)).form(&form).send().unwrap();
    assert!(opened.status().is_success(), "{}", opened.status());
    for number in 0..80 {
        let path = if number % 2 == 0 { "/metadata" } else { "/Patient/none" };
        // Some are cut.
        let _ = world.client("r0001-cps-medecin").send("GET", path, &[], None);
    }
    let calls = std::fs::read_to_string(world.data.join("homologation/calls.jsonl")).unwrap();
    let calls: Vec<serde_json::Value> = calls.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(calls.len(), 80);
    let made_up = |call: &&serde_json::Value| call["made_up"] == true;
    assert!(calls.iter().filter(made_up).count() > 0);
    for call in &calls {
        let instead = matches!(call["status"].as_u64(), Some(429 | 503));
        assert_eq!(call["made_up"] == true, instead, "{call}");
    }
}

/// The certificate that the server shows in a handshake.
fn certificate_shown(world: &World) -> Vec<u8> {
    let config = Arc::new(tls_config(&world.certs, Some("cps-medecin")));
    let mut session = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut socket = std::net::TcpStream::connect(world.listening.api).unwrap();
    session.complete_io(&mut socket).unwrap();
    session.peer_certificates().unwrap()[0].to_vec()
}

/// Ten handshakes show one certificate, ten another, both of the same name and authorities; and an answer's `Date` may be wrong.
#[test]
fn the_certificate_is_renewed_and_the_clock_is_wrong() {
    let hostile = Some(Hostile { share: 90, late: Duration::ZERO });
    let folder = tempfile::tempdir().unwrap();
    let certs = Some(pki_copy(folder.path()));
    let world = World::start_with(Engine::Sqlite, Options { hostile, certs, ..Options::default() });
    let (mut shown, mut skewed) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..200 {
        shown.insert(certificate_shown(&world));
        if let Ok(answer) = world.client("cps-medecin").send("GET", "/metadata", &[], None) {
            let date = jiff::fmt::rfc2822::parse(answer.header("date")).unwrap().timestamp();
            let off = date.duration_since(habilis::environment::Environment::system().now()).as_secs();
            assert!(off.abs() < 60 || (off.abs() - 600).abs() < 60, "{off}");
            skewed.insert((off / 300).signum());
        }
    }
    assert_eq!(shown.len(), 2, "two certificates");
    assert_eq!(skewed, BTreeSet::from([-1, 0, 1]), "slow, right, fast");
}
