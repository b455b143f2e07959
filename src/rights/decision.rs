//! The decisions. Order within each: the functional right, the record's state, the holder's will.

use anyhow::Result;
use jiff::Timestamp;

use super::facts::{Authorisation, DocumentFacts, DocumentStatus, RecordFacts, RecordState};
use super::functional::{Action, ActorCategory, Allowance, FunctionalRights};
use super::grant::{
    DeclarationGrant, ExistenceGrant, FeedGrant, MaskedDocuments, ReplaceGrant, Scope, SessionGrant,
};
use super::matrix::HabilitationMatrix;
use crate::error::{Reason, Refusal};
use crate::identity::identifiers::Ins;
use crate::identity::{AccessMode, Actor, Authentication, Caller};

/// The outcome of one decision, with the rule that made it.
#[derive(Debug)]
#[must_use]
pub enum Decision<G> {
    /// Granted.
    Permit(G),
    /// Not to be seen: answered like something unknown.
    Hide {
        /// The rule that decided; for the trace alone.
        rule: String,
    },
    /// Refused, and the caller is told why.
    Refuse(Refusal),
}

impl<G> Decision<G> {
    /// The grant, or the answer that the caller gets.
    ///
    /// # Errors
    /// The refusal; for [`Decision::Hide`] the one of an unknown identifier.
    pub fn granted(self) -> Result<G, Refusal> {
        match self {
            Decision::Permit(grant) => Ok(grant),
            Decision::Hide { rule } => Err(unknown().by(rule)),
            Decision::Refuse(refusal) => Err(refusal),
        }
    }

    /// As [`Decision::granted`], for something named by its identifier alone: there a refusal would tell that it
    /// exists, so it is hidden too, and the rule stays in the trace.
    ///
    /// # Errors
    /// The refusal of an unknown identifier.
    pub fn granted_or_unknown(self) -> Result<G, Refusal> {
        self.granted().map_err(|refusal| unknown().by(refusal.rule))
    }
}

/// The refusal of an unknown identifier, the same for the hidden and the absent.
fn unknown() -> Refusal {
    Refusal::new(Reason::NotFound, "no such resource")
}

/// The tables that decide, loaded at start.
#[derive(Debug)]
pub struct Tables {
    /// Sheet 526.
    pub functional: FunctionalRights,
    /// The habilitation matrix.
    pub matrix: HabilitationMatrix,
}

impl Tables {
    /// The functional-rights sheet that comes with the program, and a matrix.
    ///
    /// # Errors
    /// The sheet is malformed.
    pub fn new(matrix: HabilitationMatrix) -> Result<Self> {
        Ok(Self { functional: FunctionalRights::built_in()?, matrix })
    }

    /// TD0.1: may the caller open a session in its mode.
    pub fn decide_opening(&self, caller: &Caller) -> Decision<SessionGrant> {
        let right = |treating| self.functional_right(caller, treating, Action::Authenticate);
        match right(false).or_else(|refusal| right(true).map_err(|_| refusal)) {
            Ok((_, rule)) => Decision::Permit(SessionGrant { rule }),
            Err(refusal) => Decision::Refuse(refusal),
        }
    }

    /// TD0.2: may the caller test whether this patient has a record. A token that opens one record asks about that one.
    pub fn decide_existence(&self, caller: &Caller, asked: Option<&Ins>) -> Decision<ExistenceGrant> {
        match self.functional_right(caller, false, Action::TestExistence) {
            Ok((_, rule)) => {
                let session = caller.session.as_ref().and_then(|session| session.record.as_ref());
                match session {
                    Some(only) if asked != Some(only) => Decision::Refuse(other_record()),
                    _ => Decision::Permit(ExistenceGrant { rule }),
                }
            }
            Err(refusal) => Decision::Refuse(refusal),
        }
    }

    /// TD0.3, whatever the record.
    pub fn decide_declaring_at_all(&self, caller: &Caller) -> Decision<()> {
        self.at_all(caller, Action::DeclareAuthorisation)
    }

    /// TD2.1, TD2.2, whatever the record.
    pub fn decide_feeding_at_all(&self, caller: &Caller) -> Decision<()> {
        self.at_all(caller, feed_action(caller))
    }

    /// Whether the caller's column has a right at all, whatever the record: asked before anything is looked up, so that
    /// the refusal says nothing about what exists. A médecin traitant has another column, and which record it is about is
    /// not known yet.
    fn at_all(&self, caller: &Caller, action: Action) -> Decision<()> {
        let right = |treating| self.functional_right(caller, treating, action);
        match right(false).or_else(|refusal| right(true).map_err(|_| refusal)) {
            Ok(_) => Decision::Permit(()),
            Err(refusal) => Decision::Refuse(refusal),
        }
    }

