//! Kill -9 under load: nothing acknowledged is lost, no answer is without its trace. The control answers before the
//! commit, and must fail.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use habilis::sandbox::example::Example;
use habilis::store::{DatabaseConnection, DatabaseUrl, TraceRow};

use crate::support::{Client, DatabaseOfTest, Engine, OTHER, Process, TEST, shared_pki};

/// What was acknowledged.
#[derive(Default)]
struct Ledger {
    /// Unique id and request id of each feed.
    fed: Vec<(String, String)>,
    /// Request id of each read.
    read: Vec<String>,
}

/// What is missing after the restart: documents, traces.
fn lost(engine: Engine, fault: Option<&str>, rounds: u32) -> (usize, usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let database = DatabaseOfTest::new(engine, folder.path());
    let (next, ledger) = (AtomicU32::new(0), Mutex::new(Ledger::default()));
    for round in 0..rounds {
        let mut server = Process::start(&data, &database.url, fault);
        let client = Client::new(shared_pki(), Some("cps-medecin"), server.port);
        client.authorise(OTHER);
        let (stop, child) = (AtomicBool::new(false), &mut server.child);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let client = Client::new(shared_pki(), Some("cps-medecin"), server.port);
                    while !stop.load(Ordering::SeqCst) {
                        let unique_id = format!("2.25.4000.{}", next.fetch_add(1, Ordering::SeqCst));
                        let body = Example::new(TEST, OTHER, "OUVERT", &unique_id).transaction();
                        let json = [("Content-Type", "application/fhir+json")];
                        let Ok(answer) = client.send("POST", "", &json, Some(body)) else { return };
                        if answer.status == 200 {
                            ledger.lock().unwrap().fed.push((unique_id, answer.request_id().to_owned()));
                        }
                        let path = format!(
                            "/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&_count=2"
                        );
                        let Ok(answer) = client.send("GET", &path, &[], None) else { return };
                        if answer.status == 200 {
                            ledger.lock().unwrap().read.push(answer.request_id().to_owned());
                        }
                    }
                });
            }
            // Another moment each round.
            std::thread::sleep(Duration::from_millis(250 + 70 * u64::from(round)));
            child.kill().unwrap();
            child.wait().unwrap();
            stop.store(true, Ordering::SeqCst);
        });
    }
    let mut server = Process::start(&data, &database.url, None);
    let client = Client::new(shared_pki(), Some("cps-medecin"), server.port);
    let url = DatabaseUrl::parse(&database.url).unwrap();
    let traces = TraceRow::all(&mut DatabaseConnection::open_for_reading(&url).unwrap()).unwrap();
    let traced: std::collections::HashSet<&str> =
        traces.iter().map(|trace| trace.request_id.as_str()).collect();
    let ledger = ledger.into_inner().unwrap();
    let mut documents = 0;
    for (unique_id, _) in &ledger.fed {
        let path = format!(
            "/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&identifier=urn:oid:{unique_id}"
        );
        let found = client.get(&path);
        if found.found().0 == 0 {
            documents += 1;
            continue;
        }
        let bytes = client.get(&found.first_attachment());
        assert_eq!(bytes.text(), Example::new(TEST, OTHER, "OUVERT", unique_id).cda(), "whole or not at all");
    }
    let answered = ledger.fed.iter().map(|(_, id)| id).chain(&ledger.read);
    let untraced = answered.filter(|id| !traced.contains(id.as_str())).count();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    (ledger.fed.len(), documents, untraced)
}

fn nothing_acknowledged_is_lost(engine: Engine) {
    let (acknowledged, documents, untraced) = lost(engine, None, 4);
    println!("{acknowledged} feeds acknowledged");
    assert!(acknowledged > 20, "control: there was load ({acknowledged})");
    assert_eq!((documents, untraced), (0, 0), "lost documents, answers without a trace, of {acknowledged}");
}

#[test]
fn nothing_acknowledged_is_lost_on_sqlite() {
    nothing_acknowledged_is_lost(Engine::Sqlite);
}

#[test]
fn nothing_acknowledged_is_lost_on_postgres() {
    nothing_acknowledged_is_lost(Engine::Postgres);
}

#[test]
fn control_a_server_that_answers_before_it_commits_fails_this_test() {
    let (acknowledged, documents, untraced) = lost(Engine::Sqlite, Some("acknowledge-before-commit"), 4);
    assert!(acknowledged > 0);
    assert!(
        documents > 0 || untraced > 0,
        "{documents} documents and {untraced} traces lost of {acknowledged}"
    );
}
