//! A table of someone else, with commas, semicolons or tabs, made into a version of the matrix.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use jiff::civil::Date;

use super::super::matrix::{MatrixCell, MatrixKind};
use super::{BIOLOGY, DISPENSING, Finding, MatrixFile, answer_name};

/// Cells by profession and type.
type Cells = BTreeMap<(String, String), MatrixCell>;

/// How many faults of an import are told in full.
const FAULTS_TOLD: usize = 20;

/// What an import cannot take from the table.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Name of the version.
    pub version: String,
    /// First day on which it decides.
    pub in_force: Date,
    /// Whether it may serve real records.
    pub kind: MatrixKind,
    /// Provenance of rows that name none.
    pub provenance: Option<String>,
    /// Takes the rows whose column `version` says this, no others.
    pub only_version: Option<String>,
}

/// Makes a version from a table with commas, semicolons or tabs.
///
/// Columns by their names: `profession`, `codes_profession` or `code_profession` (codes with `;` between); `type`,
/// `type_code` or `code`; `consultation` or `field_consultation_document`; optionally `provenance` or `source`,
/// `version`, and `col`, where `M2` and `M3` tell the pharmacists' sections apart. Others are passed over, and so are
/// rows that have neither a profession nor a type code: statements in prose, told in a note.
///
/// # Errors
/// Names every line that cannot be understood or contradicts another. Then nothing is imported.
pub fn import(text: &str, options: ImportOptions) -> Result<(MatrixFile, Vec<Finding>)> {
    let ImportOptions { version, in_force, kind, provenance, only_version } = options;
    ensure!(
        !version.trim().is_empty() && !version.contains(char::is_control),
        "the version needs a name, on one line"
    );
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let before_header = |line: &&str| line.starts_with('#') || line.trim().is_empty();
    let start: usize = text.split_inclusive('\n').take_while(before_header).map(str::len).sum();
    let body = text.get(start..).unwrap_or_default();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(body.lines().next().context("no header")?)?)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(body.as_bytes());
    let headers = Headers::of(reader.headers().context("the header")?)?;
    if only_version.is_some() {
        ensure!(headers.version.is_some(), "no column « version », so no version to pick");
    }
    let lines = Lines::of(text);
    let mut draft = Draft { provenance, only_version, ..Draft::default() };
    for record in reader.records() {
        let record = record.context("the table")?;
        let byte = record.position().and_then(|position| usize::try_from(position.byte()).ok());
        let line = lines.line_at(start + byte.unwrap_or_default());
        if let Err(error) = draft.take(&headers, &record, line) {
            draft.faults.push(Finding::fault(format!("line {line}"), error.to_string()));
        }
    }
    let (cells, findings) = draft.finish()?;
    Ok((MatrixFile { version: version.trim().to_owned(), in_force, kind, cells }, findings))
}

/// The delimiter that stands most often in the header.
fn delimiter(header: &str) -> Result<u8> {
    let count = |delimiter: &u8| header.matches(char::from(*delimiter)).count();
    let delimiter = [b',', b';', b'\t'].into_iter().max_by_key(count).filter(|delimiter| count(delimiter) > 0);
    delimiter.with_context(|| format!("no comma, semicolon or tab in the header « {header} »"))
}

/// Line numbers of byte positions. Those of the reader are off after empty lines and CR LF.
struct Lines<'text> {
    text: &'text str,
    ends: Vec<usize>,
}

