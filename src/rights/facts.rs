//! What a decision needs to know of a record and of a document.

use jiff::civil::Date;

use super::documents::DocumentAction;

/// Whether a record is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordState {
    /// In use.
    Open,
    /// Closed: it exists, and takes and gives nothing.
    Closed,
}

/// The standing of the caller with a record's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Authorisation {
    /// None was declared.
    None,
    /// Declared and in force.
    Valid,
    /// Declared and over.
    Expired,
    /// The holder has blocked the professional: neither reads nor feeds.
    Blocked,
}

/// Where an authorisation in force comes from (R1111-46).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The patient authorised the person.
    #[default]
    Person,
    /// The patient authorised the structure for which the person acts.
    Structure,
    /// The patient authorised a member of the care team to which the person belongs (L1110-12).
    CareTeam,
}

/// What the patient made of the caller beyond an authorisation (R1111-54).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Relation {
    /// Nothing.
    #[default]
    None,
    /// One of the médecins traitants.
    MedecinTraitant,
    /// A professional with rights equal to those of the médecin traitant.
    EqualRights,
}

/// A record as it stands towards one caller at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFacts {
    /// Our own identifier, opaque.
    pub id: String,
    /// In use or not.
    pub state: RecordState,
    /// The holder opposed feeding (R1111-47).
    pub opposed_to_feeding: bool,
    /// The holder opposed emergency access (L1111-17 I).
    pub opposed_to_bris_de_glace: bool,
    /// The holder opposed access by the regulating doctor (L1111-17 I).
    pub opposed_to_centre_15: bool,
    /// The holder masked every document, those to come included.
    pub all_masked: bool,
    /// The holder opted in to masked documents being read in emergencies.
    pub masked_open_in_emergencies: bool,
    /// The caller's authorisation.
    pub authorisation: Authorisation,
    /// Where the authorisation comes from, when it is in force.
    pub basis: Basis,
    /// What the patient made of the caller.
    pub relation: Relation,
    /// The patient's date of birth, where it is a date.
    pub birth_date: Option<Date>,
    /// Attached to Mon espace santé.
    pub attached: bool,
    /// The caller's token opens another record, and this one not.
    pub outside_the_session: bool,
}

impl RecordFacts {
    /// No record: one in use, on which the caller is authorised, and of which nothing is out of the ordinary. What a decision is asked of where
    /// there is no record, or before it is known.
    pub fn usual() -> Self {
        Self {
            id: String::new(),
            state: RecordState::Open,
            opposed_to_feeding: false,
            opposed_to_bris_de_glace: false,
            opposed_to_centre_15: false,
            all_masked: false,
            masked_open_in_emergencies: false,
            authorisation: Authorisation::Valid,
            basis: Basis::Person,
            relation: Relation::None,
            birth_date: None,
            attached: true,
            outside_the_session: false,
        }
    }
}

/// `DocumentReference.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentStatus {
    /// `current`.
    Current,
    /// `superseded`: replaced by another.
    Superseded,
    /// `entered-in-error`: deleted, logically.
    EnteredInError,
}

impl DocumentStatus {
    /// The code.
    pub const fn code(self) -> &'static str {
        match self {
            DocumentStatus::Current => "current",
            DocumentStatus::Superseded => "superseded",
            DocumentStatus::EnteredInError => "entered-in-error",
        }
    }

    /// The status of a code.
    pub fn of_code(code: &str) -> Option<Self> {
        match code {
            "current" => Some(DocumentStatus::Current),
            "superseded" => Some(DocumentStatus::Superseded),
            "entered-in-error" => Some(DocumentStatus::EnteredInError),
            _ => None,
        }
    }
}

/// The visibility labels of a document, a set beside the neutral `N`. TRE_A07, 1.2.250.1.213.1.1.4.13.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// `MASQUE_PS`: masked from professionals.
    pub masked: bool,
    /// `INVISIBLE_PATIENT`.
    pub invisible_to_patient: bool,
    /// `INVISIBLE_REPRESENTANTS_LEGAUX`.
    pub invisible_to_representatives: bool,
}

