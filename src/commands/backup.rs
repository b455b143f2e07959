//! `habilis backup` and `habilis restore`: a copy of all that a server keeps, made while it works.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use habilis::audit::checkpoint::CheckpointFolders;
use habilis::audit::verify::{self, Evidence};
use habilis::config::Places;
use habilis::environment::Environment;
use habilis::store::backup::{self, CHECKPOINTS, Manifest, Progress};
use habilis::store::{BodyStore, DatabaseConnection};
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
/// What cannot be read or written: then the folder is no copy, and says so.
pub async fn back_up(arguments: Backup) -> Result<()> {
    let places = arguments.place.read()?;
    let folder = &arguments.to;
    // What is in it is as secret as the server's own folders.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let begun = Environment::system().now();
    // Before the database: what they signed is in it, then.
    copy_checkpoints(&places, &folder.join(CHECKPOINTS))?;
    let bar = bar()?;
    let bodies = BodyStore::open(&places.bodies)?;
    let manifest =
        backup::back_up(&places.database, &bodies, folder, begun, |progress| show(&bar, progress)).await;
    bar.finish_and_clear();
    let manifest = manifest.context("there is no copy")?;
    println!(
        "{} records, {} documents, {} traces as of {begun}",
        manifest.records,
        manifest.documents,
        manifest.logs.values().sum::<u64>()
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
    for folder in &places.audit.checkpoints {
        ensure!(
            !folder.exists() || folder.read_dir()?.next().is_none(),
            "{} has checkpoints: keep them elsewhere, they say what the copy lacks (docs/backup.md)",
            folder.display()
        );
    }
    let bodies = BodyStore::open(&places.bodies)?;
    let bar = bar()?;
    let restored = backup::restore(&arguments.from, &manifest, &places.database, &bodies, &vault, |progress| {
        show(&bar, progress);
    })
    .await;
    restored.context("not all is restored")?;
    for folder in &places.audit.checkpoints {
        copy_files(&arguments.from.join(CHECKPOINTS), folder)?;
    }
    let evidence = Evidence {
        verifier: place::verifier(&places)?,
        folders: CheckpointFolders::of(&places.audit.checkpoints),
        now: manifest.begun_at,
        unlogged: manifest.unlogged,
        patience: 60_000_000,
    };
    let mut connection = DatabaseConnection::open_for_reading(&places.database)?;
    let report = verify::verify(&mut connection, &evidence, |read, all| {
        bar.set_message("traces");
        bar.set_length(all);
        bar.set_position(read);
    })?;
    bar.finish_and_clear();
    for fault in &report.faults {
        println!("FAULT {fault}");
    }
    if !report.faults.is_empty() {
        bail!("the traces are not as they were written");
    }
    println!(
        "{} records, {} documents opened, {} traces derived again, as of {}",
        manifest.records, manifest.documents, report.traces, manifest.begun_at
    );
    println!(
        "before a server starts here: a new [audit] node, unless it is certain that nothing was signed since"
    );
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

/// Those of the first folder: of several, each holds all.
fn copy_checkpoints(places: &Places, to: &Path) -> Result<()> {
    match places.audit.checkpoints.first() {
        Some(from) if from.exists() => copy_files(from, to),
        _ => Ok(()),
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make the folder {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        std::fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        std::fs::File::open(&target)?.sync_all()?;
    }
    std::fs::File::open(to)?.sync_all()?;
    Ok(())
}
