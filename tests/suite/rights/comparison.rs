//! The decisions, compared with the reference over the whole input space: every actor, mode, relation, authorisation, switch, state and
//! document that they tell apart, under the default parameters and with each parameter turned.

use habilis::error::{Reason, Refusal};
use habilis::identity::Caller;
use habilis::rights::{
    ArchivingByDoctors, Decision, DocumentAction, DocumentFacts, FeedGrant, FeedPurpose, HabilitationMatrix,
    ListOf, Parameters, RecordFacts, Scope, Tables,
};
use jiff::Timestamp;

use super::cases;
use super::reference::{
    self, ActorKind, Authorisation, Depositor, Document, Mode, RecordAction, Relation, Situation, Status,
    Verdict, Why,
};

/// Read for every column, so that the type is the one thing that decides about the type.
const MATRIX: &str = "# version: t\n# in-force: 2020-01-01\n# kind: known\nprofession\ttype\tconsultation\tprovenance\n10\t11488-4\tyes\ts\n10-travail\t11488-4\tyes\ts\n60\t11488-4\tyes\ts\nR85-313\t11488-4\tyes\ts\n";

fn why(reason: Reason) -> Verdict {
    Verdict::No(match reason {
        Reason::NotFound => return Verdict::Hidden,
        Reason::NoFunctionalRight => Why::NoFunctionalRight,
        Reason::OtherRecord => Why::OtherRecord,
        Reason::RecordClosed => Why::RecordClosed,
        Reason::Blocked => Why::Blocked,
        Reason::SecretForMinors => Why::SecretForMinors,
        Reason::NoAuthorisation => Why::NoAuthorisation,
        Reason::AuthorisationExpired => Why::AuthorisationExpired,
        Reason::OpposedToFeeding => Why::OpposedToFeeding,
        Reason::AttachedToMonEspaceSante => Why::AttachedToMonEspaceSante,
        Reason::NotTheAuthor => Why::NotTheAuthor,
        Reason::UpdateNotAllowed | Reason::InvalidMetadata => Why::RuleBroken,
        other => panic!("{other:?} is no answer of the rights layer"),
    })
}

fn verdict<G>(decision: Decision<G>) -> Verdict {
    match decision.granted() {
        Ok(_) => Verdict::Yes,
        Err(refusal) => why(refusal.reason),
    }
}

fn tables(parameters: Parameters) -> Tables {
    Tables::new(HabilitationMatrix::parse(&[MATRIX]).unwrap(), parameters).unwrap()
}

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

/// What our layer says of an action on a record.
fn on_record(tables: &Tables, situation: &Situation, action: RecordAction) -> Verdict {
    let mut caller = cases::caller(situation.actor, situation.mode, situation.secret);
    let record = cases::record(situation);
    let now = now();
    // Outside the session: for a list the session opens one record, whichever.
    if situation.other_record {
        let ins = habilis::identity::identifiers::Ins::new("urn:oid:1.2.250.1.213.1.4.10", "279035121518989");
        let secret = situation.secret;
        caller.session = Some(habilis::identity::Session { secret, ..cases::session(ins.ok()) });
    }
    match action {
        RecordAction::OpenSession => verdict(tables.decide_opening(&caller)),
        RecordAction::TestExistence => verdict(tables.decide_existence(&caller, None)),
        RecordAction::Declare => verdict(tables.decide_declaration(&caller, &record, &[], now)),
        RecordAction::RemoveOwn => verdict(tables.decide_revocation(&caller, &record, now)),
        RecordAction::GiveUpMedecinTraitant => verdict(tables.decide_giving_up(&caller, &record, now)),
        // Named, dated, of the same structure: what the notes ask for is given, so that the cell decides.
        RecordAction::ListOwnRecords => {
            let of = match situation.actor {
                ActorKind::Staff | ActorKind::AirStaff => {
                    ListOf::Other { id: "810100000024", same_structure: true }
                }
                ActorKind::AirRoleProfessional if !tables.parameters.role_professionals => {
                    ListOf::Other { id: "810100000024", same_structure: true }
                }
                _ => ListOf::Caller,
            };
            verdict(tables.decide_own_records(&caller, of, true))
        }
        RecordAction::FindWithoutIns => verdict(tables.decide_identity_search(&caller)),
        RecordAction::ReadAdministrative => verdict(tables.decide_administrative(&caller, &record, now)),
        RecordAction::ListProfessionals => verdict(tables.decide_professionals(&caller, &record, now)),
        RecordAction::Close => verdict(tables.decide_closure(&caller, &record, now)),
        RecordAction::FeedNew => verdict(tables.decide_feed(&caller, &record, FeedPurpose::New, now)),
        RecordAction::FeedReplacement => {
            verdict(tables.decide_feed(&caller, &record, FeedPurpose::Replacement, now))
        }
        RecordAction::Search => verdict(tables.decide_scope(&caller, &record, now)),
        RecordAction::LookUp => verdict(tables.decide_references(&caller, &record, now)),
    }
}

