//! What one request costs the server: `cargo bench --bench server`.
//!
//! The server runs in a process of its own (release build), as the sandbox with all checks on: mutual TLS, revocation on
//! each request, rights, matrix, durable trace. The load comes from this process over mutual TLS. What is reported is the
//! server's own CPU time per request (`/proc/PID/stat`), which hardly moves when the machine is busy, and the rate, which
//! does; each is the median of several runs.
//!
//! ```text
//! cargo bench --bench server                          both engines (scripts/with-postgres sets HABILIS_TEST_POSTGRES)
//! scripts/with-postgres cargo bench --bench server -- --seconds 3 --runs 5
//! scripts/with-postgres cargo bench --bench server -- --hidden 2000      does time tell the hidden from the absent?
//! ```
//!
//! `--even-answers 0` lets every answer leave at once, as a control of `--hidden`.

#[path = "server/hidden.rs"]
mod hidden;
#[expect(dead_code, reason = "each bench uses a part of it")]
mod rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use habilis::environment::Environment;
use habilis::sandbox::example::{Example, consent};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use rig::{Server, TEST, exchange, get, post, sql, tls};

/// The record whose query gives 20 documents.
const QUERIED: &str = "279035121518989";
/// The record that is fed.
const FED: &str = "185067599900166";
const BODY: usize = 20 << 10;

/// Makes the next request of a kind.
type Request<'a> = dyn Fn() -> Vec<u8> + Sync + 'a;

struct Options {
    seconds: f64,
    runs: usize,
    connections: usize,
    only: Option<String>,
    hidden: Option<usize>,
    even_answers: u16,
    in_database: u16,
}

fn main() {
    let mut options = Options {
        seconds: 2.0,
        runs: 3,
        connections: 8,
        only: None,
        hidden: None,
        even_answers: 5,
        in_database: 64,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--only" {
            options.only = arguments.next();
            continue;
        }
        let mut value = || arguments.next().and_then(|value| value.parse().ok()).expect("a number");
        match argument.as_str() {
            "--seconds" => options.seconds = value(),
            "--runs" => options.runs = value() as usize,
            "--connections" => options.connections = value() as usize,
            "--even-answers" => options.even_answers = value() as u16,
            "--in-database" => options.in_database = value() as u16,
            "--hidden" => options.hidden = Some(value() as usize),
            // What `cargo bench` and `cargo test --benches` pass along.
            "--bench" => {}
            other => panic!(
                "« {other} »: --seconds, --runs, --connections, --only, --even-answers, --in-database and --hidden are known"
            ),
        }
    }
    let certs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-pki");
    habilis::sandbox::make_pki(&certs, &Environment::system()).expect("a test PKI");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if options.hidden.is_none() {
        println!(
            "server and load on the same {cores} cores, {} connections, {} runs of {} s, medians",
            options.connections, options.runs, options.seconds
        );
        println!(
            "{:<10} {:<28} {:>12} {:>12} {:>8}",
            "engine", "operation", "CPU ms/req", "requests/s", "runs"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    measure("sqlite", &format!("sqlite:{}", folder.path().join("bench.db").display()), &certs, &options);
    match std::env::var("HABILIS_TEST_POSTGRES") {
        Ok(url) if !url.is_empty() => {
            let (server, _) = url.rsplit_once('/').expect("a URL with a database");
            let name = format!("bench_{}", std::process::id());
            sql(&url, &format!("CREATE DATABASE {name}"));
            measure("postgres", &format!("{server}/{name}"), &certs, &options);
            sql(&url, &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
        _ => println!("postgres   not measured: run under scripts/with-postgres"),
    }
}

fn measure(engine: &str, database: &str, certs: &Path, options: &Options) {
    let in_database = ["--in-database", &options.in_database.to_string()];
    let server = Server::start_with(database, certs, options.even_answers, &in_database);
    if let Some(pairs) = options.hidden {
        return hidden::measure(engine, &server, database, pairs);
    }
    let prepared = Prepared::new(&server);
    let next = AtomicU64::new(1_000_000);
    let feed = || {
        let id = format!("2.25.{}", next.fetch_add(1, Ordering::Relaxed));
        post("", &Example { size: BODY, ..Example::new(TEST, FED, "OUVERT", &id) }.transaction())
    };
    let operations: [(&str, bool, &Request); 7] = [
        ("full handshake + metadata", true, &|| get("/fhir/metadata")),
        ("metadata (trace only)", false, &|| get("/fhir/metadata")),
        ("open a session", false, &|| prepared.session.clone()),
        ("TD0.2 with a token", false, &|| prepared.with_token.clone()),
        ("query of 20 documents", false, &|| prepared.query.clone()),
        ("retrieve of 20 KiB", false, &|| prepared.retrieve.clone()),
        ("feed of 20 KiB", false, &feed),
    ];
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    for (name, fresh, request) in operations.into_iter().filter(|(name, ..)| wanted(name)) {
        let mut runs: Vec<(f64, f64)> =
            (0..options.runs).map(|_| run(&server, options, fresh, request)).collect();
        runs.sort_by(|left, right| left.0.total_cmp(&right.0));
        let (cpu, _) = runs[runs.len() / 2];
        runs.sort_by(|left, right| left.1.total_cmp(&right.1));
        let (_, rate) = runs[runs.len() / 2];
        println!("{engine:<10} {name:<28} {cpu:>12.3} {rate:>12.0} {:>8}", runs.len());
    }
    // Who is refused costs a handshake and nothing more, however much is presented.
    let unknown = tls(certs, "cps-inconnu");
    for (name, config) in [
        ("refused: unknown issuer", unknown.clone()),
        ("refused: 50 certificates", presenting(certs, "cps-inconnu", 49)),
        ("refused: 3 look-alikes", presenting(certs, "cps-inconnu", 3)),
    ] {
        if wanted(name) {
            let config = Arc::new(config);
            let mut runs: Vec<f64> = (0..options.runs).map(|_| refused(&server, options, &config)).collect();
            runs.sort_by(f64::total_cmp);
            println!("{engine:<10} {name:<28} {:>12.3} {:>12} {:>8}", runs[runs.len() / 2], "", runs.len());
        }
    }
    println!("{engine:<10} memory of the server: {} MiB", server.memory_mib());
}

/// A client that presents so many certificates behind its own.
fn presenting(certs: &Path, card: &str, behind: usize) -> ClientConfig {
    let mut config = tls(certs, card);
    let pem = |name: String| CertificateDer::pem_file_iter(certs.join(name)).expect("a PEM file");
    let mut chain: Vec<_> = pem(format!("{card}.pem")).map(|read| read.expect("a certificate")).collect();
    let authority = chain.pop().expect("an authority");
    chain.truncate(1);
    chain.extend(std::iter::repeat_n(authority, behind));
    let key = PrivateKeyDer::from_pem_file(certs.join(format!("{card}.key"))).expect("a key");
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).expect("a key");
    let resolver = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key));
    config.client_auth_cert_resolver = Arc::new(resolver);
    config
}

