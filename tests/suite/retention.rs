//! Encryption at rest, and the end of records: what is erased opens nowhere any more, what is kept comes back whole, and the log verifies.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use habilis::audit::verify::{Evidence, verify};
use habilis::operations::retention::{Retention, RetentionReport};
use habilis::sandbox::example::Example;
use habilis::store::{DatabaseConnection, DatabaseUrl};
use serde_json::Value;

use crate::homologation::vaccinations;
use crate::on_both_engines;
use crate::support::{Client, Engine, OTHER, PATIENT, PatientSide, TEST, World};

on_both_engines!(
    documents_lie_sealed,
    a_copy_of_what_was_erased_opens_with_the_key_alone,
    a_record_that_is_opened_again_is_whole,
    ten_years_after_its_closing_a_record_ends,
    nothing_of_an_erased_record_is_left,
    nothing_is_erased_that_should_be_kept,
    words_taken_from_a_trace_are_found,
    a_certificate_of_erasure_holds,
    the_operators_key_is_changed,
);

const SECRET: &str = "QZXJKVBPW, this stands in the document alone";
const DAY: i64 = 86_400 * 1_000_000;

#[track_caller]
fn feed(doctor: &Client, ins: &str, unique_id: &str) -> String {
    let example = Example::new(TEST, ins, "OUVERT", unique_id);
    let mut document = example.document_reference(SECRET.as_bytes());
    document["content"][0]["attachment"]["contentType"] = "text/plain".into();
    let fed = doctor.post("", example.transaction_of(document, SECRET.as_bytes()));
    assert_eq!(fed.status, 200, "{}", fed.text());
    doctor.find(ins).first_attachment()
}

fn run(world: &World, dry: bool) -> RetentionReport {
    run_at_most(world, dry, 10).unwrap()
}

fn run_at_most(world: &World, dry: bool, most: u64) -> Result<RetentionReport, String> {
    let services = world.services();
    let (store, environment, signer) = (&services.store, &services.environment, &services.signer);
    let retention = Retention { store, environment, signer };
    let ran = actix_web::rt::System::new().block_on(async {
        let due = retention.due().await?;
        if dry { Ok(due) } else { retention.run(&due, most, || {}).await }
    });
    ran.map_err(|failure| format!("{failure:?}"))
}

fn habilis(world: &World, arguments: &[&str]) -> Output {
    let (data, certs) = (world.data.to_str().unwrap(), world.certs.to_str().unwrap());
    let place = ["--data", data, "--certs", certs, "--database", &world.database_url];
    Command::new(env!("CARGO_BIN_EXE_habilis")).args(arguments).args(place).output().unwrap()
}

#[track_caller]
fn told(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn documents_lie_sealed(engine: Engine) {
    let world = World::with_files(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let url = feed(&doctor, OTHER, "2.25.4401");
    assert_eq!(
        doctor.send("GET", &url, &[], None).unwrap().text(),
        SECRET,
        "control: who may read it reads it"
    );
    // Bodies, database with its log, checkpoints.
    let all = files(&world.data);
    assert!(all.len() > 3, "{all:?}");
    for path in &all {
        assert!(!holds(&std::fs::read(path).unwrap(), SECRET), "{}", path.display());
    }
    let id = url.rsplit('/').next().unwrap();
    let sealed = std::fs::read(world.body(id)).unwrap();
    assert_eq!(sealed.len(), SECRET.len() + 40 + 16, "header and tag");
    assert_eq!(
        world.rows("record_key WHERE operator_key = 'sandbox'"),
        3,
        "of two of the fixtures and this one"
    );
    // A body that is put in the place of another is not taken for it, though its record is the same.
    let second = feed(&doctor, OTHER, "2.25.4402");
    std::fs::copy(world.body(id), world.body(second.rsplit('/').next().unwrap())).unwrap();
    let taken = doctor.send("GET", &second, &[], None).unwrap();
    assert_eq!(taken.status, 503);
    assert!(!taken.text().contains("seal"), "the cause is the log's: {}", taken.text());
}

fn a_copy_of_what_was_erased_opens_with_the_key_alone(engine: Engine) {
    let world = World::with_files(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    doctor.authorise(OTHER);
    let url = feed(&doctor, OTHER, "2.25.4403");
    let record = mes.record(OTHER);
    // A backup of everything: rows, key, body.
    for table in ["record", "document", "authorisation", "record_key"] {
        let id = if table == "record" { "id" } else { "record_id" };
        world.sql(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table} WHERE {id} = '{}'", record.id));
    }
    let path = world.body(url.rsplit('/').next().unwrap());
    let body = std::fs::read(&path).unwrap();
    let erased = mes.send("DELETE", &format!("/{}", record.id), Some(record.version), None);
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert!(!path.exists(), "the body goes at once");
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().status, 404);
    assert_eq!(world.rows(&format!("record_key WHERE record_id = '{}'", record.id)), 0);
    // Somebody brings all of it back but the key.
    std::fs::write(&path, body).unwrap();
    world.sql(&format!(
        "DELETE FROM erasure WHERE record_id = '{0}'; DELETE FROM record WHERE id = '{0}'",
        record.id
    ));
    for table in ["record", "document", "authorisation"] {
        world.sql(&format!("INSERT INTO {table} SELECT * FROM saved_{table}"));
    }
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().status, 503, "no key, no document");
    world.sql("INSERT INTO record_key SELECT * FROM saved_record_key");
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().text(), SECRET, "control: it was the key");
    for table in ["record", "document", "authorisation", "record_key"] {
        world.sql(&format!("DROP TABLE saved_{table}"));
    }
}