    /// TD0.3: may the caller declare that the patient authorised it.
    pub fn decide_declaration(&self, caller: &Caller, record: &RecordFacts) -> Decision<DeclarationGrant> {
        self.declaration(caller, record).map_or_else(Decision::Refuse, Decision::Permit)
    }

    fn declaration(&self, caller: &Caller, record: &RecordFacts) -> Result<DeclarationGrant, Refusal> {
        let (allowance, rule) =
            self.functional_right(caller, record.is_medecin_traitant, Action::DeclareAuthorisation)?;
        must_be_of_the_session(record)?;
        must_be_open(record)?;
        must_not_be_blocked(record)?;
        // Note (1): the structure's, for who acts for it.
        let holder = match (allowance, &caller.structure) {
            (Allowance::StructureAuthorisation, Some(structure)) => structure.clone(),
            _ => caller.id().to_owned(),
        };
        Ok(DeclarationGrant { record_id: record.id.clone(), holder, rule })
    }

    /// TD2.1, TD2.2: may the caller feed the record. No authorisation is needed, only that the holder is not opposed
    /// (R1111-47) and has not blocked the professional.
    pub fn decide_feed(&self, caller: &Caller, record: &RecordFacts) -> Decision<FeedGrant> {
        self.feed(caller, record).map_or_else(Decision::Refuse, Decision::Permit)
    }

    fn feed(&self, caller: &Caller, record: &RecordFacts) -> Result<FeedGrant, Refusal> {
        let action = feed_action(caller);
        let (_, rule) = self.functional_right(caller, record.is_medecin_traitant, action)?;
        must_be_of_the_session(record)?;
        must_be_open(record)?;
        must_not_be_blocked(record)?;
        if record.opposed_to_feeding {
            return Err(Refusal::new(Reason::OpposedToFeeding, "the patient is opposed to feeding")
                .by("R1111-47: opposition to feeding"));
        }
        Ok(FeedGrant {
            record_id: record.id.clone(),
            // INDIRECTE: whom the establishment names is not proven; the deposit is its own (note 4).
            author_id: match (caller.authentication, &caller.structure) {
                (Authentication::Indirect, Some(structure)) => structure.clone(),
                _ => caller.id().to_owned(),
            },
            structure: caller.accountable_structure().map(str::to_owned),
            rule,
        })
    }

    /// EX_2.1-1140: only the author, or the structure to which the document is attributed, replaces it. A document that
    /// is not theirs is answered like an unknown one unless they may see it.
    pub fn decide_replacement(&self, feed: &FeedGrant, document: &DocumentFacts) -> Decision<ReplaceGrant> {
        let hide = |rule: &str| Decision::Hide { rule: rule.to_owned() };
        if document.record_id != feed.record_id || document.status == DocumentStatus::EnteredInError {
            return hide("EX_2.1-1140: not a document of this record");
        }
        let own = document.author_id == feed.author_id
            || (feed.structure.is_some() && document.author_structure == feed.structure);
        if !own {
            return hide("EX_2.1-1140: replaced by its author or the author's structure only");
        }
        if document.status == DocumentStatus::Superseded {
            return Decision::Refuse(
                Refusal::new(Reason::InvalidMetadata, "the document to be replaced has been replaced already")
                    .by("ITI-65: only a current document is replaced"),
            );
        }
        Decision::Permit(ReplaceGrant {
            record_id: feed.record_id.clone(),
            document_id: document.id.clone(),
            rule: "EX_2.1-1140: replaced by its author".into(),
        })
    }

    /// TD3.2, whatever the document.
    pub fn decide_reading_at_all(&self, caller: &Caller) -> Decision<()> {
        self.at_all(caller, Action::ReadNotMasked)
    }

    /// TD3.1, whatever the record.
    pub fn decide_searching_at_all(&self, caller: &Caller) -> Decision<()> {
        self.at_all(caller, Action::SearchMetadata)
    }

    /// TD3.1, TD3.2: which documents of the record the caller may see.
    pub fn decide_scope(&self, caller: &Caller, record: &RecordFacts, now: Timestamp) -> Decision<Scope> {
        self.scope(caller, record, now).map_or_else(Decision::Refuse, Decision::Permit)
    }

