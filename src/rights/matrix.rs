//! The habilitation matrix: profession × document type → may a professional of this kind read it.
//!
//! It is dated data with the provenance of each cell. The complete matrix of 26 October 2023 is not public in a form
//! that we hold; `tables/habilitation_known.tsv` has the cells for which there is a source, every other cell is unknown
//! and refuses. `tables/habilitation_demonstration.tsv` is complete, partly invented, and refused in production.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::digest;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::identity::{Actor, Caller, Profession};

use super::functional::{is_occupational, role_table};

/// A column of the matrix: a profession, with the pharmacist's sections and the occupational doctor apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Column(String);

impl Column {
    /// The columns that must all say yes for a caller. Several where the card does not tell which applies: a pharmacist's
    /// card does not name his section. None for who is no professional.
    pub fn of(caller: &Caller) -> Vec<Column> {
        let (profession, specialities) = match &caller.actor {
            Actor::Professional { profession, specialities, .. } => (profession, specialities),
            // A role of TRE_R85, R94 or R95, should the functional rights let such a professional read.
            Actor::NamedStaff { role, .. } => {
                let column = role_table(role).map(|(code, table)| Column(format!("{table}-{code}")));
                return column.into_iter().collect();
            }
            _ => return Vec::new(),
        };
        let occupational = is_occupational(caller);
        match profession.code() {
            Profession::DOCTOR if occupational => vec![Column("10-travail".into())],
            // TRE_G05, note (b): G is biology, A, D, E and H dispense. A card names no section.
            Profession::PHARMACIST => match specialities.as_slice() {
                [section] if section == "G" => vec![Column("21-biologie".into())],
                [section] if ["A", "D", "E", "H"].contains(&section.as_str()) => {
                    vec![Column("21-officine".into())]
                }
                _ => vec![Column("21-biologie".into()), Column("21-officine".into())],
            },
            code => vec![Column(code.into())],
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What one cell says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixCell {
    /// May read.
    pub consultation: bool,
    /// Where this comes from.
    pub provenance: String,
}

/// Whether a matrix may serve real records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatrixKind {
    /// Every cell has a source.
    Known,
    /// Complete, partly invented: sandbox only.
    Demonstration,
}

/// One dated version.
#[derive(Debug)]
struct Version {
    name: String,
    kind: MatrixKind,
    in_force: Date,
    cells: BTreeMap<Column, HashMap<String, MatrixCell>>,
    readable: BTreeMap<Vec<Column>, Arc<ReadableTypes>>,
}

/// The document types that a caller's columns open: the value that goes into a query.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadableTypes {
    /// SHA-256 over the types, hexadecimal: the name under which the store keeps the set.
    pub id: String,
    /// Type codes.
    pub types: BTreeSet<String>,
    /// Version and columns, for the rule.
    pub rule: String,
}

/// All versions loaded; the one in force at the date decides.
#[derive(Debug)]
pub struct HabilitationMatrix {
    versions: Vec<Version>,
}

impl HabilitationMatrix {
    /// The matrix of the cells that have a source.
    ///
    /// # Errors
    /// The table that comes with the program is malformed.
    pub fn known() -> Result<Self> {
        Self::parse(&[include_str!("tables/habilitation_known.tsv")])
    }

    /// The complete demonstration matrix.
    ///
    /// # Errors
    /// The table that comes with the program is malformed.
    pub fn demonstration() -> Result<Self> {
        Self::parse(&[include_str!("tables/habilitation_demonstration.tsv")])
    }

    /// Reads versions in the form of `tables/`: comment lines `version:`, `in-force:`, `kind:`, a header, then
    /// profession, type, `yes` or `no`, provenance.
    ///
    /// # Errors
    /// Names what is malformed; a cell that stands twice is.
    pub fn parse(tables: &[&str]) -> Result<Self> {
        let mut versions = tables.iter().map(|table| Version::parse(table)).collect::<Result<Vec<_>>>()?;
        ensure!(!versions.is_empty(), "no habilitation matrix");
        versions.sort_by_key(|version| version.in_force);
        Ok(Self { versions })
    }

    /// Whether any version is a demonstration.
    pub fn is_demonstration(&self) -> bool {
        self.versions.iter().any(|version| version.kind == MatrixKind::Demonstration)
    }

    fn in_force(&self, now: Timestamp) -> Option<&Version> {
        let today = now.to_zoned(TimeZone::UTC).date();
        self.versions.iter().rev().find(|version| version.in_force <= today)
    }

