//! Copies of a whole store, made while servers work on it, and their way back.
//!
//! The database first, as it is at one instant; then the bodies that it names. A body is written before its row and removed after it, so
//! each is there, but for one that was erased in between. Neither the operator's keys nor the one that signs traces is in a copy.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aws_lc_rs::digest;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel_migrations::MigrationHarness as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bodies::{BodyName, BodyStore, BodyStoreLocation, hex};
use super::engine::{self, DatabaseConnection, DatabaseUrl};
use super::keys::{KeyRow, sealing};
use super::schema::{document, record, record_key};
use super::trace_log::LogState;
use crate::error::Failure;
use crate::sealing::{Vault, WrappedKey};

/// What a copy is, written when all of it is there: without it there is no copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of this file: 1.
    pub format: u32,
    /// `sqlite`, `postgresql`.
    pub engine: String,
    /// When the copy was begun: what was acknowledged before is in it.
    pub begun_at: Timestamp,
    /// The last migration of the database.
    pub migration: String,
    /// The file of the database, hexadecimal.
    pub sha256: String,
    /// Records.
    pub records: i64,
    /// Documents that the database names.
    pub documents: u64,
    /// Bodies that were erased between the copy of the database and theirs.
    pub erased: Vec<String>,
    /// Traces of before there was a log.
    pub unlogged: u64,
    /// How many traces the log of each node has.
    pub logs: BTreeMap<String, u64>,
}

const MANIFEST: &str = "manifest.json";
const BODIES: &str = "bodies";
/// The folder of the checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";
/// How many documents are looked at together, and how many bodies are under way.
const PAGE: i64 = 1_000;
const AT_ONCE: usize = 8;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The database: so many bytes are written.
    Database(u64),
    /// So many of the documents.
    Documents(u64, u64),
}

/// One document as a copy sees it.
type BodyRow = (String, String, String, String, i64, Option<KeyRow>);

fn file_of(engine: &str) -> &'static str {
    if engine == "sqlite" { "database.sqlite" } else { "database.dump" }
}

fn engine_of(url: &DatabaseUrl) -> &'static str {
    match url {
        DatabaseUrl::Sqlite(_) => "sqlite",
        DatabaseUrl::Postgres(_) => "postgresql",
    }
}

impl Manifest {
    /// Reads that of a copy.
    ///
    /// # Errors
    /// There is none, it is not whole, or of a newer program.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} is no whole copy: it has no {MANIFEST}", folder.display()))?;
        let manifest: Self = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        ensure!(manifest.format == 1, "the copy is of a newer version of the program");
        Ok(manifest)
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let (made, path) = (folder.join("manifest.made"), folder.join(MANIFEST));
        let mut file = File::create(&made)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&made, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    }
}

