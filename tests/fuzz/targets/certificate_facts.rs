//! Any bytes as a client's certificate: read, or refused, and never both ways at once.
#![no_main]

use habilis::certificate::{self, CertificateFacts};
use habilis::identity::Caller;
use habilis::identity::identifiers::IdentifierChecks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    let _ = certificate::label(der);
    let client = CertificateFacts::read(der);
    let seal = CertificateFacts::read_seal(der);
    assert!(client.is_err() || seal.is_err(), "no certificate both connects and seals");
    if let Ok(facts) = client
        && let Ok(caller) = Caller::of_certificate(&facts, IdentifierChecks::STRICT)
    {
        // Nobody without an identifier of a known form.
        assert!(!caller.id().is_empty());
        assert!(caller.id().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/'));
        assert!(caller.session.is_none() && caller.software.is_none());
    }
});
