//! Who gets a connection, and who keeps it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use habilis::pki::PkiFolder;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, Stream};

use crate::support::{Engine, OTHER, Options, TEST, World, pki_copy, tls_config};

/// What became of one request on a connection of its own.
fn attempt(world: &World, config: ClientConfig) -> Result<(String, HandshakeKind), String> {
    let config = Arc::new(config);
    let mut last = String::new();
    // A server that refuses closes at once; now and then the close overtakes its alert.
    for _ in 0..5 {
        let mut session = ClientConnection::new(Arc::clone(&config), "localhost".try_into().unwrap()).unwrap();
        let mut socket = TcpStream::connect(world.listening.api).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        match get(&mut Stream::new(&mut session, &mut socket), "/fhir/metadata") {
            Ok(answer) => return Ok((answer, session.handshake_kind().unwrap())),
            Err(error) => last = error.to_string(),
        }
        while session.read_tls(&mut socket).is_ok_and(|read| read > 0) {
            if let Err(alert) = session.process_new_packets() {
                last = alert.to_string();
            }
        }
        if last.contains("alert") {
            break;
        }
    }
    Err(last)
}

fn get(stream: &mut (impl Read + Write), path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        let read = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return Ok(text.into_owned());
            }
        }
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[test]
fn who_does_not_get_a_connection() {
    let world = World::start(Engine::Sqlite);
    let refused = || {
        let metrics = world.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix("habilis_refused_handshakes_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    for (card, alert) in [
        (None, "CertificateRequired"),
        (Some("cps-inconnu"), "UnknownCA"),
        (Some("cps-expire"), "CertificateExpired"),
        (Some("cps-revoque"), "CertificateRevoked"),
        (Some("org-hopital-sign"), "UnsupportedCertificate"),
    ] {
        let before = refused();
        let error = attempt(&world, tls_config(&world.certs, card)).unwrap_err();
        assert!(error.contains(alert), "{card:?}: {error}");
        // Only a card that was shown is counted.
        assert_eq!(refused() > before, card.is_some(), "{card:?}");
    }
    let before = refused();
    // Control: every usable kind gets in, and an SSL server certificate is told what it is.
    for (card, status) in [
        ("cps-medecin", "200"),
        ("cpf-interne", "200"),
        ("cpe-secretaire", "200"),
        ("cpe-service", "200"),
        ("cpa-support", "200"),
        ("org-hopital", "200"),
        ("org-hopital-ssl", "401"),
    ] {
        let (answer, _) = attempt(&world, tls_config(&world.certs, Some(card))).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{card}: {answer}");
    }
    assert_eq!(refused(), before);
}

#[test]
fn a_session_is_never_resumed() {
    let world = World::start(Engine::Sqlite);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let card = tls_config(&world.certs, Some("cps-medecin"));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots(&world))
            .with_client_cert_resolver(card.client_auth_cert_resolver);
        // The client would resume if it were let.
        config.resumption = rustls::client::Resumption::in_memory_sessions(16);
        for _ in 0..3 {
            let (answer, kind) = attempt(&world, config.clone()).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"));
            assert_eq!(kind, HandshakeKind::Full, "{version:?}");
        }
    }
}

fn roots(world: &World) -> rustls::RootCertStore {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    for root in rustls::pki_types::CertificateDer::pem_file_iter(world.certs.join("ca.pem")).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    roots
}

