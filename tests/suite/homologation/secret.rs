//! The secret connection: a minor who asks that his legal representatives learn nothing of it.

use serde_json::json;

use super::{Example, MINOR, bris_de_glace, document, feed, session};
use crate::on_both_engines_and_in_xml;
use crate::support::{Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines_and_in_xml!(secret_connection, labels_for_representatives, secret_emergencies);

const HIDDEN: &[&str] = &["N", "INVISIBLE_REPRESENTANTS_LEGAUX"];
const NORMAL: &[&str] = &["N"];

fn secret(world: &World) -> Client {
    session(world, "cps-medecin", &[("connexion_secrete", "true")])
}

fn status(client: &Client, example: &Example<'_>) -> u16 {
    client.post("/DocumentReference", example.single()).status
}

fn secret_connection(engine: Engine) {
    let world = World::start(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    let hidden_session = secret(&world);
    let representatives = |id: &String| mes.documents(MINOR, "representant").contains(id);
    let holder = |id: &String| mes.documents(MINOR, "titulaire").contains(id);
    let replace = |client: &Client, new: &str, old: &str, labels: &[&str]| {
        status(client, &Example { replaces: Some(old), ..document(MINOR, new, labels) })
    };

    // 0.1-300#3a: four deposits with the label; one without it is refused; representatives see neither documents nor session, the
    // minor sees both.
    let ids: Vec<String> = (1..=4)
        .map(|number| feed(&hidden_session, &document(MINOR, &format!("2.25.750.{number}"), HIDDEN)))
        .collect();
    let visible = hidden_session.post("/DocumentReference", document(MINOR, "2.25.750.5", NORMAL).single());
    visible.assert_refused(422, "XDSRegistryMetadataError", "secret connection");
    assert!(ids.iter().all(|id| holder(id) && !representatives(id)));
    let lines = |reader: &str| {
        mes.accesses(MINOR, reader).iter().filter(|line| line["acteur"] == "810100000016").count()
    };
    assert_eq!((lines("titulaire"), lines("representant")), (5, 0), "four granted, one refused");

    // 0.1-300#3b: replaced, the label kept: both versions stay hidden.
    let newer = feed(
        &hidden_session,
        &Example { replaces: Some("2.25.750.2"), ..document(MINOR, "2.25.750.6", HIDDEN) },
    );
    assert!(!representatives(&newer) && !representatives(&ids[1]));

    // 0.1-300#3c: deleted in secret, by the author.
    assert_eq!(hidden_session.delete_document("2.25.750.3").status, 200);

    // 0.1-300#3d: found in secret; flagged in the trace, and not in the representatives' history.
    hidden_session.authorise(MINOR);
    let found = hidden_session.find(MINOR);
    assert_eq!(found.found().0, 3);
    assert!(world.traces_of(found.request_id()).remove(0).secret);
    assert_eq!(lines("representant"), 0);
    assert!(lines("titulaire") >= 9);
    // What was declared in secret is not told to them either, nor that there would be something to take back.
    assert_eq!(mes.professionals(MINOR, "titulaire"), ["810100000016"]);
    assert_eq!(mes.professionals(MINOR, "representant"), [""; 0]);
    let record = mes.record(MINOR);
    let path = |of: &str| format!("/{}/{of}?lecteur=representant", record.id);
    let forget = mes.send("DELETE", &path("professionnels/810100000016"), Some(record.version), None);
    forget.assert_refused(404, "", "nothing was said");
    let mask = mes.send(
        "PATCH",
        &path(&format!("documents/{}", ids[0])),
        Some(record.version),
        Some(json!({ "masque": true })),
    );
    mask.assert_refused(404, "", "no such document");

    // 0.1-300#5a: the session is over; a replacement without the label shows the document; nothing of the secret persists.
    assert_eq!(replace(&doctor, "2.25.750.7", "2.25.750.4", NORMAL), 201);
    let shown = doctor.look_up(MINOR, "2.25.750.7").found().1.remove(0);
    assert!(representatives(&shown));
    assert_eq!(lines("representant"), 2, "what is not secret is told");

    // 0.1-300#5b: not hidden again by a replacement; the whole is undone.
    let documents = world.rows("document");
    assert_eq!(replace(&doctor, "2.25.750.8", "2.25.750.7", HIDDEN), 422);
    assert_eq!(world.rows("document"), documents);
    assert_eq!(doctor.look_up(MINOR, "2.25.750.7").found().0, 1, "current as before");

    // 0.1-300#5c: a new document without the label is visible to them.
    let open = feed(&doctor, &document(MINOR, "2.25.750.9", NORMAL));
    assert!(representatives(&open));

    // 0.1-300#6: a secret connection does not lift the rule; nor does a visible replacement pass in it.
    assert_eq!(replace(&hidden_session, "2.25.750.10", "2.25.750.9", HIDDEN), 422);
    assert_eq!(replace(&hidden_session, "2.25.750.10", "2.25.750.9", NORMAL), 422);

    // 0.1-300#7: nor a PATCH.
    let patched = doctor.label("2.25.750.7", HIDDEN);
    patched.assert_refused(422, "XDSRegistryMetadataError", "not hidden again");
    let read = doctor.get(&format!("/DocumentReference/{shown}")).json();
    assert_eq!(read["meta"]["versionId"], "1");
    // In the secret session nothing becomes visible to them either.
    hidden_session.label("2.25.750.1", NORMAL).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "secret connection",
    );
    assert_eq!(doctor.label("2.25.750.1", NORMAL).status, 200, "control");
}

fn labels_for_representatives(engine: Engine) {
    let world = World::start(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    // TNR-01#6: without a secret connection the label may stand on a minor's document, and on no adult's.
    let id = feed(&doctor, &document(MINOR, "2.25.760", HIDDEN));
    assert!(!mes.documents(MINOR, "representant").contains(&id));
    assert!(mes.documents(MINOR, "titulaire").contains(&id));
    let adult = doctor.post("/DocumentReference", document(OTHER, "2.25.761", HIDDEN).single());
    adult.assert_refused(422, "XDSRegistryMetadataError", "minor");
    // 2.1-600: the document is hidden, the session is not.
    assert_eq!(
        mes.accesses(MINOR, "representant").iter().filter(|line| line["acteur"] == "810100000016").count(),
        1
    );
    // Secret connections are for minors.
    let hidden_session = secret(&world);
    hidden_session.find(OTHER).assert_refused(403, "DMPAccessForbidden", "minor");
    assert_eq!(status(&hidden_session, &document(OTHER, "2.25.762", HIDDEN)), 403);
    // Of age since: a secret connection opens the record no more.
    hidden_session.authorise(MINOR);
    assert_eq!(hidden_session.find(MINOR).status, 200);
    world.sql(&format!("UPDATE record SET birth_date = '2008-01-01' WHERE ins_value = '{MINOR}'"));
    hidden_session.find(MINOR).assert_refused(403, "DMPAccessForbidden", "minor");
}

/// Both emergencies may combine with a secret connection.
fn secret_emergencies(engine: Engine) {
    let world = World::start(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    feed(&doctor, &document(MINOR, "2.25.770", NORMAL));
    let patient = format!("{TEST}|{MINOR}");
    let broken = session(
        &world,
        "cps-infirmier",
        &[
            ("purpose_of_use", "bris_de_glace"),
            ("motif", "inconsciente"),
            ("patient", &patient),
            ("connexion_secrete", "true"),
        ],
    );
    assert_eq!(broken.find(MINOR).found().0, 1);
    let regulating =
        session(&world, "cps-regulateur", &[("purpose_of_use", "centre_15"), ("connexion_secrete", "true")]);
    assert_eq!(regulating.find(MINOR).found().0, 1);
    assert_eq!(bris_de_glace(&world, "cps-medecin-b", MINOR).find(MINOR).found().0, 1);
    let modes = |reader: &str| {
        let mut modes: Vec<String> = mes
            .accesses(MINOR, reader)
            .iter()
            .filter(|line| line["action"] == "TD3.1 find documents")
            .map(|line| line["mode"].as_str().unwrap().to_owned())
            .filter(|mode| !["normal", ""].contains(&mode.as_str()))
            .collect();
        modes.sort();
        modes
    };
    assert_eq!(modes("titulaire"), ["bris_de_glace", "bris_de_glace", "centre_15"]);
    assert_eq!(modes("representant"), ["bris_de_glace"], "the one that was not secret");
}
