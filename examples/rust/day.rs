//! A practice software's day against Habilis, in Rust: feed, find, read, mask, emergency.
//!
//! ```sh
//! cargo run --release -- sandbox         # in one terminal
//! cargo run --release --example day      # in another
//! ```
//!
//! `HABILIS_BASE` and `HABILIS_CERTS` say where the server is and where its cards lie.

mod dmp;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dmp::{Caller, INS_SYSTEM, Result, address, consent, document, entries};
use reqwest::StatusCode as Status;
use serde_json::json;

const INS: &str = "185067599900166";

fn main() -> Result<()> {
    let (author, reader) = (Caller::card("cps-medecin")?, Caller::card("cps-medecin-b")?);
    let patient = format!("{INS_SYSTEM}|{INS}");

    let record = author.get("/Patient").query("identifier", &patient).json(Status::OK)?;
    println!("record: {} open: {}", record["total"], record["entry"][0]["resource"]["active"]);

    let document = document(INS, "810100000016", "11488-4", &[]);
    let feed = || author.post("/DocumentReference", &document.resource).json(Status::CREATED);
    // Sent again, it is answered as the first time: retry without fear.
    let (fed, again) = (feed()?, feed()?);
    println!("fed: {} again: {}", fed["id"], fed["id"] == again["id"]);

    // Whoever reads, and whoever changes what he fed, has the patient's authorisation.
    for doctor in [&author, &reader] {
        doctor.post("/Consent", &consent(INS)).json(Status::CREATED)?;
    }
    let unique_id = format!("urn:oid:{}", document.unique_id);
    let find = |by: &Caller| {
        let search =
            by.get("/DocumentReference").query("patient.identifier", &patient).query("status", "current");
        search.query("identifier", &unique_id).json(Status::OK)
    };
    let found = find(&reader)?;
    println!("found: {}", found["total"]);
    let one = entries(&found).next().ok_or("nothing found")?;
    let read = reader.get(address(one)?).header("Accept", "*/*").send()?.bytes()?;
    let sent =
        STANDARD.decode(document.resource["content"][0]["attachment"]["data"].as_str().unwrap_or_default())?;
    println!("read as fed: {}", read == sent);

    let mask =
        json!([{ "op": "add", "path": "/securityLabel/-", "value": { "coding": [{ "code": "MASQUE_PS" }] } }]);
    let id = fed["id"].as_str().unwrap_or_default();
    let masked = author.patch(&format!("/DocumentReference/{id}"), &mask).json(Status::OK)?;
    println!("masked, version: {}", masked["meta"]["versionId"].as_str().unwrap_or_default());
    println!("the other finds: {}", find(&reader)?["total"]);
    println!("and reads: {}", reader.get(&format!("/DocumentReference/{id}")).send()?.status().as_u16());

    let emergency = Caller::card("cps-infirmier")?.session(&[
        ("scope", "ITI-67 ITI-68"),
        ("purpose_of_use", "bris_de_glace"),
        ("motif", "patient inconscient"),
        ("patient", &patient),
    ])?;
    let search =
        emergency.get("/DocumentReference").query("patient.identifier", &patient).query("status", "current");
    let found = search.json(Status::OK)?;
    let there = entries(&found).any(|one| one["id"] == fed["id"]);
    println!(
        "in an emergency: {} masked among them: {there}",
        found["resourceType"].as_str().unwrap_or_default()
    );
    Ok(())
}
