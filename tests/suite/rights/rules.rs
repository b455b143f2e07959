//! Rights that the table has no column for: grants, parameters, lists, labels as they will be, and the rules that are quoted.

use habilis::rights::{
    Authorisation, Decision, DocumentAction, DocumentFacts, DocumentStatus, FeedPurpose, HabilitationMatrix,
    Labels, ListOf, Parameters, RecordFacts, Tables,
};

use super::reference::{self, ActorKind, Depositor, Document, Mode, RecordAction, Relation, Situation, Status};
use super::{OPEN, REPORT, cases, cell, now, tables};

/// A decision is about one record: the order of its checks never turns a no into a yes.
#[test]
fn a_grant_is_for_its_record_alone() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let doctor = cases::caller(ActorKind::Doctor, Mode::Normal, false);
    let record = cases::record(&OPEN);
    let grant = tables.decide_feed(&doctor, &record, FeedPurpose::New, now()).granted().unwrap();
    let other = DocumentFacts {
        id: "d".into(),
        record_id: "another".into(),
        type_code: "11488-4".into(),
        status: DocumentStatus::Current,
        labels: Labels::default(),
        archived: false,
        author_id: "810100000016".into(),
        author_structure: None,
        by_patient: false,
        version: 1,
    };
    let replaced = |document: &DocumentFacts, labels| {
        tables.decide_replacement(&doctor, &record, &grant, document, labels, now())
    };
    assert!(matches!(replaced(&other, Labels::default()), Decision::Hide { .. }));
    let own = DocumentFacts { record_id: "record".into(), ..other.clone() };
    assert!(matches!(replaced(&own, Labels::default()), Decision::Permit(_)), "control");
    let foreign = DocumentFacts { author_id: "810100000024".into(), ..own };
    assert!(matches!(replaced(&foreign, Labels::default()), Decision::Hide { .. }));
}

/// What is masked stays masked, whatever the new version says, unless who replaces it could unmask it.
#[test]
fn a_replacement_keeps_the_mask() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let masked = Document { masked: true, depositor: Depositor::Caller, ..REPORT };
    let valid = Situation { authorisation: reference::Authorisation::Valid, ..OPEN };
    let keeps = |situation: Situation, labels: Labels| {
        let caller = cases::caller(situation.actor, situation.mode, situation.secret);
        let record = cases::record(&situation);
        let grant = tables.decide_feed(&caller, &record, FeedPurpose::Replacement, now()).granted().unwrap();
        let document = cases::document(situation.actor, &masked);
        let replaced = tables.decide_replacement(&caller, &record, &grant, &document, labels, now());
        replaced.granted().unwrap().keeps().masked
    };
    let none = Labels::default();
    assert!(!keeps(valid, none), "the author may unmask his own in mode normal");
    assert!(keeps(OPEN, none), "not without authorisation");
    assert!(keeps(Situation { mode: Mode::BrisDeGlace, ..OPEN }, none), "nor in an emergency");
    assert!(keeps(Situation { opposed_to_feeding: true, ..valid }, none), "nor once the patient is opposed");
    assert!(keeps(Situation { actor: ActorKind::Staff, ..valid }, none), "staff have no such cell");
    assert!(!keeps(OPEN, Labels { masked: true, ..none }), "said by the new version itself");
    // Masked by the patient, hidden from the patient: both at once are nobody's.
    let caller = cases::caller(ActorKind::Doctor, Mode::Normal, false);
    let record = cases::record(&OPEN);
    let grant = tables.decide_feed(&caller, &record, FeedPurpose::Replacement, now()).granted().unwrap();
    let both = Document { invisible_to_patient: true, ..masked };
    let document = cases::document(ActorKind::Doctor, &both);
    let hidden = Labels { invisible_to_patient: true, ..none };
    let decision = tables.decide_replacement(&caller, &record, &grant, &document, hidden, now());
    assert_eq!(cell(decision), "UpdateNotAllowed");
}

