//! The same random operations on both engines, time and identifiers held still: every answer is the same, byte for byte, and so are the traces.
//!
//! `HABILIS_OPERATIONS=10000 HABILIS_SEED=7 scripts/test both_engines_answer_the_same`

use habilis::sandbox::example::Example;
use serde_json::json;

use crate::support::{Answer, Client, Engine, OTHER, Options, PATIENT, PatientSide, TEST, World};

/// SplitMix64: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// A server, and the clients that speak to it.
struct Side {
    world: World,
    clients: Vec<Client>,
    mes: PatientSide,
}

const CARDS: [&str; 4] = ["cps-medecin", "cps-medecin-b", "cps-infirmier", "cps-dentiste"];
const PROFESSIONALS: [&str; 3] = ["810100000016", "810100000024", "810100000032"];

impl Side {
    fn start(engine: Engine, at: jiff::Timestamp) -> Self {
        let world = World::start_with(engine, Options { repeatable: Some(at), ..Options::default() });
        // What the server does by itself when it starts draws an identifier too.
        while world.rows("authorisation WHERE ended_at IS NOT NULL") == 0 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let clients = CARDS.map(|card| world.client(card)).into();
        let mes = PatientSide::of(&world);
        Self { world, clients, mes }
    }

    /// What an answer says, without the port of the server.
    fn told(&self, answer: &Answer) -> String {
        let port = self.world.listening.api.port().to_string();
        let header =
            |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap_or_default().to_owned());
        let headers =
            ["content-type", "etag", "location", "last-modified", "x-request-id", "retry-after"].map(header);
        let body = String::from_utf8_lossy(&answer.bytes);
        format!("{} {headers:?} {body}", answer.status).replace(&format!("localhost:{port}"), "localhost:PORT")
    }
}

/// What both sides know of what was fed: unique ids, and ids as they were answered.
#[derive(Default)]
struct Fed {
    unique: Vec<String>,
    ids: Vec<String>,
    binaries: Vec<String>,
    consents: Vec<String>,
    /// The last consent that each of the clients declared.
    declared: [Option<String>; CARDS.len()],
}

/// One random operation, on one side; what is random was drawn before.
struct Drawn {
    kind: usize,
    who: usize,
    a: u64,
    b: u64,
    c: u64,
}

