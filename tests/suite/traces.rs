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

mod read {
    //! ITI-81: who reads which traces.

    use habilis::sandbox::example::Example;
    use serde_json::Value;

    use crate::on_both_engines_and_in_xml;
    use crate::support::{Answer, Client, Engine, OTHER, TEST, World};

    on_both_engines_and_in_xml!(
        a_professional_his_own_the_medecin_traitant_all,
        pages_and_parameters,
        the_patient_reads_them_all
    );

    /// Treated by `cps-medecin`.
    const TREATED: &str = "144027599900963";
    const DOCTOR_B: &str = "810100000024";

    fn of_record(client: &Client, ins: &str, more: &str) -> Answer {
        client.get(&format!("/AuditEvent?date=ge2020-01-01&entity.identifier={TEST}%7C{ins}{more}"))
    }

    fn own(client: &Client) -> Vec<Value> {
        events(&client.get("/AuditEvent?date=ge2020-01-01"))
    }

    #[track_caller]
    fn events(answer: &Answer) -> Vec<Value> {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let bundle = answer.json();
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        entries.into_iter().map(|entry| entry["resource"].clone()).collect()
    }

    fn actors(events: &[Value]) -> Vec<&str> {
        let mut actors: Vec<&str> = events
            .iter()
            // What the sandbox itself prepared is nobody's.
            .filter_map(|event| event["contained"][0]["practitioner"]["identifier"]["value"].as_str())
            .collect();
        actors.sort_unstable();
        actors.dedup();
        actors
    }

    fn request_id(event: &Value) -> &str {
        let entities = event["entity"].as_array().unwrap();
        entities.last().unwrap()["what"]["identifier"]["value"].as_str().unwrap()
    }

    fn a_professional_his_own_the_medecin_traitant_all(engine: Engine) {
        let world = World::start(engine);
        let (treating, other, nurse) =
            (world.client("cps-medecin"), world.client("cps-medecin-b"), world.client("cps-infirmier"));
        let masked = Example { labels: &["N", "MASQUE_PS"], ..Example::new(TEST, TREATED, "X", "2.25.900.1") };
        let fed = other.post("/DocumentReference", masked.single());
        assert_eq!(fed.status, 201, "{}", fed.text());
        let id = fed.json()["id"].as_str().unwrap().to_owned();
        nurse.authorise(TREATED);
        // The nurse asks for what is masked, and for what is not there: one is as the other.
        let hidden = nurse.get(&format!("/DocumentReference/{id}"));
        let unknown = nurse.get("/DocumentReference/unknown");
        assert_eq!((hidden.status, unknown.status), (404, 404));
        let nurses = events(&of_record(&nurse, TREATED, ""));
        assert_eq!(actors(&nurses), ["810100000040"]);
        assert!(nurses.iter().all(|event| event["entity"][0]["what"]["reference"].is_string()));
        let ids: Vec<&str> = nurses.iter().map(request_id).collect();
        assert!(!ids.contains(&hidden.request_id()) && !ids.contains(&unknown.request_id()), "{ids:?}");
        let all = own(&nurse);
        let of = |answer: &Answer| {
            let mut event = all.iter().find(|event| request_id(event) == answer.request_id()).unwrap().clone();
            for element in ["id", "recorded", "period", "entity"] {
                let entities = event["entity"].as_array().map_or(0, Vec::len);
                event[element] = if element == "entity" { entities.into() } else { Value::Null };
            }
            event
        };
        assert_eq!(of(&hidden), of(&unknown), "what is hidden is told as what is not there");
        assert!(!all.iter().any(|event| event.to_string().contains(&id)));

        // The médecin traitant reads everybody's, refusals included; on another record his own.
        let everybodys = events(&of_record(&treating, TREATED, ""));
        assert_eq!(actors(&everybodys), [DOCTOR_B, "810100000040"]);
        let feed = everybodys.iter().find(|event| request_id(event) == fed.request_id()).unwrap();
        assert_eq!(
            (&feed["action"], &feed["outcome"], &feed["subtype"][0]["code"]),
            (&"C".into(), &"0".into(), &"create".into())
        );
        assert_eq!(feed["entity"][1]["what"]["reference"], format!("DocumentReference/{id}"));
        assert!(feed["meta"]["profile"][1].as_str().unwrap().ends_with("IHE.BasicAudit.PatientCreate"));
        // What was hidden from somebody is told to nobody by this: not to him who reads all either, who may have looked for it himself.
        assert!(everybodys.iter().all(|event| request_id(event) != hidden.request_id()));
        let by_b = events(&of_record(&treating, TREATED, &format!("&agent.identifier={DOCTOR_B}")));
        assert_eq!(actors(&by_b), [DOCTOR_B]);
        nurse.authorise(OTHER);
        treating.authorise(OTHER);
        assert_eq!(actors(&events(&of_record(&treating, OTHER, ""))), ["810100000016"]);
        // Who asks for another's gets nothing, and learns nothing.
        assert_eq!(
            events(&of_record(&nurse, TREATED, &format!("&agent.identifier={DOCTOR_B}"))),
            [] as [Value; 0]
        );
        // Reading traces is traced.
        let reading = of_record(&treating, TREATED, "");
        let trace = world.traces_of(reading.request_id()).remove(0);
        assert_eq!((trace.operation.as_str(), trace.outcome.as_str()), ("read traces", "granted"));
        assert!(trace.rule.contains("médecin traitant reads all"), "{}", trace.rule);
        // Nobody in particular, and nobody in an emergency.
        for (client, phrase) in [
            (world.client("cpe-service"), "a person who is named"),
            (crate::homologation::bris_de_glace(&world, "cps-medecin", TREATED), "in mode normal"),
        ] {
            client.get("/AuditEvent?date=ge2020-01-01").assert_refused(403, "DMPAccessForbidden", phrase);
        }
    }

