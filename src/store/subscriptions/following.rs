//! Following: what was done to a record is looked for, kept in order, numbered when it is told.

use std::collections::HashMap;

use diesel::prelude::*;

use super::super::Store;
use super::super::criteria::{SearchCriteria, narrowed};
use super::super::cursors::LogReader;
use super::super::documents::visible;
use super::super::engine::DatabaseConnection;
use super::super::keys::KeyRow;
use super::super::schema::{document, record_key, subscription, subscription_document, subscription_event};
use super::super::unavailable;
use super::super::writer::Transaction;
use super::{MOST, OpenedSubscription, SubscriptionRow, UNDER_WAY, forget_what_waits, remember};
use crate::error::Failure;
use crate::fhir::subscription::{SubscriptionStatus, Topic};
use crate::rights::Scope;

/// What is to be told next.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = subscription_event)]
pub struct EventRow {
    /// Its order.
    pub place: i64,
    /// `created`, `changed`, `gone`.
    pub kind: String,
    /// `DocumentReference.id`.
    pub document_id: String,
    /// `meta.versionId` that was seen.
    pub version: i64,
    /// When it was seen, microseconds.
    pub at: i64,
    /// Its number, once it was tried.
    pub number: Option<i64>,
}

/// How a subscription goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onward {
    /// Its state from here on.
    pub status: SubscriptionStatus,
    /// Why it is in error.
    pub fault: Option<String>,
    /// Attempts that failed, one behind the other.
    pub attempts: i64,
    /// When it is looked at again, microseconds.
    pub due: i64,
}

/// See [`crate::fhir::subscription::EventKind`].
const GONE: &str = "gone";
const CREATED: &str = "created";
const CHANGED: &str = "changed";

impl Transaction<'_> {
    /// What is to be told next, with its number; documents that may not be seen any more are not told of. `visible`: the scope as it is
    /// decided now.
    ///
    /// # Errors
    /// The database's.
    pub fn next_event(
        &mut self,
        taken: &SubscriptionRow,
        scope: &Scope,
        now: i64,
    ) -> QueryResult<Option<EventRow>> {
        let connection = &mut *self.connection;
        if !is_taken(connection, taken)? {
            return Ok(None);
        }
        loop {
            let next: Option<EventRow> = subscription_event::table
                .filter(subscription_event::subscription_id.eq(&taken.id))
                .order(subscription_event::place.asc())
                .select(EventRow::as_select())
                .first(connection)
                .optional()?;
            let Some(mut next) = next else { return Ok(None) };
            let of = subscription_event::table.find((&taken.id, next.place));
            if next.kind != GONE && !is_visible(connection, scope, &next.document_id, now)? {
                diesel::delete(of).execute(connection)?;
                continue;
            }
            if next.number.is_none() {
                let number: i64 = subscription::table
                    .find(&taken.id)
                    .select(subscription::events)
                    .first::<i64>(connection)?
                    + 1;
                diesel::update(subscription::table.find(&taken.id))
                    .set(subscription::events.eq(number))
                    .execute(connection)?;
                diesel::update(of).set(subscription_event::number.eq(number)).execute(connection)?;
                next.number = Some(number);
            }
            return Ok(Some(next));
        }
    }
}

impl Store {
    /// Notes which subscriptions have something to look at, by the traces that nobody has read; how many traces there were.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: nothing is lost.
    pub async fn note_followed(&self, now: i64) -> Result<usize, Failure> {
        const BATCH: i64 = 500;
        let any = self.read(|reader| {
            let any = subscription::table.filter(subscription::status.ne(SubscriptionStatus::Off.code()));
            Ok(!any
                .select(subscription::id)
                .limit(1)
                .load::<String>(reader.connection)
                .map_err(unavailable)?
                .is_empty())
        });
        if !any.await? {
            return Ok(0);
        }
        let url = self.url.clone();
        let read = tokio::task::spawn_blocking(move || -> anyhow::Result<usize> {
            let mut connection = DatabaseConnection::open_for_writing(&url)?;
            Ok(LogReader::Subscriptions.read(&mut connection, BATCH, |connection, rows| {
                let mut records: Vec<&str> = rows
                    .iter()
                    .filter(|row| row.outcome == "granted" && changes_something(&row.operation))
                    .filter_map(|row| row.record_id.as_deref())
                    .collect();
                records.sort_unstable();
                records.dedup();
                for records in records.chunks(100) {
                    diesel::update(subscription::table.filter(subscription::record_id.eq_any(records)))
                        .filter(subscription::status.ne(SubscriptionStatus::Off.code()))
                        .set((subscription::changed.eq(true), subscription::due.eq(now)))
                        .execute(connection)?;
                }
                Ok(())
            })?)
        });
        read.await.map_err(Failure::internal)?.map_err(Failure::unavailable)
    }