/// Nor does a new version show what who replaces it could not show.
#[test]
fn a_replacement_shows_nothing_for_who_may_not() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let hidden = Document { invisible_to_patient: true, depositor: Depositor::Caller, ..REPORT };
    let keeps = |actor, mode, labels| {
        let situation = Situation { actor, mode, ..OPEN };
        let caller = cases::caller(situation.actor, situation.mode, situation.secret);
        let record = cases::record(&situation);
        let grant = tables.decide_feed(&caller, &record, FeedPurpose::Replacement, now()).granted().unwrap();
        let mut document = cases::document(actor, &hidden);
        document.labels.invisible_to_representatives = true;
        let replaced = tables.decide_replacement(&caller, &record, &grant, &document, labels, now());
        let replaced = replaced.granted().unwrap();
        (*replaced.keeps(), replaced.rule().to_owned())
    };
    let none = Labels::default();
    let both = Labels { invisible_to_patient: true, invisible_to_representatives: true, ..none };
    let stays = "EX_2.1-1140: replaced by its author; TD3.3b: stays invisible".to_owned();
    let goes = "EX_2.1-1140: replaced by its author".to_owned();
    assert_eq!(keeps(ActorKind::Doctor, Mode::Normal, none), (none, goes.clone()), "the author may show it");
    assert_eq!(keeps(ActorKind::Doctor, Mode::BrisDeGlace, none), (both, stays.clone()), "not in an emergency");
    assert_eq!(keeps(ActorKind::Staff, Mode::Normal, none), (both, stays.clone()));
    assert_eq!(keeps(ActorKind::Indirect, Mode::Normal, none), (both, stays));
    assert_eq!(keeps(ActorKind::Staff, Mode::Normal, both), (none, goes), "said by the new version itself");
}

/// Who may do one of several changes may be asked about them; who may do none is refused, whatever the document's state.
#[test]
fn one_of_several_changes_is_enough() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let valid = Situation { authorisation: reference::Authorisation::Valid, ..OPEN };
    let (mut permitted, mut refused) = (0, 0);
    for actor in [ActorKind::Doctor, ActorKind::Staff, ActorKind::Indirect] {
        for mode in [Mode::Normal, Mode::BrisDeGlace] {
            for (depositor, opposed_to_feeding) in
                [(Depositor::Caller, false), (Depositor::Caller, true), (Depositor::Patient, false)]
            {
                let situation = Situation { actor, mode, opposed_to_feeding, ..valid };
                let caller = cases::caller(actor, mode, false);
                let record = cases::record(&situation);
                let document = cases::document(actor, &Document { depositor, ..REPORT });
                let may = |any: &[DocumentAction]| {
                    matches!(tables.decide_kind(&caller, &record, &document, any, now()), Decision::Permit(()))
                };
                for one in DocumentAction::ALL {
                    for other in DocumentAction::ALL {
                        assert_eq!(
                            may(&[one, other]),
                            may(&[one]) || may(&[other]),
                            "{actor:?} {one:?} {other:?}"
                        );
                    }
                    if may(&[one]) { permitted += 1 } else { refused += 1 }
                }
                assert!(may(&[]), "nothing is asked for");
                // Archived, masked, replaced or a vaccination note: the state says nothing here.
                let state = DocumentFacts {
                    status: DocumentStatus::Superseded,
                    archived: true,
                    type_code: "87273-9".into(),
                    labels: Labels { masked: true, invisible_to_patient: true, ..Labels::default() },
                    ..document.clone()
                };
                for one in DocumentAction::ALL {
                    let decision = tables.decide_kind(&caller, &record, &state, &[one], now());
                    assert_eq!(matches!(decision, Decision::Permit(())), may(&[one]), "{actor:?} {one:?}");
                }
            }
        }
    }
    assert!(permitted > 10 && refused > 10, "{permitted} permitted, {refused} refused");
    // Staff delete what they fed, and do nothing to labels.
    let staff = cases::caller(ActorKind::Staff, Mode::Normal, false);
    let record = cases::record(&Situation { actor: ActorKind::Staff, ..valid });
    let own = cases::document(ActorKind::Staff, &Document { depositor: Depositor::Caller, ..REPORT });
    let told = |any: &[DocumentAction]| cell(tables.decide_kind(&staff, &record, &own, any, now()));
    assert_eq!(told(&[DocumentAction::Delete]), "yes");
    assert_eq!(told(&[DocumentAction::Mask, DocumentAction::Unmask]), "NoFunctionalRight");
}

