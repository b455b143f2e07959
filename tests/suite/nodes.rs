//! Several nodes on one PostgreSQL and one S3-compatible store: nothing is one node's own, and one after the other is restarted without
//! a request that fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use habilis::sandbox::example::Example;

use crate::support::{Client, Engine, OTHER, ObjectStore, Options, TEST, World};

fn start(store: &ObjectStore) -> World {
    World::start_with(
        Engine::Postgres,
        Options { bodies: Some(store.location()), small_bodies: 0, ..Options::default() },
    )
}

/// Bytes of a document, small and in pieces.
const SIZES: [usize; 2] = [20 << 10, 1 << 20];

#[test]
fn what_one_node_is_fed_another_serves() {
    let store = ObjectStore::start();
    let first = start(&store);
    let second = first.node("2");
    let [one, two] = [&first, &second].map(|node| node.client("cps-medecin"));
    one.authorise(OTHER);
    let fixtures = files(&store.folder());
    for (number, size) in SIZES.into_iter().enumerate() {
        let unique_id = format!("2.25.490{number}");
        let example = Example { size, ..Example::new(TEST, OTHER, "OUVERT", &unique_id) };
        let fed = one.post("", example.transaction());
        assert_eq!(fed.status, 200, "{}", fed.text());
        // Sent again to another node it is answered as the first time.
        let again = two.post("", example.transaction());
        assert_eq!((again.status, again.text()), (200, fed.text()));
        let search = format!(
            "/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&identifier=urn:oid:{unique_id}"
        );
        let url = two.get(&search).first_attachment();
        let read = two.send("GET", &url, &[], None).unwrap();
        assert_eq!(read.status, 200);
        assert!(read.text() == example.cda(), "whole");
        let part = two.send("GET", &url, &[("Range", "bytes=1000-1999")], None).unwrap();
        assert_eq!((part.status, part.bytes.as_ref()), (206, &example.cda().as_bytes()[1000..2000]));
    }
    assert_eq!(files(&store.folder()) - fixtures, SIZES.len(), "sealed, once each, and nowhere else");
    assert!(!first.data.join("bodies").exists(), "control: no folder of the node's own");
    assert_eq!(first.rows("trace_log WHERE size > 0"), 2, "each node has its own log");
}

#[test]
fn an_object_store_that_goes_away_is_answered_and_comes_back() {
    let mut store = ObjectStore::start();
    let world = start(&store);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let example = Example::new(TEST, OTHER, "OUVERT", "2.25.4910");
    assert_eq!(doctor.post("", example.transaction()).status, 200);
    let url = doctor.find(OTHER).first_attachment();
    store.stop();
    let begun = Instant::now();
    let refused = doctor.send("GET", &url, &[], None).unwrap();
    refused.assert_refused(503, "", "");
    assert!(!refused.text().contains(&store.folder().display().to_string()), "{}", refused.text());
    let other = Example::new(TEST, OTHER, "OUVERT", "2.25.4911");
    assert_eq!(doctor.post("", other.transaction()).status, 503, "nothing is acknowledged that is not stored");
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    assert_eq!(doctor.find(OTHER).found().0, 1, "what needs no body goes on");
    store.start_again();
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().text(), example.cda());
    assert_eq!(doctor.post("", other.transaction()).status, 200);
    assert_eq!(doctor.find(OTHER).found().0, 2);
}

/// A node as a load balancer knows it.
struct Member {
    world: World,
    client: Client,
    ready: AtomicBool,
}

impl Member {
    fn of(world: World) -> Self {
        Self { client: world.client("cps-medecin"), ready: AtomicBool::new(true), world }
    }
}

/// Restarts each of three nodes in turn, under load; what became of the requests: statuses, and 0 for a connection that broke.
fn rolling_restart(drains: bool) -> BTreeMap<u16, u32> {
    let store = ObjectStore::start();
    let base = start(&store);
    if !drains {
        base.may_end_unsigned();
    }
    base.client("cps-medecin").authorise(OTHER);
    let members: Vec<RwLock<Option<Member>>> =
        ["2", "3", "4"].map(|name| RwLock::new(Some(Member::of(base.node(name))))).into();
    let (over, next, told) = (AtomicBool::new(false), AtomicU32::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        // The load balancer asks each node whether it is ready.
        scope.spawn(|| {
            let http =
                reqwest::blocking::Client::builder().timeout(Duration::from_millis(500)).build().unwrap();
            while !over.load(Ordering::SeqCst) {
                for member in &members {
                    if let Some(member) = &*member.read().unwrap() {
                        let url = format!("http://{}/health/ready", member.world.listening.portal);
                        let ready = http.get(url).send().is_ok_and(|answer| answer.status() == 200);
                        member.ready.store(ready, Ordering::SeqCst);
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        for worker in 0..4 {
            let (members, next, told, over) = (&members, &next, &told, &over);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let member = members[(number as usize + worker) % members.len()].read().unwrap();
                    let Some(member) = member.as_ref().filter(|member| member.ready.load(Ordering::SeqCst))
                    else {
                        continue;
                    };
                    let status = ask(&member.client, number);
                    *told.lock().unwrap().entry(status).or_default() += 1;
                }
            });
        }
        for (place, name) in ["5", "6", "7"].into_iter().enumerate() {
            std::thread::sleep(Duration::from_millis(500));
            // The node stops while it is asked; whoever is answered by it is answered whole.
            let listening = members[place].read().unwrap().as_ref().unwrap().world.listening.clone();
            actix_web::rt::System::new().block_on(async {
                if drains {
                    listening.drain().await;
                }
                listening.stop(drains).await;
            });
            let node = Member::of(base.node(name));
            *members[place].write().unwrap() = Some(node);
        }
        std::thread::sleep(Duration::from_millis(300));
        over.store(true, Ordering::SeqCst);
    });
    told.into_inner().unwrap()
}

fn ask(client: &Client, number: u32) -> u16 {
    let json = [("Content-Type", "application/fhir+json")];
    let answer = match number % 3 {
        0 => {
            let unique_id = format!("2.25.492.{number}");
            let example = Example::new(TEST, OTHER, "OUVERT", &unique_id);
            client.send("POST", "", &json, Some(example.transaction()))
        }
        _ => {
            let search =
                format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&_count=2");
            client.send("GET", &search, &[], None)
        }
    };
    answer.map_or(0, |answer| answer.status)
}

#[test]
fn no_request_fails_while_each_node_is_restarted() {
    let told = rolling_restart(true);
    println!("{told:?}");
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), [200], "{told:?}");
    assert!(told[&200] > 100, "control: there was load ({told:?})");
}

#[test]
fn control_nodes_that_just_stop_are_noticed() {
    let told = rolling_restart(false);
    assert!(told.keys().any(|status| *status != 200), "{told:?}");
}

fn files(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                usize::from(!path.file_name().unwrap().to_string_lossy().starts_with('.'))
            }
        })
        .sum()
}
