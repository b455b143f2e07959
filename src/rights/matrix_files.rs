//! Files of the habilitation matrix: read, written, checked, compared, and made from a table of someone else.
//!
//! The form is that of `tables/`: comment lines `# version: …`, `# in-force: YYYY-MM-DD`, `# kind: known|demonstration`,
//! a header, then profession, type, `yes` or `no`, provenance, with tabs between. What is accepted here is accepted by
//! [`HabilitationMatrix::parse`](super::HabilitationMatrix::parse). No input and output: texts in, texts and values out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use jiff::civil::Date;

use super::matrix::{MatrixCell, MatrixKind};

mod table;

pub use table::{ImportOptions, import};

const HEADER: &str = "profession\ttype\tconsultation\tprovenance";

/// The professions of TRE_G15 (OID 1.2.250.1.71.1.2.7, ANS; `professions.csv` of 2026-11-22) but 21, whose sections are
/// apart. Those that ended stay, cards outlive them: 93 on 2021-12-17, 35 to 39 on 2024-12-13.
const PROFESSIONS: [&str; 29] = [
    "10", "26", "28", "31", "32", "35", "36", "37", "38", "39", "40", "50", "60", "69", "70", "80", "81", "82",
    "83", "84", "85", "86", "91", "92", "93", "94", "95", "96", "98",
];

/// Columns that divide a profession: the occupational doctor, the sections of the pharmacists.
const DIVIDED: [&str; 3] = ["10-travail", BIOLOGY, DISPENSING];
const BIOLOGY: &str = "21-biologie";
const DISPENSING: &str = "21-officine";

/// Code tables of roles that may be a column: `R85-313` is code 313 of TRE_R85.
const ROLE_TABLES: [&str; 3] = ["R85-", "R94-", "R95-"];

/// One dated version of the matrix, as a file has it. A cell that is not here is unknown and refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixFile {
    /// Name of the version: rules and traces quote it.
    pub version: String,
    /// First day on which it decides.
    pub in_force: Date,
    /// Whether it may serve real records.
    pub kind: MatrixKind,
    /// Cells by profession column and type code.
    pub cells: BTreeMap<(String, String), MatrixCell>,
}

impl fmt::Display for MatrixFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: BTreeSet<&str> = self.cells.keys().map(|(profession, _)| profession.as_str()).collect();
        let (version, date, kind) = (&self.version, self.in_force, kind_name(self.kind));
        let (cells, columns) = (self.cells.len(), columns.len());
        write!(formatter, "version {version}, in force {date}, {kind}, {cells} cells in {columns} columns")
    }
}

const fn kind_name(kind: MatrixKind) -> &'static str {
    match kind {
        MatrixKind::Known => "known",
        MatrixKind::Demonstration => "demonstration",
    }
}

const fn answer_name(consultation: bool) -> &'static str {
    if consultation { "yes" } else { "no" }
}

/// Reads a file.
///
/// # Errors
/// Names what is malformed, with its line; a cell that stands twice is.
pub fn read(text: &str) -> Result<MatrixFile> {
    let version = comment(text, "version")?.to_owned();
    let in_force: Date = comment(text, "in-force")?.parse().context("in-force is no date YYYY-MM-DD")?;
    let kind = match comment(text, "kind")? {
        "known" => MatrixKind::Known,
        "demonstration" => MatrixKind::Demonstration,
        other => bail!("« {other} » is no kind of matrix: known or demonstration"),
    };
    let mut rows = (1_usize..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#'));
    match rows.next() {
        Some((_, HEADER)) => {}
        Some((number, line)) => bail!(
            "line {number}: « {line} » stands where the header does: profession, type, consultation, provenance"
        ),
        None => bail!("no header"),
    }
    let mut cells = BTreeMap::new();
    for (number, line) in rows {
        let fields: Vec<&str> = line.split('\t').collect();
        let [profession, type_code, consultation, provenance] = fields[..] else {
            bail!("line {number}: not four columns: « {line} »");
        };
        let consultation = match consultation {
            "yes" => true,
            "no" => false,
            other => bail!("line {number}: « {other} » is neither yes nor no"),
        };
        let cell = MatrixCell { consultation, provenance: provenance.to_owned() };
        let previous = cells.insert((profession.to_owned(), type_code.to_owned()), cell);
        ensure!(previous.is_none(), "line {number}: {profession} × {type_code} stands twice");
    }
    Ok(MatrixFile { version, in_force, kind, cells })
}

fn comment<'text>(text: &'text str, key: &str) -> Result<&'text str> {
    let mut values = text
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let value = values.next().with_context(|| format!("no « # {key}: » line"))?;
    ensure!(values.next().is_none(), "two « # {key}: » lines");
    Ok(value)
}

