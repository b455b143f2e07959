//! Decisions on one document (`docs/rights.md`, section 3): what is known of it, and what may be changed.

use jiff::Timestamp;

use super::decision::{Decision, Tables, Towards, unknown};
use super::facts::{DocumentFacts, DocumentStatus, RecordFacts};
use super::functional::{Action, ActorCategory, Allowance};
use super::grant::{Own, References, UpdateGrant};
use super::parameters::{ArchivingByDoctors, Parameters};
use super::records::opposed_to_feeding;
use super::scope::{Scope, scope};
use crate::error::{Reason, Refusal};
use crate::identity::{AccessMode, Caller};

/// A vaccination note, JDV_J66: `N` and nothing else (EX_2.1-2005).
pub const VACCINATION_NOTE: &str = "87273-9";
/// The history that the server makes of a record's vaccination notes, JDV_J66.
pub const VACCINATION_HISTORY: &str = "11369-6";

/// One change of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentAction {
    /// TD3.3a: `MASQUE_PS` comes.
    Mask,
    /// TD3.3a: `MASQUE_PS` goes.
    Unmask,
    /// TD3.3b: `INVISIBLE_PATIENT` goes.
    ShowToPatient,
    /// TD3.3b: `INVISIBLE_REPRESENTANTS_LEGAUX` goes.
    ShowToRepresentatives,
    /// `INVISIBLE_PATIENT` comes: what was visible would be hidden again.
    HideFromPatient,
    /// `INVISIBLE_REPRESENTANTS_LEGAUX` comes, likewise.
    HideFromRepresentatives,
    /// TD3.3c.
    Delete,
    /// TD3.3d.
    Archive,
    /// TD3.3d.
    Unarchive,
}

impl DocumentAction {
    /// Every change.
    pub const ALL: [DocumentAction; 9] = [
        DocumentAction::Mask,
        DocumentAction::Unmask,
        DocumentAction::ShowToPatient,
        DocumentAction::ShowToRepresentatives,
        DocumentAction::HideFromPatient,
        DocumentAction::HideFromRepresentatives,
        DocumentAction::Delete,
        DocumentAction::Archive,
        DocumentAction::Unarchive,
    ];

    const fn cell(self) -> Action {
        match self {
            DocumentAction::Mask => Action::Mask,
            DocumentAction::Unmask => Action::Unmask,
            DocumentAction::ShowToPatient
            | DocumentAction::ShowToRepresentatives
            | DocumentAction::HideFromPatient
            | DocumentAction::HideFromRepresentatives => Action::MakeVisible,
            DocumentAction::Delete => Action::Delete,
            DocumentAction::Archive => Action::Archive,
            DocumentAction::Unarchive => Action::Unarchive,
        }
    }

    /// What was visible would be hidden again.
    const fn hides(self) -> bool {
        matches!(self, DocumentAction::HideFromPatient | DocumentAction::HideFromRepresentatives)
    }

    /// Note (*): on a document of the patient, the médecin traitant alone.
    const fn concerns_patients_own(self) -> bool {
        matches!(self, DocumentAction::Delete | DocumentAction::Archive | DocumentAction::Unarchive)
    }
}

impl Tables {
    /// TD3.1b: may the caller look up the references of its own documents. No reading right is needed, nor given.
    pub fn decide_references(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        now: Timestamp,
    ) -> Decision<References> {
        references(&self.towards(caller, record, now)).into()
    }

    /// TD3.3, whatever the document.
    pub fn decide_updating_at_all(&self, caller: &Caller, actions: &[DocumentAction]) -> Decision<()> {
        for action in actions {
            if let Decision::Refuse(refusal) = self.at_all(caller, action.cell()) {
                return Decision::Refuse(refusal);
            }
        }
        Decision::Permit(())
    }

