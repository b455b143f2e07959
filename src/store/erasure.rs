//! The end of a record: its rows, its key, and in the end what its traces say.

use aws_lc_rs::digest;
use diesel::prelude::*;

use super::bodies::{BodyStore, hex};
use super::engine::DatabaseConnection;
use super::journal::TraceRow;
use super::readers::Reader;
use super::schema::{
    authorisation, document, document_version, erasure, folder_entry, made_body, medecin_traitant, notice,
    record, record_key, search_term, submission_set, subscription, trace, vaccination,
};
use super::small_bodies::{is_in_database, is_made};
use super::unavailable;
use super::writer::Transaction;
use crate::error::Failure;
use crate::rights::{ClosedRecord, ErasureGrant, TraceErasureGrant};

/// Names of the operations that end a record. Their own traces stay for good: they are what the end is proven by.
pub const ERASING: [&str; 3] = ["MES erase record", "retention: erase record", "retention: erase traces"];

/// What an erasure took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Documents, those deleted before included.
    pub documents: i64,
    /// Bytes of them.
    pub bytes: i64,
    /// Whether there was a key: a record that was never fed has none.
    pub key_destroyed: bool,
    /// Documents that were fed before there were keys, and lay unsealed.
    pub unsealed: i64,
    /// Where their bodies lie that are not in the database, and which nothing opens any more.
    pub bodies: Vec<String>,
}

impl Erased {
    /// As the trace of the erasure says it, and its certificate.
    pub fn told(&self) -> String {
        let key = if self.key_destroyed { "the record's key destroyed" } else { "the record had no key" };
        let Self { documents, bytes, unsealed, .. } = self;
        format!("{documents} documents, {bytes} bytes, {unsealed} never sealed; {key}")
    }
}

/// What was erased of a record, for its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = erasure)]
pub struct ErasureRow {
    /// The record.
    pub record_id: String,
    /// Microseconds.
    pub at: i64,
    /// `patient`, `retention`.
    pub basis: String,
    /// The request; empty for one of before there were certificates.
    pub request_id: String,
    /// Documents.
    pub documents: i64,
    /// Bytes.
    pub bytes: i64,
    /// Whether the record had a key.
    pub key_destroyed: bool,
    /// Documents that were never sealed.
    pub unsealed: i64,
}

/// Traces of which nothing but place and hash is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedTraces {
    /// How many of them have a place in a log.
    pub count: u64,
    /// Digest of their places and hashes, hexadecimal: the trace of the erasure says it, so that none is taken for erased that was not.
    pub digest: String,
    /// Rows of other records that are said to be among them.
    pub strays: i64,
}

impl ErasedTraces {
    /// As the trace of the erasure says it.
    pub fn told(&self) -> String {
        format!("traces erased: {}, SHA-256 {}", self.count, self.digest)
    }

    /// Of rows, in whichever order they come.
    pub fn of(mut rows: Vec<(String, i64, Vec<u8>)>) -> Self {
        rows.sort();
        let mut context = digest::Context::new(&digest::SHA256);
        for (node, leaf, hash) in &rows {
            context.update(&(node.len() as u64).to_be_bytes());
            context.update(node.as_bytes());
            context.update(&leaf.to_be_bytes());
            context.update(hash);
        }
        Self { count: rows.len() as u64, digest: hex(context.finish().as_ref()), strays: 0 }
    }

    /// Those of a record that a request erased, as the database has them now.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn by_request(
        connection: &mut DatabaseConnection,
        request_id: &str,
        record_id: &str,
    ) -> QueryResult<Self> {
        let erased = || trace::table.filter(trace::erased_by.eq(request_id)).filter(trace::node.is_not_null());
        type Columns = (Option<String>, Option<i64>, Option<Vec<u8>>);
        let rows: Vec<Columns> = erased()
            .filter(trace::record_id.eq(record_id))
            .select((trace::node, trace::leaf, trace::leaf_hash))
            .load(connection)?;
        let rows = rows
            .into_iter()
            .map(|(node, leaf, hash)| (node.unwrap_or_default(), leaf.unwrap_or(-1), hash.unwrap_or_default()));
        let all: i64 = erased().count().get_result(connection)?;
        let of_record = Self::of(rows.collect());
        let strays = all - i64::try_from(of_record.count).unwrap_or(i64::MAX);
        Ok(Self { strays, ..of_record })
    }
}

impl ErasureRow {
    /// What was erased of a record; `None`: nothing.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_record(connection: &mut DatabaseConnection, record_id: &str) -> QueryResult<Option<Self>> {
        erasure::table.find(record_id).select(Self::as_select()).first(connection).optional()
    }
}

impl TraceRow {
    /// The trace by which a record was erased.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_erasure(
        connection: &mut DatabaseConnection,
        record_id: &str,
        request_id: &str,
    ) -> QueryResult<Option<TraceRow>> {
        trace::table
            .filter(trace::record_id.eq(record_id))
            .filter(trace::request_id.eq(request_id))
            .filter(trace::operation.eq_any(ERASING))
            .select(TraceRow::as_select())
            .first(connection)
            .optional()
    }
}

