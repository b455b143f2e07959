//! `habilis backup` beside a server that is fed, and `habilis restore`: what was acknowledged before is in the copy, opens, and verifies.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use habilis::sandbox::example::Example;

use crate::homologation::vaccinations;
use crate::on_both_engines;
use crate::support::{DatabaseOfTest, Engine, OTHER, PatientSide, TEST, World, rows_of};

on_both_engines!(
    a_copy_under_load_comes_back_whole,
    a_database_is_migrated_once,
    what_is_not_as_it_was_copied_is_noticed,
    a_row_that_is_not_as_it_was_fed_is_noticed,
    a_copy_lies_apart_and_forgets_what_was_erased
);

fn habilis(world: &World, arguments: &[&str]) -> Output {
    let certs = world.certs.to_str().unwrap();
    Command::new(env!("CARGO_BIN_EXE_habilis")).args(arguments).args(["--certs", certs]).output().unwrap()
}

#[track_caller]
fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn back_up(world: &World, to: &Path) -> Output {
    let data = world.data.to_str().unwrap();
    let arguments = ["backup", "--data", data, "--database", &world.database_url, "--to", to.to_str().unwrap()];
    habilis(world, &arguments)
}

fn restore(world: &World, from: &Path, data: &Path, database: &str) -> Output {
    let data = data.to_str().unwrap();
    habilis(world, &["restore", "--data", data, "--database", database, "--from", from.to_str().unwrap()])
}

fn feed(world: &World, card: &str, unique_id: &str) {
    feed_of(world, card, unique_id, 200);
}

fn feed_of(world: &World, card: &str, unique_id: &str, size: usize) {
    let example = Example { size, ..Example::new(TEST, OTHER, "OUVERT", unique_id) };
    let fed = world.client(card).post("", example.transaction());
    assert_eq!(fed.status, 200, "{}", fed.text());
}

fn a_copy_under_load_comes_back_whole(engine: Engine) {
    let (world, folder) = (World::start(engine), tempfile::tempdir().unwrap());
    let copy = folder.path().join("copy");
    // The server makes a history of it, whose bytes lie in the database.
    let entry = vaccinations::entry("41DAC707-7C96-47B7-B600-AC63D8002142", "68747507", "20090928", "LOT-A");
    assert_eq!(vaccinations::feed(&world.client("cps-medecin"), "2.25.48300", None, &entry).status, 201);
    assert_eq!(
        world
            .rows("made_body WHERE binary_id IN (SELECT binary_id FROM document WHERE body_key LIKE 'made/%')"),
        1
    );
    let (over, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut before = Vec::new();
    std::thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                // Most in the database, some in the body store.
                let size = if number % 5 == 0 { 80_000 } else { 200 };
                feed_of(&world, "cps-medecin", &format!("2.25.4800{number}"), size);
                number += 1;
                acknowledged.store(number, Ordering::SeqCst);
            }
        });
        for round in 0..3 {
            // The last copy has something that was signed.
            while round == 2 && files(&world.data.join("checkpoints")).is_empty() && !feeder.is_finished() {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            let least = acknowledged.load(Ordering::SeqCst) + 5;
            while acknowledged.load(Ordering::SeqCst) < least && !feeder.is_finished() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            before.push(acknowledged.load(Ordering::SeqCst));
            told(&back_up(&world, &copy));
        }
        over.store(true, Ordering::SeqCst);
    });
    let (data, database) = (folder.path().join("data"), DatabaseOfTest::new(engine, folder.path()));
    let restored = told(&restore(&world, &copy, &data, &database.url));
    assert!(restored.contains("traces derived again"), "{restored}");
    let there = rows_of(&database.url, "document WHERE unique_id LIKE '%2.25.4800%'") as usize;
    let (least, all) = (*before.last().unwrap(), acknowledged.load(Ordering::SeqCst));
    assert!(
        there >= least && there <= all,
        "{least} were acknowledged before, {there} are there, {all} in all"
    );
    assert!(!files(&data.join("checkpoints")).is_empty(), "control: something was signed");
    // Nothing is written over: not a database that is at work, not bodies or checkpoints of another server.
    let elsewhere = folder.path().join("elsewhere");
    let over = refused(&restore(&world, &copy, &elsewhere, &world.database_url));
    assert!(over.contains("where there is nothing"), "{over}");
    let third = DatabaseOfTest::new(engine, &world.data);
    let over = refused(&restore(&world, &copy, &world.data, &third.url));
    assert!(over.contains("has checkpoints") || over.contains("of another server"), "{over}");
}

