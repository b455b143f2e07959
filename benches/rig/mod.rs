//! What the benches share: a server in a process of its own, and connections to it over mutual TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// System of the test INS.
pub const TEST: &str = "urn:oid:1.2.250.1.213.1.4.10";

/// Clock ticks of `/proc/PID/stat`, as Linux has them.
const TICKS_PER_SECOND: f64 = 100.0;

pub fn sql(url: &str, statement: &str) {
    use diesel::Connection;
    use diesel::connection::SimpleConnection;
    let mut connection = diesel::PgConnection::establish(url).expect("PostgreSQL answers");
    connection.batch_execute(statement).expect("the statement runs");
}

pub type Connection = StreamOwned<ClientConnection, TcpStream>;

pub struct Server {
    child: Child,
    pub port: u16,
    certs: PathBuf,
    tls: Arc<ClientConfig>,
    data: tempfile::TempDir,
}

impl Server {
    pub fn start(database: &str, certs: &Path, even_answers: u16) -> Self {
        Self::start_with(database, certs, even_answers, &[])
    }

    pub fn start_with(database: &str, certs: &Path, even_answers: u16, more: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_habilis"))
            .args(["sandbox", "--api", "127.0.0.1:0", "--portal", "127.0.0.1:0", "--database", database])
            .args(["--even-answers", &even_answers.to_string()])
            .args(more)
            .arg("--data")
            .arg(data.path())
            .arg("--certs")
            .arg(certs)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut port = None;
        for line in BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok) {
            if let Some(rest) = line.split("https://localhost:").nth(1) {
                port = port.or_else(|| rest.split('/').next()?.parse().ok());
            }
            if line == "ready" {
                break;
            }
        }
        let port = port.expect("the server says its port");
        Self { child, port, certs: certs.to_owned(), tls: Arc::new(tls(certs, "cps-medecin")), data }
    }

    pub fn connect(&self) -> Connection {
        self.connect_by(&self.tls)
    }

    /// With the card of somebody else.
    pub fn connect_as(&self, card: &str) -> Connection {
        self.connect_by(&Arc::new(tls(&self.certs, card)))
    }

    fn connect_by(&self, tls: &Arc<ClientConfig>) -> Connection {
        let session = ClientConnection::new(Arc::clone(tls), "localhost".try_into().expect("a name"));
        let socket = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        socket.set_nodelay(true).expect("no delay");
        StreamOwned::new(session.expect("a session"), socket)
    }

    /// User and system time of the process so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("its statistics");
        let (_, after_name) = stat.rsplit_once(')').expect("a name in brackets");
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<f64>().expect("a number");
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND
    }

    /// The folder of bodies and checkpoints.
    pub fn data(&self) -> PathBuf {
        self.data.path().to_owned()
    }

    pub fn memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

pub fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /fhir{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub fn patch(path: &str, body: &str) -> Vec<u8> {
    format!(
        "PATCH /fhir{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends a request and reads its answer whole; anything but success ends the bench.
pub fn exchange(connection: &mut Connection, request: &[u8]) -> Vec<u8> {
    let answer = send(connection, request);
    assert!(answer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&answer));
    answer
}

/// Sends a request and reads its answer whole, whatever it is.
pub fn send(connection: &mut Connection, request: &[u8]) -> Vec<u8> {
    connection.write_all(request).expect("the request goes out");
    let mut answer = Vec::with_capacity(64 << 10);
    let mut buffer = [0; 32 << 10];
    loop {
        let read = connection.read(&mut buffer).expect("the answer comes in");
        assert!(read > 0, "the connection was closed");
        answer.extend_from_slice(&buffer[..read]);
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if answer.len() >= end + 4 + length.expect("a length") {
            return answer;
        }
    }
}

pub fn tls(certs: &Path, card: &str) -> ClientConfig {
    let pem = |name: &str| -> PathBuf { certs.join(name) };
    let read = |name: &str| -> Vec<CertificateDer<'static>> {
        let certificates = CertificateDer::pem_file_iter(pem(name)).expect("a PEM file");
        certificates.collect::<Result<_, _>>().expect("certificates")
    };
    let mut roots = RootCertStore::empty();
    for root in read("ca.pem") {
        roots.add(root).expect("a root");
    }
    let key = PrivateKeyDer::from_pem_file(pem(&format!("{card}.key"))).expect("a key");
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(read(&format!("{card}.pem")), key)
        .expect("a card")
}

/// User and system time of PostgreSQL's processes so far; 0: there are none.
pub fn cpu_of_postgres() -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok())
        .filter(|stat| stat.contains("(postgres)"))
        .filter_map(|stat| {
            let (_, fields) = stat.rsplit_once(')')?;
            let fields: Vec<f64> =
                fields.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
            // Its own, and that of the children that have ended.
            Some(fields.get(11..15)?.iter().sum::<f64>() / TICKS_PER_SECOND)
        })
        .sum()
}

/// Bytes of the database and of all that lies beside it.
pub fn bytes_of(database: &str, data: &Path) -> u64 {
    let of_database = match database.strip_prefix("sqlite:") {
        Some(path) => ["", "-wal"].iter().map(|end| size(Path::new(&format!("{path}{end}")))).sum(),
        None => {
            use diesel::{Connection as _, RunQueryDsl as _};
            let mut connection = diesel::PgConnection::establish(database).expect("PostgreSQL answers");
            diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(
                "pg_database_size(current_database())",
            ))
            .get_result::<i64>(&mut connection)
            .expect("its size")
            .unsigned_abs()
        }
    };
    of_database + size(&data.join("bodies"))
}

/// As the disk has it: whole blocks.
fn size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    if path.is_dir() {
        return std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum();
    }
    std::fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
}

/// Runs statements on either engine.
pub fn execute(database: &str, statements: &str) {
    use diesel::Connection as _;
    use diesel::connection::SimpleConnection as _;
    match database.strip_prefix("sqlite:") {
        Some(path) => {
            let mut connection = diesel::SqliteConnection::establish(path).expect("the database opens");
            connection
                .batch_execute(&format!("PRAGMA busy_timeout=60000; BEGIN; {statements}; COMMIT"))
                .expect("the statements run");
        }
        None => sql(database, statements),
    }
}

/// The columns of a table.
pub fn columns(database: &str, table: &str) -> Vec<String> {
    use diesel::{Connection as _, RunQueryDsl as _};
    #[derive(diesel::QueryableByName)]
    struct Column {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
    }
    let columns: Vec<Column> = match database.strip_prefix("sqlite:") {
        Some(path) => diesel::sql_query(format!("SELECT name FROM pragma_table_info('{table}')"))
            .load(&mut diesel::SqliteConnection::establish(path).expect("the database opens")),
        None => diesel::sql_query(format!(
            "SELECT column_name::text AS name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '{table}' ORDER BY ordinal_position"
        ))
        .load(&mut diesel::PgConnection::establish(database).expect("PostgreSQL answers")),
    }
    .expect("the columns");
    columns.into_iter().map(|column| column.name).collect()
}
