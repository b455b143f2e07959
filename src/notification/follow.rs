//! Subscriptions: what becomes of a record is told to the software that follows it, by id alone, in order, as far as its owner may know it when it
//! is told.
//!
//! ```text
//! trace of a change ─► subscriptions of its record ─► lease ─► rights, now ─► what is new, changed, gone ─► number, trace ─► POST
//! ```

use std::collections::HashMap;
use std::error::Error as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::audit::TraceContext;
use crate::error::Failure;
use crate::fhir::subscription::{
    AskedSubscription, EventKind, Notification, Receiver, SubscriptionState, SubscriptionStatus,
};
use crate::fhir::xml;
use crate::identity::kept::KeptCaller;
use crate::identity::scope::Transaction;
use crate::identity::{Actor, Authentication, Caller};
use crate::operations::Services;
use crate::operations::subscriptions::{SubscriptionFilter, record_of, state};
use crate::rights::Scope;
use crate::store::{EventRow, Hold, Next, Onward, OpenedSubscription, Step};
use crate::tls::outgoing;
use crate::tls::revocation::{ChainLink, RevocationVerdict};

/// How often it is looked whether something was done.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Microseconds for which a node has what it took.
const LEASE: i64 = 300 * SECOND;
const SECOND: i64 = 1_000_000;
/// Subscriptions that are under way at once, and those of them to one host.
const AT_ONCE: usize = 64;
const AT_ONCE_TO_A_HOST: usize = 8;
/// Notifications of one subscription before others have their turn.
const MOST_IN_A_ROUND: usize = 10;
/// Attempts, and then it is in error: its owner asks for it again.
const ATTEMPTS: i64 = 5;

/// Where subscriptions may have notifications sent, and who the server is there.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionSettings {
    /// Hosts: `lps.example`, `lps.example:8443/avis` (paths that begin so), or `localhost:*`. None: nobody subscribes.
    pub hosts: Vec<String>,
    /// The authorities to which a receiver's certificate leads, PEM; none of the system's.
    pub authority: PathBuf,
    /// The server's own certificate as a client (chain, PEM) and its key.
    pub certificate: PathBuf,
    /// See [`SubscriptionSettings::certificate`].
    pub key: PathBuf,
}

/// The places to which a notification may go.
#[derive(Clone, Debug, Default)]
pub struct AllowList(Vec<Allowed>);

#[derive(Clone, Debug)]
struct Allowed {
    host: String,
    /// None: any.
    port: Option<u16>,
    /// How a path begins: `/`, unless something is named.
    path: String,
}

impl AllowList {
    /// Reads places as a configuration names them.
    ///
    /// # Errors
    /// One that is none.
    pub fn read(hosts: &[String]) -> Result<Self> {
        let read = |named: &String| -> Result<Allowed> {
            let (place, path) = named.split_once('/').unwrap_or((named, ""));
            let (host, port) = match place.rsplit_once(':') {
                Some((host, "*")) => (host, None),
                Some((host, port)) => (host, Some(port.parse().with_context(|| named.clone())?)),
                None => (place, Some(443)),
            };
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
            ensure!(!host.is_empty() && host.bytes().all(plain), "subscriptions.hosts: « {named} » is no host");
            Ok(Allowed { host: host.to_ascii_lowercase(), port, path: format!("/{path}") })
        };
        hosts.iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Whether a place is any port of its host.
    pub fn has_any_port(&self) -> bool {
        self.0.iter().any(|allowed| allowed.port.is_none())
    }

    /// Whether a notification may go there.
    ///
    /// # Errors
    /// Why not, for whoever asks.
    pub fn admit(&self, endpoint: &str) -> Result<(), &'static str> {
        let wrong = "the receiver is https://host/path on one of the hosts that the operator allows";
        let url = reqwest::Url::parse(endpoint).map_err(|_| wrong)?;
        let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Err(wrong) };
        let known = self.0.iter().any(|allowed| {
            let here = allowed.host == host && allowed.port.is_none_or(|only| only == port);
            here && url.path().starts_with(&allowed.path)
        });
        // What others may read as a slash would lead out of the path that is allowed.
        let path = url.path().to_ascii_lowercase();
        let bare = bare && !path.contains("%2f") && !path.contains("%5c");
        match url.scheme() == "https" && bare && known && endpoint.len() <= 2_000 {
            true => Ok(()),
            false => Err(wrong),
        }
    }
}

