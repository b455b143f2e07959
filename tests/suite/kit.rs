//! The homologation kit: a vendor opens a run, plays with its own cards on its own patients, and is told which rows it passed and what was wrong.

use std::process::{Command, Output};

use habilis::homologation::run::Run;
use habilis::sandbox::example::{Example, consent};
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::{Client, Engine, Options, TEST, World, pki_copy};

on_both_engines!(rows_are_judged_by_what_was_played, each_fault_is_named, two_runs_never_see_each_other);

struct Vendor<'a> {
    world: &'a World,
    run: Run,
}

/// A world whose PKI the test may add to.
fn world(engine: Engine, folder: &std::path::Path) -> World {
    World::start_with(engine, Options { certs: Some(pki_copy(folder)), ..Options::default() })
}

fn portal(world: &World, path: &str) -> String {
    format!("http://{}{path}", world.listening.portal)
}

fn fetched(world: &World, path: &str) -> (u16, String) {
    let answer = reqwest::blocking::get(portal(world, path)).unwrap();
    (answer.status().as_u16(), answer.text().unwrap())
}

impl<'a> Vendor<'a> {
    fn open(world: &'a World, name: &str) -> Self {
        let form = [("name", name), ("software", "LPS <1>"), ("profile", "Consultation")];
        let http =
            reqwest::blocking::Client::builder().timeout(std::time::Duration::from_secs(120)).build().unwrap();
        let answer = http
            .post(portal(world, "/homologation"))
            .header("Accept", "application/json")
            .form(&form)
            .send()
            .unwrap();
        let (status, text) = (answer.status(), answer.text().unwrap());
        assert_eq!(status, 201, "{text}");
        Self { world, run: serde_json::from_str(&text).unwrap() }
    }

    fn client(&self, card: &str) -> Client {
        self.world.client(&format!("{}-{card}", self.run.id.to_lowercase()))
    }

    fn ins(&self, role: &str) -> &str {
        &self.run.patients[role].ins
    }

    fn example<'b>(&'b self, role: &str, unique_id: &'b str) -> Example<'b> {
        let patient = &self.run.patients[role];
        Example {
            author: &self.run.professionals[0],
            ..Example::new(TEST, &patient.ins, &patient.family, unique_id)
        }
    }

