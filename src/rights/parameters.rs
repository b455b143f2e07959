//! The points on which the sources disagree, or that the DMP itself leaves to its operator: a switch each, with the
//! stricter reading as the default. `docs/rights.md`, section 4, has the reasons.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Which documents a doctor who is neither author nor médecin traitant archives in mode `normal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchivingByDoctors {
    /// His own, as sheet 526 says, under sheet 606 too.
    #[default]
    Own,
    /// What each sheet says: under 606 any.
    Sheet,
}

/// The switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// TD3.3d: the sheets disagree.
    pub archiving_by_doctors: ArchivingByDoctors,
    /// TD2.1b after opposition to feeding: the test book (2.1-970) lets the author replace, a vendor's FAQ does not.
    pub replacing_after_opposition: bool,
    /// `cumul-invisible_patient-masque_ps` (EX_2.1-1050).
    pub cumul_invisible_patient_masque_ps: bool,
    /// What was visible is not hidden again (REC_2.1-1065 would lift it).
    pub one_way_visibility: bool,
    /// TD3.2 « read: deleted »: the sheets say yes, the FHIR mapping hides them.
    pub reading_deleted_documents: bool,
    /// Role professionals (TRE_R85, R94, R95) read as professionals: law, but not practice.
    pub role_professionals: bool,
    /// L1111-17 IV: the occupational doctor reads with express consent; sheet 526 says no.
    pub occupational_doctor_reads: bool,
    /// TD1.4 on records attached to Mon espace santé: note (10) says no.
    pub closing_attached_records: bool,
    /// TD1.3a without the holder's will: the cells ask for none, the test book's rows have an authorisation.
    pub administrative_data_without_authorisation: bool,
    /// `age-majorite`, years.
    pub age_of_majority: i8,
    /// TD0.5: more hits than these are refused.
    pub search_limit_without_ins: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            archiving_by_doctors: ArchivingByDoctors::Own,
            replacing_after_opposition: true,
            cumul_invisible_patient_masque_ps: false,
            one_way_visibility: true,
            reading_deleted_documents: false,
            role_professionals: false,
            occupational_doctor_reads: false,
            closing_attached_records: false,
            administrative_data_without_authorisation: false,
            age_of_majority: 18,
            search_limit_without_ins: 20,
        }
    }
}

impl Parameters {
    /// Whether somebody born then is a minor at this instant. A date of birth that is not known makes nobody a minor: what is
    /// for minors alone stays closed.
    pub fn is_minor(&self, birth_date: Option<Date>, now: Timestamp) -> bool {
        let years = jiff::Span::new().years(i64::from(self.age_of_majority));
        let of_age = birth_date.and_then(|born| born.checked_add(years).ok());
        of_age.is_some_and(|of_age| now.to_zoned(TimeZone::UTC).date() < of_age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_of_age_on_the_birthday() {
        let parameters = Parameters::default();
        let born = |text: &str| Some(text.parse::<Date>().unwrap());
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        assert!(parameters.is_minor(born("2008-11-23"), now));
        assert!(!parameters.is_minor(born("2008-11-22"), now));
        assert!(!parameters.is_minor(None, now));
        assert!(Parameters { age_of_majority: 21, ..parameters }.is_minor(born("2008-11-22"), now));
    }
}