    /// The types that a caller may read at an instant. Empty where nothing is known.
    pub fn readable(&self, caller: &Caller, now: Timestamp) -> Arc<ReadableTypes> {
        let columns = Column::of(caller);
        let Some(version) = self.in_force(now) else {
            return Arc::new(ReadableTypes::new(BTreeSet::new(), "no habilitation matrix in force".into()));
        };
        match version.readable.get(&columns) {
            Some(readable) => Arc::clone(readable),
            None => {
                let label = columns.iter().map(Column::to_string).collect::<Vec<_>>().join(" and ");
                let rule = format!("habilitation matrix {} column « {label} » unknown", version.name);
                Arc::new(ReadableTypes::new(BTreeSet::new(), rule))
            }
        }
    }

    /// One cell at an instant, for explanation.
    pub fn cell(&self, column: &Column, type_code: &str, now: Timestamp) -> Option<&MatrixCell> {
        self.in_force(now)?.cells.get(column)?.get(type_code)
    }

    /// The version in force at an instant, to be shown.
    pub fn version(&self, now: Timestamp) -> Option<MatrixVersion<'_>> {
        let Version { name, kind, in_force, cells, .. } = self.in_force(now)?;
        Some(MatrixVersion { name, kind: *kind, in_force: *in_force, cells })
    }

    /// Every set that a decision can yield: the store keeps them so that a query can name one.
    pub fn sets(&self) -> impl Iterator<Item = &ReadableTypes> {
        self.versions.iter().flat_map(|version| version.readable.values().map(Arc::as_ref))
    }
}

/// A version of the matrix, to be shown.
#[derive(Clone, Copy, Debug)]
pub struct MatrixVersion<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it may serve real records.
    pub kind: MatrixKind,
    /// The first day on which it decides.
    pub in_force: Date,
    cells: &'a BTreeMap<Column, HashMap<String, MatrixCell>>,
}

impl<'a> MatrixVersion<'a> {
    /// Its columns.
    pub fn columns(&self) -> impl Iterator<Item = &'a Column> + use<'a> {
        self.cells.keys()
    }

    /// The types of which it says anything.
    pub fn types(&self) -> BTreeSet<&'a str> {
        self.cells.values().flat_map(HashMap::keys).map(String::as_str).collect()
    }

    /// What it says of a type.
    pub fn cell(&self, column: &Column, type_code: &str) -> Option<&'a MatrixCell> {
        self.cells.get(column)?.get(type_code)
    }

    /// Where its cells come from, and how many from each.
    pub fn provenances(&self) -> BTreeMap<&'a str, usize> {
        let mut counts = BTreeMap::new();
        for cell in self.cells.values().flat_map(HashMap::values) {
            *counts.entry(cell.provenance.as_str()).or_default() += 1;
        }
        counts
    }
}

impl Version {
    fn parse(table: &str) -> Result<Self> {
        let comment = |key: &str| {
            table
                .lines()
                .filter_map(|line| line.strip_prefix("# "))
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
                .with_context(|| format!("no « # {key}: » line"))
        };
        let name = comment("version")?.to_owned();
        let in_force: Date = comment("in-force")?.parse().context("in-force")?;
        let kind = match comment("kind")? {
            "known" => MatrixKind::Known,
            "demonstration" => MatrixKind::Demonstration,
            other => bail!("« {other} » is no kind of matrix"),
        };
        let mut cells: BTreeMap<Column, HashMap<String, MatrixCell>> = BTreeMap::new();
        for line in table.lines().filter(|line| !line.starts_with('#')).skip(1) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [profession, type_code, consultation, provenance] = columns[..] else {
                bail!("not four columns: « {line} »");
            };
            let consultation = match consultation {
                "yes" => true,
                "no" => false,
                other => bail!("« {other} » is neither yes nor no"),
            };
            let cell = MatrixCell { consultation, provenance: provenance.to_owned() };
            let previous = cells.entry(Column(profession.into())).or_default().insert(type_code.into(), cell);
            ensure!(previous.is_none(), "{profession} × {type_code} stands twice");
        }
        let mut readable = BTreeMap::new();
        let pharmacist = ["21-biologie", "21-officine"].map(|column| Column(column.into())).to_vec();
        for columns in cells.keys().map(|column| vec![column.clone()]).chain([pharmacist]) {
            let label = columns.iter().map(Column::to_string).collect::<Vec<_>>().join(" and ");
            let types = intersection(&cells, &columns);
            let rule = format!("habilitation matrix {name} column {label}");
            readable.insert(columns, Arc::new(ReadableTypes::new(types, rule)));
        }
        Ok(Self { name, kind, in_force, cells, readable })
    }
}

