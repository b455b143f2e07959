//! The functional-rights sheets: transaction × actor × access mode, as data.
//!
//! Source: PDT-INF-526 v1.8 and PDT-INF-606 v1.3, in `tables/functional_rights.tsv`. A cell that the table does not
//! have is a refusal.

use std::collections::HashMap;
use std::fmt;

use anyhow::{Context, Result, bail, ensure};

use super::facts::Relation;
use super::parameters::Parameters;
use crate::identity::{AccessMode, Actor, Authentication, Caller, Profession};

/// Specialities of an occupational doctor, TRE_R01. A holder of one of them is treated as one: the stricter reading,
/// until a token names the situation in which he acts.
pub const OCCUPATIONAL_SPECIALITIES: [&str; 4] = ["C41", "CAPA11", "SCH35", "SM25"];

/// What a caller wants to do, as far as the sheets tell actions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// TD0.0, ended on 30 September 2023.
    AcquireIdentity,
    /// TD0.1: open a session in a mode.
    Authenticate,
    /// TD0.2.
    TestExistence,
    /// TD0.3.
    DeclareAuthorisation,
    /// TD0.3.
    RemoveAuthorisation,
    /// TD0.3.
    GiveUpMedecinTraitant,
    /// TD0.4.
    ListOwnRecords,
    /// TD0.5.
    FindWithoutIns,
    /// TD0.9, the web portal by card: no transaction of this server.
    OpenPortal,
    /// TD0.10, the same under AIR.
    OpenPortalAir,
    /// TD1.3a.
    ReadAdministrative,
    /// TD1.6.
    ListProfessionals,
    /// TD2.1.
    Feed,
    /// TD2.2.
    FeedByStaff,
    /// TD3.1.
    SearchMetadata,
    /// TD3.1, one reference by its identifier.
    LookUpReference,
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
    /// TD3.2, deleted.
    ReadDeleted,
    /// TD3.3a.
    Mask,
    /// TD3.3a.
    Unmask,
    /// TD3.3b.
    MakeVisible,
    /// TD3.3c.
    Delete,
    /// TD3.3d.
    Archive,
    /// TD3.3d.
    Unarchive,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 28] = [
        Action::AcquireIdentity,
        Action::Authenticate,
        Action::TestExistence,
        Action::DeclareAuthorisation,
        Action::RemoveAuthorisation,
        Action::GiveUpMedecinTraitant,
        Action::ListOwnRecords,
        Action::FindWithoutIns,
        Action::OpenPortal,
        Action::OpenPortalAir,
        Action::ReadAdministrative,
        Action::ListProfessionals,
        Action::Feed,
        Action::FeedByStaff,
        Action::SearchMetadata,
        Action::LookUpReference,
        Action::ReadNotMasked,
        Action::ReadMasked,
        Action::ReadHidden,
        Action::ReadArchived,
        Action::ReadSuperseded,
        Action::ReadDeleted,
        Action::Mask,
        Action::Unmask,
        Action::MakeVisible,
        Action::Delete,
        Action::Archive,
        Action::Unarchive,
    ];

    /// Transaction and action as the table writes them.
    pub const fn key(self) -> (&'static str, &'static str) {
        match self {
            Action::AcquireIdentity => ("TD0.0", "acquire patient identity"),
            Action::Authenticate => ("TD0.1", "authenticate"),
            Action::TestExistence => ("TD0.2", "test existence and read own authorisation state"),
            Action::DeclareAuthorisation => ("TD0.3", "declare oneself authorised"),
            Action::RemoveAuthorisation => ("TD0.3", "remove own authorisation"),
            Action::GiveUpMedecinTraitant => ("TD0.3", "give up treating-doctor status"),
            Action::ListOwnRecords => ("TD0.4", "list authorised records"),
            Action::FindWithoutIns => ("TD0.5", "find a patient without INS"),
            Action::OpenPortal => ("TD0.9", "open the web portal in context"),
            Action::OpenPortalAir => ("TD0.10", "open the web portal in context"),
            Action::ReadAdministrative => ("TD1.3a", "read administrative data"),
            Action::ListProfessionals => ("TD1.6", "list authorised and blocked professionals"),
            Action::Feed => ("TD2.1", "feed documents"),
            Action::FeedByStaff => ("TD2.2", "feed documents by CPE (secretary, private practice)"),
            Action::SearchMetadata => ("TD3.1", "search metadata"),
            Action::LookUpReference => ("TD3.1", "look up a document reference"),
            Action::ReadNotMasked => ("TD3.2", "read: not masked"),
            Action::ReadMasked => ("TD3.2", "read: masked from professionals"),
            Action::ReadHidden => ("TD3.2", "read: hidden from patient or representative"),
            Action::ReadArchived => ("TD3.2", "read: archived"),
            Action::ReadSuperseded => ("TD3.2", "read: superseded"),
            Action::ReadDeleted => ("TD3.2", "read: deleted"),
            Action::Mask => ("TD3.3a", "mask from professionals"),
            Action::Unmask => ("TD3.3a", "unmask"),
            Action::MakeVisible => ("TD3.3b", "make visible to patient"),
            Action::Delete => ("TD3.3c", "delete"),
            Action::Archive => ("TD3.3d", "archive"),
            Action::Unarchive => ("TD3.3d", "unarchive"),
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

    /// The category of a caller towards a record (`docs/rights.md`, section 1). `None` for those without a column: a CPA,
    /// an occupational doctor in AIR.
    pub fn of(caller: &Caller, relation: Relation, parameters: &Parameters) -> Option<Self> {
        let reinforced = match caller.authentication {
            Authentication::Card | Authentication::ProSanteConnect => false,
            Authentication::Indirect => return Some(ActorCategory::Indirect),
            Authentication::IndirectReinforced => true,
        };
        // The sheets have no column for a médecin traitant who regulates: there he is one doctor among others.
        let relation = if caller.mode == AccessMode::Centre15 { Relation::None } else { relation };
        let category = match &caller.actor {
            Actor::Professional { profession, .. } if profession.code() != Profession::DOCTOR => {
                non_doctor(relation)
            }
            Actor::Professional { .. } if relation != Relation::None => ActorCategory::MedecinTraitant,
            Actor::Professional { .. } if is_occupational(caller) => ActorCategory::OccupationalDoctor,
            Actor::Professional { .. } => ActorCategory::Doctor,
            Actor::NamedStaff { role, .. }
                if reinforced && parameters.role_professionals && is_role_professional(role) =>
            {
                non_doctor(relation)
            }
            Actor::Staff { .. } | Actor::NamedStaff { .. } => ActorCategory::Staff,
            Actor::AuthorisedStaff { .. } => return None,
        };
        if !reinforced {
            return Some(category);
        }
        match category {
            ActorCategory::Professional => Some(ActorCategory::AirProfessional),
            ActorCategory::Doctor => Some(ActorCategory::AirDoctor),
            ActorCategory::MedecinTraitant => Some(ActorCategory::AirMedecinTraitant),
            ActorCategory::Staff => Some(ActorCategory::AirStaff),
            _ => None,
        }
    }

    /// Whether this is the treating-doctor column, which equal rights lead to as well.
    pub const fn is_treating(self) -> bool {
        matches!(self, ActorCategory::MedecinTraitant | ActorCategory::AirMedecinTraitant)
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

/// Only a doctor is médecin traitant; whoever it is, equal rights lead to the same column.
fn non_doctor(relation: Relation) -> ActorCategory {
    match relation {
        Relation::EqualRights => ActorCategory::MedecinTraitant,
        Relation::None | Relation::MedecinTraitant => ActorCategory::Professional,
    }
}

/// Whether a doctor's card, or what is said of him, names occupational medicine.
pub(super) fn is_occupational(caller: &Caller) -> bool {
    caller.said_specialities().any(|speciality| OCCUPATIONAL_SPECIALITIES.contains(&speciality))
}

/// TRE_R85, TRE_R94, TRE_R95, as the second part of a role.
pub(super) fn role_table(role: &str) -> Option<(&str, &'static str)> {
    let (code, oid) = role.split_once('^')?;
    let table = match oid {
        "1.2.250.1.213.1.6.1.107" => "R85",
        "1.2.250.1.213.1.6.1.4" => "R94",
        "1.2.250.1.213.1.6.1.109" => "R95",
        _ => return None,
    };
    Some((code, table))
}

fn is_role_professional(role: &str) -> bool {
    role_table(role).is_some()
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
    /// Every value.
    pub const ALL: [Allowance; 10] = [
        Allowance::No,
        Allowance::Yes,
        Allowance::OwnDocuments,
        Allowance::PatientOptIn,
        Allowance::ReferenceOnly,
        Allowance::StructureAuthorisation,
        Allowance::StructureAttributed,
        Allowance::StructureDocuments,
        Allowance::SameStructureProfessionals,
        Allowance::NewAuthorisationsByDate,
    ];

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

/// What the sheet says at one place, and how to quote it.
#[derive(Debug)]
pub struct Cell {
    /// Yes, no, or on a condition.
    pub allowance: Allowance,
    /// Sheet, transaction, column, mode, value.
    pub rule: String,
}

/// Both sheets, cell by cell.
#[derive(Debug)]
pub struct FunctionalRights {
    /// Every action × category × mode; a cell that the table does not have is a `no`.
    cells: Vec<Cell>,
    /// Rows of the table.
    rows: usize,
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
        let mut cells: HashMap<(Action, ActorCategory, AccessMode), Allowance> = HashMap::new();
        for line in table.lines().filter(|line| !line.starts_with('#')).skip(1) {
            let mut columns = line.split('\t');
            let mut column = || columns.next().context("a row is too short");
            let (sheet, transaction, action) = (column()?, column()?, column()?);
            let (actor, mode, allowed) = (column()?, column()?, column()?);
            let allowance = Allowance::parse(allowed)?;
            let known = Action::ALL.into_iter().find(|candidate| candidate.key() == (transaction, action));
            let action = known.with_context(|| format!("« {transaction} {action} » is no action"))?;
            let category = ActorCategory::ALL.into_iter().find(|candidate| candidate.label() == actor);
            let category = category.with_context(|| format!("« {actor} » is no column"))?;
            ensure!(category.sheet() == sheet, "« {actor} » is no column of sheet {sheet}");
            let mode = match mode {
                // The sheet has one cell for an occupational doctor: he has no emergency mode.
                "not_applicable" => AccessMode::Normal,
                code => AccessMode::of_code(code).with_context(|| format!("« {code} » is no access mode"))?,
            };
            let previous = cells.insert((action, category, mode), allowance);
            ensure!(previous.is_none(), "{transaction} {actor} {mode:?} stands twice");
        }
        let rows = cells.len();
        let mut all = Vec::with_capacity(Action::ALL.len() * ActorCategory::ALL.len() * AccessMode::ALL.len());
        for action in Action::ALL {
            for category in ActorCategory::ALL {
                for mode in AccessMode::ALL {
                    let allowance = cells.get(&(action, category, mode)).copied().unwrap_or(Allowance::No);
                    let (transaction, label) = action.key();
                    let rule = format!(
                        "PDT-INF-{} {transaction} {label} / {} / {} = {allowance}",
                        category.sheet(),
                        category.label(),
                        mode.code()
                    );
                    all.push(Cell { allowance, rule });
                }
            }
        }
        Ok(Self { cells: all, rows })
    }

    /// How many cells the sheets have.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What the sheet says, and the rule to quote.
    pub fn cell(&self, action: Action, category: ActorCategory, mode: AccessMode) -> &Cell {
        // The order in which `parse` fills it: the declared order of the three enums.
        let place = (action as usize * ActorCategory::ALL.len() + category as usize) * AccessMode::ALL.len()
            + mode as usize;
        // Invariant: `parse` makes one cell for each action, category and mode.
        self.cells.get(place).unwrap_or_else(|| unreachable!("no cell at {place}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_is_both_sheets_whole() {
        let rights = FunctionalRights::built_in().unwrap();
        assert_eq!(rights.rows(), 549, "324 cells of sheet 526 with its ended row, 225 of sheet 606");
    }

    #[test]
    fn every_cell_says_what_its_row_says() {
        let rights = FunctionalRights::built_in().unwrap();
        let table = include_str!("tables/functional_rights.tsv");
        for line in table.lines().filter(|line| !line.starts_with('#')).skip(1) {
            let columns: Vec<&str> = line.split('\t').collect();
            let action = Action::ALL.into_iter().find(|one| one.key() == (columns[1], columns[2])).unwrap();
            let category = ActorCategory::ALL.into_iter().find(|one| one.label() == columns[3]).unwrap();
            let mode = AccessMode::of_code(columns[4]).unwrap_or(AccessMode::Normal);
            let cell = rights.cell(action, category, mode);
            assert_eq!(cell.allowance.to_string(), columns[5], "{line}");
            assert!(
                cell.rule.contains(columns[3]) && cell.rule.starts_with(&format!("PDT-INF-{}", columns[0]))
            );
        }
    }

    #[test]
    fn an_unknown_cell_is_a_no() {
        let rights = FunctionalRights::parse("header\n").unwrap();
        let cell = rights.cell(Action::Feed, ActorCategory::Doctor, AccessMode::Normal);
        assert_eq!(cell.allowance, Allowance::No);
        assert_eq!(cell.rule, "PDT-INF-526 TD2.1 feed documents / CPS/CPF doctor, not treating / normal = no");
    }

    #[test]
    fn a_row_that_names_nothing_known_is_refused() {
        for row in [
            "526\tTD9\tfly\tCPE, not a professional\tnormal\tno\t",
            "526\tTD2.1\tfeed documents\tnobody\tnormal\tno\t",
        ] {
            assert!(FunctionalRights::parse(&format!("header\n{row}\n")).is_err(), "{row}");
        }
    }

    #[test]
    fn a_cell_that_stands_twice_is_refused() {
        let row = "526\tTD2.1\tfeed documents\tCPE, not a professional\tnormal\tno\t\n";
        let table = format!("header\n{row}{row}");
        assert!(FunctionalRights::parse(&table).unwrap_err().to_string().contains("stands twice"));
    }
}
