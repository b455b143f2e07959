//! `habilis backup` beside a server that is fed, and `habilis restore`: what was acknowledged before is in the copy, opens, and verifies.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use habilis::sandbox::example::Example;

use crate::on_both_engines;
use crate::support::{DatabaseOfTest, Engine, OTHER, TEST, World, rows_of};

on_both_engines!(
    a_copy_under_load_comes_back_whole,
    a_database_is_migrated_once,
    what_is_not_as_it_was_copied_is_noticed
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
    let fed = world.client(card).post("", Example::new(TEST, OTHER, "OUVERT", unique_id).transaction());
    assert_eq!(fed.status, 200, "{}", fed.text());
}

fn a_copy_under_load_comes_back_whole(engine: Engine) {
    let (world, folder) = (World::start(engine), tempfile::tempdir().unwrap());
    let copy = folder.path().join("copy");
    let (over, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut before = Vec::new();
    std::thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                feed(&world, "cps-medecin", &format!("2.25.4800{number}"));
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
    // Nothing is written over.
    assert!(refused(&restore(&world, &copy, &data, &database.url)).contains("has checkpoints"));
    let elsewhere = folder.path().join("elsewhere");
    let again = refused(&restore(&world, &copy, &elsewhere, &database.url));
    assert!(again.contains("where there is nothing"), "{again}");
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
    let missing = told(&migrate(&["--dry-run"]));
    let all: usize = missing.lines().count() - 1;
    assert!(missing.starts_with("0001_records_and_documents\n"), "{missing}");
    assert!(missing.ends_with(&format!("{all} migrations are missing\n")), "{missing}");
    let told = std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| told(&migrate(&[]))));
        both.map(|one| one.join().unwrap())
    });
    let applied = |told: &String| told.split(' ').next().unwrap().parse::<usize>().unwrap();
    assert_eq!(told.iter().map(applied).sum::<usize>(), all, "{told:?}");
    assert_eq!(rows_of(&database.url, "__diesel_schema_migrations") as usize, all);
}

fn what_is_not_as_it_was_copied_is_noticed(engine: Engine) {
    let (world, folder) = (World::start(engine), tempfile::tempdir().unwrap());
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
    let file = files(&copy).into_iter().find(|path| path.to_string_lossy().contains("database.")).unwrap();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert!(attempt().contains("is not as it was copied"), "a database that was cut off");
    std::fs::write(&file, whole).unwrap();
    std::fs::remove_file(copy.join("manifest.json")).unwrap();
    assert!(attempt().contains("no whole copy"), "a copy that broke off");
    // A document whose body the server itself has lost: there is no copy that hides it.
    std::fs::remove_file(world.data.join("bodies").join(body.strip_prefix(copy.join("bodies")).unwrap()))
        .unwrap();
    std::fs::remove_file(&body).unwrap();
    assert!(refused(&back_up(&world, &copy)).contains("a document names it"));
    assert!(!copy.join("manifest.json").exists());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    let mut files: Vec<_> = entries.flat_map(below).collect();
    files.sort();
    files
}