/// Two nodes that begin at once both find it done.
fn a_database_is_migrated_once(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOfTest::new(engine, folder.path());
    let migrate = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_habilis"))
            .args(["migrate", "--database", &database.url])
            .args(more)
            .output()
            .unwrap()
    };
    let told = std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| told(&migrate(&[]))));
        both.map(|one| one.join().unwrap())
    });
    let all = rows_of(&database.url, "__diesel_schema_migrations") as usize;
    let applied = |told: &String| told.split(' ').next().unwrap().parse::<usize>().unwrap();
    assert_eq!(told.iter().map(applied).sum::<usize>(), all, "{told:?}");
    assert_eq!(self::told(&migrate(&["--dry-run"])), "0 migrations are missing\n");
    let elsewhere = folder.path().join("elsewhere.db");
    let arguments = ["migrate", "--dry-run", "--database", &format!("sqlite:{}", elsewhere.display())];
    let output = Command::new(env!("CARGO_BIN_EXE_habilis")).args(arguments).output().unwrap();
    let missing = self::told(&output);
    assert!(missing.starts_with("0001_records_and_documents\n"), "{missing}");
    assert!(missing.ends_with(&format!("{all} migrations are missing\n")), "{missing}");
    assert!(!elsewhere.exists(), "asking makes nothing");
}

fn what_is_not_as_it_was_copied_is_noticed(engine: Engine) {
    let (world, folder) = (World::with_files(engine), tempfile::tempdir().unwrap());
    for number in 0..3 {
        feed(&world, "cps-medecin", &format!("2.25.4810{number}"));
    }
    let copy = folder.path().join("copy");
    told(&back_up(&world, &copy));
    let body = files(&copy.join("bodies")).remove(0);
    let kept = std::fs::read(&body).unwrap();
    let mut number = 0;
    let mut attempt = || {
        number += 1;
        let place = folder.path().join(number.to_string());
        std::fs::create_dir(&place).unwrap();
        let database = DatabaseOfTest::new(engine, &place);
        refused(&restore(&world, &copy, &place.join("data"), &database.url))
    };
    let mut altered = kept.clone();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&body, altered).unwrap();
    assert!(attempt().contains("does not open"), "a body that was altered");
    std::fs::remove_file(&body).unwrap();
    assert!(attempt().contains("is not in the copy"), "a body that is missing");
    std::fs::write(&body, &kept).unwrap();
    let file = files(&copy).into_iter().find(|path| path.to_string_lossy().contains("database-")).unwrap();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert!(attempt().contains("is not as it was copied"), "a database that was cut off");
    std::fs::write(&file, whole).unwrap();
    std::fs::remove_file(copy.join("manifest.json")).unwrap();
    assert!(attempt().contains("no whole copy"), "a copy that broke off");
    // A document whose body the server itself has lost: an earlier copy still has it, and the loss is told.
    let of_server = world.data.join("bodies").join(body.strip_prefix(copy.join("bodies")).unwrap());
    std::fs::write(&of_server, &kept[..kept.len() - 1]).unwrap();
    let told_of = refused(&back_up(&world, &copy));
    assert!(told_of.contains("the server has lost 1 bodies"), "{told_of}");
    let place = folder.path().join("whole");
    std::fs::create_dir(&place).unwrap();
    let database = DatabaseOfTest::new(engine, &place);
    told(&restore(&world, &copy, &place.join("data"), &database.url));
    // Where no copy has it either, there is no new copy that hides it; the last one stays as it was.
    let manifest = std::fs::read(copy.join("manifest.json")).unwrap();
    std::fs::remove_file(&body).unwrap();
    for _ in 0..3 {
        assert!(refused(&back_up(&world, &copy)).contains("a document names it"));
    }
    let databases = files(&copy).into_iter().filter(|path| path.to_string_lossy().contains("database-"));
    assert_eq!(databases.count(), 2, "the last copy's, and that of the last attempt");
    assert_eq!(std::fs::read(copy.join("manifest.json")).unwrap(), manifest);
}