    fn report(&self) -> Value {
        let (status, text) = fetched(self.world, &format!("/homologation/{}/rapport.json", self.run.id));
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    fn row(&self, code: &str) -> Value {
        let report = self.report();
        report["rows"].as_array().unwrap().iter().find(|row| row["code"] == code).unwrap().clone()
    }

    fn act(&self, role: &str, act: &str) -> u16 {
        let path = format!("/homologation/{}/patients/{role}/{act}", self.run.id);
        let http = reqwest::blocking::Client::new();
        let answer = http.post(portal(self.world, &path)).header("Accept", "application/json").send().unwrap();
        answer.status().as_u16()
    }

    fn command(&self, more: &[&str]) -> Output {
        let data = self.world.data.to_str().unwrap();
        Command::new(env!("CARGO_BIN_EXE_habilis"))
            .args([
                "homologation",
                "report",
                &self.run.id,
                "--data",
                data,
                "--database",
                &self.world.database_url,
            ])
            .args(more)
            .output()
            .unwrap()
    }
}

fn search(ins: &str, more: &str) -> String {
    format!("/DocumentReference?patient.identifier={TEST}%7C{ins}&status=current{more}")
}

#[track_caller]
fn assert_passed(vendor: &Vendor<'_>, codes: &[&str]) {
    let report = vendor.report();
    for code in codes {
        let row = report["rows"].as_array().unwrap().iter().find(|row| row["code"] == *code).unwrap();
        assert_eq!(row["verdict"], "passed", "{row}");
    }
}

fn rows_are_judged_by_what_was_played(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let world = world(engine, folder.path());
    let vendor = Vendor::open(&world, "ACME");
    let before = vendor.report();
    assert_eq!((before["passed"].as_u64(), before["failed"].as_u64()), (Some(0), Some(0)));
    assert_eq!(before["rows"].as_array().unwrap().len(), 104);
    let doctor = vendor.client("cps-medecin");
    // Its cards act for their structures from the first call on.
    let session = [("grant_type", "client_credentials"), ("structure", "1750000101")];
    assert_eq!(vendor.client("cps-medecin-b").ask_token(&session).status, 200);
    for role in ["inexistant", "ouvert", "autorise", "expire"] {
        assert_eq!(doctor.exists(vendor.ins(role)).status, 200);
    }
    assert_passed(&vendor, &["0.1-060#1", "0.1-060#2", "0.2-010", "0.2-030", "0.2-040", "0.2-060"]);
    // What the sandbox prepared is there to be found and read.
    for (more, total) in [
        ("", 7),
        ("&type=11506-3", 1),
        ("&type=11506-3,15507-7", 2),
        ("&type=34112-3&isArchived=true,false", 3),
    ] {
        let found = doctor.get(&search(vendor.ins("complet"), more));
        assert_eq!(found.json()["total"], total, "{more}: {}", found.text());
    }
    let found = doctor.get(&search(vendor.ins("complet"), "&isArchived=true,false&_count=50")).json();
    for entry in found["entry"].as_array().unwrap() {
        let url = entry["resource"]["content"][0]["attachment"]["url"].as_str().unwrap();
        assert_eq!(doctor.send("GET", url.split("/fhir").nth(1).unwrap(), &[], None).unwrap().status, 200);
    }
    assert_passed(&vendor, &["3.1-005", "3.1-090", "3.1-100", "3.1-040", "3.2-010", "3.2-020", "3.2-030"]);
    // Feeds, a replacement, a mask taken off by the médecin traitant.
    let first = vendor.example("ouvert", "2.25.6001");
    assert_eq!(doctor.post("", first.transaction()).status, 200);
    let masked =
        Example { labels: &["N", "MASQUE_PS"], type_code: "34874-8", ..vendor.example("ouvert", "2.25.6002") };
    assert_eq!(doctor.post("/DocumentReference", masked.single()).status, 201);
    assert_eq!(doctor.post("/Consent", consent(TEST, vendor.ins("ouvert"))).status, 201);
    assert_eq!(doctor.exists(vendor.ins("ouvert")).status, 200);
    assert_passed(&vendor, &["2.1-013", "2.1-050", "0.3-010"]);
    let hidden = doctor.get(&search(vendor.ins("traite"), "")).json();
    let id = hidden["entry"][0]["resource"]["id"].as_str().unwrap();
    let labels =
        json!([{ "op": "replace", "path": "/securityLabel", "value": [{ "coding": [{ "code": "N" }] }] }]);
    assert_eq!(doctor.patch(&format!("/DocumentReference/{id}"), &labels).status, 200);
    assert_passed(&vendor, &["3.3-050"]);
    // A mask shows nothing to anybody.
    let mask = json!([{ "op": "replace", "path": "/securityLabel", "value": [{ "coding": [{ "code": "MASQUE_PS" }] }] }]);
    let visible = doctor.get(&search(vendor.ins("complet"), "&type=11506-3")).json();
    let id = visible["entry"][0]["resource"]["id"].as_str().unwrap();
    assert_eq!(doctor.patch(&format!("/DocumentReference/{id}"), &mask).status, 200);
    assert_passed(&vendor, &["3.3-160"]);
    assert_eq!(vendor.row("3.3-060")["verdict"], "not played");
    // A secretary's card is the run's too.
    let own = vendor.example("ouvert", "2.25.6005");
    let by_structure = Example { author: "3750000101/R0001E", ..own };
    let fed = vendor.client("cpe-secretaire").post("/DocumentReference", by_structure.single());
    assert_eq!(fed.status, 201, "{}", fed.text());
    assert_passed(&vendor, &["0.1-120"]);
    // The patient opposes: a button, and a call.
    let own = vendor.example("oppose", "2.25.6003");
    assert_eq!(doctor.post("", own.transaction()).status, 200);
    assert_eq!(vendor.act("oppose", "opposer"), 204);
    assert_eq!(doctor.post("", vendor.example("oppose", "2.25.6004").transaction()).status, 403);
    assert_eq!(doctor.delete_document("2.25.6003").status, 200);
    assert_passed(&vendor, &["2.1-970#3", "2.1-970#5"]);
    assert_eq!(vendor.act("oppose", "danser"), 404);
    assert_eq!(vendor.act("inexistant", "opposer"), 404);
    // The page, JUnit, and the command say the same.
    let (status, page) = fetched(&world, &format!("/homologation/{}", vendor.run.id));
    assert_eq!(status, 200);
    assert!(page.contains("LPS &lt;1&gt;") && !page.contains("LPS <1>"), "escaped");
    let passed = vendor.report()["passed"].as_u64().unwrap();
    assert!(
        page.contains(&format!("<strong>{passed}</strong> réussis, <strong>0</strong> échecs")),
        "{passed}"
    );
    let (_, junit) = fetched(&world, &format!("/homologation/{}/rapport.xml", vendor.run.id));
    assert!(
        junit.contains(&format!("tests=\"104\" failures=\"0\" skipped=\"{}\"", 104 - passed)),
        "{}",
        &junit[..300]
    );
    let told = vendor.command(&[]);
    assert!(told.status.success());
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.contains(&format!("{passed} passed, 0 failed")), "{text}");
    assert!(vendor.command(&["--only", "3.1-090,3.1-100"]).status.success());
    assert!(!vendor.command(&["--only", "3.1-090,3.2-800"]).status.success(), "one was not played");
    assert!(
        !vendor.command(&["--only", "0.1-160"]).status.success(),
        "one that nobody can judge is not passed"
    );
    // Who has authorised can block; who has not has nobody to block.
    assert_eq!((vendor.act("expire", "debloquer"), vendor.act("autorise", "bloquer")), (404, 204));
    assert_eq!(doctor.get(&search(vendor.ins("autorise"), "")).status, 403);
    // Its cards can be fetched, and nothing else.
    let card = format!("/homologation/{}/cartes/{}-cps-medecin", vendor.run.id, vendor.run.id.to_lowercase());
    assert!(fetched(&world, &format!("{card}.pem")).1.starts_with("-----BEGIN CERTIFICATE"));
    assert!(fetched(&world, &format!("{card}.key")).1.starts_with("-----BEGIN PRIVATE KEY"));
    for other in ["/homologation/R0001/cartes/server.key", "/homologation/R0009", "/homologation/..%2f..%2fx"] {
        assert_eq!(fetched(&world, other).0, 404, "{other}");
    }
}

