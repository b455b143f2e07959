//! The access-rights decision, written a second time.
//!
//! An independent reference: written from `docs/rights.md` and from the two sheets of functional rights alone
//! (PDT-INF-526 v1.8, PDT-INF-606 v1.3 AIR, and their notes), without sight of `src/` or of any test. The suite
//! compares it with the production code over the whole input space. The sheets stand below as literal tables, row by
//! row and column by column as printed. Where the page can be read in two ways, the stricter one is taken; such places
//! are marked `Strict:`.

mod sheets;
mod vocabulary;

use self::sheets::Cell::{N, O, O5, O6, O7, O8, O9};
use self::sheets::{Cell, Row, SHEET_526, SHEET_606};
pub use self::vocabulary::*;

// ---------------------------------------------------------------------------------------------------------------------
// Section 1: the column and the cell
// ---------------------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Professional526,
    Doctor526,
    Occupational526,
    Treating526,
    Cpe526,
    Indirect526,
    Professional606,
    Doctor606,
    Treating606,
    Staff606,
    Nothing,
}

/// The actor, once `role-professionals` has spoken.
fn actor(parameters: &Parameters, kind: ActorKind) -> ActorKind {
    match kind {
        ActorKind::AirRoleProfessional if parameters.role_professionals => ActorKind::AirProfessional,
        ActorKind::AirRoleProfessional => ActorKind::AirStaff,
        other => other,
    }
}

/// The table of section 1.
fn column(parameters: &Parameters, kind: ActorKind, relation: Relation, mode: Mode) -> Column {
    let emergency_15 = matches!(mode, Mode::Centre15);
    match (actor(parameters, kind), relation) {
        (ActorKind::Professional, Relation::EqualRights) if !emergency_15 => Column::Treating526,
        (ActorKind::Professional, _) => Column::Professional526,

        (ActorKind::Doctor, Relation::None) => Column::Doctor526,
        (ActorKind::Doctor, _) if emergency_15 => Column::Doctor526,
        (ActorKind::Doctor, _) => Column::Treating526,

        (ActorKind::OccupationalDoctor, Relation::None) => Column::Occupational526,
        (ActorKind::OccupationalDoctor, _) if emergency_15 => Column::Occupational526,
        (ActorKind::OccupationalDoctor, _) => Column::Treating526,

        (ActorKind::Staff, _) => Column::Cpe526,
        (ActorKind::Support, _) => Column::Nothing,
        (ActorKind::Indirect, _) => Column::Indirect526,

        (ActorKind::AirProfessional, Relation::EqualRights) if !emergency_15 => Column::Treating606,
        (ActorKind::AirProfessional, _) => Column::Professional606,

        (ActorKind::AirDoctor, Relation::None) => Column::Doctor606,
        (ActorKind::AirDoctor, _) if emergency_15 => Column::Doctor606,
        (ActorKind::AirDoctor, _) => Column::Treating606,

        (ActorKind::AirOccupationalDoctor, Relation::None) => Column::Nothing,
        (ActorKind::AirOccupationalDoctor, _) if emergency_15 => Column::Nothing,
        (ActorKind::AirOccupationalDoctor, _) => Column::Treating606,

        (ActorKind::AirStaff | ActorKind::AirRoleProfessional, _) => Column::Staff606,
    }
}

fn is_treating(column: Column) -> bool {
    matches!(column, Column::Treating526 | Column::Treating606)
}