fn a_copy_lies_apart_and_forgets_what_was_erased(engine: Engine) {
    let (world, folder) = (World::with_files(engine), tempfile::tempdir().unwrap());
    for own in ["", "bodies", "bodies/copy", "checkpoints"] {
        let told_of = refused(&back_up(&world, &world.data.join(own)));
        assert!(told_of.contains("the server's own"), "{own}: {told_of}");
    }
    feed(&world, "cps-medecin", "2.25.48200");
    let copy = folder.path().join("copy");
    told(&back_up(&world, &copy));
    let before = files(&copy.join("bodies")).len();
    let mes = PatientSide::of(&world);
    let record = mes.record(OTHER);
    assert_eq!(mes.send("DELETE", &format!("/{}", record.id), Some(record.version), None).status, 200);
    told(&back_up(&world, &copy));
    assert_eq!(files(&copy.join("bodies")).len(), before - 1);
    let databases = files(&copy).into_iter().filter(|path| path.to_string_lossy().contains("database-"));
    assert_eq!(databases.count(), 1, "of the last copy alone");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o700);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    let mut files: Vec<_> = entries.flat_map(below).collect();
    files.sort();
    files
}

fn a_row_that_is_not_as_it_was_fed_is_noticed(engine: Engine) {
    let (world, folder) = (World::start(engine), tempfile::tempdir().unwrap());
    feed(&world, "cps-medecin", "2.25.48400");
    let copy = folder.path().join("copy");
    told(&back_up(&world, &copy));
    let manifest = std::fs::read(copy.join("manifest.json")).unwrap();
    let row = "binary_id = (SELECT binary_id FROM document WHERE unique_id LIKE '%2.25.48400')";
    // As long as it was: the restore that opens it finds it.
    let altered = match engine {
        Engine::Sqlite => "zeroblob(octet_length(bytes))",
        Engine::Postgres => "set_byte(bytes, 50, get_byte(bytes, 50) # 1)",
    };
    world.sql(&format!("CREATE TABLE saved AS SELECT * FROM made_body WHERE {row}"));
    world.sql(&format!("UPDATE made_body SET bytes = {altered} WHERE {row}"));
    let other = folder.path().join("other");
    told(&back_up(&world, &other));
    let place = folder.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let database = DatabaseOfTest::new(engine, &place);
    let why = refused(&restore(&world, &other, &place.join("data"), &database.url));
    assert!(why.contains("does not open"), "{why}");
    // Shorter, or gone: no copy is made that hides it, and the last one stays.
    for damage in ["UPDATE made_body SET bytes = substr(bytes, 2) WHERE", "DELETE FROM made_body WHERE"] {
        world.sql(&format!("{damage} {row}"));
        let why = refused(&back_up(&world, &copy));
        assert!(why.contains("missing or altered in the database"), "{damage}: {why}");
        assert_eq!(std::fs::read(copy.join("manifest.json")).unwrap(), manifest);
    }
    world.sql("INSERT INTO made_body SELECT * FROM saved; DROP TABLE saved");
    told(&back_up(&world, &copy));
}
