//! Decisions on a record (`docs/rights.md`, section 2), and those that concern no one record.
//!
//! Order within each: the cell, the record's own no, what the action wants besides.

use jiff::Timestamp;

use super::decision::{Decision, Tables, other_record, unknown};
use super::documents::{DocumentAction, one_way, update};
use super::facts::{Authorisation, DocumentFacts, DocumentStatus, Labels, RecordFacts, Relation};
use super::functional::{Action, ActorCategory, Allowance, is_occupational};
use super::grant::{
    AdministrativeGrant, ClosureGrant, DeclarationGrant, ExistenceGrant, FeedGrant, GiveUpGrant,
    IdentitySearchGrant, OwnRecordsGrant, PatientSideGrant, ProfessionalsGrant, ReplaceGrant, RevocationGrant,
    SessionGrant,
};
use crate::error::{Reason, Refusal};
use crate::identity::identifiers::Ins;
use crate::identity::patient_side::PatientSide;
use crate::identity::{AccessMode, Actor, Authentication, Caller};

/// What a feed is, as far as opposition goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FeedPurpose {
    /// Something new.
    New,
    /// Every document of it replaces another.
    Replacement,
}

/// Whose records are asked for in TD0.4.
#[derive(Clone, Copy, Debug)]
pub enum ListOf<'a> {
    /// The caller's.
    Caller,
    /// Those of somebody else, by PS_IdNat or Struct_IdNat.
    Other {
        /// Who.
        id: &'a str,
        /// The directory knows him in the caller's structure.
        same_structure: bool,
    },
}

impl Tables {
    /// TD0.1: may the caller open a session in its mode.
    pub fn decide_opening(&self, caller: &Caller) -> Decision<SessionGrant> {
        self.at_all_cell(caller, Action::Authenticate).map(|rule| SessionGrant { rule }).into()
    }

    /// TD0.2: may the caller test whether this patient has a record. A token that opens one record asks about that one.
    pub fn decide_existence(&self, caller: &Caller, asked: Option<&Ins>) -> Decision<ExistenceGrant> {
        let decide = || {
            let rule = self.own_cell(caller, Action::TestExistence)?;
            match caller.session.as_ref().and_then(|session| session.record.as_ref()) {
                Some(only) if asked != Some(only) => Err(other_record()),
                _ => Ok(ExistenceGrant { rule }),
            }
        };
        decide().into()
    }

    /// TD0.3, whatever the record.
    pub fn decide_declaring_at_all(&self, caller: &Caller) -> Decision<()> {
        self.at_all(caller, Action::DeclareAuthorisation)
    }

    /// TD0.3, removing an authorisation or giving up a status, whatever the record.
    pub fn decide_revoking_at_all(&self, caller: &Caller) -> Decision<()> {
        match self.at_all(caller, Action::RemoveAuthorisation) {
            Decision::Permit(()) => Decision::Permit(()),
            _ => self.at_all(caller, Action::GiveUpMedecinTraitant),
        }
    }

    /// TD2.1, TD2.2, whatever the record.
    pub fn decide_feeding_at_all(&self, caller: &Caller) -> Decision<()> {
        self.at_all(caller, feed_action(caller))
    }

    /// TD3.1, whatever the record: listing, or looking up one reference.
    pub fn decide_searching_at_all(&self, caller: &Caller, one_reference: bool) -> Decision<()> {
        match self.at_all(caller, Action::SearchMetadata) {
            Decision::Refuse(_) if one_reference => self.at_all(caller, Action::LookUpReference),
            decision => decision,
        }
    }

    /// TD3.2, whatever the document.
    pub fn decide_reading_at_all(&self, caller: &Caller) -> Decision<()> {
        let occupational = self.parameters.occupational_doctor_reads
            && ActorCategory::of(caller, Relation::None, &self.parameters)
                == Some(ActorCategory::OccupationalDoctor)
            && caller.mode == AccessMode::Normal;
        if occupational { Decision::Permit(()) } else { self.at_all(caller, Action::ReadNotMasked) }
    }

    /// TD1.3a, whatever the record.
    pub fn decide_administrative_at_all(&self, caller: &Caller) -> Decision<()> {
        self.at_all(caller, Action::ReadAdministrative)
    }

