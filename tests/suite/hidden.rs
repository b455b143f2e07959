//! Hidden or absent: over every route that names something by its identifier, the answers are equal in bytes but for the request's id and
//! what the request itself named. `cargo bench --bench server -- --hidden 2000` measures their times.

use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::{Answer, Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines!(hidden_and_absent_are_equal);

const ABSENT: &str = "00000000-0000-4000-8000-000000000000";

/// Status, headers and body, without what is the request's own.
fn told(answer: &Answer, named: &str) -> String {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    let body = answer.text().replace(answer.request_id(), "").replace(named, "");
    format!("{} {headers:?} {body}", answer.status)
}

/// `$actualiser`. The instant of the answer, which is the clock's, is left out.
fn refresh(client: &Client, since: Option<&str>, known: &[&str]) -> Answer {
    let mut answer = crate::refresh::refresh(client, OTHER, since, known);
    let text = answer.text().to_owned();
    if let Some((before, rest)) = text.split_once("\"valueInstant\":\"") {
        let (_, after) = rest.split_once('"').unwrap();
        let bytes = format!("{before}{after}").into_bytes();
        answer.headers.insert("content-length", bytes.len().into());
        answer.bytes = bytes;
    }
    answer
}

fn hidden_and_absent_are_equal(engine: Engine) {
    let world = World::start(engine);
    let (author, other, mes) =
        (world.client("cps-medecin-b"), world.client("cps-infirmier"), PatientSide::of(&world));
    let staff = world.client("cpe-secretaire");
    author.authorise(OTHER);
    other.authorise(OTHER);
    let masked: &[&str] = &["N", "MASQUE_PS"];
    let fed = author.post(
        "/DocumentReference",
        Example { labels: masked, ..Example::new(TEST, OTHER, "X", "2.25.960") }.single(),
    );
    let document = fed.json()["id"].as_str().unwrap().to_owned();
    let list = world.text(&format!("SELECT submission_set_id AS text FROM document WHERE id = '{document}'"));
    let url = fed.json()["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
    let binary = url.rsplit('/').next().unwrap().to_owned();
    let consents = author.get(&format!("/Consent?patient.identifier={TEST}%7C{OTHER}")).json();
    let consent = consents["entry"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| {
            entry["resource"]["provision"]["actor"][0]["reference"]["identifier"]["value"] == "810100000024"
        })
        .unwrap()["resource"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let record = mes.record(OTHER);
    let announced = author.post(
        "/DocumentReference",
        Example { labels: &["N", "INVISIBLE_PATIENT"], ..Example::new(TEST, OTHER, "X", "2.25.961") }.single(),
    );
    let announced = announced.json()["id"].as_str().unwrap().to_owned();

    let label =
        json!([{ "op": "replace", "path": "/securityLabel", "value": [{ "coding": [{ "code": "N" }] }] }]);
    let delete = json!([{ "op": "replace", "path": "/status", "value": "entered-in-error" }]);
    let wrong = json!([{ "op": "replace", "path": "/status", "value": "superseded" }]);
    let inactive = json!([{ "op": "replace", "path": "/status", "value": "inactive" }]);
    let search = format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current");
    let by_id = |patch: Value| {
        move |client: &Client, id: &str| client.patch(&format!("/DocumentReference/{id}"), &patch)
    };
    let by_identifier = |patch: Value| move |client: &Client, id: &str| client.patch_document(id, &patch);
    type Route<'a> = Box<dyn Fn(&Client, &str) -> Answer + 'a>;
    let same = |name: &str, client: &Client, hidden: &str, absent: &str, route: Route<'_>| {
        let (one, other) = (route(client, hidden), route(client, absent));
        assert_eq!(told(&one, hidden), told(&other, absent), "{name}");
    };
    for (who, client) in [("another", &other), ("staff", &staff)] {
        let same = |name: &str, hidden: &str, absent: &str, route: Route<'_>| {
            same(&format!("{name} by {who}"), client, hidden, absent, route);
        };
        same("read", &document, ABSENT, Box::new(|client, id| client.get(&format!("/DocumentReference/{id}"))));
        same("retrieve", &binary, ABSENT, Box::new(|client, id| client.get(&format!("/Binary/{id}"))));
        for patch in [&label, &delete, &wrong] {
            same("PATCH", &document, ABSENT, Box::new(by_id(patch.clone())));
            same("PATCH by identifier", "2.25.960", "2.25.969", Box::new(by_identifier(patch.clone())));
        }
        same(
            "If-Match",
            &document,
            ABSENT,
            Box::new(|client, id| {
                let headers = [("Content-Type", "application/json-patch+json"), ("If-Match", "W/\"9\"")];
                client
                    .send("PATCH", &format!("/DocumentReference/{id}"), &headers, Some(label.to_string()))
                    .unwrap()
            }),
        );
        same(
            "search by identifier",
            "2.25.960",
            "2.25.969",
            Box::new(|client, id| client.get(&format!("{search}&identifier=urn:oid:{id}"))),
        );
        same(
            "search by _id",
            &document,
            ABSENT,
            Box::new(|client, id| client.get(&format!("{search}&_id={id}"))),
        );
        let lists = format!("/List?patient.identifier={TEST}%7C{OTHER}&status=current&code=submissionset");
        same("read list", &list, ABSENT, Box::new(|client, id| client.get(&format!("/List/{id}"))));
        same(
            "history",
            &document,
            ABSENT,
            Box::new(|client, id| client.get(&format!("/DocumentReference/{id}/_history"))),
        );
        same(
            "version",
            &document,
            ABSENT,
            Box::new(|client, id| client.get(&format!("/DocumentReference/{id}/_history/1"))),
        );
        same(
            "search lists by _id",
            &list,
            ABSENT,
            Box::new(|client, id| client.get(&format!("{lists}&_id={id}"))),
        );
        same(
            "search by what was replaced",
            &document,
            ABSENT,
            Box::new(|client, id| client.get(&format!("{search}&relatesto={id}"))),
        );
        same("refresh", &document, ABSENT, Box::new(|client, id| refresh(client, None, &[id])));
        same("look-up", "2.25.960", "2.25.969", Box::new(|client, id| client.look_up(OTHER, id)));
        same(
            "take back",
            &consent,
            ABSENT,
            Box::new(|client, id| client.patch(&format!("/Consent/{id}"), &inactive)),
        );
        same(
            "replace",
            "2.25.960",
            "2.25.969",
            Box::new(|client, id| {
                let example = Example { replaces: Some(id), ..Example::new(TEST, OTHER, "X", "2.25.968") };
                client.post("/DocumentReference", example.single())
            }),
        );
    }
    // The patient's side knows nothing of an announcement before its time.
    let change = |id: &str| {
        let path = format!("/{}/documents/{id}?lecteur=titulaire", record.id);
        mes.send("PATCH", &path, Some(record.version), Some(json!({ "masque": true })))
    };
    assert_eq!(told(&change(&announced), &announced), told(&change(ABSENT), ABSENT));
    // The control: who sees it is answered otherwise.
    let seen = author.get(&format!("/DocumentReference/{document}"));
    assert_ne!(told(&seen, &document), told(&author.get(&format!("/DocumentReference/{ABSENT}")), ABSENT));
}
