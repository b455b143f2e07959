//! Hidden or absent: whether the time of an answer tells which. `cargo bench --bench server -- --hidden 2000`.
//!
//! For each route that names something by its identifier, pairs of requests over one connection, in random order: one for what is there
//! and not to be seen, one for what is not there. The answers are compared in bytes; of the times, the difference of the medians with the
//! 95 % interval of a bootstrap over the pairs.

use std::time::Instant;

use habilis::sandbox::example::{Example, consent};

use super::rig::{Connection, Server, TEST, exchange, execute, get, patch, post, send};
use super::{FED, QUERIED};

/// The author, and somebody who sees nothing of his masked documents.
const AUTHOR: &str = "cps-medecin";
const OTHER: &str = "cps-infirmier";
const RESAMPLES: usize = 2_000;
/// Of so many measurements together one may be told by chance in twenty runs: each is judged by an interval that much wider.
const MEASURED: usize = 28;
/// A record like [`FED`], in which nothing is.
const EMPTY: &str = "155127599900576";
/// Documents that are hidden in [`FED`], beside the one that is asked for; and in [`QUERIED`], of which all are masked at once.
const MASKED: usize = 50;

/// An instant of `$actualiser` has as many digits as it needs.
const NOT_COMPARED: [&str; 3] = ["date: ", "x-request-id: ", "content-length: "];

/// What is asked for: once there and hidden, once not there.
struct Route {
    name: &'static str,
    hidden: Vec<u8>,
    absent: Vec<u8>,
}

pub fn measure(engine: &str, server: &Server, database: &str, pairs: usize) {
    let routes = prepare(server, database);
    let mut connection = server.connect_as(OTHER);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for route in routes {
        let (mut differences, mut hidden, mut absent) = (Vec::new(), Vec::new(), Vec::new());
        let same = without_ids(&send(&mut connection, &route.hidden))
            == without_ids(&send(&mut connection, &route.absent));
        assert!(same, "{}: hidden and absent answer differently", route.name);
        for _ in 0..pairs {
            let first = random.next() & 1 == 0;
            let one = timed(&mut connection, if first { &route.hidden } else { &route.absent });
            let other = timed(&mut connection, if first { &route.absent } else { &route.hidden });
            let (of_hidden, of_absent) = if first { (one, other) } else { (other, one) };
            differences.push(of_hidden - of_absent);
            hidden.push(of_hidden);
            absent.push(of_absent);
        }
        let ((low, high), (lowest, highest)) = intervals(&differences, &mut random);
        let verdict = if lowest <= 0.0 && highest >= 0.0 { "alike" } else { "TOLD" };
        println!(
            "{engine:<10} {:<34} hidden {:.3} ms, absent {:.3} ms, difference {:+.4} ms, 95 % [{low:+.4}, {high:+.4}] {verdict}",
            route.name,
            median(&mut hidden),
            median(&mut absent),
            median(&mut differences),
        );
    }
}

