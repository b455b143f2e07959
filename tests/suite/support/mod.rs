//! A running server of one's own for each test, clients with cards, and the traces.

pub mod bad_certificates;
mod client;
mod counting_proxy;
mod database;
pub mod establishment;
mod ledger;
mod ocsp;
mod patient_side;
mod pki;
mod process;
mod s3;
mod sinks;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use habilis::api::limits::Budgets;
use habilis::environment::{Clock, Environment, Identifiers};
use habilis::identity::software::Unregistered;
use habilis::sandbox::pro_sante_connect::StandIn;
use habilis::sandbox::{Sandbox, SandboxOptions};
use habilis::server::Listening;
use habilis::store::{BodyStoreLocation, DatabaseConnection, DatabaseUrl, TraceRow};
use habilis::tls::ocsp::OcspSettings;
use jiff::Timestamp;

pub use client::{Answer, Client, FHIR_JSON, FHIR_XML, speak_xml, tls_config};
pub use counting_proxy::CountingProxy;
pub use database::{Database as DatabaseOfTest, Engine, rows_of};
pub use ocsp::{Behaviour as OcspBehaviour, Responder};
pub use patient_side::{PatientSide, ins_body};
pub use pki::{copy as pki_copy, shared_pki};
pub use process::Process;
pub use s3::ObjectStore;
pub use sinks::{KEY, Sinks};

/// System of the test INS.
pub const TEST: &str = "urn:oid:1.2.250.1.213.1.4.10";
/// The patient of the samples.
pub const PATIENT: &str = "279035121518989";
/// Another, without documents.
pub const OTHER: &str = "185067599900166";

/// Runs each test on each engine.
#[macro_export]
macro_rules! on_both_engines {
    ($($(#[$attribute:meta])* $test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] $(#[$attribute])* fn $test() { super::$test($crate::support::Engine::Sqlite); })+
        }
        mod postgres {
            $(#[test] $(#[$attribute])* fn $test() { super::$test($crate::support::Engine::Postgres); })+
        }
    };
}

/// Runs each test on each engine, and once more with clients that speak XML.
#[macro_export]
macro_rules! on_both_engines_and_in_xml {
    ($($test:ident),+ $(,)?) => {
        $crate::on_both_engines!($($test),+);
        mod in_xml {
            mod sqlite {
                $(#[test] fn $test() {
                    $crate::support::speak_xml();
                    super::super::$test($crate::support::Engine::Sqlite);
                })+
            }
            mod postgres {
                $(#[test] fn $test() {
                    $crate::support::speak_xml();
                    super::super::$test($crate::support::Engine::Postgres);
                })+
            }
        }
    };
}

/// How a test's server differs from the sandbox.
#[derive(Clone, Debug)]
pub struct Options {
    pub strict: bool,
    pub records: Option<String>,
    pub certs: Option<PathBuf>,
    pub body_deadline: Duration,
    pub budgets: Option<Budgets>,
    /// None is held back unless a test is about it: it would have each of a hundred thousand reads wait.
    pub even_answers: Duration,
    pub software: Option<String>,
    pub unregistered: Unregistered,
    pub ocsp: Option<OcspSettings>,
    pub notices: habilis::notification::NoticeSettings,
    /// A second node: on the database, the folders and the clock of another.
    pub beside: Option<Beside>,
    /// Where bodies lie: in a folder of the data, unless given.
    pub bodies: Option<BodyStoreLocation>,
    /// How clients are troubled.
    pub hostile: Option<habilis::api::hostile::Hostile>,
    /// Up to so many bytes lie in the database: as by default, unless given.
    pub small_bodies: u64,
    /// An instant at which time stands still, and from which identifiers are drawn, the same each time.
    pub repeatable: Option<Timestamp>,
}

/// How long a node of a test drains.
pub const DRAIN: Duration = Duration::from_millis(400);

/// What two nodes share.
#[derive(Clone, Debug)]
pub struct Beside {
    node: String,
    database_url: String,
    data: PathBuf,
    base: String,
    clock: Arc<MovableClock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            strict: false,
            records: None,
            certs: None,
            body_deadline: Duration::from_secs(30),
            budgets: None,
            even_answers: Duration::ZERO,
            software: None,
            unregistered: Unregistered::Marked,
            ocsp: None,
            notices: Default::default(),
            beside: None,
            bodies: None,
            hostile: None,
            small_bodies: habilis::store::SMALL_BODIES,
            repeatable: None,
        }
    }
}