impl<'text> Lines<'text> {
    fn of(text: &'text str) -> Self {
        Self { text, ends: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    fn line_at(&self, byte: usize) -> usize {
        let rest = self.text.get(byte..).unwrap_or_default();
        let first = byte + rest.len() - rest.trim_start_matches(['\r', '\n']).len();
        self.ends.partition_point(|end| *end < first) + 1
    }
}

/// Where the columns of a table stand.
struct Headers {
    count: usize,
    profession: usize,
    type_code: usize,
    consultation: usize,
    provenance: Option<usize>,
    version: Option<usize>,
    section: Option<usize>,
}

impl Headers {
    fn of(record: &csv::StringRecord) -> Result<Self> {
        let names: Vec<String> = record.iter().map(str::to_lowercase).collect();
        let find = |accepted: &[&str]| -> Result<Option<usize>> {
            for name in accepted {
                let mut places = (0_usize..).zip(&names).filter(|(_, found)| found.as_str() == *name);
                if let Some((place, _)) = places.next() {
                    ensure!(places.next().is_none(), "two columns « {name} »");
                    return Ok(Some(place));
                }
            }
            Ok(None)
        };
        let required = |accepted: &[&str]| -> Result<usize> {
            find(accepted)?.with_context(|| format!("no column « {} »", accepted.join(" » or « ")))
        };
        Ok(Self {
            count: names.len(),
            profession: required(&["profession", "codes_profession", "code_profession"])?,
            type_code: required(&["type", "type_code", "code"])?,
            consultation: required(&["consultation", "field_consultation_document"])?,
            provenance: find(&["provenance", "source"])?,
            version: find(&["version"])?,
            section: find(&["col"])?,
        })
    }
}

/// A cell under way: where it was first said, and by whom.
struct DraftCell {
    consultation: bool,
    line: usize,
    provenances: Vec<String>,
}

/// An import under way.
#[derive(Default)]
struct Draft {
    provenance: Option<String>,
    only_version: Option<String>,
    cells: BTreeMap<(String, String), DraftCell>,
    versions: BTreeSet<String>,
    faults: Vec<Finding>,
    without_codes: BTreeSet<usize>,
    without_section: BTreeSet<usize>,
}

impl Draft {
    fn take(&mut self, headers: &Headers, row: &csv::StringRecord, line: usize) -> Result<()> {
        ensure!(row.len() == headers.count, "{} fields where the header has {}", row.len(), headers.count);
        let field = |place: Option<usize>| place.and_then(|place| row.get(place)).unwrap_or_default();
        let version = field(headers.version);
        if self.only_version.as_deref().is_some_and(|only| only.trim() != version) {
            return Ok(());
        }
        let (professions, type_code) = (field(Some(headers.profession)), field(Some(headers.type_code)));
        if professions.is_empty() && type_code.is_empty() {
            self.without_codes.insert(line);
            return Ok(());
        }
        let professions: Vec<&str> = professions.split(';').map(str::trim).collect();
        for code in professions.iter().chain([&type_code]) {
            let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
            ensure!(is_code, "« {code} » is no code of a profession or type");
        }
        let consultation = answer(field(Some(headers.consultation)))?;
        let provenance = match field(headers.provenance) {
            "" => self.provenance.as_deref().unwrap_or_default(),
            named => named,
        };
        let provenance = provenance.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(!provenance.is_empty(), "no provenance, and none is given for all rows");
        if !version.is_empty() {
            self.versions.insert(version.to_owned());
        }
        for profession in professions {
            let columns = match (profession, field(headers.section)) {
                ("21", "M2" | "m2") => vec![BIOLOGY],
                ("21", "M3" | "m3") => vec![DISPENSING],
                ("21", _) => {
                    self.without_section.insert(line);
                    vec![BIOLOGY, DISPENSING]
                }
                (profession, _) => vec![profession],
            };
            for column in columns {
                self.add(
                    column,
                    type_code,
                    DraftCell { consultation, line, provenances: vec![provenance.clone()] },
                );
            }
        }
        Ok(())
    }

    fn add(&mut self, column: &str, type_code: &str, cell: DraftCell) {
        match self.cells.entry((column.to_owned(), type_code.to_owned())) {
            Entry::Vacant(place) => {
                place.insert(cell);
            }
            Entry::Occupied(mut place) if place.get().consultation == cell.consultation => {
                let provenances = &mut place.get_mut().provenances;
                for provenance in cell.provenances {
                    if !provenances.contains(&provenance) {
                        provenances.push(provenance);
                    }
                }
            }
            Entry::Occupied(place) => {
                let said = |cell: &DraftCell| {
                    let (answer, by) = (answer_name(cell.consultation), cell.provenances.join("; "));
                    format!("{answer} on line {} ({by})", cell.line)
                };
                let what = format!("{}, {}", said(place.get()), said(&cell));
                self.faults.push(Finding::fault(format!("{column} × {type_code}"), what));
            }
        }
    }

    fn finish(self) -> Result<(Cells, Vec<Finding>)> {
        if !self.faults.is_empty() {
            let told: Vec<String> = self.faults.iter().take(FAULTS_TOLD).map(Finding::to_string).collect();
            let more = match self.faults.len() - told.len() {
                0 => String::new(),
                more => format!("\nand {more} more"),
            };
            bail!("nothing is imported, for {} fault(s):\n{}{more}", self.faults.len(), told.join("\n"));
        }
        match &self.only_version {
            Some(only) => ensure!(!self.cells.is_empty(), "no row with codes says version « {only} »"),
            None => ensure!(!self.cells.is_empty(), "no row with codes"),
        }
        let mut findings = Vec::new();
        if self.versions.len() > 1 {
            let versions = self.versions.into_iter().collect::<Vec<_>>().join(" », « ");
            findings.push(Finding::note(
                "column version",
                format!("several are imported into one: « {versions} »"),
            ));
        }
        if !self.without_section.is_empty() {
            let what = format!("profession 21 without a section: taken for {BIOLOGY} and {DISPENSING}");
            findings.push(Finding::note(lines_name(&self.without_section), what));
        }
        if !self.without_codes.is_empty() {
            let what = "neither a profession nor a type code: not imported";
            findings.push(Finding::note(lines_name(&self.without_codes), what));
        }
        let finished = |cell: DraftCell| MatrixCell {
            consultation: cell.consultation,
            provenance: cell.provenances.join("; "),
        };
        Ok((self.cells.into_iter().map(|(place, cell)| (place, finished(cell))).collect(), findings))
    }
}

fn answer(text: &str) -> Result<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "oui" | "true" | "1" => Ok(true),
        "no" | "non" | "false" | "0" => Ok(false),
        _ => bail!("« {text} » is neither yes nor no"),
    }
}