fn run(side: &Side, drawn: &Drawn, number: usize, fed: &Fed) -> (Answer, Option<String>) {
    let mut numbers = Numbers(drawn.a ^ drawn.b.rotate_left(17) ^ drawn.c);
    let client = &side.clients[drawn.who];
    let ins = [OTHER, OTHER, PATIENT][numbers.below(3)];
    let labels: &[&str] =
        [&["N"][..], &["N", "MASQUE_PS"], &["N", "INVISIBLE_PATIENT"], &["N"]][numbers.below(4)];
    let pick = |numbers: &mut Numbers, all: &[String]| match all.len() {
        0 => "unknown".to_owned(),
        len => all[numbers.below(len)].clone(),
    };
    let unique = format!("2.25.48.{number}");
    let types = [("11488-4", "10"), ("11502-2", "11"), ("34112-3", "10"), ("57833-6", "42")];
    let (type_code, class_code) = types[numbers.below(types.len())];
    let example = Example { labels, type_code, class_code, ..Example::new(TEST, ins, "X", &unique) };
    let record = || side.mes.record(OTHER);
    let patch = |body: serde_json::Value, path: &str| client.patch(path, &body);
    match drawn.kind {
        0 => (client.post("/DocumentReference", example.single()), Some(unique)),
        1 => (client.post("", example.transaction()), Some(unique)),
        2 => {
            let older = pick(&mut numbers, &fed.unique);
            let example = Example { replaces: Some(&older), ..example };
            (client.post("/DocumentReference", example.single()), Some(unique))
        }
        3 => {
            let more = [
                "status=current",
                "status=current,superseded",
                "status=current&type=11488-4",
                "status=current&_count=3",
                "status=current&_sort=date",
                "status=current&security-label=MASQUE_PS",
                "status=current&date=ge2026-01-01&category=10",
                "status=current&author.family=medecin",
                "status=superseded&_summary=count",
                "status=current&isArchived=true",
                "status=current&event=x",
                "status=current&unknown=x",
                "status=x",
            ];
            let more = numbers.one_of(&more);
            (client.get(&format!("/DocumentReference?patient.identifier={TEST}%7C{ins}&{more}")), None)
        }
        4 => (client.get(&format!("/DocumentReference/{}", pick(&mut numbers, &fed.ids))), None),
        5 => (client.get(&format!("/Binary/{}", pick(&mut numbers, &fed.binaries))), None),
        6 => (client.get(&format!("/DocumentReference/{}/_history", pick(&mut numbers, &fed.ids))), None),
        7 => {
            let labels: Vec<_> = labels.iter().map(|code| json!({ "coding": [{ "code": code }] })).collect();
            let body = json!([{ "op": "replace", "path": "/securityLabel", "value": labels }]);
            (patch(body, &format!("/DocumentReference/{}", pick(&mut numbers, &fed.ids))), None)
        }
        8 => {
            let status = numbers.one_of(&["entered-in-error", "current", "superseded"]);
            let body = json!([{ "op": "replace", "path": "/status", "value": status }]);
            (patch(body, &format!("/DocumentReference/{}", pick(&mut numbers, &fed.ids))), None)
        }
        9 => (client.post("/Consent", habilis::sandbox::example::consent(TEST, ins)), None),
        10 => {
            let body = json!([{ "op": "replace", "path": "/status", "value": "inactive" }]);
            let own = fed.declared[drawn.who].clone().filter(|_| numbers.below(3) > 0);
            let consent = own.unwrap_or_else(|| pick(&mut numbers, &fed.consents));
            (patch(body, &format!("/Consent/{consent}")), None)
        }
        11 => {
            let more = [
                "code=submissionset",
                "code=submissionset&_include=List:item",
                "code=folder",
                "code=submissionset&_count=2",
            ];
            let more = numbers.one_of(&more);
            (client.get(&format!("/List?patient.identifier={TEST}%7C{ins}&status=current&{more}")), None)
        }
        12 => {
            let known = pick(&mut numbers, &fed.ids);
            let body = json!({ "resourceType": "Parameters", "parameter": [
                { "name": "patient", "valueIdentifier": { "system": TEST, "value": ins } },
                { "name": "connus", "valueId": known },
            ] });
            (client.post("/DocumentReference/$actualiser", body.to_string()), None)
        }
        13 => {
            let professional = numbers.one_of(&PROFESSIONALS);
            let status = numbers.one_of(&["bloque", "autorise", "medecin_traitant"]);
            let record = record();
            let path = format!("/{}/professionnels/{professional}", record.id);
            (side.mes.send("PUT", &path, Some(record.version), Some(json!({ "statut": status }))), None)
        }
        14 => {
            let professional = numbers.one_of(&PROFESSIONALS);
            let record = record();
            let path = format!("/{}/professionnels/{professional}?lecteur=titulaire", record.id);
            (side.mes.send("DELETE", &path, Some(record.version), None), None)
        }
        15 => {
            let switch =
                numbers.one_of(&["oppositionAlimentation", "documentsMasques", "oppositionBrisDeGlace"]);
            let record = record();
            let on = numbers.below(4) == 0;
            (
                side.mes.send(
                    "PATCH",
                    &format!("/{}", record.id),
                    Some(record.version),
                    Some(json!({ switch: on })),
                ),
                None,
            )
        }
        16 => {
            let record = record();
            let path = format!("/{}/documents/{}?lecteur=titulaire", record.id, pick(&mut numbers, &fed.ids));
            let masked = numbers.below(2) == 0;
            (side.mes.send("PATCH", &path, Some(record.version), Some(json!({ "masque": masked }))), None)
        }
        17 => {
            let what = numbers.one_of(&["documents", "traces"]);
            (side.mes.send("GET", &format!("/{}/{what}?lecteur=titulaire", record().id), None, None), None)
        }
        18 => {
            let path = format!("/AuditEvent?date=ge2020-01-01&entity.identifier={TEST}%7C{ins}&_count=5");
            (client.get(&path), None)
        }
        19 => (client.get(&format!("/Consent?patient.identifier={TEST}%7C{ins}")), None),
        REFUSED => (client.post("/DocumentReference", example.single().replace("current", "x")), None),
        _ => (client.get(&format!("/Patient?identifier={TEST}%7C{ins}")), None),
    }
}

/// The kind that is there to be refused.
const REFUSED: usize = 20;

/// How often each kind is drawn: more is fed and searched than changed.
const WEIGHTS: [usize; 22] = [8, 6, 5, 12, 5, 5, 3, 6, 2, 3, 2, 4, 4, 2, 2, 2, 4, 3, 3, 3, 1, 2];

