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

/// All value sets.
#[derive(Debug)]
pub struct Codes {
    types: HashMap<&'static str, DocumentType>,
    classes: HashMap<&'static str, &'static str>,
    content_types: HashMap<(&'static str, &'static str), &'static str>,
    formats: HashMap<&'static str, &'static str>,
    facility_types: HashMap<&'static str, &'static str>,
    practice_settings: HashMap<&'static str, &'static str>,
}

impl Codes {
    /// Every document type code, JDV_J66, in no order.
    pub fn document_types(&self) -> impl Iterator<Item = &str> {
        self.types.keys().copied()
    }

    /// The tables that come with the program.
    ///
    /// # Errors
    /// A table is malformed.
    pub fn built_in() -> Result<Self> {
        let mut types = HashMap::new();
        for line in rows(include_str!("tables/document_types.tsv")) {
            let columns: Vec<&'static str> = line.split('\t').collect();
            let [code, system, class, display] = columns[..] else {
                anyhow::bail!("document_types: « {line} »")
            };
            types.insert(code, DocumentType { code, system, class, display });
        }
        let mut content_types = HashMap::new();
        for line in rows(include_str!("tables/content_types.tsv")) {
            let columns: Vec<&'static str> = line.split('\t').collect();
            let [code, system, display] = columns[..] else { anyhow::bail!("content_types: « {line} »") };
            content_types.insert((system, code), display);
        }
        Ok(Self {
            types,
            content_types,
            classes: pairs(include_str!("tables/classes.tsv")).context("classes")?,
            formats: pairs(include_str!("tables/formats.tsv")).context("formats")?,
            facility_types: pairs(include_str!("tables/facility_types.tsv")).context("facility_types")?,
            practice_settings: pairs(include_str!("tables/practice_settings.tsv"))
                .context("practice_settings")?,
        })
    }

    /// A document type, JDV_J66.
    pub fn document_type(&self, code: &str) -> Option<&DocumentType> {
        self.types.get(code)
    }

    /// The label of a class, JDV_J57.
    pub fn class(&self, code: &str) -> Option<&'static str> {
        self.classes.get(code).copied()
    }

    /// The label of a content type of a submission set, JDV_J59. Its code systems share codes, so the system counts:
    /// `https://mos.esante.gouv.fr/NOS/TRE_R209-…/FHIR/…`.
    pub fn content_type(&self, system: &str, code: &str) -> Option<&'static str> {
        let (_, table) = system.split_once("/NOS/")?;
        let table = table.split(['-', '/']).next()?;
        self.content_types.iter().find(|((of, is), _)| *of == table && *is == code).map(|(_, display)| *display)
    }

    /// The label of a format, JDV_J60.
    pub fn format(&self, code: &str) -> Option<&'static str> {
        self.formats.get(code).copied()
    }

    /// The label of a facility type, JDV_J61.
    pub fn facility_type(&self, code: &str) -> Option<&'static str> {
        self.facility_types.get(code).copied()
    }

    /// The label of a practice setting, JDV_J62.
    pub fn practice_setting(&self, code: &str) -> Option<&'static str> {
        self.practice_settings.get(code).copied()
    }
}

fn rows(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.starts_with('#')).skip(1)
}

fn pairs(table: &'static str) -> Result<HashMap<&'static str, &'static str>> {
    rows(table).map(|line| line.split_once('\t').with_context(|| format!("« {line} »"))).collect()
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
    }
}
