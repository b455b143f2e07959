//! A server under load: `cargo bench --bench load`.
//!
//! Starts a server in a process of its own, with all checks on; feeds it records over mutual TLS; then, for each kind of request and number
//! of connections, how many a second, how long they take, and what each costs. Results as a table, a plot (SVG) and JSON under
//! `target/bench`, against those of the last run.
//!
//! ```text
//! scripts/with-postgres cargo bench --bench load                          1,000 records of 20 documents, both engines
//! scripts/with-postgres cargo bench --bench load -- --grow 49000          then 50,000 records: what is added is generated in the database
//! cargo bench --bench load -- --records 50 --connections 8 --seconds 1    short
//! cargo bench --bench load -- --only feed --connections 32 --batch 1       what group commit is worth
//! ```

#[path = "load/data.rs"]
mod data;
#[path = "load/report.rs"]
mod report;
#[expect(dead_code, reason = "each bench uses a part of it")]
mod rig;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use habilis::environment::Environment;
use hdrhistogram::Histogram;

use data::Loaded;
use report::{Report, Row};
use rig::{Server, exchange, get, sql};

pub struct Options {
    seconds: f64,
    records: usize,
    documents: usize,
    grow: u64,
    batch: u16,
    in_database: u16,
    connections: Vec<usize>,
    only: Option<String>,
    output: PathBuf,
}

fn main() {
    let options = read_options();
    let certs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-pki");
    habilis::sandbox::make_pki(&certs, &Environment::system()).expect("a test PKI");
    let mut report = Report::new(&options);
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("bench.db").display());
    measure("sqlite", &database, &certs, &options, &mut report);
    match std::env::var("HABILIS_TEST_POSTGRES") {
        Ok(url) if !url.is_empty() => {
            let (server, _) = url.rsplit_once('/').expect("a URL with a database");
            let name = format!("load_{}", std::process::id());
            sql(&url, &format!("CREATE DATABASE {name}"));
            measure("postgres", &format!("{server}/{name}"), &certs, &options, &mut report);
            sql(&url, &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
        _ => println!("postgres is not measured: run under scripts/with-postgres"),
    }
    report.write(&options.output);
}

fn read_options() -> Options {
    let mut options = Options {
        seconds: 2.0,
        records: 1_000,
        documents: 20,
        grow: 0,
        batch: 64,
        in_database: 64,
        connections: vec![1, 8, 32, 128],
        only: None,
        output: Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench"),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--bench" {
            continue;
        }
        let value = arguments.next().unwrap_or_else(|| panic!("{argument} wants a value"));
        let number = || value.parse::<f64>().unwrap_or_else(|_| panic!("{argument} wants a number"));
        match argument.as_str() {
            "--seconds" => options.seconds = number(),
            "--records" => options.records = number() as usize,
            "--documents" => options.documents = number() as usize,
            "--batch" => options.batch = number() as u16,
            "--in-database" => options.in_database = number() as u16,
            "--grow" => options.grow = number() as u64,
            "--connections" => {
                options.connections = value.split(',').map(|one| one.parse().expect("a number")).collect();
            }
            "--only" => options.only = Some(value),
            "--output" => options.output = value.into(),
            other => panic!(
                "« {other} »: --seconds, --records, --documents, --grow, --batch, --in-database, --connections, --only, --output"
            ),
        }
    }
    options
}

fn measure(engine: &str, database: &str, certs: &Path, options: &Options, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let records = folder.path().join("records.tsv");
    std::fs::write(&records, data::records(options.records)).expect("the file of records");
    let begun = Instant::now();
    let server = Server::start_with(
        database,
        certs,
        5,
        &[
            ("--records", records.display().to_string()),
            ("--batch", options.batch.to_string()),
            ("--in-database", options.in_database.to_string()),
        ]
        .each_ref()
        .map(|(name, value)| [*name, value.as_str()])
        .concat(),
    );
    let started = begun.elapsed();
    let loaded = Loaded::feed(&server, database, options);
    report.loaded(engine, &server, started, &loaded);
    run_all(engine, "", &server, &loaded, options, report);
    if options.grow > 0 {
        data::grow(database, options);
        let name = format!(" of {}", options.records as u64 + options.grow);
        run_all(
            engine,
            &name,
            &server,
            &loaded,
            &Options { only: Some("query".into()), ..options.clone_short() },
            report,
        );
    }
    report.ended(engine, &server);
}

fn run_all(engine: &str, more: &str, server: &Server, loaded: &Loaded, options: &Options, report: &mut Report) {
    for kind in loaded.kinds() {
        if options.only.as_ref().is_some_and(|only| !kind.name.contains(only.as_str())) {
            continue;
        }
        for connections in &options.connections {
            let row = run(server, options.seconds, *connections, &kind);
            report.row(Row { engine: engine.to_owned(), operation: format!("{}{more}", kind.name), ..row });
        }
    }
}

/// A kind of request.
pub struct Kind<'a> {
    pub name: &'static str,
    /// Each on a connection of its own.
    pub fresh: bool,
    /// The next request.
    pub next: Box<dyn Fn() -> Vec<u8> + Sync + 'a>,
}

