//! Subscriptions: what becomes of a record is told to the software that follows it, by id alone, in order, as far as its owner may know it when it
//! is told.
//!
//! ```text
//! trace of a change ─► subscriptions of its record ─► lease ─► rights, now ─► what is new, changed, gone ─► number, trace ─► POST
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use jiff::Timestamp;
use uuid::Uuid;

use crate::audit::TraceContext;
use crate::error::Failure;
use crate::fhir::subscription::{
    AskedSubscription, EventKind, Notification, Receiver, SubscriptionState, SubscriptionStatus,
};
use crate::fhir::xml;
use crate::identity::Caller;
use crate::identity::kept::KeptCaller;
use crate::operations::Services;
use crate::operations::subscriptions::{SubscriptionFilter, record_of, state};
use crate::rights::Scope;
use crate::store::{EventRow, Hold, Onward, OpenedSubscription, Step, Traced};
use crate::tls::outgoing;
use crate::tls::revocation::{ChainLink, RevocationVerdict};

/// How often it is looked whether something was done.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Microseconds for which a node has what it took.
const LEASE: i64 = 300 * SECOND;
const SECOND: i64 = 1_000_000;
/// Subscriptions that are looked at side by side.
const BATCH: i64 = 16;
/// Notifications of one subscription before others have their turn.
const MOST_IN_A_ROUND: usize = 10;
/// Attempts, and then it is in error: its owner asks for it again.
const ATTEMPTS: i64 = 5;

/// Where subscriptions may have notifications sent, and who the server is there.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionSettings {
    /// Hosts: `lps.example`, `lps.example:8443`, or `localhost:*`. None: nobody subscribes.
    pub hosts: Vec<String>,
    /// The authorities to which a receiver's certificate leads, PEM; none of the system's.
    pub authority: PathBuf,
    /// The server's own certificate as a client (chain, PEM) and its key.
    pub certificate: PathBuf,
    /// See [`SubscriptionSettings::certificate`].
    pub key: PathBuf,
}

/// The hosts to which a notification may go.
#[derive(Clone, Debug, Default)]
pub struct AllowList(Vec<(String, Option<u16>)>);

