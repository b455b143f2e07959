//! ITI-110 and its kin: software asks to be told what becomes of a record, by `Subscription`.

use serde::{Deserialize, Serialize};

use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::subscription::{AskedSubscription, SubscriptionState, SubscriptionStatus};
use crate::identity::Authentication;
use crate::identity::scope::Transaction as Scoped;
use crate::rights::{OwnSubscriptionsGrant, SubscriptionGrant};
use crate::store::{
    Hold, NewSubscription, OpenedSubscription, RecordKey, SearchCriteria, Step, StoreError,
    SubscriptionCriteria, Transaction,
};
use crate::tls::revocation::ChainLink;

/// Create.
pub const CREATE: Operation = Operation::new("subscription: create", Scoped::Subscribe, Budget::Search);
/// Change: ask for it again, or end it.
pub const CHANGE: Operation = Operation::new("subscription: change", Scoped::Subscribe, Budget::Search);
/// Delete.
pub const DELETE: Operation = Operation::new("subscription: delete", Scoped::Subscribe, Budget::Search);
/// Read.
pub const READ: Operation = Operation::new("subscription: read", Scoped::Subscribe, Budget::Read).evenly();
/// Search.
pub const SEARCH: Operation = Operation::new("subscription: search", Scoped::Subscribe, Budget::Search);
/// `$status`.
pub const STATUS: Operation = Operation::new("subscription: status", Scoped::Subscribe, Budget::Read).evenly();

/// Which documents of the record: as in a search, codes of the DMP's value sets.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SubscriptionFilter {
    /// `type`.
    pub types: Vec<Vec<String>>,
    /// `category`.
    pub classes: Vec<Vec<String>>,
    /// `format`.
    pub formats: Vec<Vec<String>>,
    /// `facility`.
    pub facilities: Vec<Vec<String>>,
    /// `setting`.
    pub settings: Vec<Vec<String>>,
}

impl SubscriptionFilter {
    /// The same as a search.
    pub fn criteria(self) -> SearchCriteria {
        let Self { types, classes, formats, facilities, settings } = self;
        SearchCriteria { types, classes, formats, facilities, settings, ..SearchCriteria::default() }
    }
}

/// A subscription that is asked for, its parts read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The resource.
    pub asked: AskedSubscription,
    /// Whose record.
    pub patient: PatientKey,
    /// Which documents.
    pub filter: SubscriptionFilter,
    /// The certificate of the connection: revoked, it is told nothing more.
    pub certificate: ChainLink,
}

/// How long a subscription lasts, unless it says itself, and at most, microseconds.
const DAY: i64 = 86_400_000_000;
const UNLESS_SAID: i64 = 90 * DAY;
const AT_MOST: i64 = 366 * DAY;
/// With an e-CPS: the certificate of the connection is an organisation's, and nothing says that the person's own was taken away.
const WITH_E_CPS: i64 = 7 * DAY;
/// Subscriptions of one professional that are not over, and those of them on one record.
const MOST: i64 = 10_000;
const MOST_ON_A_RECORD: i64 = 5;

/// Whether the caller subscribes at all: asked before a body is taken in.
///
/// # Errors
/// [`Reason::NoFunctionalRight`], [`Reason::WrongMode`].
pub fn permitted_at_all(call: &Call) -> Result<OwnSubscriptionsGrant, Refusal> {
    call.services.tables.decide_own_subscriptions(&call.caller).granted()
}

