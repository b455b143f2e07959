//! Notices: made of the traces in the order in which they were written, delivered once by whoever takes them, told again where delivery failed.
//!
//! The log of traces is the outbox: what is to be told is durable with what was done, and costs a request nothing. The cursor of a node's log
//! moves in the transaction that keeps what its traces give, so that a crash loses none and makes none twice.

use diesel::prelude::*;

use super::Store;
use super::cursors::LogReader;
use super::engine::DatabaseConnection;
use super::journal::TraceRow;
use super::schema::{document, medecin_traitant, notice, record, trace};
use crate::error::Failure;
use crate::rights::DocumentStatus;

/// What a delivery is to do.
#[derive(Clone, Debug, Insertable, PartialEq, Eq)]
#[diesel(table_name = notice, treat_none_as_default_value = false)]
pub struct NewNotice {
    /// Made of what it is about: the same twice is one.
    pub id: String,
    /// The record.
    pub record_id: String,
    /// `premier_acces`, `consultation`, `alimentation`, `urgence`.
    pub kind: &'static str,
    /// `courriel`, `webhook`.
    pub channel: &'static str,
    /// `patient`, or PS_IdNat.
    pub told: String,
    /// When it was done, microseconds.
    pub at: i64,
    /// Who did it: PS_IdNat or Struct_IdNat.
    pub actor: String,
    /// `CPS` …
    pub actor_kind: String,
    /// Struct_IdNat.
    pub structure: Option<String>,
    /// `normal`, `bris_de_glace`, `centre_15`.
    pub mode: String,
    /// When it may go out, microseconds.
    pub due: i64,
    /// Of a feed: its documents, with spaces between.
    pub objects: String,
}

/// A notice that is to be delivered.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = notice)]
pub struct NoticeRow {
    /// See [`NewNotice`].
    pub id: String,
    /// See [`NewNotice`].
    pub record_id: String,
    /// See [`NewNotice`].
    pub kind: String,
    /// See [`NewNotice`].
    pub channel: String,
    /// See [`NewNotice`].
    pub told: String,
    /// See [`NewNotice`].
    pub at: i64,
    /// See [`NewNotice`].
    pub actor: String,
    /// See [`NewNotice`].
    pub actor_kind: String,
    /// See [`NewNotice`].
    pub structure: Option<String>,
    /// See [`NewNotice`].
    pub mode: String,
    /// See [`NewNotice`].
    pub attempts: i64,
    /// See [`NewNotice`].
    pub objects: String,
}

impl NoticeRow {
    /// What a trace gives, as somebody decides who knows the rules, each with its state: `None`, nobody has made it, or it was made of an earlier trace.
    /// For the sandbox's portal.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_trace(
        connection: &mut DatabaseConnection,
        trace: &TraceRow,
        decide: impl Fn(&TraceRow, &NoticesOf) -> Vec<NewNotice>,
    ) -> QueryResult<Vec<(NewNotice, Option<String>)>> {
        let record = trace.record_id.as_deref().filter(|_| trace.outcome == "granted");
        let Some(record) = record else { return Ok(Vec::new()) };
        let about = about(connection, trace, record)?;
        let mut given = Vec::new();
        for new in decide(trace, &about) {
            let kept = notice::table.find(&new.id).filter(notice::at.eq(trace.at)).select(notice::state);
            let state = kept.first(connection).optional()?;
            given.push((new, state));
        }
        Ok(given)
    }
}

/// What became of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeState {
    /// It was delivered.
    Sent,
    /// It is told no more: nobody to tell, or no right to know it any more.
    Dropped(String),
    /// It is tried again at an instant, microseconds.
    Again(i64, String),
    /// It was tried often enough. It stays, for the operator to see.
    Dead(String),
}

/// What a record's holder wants to know, and how he is reached, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// In use, and not erased.
    pub open: bool,
    /// Preferences: a JSON object.
    pub preferences: String,
    /// FHIR elements telecom, address, contact: a JSON object.
    pub administrative: String,
    /// PS_IdNat of the médecins traitants.
    pub treating: Vec<String>,
}

/// What a trace gives, as somebody decides who knows the rules.
#[derive(Clone, Debug, Default)]
pub struct NoticesOf {
    /// Whether the caller had read of this record before.
    pub read_before: bool,
    /// Until when one of the documents that it is about is kept from the patient; `None`: none is. `i64::MAX`: for ever.
    pub announced_until: Option<i64>,
    /// PS_IdNat of the médecins traitants.
    pub treating: Vec<String>,
}

/// What waits.
const WAITING: &str = "attente";
/// Traces that are looked at in one transaction.
const BATCH: i64 = 200;

