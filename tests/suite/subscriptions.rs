//! Subscriptions: a receiver over mutual TLS is told by id alone, in order, as far as its owner may know it.

use std::time::{Duration, Instant};

use habilis::notification::follow::{Follower, SubscriptionSettings};
use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::homologation::bris_de_glace;
use crate::on_both_engines;
use crate::support::{Client, Engine, OTHER, PatientSide, Sinks, TEST, World};

on_both_engines!(
    who_subscribes_to_what,
    who_subscribes_in_xml,
    what_becomes_of_a_record_is_told_in_order,
    a_record_out_of_sight_and_back,
    a_sign_of_life_tells_of_nothing,
    representatives_do_not_learn_of_it,
    who_loses_the_right_is_told_nothing_more,
    who_subscribes_with_an_e_cps,
    a_receiver_that_does_not_answer,
    another_node_goes_on,
);

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";
pub const CREATED: &str = "https://profiles.ihe.net/ITI/DSUBm/SubscriptionTopic/DSUBm-SubscriptionTopic-DocumentReference-PatientDependent";
const ALL: &str = "https://profiles.ihe.net/ITI/DSUBm/SubscriptionTopic/DSUBm-SubscriptionTopic-DocReference-PatientDependent-AllEvents";

/// A subscription as software asks for it.
pub fn subscription(topic: &str, ins: &str, endpoint: &str) -> Value {
    json!({
        "resourceType": "Subscription", "status": "requested", "reason": "suivi du patient", "criteria": topic,
        "_criteria": { "extension": [{
            "url": format!("{BACKPORT}/backport-filter-criteria"),
            "valueString": format!("DocumentReference?patient.identifier={TEST}|{ins}"),
        }] },
        "channel": {
            "type": "rest-hook", "endpoint": endpoint, "payload": "application/fhir+json",
            "_payload": { "extension": [{ "url": format!("{BACKPORT}/backport-payload-content"), "valueCode": "id-only" }] },
            "header": ["Authorization: Bearer du-logiciel"],
        },
    })
}

fn follower(world: &World) -> Follower {
    let settings = SubscriptionSettings {
        hosts: vec!["localhost:*".into()],
        authority: world.certs.join("ca.pem"),
        certificate: world.certs.join("habilis.pem"),
        key: world.certs.join("habilis.key"),
    };
    Follower::new(&settings, world.services(), world.listening.base.clone()).unwrap()
}

fn round(follower: &Follower) {
    actix_web::rt::System::new().block_on(follower.round()).unwrap();
}

/// Posts so far, and what they say: kind, status, count, and of an event its number, document and method.
fn told(sinks: &Sinks) -> Vec<String> {
    let said = |post: &Value| {
        let bundle: Value = serde_json::from_str(post["body"].as_str().unwrap()).unwrap();
        let parameter = |name: &str| {
            let all = bundle["entry"][0]["resource"]["parameter"].as_array().unwrap();
            let one = all.iter().find(|parameter| parameter["name"] == name).cloned().unwrap_or_default();
            let value = one.as_object().and_then(|one| one.iter().find(|(key, _)| key.starts_with("value")));
            value.map(|(_, value)| value.as_str().unwrap_or_default().to_owned()).unwrap_or_default()
        };
        let method = bundle["entry"][1]["request"]["method"].as_str().unwrap_or("-").to_owned();
        let document =
            bundle["entry"][1]["fullUrl"].as_str().unwrap_or("-").rsplit('/').next().unwrap().to_owned();
        format!(
            "{} {} {} {method} {document}",
            parameter("type"),
            parameter("status"),
            parameter("events-since-subscription-start")
        )
    };
    sinks.posts().iter().map(said).collect()
}