/// Keeps a subscription; `replacing`: one's own, asked for again, at the version that the caller means.
///
/// # Errors
/// [`Reason::SubscriptionRefused`], [`Reason::NotFound`], [`Reason::UnknownRecord`], [`Reason::NoAuthorisation`] and its kin, or the store's.
pub async fn keep(
    call: &Call,
    wanted: Wanted,
    replacing: Option<(String, Option<i64>)>,
) -> Result<Traced<Result<OpenedSubscription, Refusal>>, Failure> {
    permitted_at_all(call)?;
    let (replacing, if_match) = replacing.unzip();
    let if_match = if_match.flatten();
    let (now, services) = (call.now(), &call.services);
    services.receivers.admit(&wanted.asked.receiver.endpoint).map_err(|why| {
        Refusal::at(Reason::SubscriptionRefused, "Subscription.channel.endpoint", why)
            .by("allow-list of receivers")
    })?;
    let until = match wanted.asked.end {
        Some(end) if end <= now => {
            let why = "the end is over";
            return Err(Refusal::at(Reason::SubscriptionRefused, "Subscription.end", why).into());
        }
        end => {
            let longest = match call.caller.authentication {
                Authentication::ProSanteConnect => WITH_E_CPS,
                _ => AT_MOST,
            };
            end.unwrap_or(now + UNLESS_SAID).min(now + longest)
        }
    };
    if let Some(id) = &replacing {
        super::must_be_an_id(id)?;
    }
    let new = NewSubscription {
        id: replacing.clone().unwrap_or_else(|| services.environment.next_id()),
        follower: String::new(),
        certificate: serde_json::to_string(&wanted.certificate).map_err(Failure::internal)?,
        topic: wanted.asked.topic,
        filter: serde_json::to_string(&wanted.filter).map_err(Failure::internal)?,
        endpoint: wanted.asked.receiver.endpoint.clone(),
        resource: String::new(),
        until,
        heartbeat: wanted.asked.heartbeat.map(|seconds| seconds * 1_000_000),
        now,
    };
    let (committing, at) = (call.clone(), call.at()?);
    let status = if replacing.is_some() { 200 } else { 201 };
    services
        .store
        .writer()
        .commit(move |transaction| {
            let call = &committing;
            match decided(call, transaction, &wanted, (replacing.as_deref(), if_match), at)? {
                Ok((grant, scope, resource)) => {
                    let follower = serde_json::to_string(grant.follower())
                        .map_err(|error| StoreError::SerializationError(Box::new(error)))?;
                    let vault = call.services.store.vault();
                    let new = NewSubscription { follower, resource, ..new.clone() };
                    transaction.keep_subscription(&grant, &scope, &new, vault)?;
                    let kept = transaction.own_subscription(&grant.own(), &new.id, vault)?;
                    let kept = kept.ok_or(StoreError::NotFound)?;
                    let trace = call.trace.granted(status, grant.rule(), Some(grant.record_id()), &[new.id]);
                    Ok(Step { value: Ok(kept), trace, keep: true })
                }
                Err(refusal) => Ok(refused(call, refusal)),
            }
        })
        .await
}

/// The grant, what may be seen, and the text that is kept.
type Granted = (SubscriptionGrant, crate::rights::Scope, String);