    /// The patient's side reads the last hundred, and on request all.
    fn the_patient_reads_them_all(engine: Engine) {
        use crate::support::PatientSide;
        let world = World::start(engine);
        let doctor = world.client("cps-medecin");
        doctor.authorise(TREATED);
        for _ in 0..210 {
            assert_eq!(doctor.find(TREATED).status, 200);
        }
        let mes = PatientSide::of(&world);
        let id = mes.record(TREATED).id;
        let page = |suite: &str| {
            let answer = mes.send("GET", &format!("/{id}/traces?lecteur=titulaire{suite}"), None, None);
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()
        };
        let (mut found, mut suite, mut sizes) = (0, String::new(), Vec::new());
        loop {
            let page = page(&suite);
            let lines = page["traces"].as_array().unwrap();
            sizes.push(lines.len());
            found += lines.iter().filter(|line| line["action"] == "TD3.1 find documents").count();
            match page["suite"].as_i64() {
                Some(next) => suite = format!("&suite={next}"),
                None => break,
            }
        }
        assert_eq!((found, &sizes[..2]), (210, &[100, 100][..]), "{sizes:?}");
        let bad = mes.send("GET", &format!("/{id}/traces?lecteur=titulaire&suite=x"), None, None);
        bad.assert_refused(400, "", "not a number");
    }

    fn pages_and_parameters(engine: Engine) {
        let world = World::start(engine);
        let (doctor, other) = (world.client("cps-medecin"), world.client("cps-medecin-b"));
        for _ in 0..5 {
            assert_eq!(doctor.exists(OTHER).status, 200);
        }
        for (query, code) in
            [("", 400), ("?date=le2030-01-01", 400), ("?date=x", 400), ("?date=2026-11-20", 200)]
        {
            assert_eq!(doctor.get(&format!("/AuditEvent{query}")).status, code, "{query}");
        }
        let first = doctor.get("/AuditEvent?date=ge2020-01-01&_count=4");
        let (total, next) = (first.json()["total"].as_u64().unwrap(), first.link("next").unwrap());
        // The five, and the four that were asked just before.
        assert_eq!(total, 9);
        let mut seen: Vec<Value> = events(&first);
        // What is asked meanwhile is newer, and shifts nothing.
        assert_eq!(doctor.exists(OTHER).status, 200);
        let mut link = Some(next.clone());
        while let Some(next) = link {
            let page = doctor.get(&next);
            seen.extend(events(&page));
            link = page.link("next");
        }
        let mut ids: Vec<&str> = seen.iter().map(request_id).collect();
        assert_eq!(ids.len(), 9);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 9);
        other.get(&next).assert_refused(400, "", "not a page that this server made for this caller");
        // A link names the record by our id, never the INS.
        let linked = of_record(&doctor, OTHER, "").link("self").unwrap();
        assert!(linked.contains("patient=Patient/") && !linked.contains(OTHER), "{linked}");
        assert_eq!(doctor.get(&linked).status, 200);
    }
}

