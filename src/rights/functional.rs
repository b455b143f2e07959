//! The functional-rights sheets: transaction × actor × access mode, as data.
//!
//! Source: PDT-INF-526 v1.8 and PDT-INF-606 v1.3, in `tables/functional_rights.tsv`. A cell that the table does not
//! have is a refusal.

use std::collections::HashMap;
use std::fmt;

use anyhow::{Context, Result, bail, ensure};

use crate::identity::{AccessMode, Actor, Authentication, Caller, Profession};

/// Specialities of an occupational doctor, TRE_R01. A holder of one of them is treated as one: the stricter reading,
/// until a token names the situation in which he acts.
pub const OCCUPATIONAL_SPECIALITIES: [&str; 4] = ["C41", "CAPA11", "SCH35", "SM25"];

/// What a caller wants to do, as far as the sheets tell actions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// TD0.1: open a session in a mode.
    Authenticate,
    /// TD0.2.
    TestExistence,
    /// TD0.3.
    DeclareAuthorisation,
    /// TD2.1.
    Feed,
    /// TD2.2.
    FeedByStaff,
    /// TD3.1.
    SearchMetadata,
    /// TD3.2, neither masked, hidden, archived, superseded nor deleted.
    ReadNotMasked,
    /// TD3.2, `MASQUE_PS`.
    ReadMasked,
    /// TD3.2, hidden from patient or representative.
    ReadHidden,
    /// TD3.2, archived.
    ReadArchived,
    /// TD3.2, superseded.
    ReadSuperseded,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 11] = [
        Action::Authenticate,
        Action::TestExistence,
        Action::DeclareAuthorisation,
        Action::Feed,
        Action::FeedByStaff,
        Action::SearchMetadata,
        Action::ReadNotMasked,
        Action::ReadMasked,
        Action::ReadHidden,
        Action::ReadArchived,
        Action::ReadSuperseded,
    ];

    /// Transaction and action as the table writes them.
    const fn key(self) -> (&'static str, &'static str) {
        match self {
            Action::Authenticate => ("TD0.1", "authenticate"),
            Action::TestExistence => ("TD0.2", "test existence and read own authorisation state"),
            Action::DeclareAuthorisation => ("TD0.3", "declare oneself authorised"),
            Action::Feed => ("TD2.1", "feed documents"),
            Action::FeedByStaff => ("TD2.2", "feed documents by CPE (secretary, private practice)"),
            Action::SearchMetadata => ("TD3.1", "search metadata"),
            Action::ReadNotMasked => ("TD3.2", "read: not masked"),
            Action::ReadMasked => ("TD3.2", "read: masked from professionals"),
            Action::ReadHidden => ("TD3.2", "read: hidden from patient or representative"),
            Action::ReadArchived => ("TD3.2", "read: archived"),
            Action::ReadSuperseded => ("TD3.2", "read: superseded"),
        }
    }
}

/// The columns of the two sheets: 526 for direct and indirect authentication, 606 for the reinforced one (AIR).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActorCategory {
    /// A professional who is not a doctor.
    Professional,
    /// A doctor who is not the médecin traitant.
    Doctor,
    /// An occupational doctor.
    OccupationalDoctor,
    /// The médecin traitant.
    MedecinTraitant,
    /// Staff with a CPE.
    Staff,
    /// Whoever an establishment names without proof (INDIRECTE).
    Indirect,
    /// AIR: a professional who is not a doctor.
    AirProfessional,
    /// AIR: a doctor who is not the médecin traitant.
    AirDoctor,
    /// AIR: the médecin traitant.
    AirMedecinTraitant,
    /// AIR: staff of an establishment.
    AirStaff,
}

impl ActorCategory {
    /// Every category.
    pub const ALL: [ActorCategory; 10] = [
        ActorCategory::Professional,
        ActorCategory::Doctor,
        ActorCategory::OccupationalDoctor,
        ActorCategory::MedecinTraitant,
        ActorCategory::Staff,
        ActorCategory::Indirect,
        ActorCategory::AirProfessional,
        ActorCategory::AirDoctor,
        ActorCategory::AirMedecinTraitant,
        ActorCategory::AirStaff,
    ];

