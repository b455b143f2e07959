//! The store: both engines alike, orphans swept, a dead database answered.

use diesel::RunQueryDsl;
use diesel::sql_types::{Integer, Text};
use habilis::sandbox::example::Example;
use habilis::store::{DatabaseConnection, DatabaseUrl};

use crate::on_both_engines;
use crate::support::{Engine, OTHER, TEST, World};

on_both_engines!(
    a_second_start_keeps_the_data,
    an_altered_body_is_not_served,
    older_databases_are_brought_along,
    a_unit_that_panics_fails_alone,
    a_text_that_cannot_be_read_is_our_fault,
);

#[derive(diesel::QueryableByName, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Integer)]
    required: i32,
}

fn columns(world: &World, query: &str) -> Vec<Column> {
    let url = DatabaseUrl::parse(&world.database_url).unwrap();
    let mut connection = DatabaseConnection::open_for_reading(&url).unwrap();
    let mut columns: Vec<Column> = diesel::sql_query(query).load(&mut connection).unwrap();
    columns.sort();
    columns
}

#[test]
fn both_engines_have_the_same_tables() {
    let sqlite = World::start(Engine::Sqlite);
    let postgres = World::start(Engine::Postgres);
    let of_sqlite = columns(
        &sqlite,
        "SELECT m.name AS table_name, p.name AS column_name, p.\"notnull\" AS required \
         FROM sqlite_master m JOIN pragma_table_info(m.name) p \
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\'",
    );
    let of_postgres = columns(
        &postgres,
        "SELECT table_name::text, column_name::text, (is_nullable = 'NO')::int AS required \
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%'",
    );
    assert_eq!(of_sqlite, of_postgres);
    assert!(of_sqlite.len() > 40, "control: there is something to compare");
}

fn a_second_start_keeps_the_data(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    assert_eq!(doctor.post("", Example::new(TEST, OTHER, "OUVERT", "2.25.300").transaction()).status, 200);
    let (records, documents) = (world.rows("record"), world.rows("document"));
    world.restart_in_place();
    assert_eq!((world.rows("record"), world.rows("document")), (records, documents));
}

fn an_altered_body_is_not_served(engine: Engine) {
    let world = World::with_files(engine);
    let (_, binary) = super::refusals::fed(&world, "2.25.310");
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    assert_eq!(doctor.get(&format!("/Binary/{binary}")).status, 200);
    let body = world.body(&binary);
    let mut bytes = std::fs::read(&body).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&body, bytes).unwrap();
    let answer = doctor.get(&format!("/Binary/{binary}"));
    assert_eq!(answer.status, 503);
    assert_eq!(world.traces_of(answer.request_id())[0].outcome, "failed");
    std::fs::remove_file(&body).unwrap();
    assert_eq!(doctor.get(&format!("/Binary/{binary}")).status, 503);
}

#[test]
fn orphans_are_swept_and_bodies_with_a_row_are_not() {
    let world = World::with_files(Engine::Sqlite);
    let (_, binary) = super::refusals::fed(&world, "2.25.320");
    let orphan = world.data.join("bodies/ab/abcd/orphan");
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, b"left by a feed that was cut off").unwrap();
    let services = world.services();
    let hour = std::time::Duration::from_secs(3600);
    let sweep = |after: i64| {
        world.clock.advance(after);
        let now = services.environment.now();
        actix_web::rt::System::new().block_on(services.store.sweep_orphans(now, hour)).unwrap()
    };
    assert_eq!(sweep(0), 0, "a body younger than an hour may be of a feed under way");
    assert_eq!(sweep(1), 1);
    assert!(!orphan.exists());
    assert!(world.body(&binary).exists());
}

#[test]
fn a_database_that_goes_away_is_answered_and_comes_back() {
    let world = World::start(Engine::Postgres);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    assert_eq!(doctor.find(OTHER).status, 200);
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    // Whatever the first requests meet, none is answered without its trace, and it comes back by itself.
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let answer = doctor.find(OTHER);
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        if answer.status == 200 {
            assert_eq!(world.traces_of(answer.request_id()).len(), 1);
        }
        statuses.push(answer.status);
        if statuses.ends_with(&[200, 200, 200]) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("not back: {statuses:?}");
}