    fn scope(&self, caller: &Caller, record: &RecordFacts, now: Timestamp) -> Result<Scope, Refusal> {
        let treating = record.is_medecin_traitant;
        let (_, rule) = self.functional_right(caller, treating, Action::SearchMetadata)?;
        must_be_of_the_session(record)?;
        must_be_open(record)?;
        must_not_be_blocked(record)?;
        let standing = holders_will(caller, record)?;
        let allows =
            |action| matches!(self.functional_right(caller, treating, action), Ok((Allowance::Yes, _)));
        let masked = match self.functional_right(caller, treating, Action::ReadMasked) {
            Ok((Allowance::Yes, _)) => MaskedDocuments::All,
            Ok((Allowance::OwnDocuments, _)) => MaskedDocuments::Own,
            // The author keeps access to his own masked documents in an emergency too.
            Ok((Allowance::PatientOptIn, _)) if record.masked_open_in_emergencies => MaskedDocuments::All,
            Ok((Allowance::PatientOptIn, _)) => MaskedDocuments::Own,
            _ => MaskedDocuments::None,
        };
        let (readable, reading) = match self.functional_right(caller, treating, Action::ReadNotMasked) {
            Ok((Allowance::Yes, rule)) => (self.matrix.readable(caller, now), rule),
            // May list, may not read (occupational doctor): nothing is shown, the stricter reading.
            Ok((_, rule)) => (std::sync::Arc::new(super::matrix::ReadableTypes::none()), rule),
            Err(refusal) => {
                (std::sync::Arc::new(super::matrix::ReadableTypes::none()), refusal.rule.into_owned())
            }
        };
        let read_rule = format!("{reading}; {standing}; {}", readable.rule);
        let rule = format!("{rule}; {standing}; {}", readable.rule);
        Ok(Scope {
            record_id: record.id.clone(),
            caller_id: caller.id().to_owned(),
            readable,
            masked,
            hidden: allows(Action::ReadHidden),
            archived: allows(Action::ReadArchived),
            superseded: allows(Action::ReadSuperseded),
            rule,
            read_rule,
        })
    }

    /// What the sheet says; a `no` is the refusal.
    fn functional_right(
        &self,
        caller: &Caller,
        is_medecin_traitant: bool,
        action: Action,
    ) -> Result<(Allowance, String), Refusal> {
        let Some(category) = ActorCategory::of(caller, is_medecin_traitant) else {
            let rule = match caller.authentication {
                Authentication::IndirectReinforced => "PDT-INF-606: no column for this actor",
                _ => "PDT-INF-526: no row for a CPA",
            };
            let why = format!("a {caller} has no column in the functional-rights sheets");
            return Err(Refusal::new(Reason::NoFunctionalRight, why).by(rule));
        };
        let (allowance, rule) = self.functional.cell(action, category, caller.mode);
        if allowance == Allowance::No {
            return Err(Refusal::new(Reason::NoFunctionalRight, format!("the sheet says no: {rule}")).by(rule));
        }
        Ok((allowance, rule))
    }
}

fn feed_action(caller: &Caller) -> Action {
    match caller.actor {
        Actor::Staff { .. } => Action::FeedByStaff,
        _ => Action::Feed,
    }
}

fn other_record() -> Refusal {
    Refusal::new(Reason::OtherRecord, "the access token opens another record than this one")
}

fn must_be_of_the_session(record: &RecordFacts) -> Result<(), Refusal> {
    if record.outside_the_session { Err(other_record()) } else { Ok(()) }
}

fn must_be_open(record: &RecordFacts) -> Result<(), Refusal> {
    match record.state {
        RecordState::Open => Ok(()),
        RecordState::Closed => {
            Err(Refusal::new(Reason::RecordClosed, "the record is closed").by("R1111-40: closed record"))
        }
    }
}

fn must_not_be_blocked(record: &RecordFacts) -> Result<(), Refusal> {
    match record.authorisation {
        Authorisation::Blocked => {
            Err(Refusal::new(Reason::Blocked, "the patient has blocked the professional")
                .by("blocked professional: neither reads nor feeds"))
        }
        _ => Ok(()),
    }
}

/// Whether the holder lets the caller see the record, in this mode.
fn holders_will(caller: &Caller, record: &RecordFacts) -> Result<&'static str, Refusal> {
    let opposed = |rule: &'static str| {
        Err(Refusal::new(Reason::NoAuthorisation, "the patient is opposed to access in this mode").by(rule))
    };
    match caller.mode {
        AccessMode::BrisDeGlace if record.opposed_to_bris_de_glace => {
            opposed("L1111-17 I: opposition to bris de glace")
        }
        AccessMode::Centre15 if record.opposed_to_centre_15 => opposed("L1111-17 I: opposition to Centre 15"),
        AccessMode::BrisDeGlace => Ok("L1111-17 I: bris de glace"),
        AccessMode::Centre15 => Ok("L1111-17 I: Centre 15"),
        AccessMode::Normal if record.is_medecin_traitant => Ok("R1111-54: médecin traitant"),
        AccessMode::Normal => match record.authorisation {
            Authorisation::Valid => Ok("R1111-46: authorisation in force"),
            Authorisation::Expired => {
                Err(Refusal::new(Reason::AuthorisationExpired, "the authorisation is over")
                    .by("R1111-46: authorisation expired"))
            }
            Authorisation::None | Authorisation::Blocked => Err(Refusal::new(
                Reason::NoAuthorisation,
                "no authorisation was declared (TD0.3, POST /Consent)",
            )
            .by("R1111-46: no authorisation")),
        },
    }
}
