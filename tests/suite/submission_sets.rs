//! ITI-66: submission sets are found by their own criteria, and are there as far as their documents may be seen.

use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::on_both_engines_and_in_xml;
use crate::support::{Engine, OTHER, PatientSide, TEST, World};

on_both_engines_and_in_xml!(criteria_of_sets, a_set_shows_what_may_be_seen, pages_of_sets);

fn path(query: &str) -> String {
    format!("/List?patient.identifier={TEST}%7C{OTHER}&code=submissionset&status=current{query}")
}

/// A transaction of two documents.
fn two_documents(first: &str, second: &str) -> String {
    let mut bundle: Value = serde_json::from_str(&Example::new(TEST, OTHER, "X", first).transaction()).unwrap();
    let other: Value = serde_json::from_str(&Example::new(TEST, OTHER, "X", second).transaction()).unwrap();
    let (document, binary) =
        ("urn:uuid:00000000-0000-4000-8000-000000000012", "urn:uuid:00000000-0000-4000-8000-000000000013");
    let mut entries = other["entry"].as_array().unwrap()[1..].to_vec();
    entries[0]["fullUrl"] = document.into();
    entries[0]["resource"]["content"][0]["attachment"]["url"] = binary.into();
    entries[1]["fullUrl"] = binary.into();
    bundle["entry"].as_array_mut().unwrap().extend(entries);
    let item = json!({ "item": { "reference": document } });
    bundle["entry"][0]["resource"]["entry"].as_array_mut().unwrap().push(item);
    bundle.to_string()
}

fn criteria_of_sets(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin-b");
    doctor.authorise(OTHER);
    let mut bundle: Value =
        serde_json::from_str(&Example::new(TEST, OTHER, "X", "2.25.970").transaction()).unwrap();
    let list = &mut bundle["entry"][0]["resource"];
    list["contained"] = json!([
        { "resourceType": "PractitionerRole", "id": "source", "practitioner": { "reference": "#personne" } },
        { "resourceType": "Practitioner", "id": "personne", "name": [{ "family": "Durand", "given": ["Éva"] }],
          "identifier": [{ "system": "urn:oid:1.2.250.1.71.4.2.1", "value": "810100000024" }] },
        { "resourceType": "Organization", "id": "cabinet", "identifier": [{ "system": "urn:oid:1.2.250.1.71.4.2.2", "value": "1750000036" }] },
    ]);
    list["source"]["extension"] = json!([{
        "url": "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-authorOrg",
        "valueReference": { "reference": "#cabinet" },
    }]);
    let fed = doctor.post("", bundle.to_string());
    assert_eq!(fed.status, 200, "{}", fed.text());
    let single = doctor.post("/DocumentReference", Example::new(TEST, OTHER, "X", "2.25.971").single());
    assert_eq!(single.status, 201);

    let total = |query: &str| {
        let answer = doctor.get(&path(query));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer.found().0
    };
    for (query, expected) in [
        ("", 2),
        ("&identifier=urn:ietf:rfc:3986%7Curn:oid:2.25.970.2", 1),
        ("&identifier=urn:oid:2.25.970.2", 1),
        ("&identifier=urn:oid:2.25.979", 0),
        ("&designationType=07", 1),
        ("&designationType=urn:x%7C07", 0),
        ("&sourceId=urn:oid:1.2.250.1.213.9.9", 1),
        ("&source.family=dur", 1),
        ("&source.family:exact=dur", 0),
        ("&source.given=eva", 1),
        ("&source.given=autre", 0),
        ("&source=810100000024", 2),
        ("&authorOrg=1750000036", 1),
        ("&date=2026-06-12", 1),
        ("&date=ge2026-06-12T10:05:00%2B02:00&date=lt2026-06-13", 1),
        ("&date=gt2026-06-12", 1),
        ("&_count=0", 2),
        ("&code=folder", 0),
        ("&status=entered-in-error", 0),
    ] {
        assert_eq!(total(query), expected, "{query}");
    }
    let without = |query: &str| doctor.get(&format!("/List?{query}"));
    without("code=submissionset&status=current").assert_refused(400, "", "patient");
    let patient = format!("patient.identifier={TEST}%7C{OTHER}");
    without(&format!("{patient}&status=current")).assert_refused(400, "", "code and status");
    without(&format!("{patient}&code=submissionset")).assert_refused(400, "", "code and status");
    without(&format!("{patient}&code=submissionset&status=current&_include=List:subject")).assert_refused(
        400,
        "",
        "List:item",
    );
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("{patient}&code=submissionset&status=current");
    assert_eq!(doctor.send("POST", "/List/_search", &form, Some(body)).unwrap().found().0, 2);
    // Nothing without authorisation, by search or by address.
    let list = doctor.get(&path("")).found().1.remove(0);
    let stranger = world.client("cps-infirmier");
    stranger.get(&path("")).assert_refused(403, "DMPAccessForbidden", "no authorisation");
    stranger.get(&format!("/List/{list}")).assert_refused(404, "", "no such resource");
    assert_eq!(doctor.get(&format!("/List/{list}")).json()["id"], list);
}