impl Store {
    /// Where notices begin on a database that never made any: behind the traces that are there. Nobody is told of last year.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn begin_notices(&self) -> Result<(), Failure> {
        self.writer().untraced(|connection| LogReader::Notices.begin_behind(connection)).await
    }

    /// Makes the notices of the traces that nobody has looked at, some hundred at once; how many traces there were.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: nothing was made, and nothing lost.
    pub async fn make_notices(
        &self,
        oldest: i64,
        decide: impl Fn(&TraceRow, &NoticesOf) -> Vec<NewNotice> + Send + 'static,
    ) -> Result<usize, Failure> {
        self.writer().has_room()?;
        if !self
            .read(|reader| LogReader::Notices.is_behind(reader.connection).map_err(super::unavailable))
            .await?
        {
            return Ok(0);
        }
        let url = self.url.clone();
        // On a connection of its own: no request waits in a commit for it.
        let made = tokio::task::spawn_blocking(move || -> anyhow::Result<usize> {
            let mut connection = DatabaseConnection::open_for_writing(&url)?;
            let keep = |connection: &mut DatabaseConnection, rows: &[TraceRow]| {
                keep_notices(connection, rows, oldest, &decide)
            };
            Ok(LogReader::Notices.read(&mut connection, BATCH, keep)?)
        });
        made.await.map_err(Failure::internal)?.map_err(Failure::unavailable)
    }

    /// Takes notices that are due, so many at most, for as long as a lease goes: no other node delivers them meanwhile.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn take_notices(&self, now: i64, lease: i64, most: i64) -> Result<Vec<NoticeRow>, Failure> {
        self.writer()
            .untraced(move |connection| {
                let due = notice::table
                    .filter(notice::state.eq(WAITING))
                    .filter(notice::due.le(now))
                    .filter(notice::leased_until.le(now))
                    .order(notice::due.asc())
                    .limit(most)
                    .select(notice::id);
                let ids: Vec<String> = match connection {
                    DatabaseConnection::Sqlite(sqlite) => due.load(sqlite)?,
                    DatabaseConnection::Postgres(postgres) => due.for_update().skip_locked().load(postgres)?,
                };
                let taken = || notice::table.filter(notice::id.eq_any(&ids));
                let rows = taken().select(NoticeRow::as_select()).load(connection)?;
                diesel::update(taken())
                    .set((notice::leased_until.eq(now + lease), notice::attempts.eq(notice::attempts + 1)))
                    .execute(connection)?;
                Ok(rows)
            })
            .await
    }

    /// Notes what became of a notice.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn settle_notice(&self, taken: &NoticeRow, state: NoticeState) -> Result<(), Failure> {
        // Whoever took it after us says what became of it.
        let (id, attempts) = (taken.id.clone(), taken.attempts + 1);
        self.writer()
            .untraced(move |connection| {
                let row = notice::table
                    .filter(notice::id.eq(&id))
                    .filter(notice::state.eq(WAITING))
                    .filter(notice::attempts.eq(attempts));
                let (name, fault, due) = match &state {
                    NoticeState::Sent => ("envoye", None, None),
                    NoticeState::Dropped(why) => ("abandonne", Some(why), None),
                    NoticeState::Again(due, why) => (WAITING, Some(why), Some(*due)),
                    NoticeState::Dead(why) => ("echec", Some(why), None),
                };
                match due {
                    Some(due) => diesel::update(row)
                        .set((notice::due.eq(due), notice::fault.eq(fault), notice::leased_until.eq(0)))
                        .execute(connection)?,
                    None => diesel::update(row)
                        .set((notice::state.eq(name), notice::fault.eq(fault), notice::leased_until.eq(0)))
                        .execute(connection)?,
                };
                Ok(())
            })
            .await
    }

    /// How many notices are in each state, for the operator.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn count_notices(&self) -> Result<Vec<(String, i64)>, Failure> {
        self.read(|reader| {
            notice::table
                .filter(notice::state.eq_any([WAITING, "echec"]))
                .group_by(notice::state)
                .select((notice::state, diesel::dsl::count_star()))
                .load(reader.connection)
                .map_err(super::unavailable)
        })
        .await
    }

    /// How a record's holder stands to being told, now.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn told(&self, record_id: &str) -> Result<Option<Told>, Failure> {
        let record_id = record_id.to_owned();
        self.read(move |reader| {
            let found: Option<(bool, String, String)> = record::table
                .filter(record::id.eq(&record_id))
                .filter(record::erased_at.is_null())
                .select((record::open, record::notifications, record::administrative))
                .first(reader.connection)
                .optional()
                .map_err(super::unavailable)?;
            let Some((open, preferences, administrative)) = found else { return Ok(None) };
            let treating = treating(reader.connection, &record_id).map_err(super::unavailable)?;
            Ok(Some(Told { open, preferences, administrative, treating }))
        })
        .await
    }
}

