//! Plays the homologation kit of a sandbox (docs/homologation.md), in Rust: opens a run, plays rows, prints what the kit says of them.
//!
//! ```sh
//! cargo run --release -- sandbox                  # in one terminal
//! cargo run --release --example homologation      # in another
//! ```
//!
//! `HABILIS_BASE`, `HABILIS_CERTS` and `HABILIS_PORTAL` say where the server is, where cards lie, and where the portal is.

mod dmp;

use std::process::ExitCode;

use dmp::{Call, Caller, INS_SYSTEM, Result, address, consent, document, entries};
use reqwest::StatusCode as Status;
use serde_json::{Value, json};

const MASKED: &str = "MASQUE_PS";
const HIDDEN: &str = "INVISIBLE_PATIENT";
const FROM_PARENTS: &str = "INVISIBLE_REPRESENTANTS_LEGAUX";

/// A card of the run, and by which id its documents name their author.
struct Player {
    caller: Caller,
    author: String,
}

/// A document that is fed: by whom, of which type, with which labels, in place of which other one, and what is answered.
struct Feed<'a> {
    by: &'a Player,
    kind: &'a str,
    labels: &'a [&'a str],
    replaces: Option<&'a str>,
    expected: Status,
}

/// A run of the kit, and the calls of which rows are made. An empty row: of none in particular.
struct Run {
    portal: String,
    opened: Value,
    doctor: Player,
    secretary: Player,
}

fn playing<'a>(call: Call<'a>, row: &str) -> Call<'a> {
    if row.is_empty() { call } else { call.header("X-Habilis-Case", row) }
}

fn labels(codes: &[&str]) -> Value {
    let value: Vec<Value> = codes.iter().map(|code| json!({ "coding": [{ "code": code }] })).collect();
    json!([{ "op": "replace", "path": "/securityLabel", "value": value }])
}

fn deleted() -> Value {
    json!([{ "op": "replace", "path": "/status", "value": "entered-in-error" }])
}

fn unique_id(document: &Value) -> String {
    document["masterIdentifier"]["value"].as_str().unwrap_or_default().replace("urn:oid:", "")
}

