//! ITI-67: criteria, pages, totals; and that the query's predicate says what the decision says.

use habilis::sandbox::example::Example;

use crate::on_both_engines;
use crate::support::{Engine, PATIENT, TEST, World};

on_both_engines!(criteria, pages_are_whole_and_stable, query_and_decision_agree);

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
    // A page link opens nothing to another caller.
    let page = doctor
        .get(&format!("/DocumentReference?patient.identifier={TEST}%7C{PATIENT}&status=current&_count=3"));
    world.client("cps-medecin-b").get(&page.link("next").unwrap()).assert_refused(
        403,
        "DMPAccessForbidden",
        "no authorisation",
    );
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
