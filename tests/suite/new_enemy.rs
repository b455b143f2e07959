//! New enemies: once the patient's decision is acknowledged, no read is granted against it, over whichever connection and on whichever
//! node. A server that remembers for a second what it knows of a record fails the same test.
//!
//! `HABILIS_ROUNDS=100000 scripts/test new_enemy` plays as many rounds as one likes.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::{Client, DatabaseOfTest, Engine, PatientSide, Process, TEST, World, shared_pki};

on_both_engines!(no_new_enemy);

/// One record for each thread: fixtures that are open and attached.
const RECORDS: [&str; 4] = ["279035121518989", "185067599900166", "155127599900576", "248037599900630"];
const READER: &str = "810100000040";

/// What a patient decides, and how he undoes it.
#[derive(Clone, Copy, Debug)]
enum Decision {
    Mask,
    Block,
    Close,
    /// The professional takes back his own authorisation.
    Withdraw,
    MaskAll,
}

const DECISIONS: [Decision; 5] =
    [Decision::Mask, Decision::Block, Decision::Close, Decision::Withdraw, Decision::MaskAll];

/// One record's thread: its patient, its reader on each node, and the version at which the record stands.
struct Round<'a> {
    ins: &'a str,
    patient: PatientSide,
    record: String,
    version: i64,
    document: String,
    /// The reader's connection, on each node; the first is the one that it declares over.
    readers: Vec<Client>,
    consent: String,
    /// The server remembers refusals as well: the control waits them out.
    remembers: bool,
}

impl<'a> Round<'a> {
    fn begin(ins: &'a str, ports: &[u16], remembers: bool) -> Self {
        let client = |card: &str, port: u16| Client::new(shared_pki(), Some(card), port);
        let patient = PatientSide::over(client("org-mes", ports[0]));
        let author = client("cps-medecin-b", ports[0]);
        let unique_id = format!("2.25.800.{ins}");
        let example = habilis::sandbox::example::Example::new(TEST, ins, "X", &unique_id);
        let fed = author.post("/DocumentReference", example.single());
        assert!(fed.status == 201, "{}", fed.text());
        let record = patient.record(ins);
        let readers = ports.iter().map(|port| client("cps-infirmier", *port)).collect();
        let document = fed.json()["id"].as_str().unwrap().to_owned();
        let mut round = Self {
            ins,
            patient,
            record: record.id,
            version: record.version,
            document,
            readers,
            consent: String::new(),
            remembers,
        };
        round.declare();
        round
    }

    fn declare(&mut self) {
        let body = habilis::sandbox::example::consent(TEST, self.ins);
        let mut answer = self.readers[0].post("/Consent", body.clone());
        while self.remembers && answer.status != 201 {
            std::thread::sleep(std::time::Duration::from_millis(200));
            answer = self.readers[0].post("/Consent", body.clone());
        }
        assert_eq!(answer.status, 201, "{}", answer.text());
        self.consent = answer.json()["id"].as_str().unwrap().to_owned();
    }

    fn patient_says(&mut self, method: &str, path: &str, body: Option<Value>) {
        let path = format!("/{}{path}", self.record);
        let answer = self.patient.send(method, &path, Some(self.version), body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.version += 1;
    }

    fn decide(&mut self, decision: Decision) {
        let document = format!("/documents/{}?lecteur=titulaire", self.document);
        match decision {
            Decision::Mask => self.patient_says("PATCH", &document, Some(json!({ "masque": true }))),
            Decision::Block => {
                let path = format!("/professionnels/{READER}");
                self.patient_says("PUT", &path, Some(json!({ "statut": "bloque" })));
            }
            Decision::Close => self.patient_says("PATCH", "", Some(json!({ "etat": "ferme" }))),
            Decision::MaskAll => self.patient_says("PATCH", "", Some(json!({ "documentsMasques": true }))),
            Decision::Withdraw => {
                let inactive = json!([{ "op": "replace", "path": "/status", "value": "inactive" }]);
                let answer = self.readers[0].patch(&format!("/Consent/{}", self.consent), &inactive);
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        }
    }

    fn undo(&mut self, decision: Decision) {
        let document = format!("/documents/{}?lecteur=titulaire", self.document);
        match decision {
            Decision::Mask => self.patient_says("PATCH", &document, Some(json!({ "masque": false }))),
            Decision::Block => {
                let path = format!("/professionnels/{READER}?lecteur=titulaire");
                self.patient_says("DELETE", &path, None);
                self.declare();
            }
            Decision::Close => self.patient_says("PATCH", "", Some(json!({ "etat": "ouvert" }))),
            Decision::MaskAll => self.patient_says("PATCH", "", Some(json!({ "documentsMasques": false }))),
            Decision::Withdraw => self.declare(),
        }
    }

    /// Whether any of the readers gets the document, or is told of it.
    fn is_granted(&self, count: u64) -> bool {
        // By turns: its metadata by its address, and the list.
        self.readers.iter().any(|reader| match count % 2 {
            0 => reader.get(&format!("/DocumentReference/{}", self.document)).status == 200,
            _ => {
                let found = reader.find(self.ins);
                found.status == 200 && found.text().contains(&self.document)
            }
        })
    }
}

/// Grants after an acknowledged decision, in so many rounds.
fn new_enemies(ports: &[u16], rounds: u64, remembers: bool) -> u64 {
    let (next, grants) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for ins in RECORDS {
            let (next, grants) = (&next, &grants);
            scope.spawn(move || {
                let mut round = Round::begin(ins, ports, remembers);
                let mut count = 0_u64;
                while next.fetch_add(1, Ordering::Relaxed) < rounds {
                    let decision = DECISIONS[usize::try_from(count).unwrap() % DECISIONS.len()];
                    // Granted before, now and then: what is refused is refused by the decision.
                    if !remembers && count.is_multiple_of(7) {
                        assert!(round.is_granted(count), "{decision:?}: granted before");
                    }
                    round.decide(decision);
                    if round.is_granted(count) {
                        grants.fetch_add(1, Ordering::Relaxed);
                    }
                    round.undo(decision);
                    count += 1;
                }
            });
        }
    });
    grants.into_inner()
}

fn no_new_enemy(engine: Engine) {
    let rounds = std::env::var("HABILIS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let world = World::start(engine);
    let second = world.second_node();
    let ports = [world.listening.api.port(), second.listening.api.port()];
    assert_eq!(new_enemies(&ports, rounds, false), 0);
}

/// The control.
#[test]
fn a_cache_of_a_second_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOfTest::new(Engine::Sqlite, folder.path());
    let server = Process::start(&folder.path().join("data"), &database.url, Some("second-old-facts"));
    assert!(new_enemies(&[server.port], 40, true) > 0, "it grants against what the patient decided");
}