impl Store {
    /// Whether one of these documents is there, and hidden from nobody on the patient's side: else nothing is told of their feed.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn may_be_told(&self, objects: &str, now: i64) -> Result<bool, Failure> {
        let objects: Vec<String> = objects.split(' ').take(MOST_OBJECTS).map(str::to_owned).collect();
        self.read(move |reader| {
            let over =
                document::visible_from.is_not_null().and(document::visible_from.le(now).assume_not_null());
            let told = document::table
                .filter(document::id.eq_any(objects))
                .filter(document::status.ne(DocumentStatus::EnteredInError.code()))
                .filter(document::invisible_to_representatives.eq(false))
                .filter(document::invisible_to_patient.eq(false).or(over))
                .select(document::id)
                .limit(1);
            Ok(!told.load::<String>(reader.connection).map_err(super::unavailable)?.is_empty())
        })
        .await
    }

    /// Forgets notices that went out, or were told to nobody, before an instant; how many.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn forget_notices(&self, before: i64) -> Result<usize, Failure> {
        const MOST: i64 = 1_000;
        self.writer()
            .untraced(move |connection| {
                let old: Vec<String> = notice::table
                    .filter(notice::state.eq_any(["envoye", "abandonne"]))
                    .filter(notice::at.lt(before))
                    .limit(MOST)
                    .select(notice::id)
                    .load(connection)?;
                diesel::delete(notice::table.filter(notice::id.eq_any(old))).execute(connection)
            })
            .await
    }
}

/// Documents of a feed that are looked at, at most.
const MOST_OBJECTS: usize = 100;

fn treating(connection: &mut DatabaseConnection, record_id: &str) -> QueryResult<Vec<String>> {
    medecin_traitant::table
        .filter(medecin_traitant::record_id.eq(record_id))
        .filter(medecin_traitant::kind.eq("medecin_traitant"))
        .select(medecin_traitant::professional_id)
        .load(connection)
}

fn keep_notices(
    connection: &mut DatabaseConnection,
    rows: &[TraceRow],
    oldest: i64,
    decide: &impl Fn(&TraceRow, &NoticesOf) -> Vec<NewNotice>,
) -> QueryResult<()> {
    let mut new_ones: Vec<NewNotice> = Vec::new();
    for row in rows {
        let Some(record_id) = &row.record_id else { continue };
        if row.outcome != "granted" || row.at < oldest || is_erased(connection, record_id)? {
            continue;
        }
        let about = about(connection, row, record_id)?;
        new_ones.extend(decide(row, &about));
    }
    // In one order on every node: two that make the same wait for each other and do not block each other.
    new_ones.sort_by(|one, other| one.id.cmp(&other.id));
    for new in new_ones {
        let untried = (notice::state.eq(WAITING), notice::attempts.eq(0), notice::leased_until.eq(0));
        let insert = diesel::insert_into(notice::table).values((new, untried)).on_conflict_do_nothing();
        match connection {
            DatabaseConnection::Sqlite(sqlite) => insert.execute(sqlite)?,
            DatabaseConnection::Postgres(postgres) => insert.execute(postgres)?,
        };
    }
    Ok(())
}

/// Of an erased record nothing is kept that was not there when it was erased.
fn is_erased(connection: &mut DatabaseConnection, record_id: &str) -> QueryResult<bool> {
    let erased = record::table.find(record_id).filter(record::erased_at.is_not_null()).select(record::id);
    Ok(erased.first::<String>(connection).optional()?.is_some())
}

fn about(connection: &mut DatabaseConnection, row: &TraceRow, record_id: &str) -> QueryResult<NoticesOf> {
    let read_before = trace::table
        .filter(trace::caller_id.eq(&row.caller_id))
        .filter(trace::record_id.eq(record_id))
        .filter(trace::sequence.lt(row.sequence))
        .filter(trace::outcome.eq("granted"))
        // What was read in a secret connection tells of itself by nothing (R1111-50).
        .filter(trace::secret.eq(false))
        .filter(trace::operation.like("TD3.1%").or(trace::operation.like("TD3.2%")))
        .limit(1)
        .select(trace::sequence)
        .first::<i64>(connection)
        .optional()?
        .is_some();
    let objects: Vec<&str> =
        row.objects.split(' ').filter(|object| !object.is_empty()).take(MOST_OBJECTS).collect();
    type Hidden = (bool, bool, Option<i64>);
    let kept: Vec<Hidden> = document::table
        .filter(document::id.eq_any(objects))
        .filter(document::status.ne(DocumentStatus::EnteredInError.code()))
        .select((
            document::invisible_to_patient,
            document::invisible_to_representatives,
            document::visible_from,
        ))
        .load(connection)?;
    let announced_until = kept
        .into_iter()
        .filter_map(|(from_patient, from_representatives, until)| match (from_patient, from_representatives) {
            // Whose mail it is, is not known: what representatives may not see is told to nobody.
            (_, true) => Some(i64::MAX),
            (true, false) => Some(until.unwrap_or(i64::MAX)),
            (false, false) => None,
        })
        .max();
    Ok(NoticesOf { read_before, announced_until, treating: treating(connection, record_id)? })
}