/// Who feeds, for whom; and that a replacement hides nothing again.
#[test]
fn a_feed_is_its_authors() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let record = cases::record(&OPEN);
    let fed_by = |actor| {
        let caller = cases::caller(actor, Mode::Normal, false);
        let grant = tables.decide_feed(&caller, &record, FeedPurpose::New, now()).granted().unwrap();
        (grant.author_id().to_owned(), grant.structure().clone())
    };
    let (me, structure) = (cases::ME.to_owned(), cases::STRUCTURE.to_owned());
    assert_eq!(fed_by(ActorKind::Doctor), (me.clone(), None));
    assert_eq!(fed_by(ActorKind::Staff), (me, Some(structure.clone())));
    assert_eq!(
        fed_by(ActorKind::Indirect),
        (structure.clone(), Some(structure)),
        "note (4): not the named person"
    );
    let doctor = cases::caller(ActorKind::Doctor, Mode::Normal, false);
    let grant = tables.decide_feed(&doctor, &record, FeedPurpose::Replacement, now()).granted().unwrap();
    assert!(!*grant.is_minor());
    let replace = |old: Labels, new: Labels| {
        let own = cases::document(ActorKind::Doctor, &Document { depositor: Depositor::Caller, ..REPORT });
        let document = DocumentFacts { labels: old, ..own };
        cell(tables.decide_replacement(&doctor, &record, &grant, &document, new, now()))
    };
    let none = Labels::default();
    let patient = Labels { invisible_to_patient: true, ..none };
    let representatives = Labels { invisible_to_representatives: true, ..none };
    let both = Labels { invisible_to_patient: true, invisible_to_representatives: true, ..none };
    for (old, new, expected) in [
        (none, none, "yes"),
        (none, patient, "UpdateNotAllowed"),
        (none, representatives, "UpdateNotAllowed"),
        (patient, both, "UpdateNotAllowed"),
        (representatives, both, "UpdateNotAllowed"),
        (both, both, "yes"),
        (both, none, "yes"),
    ] {
        assert_eq!(replace(old, new), expected, "{old:?} → {new:?}");
    }
}

/// Roles of TRE_R85, R94 and R95, as professionals where the parameter says so; no other role is one.
#[test]
fn role_professionals() {
    let parameters = Parameters { role_professionals: true, ..Parameters::default() };
    let table = "# version: t\n# in-force: 2020-01-01\n# kind: known\nh\nR85-313\tA\tyes\ts\nR94-40\tA\tyes\ts\nR95-93\tA\tyes\ts\n";
    let tables = Tables::new(HabilitationMatrix::parse(&[table]).unwrap(), parameters).unwrap();
    let record = cases::record(&Situation { authorisation: reference::Authorisation::Valid, ..OPEN });
    let reads = |role: &str| {
        let caller = habilis::identity::Caller {
            actor: habilis::identity::Actor::NamedStaff { id: cases::ME.into(), role: role.into() },
            ..cases::caller(ActorKind::AirStaff, Mode::Normal, false)
        };
        tables
            .decide_scope(&caller, &record, now())
            .granted()
            .is_ok_and(|scope| scope.sight().readable().types.contains("A"))
    };
    for (role, expected) in [
        ("313^1.2.250.1.213.1.6.1.107", true),
        ("40^1.2.250.1.213.1.6.1.4", true),
        ("93^1.2.250.1.213.1.6.1.109", true),
        ("314^1.2.250.1.213.1.6.1.107", false),
        ("SECRETARIAT_MEDICAL^1.2.250.1.213.1.1.4.6", false),
        ("313", false),
    ] {
        assert_eq!(reads(role), expected, "{role}");
    }
}

