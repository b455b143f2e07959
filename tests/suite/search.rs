//! ITI-67: criteria, pages, totals; and that the query's predicate says what the decision says.

use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::{Engine, OTHER, PATIENT, TEST, World};

on_both_engines!(
    without_reading_right_nothing_is_asked_of_a_document,
    criteria,
    every_other_criterion,
    what_is_not_known,
    pages_are_whole_and_stable,
    the_oldest_first,
    query_and_decision_agree
);

const ARCHIVED: &str = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived";

fn criteria(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(PATIENT);
    for (id, type_code, class_code) in
        [("2.25.71", "11488-4", "10"), ("2.25.72", "34133-9", "11"), ("2.25.73", "11502-2", "10")]
    {
        let example = Example { type_code, class_code, ..Example::new(TEST, PATIENT, "PAT-TROIS", id) };
        assert_eq!(doctor.post("", example.transaction()).status, 200);
    }
    let total = |query: &str| {
        let answer = doctor.get(&format!("/DocumentReference?patient.identifier={TEST}%7C{PATIENT}&{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer.found().0
    };
    for (query, expected) in [
        ("status=current", 3),
        ("status=current,superseded", 3),
        ("status=superseded", 0),
        ("status=entered-in-error", 0),
        ("status=current&type=11488-4", 1),
        ("status=current&type=http://loinc.org%7C11488-4,11502-2", 2),
        ("status=current&category=11", 1),
        ("status=current&category=10&type=34133-9", 0),
        ("status=current&facility=SA07", 3),
        ("status=current&setting=AMO", 0),
        ("status=current&format=urn:ihe:iti:xds-sd:text:2008", 3),
        ("status=current&identifier=urn:ietf:rfc:3986%7Curn:oid:2.25.72", 1),
        ("status=current&identifier=urn:oid:2.25.79", 0),
        ("status=current&date=ge2026-06-12&date=lt2026-06-13", 3),
        ("status=current&date=lt2026-06-12", 0),
        ("status=current&date=2026", 3),
        ("status=current&creation=gt2026-06-12T10:00:00%2B02:00", 0),
        ("status=current&creation=ge2026-06-12T10:00:00%2B02:00", 3),
        ("status=current&_count=0", 3),
        ("status=current&_summary=count", 3),
    ] {
        assert_eq!(total(query), expected, "{query}");
    }
    let search = |query: &str| doctor.get(&format!("/DocumentReference?{query}"));
    let patient = format!("patient.identifier={TEST}%7C{PATIENT}");
    search(&patient).assert_refused(400, "", "status");
    search("status=current").assert_refused(400, "", "patient");
    search(&format!("{patient}&status=current&_has:List:item=1")).assert_refused(400, "", "does not know");
    search(&format!("{patient}&status=final")).assert_refused(400, "", "not a status");
    search(&format!("{patient}&{patient}&status=current")).assert_refused(400, "", "twice");
    search(&format!("{patient}&status=current&_after=x")).assert_refused(400, "", "page");
    let many = "&date=2024".repeat(60);
    search(&format!("{patient}&status=current{many}")).assert_refused(400, "", "at most 50");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let huge = doctor.send("POST", "/DocumentReference/_search", &form, Some("date=2024&".repeat(100_000)));
    huge.unwrap().assert_refused(413, "", "at most 65536");
    assert_eq!(doctor.get("/Binary/%00").status, 404, "the same on both engines");
    search(&format!("{patient}&status=current&type=%00")).assert_refused(400, "", "U+0000");
    assert_eq!(search("patient=Patient/no-such-record&status=current").found(), (0, vec![]));

    let form = doctor.send(
        "POST",
        "/DocumentReference/_search",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        Some(format!("{patient}&status=current")),
    );
    assert_eq!(form.unwrap().found().0, 3);
    let html = doctor.get(&format!("/DocumentReference?{patient}&status=current&_format=text/html"));
    html.assert_refused(406, "", "application/fhir+json and application/fhir+xml");
}

fn pages_are_whole_and_stable(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(PATIENT);
    for number in 0..11 {
        let id = format!("2.25.80{number}");
        assert_eq!(doctor.post("", Example::new(TEST, PATIENT, "PAT-TROIS", &id).transaction()).status, 200);
    }
    let (total, whole) = doctor.find(PATIENT).found();
    assert_eq!((total, whole.len()), (11, 11));
    for size in [1, 3, 5, 11, 100] {
        let mut seen = Vec::new();
        let first =
            format!("/DocumentReference?patient.identifier={TEST}%7C{PATIENT}&status=current&_count={size}");
        let mut next = Some(first);
        while let Some(link) = next {
            let page = doctor.get(&link);
            let (total, ids) = page.found();
            assert_eq!(total, 11, "each page tells the whole total");
            assert!(ids.len() <= size);
            seen.extend(ids);
            next = page.link("next");
            assert!(next.as_ref().is_none_or(|link| !link.contains(PATIENT)), "no INS in a link");
        }
        assert_eq!(seen, whole, "page size {size}");
    }
    // A page link opens nothing to another caller, whether he may read or not, nor for another question.
    let page = doctor
        .get(&format!("/DocumentReference?patient.identifier={TEST}%7C{PATIENT}&status=current&_count=3"));
    let link = page.link("next").unwrap();
    let other = world.client("cps-medecin-b");
    other.get(&link).assert_refused(400, "", "for this caller and this search");
    other.authorise(PATIENT);
    other.get(&link).assert_refused(400, "", "for this caller and this search");
    doctor.get(&link.replace("_count=3", "_count=4")).assert_refused(
        400,
        "",
        "for this caller and this search",
    );
    assert_eq!(doctor.get(&link).status, 200, "control");
    // What comes or goes meanwhile moves no page: what stands after the last one seen is what follows.
    let before = doctor.get(&link).found().1;
    assert_eq!(doctor.post("", Example::new(TEST, PATIENT, "PAT-TROIS", "2.25.820").transaction()).status, 200);
    assert!(doctor.delete_document("2.25.820").status == 200);
    assert_eq!(doctor.get(&link).found().1, before);
}

fn the_oldest_first(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(PATIENT);
    for number in 0..5 {
        let id = format!("2.25.83{number}");
        assert_eq!(doctor.post("", Example::new(TEST, PATIENT, "PAT-TROIS", &id).transaction()).status, 200);
        world.sql(&format!("UPDATE document SET date = date + {number} WHERE unique_id = 'urn:oid:{id}'"));
    }
    let search = format!("/DocumentReference?patient.identifier={TEST}%7C{PATIENT}&status=current");
    let (_, newest) = doctor.get(&format!("{search}&_sort=-date")).found();
    let (mut oldest, mut next) = (Vec::new(), Some(format!("{search}&_sort=date&_count=2")));
    while let Some(link) = next {
        let page = doctor.get(&link);
        oldest.extend(page.found().1);
        next = page.link("next");
    }
    assert_eq!(newest.len(), 5);
    assert_eq!(oldest, newest.into_iter().rev().collect::<Vec<_>>());
    doctor.get(&format!("{search}&_sort=type")).assert_refused(400, "", "sorts by date");
}

/// One document with everything, one with other things: what finds which.
fn every_other_criterion(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(PATIENT);
    let mut rich =
        serde_json::from_str::<Value>(&Example::new(TEST, PATIENT, "X", "2.25.840").single()).unwrap();
    rich["contained"][1] = json!({
        "resourceType": "PractitionerRole", "id": "auteur",
        "practitioner": { "reference": "#personne" },
        "identifier": [{ "system": "urn:oid:1.2.250.1.71.4.2.1", "value": "810100000016" }],
    });
    let person = json!({ "resourceType": "Practitioner", "id": "personne",
        "name": [{ "family": "Bérnard-Li", "given": ["Claire", "Ana"] }] });
    rich["contained"].as_array_mut().unwrap().push(person);
    rich["content"][0]["attachment"]["creation"] = "2024-05".into();
    rich["context"]["period"] = json!({ "start": "2024-03-10", "end": "2024-03-20" });
    rich["context"]["event"] =
        json!([{ "coding": [{ "system": "urn:oid:1.2.250.1.213.2.5", "code": "DEQP003" }] }]);
    rich["context"]["related"] = json!([{ "identifier": {
        "type": { "coding": [{ "system": "urn:ietf:rfc:3986", "code": "urn:ihe:iti:xds:2016:studyInstanceUID" }] },
        "system": "urn:dicom:uid", "value": "urn:oid:1.2.250.9" } }]);
    let first = doctor.post("/DocumentReference", rich.to_string());
    assert_eq!(first.status, 201, "{}", first.text());
    let first = first.json()["id"].as_str().unwrap().to_owned();
    // The same number, as an accession number; an act that goes on; another author's name.
    let mut other =
        serde_json::from_str::<Value>(&Example::new(TEST, PATIENT, "X", "2.25.841").single()).unwrap();
    other["context"]["related"] = json!([{ "identifier": {
        "type": { "coding": [{ "code": "urn:ihe:iti:xds:2013:accession" }] }, "value": "1.2.250.9" } }]);
    other["context"]["period"] = json!({ "start": "2025-01-01" });
    other["securityLabel"] = json!([{ "coding": [{ "code": "N" }] }, { "coding": [{ "code": "MASQUE_PS" }] }]);
    assert_eq!(doctor.post("/DocumentReference", other.to_string()).status, 201);
    let archive =
        json!([{ "op": "add", "path": "/extension", "value": [{ "url": ARCHIVED, "valueBoolean": true }] }]);
    assert_eq!(doctor.patch_document("2.25.841", &archive).status, 200);

    let found = |query: &str| {
        let answer = doctor
            .get(&format!("/DocumentReference?patient.identifier={TEST}%7C{PATIENT}&status=current&{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let ids = answer.found().1;
        let which: Vec<&str> = ids.iter().map(|id| if *id == first { "rich" } else { "other" }).collect();
        let mut which = which;
        which.sort_unstable();
        which.join(" ")
    };
    let study = "urn:ihe:iti:xds:2016:studyInstanceUID";
    for (query, expected) in [
        ("", "other rich"),
        ("author.family=bernard", "rich"),
        ("author.family=BÉRNARD LI", "rich"),
        ("author.family:exact=Bernard", ""),
        ("author.family:exact=bernard-li", "rich"),
        ("author.family=x,ber", "rich"),
        ("author.family=%25", ""),
        ("author.given=cla", "rich"),
        ("author.given=ana&author.family=ber", "rich"),
        ("author.given=ana&author.family=autre", ""),
        ("author=810100000016", "other rich"),
        ("author:identifier=urn:oid:1.2.250.1.71.4.2.1%7C810100000016", "other rich"),
        ("author=urn:x%7C810100000016", ""),
        ("event=DEQP003", "rich"),
        ("event=urn:oid:1.2.250.1.213.2.5%7CDEQP003", "rich"),
        ("event=urn:x%7CDEQP003,urn:y%7CA", ""),
        ("event=DEQP003&event=AUTRE", ""),
        ("related:identifier=1.2.250.9", "other rich"),
        ("related:identifier=urn:oid:1.2.250.9", "other rich"),
        ("related:identifier=urn:dicom:uid%7C1.2.250.9", "rich"),
        (&format!("related:identifier={study}%7Curn:oid:1.2.250.9"), "rich"),
        ("related:identifier=urn:ihe:iti:xds:2013:accession%7C1.2.250.9", "other"),
        ("related:identifier=1.2.250", ""),
        ("identifier=urn:ietf:rfc:3986%7Curn:oid:2.25.840", "rich"),
        ("identifier=urn:oid:2.25.840.1", "rich"),
        ("isArchived=true", "other"),
        ("isArchived=false", "rich"),
        ("security-label=MASQUE_PS", "other"),
        ("security-label=N", "other rich"),
        ("security-label=INVISIBLE_PATIENT", ""),
        ("security-label=INVISIBLE_PATIENT,MASQUE_PS", "other"),
        ("security-label=N&security-label=MASQUE_PS", "other"),
        ("security-label=R", ""),
        // A month: found by what holds all of it.
        ("creation=2024-05", "rich"),
        ("creation=2024", "rich"),
        ("creation=2024-05-10", ""),
        ("creation=ge2024-05-20&creation=lt2025", "rich"),
        ("creation=sa2024-05-20&creation=lt2025", ""),
        ("period=2024-03", "rich"),
        ("period=2024-03-15", ""),
        ("period=ge2024-03-15&period=lt2025", "rich"),
        ("period=gt2024-03-20", "other"),
        ("period=sa2024-03-20", "other"),
        ("period=eb2024-03-21", "rich"),
        ("period=le2024-03-10", "rich"),
        ("period=lt2024-03-10", ""),
        ("period=ge2030", "other"),
        ("period-start=2024-03-10", "rich"),
        ("period-start=gt2024-12", "other"),
        ("period-end=lt2025", "rich"),
        ("_lastUpdated=ge2020", "other rich"),
        ("_lastUpdated=lt2020", ""),
        (&format!("_id={first}"), "rich"),
    ] {
        assert_eq!(found(query), expected, "{query}");
    }
    // Replaced: found by what it replaced, as long as that may be seen.
    let newer = Example { replaces: Some("2.25.840"), ..Example::new(TEST, PATIENT, "X", "2.25.842") };
    assert_eq!(doctor.post("/DocumentReference", newer.single()).status, 201);
    assert_eq!(found(&format!("relatesto={first}")), "other");
    assert_eq!(found(&format!("relatesto=DocumentReference/{first}")), "other");
    world.sql(&format!("UPDATE document SET status = 'entered-in-error' WHERE id = '{first}'"));
    assert_eq!(found(&format!("relatesto={first}")), "");
}

/// Left aside with a warning, or refused where the client says so or the question would be turned round.
fn what_is_not_known(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(PATIENT);
    let search = |kind: &str, more: &str, prefer: &[(&str, &str)]| {
        let path = format!("/{kind}?patient.identifier={TEST}%7C{PATIENT}&status=current{more}");
        doctor.send("GET", &path, prefer, None).unwrap()
    };
    for (kind, more) in [("DocumentReference", ""), ("List", "&code=submissionset")] {
        let lenient = search(kind, &format!("{more}&confidence=high"), &[]);
        assert_eq!(lenient.status, 200, "{}", lenient.text());
        let bundle = lenient.json();
        let outcome = bundle["entry"].as_array().unwrap().last().unwrap();
        assert_eq!(outcome["search"]["mode"], "outcome");
        assert_eq!(outcome["resource"]["issue"][0]["severity"], "warning");
        assert!(outcome["resource"]["issue"][0]["diagnostics"].as_str().unwrap().contains("confidence"));
        assert!(!lenient.text().contains("high") && !lenient.link("self").unwrap().contains("confidence"));
        let strict = search(kind, &format!("{more}&confidence=high"), &[("Prefer", "handling=strict")]);
        strict.assert_refused(400, "", "does not know");
        let preferred = search(kind, more, &[("Prefer", "return=minimal, handling=strict")]);
        assert_eq!(preferred.status, 200);
        for turned in ["_has:X:y=1", "status:not=current", "_filter=x", "date:missing=true"] {
            search(kind, &format!("{more}&{turned}"), &[]).assert_refused(400, "", "does not know");
        }
    }
}

/// Every label, status and archive state × several callers: what a search shows is what a read gives, one by one.
fn query_and_decision_agree(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin");
    let mut ids = Vec::new();
    for number in 0..16 {
        for type_code in ["11488-4", "75496-0", "68599-0"] {
            let unique_id = format!("2.25.9{number}.{}", type_code.replace('-', "."));
            let example = Example {
                type_code,
                class_code: if type_code == "68599-0" { "11" } else { "10" },
                ..Example::new(TEST, PATIENT, "PAT-TROIS", &unique_id)
            };
            let single = author.post("/DocumentReference", example.single());
            assert_eq!(single.status, 201, "{}", single.text());
            let id = single.json()["id"].as_str().unwrap().to_owned();
            let bit = |bit: u32| if number >> bit & 1 == 1 { "= (1=1)" } else { "= (1=0)" };
            let author_id = if number % 3 == 0 { "810100000024" } else { "810100000016" };
            let status = ["current", "superseded", "entered-in-error"][number % 3];
            world.sql(&format!(
                "UPDATE document SET masked {}, invisible_to_patient {}, invisible_to_representatives {}, archived {}, \
                 author_id = '{author_id}', status = '{status}' WHERE id = '{id}'",
                bit(0), bit(1), bit(2), bit(3)
            ));
            ids.push(id);
        }
    }
    let mut counts = Vec::new();
    for card in
        ["cps-medecin", "cps-medecin-b", "cps-dentiste", "cps-kine", "cps-pharmacien", "cps-medecin-travail"]
    {
        let client = world.client(card);
        if card != "cps-medecin-travail" {
            client.authorise(PATIENT);
        }
        let found = client.get(&format!(
            "/DocumentReference?patient.identifier={TEST}%7C{PATIENT}&status=current,superseded,entered-in-error"
        ));
        let shown = if found.status == 200 { found.found().1 } else { Vec::new() };
        let read: Vec<&String> =
            ids.iter().filter(|id| client.get(&format!("/DocumentReference/{id}")).status == 200).collect();
        assert_eq!(shown.len(), read.len(), "{card}");
        assert!(read.iter().all(|id| shown.contains(id)), "{card}");
        counts.push((card, shown.len()));
    }
    // Control: the callers do differ, so the comparison is not one of nothing with nothing.
    assert!(counts[0].1 > counts[2].1 && counts[2].1 > 0, "{counts:?}");
    assert_eq!(counts[5].1, 0, "{counts:?}");
}

/// TD3.1b tells that one's own document is there: its labels, its archive and its dates are for who may read it.
fn without_reading_right_nothing_is_asked_of_a_document(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin");
    let fed = author.post("/DocumentReference", Example::new(TEST, OTHER, "X", "2.25.989").single());
    assert_eq!(fed.status, 201);
    let look_up = |rest: &str| {
        author.get(&format!(
            "/DocumentReference?patient.identifier={TEST}%7C{OTHER}&identifier=urn:oid:2.25.989{rest}"
        ))
    };
    assert_eq!(look_up("").found().0, 1);
    assert_eq!(look_up("&status=current").found().0, 1);
    for rest in [
        "&security-label=MASQUE_PS",
        "&security-label=N",
        "&isArchived=true",
        "&_lastUpdated=ge2020",
        "&type=11488-4",
    ] {
        look_up(rest).assert_refused(400, "", "a look-up goes by identifier and status alone");
    }
}
