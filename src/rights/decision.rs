//! What a decision is, the tables that decide, and the checks that every decision on a record begins with.
//!
//! `records` decides on records, `documents` on documents; `docs/rights.md` says both in words.

use anyhow::Result;
use jiff::Timestamp;

use super::facts::{Authorisation, Basis, RecordFacts, RecordState};
use super::functional::{Action, ActorCategory, Allowance, Cell, FunctionalRights};
use super::matrix::HabilitationMatrix;
use super::parameters::Parameters;
use crate::error::{Reason, Refusal};
use crate::identity::{AccessMode, Authentication, Caller};

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

impl<G> From<Result<G, Refusal>> for Decision<G> {
    fn from(result: Result<G, Refusal>) -> Self {
        result.map_or_else(Decision::Refuse, Decision::Permit)
    }
}

/// The refusal of an unknown identifier, the same for the hidden and the absent.
pub(super) fn unknown() -> Refusal {
    Refusal::new(Reason::NotFound, "no such resource")
}

/// The tables that decide, loaded at start.
#[derive(Debug)]
pub struct Tables {
    /// Sheets 526 and 606.
    pub functional: FunctionalRights,
    /// The habilitation matrix.
    pub matrix: HabilitationMatrix,
    /// The switches.
    pub parameters: Parameters,
}

impl Tables {
    /// The functional-rights sheets that come with the program, and a matrix.
    ///
    /// # Errors
    /// The sheets are malformed.
    pub fn new(matrix: HabilitationMatrix, parameters: Parameters) -> Result<Self> {
        Ok(Self { functional: FunctionalRights::built_in()?, matrix, parameters })
    }

    /// A caller towards a record.
    pub(super) fn towards<'a>(
        &'a self,
        caller: &'a Caller,
        record: &'a RecordFacts,
        now: Timestamp,
    ) -> Towards<'a> {
        let category = ActorCategory::of(caller, record.relation, &self.parameters);
        Towards { tables: self, caller, record, now, category }
    }

    /// The cell of a column; a `no`, or no column, is the refusal.
    pub(super) fn cell(
        &self,
        caller: &Caller,
        category: Option<ActorCategory>,
        action: Action,
    ) -> Result<&Cell, Refusal> {
        let Some(category) = category else {
            let rule = match caller.authentication {
                Authentication::IndirectReinforced => "PDT-INF-606: no column for this actor",
                _ => "PDT-INF-526: no row for a CPA",
            };
            let why = format!("a {caller} has no column in the functional-rights sheets");
            return Err(Refusal::new(Reason::NoFunctionalRight, why).by(rule));
        };
        let cell = self.functional.cell(action, category, caller.mode);
        if cell.allowance == Allowance::No {
            let why = format!("the sheet says no: {}", cell.rule);
            return Err(Refusal::new(Reason::NoFunctionalRight, why).by(cell.rule.clone()));
        }
        Ok(cell)
    }
}

/// A caller towards a record at an instant: the column, and what the record itself has to say first.
#[derive(Clone, Copy)]
pub(super) struct Towards<'a> {
    pub tables: &'a Tables,
    pub caller: &'a Caller,
    pub record: &'a RecordFacts,
    pub now: Timestamp,
    pub category: Option<ActorCategory>,
}

impl<'a> Towards<'a> {
    /// What the sheet says; a `no` is the refusal.
    pub fn cell(&self, action: Action) -> Result<&'a Cell, Refusal> {
        let tables: &'a Tables = self.tables;
        tables.cell(self.caller, self.category, action)
    }

    /// Whether this is the treating-doctor column.
    pub fn is_treating(&self) -> bool {
        self.category.is_some_and(ActorCategory::is_treating)
    }

    /// The record's own no: another one than the token's, closed, blocked, not for a secret connection. In this order.
    pub fn gates(&self) -> Result<(), Refusal> {
        if self.record.outside_the_session {
            return Err(other_record());
        }
        if self.record.state == RecordState::Closed {
            return Err(
                Refusal::new(Reason::RecordClosed, "the record is closed").by("R1111-40: closed record")
            );
        }
        if self.record.authorisation == Authorisation::Blocked {
            return Err(Refusal::new(Reason::Blocked, "the patient has blocked the professional")
                .by("blocked professional: neither reads nor feeds"));
        }
        let secret = self.caller.session.as_ref().is_some_and(|session| session.secret);
        if secret && !self.tables.parameters.is_minor(self.record.birth_date, self.now) {
            return Err(Refusal::new(
                Reason::SecretForMinors,
                "a secret connection is for the record of a minor",
            )
            .by("R1111-50: minors (parameter age-of-majority)"));
        }
        Ok(())
    }

    /// Whether the holder lets the caller see the record, in this mode: the rule that says so.
    pub fn will(&self) -> Result<&'static str, Refusal> {
        let opposed = |rule: &'static str| {
            Err(Refusal::new(Reason::NoAuthorisation, "the patient is opposed to access in this mode").by(rule))
        };
        let record = self.record;
        match self.caller.mode {
            AccessMode::BrisDeGlace if record.opposed_to_bris_de_glace => {
                opposed("L1111-17 I: opposition to bris de glace")
            }
            AccessMode::Centre15 if record.opposed_to_centre_15 => {
                opposed("L1111-17 I: opposition to Centre 15")
            }
            AccessMode::BrisDeGlace => Ok("L1111-17 I: bris de glace"),
            AccessMode::Centre15 => Ok("L1111-17 I: Centre 15"),
            AccessMode::Normal if self.is_treating() => Ok("R1111-54: médecin traitant or equal rights"),
            AccessMode::Normal => match record.authorisation {
                Authorisation::Valid => Ok(match record.basis {
                    Basis::Person => "R1111-46: authorisation in force",
                    Basis::Structure => "R1111-46: authorisation in force, given to the structure",
                    Basis::CareTeam => "R1111-46, L1110-12: authorisation in force, given to the care team",
                }),
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
}

pub(super) fn other_record() -> Refusal {
    Refusal::new(Reason::OtherRecord, "the access token opens another record than this one")
}
