//! What a practice software needs of the DMP over FHIR: a card, calls that are sent again where that is safe, a document, a consent.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::blocking::{Client, Response};
use reqwest::{Method, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// System of the INS, test branch.
pub const INS_SYSTEM: &str = "urn:oid:1.2.250.1.213.1.4.10";
pub const FHIR: &str = "application/fhir+json";
pub const PATCH: &str = "application/json-patch+json";

/// Where the server is.
pub fn base() -> String {
    std::env::var("HABILIS_BASE").unwrap_or_else(|_| "https://localhost:8443/fhir".into())
}

/// Who calls: a card over mutual TLS, and the session that it opened, if any.
#[derive(Clone)]
pub struct Caller {
    http: Client,
    token: Option<String>,
}

/// A call, before it is sent.
pub struct Call<'a> {
    caller: &'a Caller,
    method: Method,
    url: String,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Caller {
    /// The card of that name.
    pub fn card(name: &str) -> Result<Self> {
        let certs = PathBuf::from(std::env::var("HABILIS_CERTS").unwrap_or_else(|_| "certs/sandbox".into()));
        let mut roots = rustls::RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(certs.join("ca.pem"))? {
            roots.add(root?)?;
        }
        let chain: std::result::Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(certs.join(format!("{name}.pem")))?.collect();
        let key = PrivateKeyDer::from_pem_file(certs.join(format!("{name}.key")))?;
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain?, key)?;
        Ok(Self { http: Client::builder().tls_backend_preconfigured(tls).build()?, token: None })
    }

    /// The same card in a session (docs/tokens.md): a mode, a scope, a patient.
    pub fn session(&self, asked: &[(&str, &str)]) -> Result<Self> {
        let form: Vec<(&str, &str)> =
            [("grant_type", "client_credentials")].iter().chain(asked).copied().collect();
        let form = reqwest::Url::parse_with_params("http://form", form)?.query().unwrap_or_default().to_owned();
        let url = format!("{}/oauth2/token", base().trim_end_matches("/fhir"));
        let answer = self
            .call(Method::POST, &url)
            .body("application/x-www-form-urlencoded", form)
            .json(StatusCode::OK)?;
        Ok(Self { token: answer["access_token"].as_str().map(str::to_owned), ..self.clone() })
    }

    /// A call of a path below the base, or of an address that the server gave.
    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        let url = if path.starts_with("https:") { path.to_owned() } else { base() + path };
        let headers = self.token.iter().map(|token| ("Authorization", format!("Bearer {token}"))).collect();
        Call { caller: self, method, url, query: Vec::new(), headers, body: None }
    }

    pub fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str, resource: &Value) -> Call<'_> {
        self.call(Method::POST, path).body(FHIR, resource.to_string())
    }

    pub fn patch(&self, path: &str, operations: &Value) -> Call<'_> {
        self.call(Method::PATCH, path).body(PATCH, operations.to_string())
    }
}

