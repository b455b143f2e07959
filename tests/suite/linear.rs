//! Feeds and masks while the server is killed again and again: every answer is one that a single copy could have given, one after the other.
//!
//! A mask is a write of a register whose versions the server numbers, so that a history is judged without a search: what ends before something else
//! begins has the lower version, a version has one label, and a read shows what that version wrote. A feed is an addition to a set: who asks after it
//! was acknowledged finds it. Of what was under way when the server was killed nobody knows: it counts as either.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use habilis::sandbox::example::Example;
use serde_json::json;

use crate::support::{Client, DatabaseOfTest, Engine, OTHER, Process, TEST, shared_pki};

const DOCUMENTS: usize = 3;
const WORKERS: usize = 6;

/// One call, from before it was sent until its answer was there; no end: nobody knows what became of it.
#[derive(Clone, Debug)]
struct Call {
    begun: Instant,
    ended: Option<Instant>,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// Of which document, whether it masks, and which version it became.
    Mask(usize, bool, Option<i64>),
    /// Of which document, and what was seen: version, masked.
    Read(usize, i64, bool),
    /// The unique id of a document.
    Feed(String),
    /// Which of them were there.
    Find(Vec<String>),
}

/// What contradicts a single copy, the first of it.
fn judge(calls: &[Call]) -> Result<(), String> {
    for document in 0..DOCUMENTS {
        let mut labels: BTreeMap<i64, bool> = BTreeMap::new();
        // Begun, ended, version, whether it wrote.
        let mut seen: Vec<(Instant, Instant, i64, bool)> = Vec::new();
        let mut unknown: Vec<(Instant, bool)> = Vec::new();
        for call in calls {
            match (&call.what, call.ended) {
                (What::Mask(of, masks, Some(version)), Some(ended)) if *of == document => {
                    if labels.insert(*version, *masks).is_some_and(|other| other != *masks) {
                        return Err(format!("document {document}: two changes became version {version}"));
                    }
                    seen.push((call.begun, ended, *version, true));
                }
                (What::Mask(of, masks, _), None) if *of == document => unknown.push((call.begun, *masks)),
                (What::Read(of, version, _), Some(ended)) if *of == document => {
                    seen.push((call.begun, ended, *version, false));
                }
                _ => {}
            }
        }
        for call in calls {
            let (What::Read(of, version, masked), Some(ended)) = (&call.what, call.ended) else { continue };
            let fed = *version == 1 && !masked;
            let known = labels.get(version) == Some(masked);
            let possible = !labels.contains_key(version)
                && unknown.iter().any(|(begun, masks)| masks == masked && *begun <= ended);
            if *of == document && !fed && !known && !possible {
                return Err(format!(
                    "document {document}: version {version} is read as masked: {masked}, and nobody wrote that"
                ));
            }
        }
        seen.sort_by_key(|(begun, ..)| *begun);
        let mut ends: Vec<(Instant, i64)> =
            seen.iter().map(|(_, ended, version, _)| (*ended, *version)).collect();
        ends.sort();
        let (mut at, mut highest) = (0, 0);
        // The first was made when it was fed, before all of this.
        let mut made = BTreeMap::from([(1, true)]);
        for (begun, _, version, wrote) in &seen {
            while at < ends.len() && ends[at].0 < *begun {
                highest = highest.max(ends[at].1);
                at += 1;
            }
            if *version < highest {
                return Err(format!(
                    "document {document}: version {version} behind {highest}, which was answered before"
                ));
            }
            // Of those that were told one version the one that made it saw none as high before; the others changed nothing.
            if *wrote {
                *made.entry(*version).or_default() |= *version > highest;
            }
        }
        let by_unknown = |version: &i64| unknown.iter().any(|(_, masks)| labels.get(version) == Some(masks));
        if let Some((version, _)) = made.iter().find(|(version, made)| !**made && !by_unknown(version)) {
            return Err(format!("document {document}: nobody made version {version}, it was there before"));
        }
    }
    for find in calls {
        let What::Find(found) = &find.what else { continue };
        for feed in calls {
            let What::Feed(unique) = &feed.what else { continue };
            let there = found.contains(unique);
            if feed.ended.is_some_and(|ended| ended < find.begun) && !there {
                return Err(format!("{unique} was acknowledged, and is not found afterwards"));
            }
            if there && find.ended.is_some_and(|ended| ended < feed.begun) {
                return Err(format!("{unique} is found before it was sent"));
            }
        }
    }
    Ok(())
}

