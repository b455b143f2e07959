//! Subscriptions, kept for their owner; `following` looks at them again when something was done to their record.

mod following;

use diesel::prelude::*;

pub use self::following::{EventRow, Next, Onward};

use super::cursors::LogReader;
use super::documents::visible;
use super::engine::DatabaseConnection;
use super::keys::{KeyRow, in_database, sealing, sealing_key};
use super::readers::Reader;
use super::schema::{document, record_key, subscription, subscription_document, subscription_event};
use super::unavailable;
use super::writer::Transaction;
use crate::error::Failure;
use crate::fhir::subscription::{SubscriptionStatus, Topic};
use crate::rights::{OwnSubscriptionsGrant, Scope, SubscriptionGrant};
use crate::sealing::{Opener, SealingError, Segments, Vault, WrappedKey, seal};

/// What a subscription is to be.
#[derive(Clone, Debug)]
pub struct NewSubscription {
    /// `Subscription.id`.
    pub id: String,
    /// Who follows, as JSON.
    pub follower: String,
    /// Of which certificate, as JSON.
    pub certificate: String,
    /// What of.
    pub topic: Topic,
    /// Which documents, as JSON.
    pub filter: String,
    /// Where to.
    pub endpoint: String,
    /// The resource as it was sent, less what the server says of it.
    pub resource: String,
    /// Until when, microseconds.
    pub until: i64,
    /// A sign of life so often, microseconds.
    pub heartbeat: Option<i64>,
    /// Microseconds.
    pub now: i64,
}

/// What a request says of a subscription, each time it is made.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = subscription, treat_none_as_null = true, treat_none_as_default_value = false)]
struct Asked<'a> {
    caller: &'a str,
    certificate: &'a str,
    topic: &'a str,
    filter: &'a str,
    endpoint: &'a str,
    resource: &'a [u8],
    status: &'a str,
    fault: Option<&'a str>,
    until: i64,
    heartbeat: Option<i64>,
    changed: bool,
    attempts: i64,
    due: i64,
    leased_until: i64,
    updated_at: i64,
}

/// A subscription.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = subscription)]
pub struct SubscriptionRow {
    /// `Subscription.id`.
    pub id: String,
    /// The record.
    pub record_id: String,
    /// PS_IdNat of its owner.
    pub caller_id: String,
    /// Who follows, as JSON.
    pub caller: String,
    /// Of which certificate, as JSON.
    pub certificate: String,
    topic: String,
    /// Which documents, as JSON.
    pub filter: String,
    /// Where to.
    pub endpoint: String,
    resource: Vec<u8>,
    status: String,
    /// Why it is in error.
    pub fault: Option<String>,
    /// `meta.versionId`.
    pub version: i64,
    /// Microseconds.
    pub created_at: i64,
    /// Microseconds.
    pub updated_at: i64,
    since: i64,
    looked_at: i64,
    /// Until when, microseconds.
    pub until: i64,
    /// A sign of life so often, microseconds.
    pub heartbeat: Option<i64>,
    /// When the next is due, microseconds.
    pub heartbeat_at: Option<i64>,
    /// Events that have a number.
    pub events: i64,
    /// Something was done to the record.
    pub changed: bool,
    /// Attempts that failed, one behind the other.
    pub attempts: i64,
    leased_until: i64,
}

/// A subscription, opened: with its resource.
#[derive(Clone, Debug)]
pub struct OpenedSubscription {
    /// The row.
    pub row: SubscriptionRow,
    /// The resource as it was sent, less what the server says of it.
    pub resource: String,
}

impl SubscriptionRow {
    /// Its state. What this program does not know is over.
    pub fn status(&self) -> SubscriptionStatus {
        SubscriptionStatus::of_code(&self.status).unwrap_or(SubscriptionStatus::Off)
    }

    /// What of.
    pub fn topic(&self) -> Topic {
        Topic::of_code(&self.topic).unwrap_or(Topic::Created)
    }

    fn open(self, vault: &Vault, key: Option<KeyRow>) -> Result<OpenedSubscription, Failure> {
        let gone = || Failure::unavailable(format_args!("the subscription {} has no key", self.id));
        let key = vault.open(&self.record_id, &WrappedKey::from(key.ok_or_else(gone)?)).map_err(sealing)?;
        let altered = || sealing(SealingError::NotOpened("a subscription"));
        let size = Segments::plain_of(self.resource.len() as u64).ok_or_else(altered)?;
        let opened =
            Opener::open_all(&key, &name_of(&self.id), self.resource.clone(), size).map_err(sealing)?;
        let resource = String::from_utf8(opened).map_err(|_| altered())?;
        Ok(OpenedSubscription { row: self, resource })
    }
}

fn name_of(id: &str) -> String {
    format!("subscription/{id}")
}

/// What is asked for of one's own.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionCriteria {
    /// `_id`.
    pub ids: Vec<String>,
    /// `status`.
    pub statuses: Vec<String>,
    /// `url`: the receiver.
    pub endpoints: Vec<String>,
}

