//! The value sets of the DMP's affinity domain, as compact tables with source and date (`tables/`).

use std::collections::HashMap;

use anyhow::{Context, Result};

/// A document type: its code system, its class, its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentType {
    /// The code.
    pub code: &'static str,
    /// `loinc`, `TRE_A05` or `astm`.
    pub system: &'static str,
    /// Class code of JDV_J57.
    pub class: &'static str,
    /// French label.
    pub display: &'static str,
}

impl DocumentType {
    /// Whether a professional may deposit it: not what the patient deposits (class 90, DOCPAT*), not reimbursement data,
    /// not the vaccination history (EX_2.1-1010).
    pub fn is_for_professionals(&self) -> bool {
        self.class != "90" && self.class != "60" && !self.code.starts_with("DOCPAT") && self.code != "11369-6"
    }
}

/// A concept of a value set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concept {
    /// The code.
    pub code: &'static str,
    /// URI of its code system.
    pub system: &'static str,
    /// French label.
    pub display: &'static str,
}

/// A value set of the DMP's affinity domain, or of its access modes.
#[derive(Debug)]
pub struct ValueSet {
    /// As its address ends: `JDV-J57-ClassCode-DMP`.
    pub id: &'static str,
    /// What it holds.
    pub title: &'static str,
    /// Of which day it is, `2023-09-22`.
    pub version: &'static str,
    /// In the order of their codes.
    pub concepts: Vec<Concept>,
    by_code: HashMap<&'static str, usize>,
}

impl ValueSet {
    fn new(id: &'static str, table: &'static str, concepts: Vec<Concept>) -> Result<Self> {
        let mut comments = table.lines().map_while(|line| line.strip_prefix("# "));
        let title = comments.next().context("no title")?.trim_end_matches('.');
        let source = comments.next().context("no source")?;
        let version = source.split(" of ").nth(1).and_then(|rest| rest.get(..10)).context("no date")?;
        let by_code = concepts.iter().enumerate().map(|(position, concept)| (concept.code, position)).collect();
        Ok(Self { id, title, version, concepts, by_code })
    }

    /// Its canonical address.
    pub fn url(&self) -> String {
        format!("https://mos.esante.gouv.fr/NOS/{}/FHIR/{}", self.id.replacen('-', "_", 1), self.id)
    }

    /// The concept of a code. Where code systems share one, any of them: see [`Codes::content_type`].
    pub fn find(&self, code: &str) -> Option<&Concept> {
        self.concepts.get(*self.by_code.get(code)?)
    }
}

/// All value sets.
#[derive(Debug)]
pub struct Codes {
    types: HashMap<&'static str, DocumentType>,
    sets: Vec<ValueSet>,
    systems: HashMap<&'static str, (&'static str, &'static str)>,
    cda_formats: HashMap<&'static str, &'static str>,
}

/// Id and table of each value set but that of the types.
const TABLES: [(&str, &str); 7] = [
    ("JDV-J57-ClassCode-DMP", include_str!("tables/classes.tsv")),
    ("JDV-J58-ConfidentialityCode-DMP", include_str!("tables/confidentiality.tsv")),
    ("JDV-J59-ContentTypeCode-DMP", include_str!("tables/content_types.tsv")),
    ("JDV-J60-FormatCode-DMP", include_str!("tables/formats.tsv")),
    ("JDV-J61-HealthcareFacilityTypeCode-DMP", include_str!("tables/facility_types.tsv")),
    ("JDV-J62-PracticeSettingCode-DMP", include_str!("tables/practice_settings.tsv")),
    ("JDV-J38-ModeAcces-CISIS", include_str!("tables/access_modes.tsv")),
];
const TYPES: (&str, &str) = ("JDV-J66-TypeCode-DMP", include_str!("tables/document_types.tsv"));

