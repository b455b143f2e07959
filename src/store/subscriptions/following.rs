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
    /// When the next sign of life is due, microseconds.
    pub heartbeat_at: Option<i64>,
    /// It was looked at: what was done to the record since is looked at at once.
    pub looked: bool,
}

/// What is next for a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// An event, numbered; whether it is about what representatives may not know of.
    Event(EventRow, bool),
    /// Nothing waits.
    Nothing,
    /// It is not ours any more: its owner changed it, or another node has it.
    NotOurs,
}

/// See [`crate::fhir::subscription::EventKind`].
const GONE: &str = "gone";
const CREATED: &str = "created";
const CHANGED: &str = "changed";

impl Transaction<'_> {
    /// What is to be told next, with its number. What may not be seen any more and was never tried is not told of; what was tried is told of as
    /// gone, under its number.
    ///
    /// # Errors
    /// The database's.
    pub fn next_event(&mut self, taken: &SubscriptionRow, scope: &Scope, now: i64) -> QueryResult<Next> {
        let connection = &mut *self.connection;
        if is_taken(connection, taken)?.is_none() {
            return Ok(Next::NotOurs);
        }
        loop {
            let next: Option<EventRow> = subscription_event::table
                .filter(subscription_event::subscription_id.eq(&taken.id))
                .order(subscription_event::place.asc())
                .select(EventRow::as_select())
                .first(connection)
                .optional()?;
            let Some(mut next) = next else { return Ok(Next::Nothing) };
            let of = subscription_event::table.find((&taken.id, next.place));
            if next.kind != GONE && !is_visible(connection, scope, &next.document_id, now)? {
                if next.number.is_none() {
                    diesel::delete(of).execute(connection)?;
                    continue;
                }
                GONE.clone_into(&mut next.kind);
                diesel::update(of).set(subscription_event::kind.eq(GONE)).execute(connection)?;
            }
            if next.number.is_none() {
                let events = subscription::table.find(&taken.id).select(subscription::events);
                let number = events.first::<i64>(connection)? + 1;
                diesel::update(subscription::table.find(&taken.id))
                    .set(subscription::events.eq(number))
                    .execute(connection)?;
                diesel::update(of).set(subscription_event::number.eq(number)).execute(connection)?;
                next.number = Some(number);
            }
            let hidden: Option<bool> = document::table
                .filter(document::id.eq(&next.document_id))
                .select(document::invisible_to_representatives)
                .first(connection)
                .optional()?;
            return Ok(Next::Event(next, hidden.unwrap_or_default()));
        }
    }
}