/// Several changes at once: what counts is what the document will be.
#[test]
fn labels_are_judged_as_they_will_be() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let lifted = Tables::new(
        HabilitationMatrix::demonstration().unwrap(),
        Parameters { one_way_visibility: false, ..Parameters::default() },
    )
    .unwrap();
    let minor = Situation { minor: true, relation: Relation::MedecinTraitant, ..OPEN };
    let adult = Situation { minor: false, ..minor };
    let decide =
        |tables: &Tables, situation: &Situation, document: &DocumentFacts, actions: &[DocumentAction]| {
            let caller = cases::caller(ActorKind::Doctor, Mode::Normal, false);
            cell(tables.decide_update(&caller, &cases::record(situation), document, actions, now()))
        };
    let own = cases::document(ActorKind::Doctor, &Document { depositor: Depositor::Caller, ..REPORT });
    let announced =
        DocumentFacts { labels: Labels { invisible_to_patient: true, ..Labels::default() }, ..own.clone() };
    let masked = DocumentFacts { labels: Labels { masked: true, ..Labels::default() }, ..own.clone() };
    let note = DocumentFacts { type_code: habilis::rights::VACCINATION_NOTE.into(), ..own.clone() };
    use DocumentAction::{HideFromPatient, HideFromRepresentatives, Mask, ShowToPatient, Unmask};
    for (table, situation, document, actions, expected) in [
        (&tables, &adult, &announced, &[Mask][..], "UpdateNotAllowed"),
        (&tables, &adult, &announced, &[Mask, ShowToPatient], "yes"),
        (&tables, &adult, &own, &[Mask], "yes"),
        (&tables, &adult, &note, &[Mask], "UpdateNotAllowed"),
        (&tables, &adult, &own, &[HideFromPatient], "UpdateNotAllowed"),
        (&lifted, &adult, &own, &[HideFromPatient], "yes"),
        (&lifted, &adult, &own, &[HideFromPatient, Mask], "UpdateNotAllowed"),
        (&lifted, &adult, &masked, &[HideFromPatient], "UpdateNotAllowed"),
        (&lifted, &adult, &masked, &[HideFromPatient, Unmask], "yes"),
        (&lifted, &adult, &own, &[HideFromRepresentatives], "UpdateNotAllowed"),
        (&lifted, &minor, &own, &[HideFromRepresentatives], "yes"),
        (&lifted, &minor, &note, &[HideFromRepresentatives], "UpdateNotAllowed"),
    ] {
        let told = decide(table, situation, document, actions);
        assert_eq!(told, expected, "{actions:?} of {:?}, minor {}", document.labels, situation.minor);
    }
}

/// Staff declare for their structure and for nobody else; a professional for the care team that he names.
#[test]
fn a_care_team_is_declared_by_a_professional() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let record = cases::record(&OPEN);
    let team = [cases::ME.to_owned(), "810100000040".to_owned()];
    let declare = |actor| {
        let caller = cases::caller(actor, Mode::Normal, false);
        tables.decide_declaration(&caller, &record, &team, now())
    };
    let grant = declare(ActorKind::Doctor).granted().unwrap();
    assert_eq!((grant.holder(), grant.team()), (cases::ME, &["810100000040".to_owned()][..]));
    let alone = |actor| {
        let caller = cases::caller(actor, Mode::Normal, false);
        tables.decide_declaration(&caller, &record, &[], now()).granted().unwrap().holder().to_owned()
    };
    assert_eq!(
        (alone(ActorKind::Staff), alone(ActorKind::AirStaff)),
        (cases::STRUCTURE.into(), cases::STRUCTURE.into())
    );
    assert_eq!(alone(ActorKind::AirDoctor), cases::ME);
    assert!(grant.rule().ends_with("care team"), "{}", grant.rule());
    for actor in [ActorKind::Staff, ActorKind::AirStaff] {
        assert_eq!(cell(declare(actor)), "NoFunctionalRight");
    }
}

/// The production matrix refuses what has no source, and no demonstration cell serves real records.
#[test]
fn production_refuses_the_unknown() {
    let production = tables(HabilitationMatrix::known().unwrap());
    let record = RecordFacts { authorisation: Authorisation::Valid, ..cases::record(&OPEN) };
    let kine = habilis::identity::Caller::by_card(habilis::identity::Actor::Professional {
        id: cases::ME.into(),
        profession: habilis::identity::Profession::new("70"),
        specialities: Vec::new(),
        in_training: false,
    });
    let scope = production.decide_scope(&kine, &record, now()).granted().unwrap();
    assert!(!scope.sight().readable().types.contains("34112-3"), "no source speaks of this cell");
    assert!(scope.sight().readable().types.contains("15508-5"), "image of 2020: yes");
    let demonstration = tables(HabilitationMatrix::demonstration().unwrap());
    let scope = demonstration.decide_scope(&kine, &record, now()).granted().unwrap();
    assert!(scope.sight().readable().types.contains("34112-3"), "control: the demonstration has it");
}

