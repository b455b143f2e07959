//! Folders: made and added to in a feed, found and read as far as their documents may be seen.

use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Client, Engine, OTHER, Options, PATIENT, TEST, World};

on_both_engines_and_in_xml!(
    a_folder_is_made_found_and_added_to,
    what_is_filed_and_hidden_is_not_there,
    what_is_filed_wrongly
);

/// A List as folder, of documents named so.
fn folder(items: &[&str]) -> Value {
    const ACTIVITIES: &str = "https://mos.esante.gouv.fr/NOS/TRE_R209-TypeActivite/FHIR/TRE-R209-TypeActivite";
    let entries: Vec<Value> = items.iter().map(|item| json!({ "item": { "reference": item } })).collect();
    json!({
        "resourceType": "List",
        "extension": [{
            "url": "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-designationType",
            "valueCodeableConcept": { "coding": [{ "system": ACTIVITIES, "code": "07" }] },
        }],
        "identifier": [{ "use": "official", "system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.7600" }],
        "status": "current",
        "mode": "working",
        "title": "Suivi du genou",
        "code": { "coding": [{ "system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "code": "folder" }] },
        "subject": { "reference": format!("Patient?identifier={TEST}|{OTHER}") },
        "date": "2026-06-12T10:05:00+02:00",
        "entry": entries,
    })
}

const FED: &str = "urn:uuid:00000000-0000-4000-8000-000000000002";

/// A feed of one document with a folder beside it.
fn with_folder(example: &Example<'_>, folder: Value, method: &str, url: &str) -> String {
    let mut bundle: Value = serde_json::from_str(&example.transaction()).unwrap();
    let entry = json!({
        "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000077",
        "resource": folder,
        "request": { "method": method, "url": url },
    });
    bundle["entry"].as_array_mut().unwrap().push(entry);
    bundle.to_string()
}

fn made(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entries = answer.json();
    let id = |place: usize| {
        let location = entries["entry"][place]["response"]["location"].as_str().unwrap().to_owned();
        location.split('/').nth(1).unwrap().to_owned()
    };
    (id(3), id(1))
}

/// Ids of the documents that a List names.
fn named(list: &Value) -> Vec<String> {
    let entries = list["entry"].as_array().unwrap();
    entries
        .iter()
        .map(|one| one["item"]["reference"].as_str().unwrap().replace("DocumentReference/", ""))
        .collect()
}

fn search(client: &Client, code: &str) -> (u64, Vec<String>) {
    client.get(&format!("/List?patient.identifier={TEST}%7C{OTHER}&status=current&code={code}")).found()
}

fn example(unique_id: &str) -> Example<'_> {
    Example::new(TEST, OTHER, "OUVERT", unique_id)
}

fn a_folder_is_made_found_and_added_to(engine: Engine) {
    let world = World::start_with(engine, Options { strict: true, ..Options::default() });
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let body = with_folder(&example("2.25.761"), folder(&[FED]), "POST", "List");
    let answer = author.post("", body.clone());
    let (id, first) = made(&answer);
    assert_eq!(answer.json()["entry"][3]["response"]["status"], "201 Created");
    assert_eq!(author.post("", body).json(), answer.json(), "the same again");
    assert_eq!(world.rows("folder_entry"), 1);

    let read = author.get(&format!("/List/{id}")).json();
    assert_eq!(
        (read["title"].as_str(), read["meta"]["versionId"].as_str()),
        (Some("Suivi du genou"), Some("1"))
    );
    assert_eq!(named(&read), [first.as_str()]);
    assert_eq!(search(&author, "folder"), (1, vec![id.clone()]));
    let (sets, _) = search(&author, "submissionset");
    assert_eq!(search(&author, "submissionset,folder").0, sets + 1);
    let query = format!("/List?patient.identifier={TEST}%7C{OTHER}&status=current&code=folder");
    assert_eq!(author.get(&format!("{query}&identifier=urn:oid:2.25.7600")).found().0, 1);
    assert_eq!(author.get(&format!("{query}&identifier=urn:oid:2.25.7601")).found().0, 0);
    assert_eq!(author.get(&format!("{query}&designationType=07")).found().0, 1);
    let included = author.get(&format!("{query}&_include=List:item")).json();
    assert_eq!(included["entry"][1]["resource"]["id"], first.as_str());

    // Another who sees it adds what he feeds, and what was there.
    let other = world.client("cps-medecin-b");
    other.authorise(OTHER);
    let alone = author.post("/DocumentReference", example("2.25.762").single()).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let held = format!("DocumentReference/{alone}");
    let his = Example { author: "810100000024", custodian: "1750000102", ..example("2.25.763") };
    let answer = other.post("", with_folder(&his, folder(&[FED, &held]), "PUT", &format!("List/{id}")));
    let (updated, second) = made(&answer);
    assert_eq!(
        (updated.as_str(), answer.json()["entry"][3]["response"]["status"].as_str()),
        (id.as_str(), Some("200 OK"))
    );
    let read = author.get(&format!("/List/{id}")).json();
    assert_eq!(named(&read), [first, second, alone]);
    assert_eq!(read["meta"]["versionId"], "1", "what was filed since is told to nobody");
}

fn what_is_filed_and_hidden_is_not_there(engine: Engine) {
    let world = World::start(engine);
    let (author, reader) = (world.client("cps-medecin"), world.client("cps-infirmier"));
    author.authorise(OTHER);
    reader.authorise(OTHER);
    let masked = Example { labels: &["N", "MASQUE_PS"], ..example("2.25.764") };
    let (id, hidden) = made(&author.post("", with_folder(&masked, folder(&[FED]), "POST", "List")));
    assert_eq!(search(&author, "folder").0, 1);
    // Of which nothing may be seen, that is no folder: like one that is not.
    assert_eq!(search(&reader, "folder"), (0, vec![]));
    let (one, none) =
        (reader.get(&format!("/List/{id}")), reader.get("/List/00000000-0000-4000-8000-000000000000"));
    one.assert_refused(404, "", "no such resource");
    assert_eq!(one.text().replace(one.request_id(), ""), none.text().replace(none.request_id(), ""));
    let add = |folder_id: &str, unique_id: &str, items: &[&str]| {
        let his = Example { author: "810100000040", custodian: "1750000104", ..example(unique_id) };
        reader.post("", with_folder(&his, folder(items), "PUT", &format!("List/{folder_id}")))
    };
    let without_id = |answer: &Answer| answer.text().replace(answer.request_id(), "");
    let (of_hidden, of_absent) = (add(&id, "2.25.765", &[FED]), add("nothing", "2.25.765", &[FED]));
    of_hidden.assert_refused(422, "XDSRegistryMetadataError", "the folder to be updated is not known");
    assert_eq!(without_id(&of_hidden), without_id(&of_absent));

    // With a document beside it that is seen, the folder is there, and names that alone.
    let (_, shown) =
        made(&author.post("", with_folder(&example("2.25.766"), folder(&[FED]), "PUT", &format!("List/{id}"))));
    assert_eq!(named(&author.get(&format!("/List/{id}")).json()), [hidden.as_str(), shown.as_str()]);
    assert_eq!(named(&reader.get(&format!("/List/{id}")).json()), std::slice::from_ref(&shown));
    assert_eq!(search(&reader, "folder"), (1, vec![id.clone()]));
    // What is filed and hidden changes nothing of it.
    let before = reader.get(&format!("/List/{id}")).json();
    let masked = Example { labels: &["N", "MASQUE_PS"], ..example("2.25.7660") };
    made(&author.post("", with_folder(&masked, folder(&[FED]), "PUT", &format!("List/{id}"))));
    assert_eq!(reader.get(&format!("/List/{id}")).json(), before);
    // What may not be seen is not filed: as what is not there.
    let hidden = format!("DocumentReference/{hidden}");
    let (of_hidden, of_absent) =
        (add(&id, "2.25.767", &[FED, &hidden]), add(&id, "2.25.767", &[FED, "DocumentReference/nothing"]));
    of_hidden.assert_refused(422, "XDSRegistryMetadataError", "neither a document of the transaction");
    assert_eq!(without_id(&of_hidden), without_id(&of_absent));
    // Adding leaves what is hidden where it is.
    let (_, third) = made(&add(&id, "2.25.768", &[FED]));
    assert_eq!(named(&author.get(&format!("/List/{id}")).json()).len(), 4);
    assert_eq!(named(&reader.get(&format!("/List/{id}")).json()), [shown, third]);
    // Without authorisation one feeds, and does not file with what is held.
    let stranger = world.client("cps-dentiste");
    let his = Example { author: "810100000032", custodian: "1750000103", ..example("2.25.769") };
    let refused = stranger.post("", with_folder(&his, folder(&[FED]), "PUT", &format!("List/{id}")));
    assert_eq!(without_id(&refused), without_id(&add("nothing", "2.25.770", &[FED])));
}

fn what_is_filed_wrongly(engine: Engine) {
    let world = World::start_with(engine, Options { strict: true, ..Options::default() });
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let (id, _) = made(&author.post("", with_folder(&example("2.25.771"), folder(&[FED]), "POST", "List")));
    let before = (world.rows("document"), world.rows("submission_set"), world.rows("folder_entry"));
    type Change = fn(&mut Value);
    let faults: [(&str, String, Change, u16, &str); 8] = [
        ("POST", "List".into(), |folder| folder["entry"] = Value::Null, 422, "a folder holds documents"),
        ("POST", "List".into(), |folder| folder["date"] = Value::Null, 422, "the date is missing"),
        ("POST", "List".into(), |folder| folder["extension"] = Value::Null, 422, "of what kind it is"),
        (
            "POST",
            "List".into(),
            |folder| folder["subject"] = json!({ "reference": format!("Patient?identifier={TEST}|{PATIENT}") }),
            422,
            "one patient",
        ),
        ("PUT", format!("List/{id}"), |folder| folder["title"] = "Autre".into(), 422, "changes nothing else"),
        (
            "PUT",
            format!("List/{id}"),
            |folder| folder["code"]["coding"][0]["code"] = "submissionset".into(),
            422,
            "adds to a folder",
        ),
        ("PUT", "List?identifier=x".into(), |_| {}, 422, "adds to a folder"),
        ("PATCH", format!("List/{id}"), |_| {}, 422, "no part of a feed"),
    ];
    for (number, (method, url, change, status, phrase)) in faults.into_iter().enumerate() {
        let mut list = folder(&[FED]);
        change(&mut list);
        if let Value::Object(members) = &mut list {
            members.retain(|_, value| !value.is_null());
        }
        let unique_id = format!("2.25.772{number}");
        let answer = author.post("", with_folder(&example(&unique_id), list, method, &url));
        assert_eq!(answer.status, status, "{phrase}: {}", answer.text());
        assert!(answer.text().contains(phrase), "{phrase}: {}", answer.text());
    }
    assert_eq!(before, (world.rows("document"), world.rows("submission_set"), world.rows("folder_entry")));
}