/// Tells subscriptions.
pub struct Follower {
    http: reqwest::Client,
    services: Arc<Services>,
    base: String,
    /// Notifications that may be under way to one host: one that hangs takes no more places than these.
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Why a notification did not arrive, as `subscription-error` has it.
const NO_RESPONSE: &str = "no-response";
const ERROR_RESPONSE: &str = "error-response";

/// What became of a turn: how the subscription goes on, and how many notifications arrived.
type Told = (Onward, usize);

impl Follower {
    /// One for these settings. `base`: where clients find what they are told of.
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub fn new(settings: &SubscriptionSettings, services: Arc<Services>, base: String) -> Result<Self> {
        let tls = outgoing::presenting(&settings.authority, &settings.certificate, &settings.key)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(Duration::from_secs(10))
            // Whoever redirects, or stands between, would have it sent where nobody allowed.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .context("subscriptions")?;
        Ok(Self { http, services, base, hosts: Mutex::default() })
    }

    /// One round: what was done since the last, and what is due, until there is neither. How many notifications arrived. What is done meanwhile is
    /// read all along, and a subscription that is done with makes place for the next: nobody waits for the slowest.
    ///
    /// # Errors
    /// The store's: the next round goes on where this one stopped.
    pub async fn round(&self) -> Result<usize, Failure> {
        let (mut arrived, mut under_way) = (0, FuturesUnordered::new());
        let (mut failed, mut read_at) = (None, None::<tokio::time::Instant>);
        loop {
            // What fails takes nothing more, and cuts off nothing that is under way.
            if failed.is_none() {
                let free = AT_ONCE.saturating_sub(under_way.len());
                let is_due = read_at.is_none_or(|at| at.elapsed() >= INTERVAL);
                match self.take(is_due, free).await {
                    Ok(taken) => under_way.extend(taken.into_iter().map(|one| self.turn(one))),
                    Err(failure) => failed = Some(failure),
                }
                if is_due {
                    read_at = Some(tokio::time::Instant::now());
                }
            }
            if under_way.is_empty() {
                return failed.map_or(Ok(arrived), Err);
            }
            match tokio::time::timeout(INTERVAL, under_way.next()).await {
                Ok(Some(Ok(told))) => arrived += told,
                Ok(Some(Err(failure))) => failed = failed.or(Some(failure)),
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// Subscriptions that are due, after what was done since the last time is read, where it is time for that.
    async fn take(&self, read: bool, most: usize) -> Result<Vec<OpenedSubscription>, Failure> {
        let store = &self.services.store;
        while read && store.note_followed(self.now().as_microsecond()).await? {}
        match i64::try_from(most).unwrap_or_default() {
            0 => Ok(Vec::new()),
            most => store.take_subscriptions(self.now().as_microsecond(), LEASE, most).await,
        }
    }

    fn now(&self) -> Timestamp {
        self.services.environment.now()
    }

    /// One subscription: told what is due, and given back.
    async fn turn(&self, one: OpenedSubscription) -> Result<usize, Failure> {
        let (onward, arrived) = match self.tell(&one).await {
            Ok(told) => told,
            Err(failure) => {
                tracing::warn!(id = one.row.id, %failure, "a subscription waits");
                (self.later(&one, 60 * SECOND), 0)
            }
        };
        let now = self.now().as_microsecond();
        self.services.store.settle_subscription(&one.row, onward, now).await?;
        Ok(arrived)
    }

    /// As it is, and looked at again later.
    fn later(&self, one: &OpenedSubscription, pause: i64) -> Onward {
        let row = &one.row;
        Onward {
            status: row.status(),
            fault: row.fault.clone(),
            attempts: row.attempts,
            due: self.now().as_microsecond() + pause,
            heartbeat_at: row.heartbeat_at,
            looked: false,
        }
    }

    /// Active, with a sign of life given just now or as it was.
    fn active(&self, one: &OpenedSubscription, sent: bool) -> Onward {
        let (row, now) = (&one.row, self.now().as_microsecond());
        let next = row.heartbeat.map(|period| now + period);
        let heartbeat_at = if sent { next } else { row.heartbeat_at.filter(|_| next.is_some()).or(next) };
        let due = heartbeat_at.unwrap_or(i64::MAX - 1).min(row.until);
        Onward { status: SubscriptionStatus::Active, fault: None, attempts: 0, due, heartbeat_at, looked: true }
    }

    /// What is due of one subscription.
    async fn tell(&self, one: &OpenedSubscription) -> Result<Told, Failure> {
        let now = self.now().as_microsecond();
        let Some(receiver) = self.receiver(one) else { return Ok((off(), 0)) };
        // A host that has its share already is come back to.
        let Some(_share) = self.share_of(&receiver) else { return Ok((self.later(one, SECOND), 0)) };
        let caller = match self.standing(one) {
            _ if one.row.until <= now => return self.end(one, &receiver).await,
            Standing::Caller(caller) => caller,
            Standing::Over => return self.end(one, &receiver).await,
            // No fresh list: nothing is told of which nobody knows whether he may.
            Standing::Unknown => return Ok((self.later(one, 60 * SECOND), 0)),
        };
        let Some(scope) = self.scope(one, &caller).await? else { return self.end(one, &receiver).await };
        match one.row.status() {
            SubscriptionStatus::Off => Ok((off(), 0)),
            // It is told again when its owner asks for it; what became of the record until then is found then.
            SubscriptionStatus::Error => {
                Ok((self.in_error(one, one.row.fault.as_deref().unwrap_or(NO_RESPONSE)), 0))
            }
            SubscriptionStatus::Requested => Ok(
                match self.send(one, &receiver, &of_version("handshake", one), &Notification::Handshake).await {
                    Ok(()) => (Onward { due: now, ..self.active(one, true) }, 1),
                    Err(fault) => (self.in_error(one, fault), 0),
                },
            ),
            SubscriptionStatus::Active => {
                if one.row.changed {
                    let filter: SubscriptionFilter =
                        serde_json::from_str(&one.row.filter).map_err(Failure::internal)?;
                    self.services.store.look_for_changes(&one.row, scope, filter.criteria(), now).await?;
                }
                self.tell_events(one, &caller, &receiver).await
            }
        }
    }

    async fn tell_events(
        &self,
        one: &OpenedSubscription,
        caller: &Caller,
        receiver: &Receiver,
    ) -> Result<Told, Failure> {
        for told in 0..MOST_IN_A_ROUND {
            let event = match self.next_event(one, caller).await? {
                Upcoming::Event(event) => event,
                Upcoming::NoRight => return self.end(one, receiver).await,
                // Whoever has it now says how it goes on.
                Upcoming::NotOurs => return Ok((self.later(one, 0), told)),
                Upcoming::Nothing => {
                    let due = one.row.heartbeat_at.is_some_and(|at| at <= self.now().as_microsecond());
                    if told > 0 || !due {
                        return Ok((self.active(one, told > 0), told));
                    }
                    let name = format!("heartbeat {}", one.row.heartbeat_at.unwrap_or_default());
                    return Ok(match self.send(one, receiver, &name, &Notification::Heartbeat).await {
                        Ok(()) => (self.active(one, true), 1),
                        Err(fault) => (self.failed(one, fault, told), 0),
                    });
                }
            };
            let number = event.number.unwrap_or_default();
            let kind = EventKind::of_code(&event.kind).unwrap_or(EventKind::Changed);
            let notification =
                Notification::Event { number, document_id: &event.document_id, kind, at: event.at };
            match self.send(one, receiver, &format!("event {number} {}", event.kind), &notification).await {
                Ok(()) => self.services.store.event_told(&one.row, &event).await?,
                Err(fault) => return Ok((self.failed(one, fault, told), told)),
            }
        }
        // There may be more: behind the others.
        Ok((Onward { due: self.now().as_microsecond(), ..self.active(one, true) }, MOST_IN_A_ROUND))
    }

    /// The next event, numbered and traced as told: decided on once more, where its trace is committed.
    async fn next_event(&self, one: &OpenedSubscription, caller: &Caller) -> Result<Upcoming, Failure> {
        let (services, row, key) = (Arc::clone(&self.services), one.row.clone(), record_of(one));
        let (at, caller) = (self.now(), caller.clone());
        let now = at.as_microsecond();
        let id = services.environment.next_id();
        let trace = TraceContext::new(now, id, "subscription: notify", "", None, Some(&caller));
        let otherwise = Arc::new(AtomicU8::new(Upcoming::NOTHING));
        let noted = Arc::clone(&otherwise);
        let work = move |transaction: &mut crate::store::Transaction<'_>| {
            let decided = transaction.record_facts(&key, &caller, now, Hold::Shared)?;
            let scope = decided
                .as_ref()
                .and_then(|record| services.tables.decide_scope(&caller, record, at).granted().ok());
            let (Some(record), Some(scope)) = (decided, scope) else {
                noted.store(Upcoming::NO_RIGHT, Ordering::Relaxed);
                return Ok(None);
            };
            let (event, hidden) = match transaction.next_event(&row, &scope, now)? {
                Next::Event(event, hidden) => (event, hidden),
                Next::Nothing => {
                    noted.store(Upcoming::NOTHING, Ordering::Relaxed);
                    return Ok(None);
                }
                Next::NotOurs => {
                    noted.store(Upcoming::NOT_OURS, Ordering::Relaxed);
                    return Ok(None);
                }
            };
            let rule = format!("{}; contract: Subscription {}", scope.rule(), row.id);
            // What representatives may not know of, they do not learn of by its being told.
            let trace = trace.kept_from_representatives(hidden);
            let entry = trace.granted(200, &rule, Some(&record.id), std::slice::from_ref(&event.document_id));
            Ok(Some(Step { value: event, trace: entry, keep: true }))
        };
        let committed = self.services.store.writer().commit_if(work).await?;
        Ok(match (committed, otherwise.load(Ordering::Relaxed)) {
            (Some(traced), _) => Upcoming::Event(traced.into_inner()),
            (None, Upcoming::NO_RIGHT) => Upcoming::NoRight,
            (None, Upcoming::NOT_OURS) => Upcoming::NotOurs,
            (None, _) => Upcoming::Nothing,
        })
    }

    /// A place among the notifications that are under way to one host; `None`: it has its share.
    fn share_of(&self, receiver: &Receiver) -> Option<OwnedSemaphorePermit> {
        let host = reqwest::Url::parse(&receiver.endpoint).ok()?;
        let host = format!("{}:{}", host.host_str()?, host.port_or_known_default()?);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let places = hosts.entry(host).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_TO_A_HOST)));
        Arc::clone(places).try_acquire_owned().ok()
    }