/// A server, its data, its clock.
pub struct World {
    pub listening: Listening,
    services: Arc<habilis::operations::Services>,
    options: SandboxOptions,
    pub certs: PathBuf,
    pub clock: Arc<MovableClock>,
    pub database_url: String,
    pub data: PathBuf,
    pub stand_in: StandIn,
    server: Option<JoinHandle<()>>,
    /// Another server writes, or wrote, to the same database.
    shares: std::sync::atomic::AtomicBool,
    _database: Option<database::Database>,
    _folder: tempfile::TempDir,
}

impl World {
    pub fn start(engine: Engine) -> Self {
        Self::start_with(engine, Options::default())
    }

    /// One whose bodies all lie in the body store, however short.
    pub fn with_files(engine: Engine) -> Self {
        Self::start_with(engine, Options { small_bodies: 0, ..Options::default() })
    }

    pub fn start_with(engine: Engine, options: Options) -> Self {
        let certs = options.certs.unwrap_or_else(|| shared_pki().to_path_buf());
        let folder = tempfile::tempdir().unwrap();
        let data = options.beside.as_ref().map_or(folder.path().join("data"), |beside| beside.data.clone());
        let database = options.beside.is_none().then(|| database::Database::new(engine, folder.path()));
        let database_url = match (&options.beside, &database) {
            (Some(beside), _) => beside.database_url.clone(),
            (None, Some(database)) => database.url.clone(),
            (None, None) => unreachable!(),
        };
        let software = options.software.map(|text| {
            let path = folder.path().join("software.tsv");
            std::fs::write(&path, text).unwrap();
            path
        });
        let records = options.records.map(|text| {
            let path = folder.path().join("records.tsv");
            std::fs::write(&path, text).unwrap();
            path
        });
        let sandbox = SandboxOptions {
            data: data.clone(),
            certs: certs.clone(),
            api: "127.0.0.1:0".parse().unwrap(),
            portal: "127.0.0.1:0".parse().unwrap(),
            database: Some(database_url.clone()),
            base: options.beside.as_ref().map(|beside| beside.base.clone()),
            node: options.beside.as_ref().map_or("1".to_owned(), |beside| beside.node.clone()),
            reserve: 0,
            pro_sante_connect: "127.0.0.1:0".parse().unwrap(),
            budgets: options.budgets,
            maximum_body: 64 << 20,
            even_answers: options.even_answers,
            software,
            unregistered: options.unregistered,
            ocsp: options.ocsp,
            notices: options.notices,
            records,
            strict: options.strict,
            workers: Some(2),
            body_deadline: options.body_deadline,
            drain: DRAIN,
            batch: 64,
            bodies: options.bodies,
            hostile: options.hostile,
            small_bodies: options.small_bodies,
        };
        let held = options.repeatable.map(|at| Arc::new(MovableClock::held_at(at)));
        let clock = options.beside.map(|beside| beside.clock).or(held).unwrap_or_default();
        let identifiers: Arc<dyn Identifiers> = match options.repeatable {
            Some(_) => Arc::new(Counted::default()),
            None => Arc::new(Random),
        };
        let environment = Environment::new(clock.clone(), identifiers);
        let (sender, receiver) = mpsc::channel();
        let kept = sandbox.clone();
        let server = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let sandbox = Sandbox::prepare(sandbox, environment, &|_| {}).await.unwrap();
                let (services, stand_in) = (sandbox.services(), sandbox.stand_in());
                sandbox
                    .serve(|listening, _| sender.send((listening.clone(), services, stand_in)).unwrap())
                    .await
                    .unwrap();
            });
        });
        let (listening, services, stand_in) = receiver.recv().expect("the server starts");
        ledger::begin(listening.api.port());
        Self {
            listening,
            services,
            options: kept,
            certs,
            clock,
            database_url,
            data,
            stand_in,
            server: Some(server),
            shares: database.is_none().into(),
            _database: database,
            _folder: folder,
        }
    }

    /// A second node beside this one.
    pub fn second_node(&self) -> Self {
        self.node("2")
    }

    /// A further node beside this one, by name.
    pub fn node(&self, name: &str) -> Self {
        self.node_of(name, self.options.small_bodies)
    }

    /// A further node that keeps bodies of up to so many bytes in the database.
    pub fn node_of(&self, name: &str, small_bodies: u64) -> Self {
        self.beside(name, small_bodies, &self.database_url)
    }

    /// A further node that reaches the same database under another address.
    pub fn node_through(&self, name: &str, database_url: &str) -> Self {
        self.beside(name, self.options.small_bodies, database_url)
    }

    fn beside(&self, name: &str, small_bodies: u64, database_url: &str) -> Self {
        let beside = Beside {
            node: name.to_owned(),
            database_url: database_url.to_owned(),
            data: self.data.clone(),
            base: self.listening.base.clone(),
            clock: Arc::clone(&self.clock),
        };
        let budgets = self.options.budgets;
        let bodies = self.options.bodies.clone();
        let options = Options {
            certs: Some(self.certs.clone()),
            beside: Some(beside),
            budgets,
            bodies,
            small_bodies,
            ..Options::default()
        };
        Self::start_with(Engine::Sqlite, options)
    }

    /// A client with a card.
    pub fn client(&self, card: &str) -> Client {
        Client::new(&self.certs, Some(card), self.listening.api.port())
    }

    /// What the portal tells to be scraped.
    pub fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.listening.portal);
        reqwest::blocking::get(url).unwrap().text().unwrap()
    }

    /// All traces so far.
    pub fn traces(&self) -> Vec<TraceRow> {
        let url = DatabaseUrl::parse(&self.database_url).unwrap();
        TraceRow::all(&mut DatabaseConnection::open_for_reading(&url).unwrap()).unwrap()
    }

    /// The traces of one request.
    pub fn traces_of(&self, request_id: &str) -> Vec<TraceRow> {
        self.traces().into_iter().filter(|trace| trace.request_id == request_id).collect()
    }

    /// Runs SQL on the database behind the server's back.
    pub fn sql(&self, statement: &str) {
        use diesel::connection::SimpleConnection;
        let url = DatabaseUrl::parse(&self.database_url).unwrap();
        DatabaseConnection::open_for_writing(&url).unwrap().batch_execute(statement).unwrap();
    }

    /// The one text, called `text`, that a query gives.
    pub fn text(&self, query: &str) -> String {
        use diesel::RunQueryDsl;
        #[derive(diesel::QueryableByName)]
        struct One {
            #[diesel(sql_type = diesel::sql_types::Text)]
            text: String,
        }
        let url = DatabaseUrl::parse(&self.database_url).unwrap();
        let mut connection = DatabaseConnection::open_for_reading(&url).unwrap();
        diesel::sql_query(query).get_result::<One>(&mut connection).unwrap().text
    }

    /// How many rows of a table hold these bytes in a column of bytes.
    pub fn rows_with(&self, table: &str, column: &str, text: &str) -> i64 {
        let holds = match self.database_url.starts_with("sqlite") {
            true => format!("instr({column}, CAST('{text}' AS BLOB)) > 0"),
            false => format!("position('{text}'::bytea in {column}) > 0"),
        };
        self.rows(&format!("{table} WHERE {holds}"))
    }

    /// Tables of the database with a column of this name.
    pub fn tables_with(&self, column: &str) -> Vec<String> {
        let query = match self.database_url.starts_with("sqlite") {
            true => format!(
                "SELECT group_concat(m.name) AS text FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = '{column}'"
            ),
            false => format!(
                "SELECT string_agg(table_name, ',') AS text FROM information_schema.columns WHERE table_schema = 'public' AND column_name = '{column}'"
            ),
        };
        self.text(&query).split(',').map(str::to_owned).collect()
    }

    /// The number of rows of a table.
    pub fn rows(&self, table: &str) -> i64 {
        database::rows_of(&self.database_url, table)
    }

    /// What the server's operations work with.
    pub fn services(&self) -> Arc<habilis::operations::Services> {
        Arc::clone(&self.services)
    }

    /// A node of this database is cut off while it writes: what it wrote last is signed when it comes back.
    pub fn may_end_unsigned(&self) {
        self.shares.store(true, Ordering::SeqCst);
    }

    /// Prepares a second sandbox on the same folders, as a restart does.
    pub fn restart_in_place(&self) {
        self.shares.store(true, Ordering::SeqCst);
        let options = self.options.clone();
        actix_web::rt::System::new()
            .block_on(Sandbox::prepare(options, Environment::system(), &|_| {}))
            .map(|_| ())
            .unwrap();
    }

    /// The file of a body.
    pub fn body(&self, binary_id: &str) -> PathBuf {
        fn find(folder: &Path, name: &str) -> Option<PathBuf> {
            std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).find_map(|path| {
                if path.is_dir() {
                    find(&path, name)
                } else {
                    path.file_name().unwrap().to_str().unwrap().contains(name).then_some(path)
                }
            })
        }
        find(&self.data.join("bodies"), binary_id).unwrap()
    }

    /// Bodies, in the folder of the body store and in the database.
    pub fn bodies(&self) -> usize {
        fn files(folder: &Path) -> usize {
            std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
                .map(|path| if path.is_dir() { files(&path) } else { 1 })
                .sum()
        }
        files(&self.data.join("bodies")) + usize::try_from(self.rows("made_body")).unwrap()
    }
}