type ClosedColumns = (String, bool, Option<i64>, Option<i64>);

fn closed((id, open, closed_at, erased_at): ClosedColumns) -> ClosedRecord {
    ClosedRecord { id, open, closed_at, erased: erased_at.is_some() }
}

impl Reader<'_> {
    /// Records that were closed before an instant and of which something is left to erase, so many at most, behind one of them.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn closed_before(
        &mut self,
        before: i64,
        behind: &(i64, String),
        most: i64,
    ) -> Result<Vec<ClosedRecord>, Failure> {
        let next =
            record::closed_at.gt(behind.0).or(record::closed_at.eq(behind.0).and(record::id.gt(&behind.1)));
        // What has wholly ended is not among them: it has no instant of closing any more.
        let rows: Vec<ClosedColumns> = record::table
            .filter(record::closed_at.le(before))
            .filter(record::closed_at.ge(behind.0))
            .filter(record::open.eq(false))
            .filter(next)
            .order((record::closed_at.asc(), record::id.asc()))
            .limit(most)
            .select((record::id, record::open, record::closed_at, record::erased_at))
            .load(self.connection)
            .map_err(unavailable)?;
        Ok(rows.into_iter().map(closed).collect())
    }
}

impl Transaction<'_> {
    /// Whether somebody fed or read a record after an instant: then it was in use, whatever its row says of its closing.
    ///
    /// # Errors
    /// The database's.
    pub fn used_since(&mut self, record_id: &str, since: i64) -> QueryResult<bool> {
        let used = trace::table
            .filter(trace::record_id.eq(record_id))
            .filter(trace::at.gt(since))
            .filter(trace::outcome.eq("granted"))
            .filter(trace::operation.like("TD2%").or(trace::operation.like("TD3%")))
            .select(trace::sequence)
            .limit(1);
        Ok(!used.load::<i64>(self.connection)?.is_empty())
    }

    /// A record as it stands towards its end, held alone.
    ///
    /// # Errors
    /// The database's.
    pub fn closed_record_of(&mut self, record_id: &str) -> QueryResult<Option<ClosedRecord>> {
        let query = record::table.filter(record::id.eq(record_id)).select((
            record::id,
            record::open,
            record::closed_at,
            record::erased_at,
        ));
        let row: Option<ClosedColumns> = match &mut *self.connection {
            DatabaseConnection::Sqlite(sqlite) => query.first(sqlite).optional()?,
            DatabaseConnection::Postgres(postgres) => query.for_update().first(postgres).optional()?,
        };
        Ok(row.map(closed))
    }

    /// Erases a record: its key, documents, submissions, relations and traits. A row without traits keeps the place, so that traces
    /// still name something. The bodies are removed by whoever called, or by the sweep; nothing opens them any more.
    ///
    /// # Errors
    /// The database's.
    pub fn erase(&mut self, grant: &ErasureGrant, request_id: &str, now: i64) -> QueryResult<Erased> {
        let (record_id, connection) = (grant.record_id(), &mut *self.connection);
        let of_record = document::table.filter(document::record_id.eq(record_id));
        let bodies: Vec<(String, i64)> =
            of_record.select((document::body_key, document::size)).load(connection)?;
        let unsealed = bodies.iter().filter(|(key, _)| !BodyStore::is_sealed(key) && !is_made(key)).count();
        let keys = diesel::delete(record_key::table.find(record_id)).execute(connection)?;
        let erased = Erased {
            documents: i64::try_from(bodies.len()).unwrap_or(i64::MAX),
            bytes: bodies.iter().map(|(_, size)| size).sum(),
            key_destroyed: keys > 0,
            unsealed: i64::try_from(unsealed).unwrap_or(i64::MAX),
            bodies: bodies.into_iter().map(|(key, _)| key).filter(|key| !is_in_database(key)).collect(),
        };
        let documents = document::table.filter(document::record_id.eq(record_id)).select(document::id);
        let sets =
            submission_set::table.filter(submission_set::record_id.eq(record_id)).select(submission_set::id);
        diesel::delete(search_term::table.filter(search_term::owner_id.eq_any(documents)))
            .execute(connection)?;
        diesel::delete(document_version::table.filter(document_version::document_id.eq_any(documents)))
            .execute(connection)?;
        diesel::delete(search_term::table.filter(search_term::owner_id.eq_any(sets))).execute(connection)?;
        diesel::delete(folder_entry::table.filter(folder_entry::folder_id.eq_any(sets))).execute(connection)?;
        diesel::delete(document::table.filter(document::record_id.eq(record_id))).execute(connection)?;
        diesel::delete(notice::table.filter(notice::record_id.eq(record_id))).execute(connection)?;
        diesel::delete(vaccination::table.filter(vaccination::record_id.eq(record_id))).execute(connection)?;
        diesel::delete(subscription::table.filter(subscription::record_id.eq(record_id)))
            .execute(connection)?;
        diesel::delete(made_body::table.filter(made_body::record_id.eq(record_id))).execute(connection)?;
        diesel::delete(submission_set::table.filter(submission_set::record_id.eq(record_id)))
            .execute(connection)?;
        diesel::delete(authorisation::table.filter(authorisation::record_id.eq(record_id)))
            .execute(connection)?;
        diesel::delete(medecin_traitant::table.filter(medecin_traitant::record_id.eq(record_id)))
            .execute(connection)?;
        // Whoever has an open record erased has it closed with that: its traces are kept ten years from now.
        diesel::update(record::table.filter(record::id.eq(record_id)).filter(record::open.eq(true)))
            .set((record::closed_at.eq(now), record::closing_reason.eq("DEMANDE_PATIENT")))
            .execute(connection)?;
        diesel::update(record::table.filter(record::id.eq(record_id)))
            .set((
                record::ins_value.eq(format!("erased {record_id}")),
                record::family_name.eq(""),
                record::given_name.eq(""),
                record::birth_date.eq(""),
                record::gender.eq("unknown"),
                record::family_key.eq(""),
                record::administrative.eq("{}"),
                record::notifications.eq("{}"),
                record::open.eq(false),
                record::erased_at.eq(now),
            ))
            .execute(connection)?;
        diesel::insert_into(erasure::table)
            .values((
                erasure::record_id.eq(record_id),
                erasure::at.eq(now),
                erasure::basis.eq(grant.basis().code()),
                erasure::request_id.eq(request_id),
                erasure::documents.eq(erased.documents),
                erasure::bytes.eq(erased.bytes),
                erasure::key_destroyed.eq(erased.key_destroyed),
                erasure::unsealed.eq(erased.unsealed),
            ))
            .execute(connection)?;
        Ok(erased)
    }

    /// Erases what the traces of a record say; `None`: it was done before. Place and hash stay, so that the tree verifies, and the record, so that it can be said of
    /// which; the traces of the erasure itself stay whole.
    ///
    /// # Errors
    /// The database's.
    pub fn erase_traces(
        &mut self,
        grant: &TraceErasureGrant,
        request_id: &str,
        now: i64,
    ) -> QueryResult<Option<ErasedTraces>> {
        let (record_id, connection) = (grant.record_id(), &mut *self.connection);
        // Once: whoever comes second finds nothing to do.
        let noted = diesel::update(erasure::table.find(record_id).filter(erasure::traces_at.is_null()))
            .set((erasure::traces_at.eq(now), erasure::traces_request_id.eq(request_id)))
            .execute(connection)?;
        if noted == 0 {
            return Ok(None);
        }
        let of_record = || {
            let left = trace::operation.ne_all(ERASING).and(trace::erased_by.is_null());
            trace::record_id.eq(record_id).assume_not_null().and(left)
        };
        are_what_was_written(connection, record_id)?;
        // What was written before there was a log has no place that a hash would have to keep.
        diesel::delete(trace::table.filter(of_record()).filter(trace::node.is_null())).execute(connection)?;
        diesel::update(trace::table.filter(of_record()))
            .set((
                (
                    trace::request_id.eq(""),
                    trace::at.eq(0),
                    trace::operation.eq(""),
                    trace::caller_kind.eq(""),
                    trace::caller_id.eq(""),
                    trace::caller_structure.eq(None::<String>),
                    trace::certificate.eq(""),
                    trace::mode.eq(""),
                    trace::objects.eq(""),
                    trace::status.eq(0),
                    trace::outcome.eq(""),
                    trace::rule.eq(""),
                ),
                (
                    trace::authentication.eq(""),
                    trace::role.eq(None::<String>),
                    trace::sector.eq(None::<String>),
                    trace::software.eq(None::<String>),
                    trace::motif.eq(None::<String>),
                    trace::session_id.eq(None::<String>),
                    trace::secret.eq(false),
                    trace::erased_by.eq(request_id),
                ),
            ))
            .execute(connection)?;
        // Its end is over: nobody looks for it any more.
        diesel::update(record::table.find(record_id))
            .set(record::closed_at.eq(None::<i64>))
            .execute(connection)?;
        ErasedTraces::by_request(connection, request_id, record_id).map(Some)
    }
}

/// What is not what was written is not erased: a row that somebody changed, or gave to this record, would be gone for good, and covered.
fn are_what_was_written(connection: &mut DatabaseConnection, record_id: &str) -> QueryResult<()> {
    const PAGE: i64 = 2_000;
    let mut behind = i64::MIN;
    loop {
        let rows: Vec<TraceRow> = trace::table
            .filter(trace::record_id.eq(record_id))
            .filter(trace::sequence.gt(behind))
            .filter(trace::node.is_not_null())
            .order(trace::sequence.asc())
            .limit(PAGE)
            .select(TraceRow::as_select())
            .load(connection)?;
        let Some(last) = rows.last() else { return Ok(()) };
        behind = last.sequence;
        for row in &rows {
            let right = row.right_hash().map(Vec::from);
            if row.erased_by.is_some() || right.is_none() || right != row.leaf_hash {
                let why =
                    format!("the trace {} is not what was written: see `habilis audit verify`", row.sequence);
                return Err(diesel::result::Error::QueryBuilderError(why.into()));
            }
        }
    }
}
