//! How often a request waits for PostgreSQL before it answers: counted between the two.

use std::fmt::Write as _;

use habilis::sandbox::example::Example;
use serde_json::json;

use crate::homologation::bris_de_glace;
use crate::support::{Answer, Client, CountingProxy, Engine, OTHER, PatientSide, TEST, World, assert_expected};

/// Round trips of a request, those of its reads and those of its trace: what it takes once everything has been prepared. Others may read
/// and write meanwhile, so the least of several.
fn round_trips(proxy: &CountingProxy, ask: &dyn Fn() -> Answer, status: u16) -> [u64; 2] {
    let once = || {
        let [reads, traces] = proxy.waits();
        let answer = ask();
        assert_eq!(answer.status, status, "{}", answer.text());
        let [more_reads, more_traces] = proxy.waits();
        [more_reads - reads, more_traces - traces]
    };
    let all: Vec<[u64; 2]> = (0..12).map(|_| once()).collect();
    [0, 1].map(|of| all.iter().map(|one| one[of]).min().unwrap())
}

#[test]
fn a_search_is_one_round_trip() {
    let world = World::start(Engine::Postgres);
    let proxy = CountingProxy::before(&world.database_url);
    let node = world.node_through("2", &proxy.url);
    let (doctor, nurse) = (node.client("cps-medecin"), node.client("cps-infirmier"));
    let mes = PatientSide::of(&world);
    for number in 0..8 {
        if number == 0 {
            doctor.authorise(OTHER);
            nurse.authorise(OTHER);
        }
        let (unique_id, replaced) = (format!("2.25.97{number}"), format!("2.25.97{}", number - 1));
        let replaces = (number == 1 || number == 3).then_some(replaced.as_str());
        let example = Example { replaces, ..Example::new(TEST, OTHER, "OUVERT", &unique_id) };
        let fed = doctor.post("/DocumentReference", example.single());
        assert_eq!(fed.status, 201, "{}", fed.text());
    }
    let both = "&status=current,superseded";
    let search = |rest: &str| format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}{both}{rest}");
    // Links begin with the address of the first node, which is not the one that is counted.
    let here = |url: String| url.strip_prefix(&world.listening.base).unwrap_or(&url).to_owned();
    let newest = here(doctor.find(OTHER).first_attachment());
    let mut told = String::from(
        "Round trips to PostgreSQL: status, those of reads, those of the trace; budgets and single-use tokens apart. Reviewed: a search is one and its trace one (decision 0041).\n\n",
    );
    let mut tell = |what: &str, client: &Client, path: &str, status: u16| {
        let [reads, traces] = round_trips(&proxy, &|| client.send("GET", path, &[], None).unwrap(), status);
        writeln!(told, "{what:<62} {status} {reads} {traces}").unwrap();
    };
    tell("search", &doctor, &search(""), 200);
    tell("search of the current ones", &doctor, &search("&status=current"), 200);
    tell("search by type and date", &doctor, &search("&type=11488-4&date=ge2020-01-01"), 200);
    tell("search of an author's documents", &doctor, &search("&author.family=DUPONT"), 200);
    tell("search, by a nurse", &nurse, &search(""), 200);
    tell("search that finds none", &doctor, &search("&type=none"), 200);
    tell("search, first page of several", &doctor, &search("&_count=3"), 200);
    let next = doctor.get(&search("&_count=3")).link("next").unwrap();
    let next = here(next);
    tell("search, next page", &doctor, &next, 200);
    tell("search for the total alone", &doctor, &search("&_count=0"), 200);
    tell("search, the oldest first", &doctor, &search("&_sort=date"), 200);
    let of_replaced = search(&format!("&relatesto=urn:oid:{}", "2.25.970"));
    tell("search by what was replaced", &doctor, &of_replaced, 200);
    tell("search, not authorised", &node.client("cps-medecin-b"), &search(""), 403);
    let unknown = format!("/DocumentReference?patient.identifier={TEST}%7C144027599900963{both}");
    tell("search, another record, not authorised", &nurse, &unknown, 403);
    mes.set(OTHER, "810100000016", "medecin_traitant");
    tell("search, by the médecin traitant", &doctor, &search(""), 200);
    mes.set(OTHER, "810100000040", "bloque");
    tell("search, blocked", &nurse, &search(""), 403);
    tell("search, bris de glace", &bris_de_glace(&node, "cps-medecin-b", OTHER), &search(""), 200);
    tell("read bytes", &doctor, &newest, 200);
    mes.forget(OTHER, "810100000040");
    nurse.authorise(OTHER);
    mes.change(OTHER, json!({ "documentsMasques": true }));
    tell("search, everything masked", &doctor, &search(""), 200);
    tell("search, everything masked, by who fed nothing", &nurse, &search(""), 200);
    mes.change(OTHER, json!({ "masquesOuvertsEnUrgence": true }));
    tell(
        "search, bris de glace, masked ones opened",
        &bris_de_glace(&node, "cps-medecin-b", OTHER),
        &search(""),
        200,
    );
    assert_expected("round_trips.txt", &told);
}