impl Labels {
    /// The labels once all of these are done.
    #[must_use]
    pub fn after(mut self, actions: &[DocumentAction]) -> Self {
        for action in actions {
            match action {
                DocumentAction::Mask => self.masked = true,
                DocumentAction::Unmask => self.masked = false,
                DocumentAction::ShowToPatient => self.invisible_to_patient = false,
                DocumentAction::ShowToRepresentatives => self.invisible_to_representatives = false,
                DocumentAction::HideFromPatient => self.invisible_to_patient = true,
                DocumentAction::HideFromRepresentatives => self.invisible_to_representatives = true,
                DocumentAction::Delete | DocumentAction::Archive | DocumentAction::Unarchive => {}
            }
        }
        self
    }

    /// The labels of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            masked: self.masked || other.masked,
            invisible_to_patient: self.invisible_to_patient || other.invisible_to_patient,
            invisible_to_representatives: self.invisible_to_representatives
                || other.invisible_to_representatives,
        }
    }

    /// Those of them that the other does not have.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self {
            masked: self.masked && !other.masked,
            invisible_to_patient: self.invisible_to_patient && !other.invisible_to_patient,
            invisible_to_representatives: self.invisible_to_representatives
                && !other.invisible_to_representatives,
        }
    }
}

/// A document as far as visibility goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentFacts {
    /// `DocumentReference.id`.
    pub id: String,
    /// The record it belongs to.
    pub record_id: String,
    /// Type code of the value set JDV_J66.
    pub type_code: String,
    /// Its status.
    pub status: DocumentStatus,
    /// Its labels.
    pub labels: Labels,
    /// Archived.
    pub archived: bool,
    /// PS_IdNat of who fed it, from the certificate and not from what was declared.
    pub author_id: String,
    /// Struct_IdNat of who fed it.
    pub author_structure: Option<String>,
    /// The patient deposited it.
    pub by_patient: bool,
    /// `meta.versionId`: what was decided on is what is changed.
    pub version: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_its_code() {
        for (status, code) in [
            (DocumentStatus::Current, "current"),
            (DocumentStatus::Superseded, "superseded"),
            (DocumentStatus::EnteredInError, "entered-in-error"),
        ] {
            assert_eq!((status.code(), DocumentStatus::of_code(code)), (code, Some(status)));
        }
        assert_eq!(DocumentStatus::of_code("Current"), None);
    }

    #[test]
    fn labels_of_two() {
        let none = Labels::default();
        let each = [
            Labels { masked: true, ..none },
            Labels { invisible_to_patient: true, ..none },
            Labels { invisible_to_representatives: true, ..none },
        ];
        let all = Labels { masked: true, invisible_to_patient: true, invisible_to_representatives: true };
        for one in each {
            assert_eq!((one.and(none), none.and(one), one.and(one), all.and(one)), (one, one, one, all));
            assert_eq!((one.without(none), none.without(one), one.without(one)), (one, none, none));
            assert_eq!(all.without(one).and(one), all);
            assert_ne!(all.without(one), all);
        }
    }

    #[test]
    fn labels_after_changes() {
        use DocumentAction::{
            HideFromPatient, HideFromRepresentatives, Mask, ShowToPatient, ShowToRepresentatives, Unmask,
        };
        let all = Labels { masked: true, invisible_to_patient: true, invisible_to_representatives: true };
        assert_eq!(Labels::default().after(&[Mask, HideFromPatient, HideFromRepresentatives]), all);
        assert_eq!(all.after(&[Unmask, ShowToPatient, ShowToRepresentatives]), Labels::default());
        assert_eq!(
            all.after(&[DocumentAction::Delete, DocumentAction::Archive, DocumentAction::Unarchive]),
            all
        );
    }
}
