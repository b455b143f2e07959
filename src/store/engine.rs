//! The two engines behind one connection type.
//!
//! The engine is chosen by the scheme of the URL and by nothing else: an unknown scheme or a server that is down must
//! never make an empty SQLite file that is then served.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::migration::MigrationSource;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:PATH`.
    Sqlite(PathBuf),
    /// `postgres://…` or `postgresql://…`.
    Postgres(String),
}

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The scheme is neither `sqlite:` nor `postgres://`.
    pub fn parse(url: &str) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            return Ok(DatabaseUrl::Sqlite(PathBuf::from(path.strip_prefix("//").unwrap_or(path))));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(DatabaseUrl::Postgres(url.to_owned()));
        }
        bail!("the database URL begins with sqlite: or postgres://")
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DatabaseUrl::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            // A password may stand in it.
            DatabaseUrl::Postgres(_) => formatter.write_str("postgres://…"),
        }
    }
}

/// A connection to either engine.
#[derive(diesel::MultiConnection)]
pub enum DatabaseConnection {
    /// SQLite, compiled in.
    Sqlite(SqliteConnection),
    /// PostgreSQL.
    Postgres(PgConnection),
}

/// WAL and `synchronous=FULL`: measured to lose nothing acknowledged in a power cut, where NORMAL does. `secure_delete`: what is erased is
/// overwritten.
const SQLITE_WRITER: &str = "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; \
     PRAGMA foreign_keys=ON; PRAGMA busy_timeout=10000; PRAGMA wal_autocheckpoint=4000; PRAGMA temp_store=MEMORY; PRAGMA secure_delete=ON;";
const SQLITE_READER: &str = "PRAGMA busy_timeout=10000; PRAGMA query_only=ON; \
     PRAGMA cache_size=-16000; PRAGMA temp_store=MEMORY;";

impl DatabaseConnection {
    fn open(url: &DatabaseUrl) -> Result<Self> {
        match url {
            DatabaseUrl::Sqlite(path) => {
                let path = path.to_str().context("the path of the database is not UTF-8")?;
                let connection = SqliteConnection::establish(path)
                    .with_context(|| format!("cannot open the SQLite database {path}"))?;
                Ok(DatabaseConnection::Sqlite(connection))
            }
            DatabaseUrl::Postgres(url) => {
                let connection =
                    PgConnection::establish(&with_timeouts(url)).context("cannot connect to PostgreSQL")?;
                Ok(DatabaseConnection::Postgres(connection))
            }
        }
    }

