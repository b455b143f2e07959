//! A client as vendors write them: mutual TLS with a card.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

pub const FHIR_JSON: &str = "application/fhir+json";

/// The TLS of a client with a card, or without.
pub fn tls_config(certs: &Path, card: Option<&str>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(certs.join("ca.pem")).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match card {
        Some(card) => {
            let chain = CertificateDer::pem_file_iter(certs.join(format!("{card}.pem")))
                .unwrap()
                .collect::<Result<Vec<_>, _>>()
                .unwrap();
            let key = PrivateKeyDer::from_pem_file(certs.join(format!("{card}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    }
}

/// A client that keeps its connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::blocking::Client,
    base: String,
    port: u16,
    token: Option<String>,
    /// Bodies go out as XML, and FHIR is asked for as XML.
    in_xml: bool,
}

thread_local! {
    static IN_XML: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whatever client this thread makes from here on speaks FHIR's XML.
pub fn speak_xml() {
    IN_XML.set(true);
}

/// FHIR's XML.
pub const FHIR_XML: &str = "application/fhir+xml";

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Client {
    pub fn new(certs: &Path, card: Option<&str>, port: u16) -> Self {
        let http = reqwest::blocking::Client::builder()
            .tls_backend_preconfigured(tls_config(certs, card))
            .timeout(std::time::Duration::from_secs(60))
            .build()
            .unwrap();
        Self { http, base: format!("https://localhost:{port}/fhir"), port, token: None, in_xml: IN_XML.get() }
    }

    /// A client that presents this chain, whatever it is worth, and keeps no connection that was refused.
    pub fn presenting(certs: &Path, chain: &[Vec<u8>], key: &[u8], port: u16) -> Self {
        let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(key.to_vec()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        // Without the check that key and certificate fit.
        let resolver = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key));
        let mut tls = tls_config(certs, None);
        tls.client_auth_cert_resolver = Arc::new(resolver);
        let http = reqwest::blocking::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(std::time::Duration::from_secs(30))
            .build()
            .unwrap();
        Self { http, base: format!("https://localhost:{port}/fhir"), port, token: None, in_xml: IN_XML.get() }
    }

    /// The same connection, and a token on every request.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Asks for a token.
    pub fn ask_token(&self, form: &[(&str, &str)]) -> Answer {
        let response = self.http.post(self.at_root("/oauth2/token")).form(form).send().unwrap();
        super::ledger::note(self.port, &response);
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            bytes: response.bytes().unwrap().to_vec(),
        }
    }

    /// Asks what a token says.
    pub fn ask_introspection(&self, token: &str) -> Value {
        let form = [("token", token)];
        let response = self.http.post(self.at_root("/oauth2/introspect")).form(&form).send().unwrap();
        super::ledger::note(self.port, &response);
        response.json().unwrap()
    }

    /// A path below the base, or a whole URL.
    fn url(&self, path: &str) -> String {
        if path.starts_with("https://") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    /// A path that is not below the FHIR base, as a whole URL.
    pub fn at_root(&self, path: &str) -> String {
        format!("{}{path}", self.base.strip_suffix("/fhir").unwrap())
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method.parse().unwrap(), self.url(path));
        let in_xml = self.in_xml && !path.contains("/mes/v1") && !path.contains("/oauth2");
        // A document's own bytes are asked for by who names nothing.
        if in_xml && !path.contains("/Binary/") && !headers.iter().any(|(name, _)| *name == "Accept") {
            request = request.header("Accept", FHIR_XML);
        }
        // What is no FHIR, XML cannot say: it goes out as it is.
        let fhir = headers.contains(&("Content-Type", FHIR_JSON));
        let xml =
            body.as_ref().filter(|_| in_xml && fhir).and_then(|body| habilis::fhir::xml::to_xml(body).ok());
        for (name, value) in headers {
            let value = if xml.is_some() && *name == "Content-Type" { FHIR_XML } else { value };
            request = request.header(*name, value);
        }
        let body = xml.or(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send()?;
        super::ledger::note(self.port, &response);
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            bytes: response.bytes()?.to_vec(),
        })
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).unwrap()
    }

    pub fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        self.send("POST", path, &[("Content-Type", FHIR_JSON)], Some(body.into())).unwrap()
    }

    /// Declares the patient's authorisation (TD0.3).
    pub fn authorise(&self, ins: &str) {
        let answer = self.post("/Consent", habilis::sandbox::example::consent(super::TEST, ins));
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// Tests whether a record exists (TD0.2).
    pub fn exists(&self, ins: &str) -> Answer {
        self.get(&format!("/Patient?identifier={}%7C{ins}", super::TEST))
    }

    /// A JSON Patch of a path.
    pub fn patch(&self, path: &str, operations: &Value) -> Answer {
        let headers = [("Content-Type", "application/json-patch+json")];
        self.send("PATCH", path, &headers, Some(operations.to_string())).unwrap()
    }

    /// A JSON Patch of a document, named by its unique id.
    pub fn patch_document(&self, unique_id: &str, operations: &Value) -> Answer {
        self.patch(
            &format!("/DocumentReference?identifier=urn:ietf:rfc:3986%7Curn:oid:{unique_id}"),
            operations,
        )
    }

    /// Gives a document these labels (TD3.3a, TD3.3b).
    pub fn label(&self, unique_id: &str, labels: &[&str]) -> Answer {
        let concept = |code: &&str| serde_json::json!({ "coding": [{ "code": code }] });
        let labels: Vec<Value> = labels.iter().map(concept).collect();
        self.patch_document(
            unique_id,
            &serde_json::json!([{ "op": "replace", "path": "/securityLabel", "value": labels }]),
        )
    }

    /// Deletes a document (TD3.3c).
    pub fn delete_document(&self, unique_id: &str) -> Answer {
        let deleted = serde_json::json!([{ "op": "replace", "path": "/status", "value": "entered-in-error" }]);
        self.patch_document(unique_id, &deleted)
    }

    /// Looks up one reference (TD3.1b).
    pub fn look_up(&self, ins: &str, unique_id: &str) -> Answer {
        self.get(&format!(
            "/DocumentReference?patient.identifier={}%7C{ins}&identifier=urn:ietf:rfc:3986%7Curn:oid:{unique_id}",
            super::TEST
        ))
    }

    /// Finds current documents (TD3.1).
    pub fn find(&self, ins: &str) -> Answer {
        self.get(&format!("/DocumentReference?patient.identifier={}%7C{ins}&status=current", super::TEST))
    }
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    /// The JSON, or what the XML says.
    pub fn json(&self) -> Value {
        if self.header("content-type").starts_with(FHIR_XML) {
            let json = habilis::fhir::xml::to_json(self.text());
            return serde_json::from_str(&json.unwrap_or_else(|fault| panic!("{fault}: {}", self.text())))
                .unwrap();
        }
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn request_id(&self) -> &str {
        self.header("x-request-id")
    }

    /// The access token of an answer.
    #[track_caller]
    pub fn token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The code of an outcome's first issue: that of the DMP or of IHE.
    pub fn code(&self) -> String {
        self.json()["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts a refusal: status, code, French text, English diagnostics that hold a phrase.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: &str, phrase: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let outcome = self.json();
        assert_eq!(outcome["resourceType"], "OperationOutcome");
        assert_eq!(self.code(), code, "{}", self.text());
        let all: Vec<&str> = outcome["issue"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|issue| issue["diagnostics"].as_str())
            .collect();
        assert!(all.iter().any(|diagnostics| diagnostics.contains(phrase)), "« {phrase} » not in {all:?}");
        assert!(outcome["issue"][0]["details"]["text"].as_str().unwrap().ends_with('.'));
        assert_eq!(outcome["id"], self.request_id());
    }

    /// Total and ids of a searchset.
    #[track_caller]
    pub fn found(&self) -> (u64, Vec<String>) {
        assert_eq!(self.status, 200, "{}", self.text());
        let bundle = self.json();
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        let ids = entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()).collect();
        (bundle["total"].as_u64().unwrap(), ids)
    }

    /// The link of a relation.
    pub fn link(&self, relation: &str) -> Option<String> {
        let bundle = self.json();
        let link = bundle["link"].as_array()?.iter().find(|link| link["relation"] == relation)?.clone();
        link["url"].as_str().map(str::to_owned)
    }

    /// The attachment's URL of the first document.
    pub fn first_attachment(&self) -> String {
        let bundle = self.json();
        bundle["entry"][0]["resource"]["content"][0]["attachment"]["url"].as_str().unwrap().to_owned()
    }
}