/// The printed cell at a column, a mode and a row; `N` where the sheet has none.
fn printed(column: Column, mode: Mode, row: Row) -> Cell {
    let row = row as usize;
    match (column, mode) {
        (Column::Professional526, Mode::Normal) => SHEET_526[row].1[0],
        (Column::Professional526, Mode::Centre15) => SHEET_526[row].1[1],
        (Column::Professional526, Mode::BrisDeGlace) => SHEET_526[row].1[2],
        (Column::Doctor526, Mode::Normal) => SHEET_526[row].1[3],
        (Column::Doctor526, Mode::Centre15) => SHEET_526[row].1[4],
        (Column::Doctor526, Mode::BrisDeGlace) => SHEET_526[row].1[5],
        (Column::Occupational526, Mode::Normal) => SHEET_526[row].1[6],
        (Column::Treating526, Mode::Normal) => SHEET_526[row].1[7],
        (Column::Treating526, Mode::BrisDeGlace) => SHEET_526[row].1[8],
        (Column::Cpe526, Mode::Normal) => SHEET_526[row].1[9],
        (Column::Indirect526, Mode::Normal) => SHEET_526[row].1[10],
        (Column::Indirect526, Mode::Centre15) => SHEET_526[row].1[11],

        (Column::Professional606, Mode::Normal) => SHEET_606[row].1[0],
        (Column::Professional606, Mode::Centre15) => SHEET_606[row].1[1],
        (Column::Professional606, Mode::BrisDeGlace) => SHEET_606[row].1[2],
        (Column::Doctor606, Mode::Normal) => SHEET_606[row].1[3],
        (Column::Doctor606, Mode::Centre15) => SHEET_606[row].1[4],
        (Column::Doctor606, Mode::BrisDeGlace) => SHEET_606[row].1[5],
        (Column::Treating606, Mode::Normal) => SHEET_606[row].1[6],
        (Column::Treating606, Mode::BrisDeGlace) => SHEET_606[row].1[7],
        (Column::Staff606, Mode::Normal) => SHEET_606[row].1[8],

        (Column::Occupational526, Mode::Centre15 | Mode::BrisDeGlace)
        | (Column::Treating526 | Column::Treating606, Mode::Centre15)
        | (Column::Cpe526 | Column::Staff606, Mode::Centre15 | Mode::BrisDeGlace)
        | (Column::Indirect526, Mode::BrisDeGlace)
        | (Column::Nothing, _) => N,
    }
}

/// The cell that counts: the printed one, but for the parameter `occupational-doctor-reads`.
fn cell(parameters: &Parameters, situation: &Situation, relation: Relation, row: Row) -> Cell {
    let mode = situation.mode;
    let column = column(parameters, situation.actor, relation, mode);
    let reading = matches!(
        row,
        Row::ReadNotMasked
            | Row::ReadMasked
            | Row::ReadHidden
            | Row::ReadArchived
            | Row::ReadSuperseded
            | Row::ReadDeleted
    );
    if parameters.occupational_doctor_reads
        && reading
        && matches!((column, mode), (Column::Occupational526, Mode::Normal))
    {
        return printed(Column::Doctor526, Mode::Normal, row);
    }
    printed(column, mode, row)
}

fn is_no(cell: Cell) -> bool {
    matches!(cell, N)
}

// ---------------------------------------------------------------------------------------------------------------------
// Section 2: the record
// ---------------------------------------------------------------------------------------------------------------------

/// The row of the sheets that a record action asks; closing has none.
fn row_of_record_action(parameters: &Parameters, situation: &Situation, action: RecordAction) -> Option<Row> {
    Some(match action {
        RecordAction::OpenSession => Row::Authenticate,
        RecordAction::TestExistence => Row::TestExistence,
        RecordAction::Declare => Row::Declare,
        RecordAction::RemoveOwn => Row::RemoveOwn,
        RecordAction::GiveUpMedecinTraitant => Row::GiveUpMedecinTraitant,
        RecordAction::ListOwnRecords => Row::ListOwnRecords,
        RecordAction::FindWithoutIns => Row::FindWithoutIns,
        RecordAction::ReadAdministrative => Row::ReadAdministrative,
        RecordAction::ListProfessionals => Row::ListProfessionals,
        RecordAction::Close => return None,
        RecordAction::FeedNew | RecordAction::FeedReplacement => {
            if matches!(actor(parameters, situation.actor), ActorKind::Staff) {
                Row::FeedByCpe
            } else {
                Row::Feed
            }
        }
        RecordAction::Search => Row::SearchMetadata,
        RecordAction::LookUp => Row::LookUpReference,
    })
}