    /// What its owner may see now; `None`: nothing of the record.
    async fn scope(&self, one: &OpenedSubscription, caller: &Caller) -> Result<Option<Scope>, Failure> {
        let (services, key, caller, at) =
            (Arc::clone(&self.services), record_of(one), caller.clone(), self.now());
        self.services
            .store
            .read(move |reader| {
                let Some(record) = reader.record_facts(&key, &caller, at.as_microsecond())? else {
                    return Ok(None);
                };
                Ok(services.tables.decide_scope(&caller, &record, at).granted().ok())
            })
            .await
    }

    /// Whether its owner is still who he was: his certificate counts, his software is admitted, he exercises where he did.
    fn standing(&self, one: &OpenedSubscription) -> Standing {
        let link: Option<ChainLink> = serde_json::from_str(&one.row.certificate).ok();
        let kept: Option<KeptCaller> = serde_json::from_str(&one.row.caller).ok();
        let (Some(link), Some(kept)) = (link, kept) else { return Standing::Over };
        let sessions = &self.services.sessions;
        match sessions.revocation.verdict(&link, self.now()) {
            RevocationVerdict::Good => {}
            RevocationVerdict::Revoked | RevocationVerdict::Expired => return Standing::Over,
            _ => return Standing::Unknown,
        }
        let Some(caller) = kept.caller(Vec::new()) else { return Standing::Over };
        let software = match sessions.software.load().admit(caller.software.as_ref()) {
            Ok(admitted) if admitted.scopes.hold(Transaction::Subscribe) => admitted.software,
            _ => return Standing::Over,
        };
        let directory = sessions.directory.load();
        // A card's structure is the directory's; that of an e-CPS is Pro Santé Connect's, and its subscriptions end in days.
        if let (Authentication::Card, Some(structure), Actor::Professional { id, profession, .. }) =
            (caller.authentication, &caller.structure, &caller.actor)
            && !directory.exercises(id, profession.code(), structure)
        {
            return Standing::Over;
        }
        let might_act_for = directory.might_act_for(caller.id(), caller.structure.as_deref());
        Standing::Caller(Box::new(Caller { might_act_for, software, ..caller }))
    }