fn run(server: &Server, seconds: f64, connections: usize, kind: &Kind<'_>) -> Row {
    let (measuring, over, failed) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let (mut cpu, mut database_cpu, mut elapsed) = (0.0, 0.0, 0.0);
    let mut all = Histogram::<u64>::new(3).expect("a histogram");
    std::thread::scope(|scope| {
        let work = || {
            let mut histogram = Histogram::<u64>::new(3).expect("a histogram");
            let mut connection = server.connect();
            // The first request is the handshake's.
            exchange(&mut connection, &get("/fhir/metadata"));
            while !over.load(Ordering::Relaxed) {
                let request = (kind.next)();
                let begun = Instant::now();
                if kind.fresh {
                    connection = server.connect();
                }
                let answer = rig::send(&mut connection, &request);
                let counted = measuring.load(Ordering::Relaxed);
                // Refused for want of room is an answer, and not the one that is measured.
                if !answer.starts_with(b"HTTP/1.1 20") {
                    assert!(answer.starts_with(b"HTTP/1.1 503"), "{}", String::from_utf8_lossy(&answer));
                    failed.fetch_add(u64::from(counted), Ordering::Relaxed);
                } else if counted {
                    let _ = histogram.record(begun.elapsed().as_micros() as u64);
                }
            }
            histogram
        };
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
        std::thread::sleep(Duration::from_millis(500));
        let before = (server.cpu_seconds(), rig::cpu_of_postgres());
        let begun = Instant::now();
        measuring.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs_f64(seconds));
        measuring.store(false, Ordering::Relaxed);
        elapsed = begun.elapsed().as_secs_f64();
        cpu = server.cpu_seconds() - before.0;
        database_cpu = rig::cpu_of_postgres() - before.1;
        over.store(true, Ordering::Relaxed);
        for worker in workers {
            all.add(worker.join().expect("a worker")).expect("a histogram of the same kind");
        }
    });
    let done = all.len().max(1) as f64;
    let milliseconds = |quantile: f64| all.value_at_quantile(quantile) as f64 / 1000.0;
    Row {
        connections,
        rate: all.len() as f64 / elapsed,
        p50: milliseconds(0.5),
        p99: milliseconds(0.99),
        p999: milliseconds(0.999),
        cpu: cpu * 1000.0 / done,
        database_cpu: database_cpu * 1000.0 / done,
        refused: failed.load(Ordering::Relaxed),
        ..Row::default()
    }
}

impl Options {
    fn clone_short(&self) -> Self {
        Self { connections: self.connections.clone(), only: None, output: self.output.clone(), ..*self }
    }
}
