//! The log of traces: what is changed behind the server's back is found; what several write has no gap and no fork.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use habilis::audit::checkpoint::CheckpointFolders;
use habilis::audit::checkpointer::{AuditSettings, Checkpointer};
use habilis::audit::merkle::Frontier;
use habilis::audit::verify::{Evidence, Report, verify};
use habilis::audit::{TraceContext, TraceEntry};
use habilis::sandbox::operator_keys;
use habilis::store::{
    BodyStore, BodyStoreLocation, DatabaseConnection, DatabaseUrl, LogState, Store, StoreLimits, TraceRow,
};
use jiff::Timestamp;

use crate::on_both_engines;
use crate::support::{DatabaseOfTest as Database, Engine, shared_pki};

on_both_engines!(
    a_thousand_tamperings_are_found,
    nothing_is_signed_that_contradicts_a_checkpoint,
    two_writers_under_one_name_make_one_log,
);

const ORIGIN: &str = "test.habilis";
/// When the first trace was written, seconds.
const BEGIN: i64 = 1_795_000_000;

/// A store without a server.
struct Log {
    store: Store,
    url: DatabaseUrl,
    settings: AuditSettings,
    _database: Database,
    folder: tempfile::TempDir,
}

fn open(url: &DatabaseUrl, folder: &Path, node: &str) -> Store {
    let bodies = BodyStore::open(&BodyStoreLocation::Folder(folder.join("bodies"))).unwrap();
    let limits = StoreLimits { readers: 1, node: node.to_owned(), ..StoreLimits::default() };
    Store::open(url, bodies, operator_keys(shared_pki()).unwrap().vault().unwrap(), &limits).unwrap()
}

fn settings(folder: &Path, node: &str) -> AuditSettings {
    AuditSettings {
        origin: ORIGIN.to_owned(),
        node: node.to_owned(),
        key: shared_pki().join("audit.key"),
        checkpoints: vec![folder.join("one"), folder.join("two")],
        interval: Duration::from_secs(5),
    }
}

impl Log {
    fn start(engine: Engine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::new(engine, folder.path());
        let url = DatabaseUrl::parse(&database.url).unwrap();
        let store = open(&url, folder.path(), "n");
        Self { store, url, settings: settings(folder.path(), "n"), _database: database, folder }
    }

    fn connection(&self) -> DatabaseConnection {
        DatabaseConnection::open_for_writing(&self.url).unwrap()
    }

    fn evidence(&self, folders: &[PathBuf], now: i64) -> Evidence {
        evidence(folders, now)
    }
}

fn evidence(folders: &[PathBuf], now: i64) -> Evidence {
    let key = shared_pki().join("audit.key");
    Evidence {
        verifier: habilis::audit::checkpoint::Signer::read(ORIGIN, &key).unwrap().verifier(),
        folders: CheckpointFolders::of(folders),
        now: Timestamp::from_second(now).unwrap(),
        unlogged: 0,
        patience: 60_000_000,
    }
}

/// A trace of which every column says something.
fn entry(number: i64) -> TraceEntry {
    let context = TraceContext::new(
        (BEGIN + number) * 1_000_000,
        format!("r{number}"),
        "TD3.2 retrieve",
        "CN=x 1",
        None,
        None,
    );
    let mut entry = context.granted(200, "sheet 526: yes", Some("record"), &[format!("object-{number}")]);
    let said = Some("said".to_owned());
    (entry.caller_id, entry.authentication) = ("810100000016".into(), "DIRECTE".into());
    (entry.caller_structure, entry.role, entry.sector) = (said.clone(), said.clone(), said.clone());
    (entry.software, entry.motif, entry.session_id) = (said.clone(), None, said);
    entry
}

async fn write(store: &Store, numbers: std::ops::Range<i64>) {
    for number in numbers {
        store.writer().record(entry(number), ()).await.unwrap().into_inner();
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + seconds).unwrap()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(work)
}

