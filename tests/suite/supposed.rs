//! A search in one statement, against PostgreSQL: of every way in which a record may stand, the statement says what Rust says, and what it
//! brings is what two statements bring.

use habilis::identity::identifiers::Ins;
use habilis::identity::{AccessMode, Actor, Caller, Profession, Session};
use habilis::sandbox::example::Example;
use habilis::store::{Page, RecordKey, SearchCriteria};

use crate::support::{Engine, OTHER, PATIENT, PatientSide, TEST, World};

const DOCTOR: &str = "810100000016";
const STRUCTURE: &str = "1750000010";
const MIGHT: &str = "1750000036";
const FIRST: Page = Page { size: 60, after: None, ascending: false };

fn professional(profession: &str) -> Caller {
    let actor = Actor::Professional {
        id: DOCTOR.into(),
        profession: Profession::new(profession),
        specialities: vec!["SM26".into()],
        in_training: false,
    };
    let (structure, might_act_for) = (Some(STRUCTURE.into()), vec![MIGHT.into()]);
    Caller { structure, might_act_for, ..Caller::by_card(actor) }
}

fn bound_to(caller: Caller, ins: &str) -> Caller {
    let session = Session {
        id: "s".into(),
        scopes: habilis::identity::scope::Scopes::all(),
        record: Ins::new(TEST, ins).ok(),
        motif: None,
        secret: false,
        single_use: false,
        expires_at: i64::MAX,
    };
    Caller { session: Some(session), ..caller }
}

fn callers() -> Vec<Caller> {
    let doctor = professional("10");
    vec![
        professional("60"),
        Caller { mode: AccessMode::BrisDeGlace, ..doctor.clone() },
        Caller { mode: AccessMode::Centre15, ..doctor.clone() },
        Caller { structure: None, might_act_for: Vec::new(), ..doctor.clone() },
        Caller { might_act_for: ["1", "2", "3", MIGHT].map(str::to_owned).into(), ..doctor.clone() },
        bound_to(doctor.clone(), OTHER),
        bound_to(doctor.clone(), PATIENT),
        doctor,
    ]
}

/// Authorisations on the record: holder, blocked, in force.
const HELD: [&[(&str, bool, bool)]; 9] = [
    &[],
    &[(DOCTOR, false, true)],
    &[(DOCTOR, false, false)],
    &[(DOCTOR, true, true)],
    &[(STRUCTURE, false, true)],
    &[(DOCTOR, false, false), (STRUCTURE, false, true)],
    &[(DOCTOR, false, true), (STRUCTURE, true, true)],
    &[(DOCTOR, false, true), (MIGHT, true, true)],
    &[(MIGHT, false, true)],
];
/// The last is a relation that this program does not know.
const KINDS: [Option<&str>; 4] =
    [None, Some("medecin_traitant"), Some("equal_rights"), Some("of a later version")];

/// The record as it is to stand, in SQL.
fn standing(record: &str, switches: u32, kind: Option<&str>, held: &[(&str, bool, bool)]) -> String {
    let on = |bit: u32| switches & (1 << bit) != 0;
    let mut sql = format!(
        "DELETE FROM authorisation WHERE record_id = '{record}'; DELETE FROM medecin_traitant WHERE record_id = '{record}'; \
         UPDATE record SET open = {}, all_masked = {}, masked_open_in_emergencies = {}, opposed_to_bris_de_glace = {}, \
         opposed_to_centre_15 = {} WHERE id = '{record}';",
        !on(0),
        on(1),
        on(2),
        on(3),
        on(4)
    );
    for (holder, blocked, in_force) in held {
        let until = if *in_force { i64::MAX } else { 1 };
        sql += &format!(
            "INSERT INTO authorisation (record_id, holder, blocked, since, until, consent_id, consent) \
             VALUES ('{record}', '{holder}', {blocked}, 0, {until}, 'c-{holder}', '{{}}');"
        );
    }
    if let Some(kind) = kind {
        sql += &format!(
            "INSERT INTO medecin_traitant (record_id, professional_id, since, kind) VALUES ('{record}', '{DOCTOR}', 0, '{kind}');"
        );
    }
    sql
}