/// Copies database and bodies to a folder. What an earlier copy left there of the bodies stays, and is not copied again.
///
/// # Errors
/// Something cannot be read or written, or a body is missing that a document names: then there is no manifest.
pub async fn back_up(
    url: &DatabaseUrl,
    bodies: &BodyStore,
    folder: &Path,
    now: Timestamp,
    mut progress: impl FnMut(Progress),
) -> Result<Manifest> {
    engine::must_be_of_this_version(&mut DatabaseConnection::open_for_reading(url)?)?;
    remove(&folder.join(MANIFEST))?;
    let engine = engine_of(url);
    let file = folder.join(file_of(engine));
    remove(&file)?;
    let mut connection = copy_database(url, &file, &mut progress)?;
    File::open(&file)?.sync_all()?;
    let target = BodyStore::open(&BodyStoreLocation::Folder(folder.join(BODIES)))?;
    let documents = document::table.count().get_result::<i64>(&mut connection)?.unsigned_abs();
    let (mut behind, mut done, mut missing) = (String::new(), 0, Vec::new());
    loop {
        let rows = page(&mut connection, &behind)?;
        let Some(last) = rows.last() else { break };
        behind.clone_from(&last.0);
        let copied: Vec<Option<String>> = futures_util::stream::iter(rows)
            .map(|(_, _, key, ..)| {
                let target = &target;
                async move { Ok::<_, Failure>((!bodies.copy_to(target, &key).await?).then_some(key)) }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        done += copied.len() as u64;
        missing.extend(copied.into_iter().flatten());
        progress(Progress::Documents(done, documents));
    }
    let erased = erased_meanwhile(url, missing)?;
    let manifest = Manifest {
        format: 1,
        engine: engine.to_owned(),
        begun_at: now,
        migration: engine::last_migration(&mut connection)?,
        sha256: sha256_of(&file)?,
        records: record::table.count().get_result(&mut connection)?,
        documents,
        erased,
        unlogged: LogState::unlogged(&mut connection)?.unsigned_abs(),
        logs: LogState::all(&mut connection)?
            .into_iter()
            .map(|state| (state.node, state.size.unsigned_abs()))
            .collect(),
    };
    manifest.write(folder)?;
    Ok(manifest)
}

/// Brings database and bodies of a copy to where there are none, and sees whether each document opens.
///
/// # Errors
/// The copy is not whole, the database is not empty, or a document does not open: the first is named.
pub async fn restore(
    folder: &Path,
    manifest: &Manifest,
    url: &DatabaseUrl,
    bodies: &BodyStore,
    vault: &Vault,
    mut progress: impl FnMut(Progress),
) -> Result<()> {
    let engine = engine_of(url);
    ensure!(manifest.engine == engine, "the copy is of {}, the database is of {engine}", manifest.engine);
    let ours = engine::newest_migration(url)?;
    ensure!(
        manifest.migration == ours,
        "the copy is of migration {}, this program is of {ours}: restore with the version that copied, then `habilis migrate`",
        manifest.migration
    );
    let file = folder.join(file_of(engine));
    ensure!(sha256_of(&file)? == manifest.sha256, "{} is not as it was copied", file.display());
    match url {
        DatabaseUrl::Sqlite(path) => restore_sqlite(&file, path)?,
        DatabaseUrl::Postgres(url) => restore_postgres(&file, url)?,
    }
    let mut connection = DatabaseConnection::open_for_reading(url)?;
    let source = BodyStore::open(&BodyStoreLocation::Folder(folder.join(BODIES)))?;
    let (mut behind, mut done) = (String::new(), 0);
    loop {
        let rows = page(&mut connection, &behind)?;
        let Some(last) = rows.last() else { break };
        behind.clone_from(&last.0);
        done += rows.len() as u64;
        futures_util::stream::iter(rows)
            .map(|row| back(row, manifest, &source, bodies, vault))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        progress(Progress::Documents(done, manifest.documents));
    }
    ensure!(
        done == manifest.documents,
        "the database has {done} documents, the copy says {}",
        manifest.documents
    );
    Ok(())
}

/// One body, back and opened.
async fn back(
    row: BodyRow,
    manifest: &Manifest,
    source: &BodyStore,
    bodies: &BodyStore,
    vault: &Vault,
) -> Result<()> {
    let (_, record_id, key, sha256, size, sealed_by) = row;
    if !source.copy_to(bodies, &key).await? {
        ensure!(manifest.erased.contains(&key), "the body {key} is not in the copy");
        return Ok(());
    }
    let record_key =
        sealed_by.map(|kept| vault.open(&record_id, &WrappedKey::from(kept)).map_err(sealing)).transpose()?;
    let name = BodyName { key, sha256, size: size.unsigned_abs(), record_key };
    bodies.get(&name).await.map(|_| ()).with_context(|| format!("the body {} does not open", name.key))
}

fn page(connection: &mut DatabaseConnection, behind: &str) -> QueryResult<Vec<BodyRow>> {
    document::table
        .left_join(record_key::table.on(record_key::record_id.eq(document::record_id)))
        .filter(document::binary_id.gt(behind))
        .order(document::binary_id.asc())
        .limit(PAGE)
        .select((
            document::binary_id,
            document::record_id,
            document::body_key,
            document::sha256,
            document::size,
            Option::<KeyRow>::as_select(),
        ))
        .load(connection)
}

/// Of bodies that are not there: no document names them any more.
fn erased_meanwhile(url: &DatabaseUrl, missing: Vec<String>) -> Result<Vec<String>> {
    let mut connection = DatabaseConnection::open_for_reading(url)?;
    for key in &missing {
        let named: i64 =
            document::table.filter(document::body_key.eq(key)).count().get_result(&mut connection)?;
        ensure!(named == 0, "the body {key} is missing, and a document names it: nothing is copied");
    }
    Ok(missing)
}

/// Copies the database as it is at this instant; what is returned reads that state.
fn copy_database(
    url: &DatabaseUrl,
    file: &Path,
    progress: &mut impl FnMut(Progress),
) -> Result<DatabaseConnection> {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let (source, target) = (path.clone(), utf8(file)?.to_owned());
            let copying = std::thread::spawn(move || -> Result<()> {
                let mut source = SqliteConnection::establish(utf8(&source)?)?;
                source.batch_execute("PRAGMA busy_timeout=60000; PRAGMA query_only=OFF")?;
                diesel::sql_query("VACUUM INTO ?")
                    .bind::<diesel::sql_types::Text, _>(target)
                    .execute(&mut source)?;
                Ok(())
            });
            wait(&copying, file, progress);
            copying.join().map_err(|_| anyhow!("the copy of the database broke off"))??;
            DatabaseConnection::open_for_reading(&DatabaseUrl::Sqlite(file.to_owned()))
        }
        DatabaseUrl::Postgres(postgres) => {
            let mut connection = DatabaseConnection::open_for_reading(url)?;
            connection.batch_execute(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                 BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
            )?;
            let snapshot: String =
                diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>("pg_export_snapshot()"))
                    .get_result(&mut connection)?;
            let mut dump = program("pg_dump", postgres)?;
            dump.args(["--format=custom", "--no-owner", "--no-privileges", "--snapshot", &snapshot, "--file"]);
            dump.arg(file);
            let dumping = std::thread::spawn(move || done(&mut dump));
            wait(&dumping, file, progress);
            dumping.join().map_err(|_| anyhow!("the copy of the database broke off"))??;
            Ok(connection)
        }
    }
}

