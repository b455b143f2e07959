//! What a caller would see of a record if it stood towards it in the usual ways: said before anything is known of the record, so that
//! one visit to the database can bring what decides and, where that turns out as supposed, the page.
//!
//! It decides nothing. The decision is made on the facts as they are, and a page is used only where the decided [`Sight`] is the one
//! that it was made for; what is supposed wrongly costs a second visit.

use jiff::Timestamp;

use super::decision::Tables;
use super::facts::{Authorisation, Basis, RecordFacts, RecordState, Relation};
use super::scope::{Scope, Sight, scope};
use crate::identity::{AccessMode, Caller};

/// A way in which a record may stand towards a caller, and what the caller sees of it then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supposition {
    mode: AccessMode,
    relations: Vec<Relation>,
    authorised: bool,
    sight: Sight,
}

impl Tables {
    /// The usual ways: authorised, médecin traitant, of equal rights, each with nothing out of the ordinary. None for a secret
    /// connection, where the patient's age decides, and none in which the caller sees nothing.
    pub fn suppose(&self, caller: &Caller, now: Timestamp) -> Vec<Supposition> {
        if caller.session.as_ref().is_some_and(|session| session.secret) {
            return Vec::new();
        }
        let seen = |relation, authorisation| -> Option<Scope> {
            scope(&self.towards(caller, &usual(relation, authorisation), now)).ok()
        };
        let mut ways: Vec<Supposition> = Vec::new();
        for relation in [Relation::None, Relation::MedecinTraitant, Relation::EqualRights] {
            let unasked = seen(relation, Authorisation::None);
            let authorised = unasked.is_none();
            let Some(scope) = unasked.or_else(|| seen(relation, Authorisation::Valid)) else { continue };
            match ways.iter_mut().find(|way| way.authorised == authorised && way.sight == *scope.sight()) {
                Some(way) => way.relations.push(relation),
                None => ways.push(Supposition {
                    mode: caller.mode,
                    relations: vec![relation],
                    authorised,
                    sight: scope.sight().clone(),
                }),
            }
        }
        ways
    }
}

impl Supposition {
    /// What the patient made of the caller: any one of these.
    pub fn relations(&self) -> &[Relation] {
        &self.relations
    }

    /// Whether it takes an authorisation in force.
    pub fn authorised(&self) -> bool {
        self.authorised
    }

    /// In which mode.
    pub fn mode(&self) -> AccessMode {
        self.mode
    }

    /// What is seen then.
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// Whether a record stands so: what `store` asks in SQL. Whoever would be refused is never supposed to see: what is looked for in vain
    /// takes time, and would tell him of it.
    pub fn holds(&self, record: &RecordFacts) -> bool {
        let opposed = match self.mode {
            AccessMode::Normal => false,
            AccessMode::BrisDeGlace => record.opposed_to_bris_de_glace || record.masked_open_in_emergencies,
            AccessMode::Centre15 => record.opposed_to_centre_15 || record.masked_open_in_emergencies,
        };
        record.state == RecordState::Open
            && !record.outside_the_session
            && !record.all_masked
            && !opposed
            && self.relations.contains(&record.relation)
            && match record.authorisation {
                Authorisation::Valid => true,
                Authorisation::None | Authorisation::Expired => !self.authorised,
                Authorisation::Blocked => false,
            }
    }
}

/// A record that nothing is out of the ordinary with.
fn usual(relation: Relation, authorisation: Authorisation) -> RecordFacts {
    RecordFacts {
        id: String::new(),
        state: RecordState::Open,
        opposed_to_feeding: false,
        opposed_to_bris_de_glace: false,
        opposed_to_centre_15: false,
        all_masked: false,
        masked_open_in_emergencies: false,
        authorisation,
        basis: Basis::Person,
        relation,
        birth_date: None,
        attached: true,
        outside_the_session: false,
    }
}
