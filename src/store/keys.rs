//! The keys of records: made at the first feed, kept under an operator's key, destroyed with the record.

use diesel::prelude::*;

use super::Store;
use super::documents::OpenedDocument;
use super::engine::DatabaseConnection;
use super::readers::Reader;
use super::records::Hold;
use super::schema::{operator_key, record, record_key, retired_key};
use super::unavailable;
use super::writer::Transaction;
use crate::error::Failure;
use crate::rights::{FeedGrant, HistoryGrant};
use crate::sealing::{SealingError, SealingKey, Vault, WrappedKey};

/// What a feed has to know of its record.
#[derive(Clone, Debug)]
pub struct FedRecord {
    /// System and value of the INS.
    pub ins: (String, String),
    /// The record's key; `None`: nothing was fed yet.
    pub key: Option<WrappedKey>,
}

#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = record_key)]
pub(super) struct KeyRow {
    operator_key: String,
    wrapped: Vec<u8>,
}

impl From<KeyRow> for WrappedKey {
    fn from(row: KeyRow) -> Self {
        Self { operator_key: row.operator_key, bytes: row.wrapped }
    }
}

impl Reader<'_> {
    /// The INS of a record that the caller may feed, for the DocumentReference that is kept, and the record's key.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn fed_record(&mut self, grant: &FeedGrant) -> Result<FedRecord, Failure> {
        let (system, value, key): (String, String, Option<KeyRow>) = record::table
            .left_join(record_key::table)
            .filter(record::id.eq(grant.record_id()))
            .select((record::ins_system, record::ins_value, Option::<KeyRow>::as_select()))
            .first(self.connection)
            .map_err(unavailable)?;
        Ok(FedRecord { ins: (system, value), key: key.map(WrappedKey::from) })
    }
}

impl Store {
    /// What opens and makes the keys of records.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The key of a record that the caller may feed: the one that is kept, or a new one, durable before anything is sealed with it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the record is gone, the operator's key is missing, or the database is.
    pub async fn record_key(&self, grant: &FeedGrant, kept: Option<WrappedKey>) -> Result<SealingKey, Failure> {
        let record_id = grant.record_id().to_owned();
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let (vault, record_id) = (self.vault.clone(), record_id.clone());
                let work =
                    move |connection: &mut DatabaseConnection| made_or_kept(connection, &vault, &record_id);
                self.writer.untraced(work).await?
            }
        };
        self.vault.open(&record_id, &kept).map_err(sealing)
    }

    /// The key that opens a document's bytes; `None`: they were never sealed.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the operator's key is missing, or what wraps the record's is not right.
    pub fn key_of(&self, document: &OpenedDocument) -> Result<Option<SealingKey>, Failure> {
        let key = document.sealed_by.as_ref();
        key.map(|key| self.vault.open(&document.record_id, key).map_err(sealing)).transpose()
    }

    /// Wraps anew keys of records that are under one of the operator's keys, so many at most, behind one of the records.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn wrap_again(&self, from: &str, behind: &str, most: i64) -> Result<WrappedAgain, Failure> {
        let (vault, from, behind) = (self.vault.clone(), from.to_owned(), behind.to_owned());
        self.writer
            .untraced(move |connection| {
                let rows: Vec<(String, KeyRow)> = record_key::table
                    .filter(record_key::operator_key.eq(&from))
                    .filter(record_key::record_id.gt(&behind))
                    .order(record_key::record_id.asc())
                    .limit(most)
                    .select((record_key::record_id, KeyRow::as_select()))
                    .load(connection)?;
                let mut done =
                    WrappedAgain { last: rows.last().map(|(id, _)| id.clone()), ..Default::default() };
                for (record_id, row) in rows {
                    let kept = WrappedKey::from(row);
                    // One that does not open holds up no other.
                    let Ok(Some(again)) = vault.wrap_again(&record_id, &kept) else {
                        done.unopened.push(record_id);
                        continue;
                    };
                    // As it was read: a record that was erased meanwhile does not get its key back.
                    diesel::update(record_key::table.filter(record_key::record_id.eq(&record_id)))
                        .filter(record_key::wrapped.eq(&kept.bytes))
                        .set((
                            record_key::operator_key.eq(&again.operator_key),
                            record_key::wrapped.eq(&again.bytes),
                        ))
                        .execute(connection)?;
                    done.wrapped += 1;
                }
                must_not_be_retired(connection, vault.current())?;
                Ok(done)
            })
            .await
    }

    /// Retires one of the operator's keys: nothing is wrapped under it from here on, by whichever node. `false`: something is under it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn retire_key(&self, name: &str, now: i64) -> Result<bool, Failure> {
        let name = name.to_owned();
        self.writer
            .untraced(move |connection| {
                let under = || {
                    record_key::table.filter(record_key::operator_key.eq(&name)).select(record_key::record_id)
                };
                // Who is about to keep something under it has committed it before this, and it is seen; or writes it behind, and sees that the key is
                // retired.
                hold_operator_key(connection, &name, Hold::Alone)?;
                let insert = diesel::insert_into(retired_key::table)
                    .values((retired_key::name.eq(&name), retired_key::at.eq(now)))
                    .on_conflict_do_nothing();
                match connection {
                    DatabaseConnection::Sqlite(sqlite) => insert.execute(sqlite)?,
                    DatabaseConnection::Postgres(postgres) => insert.execute(postgres)?,
                };
                if under().limit(1).load::<String>(connection)?.is_empty() {
                    return Ok(true);
                }
                diesel::delete(retired_key::table.find(&name)).execute(connection)?;
                Ok(false)
            })
            .await
    }
}