#[test]
fn only_http_1_1_is_spoken() {
    let world = World::start(Engine::Sqlite);
    let mut config = tls_config(&world.certs, Some("cps-medecin"));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut socket = TcpStream::connect(world.listening.api).unwrap();
    let answer = get(&mut Stream::new(&mut session, &mut socket), "/fhir/metadata").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"));
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_revoked_caller_gets_nothing_more_on_an_open_connection() {
    let folder = tempfile::tempdir().unwrap();
    let certs = pki_copy(folder.path());
    let older = std::fs::read(certs.join("trust/crl/ACI-FO-PP-TEST.crl")).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let world = World::start_with(Engine::Sqlite, Options { certs: Some(certs.clone()), ..Options::default() });
    let doctor = world.client("cps-infirmier");
    let ask = || doctor.get(&format!("/Patient?identifier={TEST}%7C{OTHER}"));
    assert_eq!(ask().status, 200);
    PkiFolder::new(&certs).revoke("cps-infirmier", jiff_now()).unwrap();
    let landed = Instant::now();
    let last = loop {
        let answer = ask();
        if answer.status != 200 {
            break answer;
        }
        assert!(landed.elapsed() < Duration::from_secs(5), "still served 5 s after the list landed");
        std::thread::sleep(Duration::from_millis(100));
    };
    last.assert_refused(401, "DMPInvalidCertificate", "is revoked");
    let trace = &world.traces_of(last.request_id())[0];
    assert_eq!((trace.outcome.as_str(), trace.caller_id.as_str()), ("refused", "810100000040"));
    assert!(trace.rule.starts_with("CertificateRevoked"), "{}", trace.rule);
    let error = attempt(&world, tls_config(&certs, Some("cps-infirmier"))).unwrap_err();
    assert!(error.contains("CertificateRevoked"), "{error}");
    // Control: another card of the same authority is still served.
    assert_eq!(world.client("cps-medecin").get("/metadata").status, 200);

    // A bad list never replaces a good one, and neither does an older one that is still valid.
    let list = certs.join("trust/crl/ACI-FO-PP-TEST.crl");
    let good = std::fs::read(&list).unwrap();
    for bad in [&good[..good.len() / 2], b"rubbish".as_slice(), b"".as_slice(), &older] {
        std::fs::write(&list, bad).unwrap();
        std::thread::sleep(Duration::from_millis(1300));
        assert_eq!(world.client("cps-medecin").get("/metadata").status, 200);
        assert_eq!(ask().status, 401, "the revoked card stays out");
    }
}

/// What is wrong in the trust folder holds up nothing else: least of all a list that revokes.
#[test]
fn a_fault_in_the_trust_holds_up_no_revocation() {
    let folder = tempfile::tempdir().unwrap();
    let certs = pki_copy(folder.path());
    let world = World::start_with(Engine::Sqlite, Options { certs: Some(certs.clone()), ..Options::default() });
    let within = |what: &str, done: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(5), "{what} within 5 s");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    assert!(world.metrics().contains("habilis_trust_faults 0"));
    // An authority of the other branch, one without a list, half a file: each time a card is revoked all the same.
    let authorities = certs.join("trust/authorities.pem");
    let good = std::fs::read(&authorities).unwrap();
    let stranger = habilis::pki::Authority::unknown(jiff_now()).unwrap().certificate.to_pem().unwrap();
    let production = super::config::anchor_of_another_name();
    let cards = [
        ("cps-infirmier", [&good[..], &production].concat()),
        ("cps-dentiste", [&good[..], &stranger].concat()),
        ("cps-kine", good[..good.len() / 2].to_vec()),
    ];
    for (card, content) in cards {
        let client = world.client(card);
        assert_eq!(client.get("/metadata").status, 200, "{card}");
        std::fs::write(&authorities, &content).unwrap();
        within("the fault is counted", &|| !world.metrics().contains("habilis_trust_faults 0"));
        PkiFolder::new(&certs).revoke(card, jiff_now()).unwrap();
        within(card, &|| client.get("/metadata").status == 401);
        assert_eq!(world.client("cps-medecin").get("/metadata").status, 200, "control: another card");
        std::fs::write(&authorities, &good).unwrap();
        within("healed", &|| world.metrics().contains("habilis_trust_faults 0"));
    }
}