mod failing {
    //! The trace store locked or full: 503, no data, and recovery by itself.

    use diesel::connection::SimpleConnection;
    use habilis::sandbox::example::Example;
    use habilis::store::{DatabaseConnection, DatabaseUrl};

    use crate::support::{Answer, Client, Engine, OTHER, TEST, World};

    fn everything(doctor: &Client, binary: &str, unique_id: &str) -> Vec<Answer> {
        let example = Example::new(TEST, OTHER, "OUVERT", unique_id);
        vec![
            doctor.get(&format!("/Binary/{binary}")),
            doctor.find(OTHER),
            doctor.get("/AuditEvent?date=ge2020-01-01"),
            doctor.post("", example.transaction()),
        ]
    }

    #[track_caller]
    fn assert_out_of_service(answers: &[Answer]) {
        for answer in answers {
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert_eq!(answer.header("retry-after"), "2");
            assert!(answer.text().contains("OperationOutcome"));
            for cause in ["lock", "full", "disk", "database", "sqlite"] {
                assert!(!answer.text().contains(cause), "the cause is not told: {}", answer.text());
            }
        }
    }

    /// PostgreSQL: another session holds the table; the server waits five seconds for it, as configured, and no longer.
    #[test]
    fn a_locked_store_is_waited_for_and_no_longer() {
        let world = World::start(Engine::Postgres);
        let (_, binary) = super::super::refusals::fed(&world, "2.25.960");
        let doctor = world.client("cps-medecin");
        doctor.authorise(OTHER);
        let documents = world.rows("document");
        let url = DatabaseUrl::parse(&world.database_url).unwrap();
        let mut holder = DatabaseConnection::open_for_writing(&url).unwrap();
        holder.batch_execute("BEGIN; LOCK TABLE trace IN EXCLUSIVE MODE").unwrap();
        let answers = std::thread::scope(|scope| {
            let (reading, feeding) = (doctor.clone(), doctor.clone());
            let read = scope.spawn(move || reading.find(OTHER));
            let example = Example::new(TEST, OTHER, "OUVERT", "2.25.961").transaction();
            [feeding.post("", example), read.join().unwrap()]
        });
        assert_out_of_service(&answers);
        holder.batch_execute("ROLLBACK").unwrap();
        assert_eq!(world.rows("document"), documents, "nothing was done");
        assert_eq!(doctor.get(&format!("/Binary/{binary}")).status, 200);
    }

    /// PostgreSQL: every statement succeeds, and the commit does not. It says so after it has said that the statement is done.
    #[test]
    fn a_commit_that_fails_is_noticed() {
        let world = World::start(Engine::Postgres);
        let (_, binary) = super::super::refusals::fed(&world, "2.25.964");
        let doctor = world.client("cps-medecin");
        doctor.authorise(OTHER);
        assert_eq!(doctor.find(OTHER).status, 200);
        world.sql(
            "CREATE FUNCTION too_late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''too late''; END'; \
             CREATE CONSTRAINT TRIGGER too_late AFTER INSERT ON trace DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION too_late()",
        );
        let kept = ["document", "trace"].map(|table| world.rows(table));
        assert_out_of_service(&everything(&doctor, &binary, "2.25.965"));
        assert_eq!(["document", "trace"].map(|table| world.rows(table)), kept, "nothing was done");
        world.sql("DROP TRIGGER too_late ON trace");
        for answer in everything(&doctor, &binary, "2.25.965") {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }

    /// SQLite: a database that may not grow.
    #[test]
    fn a_full_store_is_out_of_service() {
        let world = World::start(Engine::Sqlite);
        let (_, binary) = super::super::refusals::fed(&world, "2.25.962");
        let doctor = world.client("cps-medecin");
        doctor.authorise(OTHER);
        let documents = world.rows("document");
        // A trigger stands for the disk: what SQLite says of a full one comes up the same way, from the statement that wants a page.
        world.sql("CREATE TRIGGER disk_full BEFORE INSERT ON trace BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END");
        assert_out_of_service(&everything(&doctor, &binary, "2.25.963"));
        assert_eq!(world.rows("document"), documents, "nothing was done");
        world.sql("DROP TRIGGER disk_full");
        assert_eq!(doctor.get(&format!("/Binary/{binary}")).status, 200);
    }
}
