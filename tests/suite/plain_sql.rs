//! What the database is asked for is what a distributed engine that speaks PostgreSQL has, too (docs/scale.md).

use std::path::Path;

/// Words that are of one session, of one machine, or of PostgreSQL's own.
const NOT_THERE: [&str; 16] = [
    "pg_advisory",
    "pg_try_advisory",
    "lock table",
    "listen ",
    "notify ",
    "create trigger",
    "create function",
    "create procedure",
    "create rule",
    "do $$",
    "temporary",
    "create temp",
    "with hold",
    "exclude using",
    "ctid",
    "unlogged table",
];

/// Those in a text, without its comments.
fn found(text: &str) -> Vec<&'static str> {
    let spoken = |line: &&str| !line.trim_start().starts_with("//") && !line.trim_start().starts_with("--");
    let text = text.lines().filter(spoken).collect::<Vec<_>>().join(" ").to_lowercase();
    NOT_THERE.into_iter().filter(|word| text.contains(word)).collect()
}

fn texts(folder: &Path, extension: &str, all: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, extension, all);
        } else if path.extension().is_some_and(|of| of == extension) {
            all.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn nothing_is_asked_that_a_distributed_engine_does_not_have() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    texts(&root.join("migrations/postgres"), "sql", &mut all);
    texts(&root.join("src/store"), "rs", &mut all);
    assert!(all.len() > 40, "{}", all.len());
    for (path, text) in &all {
        assert_eq!(found(text), Vec::<&str>::new(), "{path}");
    }
}

#[test]
fn control_what_it_does_not_have_is_found() {
    assert_eq!(
        found("-- LOCK TABLE\nSELECT pg_advisory_lock(1); LOCK TABLE record"),
        ["pg_advisory", "lock table"]
    );
}
