//! x509-limbo, as real handshakes against our listener's configuration.
//!
//! The suite judges server certificates; its file here has the purposes swapped, so that each leaf is a client's. What is
//! presented behind the leaf is given to the server as its file of issuing authorities: our verifier builds no path
//! through what a client brings. Every difference from the suite stands in `tests/expected/limbo.tsv` with its reason.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use habilis::environment::Clock;
use habilis::tls::revocation::Lists;
use habilis::tls::trust::{self, ISSUING_LEVELS};
use habilis::tls::verifier::ReloadableVerifier;
use habilis::tls::{PeerCertificate, Revocation, RevocationVerdict, Trust, listener};
use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use serde_json::Value;

use crate::support::shared_pki;

/// What became of one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused,
    /// No private key, or one that the client cannot load.
    NotRunnable,
}

#[test]
#[ignore = "needs ../shared/data: scripts/shared-data"]
fn limbo_as_real_handshakes() {
    let text = std::fs::read_to_string(super::shared("limbo/limbo-clientauth.json")).unwrap();
    let suite: Value = serde_json::from_str(&text).unwrap();
    let expected = exceptions();
    let (mut run, mut agree, mut stock_wrong, mut slowest) = (0, 0, 0, (0.0, String::new()));
    let mut differences = BTreeMap::new();
    for case in suite["testcases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let should = if case["expected_result"] == "SUCCESS" { Verdict::Accepted } else { Verdict::Refused };
        let (verdict, cpu) = ours(case);
        if verdict == Verdict::NotRunnable {
            continue;
        }
        run += 1;
        if cpu > slowest.0 {
            slowest = (cpu, id.to_owned());
        }
        if stock(case) == Verdict::Accepted && should == Verdict::Refused {
            stock_wrong += 1;
        }
        if verdict == should {
            agree += 1;
        } else {
            differences.insert(id.to_owned(), verdict);
        }
    }
    println!(
        "limbo: {run} run, {agree} agree, {} differ; stock rustls wrongly accepts {stock_wrong}; \
         slowest handshake {:.1} ms ({})",
        differences.len(),
        slowest.0,
        slowest.1
    );
    assert_eq!(run, 186, "cases that could be run");
    // Control: the suite has teeth.
    assert!(stock_wrong >= 60, "stock rustls wrongly accepts only {stock_wrong}");
    let unlisted: Vec<_> =
        differences.iter().filter(|(id, verdict)| expected.get(*id) != Some(*verdict)).collect();
    assert!(unlisted.is_empty(), "differences without a reason: {unlisted:#?}");
    let healed: Vec<_> = expected.keys().filter(|id| !differences.contains_key(*id)).collect();
    assert!(healed.is_empty(), "listed, and no longer differ: {healed:?}");
}

/// Case, what we do, and why it is right so.
fn exceptions() -> HashMap<String, Verdict> {
    include_str!("../../expected/limbo.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [id, verdict, reason] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!(reason.len() > 10, "{id} has no reason");
            let verdict = if verdict == "accepted" { Verdict::Accepted } else { Verdict::Refused };
            (id.to_owned(), verdict)
        })
        .collect()
}