    /// Takes subscriptions that are due, so many at most, for as long as a lease goes.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn take_subscriptions(
        &self,
        now: i64,
        lease: i64,
        most: i64,
    ) -> Result<Vec<OpenedSubscription>, Failure> {
        let any = self.read(move |reader| {
            let due = subscription::table
                .filter(subscription::due.le(now))
                .filter(subscription::leased_until.le(now));
            Ok(!due
                .select(subscription::id)
                .limit(1)
                .load::<String>(reader.connection)
                .map_err(unavailable)?
                .is_empty())
        });
        // At rest nothing is written.
        if !any.await? {
            return Ok(Vec::new());
        }
        type Rows = Vec<(SubscriptionRow, Option<KeyRow>)>;
        let rows: Rows = self
            .writer()
            .untraced(move |connection| {
                let due = subscription::table
                    .filter(subscription::due.le(now))
                    .filter(subscription::leased_until.le(now))
                    .order(subscription::due.asc())
                    .limit(most)
                    .select(subscription::id);
                let ids: Vec<String> = match connection {
                    DatabaseConnection::Sqlite(sqlite) => due.load(sqlite)?,
                    DatabaseConnection::Postgres(postgres) => due.for_update().skip_locked().load(postgres)?,
                };
                diesel::update(subscription::table.filter(subscription::id.eq_any(&ids)))
                    .set(subscription::leased_until.eq(now + lease))
                    .execute(connection)?;
                subscription::table
                    .left_join(record_key::table.on(record_key::record_id.eq(subscription::record_id)))
                    .filter(subscription::id.eq_any(&ids))
                    .select((SubscriptionRow::as_select(), Option::<KeyRow>::as_select()))
                    .load(connection)
            })
            .await?;
        rows.into_iter().map(|(row, key)| row.open(&self.vault, key)).collect()
    }

    /// Looks for what changed, as far as the scope lets it be known, and keeps it in order.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn look_for_changes(
        &self,
        taken: &SubscriptionRow,
        scope: Scope,
        criteria: SearchCriteria,
        now: i64,
    ) -> Result<(), Failure> {
        let taken = taken.clone();
        self.writer()
            .untraced(move |connection| {
                if !is_taken(connection, &taken)? {
                    return Ok(());
                }
                keep_changes(connection, &taken, &scope, &criteria, now)
            })
            .await
    }

    /// An event was told: it waits no longer.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn event_told(&self, taken: &SubscriptionRow, event: &EventRow) -> Result<(), Failure> {
        let (id, event) = (taken.id.clone(), event.clone());
        self.writer()
            .untraced(move |connection| {
                diesel::delete(subscription_event::table.find((&id, event.place))).execute(connection)?;
                match event.kind.as_str() {
                    GONE => drop(
                        diesel::delete(subscription_document::table.find((&id, &event.document_id)))
                            .execute(connection)?,
                    ),
                    _ => remember(connection, &id, &event.document_id, event.version, true)?,
                }
                Ok(())
            })
            .await
    }

    /// Says how a subscription goes on, and gives it back.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn settle_subscription(
        &self,
        taken: &SubscriptionRow,
        onward: Onward,
        now: i64,
    ) -> Result<(), Failure> {
        let taken = taken.clone();
        self.writer()
            .untraced(move |connection| {
                if !is_taken(connection, &taken)? {
                    return Ok(());
                }
                // What was done to the record meanwhile is looked at at once.
                let row: (bool, i64, i64) = subscription::table
                    .find(&taken.id)
                    .select((subscription::changed, subscription::version, subscription::updated_at))
                    .first(connection)?;
                let over = onward.status == SubscriptionStatus::Off;
                let due = match row.0 && onward.attempts == 0 && onward.status == SubscriptionStatus::Active {
                    true => 0,
                    false => onward.due,
                };
                let news = i64::from(onward.status != taken.status());
                diesel::update(subscription::table.find(&taken.id))
                    .set((
                        subscription::status.eq(onward.status.code()),
                        subscription::fault.eq(&onward.fault),
                        subscription::attempts.eq(onward.attempts),
                        subscription::due.eq(if over { i64::MAX } else { due }),
                        subscription::leased_until.eq(0_i64),
                        subscription::version.eq(row.1 + news),
                        subscription::updated_at.eq(if news > 0 { now } else { row.2 }),
                    ))
                    .execute(connection)?;
                forget_what_waits(connection, &taken.id, usize::from(over)).map(|_| ())
            })
            .await
    }
}

/// Whether what was done may change what somebody sees: reading does not.
fn changes_something(operation: &str) -> bool {
    const READING: [&str; 10] =
        ["TD0.1", "TD0.2", "TD0.4", "TD0.5", "TD1.3", "TD1.6", "TD3.1", "TD3.2", "read ", "subscription: "];
    !READING.iter().any(|reading| operation.starts_with(reading))
}