impl Codes {
    /// The tables that come with the program.
    ///
    /// # Errors
    /// A table is malformed.
    pub fn built_in() -> Result<Self> {
        let mut systems = HashMap::new();
        for line in rows(include_str!("tables/code_systems.tsv")) {
            let [short, oid, uri] = columns(line)?;
            systems.insert(short, (oid, uri));
        }
        let uri = |short: &str| {
            systems.get(short).map(|(_, uri)| *uri).with_context(|| format!("code system « {short} »"))
        };
        let mut sets = Vec::new();
        for (id, table) in TABLES {
            let mut concepts = Vec::new();
            for line in rows(table) {
                let [code, short, display] = columns(line)?;
                concepts.push(Concept { code, system: uri(short)?, display });
            }
            sets.push(ValueSet::new(id, table, concepts).context(id)?);
        }
        let (mut types, mut concepts) = (HashMap::new(), Vec::new());
        for line in rows(TYPES.1) {
            let [code, system, class, display] = columns(line)?;
            types.insert(code, DocumentType { code, system, class, display });
            concepts.push(Concept { code, system: uri(system)?, display });
        }
        sets.push(ValueSet::new(TYPES.0, TYPES.1, concepts).context(TYPES.0)?);
        let mut cda_formats = HashMap::new();
        for line in rows(include_str!("tables/cda_formats.tsv")) {
            let [template, format] = columns(line)?;
            cda_formats.insert(template, format);
        }
        Ok(Self { types, sets, systems, cda_formats })
    }

    /// Every value set.
    pub fn value_sets(&self) -> &[ValueSet] {
        &self.sets
    }

    /// The value set whose id begins so: `JDV-J57`.
    fn set(&self, number: &str) -> Option<&ValueSet> {
        self.sets.iter().find(|set| set.id.strip_prefix(number).is_some_and(|rest| rest.starts_with('-')))
    }

    fn display(&self, number: &str, code: &str) -> Option<&'static str> {
        self.set(number)?.find(code).map(|concept| concept.display)
    }

    /// Every document type code, JDV_J66, in no order.
    pub fn document_types(&self) -> impl Iterator<Item = &str> {
        self.types.keys().copied()
    }

    /// A document type, JDV_J66.
    pub fn document_type(&self, code: &str) -> Option<&DocumentType> {
        self.types.get(code)
    }

    /// The concept of a code of a value set, `JDV-J57`.
    pub fn concept(&self, number: &str, code: &str) -> Option<&Concept> {
        self.set(number)?.find(code)
    }

    /// The label of a class, JDV_J57.
    pub fn class(&self, code: &str) -> Option<&'static str> {
        self.display("JDV-J57", code)
    }

    /// The label of a content type of a submission set, JDV_J59. Its code systems share codes, so the system counts:
    /// `https://mos.esante.gouv.fr/NOS/TRE_R209-…/FHIR/…`.
    pub fn content_type(&self, system: &str, code: &str) -> Option<&'static str> {
        let table = |uri: &str| {
            let (_, table) = uri.split_once("/NOS/")?;
            table.split(['-', '/']).next().map(str::to_owned)
        };
        let wanted = table(system)?;
        let of =
            |concept: &&Concept| concept.code == code && table(concept.system).is_some_and(|of| of == wanted);
        self.set("JDV-J59")?.concepts.iter().find(of).map(|concept| concept.display)
    }

    /// The label of a format, JDV_J60.
    pub fn format(&self, code: &str) -> Option<&'static str> {
        self.display("JDV-J60", code)
    }

    /// The label of a facility type, JDV_J61.
    pub fn facility_type(&self, code: &str) -> Option<&'static str> {
        self.display("JDV-J61", code)
    }

    /// The label of a practice setting, JDV_J62.
    pub fn practice_setting(&self, code: &str) -> Option<&'static str> {
        self.display("JDV-J62", code)
    }

    /// The format code of a CDA document: by its template, or by the media type of a body that is no XML (ASS_A11, ASS_A12).
    pub fn cda_format(&self, template_or_media_type: &str) -> Option<&'static str> {
        self.cda_formats.get(template_or_media_type).copied()
    }

    /// The URI of a code system by its OID, as CDA names it.
    pub fn system_of_oid(&self, oid: &str) -> Option<&'static str> {
        self.systems.values().find(|(of, _)| !of.is_empty() && *of == oid).map(|(_, uri)| *uri)
    }
}

fn rows(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.starts_with('#')).skip(1)
}

fn columns<const N: usize>(line: &'static str) -> Result<[&'static str; N]> {
    let columns: Vec<&'static str> = line.split('\t').collect();
    columns.try_into().map_err(|_| anyhow::anyhow!("« {line} » has not {N} columns"))
}

/// The visibility labels, TRE_A07.
pub mod label {
    /// Neutral.
    pub const NORMAL: &str = "N";
    /// Masked from professionals.
    pub const MASQUE_PS: &str = "MASQUE_PS";
    /// Not visible to the patient.
    pub const INVISIBLE_PATIENT: &str = "INVISIBLE_PATIENT";
    /// Not visible to the legal representatives.
    pub const INVISIBLE_REPRESENTANTS_LEGAUX: &str = "INVISIBLE_REPRESENTANTS_LEGAUX";
}

