//! What could tell by its time of what is hidden leaves at its pace; what is done leaves at once.

use std::time::{Duration, Instant};

use habilis::sandbox::example::Example;

use crate::support::{Client, Engine, OTHER, Options, TEST, World};

/// Long beside what any of these requests takes.
const EVEN: Duration = Duration::from_secs(4);

#[test]
fn what_could_tell_is_held_and_nothing_else() {
    let world = World::start_with(Engine::Sqlite, Options { even_answers: EVEN, ..Options::default() });
    let author = world.client("cps-medecin");
    let begun = Instant::now();
    author.authorise(OTHER);
    let fed = author.post("/DocumentReference", Example::new(TEST, OTHER, "OUVERT", "2.25.720").single());
    let binary = fed.json()["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
    assert_eq!(author.get(&binary).status, 200);
    assert_eq!(author.label("2.25.720", &["N", "MASQUE_PS"]).status, 200);
    assert!(begun.elapsed() < EVEN, "feed, retrieve and change: at once");

    let id = fed.json()["id"].as_str().unwrap().to_owned();
    let patient = format!("patient.identifier={TEST}%7C{OTHER}&status=current");
    let held: [(&str, String, u16); 7] = [
        ("GET", format!("/DocumentReference/{id}"), 200),
        ("GET", format!("/DocumentReference?{patient}"), 200),
        ("GET", format!("/List?{patient}&code=submissionset"), 200),
        ("GET", "/DocumentReference/nothing".into(), 404),
        ("GET", "/Binary/nothing".into(), 404),
        ("GET", "/List/nothing".into(), 404),
        ("PATCH", "/DocumentReference/nothing".into(), 404),
    ];
    std::thread::scope(|scope| {
        for (method, path, status) in &held {
            let client: Client = world.client("cps-medecin");
            scope.spawn(move || {
                let begun = Instant::now();
                let answer = match *method {
                    "GET" => client.get(path),
                    _ => client.patch(path, &serde_json::json!([{ "op": "replace", "path": "/status", "value": "entered-in-error" }])),
                };
                assert_eq!(answer.status, *status, "{path}");
                assert!(begun.elapsed() >= EVEN, "{path} left before its time");
            });
        }
    });
}