fn prepare(server: &Server, database: &str) -> Vec<Route> {
    let mut author = server.connect_as(AUTHOR);
    let masked = Example { labels: &["N", "MASQUE_PS"], ..Example::new(TEST, FED, "OUVERT", "2.25.88.1") };
    let fed = exchange(&mut author, &post("/DocumentReference", &masked.single()));
    let fed = String::from_utf8_lossy(&fed).into_owned();
    let after = |text: &str, mark: &str| {
        let (_, rest) = text.split_once(mark).expect("what was fed");
        rest.split_once('"').expect("its end").0.to_owned()
    };
    let (document, binary) = (after(&fed, "\"id\":\""), after(&fed, "/fhir/Binary/"));
    for number in 0..MASKED {
        let id = format!("2.25.89.{number}");
        let masked = Example { labels: &["N", "MASQUE_PS"], ..Example::new(TEST, FED, "OUVERT", &id) };
        exchange(&mut author, &post("", &masked.transaction()));
        let id = format!("2.25.90.{number}");
        exchange(&mut author, &post("", &Example::new(TEST, QUERIED, "OUVERT", &id).transaction()));
    }
    execute(database, &format!("UPDATE record SET all_masked = TRUE WHERE ins_value = '{QUERIED}'"));
    let declared = exchange(&mut author, &post("/Consent", &consent(TEST, FED)));
    let declared = after(&String::from_utf8_lossy(&declared), "\"id\":\"");
    let sets = exchange(
        &mut author,
        &get(&format!("/fhir/List?patient.identifier={TEST}%7C{FED}&code=submissionset&status=current")),
    );
    let set = after(&String::from_utf8_lossy(&sets), "/fhir/List/");
    let mut reader = server.connect_as(OTHER);
    for ins in [FED, QUERIED, EMPTY] {
        exchange(&mut reader, &post("/Consent", &consent(TEST, ins)));
    }
    const ABSENT: &str = "00000000-0000-4000-8000-000000000000";
    let label = r#"[{"op":"replace","path":"/securityLabel","value":[{"coding":[{"code":"N"}]}]}]"#;
    let inactive = r#"[{"op":"replace","path":"/status","value":"inactive"}]"#;
    let search = format!("/fhir/DocumentReference?patient.identifier={TEST}%7C{FED}&status=current");
    let replacing = |replaces: &'static str| {
        post(
            "/DocumentReference",
            &Example { replaces: Some(replaces), ..Example::new(TEST, FED, "OUVERT", "2.25.88.2") }.single(),
        )
    };
    let by_id = |path: &str, id: &str| get(&format!("/fhir/{path}/{id}"));
    let both = |name, request: &dyn Fn(&str) -> Vec<u8>, hidden: &str, absent: &str| Route {
        name,
        hidden: request(hidden),
        absent: request(absent),
    };
    vec![
        both("read DocumentReference", &|id| by_id("DocumentReference", id), &document, ABSENT),
        both("retrieve Binary", &|id| by_id("Binary", id), &binary, ABSENT),
        both(
            "PATCH DocumentReference",
            &|id| patch(&format!("/DocumentReference/{id}"), label),
            &document,
            ABSENT,
        ),
        both(
            "PATCH by identifier",
            &|id| patch(&format!("/DocumentReference?identifier=urn:oid:{id}"), label),
            "2.25.88.1",
            "2.25.88.9",
        ),
        both(
            "search by identifier",
            &|id| get(&format!("{search}&identifier=urn:oid:{id}")),
            "2.25.88.1",
            "2.25.88.9",
        ),
        both("search by _id", &|id| get(&format!("{search}&_id={id}")), &document, ABSENT),
        both("PATCH Consent", &|id| patch(&format!("/Consent/{id}"), inactive), &declared, ABSENT),
        both(
            "search by relatesto",
            &|id| get(&format!("{search}&relatesto=DocumentReference/{id}")),
            &document,
            ABSENT,
        ),
        both(
            "search of a record",
            &|ins| get(&format!("/fhir/DocumentReference?patient.identifier={TEST}%7C{ins}&status=current")),
            FED,
            EMPTY,
        ),
        both(
            "search, everything masked",
            &|ins| get(&format!("/fhir/DocumentReference?patient.identifier={TEST}%7C{ins}&status=current")),
            QUERIED,
            EMPTY,
        ),
        both(
            "search of submission sets",
            &|ins| {
                get(&format!("/fhir/List?patient.identifier={TEST}%7C{ins}&code=submissionset&status=current"))
            },
            FED,
            EMPTY,
        ),
        both("read List", &|id| by_id("List", id), &set, ABSENT),
        both("$actualiser", &|id| post("/DocumentReference/$actualiser", &refresh(id)), &document, ABSENT),
        Route { name: "replace", hidden: replacing("2.25.88.1"), absent: replacing("2.25.88.9") },
    ]
}

/// What is new since the beginning, and of one document that is known.
fn refresh(id: &str) -> String {
    let patient = format!(r#"{{"name":"patient","valueIdentifier":{{"system":"{TEST}","value":"{FED}"}}}}"#);
    format!(r#"{{"resourceType":"Parameters","parameter":[{patient},{{"name":"connus","valueId":"{id}"}}]}}"#)
}

fn timed(connection: &mut Connection, request: &[u8]) -> f64 {
    let begun = Instant::now();
    send(connection, request);
    begun.elapsed().as_secs_f64() * 1_000.0
}

/// An answer without what differs in any two: its date, the request's id, and what the request itself named.
fn without_ids(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer).into_owned();
    let id =
        text.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap_or_default().trim().to_owned();
    let lines = text.lines().filter(|line| !NOT_COMPARED.iter().any(|name| line.starts_with(name)));
    let mut text = lines.collect::<Vec<_>>().join("\n").replace(&id, "");
    // What `$actualiser` is asked about is named in its answer, and when it was asked.
    for mark in ["\"valueId\":\"", "\"valueInstant\":\""] {
        text = without(&text, mark);
    }
    // A search repeats its parameters in its own link.
    without(&text, "\"url\":\"")
}

/// A text without its values behind a mark.
fn without(text: &str, mark: &str) -> String {
    let mut text = text.to_owned();
    while let Some((before, rest)) = text.split_once(mark) {
        let after = rest.split_once('"').map_or("", |(_, after)| after);
        text = format!("{before}{after}");
    }
    text
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The 95 % interval of the median, by bootstrap, and the one for [`MEASURED`] of them together.
fn intervals(values: &[f64], random: &mut Random) -> ((f64, f64), (f64, f64)) {
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut sample: Vec<f64> = (0..values.len()).map(|_| values[random.below(values.len())]).collect();
            let middle = sample.len() / 2;
            *sample.select_nth_unstable_by(middle, f64::total_cmp).1
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let between = |cut: usize| (medians[cut], medians[RESAMPLES - cut - 1]);
    (between(RESAMPLES / 40), between(RESAMPLES / 40 / MEASURED))
}

/// Which request of a pair goes first, and what is drawn: xorshift is random enough for that.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
