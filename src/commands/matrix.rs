//! `habilis matrix`: check, compare and import files of the habilitation matrix.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use habilis::fhir::codes::Codes;
use habilis::rights::MatrixKind;
use habilis::rights::matrix_files::{self, Finding, ImportOptions, MatrixFile, Severity};
use jiff::civil::Date;

const CHECK_HELP: &str = "\
Example: the version in force and the one to come, before both go into the configuration

  $ habilis matrix check matrix-2023.tsv matrix-2027.tsv
  matrix-2023.tsv: fault: type « 15508 »: is not in JDV_J66; columns: 10, 40
  matrix-2023.tsv: note: column « 40 »: 96 of 103 types without a cell: unknown, refused
  …

A fault makes the command fail. A note may be meant so: what has no cell is unknown, and what is unknown is refused.
A file begins with these lines; tabs stand between the columns:

  # version: 2023-10
  # in-force: 2023-10-29
  # kind: known
  profession  type     consultation  provenance
  10          11488-4  yes           arrêté du 2023-10-26, annexe";

const DIFF_HELP: &str = "\
Example: what a new version gives and takes

  $ habilis matrix diff matrix-2023.tsv matrix-2027.tsv
  opened    40 × 11488-4: unknown → yes (arrêté du 2027-01-04, annexe)
  closed    60 × 75496-0: yes → no (arrêté du 2027-01-04, annexe)
  stated    80 × 15508-5: unknown → no (arrêté du 2027-01-04, annexe)
  forgotten 91 × 15508-5: no → unknown (was: matrice V2.3.0 du 2020-10-07)

opened: now readable. closed: no longer. stated: refused already for want of a cell, now said to be no.
forgotten: was no, and is refused for want of a cell. Nothing is printed where both say the same.";

const IMPORT_HELP: &str = "\
Example: a table with commas, semicolons or tabs becomes a file of the matrix

  $ cat annexe.csv
  codes_profession,type_code,consultation
  10,11488-4,oui
  60;69,11488-4,non
  $ habilis matrix import annexe.csv --version 2023-10 --in-force 2023-10-29 --kind known \\
      --provenance \"arrêté du 2023-10-26, annexe\" --output matrix-2023.tsv
  matrix-2023.tsv: version 2023-10, in force 2023-10-29, known, 3 cells in 3 columns

Columns, by the name in the header, in any order, others are passed over:

  profession     profession, codes_profession, code_profession: TRE_G15; several with ; between
  type           type, type_code, code: JDV_J66
  consultation   consultation, field_consultation_document: yes no oui non true false 1 0
  provenance     provenance, source; --provenance where a row has none
  version        optional: --only-version takes the rows that say this
  col            optional: M2 is pharmacist in biology, M3 dispensing. A 21 without it stands for both.

Rows that contradict one another are named, and nothing is written. Nor is it where the result has a fault that
`habilis matrix check` would find.";

// No doc comment here and on the arguments: clap would print it in place of the command's own.
#[derive(Subcommand)]
pub enum MatrixCommand {
    /// Say what is wrong with files of the habilitation matrix, and what they leave unknown.
    ///
    /// Names columns that no caller can have, types that are not in JDV_J66, cells without a provenance, two versions
    /// in force from the same day, and counts the types for which a column has no cell.
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The files: all versions that are to serve together.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Say which cells a new version opens, closes, states or forgets.
    #[command(after_help = DIFF_HELP)]
    Diff {
        /// The file of the version before.
        old: PathBuf,
        /// The file of the version after.
        new: PathBuf,
    },
    /// Make a file of the habilitation matrix from a table with commas, semicolons or tabs.
    // `--version` is the matrix's here, not the program's.
    #[command(after_help = IMPORT_HELP, disable_version_flag = true)]
    Import(Box<ImportArguments>),
}

#[derive(Args)]
pub struct ImportArguments {
    /// The table, in UTF-8.
    csv: PathBuf,
    /// Name of the version: rules and traces quote it.
    #[arg(long, value_name = "VERSION")]
    version: String,
    /// First day on which it decides, YYYY-MM-DD.
    #[arg(long, value_name = "DATE")]
    in_force: Date,
    /// Whether it may serve real records.
    #[arg(long, value_enum)]
    kind: Kind,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Provenance of the rows that name none.
    #[arg(long, value_name = "TEXT")]
    provenance: Option<String>,
    /// Take the rows whose column `version` says this, no others.
    #[arg(long, value_name = "VERSION")]
    only_version: Option<String>,
    /// Overwrite the file.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Every cell has a source.
    Known,
    /// Complete, partly invented: sandbox only.
    Demonstration,
}