impl Run {
    fn open() -> Result<Self> {
        let portal = std::env::var("HABILIS_PORTAL").unwrap_or_else(|_| "http://127.0.0.1:8080".into());
        let asked = [
            ("name", "Exemple"),
            ("software", "homologation.rs 1.0"),
            ("profile", "Alimentation, consultation"),
        ];
        let answer = reqwest::blocking::Client::new()
            .post(format!("{portal}/homologation"))
            .header("Accept", "application/json")
            .form(&asked)
            .send()?
            .error_for_status()?;
        let opened: Value = answer.json()?;
        let id = opened["id"].as_str().ok_or("a run without a number")?.to_owned();
        let card = |name: &str| Caller::card(&format!("{}-{name}", id.to_lowercase()));
        let author = opened["professionals"][0].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            doctor: Player { caller: card("cps-medecin")?, author },
            secretary: Player { caller: card("cpe-secretaire")?, author: format!("3750000101/{id}E") },
            portal,
            opened,
        })
    }

    fn id(&self) -> &str {
        self.opened["id"].as_str().unwrap_or_default()
    }

    fn card(&self, name: &str) -> Result<Caller> {
        Caller::card(&format!("{}-{name}", self.id().to_lowercase()))
    }

    fn ins(&self, role: &str) -> &str {
        self.opened["patients"][role]["ins"].as_str().unwrap_or_default()
    }

    fn patient(&self, role: &str) -> String {
        format!("{INS_SYSTEM}|{}", self.ins(role))
    }

    fn exists(&self, row: &str, role: &str) -> Result<Value> {
        playing(self.doctor.caller.get("/Patient").query("identifier", self.patient(role)), row)
            .json(Status::OK)
    }

    fn find(&self, row: &str, role: &str, by: &Caller, more: &[(&str, &str)]) -> Result<Value> {
        let mut search = by
            .get("/DocumentReference")
            .query("patient.identifier", self.patient(role))
            .query("status", "current");
        for (name, value) in more {
            search = search.query(name, *value);
        }
        playing(search, row).json(Status::OK)
    }

    fn declare(&self, row: &str, role: &str, by: &Caller) -> Result<Value> {
        playing(by.post("/Consent", &consent(self.ins(role))), row).json(Status::CREATED)
    }

    /// Feeds a document (ITI-105); its unique id.
    fn feed(&self, row: &str, role: &str, fed: &Feed<'_>) -> Result<String> {
        let mut document = document(self.ins(role), &fed.by.author, fed.kind, fed.labels);
        if let Some(replaced) = fed.replaces {
            let target = json!({ "identifier": { "system": "urn:ietf:rfc:3986", "value": format!("urn:oid:{replaced}") } });
            document.resource["relatesTo"] = json!([{ "code": "replaces", "target": target }]);
        }
        playing(fed.by.caller.post("/DocumentReference", &document.resource), row).json(fed.expected)?;
        Ok(document.unique_id)
    }

    /// A report by the first doctor, which is taken.
    fn report(&self) -> Feed<'_> {
        Feed { by: &self.doctor, kind: "11488-4", labels: &[], replaces: None, expected: Status::CREATED }
    }

    fn fed(&self, row: &str, role: &str, kind: &str, labels: &[&str]) -> Result<String> {
        self.feed(row, role, &Feed { kind, labels, ..self.report() })
    }

    fn change(&self, row: &str, unique_id: &str, by: &Player, operations: &Value) -> Result<Value> {
        let identifier = format!("urn:ietf:rfc:3986|urn:oid:{unique_id}");
        playing(by.caller.patch("/DocumentReference", operations).query("identifier", identifier), row)
            .json(Status::OK)
    }

    fn read(&self, row: &str, document: &Value) -> Result<()> {
        let answer = playing(self.doctor.caller.get(address(document)?).header("Accept", "*/*"), row).send()?;
        if answer.status() == Status::OK { Ok(()) } else { Err(format!("{row}: {}", answer.status()).into()) }
    }

    fn look_up(&self, row: &str, role: &str, unique_id: &str) -> Result<Value> {
        let identifier = format!("urn:ietf:rfc:3986|urn:oid:{unique_id}");
        let search =
            self.doctor.caller.get("/DocumentReference").query("patient.identifier", self.patient(role));
        playing(search.query("identifier", identifier), row).json(Status::OK)
    }

    fn patient_acts(&self, role: &str, act: &str) -> Result<()> {
        let url = format!("{}/homologation/{}/patients/{role}/{act}", self.portal, self.id());
        reqwest::blocking::Client::new()
            .post(url)
            .header("Accept", "application/json")
            .send()?
            .error_for_status()?;
        Ok(())
    }
}

fn existence(run: &Run) -> Result<()> {
    for (row, role) in [
        ("0.1-060#1", "inexistant"),
        ("0.2-010", "inexistant"),
        ("0.1-060#2", "ouvert"),
        ("0.2-030", "ouvert"),
        ("0.2-060", "expire"),
    ] {
        run.exists(row, role)?;
    }
    let found = run.exists("0.2-040", "autorise")?;
    let id = entries(&found).next().and_then(|one| one["id"].as_str()).ok_or("no patient")?;
    playing(run.doctor.caller.get(&format!("/Patient/{id}")), "1.3a-010").json(Status::OK)?;
    let other = format!("urn:oid:1.2.250.1.213.1.4.9|{}", run.ins("inexistant"));
    playing(run.doctor.caller.get("/Patient").query("identifier", other), "0.2-080").json(Status::OK)?;
    Ok(())
}

