//! `habilis audit`: the traces, from outside the server.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use habilis::audit::checkpoint::{CheckpointFolders, Verifier};
use habilis::audit::erasure::ErasureCertificate;
use habilis::audit::merkle::{Hash, consistency_proof};
use habilis::audit::proof::{InclusionProof, leaves};
use habilis::audit::verify::{self, Evidence};
use habilis::environment::Environment;
use habilis::store::{DatabaseConnection, DatabaseUrl, TraceRow};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::place::{self, Place};

const HELP: &str = "\
Examples, for a sandbox in ./data and ./certs/sandbox

  $ habilis audit key                 the public key: keep it where the server cannot write
  $ habilis audit verify              derives every trace again; exit code 1 and the first bad row where one is not as it was
  $ habilis audit prove inclusion --request-id 5f0c… > proof.json
  $ habilis audit check proof.json    what a third party does with it: the file and the public key are all it needs
  $ habilis audit export --professional 810100000016 --from 2026-01-01 --until 2026-06-30 --output traces.csv
  $ habilis audit prove consistency --node 1 --from 100 --to 2000

and for a server with a configuration

  $ habilis audit verify --config habilis.toml --public-key 'dmp.example.fr+c1d2e3f4+AY…'

docs/audit.md has what is proven, and what is not.";

/// Verify and prove the traces.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub enum AuditCommand {
    /// Derive all of it again: rows, trees, checkpoints.
    #[command(after_help = HELP)]
    Verify(Where),
    /// Print the public key of the checkpoints.
    Key(Where),
    /// Write the traces of professionals over a period, with each row's place and hash (EX_AIR-120).
    #[command(after_help = HELP)]
    Export(Export),
    /// Prove that a trace is in the log, or that a log is the beginning of a later one (RFC 6962).
    #[command(subcommand)]
    Prove(Proof),
    /// See whether a proof of inclusion, or a certificate of erasure, holds: with the public key alone.
    #[command(after_help = HELP)]
    Check {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        place: Where,
    },
}

#[derive(Subcommand)]
pub enum Proof {
    /// That the traces of a request are in their node's log.
    Inclusion {
        /// `X-Request-Id` of the answer.
        #[arg(long)]
        request_id: String,
        #[command(flatten)]
        place: Where,
    },
    /// That the log of one size is the beginning of that of another.
    Consistency {
        /// The node.
        #[arg(long)]
        node: String,
        /// The smaller size.
        #[arg(long)]
        from: u64,
        /// The larger size.
        #[arg(long)]
        to: u64,
        #[command(flatten)]
        place: Where,
    },
}

/// What is exported.
#[derive(Args)]
pub struct Export {
    /// PS_IdNat of a professional, or Struct_IdNat where nobody was named; may be repeated.
    #[arg(long, required_unless_present = "structure")]
    professional: Vec<String>,
    /// Struct_IdNat: what anybody did for that structure. All traces are gone through.
    #[arg(long, conflicts_with = "professional")]
    structure: Option<String>,
    /// From this day on (UTC), YYYY-MM-DD.
    #[arg(long)]
    from: jiff::civil::Date,
    /// To the end of this day (UTC).
    #[arg(long)]
    until: jiff::civil::Date,
    /// The file to write: JSON Lines, or CSV where it ends in .csv.
    #[arg(long)]
    output: PathBuf,
    #[command(flatten)]
    place: Where,
}

/// Where the traces lie, and what they are held against.
#[derive(Args)]
pub struct Where {
    #[command(flatten)]
    place: Place,
    /// The public key, NAME+ID+KEY. Without it, that of the private key: who can change that can change the checkpoints as well.
    #[arg(long)]
    public_key: Option<String>,
    /// How many traces are of before there was a log: `verify` says how many it finds.
    #[arg(long, default_value_t = 0)]
    unlogged: u64,
    /// How many seconds old a trace may be that no checkpoint covers yet.
    #[arg(long, default_value_t = 60)]
    patience: u32,
}

struct Found {
    database: DatabaseUrl,
    evidence: Evidence,
}