/// What is asked before anything is looked up: no where the cell says no whatever the patient made of the caller, and nowhere else.
#[test]
fn what_is_asked_before_anything_is_looked_up() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let parameters = reference::Parameters::DEFAULT;
    for actor in ActorKind::ALL {
        for mode in Mode::ALL {
            let caller = cases::caller(actor, mode, false);
            // Everything else is granted: what is left is the cell.
            let may = |action| {
                Relation::ALL.into_iter().any(|relation| {
                    let situation = Situation {
                        actor,
                        mode,
                        relation,
                        authorisation: reference::Authorisation::Valid,
                        ..OPEN
                    };
                    let verdict = reference::on_record(&parameters, &situation, action);
                    verdict != reference::Verdict::No(reference::Why::NoFunctionalRight)
                })
            };
            let feed = RecordAction::FeedNew;
            for (name, decision, expected) in [
                ("declare", tables.decide_declaring_at_all(&caller), may(RecordAction::Declare)),
                (
                    "revoke",
                    tables.decide_revoking_at_all(&caller),
                    may(RecordAction::RemoveOwn) || may(RecordAction::GiveUpMedecinTraitant),
                ),
                ("feed", tables.decide_feeding_at_all(&caller), may(feed)),
                ("search", tables.decide_searching_at_all(&caller, false), may(RecordAction::Search)),
                (
                    "look up",
                    tables.decide_searching_at_all(&caller, true),
                    may(RecordAction::Search) || may(RecordAction::LookUp),
                ),
                (
                    "read patient",
                    tables.decide_administrative_at_all(&caller),
                    may(RecordAction::ReadAdministrative),
                ),
                (
                    "professionals",
                    tables.decide_professionals_at_all(&caller),
                    may(RecordAction::ListProfessionals),
                ),
                ("close", tables.decide_closing_at_all(&caller), may(RecordAction::Close)),
            ] {
                let told = cell(decision);
                assert_eq!(told == "yes", expected, "{actor:?} {mode:?} {name}: {told}");
            }
        }
    }
}

/// TD0.4: whose list, for whom, dated or not; whom it looks for, and who must not be blocked.
#[test]
fn whose_records_are_listed() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let other = |id, same_structure| ListOf::Other { id, same_structure };
    let (me, mine, colleague) = (cases::ME, cases::STRUCTURE, "810100000024");
    let list = |actor, of, dated| {
        let caller = habilis::identity::Caller {
            might_act_for: vec!["1750000036".into()],
            ..cases::caller(actor, Mode::Normal, false)
        };
        match tables.decide_own_records(&caller, of, dated).granted() {
            Ok(grant) => format!(
                "{} | {} | {:?}",
                grant.holders().join(" "),
                grant.not_blocked().join(" "),
                grant.treating()
            ),
            Err(refusal) => format!("{:?}", refusal.reason),
        }
    };
    let both = "MedecinTraitant, EqualRights";
    let no = "NoFunctionalRight".to_owned();
    let of_doctor = format!("{me} | {me} 1750000036 | [{both}]");
    for (actor, of, dated, expected) in [
        (ActorKind::Doctor, ListOf::Caller, false, of_doctor.clone()),
        (ActorKind::Doctor, other(me, false), false, format!("{me} | {me} 1750000036 | []")),
        (ActorKind::Doctor, other(colleague, true), false, no.clone()),
        (ActorKind::Professional, ListOf::Caller, false, format!("{me} | {me} 1750000036 | [EqualRights]")),
        (
            ActorKind::AirDoctor,
            ListOf::Caller,
            false,
            format!("{me} {mine} | {me} {mine} 1750000036 | [{both}]"),
        ),
        (ActorKind::AirDoctor, other(mine, false), false, format!("{mine} | {me} {mine} 1750000036 | []")),
        (ActorKind::Staff, ListOf::Caller, false, format!("{mine} | {me} {mine} 1750000036 | []")),
        (
            ActorKind::Staff,
            other(colleague, true),
            false,
            format!("{colleague} | {me} {mine} 1750000036 {colleague} | []"),
        ),
        (ActorKind::Staff, other(colleague, false), false, no.clone()),
        (ActorKind::Staff, other(mine, false), false, format!("{mine} | {me} {mine} 1750000036 | []")),
        (ActorKind::Indirect, ListOf::Caller, true, format!("{mine} | {me} {mine} 1750000036 | []")),
        (ActorKind::Indirect, ListOf::Caller, false, no.clone()),
        (ActorKind::Indirect, other(mine, false), true, format!("{mine} | {me} {mine} 1750000036 | []")),
        (ActorKind::Indirect, other(mine, false), false, no.clone()),
        (ActorKind::Indirect, other(colleague, true), true, no.clone()),
        (ActorKind::Support, ListOf::Caller, true, no.clone()),
    ] {
        assert_eq!(list(actor, of, dated), expected, "{actor:?} {of:?} {dated}");
    }
    let patients = tables
        .decide_identity_search(&cases::caller(ActorKind::Doctor, Mode::Centre15, false))
        .granted()
        .unwrap();
    assert_eq!((*patients.limit(), patients.holders()), (20, &[me.to_owned()][..]));
}

