//! Bodies that lie in the database: those that the server makes, in the commit of what they are made of, and short ones that are fed. A row is much
//! cheaper than a file with its folder and two flushes, shares the commit of its document, and is never an orphan (decision 0036).

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::Binary;

use super::bodies::{BodyName, BodyStore, is_digest};
use super::documents::OpenedDocument;
use super::engine::DatabaseConnection;
use super::keys::{in_database, sealing};
use super::readers::Reader;
use super::schema::made_body;
use super::unavailable;
use crate::error::Failure;
use crate::sealing::{Opener, SealingKey, seal};

/// How the key of a body begins that the server made.
const MADE: &str = "made/";
/// How the key of a body begins that was fed, and is short. What lies there is always sealed.
const ROW: &str = "row/";

/// The key of a body that the server made.
pub fn made_key(binary_id: &str) -> String {
    format!("{MADE}{binary_id}")
}

/// The key of a body that was fed and is kept in a row.
pub(super) fn row_key(binary_id: &str) -> String {
    format!("{ROW}{}", BodyStore::sealed_name(binary_id))
}

/// Whether the body of a key lies in the database.
pub(super) fn is_in_database(key: &str) -> bool {
    key.starts_with(MADE) || key.starts_with(ROW)
}

/// Whether the server made the body of a key: made before there were keys of records, it may lie unsealed.
pub(super) fn is_made(key: &str) -> bool {
    key.starts_with(MADE)
}

/// A body to be kept in a row, sealed.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = made_body, treat_none_as_default_value = false)]
pub struct SmallBody {
    binary_id: String,
    record_id: String,
    bytes: Vec<u8>,
}

impl SmallBody {
    /// Seals the bytes of a document with the key of its record.
    pub(super) fn sealed(
        record_id: &str,
        binary_id: &str,
        body_key: &str,
        bytes: &[u8],
        key: &SealingKey,
    ) -> Result<Self, crate::sealing::SealingError> {
        let bytes = seal(key, body_key, bytes)?;
        Ok(Self { binary_id: binary_id.to_owned(), record_id: record_id.to_owned(), bytes })
    }
}

/// Keeps it: in the commit of the document that names it.
pub(super) fn keep(connection: &mut DatabaseConnection, body: &SmallBody) -> QueryResult<()> {
    diesel::insert_into(made_body::table).values(body).execute(connection).map(|_| ())
}

/// Seals the bytes of a document that the server made, and keeps them.
pub(super) fn keep_made(
    connection: &mut DatabaseConnection,
    (record_id, binary_id, body_key): (&str, &str, &str),
    bytes: &[u8],
    key: &SealingKey,
) -> QueryResult<()> {
    keep(connection, &SmallBody::sealed(record_id, binary_id, body_key, bytes, key).map_err(in_database)?)
}

/// The bytes of a row, as they lie there.
pub(super) fn find(connection: &mut DatabaseConnection, binary_id: &str) -> QueryResult<Option<Vec<u8>>> {
    let of_binary = made_body::table.filter(made_body::binary_id.eq(binary_id));
    of_binary.select(made_body::bytes).first(connection).optional()
}

define_sql_function! {
    /// Bytes of a value.
    fn octet_length(bytes: Binary) -> Integer;
}

/// How many bytes lie in the rows of these, as they lie there.
pub(super) fn lengths(
    connection: &mut DatabaseConnection,
    binaries: &[&str],
) -> QueryResult<HashMap<String, u64>> {
    let rows: Vec<(String, i32)> = made_body::table
        .filter(made_body::binary_id.eq_any(binaries))
        .select((made_body::binary_id, octet_length(made_body::bytes)))
        .load(connection)?;
    Ok(rows.into_iter().map(|(id, length)| (id, u64::from(length.unsigned_abs()))).collect())
}

/// The bytes of a row, opened, and those that were fed.
pub(super) fn opened(name: &BodyName, bytes: Option<Vec<u8>>) -> Result<Vec<u8>, Failure> {
    let lost = |why: &str| Failure::unavailable(format_args!("the body {} {why}", name.key));
    match (bytes, &name.record_key) {
        (None, _) => Err(lost("is missing")),
        // Made before there were keys: the bytes that the row says.
        (Some(bytes), _) if is_made(&name.key) && is_digest(&bytes, &name.sha256) => Ok(bytes),
        (Some(_), None) => Err(lost("has no key")),
        (Some(bytes), Some(key)) => {
            let opened = Opener::open_all(key, &name.key, bytes, name.size).map_err(sealing)?;
            if is_digest(&opened, &name.sha256) { Ok(opened) } else { Err(lost("is not the one that was fed")) }
        }
    }
}

impl OpenedDocument {
    /// Whether its bytes lie in the database ([`Reader::small_body`]); else they are in the body store.
    pub fn is_in_database(&self) -> bool {
        is_in_database(&self.body_key)
    }
}

impl Reader<'_> {
    /// The bytes of a document that lie in the database, as they lie there ([`super::Store::small_body`] opens them); `None`: they lie elsewhere, or
    /// are gone.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn small_body(&mut self, document: &OpenedDocument) -> Result<Option<Vec<u8>>, Failure> {
        if !document.is_in_database() {
            return Ok(None);
        }
        find(self.connection, &document.binary_id).map_err(unavailable)
    }
}