const SIZE: i64 = 120;

/// 120 traces, signed at 40, 80 and 120.
fn signed_log(engine: Engine) -> Log {
    let log = Log::start(engine);
    block_on(async {
        let mut checkpointer = Checkpointer::open(&log.settings, &log.store).await.unwrap();
        for end in [40, 80, SIZE] {
            write(&log.store, end - 40..end).await;
            assert!(checkpointer.sign(&log.store, at(end)).await.unwrap());
            assert!(!checkpointer.sign(&log.store, at(end)).await.unwrap(), "nothing new");
        }
    });
    log
}

/// Chooses; SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }
}

/// Every column of a trace that says something, and how an attacker changes it.
const EDITS: [&str; 20] = [
    "at = at + 1",
    "request_id = request_id || 'x'",
    "operation = 'TD3.1 find documents'",
    "caller_kind = 'CPF'",
    "caller_id = '810100000024'",
    "caller_structure = NULL",
    "certificate = ''",
    "mode = 'bris_de_glace'",
    "authentication = ''",
    "role = 'saidx'",
    "sector = NULL",
    "software = 'said '",
    "motif = ''",
    "session_id = NULL",
    "secret = NOT secret",
    "record_id = NULL",
    "objects = ''",
    "status = 403",
    "outcome = 'refused'",
    "rule = 'sheet 526: no'",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Edit,
    Insert,
    Delete,
    Swap,
    Truncate,
    RewriteAll,
    RestoreOldCheckpoint,
    /// A row that is in no log: without a node, without a place, below the beginning, behind the end.
    Beside,
}

const KINDS: [Kind; 8] = [
    Kind::Edit,
    Kind::Insert,
    Kind::Delete,
    Kind::Swap,
    Kind::Truncate,
    Kind::RewriteAll,
    Kind::RestoreOldCheckpoint,
    Kind::Beside,
];

struct Attack<'a> {
    connection: &'a mut DatabaseConnection,
    random: &'a mut Random,
    engine: Engine,
}