/// TD0.2 tells a médecin traitant, and who has equal rights, that he is authorised; a token that opens one record asks about that one.
#[test]
fn what_is_told_of_a_record() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let told = |actor, relation, authorisation| {
        let caller = cases::caller(actor, Mode::Normal, false);
        tables.standing(&caller, &cases::record(&Situation { relation, authorisation, ..OPEN }))
    };
    use habilis::rights::Authorisation as Told;
    use reference::Authorisation as Held;
    for (actor, relation, held, expected) in [
        (ActorKind::Doctor, Relation::None, Held::None, Told::None),
        (ActorKind::Doctor, Relation::MedecinTraitant, Held::None, Told::Valid),
        (ActorKind::Doctor, Relation::MedecinTraitant, Held::Expired, Told::Valid),
        (ActorKind::Doctor, Relation::MedecinTraitant, Held::Blocked, Told::Blocked),
        (ActorKind::Doctor, Relation::None, Held::Valid, Told::Valid),
        (ActorKind::Professional, Relation::EqualRights, Held::None, Told::Valid),
        (ActorKind::Professional, Relation::MedecinTraitant, Held::None, Told::None),
        (ActorKind::Staff, Relation::EqualRights, Held::None, Told::None),
    ] {
        assert_eq!(told(actor, relation, held), expected, "{actor:?} {relation:?} {held:?}");
    }
    // Whatever the mode of the moment: a médecin traitant who regulates is authorised in mode normal.
    let regulating = cases::caller(ActorKind::Doctor, Mode::Centre15, false);
    let treated = cases::record(&Situation { relation: Relation::MedecinTraitant, ..OPEN });
    assert_eq!(tables.standing(&regulating, &treated), Told::Valid);
    let ins = |value| habilis::identity::identifiers::Ins::new("urn:oid:1.2.250.1.213.1.4.10", value).unwrap();
    let (one, another) = (ins("279035121518989"), ins("185067599900166"));
    let doctor = cases::caller(ActorKind::Doctor, Mode::Normal, false);
    let opens_one =
        habilis::identity::Caller { session: Some(cases::session(Some(one.clone()))), ..doctor.clone() };
    assert_eq!(cell(tables.decide_existence(&opens_one, Some(&one))), "yes");
    for asked in [Some(&another), None] {
        assert_eq!(cell(tables.decide_existence(&opens_one, asked)), "OtherRecord");
        assert_eq!(cell(tables.decide_existence(&doctor, asked)), "yes");
    }
}

