//! How fast the traces are verified, and those of one professional exported.
//!
//!     scripts/with-postgres cargo bench --bench traces -- [--rows 1000000] [--runs 3]
//!
//! Writes so many traces by the writer of the server, a thousandth by one professional, on SQLite and on PostgreSQL; then runs `habilis audit
//! verify` and `habilis audit export` as an operator does. Times are those of whole commands.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use habilis::audit::TraceContext;
use habilis::audit::checkpointer::{AuditSettings, Checkpointer};
use habilis::environment::Environment;
use habilis::pki::PkiFolder;
use habilis::store::{BodyStore, BodyStoreLocation, DatabaseUrl, Store, StoreLimits};
use indicatif::{ProgressBar, ProgressStyle};

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().expect("a number"))
}

/// 2025-01-01, microseconds; the traces are spread over that year, because one of a time to come is a fault.
const BEGIN: i64 = 1_735_689_600_000_000;
const YEAR: i64 = 365 * 86_400 * 1_000_000;

async fn fill(url: &str, folder: &Path, key: &Path, rows: i64, bar: &ProgressBar) {
    let bodies = BodyStore::open(&BodyStoreLocation::Folder(folder.join("bodies"))).expect("bodies");
    let limits = StoreLimits { readers: 1, ..StoreLimits::default() };
    let vault = habilis::sandbox::operator_keys(folder).expect("keys").vault().expect("a vault");
    let store = Store::open(&DatabaseUrl::parse(url).expect("a URL"), bodies, vault, &limits).expect("a store");
    let settings = AuditSettings {
        origin: habilis::sandbox::AUDIT_ORIGIN.to_owned(),
        node: "1".to_owned(),
        key: key.to_owned(),
        checkpoints: vec![folder.join("checkpoints")],
        interval: Duration::from_secs(5),
    };
    let mut checkpointer = Checkpointer::open(&settings, &store).await.expect("checkpoints");
    let now = Environment::system().now();
    for begin in (0..rows).step_by(4_000) {
        let writes = (begin..(begin + 4_000).min(rows)).map(|number| {
            let at = BEGIN + YEAR / rows * number;
            let context = TraceContext::new(
                at,
                format!("{number:036}"),
                "TD3.2 retrieve",
                "CN=AC IGC-SANTE 123456",
                None,
                None,
            );
            let record = format!("{:036}", number % 50_000);
            let rule = "PDT-INF-526 TD3.2 oui; R1111-46: authorisation in force; matrix 2023 10 × 11488-4";
            let mut entry = context.granted(200, rule, Some(&record), &[format!("{:036}", number % 900_000)]);
            entry.caller_kind = "CPS".into();
            entry.caller_id = format!("8{:011}", number % 1_000);
            entry.software = Some("Logiciel 2.3 DEMO-DMP-0001".into());
            store.writer().record(entry, ())
        });
        for written in futures_util::future::join_all(writes).await {
            written.expect("a trace is written").into_inner();
        }
        checkpointer.sign(&store, now).await.expect("a checkpoint");
        bar.inc(4_000);
    }
}

fn timed(arguments: &[&str]) -> Duration {
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_habilis")).args(arguments).output().expect("habilis runs");
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}", said.concat());
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64)
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (rows, runs) = (argument("--rows", 1_000_000), argument("--runs", 3));
    let folder = tempfile::tempdir().expect("a folder");
    let certs = folder.path().join("certs");
    std::fs::create_dir_all(&certs).expect("a folder");
    let key = PkiFolder::new(&certs).audit_key().expect("a key");
    println!(
        "| engine | rows | verify, rows/s | export of one professional's year, s |\n| --- | --- | --- | --- |"
    );
    for engine in ["SQLite", "PostgreSQL"] {
        let data = folder.path().join(engine);
        std::fs::create_dir_all(&data).expect("a folder");
        let url = match engine {
            "SQLite" => format!("sqlite:{}", data.join("habilis.db").display()),
            _ => {
                let admin = std::env::var("HABILIS_TEST_POSTGRES").expect("run by scripts/with-postgres");
                let name = format!("bench_traces_{}", std::process::id());
                let mut connection = PgConnection::establish(&admin).expect("PostgreSQL answers");
                connection.batch_execute(&format!("CREATE DATABASE {name}")).expect("a database");
                format!("{}/{name}", admin.rsplit_once('/').expect("a URL").0)
            }
        };
        let bar = ProgressBar::new(rows);
        bar.set_style(ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} ({elapsed})").expect("a style"));
        bar.set_message(engine);
        actix_web::rt::System::new().block_on(fill(
            &url,
            &data,
            &key,
            i64::try_from(rows).expect("rows"),
            &bar,
        ));
        bar.finish_and_clear();
        let place = [
            "--data",
            data.to_str().expect("UTF-8"),
            "--certs",
            certs.to_str().expect("UTF-8"),
            "--database",
            &url,
        ];
        let verify = (0..runs).map(|_| timed(&[&["audit", "verify"], &place[..]].concat())).collect();
        let export = (0..runs)
            .map(|run| {
                let output = data.join(format!("{run}.jsonl")).display().to_string();
                let what = ["--professional", "800000000007", "--from", "2025-01-01", "--until", "2025-12-31"];
                let time = timed(&[&["audit", "export"], &what[..], &["--output", &output], &place].concat());
                let lines = std::fs::read_to_string(&output).expect("an export").lines().count();
                assert_eq!(lines as u64, rows / 1_000, "all of them, and no others");
                time
            })
            .collect();
        println!("| {engine} | {rows} | {:.0} | {:.2} |", rows as f64 / median(verify), median(export));
    }
}