/// What became of a batch of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrappedAgain {
    /// Keys that are under the current one now.
    pub wrapped: u64,
    /// The last record that was looked at; `None`: there was none.
    pub last: Option<String>,
    /// Records whose key does not open.
    pub unopened: Vec<String>,
}

impl Reader<'_> {
    /// How many keys of records there are under each of the operator's keys.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn keys_by_operator_key(&mut self) -> Result<Vec<(String, i64)>, Failure> {
        record_key::table
            .group_by(record_key::operator_key)
            .select((record_key::operator_key, diesel::dsl::count_star()))
            .order(record_key::operator_key.asc())
            .load(self.connection)
            .map_err(unavailable)
    }
}

impl Transaction<'_> {
    /// The key of the record whose history is made.
    ///
    /// # Errors
    /// The database's, or that the key cannot be opened.
    pub fn history_key(&mut self, grant: &HistoryGrant, vault: &Vault) -> QueryResult<SealingKey> {
        sealing_key(self.connection, vault, grant.record_id())
    }
}

/// The key of a record that is not erased, opened.
pub(super) fn sealing_key(
    connection: &mut DatabaseConnection,
    vault: &Vault,
    record_id: &str,
) -> QueryResult<SealingKey> {
    let kept = made_or_kept(connection, vault, record_id)?;
    vault.open(record_id, &kept).map_err(in_database)
}

/// The key of a record that is not erased: of two that make one at once, the first one's stands.
pub(super) fn made_or_kept(
    connection: &mut DatabaseConnection,
    vault: &Vault,
    record_id: &str,
) -> QueryResult<WrappedKey> {
    let kept = |connection: &mut DatabaseConnection| {
        let of_record = record_key::table.filter(record_key::record_id.eq(record_id));
        of_record.select(KeyRow::as_select()).first(connection).optional()
    };
    if let Some(kept) = kept(connection)? {
        return Ok(kept.into());
    }
    // Held while the key is made: an erasure comes before it or behind it.
    let live =
        record::table.filter(record::id.eq(record_id)).filter(record::erased_at.is_null()).select(record::id);
    let live: Option<String> = match connection {
        DatabaseConnection::Sqlite(sqlite) => live.first(sqlite).optional()?,
        DatabaseConnection::Postgres(postgres) => live.for_share().first(postgres).optional()?,
    };
    if live.is_none() {
        return Err(diesel::result::Error::NotFound);
    }
    let (_, new) = vault.new_key(record_id).map_err(in_database)?;
    let insert = diesel::insert_into(record_key::table)
        .values((
            record_key::record_id.eq(record_id),
            record_key::operator_key.eq(&new.operator_key),
            record_key::wrapped.eq(&new.bytes),
        ))
        .on_conflict_do_nothing();
    match connection {
        DatabaseConnection::Sqlite(sqlite) => insert.execute(sqlite)?,
        DatabaseConnection::Postgres(postgres) => insert.execute(postgres)?,
    };
    must_not_be_retired(connection, vault.current())?;
    Ok(kept(connection)?.ok_or(diesel::result::Error::NotFound)?.into())
}

/// Holds one of the operator's keys until the commit: who wraps under it together with others, who retires it alone. SQLite has one writer.
fn hold_operator_key(connection: &mut DatabaseConnection, name: &str, hold: Hold) -> QueryResult<()> {
    let DatabaseConnection::Postgres(postgres) = connection else { return Ok(()) };
    let row = operator_key::table.find(name).select(operator_key::name);
    let held = |postgres: &mut diesel::PgConnection| match hold {
        Hold::Shared => row.for_share().first::<String>(postgres).optional(),
        Hold::Alone => row.for_update().first::<String>(postgres).optional(),
    };
    if held(postgres)?.is_some() {
        return Ok(());
    }
    diesel::insert_into(operator_key::table)
        .values(operator_key::name.eq(name))
        .on_conflict_do_nothing()
        .execute(postgres)?;
    // Not there: a row that somebody else has just inserted is seen by the next statement.
    held(postgres)?.map(|_| ()).ok_or(diesel::result::Error::NotFound)
}

/// A node that still has a key current which the operator has retired keeps nothing under it.
fn must_not_be_retired(connection: &mut DatabaseConnection, name: &str) -> QueryResult<()> {
    hold_operator_key(connection, name, Hold::Shared)?;
    let retired: Option<String> =
        retired_key::table.find(name).select(retired_key::name).first(connection).optional()?;
    match retired {
        None => Ok(()),
        Some(name) => Err(in_database(SealingError::Retired(name))),
    }
}

pub(super) fn sealing(error: SealingError) -> Failure {
    Failure::unavailable(format_args!("encryption at rest: {error}"))
}

pub(super) fn in_database(error: SealingError) -> diesel::result::Error {
    diesel::result::Error::QueryBuilderError(Box::new(error))
}