/// Closing: professionals, doctors and treating doctors of sheet 526, in mode normal.
/// Strict: « not the occupational one » is said of the person, so also when he is médecin traitant.
fn may_close(parameters: &Parameters, situation: &Situation) -> bool {
    if matches!(situation.actor, ActorKind::OccupationalDoctor) || !matches!(situation.mode, Mode::Normal) {
        return false;
    }
    matches!(
        column(parameters, situation.actor, situation.relation, situation.mode),
        Column::Professional526 | Column::Doctor526 | Column::Treating526
    )
}

/// The holder's will.
fn holders_will(parameters: &Parameters, situation: &Situation) -> Verdict {
    match situation.mode {
        Mode::BrisDeGlace if situation.opposed_to_bris_de_glace => Verdict::No(Why::NoAuthorisation),
        Mode::Centre15 if situation.opposed_to_centre_15 => Verdict::No(Why::NoAuthorisation),
        Mode::BrisDeGlace | Mode::Centre15 => Verdict::Yes,
        Mode::Normal => {
            if is_treating(column(parameters, situation.actor, situation.relation, situation.mode)) {
                return Verdict::Yes;
            }
            match situation.authorisation {
                Authorisation::Valid => Verdict::Yes,
                Authorisation::Expired => Verdict::No(Why::AuthorisationExpired),
                Authorisation::None => Verdict::No(Why::NoAuthorisation),
                Authorisation::Blocked => Verdict::No(Why::Blocked),
            }
        }
    }
}