/// Code systems in the form that we write.
pub mod system {
    /// PS_IdNat.
    pub const PROFESSIONAL: &str = "urn:oid:1.2.250.1.71.4.2.1";
    /// Struct_IdNat.
    pub const STRUCTURE: &str = "urn:oid:1.2.250.1.71.4.2.2";
    /// `urn:oid:`, `urn:uuid:`.
    pub const URI: &str = "urn:ietf:rfc:3986";
    /// Types of an identifier, FR Core.
    pub const IDENTIFIER_TYPE: &str = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203";
    /// IHE MHD list types.
    pub const LIST_TYPE: &str = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_load_and_know_what_professionals_may_not_deposit() {
        let codes = Codes::built_in().unwrap();
        for (code, expected) in
            [("11502-2", true), ("REMB", false), ("11369-6", false), ("DOCPAT03", false), ("EXPPAT_1", false)]
        {
            assert_eq!(codes.document_type(code).unwrap().is_for_professionals(), expected, "{code}");
        }
        assert_eq!(codes.document_type("11488-4").unwrap().class, "10");
        assert_eq!(codes.document_type("nope"), None);
        assert!(codes.format("urn:ans:ci-sis:img-da:2022").is_some());
        assert!(codes.facility_type("SA01").is_some());
        assert!(codes.practice_setting("AMBULATOIRE").is_some());
        assert_eq!(codes.cda_format("1.2.250.1.213.1.1.1.10"), Some("urn:asip:ci-sis:cva:2017"));
        assert_eq!(codes.cda_format("application/pdf"), Some("urn:ihe:iti:xds-sd:pdf:2008"));
        assert_eq!(codes.system_of_oid("2.16.840.1.113883.6.1"), Some("http://loinc.org"));
        assert_eq!(codes.system_of_oid(""), None);
    }

    #[test]
    fn the_value_sets() {
        let codes = Codes::built_in().unwrap();
        let told: Vec<String> = codes
            .value_sets()
            .iter()
            .map(|set| format!("{} {} {} {}", set.url(), set.version, set.concepts.len(), set.title))
            .collect();
        const NOS: &str = "https://mos.esante.gouv.fr/NOS";
        assert_eq!(
            told,
            [
                format!(
                    "{NOS}/JDV_J57-ClassCode-DMP/FHIR/JDV-J57-ClassCode-DMP 2023-09-22 12 Document classes"
                ),
                format!(
                    "{NOS}/JDV_J58-ConfidentialityCode-DMP/FHIR/JDV-J58-ConfidentialityCode-DMP 2022-09-30 6 Confidentiality and visibility"
                ),
                format!(
                    "{NOS}/JDV_J59-ContentTypeCode-DMP/FHIR/JDV-J59-ContentTypeCode-DMP 2024-09-27 100 SubmissionSet content types (List designationType)"
                ),
                format!(
                    "{NOS}/JDV_J60-FormatCode-DMP/FHIR/JDV-J60-FormatCode-DMP 2024-09-27 62 Document formats"
                ),
                format!(
                    "{NOS}/JDV_J61-HealthcareFacilityTypeCode-DMP/FHIR/JDV-J61-HealthcareFacilityTypeCode-DMP 2024-09-27 68 Healthcare facility types"
                ),
                format!(
                    "{NOS}/JDV_J62-PracticeSettingCode-DMP/FHIR/JDV-J62-PracticeSettingCode-DMP 2020-04-24 10 Practice settings"
                ),
                format!("{NOS}/JDV_J38-ModeAcces-CISIS/FHIR/JDV-J38-ModeAcces-CISIS 2024-12-13 3 Access modes"),
                format!(
                    "{NOS}/JDV_J66-TypeCode-DMP/FHIR/JDV-J66-TypeCode-DMP 2024-02-23 103 Document types of the DMP and their class (JDV_J66, JDV_J57)"
                ),
            ]
        );
        assert!(
            codes
                .content_type(&format!("{NOS}/TRE_R209-TypeActivite/FHIR/TRE-R209-TypeActivite"), "03")
                .is_some()
        );
        assert!(codes.content_type("http://x", "03").is_none());
    }
}
