//! `[rights]`: the matrix, and what operators may decide (docs/rights.md, section 4).

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::rights::{ArchivingByDoctors, HabilitationMatrix, Parameters, matrix_files};

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RightsSection {
    matrix: Option<OneOrMore>,
    pub(super) authorisation_days: u32,
    archiving_by_doctors: ArchivingByDoctors,
    replacing_after_opposition: bool,
    #[serde(rename = "cumul-invisible_patient-masque_ps")]
    cumul_invisible_patient_masque_ps: bool,
    one_way_visibility: bool,
    reading_deleted_documents: bool,
    role_professionals: bool,
    occupational_doctor_reads: bool,
    closing_attached_records: bool,
    administrative_data_without_authorisation: bool,
    age_of_majority: i8,
    search_limit_without_ins: u32,
}

/// A file, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(PathBuf),
    More(Vec<PathBuf>),
}

impl Default for RightsSection {
    fn default() -> Self {
        let parameters = Parameters::default();
        Self {
            matrix: None,
            authorisation_days: 365,
            archiving_by_doctors: parameters.archiving_by_doctors,
            replacing_after_opposition: parameters.replacing_after_opposition,
            cumul_invisible_patient_masque_ps: parameters.cumul_invisible_patient_masque_ps,
            one_way_visibility: parameters.one_way_visibility,
            reading_deleted_documents: parameters.reading_deleted_documents,
            role_professionals: parameters.role_professionals,
            occupational_doctor_reads: parameters.occupational_doctor_reads,
            closing_attached_records: parameters.closing_attached_records,
            administrative_data_without_authorisation: parameters.administrative_data_without_authorisation,
            age_of_majority: parameters.age_of_majority,
            search_limit_without_ins: parameters.search_limit_without_ins,
        }
    }
}

impl RightsSection {
    pub(super) fn parameters(&self) -> Result<Parameters> {
        ensure!((1..=3_650).contains(&self.authorisation_days), "rights.authorisation-days is 1 to 3650 days");
        ensure!((1..=30).contains(&self.age_of_majority), "rights.age-of-majority is 1 to 30 years");
        ensure!(
            (1..=200).contains(&self.search_limit_without_ins),
            "rights.search-limit-without-ins is 1 to 200 patients"
        );
        Ok(Parameters {
            archiving_by_doctors: self.archiving_by_doctors,
            replacing_after_opposition: self.replacing_after_opposition,
            cumul_invisible_patient_masque_ps: self.cumul_invisible_patient_masque_ps,
            one_way_visibility: self.one_way_visibility,
            reading_deleted_documents: self.reading_deleted_documents,
            role_professionals: self.role_professionals,
            occupational_doctor_reads: self.occupational_doctor_reads,
            closing_attached_records: self.closing_attached_records,
            administrative_data_without_authorisation: self.administrative_data_without_authorisation,
            age_of_majority: self.age_of_majority,
            search_limit_without_ins: self.search_limit_without_ins,
        })
    }

    /// The matrix: the version in force at each date decides.
    pub(super) fn matrix(&self) -> Result<HabilitationMatrix> {
        let paths = match &self.matrix {
            None => return HabilitationMatrix::known(),
            Some(OneOrMore::One(path)) => std::slice::from_ref(path),
            Some(OneOrMore::More(paths)) => paths,
        };
        let tables: Vec<String> = paths
            .iter()
            .map(|path| {
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
            })
            .collect::<Result<_>>()?;
        // As strictly as `habilis matrix check` reads them.
        let files: Vec<_> = tables
            .iter()
            .zip(paths)
            .map(|(table, path)| matrix_files::read(table).with_context(|| path.display().to_string()))
            .collect::<Result<_>>()?;
        let named = files.iter().map(|file| (file.version.as_str(), file));
        if let Some(fault) = matrix_files::check_together(named).first() {
            bail!("rights.matrix: {fault}");
        }
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        HabilitationMatrix::parse(&tables).context("rights.matrix")
    }
}