/// CPU milliseconds per handshake that is refused for its certificate.
fn refused(server: &Server, options: &Options, config: &Arc<ClientConfig>) -> f64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut cpu = 0.0;
    std::thread::scope(|scope| {
        for _ in 0..options.connections {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let session =
                        ClientConnection::new(Arc::clone(config), "localhost".try_into().expect("a name"));
                    let socket = TcpStream::connect(("127.0.0.1", server.port)).expect("the server listens");
                    let mut connection = StreamOwned::new(session.expect("a session"), socket);
                    let _ = connection.write_all(&get("/fhir/metadata"));
                    assert!(connection.read_to_end(&mut Vec::new()).is_err(), "refused");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let (cpu_before, done_before) = (server.cpu_seconds(), done.load(Ordering::Relaxed));
        std::thread::sleep(Duration::from_secs_f64(options.seconds));
        let handshakes = (done.load(Ordering::Relaxed) - done_before) as f64;
        cpu = (server.cpu_seconds() - cpu_before) * 1000.0 / handshakes;
        stop.store(true, Ordering::Relaxed);
    });
    cpu
}

/// CPU milliseconds per request, requests per second.
fn run(server: &Server, options: &Options, fresh: bool, request: &Request) -> (f64, f64) {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut cpu, mut elapsed) = (0.0, 0.0);
    std::thread::scope(|scope| {
        for _ in 0..options.connections {
            scope.spawn(|| {
                let mut connection = server.connect();
                // The first request is the handshake's.
                exchange(&mut connection, &get("/fhir/metadata"));
                while !stop.load(Ordering::Relaxed) {
                    let request = request();
                    if fresh {
                        connection = server.connect();
                    }
                    exchange(&mut connection, &request);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let (begun, cpu_before, done_before) =
            (Instant::now(), server.cpu_seconds(), done.load(Ordering::Relaxed));
        std::thread::sleep(Duration::from_secs_f64(options.seconds));
        let requests = (done.load(Ordering::Relaxed) - done_before) as f64;
        cpu = (server.cpu_seconds() - cpu_before) * 1000.0 / requests;
        elapsed = requests / begun.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
    });
    (cpu, elapsed)
}

/// Requests on data that the bench puts there first.
struct Prepared {
    query: Vec<u8>,
    retrieve: Vec<u8>,
    session: Vec<u8>,
    with_token: Vec<u8>,
}

impl Prepared {
    fn new(server: &Server) -> Self {
        let mut connection = server.connect();
        exchange(&mut connection, &post("/Consent", &consent(TEST, QUERIED)));
        for number in 0..20 {
            let id = format!("2.25.77.{number}");
            let example = Example { size: BODY, ..Example::new(TEST, QUERIED, "PAT-TROIS", &id) };
            exchange(&mut connection, &post("", &example.transaction()));
        }
        let query =
            get(&format!("/fhir/DocumentReference?patient.identifier={TEST}%7C{QUERIED}&status=current"));
        let found = exchange(&mut connection, &query);
        let found = String::from_utf8_lossy(&found);
        assert!(found.contains("\"total\":20"), "{found}");
        let (_, rest) = found.split_once("/fhir/Binary/").expect("an attachment");
        let (binary, _) = rest.split_once('"').expect("its end");
        let form = "grant_type=client_credentials&scope=TD0.2";
        let session = format!(
            "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{form}",
            form.len()
        )
        .into_bytes();
        let issued = exchange(&mut connection, &session);
        let issued = String::from_utf8_lossy(&issued);
        let (_, token) = issued.split_once("\"access_token\":\"").expect("a token");
        let (token, _) = token.split_once('"').expect("its end");
        let with_token = format!(
            "GET /fhir/Patient?identifier={TEST}%7C{QUERIED} HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        )
        .into_bytes();
        Self { query, retrieve: get(&format!("/fhir/Binary/{binary}")), session, with_token }
    }
}
