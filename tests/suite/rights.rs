//! The decisions as a table that a lawyer can read: actor × record × action.

use habilis::identity::{Actor, Authentication, Caller, CpaProfile, Profession};
use habilis::rights::{
    Authorisation, Decision, DocumentFacts, DocumentStatus, HabilitationMatrix, Labels, RecordFacts,
    RecordState, Tables,
};

use crate::support::assert_expected;

fn professional(profession: &str, speciality: &str) -> Actor {
    Actor::Professional {
        id: "810100000016".into(),
        profession: Profession::new(profession),
        specialities: vec![speciality.to_owned()],
        in_training: false,
    }
}

fn caller(actor: Actor) -> Caller {
    Caller::by_card(actor)
}

fn record() -> RecordFacts {
    RecordFacts {
        id: "record".into(),
        state: RecordState::Open,
        opposed_to_feeding: false,
        opposed_to_bris_de_glace: false,
        opposed_to_centre_15: false,
        masked_open_in_emergencies: false,
        authorisation: Authorisation::None,
        is_medecin_traitant: false,
        outside_the_session: false,
    }
}

fn cell<G>(decision: Decision<G>) -> String {
    match decision {
        Decision::Permit(_) => "yes".into(),
        Decision::Hide { .. } => "hidden".into(),
        Decision::Refuse(refusal) => format!("no: {:?}", refusal.reason),
    }
}

#[test]
fn the_table_of_rights() {
    let tables = Tables::new(HabilitationMatrix::demonstration().unwrap()).unwrap();
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let staff = Actor::Staff { id: "3750000101/CPE0001".into(), structure: "1750000101".into() };
    let actors = [
        ("doctor", caller(professional("10", "SM26"))),
        ("occupational doctor", caller(professional("10", "SM25"))),
        ("dentist", caller(professional("40", "X"))),
        ("nurse", caller(professional("60", "X"))),
        ("staff (CPE)", caller(staff)),
        (
            "authorised staff (CPA)",
            caller(Actor::AuthorisedStaff { id: "5x".into(), profile: CpaProfile::Support }),
        ),
    ];
    let named = |authentication, actor| Caller {
        authentication,
        structure: Some("1750000010".into()),
        ..caller(actor)
    };
    let clerk = Actor::NamedStaff { id: "1750000010/0042".into(), role: "SECRETARIAT_MEDICAL".into() };
    let reinforced = Authentication::IndirectReinforced;
    let actors: Vec<_> = actors
        .into_iter()
        .chain([
            ("INDIRECTE, a doctor named", named(Authentication::Indirect, professional("10", "SM26"))),
            ("INDIRECTE, staff named", named(Authentication::Indirect, clerk.clone())),
            ("AIR doctor", named(reinforced, professional("10", "SM26"))),
            ("AIR occupational doctor", named(reinforced, professional("10", "SM25"))),
            ("AIR nurse", named(reinforced, professional("60", "X"))),
            ("AIR staff", named(reinforced, clerk)),
        ])
        .collect();
    let states = [
        ("no authorisation", record()),
        ("authorised", RecordFacts { authorisation: Authorisation::Valid, ..record() }),
        ("expired", RecordFacts { authorisation: Authorisation::Expired, ..record() }),
        ("blocked", RecordFacts { authorisation: Authorisation::Blocked, ..record() }),
        ("médecin traitant", RecordFacts { is_medecin_traitant: true, ..record() }),
        (
            "blocked médecin traitant",
            RecordFacts { is_medecin_traitant: true, authorisation: Authorisation::Blocked, ..record() },
        ),
        (
            "authorised, opposed to feeding",
            RecordFacts { authorisation: Authorisation::Valid, opposed_to_feeding: true, ..record() },
        ),
        (
            "authorised, closed",
            RecordFacts { authorisation: Authorisation::Valid, state: RecordState::Closed, ..record() },
        ),
    ];
    let document = DocumentFacts {
        id: "document".into(),
        record_id: "record".into(),
        type_code: "11488-4".into(),
        status: DocumentStatus::Current,
        labels: Labels::default(),
        archived: false,
        author_id: "810100000099".into(),
        author_structure: None,
    };
    let masked = Labels { masked: true, ..Labels::default() };
    let documents = [
        ("report", document.clone()),
        ("telemedicine request", DocumentFacts { type_code: "75496-0".into(), ..document.clone() }),
        ("unknown type", DocumentFacts { type_code: "no such type".into(), ..document.clone() }),
        ("masked", DocumentFacts { labels: masked, ..document.clone() }),
        ("own masked", DocumentFacts { labels: masked, author_id: "810100000016".into(), ..document.clone() }),
        (
            "invisible to patient",
            DocumentFacts {
                labels: Labels { invisible_to_patient: true, ..Labels::default() },
                ..document.clone()
            },
        ),
        ("superseded", DocumentFacts { status: DocumentStatus::Superseded, ..document.clone() }),
        ("archived", DocumentFacts { archived: true, ..document.clone() }),
        ("deleted", DocumentFacts { status: DocumentStatus::EnteredInError, ..document.clone() }),
        ("of another record", DocumentFacts { record_id: "other".into(), ..document }),
    ];

    let mut table = String::from(
        "# Who may do what, in mode normal, with the demonstration matrix. Sheet 526, R1111-46, -47, -54.\n",
    );
    for (actor, caller) in &actors {
        table.push_str(&format!("\n{actor}\n"));
        table.push_str(&format!(
            "  {:<32} {}\n",
            "test existence (TD0.2)",
            cell(tables.decide_existence(caller, None))
        ));
        for (state, record) in &states {
            table.push_str(&format!("  {state}\n"));
            let mut line = |action: &str, cell: String| table.push_str(&format!("    {action:<30} {cell}\n"));
            line("declare authorisation (TD0.3)", cell(tables.decide_declaration(caller, record)));
            line("feed (TD2.1, TD2.2)", cell(tables.decide_feed(caller, record)));
            match tables.decide_scope(caller, record, now).granted() {
                Err(refusal) => line("find and read (TD3.1, TD3.2)", format!("no: {:?}", refusal.reason)),
                Ok(scope) => {
                    for (kind, document) in &documents {
                        line(&format!("read: {kind}"), cell(scope.admit(document)));
                    }
                }
            }
        }
    }
    assert_expected("rights.txt", &table);
}

