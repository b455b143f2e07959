//! `$actualiser`: what is new, changed, replaced or gone, as the caller may know it.

use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines_and_in_xml!(a_software_keeps_up, what_was_under_way_is_told, what_is_asked_wrongly);

pub fn refresh(client: &Client, ins: &str, since: Option<&str>, known: &[&str]) -> Answer {
    let mut parameters =
        vec![json!({ "name": "patient", "valueIdentifier": { "system": TEST, "value": ins } })];
    parameters.extend(since.map(|since| json!({ "name": "depuis", "valueDateTime": since })));
    parameters.extend(known.iter().map(|id| match id.contains('/') {
        true => json!({ "name": "connus", "valueReference": { "reference": id } }),
        false => json!({ "name": "connus", "valueId": id }),
    }));
    let body = json!({ "resourceType": "Parameters", "parameter": parameters });
    client.post("/DocumentReference/$actualiser", body.to_string())
}

/// Name and id of each thing told.
#[track_caller]
fn told(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let parameters = answer.json();
    let id_of =
        |reference: &Value| reference["reference"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let mut told: Vec<String> = parameters["parameter"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| match one["name"].as_str().unwrap() {
            "instant" => None,
            "remplace" => {
                let by = one["part"].get(1).map_or("nobody".to_owned(), |by| id_of(&by["valueReference"]));
                Some(format!("remplace {} {by}", id_of(&one["part"][0]["valueReference"])))
            }
            "disparu" => Some(format!("disparu {}", one["valueId"].as_str().unwrap())),
            name => Some(format!("{name} {}", one["resource"]["id"].as_str().unwrap())),
        })
        .collect();
    told.sort();
    told
}

fn instant(answer: &Answer) -> String {
    answer.json()["parameter"][0]["valueInstant"].as_str().unwrap().to_owned()
}

fn a_software_keeps_up(engine: Engine) {
    let world = World::start(engine);
    let (author, reader, mes) =
        (world.client("cps-medecin-b"), world.client("cps-medecin"), PatientSide::of(&world));
    author.authorise(OTHER);
    reader.authorise(OTHER);
    let feed = |example: Example<'_>| {
        let answer = author.post("/DocumentReference", example.single());
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let ids: Vec<String> = ["2.25.990", "2.25.991", "2.25.992", "2.25.993"]
        .iter()
        .map(|id| feed(Example::new(TEST, OTHER, "X", id)))
        .collect();
    let [one, two, three, four] = &ids[..] else { panic!() };
    let first = refresh(&reader, OTHER, Some("2020"), &[]);
    let mut expected: Vec<String> = ids.iter().map(|id| format!("nouveau {id}")).collect();
    expected.sort();
    assert_eq!(told(&first), expected);
    // What is young is told again to who asks from that instant on, and not to who names it with its version.
    assert_eq!(told(&refresh(&reader, OTHER, Some(&instant(&first)), &[])), expected);
    let versions: Vec<String> = ids.iter().map(|id| format!("DocumentReference/{id}/_history/1")).collect();
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    assert!(told(&refresh(&reader, OTHER, Some(&instant(&first)), &versions)).is_empty());
    world.clock.advance_seconds(601);
    let since = instant(&refresh(&reader, OTHER, Some("2020"), &[]));
    assert!(told(&refresh(&reader, OTHER, Some(&since), &[])).is_empty(), "nothing since");
    world.clock.advance_seconds(2);

    // One is archived and shown still, one replaced, one masked, one deleted, one new.
    let archive = json!([{ "op": "add", "path": "/extension", "value": [{
        "url": "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived", "valueBoolean": true }] }]);
    assert_eq!(author.patch_document("2.25.990", &archive).status, 200);
    let newer = feed(Example { replaces: Some("2.25.991"), ..Example::new(TEST, OTHER, "X", "2.25.994") });
    assert_eq!(mes.change_document(OTHER, three, json!({ "masque": true })).status, 200);
    assert_eq!(author.delete_document("2.25.993").status, 200);

    let known: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut expected = vec![
        format!("modifie {one}"),
        format!("remplace {two} {newer}"),
        format!("disparu {three}"),
        format!("disparu {four}"),
        format!("nouveau {newer}"),
    ];
    expected.sort();
    assert_eq!(told(&refresh(&reader, OTHER, Some(&since), &known)), expected);
    // By the versions that it holds, without an instant.
    assert_eq!(told(&refresh(&reader, OTHER, None, &versions)), expected);
    let current = format!("DocumentReference/{one}/_history/2");
    assert_eq!(
        told(&refresh(&reader, OTHER, None, &[&current, two, &newer])),
        [format!("remplace {two} {newer}")]
    );
    let held_replaced = format!("DocumentReference/{two}/_history/2");
    let held = [current.as_str(), &held_replaced, &newer];
    assert!(told(&refresh(&reader, OTHER, None, &held)).is_empty(), "that it is replaced is known");
    // Since an instant alone: what is gone cannot be told without telling of it.
    let mut expected =
        vec![format!("modifie {one}"), format!("remplace {two} {newer}"), format!("nouveau {newer}")];
    expected.sort();
    assert_eq!(told(&refresh(&reader, OTHER, Some(&since), &[])), expected);
    // Masked and never there are told alike.
    assert_eq!(told(&refresh(&reader, OTHER, None, &[three, one, two, &newer, "nobody"])).len(), 3);
    let traces = world.traces_of(refresh(&reader, OTHER, Some(&since), &[]).request_id());
    assert!(traces.len() == 1 && traces[0].objects.contains(&newer));
    // Who may not read is told nothing.
    let stranger = world.client("cps-infirmier");
    refresh(&stranger, OTHER, Some("2020"), &[one]).assert_refused(
        403,
        "DMPAccessForbidden",
        "no authorisation",
    );
    assert_eq!(
        told(&refresh(&reader, "172047599900387", None, &[one])),
        [format!("disparu {one}")],
        "no record"
    );
}

/// A feed that began before a call and was kept after it: the next call tells of it.
fn what_was_under_way_is_told(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin-b");
    doctor.authorise(OTHER);
    world.clock.advance_seconds(300);
    let since = instant(&refresh(&doctor, OTHER, Some("2020"), &[]));
    // As slow bodies do: its request began earlier.
    world.clock.advance_seconds(-290);
    let fed = doctor.post("/DocumentReference", Example::new(TEST, OTHER, "X", "2.25.997").single());
    assert_eq!(fed.status, 201, "{}", fed.text());
    world.clock.advance_seconds(300);
    let id = fed.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(told(&refresh(&doctor, OTHER, Some(&since), &[])), [format!("nouveau {id}")]);
    let of = |ins: &str| -> jiff::Timestamp { instant(&refresh(&doctor, ins, None, &["x"])).parse().unwrap() };
    let (before, nobody, after) = (of(OTHER), of("172047599900387"), of(OTHER));
    assert!(before <= nobody && nobody <= after, "without a record likewise: {before} {nobody} {after}");
}

fn what_is_asked_wrongly(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    refresh(&doctor, OTHER, None, &[]).assert_refused(400, "", "depuis");
    refresh(&doctor, OTHER, None, &["DocumentReference/a/_history/x"]).assert_refused(
        400,
        "",
        "valueReference as DocumentReference/id/_history/version",
    );
    refresh(&doctor, "279035121518980", Some("2024"), &[]).assert_refused(400, "DMPInvalidResourceId", "key");
    let bundle = r#"{"resourceType":"Bundle","type":"batch"}"#;
    doctor.post("/DocumentReference/$actualiser", bundle).assert_refused(400, "", "not Parameters");
}