    /// TD1.6, whatever the record.
    pub fn decide_professionals_at_all(&self, caller: &Caller) -> Decision<()> {
        self.at_all(caller, Action::ListProfessionals)
    }

    /// TD1.4, whatever the record.
    pub fn decide_closing_at_all(&self, caller: &Caller) -> Decision<()> {
        let may = |relation| may_close(caller, ActorCategory::of(caller, relation, &self.parameters));
        may(Relation::None).or_else(|_| may(Relation::MedecinTraitant)).into()
    }

    /// Whether the caller's column has a right at all, whatever the record: asked before anything is looked up, so that
    /// the refusal says nothing about what exists. A médecin traitant has another column, and which record it is about is
    /// not known yet.
    pub(super) fn at_all(&self, caller: &Caller, action: Action) -> Decision<()> {
        self.at_all_cell(caller, action).map(|_| ()).into()
    }

    fn at_all_cell(&self, caller: &Caller, action: Action) -> Result<String, Refusal> {
        let right = |relation| {
            let category = ActorCategory::of(caller, relation, &self.parameters);
            self.cell(caller, category, action).map(|cell| cell.rule.clone())
        };
        // Either relation may give the column of a médecin traitant: a doctor's, or that of equal rights.
        right(Relation::None).or_else(|refusal| right(Relation::EqualRights).map_err(|_| refusal))
    }

    fn own_cell(&self, caller: &Caller, action: Action) -> Result<String, Refusal> {
        let category = ActorCategory::of(caller, Relation::None, &self.parameters);
        Ok(self.cell(caller, category, action)?.rule.clone())
    }

    /// TD0.3: may the caller declare that the patient authorised it.
    ///
    /// `team`: the members of the care team that it declares with itself (R1111-46, L1110-12). Staff declare for their structure
    /// and for nobody else (note 1).
    pub fn decide_declaration(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        team: &[String],
        now: Timestamp,
    ) -> Decision<DeclarationGrant> {
        let towards = self.towards(caller, record, now);
        let decide = || {
            let cell = towards.cell(Action::DeclareAuthorisation)?;
            towards.gates()?;
            // Note (1): the structure's, for who acts for it.
            let holder = match (cell.allowance, &caller.structure) {
                (Allowance::StructureAuthorisation, Some(structure)) => structure.clone(),
                _ => caller.id().to_owned(),
            };
            if cell.allowance == Allowance::StructureAuthorisation && !team.is_empty() {
                let why = "staff declare the authorisation of their structure, not of a care team";
                return Err(Refusal::new(Reason::NoFunctionalRight, why).by(cell.rule.clone()));
            }
            let team: Vec<String> = team.iter().filter(|member| **member != holder).cloned().collect();
            let rule = match team.is_empty() {
                true => cell.rule.clone(),
                false => format!("{}; R1111-46, L1110-12: care team", cell.rule),
            };
            Ok(DeclarationGrant { record_id: record.id.clone(), holder, team, rule })
        };
        decide().into()
    }

    /// TD0.3: may the caller take its authorisation back. What it does not hold is not there.
    pub fn decide_revocation(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        now: Timestamp,
    ) -> Decision<RevocationGrant> {
        let towards = self.towards(caller, record, now);
        let decide = || {
            let cell = towards.cell(Action::RemoveAuthorisation)?;
            towards.gates()?;
            if record.authorisation == Authorisation::None {
                return Err(unknown().by("TD0.3: no authorisation to be removed"));
            }
            Ok(RevocationGrant {
                record_id: record.id.clone(),
                holders: holders(caller),
                rule: cell.rule.clone(),
            })
        };
        decide().into()
    }

    /// TD0.3: may the caller give up being médecin traitant. Rights equal to his are the patient's to take back.
    pub fn decide_giving_up(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        now: Timestamp,
    ) -> Decision<GiveUpGrant> {
        let towards = self.towards(caller, record, now);
        let decide = || {
            let cell = towards.cell(Action::GiveUpMedecinTraitant)?;
            towards.gates()?;
            if record.relation != Relation::MedecinTraitant {
                return Err(Refusal::new(Reason::NoFunctionalRight, "the caller is no médecin traitant")
                    .by("PDT-INF-526 TD0.3: the médecin traitant himself"));
            }
            Ok(GiveUpGrant {
                record_id: record.id.clone(),
                professional: caller.id().to_owned(),
                rule: cell.rule.clone(),
            })
        };
        decide().into()
    }