impl Store {
    /// Notes which subscriptions have something to look at, by the traces that nobody has read; whether there are more.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: nothing is lost.
    pub async fn note_followed(&self, now: i64) -> Result<bool, Failure> {
        const BATCH: i64 = 500;
        self.writer().has_room()?;
        let any = self.read(|reader| {
            // What is over is due at the end of all days.
            let live =
                subscription::table.filter(subscription::due.lt(i64::MAX)).select(subscription::id).limit(1);
            let any = !live.load::<String>(reader.connection).map_err(unavailable)?.is_empty();
            Ok(any && LogReader::Subscriptions.is_behind(reader.connection).map_err(unavailable)?)
        });
        if !any.await? {
            return Ok(false);
        }
        let url = self.url.clone();
        let read = tokio::task::spawn_blocking(move || -> anyhow::Result<usize> {
            let mut connection = DatabaseConnection::open_for_writing(&url)?;
            Ok(LogReader::Subscriptions.read(&mut connection, BATCH, |connection, rows| {
                let of = |wanted: fn(&str) -> bool| {
                    let of_rows = rows.iter().filter(|row| row.outcome == "granted" && wanted(&row.operation));
                    let mut records: Vec<&str> = of_rows.filter_map(|row| row.record_id.as_deref()).collect();
                    records.sort_unstable();
                    records.dedup();
                    records
                };
                for records in of(changes_something).chunks(100) {
                    let live = || {
                        subscription::table
                            .filter(subscription::record_id.eq_any(records))
                            .filter(subscription::due.lt(i64::MAX))
                    };
                    diesel::update(live()).set(subscription::changed.eq(true)).execute(connection)?;
                    // Neither is what waits for its next attempt tried sooner, nor what is due already put back.
                    diesel::update(live())
                        .filter(subscription::status.eq(SubscriptionStatus::Active.code()))
                        .filter(subscription::attempts.eq(0))
                        .filter(subscription::due.gt(now))
                        .set(subscription::due.eq(now))
                        .execute(connection)?;
                }
                // What changes the sight of a whole record changes no document: all that came since it began is looked at.
                for records in of(changes_the_sight).chunks(100) {
                    diesel::update(subscription::table.filter(subscription::record_id.eq_any(records)))
                        .filter(subscription::due.lt(i64::MAX))
                        .set(subscription::looked_at.eq(subscription::since))
                        .execute(connection)?;
                }
                Ok(())
            })?)
        });
        let read = read.await.map_err(Failure::internal)?.map_err(Failure::unavailable)?;
        Ok(i64::try_from(read).is_ok_and(|read| read >= BATCH))
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
        let mut opened = Vec::new();
        for (row, key) in rows {
            let kept = row.clone();
            match row.open(&self.vault, key) {
                Ok(one) => opened.push(one),
                // It holds up no other.
                Err(failure) => {
                    tracing::error!(id = kept.id, %failure, "a subscription cannot be opened: it is tried again in an hour");
                    let due = now + 3_600_000_000;
                    let (status, fault) = (kept.status(), kept.fault.clone());
                    let (attempts, heartbeat_at) = (kept.attempts, kept.heartbeat_at);
                    let onward = Onward { status, fault, attempts, due, heartbeat_at, looked: false };
                    self.settle_subscription(&kept, onward, now).await?;
                }
            }
        }
        Ok(opened)
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
                let Some(looked_at) = is_taken(connection, &taken)? else { return Ok(()) };
                // What changed the sight of the record since it was taken has put this back.
                let taken = SubscriptionRow { looked_at, ..taken.clone() };
                keep_changes(connection, &taken, &scope, &criteria, now)
            })
            .await
    }

    /// An event was told: it waits no longer. Where the subscription is gone meanwhile, nothing is kept of it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn event_told(&self, taken: &SubscriptionRow, event: &EventRow) -> Result<(), Failure> {
        let (id, event) = (taken.id.clone(), event.clone());
        self.writer()
            .untraced(move |connection| {
                // Places are used again: it is this event, under its number, or none.
                let of = subscription_event::table
                    .filter(subscription_event::subscription_id.eq(&id))
                    .filter(subscription_event::place.eq(event.place))
                    .filter(subscription_event::document_id.eq(&event.document_id))
                    .filter(subscription_event::number.eq(event.number));
                if diesel::delete(of).execute(connection)? == 0 {
                    return Ok(());
                }
                match event.kind.as_str() {
                    // Told as gone: if it comes again, that is news.
                    GONE => remember(connection, &id, &event.document_id, GONE_VERSION, Some(false)),
                    _ => remember(connection, &id, &event.document_id, event.version, Some(true)),
                }
            })
            .await
    }

    /// Forgets subscriptions that have been over since before an instant; how many.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn forget_subscriptions(&self, before: i64) -> Result<usize, Failure> {
        self.writer()
            .untraced(move |connection| {
                let over: Vec<String> = subscription::table
                    .filter(subscription::due.eq(i64::MAX))
                    .filter(subscription::updated_at.lt(before))
                    .limit(500)
                    .select(subscription::id)
                    .load(connection)?;
                diesel::delete(subscription::table.filter(subscription::id.eq_any(over))).execute(connection)
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
                if is_taken(connection, &taken)?.is_none() {
                    return Ok(());
                }
                // What was done to the record meanwhile is looked at at once.
                let row: (bool, i64, i64) = subscription::table
                    .find(&taken.id)
                    .select((subscription::changed, subscription::version, subscription::updated_at))
                    .first(connection)?;
                let over = onward.status == SubscriptionStatus::Off;
                let again = row.0 && onward.looked && onward.attempts == 0;
                let due = match again && onward.status == SubscriptionStatus::Active {
                    true => now,
                    false => onward.due,
                };
                let news = i64::from(onward.status != taken.status());
                diesel::update(subscription::table.find(&taken.id))
                    .set((
                        subscription::status.eq(onward.status.code()),
                        subscription::fault.eq(&onward.fault),
                        subscription::attempts.eq(onward.attempts),
                        subscription::heartbeat_at.eq(onward.heartbeat_at),
                        subscription::due.eq(if over { i64::MAX } else { due }),
                        subscription::leased_until.eq(0_i64),
                        subscription::version.eq(row.1 + news),
                        subscription::updated_at.eq(if news > 0 { now } else { row.2 }),
                    ))
                    .execute(connection)?;
                if over { forget_what_waits(connection, &taken.id) } else { Ok(()) }
            })
            .await
    }
}