    /// TD3.3: may the caller do any one of this to a document that it knows of, as far as cell, author and the holder's will go:
    /// nothing of the document's state decides.
    pub fn decide_kind(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        document: &DocumentFacts,
        any: &[DocumentAction],
        now: Timestamp,
    ) -> Decision<()> {
        let towards = self.towards(caller, record, now);
        let mut refused = None;
        for action in any {
            match update(&towards, document, *action) {
                Ok(_) => return Decision::Permit(()),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        refused.map_or(Decision::Permit(()), Decision::Refuse)
    }

    /// TD3.3a to d: may the caller do all of this to a document. What it does not know of is hidden.
    pub fn decide_update(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        document: &DocumentFacts,
        actions: &[DocumentAction],
        now: Timestamp,
    ) -> Decision<UpdateGrant> {
        let towards = self.towards(caller, record, now);
        let scope = scope(&towards);
        let known = match Known::of(&towards, scope.as_ref().ok(), document) {
            Ok(known) => known,
            Err(rule) => return Decision::Hide { rule },
        };
        let mut rule = known.rule;
        for action in actions {
            let allowed = update(&towards, document, *action);
            match allowed
                .and_then(|cell| rules_of_the_state(&towards, document, *action, actions).map(|()| cell))
            {
                Ok(cell) => rule = format!("{cell}; {rule}"),
                Err(refusal) => return Decision::Refuse(refusal),
            }
        }
        Decision::Permit(UpdateGrant {
            record_id: record.id.clone(),
            document_id: document.id.clone(),
            version: document.version,
            actions: actions.to_vec(),
            rule,
        })
    }
}

/// A document that the caller sees, or that is its own.
struct Known {
    rule: String,
}

impl Known {
    /// # Errors
    /// Why it is not known, for the trace.
    fn of(towards: &Towards<'_>, scope: Option<&Scope>, document: &DocumentFacts) -> Result<Self, String> {
        if document.status == DocumentStatus::EnteredInError {
            return Err("deleted".into());
        }
        if let Some(scope) = scope
            && scope.outside(document).is_none()
        {
            return Ok(Self { rule: scope.rule().to_owned() });
        }
        match references(towards) {
            Ok(references) if document.record_id == towards.record.id && references.own().holds(document) => {
                Ok(Self { rule: format!("{}; own document", references.rule()) })
            }
            Ok(references) => Err(format!("neither seen nor one's own; {}", references.rule())),
            Err(refusal) => Err(refusal.rule.into_owned()),
        }
    }
}

pub(super) fn references(towards: &Towards<'_>) -> Result<References, Refusal> {
    let cell = towards.cell(Action::LookUpReference)?;
    towards.gates()?;
    let own = match (cell.allowance, &towards.caller.structure) {
        (Allowance::Yes, _) => Own::Person(towards.caller.id().to_owned()),
        (_, Some(structure)) => Own::Structure(structure.clone()),
        // Note (5) speaks of who acts for a structure: without one nothing is its own.
        (_, None) => return Err(unknown().by(cell.rule.clone())),
    };
    let one = cell.allowance == Allowance::ReferenceOnly;
    Ok(References { record_id: towards.record.id.clone(), own, one, rule: cell.rule.clone() })
}

/// One change of a document that is known, as far as cell, author and the holder's will go; the rule that lets it be.
pub(super) fn update<'a>(
    towards: &Towards<'a>,
    document: &DocumentFacts,
    action: DocumentAction,
) -> Result<&'a str, Refusal> {
    let cell = towards.cell(action.cell())?;
    if action.hides() {
        // Nobody's to do, whoever wrote it.
        one_way(&towards.tables.parameters)?;
    }
    must_be_the_author(towards, document, action, cell.allowance, &cell.rule)?;
    if action != DocumentAction::Delete {
        towards.will()?;
        if towards.record.opposed_to_feeding {
            return Err(opposed_to_feeding());
        }
    }
    Ok(&cell.rule)
}

/// EX_3.3-1040.
pub(super) fn one_way(parameters: &Parameters) -> Result<(), Refusal> {
    if !parameters.one_way_visibility {
        return Ok(());
    }
    Err(Refusal::new(Reason::UpdateNotAllowed, "what was visible is not hidden again")
        .by("EX_3.3-1040: making visible is irreversible (parameter one-way-visibility = true)"))
}