impl Attack<'_> {
    fn sql(&mut self, statement: &str) {
        self.connection.batch_execute(statement).unwrap();
    }

    fn blob(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.engine {
            Engine::Sqlite => format!("X'{hex}'"),
            Engine::Postgres => format!("'\\x{hex}'::bytea"),
        }
    }

    /// Where the row stands is right again, with the hash that it should have: an attacker who knows the form.
    fn hash_again(&mut self) {
        let rows = TraceRow::page(self.connection, "n", 0, 10_000).unwrap();
        let mut frontier = Frontier::default();
        for row in &rows {
            let right = row.right_hash().unwrap();
            frontier.push(right);
            let blob = self.blob(&right);
            self.sql(&format!("UPDATE trace SET leaf_hash = {blob} WHERE sequence = {}", row.sequence));
        }
        let blob = self.blob(&frontier.to_bytes());
        self.sql(&format!("UPDATE trace_log SET size = {}, frontier = {blob}", rows.len()));
    }

    fn tamper(&mut self, kind: Kind, folder: &Path) {
        let size = usize::try_from(SIZE).unwrap();
        let (leaf, careful) = (self.random.below(size), self.random.below(2) == 0);
        match kind {
            Kind::Edit => {
                let edit = EDITS[self.random.below(EDITS.len())];
                self.sql(&format!("UPDATE trace SET {edit} WHERE leaf = {leaf}"));
            }
            Kind::Insert => {
                self.sql(&format!("UPDATE trace SET leaf = leaf + 100000 WHERE leaf >= {leaf}"));
                self.sql("UPDATE trace SET leaf = leaf - 99999 WHERE leaf >= 100000");
                let columns = "at, request_id, operation, caller_kind, caller_id, certificate, mode, objects, status, outcome, rule, authentication, secret, node, leaf_hash";
                self.sql(&format!(
                    "INSERT INTO trace ({columns}, leaf) SELECT {columns}, {leaf} FROM trace WHERE leaf = {}",
                    if leaf == 0 { 1 } else { leaf - 1 }
                ));
            }
            Kind::Delete => {
                self.sql(&format!("DELETE FROM trace WHERE leaf = {leaf}"));
                if careful {
                    self.sql(&format!("UPDATE trace SET leaf = leaf + 100000 WHERE leaf > {leaf}"));
                    self.sql("UPDATE trace SET leaf = leaf - 100001 WHERE leaf >= 100000");
                }
            }
            Kind::Swap => {
                let other = (leaf + 1 + self.random.below(size - 1)) % size;
                self.sql(&format!("UPDATE trace SET leaf = 100000 WHERE leaf = {leaf}"));
                self.sql(&format!("UPDATE trace SET leaf = {leaf} WHERE leaf = {other}"));
                self.sql(&format!("UPDATE trace SET leaf = {other} WHERE leaf = 100000"));
            }
            Kind::Beside => {
                let columns = "at, request_id, operation, caller_kind, caller_id, certificate, mode, objects, status, outcome, rule, authentication, secret, leaf_hash";
                let place =
                    [("NULL", "NULL"), ("'n'", "NULL"), ("'n'", "-1"), ("'n'", "120")][self.random.below(4)];
                self.sql(&format!(
                    "INSERT INTO trace ({columns}, node, leaf) SELECT {columns}, {}, {} FROM trace WHERE leaf = {leaf}",
                    place.0, place.1
                ));
                return;
            }
            Kind::Truncate => self.sql(&format!("DELETE FROM trace WHERE leaf >= {leaf}")),
            Kind::RewriteAll => {
                self.sql("UPDATE trace SET caller_id = '810100000024', rule = rule || '!'");
            }
            Kind::RestoreOldCheckpoint => {
                // The state of 40, as a backup would give it back: rows, log, and one of the two folders.
                self.sql("DELETE FROM trace WHERE leaf >= 40");
                for entry in std::fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    let text = std::fs::read_to_string(&path).unwrap();
                    let end = text.find("\n\n— ").unwrap();
                    let end = end + 2 + text[end + 2..].find("\n\n").unwrap() + 2;
                    std::fs::write(&path, &text[..end]).unwrap();
                }
            }
        }
        // What is half done is found the sooner: the careful attacker leaves a tree that is whole.
        if careful || matches!(kind, Kind::RewriteAll | Kind::RestoreOldCheckpoint) {
            let whole = TraceRow::page(self.connection, "n", 0, 10_000).unwrap();
            if whole.iter().enumerate().all(|(place, row)| row.leaf == i64::try_from(place).ok()) {
                self.hash_again();
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn a_thousand_tamperings_are_found(engine: Engine) {
    let log = signed_log(engine);
    let [one, two] = log.settings.checkpoints.as_slice() else { unreachable!() };
    let mut connection = log.connection();
    let whole = verify(&mut connection, &log.evidence(&[one.clone(), two.clone()], BEGIN + SIZE), |_, _| {});
    let expected = Report { traces: 120, unlogged: 0, checkpoints: 3, nodes: 1, faults: Vec::new() };
    assert_eq!(whole.unwrap(), expected, "control");

    let mut random = Random(7);
    let rounds = if engine == Engine::Sqlite { 1_000 } else { 200 };
    let (mut missed, mut seen, mut missed_without) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for round in 0..rounds {
        let kind = KINDS[round % KINDS.len()];
        // The folder that the attacker reaches too; the other is on another volume.
        let reached = log.folder.path().join("reached");
        let _ = std::fs::remove_dir_all(&reached);
        copy(one, &reached);
        connection.batch_execute("BEGIN").unwrap();
        Attack { connection: &mut connection, random: &mut random, engine }.tamper(kind, &reached);
        let folders = [reached.clone(), two.clone()];
        let report = verify(&mut connection, &log.evidence(&folders, BEGIN + SIZE), |_, _| {}).unwrap();
        // The control: who has no checkpoints.
        let none = log.folder.path().join("none");
        std::fs::create_dir_all(&none).unwrap();
        let without = Evidence { patience: i64::MAX / 2, ..log.evidence(&[none], BEGIN + SIZE) };
        if verify(&mut connection, &without, |_, _| {}).unwrap().faults.is_empty() {
            missed_without.insert(kind);
        }
        connection.batch_execute("ROLLBACK").unwrap();
        seen.insert(kind);
        if report.faults.is_empty() {
            missed.push((round, kind));
        }
    }
    assert_eq!(missed, []);
    assert_eq!(seen.len(), KINDS.len());
    assert!(
        missed_without.contains(&Kind::Truncate),
        "control: without checkpoints {missed_without:?} are missed"
    );
    assert!(missed_without.contains(&Kind::RewriteAll) && missed_without.contains(&Kind::RestoreOldCheckpoint));

    // The first bad row is named; where its hash was made right again, what lies between two checkpoints.
    for (leaf, careful, expected) in
        [(57, false, (57, "is not what was written")), (57, true, (40, "of the traces 40 to 79, one at least"))]
    {
        connection.batch_execute("BEGIN").unwrap();
        let mut attack = Attack { connection: &mut connection, random: &mut random, engine };
        attack.sql(&format!("UPDATE trace SET status = 500 WHERE leaf = {leaf}"));
        if careful {
            attack.hash_again();
        }
        let report =
            verify(&mut connection, &log.evidence(std::slice::from_ref(one), BEGIN + SIZE), |_, _| {}).unwrap();
        connection.batch_execute("ROLLBACK").unwrap();
        assert_eq!(report.faults.len(), 1);
        assert_eq!(report.faults[0].leaf, expected.0);
        assert!(report.faults[0].what.contains(expected.1), "{}", report.faults[0]);
    }
    // A last checkpoint that was taken away is missed once the traces are old enough.
    for (later, faults) in [(60, 0), (61, 1)] {
        let reached = log.folder.path().join("reached");
        let _ = std::fs::remove_dir_all(&reached);
        std::fs::create_dir_all(&reached).unwrap();
        let report = verify(&mut connection, &log.evidence(&[reached], BEGIN + later), |_, _| {}).unwrap();
        assert_eq!(report.faults.len(), faults, "{:?}", report.faults);
    }
}

fn nothing_is_signed_that_contradicts_a_checkpoint(engine: Engine) {
    let log = signed_log(engine);
    block_on(async {
        // A restart goes on: from what the database noted, or from the first trace where it noted nothing.
        for noted in [true, false] {
            if !noted {
                let zero = Frontier::default().to_bytes();
                let mut connection = log.connection();
                let mut random = Random(1);
                let mut attack = Attack { connection: &mut connection, random: &mut random, engine };
                let blob = attack.blob(&zero);
                attack.sql(&format!("UPDATE trace_log SET checkpoint = {blob}"));
            }
            let checkpointer = Checkpointer::open(&log.settings, &log.store).await.unwrap();
            assert_eq!(checkpointer.signed(), u64::try_from(SIZE).unwrap());
        }
        for (tampering, phrase) in [
            ("UPDATE trace_log SET size = 119", "fewer than were signed"),
            ("DELETE FROM trace_log", "no log of this node"),
            ("UPDATE trace_log SET frontier = checkpoint, size = 121", "the traces from 120 on are missing"),
            ("UPDATE trace SET leaf_hash = NULL WHERE leaf = 7", "the trace 7 is missing"),
            ("DELETE FROM trace WHERE leaf >= 110", "the traces from 110 on are missing"),
        ] {
            let away = log.connection();
            drop(away);
            let mut connection = log.connection();
            let kept = LogState::all(&mut connection).unwrap().remove(0);
            connection.batch_execute("CREATE TABLE kept AS SELECT * FROM trace").unwrap();
            connection.batch_execute("CREATE TABLE kept_log AS SELECT * FROM trace_log").unwrap();
            connection.batch_execute(tampering).unwrap();
            let error = format!("{:#}", Checkpointer::open(&log.settings, &log.store).await.unwrap_err());
            assert!(error.contains(phrase) && error.contains("another node's name"), "{error}");
            connection
                .batch_execute(
                    "DELETE FROM trace_log; INSERT INTO trace_log SELECT * FROM kept_log; DROP TABLE kept_log;
                     UPDATE trace SET leaf_hash = (SELECT leaf_hash FROM kept WHERE kept.sequence = trace.sequence) WHERE leaf = 7;
                     DROP TABLE kept",
                )
                .unwrap();
            assert_eq!(LogState::all(&mut connection).unwrap().remove(0), kept);
        }
        // Under another node's name the server goes on.
        let next = open(&log.url, log.folder.path(), "n-2");
        write(&next, 200..203).await;
        let settings = settings(log.folder.path(), "n-2");
        let mut checkpointer = Checkpointer::open(&settings, &next).await.unwrap();
        assert!(checkpointer.sign(&next, at(203)).await.unwrap());
    });
}

/// Two processes by one name, which is a slip of the operator's: they share one log, and neither forks it.
fn two_writers_under_one_name_make_one_log(engine: Engine) {
    let log = Log::start(engine);
    let second = open(&log.url, log.folder.path(), "n");
    block_on(async {
        let (first, second) = (&log.store, &second);
        futures_util::future::join(write(first, 0..60), write(second, 1000..1060)).await;
        write(first, 60..61).await;
    });
    let states = LogState::all(&mut log.connection()).unwrap();
    assert_eq!((states.len(), states[0].size), (1, 121));
    let none = log.folder.path().join("none");
    std::fs::create_dir_all(&none).unwrap();
    let evidence = Evidence { patience: i64::MAX / 2, ..log.evidence(&[none], BEGIN) };
    let report = verify(&mut log.connection(), &evidence, |_, _| {}).unwrap();
    assert_eq!((report.traces, report.faults), (121, Vec::new()));
}

/// `HABILIS_TRACES=10000 scripts/test many_writers` is the long form.
#[test]
fn many_writers_make_no_gap_and_no_fork() {
    let each: i64 = std::env::var("HABILIS_TRACES").map_or(100, |text| text.parse().unwrap());
    const WRITERS: i64 = 32;
    let log = Log::start(Engine::Postgres);
    let folder = log.folder.path();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let url = &log.url;
            scope.spawn(move || {
                let node = format!("w{writer}");
                let store = open(url, folder, &node);
                block_on(async {
                    let settings = settings(folder, &node);
                    let mut checkpointer = Checkpointer::open(&settings, &store).await.unwrap();
                    for begin in (0..each).step_by(50) {
                        let end = (begin + 50).min(each);
                        let entries = (begin..end).map(|number| store.writer().record(entry(number), ()));
                        for done in futures_util::future::join_all(entries).await {
                            done.unwrap().into_inner();
                        }
                        checkpointer.sign(&store, at(end)).await.unwrap();
                    }
                });
            });
        }
    });
    let report =
        verify(&mut log.connection(), &log.evidence(&log.settings.checkpoints, BEGIN + each), |_, _| {})
            .unwrap();
    assert_eq!(report.faults, []);
    assert_eq!((report.traces, report.nodes), (u64::try_from(WRITERS * each).unwrap(), 32));
    #[derive(diesel::QueryableByName)]
    struct Counted {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let requests: Counted =
        diesel::sql_query("SELECT count(*) AS count FROM trace").get_result(&mut log.connection()).unwrap();
    assert_eq!(requests.count, WRITERS * each);
}