/// `line 7`, `lines 2-5, 9`.
fn lines_name(lines: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == line => *last = line,
            _ => ranges.push((line, line)),
        }
    }
    let name = |(first, last): (usize, usize)| {
        if first == last { format!("{first}") } else { format!("{first}-{last}") }
    };
    let word = if lines.len() == 1 { "line" } else { "lines" };
    format!("{word} {}", ranges.into_iter().map(name).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;

    fn options() -> ImportOptions {
        let (version, in_force) = ("v".to_owned(), jiff::civil::date(2023, 10, 29));
        ImportOptions { version, in_force, kind: MatrixKind::Known, provenance: None, only_version: None }
    }

    fn imported(text: &str, options: ImportOptions) -> (Vec<String>, Vec<String>) {
        let (file, findings) = import(text, options).unwrap();
        let cells = file.cells.iter().map(|((profession, type_code), cell)| {
            format!("{profession} {type_code} {} {}", answer_name(cell.consultation), cell.provenance)
        });
        (cells.collect(), findings.iter().map(Finding::to_string).collect())
    }

    fn refused(text: &str, options: ImportOptions) -> String {
        format!("{:#}", import(text, options).unwrap_err())
    }

    #[test]
    fn the_table_of_known_cells_imports() {
        let table = "version,class,type_code,col,codes_profession,consultation,source\n\
            2020 V2,10,A,M2,21,oui,\"image, of 2020\"\n2020 V2,10,A,M3,21,non,image\n2020 V2,10,A,M6,60;69,oui,image\n\
            2023,,,,,oui,press\n2023,,,,,non,press\n";
        let expected =
            ["21-biologie A yes image, of 2020", "21-officine A no image", "60 A yes image", "69 A yes image"];
        let (cells, notes) = imported(table, options());
        assert_eq!(cells, expected);
        assert_eq!(notes, ["note: lines 5-6: neither a profession nor a type code: not imported"]);
        let only = |version: &str| ImportOptions { only_version: Some(version.into()), ..options() };
        assert_eq!(imported(table, only("2020 V2")), (cells, vec![]));
        assert_eq!(refused(table, only("2023")), "no row with codes says version « 2023 »");
    }

    #[test]
    fn semicolons_and_tabs_import_and_a_pharmacist_without_section_is_told() {
        let (cells, notes) = imported(
            "\u{feff}# ours\r\nCode;Code_Profession;Field_Consultation_Document\r\nA;\"10;21\";TRUE\r\n\r\nB;21;0\r\n",
            ImportOptions { provenance: Some("p".into()), ..options() },
        );
        let sections =
            ["21-biologie A yes p", "21-biologie B no p", "21-officine A yes p", "21-officine B no p"];
        assert_eq!(cells, [&["10 A yes p"][..], &sections[..]].concat());
        let note = "profession 21 without a section: taken for 21-biologie and 21-officine";
        assert_eq!(notes, [format!("note: lines 3, 5: {note}")]);
        let own = "# version: t\n# in-force: 2023-10-29\n# kind: known\nprofession\ttype\tconsultation\tprovenance\n10\tA\tyes\ts\n40\tA\tno\ts\n";
        let own = write(&read(own).unwrap());
        assert_eq!(import(&own, options()).unwrap().0.cells, read(&own).unwrap().cells);
    }

    #[test]
    fn a_contradiction_names_both_and_nothing_is_imported() {
        let head = "profession,type,consultation,source,version\n";
        let told = refused(&format!("{head}10,A,oui,s,1\n40,A,non,s,1\n10;40,A,non,t,2\n"), options());
        assert_eq!(
            told,
            "nothing is imported, for 1 fault(s):\nfault: 10 × A: yes on line 2 (s), no on line 4 (t)"
        );
        let (cells, notes) = imported(&format!("{head}10,A,oui,s,1\n10,A,1,t,2\n10,A,yes,s,2\n"), options());
        assert_eq!(cells, ["10 A yes s; t"], "who says the same is quoted once");
        assert_eq!(notes, ["note: column version: several are imported into one: « 1 », « 2 »"]);
    }

    #[test]
    fn a_table_that_cannot_be_understood_is_refused() {
        let head = "profession,type,consultation";
        for (text, expected) in [
            (String::new(), "no header"),
            ("profession\n10\n".into(), "no comma, semicolon or tab in the header « profession »"),
            ("profession,type\n".into(), "no column « consultation » or « field_consultation_document »"),
            (format!("{head},TYPE\n"), "two columns « type »"),
            (format!("{head}\n"), "no row with codes"),
            (format!("{head}\n10,A,yes\n"), "line 2: no provenance, and none is given for all rows"),
            (format!("{head}\n10,A,maybe\n"), "line 2: « maybe » is neither yes nor no"),
            (format!("{head}\n10,A,yes,x\n"), "line 2: 4 fields where the header has 3"),
            (format!("{head}\n10,,yes\n"), "line 2: «  » is no code of a profession or type"),
            (format!("{head}\nMédecins,A,yes\n"), "line 2: « Médecins » is no code of a profession or type"),
        ] {
            let told = refused(&text, options());
            assert!(told.ends_with(expected), "{told}");
        }
        let only = ImportOptions { only_version: Some("1".into()), ..options() };
        assert!(refused(&format!("{head}\n10,A,yes\n"), only).starts_with("no column « version »"));
    }
}