impl Call<'_> {
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, media: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("Content-Type", media)
    }

    /// Sends it, and the same bytes again where the server asks for it (429, 503) or the connection was cut: what was done already is answered as
    /// the first time, and is there once.
    pub fn send(self) -> Result<Response> {
        const ATTEMPTS: u32 = 4;
        let mut attempt = 1;
        loop {
            let mut request = self.caller.http.request(self.method.clone(), &self.url).query(&self.query);
            for (name, value) in &self.headers {
                request = request.header(*name, value);
            }
            if let Some(body) = &self.body {
                request = request.body(body.clone());
            }
            let wait = match request.send() {
                Ok(answer)
                    if matches!(
                        answer.status(),
                        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
                    ) && attempt < ATTEMPTS =>
                {
                    let said =
                        answer.headers().get("Retry-After").and_then(|wait| wait.to_str().ok()?.parse().ok());
                    said.unwrap_or(1)
                }
                Ok(answer) => return Ok(answer),
                // A card that is refused is refused again: no connection, no second attempt.
                Err(error) if error.is_connect() || attempt == ATTEMPTS => return Err(error.into()),
                Err(_) => 1,
            };
            sleep(Duration::from_secs(wait));
            attempt += 1;
        }
    }

    /// Its answer as JSON, where its status is the one expected. A refusal is an OperationOutcome: it says why.
    pub fn json(self, expected: StatusCode) -> Result<Value> {
        let what = format!("{} {}", self.method, self.url);
        let answer = self.send()?;
        let (status, text) = (answer.status(), answer.text()?);
        if status != expected {
            return Err(format!("{what}: {status} instead of {expected}: {text}").into());
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

/// A document as it is fed.
pub struct Document {
    pub unique_id: String,
    pub resource: Value,
}

/// A CDA document of a patient, of a type (JDV_J66), with labels.
#[expect(clippy::disallowed_methods, reason = "a client chooses the identifiers of its documents")]
pub fn document(ins: &str, author: &str, kind: &str, labels: &[&str]) -> Document {
    let unique_id = format!("2.25.{}", uuid::Uuid::new_v4().as_u128());
    let bytes = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ClinicalDocument xmlns=\"urn:hl7-org:v3\">\
         <typeId root=\"2.16.840.1.113883.1.3\" extension=\"POCD_HD000040\"/><id root=\"{unique_id}\"/>\
         <code code=\"{kind}\" codeSystem=\"2.16.840.1.113883.6.1\"/><title>Compte rendu</title>\
         <recordTarget><patientRole><id root=\"1.2.250.1.213.1.4.10\" extension=\"{ins}\"/></patientRole></recordTarget>\
         <component><structuredBody><component><section><text>Examen.</text></section></component></structuredBody></component>\
         </ClinicalDocument>"
    )
    .into_bytes();
    let hash = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes));
    let mut resource = json!({
        "resourceType": "DocumentReference",
        "contained": [{ "resourceType": "PractitionerRole", "id": "auteur",
            "identifier": [{ "system": "urn:oid:1.2.250.1.71.4.2.1", "value": author }] }],
        "masterIdentifier": { "system": "urn:ietf:rfc:3986", "value": format!("urn:oid:{unique_id}") },
        "status": "current",
        "type": { "coding": [{ "system": "http://loinc.org", "code": kind }] },
        "subject": { "identifier": { "system": INS_SYSTEM, "value": ins } },
        "author": [{ "reference": "#auteur" }],
        "content": [{
            "attachment": { "contentType": "text/xml", "language": "fr-FR", "title": "Compte rendu de consultation",
                "size": bytes.len(), "hash": hash, "data": STANDARD.encode(&bytes) },
            "format": {
                "system": "https://mos.esante.gouv.fr/NOS/TRE_A06-FormatCodeComplementaire/FHIR/TRE-A06-FormatCodeComplementaire",
                "code": "urn:ihe:iti:xds-sd:text:2008" } }],
        "context": { "period": { "start": "2026-06-12T09:30:00+02:00" } },
    });
    // An empty array is none in FHIR.
    if !labels.is_empty() {
        resource["securityLabel"] = labels.iter().map(|code| json!({ "coding": [{ "code": code }] })).collect();
    }
    Document { unique_id, resource }
}

/// TD0.3: the patient authorises whoever sends it.
pub fn consent(ins: &str) -> Value {
    json!({
        "resourceType": "Consent", "status": "active",
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
        "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
        "patient": { "identifier": { "system": INS_SYSTEM, "value": ins } }, "provision": { "type": "permit" },
    })
}

/// The resources of a searchset.
pub fn entries(found: &Value) -> impl Iterator<Item = &Value> {
    found["entry"].as_array().into_iter().flatten().map(|entry| &entry["resource"])
}

/// The address of a document's bytes.
pub fn address(document: &Value) -> Result<&str> {
    document["content"][0]["attachment"]["url"].as_str().ok_or_else(|| "no attachment".into())
}