fn each_fault_is_named(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let world = world(engine, folder.path());
    let vendor = Vendor::open(&world, "ACME");
    let doctor = vendor.client("cps-medecin");
    let playing = |code: &'static str| [("X-Habilis-Case", code)];
    // A feed with a label that the DMP does not have.
    let example = vendor.example("ouvert", "2.25.6101");
    let mut document: Value = serde_json::from_str(&example.single()).unwrap();
    document["type"]["coding"][0]["code"] = "34874-8".into();
    document["securityLabel"] =
        json!([{ "coding": [{ "code": "MASQUE_PS" }] }, { "coding": [{ "code": "SECRET" }] }]);
    let json = ("Content-Type", "application/fhir+json");
    let fed = doctor.send("POST", "/DocumentReference", &[json], Some(document.to_string())).unwrap();
    assert_eq!(fed.status, 422, "{}", fed.text());
    let row = vendor.row("2.1-050");
    assert_eq!(row["verdict"], "failed", "{row}");
    assert_eq!(row["request"], fed.request_id());
    assert!(row["finding"].as_str().unwrap().contains("there is 422"), "{row}");
    assert!(row["element"].as_str().unwrap().contains("securityLabel"), "{row}");
    // A search without what the row asks for.
    let path = search(vendor.ins("complet"), "&type=15507-7");
    assert_eq!(doctor.send("GET", &path, &playing("3.1-090"), None).unwrap().status, 200);
    let row = vendor.row("3.1-090");
    let expected = "type = 11506-3 is expected, and there is 15507-7; type = 15507-7 is one too many";
    assert_eq!(row["finding"], expected, "{row}");
    assert_eq!(vendor.row("3.1-100")["verdict"], "not played", "it was said to be another row");
    // A read of what is not to be read, a declaration without a patient, a change of what may not be changed.
    assert_eq!(doctor.send("GET", "/Binary/none", &playing("3.2-010"), None).unwrap().status, 404);
    assert!(vendor.row("3.2-010")["finding"].as_str().unwrap().contains("image/tiff is expected"));
    let mut nobody: Value = serde_json::from_str(&consent(TEST, vendor.ins("ouvert"))).unwrap();
    nobody["provision"]["type"] = "deny".into();
    let headers = [json, playing("0.3-010")[0]];
    let refused = doctor.send("POST", "/Consent", &headers, Some(nobody.to_string())).unwrap();
    assert!(refused.status >= 400, "{}", refused.text());
    let row = vendor.row("0.3-010");
    assert_eq!((row["verdict"].as_str(), row["call"].as_u64()), (Some("failed"), Some(1)), "{row}");
    let emergency = doctor.get(&search(vendor.ins("urgence"), ""));
    assert_eq!(emergency.status, 403);
    assert_eq!(vendor.row("3.1-150")["verdict"], "not played", "without the mode it may be anything");
    let said = doctor.send("GET", &search(vendor.ins("urgence"), ""), &playing("3.1-150"), None).unwrap();
    let row = vendor.row("3.1-150");
    assert_eq!(row["request"], said.request_id());
    assert_eq!(
        row["finding"].as_str().unwrap().split(" (").next(),
        Some("mode = bris_de_glace is expected, and there is normal")
    );
    let told = vendor.command(&["--format", "json"]);
    assert_eq!(told.status.code(), Some(1), "a row failed");
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(report["failed"], vendor.report()["failed"]);
}