/// How long a document may be on its way: see `changes`.
const UNDER_WAY: i64 = 10 * 60 * 1_000_000;
/// Documents that are looked at in one go, at most.
const MOST: i64 = 1_000;

impl Reader<'_> {
    /// One of one's own subscriptions.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn subscription(
        &mut self,
        grant: &OwnSubscriptionsGrant,
        id: &str,
        vault: &Vault,
    ) -> Result<Option<OpenedSubscription>, Failure> {
        let found = own_row(self.connection, grant, id).map_err(unavailable)?;
        found.map(|(row, key)| row.open(vault, key)).transpose()
    }

    /// One's own subscriptions, the newest first, and how many there are.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn subscriptions(
        &mut self,
        grant: &OwnSubscriptionsGrant,
        criteria: &SubscriptionCriteria,
        (count, offset): (i64, i64),
        vault: &Vault,
    ) -> Result<(Vec<OpenedSubscription>, i64), Failure> {
        let matching = || {
            let mut query = subscription::table
                .left_join(record_key::table.on(record_key::record_id.eq(subscription::record_id)))
                .filter(subscription::caller_id.eq(grant.caller_id()))
                .into_boxed();
            if !criteria.ids.is_empty() {
                query = query.filter(subscription::id.eq_any(&criteria.ids));
            }
            if !criteria.statuses.is_empty() {
                query = query.filter(subscription::status.eq_any(&criteria.statuses));
            }
            if !criteria.endpoints.is_empty() {
                query = query.filter(subscription::endpoint.eq_any(&criteria.endpoints));
            }
            query
        };
        let total: i64 = matching().count().get_result(self.connection).map_err(unavailable)?;
        let rows: Vec<(SubscriptionRow, Option<KeyRow>)> = matching()
            .order((subscription::created_at.desc(), subscription::id.desc()))
            .limit(count)
            .offset(offset)
            .select((SubscriptionRow::as_select(), Option::<KeyRow>::as_select()))
            .load(self.connection)
            .map_err(unavailable)?;
        let open = |(row, key): (SubscriptionRow, Option<KeyRow>)| {
            let id = row.id.clone();
            row.open(vault, key)
                .inspect_err(|failure| tracing::error!(id, %failure, "a subscription is left out"))
                .ok()
        };
        Ok((rows.into_iter().filter_map(open).collect(), total))
    }
}

fn own_row(
    connection: &mut DatabaseConnection,
    grant: &OwnSubscriptionsGrant,
    id: &str,
) -> QueryResult<Option<(SubscriptionRow, Option<KeyRow>)>> {
    subscription::table
        .left_join(record_key::table.on(record_key::record_id.eq(subscription::record_id)))
        .filter(subscription::id.eq(id))
        .filter(subscription::caller_id.eq(grant.caller_id()))
        .select((SubscriptionRow::as_select(), Option::<KeyRow>::as_select()))
        .first(connection)
        .optional()
}

