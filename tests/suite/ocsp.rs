//! The issuers' responders: what they say reaches open connections, and what they fail to say changes nothing.

use std::time::{Duration, Instant};

use habilis::tls::ocsp::OcspSettings;

use crate::support::{Engine, OTHER, OcspBehaviour, Options, Responder, TEST, World, shared_pki};

fn serial(card: &str) -> String {
    let pem = std::fs::read(shared_pki().join(format!("{card}.pem"))).unwrap();
    let certificate = openssl::x509::X509::from_pem(&pem).unwrap();
    certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string()
}

fn within(seconds: u64, what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(seconds), "{what} within {seconds} s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_a_responder_revokes_is_refused_on_an_open_connection() {
    let responder = Responder::start(shared_pki(), "ACI-FO-PP-TEST");
    let ocsp = OcspSettings {
        url: responder.url.clone(),
        interval: Duration::from_millis(200),
        patience: Duration::from_secs(1),
    };
    let world = World::start_with(Engine::Sqlite, Options { ocsp: Some(ocsp), ..Options::default() });
    let (nurse, doctor) = (world.client("cps-infirmier"), world.client("cps-medecin"));
    let ask = || nurse.get(&format!("/Patient?identifier={TEST}%7C{OTHER}")).status;
    assert_eq!((ask(), doctor.get("/metadata").status), (200, 200));
    within(5, "asked", || responder.requests() >= 2);

    // What cannot be believed says nothing: the lists decide, and they say « good ».
    for behaviour in [
        OcspBehaviour::ForgedSignature,
        OcspBehaviour::OtherSigner,
        OcspBehaviour::OtherSerial,
        OcspBehaviour::Stale,
        OcspBehaviour::Malformed,
        OcspBehaviour::TryLater,
        OcspBehaviour::Error500,
        OcspBehaviour::Late,
    ] {
        responder.behave(behaviour);
        // What was asked before is answered before.
        std::thread::sleep(Duration::from_millis(100));
        responder.revoke(&serial("cps-infirmier"));
        let asked = responder.requests();
        within(10, "asked again", || responder.requests() > asked + 2);
        assert_eq!(ask(), 200, "{behaviour:?}");
        responder.restore(&serial("cps-infirmier"));
    }
    assert!(
        !world.metrics().contains("habilis_ocsp_answers_total{status=\"failed\"} 0"),
        "failures are counted"
    );

    responder.behave(OcspBehaviour::Good);
    responder.revoke(&serial("cps-infirmier"));
    within(5, "refused", || ask() == 401);
    let answer = nurse.get("/metadata");
    answer.assert_refused(401, "DMPInvalidCertificate", "is revoked");
    assert!(world.traces_of(answer.request_id())[0].rule.starts_with("CertificateRevoked"));
    assert_eq!(doctor.get("/metadata").status, 200, "control: another card");
    // Once revoked, silence does not bring it back; only the issuer's word does (a suspension that ends).
    responder.behave(OcspBehaviour::Error500);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(ask(), 401);
    // Nor does an old « good » that is still fresh: anybody on the way can send it again.
    responder.restore(&serial("cps-infirmier"));
    responder.behave(OcspBehaviour::Older);
    let asked = responder.requests();
    within(5, "asked again", || responder.requests() > asked + 2);
    assert_eq!(ask(), 401, "an older word lifts nothing");
    responder.behave(OcspBehaviour::Good);
    within(5, "let in again", || ask() == 200);
    // Without nextUpdate, which RFC 6960 leaves to the responder.
    responder.behave(OcspBehaviour::WithoutEnd);
    responder.revoke(&serial("cps-infirmier"));
    within(5, "refused again", || ask() == 401);
}
