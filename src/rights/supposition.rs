//! What a caller would see of a record if it stood towards it in each of the usual ways: said before anything is known of the record, so
//! that one visit to the database can bring what decides and, where that turns out as supposed, the page.
//!
//! It decides nothing. The decision is made on the facts as they are, and a page is used only where the decided [`Sight`] is the one
//! that it was made for; what is supposed wrongly costs a second visit.

use jiff::Timestamp;

use super::decision::Tables;
use super::facts::{Authorisation, RecordFacts, RecordState, Relation};
use super::scope::{Sight, seen};
use crate::identity::{AccessMode, Caller};

/// What of a record changes what is seen of it, for who is let in: what the patient made of the caller, and of masking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What the patient made of the caller.
    pub relation: Relation,
    /// The holder masked every document.
    pub all_masked: bool,
    /// The holder opted in to masked documents being read in emergencies.
    pub masked_open_in_emergencies: bool,
}

impl Standing {
    /// A number of its own for each.
    pub const fn code(self) -> i32 {
        let relation = match self.relation {
            Relation::None => 0,
            Relation::MedecinTraitant => 1,
            Relation::EqualRights => 2,
        };
        relation * 4 + 2 * self.all_masked as i32 + self.masked_open_in_emergencies as i32
    }

    /// That of a record.
    pub const fn of(record: &RecordFacts) -> Self {
        Self {
            relation: record.relation,
            all_masked: record.all_masked,
            masked_open_in_emergencies: record.masked_open_in_emergencies,
        }
    }

    /// With this relation, whatever was decided of masking.
    fn with(relation: Relation) -> [Self; 4] {
        [(false, false), (false, true), (true, false), (true, true)].map(
            |(all_masked, masked_open_in_emergencies)| Self {
                relation,
                all_masked,
                masked_open_in_emergencies,
            },
        )
    }
}

/// Ways in which a record may stand towards a caller, and what the caller sees of it then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supposition {
    mode: AccessMode,
    standings: Vec<Standing>,
    authorised: bool,
    sight: Sight,
}

impl Tables {
    /// The ways in which records stand towards a caller that is let in, by what is seen then; all of one set of types. None for a secret
    /// connection, where the patient's age decides, nor of what nothing would be seen of whatever there is.
    pub fn suppose(&self, caller: &Caller, now: Timestamp) -> Vec<Supposition> {
        let mut suppositions: Vec<Supposition> = Vec::new();
        if caller.session.as_ref().is_some_and(|session| session.secret) {
            return suppositions;
        }
        let seen = |standing, authorisation| {
            let record = standing_so(standing, authorisation);
            seen(&self.towards(caller, &record, now)).map(|seen| seen.sight).ok()
        };
        let relations = [Relation::None, Relation::MedecinTraitant, Relation::EqualRights].map(Standing::with);
        // What is decided of masking lets nobody in.
        let needs = |standings: &[Standing; 4]| seen(standings[0], Authorisation::None).is_none();
        let ways = relations.iter().map(|standings| (needs(standings), standings));
        for (authorised, standing) in ways.flat_map(|(needs, all)| all.iter().map(move |one| (needs, *one))) {
            let Some(sight) = seen(standing, Authorisation::Valid) else { continue };
            let other_types =
                suppositions.first().is_some_and(|first| first.sight.readable().id != sight.readable().id);
            if sight.readable().types.is_empty() || other_types {
                continue;
            }
            match suppositions.iter_mut().find(|one| one.authorised == authorised && one.sight == sight) {
                Some(one) => one.standings.push(standing),
                None => suppositions.push(Supposition {
                    mode: caller.mode,
                    standings: vec![standing],
                    authorised,
                    sight,
                }),
            }
        }
        suppositions
    }
}

impl Supposition {
    /// How the record stands: any one of these.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Whether it takes an authorisation in force.
    pub fn authorised(&self) -> bool {
        self.authorised
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
            AccessMode::BrisDeGlace => record.opposed_to_bris_de_glace,
            AccessMode::Centre15 => record.opposed_to_centre_15,
        };
        record.state == RecordState::Open
            && !record.outside_the_session
            && !opposed
            && self.standings.contains(&Standing::of(record))
            && match record.authorisation {
                Authorisation::Valid => true,
                Authorisation::None | Authorisation::Expired => !self.authorised,
                Authorisation::Blocked => false,
            }
    }
}

/// A record that stands so, and that nothing is out of the ordinary with besides.
fn standing_so(standing: Standing, authorisation: Authorisation) -> RecordFacts {
    RecordFacts {
        all_masked: standing.all_masked,
        masked_open_in_emergencies: standing.masked_open_in_emergencies,
        authorisation,
        relation: standing.relation,
        ..RecordFacts::usual()
    }
}
