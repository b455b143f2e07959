//! Encryption at rest, and the end of records: what is erased opens nowhere any more, what is kept comes back whole, and the log verifies.

use std::path::Path;
use std::process::{Command, Output};

use habilis::audit::verify::{Evidence, verify};
use habilis::operations::retention::{self, RetentionReport};
use habilis::sandbox::example::Example;
use habilis::store::{DatabaseConnection, DatabaseUrl};
use serde_json::Value;

use crate::on_both_engines;
use crate::support::{Client, Engine, OTHER, PATIENT, PatientSide, TEST, World};

on_both_engines!(
    documents_lie_sealed,
    a_copy_of_what_was_erased_opens_with_the_key_alone,
    a_record_that_is_opened_again_is_whole,
    ten_years_after_its_closing_a_record_ends,
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
    let services = world.services();
    actix_web::rt::System::new()
        .block_on(retention::run(&services.store, &services.environment, dry, |_| {}))
        .unwrap()
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
    let world = World::start(engine);
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
    // What the server makes itself lies in the database, and no more in the clear.
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
    let world = World::start(engine);
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

/// Two records fed, one of them closed so many days ago.
fn closed_for(world: &World, days: i64) -> (String, String) {
    let (doctor, mes) = (world.client("cps-medecin"), PatientSide::of(world));
    doctor.authorise(OTHER);
    let url = feed(&doctor, OTHER, "2.25.4405");
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().status, 200);
    let id = mes.record(OTHER).id;
    mes.change(OTHER, serde_json::json!({ "etat": "ferme" }));
    world.sql(&format!("UPDATE record SET closed_at = closed_at - {days} * {DAY} WHERE id = '{id}'"));
    (id, url)
}

fn ten_years_after_its_closing_a_record_ends(engine: Engine) {
    let world = World::start(engine);
    let (id, url) = closed_for(&world, 3_654);
    let of_record = |world: &World| {
        world.traces().into_iter().filter(|trace| trace.record_id.as_ref() == Some(&id)).count()
    };
    let before = of_record(&world);
    let would = run(&world, true);
    assert_eq!((would.records, would.traces_of), (1, 1));
    assert_eq!(run(&world, true), would, "a dry run does nothing");
    let said = told(habilis(&world, &["retention", "run", "--dry-run"]));
    assert_eq!(said, "1 records would be erased, and the traces of 1\n");
    let bodies = world.bodies();
    let report = run(&world, false);
    assert_eq!(
        report,
        RetentionReport { records: 1, documents: 1, traces_of: 1, traces: before as u64 },
        "all of its traces"
    );
    assert_eq!(world.bodies(), bodies - 1);
    for table in ["document", "record_key", "submission_set", "authorisation", "notice", "vaccination"] {
        assert_eq!(world.rows(&format!("{table} WHERE record_id = '{id}'")), 0, "{table}");
    }
    assert_eq!(world.rows(&format!("record WHERE ins_value = '{OTHER}'")), 0, "no traits");
    // Of the traces, place and hash are left; those of the erasure say what it was.
    let traces = world.traces();
    let erased: Vec<_> = traces.iter().filter(|trace| trace.erased_by.is_some()).collect();
    assert_eq!(erased.len(), before);
    for trace in erased {
        assert!(trace.leaf_hash.is_some() && trace.leaf.is_some());
        assert_eq!(
            (trace.caller_id.as_str(), trace.rule.as_str(), trace.objects.as_str(), trace.at),
            ("", "", "", 0)
        );
        assert_eq!((&trace.software, &trace.role, trace.certificate.as_str()), (&None, &None, ""));
    }
    let ends: Vec<_> = traces.iter().filter(|trace| trace.operation.starts_with("retention: ")).collect();
    assert_eq!(ends.len(), 2);
    assert_eq!((ends[0].caller_kind.as_str(), ends[0].caller_id.as_str()), ("server", "DMP"));
    assert_eq!(
        ends[0].rule,
        format!(
            "L1111-18: ten years after the record was closed; 1 documents, {} bytes; the record's key destroyed",
            SECRET.len()
        )
    );
    let expected =
        format!("L1111-18: ten years after the record was closed; R1111-43; traces erased: {before}, SHA-256 ");
    assert!(ends[1].rule.starts_with(&expected), "{}", ends[1].rule);
    // Once and for all.
    assert_eq!(run(&world, false), RetentionReport::default());
    assert_eq!(world.client("cps-medecin").send("GET", &url, &[], None).unwrap().status, 404);
    // The other record is as it was; and the log verifies when the server ends, as after each test.
    assert_eq!(world.rows("document"), 2, "the two of the fixtures");
}

