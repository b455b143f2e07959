//! The decisions as a table that a lawyer can read: actor × record × action; and the comparison with a reference.

mod cases;
mod comparison;
mod reference;
mod rules;
mod suppositions;

use habilis::rights::{
    Decision, DocumentAction, DocumentFacts, FeedPurpose, HabilitationMatrix, ListOf, Parameters, Tables,
};

use self::reference::{ActorKind, Depositor, Document, Mode, RecordAction, Relation, Situation, Status};
use crate::support::assert_expected;

fn tables(matrix: HabilitationMatrix) -> Tables {
    Tables::new(matrix, Parameters::default()).unwrap()
}

fn now() -> jiff::Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn cell<G>(decision: Decision<G>) -> String {
    match decision {
        Decision::Permit(_) => "yes".into(),
        Decision::Hide { .. } => "hidden".into(),
        Decision::Refuse(refusal) => format!("{:?}", refusal.reason),
    }
}

const OPEN: Situation = Situation {
    actor: ActorKind::Doctor,
    mode: Mode::Normal,
    relation: Relation::None,
    authorisation: reference::Authorisation::None,
    closed: false,
    attached: false,
    opposed_to_feeding: false,
    opposed_to_bris_de_glace: false,
    opposed_to_centre_15: false,
    masked_open_in_emergencies: false,
    secret: false,
    minor: false,
    other_record: false,
};

const REPORT: Document = Document {
    status: Status::Current,
    masked: false,
    invisible_to_patient: false,
    invisible_to_representatives: false,
    archived: false,
    depositor: Depositor::Other,
    readable_type: true,
};

/// The states of a record towards a caller, each a column of the table.
fn states(mode: Mode) -> Vec<(&'static str, Situation)> {
    let valid = Situation { authorisation: reference::Authorisation::Valid, ..OPEN };
    let mut states = vec![
        ("none", OPEN),
        ("authorised", valid),
        ("expired", Situation { authorisation: reference::Authorisation::Expired, ..OPEN }),
        ("blocked", Situation { authorisation: reference::Authorisation::Blocked, ..OPEN }),
        ("méd. traitant", Situation { relation: Relation::MedecinTraitant, ..OPEN }),
        ("equal rights", Situation { relation: Relation::EqualRights, ..OPEN }),
        ("auth., opposed", Situation { opposed_to_feeding: true, ..valid }),
        ("auth., closed", Situation { closed: true, ..valid }),
    ];
    match mode {
        Mode::Normal => states.push(("auth., secret, minor", Situation { secret: true, minor: true, ..valid })),
        Mode::BrisDeGlace => {
            states.push(("refuses it", Situation { opposed_to_bris_de_glace: true, ..OPEN }));
            states.push(("masked open", Situation { masked_open_in_emergencies: true, ..OPEN }));
        }
        Mode::Centre15 => {
            states.push(("refuses it", Situation { opposed_to_centre_15: true, ..OPEN }));
            states.push(("masked open", Situation { masked_open_in_emergencies: true, ..OPEN }));
        }
    }
    states
}

/// The documents of the table: what is read of each, and what else is done to some.
fn documents() -> Vec<(&'static str, Document, bool)> {
    let masked = Document { masked: true, ..REPORT };
    vec![
        ("report", REPORT, true),
        ("own report", Document { depositor: Depositor::Caller, ..REPORT }, true),
        ("report of the structure", Document { depositor: Depositor::CallersStructure, ..REPORT }, true),
        ("document of the patient", Document { depositor: Depositor::Patient, ..REPORT }, true),
        ("masked report", masked, true),
        ("own masked report", Document { depositor: Depositor::Caller, ..masked }, true),
        ("report hidden from the patient", Document { invisible_to_patient: true, ..REPORT }, true),
        ("superseded report", Document { status: Status::Superseded, ..REPORT }, false),
        (
            "own superseded report",
            Document { status: Status::Superseded, depositor: Depositor::Caller, ..REPORT },
            true,
        ),
        ("archived report", Document { archived: true, ..REPORT }, false),
        ("deleted report", Document { status: Status::Deleted, ..REPORT }, false),
        ("type that the matrix does not open", Document { readable_type: false, ..REPORT }, false),
    ]
}

fn record_cell(tables: &Tables, situation: &Situation, action: RecordAction) -> String {
    let caller = cases::caller(situation.actor, situation.mode, situation.secret);
    let record = cases::record(situation);
    match action {
        RecordAction::OpenSession => cell(tables.decide_opening(&caller)),
        RecordAction::TestExistence => cell(tables.decide_existence(&caller, None)),
        RecordAction::Declare => cell(tables.decide_declaration(&caller, &record, &[], now())),
        RecordAction::RemoveOwn => cell(tables.decide_revocation(&caller, &record, now())),
        RecordAction::GiveUpMedecinTraitant => cell(tables.decide_giving_up(&caller, &record, now())),
        RecordAction::ListOwnRecords => cell(tables.decide_own_records(&caller, ListOf::Caller, true)),
        RecordAction::FindWithoutIns => cell(tables.decide_identity_search(&caller)),
        RecordAction::ReadAdministrative => cell(tables.decide_administrative(&caller, &record, now())),
        RecordAction::ListProfessionals => cell(tables.decide_professionals(&caller, &record, now())),
        RecordAction::Close => cell(tables.decide_closure(&caller, &record, now())),
        RecordAction::FeedNew => cell(tables.decide_feed(&caller, &record, FeedPurpose::New, now())),
        RecordAction::FeedReplacement => {
            cell(tables.decide_feed(&caller, &record, FeedPurpose::Replacement, now()))
        }
        RecordAction::Search => cell(tables.decide_scope(&caller, &record, now())),
        RecordAction::LookUp => cell(tables.decide_references(&caller, &record, now())),
    }
}