    /// Where it goes to, if that is still allowed.
    fn receiver(&self, one: &OpenedSubscription) -> Option<Receiver> {
        // Kept without what the server says of it.
        let mut kept: serde_json::Value = serde_json::from_str(&one.resource).ok()?;
        kept.as_object_mut()?.insert("status".into(), "requested".into());
        let receiver = AskedSubscription::read(&kept.to_string()).ok()?.receiver;
        self.services.receivers.admit(&receiver.endpoint).is_ok().then_some(receiver)
    }

    /// Says that nothing more comes, without a reason, and ends it.
    async fn end(&self, one: &OpenedSubscription, receiver: &Receiver) -> Result<Told, Failure> {
        if one.row.status() != SubscriptionStatus::Off {
            let _ = self.send(one, receiver, &of_version("off", one), &Notification::Deactivation).await;
        }
        Ok((off(), 0))
    }

    fn in_error(&self, one: &OpenedSubscription, fault: &str) -> Onward {
        let (status, heartbeat_at) = (SubscriptionStatus::Error, one.row.heartbeat_at);
        let fault = Some(fault.to_owned());
        Onward { status, fault, attempts: 0, due: one.row.until, heartbeat_at, looked: false }
    }

    /// Tried again, later and later; then in error, until its owner asks for it again. `told`: what arrived before it.
    fn failed(&self, one: &OpenedSubscription, fault: &str, told: usize) -> Onward {
        let attempts = if told > 0 { 1 } else { one.row.attempts + 1 };
        if attempts >= ATTEMPTS {
            return self.in_error(one, fault);
        }
        let due = self.now().as_microsecond() + ((15 * SECOND) << attempts.clamp(0, 10));
        Onward { attempts, due, looked: false, ..self.active(one, told > 0) }
    }

