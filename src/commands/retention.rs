//! `habilis retention`: the end of records, ten years after they were closed.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use habilis::audit::checkpoint::Signer;
use habilis::audit::erasure::ErasureCertificate;
use habilis::environment::Environment;
use habilis::operations::retention::{Retention, RetentionReport};
use habilis::store::DatabaseConnection;
use indicatif::{ProgressBar, ProgressStyle};

use super::place::{self, Place};

const HELP: &str = "\
Examples, for a sandbox in ./data and ./certs/sandbox; a server has --config habilis.toml

  $ habilis retention run --dry-run        how many records are kept no longer
  $ habilis retention run                  erases them: key, documents, traits, then what their traces say
  $ habilis retention certificate --record 5f0c… --output attestation.json
  $ habilis audit check attestation.json   what anybody may do with it who has the public key

It may run beside the server, on any node, from a timer. docs/retention.md has what is erased, and what is left in backups.";

/// The end of records: ten years after they were closed (L1111-18).
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub enum RetentionCommand {
    /// Erase the records that were closed more than ten years ago, and what their traces say.
    #[command(after_help = HELP)]
    Run(Run),
    /// Write the certificate of an erasure, with the proof that the log says so.
    #[command(after_help = HELP)]
    Certificate {
        /// Our identifier of the record.
        #[arg(long)]
        record: String,
        /// The file to write; printed unless given.
        #[arg(long)]
        output: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
pub struct Run {
    /// Say what would be erased, and erase nothing.
    #[arg(long)]
    dry_run: bool,
    /// Records that are due, at most: where there are more, nothing is erased, for the clock may be wrong.
    #[arg(long, default_value_t = 10_000)]
    most: u64,
    #[command(flatten)]
    place: Place,
}

/// Runs it.
///
/// # Errors
/// What cannot be opened; what was erased until then is erased.
pub async fn run(command: RetentionCommand) -> Result<()> {
    match command {
        RetentionCommand::Run(run) => erase(&run).await,
        RetentionCommand::Certificate { record, output, place } => {
            let places = place.read()?;
            let (folders, verifier) = place::evidence(&places)?;
            let mut connection = DatabaseConnection::open_for_reading(&places.database)?;
            let certificate = ErasureCertificate::of(&mut connection, &folders, &verifier, &record)?;
            let text = serde_json::to_string_pretty(&certificate)?;
            match output {
                Some(path) => {
                    std::fs::write(&path, text + "\n")
                        .with_context(|| format!("cannot write {}", path.display()))?;
                    println!("{}", certificate.text);
                }
                None => println!("{text}"),
            }
            Ok(())
        }
    }
}

async fn erase(run: &Run) -> Result<()> {
    let places = run.place.read()?;
    if !run.dry_run {
        run.place.must_belong_together(&places)?;
    }
    let store = place::store(&places)?;
    let signer = Arc::new(Signer::read(&places.audit.origin, &places.audit.key)?);
    let environment = Environment::system();
    let retention = Retention { store: &store, environment: &environment, signer: &signer };
    let due = retention.due().await?;
    if run.dry_run {
        println!("{} records would be erased, and the traces of {}", due.records, due.traces_of);
        return Ok(());
    }
    let bar = ProgressBar::new(due.traces_of);
    bar.set_style(ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} {per_sec} ({elapsed})")?);
    let report = retention.run(&due, run.most, || bar.inc(1)).await;
    bar.finish_and_clear();
    let report = report.context("not all was erased")?;
    let RetentionReport { records, documents, traces_of, traces, .. } = report;
    println!("{records} records erased with {documents} documents, {traces} traces of {traces_of} records");
    ensure!(report.failed == 0, "{} records could not be erased: the lines above say why", report.failed);
    Ok(())
}