    /// A connection that writes.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub fn open_for_writing(url: &DatabaseUrl) -> Result<Self> {
        let mut connection = Self::open(url)?;
        match &mut connection {
            DatabaseConnection::Sqlite(sqlite) => sqlite.batch_execute(SQLITE_WRITER)?,
            // An operator's default must not weaken what an acknowledgement means.
            DatabaseConnection::Postgres(postgres) => {
                postgres.batch_execute(
                    "SET synchronous_commit = on; SET default_transaction_isolation = 'read committed'; \
                     SET lock_timeout = '5s'; SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'",
                )?;
            }
        }
        #[cfg(feature = "fault-injection")]
        connection.weaken()?;
        Ok(connection)
    }

    /// The controls of the power cuts: a commit that is not waited for. And another isolation.
    #[cfg(feature = "fault-injection")]
    fn weaken(&mut self) -> Result<()> {
        match self {
            DatabaseConnection::Sqlite(sqlite) if crate::faults::synchronous_normal() => {
                sqlite.batch_execute("PRAGMA synchronous=NORMAL")?;
            }
            DatabaseConnection::Postgres(postgres) if crate::faults::synchronous_commit_off() => {
                postgres.batch_execute("SET synchronous_commit = off")?;
            }
            DatabaseConnection::Postgres(postgres) if crate::faults::serializable() => {
                postgres.batch_execute("SET default_transaction_isolation = 'serializable'")?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A connection that reads.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub fn open_for_reading(url: &DatabaseUrl) -> Result<Self> {
        let mut connection = Self::open(url)?;
        match &mut connection {
            DatabaseConnection::Sqlite(sqlite) => sqlite.batch_execute(SQLITE_READER)?,
            DatabaseConnection::Postgres(postgres) => {
                postgres
                    .batch_execute(
                        "SET default_transaction_read_only = on; SET default_transaction_isolation = 'read committed'; \
                         SET statement_timeout = '10s'",
                    )?;
            }
        }
        Ok(connection)
    }

    /// Begins a transaction; inside one, sets a savepoint. SQLite takes its write lock at once.
    pub(super) fn begin(&mut self) -> QueryResult<()> {
        match self {
            DatabaseConnection::Sqlite(sqlite) => {
                if depth(sqlite) == 0 {
                    AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN IMMEDIATE")
                } else {
                    AnsiTransactionManager::begin_transaction(sqlite)
                }
            }
            DatabaseConnection::Postgres(postgres) => AnsiTransactionManager::begin_transaction(postgres),
        }
    }

    /// Ends what [`DatabaseConnection::begin`] began, keeping it.
    pub(super) fn commit(&mut self) -> QueryResult<()> {
        match self {
            DatabaseConnection::Sqlite(sqlite) => AnsiTransactionManager::commit_transaction(sqlite),
            DatabaseConnection::Postgres(postgres) => AnsiTransactionManager::commit_transaction(postgres),
        }
    }

    /// Ends what [`DatabaseConnection::begin`] began, undoing it.
    pub(super) fn rollback(&mut self) -> QueryResult<()> {
        match self {
            DatabaseConnection::Sqlite(sqlite) => AnsiTransactionManager::rollback_transaction(sqlite),
            DatabaseConnection::Postgres(postgres) => AnsiTransactionManager::rollback_transaction(postgres),
        }
    }
}

/// A server that vanishes is noticed in seconds, unless the URL says otherwise.
fn with_timeouts(url: &str) -> String {
    let mut url = url.to_owned();
    for (name, value) in [("connect_timeout", "5"), ("tcp_user_timeout", "10000")] {
        if !url.contains(name) {
            let separator = if url.contains('?') { '&' } else { '?' };
            url.push_str(&format!("{separator}{name}={value}"));
        }
    }
    url
}

fn depth<C>(connection: &mut C) -> u32
where
    C: diesel::Connection<TransactionManager = AnsiTransactionManager>,
{
    let status = AnsiTransactionManager::transaction_manager_status_mut(connection);
    status.transaction_depth().ok().flatten().map_or(0, std::num::NonZeroU32::get)
}

/// Brings the database to the version of the program, one migration after the other. `told` is each one's name, before it begins.
///
/// Nodes of the version before go on meanwhile: a migration adds, and takes away only what they do not use any more (docs/scale.md).
pub(super) fn migrate(url: &DatabaseUrl, mut told: impl FnMut(&str)) -> Result<usize> {
    let mut connection = again(|| DatabaseConnection::open_for_writing(url))?;
    if let DatabaseConnection::Postgres(postgres) = &mut connection {
        // An index over many millions of rows takes longer than a request may. A lock is waited for as briefly as always: behind who waits for a
        // table, all others would.
        postgres.batch_execute("SET statement_timeout = 0")?;
    }
    let mut applied = 0;
    while again(|| next_of(&mut connection, &mut told)).context("cannot migrate the database")? {
        applied += 1;
    }
    if applied > 0 {
        tracing::info!(applied, "database migrated");
    }
    Ok(applied)
}

/// Another node, or command, may do the same at this moment: what it has done is seen the next time. Of several errors the first says why.
fn again<T>(mut work: impl FnMut() -> Result<T>) -> Result<T> {
    const ATTEMPTS: u32 = 5;
    let mut first = None;
    for attempt in 1..=ATTEMPTS {
        match work() {
            Ok(done) => return Ok(done),
            Err(error) if error.is::<Newer>() => return Err(error),
            Err(error) => {
                tracing::debug!(%error, attempt, "tried again");
                first.get_or_insert(error);
                std::thread::sleep(std::time::Duration::from_millis(100 * u64::from(attempt)));
            }
        }
    }
    // Invariant: there was an attempt, and it failed.
    Err(first.unwrap_or_else(|| anyhow!("no attempt was made")))
}

/// Runs the first migration that is missing; `false`: none is. What was migrated is a table too, which two that begin at once both make.
fn next_of(connection: &mut DatabaseConnection, told: &mut impl FnMut(&str)) -> Result<bool> {
    must_not_be_newer(connection)?;
    match connection {
        DatabaseConnection::Sqlite(sqlite) => next_migration(sqlite, SQLITE_MIGRATIONS, told),
        DatabaseConnection::Postgres(postgres) => next_migration(postgres, POSTGRES_MIGRATIONS, told),
    }
    .map_err(|error| anyhow!("{error}"))
}

/// Runs the first migration that is missing; `false`: none is.
fn next_migration<B, C>(
    connection: &mut C,
    migrations: EmbeddedMigrations,
    told: &mut impl FnMut(&str),
) -> diesel::migration::Result<bool>
where
    B: diesel::backend::Backend,
    C: MigrationHarness<B>,
    EmbeddedMigrations: MigrationSource<B>,
{
    let pending = connection.pending_migrations(migrations)?;
    let Some(next) = pending.first() else { return Ok(false) };
    told(&next.name().to_string());
    connection.run_migration(next)?;
    Ok(true)
}

/// The migrations that a database lacks, by name.
///
/// # Errors
/// The database cannot be reached, or belongs to a newer version of the program.
pub(super) fn pending(url: &DatabaseUrl) -> Result<Vec<String>> {
    // Asking makes no file.
    if let DatabaseUrl::Sqlite(path) = url
        && !path.exists()
    {
        let migrations: Vec<Box<dyn diesel::migration::Migration<diesel::sqlite::Sqlite>>> =
            SQLITE_MIGRATIONS.migrations().map_err(|error| anyhow!("{error}"))?;
        let mut names: Vec<String> = migrations.iter().map(|one| one.name().to_string()).collect();
        names.sort();
        return Ok(names);
    }
    again(|| {
        let mut connection = DatabaseConnection::open_for_writing(url)?;
        must_not_be_newer(&mut connection)?;
        let names = match &mut connection {
            DatabaseConnection::Sqlite(sqlite) => sqlite
                .pending_migrations(SQLITE_MIGRATIONS)
                .map(|all| all.iter().map(|one| one.name().to_string()).collect()),
            DatabaseConnection::Postgres(postgres) => postgres
                .pending_migrations(POSTGRES_MIGRATIONS)
                .map(|all| all.iter().map(|one| one.name().to_string()).collect()),
        };
        names.map_err(|error| anyhow!("what was migrated cannot be read: {error}"))
    })
}

#[derive(diesel::QueryableByName)]
struct Applied {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

fn known_versions(connection: &DatabaseConnection) -> Result<Vec<String>> {
    match connection {
        DatabaseConnection::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE_MIGRATIONS),
        DatabaseConnection::Postgres(_) => versions::<diesel::pg::Pg>(&POSTGRES_MIGRATIONS),
    }
}

/// The newest migration that this program has.
pub(super) fn newest_migration(url: &DatabaseUrl) -> Result<String> {
    let mut known = match url {
        DatabaseUrl::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE_MIGRATIONS),
        DatabaseUrl::Postgres(_) => versions::<diesel::pg::Pg>(&POSTGRES_MIGRATIONS),
    }?;
    known.pop().context("this program has no migrations")
}

fn applied_versions(connection: &mut DatabaseConnection) -> QueryResult<Vec<String>> {
    let applied: Vec<Applied> =
        diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load(connection)?;
    let mut applied: Vec<String> = applied.into_iter().map(|applied| applied.version).collect();
    applied.sort();
    Ok(applied)
}

/// The last migration of a database.
pub(super) fn last_migration(connection: &mut DatabaseConnection) -> Result<String> {
    applied_versions(connection)?.pop().context("the database holds nothing of this program's")
}

/// A newer program has migrated the database.
#[derive(Debug, thiserror::Error)]
#[error("the database belongs to a newer version of the program (migration {0})")]
struct Newer(String);

/// Refuses a database that a newer program has migrated: this one does not know what it would overlook or remove there.
fn must_not_be_newer(connection: &mut DatabaseConnection) -> Result<()> {
    let known = known_versions(connection)?;
    // Where nothing was ever migrated there is no such table yet.
    let applied = match connection {
        DatabaseConnection::Sqlite(sqlite) => sqlite.applied_migrations(),
        DatabaseConnection::Postgres(postgres) => postgres.applied_migrations(),
    };
    let applied = applied.map_err(|error| anyhow!("{error}")).context("what was migrated cannot be read")?;
    let applied: Vec<String> = applied.iter().map(ToString::to_string).collect();
    match applied.iter().find(|applied| !known.contains(applied)) {
        Some(newer) => Err(Newer(newer.clone()).into()),
        None => Ok(()),
    }
}

/// Refuses a database that this program would first have to migrate, or that belongs to a newer one.
pub(super) fn must_be_of_this_version(connection: &mut DatabaseConnection) -> Result<()> {
    let known = known_versions(connection)?;
    let applied = applied_versions(connection).context("the database holds nothing of this program's")?;
    if applied != known {
        bail!("the database belongs to another version of the program (`habilis migrate` brings it along)");
    }
    Ok(())
}

fn versions<B: diesel::backend::Backend>(source: &impl MigrationSource<B>) -> Result<Vec<String>> {
    let migrations = source.migrations().map_err(|error| anyhow!("{error}"))?;
    let mut versions: Vec<String> =
        migrations.iter().map(|migration| migration.name().version().to_string()).collect();
    versions.sort();
    Ok(versions)
}

/// What a checkpoint of the log came to: that it was blocked is no error of SQLite's.
#[derive(QueryableByName)]
struct Checkpointed {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    busy: i32,
}

/// Writes the log into the database and cuts it.
pub(super) fn truncate_log(url: &DatabaseUrl) -> Result<()> {
    if let DatabaseConnection::Sqlite(sqlite) = &mut DatabaseConnection::open_for_writing(url)? {
        // Nobody's commit waits long for somebody who reads.
        sqlite.batch_execute("PRAGMA busy_timeout=500")?;
        let checkpointed: Checkpointed =
            diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(sqlite)?;
        ensure!(checkpointed.busy == 0, "somebody reads: the log is cut later");
    }
    Ok(())
}

/// Takes out all tables of ours.
pub(super) fn revert(url: &DatabaseUrl) -> Result<()> {
    let mut connection = DatabaseConnection::open_for_writing(url)?;
    match &mut connection {
        DatabaseConnection::Sqlite(sqlite) => sqlite.revert_all_migrations(SQLITE_MIGRATIONS).map(|_| ()),
        DatabaseConnection::Postgres(postgres) => {
            postgres.revert_all_migrations(POSTGRES_MIGRATIONS).map(|_| ())
        }
    }
    .map_err(|error| anyhow!("cannot empty the database: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_alone_chooses_the_engine() {
        assert_eq!(DatabaseUrl::parse("sqlite:a/b.db").unwrap(), DatabaseUrl::Sqlite("a/b.db".into()));
        assert_eq!(DatabaseUrl::parse("sqlite:///a/b.db").unwrap(), DatabaseUrl::Sqlite("/a/b.db".into()));
        assert!(matches!(DatabaseUrl::parse("postgres://u:p@h/d").unwrap(), DatabaseUrl::Postgres(_)));
        for url in ["", "a.db", "mysql://h/d", "host=localhost dbname=habilis"] {
            assert!(DatabaseUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let url = DatabaseUrl::parse("postgres://u:secret@h/d").unwrap();
        assert_eq!(format!("{url:?}"), "postgres://…");
    }
}