impl From<Kind> for MatrixKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Known => MatrixKind::Known,
            Kind::Demonstration => MatrixKind::Demonstration,
        }
    }
}

/// Does what was asked for.
///
/// # Errors
/// A file cannot be read, understood or written, or has a fault.
pub fn run(command: MatrixCommand) -> Result<()> {
    match command {
        MatrixCommand::Check { files } => check(&files),
        MatrixCommand::Diff { old, new } => diff(&old, &new),
        MatrixCommand::Import(arguments) => import(*arguments),
    }
}

fn check(paths: &[PathBuf]) -> Result<()> {
    let types = document_types()?;
    let (mut report, mut faults) = (String::new(), 0);
    let mut files: Vec<(String, MatrixFile)> = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        // A file that cannot be read hides nothing of the others.
        match read(path) {
            Ok(file) => {
                let findings = matrix_files::check(&file, &types);
                for finding in &findings {
                    writeln!(report, "{name}: {finding}")?;
                }
                let own = count_faults(&findings);
                writeln!(report, "{name}: {file}; {own} fault(s), {} note(s)", findings.len() - own)?;
                faults += own;
                files.push((name, file));
            }
            Err(error) => {
                writeln!(report, "fault: {error:#}")?;
                faults += 1;
            }
        }
    }
    let together = matrix_files::check_together(files.iter().map(|(name, file)| (name.as_str(), file)));
    for finding in &together {
        writeln!(report, "{finding}")?;
    }
    faults += count_faults(&together);
    print(&report)?;
    if faults > 0 {
        bail!("{faults} fault(s) in the habilitation matrix");
    }
    Ok(())
}

fn diff(old: &Path, new: &Path) -> Result<()> {
    let mut report = String::new();
    for change in matrix_files::diff(&read(old)?, &read(new)?) {
        writeln!(report, "{change}")?;
    }
    print(&report)
}

fn import(arguments: ImportArguments) -> Result<()> {
    let types = document_types()?;
    let options = ImportOptions {
        version: arguments.version,
        in_force: arguments.in_force,
        kind: arguments.kind.into(),
        provenance: arguments.provenance,
        only_version: arguments.only_version,
    };
    let name = arguments.csv.display();
    let text = text_of(&arguments.csv)?;
    let (file, notes) = matrix_files::import(&text, options).with_context(|| name.to_string())?;
    let mut report = String::new();
    for finding in &notes {
        writeln!(report, "{name}: {finding}")?;
    }
    // What is unknown is for `check` to count; a fault would stand in the file.
    let mut findings = matrix_files::check(&file, &types);
    findings.retain(|finding| finding.severity == Severity::Fault);
    for finding in &findings {
        writeln!(report, "{name}: {finding}")?;
    }
    if !findings.is_empty() {
        print(&report)?;
        bail!("nothing is written, for {} fault(s)", findings.len());
    }
    write(&arguments.output, &matrix_files::write(&file), arguments.force)?;
    writeln!(report, "{}: {file}", arguments.output.display())?;
    print(&report)
}

fn document_types() -> Result<BTreeSet<String>> {
    Ok(Codes::built_in()?.document_types().map(str::to_owned).collect())
}

fn count_faults(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.severity == Severity::Fault).count()
}

fn read(path: &Path) -> Result<MatrixFile> {
    matrix_files::read(&text_of(path)?).with_context(|| path.display().to_string())
}

fn text_of(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {} as UTF-8", path.display()))
}

/// Writes a file, a new one unless `force`: whole, or not at all. What is cut off might be read as a matrix.
fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = fs::File::create(&part).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let placed = written.and_then(|()| match force {
        true => fs::rename(&part, path),
        // Unlike a rename, this overwrites nothing.
        false => fs::hard_link(&part, path),
    });
    if !(force && placed.is_ok()) {
        // Best effort: what went wrong is told below, and a part is no matrix.
        let _ = fs::remove_file(&part);
    }
    match placed {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} is there already; --force overwrites it", path.display())
        }
        placed => placed.with_context(cannot),
    }
}

/// Prints a report. Whoever stops reading it, as `head` does, has read enough.
fn print(report: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match output.write_all(report.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}
