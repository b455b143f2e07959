//! `_history` of a DocumentReference: its versions, for who may see the document now and might have seen it then.

use habilis::sandbox::example::Example;
use serde_json::json;

use crate::on_both_engines_and_in_xml;
use crate::support::{Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines_and_in_xml!(
    versions_of_a_document,
    what_a_mask_hid_stays_hidden,
    an_erased_record_has_no_history
);

/// Version, status and labels of each entry.
fn told(client: &Client, id: &str) -> Vec<String> {
    let answer = client.get(&format!("/DocumentReference/{id}/_history"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bundle = answer.json();
    assert_eq!(
        (bundle["type"].as_str(), bundle["total"].as_u64()),
        (Some("history"), bundle["entry"].as_array().map(|all| all.len() as u64))
    );
    let entries = bundle["entry"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| {
            let resource = &entry["resource"];
            let version = resource["meta"]["versionId"].as_str().unwrap();
            assert_eq!(entry["response"]["etag"], format!("W/\"{version}\""));
            let one = client.get(&format!("/DocumentReference/{id}/_history/{version}"));
            assert_eq!((one.status, &one.json()), (200, resource), "vread gives the same");
            assert_eq!(one.header("etag"), format!("W/\"{version}\""));
            let labels = resource["securityLabel"].as_array().unwrap().iter();
            let labels: Vec<&str> = labels.map(|label| label["coding"][0]["code"].as_str().unwrap()).collect();
            let archived = if resource.get("extension").is_some() { " archived" } else { "" };
            format!("{version} {} {}{archived}", resource["status"].as_str().unwrap(), labels.join("+"))
        })
        .collect()
}

fn feed(client: &Client, example: &Example<'_>) -> String {
    let fed = client.post("/DocumentReference", example.single());
    assert_eq!(fed.status, 201, "{}", fed.text());
    fed.json()["id"].as_str().unwrap().to_owned()
}

fn versions_of_a_document(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let id = feed(&author, &Example::new(TEST, OTHER, "OUVERT", "2.25.750"));
    assert_eq!(told(&author, &id), ["1 current N"]);
    assert_eq!(author.label("2.25.750", &["N", "MASQUE_PS"]).status, 200);
    let archived = json!([{ "op": "add", "path": "/extension", "value": [{
        "url": "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived",
        "valueBoolean": true,
    }] }]);
    assert_eq!(author.patch(&format!("/DocumentReference/{id}"), &archived).status, 200);
    feed(&author, &Example { replaces: Some("2.25.750"), ..Example::new(TEST, OTHER, "OUVERT", "2.25.751") });
    assert_eq!(
        told(&author, &id),
        [
            "4 superseded N+MASQUE_PS archived",
            "3 current N+MASQUE_PS archived",
            "2 current N+MASQUE_PS",
            "1 current N",
        ]
    );
    // What is none of its versions, and what is no version at all, is not there.
    for version in ["0", "5", "-1", "x", "99999999999999999999"] {
        let path = format!("/DocumentReference/{id}/_history/{version}");
        author.get(&path).assert_refused(404, "", "no such resource");
    }
    author.get("/DocumentReference/nothing/_history").assert_refused(404, "", "no such resource");
    // A deletion ends it all.
    assert_eq!(author.delete_document("2.25.751").status, 200);
    author.get(&format!("/DocumentReference/{id}/_history")).assert_refused(404, "", "no such resource");
    author.get(&format!("/DocumentReference/{id}/_history/1")).assert_refused(404, "", "no such resource");
}

fn what_a_mask_hid_stays_hidden(engine: Engine) {
    let world = World::start(engine);
    let (author, reader) = (world.client("cps-medecin"), world.client("cps-infirmier"));
    author.authorise(OTHER);
    reader.authorise(OTHER);
    let id = feed(&author, &Example::new(TEST, OTHER, "OUVERT", "2.25.752"));
    assert_eq!(told(&reader, &id), ["1 current N"]);
    assert_eq!(author.label("2.25.752", &["N", "MASQUE_PS"]).status, 200);
    // Masked now: nothing of it is there, not what it was before either.
    for path in ["_history", "_history/1", "_history/2"] {
        let hidden = reader.get(&format!("/DocumentReference/{id}/{path}"));
        hidden.assert_refused(404, "", "no such resource");
    }
    assert_eq!(author.label("2.25.752", &["N"]).status, 200);
    assert_eq!(told(&author, &id), ["3 current N", "2 current N+MASQUE_PS", "1 current N"]);
    // Who could not see it then does not see that it was masked.
    assert_eq!(told(&reader, &id), ["3 current N", "1 current N"]);
    reader.get(&format!("/DocumentReference/{id}/_history/2")).assert_refused(404, "", "no such resource");
    // Without authorisation there is no document.
    let stranger = world.client("cps-dentiste");
    assert_eq!(stranger.get(&format!("/DocumentReference/{id}/_history")).status, 404);
    assert_eq!(world.client("cpe-secretaire").get(&format!("/DocumentReference/{id}/_history")).status, 403);
}

fn an_erased_record_has_no_history(engine: Engine) {
    let world = World::start(engine);
    let (author, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    author.authorise(OTHER);
    feed(&author, &Example::new(TEST, OTHER, "OUVERT", "2.25.753"));
    assert_eq!(author.label("2.25.753", &["N", "MASQUE_PS"]).status, 200);
    assert_eq!(world.rows("document_version"), 1);
    let record = mes.record(OTHER);
    let erased = mes.send("DELETE", &format!("/{}", record.id), Some(record.version), None);
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert_eq!(world.rows("document_version"), 0);
}