/// The decision on a record.
pub fn on_record(parameters: &Parameters, situation: &Situation, action: RecordAction) -> Verdict {
    // Step 1, and the three actions that do not concern one record.
    match row_of_record_action(parameters, situation, action) {
        None => {
            if !may_close(parameters, situation) {
                return Verdict::No(Why::NoFunctionalRight);
            }
        }
        Some(row) => match action {
            RecordAction::OpenSession => {
                let open = !is_no(cell(parameters, situation, Relation::None, row))
                    || !is_no(cell(parameters, situation, Relation::MedecinTraitant, row));
                return if open { Verdict::Yes } else { Verdict::No(Why::NoFunctionalRight) };
            }
            RecordAction::ListOwnRecords | RecordAction::FindWithoutIns => {
                // Strict: no one record, so no relation to its patient either.
                return if is_no(cell(parameters, situation, Relation::None, row)) {
                    Verdict::No(Why::NoFunctionalRight)
                } else if situation.other_record {
                    Verdict::No(Why::OtherRecord)
                } else {
                    Verdict::Yes
                };
            }
            // (As the page says since the first writing: in the column without any relation.)
            RecordAction::TestExistence => {
                if is_no(cell(parameters, situation, Relation::None, row)) {
                    return Verdict::No(Why::NoFunctionalRight);
                }
            }
            _ => {
                if is_no(cell(parameters, situation, situation.relation, row)) {
                    return Verdict::No(Why::NoFunctionalRight);
                }
            }
        },
    }
    // Step 2.
    if situation.other_record {
        return Verdict::No(Why::OtherRecord);
    }
    if matches!(action, RecordAction::TestExistence) {
        return Verdict::Yes;
    }
    // Steps 3 to 5.
    if situation.closed {
        return Verdict::No(Why::RecordClosed);
    }
    if matches!(situation.authorisation, Authorisation::Blocked) {
        return Verdict::No(Why::Blocked);
    }
    if situation.secret && !situation.minor {
        return Verdict::No(Why::SecretForMinors);
    }
    // Step 6.
    match action {
        RecordAction::OpenSession
        | RecordAction::TestExistence
        | RecordAction::ListOwnRecords
        | RecordAction::FindWithoutIns
        | RecordAction::Declare
        | RecordAction::LookUp => Verdict::Yes,
        RecordAction::ReadAdministrative if parameters.administrative_without_authorisation => Verdict::Yes,
        RecordAction::ReadAdministrative => holders_will(parameters, situation),
        RecordAction::RemoveOwn => match situation.authorisation {
            Authorisation::Valid | Authorisation::Expired => Verdict::Yes,
            Authorisation::None | Authorisation::Blocked => Verdict::Hidden,
        },
        RecordAction::GiveUpMedecinTraitant => match situation.relation {
            Relation::MedecinTraitant => Verdict::Yes,
            Relation::None | Relation::EqualRights => Verdict::No(Why::NoFunctionalRight),
        },
        RecordAction::ListProfessionals | RecordAction::Search => holders_will(parameters, situation),
        RecordAction::Close => match holders_will(parameters, situation) {
            Verdict::Yes if situation.attached && !parameters.closing_attached => {
                Verdict::No(Why::AttachedToMonEspaceSante)
            }
            verdict => verdict,
        },
        RecordAction::FeedNew => {
            if situation.opposed_to_feeding {
                Verdict::No(Why::OpposedToFeeding)
            } else {
                Verdict::Yes
            }
        }
        RecordAction::FeedReplacement => {
            if situation.opposed_to_feeding && !parameters.replacing_after_opposition {
                Verdict::No(Why::OpposedToFeeding)
            } else {
                Verdict::Yes
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Section 3: the document
// ---------------------------------------------------------------------------------------------------------------------

/// Fed by the caller in person.
fn fed_in_person(document: &Document) -> bool {
    matches!(document.depositor, Depositor::Caller)
}

/// Fed by the structure or its staff, the caller among them.
fn fed_by_the_structure(document: &Document) -> bool {
    matches!(document.depositor, Depositor::Caller | Depositor::CallersStructure)
}

/// The document is one's own, as the caller's column has it.
fn is_own(parameters: &Parameters, situation: &Situation, document: &Document) -> bool {
    match actor(parameters, situation.actor) {
        ActorKind::Staff | ActorKind::Indirect | ActorKind::AirStaff | ActorKind::AirRoleProfessional => {
            fed_by_the_structure(document)
        }
        ActorKind::Support => false,
        ActorKind::Professional
        | ActorKind::Doctor
        | ActorKind::OccupationalDoctor
        | ActorKind::AirProfessional
        | ActorKind::AirDoctor
        | ActorKind::AirOccupationalDoctor => fed_in_person(document),
    }
}

/// « Seen ».
fn seen(parameters: &Parameters, situation: &Situation, document: &Document) -> bool {
    let says_yes = |row: Row| matches!(cell(parameters, situation, situation.relation, row), O);
    if !matches!(on_record(parameters, situation, RecordAction::Search), Verdict::Yes) {
        return false;
    }
    if !document.readable_type || !says_yes(Row::ReadNotMasked) {
        return false;
    }
    if document.masked {
        let own = is_own(parameters, situation, document);
        let open = match cell(parameters, situation, situation.relation, Row::ReadMasked) {
            O => true,
            O6 => own,
            O7 => own || situation.masked_open_in_emergencies,
            _ => false,
        };
        if !open {
            return false;
        }
    }
    if (document.invisible_to_patient || document.invisible_to_representatives) && !says_yes(Row::ReadHidden) {
        return false;
    }
    if document.archived && !says_yes(Row::ReadArchived) {
        return false;
    }
    match document.status {
        Status::Current => true,
        Status::Superseded => says_yes(Row::ReadSuperseded),
        Status::Deleted => parameters.reading_deleted && says_yes(Row::ReadDeleted),
    }
}

/// « Known ». Strict: « never a deleted one » also where `reading-deleted-documents` lets it be seen.
fn known(parameters: &Parameters, situation: &Situation, document: &Document) -> bool {
    if matches!(document.status, Status::Deleted) {
        return false;
    }
    if seen(parameters, situation, document) {
        return true;
    }
    if !matches!(on_record(parameters, situation, RecordAction::LookUp), Verdict::Yes) {
        return false;
    }
    match cell(parameters, situation, situation.relation, Row::LookUpReference) {
        O => fed_in_person(document),
        O5 => fed_by_the_structure(document),
        _ => false,
    }
}

/// Step 1: the cell is no without any relation, and no with whichever relation the patient could have given. (The page was
/// made clearer on this point after the first writing; this function is the one change that followed.)
fn no_whatever_the_relation(parameters: &Parameters, situation: &Situation, row: Row) -> bool {
    is_no(cell(parameters, situation, Relation::None, row))
        && is_no(cell(parameters, situation, Relation::MedecinTraitant, row))
        && is_no(cell(parameters, situation, Relation::EqualRights, row))
}

/// The decision on a document.
pub fn on_document(
    parameters: &Parameters,
    situation: &Situation,
    document: &Document,
    action: DocumentAction,
) -> Verdict {
    let row = match action {
        DocumentAction::Read => Row::ReadNotMasked,
        DocumentAction::Mask => Row::Mask,
        DocumentAction::Unmask => Row::Unmask,
        DocumentAction::MakeVisible => Row::MakeVisible,
        DocumentAction::Delete => Row::Delete,
        DocumentAction::Archive => Row::Archive,
        DocumentAction::Unarchive => Row::Unarchive,
        DocumentAction::Replace => return replace(parameters, situation, document),
    };
    // Step 1.
    if no_whatever_the_relation(parameters, situation, row) {
        return Verdict::No(Why::NoFunctionalRight);
    }
    if matches!(action, DocumentAction::Read) {
        return if seen(parameters, situation, document) { Verdict::Yes } else { Verdict::Hidden };
    }
    // Step 2.
    if !known(parameters, situation, document) {
        return Verdict::Hidden;
    }
    // Step 3.
    let right = cell(parameters, situation, situation.relation, row);
    if is_no(right) {
        return Verdict::No(Why::NoFunctionalRight);
    }
    // Step 4.
    let column = column(parameters, situation.actor, situation.relation, situation.mode);
    let archiving = matches!(action, DocumentAction::Archive | DocumentAction::Unarchive);
    let deleting = matches!(action, DocumentAction::Delete);
    let of_the_patient = matches!(document.depositor, Depositor::Patient);
    let author = if of_the_patient && (archiving || deleting) {
        is_treating(column)
    } else {
        match right {
            O8 => fed_in_person(document),
            O9 => fed_by_the_structure(document),
            _ => true,
        }
    };
    if !author {
        return Verdict::No(Why::NotTheAuthor);
    }
    // Step 5.
    if archiving
        && !parameters.archive_any
        && matches!(situation.mode, Mode::Normal)
        && matches!(column, Column::Doctor526 | Column::Doctor606)
        && !fed_in_person(document)
    {
        return Verdict::No(Why::NotTheAuthor);
    }
    // Steps 6 and 7.
    if !deleting {
        let will = holders_will(parameters, situation);
        if !matches!(will, Verdict::Yes) {
            return will;
        }
        if situation.opposed_to_feeding {
            return Verdict::No(Why::OpposedToFeeding);
        }
    }
    // Step 8.
    let broken = match action {
        DocumentAction::Mask => document.invisible_to_patient && !parameters.cumul,
        DocumentAction::MakeVisible => situation.secret && document.invisible_to_representatives,
        DocumentAction::Delete => matches!(document.status, Status::Superseded),
        DocumentAction::Read
        | DocumentAction::Unmask
        | DocumentAction::Archive
        | DocumentAction::Unarchive
        | DocumentAction::Replace => false,
    };
    if broken { Verdict::No(Why::RuleBroken) } else { Verdict::Yes }
}

/// « Replace ».
fn replace(parameters: &Parameters, situation: &Situation, document: &Document) -> Verdict {
    let feeding = on_record(parameters, situation, RecordAction::FeedReplacement);
    if !matches!(feeding, Verdict::Yes) {
        return feeding;
    }
    if matches!(document.status, Status::Deleted) || !is_own(parameters, situation, document) {
        return Verdict::Hidden;
    }
    if matches!(document.status, Status::Superseded) {
        return Verdict::No(Why::RuleBroken);
    }
    Verdict::Yes
}