fn a_record_that_is_opened_again_is_whole(engine: Engine) {
    let world = World::start(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    doctor.authorise(OTHER);
    let url = feed(&doctor, OTHER, "2.25.4404");
    let before = doctor.find(OTHER).text().to_owned();
    mes.change(OTHER, serde_json::json!({ "etat": "ferme" }));
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().status, 404, "closed");
    // A day before ten years are over, nothing is touched.
    let closed = format!("UPDATE record SET closed_at = closed_at - 3651 * {DAY} WHERE ins_value = '{OTHER}'");
    world.sql(&closed);
    assert_eq!(run(&world, false), RetentionReport::default());
    mes.change(OTHER, serde_json::json!({ "etat": "ouvert" }));
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().text(), SECRET);
    assert_eq!(doctor.find(OTHER).text(), before);
    // In use, it has no end, however long ago it was closed once.
    world.sql(&format!("UPDATE record SET closed_at = 1 WHERE ins_value = '{OTHER}'"));
    assert_eq!(run(&world, false), RetentionReport::default());
    world.sql(&format!("UPDATE record SET closed_at = NULL WHERE ins_value = '{OTHER}'"));
}

/// A vaccination note, of which the server makes a history.
#[track_caller]
fn note(doctor: &Client, unique_id: &str) {
    let entry = vaccinations::entry("41DAC707-7C96-47B7-B600-AC63D8002142", "68747507", "20090928", "LOT-A");
    let fed = vaccinations::feed(doctor, unique_id, None, &entry);
    assert_eq!(fed.status, 201, "{}", fed.text());
}

/// Every table that names a record, but for what is left of one.
fn named(world: &World) -> Vec<String> {
    let left = ["trace", "erasure"];
    let tables = world.tables_with("record_id");
    assert!(tables.len() > 8 && left.iter().all(|one| tables.iter().any(|table| table == one)), "{tables:?}");
    tables.into_iter().filter(|table| !left.contains(&table.as_str())).collect()
}

