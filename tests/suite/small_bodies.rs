//! Short documents lie in the database, sealed, in the commit of what names them; longer ones in the body store. Nobody who reads them can tell.

use std::path::Path;

use habilis::sandbox::example::Example;

use crate::on_both_engines;
use crate::support::{Answer, Client, Engine, OTHER, Options, PatientSide, TEST, World};

on_both_engines!(
    up_to_a_length_they_lie_in_the_database,
    they_lie_sealed_and_are_none_but_their_own,
    an_altered_row_is_not_served,
    with_the_record_they_go,
);

const LENGTH: u64 = 4_000;

fn world(engine: Engine) -> World {
    World::start_with(engine, Options { small_bodies: LENGTH, ..Options::default() })
}

/// A document whose bytes are so many.
fn of_length(unique_id: &str, length: usize) -> (Example<'_>, Vec<u8>) {
    let example = Example::new(TEST, OTHER, "OUVERT", unique_id);
    let mut bytes = b"Texte court. ".repeat(length.div_ceil(13));
    bytes.truncate(length);
    (example, bytes)
}

fn feed(client: &Client, unique_id: &str, length: usize) -> (String, Vec<u8>) {
    let (example, bytes) = of_length(unique_id, length);
    let mut document = example.document_reference(&bytes);
    document["content"][0]["attachment"]["contentType"] = "text/plain".into();
    let fed = client.post("", example.transaction_of(document, &bytes));
    assert_eq!(fed.status, 200, "{}", fed.text());
    let url = client.look_up(OTHER, unique_id).first_attachment();
    (url.rsplit('/').next().unwrap().to_owned(), bytes)
}

fn get(client: &Client, binary: &str, headers: &[(&str, &str)]) -> Answer {
    client.send("GET", &format!("/Binary/{binary}"), headers, None).unwrap()
}

fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

fn of_row(binary: &str) -> String {
    format!("made_body WHERE binary_id = '{binary}'")
}

fn up_to_a_length_they_lie_in_the_database(engine: Engine) {
    let world = world(engine);
    let folder = world.data.join("bodies");
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let before = files(&folder);
    let (short, short_bytes) = feed(&author, "2.25.5200", LENGTH as usize);
    assert_eq!((world.rows(&of_row(&short)), files(&folder)), (1, before), "in the database alone");
    let (long, long_bytes) = feed(&author, "2.25.5201", LENGTH as usize + 1);
    assert_eq!((world.rows(&of_row(&long)), files(&folder)), (0, before + 1), "in the body store alone");
    for (binary, bytes) in [(&short, &short_bytes), (&long, &long_bytes)] {
        assert_eq!(get(&author, binary, &[]).bytes, *bytes);
        let part = get(&author, binary, &[("Range", "bytes=3990-3999")]);
        assert_eq!((part.status, part.bytes.as_slice()), (206, &bytes[3_990..4_000]));
        let etag = get(&author, binary, &[]).header("etag").to_owned();
        assert_eq!(get(&author, binary, &[("If-None-Match", &etag)]).status, 304);
        let first = get(&author, binary, &[("Range", "bytes=5000-")]);
        assert_eq!(first.status, 416);
    }
    // Another node that keeps all of them in the body store reads them all the same, and the other way round.
    let node = world.node_of("2", 0);
    let there = node.client("cps-medecin");
    assert_eq!(get(&there, &short, &[]).bytes, short_bytes);
    let (of_node, bytes) = feed(&there, "2.25.5203", 100);
    assert_eq!((world.rows(&of_row(&of_node)), files(&folder)), (0, before + 2));
    assert_eq!(get(&author, &of_node, &[]).bytes, bytes);
    // The same again is answered as the first time, and nothing is kept twice.
    let rows = world.rows("made_body");
    let (example, bytes) = of_length("2.25.5202", 100);
    let mut document = example.document_reference(&bytes);
    document["content"][0]["attachment"]["contentType"] = "text/plain".into();
    let body = example.transaction_of(document, &bytes);
    let first = author.post("", body.clone());
    let again = author.post("", body);
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.text(), again.text());
    assert_eq!(world.rows("made_body"), rows + 1);
}

fn they_lie_sealed_and_are_none_but_their_own(engine: Engine) {
    let world = world(engine);
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let (one, bytes) = feed(&author, "2.25.5210", 1_000);
    let (two, _) = feed(&author, "2.25.5211", 1_000);
    assert_eq!(world.rows_with("made_body", "bytes", "Texte court"), 0);
    let length = match engine {
        Engine::Sqlite => "length(bytes)",
        Engine::Postgres => "octet_length(bytes)",
    };
    let sealed = world.rows(&format!("{} AND {length} = {}", of_row(&one), bytes.len() + 40 + 16));
    assert_eq!(sealed, 1, "header and tag");
    // In the place of another it is not taken for it, though the record is the same.
    world.sql(&format!(
        "UPDATE made_body SET bytes = (SELECT bytes FROM {}) WHERE binary_id = '{two}'",
        of_row(&one)
    ));
    assert_eq!(get(&author, &two, &[]).status, 503);
    assert_eq!(get(&author, &one, &[]).status, 200, "control");
    // Nor what nobody sealed.
    let plain = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let plain = match engine {
        Engine::Sqlite => format!("x'{plain}'"),
        Engine::Postgres => format!("'\\x{plain}'::bytea"),
    };
    world.sql(&format!("UPDATE made_body SET bytes = {plain} WHERE binary_id = '{one}'"));
    let answer = get(&author, &one, &[]);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(!answer.text().contains("seal"), "the cause is the log's: {}", answer.text());
}

fn an_altered_row_is_not_served(engine: Engine) {
    let world = world(engine);
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let (binary, _) = feed(&author, "2.25.5220", 1_000);
    let altered = match engine {
        Engine::Sqlite => {
            "CAST(substr(bytes, 1, 500) || CASE substr(bytes, 501, 1) WHEN x'00' THEN x'01' ELSE x'00' END || substr(bytes, 502) AS BLOB)"
        }
        Engine::Postgres => "set_byte(bytes, 500, get_byte(bytes, 500) # 1)",
    };
    world.sql(&format!("UPDATE made_body SET bytes = {altered} WHERE binary_id = '{binary}'"));
    for headers in [&[][..], &[("Range", "bytes=0-9")], &[("Accept", "application/fhir+json")]] {
        let answer = get(&author, &binary, headers);
        answer.assert_refused(503, "", "");
        assert_eq!(world.traces_of(answer.request_id())[0].outcome, "failed");
    }
    world.sql(&format!("DELETE FROM {}", of_row(&binary)));
    get(&author, &binary, &[]).assert_refused(503, "", "");
    // What is hidden stays hidden, whatever became of its bytes.
    let nobody = world.client("cps-medecin-b");
    assert_eq!(get(&nobody, &binary, &[]).status, 404);
}

fn with_the_record_they_go(engine: Engine) {
    let world = world(engine);
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    feed(&author, "2.25.5230", 1_000);
    feed(&author, "2.25.5231", LENGTH as usize + 1);
    let before = (world.rows("made_body"), files(&world.data.join("bodies")));
    let mes = PatientSide::of(&world);
    let record = mes.record(OTHER);
    let erased = mes.send("DELETE", &format!("/{}", record.id), Some(record.version), None);
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert_eq!(world.rows("made_body"), before.0 - 1);
    assert_eq!(files(&world.data.join("bodies")), before.1 - 1);
    assert_eq!(world.rows(&format!("made_body WHERE record_id = '{}'", record.id)), 0);
}