/// Writes a file: [`read`] gives the same back. Cells are in order, so that two versions compare line by line.
pub fn write(file: &MatrixFile) -> String {
    // A tab or a line end within a value would make two of it.
    let plain = |value: &str| value.replace(['\t', '\n', '\r'], " ");
    let mut text = format!(
        "# Habilitation matrix. Every cell that does not stand here is unknown and refuses.\n\
         # version: {}\n# in-force: {}\n# kind: {}\n{HEADER}\n",
        plain(&file.version),
        file.in_force,
        kind_name(file.kind)
    );
    for ((profession, type_code), cell) in &file.cells {
        let answer = answer_name(cell.consultation);
        let row = [profession.as_str(), type_code.as_str(), answer, cell.provenance.as_str()];
        text.push_str(&row.map(plain).join("\t"));
        text.push('\n');
    }
    text
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Must be mended before the file serves.
    Fault,
    /// Worth knowing; may be meant so.
    Note,
}

/// Something that a reader of the file should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Where: a column, a type, a cell, a line, a date.
    pub place: String,
    /// What is to be said of it.
    pub what: String,
}

impl Finding {
    fn fault(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { severity: Severity::Fault, place: place.into(), what: what.into() }
    }

    fn note(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { severity: Severity::Note, place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Fault => "fault",
            Severity::Note => "note",
        };
        write!(formatter, "{severity}: {}: {}", self.place, self.what)
    }
}

/// Whether a decision can ever ask for this column.
fn is_column(name: &str) -> bool {
    let is_code = |code: &str| {
        !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    };
    PROFESSIONS.contains(&name)
        || DIVIDED.contains(&name)
        || ROLE_TABLES.iter().filter_map(|table| name.strip_prefix(*table)).any(is_code)
}

/// What is wrong with one file, and what it leaves unknown. Faults first.
///
/// `types` are the document types of JDV_J66.
pub fn check(file: &MatrixFile, types: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut columns: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut strangers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for ((profession, type_code), cell) in &file.cells {
        columns.entry(profession.as_str()).or_default().insert(type_code.as_str());
        if !types.contains(type_code) {
            strangers.entry(type_code.as_str()).or_default().push(profession.as_str());
        }
        if cell.provenance.trim().is_empty() {
            findings.push(Finding::fault(format!("{profession} × {type_code}"), "no provenance"));
        }
    }
    for (type_code, professions) in strangers {
        let what = format!("is not in JDV_J66; columns: {}", professions.join(", "));
        findings.push(Finding::fault(format!("type « {type_code} »"), what));
    }
    for (column, stated) in &columns {
        let place = format!("column « {column} »");
        let unknown = types.iter().filter(|code| !stated.contains(code.as_str())).count();
        if *column == "21" {
            let what = format!("the pharmacists' sections are apart: {BIOLOGY}, {DISPENSING}");
            findings.push(Finding::fault(place, what));
        } else if !is_column(column) {
            let what = "neither a profession of TRE_G15 nor a role as R85-313: no caller has it";
            findings.push(Finding::fault(place, what));
        } else if unknown > 0 {
            let what = format!("{unknown} of {} types without a cell: unknown, refused", types.len());
            findings.push(Finding::note(place, what));
        }
    }
    for column in PROFESSIONS.into_iter().chain(DIVIDED).filter(|column| !columns.contains_key(column)) {
        findings.push(Finding::note(
            format!("column « {column} »"),
            "without any cell: every type is unknown, refused",
        ));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// What is wrong with files that are to serve together, beyond each of them: two versions in force from the same day.
pub fn check_together<'files>(
    files: impl IntoIterator<Item = (&'files str, &'files MatrixFile)>,
) -> Vec<Finding> {
    let mut dates: BTreeMap<Date, Vec<String>> = BTreeMap::new();
    for (name, file) in files {
        dates.entry(file.in_force).or_default().push(format!("{} ({name})", file.version));
    }
    let doubled = dates.into_iter().filter(|(_, versions)| versions.len() > 1);
    let what = |versions: Vec<String>| format!("{} versions: {}", versions.len(), versions.join(", "));
    doubled.map(|(date, versions)| Finding::fault(format!("in force {date}"), what(versions))).collect()
}

/// What became of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// No or unknown, now yes.
    Opened,
    /// Yes, now no or unknown.
    Closed,
    /// Unknown, now no.
    Stated,
    /// No, now unknown.
    Forgotten,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            ChangeKind::Opened => "opened",
            ChangeKind::Closed => "closed",
            ChangeKind::Stated => "stated",
            ChangeKind::Forgotten => "forgotten",
        })
    }
}