    /// TD0.4: may the caller list these records. `dated`: the list is limited to authorisations since a date.
    pub fn decide_own_records(
        &self,
        caller: &Caller,
        of: ListOf<'_>,
        dated: bool,
    ) -> Decision<OwnRecordsGrant> {
        let decide = || {
            let category = ActorCategory::of(caller, Relation::None, &self.parameters);
            let cell = self.cell(caller, category, Action::ListOwnRecords)?;
            must_open_no_record(caller)?;
            let refused =
                |why: &'static str| Err(Refusal::new(Reason::NoFunctionalRight, why).by(cell.rule.clone()));
            let own = holders(caller);
            let holders = match (cell.allowance, of) {
                (Allowance::Yes, ListOf::Caller) => own,
                (Allowance::Yes, ListOf::Other { id, .. }) if own.iter().any(|holder| holder == id) => {
                    vec![id.to_owned()]
                }
                (Allowance::SameStructureProfessionals, ListOf::Other { id, same_structure })
                    if same_structure || caller.structure.as_deref() == Some(id) =>
                {
                    vec![id.to_owned()]
                }
                (Allowance::SameStructureProfessionals, ListOf::Caller) => {
                    caller.structure.iter().cloned().collect()
                }
                (Allowance::NewAuthorisationsByDate, _) if !dated => {
                    return refused("note (3): the list is limited by date, name one");
                }
                (Allowance::NewAuthorisationsByDate, ListOf::Caller) => {
                    caller.structure.iter().cloned().collect()
                }
                (Allowance::NewAuthorisationsByDate, ListOf::Other { id, .. })
                    if caller.structure.as_deref() == Some(id) =>
                {
                    vec![id.to_owned()]
                }
                _ => return refused("the list is that of the caller, or of who the sheet's note names"),
            };
            let mut not_blocked = blockable(caller);
            not_blocked.extend(
                holders.iter().filter(|holder| !not_blocked.contains(holder)).cloned().collect::<Vec<_>>(),
            );
            // A list of somebody else's says nothing of what the patients made of him: his profession is not known here.
            let treating = match of {
                ListOf::Caller => self.relations_that_count(caller),
                ListOf::Other { .. } => Vec::new(),
            };
            Ok(OwnRecordsGrant { holders, not_blocked, treating, rule: cell.rule.clone() })
        };
        decide().into()
    }

    /// What a patient may make of this caller so that it counts: the relations that lead to the treating-doctor column.
    fn relations_that_count(&self, caller: &Caller) -> Vec<Relation> {
        let normal = Caller { mode: AccessMode::Normal, ..caller.clone() };
        let treats = |relation: &Relation| {
            ActorCategory::of(&normal, *relation, &self.parameters).is_some_and(ActorCategory::is_treating)
        };
        [Relation::MedecinTraitant, Relation::EqualRights].into_iter().filter(treats).collect()
    }

    /// TD0.2: the authorisation that is told of a record: a médecin traitant, or who has equal rights, needs no other.
    pub fn standing(&self, caller: &Caller, record: &RecordFacts) -> Authorisation {
        match record.authorisation {
            Authorisation::None | Authorisation::Expired
                if self.relations_that_count(caller).contains(&record.relation) =>
            {
                Authorisation::Valid
            }
            told => told,
        }
    }

    /// TD0.5: may the caller look for a patient without INS.
    pub fn decide_identity_search(&self, caller: &Caller) -> Decision<IdentitySearchGrant> {
        let decide = || {
            let rule = self.own_cell(caller, Action::FindWithoutIns)?;
            must_open_no_record(caller)?;
            let limit = self.parameters.search_limit_without_ins;
            Ok(IdentitySearchGrant { holders: blockable(caller), limit, rule })
        };
        decide().into()
    }