impl Where {
    fn open(&self) -> Result<Found> {
        let places = self.place.read()?;
        let verifier = match &self.public_key {
            Some(text) => Verifier::parse(text)?,
            None => place::verifier(&places)?,
        };
        let evidence = Evidence {
            verifier,
            folders: CheckpointFolders::of(&places.audit.checkpoints),
            now: Environment::system().now(),
            unlogged: self.unlogged,
            patience: i64::from(self.patience) * 1_000_000,
        };
        Ok(Found { database: places.database, evidence })
    }
}

/// Runs it.
///
/// # Errors
/// What cannot be read; a fault that was found.
pub fn run(command: AuditCommand) -> Result<()> {
    match command {
        AuditCommand::Verify(place) => verify_all(&place.open()?),
        AuditCommand::Key(place) => {
            println!("{}", place.open()?.evidence.verifier);
            Ok(())
        }
        AuditCommand::Export(export) => self::export(&export),
        AuditCommand::Check { file, place } => check(&place.open()?, &file),
        AuditCommand::Prove(Proof::Inclusion { request_id, place }) => {
            prove_inclusion(&place.open()?, &request_id)
        }
        AuditCommand::Prove(Proof::Consistency { node, from, to, place }) => {
            prove_consistency(&place.open()?, &node, from, to)
        }
    }
}

fn verify_all(found: &Found) -> Result<()> {
    let mut connection = DatabaseConnection::open_for_reading(&found.database)?;
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} {per_sec} ({elapsed})")?);
    let report = verify::verify(&mut connection, &found.evidence, |read, all| {
        bar.set_length(all);
        bar.set_position(read);
    })?;
    bar.finish_and_clear();
    if report.unlogged > 0 {
        println!("{} traces of before there was a log: nothing is said of them", report.unlogged);
    }
    println!(
        "{} traces of {} nodes derived again, {} checkpoints met",
        report.traces, report.nodes, report.checkpoints
    );
    for fault in &report.faults {
        println!("FAULT {fault}");
    }
    match report.faults.len() {
        0 => {
            println!("all is as it was written");
            Ok(())
        }
        faults => bail!("{faults} of {} logs are not as they were written", report.nodes),
    }
}

fn export(export: &Export) -> Result<()> {
    let found = export.place.open()?;
    let mut connection = DatabaseConnection::open_for_reading(&found.database)?;
    let start = |day: jiff::civil::Date| -> Result<i64> {
        Ok(day.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_microsecond())
    };
    let (from, until) = (start(export.from)?, start(export.until.tomorrow()?)?);
    let total = TraceRow::count_of(&mut connection, &export.professional, from, until)?;
    let bar = ProgressBar::new(u64::try_from(total)?);
    bar.set_style(ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} {per_sec} ({elapsed})")?);
    let path = &export.output;
    // For nobody else to read.
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    let is_csv = path.extension().is_some_and(|extension| extension == "csv");
    if is_csv {
        writeln!(file, "{}", COLUMNS.join(","))?;
    }
    let mut written = 0;
    for professional in &export.professional {
        let mut after = None;
        loop {
            let rows = TraceRow::of_caller(&mut connection, professional, (from, until), after, 5_000)?;
            let Some(last) = rows.last() else { break };
            after = Some((last.at, last.request_id.clone()));
            for row in &rows {
                write_row(&mut file, row, is_csv)?;
            }
            written += rows.len() as u64;
            bar.set_position(written);
        }
    }
    if let Some(structure) = &export.structure {
        let mut behind = 0;
        bar.set_length(u64::try_from(TraceRow::last_sequence(&mut connection)?)?);
        while let (rows, Some(next)) =
            TraceRow::of_structure(&mut connection, structure, (from, until), behind, 20_000)?
        {
            behind = next;
            for row in &rows {
                write_row(&mut file, row, is_csv)?;
            }
            written += rows.len() as u64;
            bar.set_position(u64::try_from(behind)?);
        }
    }
    let file = file.into_inner()?;
    file.sync_all()?;
    bar.finish_and_clear();
    println!("{written} traces written to {}", path.display());
    Ok(())
}

