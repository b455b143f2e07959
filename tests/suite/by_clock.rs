//! What ends by itself: done once, by whichever node comes first, with a trace; and nothing before its time.

use habilis::operations::by_clock::{self, Ended};
use habilis::sandbox::example::Example;
use serde_json::Value;

use crate::on_both_engines;
use crate::support::{Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines!(
    an_announcement_ends_in_the_document_too,
    who_is_of_age_has_no_representatives,
    an_authorisation_ends_once,
    two_nodes_do_it_once,
);

/// Nine years old.
const MINOR: &str = "217057599900827";

/// A server that has done what was due when it started: one authorisation of the fixtures is over.
fn start(engine: Engine) -> World {
    let world = World::start(engine);
    let begun = std::time::Instant::now();
    while world.rows("authorisation WHERE ended_at IS NOT NULL") == 0 {
        assert!(begun.elapsed().as_secs() < 10, "the server does what is due by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    world
}

fn run(world: &World) -> Ended {
    let services = world.services();
    actix_web::rt::System::new()
        .block_on(by_clock::run(&services.store, &services.environment, services.tables.parameters))
        .unwrap()
}

#[track_caller]
fn feed(author: &Client, ins: &str, unique_id: &str, labels: &[&str]) -> String {
    let example = Example { labels, ..Example::new(TEST, ins, "X", unique_id) };
    let fed = author.post("/DocumentReference", example.single());
    assert_eq!(fed.status, 201, "{}", fed.text());
    fed.json()["id"].as_str().unwrap().to_owned()
}

fn labels(document: &Value) -> String {
    let labels = document["securityLabel"].as_array().unwrap().iter();
    labels.map(|label| label["coding"][0]["code"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

fn ends(world: &World) -> Vec<(String, String)> {
    let traces = world.traces().into_iter().filter(|trace| trace.operation.starts_with("clock: "));
    // Behind the one of the fixtures.
    traces.skip(1).map(|trace| (trace.operation, trace.rule)).collect()
}

fn an_announcement_ends_in_the_document_too(engine: Engine) {
    let world = start(engine);
    let (author, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    author.authorise(OTHER);
    let id = feed(&author, OTHER, "2.25.4501", &["N", "INVISIBLE_PATIENT"]);
    let deleted = feed(&author, OTHER, "2.25.4502", &["N", "INVISIBLE_PATIENT"]);
    assert_eq!(author.delete_document("2.25.4502").status, 200);
    let read = || author.get(&format!("/DocumentReference/{id}")).json();
    world.clock.advance(27);
    assert_eq!(run(&world), Ended::default(), "not before its time");
    assert_eq!(
        (labels(&read()), &read()["meta"]["versionId"]),
        ("N INVISIBLE_PATIENT".into(), &Value::from("1"))
    );
    world.clock.advance(5);
    let before = (labels(&read()), read()["meta"]["versionId"].clone());
    assert_eq!(before, ("N".into(), "1".into()), "shown so already: nothing waits for it");
    assert_eq!(run(&world), Ended { announcements: 1, ..Ended::default() });
    assert_eq!((labels(&read()), &read()["meta"]["versionId"]), ("N".into(), &Value::from("2")));
    assert!(mes.documents(OTHER, "titulaire").contains(&id));
    assert!(!mes.documents(OTHER, "titulaire").contains(&deleted));
    let rule = "R1111-53: the month of the announcement is over";
    assert_eq!(ends(&world), [("clock: announcement over".to_owned(), rule.to_owned())]);
    let trace = world.traces().into_iter().rfind(|trace| trace.operation.starts_with("clock: ")).unwrap();
    assert_eq!((trace.caller_kind.as_str(), trace.objects.as_str()), ("server", id.as_str()));
    assert_eq!(run(&world), Ended::default(), "once");
}

fn who_is_of_age_has_no_representatives(engine: Engine) {
    let world = start(engine);
    let author = world.client("cps-medecin");
    author.authorise(MINOR);
    let id = feed(&author, MINOR, "2.25.4503", &["N", "INVISIBLE_REPRESENTANTS_LEGAUX"]);
    let read = || author.get(&format!("/DocumentReference/{id}")).json();
    assert_eq!(run(&world), Ended::default());
    assert_eq!(labels(&read()), "N INVISIBLE_REPRESENTANTS_LEGAUX");
    // Eighteen years old today; the day before he was not.
    let today = world.services().environment.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let born = |day: jiff::civil::Date| {
        let born = day.checked_sub(jiff::Span::new().years(18)).unwrap();
        world.sql(&format!("UPDATE record SET birth_date = '{born}' WHERE ins_value = '{MINOR}'"));
    };
    born(today.tomorrow().unwrap());
    assert_eq!(run(&world), Ended::default());
    born(today);
    assert_eq!(run(&world), Ended { majorities: 1, ..Ended::default() });
    assert_eq!(labels(&read()), "N");
    assert_eq!(ends(&world)[0].1, "R1111-50: the record's holder is of age");
    // Representatives learn neither of the document nor that there was something to be hidden: they are none any more.
    let hidden = world.traces().into_iter().rfind(|trace| trace.operation == "clock: holder of age").unwrap();
    assert!(hidden.secret);
    let mes = PatientSide::of(&world);
    let record = mes.record(MINOR);
    for path in ["", "/documents", "/traces"] {
        let refused = mes.send("GET", &format!("/{}{path}?lecteur=representant", record.id), None, None);
        assert_eq!(refused.status, 403, "{path}: {}", refused.text());
        assert!(refused.text().contains("of age"), "{}", refused.text());
        let holder = mes.send("GET", &format!("/{}{path}?lecteur=titulaire", record.id), None, None);
        assert_eq!(holder.status, 200, "{path}");
    }
    assert_eq!(run(&world), Ended::default());
}

fn an_authorisation_ends_once(engine: Engine) {
    let world = start(engine);
    let (doctor, other, mes) =
        (world.client("cps-medecin"), world.client("cps-medecin-b"), PatientSide::of(&world));
    doctor.authorise(OTHER);
    other.authorise(OTHER);
    mes.set(OTHER, "810100000024", "bloque");
    assert_eq!(run(&world), Ended::default());
    // Their terms are brought forward; a blocking has none.
    let over =
        "UPDATE authorisation SET until = 1 WHERE record_id = (SELECT id FROM record WHERE ins_value = '";
    world.sql(&format!("{over}{OTHER}')"));
    assert_eq!(run(&world), Ended { authorisations: 1, ..Ended::default() });
    assert_eq!(
        ends(&world),
        [("clock: authorisation over".to_owned(), "R1111-46: the authorisation's term is over".to_owned())]
    );
    assert_eq!(run(&world), Ended::default());
    assert_eq!(doctor.find(OTHER).status, 403);
    // Declared anew, it ends anew.
    doctor.authorise(OTHER);
    assert_eq!(doctor.find(OTHER).status, 200);
    assert_eq!(run(&world), Ended::default());
    world.sql(&format!("{over}{OTHER}')"));
    assert_eq!(run(&world), Ended { authorisations: 1, ..Ended::default() });
}

fn two_nodes_do_it_once(engine: Engine) {
    let world = start(engine);
    let second = world.second_node();
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let many = 30;
    for number in 0..many {
        feed(&author, OTHER, &format!("2.25.4600.{number}"), &["N", "INVISIBLE_PATIENT"]);
    }
    world.sql("UPDATE document SET visible_from = 1 WHERE invisible_to_patient");
    let done: Vec<u64> = std::thread::scope(|scope| {
        let nodes: Vec<_> = [&world, &second].map(|node| scope.spawn(|| run(node).announcements)).into();
        nodes.into_iter().map(|node| node.join().unwrap()).collect()
    });
    assert_eq!(done.iter().sum::<u64>(), many, "{done:?}");
    assert_eq!(ends(&world).len() as u64, many);
    assert_eq!(world.rows("document WHERE version = 2"), many as i64);
}