fn intersection(cells: &BTreeMap<Column, HashMap<String, MatrixCell>>, columns: &[Column]) -> BTreeSet<String> {
    let yes = |column: &Column| -> BTreeSet<String> {
        let column = cells.get(column).into_iter().flatten();
        column.filter(|(_, cell)| cell.consultation).map(|(code, _)| code.clone()).collect()
    };
    columns.iter().map(yes).reduce(|left, right| &left & &right).unwrap_or_default()
}

impl ReadableTypes {
    /// The set without a type.
    pub(super) fn none() -> Self {
        Self::new(BTreeSet::new(), "PDT-INF-526: may list, may not read".into())
    }

    fn new(types: BTreeSet<String>, rule: String) -> Self {
        let text = types.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let id = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id, types, rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn professional(profession: &str, specialities: &[&str]) -> Caller {
        Caller::by_card(Actor::Professional {
            id: "810100000016".into(),
            profession: Profession::new(profession),
            specialities: specialities.iter().map(|s| (*s).to_owned()).collect(),
            in_training: false,
        })
    }

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_unknown_cell_refuses() {
        let matrix = HabilitationMatrix::known().unwrap();
        let dentist = matrix.readable(&professional("40", &[]), now());
        assert!(!dentist.types.contains("15508-5"), "image of 2020: no");
        assert!(dentist.types.contains("70004-7"), "image of 2020: yes");
        assert!(!dentist.types.contains("34112-3"), "no source");
        assert!(matrix.readable(&professional("32", &[]), now()).types.is_empty(), "column without a source");
    }

    #[test]
    fn a_pharmacist_without_a_section_gets_what_both_sections_get() {
        let table = "# version: t\n# in-force: 2020-01-01\n# kind: known\nh\n21-biologie\tA\tyes\ts\n21-biologie\tB\tyes\ts\n21-officine\tA\tyes\ts\n21-officine\tB\tno\ts\n21-officine\tC\tyes\ts\n";
        let matrix = HabilitationMatrix::parse(&[table]).unwrap();
        let cell = matrix.cell(&Column("21-officine".into()), "B", now()).unwrap();
        assert_eq!((cell.consultation, cell.provenance.as_str()), (false, "s"));
        assert_eq!(matrix.cell(&Column("21-officine".into()), "D", now()), None);
        // Every set that a decision can yield is kept by the store: each column's, and that of both sections.
        assert_eq!(matrix.sets().count(), 3);
        let types: Vec<_> = matrix.readable(&professional("21", &[]), now()).types.iter().cloned().collect();
        assert_eq!(types, ["A"]);
        let of_sections = |sections: &[&str]| -> Vec<String> {
            matrix.readable(&professional("21", sections), now()).types.iter().cloned().collect()
        };
        assert_eq!(of_sections(&["G"]), ["A", "B"], "his section is known");
        for section in ["A", "D", "E", "H"] {
            assert_eq!(of_sections(&[section]), ["A", "C"], "{section} dispenses");
        }
        assert_eq!(of_sections(&["B"]), ["A"], "a section without a column: what both get");
        assert_eq!(of_sections(&["G", "A"]), ["A"], "two sections: which one is not known");
    }

    #[test]
    fn the_occupational_doctor_stands_apart() {
        let matrix = HabilitationMatrix::demonstration().unwrap();
        let declared = Caller { declared_role: Some("SM25".into()), ..professional("10", &[]) };
        assert!(matrix.readable(&declared, now()).types.is_empty(), "declaring opens no more than proving");
        assert!(matrix.readable(&professional("10", &[]), now()).types.len() > 90);
        assert!(matrix.readable(&professional("10", &["SM25"]), now()).types.is_empty());
    }

    #[test]
    fn the_version_in_force_decides() {
        let table = |version: &str, date: &str, value: &str| {
            format!("# version: {version}\n# in-force: {date}\n# kind: known\nh\n10\tA\t{value}\ts\n")
        };
        let (old, new) = (table("old", "2020-01-01", "no"), table("new", "2027-01-01", "yes"));
        let matrix = HabilitationMatrix::parse(&[&new, &old]).unwrap();
        let doctor = professional("10", &[]);
        assert!(matrix.readable(&doctor, now()).types.is_empty());
        assert!(!matrix.readable(&doctor, "2027-01-01T00:00:00Z".parse().unwrap()).types.is_empty());
        assert!(matrix.readable(&doctor, "2019-12-31T00:00:00Z".parse().unwrap()).types.is_empty());
    }

    #[test]
    fn the_demonstration_says_so() {
        assert!(HabilitationMatrix::demonstration().unwrap().is_demonstration());
        assert!(!HabilitationMatrix::known().unwrap().is_demonstration());
    }
}
