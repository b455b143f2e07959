//! The public test certificates, each judged: kind, or why it is none, and whether its chain leads to the anchors.

use std::collections::BTreeMap;
use std::sync::Arc;

use habilis::certificate::CertificateFacts;
use habilis::identity::Caller;
use habilis::identity::identifiers::IdentifierChecks;
use habilis::tls::authority::Authority;
use habilis::tls::verifier::ReloadableVerifier;
use habilis::tls::{Revocation, Trust, listener, seal, trust};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;

use crate::support::assert_expected;

/// As of an instant at which the certificate was valid: most have expired.
fn valid_at(der: &[u8]) -> Timestamp {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    Timestamp::from_second(certificate.validity().not_before.timestamp() + 86_400).unwrap()
}

#[test]
#[ignore = "needs ../shared/data: scripts/shared-data"]
fn every_public_certificate_is_judged() {
    let index = std::fs::read_to_string(super::shared("certs/INDEX.csv")).unwrap();
    let listed = index.lines().skip(1).count();
    let mut anchors = Vec::new();
    let mut issuing = Vec::new();
    for entry in std::fs::read_dir(super::shared("certs/ca")).unwrap() {
        let path = entry.unwrap().path();
        let der = CertificateDer::from_pem_file(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.contains("RACINE") || name.starts_with("ACR") { anchors.push(der) } else { issuing.push(der) }
    }
    let authorities_count = anchors.len() + issuing.len();
    let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    // The real authorities pass our own checks of anchors and authorities.
    let (authorities, left) = trust::authorities(anchors, issuing, trust::ISSUING_LEVELS, now);
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(authorities.len(), authorities_count);

    let mut table = BTreeMap::new();
    for entry in std::fs::read_dir(super::shared("certs/leaf")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let der = if name.ends_with(".der") {
            CertificateDer::from(std::fs::read(&path).unwrap())
        } else {
            CertificateDer::from_pem_file(&path).unwrap()
        };
        let kind = match CertificateFacts::read(&der) {
            Ok(facts) => {
                let caller = Caller::of_certificate(&facts, IdentifierChecks::STRICT);
                let caller = match caller {
                    Ok(caller) => format!("{caller} {}", caller.id()),
                    Err(refusal) => format!("{:?}", refusal.reason),
                };
                format!("{:?}: {caller}", facts.kind)
            }
            Err(unusable) => match CertificateFacts::read_seal(&der) {
                Ok(facts) => {
                    format!("client: {unusable:?}; seal of {}", facts.subject.structure.unwrap_or_default())
                }
                Err(seal) => format!("client: {unusable:?}; seal: {seal:?}"),
            },
        };
        table.insert(name, format!("{:<52} {}", kind, chain(&der, &authorities)));
    }
    // The index lists authorities and leaves; the legacy certificate in DER stands beside it.
    assert_eq!(table.len() + authorities_count, listed + 1);
    let text: String = table.iter().map(|(name, verdict)| format!("{name:<48} {verdict}\n")).collect();
    let head = "# The public test certificates (certs/INDEX.csv): what each is to us; what our verifier says of it\n\
                # in a handshake, and of its chain as a seal, as of a day of its life.\n";
    assert_expected("public_certificates.txt", &format!("{head}{text}"));
}

/// What our verifier says of it in a handshake, and of its chain as a seal, as of a day of its life.
fn chain(der: &CertificateDer<'_>, authorities: &[Authority]) -> String {
    let trust =
        Trust { lists: super::empty_lists(authorities), authorities: authorities.to_vec(), faults: Vec::new() };
    let revocation = Arc::new(Revocation::default());
    trust.enforce(&revocation);
    let verifier =
        ReloadableVerifier::new(&trust, Arc::clone(&revocation), listener::crypto_provider()).unwrap();
    let now = valid_at(der);
    let seconds = u64::try_from(now.as_second()).unwrap();
    let at = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let handshake = match verifier.verify_client_cert(der, &[], at) {
        Ok(_) => "yes".to_owned(),
        Err(error) => {
            let text = format!("{error:?}");
            let mut words = text.split(['(', ')', ' ', '{']).filter(|word| !word.is_empty());
            words.find(|word| *word != "InvalidCertificate").unwrap_or("no").to_owned()
        }
    };
    let seal = match seal::verify(der, &revocation, now) {
        Ok(()) => "yes",
        Err(_) => "no",
    };
    format!("handshake: {handshake:<24} chain of a seal: {seal}")
}