/// What a verification finds, all that is signed included.
fn faults(world: &World) -> Vec<String> {
    use habilis::audit::checkpoint::{CheckpointFolders, Signer};
    let key = world.certs.join("audit.key");
    let evidence = Evidence {
        verifier: Signer::read(habilis::sandbox::AUDIT_ORIGIN, &key).unwrap().verifier(),
        folders: CheckpointFolders::of(&[world.data.join("checkpoints")]),
        now: jiff::Timestamp::MIN,
        unlogged: 0,
        patience: 0,
    };
    let url = DatabaseUrl::parse(&world.database_url).unwrap();
    let mut connection = DatabaseConnection::open_for_reading(&url).unwrap();
    let report = verify(&mut connection, &evidence, |_, _| {}).unwrap();
    report.faults.iter().map(ToString::to_string).collect()
}

fn words_taken_from_a_trace_are_found(engine: Engine) {
    let world = World::start(engine);
    let (id, _) = closed_for(&world, 3_654);
    let doctor = world.client("cps-medecin-b");
    doctor.authorise(PATIENT);
    assert_eq!(doctor.find(PATIENT).status, 200);
    run(&world, false);
    assert_eq!(faults(&world), [] as [&str; 0], "control");
    let by = world.text(&format!("SELECT traces_request_id AS text FROM erasure WHERE record_id = '{id}'"));
    // Somebody erases one trace more, and has it look like the others.
    let sequence = world.text(
        "SELECT CAST(max(sequence) AS TEXT) AS text FROM trace WHERE erased_by IS NULL AND caller_id <> '' AND operation LIKE 'TD3.1%'",
    );
    let row = format!("trace WHERE sequence = {sequence}");
    world.sql(&format!("CREATE TABLE saved AS SELECT * FROM {row}"));
    let restore = format!("DELETE FROM {row}; INSERT INTO trace (COLUMNS) SELECT COLUMNS FROM saved");
    let columns = "sequence, at, request_id, operation, caller_kind, caller_id, caller_structure, certificate, mode, record_id, \
                   objects, status, outcome, rule, authentication, role, sector, software, motif, session_id, secret, node, leaf, \
                   leaf_hash, erased_by";
    let mut restore = restore.replace("COLUMNS", columns);
    if matches!(engine, Engine::Postgres) {
        restore = restore.replace(") SELECT", ") OVERRIDING SYSTEM VALUE SELECT");
    }
    world.sql(&format!(
        "UPDATE trace SET caller_id = '', rule = '', erased_by = '{by}' WHERE sequence = {sequence}"
    ));
    let found = faults(&world);
    assert!(
        found.len() == 1 && found[0].contains(&format!("the erasure {by} says « traces erased: ")),
        "{found:?}"
    );
    // Or by an erasure that there never was.
    world.sql(&format!("UPDATE trace SET erased_by = 'nobody' WHERE sequence = {sequence}"));
    let found = faults(&world);
    assert!(
        found.len() == 1 && found[0].ends_with("erased by nobody, of which there is no trace"),
        "{found:?}"
    );
    world.sql(&restore);
    assert_eq!(faults(&world), [] as [&str; 0], "control: as it was");
    world.sql("DROP TABLE saved");
    // An erased trace's hash still counts.
    let erased = format!("SELECT CAST(min(sequence) AS TEXT) AS text FROM trace WHERE erased_by = '{by}'");
    let sequence = world.text(&erased);
    world.sql(&format!("CREATE TABLE saved AS SELECT * FROM trace WHERE sequence = {sequence}"));
    let other = "(SELECT leaf_hash FROM trace WHERE leaf = 0 AND node = '1')";
    world.sql(&format!("UPDATE trace SET leaf_hash = {other} WHERE sequence = {sequence}"));
    assert_eq!(faults(&world).len(), 1);
    world.sql(&format!(
        "UPDATE trace SET leaf_hash = (SELECT leaf_hash FROM saved) WHERE sequence = {sequence}; DROP TABLE saved"
    ));
    assert_eq!(faults(&world), [] as [&str; 0]);
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
    assert!(text.contains("La clé de chiffrement du dossier a été détruite"), "{text}");
    let checked = told(habilis(&world, &["audit", "check", file]));
    assert!(checked.ends_with("is what was written and signed\n"), "{checked}");
    // What is changed in it is found, with the file and the key alone.
    let whole: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let changes: [(&str, Value, &str); 6] = [
        ("/documents", 0.into(), "the trace does not say what the certificate says"),
        ("/record", "another".into(), "the trace is of another record or time"),
        ("/erasedAt", "2020-01-01T00:00:00Z".into(), "the trace is of another record or time"),
        ("/basis", "retention".into(), "the trace is of something else"),
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
            (
                store.wrap_again(1).await.unwrap(),
                store.wrap_again(100).await.unwrap(),
                store.wrap_again(100).await.unwrap(),
            )
        })
    };
    assert_eq!(rotated, (1, 2, 0));
    assert_eq!(told(habilis(&world, &["keys", "list"])), "2027-01\t3 records\n");
    // The server that still has the old key current knows the new one's name when it has read it: started anew, it reads all.
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().status, 503, "this one has not read the new key");
    told(habilis(&world, &["keys", "rotate"]));
    assert_eq!(told(habilis(&world, &["keys", "list"])), "sandbox\t3 records   current\n", "and back");
    assert_eq!(doctor.send("GET", &url, &[], None).unwrap().text(), SECRET);
}