    /// Posts a notification; `name` makes its id, the same each time it is sent.
    async fn send(
        &self,
        one: &OpenedSubscription,
        receiver: &Receiver,
        name: &str,
        what: &Notification<'_>,
    ) -> Result<(), &'static str> {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{} {name}", one.row.id).as_bytes());
        let id = id.hyphenated().to_string();
        let state = match what {
            Notification::Event { number, .. } => SubscriptionState { events: *number, ..state(one) },
            Notification::Deactivation => SubscriptionState { status: SubscriptionStatus::Off, ..state(one) },
            _ => state(one),
        };
        let body = state.notification(&self.base, &id, self.now().as_microsecond(), what);
        let (body, content_type) = match receiver.xml {
            true => (xml::to_xml(&body).map_err(|_| ERROR_RESPONSE)?, "application/fhir+xml"),
            false => (body, "application/fhir+json"),
        };
        let mut request = self.http.post(&receiver.endpoint);
        for (name, value) in &receiver.headers {
            request = request.header(name, value);
        }
        let request = request.header("Content-Type", content_type).header("Idempotency-Key", &id).body(body);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                tracing::warn!(
                    id = one.row.id,
                    status = answer.status().as_u16(),
                    "a receiver refuses what it is told"
                );
                Err(ERROR_RESPONSE)
            }
            Err(error) => {
                // Without the URL: what stands in it may be a secret of the software.
                let error = error.without_url();
                let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                tracing::warn!(id = one.row.id, why, "a receiver does not answer");
                Err(NO_RESPONSE)
            }
        }
    }
}

enum Standing {
    Caller(Box<Caller>),
    Over,
    Unknown,
}

/// What comes next.
enum Upcoming {
    Event(EventRow),
    Nothing,
    NotOurs,
    NoRight,
}

impl Upcoming {
    const NOTHING: u8 = 0;
    const NOT_OURS: u8 = 1;
    const NO_RIGHT: u8 = 2;
}

/// What is sent once in each life of a subscription: asked for again, it is news.
fn of_version(what: &str, one: &OpenedSubscription) -> String {
    format!("{what} {}", one.row.version)
}

fn off() -> Onward {
    let status = SubscriptionStatus::Off;
    Onward { status, fault: None, attempts: 0, due: i64::MAX, heartbeat_at: None, looked: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_goes_to_hosts_that_are_allowed() {
        let hosts = ["lps.example", "Other.example:8443/avis/", "localhost:*"].map(str::to_owned);
        let list = AllowList::read(&hosts).unwrap();
        for good in [
            "https://lps.example/avis",
            "https://lps.example:443/",
            "https://other.example:8443/avis/x?y=z",
            "https://localhost:1/",
        ] {
            assert!(list.admit(good).is_ok(), "{good}");
        }
        for bad in [
            "http://lps.example/avis",
            "https://lps.example:8443/",
            "https://other.example:8443/other",
            "https://other.example:8443/avis/../other",
            "https://other.example/avis/",
            "https://lps.example.evil.example/",
            "https://lps.example@evil.example/",
            "https://user@lps.example/",
            "https://lps.example/#x",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://evil.example/?lps.example",
            "ftp://lps.example/",
            "lps.example",
            "",
            "https:///",
        ] {
            assert!(list.admit(bad).is_err(), "{bad}");
        }
        assert!(AllowList::default().admit("https://lps.example/").is_err(), "nobody unless named");
        for bad in ["", ":443", "lps.example:x", "https://lps.example", "a b"] {
            assert!(AllowList::read(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