fn wait<T>(work: &std::thread::JoinHandle<T>, file: &Path, progress: &mut impl FnMut(Progress)) {
    while !work.is_finished() {
        std::thread::sleep(Duration::from_millis(20));
        progress(Progress::Database(std::fs::metadata(file).map_or(0, |file| file.len())));
    }
}

fn restore_sqlite(file: &Path, path: &Path) -> Result<()> {
    ensure!(
        !path.exists(),
        "{} is there already: a copy is restored to where there is nothing",
        path.display()
    );
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let made = PathBuf::from(format!("{}.restored", utf8(path)?));
    std::fs::copy(file, &made).with_context(|| format!("cannot write {}", made.display()))?;
    File::open(&made)?.sync_all()?;
    std::fs::rename(&made, path)?;
    File::open(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
        .sync_all()?;
    Ok(())
}

fn restore_postgres(file: &Path, url: &str) -> Result<()> {
    let mut connection = PgConnection::establish(url).context("cannot connect to PostgreSQL")?;
    let applied = connection.applied_migrations().map_err(|error| anyhow!("{error}"))?;
    ensure!(
        applied.is_empty(),
        "the database has tables of ours: a copy is restored to where there is nothing"
    );
    // What asking made there would be in the way.
    connection.batch_execute("DROP TABLE IF EXISTS __diesel_schema_migrations")?;
    let mut restore = program("pg_restore", url)?;
    restore.args(["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]).arg(file);
    done(&mut restore)
}

/// One of PostgreSQL's own programs, with the password where nobody sees it in a list of processes.
fn program(name: &str, url: &str) -> Result<Command> {
    let mut url: url::Url = url.parse().context("the database URL")?;
    let mut command = Command::new(name);
    if let Some(password) = url.password() {
        command.env("PGPASSWORD", percent_decoded(password));
    }
    let _ = url.set_password(None);
    command.args(["--no-password", "--dbname", url.as_str()]);
    Ok(command)
}

fn percent_decoded(text: &str) -> String {
    // A form's value without a plus: the decoding of the URL that libpq would do.
    let escaped = text.replace('+', "%2B");
    url::form_urlencoded::parse(format!("x={escaped}").as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn done(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| {
        format!("{name} cannot be run: install the client programs of PostgreSQL, as new as the server")
    })?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn sha256_of(file: &Path) -> Result<String> {
    let mut file = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (mut context, mut buffer) = (digest::Context::new(&digest::SHA256), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(context.finish().as_ref()));
        }
        context.update(&buffer[..read]);
    }
}

fn remove(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("the path of a database is not UTF-8")
}