#[test]
fn however_a_record_stands() {
    let world = World::start(Engine::Postgres);
    let author = world.client("cps-medecin-b");
    author.authorise(OTHER);
    for (number, labels) in [(0, &["N"][..]), (1, &["N", "MASQUE_PS"])] {
        let unique_id = format!("2.25.98{number}");
        let fed = author.post(
            "/DocumentReference",
            Example { labels, ..Example::new(TEST, OTHER, "OUVERT", &unique_id) }.single(),
        );
        assert_eq!(fed.status, 201, "{}", fed.text());
    }
    let record = PatientSide::of(&world).record(OTHER).id;
    let services = world.services();
    let (at, criteria, key) =
        (services.environment.now(), SearchCriteria::default(), RecordKey::Id(record.clone()));
    let now = at.as_microsecond();
    let callers = callers();
    let (mut cases, mut supposed_pages, mut shown, mut two_visits) = (0, 0, 0, 0);
    for switches in 0..32 {
        for (kind, held) in KINDS.iter().flat_map(|kind| HELD.iter().map(move |held| (*kind, *held))) {
            world.sql(&standing(&record, switches, kind, held));
            for caller in &callers {
                let suppositions = services.tables.suppose(caller, at);
                let told = format!("{switches:05b} {kind:?} {held:?} {caller:?}");
                let looked = services.store.read_here(|reader| {
                    let (facts, supposed) =
                        reader.facts_and_page(&key, caller, &suppositions, &criteria, &FIRST, now)?;
                    let facts = facts.unwrap();
                    assert_eq!(Some(&facts), reader.record_facts(&key, caller, now)?.as_ref(), "{told}");
                    // Four structures for which one might act are looked up apart.
                    let at_once = caller.might_act_for.len() <= 3;
                    let stands = at_once && suppositions.iter().any(|one| one.holds(&facts));
                    assert_eq!(supposed.is_some(), stands, "{told}");
                    let Ok(scope) = services.tables.decide_scope(caller, &facts, at).granted() else {
                        assert!(supposed.is_none(), "who is refused has nothing looked for: {told}");
                        return Ok(None);
                    };
                    let had = supposed.is_some();
                    let page = reader.search_as_supposed(&scope, supposed, &criteria, &FIRST, now)?;
                    let plain = reader.search(&scope, &criteria, &FIRST, now)?;
                    assert_eq!(format!("{page:?}"), format!("{plain:?}"), "{told}");
                    Ok(Some((had, page.ids.len())))
                });
                cases += 1;
                match looked.unwrap() {
                    Some((true, documents)) => {
                        (supposed_pages, shown) = (supposed_pages + 1, shown + documents)
                    }
                    Some((false, _)) => two_visits += 1,
                    None => {}
                }
            }
        }
    }
    eprintln!(
        "{cases} cases, {supposed_pages} pages as supposed, {shown} documents, {two_visits} with two visits"
    );
    assert!(supposed_pages > 1_000 && shown > supposed_pages / 2, "{supposed_pages} {shown}");
}

/// The controls: a page is of one record and of one sight.
#[test]
fn a_page_does_not_open_for_another() {
    let world = World::start(Engine::Postgres);
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let fed = author.post("/DocumentReference", Example::new(TEST, OTHER, "OUVERT", "2.25.985").single());
    assert_eq!(fed.status, 201, "{}", fed.text());
    let services = world.services();
    let (at, criteria) = (services.environment.now(), SearchCriteria::default());
    let now = at.as_microsecond();
    let doctor = Caller { structure: None, might_act_for: Vec::new(), ..professional("10") };
    let suppositions = services.tables.suppose(&doctor, at);
    let [one, other] = [OTHER, PATIENT].map(|ins| RecordKey::Id(PatientSide::of(&world).record(ins).id));
    services
        .store
        .read_here(|reader| {
            let look = |reader: &mut habilis::store::Reader<'_>, key| {
                reader.facts_and_page(key, &doctor, &suppositions, &criteria, &FIRST, now)
            };
            let (facts, page) = look(reader, &one)?;
            let facts = facts.unwrap();
            let scope = services.tables.decide_scope(&doctor, &facts, at).granted().unwrap();
            let found = reader.search_as_supposed(&scope, page, &criteria, &FIRST, now)?;
            assert_eq!(found.ids.len(), 1, "control: there is something to see");
            // Another record, decided on as this one.
            let (_, page) = look(reader, &one)?;
            let RecordKey::Id(id) = &other else { unreachable!() };
            let of_other = habilis::rights::RecordFacts { id: id.clone(), ..facts.clone() };
            let scope = services.tables.decide_scope(&doctor, &of_other, at).granted().unwrap();
            let plain = reader.search(&scope, &criteria, &FIRST, now)?;
            let found = reader.search_as_supposed(&scope, page, &criteria, &FIRST, now)?;
            assert_eq!(
                (found.ids.clone(), found.ids.contains(&fed.json()["id"].as_str().unwrap().into())),
                (plain.ids, false)
            );
            // Another decision on this record.
            let (_, page) = look(reader, &one)?;
            let closer = habilis::rights::RecordFacts { all_masked: true, ..facts };
            let nurse = Caller { mode: AccessMode::Normal, ..professional("60") };
            let scope = services.tables.decide_scope(&nurse, &closer, at).granted().unwrap();
            let plain = reader.search(&scope, &criteria, &FIRST, now)?;
            let found = reader.search_as_supposed(&scope, page, &criteria, &FIRST, now)?;
            assert_eq!(found.ids, plain.ids);
            Ok(())
        })
        .unwrap();
}
