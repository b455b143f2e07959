//! `habilis homologation`: what became of the runs of a sandbox.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use habilis::homologation::report::Report;
use habilis::homologation::run::Run;
use habilis::store::DatabaseUrl;

const EXAMPLES: &str = "\
Examples

  $ curl -H 'Accept: application/json' -d name=ACME -d software='ACME LPS 1.0' -d profile=Consultation \\
      http://127.0.0.1:8080/homologation             opens a run: its cards and patients
  $ habilis homologation report R0001                what was played, and what was wrong with it
  $ habilis homologation report R0001 --format junit --only 3.1-005,3.2-010 > homologation.xml

The exit code of a report is 1 where a row failed, and, of the rows named with --only, where one was not played. A client names the
row that it plays in the header X-Habilis-Case; without it a call counts for every row that it plays.";

/// See the runs of the homologation kit.
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum HomologationCommand {
    /// The runs of a sandbox.
    List {
        /// The sandbox's data folder.
        #[arg(long, default_value = "./data")]
        data: PathBuf,
    },
    /// A run, judged row by row.
    #[command(after_help = EXAMPLES)]
    Report {
        /// The run, R0001.
        run: String,
        /// The sandbox's data folder.
        #[arg(long, default_value = "./data")]
        data: PathBuf,
        /// The database, where it is not SQLite in the data folder.
        #[arg(long)]
        database: Option<String>,
        /// How it is written.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        /// Rows that have to be passed: codes, commas between.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
}

/// How a report is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// A line for each row that was played.
    Text,
    /// JSON.
    Json,
    /// JUnit XML.
    Junit,
}

/// Runs it.
///
/// # Errors
/// There is no such run, it cannot be read, or something of it is not as it has to be.
pub fn run(command: HomologationCommand) -> Result<()> {
    match command {
        HomologationCommand::List { data } => {
            for run in Run::all(&data)? {
                println!("{}\t{}\t{}\t{}\t{}", run.id, run.opened, run.name, run.software, run.profile);
            }
            Ok(())
        }
        HomologationCommand::Report { run, data, database, format, only } => {
            let database = match database {
                Some(url) => DatabaseUrl::parse(&url)?,
                None => DatabaseUrl::Sqlite(data.join("habilis.db")),
            };
            let mut report = Report::of(&data, &database, &run)?;
            report.keep(&only)?;
            match format {
                Format::Text => print!("{}", report.text()),
                Format::Json => println!("{}", serde_json::to_string_pretty(&report.json())?),
                Format::Junit => print!("{}", report.junit()?),
            }
            let counts = report.counts();
            match counts.failed {
                0 if only.is_empty() || counts.passed == only.len() => Ok(()),
                failed => {
                    bail!("{failed} rows failed, {} were not played", counts.not_played + counts.not_judged)
                }
            }
        }
    }
}