/// Rounds until so many posts came: the server has a loop of its own, which may be the one that brings them.
#[track_caller]
fn await_told(sinks: &Sinks, follower: &Follower, count: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        round(follower);
        let told = told(sinks);
        if told.len() >= count {
            assert_eq!(told.len(), count, "{told:?}");
            return told;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{told:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn feed(author: &Client, unique_id: &str, labels: &[&str]) -> String {
    let example = Example { labels, ..Example::new(TEST, OTHER, "X", unique_id) };
    let fed = author.post("/DocumentReference", example.single());
    assert_eq!(fed.status, 201, "{}", fed.text());
    fed.json()["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn subscribe(client: &Client, asked: Value) -> String {
    let kept = client.post("/Subscription", asked.to_string());
    assert_eq!(kept.status, 201, "{}", kept.text());
    kept.json()["id"].as_str().unwrap().to_owned()
}

fn status(client: &Client, id: &str) -> (String, String, Option<String>) {
    let answer = client.get(&format!("/Subscription/{id}/$status"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let parameters = answer.json()["entry"][0]["resource"]["parameter"].as_array().unwrap().clone();
    let one = |name: &str| parameters.iter().find(|parameter| parameter["name"] == name).cloned();
    (
        one("status").unwrap()["valueCode"].as_str().unwrap().to_owned(),
        one("events-since-subscription-start").unwrap()["valueString"].as_str().unwrap().to_owned(),
        one("error")
            .map(|error| error["valueCodeableConcept"]["coding"][0]["code"].as_str().unwrap().to_owned()),
    )
}

fn who_subscribes_to_what(engine: Engine) {
    let world = World::start(engine);
    let (doctor, other) = (world.client("cps-medecin"), world.client("cps-medecin-b"));
    let endpoint = "https://localhost:1/avis";
    let asked = || subscription(ALL, OTHER, endpoint);
    let refused = |client: &Client, change: &dyn Fn(&mut Value), status: u16, phrase: &str| {
        let mut asked = asked();
        change(&mut asked);
        let answer = client.post("/Subscription", asked.to_string());
        assert_eq!(answer.status, status, "{phrase}: {}", answer.text());
        assert!(answer.text().contains(phrase), "{phrase}: {}", answer.text());
    };
    // Who may not search may not follow.
    refused(&doctor, &|_| {}, 403, "no authorisation was declared");
    doctor.authorise(OTHER);
    other.authorise(OTHER);
    refused(&bris_de_glace(&world, "cps-medecin-b", OTHER), &|_| {}, 403, "normal mode");
    refused(&world.client("cpe-secretaire"), &|_| {}, 403, "");
    for url in
        ["https://evil.example/", "http://localhost/", "https://localhost@evil.example/", "https://127.0.0.1/"]
    {
        refused(&doctor, &|asked| asked["channel"]["endpoint"] = url.into(), 422, "that the operator allows");
    }
    refused(&doctor, &|asked| asked["criteria"] = "urn:x".into(), 422, "topics");
    refused(&doctor, &|asked| asked["end"] = "2020-01-01T00:00:00Z".into(), 422, "end is over");
    refused(&doctor, &|asked| asked["status"] = "off".into(), 422, "is requested");
    let filter = |text: &'static str| {
        move |asked: &mut Value| asked["_criteria"]["extension"][0]["valueString"] = text.into()
    };
    refused(&doctor, &filter("DocumentReference?type=11488-4"), 422, "names the patient");
    refused(&doctor, &filter("DocumentReference?patient=Patient/1&author=x"), 422, "filters are");
    refused(&doctor, &filter("DocumentReference?patient=Patient/unknown"), 404, "");
    refused(
        &doctor,
        &filter("DocumentReference?patient.identifier=urn:oid:1.2.250.1.213.1.4.10|1"),
        400,
        "an INS has",
    );
    refused(&doctor, &|asked| asked["channel"]["unknown"] = 1.into(), 400, "");

    let kept = doctor.post("/Subscription", asked().to_string());
    assert_eq!(kept.status, 201, "{}", kept.text());
    let (id, json) = (kept.json()["id"].as_str().unwrap().to_owned(), kept.json());
    assert_eq!(
        (json["status"].as_str(), &json["reason"]),
        (Some("requested"), &Value::from("suivi du patient"))
    );
    assert!(json["end"].as_str().is_some(), "an end is given where none was asked for");
    assert!(kept.header("location").ends_with(&format!("/fhir/Subscription/{id}")));
    let read = doctor.get(&format!("/Subscription/{id}"));
    assert_eq!((read.status, &read.json()["channel"]), (200, &json["channel"]));
    assert_eq!(
        json["channel"]["header"][0], "Authorization: ********",
        "a secret of the software is not read back"
    );
    // One's own: to anybody else it does not exist.
    for answer in [
        other.get(&format!("/Subscription/{id}")),
        other.get(&format!("/Subscription/{id}/$status")),
        other.send("DELETE", &format!("/Subscription/{id}"), &[], None).unwrap(),
    ] {
        answer.assert_refused(404, "", "no such resource");
    }
    let put = |client: &Client, asked: Value| {
        let headers = [("Content-Type", crate::support::FHIR_JSON)];
        client.send("PUT", &format!("/Subscription/{id}"), &headers, Some(asked.to_string())).unwrap()
    };
    put(&other, asked()).assert_refused(404, "", "no such resource");
    assert_eq!(other.get("/Subscription").json()["total"], 0);
    assert_eq!(doctor.get("/Subscription").json()["total"], 1);
    assert_eq!(doctor.get("/Subscription?status=off").json()["total"], 0);
    assert_eq!(doctor.get(&format!("/Subscription?url={endpoint}")).json()["total"], 1);
    doctor.get("/Subscription?topic=x").assert_refused(400, "", "does not know this parameter");
    // A secret that is not read back goes to the receiver that it was for, and to no other; nor is it made of stars.
    let hidden = |endpoint: &str| {
        let mut asked = subscription(ALL, OTHER, endpoint);
        asked["channel"]["header"][0] = json["channel"]["header"][0].clone();
        asked
    };
    put(&doctor, hidden("https://localhost:2/ailleurs")).assert_refused(422, "", "say it, for this receiver");
    doctor.post("/Subscription", hidden(endpoint).to_string()).assert_refused(
        422,
        "",
        "say it, for this receiver",
    );
    assert_eq!(put(&doctor, hidden(endpoint)).status, 200, "control");
    // It stays with its record.
    let minor = "217057599900827";
    doctor.authorise(minor);
    put(&doctor, subscription(ALL, minor, endpoint)).assert_refused(422, "", "stays with its record");
    let mut off = asked();
    off["status"] = "off".into();
    let mut of_another = off.clone();
    of_another["id"] = "another".into();
    put(&doctor, of_another).assert_refused(400, "", "the body is of another resource");
    let stale = [("Content-Type", crate::support::FHIR_JSON), ("If-Match", "W/\"7\"")];
    let stale = doctor.send("PUT", &format!("/Subscription/{id}"), &stale, Some(off.to_string())).unwrap();
    stale.assert_refused(412, "", "at another version");
    assert_eq!(put(&doctor, off).json()["status"], "off");
    assert_eq!(status(&doctor, &id).0, "off");
    let deleted = doctor.send("DELETE", &format!("/Subscription/{id}"), &[], None).unwrap();
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    doctor.get(&format!("/Subscription/{id}")).assert_refused(404, "", "no such resource");
    assert_eq!(world.rows("subscription") + world.rows("subscription_document"), 0);
    // What software sends along is a secret of its own: it lies sealed.
    subscribe(&doctor, asked());
    for _ in 0..4 {
        subscribe(&doctor, asked());
    }
    refused(&doctor, &|_| {}, 422, "5 on one record");
    assert_eq!(world.rows("subscription"), 5);
    assert_eq!(world.rows_with("subscription", "resource", "du-logiciel"), 0, "sealed");
    world.sql(
        "UPDATE subscription SET resource = CAST('Bearer du-logiciel' AS BYTES)"
            .replace("BYTES", if world.database_url.starts_with("sqlite") { "BLOB" } else { "BYTEA" })
            .as_str(),
    );
    assert_eq!(world.rows_with("subscription", "resource", "du-logiciel"), 5, "control");
}

fn who_subscribes_in_xml(engine: Engine) {
    crate::support::speak_xml();
    who_subscribes_to_what(engine);
}

fn what_becomes_of_a_record_is_told_in_order(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let follower = follower(&world);
    let (author, doctor) = (world.client("cps-medecin-b"), world.client("cps-medecin"));
    author.authorise(OTHER);
    doctor.authorise(OTHER);
    let before = feed(&author, "2.25.4701", &["N"]);
    let id = subscribe(&doctor, subscription(ALL, OTHER, &sinks.receiver("tout")));
    let mut narrow = subscription(CREATED, OTHER, &sinks.receiver("biologie"));
    narrow["_criteria"]["extension"][0]["valueString"] =
        format!("DocumentReference?patient.identifier={TEST}|{OTHER}&type=11502-2").into();
    subscribe(&doctor, narrow);
    let handshakes = await_told(&sinks, &follower, 2);
    assert_eq!(handshakes, ["handshake requested 0 - -"; 2]);
    assert_eq!(status(&doctor, &id), ("active".into(), "0".into(), None));
    let post = &sinks.posts()[0];
    assert_eq!(post["headers"]["authorization"], "Bearer du-logiciel");
    assert_eq!(post["headers"]["content-type"], "application/fhir+json");
    assert!(post["peer"].as_str().unwrap().contains("HABILIS"), "mutual TLS: {post}");

    // New, and nothing of it but its id.
    let document = feed(&author, "2.25.4702", &["N"]);
    let all = await_told(&sinks, &follower, 3);
    assert_eq!(all[2], format!("event-notification active 1 POST {document}"));
    let body = sinks.posts()[2]["body"].as_str().unwrap().to_owned();
    for never in [OTHER, "11488-4", "Compte", "OUVERT", "810100000024"] {
        assert!(!body.contains(never), "{never}: {body}");
    }
    // What stands masked from the first is not there for the subscriber, and takes no number.
    let masked = feed(&author, "2.25.4703", &["N", "MASQUE_PS"]);
    // What he was told of goes, and comes again.
    assert_eq!(author.label("2.25.4702", &["N", "MASQUE_PS"]).status, 200);
    let all = await_told(&sinks, &follower, 4);
    assert_eq!(all[3], format!("event-notification active 2 DELETE {document}"));
    assert_eq!(author.label("2.25.4702", &["N"]).status, 200);
    assert_eq!(await_told(&sinks, &follower, 5)[4], format!("event-notification active 3 POST {document}"));
    // Of what was there before he is told as of a change; of its going, not: nobody told him that it was there.
    assert_eq!(author.label("2.25.4701", &["N", "MASQUE_PS"]).status, 200);
    round(&follower);
    assert_eq!(author.label("2.25.4701", &["N"]).status, 200);
    assert_eq!(await_told(&sinks, &follower, 6)[5], format!("event-notification active 4 PUT {before}"));
    assert_eq!(author.label("2.25.4703", &["N"]).status, 200);
    assert_eq!(await_told(&sinks, &follower, 7)[6], format!("event-notification active 5 POST {masked}"));
    assert_eq!(status(&doctor, &id), ("active".into(), "5".into(), None));
    // Told is traced, as what was disclosed to him.
    let traces = world.traces().into_iter().filter(|trace| trace.operation == "subscription: notify");
    let traces: Vec<_> = traces.map(|trace| (trace.caller_id, trace.objects)).collect();
    let expected =
        [&document, &document, &document, &before, &masked].map(|id| ("810100000016".to_owned(), id.clone()));
    assert_eq!(traces, expected);
    // Each has an id of its own, which is the same when it is sent again.
    let mut keys: Vec<String> = sinks
        .posts()
        .iter()
        .map(|post| post["headers"]["idempotency-key"].as_str().unwrap().to_owned())
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 7);
}

/// What the patient makes of his whole record changes no document: it is told all the same, and what came in meanwhile.
fn a_record_out_of_sight_and_back(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let follower = follower(&world);
    let (author, doctor, mes) =
        (world.client("cps-medecin-b"), world.client("cps-medecin"), PatientSide::of(&world));
    author.authorise(OTHER);
    doctor.authorise(OTHER);
    let mut asked = subscription(ALL, OTHER, &sinks.receiver("avis"));
    asked["channel"]["payload"] = "application/fhir+xml".into();
    let id = subscribe(&doctor, asked.clone());
    let first = feed(&author, "2.25.4741", &["N"]);
    await_posts(&sinks, &follower, 2);
    mes.change(OTHER, json!({ "documentsMasques": true }));
    await_posts(&sinks, &follower, 3);
    let meanwhile = feed(&author, "2.25.4742", &["N"]);
    round(&follower);
    assert_eq!(sinks.posts().len(), 3, "nothing of it");
    mes.change(OTHER, json!({ "documentsMasques": false }));
    let posts = await_posts(&sinks, &follower, 5);
    let told: Vec<(bool, bool, bool)> = posts[1..]
        .iter()
        .map(|body| {
            (body.contains(&first), body.contains(&meanwhile), body.contains("<method value=\"DELETE\"/>"))
        })
        .collect();
    assert_eq!(told, [(true, false, false), (true, false, true), (true, false, false), (false, true, false)]);
    // In XML, as it was asked for.
    assert_eq!(sinks.posts()[4]["headers"]["content-type"], "application/fhir+xml");
    assert!(posts[4].starts_with("<Bundle xmlns=\"http://hl7.org/fhir\">"), "{}", posts[4]);
    assert!(posts[4].contains("<name value=\"event-number\"/><valueString value=\"4\"/>"), "{}", posts[4]);
    // Asked for again with the header as it was read back, it is sent with the one that it had.
    let read = doctor.get(&format!("/Subscription/{id}")).json();
    let headers = [("Content-Type", crate::support::FHIR_JSON)];
    let mut again = asked;
    again["channel"]["header"] = read["channel"]["header"].clone();
    let kept = doctor.send("PUT", &format!("/Subscription/{id}"), &headers, Some(again.to_string())).unwrap();
    assert_eq!(kept.status, 200, "{}", kept.text());
    await_posts(&sinks, &follower, 6);
    assert_eq!(sinks.posts()[5]["headers"]["authorization"], "Bearer du-logiciel");
}

/// Rounds until so many posts came; their bodies.
#[track_caller]
fn await_posts(sinks: &Sinks, follower: &Follower, count: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        round(follower);
        let posts: Vec<String> =
            sinks.posts().iter().map(|post| post["body"].as_str().unwrap().to_owned()).collect();
        if posts.len() >= count {
            assert_eq!(posts.len(), count, "{posts:?}");
            return posts;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{posts:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A sign of life comes when it is due, and tells by its instant of nothing that happened meanwhile.
fn a_sign_of_life_tells_of_nothing(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let follower = follower(&world);
    let (author, doctor) = (world.client("cps-medecin-b"), world.client("cps-medecin"));
    author.authorise(OTHER);
    doctor.authorise(OTHER);
    let mut asked = subscription(ALL, OTHER, &sinks.receiver("avis"));
    asked["channel"]["extension"] =
        json!([{ "url": format!("{BACKPORT}/backport-heartbeat-period"), "valueUnsignedInt": 3600 }]);
    subscribe(&doctor, asked);
    await_told(&sinks, &follower, 1);
    let due = || world.text("SELECT CAST(heartbeat_at AS TEXT) AS text FROM subscription");
    round(&follower);
    let before = due();
    world.clock.advance_seconds(1_800);
    feed(&author, "2.25.4751", &["N", "MASQUE_PS"]);
    PatientSide::of(&world).record(OTHER);
    round(&follower);
    round(&follower);
    assert_eq!((due(), told(&sinks).len()), (before, 1), "what is hidden moves it not");
    world.clock.advance_seconds(1_700);
    round(&follower);
    assert_eq!(told(&sinks).len(), 1);
    world.clock.advance_seconds(101);
    assert_eq!(await_told(&sinks, &follower, 2)[1], "heartbeat active 0 - -");
}

/// What is told of a document that was hidden from representatives is kept from them as its feed was.
fn representatives_do_not_learn_of_it(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let follower = follower(&world);
    const MINOR: &str = "217057599900827";
    let (author, doctor, mes) =
        (world.client("cps-medecin-b"), world.client("cps-medecin"), PatientSide::of(&world));
    author.authorise(MINOR);
    doctor.authorise(MINOR);
    subscribe(&doctor, subscription(ALL, MINOR, &sinks.receiver("avis")));
    await_told(&sinks, &follower, 1);
    let labels = &["N", "INVISIBLE_REPRESENTANTS_LEGAUX"];
    let example = Example { labels, ..Example::new(TEST, MINOR, "X", "2.25.4761") };
    assert_eq!(author.post("/DocumentReference", example.single()).status, 201);
    await_told(&sinks, &follower, 2);
    let lines = |reader: &str| {
        let lines = mes.accesses(MINOR, reader);
        lines.iter().filter(|line| line["action"].as_str() == Some("subscription: notify")).count()
    };
    assert_eq!(
        (lines("titulaire"), lines("representant")),
        (1, 0),
        "{:?}",
        mes.accesses(MINOR, "titulaire")[0]
    );
}

fn who_loses_the_right_is_told_nothing_more(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let follower = follower(&world);
    let (author, doctor, mes) =
        (world.client("cps-medecin-b"), world.client("cps-medecin"), PatientSide::of(&world));
    author.authorise(OTHER);
    doctor.authorise(OTHER);
    let id = subscribe(&doctor, subscription(ALL, OTHER, &sinks.receiver("avis")));
    await_told(&sinks, &follower, 1);
    mes.set(OTHER, "810100000016", "bloque");
    feed(&author, "2.25.4711", &["N"]);
    let all = await_told(&sinks, &follower, 2);
    assert_eq!(all[1], "event-notification off 0 - -", "that it is over, and not why");
    feed(&author, "2.25.4712", &["N"]);
    round(&follower);
    assert_eq!(told(&sinks).len(), 2);
    assert_eq!(status(&doctor, &id), ("off".into(), "0".into(), None));
    // Asked for again, it is decided again.
    let headers = [("Content-Type", crate::support::FHIR_JSON)];
    let again = subscription(ALL, OTHER, &sinks.receiver("avis")).to_string();
    let refused = doctor.send("PUT", &format!("/Subscription/{id}"), &headers, Some(again)).unwrap();
    assert_eq!(refused.status, 403, "{}", refused.text());
    // With the record it is erased.
    let record = mes.record(OTHER);
    let erased = mes.send("DELETE", &format!("/{}", record.id), Some(record.version), None);
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert_eq!(world.rows("subscription"), 0);
}

/// Where an e-CPS exercises Pro Santé Connect has said; where a card does, the directory says each time.
fn who_subscribes_with_an_e_cps(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let follower = follower(&world);
    let (author, card, e_cps) = (
        world.client("cps-medecin-b"),
        crate::homologation::session(&world, "cps-medecin", &[("structure", "1750000101")]),
        crate::homologation::e_cps(&world, "claire.bernard"),
    );
    author.authorise(OTHER);
    world.client("cps-medecin").authorise(OTHER);
    let of_card = subscribe(&card, subscription(ALL, OTHER, &sinks.receiver("carte")));
    let of_e_cps = subscribe(&e_cps, subscription(ALL, OTHER, &sinks.receiver("e-cps")));
    await_told(&sinks, &follower, 2);
    let begun = Instant::now();
    let mut number = 0;
    // The server reads its files once more after the start: the directory is emptied until it was looked at so.
    while status(&card, &of_card).0 == "active" {
        world.services().sessions.directory.store(std::sync::Arc::default());
        number += 1;
        feed(&author, &format!("2.25.4751.{number}"), &["N"]);
        round(&follower);
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(status(&card, &of_card).0, "off");
    assert_eq!(status(&e_cps, &of_e_cps).0, "active");
}

fn a_receiver_that_does_not_answer(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let follower = follower(&world);
    let (author, doctor) = (world.client("cps-medecin-b"), world.client("cps-medecin"));
    author.authorise(OTHER);
    doctor.authorise(OTHER);
    let asked = || subscription(ALL, OTHER, &sinks.receiver("avis"));
    let id = subscribe(&doctor, asked());
    await_told(&sinks, &follower, 1);
    sinks.behave("550");
    let document = feed(&author, "2.25.4721", &["N"]);
    let attempts = || {
        round(&follower);
        sinks.refused().len()
    };
    // Not sooner than it is said, and then; the server's own loop may be the one that tries.
    let begun = Instant::now();
    for (attempt, pause) in [30, 60, 120, 240].into_iter().enumerate() {
        while attempts() < attempt + 1 {
            assert!(begun.elapsed() < Duration::from_secs(20));
        }
        world.clock.advance_seconds(pause - 2);
        assert_eq!((attempts(), attempts()), (attempt + 1, attempt + 1), "not yet");
        world.clock.advance_seconds(2);
    }
    while status(&doctor, &id).0 != "error" {
        round(&follower);
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    let tried: Vec<Value> =
        sinks.refused().iter().map(|post| post["headers"]["idempotency-key"].clone()).collect();
    assert_eq!(tried, vec![tried[0].clone(); 5], "five times the same");
    assert_eq!(status(&doctor, &id), ("error".into(), "1".into(), Some("error-response".into())));
    sinks.behave("ok");
    let later = feed(&author, "2.25.4722", &["N"]);
    round(&follower);
    assert_eq!(told(&sinks).len(), 1, "it does not begin again by itself");
    let headers = [("Content-Type", crate::support::FHIR_JSON)];
    let again =
        doctor.send("PUT", &format!("/Subscription/{id}"), &headers, Some(asked().to_string())).unwrap();
    assert_eq!((again.status, &again.json()["status"]), (200, &Value::from("requested")));
    let all = await_told(&sinks, &follower, 4);
    assert_eq!(
        all[1..],
        [
            "handshake requested 1 - -".to_owned(),
            format!("event-notification active 1 POST {document}"),
            format!("event-notification active 2 POST {later}"),
        ],
        "what waited is told, under the numbers that it had"
    );
    let posts = sinks.posts();
    let key = |post: &Value| post["headers"]["idempotency-key"].clone();
    assert_eq!(key(&posts[2]), tried[0], "and under the id");
    assert_ne!(key(&posts[0]), key(&posts[1]), "another life has another handshake");
}

fn another_node_goes_on(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let second = world.second_node();
    let (author, doctor) = (second.client("cps-medecin-b"), world.client("cps-medecin"));
    author.authorise(OTHER);
    doctor.authorise(OTHER);
    subscribe(&doctor, subscription(ALL, OTHER, &sinks.receiver("avis")));
    let followers = [follower(&world), follower(&second)];
    await_told(&sinks, &followers[0], 1);
    let documents: Vec<String> =
        (0..12).map(|number| feed(&author, &format!("2.25.4731.{number}"), &["N"])).collect();
    std::thread::scope(|scope| {
        for follower in &followers {
            scope.spawn(|| round(follower));
        }
    });
    let all = await_told(&sinks, &followers[1], 13);
    let expected: Vec<String> = documents
        .iter()
        .enumerate()
        .map(|(number, id)| format!("event-notification active {} POST {id}", number + 1))
        .collect();
    assert_eq!(all[1..], expected, "each once, in order, whichever node told it");
}