fn nothing_of_an_erased_record_is_left(engine: Engine) {
    let world = World::start(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    // What belongs to a document, a set, a subscription.
    let below = ["search_term", "document_version", "subscription_document"];
    let others = below.map(|table| world.rows(table));
    doctor.authorise(OTHER);
    feed(&doctor, OTHER, "2.25.4421");
    note(&doctor, "2.25.4422");
    assert_eq!(doctor.label("2.25.4421", &["N", "MASQUE_PS"]).status, 200);
    mes.set(OTHER, "810100000016", "medecin_traitant");
    let asked =
        crate::subscriptions::subscription(crate::subscriptions::CREATED, OTHER, "https://localhost:1/avis");
    assert_eq!(doctor.post("/Subscription", asked.to_string()).status, 201);
    let record = mes.record(OTHER);
    world.sql(&format!(
        "INSERT INTO notice (id, record_id, kind, channel, told, at, actor, actor_kind, mode, state, due, attempts, leased_until) VALUES ('n', '{}', 'x', 'x', 'x', 1, 'x', 'x', 'x', 'x', 1, 0, 0)",
        record.id
    ));
    // What the server makes of a note, and what it keeps of it, is sealed as the note is.
    assert_eq!((world.rows("vaccination"), world.rows("vaccination WHERE facts LIKE '%LOT-A%'")), (1, 0));
    assert_eq!(
        (world.rows("made_body") > 0, world.rows_with("made_body", "bytes", "ClinicalDocument")),
        (true, 0)
    );
    let count = |table: &String| world.rows(&format!("{table} WHERE record_id = '{}'", record.id));
    for table in named(&world) {
        assert!(count(&table) > 0, "control: {table}");
    }
    for (table, before) in below.iter().zip(others) {
        assert!(world.rows(table) > before, "control: {table}");
    }
    let erased = mes.send("DELETE", &format!("/{}", record.id), Some(record.version), None);
    assert_eq!(erased.status, 200, "{}", erased.text());
    for table in named(&world) {
        assert_eq!(count(&table), 0, "{table}");
    }
    assert_eq!(below.map(|table| world.rows(table)), others);
}

/// A record fed, read, closed; then so many days go by. Nobody connects any more: their cards are over.
fn closed_for(world: &World, days: i64) -> String {
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(world));
    doctor.authorise(OTHER);
    let url = feed(&doctor, OTHER, "2.25.4405");
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().status, 200);
    // The one of the fixtures that is closed is not what a test is about.
    world.sql("UPDATE record SET closed_at = NULL");
    let id = mes.record(OTHER).id;
    mes.change(OTHER, serde_json::json!({ "etat": "ferme" }));
    world.clock.advance(days);
    id
}

fn ten_years_after_its_closing_a_record_ends(engine: Engine) {
    let world = World::start(engine);
    let id = closed_for(&world, 3_654);
    let of_record = |world: &World| {
        world.traces().into_iter().filter(|trace| trace.record_id.as_ref() == Some(&id)).count()
    };
    let before = of_record(&world);
    let would = run(&world, true);
    assert_eq!((would.records, would.traces_of), (1, 1));
    assert_eq!(run(&world, true), would, "a dry run does nothing");
    let said = told(habilis(&world, &["retention", "run", "--dry-run"]));
    assert_eq!(said, "0 records would be erased, and the traces of 0\n", "by the machine's clock");
    let refused = run_at_most(&world, false, 0).unwrap_err();
    assert!(refused.contains("1 records are due, 0 at most are erased: is the clock right?"), "{refused}");
    let bodies = world.bodies();
    let report = run(&world, false);
    let expected = RetentionReport { records: 1, documents: 1, traces_of: 1, traces: before as u64, failed: 0 };
    assert_eq!(report, expected, "all of its traces");
    assert_eq!(world.bodies(), bodies - 1);
    for table in named(&world) {
        assert_eq!(world.rows(&format!("{table} WHERE record_id = '{id}'")), 0, "{table}");
    }
    assert_eq!(world.rows(&format!("record WHERE ins_value = '{OTHER}'")), 0, "no traits");
    // Of the traces, place and hash are left; those of the erasure say what it was.
    let traces = world.traces();
    let erased: Vec<_> = traces.iter().filter(|trace| trace.erased_by.is_some()).collect();
    assert_eq!(erased.len(), before);
    for trace in erased {
        assert!(trace.leaf_hash.is_some() && trace.leaf.is_some());
        let said = (trace.caller_id.as_str(), trace.rule.as_str(), trace.objects.as_str(), trace.at);
        assert_eq!(said, ("", "", "", 0));
        assert_eq!((&trace.software, &trace.role, trace.certificate.as_str()), (&None, &None, ""));
    }
    let ends: Vec<_> = traces.iter().filter(|trace| trace.operation.starts_with("retention: ")).collect();
    assert_eq!(ends.len(), 2);
    assert_eq!((ends[0].caller_kind.as_str(), ends[0].caller_id.as_str()), ("server", "DMP"));
    let closed = "L1111-18: ten years after the record was closed";
    let size = SECRET.len();
    let rule =
        format!("{closed}; 1 documents, {size} bytes, 0 never sealed; the record's key destroyed; signed ");
    assert!(ends[0].rule.starts_with(&rule), "{}", ends[0].rule);
    let rule = format!("{closed}; R1111-43; traces erased: {before}, SHA-256 ");
    assert!(ends[1].rule.starts_with(&rule), "{}", ends[1].rule);
    // Once and for all. The other records are as they were; and the log verifies when the server ends, as after each test.
    assert_eq!(run(&world, false), RetentionReport::default());
    assert_eq!(world.rows("document"), 2, "the two of the fixtures");
    assert_eq!(faults(&world), [] as [&str; 0]);
}