/// A decision is about one record: the order of its checks never turns a no into a yes.
#[test]
fn a_grant_is_for_its_record_alone() {
    let tables = Tables::new(HabilitationMatrix::demonstration().unwrap()).unwrap();
    let doctor = caller(professional("10", "SM26"));
    let grant = tables.decide_feed(&doctor, &record()).granted().unwrap();
    let other = DocumentFacts {
        id: "d".into(),
        record_id: "another".into(),
        type_code: "11488-4".into(),
        status: DocumentStatus::Current,
        labels: Labels::default(),
        archived: false,
        author_id: "810100000016".into(),
        author_structure: None,
    };
    assert!(matches!(tables.decide_replacement(&grant, &other), Decision::Hide { .. }));
    let own = DocumentFacts { record_id: "record".into(), ..other.clone() };
    assert!(matches!(tables.decide_replacement(&grant, &own), Decision::Permit(_)), "control");
    let foreign = DocumentFacts { author_id: "810100000024".into(), ..own };
    assert!(matches!(tables.decide_replacement(&grant, &foreign), Decision::Hide { .. }));
}

/// The production matrix refuses what has no source, and no demonstration cell serves real records.
#[test]
fn production_refuses_the_unknown() {
    let tables = Tables::new(HabilitationMatrix::known().unwrap()).unwrap();
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let record = RecordFacts { authorisation: Authorisation::Valid, ..record() };
    let kine = caller(professional("70", "X"));
    let scope = tables.decide_scope(&kine, &record, now).granted().unwrap();
    assert!(!scope.readable().types.contains("34112-3"), "no source speaks of this cell");
    assert!(scope.readable().types.contains("15508-5"), "image of 2020: yes");
    let demonstration = Tables::new(HabilitationMatrix::demonstration().unwrap()).unwrap();
    let scope = demonstration.decide_scope(&kine, &record, now).granted().unwrap();
    assert!(scope.readable().types.contains("34112-3"), "control: the demonstration has it");
}