fn certificates(case: &Value, field: &str) -> Vec<CertificateDer<'static>> {
    case[field].as_array().unwrap().iter().map(|pem| certificate(pem.as_str().unwrap())).collect()
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn instant(case: &Value) -> Timestamp {
    match case["validation_time"].as_str() {
        Some(text) => text.parse().unwrap(),
        None => now(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the cases without an instant of their own are about today")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Our verifier in our listener's configuration, and the check made on the first request.
fn ours(case: &Value) -> (Verdict, f64) {
    let Some(client) = client(case) else { return (Verdict::NotRunnable, 0.0) };
    let now = instant(case);
    let levels = case["max_chain_depth"].as_u64().map_or(ISSUING_LEVELS, |depth| depth as usize);
    let anchors = certificates(case, "trusted_certs");
    let (authorities, _) =
        trust::authorities(anchors, certificates(case, "untrusted_intermediates"), levels, now);
    let mut trust = Trust { authorities, lists: Lists::new(), faults: Vec::new() };
    let lists = case["crls"].as_array().unwrap();
    for list in lists {
        if let Ok((issuer, list)) = trust::read_list(list.as_str().unwrap().as_bytes(), &trust.authorities, now)
        {
            trust.lists.insert(issuer, Arc::new(list));
        }
    }
    // As at start: an anchor that is not acceptable, or an authority without its list, and there is no server.
    let listed = trust.authorities.iter().all(|authority| trust.lists.contains_key(&authority.issuer_key()));
    if trust.authorities.is_empty() || (!lists.is_empty() && !listed) {
        return (Verdict::Refused, 0.0);
    }
    if lists.is_empty() {
        trust.lists = super::empty_lists(&trust.authorities);
    }
    let revocation = Arc::new(Revocation::default());
    trust.enforce(&revocation);
    let provider = listener::crypto_provider();
    let Ok(verifier) = ReloadableVerifier::new(&trust, Arc::clone(&revocation), provider) else {
        return (Verdict::Refused, 0.0);
    };
    let clock: Arc<dyn Clock> = Arc::new(Fixed(now));
    let pki = shared_pki();
    let config =
        listener::server_config(&pki.join("server.pem"), &pki.join("server.key"), Arc::new(verifier), clock)
            .unwrap();
    let (verdict, session, cpu) = handshake(config, client);
    if verdict == Verdict::Accepted {
        let peer = PeerCertificate::of(&session).unwrap();
        if revocation.verdict(peer.link(), now) != RevocationVerdict::Good {
            return (Verdict::Refused, cpu);
        }
    }
    (verdict, cpu)
}

/// The same with rustls' own verifier, as most would configure it.
fn stock(case: &Value) -> Verdict {
    let Some(client) = client(case) else { return Verdict::NotRunnable };
    let mut roots = RootCertStore::empty();
    for anchor in certificates(case, "trusted_certs") {
        if roots.add(anchor).is_err() {
            return Verdict::Refused;
        }
    }
    let lists = case["crls"].as_array().unwrap().iter().map(|list| {
        rustls::pki_types::CertificateRevocationListDer::from_pem_slice(list.as_str().unwrap().as_bytes())
            .unwrap()
    });
    let Ok(verifier) =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), listener::crypto_provider())
            .with_crls(lists)
            .build()
    else {
        return Verdict::Refused;
    };
    let pki = shared_pki();
    let chain = CertificateDer::pem_file_iter(pki.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(pki.join("server.key")).unwrap();
    let config =
        ServerConfig::builder_with_details(listener::crypto_provider(), Arc::new(Fixed(instant(case))))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier as Arc<dyn ClientCertVerifier>)
            .with_single_cert(chain, key)
            .unwrap();
    handshake(config, client).0
}

fn client(case: &Value) -> Option<ClientConfig> {
    let key = PrivateKeyDer::from_pem_slice(case["peer_certificate_key"].as_str()?.as_bytes()).ok()?;
    let provider = listener::crypto_provider();
    let key = provider.key_provider.load_private_key(key).ok()?;
    let mut chain = vec![certificate(case["peer_certificate"].as_str().unwrap())];
    chain.extend(certificates(case, "untrusted_intermediates"));
    let resolver = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key));
    Some(
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_client_cert_resolver(Arc::new(resolver)),
    )
}

/// Both ends in memory. The server's CPU is that of `process_new_packets`.
fn handshake(server: ServerConfig, client: ClientConfig) -> (Verdict, ServerConnection, f64) {
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
    let mut cpu = 0.0;
    for _ in 0..10 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            let begun = std::time::Instant::now();
            let processed = server.process_new_packets();
            cpu += begun.elapsed().as_secs_f64() * 1000.0;
            if processed.is_err() {
                return (Verdict::Refused, server, cpu);
            }
        }
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
        if !server.is_handshaking() && !client.is_handshaking() && !client.wants_write() {
            return (Verdict::Accepted, server, cpu);
        }
    }
    panic!("the handshake does not end");
}

#[derive(Debug)]
struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

impl rustls::time_provider::TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// The client is not what is judged.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        listener::crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}