/// Who asks about documents of which record, and what was said of the search and of a feed: the same for all documents.
struct Asked<'a> {
    tables: &'a Tables,
    caller: &'a Caller,
    record: &'a RecordFacts,
    scope: &'a Result<Scope, Refusal>,
    feed: &'a Result<FeedGrant, Refusal>,
    now: Timestamp,
}

/// What our layer says of an action on a document.
fn on_document(
    asked: &Asked<'_>,
    facts: &DocumentFacts,
    document: &Document,
    action: reference::DocumentAction,
) -> Verdict {
    let Asked { tables, caller, record, scope, feed, now } = *asked;
    let actions: &[DocumentAction] = match action {
        reference::DocumentAction::Read => {
            if let Err(refusal) = tables.decide_reading_at_all(caller).granted() {
                return why(refusal.reason);
            }
            return match scope {
                Ok(scope) => verdict(scope.admit(facts)),
                Err(_) => Verdict::Hidden,
            };
        }
        reference::DocumentAction::Replace => {
            return match feed {
                Ok(grant) => {
                    verdict(tables.decide_replacement(caller, record, grant, facts, facts.labels, now))
                }
                Err(refusal) => why(refusal.reason),
            };
        }
        reference::DocumentAction::Mask => &[DocumentAction::Mask],
        reference::DocumentAction::Unmask => &[DocumentAction::Unmask],
        reference::DocumentAction::MakeVisible if document.invisible_to_representatives => {
            &[DocumentAction::ShowToPatient, DocumentAction::ShowToRepresentatives]
        }
        reference::DocumentAction::MakeVisible => &[DocumentAction::ShowToPatient],
        reference::DocumentAction::Delete => &[DocumentAction::Delete],
        reference::DocumentAction::Archive => &[DocumentAction::Archive],
        reference::DocumentAction::Unarchive => &[DocumentAction::Unarchive],
    };
    if let Err(refusal) = tables.decide_updating_at_all(caller, actions).granted() {
        return why(refusal.reason);
    }
    verdict(tables.decide_update(caller, record, facts, actions, now))
}

/// Every situation: eleven actors, three modes, three relations, four authorisations, and eight switches, of which the two that
/// concern other records and Mon espace santé come without the others.
fn situations() -> Vec<Situation> {
    let mut all = Vec::new();
    for actor in ActorKind::ALL {
        for mode in Mode::ALL {
            for relation in Relation::ALL {
                for authorisation in Authorisation::ALL {
                    for switches in 0_u32..64 {
                        let on = |bit: u32| switches & (1 << bit) != 0;
                        all.push(Situation {
                            actor,
                            mode,
                            relation,
                            authorisation,
                            closed: on(0),
                            opposed_to_feeding: on(1),
                            opposed_to_bris_de_glace: on(2),
                            opposed_to_centre_15: on(3),
                            masked_open_in_emergencies: on(4),
                            secret: on(5),
                            attached: true,
                            minor: false,
                            other_record: false,
                        });
                    }
                }
            }
        }
    }
    let more: Vec<Situation> = all
        .iter()
        .flat_map(|situation| {
            let plain = !(situation.opposed_to_feeding || situation.masked_open_in_emergencies);
            [
                Situation { minor: true, ..*situation },
                Situation { attached: false, ..*situation },
                Situation { other_record: true, ..*situation },
            ]
            .into_iter()
            .filter(move |_| plain)
        })
        .collect();
    all.extend(more);
    all
}

fn documents() -> Vec<Document> {
    let mut all = Vec::new();
    for status in Status::ALL {
        for depositor in Depositor::ALL {
            for switches in 0_u32..32 {
                let on = |bit: u32| switches & (1 << bit) != 0;
                all.push(Document {
                    status,
                    depositor,
                    masked: on(0),
                    invisible_to_patient: on(1),
                    invisible_to_representatives: on(2),
                    archived: on(3),
                    readable_type: on(4),
                });
            }
        }
    }
    all
}