/// Chains of replaced documents, masks and names of a database that an older program made.
fn older_databases_are_brought_along(engine: Engine) {
    let world = World::start(engine);
    let (author, nurse) = (world.client("cps-medecin"), world.client("cps-infirmier"));
    for client in [&author, &nurse] {
        client.authorise(OTHER);
    }
    let feed = |unique_id: &str, replaces: Option<&str>, labels: &[&str]| {
        let example = Example { replaces, labels, ..Example::new(TEST, OTHER, "OUVERT", unique_id) };
        let answer = author.post("/DocumentReference", example.single());
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let first = feed("2.25.310", None, &["N"]);
    let second = feed("2.25.311", Some("2.25.310"), &["N"]);
    let third = feed("2.25.312", Some("2.25.311"), &["N", "MASQUE_PS"]);
    // Back to what the older program had, where a mask covered nothing, and forth again.
    let folder = format!(
        "{}/migrations/{}/0003_relations",
        env!("CARGO_MANIFEST_DIR"),
        match engine {
            Engine::Sqlite => "sqlite",
            Engine::Postgres => "postgres",
        }
    );
    // A document that names two: by reference the one, by identifier another.
    let both = match engine {
        Engine::Sqlite => format!(
            "json_set(resource, '$.relatesTo[0].target', json('{{\"reference\":\"DocumentReference/{second}\",\"identifier\":{{\"value\":\"urn:oid:2.25.310\"}}}}'))"
        ),
        Engine::Postgres => format!(
            "jsonb_set(resource::jsonb, '{{relatesTo,0,target}}', '{{\"reference\":\"DocumentReference/{second}\",\"identifier\":{{\"value\":\"urn:oid:2.25.310\"}}}}')::text"
        ),
    };
    world.sql(&format!("UPDATE document SET resource = {both} WHERE id = '{third}'"));
    let script = |name: &str| std::fs::read_to_string(format!("{folder}/{name}.sql")).unwrap();
    // What a later migration made of these columns goes first.
    world.sql("DROP INDEX IF EXISTS document_announced");
    world.sql(&script("down"));
    world.sql(&format!("UPDATE document SET masked = FALSE WHERE id IN ('{first}', '{second}')"));
    world.sql(&script("up"));
    world.restart_in_place();
    let older = |id: &str| world.rows(&format!("document WHERE id = '{id}' AND masked"));
    assert_eq!((older(&first), older(&second), older(&third)), (1, 1, 1), "covered by the current version");
    assert_eq!(world.rows("document WHERE replaces_id IS NOT NULL"), 2);
    assert_eq!(world.rows(&format!("document WHERE id = '{third}' AND replaces_id = '{second}'")), 1);
    for id in [&first, &second, &third] {
        assert_eq!(nurse.get(&format!("/DocumentReference/{id}")).status, 404);
    }
    assert_eq!(world.rows("record WHERE family_key = 'PAT TROIS'"), 1, "as names are compared");
    assert_eq!(world.rows("record WHERE family_key = ''"), 0);
}

/// A kept text that cannot be read is a fault of ours, not the caller's; it changes nothing, and is not told.
fn a_text_that_cannot_be_read_is_our_fault(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let example = Example::new(TEST, OTHER, "OUVERT", "2.25.330");
    assert_eq!(author.post("/DocumentReference", example.single()).status, 201);
    assert_eq!(author.label("2.25.330", &["N", "MASQUE_PS"]).status, 200, "control");
    world.sql("UPDATE document SET resource = 'spoilt' WHERE unique_id = 'urn:oid:2.25.330'");
    let answer = author.label("2.25.330", &["N"]);
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(answer.json()["resourceType"], "OperationOutcome");
    assert!(!answer.text().contains("spoilt") && !answer.text().contains("expected"), "{}", answer.text());
    assert_eq!(
        world.rows("document WHERE unique_id = 'urn:oid:2.25.330' AND masked AND resource = 'spoilt'"),
        1,
        "as it was"
    );
}

/// The writer goes on, and so do the units beside the one that panicked.
fn a_unit_that_panics_fails_alone(engine: Engine) {
    let world = World::start(engine);
    let services = world.services();
    let commit = actix_web::rt::System::new().block_on(async {
        services
            .store
            .writer()
            .commit(|_| -> Result<habilis::store::Step<()>, _> { panic!("on purpose") })
            .await
    });
    let failure = commit.map(drop).expect_err("the unit failed").to_string();
    assert!(failure.contains("a unit of work panicked: on purpose"), "the cause is for the log: {failure}");
    let doctor = world.client("cps-medecin");
    assert_eq!(doctor.post("", Example::new(TEST, OTHER, "OUVERT", "2.25.320").transaction()).status, 200);
}