/// What is not what it should be is not erased: neither a record that was in use, nor a trace that somebody changed or gave to the record.
fn nothing_is_erased_that_should_be_kept(engine: Engine) {
    let world = World::start(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    doctor.authorise(OTHER);
    let url = feed(&doctor, OTHER, "2.25.4408");
    world.sql("UPDATE record SET closed_at = NULL");
    let id = mes.record(OTHER).id;
    // Somebody writes that it was closed long ago.
    let closed = format!("UPDATE record SET open = {{}}, closed_at = 1 WHERE id = '{id}'");
    let no = if matches!(engine, Engine::Sqlite) { "0" } else { "FALSE" };
    world.sql(&closed.replace("{}", no));
    let failed = RetentionReport { failed: 1, ..RetentionReport::default() };
    assert_eq!(run(&world, false), failed, "it was read and fed this year");
    // Nor by the command; and never in a database that somebody names beside the checkpoints of another.
    let by_command = |database: &str, more: &[&str]| {
        let place = ["--data", world.data.to_str().unwrap(), "--certs", world.certs.to_str().unwrap()];
        let command = ["retention", "run", "--database", database];
        let run =
            Command::new(env!("CARGO_BIN_EXE_habilis")).args(command).args(place).args(more).output().unwrap();
        (run.status.code(), String::from_utf8(run.stderr).unwrap())
    };
    // What was signed last is noted a moment later.
    let settled = |database: &str, more: &[&str]| {
        let begun = Instant::now();
        loop {
            let (code, why) = by_command(database, more);
            if !why.contains("not that of the checkpoints") || begun.elapsed() > Duration::from_secs(20) {
                return (code, why);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    let (code, why) = settled(&world.database_url, &["--most", "0"]);
    assert!(code == Some(1) && why.contains("1 records are due, 0 at most are erased"), "{code:?} {why}");
    let (code, why) = settled(&world.database_url, &[]);
    assert!(code == Some(1) && why.contains("1 records could not be erased"), "{code:?} {why}");
    assert!(why.contains("read or fed less than ten years ago"), "the reason is in the log: {why}");
    let another = World::start(engine);
    let (code, why) = by_command(&another.database_url, &[]);
    assert!(code == Some(1) && why.contains("the database is not that of the checkpoints"), "{code:?} {why}");
    let yes = if matches!(engine, Engine::Sqlite) { "1" } else { "TRUE" };
    world.sql(&closed.replace("{}", yes).replace("closed_at = 1", "closed_at = NULL"));
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().text(), SECRET);
    // Somebody gives a trace of another record to one whose traces are about to be erased.
    mes.change(OTHER, serde_json::json!({ "etat": "ferme" }));
    let spied =
        "SELECT CAST(max(sequence) AS TEXT) AS text FROM trace WHERE record_id IS NOT NULL AND record_id <> '";
    doctor.authorise(PATIENT);
    assert_eq!(doctor.find(PATIENT).status, 200);
    let sequence = world.text(&format!("{spied}{id}'"));
    let record = world.text(&format!("SELECT record_id AS text FROM trace WHERE sequence = {sequence}"));
    world.sql(&format!("UPDATE trace SET record_id = '{id}' WHERE sequence = {sequence}"));
    world.clock.advance(3_654);
    let report = run(&world, false);
    assert_eq!(
        (report.records, report.traces_of, report.failed),
        (1, 0, 1),
        "the record is, its traces are not"
    );
    assert_eq!(world.rows("trace WHERE erased_by IS NOT NULL"), 0);
    assert!(faults(&world)[0].contains(&format!("the row (sequence {sequence}) is not what was written")));
    world.sql(&format!("UPDATE trace SET record_id = '{record}' WHERE sequence = {sequence}"));
    assert_eq!(run(&world, false).traces_of, 1, "control: as it was written, they are");
    assert_eq!(faults(&world), [] as [&str; 0]);
}

/// What a verification finds, all that is signed included.
fn faults(world: &World) -> Vec<String> {
    use habilis::audit::checkpoint::{CheckpointFolders, Signer};
    let key = world.certs.join("audit.key");
    let evidence = Evidence {
        verifier: Signer::read(habilis::sandbox::AUDIT_ORIGIN, &key).unwrap().verifier(),
        folders: CheckpointFolders::of(&[world.data.join("checkpoints")]),
        now: jiff::Timestamp::MAX,
        unlogged: 0,
        patience: i64::MAX / 2,
    };
    let url = DatabaseUrl::parse(&world.database_url).unwrap();
    let mut connection = DatabaseConnection::open_for_reading(&url).unwrap();
    let report = verify(&mut connection, &evidence, |_, _| {}).unwrap();
    report.faults.iter().map(ToString::to_string).collect()
}

fn words_taken_from_a_trace_are_found(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin-b");
    doctor.authorise(PATIENT);
    assert_eq!(doctor.find(PATIENT).status, 200);
    let id = closed_for(&world, 3_654);
    run(&world, false);
    assert_eq!(faults(&world), [] as [&str; 0], "control");
    let by = world.text(&format!("SELECT traces_request_id AS text FROM erasure WHERE record_id = '{id}'"));
    let other = world.text(&format!(
        "SELECT CAST(max(sequence) AS TEXT) AS text FROM trace WHERE erased_by IS NULL AND operation LIKE 'TD3.1%' AND record_id <> '{id}'"
    ));
    let erased =
        world.text(&format!("SELECT CAST(min(sequence) AS TEXT) AS text FROM trace WHERE erased_by = '{by}'"));
    let blank = "at = 0, request_id = '', operation = '', caller_kind = '', caller_id = '', caller_structure = NULL, certificate = '', \
                 mode = '', objects = '', status = 0, outcome = '', rule = '', authentication = '', role = NULL, sector = NULL, \
                 software = NULL, motif = NULL, session_id = NULL";
    let found = |change: &str, sequence: &str, expected: &str| {
        world.sql(&format!("CREATE TABLE saved AS SELECT * FROM trace WHERE sequence = {sequence}"));
        world.sql(&format!("UPDATE trace SET {change} WHERE sequence = {sequence}"));
        let found = faults(&world);
        assert!(found.iter().any(|fault| fault.contains(expected)), "{change}: {found:?}");
        let columns = "sequence, at, request_id, operation, caller_kind, caller_id, caller_structure, certificate, mode, record_id, \
                       objects, status, outcome, rule, authentication, role, sector, software, motif, session_id, secret, node, leaf, \
                       leaf_hash, erased_by";
        let overriding = if matches!(engine, Engine::Postgres) { "OVERRIDING SYSTEM VALUE" } else { "" };
        world.sql(&format!(
            "DELETE FROM trace WHERE sequence = {sequence}; \
             INSERT INTO trace ({columns}) {overriding} SELECT {columns} FROM saved; DROP TABLE saved"
        ));
        assert_eq!(faults(&world), [] as [&str; 0], "control: as it was");
    };
    // One trace more is made to look like the others: of its own record, of theirs, of an erasure that there never was.
    found(&format!("{blank}, erased_by = '{by}'"), &other, "1 rows of other records are said to be erased by");
    found(&format!("{blank}, erased_by = '{by}', record_id = '{id}'"), &other, "says « L1111-18");
    found(&format!("{blank}, erased_by = 'nobody'"), &other, "erased by nobody, of which there is no trace");
    // An erased one is given words, a hash, or away.
    found("caller_id = '810100000016', operation = 'TD3.2 retrieve'", &erased, "is not what was written");
    found(
        "leaf_hash = (SELECT leaf_hash FROM trace WHERE leaf = 0 AND node = '1')",
        &erased,
        "the log's tree is not that of its traces",
    );
    found("record_id = 'another'", &erased, "says « L1111-18");
    // A log beside the others, with a trace that says what is wanted: nobody signed it.
    let of = habilis::store::ErasedTraces::of(vec![(
        "1".to_owned(),
        world
            .text(&format!("SELECT CAST(leaf AS TEXT) AS text FROM trace WHERE sequence = {other}"))
            .parse()
            .unwrap(),
        leaf_hash(&world, &other),
    )]);
    let record = world.text(&format!("SELECT record_id AS text FROM trace WHERE sequence = {other}"));
    forge(&world, &record, &format!("because; {}; signed {}", of.told(), "A".repeat(86) + "=="));
    let told = faults(&world);
    assert!(told[0].contains("the erasure forged is not signed by the key"), "{told:?}");
    world.sql("DELETE FROM trace WHERE node = '2'; DELETE FROM trace_log WHERE node = '2'");
    assert_eq!(faults(&world), [] as [&str; 0], "control");
}

fn leaf_hash(world: &World, sequence: &str) -> Vec<u8> {
    let found = world.traces().into_iter().find(|trace| trace.sequence.to_string() == sequence);
    found.unwrap().leaf_hash.unwrap()
}

/// A whole log of one trace, right in itself, of an erasure that nobody made.
fn forge(world: &World, record: &str, rule: &str) {
    use diesel::RunQueryDsl;
    let now = world.services().environment.now().as_microsecond();
    let mut row = habilis::store::TraceRow {
        request_id: "forged".into(),
        operation: "retention: erase traces".into(),
        outcome: "granted".into(),
        record_id: Some(record.to_owned()),
        rule: rule.to_owned(),
        status: 200,
        at: now,
        node: Some("2".into()),
        leaf: Some(0),
        ..Default::default()
    };
    row.leaf_hash = row.right_hash().map(Vec::from);
    let mut frontier = habilis::audit::merkle::Frontier::default();
    frontier.push(row.right_hash().unwrap());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let url = DatabaseUrl::parse(&world.database_url).unwrap();
    let mut connection = DatabaseConnection::open_for_writing(&url).unwrap();
    let sqlite = matches!(connection, DatabaseConnection::Sqlite(_));
    let no = if sqlite { "0" } else { "FALSE" };
    let blob = |hex: String| if sqlite { format!("x'{hex}'") } else { format!("'\\x{hex}'::bytea") };
    let hash = blob(hex(row.leaf_hash.as_ref().unwrap()));
    let tree = blob(hex(&frontier.to_bytes()));
    let none = blob(hex(&habilis::audit::merkle::Frontier::default().to_bytes()));
    for statement in [
        format!(
            "INSERT INTO trace (at, request_id, operation, caller_kind, caller_id, certificate, mode, record_id, objects, status, outcome, \
             rule, authentication, secret, node, leaf, leaf_hash) VALUES ({now}, 'forged', 'retention: erase traces', '', '', '', '', \
             '{record}', '', 200, 'granted', '{}', '', {no}, '2', 0, {hash})",
            rule.replace('\'', "''")
        ),
        format!("INSERT INTO trace_log (node, size, frontier, checkpoint) VALUES ('2', 1, {tree}, {none})"),
    ] {
        diesel::sql_query(statement).execute(&mut connection).unwrap();
    }
}

fn a_certificate_of_erasure_holds(engine: Engine) {
    let world = World::start(engine);
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    doctor.authorise(OTHER);
    feed(&doctor, OTHER, "2.25.4406");
    let record = mes.record(OTHER);
    let kept = habilis(&world, &["retention", "certificate", "--record", &record.id]);
    let why = String::from_utf8(kept.stderr).unwrap();
    assert!(!kept.status.success() && why.contains("is not erased, or is not known"), "{why}");
    let erased = mes.send("DELETE", &format!("/{}", record.id), Some(record.version), None);
    assert_eq!(erased.status, 200);
    let path = world.data.join("attestation.json");
    let file = path.to_str().unwrap();
    let arguments = ["retention", "certificate", "--record", &record.id, "--output", file];
    // The next checkpoint covers it.
    let mut output = habilis(&world, &arguments);
    for _ in 0..100 {
        if output.status.success() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        output = habilis(&world, &arguments);
    }
    let text = told(output);
    assert!(text.contains("à la demande de son titulaire : 1 document(s)"), "{text}");
    assert!(text.contains("La clé de chiffrement du dossier a été détruite dans la base"), "{text}");
    let checked = told(habilis(&world, &["audit", "check", file]));
    assert!(checked.ends_with("is what was written and signed\n"), "{checked}");
    // What is changed in it is found, with the file and the key alone.
    let whole: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let changes: [(&str, Value, &str); 8] = [
        ("/documents", 0.into(), "the trace does not say what the certificate says"),
        ("/record", "another".into(), "the trace is of another record or time"),
        ("/erasedAt", "2020-01-01T00:00:00Z".into(), "the trace is of another record or time"),
        ("/basis", "retention".into(), "the trace is of something else"),
        ("/basis", "because".into(), "a basis that is not known"),
        ("/text", "rien".into(), "the words are not those of the certificate"),
        ("/proof/trace/callerId", "another".into(), "the trace does not make the hash"),
        ("/proof/index", 0.into(), "the trace does not make the hash"),
    ];
    for (pointer, value, why) in changes {
        let mut changed = whole.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        std::fs::write(&path, changed.to_string()).unwrap();
        let refused = habilis(&world, &["audit", "check", file]);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && told.contains(why), "{pointer}: {told}");
    }
    std::fs::remove_file(path).unwrap();
}

fn the_operators_key_is_changed(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let certs = crate::support::pki_copy(folder.path());
    let options = crate::support::Options { certs: Some(certs.clone()), ..Default::default() };
    let world = World::start_with(engine, options);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let url = feed(&doctor, OTHER, "2.25.4407");
    note(&doctor, "2.25.4408");
    let history = "document WHERE type_code = '11369-6' AND status = 'current'";
    assert_eq!(world.rows(history), 1);
    let keys = certs.join("operator-keys");
    let made = told(
        Command::new(env!("CARGO_BIN_EXE_habilis"))
            .args(["keys", "new", "2027-01", "--folder", keys.to_str().unwrap()])
            .output()
            .unwrap(),
    );
    assert!(made.trim_end().ends_with("operator-keys/2027-01.key"), "{made}");
    assert_eq!(told(habilis(&world, &["keys", "list"])), "sandbox\t3 records   current\n");
    let rotated = {
        let services = world.services();
        let vault =
            habilis::sealing::EncryptionSettings { keys: keys.clone(), current: "2027-01".into() }.vault();
        let url = DatabaseUrl::parse(&world.database_url).unwrap();
        let limits = habilis::store::StoreLimits { readers: 1, node: "2".into(), ..Default::default() };
        let bodies = services.store.bodies().clone();
        let store = habilis::store::Store::open_beside(&url, bodies, vault.unwrap(), &limits).unwrap();
        actix_web::rt::System::new().block_on(async {
            let first = store.wrap_again("sandbox", "", 1).await.unwrap();
            let rest = store.wrap_again("sandbox", first.last.as_deref().unwrap(), 100).await.unwrap();
            (first.wrapped, rest.wrapped, store.wrap_again("sandbox", "", 100).await.unwrap().wrapped)
        })
    };
    assert_eq!(rotated, (1, 2, 0));
    assert_eq!(told(habilis(&world, &["keys", "list"])), "2027-01\t3 records\n");
    // Nor is a key retired that something is under.
    let used = habilis(&world, &["keys", "retire", "2027-01"]);
    assert!(!used.status.success(), "{}", String::from_utf8_lossy(&used.stdout));
    let why = String::from_utf8(used.stderr).unwrap();
    assert!(why.contains("keys of records are under 2027-01: `habilis keys rotate`"), "{why}");
    assert_eq!(world.rows("retired_key"), 0, "it goes on as it was");
    // The server that has not read the new key opens nothing that is under it, and says no more than that it cannot.
    let without = doctor.send("GET", &url, &[], None).unwrap();
    assert_eq!(without.status, 503);
    assert!(!without.text().contains("key"), "{}", without.text());
    // What it cannot read for want of a key does not end by it.
    assert_eq!(doctor.delete_document("2.25.4408").status, 503);
    assert_eq!(world.rows(history), 1);
    told(habilis(&world, &["keys", "rotate"]));
    assert_eq!(told(habilis(&world, &["keys", "list"])), "sandbox\t3 records   current\n", "and back");
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().text(), SECRET);
    // A key is retired when nothing is under it, and then nothing comes under it: not by a node that was forgotten either.
    let current = habilis(&world, &["keys", "retire", "sandbox"]);
    assert!(
        !current.status.success()
            && String::from_utf8_lossy(&current.stderr).contains("sandbox is the current key")
    );
    world.sql("INSERT INTO retired_key VALUES ('sandbox', 1)");
    let forgotten = world.client("cps-medecin-b");
    forgotten.authorise("217057599900827");
    let example = Example::new(TEST, "217057599900827", "X", "2.25.4409");
    assert_eq!(forgotten.post("/DocumentReference", example.single()).status, 503, "no key is made under it");
    world.sql("DELETE FROM retired_key");
    assert_eq!(forgotten.post("/DocumentReference", example.single()).status, 201, "control");
    assert!(told(habilis(&world, &["keys", "retire", "2027-01"])).starts_with("2027-01 is retired"));
}