fn authorisations(run: &Run) -> Result<()> {
    let doctor = &run.doctor.caller;
    run.declare("0.3-010", "ouvert", doctor)?;
    run.exists("0.3-010", "ouvert")?;
    run.declare("TNR-03#1", "ouvert", doctor)?;
    for (row, name) in [("0.1-140", "cps-pharmacien"), ("0.1-150", "cps-kine")] {
        let other = run.card(name)?;
        run.declare("", "autorise", &other)?;
        run.find(row, "autorise", &other, &[])?;
    }
    let me = format!("urn:oid:1.2.250.1.71.4.2.1|{}", run.doctor.author);
    let own = doctor
        .get("/Consent")
        .query("actor:identifier", me)
        .query("status", "active")
        .query("date", "ge2011-03-01");
    playing(own, "0.4-010").json(Status::OK)?;
    let of = |row: &str, more: Option<(&str, &str)>| {
        let search = doctor.get("/Consent").query("patient.identifier", run.patient("complet"));
        let search = more.into_iter().fold(search, |search, (name, value)| search.query(name, value));
        playing(search, row).json(Status::OK)
    };
    of("1.6-010", None)?;
    of("1.6-030", Some(("provision-type", "deny")))?;
    Ok(())
}

fn feeding(run: &Run) -> Result<()> {
    for row in ["0.1-120", "2.2-010"] {
        run.feed(row, "ouvert", &Feed { by: &run.secretary, kind: "11490-0", ..run.report() })?;
    }
    run.fed("0.1-110", "ouvert", "11488-4", &[])?;
    run.fed("2.1-050", "ouvert", "34874-8", &["N", MASKED])?;
    run.fed("2.1-060", "ouvert", "34112-3", &["N", HIDDEN])?;
    for row in ["TNR-01#6", "2.1-600"] {
        run.fed(row, "mineur", "11488-4", &["N", FROM_PARENTS])?;
    }
    run.fed("0.1-300#5c", "mineur", "11488-4", &["N"])?;
    let own = run.fed("", "ouvert", "11488-4", &[])?;
    run.look_up("TNR-01#3", "ouvert", &own)?;
    run.change("TNR-01#3", &own, &run.doctor, &deleted())?;
    Ok(())
}

/// Versions of one document: hidden from the patient, then shown; it cannot be hidden again.
fn replacing(run: &Run) -> Result<()> {
    let hidden = ["N", HIDDEN];
    let mut current = run.fed("", "ouvert", "11488-4", &hidden)?;
    for (row, labels) in [("2.1-140#1", &hidden[..]), ("2.1-140#2", &hidden), ("2.1-140#3", &["N"])] {
        current = run.feed(row, "ouvert", &Feed { labels, replaces: Some(&current), ..run.report() })?;
    }
    let refused = Feed {
        labels: &hidden,
        replaces: Some(&current),
        expected: Status::UNPROCESSABLE_ENTITY,
        ..run.report()
    };
    run.feed("2.1-140#4", "ouvert", &refused)?;
    Ok(())
}

/// What was fed before the patient opposed may still be replaced and deleted; nothing new is taken.
fn opposition(run: &Run) -> Result<()> {
    let mut fed = Vec::new();
    for (row, by) in [("2.1-970", &run.doctor), ("2.2-980", &run.secretary)] {
        let feed = || run.feed("", "oppose", &Feed { by, ..run.report() });
        fed.push((row, by, feed()?, feed()?));
    }
    run.patient_acts("oppose", "opposer")?;
    for (row, by, first, second) in fed {
        run.feed(&format!("{row}#3"), "oppose", &Feed { by, expected: Status::FORBIDDEN, ..run.report() })?;
        run.feed(&format!("{row}#4"), "oppose", &Feed { by, replaces: Some(&first), ..run.report() })?;
        run.change(&format!("{row}#5"), &second, by, &deleted())?;
    }
    Ok(())
}

