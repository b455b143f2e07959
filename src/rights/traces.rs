//! Who may read which traces (L1111-19, R1111-43; PDT-INF-527): a professional his own, the médecin traitant all of the record.

use jiff::Timestamp;

use super::decision::{Decision, Tables};
use super::facts::RecordFacts;
use super::grant::{TracesGrant, TracesOf};
use crate::error::{Reason, Refusal};
use crate::identity::{AccessMode, Actor, Authentication, Caller};

/// The rule where one reads one's own.
const OWN: &str = "PDT-INF-527: a professional reads his own traces";

impl Tables {
    /// Whether the caller reads traces at all: a person who is named does, in the mode that is none of an emergency.
    pub fn decide_traces_at_all(&self, caller: &Caller) -> Decision<()> {
        readable_by(caller).into()
    }

    /// One's own, on whatever record.
    pub fn decide_own_traces(&self, caller: &Caller) -> Decision<TracesGrant> {
        let own = || TracesGrant {
            of: TracesOf::Caller(caller.id().to_owned()),
            record_id: None,
            rule: OWN.to_owned(),
        };
        readable_by(caller).map(|()| own()).into()
    }

    /// Those of a record: all of them for the médecin traitant and whom the patient gave equal rights, one's own for others. A record that is
    /// closed, or from which the caller is blocked, keeps what he did there: those stay his own.
    pub fn decide_traces(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        now: Timestamp,
    ) -> Decision<TracesGrant> {
        let decide = || {
            readable_by(caller)?;
            let towards = self.towards(caller, record, now);
            let record_id = Some(record.id.clone());
            if towards.is_treating() {
                towards.gates()?;
                let rule = format!("PDT-INF-527: the médecin traitant reads all; {}", towards.will()?);
                return Ok(TracesGrant { of: TracesOf::Everybody, record_id, rule });
            }
            if record.outside_the_session {
                towards.gates()?;
            }
            Ok(TracesGrant { of: TracesOf::Caller(caller.id().to_owned()), record_id, rule: OWN.to_owned() })
        };
        decide().into()
    }
}

fn readable_by(caller: &Caller) -> Result<(), Refusal> {
    let refused = |why: &'static str| Err(Refusal::new(Reason::NoFunctionalRight, why).by(OWN));
    // Whom an establishment names without proof, it could name at will.
    if caller.authentication == Authentication::Indirect {
        return refused("traces are not read by indirect authentication without proof");
    }
    match caller.actor {
        Actor::Professional { .. } | Actor::NamedStaff { .. } if caller.mode == AccessMode::Normal => Ok(()),
        Actor::Professional { .. } | Actor::NamedStaff { .. } => refused("traces are read in mode normal"),
        _ => refused("traces are read by a person who is named"),
    }
}
