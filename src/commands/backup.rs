//! `habilis backup` and `habilis restore`: a copy of all that a server keeps, made while it works.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use habilis::audit::checkpoint::CheckpointFolders;
use habilis::audit::verify::{self, Evidence};
use habilis::config::Places;
use habilis::environment::Environment;
use habilis::store::backup::{self, Manifest, Progress};
use habilis::store::{BodyStore, BodyStoreLocation, DatabaseUrl};
use indicatif::{ProgressBar, ProgressStyle};

use super::place::{self, Place};

const HELP: &str = "\
Examples, for a sandbox in ./data and ./certs/sandbox; a server has --config habilis.toml

  $ habilis backup --to /backup/habilis              while the server works; what was acknowledged before is in it
  $ habilis backup --to /backup/habilis              again: bodies that are there are not copied again
  $ habilis restore --from /backup/habilis --data ./data2
                                                     to where there is nothing; opens each document, verifies the traces

Neither holds the operator's keys ([encryption] folder), nor the one that signs traces: keep those elsewhere, or nothing
opens. docs/backup.md has what a copy is, and how a server goes on after one was restored.";

/// Copy all that a server keeps, while it works.
#[derive(Args)]
#[command(after_help = HELP)]
pub struct Backup {
    /// The folder to copy to; made where it is missing.
    #[arg(long)]
    to: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Bring a copy back to where there is nothing, and see that all of it is right.
#[derive(Args)]
#[command(after_help = HELP)]
pub struct Restore {
    /// The folder of the copy.
    #[arg(long)]
    from: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Copies.
///
/// # Errors
/// What cannot be read or written: then the folder holds the copy that it held. The server has lost what an earlier copy still had.
pub async fn back_up(arguments: Backup) -> Result<()> {
    let places = arguments.place.read()?;
    let folder = &arguments.to;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    must_lie_apart(folder, &places)?;
    // What is in it is as secret as the server's own folders.
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    let lock = std::fs::File::create(folder.join("lock"))?;
    ensure!(lock.try_lock().is_ok(), "another copy is being made to {}", folder.display());
    let begun = Environment::system().now();
    // Before the database: what they signed is in it, then.
    let checkpoints = format!("checkpoints-{}", begun.strftime("%Y%m%dT%H%M%S%6fZ"));
    copy_checkpoints(&places, &folder.join(&checkpoints))?;
    let (bar, bodies) = (bar()?, BodyStore::open(&places.bodies)?);
    let show = |progress| show(&bar, progress);
    let copy = backup::back_up(&places.database, &bodies, folder, checkpoints, begun, show).await;
    bar.finish_and_clear();
    let copy = copy.context("no new copy was made, the last one stays as it was")?;
    let manifest = &copy.manifest;
    println!(
        "{} records, {} documents, {} traces as of {begun}",
        manifest.records,
        manifest.documents,
        manifest.logs.values().sum::<u64>()
    );
    if let Some(first) = copy.lost_here.first() {
        bail!(
            "the copy is whole, but the server has lost {} bodies that an earlier copy still had, {first} for one",
            copy.lost_here.len()
        );
    }
    Ok(())
}

/// A folder for copies is not one of the server's own.
fn must_lie_apart(folder: &Path, places: &Places) -> Result<()> {
    let folder = folder.canonicalize()?;
    let mut own: Vec<PathBuf> = places.audit.checkpoints.clone();
    if let BodyStoreLocation::Folder(bodies) = &places.bodies {
        own.push(bodies.clone());
    }
    let within = |own: &PathBuf| {
        own.canonicalize().is_ok_and(|own| own.starts_with(&folder) || folder.starts_with(&own))
    };
    let beside = matches!(&places.database, DatabaseUrl::Sqlite(path)
        if path.canonicalize().is_ok_and(|path| path.parent() == Some(folder.as_path())));
    ensure!(
        !beside && !own.iter().any(within),
        "{} is the server's own: copy to another folder",
        folder.display()
    );
    Ok(())
}

/// Restores.
///
/// # Errors
/// The copy is not whole, the place is not empty, or something is not as it was written.
pub async fn restore(arguments: Restore) -> Result<()> {
    let places = arguments.place.read()?;
    let manifest = Manifest::read(&arguments.from)?;
    let vault = places.encryption.vault().context("no keys: a copy holds none, and opens with those alone")?;
    let checkpoints = arguments.from.join(&manifest.checkpoints);
    for folder in &places.audit.checkpoints {
        must_have_no_others(folder, &checkpoints)?;
    }
    let bodies = BodyStore::open(&places.bodies)?;
    let bar = bar()?;
    let evidence = Evidence {
        verifier: place::verifier(&places)?,
        folders: CheckpointFolders::of(std::slice::from_ref(&checkpoints)),
        now: manifest.begun_at,
        unlogged: manifest.unlogged,
        patience: 60_000_000,
    };
    let mut traces = 0;
    let verify = |connection: &mut habilis::store::DatabaseConnection| {
        let report = verify::verify(connection, &evidence, |read, all| {
            bar.set_message("traces");
            bar.set_length(all);
            bar.set_position(read);
        })?;
        for fault in &report.faults {
            println!("FAULT {fault}");
        }
        ensure!(report.faults.is_empty(), "the traces are not as they were written");
        traces = report.traces;
        Ok(())
    };
    let show = |progress| show(&bar, progress);
    let restored =
        backup::restore(&arguments.from, &manifest, &places.database, &bodies, &vault, show, verify).await;
    bar.finish_and_clear();
    restored.context("not all is restored: start no server there")?;
    for folder in &places.audit.checkpoints {
        copy_files(&checkpoints, folder)?;
    }
    println!(
        "{} records, {} documents opened, {traces} traces derived again, as of {}",
        manifest.records, manifest.documents, manifest.begun_at
    );
    if !manifest.erased.is_empty() {
        println!("erased while the copy was made, to be erased again: records {:?}", manifest.erased);
    }
    println!(
        "before a server starts here: a new [audit] node, unless it is certain that nothing was signed since"
    );
    Ok(())
}

/// Checkpoints that are not those of the copy say what it lacks: nobody writes among them.
fn must_have_no_others(folder: &Path, copied: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        let same = std::fs::read(copied.join(entry.file_name()))
            .is_ok_and(|copied| std::fs::read(entry.path()).is_ok_and(|here| here == copied));
        ensure!(
            same,
            "{} has checkpoints: keep them elsewhere, they say what the copy lacks (docs/backup.md)",
            folder.display()
        );
    }
    Ok(())
}

fn bar() -> Result<ProgressBar> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "{msg} {bar:30} {human_pos}/{human_len} {per_sec} ({elapsed})",
    )?);
    Ok(bar)
}