/// Whether what was done may change what somebody sees: reading does not.
fn changes_something(operation: &str) -> bool {
    const READING: [&str; 14] = [
        "TD0.1",
        "TD0.2",
        "TD0.4",
        "TD0.5",
        "TD1.3",
        "TD1.6",
        "TD3.1",
        "TD3.2",
        "read ",
        "subscription: ",
        "MES find ",
        "MES read ",
        "MES list ",
        "TLS ",
    ];
    !READING.iter().any(|reading| operation.starts_with(reading))
}

/// Whether what was done may change the sight of a whole record: what the patient made of it or of somebody, and authorisations.
fn changes_the_sight(operation: &str) -> bool {
    const OF_THE_RECORD: [&str; 5] = [
        "MES change record",
        "MES set professional",
        "MES forget professional",
        "TD0.3",
        "clock: authorisation over",
    ];
    OF_THE_RECORD.iter().any(|one| operation.starts_with(one))
}

/// In place of the version of a document that was told of as gone.
const GONE_VERSION: i64 = -1;

/// Up to when it is looked at, if it is still ours: its owner may have changed it, or another node have taken it when our lease was over. Held until the
/// commit.
fn is_taken(connection: &mut DatabaseConnection, taken: &SubscriptionRow) -> QueryResult<Option<i64>> {
    let query = subscription::table
        .filter(subscription::id.eq(&taken.id))
        .filter(subscription::leased_until.eq(taken.leased_until))
        .filter(subscription::status.eq(&taken.status))
        .select(subscription::looked_at);
    match connection {
        DatabaseConnection::Sqlite(sqlite) => query.first(sqlite).optional(),
        DatabaseConnection::Postgres(postgres) => query.for_update().first(postgres).optional(),
    }
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
    let mut found = found;
    let full = i64::try_from(found.len()).is_ok_and(|found| found >= MOST);
    let last = found.last().map(|(.., updated_at)| *updated_at);
    // Those that were told of as gone, and are there again, whatever instant they bear.
    let gone: Vec<&String> =
        known.iter().filter(|(_, (version, _))| *version == GONE_VERSION).map(|(id, _)| id).collect();
    for ids in gone.chunks(200) {
        let again: Vec<(String, i64, i64, i64)> = narrowed(visible(scope, now), criteria, now)
            .filter(document::id.eq_any(ids))
            .select((document::id, document::version, document::created_at, document::updated_at))
            .load(connection)?;
        found.extend(again);
    }
    found.sort_by(|one, other| (one.3, &one.0).cmp(&(other.3, &other.0)));
    found.dedup();
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
            (None, Some((GONE_VERSION, _))) => events.push((CREATED, id.clone(), *version)),
            // It will have been told of as gone.
            (Some(event), _) if event.kind == GONE => events.push((CREATED, id.clone(), *version)),
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
                remember(connection, &taken.id, &document_id, version, None)?;
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
    let looked_at = last.filter(|_| full).map_or(now, |updated_at| updated_at + UNDER_WAY);
    diesel::update(subscription::table.find(&taken.id))
        .set((subscription::looked_at.eq(looked_at), subscription::changed.eq(full)))
        .execute(connection)?;
    Ok(())
}

fn is_visible(connection: &mut DatabaseConnection, scope: &Scope, id: &str, now: i64) -> QueryResult<bool> {
    let seen = visible(scope, now).filter(document::id.eq(id)).select(document::id);
    Ok(!seen.load::<String>(connection)?.is_empty())
}