    /// TD1.3a: may the caller read who the patient is.
    pub fn decide_administrative(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        now: Timestamp,
    ) -> Decision<AdministrativeGrant> {
        let towards = self.towards(caller, record, now);
        let decide = || {
            let cell = towards.cell(Action::ReadAdministrative)?;
            towards.gates()?;
            let rule = match self.parameters.administrative_data_without_authorisation {
                true => cell.rule.clone(),
                false => format!("{}; {}", cell.rule, towards.will()?),
            };
            Ok(AdministrativeGrant { record_id: record.id.clone(), rule })
        };
        decide().into()
    }

    /// TD1.6: may the caller list who is authorised or blocked.
    pub fn decide_professionals(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        now: Timestamp,
    ) -> Decision<ProfessionalsGrant> {
        let towards = self.towards(caller, record, now);
        let decide = || {
            let cell = towards.cell(Action::ListProfessionals)?;
            towards.gates()?;
            let rule = format!("{}; {}", cell.rule, towards.will()?);
            Ok(ProfessionalsGrant { record_id: record.id.clone(), rule })
        };
        decide().into()
    }

    /// TD1.4: may the caller close the record at the patient's request. The sheets have no row: `docs/decisions/0018`.
    pub fn decide_closure(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        now: Timestamp,
    ) -> Decision<ClosureGrant> {
        let towards = self.towards(caller, record, now);
        let decide = || {
            may_close(caller, towards.category)?;
            towards.gates()?;
            let will = towards.will()?;
            if record.attached && !self.parameters.closing_attached_records {
                return Err(Refusal::new(
                    Reason::AttachedToMonEspaceSante,
                    "the record is attached to Mon espace santé: its holder closes it there",
                )
                .by("PDT-INF-526 note (10) (parameter closing-attached-records = false)"));
            }
            Ok(ClosureGrant { record_id: record.id.clone(), rule: format!("TD1.4; {will}") })
        };
        decide().into()
    }

    /// TD2.1, TD2.2: may the caller feed the record. No authorisation is needed, only that the holder is not opposed
    /// (R1111-47) and has not blocked the professional.
    pub fn decide_feed(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        purpose: FeedPurpose,
        now: Timestamp,
    ) -> Decision<FeedGrant> {
        let towards = self.towards(caller, record, now);
        let decide = || {
            let cell = towards.cell(feed_action(caller))?;
            towards.gates()?;
            let replaces = purpose == FeedPurpose::Replacement && self.parameters.replacing_after_opposition;
            if record.opposed_to_feeding && !replaces {
                return Err(opposed_to_feeding());
            }
            Ok(FeedGrant {
                record_id: record.id.clone(),
                // INDIRECTE: whom the establishment names is not proven; the deposit is its own (note 4).
                author_id: match (caller.authentication, &caller.structure) {
                    (Authentication::Indirect, Some(structure)) => structure.clone(),
                    _ => caller.id().to_owned(),
                },
                structure: caller.accountable_structure().map(str::to_owned),
                is_minor: self.parameters.is_minor(record.birth_date, now),
                rule: cell.rule.clone(),
            })
        };
        decide().into()
    }