impl AllowList {
    /// Reads hosts as a configuration names them.
    ///
    /// # Errors
    /// One that is no host.
    pub fn read(hosts: &[String]) -> Result<Self> {
        let read = |host: &String| -> Result<(String, Option<u16>)> {
            let (name, port) = match host.rsplit_once(':') {
                Some((name, "*")) => (name, None),
                Some((name, port)) => (name, Some(port.parse().with_context(|| host.clone())?)),
                None => (host.as_str(), Some(443)),
            };
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
            ensure!(!name.is_empty() && name.bytes().all(plain), "subscriptions.hosts: « {host} » is no host");
            Ok((name.to_ascii_lowercase(), port))
        };
        hosts.iter().map(read).collect::<Result<_>>().map(Self)
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
        let known = self.0.iter().any(|(name, only)| name == host && only.is_none_or(|only| only == port));
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
}

/// Why a notification did not arrive, as `subscription-error` has it.
const NO_RESPONSE: &str = "no-response";
const ERROR_RESPONSE: &str = "error-response";

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
        Ok(Self { http, services, base })
    }

    /// One round: what was done since the last, then what is due, until there is neither. How many notifications arrived.
    ///
    /// # Errors
    /// The store's: the next round goes on where this one stopped.
    pub async fn round(&self) -> Result<usize, Failure> {
        let store = &self.services.store;
        let mut arrived = 0;
        loop {
            let read = store.note_followed(self.now().as_microsecond()).await?;
            let taken = store.take_subscriptions(self.now().as_microsecond(), LEASE, BATCH).await?;
            // Side by side: a receiver that hangs holds up nobody else.
            let told = join_all(taken.iter().map(|one| self.tell(one))).await;
            for (one, told) in taken.iter().zip(told) {
                let (onward, of_one) = told?;
                arrived += of_one;
                store.settle_subscription(&one.row, onward, self.now().as_microsecond()).await?;
            }
            if read == 0 && taken.is_empty() {
                return Ok(arrived);
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.services.environment.now()
    }

    /// What is due of one subscription; how it goes on, and how many notifications arrived.
    async fn tell(&self, one: &OpenedSubscription) -> Result<(Onward, usize), Failure> {
        let now = self.now().as_microsecond();
        let Some(receiver) = self.receiver(one) else { return Ok((off(), 0)) };
        let standing = self.standing(one);
        let caller = match standing {
            _ if one.row.until <= now => return self.end(one, &receiver).await,
            Standing::Caller(caller) => caller,
            Standing::Over => return self.end(one, &receiver).await,
            // No fresh list: nothing is told of which nobody knows whether he may.
            Standing::Unknown => {
                let (status, fault) = (one.row.status(), one.row.fault.clone());
                return Ok((Onward { status, fault, attempts: one.row.attempts, due: now + 60 * SECOND }, 0));
            }
        };
        if one.row.status() == SubscriptionStatus::Off {
            return Ok((off(), 0));
        }
        let Some(scope) = self.scope(one, &caller).await? else { return self.end(one, &receiver).await };
        if one.row.status() == SubscriptionStatus::Requested {
            return Ok(match self.send(one, &receiver, "handshake", &Notification::Handshake).await {
                Ok(()) => {
                    (Onward { status: SubscriptionStatus::Active, fault: None, attempts: 0, due: now }, 1)
                }
                Err(fault) => (self.in_error(one, fault), 0),
            });
        }
        if one.row.changed {
            let filter: SubscriptionFilter =
                serde_json::from_str(&one.row.filter).map_err(Failure::internal)?;
            self.services.store.look_for_changes(&one.row, scope, filter.criteria(), now).await?;
        }
        if one.row.status() == SubscriptionStatus::Error {
            return Ok((self.in_error(one, one.row.fault.as_deref().unwrap_or(NO_RESPONSE)), 0));
        }
        self.tell_events(one, &caller, &receiver).await
    }

    async fn tell_events(
        &self,
        one: &OpenedSubscription,
        caller: &Caller,
        receiver: &Receiver,
    ) -> Result<(Onward, usize), Failure> {
        let active = |due: i64| Onward { status: SubscriptionStatus::Active, fault: None, attempts: 0, due };
        for told in 0..MOST_IN_A_ROUND {
            let now = self.now().as_microsecond();
            let Some(event) = self.next_event(one, caller).await? else {
                let resting =
                    one.row.heartbeat.map_or(one.row.until, |period| (now + period).min(one.row.until));
                if told == 0 && !one.row.changed && one.row.attempts == 0 && one.row.heartbeat.is_some() {
                    return Ok(
                        match self
                            .send(one, receiver, &format!("heartbeat {now}"), &Notification::Heartbeat)
                            .await
                        {
                            Ok(()) => (active(resting), 1),
                            Err(fault) => (self.failed(one, fault), 0),
                        },
                    );
                }
                return Ok((active(resting), told));
            };
            let number = event.number.unwrap_or_default();
            let kind = EventKind::of_code(&event.kind).unwrap_or(EventKind::Changed);
            let notification =
                Notification::Event { number, document_id: &event.document_id, kind, at: event.at };
            match self.send(one, receiver, &format!("event {number}"), &notification).await {
                Ok(()) => self.services.store.event_told(&one.row, &event).await?,
                Err(fault) => return Ok((self.failed(one, fault), told)),
            }
        }
        // There may be more: behind the others.
        Ok((active(self.now().as_microsecond()), MOST_IN_A_ROUND))
    }

    /// The next event, numbered and traced as told: decided on once more, where its trace is committed.
    async fn next_event(&self, one: &OpenedSubscription, caller: &Caller) -> Result<Option<EventRow>, Failure> {
        let (services, row, key) = (Arc::clone(&self.services), one.row.clone(), record_of(one));
        let (at, caller) = (self.now(), caller.clone());
        let now = at.as_microsecond();
        let trace = TraceContext::new(
            now,
            services.environment.next_id(),
            "subscription: notify",
            "",
            None,
            Some(&caller),
        );
        let work = move |transaction: &mut crate::store::Transaction<'_>| {
            let Some(record) = transaction.record_facts(&key, &caller, now, Hold::Shared)? else {
                return Ok(None);
            };
            let Ok(scope) = services.tables.decide_scope(&caller, &record, at).granted() else {
                return Ok(None);
            };
            let Some(event) = transaction.next_event(&row, &scope, now)? else { return Ok(None) };
            let rule = format!("{}; contract: Subscription {}", scope.rule(), row.id);
            let entry = trace.granted(200, &rule, Some(&record.id), std::slice::from_ref(&event.document_id));
            Ok(Some(Step { value: event, trace: entry, keep: true }))
        };
        Ok(self.services.store.writer().commit_if(work).await?.map(Traced::into_inner))
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

    /// Whether its owner is still who he was: his certificate counts.
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
        let might_act_for = sessions.directory.load().might_act_for(caller.id(), caller.structure.as_deref());
        Standing::Caller(Box::new(Caller { might_act_for, ..caller }))
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
    async fn end(&self, one: &OpenedSubscription, receiver: &Receiver) -> Result<(Onward, usize), Failure> {
        if one.row.status() != SubscriptionStatus::Off {
            let _ = self.send(one, receiver, "off", &Notification::Deactivation).await;
        }
        Ok((off(), 0))
    }

    fn in_error(&self, one: &OpenedSubscription, fault: &str) -> Onward {
        let status = SubscriptionStatus::Error;
        Onward { status, fault: Some(fault.to_owned()), attempts: 0, due: one.row.until }
    }

    /// Tried again, later and later; then in error, until its owner asks for it again.
    fn failed(&self, one: &OpenedSubscription, fault: &str) -> Onward {
        let attempts = one.row.attempts + 1;
        if attempts >= ATTEMPTS {
            return self.in_error(one, fault);
        }
        let due = self.now().as_microsecond() + ((15 * SECOND) << attempts.clamp(0, 10));
        Onward { status: SubscriptionStatus::Active, fault: None, attempts, due }
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
            Ok(_) => Err(ERROR_RESPONSE),
            Err(_) => Err(NO_RESPONSE),
        }
    }
}

enum Standing {
    Caller(Box<Caller>),
    Over,
    Unknown,
}

fn off() -> Onward {
    Onward { status: SubscriptionStatus::Off, fault: None, attempts: 0, due: i64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_goes_to_hosts_that_are_allowed() {
        let hosts = ["lps.example", "Other.example:8443", "localhost:*"].map(str::to_owned);
        let list = AllowList::read(&hosts).unwrap();
        for good in [
            "https://lps.example/avis",
            "https://lps.example:443/",
            "https://other.example:8443/x?y=z",
            "https://localhost:1/",
        ] {
            assert!(list.admit(good).is_ok(), "{good}");
        }
        for bad in [
            "http://lps.example/avis",
            "https://lps.example:8443/",
            "https://other.example/",
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