/// The rules that refusals and traces quote, where more than one could have decided.
#[test]
fn rules_are_quoted() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let valid = Situation { authorisation: reference::Authorisation::Valid, ..OPEN };
    let search = |situation: Situation| {
        let caller = cases::caller(situation.actor, situation.mode, situation.secret);
        match tables.decide_scope(&caller, &cases::record(&situation), now()).granted() {
            Ok(scope) => scope.rule().to_owned(),
            Err(refusal) => refusal.rule.into_owned(),
        }
    };
    let without_column = Situation { actor: ActorKind::AirOccupationalDoctor, ..valid };
    assert_eq!(search(without_column), "PDT-INF-606: no column for this actor");
    assert_eq!(search(Situation { actor: ActorKind::Support, ..valid }), "PDT-INF-526: no row for a CPA");
    for (situation, rule) in [
        (valid, "R1111-46: authorisation in force;"),
        (
            Situation { relation: Relation::MedecinTraitant, ..OPEN },
            "R1111-54: médecin traitant or equal rights;",
        ),
        (Situation { mode: Mode::BrisDeGlace, ..OPEN }, "L1111-17 I: bris de glace;"),
        (Situation { mode: Mode::Centre15, ..OPEN }, "L1111-17 I: Centre 15;"),
        (
            Situation { mode: Mode::BrisDeGlace, opposed_to_bris_de_glace: true, ..OPEN },
            "L1111-17 I: opposition to bris de glace",
        ),
        (
            Situation { mode: Mode::Centre15, opposed_to_centre_15: true, ..OPEN },
            "L1111-17 I: opposition to Centre 15",
        ),
        (
            Situation { authorisation: reference::Authorisation::Expired, ..OPEN },
            "R1111-46: authorisation expired",
        ),
        (OPEN, "R1111-46: no authorisation"),
        (Situation { closed: true, ..valid }, "R1111-40: closed record"),
    ] {
        assert!(search(situation).contains(rule), "{rule}: {}", search(situation));
    }
    for (basis, rule) in [
        (habilis::rights::Basis::Person, "R1111-46: authorisation in force;"),
        (habilis::rights::Basis::Structure, "given to the structure;"),
        (
            habilis::rights::Basis::CareTeam,
            "R1111-46, L1110-12: authorisation in force, given to the care team;",
        ),
    ] {
        let record = RecordFacts { basis, ..cases::record(&valid) };
        let scope = tables.decide_scope(&cases::caller(ActorKind::Doctor, Mode::Normal, false), &record, now());
        assert!(scope.granted().unwrap().rule().contains(rule), "{rule}");
    }
    let archive = |actor| {
        let situation = Situation { actor, ..valid };
        let document = cases::document(actor, &REPORT);
        let caller = cases::caller(actor, Mode::Normal, false);
        let decision = tables.decide_update(
            &caller,
            &cases::record(&situation),
            &document,
            &[DocumentAction::Archive],
            now(),
        );
        decision.granted().unwrap_err().rule.into_owned()
    };
    assert!(
        archive(ActorKind::AirDoctor).ends_with("= yes (parameter archiving-by-doctors = own)"),
        "{}",
        archive(ActorKind::AirDoctor)
    );
    assert!(archive(ActorKind::Doctor).ends_with("= own_documents"), "the cell itself says so");
    assert!(archive(ActorKind::Professional).ends_with("= own_documents"));
    let one = |actor| {
        let caller = cases::caller(actor, Mode::Normal, false);
        *tables.decide_references(&caller, &cases::record(&OPEN), now()).granted().unwrap().one()
    };
    assert!(one(ActorKind::Staff) && one(ActorKind::Indirect) && !one(ActorKind::Doctor));
    // What is hidden says why, in the trace.
    let caller = cases::caller(ActorKind::Doctor, Mode::Normal, false);
    let scope = tables.decide_scope(&caller, &cases::record(&valid), now()).granted().unwrap();
    for (document, why) in [
        (Document { masked: true, ..REPORT }, "MASQUE_PS;"),
        (
            Document { readable_type: false, ..REPORT },
            "habilitation matrix demonstration-2026-11 column 10 × no such type is not yes;",
        ),
        (
            Document { status: Status::Deleted, ..REPORT },
            "deleted (parameter reading-deleted-documents = false);",
        ),
    ] {
        let Decision::Hide { rule } = scope.admit(&cases::document(ActorKind::Doctor, &document)) else {
            panic!("{document:?}")
        };
        assert!(rule.starts_with(why), "{rule}");
    }
    let elsewhere =
        DocumentFacts { record_id: "another".into(), ..cases::document(ActorKind::Doctor, &REPORT) };
    let Decision::Hide { rule } = scope.admit(&elsewhere) else { panic!("another record's") };
    assert!(rule.starts_with("another record;"), "{rule}");
}

/// Every document masked by one switch, and the emergencies' opt-in beside it.
#[test]
fn all_masked_masks_all() {
    let tables = tables(HabilitationMatrix::demonstration().unwrap());
    let valid = Situation { authorisation: reference::Authorisation::Valid, ..OPEN };
    let sees = |situation: &Situation, all_masked, document: &Document| {
        let caller = cases::caller(situation.actor, situation.mode, false);
        let record = RecordFacts { all_masked, ..cases::record(situation) };
        let scope = tables.decide_scope(&caller, &record, now()).granted().unwrap();
        scope.admit(&cases::document(situation.actor, document)).granted().is_ok()
    };
    let own = Document { depositor: Depositor::Caller, ..REPORT };
    assert!(sees(&valid, false, &REPORT) && !sees(&valid, true, &REPORT) && sees(&valid, true, &own));
    let treating = Situation { relation: Relation::MedecinTraitant, ..OPEN };
    assert!(sees(&treating, true, &REPORT));
    let emergency = Situation { mode: Mode::BrisDeGlace, ..OPEN };
    let open = Situation { masked_open_in_emergencies: true, ..emergency };
    assert!(!sees(&emergency, true, &REPORT) && sees(&open, true, &REPORT) && sees(&emergency, true, &own));
}
