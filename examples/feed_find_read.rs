//! A vendor's client in one page: existence, feed, authorisation, find, read, over mutual TLS.
//!
//! ```sh
//! cargo run --release -- sandbox                 # in one terminal
//! cargo run --release --example feed_find_read   # in another
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use habilis::sandbox::example::{Example, consent};
use reqwest::blocking::Client;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const INS_SYSTEM: &str = "urn:oid:1.2.250.1.213.1.4.10";
const INS: &str = "185067599900166";

/// A client with the card of that name.
fn card(name: &str) -> Result<Client> {
    let certs = PathBuf::from(std::env::var("HABILIS_CERTS").unwrap_or_else(|_| "certs/sandbox".into()));
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(certs.join("ca.pem"))? {
        roots.add(root?)?;
    }
    let chain: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certs.join(format!("{name}.pem")))?.collect();
    let key = PrivateKeyDer::from_pem_file(certs.join(format!("{name}.key")))?;
    let tls =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain?, key)?;
    Ok(Client::builder().tls_backend_preconfigured(tls).build()?)
}

/// A refusal is an OperationOutcome: show what it says to the integrator.
fn successful(response: reqwest::blocking::Response) -> Result<String> {
    let (status, body) = (response.status(), response.text()?);
    if status.is_success() {
        return Ok(body);
    }
    let outcome: Value = serde_json::from_str(&body)?;
    Err(format!("{status}: {}", outcome["issue"][0]["diagnostics"]).into())
}

fn main() -> Result<()> {
    let base = std::env::var("HABILIS_BASE").unwrap_or_else(|_| "https://localhost:8443/fhir".into());
    let (author, reader) = (card("cps-medecin")?, card("cps-medecin-b")?);
    let patient = format!("{INS_SYSTEM}|{INS}");
    let fhir_json = ("Content-Type", "application/fhir+json");

    // TD0.2: is there a record.
    let found = successful(author.get(format!("{base}/Patient")).query(&[("identifier", &patient)]).send()?)?;
    let found: Value = serde_json::from_str(&found)?;
    println!("record: {}, open: {}", found["total"], found["entry"][0]["resource"]["active"]);

    // TD2.1, ITI-65: feed. Sent again, it is answered as the first time: retry without fear.
    let document = Example::new(INS_SYSTEM, INS, "OUVERT", "2.25.187004560412345678901234567890123456");
    let fed = author.post(&base).header(fhir_json.0, fhir_json.1).body(document.transaction()).send()?;
    let fed: Value = serde_json::from_str(&successful(fed)?)?;
    println!("fed: {}", fed["entry"][1]["response"]["location"]);

    // TD0.3: the other doctor declares the patient's authorisation.
    let declared = reader.post(format!("{base}/Consent")).header(fhir_json.0, fhir_json.1);
    successful(declared.body(consent(INS_SYSTEM, INS)).send()?)?;

    // TD3.1, ITI-67: find.
    let query = [("patient.identifier", patient.as_str()), ("status", "current")];
    let found = successful(reader.get(format!("{base}/DocumentReference")).query(&query).send()?)?;
    let found: Value = serde_json::from_str(&found)?;
    println!("documents: {}", found["total"]);

    // TD3.2, ITI-68: read.
    let url =
        found["entry"][0]["resource"]["content"][0]["attachment"]["url"].as_str().ok_or("no attachment")?;
    let bytes = successful(reader.get(url).send()?)?;
    println!("read {} bytes, as fed: {}", bytes.len(), bytes == document.cda());
    Ok(())
}
