//! The production configuration: what it refuses to start with.

use std::path::Path;

use habilis::config;
use habilis::operations::Strictness;

use crate::support::shared_pki;

/// A configuration whose anchors are a certificate of another name than TEST.
pub fn file(folder: &Path, change: impl FnOnce(String) -> String) -> std::path::PathBuf {
    let anchor = folder.join("anchor.pem");
    std::fs::write(&anchor, anchor_of_another_name()).unwrap();
    let pki = shared_pki().display();
    let text = format!(
        "[api]\nlisten = \"127.0.0.1:0\"\nbase = \"https://dmp.example/fhir\"\n\
         certificate = \"{pki}/server.pem\"\nkey = \"{pki}/server.key\"\n\
         [tokens]\nkey = \"{pki}/token.key\"\n\
         [audit]\norigin = \"dmp.example\"\nnode = \"1\"\nkey = \"{pki}/audit.key\"\ncheckpoints = [\"{folder}/checkpoints\"]\n\
         [encryption]\nkeys = \"{folder}/operator-keys\"\ncurrent = \"2026-11\"\n\
         [trust]\nanchors = \"{anchor}\"\nauthorities = \"{anchor}\"\n\
         revocation-lists = \"{pki}/trust/crl\"\n\
         [database]\nurl = \"sqlite:{folder}/habilis.db\"\n[bodies]\nfolder = \"{folder}/bodies\"\n",
        anchor = anchor.display(),
        folder = folder.display(),
    );
    let path = folder.join("habilis.toml");
    std::fs::write(&path, change(text)).unwrap();
    path
}

pub fn anchor_of_another_name() -> Vec<u8> {
    use openssl::x509::{X509Builder, X509NameBuilder};
    let key = openssl::pkey::PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "AC RACINE IGC-SANTE FORT").unwrap();
    let name = name.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&openssl::asn1::Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&openssl::asn1::Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, openssl::hash::MessageDigest::sha256()).unwrap();
    builder.build().to_pem().unwrap()
}

pub fn refusal(change: impl FnOnce(String) -> String) -> String {
    let folder = tempfile::tempdir().unwrap();
    format!("{:#}", config::read(&file(folder.path(), change)).unwrap_err())
}

#[test]
fn a_whole_configuration_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let settings = config::read(&file(folder.path(), |text| text)).unwrap();
    assert_eq!(settings.strictness, Strictness::Strict, "production is strict");
    assert_eq!(settings.base.as_deref(), Some("https://dmp.example/fhir"));
    assert!(!settings.matrix.is_demonstration());
}

#[test]
fn what_it_refuses_to_start_with() {
    let pki = shared_pki().display().to_string();
    let test_anchors = refusal(|text| {
        let anchors = text.lines().find(|line| line.starts_with("anchors")).unwrap().to_owned();
        text.replace(&anchors, &format!("anchors = \"{pki}/ca.pem\""))
    });
    assert!(test_anchors.contains("is a TEST authority"), "{test_anchors}");

    let test_authorities = refusal(|text| {
        let authorities = text.lines().find(|line| line.starts_with("authorities")).unwrap().to_owned();
        text.replace(&authorities, &format!("authorities = \"{pki}/trust/authorities.pem\""))
    });
    assert!(test_authorities.contains("is a TEST authority"), "{test_authorities}");

    let matrix = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rights/tables/habilitation_demonstration.tsv");
    let demonstration = refusal(|text| format!("{text}[rights]\nmatrix = \"{matrix}\"\n"));
    assert!(demonstration.contains("demonstration matrix"), "{demonstration}");

    let unknown = refusal(|text| format!("{text}[feed]\nstrickt = true\n"));
    assert!(unknown.contains("strickt"), "{unknown}");
    let scheme = refusal(|text| text.replace("sqlite:", "host="));
    assert!(scheme.contains("sqlite: or postgres://"), "{scheme}");
    let base = refusal(|text| text.replace("https://dmp.example/fhir", "http://dmp.example/fhir"));
    assert!(base.contains("https://"), "{base}");
    let bodies = refusal(|text| text.split("[bodies]").next().unwrap().to_owned() + "[bodies]\n");
    assert!(bodies.contains("either folder or s3"), "{bodies}");
}

/// `serve --check` names what is at fault, each for itself, and writes nothing.
#[test]
fn a_check_names_what_is_at_fault() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("garbage.key");
    std::fs::write(&bad, "garbage").unwrap();
    let path = file(folder.path(), |text| {
        text.replace(&format!("{}/token.key", shared_pki().display()), &bad.display().to_string())
            .replace("sqlite:", "sqlite:/nowhere")
    });
    let before = std::fs::read_dir(folder.path()).unwrap().count();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_habilis"))
        .args(["serve", "--check", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for fault in ["token keys: FAULT", "operator's keys: FAULT", "trust: FAULT", "database: FAULT"] {
        assert!(told.contains(fault), "{fault}: {told}");
    }
    // The control: what is right is no fault.
    for right in ["audit key: /", "directory: read", "checkpoints: /"] {
        assert!(told.contains(right), "{right}: {told}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before, "nothing is written");
}