fn must_be_the_author(
    towards: &Towards<'_>,
    document: &DocumentFacts,
    action: DocumentAction,
    allowance: Allowance,
    rule: &str,
) -> Result<(), Refusal> {
    let refused = |why: &'static str| Err(Refusal::new(Reason::NotTheAuthor, why).by(rule.to_owned()));
    if document.by_patient && action.concerns_patients_own() {
        return match towards.is_treating() {
            true => Ok(()),
            false => refused(
                "note (*): a document of the patient is the médecin traitant's or the patient's to change",
            ),
        };
    }
    let caller = towards.caller;
    let own = |own: Own| own.holds(document);
    let by_doctors = matches!(towards.category, Some(ActorCategory::Doctor | ActorCategory::AirDoctor))
        && matches!(action, DocumentAction::Archive | DocumentAction::Unarchive)
        && caller.mode == AccessMode::Normal
        && towards.tables.parameters.archiving_by_doctors == ArchivingByDoctors::Own;
    let author = match (allowance, &caller.structure) {
        (Allowance::OwnDocuments, _) => own(Own::Person(caller.id().to_owned())),
        (Allowance::StructureDocuments, Some(structure)) => own(Own::Structure(structure.clone())),
        (Allowance::StructureDocuments, None) => false,
        _ if by_doctors || action.hides() => own(Own::Person(caller.id().to_owned())),
        _ => true,
    };
    if author {
        return Ok(());
    }
    let refusal = Refusal::new(Reason::NotTheAuthor, "only the author of the document may do this");
    Err(match by_doctors && allowance != Allowance::OwnDocuments {
        true => refusal.by(format!("{rule} (parameter archiving-by-doctors = own)")),
        false => refusal.by(rule.to_owned()),
    })
}

/// What the document will be, when all of these are done, must be something that may be fed.
fn rules_of_the_state(
    towards: &Towards<'_>,
    document: &DocumentFacts,
    action: DocumentAction,
    all: &[DocumentAction],
) -> Result<(), Refusal> {
    let parameters = &towards.tables.parameters;
    let broken =
        |why: &'static str, rule: &'static str| Err(Refusal::new(Reason::UpdateNotAllowed, why).by(rule));
    let labels = document.labels.after(all);
    match action {
        DocumentAction::Mask | DocumentAction::HideFromPatient
            if labels.masked
                && labels.invisible_to_patient
                && !parameters.cumul_invisible_patient_masque_ps =>
        {
            broken(
                "MASQUE_PS and INVISIBLE_PATIENT exclude each other",
                "EX_2.1-1050 (parameter cumul-invisible_patient-masque_ps = false)",
            )
        }
        DocumentAction::Mask | DocumentAction::HideFromPatient | DocumentAction::HideFromRepresentatives
            if document.type_code == VACCINATION_NOTE =>
        {
            broken("a vaccination note is N and nothing else", "EX_2.1-2005")
        }
        DocumentAction::HideFromRepresentatives
            if !parameters.is_minor(towards.record.birth_date, towards.now) =>
        {
            broken("INVISIBLE_REPRESENTANTS_LEGAUX is for the record of a minor", "R1111-50")
        }
        DocumentAction::ShowToRepresentatives
            if towards.caller.session.as_ref().is_some_and(|session| session.secret) =>
        {
            broken("in a secret connection nothing becomes visible to the representatives", "R1111-50")
        }
        DocumentAction::Delete if document.status == DocumentStatus::Superseded => {
            broken("an older version is deleted with the current one, not alone", "TD3.3c: the current version")
        }
        _ => Ok(()),
    }
}

/// R1111-53: an announcement is over one month after the deposit. Both in microseconds.
pub fn one_month_after(now: i64) -> i64 {
    let month = || {
        let deposit = Timestamp::from_microsecond(now).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
        Some(deposit.checked_add(jiff::Span::new().months(1)).ok()?.timestamp().as_microsecond())
    };
    month().unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_over_after_a_month() {
        let over = |deposit: &str| {
            let at: Timestamp = deposit.parse().unwrap();
            Timestamp::from_microsecond(one_month_after(at.as_microsecond())).unwrap().to_string()
        };
        assert_eq!(over("2026-01-15T10:30:00Z"), "2026-02-15T10:30:00Z");
        assert_eq!(over("2026-01-31T00:00:00Z"), "2026-02-28T00:00:00Z", "a shorter month");
        assert_eq!(one_month_after(i64::MAX), i64::MAX, "beyond all calendars");
    }
}