fn show(bar: &ProgressBar, progress: Progress) {
    match progress {
        Progress::Database(bytes) => {
            bar.set_message("database, bytes");
            bar.set_position(bytes);
        }
        Progress::Documents(done, all) => {
            bar.set_message("documents");
            bar.set_length(all);
            bar.set_position(done);
        }
    }
}

/// Those of all folders: of a file that is in several, the longest.
fn copy_checkpoints(places: &Places, to: &Path) -> Result<()> {
    let mut files: BTreeMap<std::ffi::OsString, (u64, PathBuf)> = BTreeMap::new();
    for folder in &places.audit.checkpoints {
        let entries = std::fs::read_dir(folder)
            .with_context(|| format!("cannot read the checkpoints in {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let length = entry.metadata()?.len();
            let kept = files.entry(entry.file_name()).or_default();
            if kept.0 <= length {
                *kept = (length, entry.path());
            }
        }
    }
    copy_all(files.values().map(|(_, path)| path.clone()), to)
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    let entries = std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    copy_all(files, to)
}

fn copy_all(files: impl IntoIterator<Item = PathBuf>, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make the folder {}", to.display()))?;
    for file in files {
        let Some(name) = file.file_name() else { continue };
        let target = to.join(name);
        std::fs::copy(&file, &target).with_context(|| format!("cannot write {}", target.display()))?;
        std::fs::File::open(&target)?.sync_all()?;
    }
    std::fs::File::open(to)?.sync_all()?;
    Ok(())
}