/// One cell that says something else in the new version. Sorts by kind, then by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What became of it.
    pub kind: ChangeKind,
    /// Column.
    pub profession: String,
    /// Type code.
    pub type_code: String,
    /// May read, before. None: unknown.
    pub before: Option<bool>,
    /// May read, after. None: unknown.
    pub after: Option<bool>,
    /// Provenance of the new cell; of the old one where the new version has none.
    pub provenance: String,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |said: Option<bool>| said.map_or("unknown", answer_name);
        let Self { kind, profession, type_code, before, after, provenance } = self;
        let of = if after.is_some() { "" } else { "was: " };
        let (before, after) = (name(*before), name(*after));
        write!(formatter, "{kind:<9} {profession} × {type_code}: {before} → {after} ({of}{provenance})")
    }
}

/// The cells that say something else in `new` than in `old`, sorted. Another provenance alone is no change.
pub fn diff(old: &MatrixFile, new: &MatrixFile) -> Vec<Change> {
    let places: BTreeSet<&(String, String)> = old.cells.keys().chain(new.cells.keys()).collect();
    let change = |place: &(String, String)| {
        let (before, after) = (old.cells.get(place), new.cells.get(place));
        let provenance = after.or(before)?.provenance.clone();
        let (before, after) = (before.map(|cell| cell.consultation), after.map(|cell| cell.consultation));
        let kind = match (before, after) {
            (None | Some(false), Some(true)) => ChangeKind::Opened,
            (Some(true), None | Some(false)) => ChangeKind::Closed,
            (None, Some(false)) => ChangeKind::Stated,
            (Some(false), None) => ChangeKind::Forgotten,
            _ => return None,
        };
        let (profession, type_code) = place.clone();
        Some(Change { kind, profession, type_code, before, after, provenance })
    };
    let mut changes: Vec<Change> = places.into_iter().filter_map(change).collect();
    changes.sort();
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::HabilitationMatrix;

    fn file(rows: &str) -> MatrixFile {
        let head = "# version: t\n# in-force: 2023-10-29\n# kind: known\n";
        read(&format!("{head}{HEADER}\n{}", rows.replace(' ', "\t"))).unwrap()
    }

    fn checked(rows: &str) -> Vec<String> {
        let types = BTreeSet::from(["A".to_owned(), "B".to_owned()]);
        check(&file(rows), &types).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn what_is_written_reads_the_same_here_and_in_the_server() {
        for table in [
            include_str!("tables/habilitation_known.tsv"),
            include_str!("tables/habilitation_demonstration.tsv"),
        ] {
            let file = read(table).unwrap();
            let written = write(&file);
            assert_eq!(read(&written).unwrap(), file);
            HabilitationMatrix::parse(&[&written]).unwrap();
        }
        assert_eq!(
            file("10 A yes s").to_string(),
            "version t, in force 2023-10-29, known, 1 cells in 1 columns"
        );
    }

    #[test]
    fn a_malformed_file_is_named() {
        let head = "# version: t\n# in-force: 2023-10-29\n# kind: known\n";
        for (text, expected) in [
            ("# version: t\n".to_owned(), "no « # in-force: » line"),
            (format!("# kind: known\n{head}"), "two « # kind: » lines"),
            (head.to_owned(), "no header"),
            (format!("{head}10\tA\tyes\ts\n"), "line 4: « 10\tA\tyes\ts » stands where the header does"),
            (format!("{head}{HEADER}\n10\tA\tyes\n"), "line 5: not four columns"),
            (format!("{head}{HEADER}\n10\tA\toui\ts\n"), "line 5: « oui » is neither yes nor no"),
            (format!("{head}{HEADER}\n10\tA\tno\ts\n10\tA\tno\ts\n"), "line 6: 10 × A stands twice"),
        ] {
            let error = format!("{:#}", read(&text).unwrap_err());
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_check_names_faults_then_what_is_unknown() {
        let found = checked(
            "10 A yes s\n10 B yes s\n21 A yes s\n40 A no s\n77 A no s\n50 C no s\n60 A no \nR85-313 B yes s",
        );
        assert_eq!(
            found[..9],
            [
                "fault: 60 × A: no provenance",
                "fault: type « C »: is not in JDV_J66; columns: 50",
                "fault: column « 21 »: the pharmacists' sections are apart: 21-biologie, 21-officine",
                "fault: column « 77 »: neither a profession of TRE_G15 nor a role as R85-313: no caller has it",
                "note: column « 40 »: 1 of 2 types without a cell: unknown, refused",
                "note: column « 50 »: 2 of 2 types without a cell: unknown, refused",
                "note: column « 60 »: 1 of 2 types without a cell: unknown, refused",
                "note: column « R85-313 »: 1 of 2 types without a cell: unknown, refused",
                "note: column « 26 »: without any cell: every type is unknown, refused",
            ]
        );
        assert_eq!(found.len(), 8 + 32 - 4, "all but 10, 40, 50, 60 are without any cell");
        for (name, expected) in
            [("10-travail", true), ("R94-40", true), ("R96-1", false), ("R85-", false), ("R85-x", false)]
        {
            assert_eq!(is_column(name), expected, "{name}");
        }
    }

    #[test]
    fn two_versions_on_one_day_are_a_fault() {
        let (one, other) = (file("10 A yes s"), MatrixFile { version: "u".into(), ..file("10 A no s") });
        let found = check_together([("one.tsv", &one), ("other.tsv", &other)]);
        let told: Vec<_> = found.iter().map(Finding::to_string).collect();
        assert_eq!(told, ["fault: in force 2023-10-29: 2 versions: t (one.tsv), u (other.tsv)"]);
        let later = MatrixFile { in_force: jiff::civil::date(2027, 1, 1), ..other };
        assert!(check_together([("one.tsv", &one), ("other.tsv", &later)]).is_empty());
    }

    #[test]
    fn a_diff_tells_each_kind_of_change() {
        let old = file("10 A no o\n10 C yes o\n10 D yes o\n10 F no o\n10 G yes o");
        let new = file("10 A yes n\n10 B yes n\n10 C no n\n10 E no n\n10 G yes n");
        let told: Vec<_> = diff(&old, &new).iter().map(Change::to_string).collect();
        assert_eq!(
            told,
            [
                "opened    10 × A: no → yes (n)",
                "opened    10 × B: unknown → yes (n)",
                "closed    10 × C: yes → no (n)",
                "closed    10 × D: yes → unknown (was: o)",
                "stated    10 × E: unknown → no (n)",
                "forgotten 10 × F: no → unknown (was: o)",
            ]
        );
        assert!(diff(&old, &old).is_empty());
    }
}