/// A body that comes in slowly does not outlive its caller.
#[test]
fn who_is_revoked_while_a_body_comes_in_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let certs = pki_copy(folder.path());
    let world = World::start_with(Engine::Sqlite, Options { certs: Some(certs.clone()), ..Options::default() });
    let config = Arc::new(tls_config(&certs, Some("cps-infirmier")));
    let mut session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut socket = TcpStream::connect(world.listening.api).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut stream = Stream::new(&mut session, &mut socket);
    let body = habilis::sandbox::example::consent(TEST, OTHER);
    let (first, rest) = body.split_at(body.len() / 2);
    write!(
        stream,
        "POST /fhir/Consent HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n\
         Content-Length: {}\r\n\r\n{first}",
        body.len()
    )
    .unwrap();
    PkiFolder::new(&certs).revoke("cps-infirmier", jiff_now()).unwrap();
    let other = world.client("cps-infirmier");
    let begun = Instant::now();
    while other.send("GET", "/metadata", &[], None).is_ok_and(|answer| answer.status == 200) {
        assert!(begun.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(100));
    }
    let before = world.rows("authorisation");
    stream.write_all(rest.as_bytes()).unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(world.rows("authorisation"), before, "nothing was done");
}

#[expect(clippy::disallowed_methods, reason = "the tests' own clock")]
fn jiff_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

#[test]
fn a_stale_list_lets_nobody_in() {
    let world = World::start(Engine::Sqlite);
    let doctor = world.client("cps-medecin");
    assert_eq!(doctor.get("/metadata").status, 200);
    world.clock.advance(364);
    assert_eq!(doctor.get("/metadata").status, 200, "a day before nextUpdate");
    world.clock.advance(2);
    let answer = doctor.get("/metadata");
    answer.assert_refused(401, "DMPInvalidCertificate", "revocation list in force");
    let error = attempt(&world, tls_config(&world.certs, Some("cps-medecin"))).unwrap_err();
    assert!(!error.is_empty(), "a new handshake fails too");
    let ready = reqwest::blocking::get(format!("http://{}/health/ready", world.listening.portal)).unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().unwrap().contains("revocation lists: not available"));
}

#[test]
fn an_expired_caller_gets_nothing_more_on_an_open_connection() {
    let world = World::start(Engine::Sqlite);
    let doctor = world.client("cps-medecin");
    assert_eq!(doctor.get("/metadata").status, 200);
    world.clock.advance(3 * 365 + 1);
    doctor.get("/metadata").assert_refused(401, "DMPInvalidCertificate", "out of its dates");
}

#[test]
fn without_a_list_the_server_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let certs = pki_copy(folder.path());
    let trust = PkiFolder::new(&certs).trust();
    // One bad list holds up nobody else's: what is in force stays, and is said to be at fault.
    let in_force = trust.load(jiff_now()).unwrap();
    assert!(trust.load(jiff_now()).is_ok(), "control");
    std::fs::remove_file(certs.join("trust/crl/ACR-ST-TEST.crl")).unwrap();
    let error = format!("{:#}", trust.load(jiff_now()).unwrap_err());
    assert!(error.contains("TEST AC RACINE IGC-SANTE STANDARD"), "{error}");
    std::fs::write(certs.join("trust/crl/ACI-ST-PP-TEST.crl"), b"rubbish").unwrap();
    let beside = trust.load_beside(&in_force, jiff_now()).unwrap();
    assert_eq!((beside.lists.len(), beside.faults.len()), (in_force.lists.len(), 1), "{:?}", beside.faults);
}

#[test]
fn a_slow_handshake_is_cut() {
    let world = World::start(Engine::Sqlite);
    let mut socket = TcpStream::connect(world.listening.api).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let begun = Instant::now();
    let read = socket.read(&mut [0; 16]);
    assert!(matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_slow_head_is_cut() {
    let world = World::start(Engine::Sqlite);
    let config = Arc::new(tls_config(&world.certs, Some("cps-medecin")));
    let mut session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut socket = TcpStream::connect(world.listening.api).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut stream = Stream::new(&mut session, &mut socket);
    stream.write_all(b"GET /fhir/metadata HTTP/1.1\r\nHost: localh").unwrap();
    let begun = Instant::now();
    let mut answer = [0; 64];
    // 408 or a close: either way the connection does not stay.
    let read = stream.read(&mut answer).unwrap_or(0);
    assert!(read == 0 || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer[..read]));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