/// Whether it is still ours: its owner may have changed it, or another node have taken it when our lease was over. Held until the commit.
fn is_taken(connection: &mut DatabaseConnection, taken: &SubscriptionRow) -> QueryResult<bool> {
    let query = subscription::table
        .filter(subscription::id.eq(&taken.id))
        .filter(subscription::leased_until.eq(taken.leased_until))
        .filter(subscription::status.eq(&taken.status))
        .select(subscription::id);
    let found: Option<String> = match connection {
        DatabaseConnection::Sqlite(sqlite) => query.first(sqlite).optional()?,
        DatabaseConnection::Postgres(postgres) => query.for_update().first(postgres).optional()?,
    };
    Ok(found.is_some())
}

/// Puts behind what waits what is new, changed or gone since it was looked at last.
fn keep_changes(
    connection: &mut DatabaseConnection,
    taken: &SubscriptionRow,
    scope: &Scope,
    criteria: &SearchCriteria,
    now: i64,
) -> QueryResult<()> {
    let known: HashMap<String, (i64, bool)> = subscription_document::table
        .filter(subscription_document::subscription_id.eq(&taken.id))
        .select((
            subscription_document::document_id,
            (subscription_document::version, subscription_document::told),
        ))
        .load::<(String, (i64, bool))>(connection)?
        .into_iter()
        .collect();
    let waiting: Vec<EventRow> = subscription_event::table
        .filter(subscription_event::subscription_id.eq(&taken.id))
        .order(subscription_event::place.asc())
        .select(EventRow::as_select())
        .load(connection)?;
    let mut place = waiting.last().map_or(0, |last| last.place);
    // Of a document that waits more than once, what waits last is what it will have been told as.
    let waiting: HashMap<&str, &EventRow> =
        waiting.iter().map(|event| (event.document_id.as_str(), event)).collect();
    let found: Vec<(String, i64, i64, i64)> = narrowed(visible(scope, now), criteria, now)
        .filter(document::updated_at.ge(taken.looked_at - UNDER_WAY))
        .order((document::updated_at.asc(), document::id.asc()))
        .limit(MOST)
        .select((document::id, document::version, document::created_at, document::updated_at))
        .load(connection)?;
    let mut events: Vec<(&'static str, String, i64)> = Vec::new();
    for (id, version, created_at, _) in &found {
        let waits = waiting.get(id.as_str()).filter(|event| event.kind != GONE || event.number.is_some());
        match (waits, known.get(id)) {
            (Some(event), _) if event.kind != GONE && event.version == *version => {}
            // It is told of as it will be then.
            (Some(event), _) if event.kind != GONE && event.number.is_none() => {
                diesel::update(subscription_event::table.find((&taken.id, event.place)))
                    .set(subscription_event::version.eq(version))
                    .execute(connection)?;
            }
            (None, Some((known, _))) if known == version && !waiting.contains_key(id.as_str()) => {}
            (None, Some(_)) | (Some(_), _) => events.push((CHANGED, id.clone(), *version)),
            (None, None) if *created_at >= taken.since - UNDER_WAY => {
                events.push((CREATED, id.clone(), *version))
            }
            (None, None) => events.push((CHANGED, id.clone(), *version)),
        }
        // That it was gone for a while is not told any more.
        if let Some(event) =
            waiting.get(id.as_str()).filter(|event| event.kind == GONE && event.number.is_none())
        {
            diesel::delete(subscription_event::table.find((&taken.id, event.place))).execute(connection)?;
        }
    }
    let told: Vec<&String> = known.iter().filter(|(_, (_, told))| *told).map(|(id, _)| id).collect();
    for ids in told.chunks(200) {
        let there: Vec<String> =
            visible(scope, now).filter(document::id.eq_any(ids)).select(document::id).load(connection)?;
        for id in ids {
            let waits = waiting.get(id.as_str()).is_some_and(|event| event.kind == GONE);
            if !there.contains(id) && !waits {
                events.push((GONE, (*id).clone(), 0));
            }
        }
    }
    for (kind, document_id, version) in events {
        if taken.topic() == Topic::Created && kind != CREATED {
            // Not told of, and known as it is.
            if kind == CHANGED {
                remember(connection, &taken.id, &document_id, version, false)?;
            }
            continue;
        }
        place += 1;
        diesel::insert_into(subscription_event::table)
            .values((
                subscription_event::subscription_id.eq(&taken.id),
                subscription_event::place.eq(place),
                subscription_event::kind.eq(kind),
                subscription_event::document_id.eq(document_id),
                subscription_event::version.eq(version),
                subscription_event::at.eq(now),
            ))
            .execute(connection)?;
    }
    // A page that is full has another behind it.
    let full = i64::try_from(found.len()).is_ok_and(|found| found >= MOST);
    let looked_at = found.last().filter(|_| full).map_or(now, |(.., updated_at)| updated_at + UNDER_WAY);
    diesel::update(subscription::table.find(&taken.id))
        .set((subscription::looked_at.eq(looked_at), subscription::changed.eq(full)))
        .execute(connection)?;
    Ok(())
}

fn is_visible(connection: &mut DatabaseConnection, scope: &Scope, id: &str, now: i64) -> QueryResult<bool> {
    let seen = visible(scope, now).filter(document::id.eq(id)).select(document::id);
    Ok(!seen.load::<String>(connection)?.is_empty())
}