fn two_runs_never_see_each_other(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let world = world(engine, folder.path());
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| Vendor::open(&world, "ONE"));
        let two = Vendor::open(&world, "TWO");
        (one.join().unwrap(), two)
    });
    assert_ne!(one.run.id, two.run.id);
    for (role, patient) in &one.run.patients {
        assert_ne!(patient.ins, two.run.patients[role].ins);
        assert_ne!(patient.family, two.run.patients[role].family);
    }
    assert!(one.run.professionals.iter().all(|id| !two.run.professionals.contains(id)));
    let doctor = one.client("cps-medecin");
    assert_eq!(doctor.exists(one.ins("ouvert")).status, 200);
    assert_eq!(doctor.get(&search(one.ins("complet"), "")).status, 200);
    assert!(one.report()["passed"].as_u64().unwrap() > 0);
    let other = two.report();
    assert_eq!((other["passed"].as_u64(), other["failed"].as_u64()), (Some(0), Some(0)));
    // Its doctors have no right to the other's patients.
    assert_eq!(doctor.get(&search(two.ins("complet"), "")).status, 403);
    assert_eq!(two.report()["failed"], 0, "nor is that a fault of theirs");
    let (_, list) = fetched(&world, "/homologation");
    assert!(list.contains(&one.run.id) && list.contains(&two.run.id));
    // Another site's form opens nothing.
    let http = reqwest::blocking::Client::new();
    let form = [("name", "X"), ("software", "X"), ("profile", "X")];
    let foreign =
        http.post(portal(&world, "/homologation")).header("Sec-Fetch-Site", "cross-site").form(&form).send();
    assert_eq!(foreign.unwrap().status(), 400);
    let foreign =
        http.post(portal(&world, "/homologation")).header("Origin", "http://example.org").form(&form).send();
    assert_eq!(foreign.unwrap().status(), 400);
    let empty = [("name", ""), ("software", "X"), ("profile", "X")];
    assert_eq!(http.post(portal(&world, "/homologation")).form(&empty).send().unwrap().status(), 400);
}

#[test]
fn a_strict_sandbox_has_the_same_patients() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { certs: Some(pki_copy(folder.path())), strict: true, ..Options::default() };
    let world = World::start_with(Engine::Sqlite, options);
    let vendor = Vendor::open(&world, "ACME");
    let found = vendor.client("cps-medecin").get(&search(vendor.ins("complet"), ""));
    assert_eq!(found.json()["total"], 7, "{}", found.text());
}