/// What six clients did, and were told, over so many kills.
fn history(engine: Engine, fault: Option<&str>, kills: u32) -> Vec<Call> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let database = DatabaseOfTest::new(engine, folder.path());
    let server = Process::start(&data, &database.url, fault);
    let doctor = Client::new(shared_pki(), Some("cps-medecin"), server.port);
    doctor.authorise(OTHER);
    for document in 0..DOCUMENTS {
        let unique = format!("2.25.5000.{document}");
        let fed = doctor.post("", Example::new(TEST, OTHER, "OUVERT", &unique).transaction());
        assert_eq!(fed.status, 200, "{}", fed.text());
    }
    let (port, over, next) = (RwLock::new(server.port), AtomicBool::new(false), AtomicU32::new(0));
    let (calls, mut last) = (Mutex::new(Vec::new()), None);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (port, over, next, calls) = (&port, &over, &next, &calls);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let now = *port.read().unwrap();
                    let client = Client::new(shared_pki(), Some("cps-medecin"), now);
                    while *port.read().unwrap() == now && !over.load(Ordering::SeqCst) {
                        let call = call(&client, worker, next.fetch_add(1, Ordering::SeqCst) as usize);
                        let Some(call) = call else { continue };
                        calls.lock().unwrap().push(call);
                    }
                }
            });
        }
        let mut server = server;
        for kill in 0..kills {
            std::thread::sleep(Duration::from_millis(400 + 90 * u64::from(kill % 5)));
            server.child.kill().unwrap();
            server.child.wait().unwrap();
            server = Process::start(&data, &database.url, fault);
            *port.write().unwrap() = server.port;
        }
        std::thread::sleep(Duration::from_millis(500));
        over.store(true, Ordering::SeqCst);
        // It answers for what was acknowledged.
        last.replace(server);
    });
    let mut calls = calls.into_inner().unwrap();
    // The end of it: all that is there, page by page.
    let begun = Instant::now();
    let client = Client::new(shared_pki(), Some("cps-medecin"), *port.read().unwrap());
    let mut found = Vec::new();
    let mut next =
        Some(format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&_count=200"));
    while let Some(path) = next {
        let page = client.get(&path);
        found.extend(feeds_in(page.text()));
        next = page.link("next").map(|url| url.split("/fhir").nth(1).unwrap().to_owned());
    }
    calls.push(Call { begun, ended: Some(Instant::now()), what: What::Find(found) });
    calls
}

/// One call; `None`: it was refused, and so did nothing.
fn call(client: &Client, worker: usize, number: usize) -> Option<Call> {
    let document = number % DOCUMENTS;
    let search = |unique: &str| {
        format!(
            "/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&identifier=urn:oid:{unique}"
        )
    };
    let of_register = search(&format!("2.25.5000.{document}"));
    let begun = Instant::now();
    match (worker + number) % 4 {
        0 => {
            let masks = (number / 4).is_multiple_of(2);
            let label = if masks { "MASQUE_PS" } else { "N" };
            let labels = json!([{ "op": "replace", "path": "/securityLabel", "value": [{ "coding": [{ "code": label }] }] }]);
            let path =
                format!("/DocumentReference?identifier=urn:ietf:rfc:3986%7Curn:oid:2.25.5000.{document}");
            let json = [("Content-Type", "application/json-patch+json")];
            let answer = client.send("PATCH", &path, &json, Some(labels.to_string()));
            let version = match &answer {
                Ok(answer) if answer.status == 200 => {
                    Some(answer.json()["meta"]["versionId"].as_str().unwrap().parse().unwrap())
                }
                Ok(answer) if answer.status == 503 => None,
                // What is refused did nothing.
                // Somebody else's change came in between: this one did nothing.
                Ok(answer) if answer.status == 409 || answer.status == 412 => return None,
                Ok(answer) if answer.status == 404 => return Some(gone(begun, document)),
                Ok(answer) => panic!("a mask is answered {}: {}", answer.status, answer.text()),
                Err(error) if nobody_was_there(error) => return None,
                Err(_) => None,
            };
            let ended = version.map(|_| Instant::now());
            Some(Call { begun, ended, what: What::Mask(document, masks, version) })
        }
        1 => {
            let unique = format!("2.25.5001.{number}");
            let json = [("Content-Type", "application/fhir+json")];
            let body = Example::new(TEST, OTHER, "OUVERT", &unique).transaction();
            match client.send("POST", "", &json, Some(body)) {
                Ok(answer) if answer.status == 200 => {
                    Some(Call { begun, ended: Some(Instant::now()), what: What::Feed(unique) })
                }
                Ok(answer) if answer.status != 503 => None,
                Err(error) if nobody_was_there(&error) => None,
                _ => Some(Call { begun, ended: None, what: What::Feed(unique) }),
            }
        }
        2 => {
            let answer =
                client.send("GET", &of_register, &[], None).ok().filter(|answer| answer.status == 200)?;
            let ended = Some(Instant::now());
            let resource = answer.json()["entry"][0]["resource"].clone();
            let Some(version) = resource["meta"]["versionId"].as_str() else {
                return Some(gone(begun, document));
            };
            let version = version.parse().unwrap();
            let masked = resource["securityLabel"].to_string().contains("MASQUE_PS");
            Some(Call { begun, ended, what: What::Read(document, version, masked) })
        }
        _ => {
            let path =
                format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&_count=200");
            let answer = client.send("GET", &path, &[], None).ok().filter(|answer| answer.status == 200)?;
            let ended = Some(Instant::now());
            let found = feeds_in(answer.text());
            // A page holds so many: of more, nothing is said of those that are not on it.
            (answer.link("next").is_none()).then_some(Call { begun, ended, what: What::Find(found) })
        }
    }
}