/// One document of two is masked: the set names the other. Both are: there is no set.
fn a_set_shows_what_may_be_seen(engine: Engine) {
    let world = World::start(engine);
    let (author, other, mes) =
        (world.client("cps-medecin-b"), world.client("cps-infirmier"), PatientSide::of(&world));
    author.authorise(OTHER);
    other.authorise(OTHER);
    let fed = author.post("", two_documents("2.25.972", "2.25.973"));
    assert_eq!(fed.status, 200, "{}", fed.text());
    let ids: Vec<String> = author.find(OTHER).found().1;
    let items = |client: &crate::support::Client, query: &str| {
        let answer = client.get(&path(query));
        let bundle = answer.json();
        let all = bundle["entry"].as_array().cloned().unwrap_or_default();
        let named: Vec<String> = all
            .iter()
            .flat_map(|entry| entry["resource"]["entry"].as_array().cloned().unwrap_or_default())
            .map(|item| {
                item["item"]["reference"].as_str().unwrap().trim_start_matches("DocumentReference/").to_owned()
            })
            .collect();
        let included = all.iter().filter(|entry| entry["search"]["mode"] == "include").count();
        (bundle["total"].as_u64().unwrap(), named, included)
    };
    let both = items(&other, "&_include=List:item");
    assert_eq!((both.0, both.1.len(), both.2), (1, 2, 2));
    assert!(ids.iter().all(|id| both.1.contains(id)));
    let list = other.get(&path("")).found().1.remove(0);

    assert_eq!(mes.change_document(OTHER, &ids[0], json!({ "masque": true })).status, 200);
    assert_eq!(items(&other, "&_include=List:item"), (1, vec![ids[1].clone()], 1));
    for client in [&other, &author] {
        let found = client.get(&path("")).json();
        assert_eq!(
            client.get(&format!("/List/{list}")).json(),
            found["entry"][0]["resource"],
            "as it is found"
        );
    }
    assert!(!other.get(&format!("/List/{list}")).text().contains(&ids[0]));
    assert_eq!(items(&author, "").1.len(), 2, "the author sees his own");
    assert_eq!(mes.change_document(OTHER, &ids[1], json!({ "masque": true })).status, 200);
    assert_eq!(items(&other, "&_include=List:item"), (0, vec![], 0));
    other.get(&format!("/List/{list}")).assert_refused(404, "", "no such resource");
}

fn pages_of_sets(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin-b");
    doctor.authorise(OTHER);
    for number in 0..7 {
        let id = format!("2.25.98{number}");
        assert_eq!(doctor.post("", Example::new(TEST, OTHER, "X", &id).transaction()).status, 200);
    }
    let (_, whole) = doctor.get(&path("")).found();
    for size in [1, 3, 7] {
        let (mut seen, mut next) = (Vec::new(), Some(path(&format!("&_count={size}"))));
        while let Some(link) = next {
            let page = doctor.get(&link);
            let (total, ids) = page.found();
            assert_eq!(total, 7);
            seen.extend(ids);
            next = page.link("next");
            assert!(next.as_ref().is_none_or(|link| !link.contains(OTHER)), "no INS in a link");
        }
        assert_eq!(seen, whole, "page size {size}");
    }
}