    /// EX_2.1-1140: only the author, or the structure to which the document is attributed, replaces it. A document that
    /// is not theirs is answered like an unknown one unless they may see it.
    ///
    /// `labels`: those of the new version. What was visible is not hidden again, by this way either; and what is masked stays
    /// masked, whatever they say, unless the caller could unmask it (TD3.3a): the patient may have masked it. What is hidden from
    /// patient or representatives stays so for who has no cell of TD3.3b (`docs/decisions/0020`).
    pub fn decide_replacement(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        feed: &FeedGrant,
        document: &DocumentFacts,
        labels: Labels,
        now: Timestamp,
    ) -> Decision<ReplaceGrant> {
        let hide = |rule: &str| Decision::Hide { rule: rule.to_owned() };
        if document.record_id != feed.record_id || document.status == DocumentStatus::EnteredInError {
            return hide("EX_2.1-1140: not a document of this record");
        }
        let own = document.author_id == feed.author_id
            || (feed.structure.is_some() && document.author_structure == feed.structure);
        if !own || document.by_patient {
            return hide("EX_2.1-1140: replaced by its author or the author's structure only");
        }
        if document.status == DocumentStatus::Superseded {
            return Decision::Refuse(
                Refusal::new(Reason::InvalidMetadata, "the document to be replaced has been replaced already")
                    .by("ITI-65: only a current document is replaced"),
            );
        }
        let old = document.labels;
        let hides = (labels.invisible_to_patient && !old.invisible_to_patient)
            || (labels.invisible_to_representatives && !old.invisible_to_representatives);
        if hides && let Err(refusal) = one_way(&self.parameters) {
            return Decision::Refuse(refusal);
        }
        let towards = self.towards(caller, record, now);
        // What the caller could not take off the old version, the new one does not take off either.
        let unmasks = update(&towards, document, DocumentAction::Unmask).is_ok();
        let shows = towards.cell(Action::MakeVisible).is_ok();
        let may_go =
            Labels { masked: unmasks, invisible_to_patient: shows, invisible_to_representatives: shows };
        let keeps = old.without(labels).without(may_go);
        let new = labels.and(keeps);
        if keeps != Labels::default()
            && new.masked
            && new.invisible_to_patient
            && !self.parameters.cumul_invisible_patient_masque_ps
        {
            return Decision::Refuse(
                Refusal::new(Reason::UpdateNotAllowed, "MASQUE_PS and INVISIBLE_PATIENT exclude each other")
                    .by("EX_2.1-1050 (parameter cumul-invisible_patient-masque_ps = false)"),
            );
        }
        Decision::Permit(ReplaceGrant {
            record_id: feed.record_id.clone(),
            document_id: document.id.clone(),
            version: document.version,
            keeps,
            rule: match (keeps.masked, keeps.invisible_to_patient || keeps.invisible_to_representatives) {
                (false, false) => "EX_2.1-1140: replaced by its author".into(),
                (true, false) => "EX_2.1-1140: replaced by its author; R1111-49: stays masked".into(),
                (false, true) => "EX_2.1-1140: replaced by its author; TD3.3b: stays invisible".into(),
                (true, true) => {
                    "EX_2.1-1140: replaced by its author; R1111-49, TD3.3b: stays masked and invisible".into()
                }
            },
        })
    }

    /// The SI Mon espace santé, on behalf of the patient: the list of its certificates has decided.
    pub fn decide_patient_side(&self, _: &PatientSide) -> PatientSideGrant {
        PatientSideGrant { rule: "contract: SI Mon espace santé, listed certificate".into() }
    }
}

pub(super) fn opposed_to_feeding() -> Refusal {
    Refusal::new(Reason::OpposedToFeeding, "the patient is opposed to feeding")
        .by("R1111-47: opposition to feeding (replacing: parameter replacing-after-opposition)")
}

fn may_close(caller: &Caller, category: Option<ActorCategory>) -> Result<(), Refusal> {
    let may = matches!(
        category,
        Some(ActorCategory::Professional | ActorCategory::Doctor | ActorCategory::MedecinTraitant)
    ) && !is_occupational(caller);
    if may && caller.mode == AccessMode::Normal {
        return Ok(());
    }
    Err(Refusal::new(Reason::NoFunctionalRight, "a record is closed by a professional in mode normal")
        .by("contract: TD1.4, professionals in mode normal"))
}

/// A token that opens one record opens no list of records.
fn must_open_no_record(caller: &Caller) -> Result<(), Refusal> {
    match caller.session.as_ref().and_then(|session| session.record.as_ref()) {
        Some(_) => Err(other_record()),
        None => Ok(()),
    }
}

/// Who holds what the caller holds: itself, and the structure for which it acts.
fn holders(caller: &Caller) -> Vec<String> {
    std::iter::once(caller.id()).chain(caller.structure.as_deref()).map(str::to_owned).collect()
}

/// Whose blocking counts against the caller: those who hold for it, and the structures for which it might act.
fn blockable(caller: &Caller) -> Vec<String> {
    holders(caller).into_iter().chain(caller.might_act_for.iter().cloned()).collect()
}

fn feed_action(caller: &Caller) -> Action {
    match caller.actor {
        Actor::Staff { .. } => Action::FeedByStaff,
        _ => Action::Feed,
    }
}