impl World {
    /// The traces are as they were written, and signed to the last.
    fn assert_provable(&self) {
        use habilis::audit::checkpoint::{CheckpointFolders, Signer};
        let evidence = habilis::audit::verify::Evidence {
            verifier: Signer::read(habilis::sandbox::AUDIT_ORIGIN, &self.certs.join("audit.key"))
                .unwrap()
                .verifier(),
            folders: CheckpointFolders::of(&[self.data.join("checkpoints")]),
            now: jiff::Timestamp::MAX,
            unlogged: 0,
            patience: 0,
        };
        // Of two nodes, the one that goes on has more than is signed.
        let patience = if self.shares.load(Ordering::SeqCst) { i64::MAX / 2 } else { 0 };
        let url = DatabaseUrl::parse(&self.database_url).unwrap();
        let mut connection = DatabaseConnection::open_for_reading(&url).unwrap();
        let evidence = habilis::audit::verify::Evidence { patience, ..evidence };
        let report = habilis::audit::verify::verify(&mut connection, &evidence, |_, _| {}).unwrap();
        assert_eq!(report.faults, [], "the traces are as they were written");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What a test put out of the way is not there to be looked at.
            let traces = self.traces();
            ledger::assert_traced(self.listening.api.port(), &traces);
        }
        let listening = self.listening.clone();
        actix_web::rt::System::new().block_on(async move { listening.stop(false).await });
        if let Some(server) = self.server.take() {
            let ended = server.join();
            if !std::thread::panicking() {
                ended.expect("the server ends without a panic");
                self.assert_provable();
            }
        }
    }
}