/// A document that was acknowledged before all of this is not there: no version of it, which nobody wrote.
fn gone(begun: Instant, document: usize) -> Call {
    Call { begun, ended: Some(Instant::now()), what: What::Read(document, 0, true) }
}

/// The unique ids of what was fed, in an answer.
fn feeds_in(text: &str) -> Vec<String> {
    let number = |(at, mark): (usize, &str)| {
        let digits: String = text[at + mark.len()..].chars().take_while(char::is_ascii_digit).collect();
        format!("{mark}{digits}")
    };
    text.match_indices("2.25.5001.").map(number).collect()
}

/// The server is gone and not back yet: nothing was sent.
fn nobody_was_there(error: &reqwest::Error) -> bool {
    if error.is_connect() {
        std::thread::sleep(Duration::from_millis(20));
    }
    error.is_connect()
}

fn kills() -> u32 {
    std::env::var("HABILIS_KILLS").ok().map_or(4, |kills| kills.parse().expect("a number"))
}

fn one_copy(engine: Engine) {
    let calls = history(engine, None, kills());
    let count = |what: fn(&What) -> bool| calls.iter().filter(|call| what(&call.what)).count();
    let (masks, reads) =
        (count(|what| matches!(what, What::Mask(..))), count(|what| matches!(what, What::Read(..))));
    let (feeds, finds) =
        (count(|what| matches!(what, What::Feed(_))), count(|what| matches!(what, What::Find(_))));
    let unknown = calls.iter().filter(|call| call.ended.is_none()).count();
    println!("{masks} masks, {reads} reads, {feeds} feeds, {finds} searches, {unknown} of which nobody knows");
    assert!(masks > 20 && reads > 20 && feeds > 20 && finds > 5, "control: there was load");
    judge(&calls).unwrap_or_else(|anomaly| panic!("{anomaly}"));
}

#[test]
fn answers_are_those_of_one_copy_on_sqlite() {
    one_copy(Engine::Sqlite);
}

#[test]
fn answers_are_those_of_one_copy_on_postgres() {
    one_copy(Engine::Postgres);
}

#[test]
fn control_a_server_that_answers_before_it_commits_is_noticed() {
    let anomaly = judge(&history(Engine::Sqlite, Some("acknowledge-before-commit"), 6));
    assert!(anomaly.is_err());
}

/// The control of the judge: what it must find in a history that was made up.
#[test]
fn control_the_judge_knows_an_anomaly() {
    let start = Instant::now();
    let at = |from: u64, until: u64, what: What| Call {
        begun: start + Duration::from_millis(from),
        ended: Some(start + Duration::from_millis(until)),
        what,
    };
    let mask = |from, until, masks, version| at(from, until, What::Mask(0, masks, Some(version)));
    let read = |from, until, version, masked| at(from, until, What::Read(0, version, masked));
    let good = vec![mask(0, 10, true, 2), read(5, 20, 1, false), read(11, 21, 2, true), mask(15, 30, false, 3)];
    assert_eq!(judge(&good), Ok(()));
    let with = |call: Call| judge(&[good.clone(), vec![call]].concat()).unwrap_err();
    assert!(with(read(12, 22, 1, false)).contains("behind 2"), "an older version than one that was answered");
    assert!(with(read(12, 22, 3, true)).contains("nobody wrote that"), "another label");
    assert!(with(mask(40, 50, true, 3)).contains("two changes"), "one version twice");
    assert!(with(mask(40, 50, true, 2)).contains("behind 3"));
    assert_eq!(
        judge(&[good.clone(), vec![mask(40, 50, false, 3)]].concat()),
        Ok(()),
        "what is so already is not changed"
    );
    assert_eq!(judge(&[mask(0, 10, false, 1)]), Ok(()), "nothing was to be done");
    assert!(with(read(40, 50, 0, true)).contains("nobody wrote that"), "it is gone");
    let nobody = [read(0, 5, 4, true), mask(6, 10, true, 4), mask(7, 11, true, 4)];
    assert!(judge(&nobody).unwrap_err().contains("nobody"));
    let fed = at(0, 10, What::Feed("x".into()));
    let lost = [fed.clone(), at(11, 20, What::Find(Vec::new()))];
    assert!(judge(&lost).unwrap_err().contains("not found afterwards"));
    assert_eq!(judge(&[fed, at(5, 20, What::Find(Vec::new()))]), Ok(()), "under way, it is either");
}