fn read_cell(tables: &Tables, situation: &Situation, facts: &DocumentFacts) -> String {
    let caller = cases::caller(situation.actor, situation.mode, situation.secret);
    if let Err(refusal) = tables.decide_reading_at_all(&caller).granted() {
        return format!("{:?}", refusal.reason);
    }
    match tables.decide_scope(&caller, &cases::record(situation), now()).granted() {
        Ok(scope) => cell(scope.admit(facts)),
        Err(_) => "hidden".into(),
    }
}

fn update_cell(
    tables: &Tables,
    situation: &Situation,
    facts: &DocumentFacts,
    action: DocumentAction,
) -> String {
    let caller = cases::caller(situation.actor, situation.mode, situation.secret);
    match tables.decide_updating_at_all(&caller, &[action]) {
        Decision::Permit(()) => {
            cell(tables.decide_update(&caller, &cases::record(situation), facts, &[action], now()))
        }
        other => cell(other),
    }
}

/// One row of the table; where every column says the same, it is said once.
fn row(label: &str, cells: &[String]) -> String {
    let first = &cells[0];
    let cells = match cells.iter().all(|cell| cell == first) {
        true => vec![format!("{first} (all)")],
        false => cells.to_vec(),
    };
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:<22}")).collect();
    format!("  {label:<46}{}", cells.concat()).trim_end().to_owned() + "\n"
}

#[test]
fn the_table_of_rights() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let actors = [
        (ActorKind::Professional, "nurse (CPS): professional, not a doctor"),
        (ActorKind::Doctor, "doctor (CPS)"),
        (ActorKind::OccupationalDoctor, "occupational doctor (CPS)"),
        (ActorKind::Staff, "staff (CPE)"),
        (ActorKind::Support, "authorised staff (CPA)"),
        (ActorKind::Indirect, "INDIRECTE: whoever an establishment names without proof"),
        (ActorKind::AirProfessional, "nurse named with proof (AIR)"),
        (ActorKind::AirDoctor, "doctor named with proof (AIR)"),
        (ActorKind::AirOccupationalDoctor, "occupational doctor named with proof (AIR)"),
        (ActorKind::AirStaff, "staff named with proof (AIR)"),
    ];
    let record_actions = [
        (RecordAction::TestExistence, "TD0.2 test existence"),
        (RecordAction::Declare, "TD0.3 declare oneself authorised"),
        (RecordAction::RemoveOwn, "TD0.3 remove one's authorisation"),
        (RecordAction::GiveUpMedecinTraitant, "TD0.3 give up being médecin traitant"),
        (RecordAction::ListOwnRecords, "TD0.4 list one's records"),
        (RecordAction::FindWithoutIns, "TD0.5 find a patient without INS"),
        (RecordAction::ReadAdministrative, "TD1.3a read administrative data"),
        (RecordAction::Close, "TD1.4 close the record"),
        (RecordAction::ListProfessionals, "TD1.6 list professionals"),
        (RecordAction::FeedNew, "TD2.1, TD2.2 feed"),
        (RecordAction::FeedReplacement, "TD2.1, TD2.2 replace"),
        (RecordAction::Search, "TD3.1 search"),
        (RecordAction::LookUp, "TD3.1b look up one's own"),
    ];
    let changes = [
        (DocumentAction::Mask, "mask"),
        (DocumentAction::Unmask, "unmask"),
        (DocumentAction::ShowToPatient, "show to the patient"),
        (DocumentAction::HideFromPatient, "hide again"),
        (DocumentAction::Delete, "delete"),
        (DocumentAction::Archive, "archive"),
    ];
    let mut table = String::from(
        "# Who may do what, default parameters, demonstration matrix. One block an actor and mode, one column a state of the record\n\
         # towards him. yes; hidden: answered like something unknown; else the reason of the refusal. The words: docs/rights.md.\n\
         # Sources: sheets PDT-INF-526 and PDT-INF-606, L1111-17, R1111-46 to R1111-54.\n",
    );
    for (actor, label) in actors {
        for mode in Mode::ALL {
            let name = ["normal", "bris_de_glace", "centre_15"][mode as usize];
            let opening = record_cell(&tables, &Situation { actor, mode, ..OPEN }, RecordAction::OpenSession);
            table.push_str(&format!("\n{label}, mode {name}\n"));
            if opening != "yes" {
                table.push_str(&format!("  no session in this mode: {opening}\n"));
                continue;
            }
            let states: Vec<(&str, Situation)> = states(mode)
                .into_iter()
                .map(|(name, state)| (name, Situation { actor, mode, ..state }))
                .collect();
            let names: Vec<String> = states.iter().map(|(name, _)| (*name).to_owned()).collect();
            table.push_str(&row("", &names));
            for (action, label) in record_actions {
                let cells: Vec<String> =
                    states.iter().map(|(_, state)| record_cell(&tables, state, action)).collect();
                table.push_str(&row(label, &cells));
            }
            for (kind, document, changed) in documents() {
                let facts = cases::document(actor, &document);
                let cells: Vec<String> =
                    states.iter().map(|(_, state)| read_cell(&tables, state, &facts)).collect();
                table.push_str(&row(&format!("{kind}: read"), &cells));
                for (action, verb) in changes.iter().filter(|_| changed) {
                    let cells: Vec<String> =
                        states.iter().map(|(_, state)| update_cell(&tables, state, &facts, *action)).collect();
                    table.push_str(&row(&format!("{kind}: {verb}"), &cells));
                }
            }
        }
    }
    assert_expected("rights.txt", &table);
}