/// The machine's clock, moved by a test.
#[derive(Debug, Default)]
pub struct MovableClock {
    seconds: AtomicI64,
    /// Microseconds at which the machine's clock is held still; 0: it goes on.
    held: AtomicI64,
}

impl MovableClock {
    pub fn advance_seconds(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn advance(&self, days: i64) {
        self.seconds.fetch_add(days * 86_400, Ordering::SeqCst);
    }

    /// One that stands still at an instant, but for what it is moved by.
    pub fn held_at(at: Timestamp) -> Self {
        Self { held: at.as_microsecond().into(), ..Self::default() }
    }
}

impl Clock for MovableClock {
    #[expect(clippy::disallowed_methods, reason = "the tests' own clock")]
    fn now(&self) -> Timestamp {
        let held = Some(self.held.load(Ordering::SeqCst)).filter(|held| *held != 0);
        let now = held.unwrap_or_else(|| Timestamp::now().as_microsecond());
        let moved = now + self.seconds.load(Ordering::SeqCst) * 1_000_000;
        Timestamp::from_microsecond(moved).unwrap()
    }
}

/// Identifiers that are the same each time, and look like any others.
#[derive(Debug, Default)]
struct Counted(std::sync::atomic::AtomicU64);

impl Identifiers for Counted {
    fn next(&self) -> uuid::Uuid {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &number.to_be_bytes())
    }
}

#[derive(Debug)]
pub struct Random;

impl Identifiers for Random {
    #[expect(clippy::disallowed_methods, reason = "the tests' own identifiers")]
    fn next(&self) -> uuid::Uuid {
        uuid::Uuid::new_v4()
    }
}

/// Compares with a reviewed file of `tests/expected`; `UPDATE_EXPECTED=1` writes it.
pub fn assert_expected(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected").join(file);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (expected, actual)) in expected.lines().zip(actual.lines()).enumerate() {
        assert_eq!(expected, actual, "{file}:{} (UPDATE_EXPECTED=1 rewrites it, for review)", line + 1);
    }
    assert_eq!(expected.lines().count(), actual.lines().count(), "{file}: number of lines");
}