impl Transaction<'_> {
    /// One of one's own subscriptions.
    ///
    /// # Errors
    /// The database's; that it cannot be opened.
    pub fn own_subscription(
        &mut self,
        grant: &OwnSubscriptionsGrant,
        id: &str,
        vault: &Vault,
    ) -> QueryResult<Option<OpenedSubscription>> {
        let found = own_row(self.connection, grant, id)?;
        let opened = found.map(|(row, key)| row.open(vault, key)).transpose();
        opened.map_err(|failure| diesel::result::Error::QueryBuilderError(Box::new(failure)))
    }

    /// How many subscriptions somebody has that are not over, and how many of them on one record; another one than this.
    ///
    /// # Errors
    /// The database's.
    pub fn subscriptions_of(
        &mut self,
        grant: &OwnSubscriptionsGrant,
        record_id: &str,
        other_than: &str,
    ) -> QueryResult<(i64, i64)> {
        let mine = || {
            subscription::table
                .filter(subscription::caller_id.eq(grant.caller_id()))
                .filter(subscription::due.lt(i64::MAX))
                .filter(subscription::id.ne(other_than))
        };
        let all = mine().count().get_result(self.connection)?;
        let of_record =
            mine().filter(subscription::record_id.eq(record_id)).count().get_result(self.connection)?;
        Ok((all, of_record))
    }

    /// Keeps a subscription, or one's own in its place. What is there already is not news to a new one; one that is asked for again is told what
    /// became of the record since it was looked at last.
    ///
    /// # Errors
    /// The database's; that the resource cannot be sealed.
    pub fn keep_subscription(
        &mut self,
        grant: &SubscriptionGrant,
        scope: &Scope,
        new: &NewSubscription,
        vault: &Vault,
    ) -> QueryResult<()> {
        let connection = &mut *self.connection;
        let live = subscription::table.filter(subscription::due.lt(i64::MAX)).select(subscription::id).limit(1);
        if live.load::<String>(connection)?.is_empty() {
            LogReader::Subscriptions.begin_again(connection)?;
        }
        let key = sealing_key(connection, vault, grant.record_id())?;
        let resource = seal(&key, &name_of(&new.id), new.resource.as_bytes()).map_err(in_database)?;
        let asked = Asked {
            caller: &new.follower,
            certificate: &new.certificate,
            topic: new.topic.code(),
            filter: &new.filter,
            endpoint: &new.endpoint,
            resource: &resource,
            status: SubscriptionStatus::Requested.code(),
            fault: None,
            until: new.until,
            heartbeat: new.heartbeat,
            changed: true,
            attempts: 0,
            due: new.now,
            leased_until: 0,
            updated_at: new.now,
        };
        let mine = subscription::table
            .filter(subscription::id.eq(&new.id))
            .filter(subscription::caller_id.eq(grant.caller_id()))
            .filter(subscription::record_id.eq(grant.record_id()));
        let replaced = diesel::update(mine)
            .set((&asked, subscription::version.eq(subscription::version + 1)))
            .execute(connection)?;
        if replaced > 0 {
            // What waits under a number was tried, and keeps it; the rest is found again, as it is asked for now.
            let untried = subscription_event::table
                .filter(subscription_event::subscription_id.eq(&new.id))
                .filter(subscription_event::number.is_null());
            diesel::delete(untried).execute(connection)?;
            return Ok(());
        }
        diesel::insert_into(subscription::table)
            .values((
                &asked,
                (
                    subscription::id.eq(&new.id),
                    subscription::record_id.eq(grant.record_id()),
                    subscription::caller_id.eq(grant.caller_id()),
                    subscription::version.eq(1_i64),
                    subscription::created_at.eq(new.now),
                    subscription::since.eq(new.now),
                    subscription::looked_at.eq(new.now),
                    subscription::events.eq(0_i64),
                ),
            ))
            .execute(connection)?;
        // What came in shortly before bears an instant that could be taken for news.
        let there: Vec<(String, i64)> = visible(scope, new.now)
            .filter(document::updated_at.ge(new.now - UNDER_WAY))
            .limit(MOST)
            .select((document::id, document::version))
            .load(connection)?;
        for (document_id, version) in there {
            remember(connection, &new.id, &document_id, version, Some(false))?;
        }
        Ok(())
    }

    /// Ends one's own subscription, if there is one.
    ///
    /// # Errors
    /// The database's.
    pub fn end_subscription(&mut self, grant: &OwnSubscriptionsGrant, id: &str, now: i64) -> QueryResult<()> {
        let ended = diesel::update(own(grant, id))
            .set((
                subscription::status.eq(SubscriptionStatus::Off.code()),
                subscription::fault.eq(None::<String>),
                subscription::version.eq(subscription::version + 1),
                subscription::updated_at.eq(now),
                subscription::due.eq(i64::MAX),
            ))
            .execute(self.connection)?;
        if ended > 0 { forget_what_waits(self.connection, id) } else { Ok(()) }
    }

    /// Forgets one's own subscription, if there is one.
    ///
    /// # Errors
    /// The database's.
    pub fn delete_subscription(&mut self, grant: &OwnSubscriptionsGrant, id: &str) -> QueryResult<()> {
        diesel::delete(own(grant, id)).execute(self.connection).map(|_| ())
    }
}

type Own<'a> = diesel::dsl::Filter<
    diesel::dsl::Filter<subscription::table, diesel::dsl::Eq<subscription::id, &'a str>>,
    diesel::dsl::Eq<subscription::caller_id, &'a str>,
>;

fn own<'a>(grant: &'a OwnSubscriptionsGrant, id: &'a str) -> Own<'a> {
    subscription::table.filter(subscription::id.eq(id)).filter(subscription::caller_id.eq(grant.caller_id()))
}

fn forget_what_waits(connection: &mut DatabaseConnection, id: &str) -> QueryResult<()> {
    let of = subscription_event::table.filter(subscription_event::subscription_id.eq(id));
    diesel::delete(of).execute(connection).map(|_| ())
}

/// Notes in which version a subscription knows a document, and whether it was told of it; `None`: as before.
fn remember(
    connection: &mut DatabaseConnection,
    id: &str,
    document_id: &str,
    version: i64,
    told: Option<bool>,
) -> QueryResult<()> {
    let known = subscription_document::table.find((id, document_id));
    let changed = match told {
        Some(told) => diesel::update(known)
            .set((subscription_document::version.eq(version), subscription_document::told.eq(told)))
            .execute(connection)?,
        None => diesel::update(known).set(subscription_document::version.eq(version)).execute(connection)?,
    };
    if changed == 0 {
        diesel::insert_into(subscription_document::table)
            .values((
                subscription_document::subscription_id.eq(id),
                subscription_document::document_id.eq(document_id),
                subscription_document::version.eq(version),
                subscription_document::told.eq(told.unwrap_or_default()),
            ))
            .execute(connection)?;
    }
    Ok(())
}