fn draw(numbers: &mut Numbers) -> Drawn {
    let mut place = numbers.below(WEIGHTS.iter().sum());
    let kind = WEIGHTS.iter().position(|weight| {
        let here = place < *weight;
        place = place.saturating_sub(*weight);
        here
    });
    let who = [0, 0, 0, 1, 1, 2, 3][numbers.below(7)];
    Drawn { kind: kind.unwrap_or(0), who, a: numbers.next(), b: numbers.next(), c: numbers.next() }
}

/// Runs so many operations on both; the first difference is told. `spoil` is done on one side alone, half way through.
fn compare(operations: usize, seed: u64, spoil: Option<&str>) -> Result<(), String> {
    let at = habilis::environment::Environment::system().now();
    let sides = [Side::start(Engine::Sqlite, at), Side::start(Engine::Postgres, at)];
    for card in 0..2 {
        for side in &sides {
            side.clients[card].authorise(OTHER);
        }
    }
    let (mut numbers, mut fed) = (Numbers(seed), Fed::default());
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    let mut done = std::collections::BTreeSet::new();
    for number in 0..operations {
        if let Some(spoil) = spoil.filter(|_| number == operations / 2) {
            sides[1].world.sql(spoil);
        }
        let drawn = draw(&mut numbers);
        let [(sqlite, unique), (postgres, _)] = [0, 1].map(|side| run(&sides[side], &drawn, number, &fed));
        let [one, other] = [sides[0].told(&sqlite), sides[1].told(&postgres)];
        if one != other {
            let what =
                format!("operation {number} of the seed {seed}, kind {}, {}", drawn.kind, CARDS[drawn.who]);
            return Err(format!("{what}:\n{one}\n{other}"));
        }
        *statuses.entry(sqlite.status).or_default() += 1;
        if sqlite.status < 300 {
            done.insert(drawn.kind);
            remember(&sqlite, unique, &drawn, &mut fed);
        }
        for side in &sides {
            side.world.clock.advance_seconds(1);
        }
    }
    let traces = |side: &Side| {
        let mut traces = side.world.traces();
        for trace in &mut traces {
            (trace.sequence, trace.leaf, trace.leaf_hash) = (0, None, None);
        }
        traces
    };
    if traces(&sides[0]) != traces(&sides[1]) {
        return Err(format!("the traces of the seed {seed}"));
    }
    println!("{operations} operations of the seed {seed}: {statuses:?}");
    let good: usize = statuses.range(..300).map(|(_, count)| count).sum();
    assert!(good * 3 > operations, "control: much of it did something ({statuses:?})");
    // What is only ever refused would be compared as refused.
    let never: Vec<usize> = (0..WEIGHTS.len()).filter(|kind| !done.contains(kind)).collect();
    assert_eq!(never, [REFUSED], "control: each kind was done");
    Ok(())
}

#[test]
fn both_engines_answer_the_same() {
    let given = |name: &str, otherwise: u64| {
        std::env::var(name).ok().map_or(otherwise, |value| value.parse().expect("a number"))
    };
    let (operations, seed) = (given("HABILIS_OPERATIONS", 400), given("HABILIS_SEED", 1));
    compare(usize::try_from(operations).unwrap(), seed, None)
        .unwrap_or_else(|difference| panic!("{difference}"));
}

/// The control: that every mask of one side is turned, half way through, is noticed, and not before.
#[test]
fn a_difference_between_the_engines_is_noticed() {
    let spoil = "UPDATE document SET masked = NOT masked";
    let difference = compare(200, 1, Some(spoil)).unwrap_err();
    let number =
        difference.strip_prefix("operation ").and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    assert!(number.is_some_and(|number| number >= 100), "{difference}");
}

/// What an answer tells of what can be named from here on.
fn remember(answer: &Answer, unique: Option<String>, drawn: &Drawn, fed: &mut Fed) {
    if let Some(unique) = unique {
        fed.unique.push(unique);
    }
    let text = answer.text();
    for (mark, all) in
        [("DocumentReference/", &mut fed.ids), ("Binary/", &mut fed.binaries), ("Consent/", &mut fed.consents)]
    {
        for (place, _) in text.match_indices(mark).take(5) {
            let id: String =
                text[place + mark.len()..].chars().take_while(|c| c.is_ascii_hexdigit() || *c == '-').collect();
            if id.len() == 36 && !all.contains(&id) {
                all.push(id);
            }
        }
    }
    if drawn.kind == 9 {
        let declared = answer.json()["id"].as_str().map(str::to_owned);
        fed.consents.extend(declared.clone());
        fed.declared[drawn.who] = declared;
    }
}