fn decided(
    call: &Call,
    transaction: &mut Transaction<'_>,
    wanted: &Wanted,
    (replacing, if_match): (Option<&str>, Option<i64>),
    at: jiff::Timestamp,
) -> Result<Result<Granted, Refusal>, StoreError> {
    let tables = &call.services.tables;
    let own = match tables.decide_own_subscriptions(&call.caller).granted() {
        Ok(own) => own,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // One's own, before anything is said of a record.
    let held = match replacing {
        Some(id) => match transaction.own_subscription(&own, id, call.services.store.vault())? {
            Some(held) if if_match.is_some_and(|version| version != held.row.version) => {
                return Ok(Err(other_version()));
            }
            Some(held) => Some(held),
            None => return Ok(Err(unknown())),
        },
        None => None,
    };
    let Some(record) = transaction.record_facts(&wanted.patient.key, &call.caller, call.now(), Hold::Shared)?
    else {
        return Ok(Err(wanted.patient.unknown()));
    };
    if held.as_ref().is_some_and(|held| held.row.record_id != record.id) {
        let why = "a subscription stays with its record: make another one";
        let refusal = Refusal::at(Reason::SubscriptionRefused, "Subscription.criteria", why);
        return Ok(Err(refusal.concerning(&record.id, None)));
    }
    let (all, of_record) = transaction.subscriptions_of(&own, &record.id, replacing.unwrap_or_default())?;
    if all >= MOST || of_record >= MOST_ON_A_RECORD {
        let why = format!("at most {MOST} subscriptions that are not over, {MOST_ON_A_RECORD} on one record");
        let refusal = Refusal::new(Reason::SubscriptionRefused, why).by("limits of subscriptions");
        return Ok(Err(refusal.concerning(&record.id, None)));
    }
    let grant = tables.decide_subscription(&call.caller, &record, at).granted();
    let scope = tables.decide_scope(&call.caller, &record, at).granted();
    let resource = wanted.asked.kept(held.as_ref().map(|held| held.resource.as_str()));
    Ok(match (grant, scope, resource) {
        (Ok(grant), Ok(scope), Ok(resource)) => Ok((grant, scope, resource)),
        (Err(refusal), ..) | (_, Err(refusal), _) | (.., Err(refusal)) => {
            Err(refusal.concerning(&record.id, None))
        }
    })
}

fn refused<T>(call: &Call, refusal: Refusal) -> Step<Result<T, Refusal>> {
    let trace = call.trace.failed(&refusal.clone().into(), refusal.reason.status());
    Step { value: Err(refusal), trace, keep: false }
}

fn other_version() -> Refusal {
    Refusal::new(Reason::VersionConflict, "the subscription is at another version than If-Match says")
        .by("optimistic locking")
}

fn unknown() -> Refusal {
    Refusal::new(Reason::NotFound, "no such resource").by("no such identifier")
}

/// Ends one's own subscription.
///
/// # Errors
/// [`Reason::NotFound`], or the store's.
pub async fn end(
    call: &Call,
    id: String,
    if_match: Option<i64>,
) -> Result<Traced<Result<OpenedSubscription, Refusal>>, Failure> {
    own(call, id, if_match, |transaction, own, id, now| transaction.end_subscription(own, id, now)).await
}

/// Deletes one's own subscription; as it was.
///
/// # Errors
/// As [`end`].
pub async fn delete(call: &Call, id: String) -> Result<Traced<Result<OpenedSubscription, Refusal>>, Failure> {
    own(call, id, None, |transaction, own, id, _| transaction.delete_subscription(own, id)).await
}

async fn own(
    call: &Call,
    id: String,
    if_match: Option<i64>,
    change: fn(&mut Transaction<'_>, &OwnSubscriptionsGrant, &str, i64) -> Result<(), StoreError>,
) -> Result<Traced<Result<OpenedSubscription, Refusal>>, Failure> {
    permitted_at_all(call)?;
    super::must_be_an_id(&id)?;
    let committing = call.clone();
    call.services
        .store
        .writer()
        .commit(move |transaction| {
            let (call, vault) = (&committing, committing.services.store.vault());
            let own = match call.services.tables.decide_own_subscriptions(&call.caller).granted() {
                Ok(own) => own,
                Err(refusal) => return Ok(refused(call, refusal)),
            };
            let Some(before) = transaction.own_subscription(&own, &id, vault)? else {
                return Ok(refused(call, unknown()));
            };
            if if_match.is_some_and(|version| version != before.row.version) {
                return Ok(refused(call, other_version()));
            }
            change(transaction, &own, &id, call.now())?;
            let after = transaction.own_subscription(&own, &id, vault)?.unwrap_or(before);
            let trace =
                call.trace.granted(200, own.rule(), Some(&after.row.record_id), std::slice::from_ref(&id));
            Ok(Step { value: Ok(after), trace, keep: true })
        })
        .await
}

/// Reads one's own subscription.
///
/// # Errors
/// [`Reason::NotFound`], or the store's.
pub async fn read(call: &Call, id: String) -> Result<Traced<OpenedSubscription>, Failure> {
    let grant = permitted_at_all(call)?;
    super::must_be_an_id(&id)?;
    let (rule, vault, looked_up) = (grant.rule(), call.services.store.vault().clone(), id.clone());
    let found = call.services.store.read(move |reader| reader.subscription(&grant, &looked_up, &vault)).await?;
    let found = found.ok_or_else(unknown)?;
    let trace = call.trace.granted(200, rule, Some(&found.row.record_id), &[id]);
    call.services.store.writer().record(trace, found).await
}

/// One's own subscriptions, and how many there are in all.
///
/// # Errors
/// The store's.
pub async fn search(
    call: &Call,
    criteria: SubscriptionCriteria,
    page: (i64, i64),
) -> Result<Traced<(Vec<OpenedSubscription>, i64)>, Failure> {
    let grant = permitted_at_all(call)?;
    let (rule, vault) = (grant.rule(), call.services.store.vault().clone());
    let found =
        call.services.store.read(move |reader| reader.subscriptions(&grant, &criteria, page, &vault)).await?;
    let ids: Vec<String> = found.0.iter().map(|one| one.row.id.clone()).collect();
    let trace = call.trace.granted(200, rule, None, &ids);
    call.services.store.writer().record(trace, found).await
}

/// The record of a subscription, as the key of a look-up.
pub fn record_of(subscription: &OpenedSubscription) -> RecordKey {
    RecordKey::Id(subscription.row.record_id.clone())
}

/// What the server says of a subscription.
pub fn state(of: &OpenedSubscription) -> SubscriptionState<'_> {
    let row = &of.row;
    let in_error = row.status() == SubscriptionStatus::Error;
    SubscriptionState {
        id: &row.id,
        version: row.version,
        updated_at: row.updated_at,
        status: row.status(),
        until: row.until,
        fault: row.fault.as_deref().filter(|_| in_error),
        topic: row.topic(),
        events: row.events,
    }
}