/// The two, on every record action of every situation, and on every document of those situations that let a document be known or
/// refuse it in their own way. Returns how many cases there were, and the first differences.
fn differences(ours: Parameters, theirs: reference::Parameters, thin: bool) -> (u64, Vec<String>) {
    let tables = tables(ours);
    let (mut situations, documents) = (situations(), documents());
    if thin {
        let mut place = 0;
        situations.retain(|one| {
            place += 1_u32;
            !(one.closed || one.secret || one.other_record) && place.is_multiple_of(3)
        });
    }
    let documents: Vec<Document> = match thin {
        // Turned parameters: without what no parameter concerns; the first run has it.
        true => {
            documents.into_iter().filter(|one| !one.archived && !one.invisible_to_representatives).collect()
        }
        false => documents,
    };
    let of_actor =
        |actor| documents.iter().map(|document| cases::document(actor, document)).collect::<Vec<_>>();
    let facts: Vec<Vec<DocumentFacts>> = ActorKind::ALL.into_iter().map(of_actor).collect();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (tables, documents, facts) = (&tables, &documents, &facts);
    let compare = |share: &[Situation]| {
        let (mut cases, mut found) = (0_u64, Vec::<String>::new());
        for situation in share {
            if found.len() >= 20 {
                break;
            }
            for action in RecordAction::ALL {
                let (one, other) =
                    (on_record(tables, situation, action), reference::on_record(&theirs, situation, action));
                cases += 1;
                if one != other {
                    found.push(format!("{situation:?} {action:?}: ours {one:?}, reference {other:?}"));
                }
            }
            if !situation.attached {
                // Closing alone asks for it.
                continue;
            }
            let caller = cases::caller(situation.actor, situation.mode, situation.secret);
            let (record, now) = (cases::record(situation), now());
            let scope = tables.decide_scope(&caller, &record, now).granted();
            let feed = tables.decide_feed(&caller, &record, FeedPurpose::Replacement, now).granted();
            let asked = Asked { tables, caller: &caller, record: &record, scope: &scope, feed: &feed, now };
            // What neither lets the caller see nor lets it have anything of its own is one answer for all documents: a sample.
            let closed = scope.is_err()
                && on_record(tables, situation, RecordAction::LookUp) != Verdict::Yes
                && on_record(tables, situation, RecordAction::FeedReplacement) != Verdict::Yes;
            let step = if closed { 37 } else { 1 };
            for (document, facts) in documents.iter().zip(&facts[situation.actor as usize]).step_by(step) {
                for action in reference::DocumentAction::ALL {
                    let one = on_document(&asked, facts, document, action);
                    let other = reference::on_document(&theirs, situation, document, action);
                    cases += 1;
                    if one != other {
                        found.push(format!(
                            "{situation:?} {document:?} {action:?}: ours {one:?}, reference {other:?}"
                        ));
                    }
                }
            }
        }
        (cases, found)
    };
    std::thread::scope(|scope| {
        let size = situations.len().div_ceil(threads);
        let handles: Vec<_> =
            situations.chunks(size).map(|share| scope.spawn(move || compare(share))).collect();
        let mut all = (0, Vec::new());
        for handle in handles {
            let (cases, found) = handle.join().unwrap();
            all.0 += cases;
            all.1.extend(found);
        }
        all
    })
}

fn assert_none((cases, found): (u64, Vec<String>), least: u64) {
    assert!(found.is_empty(), "{} of {cases} cases differ:\n{}", found.len(), found.join("\n"));
    assert!(cases >= least, "only {cases} cases");
}

#[test]
fn the_decisions_are_those_of_the_reference() {
    let found = differences(Parameters::default(), reference::Parameters::DEFAULT, false);
    eprintln!("{} cases", found.0);
    assert_none(found, 1_700_000);
}

#[test]
fn so_they_are_with_each_parameter_turned() {
    let (ours, theirs) = (Parameters::default(), reference::Parameters::DEFAULT);
    let turned = [
        (
            Parameters { archiving_by_doctors: ArchivingByDoctors::Sheet, ..ours },
            reference::Parameters { archive_any: true, ..theirs },
        ),
        (
            Parameters { replacing_after_opposition: false, ..ours },
            reference::Parameters { replacing_after_opposition: false, ..theirs },
        ),
        (
            Parameters { cumul_invisible_patient_masque_ps: true, ..ours },
            reference::Parameters { cumul: true, ..theirs },
        ),
        (
            Parameters { reading_deleted_documents: true, ..ours },
            reference::Parameters { reading_deleted: true, ..theirs },
        ),
        (
            Parameters { role_professionals: true, ..ours },
            reference::Parameters { role_professionals: true, ..theirs },
        ),
        (
            Parameters { occupational_doctor_reads: true, ..ours },
            reference::Parameters { occupational_doctor_reads: true, ..theirs },
        ),
        (
            Parameters { closing_attached_records: true, ..ours },
            reference::Parameters { closing_attached: true, ..theirs },
        ),
        (
            Parameters { administrative_data_without_authorisation: true, ..ours },
            reference::Parameters { administrative_without_authorisation: true, ..theirs },
        ),
    ];
    for (ours, theirs) in turned {
        let found = differences(ours, theirs, true);
        assert_none(found, 100_000);
    }
}

/// The control: a reference under other parameters is found to differ.
#[test]
fn a_difference_is_found() {
    let theirs = reference::Parameters { archive_any: true, ..reference::Parameters::DEFAULT };
    let (_, found) = differences(Parameters::default(), theirs, true);
    assert!(!found.is_empty());
}