    /// The category of a caller towards a record. `None` for those without a column: a CPA, an occupational doctor in
    /// AIR.
    pub fn of(caller: &Caller, is_medecin_traitant: bool) -> Option<Self> {
        match caller.authentication {
            Authentication::Card | Authentication::ProSanteConnect => {}
            Authentication::Indirect => return Some(ActorCategory::Indirect),
            Authentication::IndirectReinforced => {
                return match Self::in_person(caller, is_medecin_traitant)? {
                    ActorCategory::Professional => Some(ActorCategory::AirProfessional),
                    ActorCategory::Doctor => Some(ActorCategory::AirDoctor),
                    ActorCategory::MedecinTraitant => Some(ActorCategory::AirMedecinTraitant),
                    ActorCategory::Staff => Some(ActorCategory::AirStaff),
                    _ => None,
                };
            }
        }
        Self::in_person(caller, is_medecin_traitant)
    }

    fn in_person(caller: &Caller, is_medecin_traitant: bool) -> Option<Self> {
        match &caller.actor {
            Actor::Professional { profession, .. } => {
                let occupational = caller
                    .said_specialities()
                    .any(|speciality| OCCUPATIONAL_SPECIALITIES.contains(&speciality));
                Some(if profession.code() != Profession::DOCTOR {
                    ActorCategory::Professional
                } else if is_medecin_traitant {
                    ActorCategory::MedecinTraitant
                } else if occupational {
                    ActorCategory::OccupationalDoctor
                } else {
                    ActorCategory::Doctor
                })
            }
            Actor::Staff { .. } | Actor::NamedStaff { .. } => Some(ActorCategory::Staff),
            Actor::AuthorisedStaff { .. } => None,
        }
    }

    /// The name of the column.
    pub const fn label(self) -> &'static str {
        match self {
            ActorCategory::Professional => "CPS/CPF professional, not a doctor",
            ActorCategory::Doctor => "CPS/CPF doctor, not treating",
            ActorCategory::OccupationalDoctor => "CPS/CPF occupational doctor",
            ActorCategory::MedecinTraitant => "CPS/CPF treating doctor (MT)",
            ActorCategory::Staff => "CPE, not a professional",
            ActorCategory::Indirect => "organisation certificate indirect, anyone",
            ActorCategory::AirProfessional => "AIR professional, not a doctor",
            ActorCategory::AirDoctor => "AIR doctor, not treating",
            ActorCategory::AirMedecinTraitant => "AIR treating doctor (MT)",
            ActorCategory::AirStaff => "AIR establishment staff, not a professional",
        }
    }

    /// The sheet that has the column.
    pub const fn sheet(self) -> &'static str {
        match self {
            ActorCategory::AirProfessional
            | ActorCategory::AirDoctor
            | ActorCategory::AirMedecinTraitant
            | ActorCategory::AirStaff => "606",
            _ => "526",
        }
    }
}

/// What a cell says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allowance {
    /// No, or no cell.
    No,
    /// Yes.
    Yes,
    /// Note (6), (8): documents that the caller wrote.
    OwnDocuments,
    /// Note (7): in emergencies, if the patient opted in.
    PatientOptIn,
    /// Note (5): one reference, no listing.
    ReferenceOnly,
    /// Note (1): the authorisation goes to the structure.
    StructureAuthorisation,
    /// Note (4): attributed to the structure.
    StructureAttributed,
    /// Note (9): documents of the structure.
    StructureDocuments,
    /// Note (2).
    SameStructureProfessionals,
    /// Note (3).
    NewAuthorisationsByDate,
}