/// What an export tells of a trace.
const COLUMNS: [&str; 21] = [
    "at",
    "requestId",
    "operation",
    "callerKind",
    "callerId",
    "structure",
    "certificate",
    "mode",
    "authentication",
    "role",
    "sector",
    "software",
    "motif",
    "secret",
    "recordId",
    "objects",
    "status",
    "outcome",
    "rule",
    "node",
    "index",
];

fn write_row(file: &mut impl std::io::Write, row: &TraceRow, is_csv: bool) -> Result<()> {
    let at = jiff::Timestamp::from_microsecond(row.at)?.to_string();
    let values: [serde_json::Value; 21] = [
        json!(at),
        json!(row.request_id),
        json!(row.operation),
        json!(row.caller_kind),
        json!(row.caller_id),
        json!(row.caller_structure),
        json!(row.certificate),
        json!(row.mode),
        json!(row.authentication),
        json!(row.role),
        json!(row.sector),
        json!(row.software),
        json!(row.motif),
        json!(row.secret),
        json!(row.record_id),
        json!(row.objects),
        json!(row.status),
        json!(row.outcome),
        json!(row.rule),
        json!(row.node),
        json!(row.leaf),
    ];
    if is_csv {
        let cell = |value: &serde_json::Value| match value {
            serde_json::Value::Null => String::new(),
            // A cell that a spreadsheet would take for a formula is a text all the same.
            serde_json::Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
                format!("\"'{}\"", text.replace('"', "\"\""))
            }
            serde_json::Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
            other => other.to_string(),
        };
        writeln!(file, "{}", values.iter().map(cell).collect::<Vec<_>>().join(","))?;
    } else {
        let object: serde_json::Map<String, serde_json::Value> =
            COLUMNS.iter().map(|name| (*name).to_owned()).zip(values).collect();
        writeln!(file, "{}", serde_json::Value::Object(object))?;
    }
    Ok(())
}

fn prove_inclusion(found: &Found, request_id: &str) -> Result<()> {
    let mut connection = DatabaseConnection::open_for_reading(&found.database)?;
    let rows = TraceRow::of_request(&mut connection, request_id)?;
    if rows.is_empty() {
        bail!("there is no trace of the request {request_id}");
    }
    let Evidence { verifier, folders, .. } = &found.evidence;
    for row in rows {
        let proof = InclusionProof::of(&mut connection, folders, verifier, &row)?;
        println!("{}", serde_json::to_string_pretty(&proof)?);
    }
    Ok(())
}

fn check(found: &Found, path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let value: serde_json::Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    // A certificate of erasure holds its proof under a name of its own.
    let proof = value.get("proof").filter(|proof| proof.is_object()).unwrap_or(&value);
    let proof: InclusionProof =
        serde_json::from_value(proof.clone()).context("the file is no proof of inclusion")?;
    proof.check(&found.evidence.verifier)?;
    if value.get("certificate").is_some() {
        ErasureCertificate::read(&value)?.check(&found.evidence.verifier)?;
    }
    println!("the trace {} of the node {} is what was written and signed", proof.index, proof.node);
    Ok(())
}

fn prove_consistency(found: &Found, node: &str, from: u64, to: u64) -> Result<()> {
    let mut connection = DatabaseConnection::open_for_reading(&found.database)?;
    let leaves = leaves(&mut connection, node)?;
    let (older, newer) = (usize::try_from(from)?, usize::try_from(to)?);
    let all = leaves.get(..newer).with_context(|| format!("the log has {} traces", leaves.len()))?;
    let proof = consistency_proof(older, all).context("--from is at most --to")?;
    let written = |hashes: &[Hash]| hashes.iter().map(|hash| BASE64.encode(hash)).collect::<Vec<_>>();
    println!(
        "{}",
        serde_json::to_string_pretty(
            &json!({ "node": node, "from": from, "to": to, "proof": written(&proof) })
        )?
    );
    Ok(())
}
