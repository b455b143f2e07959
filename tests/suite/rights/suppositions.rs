//! What is supposed before anything is known of a record, against what is decided on it: every actor, mode, relation, authorisation and
//! switch. A page is looked for by a supposition that holds, and used by the decision that agrees; these must be the same cases, or who
//! is refused would wait for a page.

use habilis::rights::{HabilitationMatrix, Parameters, RecordFacts, Supposition};

use super::reference::{ActorKind, Authorisation, Mode, Relation};
use super::{OPEN, Situation, cases, now, tables};

/// Towards each caller, every way in which a record may stand.
fn records() -> Vec<(Situation, RecordFacts)> {
    let mut all = Vec::new();
    for actor in ActorKind::ALL {
        for (mode, relation) in Mode::ALL.into_iter().flat_map(|mode| Relation::ALL.map(|one| (mode, one))) {
            for authorisation in Authorisation::ALL {
                for switches in 0_u32..128 {
                    let on = |bit: u32| switches & (1 << bit) != 0;
                    let situation = Situation {
                        actor,
                        mode,
                        relation,
                        authorisation,
                        closed: on(0),
                        opposed_to_bris_de_glace: on(1),
                        opposed_to_centre_15: on(2),
                        masked_open_in_emergencies: on(3),
                        other_record: on(4),
                        secret: on(5),
                        ..OPEN
                    };
                    all.push((situation, RecordFacts { all_masked: on(6), ..cases::record(&situation) }));
                }
            }
        }
    }
    all
}

/// How many records stand as supposed, which of them are decided otherwise, and how many callers are let in with a second visit, though
/// they may see something and the connection is not secret.
fn judge(
    parameters: Parameters,
    holds: impl Fn(&Supposition, &RecordFacts) -> bool,
) -> (u64, Vec<String>, u64) {
    let mut tables = tables(HabilitationMatrix::demonstration().unwrap());
    tables.parameters = parameters;
    let (mut as_supposed, mut otherwise, mut missed) = (0, Vec::new(), 0);
    for (situation, record) in records() {
        let caller = cases::caller(situation.actor, situation.mode, situation.secret);
        let suppositions = tables.suppose(&caller, now());
        let held: Vec<&Supposition> = suppositions.iter().filter(|one| holds(one, &record)).collect();
        let scope = tables.decide_scope(&caller, &record, now()).granted();
        let agrees = |one: &&Supposition| scope.as_ref().is_ok_and(|scope| scope.sight() == one.sight());
        as_supposed += u64::from(!held.is_empty());
        if held.len() > 1 || !held.iter().all(agrees) {
            otherwise.push(format!("{situation:?} {record:?}: supposed {held:?}, decided {scope:?}"));
        }
        let sees = scope.as_ref().is_ok_and(|scope| !scope.sight().readable().types.is_empty());
        missed += u64::from(sees && !situation.secret && held.is_empty());
    }
    (as_supposed, otherwise, missed)
}

#[test]
fn what_is_supposed_is_what_is_decided() {
    for occupational_doctor_reads in [false, true] {
        for role_professionals in [false, true] {
            for reading_deleted_documents in [false, true] {
                let parameters = Parameters {
                    occupational_doctor_reads,
                    role_professionals,
                    reading_deleted_documents,
                    ..Parameters::default()
                };
                let (as_supposed, otherwise, missed) = judge(parameters, Supposition::holds);
                assert!(otherwise.is_empty(), "{} differ: {}", otherwise.len(), otherwise[0]);
                assert!(as_supposed > 400, "only {as_supposed}");
                assert_eq!(missed, 0, "who is let in gets his page with the facts");
            }
        }
    }
}

/// Whether a supposition holds for a record, told of another.
type Loosened = fn(&Supposition, &RecordFacts) -> bool;

/// The control: each condition that is left out is found.
#[test]
fn a_condition_that_is_left_out_is_found() {
    use habilis::rights::{Authorisation, RecordState, Relation};
    let loosened: [(&str, Loosened); 8] = [
        ("closed", |one, record| one.holds(&RecordFacts { state: RecordState::Open, ..record.clone() })),
        ("all masked", |one, record| one.holds(&RecordFacts { all_masked: false, ..record.clone() })),
        ("session", |one, record| one.holds(&RecordFacts { outside_the_session: false, ..record.clone() })),
        ("bris de glace", |one, record| {
            one.holds(&RecordFacts { opposed_to_bris_de_glace: false, ..record.clone() })
        }),
        ("centre 15", |one, record| one.holds(&RecordFacts { opposed_to_centre_15: false, ..record.clone() })),
        ("opt-in", |one, record| {
            one.holds(&RecordFacts { masked_open_in_emergencies: false, ..record.clone() })
        }),
        ("relation", |one, record| one.holds(&RecordFacts { relation: Relation::None, ..record.clone() })),
        ("authorisation", |one, record| {
            one.holds(&RecordFacts { authorisation: Authorisation::Valid, ..record.clone() })
        }),
    ];
    for (name, holds) in loosened {
        let (_, otherwise, _) = judge(Parameters::default(), holds);
        assert!(!otherwise.is_empty(), "without the condition on {name} nothing differs");
    }
}
