//! The database of a copy: as it is at one instant, and back to where there is none.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel_migrations::MigrationHarness as _;

use super::{Manifest, Progress};
use crate::store::engine::{DatabaseConnection, DatabaseUrl};
use crate::store::schema::document;
use crate::store::trace_log::LogState;

pub(super) fn engine_of(url: &DatabaseUrl) -> &'static str {
    match url {
        DatabaseUrl::Sqlite(_) => "sqlite",
        DatabaseUrl::Postgres(_) => "postgresql",
    }
}

/// Copies the database as it is at this instant; what is returned reads that state, and holds it until it is dropped.
pub(super) fn copy(
    url: &DatabaseUrl,
    file: &Path,
    progress: &mut impl FnMut(Progress),
) -> Result<DatabaseConnection> {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let (source, target) = (path.clone(), utf8(file)?.to_owned());
            let copying = std::thread::spawn(move || -> Result<()> {
                let mut source = SqliteConnection::establish(utf8(&source)?)?;
                source.batch_execute("PRAGMA busy_timeout=60000")?;
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

/// A database that is to be restored: where it is read from until then.
pub(super) enum Restoring {
    /// The copy's own file; it is put in its place when all else is there.
    Sqlite { file: PathBuf, place: PathBuf },
    /// Restored already: a dump cannot be read otherwise.
    Postgres,
}

impl Restoring {
    /// # Errors
    /// There is something where it is to be, other than what this restore, begun before, has put there.
    pub(super) fn begin(file: &Path, manifest: &Manifest, url: &DatabaseUrl) -> Result<Self> {
        match url {
            DatabaseUrl::Sqlite(place) => {
                for end in ["", "-wal", "-shm", "-journal"] {
                    let path = PathBuf::from(format!("{}{end}", utf8(place)?));
                    ensure!(
                        !path.exists(),
                        "{} is there already: a copy is restored to where there is nothing",
                        path.display()
                    );
                }
                Ok(Self::Sqlite { file: file.to_owned(), place: place.clone() })
            }
            DatabaseUrl::Postgres(address) => {
                let mut connection =
                    PgConnection::establish(address).context("cannot connect to PostgreSQL")?;
                let tables: i64 = diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(
                    "(SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public' \
                      AND table_name <> '__diesel_schema_migrations')",
                ))
                .get_result(&mut connection)?;
                if tables > 0 {
                    ensure!(
                        is_of(url, manifest).unwrap_or(false),
                        "the database has tables: a copy is restored to where there is nothing"
                    );
                    return Ok(Self::Postgres);
                }
                let applied = connection.applied_migrations().map_err(|error| anyhow!("{error}"))?;
                ensure!(applied.is_empty(), "the database has been migrated, and has no tables");
                // What asking made there would be in the way.
                connection.batch_execute("DROP TABLE IF EXISTS __diesel_schema_migrations")?;
                let mut restore = program("pg_restore", address)?;
                restore
                    .args(["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"])
                    .arg(file);
                done(&mut restore)?;
                Ok(Self::Postgres)
            }
        }
    }

    /// A connection to what is to be restored.
    pub(super) fn read(&self, url: &DatabaseUrl) -> Result<DatabaseConnection> {
        match self {
            Self::Sqlite { file, .. } => {
                DatabaseConnection::open_for_reading(&DatabaseUrl::Sqlite(file.clone()))
            }
            Self::Postgres => DatabaseConnection::open_for_reading(url),
        }
    }

    /// Puts it in its place.
    pub(super) fn end(self) -> Result<()> {
        let Self::Sqlite { file, place } = self else { return Ok(()) };
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let made = PathBuf::from(format!("{}.restored", utf8(&place)?));
        std::fs::copy(&file, &made).with_context(|| format!("cannot write {}", made.display()))?;
        File::open(&made)?.sync_all()?;
        std::fs::rename(&made, &place)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    }
}

/// Whether a database is what the manifest says: a restore that broke off goes on.
fn is_of(url: &DatabaseUrl, manifest: &Manifest) -> Result<bool> {
    let mut connection = DatabaseConnection::open_for_reading(url)?;
    let documents = document::table.count().get_result::<i64>(&mut connection)?.unsigned_abs();
    let logs = LogState::all(&mut connection)?;
    Ok(documents == manifest.documents
        && !logs.is_empty()
        && logs.len() == manifest.logs.len()
        && logs.iter().all(|log| manifest.logs.get(&log.node) == Some(&log.size.unsigned_abs())))
}

/// One of PostgreSQL's own programs, with the password where nobody sees it in a list of processes.
fn program(name: &str, url: &str) -> Result<Command> {
    let mut url: url::Url = url.parse().context("the database URL cannot be taken apart")?;
    let mut command = Command::new(name);
    let in_query = url.query_pairs().find(|(name, _)| name == "password").map(|(_, value)| value.into_owned());
    if let Some(password) = in_query.or_else(|| url.password().map(percent_decoded)) {
        command.env("PGPASSWORD", password);
    }
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != "password")
        .map(|(a, b)| (a.into_owned(), b.into_owned()))
        .collect();
    url.set_query(None);
    if !others.is_empty() {
        url.query_pairs_mut().extend_pairs(others);
    }
    let _ = url.set_password(None);
    command.args(["--no-password", "--dbname", url.as_str()]);
    Ok(command)
}

fn percent_decoded(text: &str) -> String {
    // A form's value without a plus: the decoding of the URL that libpq would do.
    let escaped = text.replace('+', "%2B").replace('&', "%26");
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

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("the path of a database is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_among_the_arguments() {
        for url in ["postgres://u:s%40c+r&t@h/d", "postgres://u@h/d?password=s%40c%2Br%26t&sslmode=require"] {
            let command = program("pg_dump", url).unwrap();
            let arguments: Vec<_> = command.get_args().map(|one| one.to_string_lossy().into_owned()).collect();
            assert!(
                !arguments.iter().any(|one| one.contains("s%40c") || one.contains("assword=")),
                "{arguments:?}"
            );
            let password = command.get_envs().find(|(name, _)| *name == "PGPASSWORD");
            assert_eq!(password.and_then(|(_, value)| value?.to_str()), Some("s@c+r&t"));
        }
    }
}