impl Allowance {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "no" => Allowance::No,
            "yes" => Allowance::Yes,
            "own_documents" => Allowance::OwnDocuments,
            "patient_opt_in" => Allowance::PatientOptIn,
            "reference_only" => Allowance::ReferenceOnly,
            "structure_authorisation" => Allowance::StructureAuthorisation,
            "structure_attributed" => Allowance::StructureAttributed,
            "structure_documents" => Allowance::StructureDocuments,
            "same_structure_professionals" => Allowance::SameStructureProfessionals,
            "new_authorisations_by_date" => Allowance::NewAuthorisationsByDate,
            other => bail!("« {other} » is no value of a cell"),
        })
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Allowance::No => "no",
            Allowance::Yes => "yes",
            Allowance::OwnDocuments => "own_documents",
            Allowance::PatientOptIn => "patient_opt_in",
            Allowance::ReferenceOnly => "reference_only",
            Allowance::StructureAuthorisation => "structure_authorisation",
            Allowance::StructureAttributed => "structure_attributed",
            Allowance::StructureDocuments => "structure_documents",
            Allowance::SameStructureProfessionals => "same_structure_professionals",
            Allowance::NewAuthorisationsByDate => "new_authorisations_by_date",
        })
    }
}

/// Both sheets, cell by cell.
#[derive(Debug)]
pub struct FunctionalRights {
    cells: HashMap<(Action, ActorCategory, AccessMode), Allowance>,
}

impl FunctionalRights {
    /// The table that comes with the program.
    ///
    /// # Errors
    /// A row that cannot be read, or a cell that stands twice.
    pub fn built_in() -> Result<Self> {
        Self::parse(include_str!("tables/functional_rights.tsv")).context("functional_rights.tsv")
    }

    fn parse(table: &str) -> Result<Self> {
        let mut cells = HashMap::new();
        for line in table.lines().filter(|line| !line.starts_with('#')).skip(1) {
            let mut columns = line.split('\t');
            let mut column = || columns.next().context("a row is too short");
            let (sheet, transaction, action) = (column()?, column()?, column()?);
            let (actor, mode, allowed) = (column()?, column()?, column()?);
            let allowance = Allowance::parse(allowed)?;
            let action = Action::ALL.into_iter().find(|candidate| candidate.key() == (transaction, action));
            let category = ActorCategory::ALL.into_iter().find(|candidate| candidate.label() == actor);
            let (Some(action), Some(category)) = (action, category) else { continue };
            ensure!(category.sheet() == sheet, "« {actor} » is no column of sheet {sheet}");
            let modes: &[AccessMode] = match mode {
                "normal" => &[AccessMode::Normal],
                "bris_de_glace" => &[AccessMode::BrisDeGlace],
                "centre_15" => &[AccessMode::Centre15],
                // The sheet has one cell for an occupational doctor: he has no emergency mode.
                "not_applicable" => &[AccessMode::Normal],
                other => bail!("« {other} » is no access mode"),
            };
            for mode in modes {
                let previous = cells.insert((action, category, *mode), allowance);
                ensure!(previous.is_none(), "{transaction} {actor} {mode:?} stands twice");
            }
        }
        Ok(Self { cells })
    }

    /// What the sheet says, and the rule to quote.
    pub fn cell(&self, action: Action, category: ActorCategory, mode: AccessMode) -> (Allowance, String) {
        let allowance = self.cells.get(&(action, category, mode)).copied().unwrap_or(Allowance::No);
        let (transaction, label) = action.key();
        let rule = format!("{transaction} {label} / {} / {} = {allowance}", category.label(), mode.code());
        (allowance, format!("PDT-INF-{} {rule}", category.sheet()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_has_every_cell_of_the_actions_known() {
        let rights = FunctionalRights::built_in().unwrap();
        for action in Action::ALL {
            for category in ActorCategory::ALL {
                assert!(
                    rights.cells.contains_key(&(action, category, AccessMode::Normal)),
                    "{action:?} {category:?}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_cell_is_a_no() {
        let rights = FunctionalRights { cells: HashMap::new() };
        let (allowance, rule) = rights.cell(Action::Feed, ActorCategory::Doctor, AccessMode::Normal);
        assert_eq!(allowance, Allowance::No);
        assert_eq!(rule, "PDT-INF-526 TD2.1 feed documents / CPS/CPF doctor, not treating / normal = no");
    }

    #[test]
    fn a_cell_that_stands_twice_is_refused() {
        let row = "526\tTD2.1\tfeed documents\tCPE, not a professional\tnormal\tno\t\n";
        let table = format!("header\n{row}{row}");
        assert!(FunctionalRights::parse(&table).unwrap_err().to_string().contains("stands twice"));
    }
}
