//! One trace per request, durable before the answer: nobody has to remember to extend this.

use crate::on_both_engines;
use crate::support::{Engine, OTHER, PATIENT, TEST, World, assert_expected};

on_both_engines!(every_request_has_exactly_one_trace, without_traces_nothing_is_answered);

/// Every operation of the OpenAPI description, granted and refused: exactly one trace each, with its outcome and rule.
fn every_request_has_exactly_one_trace(engine: Engine) {
    let world = World::start(engine);
    let target = super::refusals::target(&world, "2.25.200");
    world.client("cps-medecin").authorise(OTHER);
    let mut table = String::from(
        "# Trace of each operation, granted and refused: operation, caller, outcome, status, rule.\n",
    );
    for (_, _, operation) in super::openapi::operations() {
        for card in ["cps-medecin", "org-hopital", "cpe-secretaire", "org-hopital-ssl", "org-mes"] {
            let before = world.traces().len();
            let client = world.client(card);
            let unique_id = format!("2.25.201.{}.{}", card.len(), operation.len());
            let answer = super::refusals::request(&client, &operation, &target, &unique_id).unwrap();
            let after = world.traces();
            assert_eq!(after.len(), before + 1, "{operation} by {card}");
            let trace = after.last().unwrap();
            assert_eq!(trace.request_id, answer.request_id(), "{operation} by {card}");
            assert_eq!(trace.status, i32::from(answer.status), "{operation} by {card}");
            assert!(!trace.rule.is_empty());
            assert!(!trace.rule.contains(OTHER) && !trace.rule.contains(PATIENT), "no INS in a trace's rule");
            table.push_str(&format!(
                "{:<30} {:<12} {:<8} {} {}\n",
                operation, trace.caller_kind, trace.outcome, trace.status, trace.rule
            ));
        }
    }
    assert_expected("audit_coverage.txt", &table);
}

fn without_traces_nothing_is_answered(engine: Engine) {
    let world = World::start(engine);
    let (_, binary) = super::refusals::fed(&world, "2.25.210");
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    assert_eq!(doctor.get(&format!("/Binary/{binary}")).status, 200);
    let documents = world.rows("document");
    world.sql("ALTER TABLE trace RENAME TO trace_away");
    let answers = [
        doctor.get(&format!("/Binary/{binary}")),
        doctor.find(OTHER),
        doctor.get(&format!("/Patient?identifier={TEST}%7C{OTHER}")),
        doctor.get("/metadata"),
        doctor
            .post("", habilis::sandbox::example::Example::new(TEST, OTHER, "OUVERT", "2.25.211").transaction()),
    ];
    for answer in &answers {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), "2");
        assert!(!answer.text().contains("trace"), "the cause is not told: {}", answer.text());
    }
    assert_eq!(world.rows("document"), documents, "nothing was done");
    // It recovers by itself.
    world.sql("ALTER TABLE trace_away RENAME TO trace");
    assert_eq!(doctor.get(&format!("/Binary/{binary}")).status, 200);
    assert_eq!(world.rows("document"), documents);
}