fn searches(run: &Run) -> Result<()> {
    let doctor = &run.doctor.caller;
    for (row, more) in [
        ("3.1-005", &[][..]),
        ("3.1-090", &[("type", "11506-3")]),
        ("3.1-100", &[("type", "11506-3,15507-7")]),
        ("3.1-040", &[("type", "34112-3"), ("isArchived", "true,false")]),
        ("3.1-110", &[("period-start", "ge2010")]),
        ("3.1-130", &[("period-start", "ge2010"), ("period-end", "le2027-03-20")]),
    ] {
        run.find(row, "complet", doctor, more)?;
    }
    let sets =
        doctor.get("/List").query("patient.identifier", run.patient("complet")).query("code", "submissionset");
    let sets =
        sets.query("status", "current").query("date", "ge2025-05-26T09:00:00Z").query("_include", "List:item");
    playing(sets, "3.1-400").json(Status::OK)?;
    let emergency = doctor.session(&[
        ("scope", "ITI-67 ITI-68"),
        ("purpose_of_use", "bris_de_glace"),
        ("motif", "patient inconscient"),
        ("patient", &run.patient("urgence")),
    ])?;
    run.find("3.1-150", "urgence", &emergency, &[])?;
    Ok(())
}

fn reads(run: &Run) -> Result<()> {
    let everything = [("isArchived", "true,false"), ("_count", "50")];
    let found = run.find("3.2-030", "complet", &run.doctor.caller, &everything)?;
    for document in entries(&found) {
        let media = document["content"][0]["attachment"]["contentType"].as_str().unwrap_or_default();
        let row = match media {
            "image/tiff" => "3.2-010",
            "text/plain" => "3.2-020",
            "text/rtf" => "3.2-030",
            _ => "",
        };
        run.read(row, document)?;
    }
    // The masked document of another: its reader is the médecin traitant.
    let found = run.find("", "traite", &run.doctor.caller, &[])?;
    run.read("3.2-150", entries(&found).next().ok_or("no masked document")?)
}

fn changes(run: &Run) -> Result<()> {
    for (row, role, kind, operations) in [
        ("3.3-050", "traite", "", labels(&["N"])),
        ("3.3-060", "complet", "70004-7", labels(&["N"])),
        ("3.3-160", "complet", "15507-7", labels(&["N", MASKED])),
    ] {
        let of_kind = [("type", kind)];
        let found = run.find("", role, &run.doctor.caller, if kind.is_empty() { &[] } else { &of_kind })?;
        let document = entries(&found).next().ok_or("nothing to change")?;
        run.change(row, &unique_id(document), &run.doctor, &operations)?;
    }
    run.change("3.3-070", &run.fed("", "autorise", "11506-3", &[])?, &run.doctor, &deleted())?;
    let archive = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived";
    let archived =
        json!([{ "op": "add", "path": "/extension/-", "value": { "url": archive, "valueBoolean": true } }]);
    run.change("3.3-120", &run.fed("", "autorise", "11502-2", &[])?, &run.doctor, &archived)?;
    let own = run.fed("", "autorise", "11505-5", &[])?;
    run.look_up("3.3-540", "autorise", &own)?;
    run.change("3.3-540", &own, &run.doctor, &deleted())?;
    Ok(())
}

/// A part of the rows.
type Part = fn(&Run) -> Result<()>;

fn main() -> Result<ExitCode> {
    let run = Run::open()?;
    let parts: [(&str, Part); 8] = [
        ("existence", existence),
        ("authorisations", authorisations),
        ("feeding", feeding),
        ("replacing", replacing),
        ("opposition", opposition),
        ("searches", searches),
        ("reads", reads),
        ("changes", changes),
    ];
    let mut faults = 0;
    for (name, part) in parts {
        if let Err(error) = part(&run) {
            faults += 1;
            println!("unexpected: {name}: {error}");
        }
    }
    let report: Value =
        reqwest::blocking::get(format!("{}/homologation/{}/rapport.json", run.portal, run.id()))?.json()?;
    for row in report["rows"].as_array().into_iter().flatten().filter(|row| row["verdict"] == "failed") {
        println!("failed: {} {} {} {}", row["code"], row["finding"], row["element"], row["rule"]);
        faults += 1;
    }
    println!(
        "run {}: {} passed, {} failed, {} not played",
        run.id(),
        report["passed"],
        report["failed"],
        report["notPlayed"]
    );
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
