//! `Subscription` as HL7's Subscriptions R5 Backport has it for R4 (1.1.0), with the topics of IHE DSUBm that are of one patient.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::elements::{instant, to_instant};
use super::json::{malformed, to_json};
use crate::error::{Reason, Refusal};

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";
const TOPICS: &str = "https://profiles.ihe.net/ITI/DSUBm/SubscriptionTopic/";

/// What is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Documents that are new.
    Created,
    /// Documents that are new, changed, and gone.
    All,
}

impl Topic {
    /// Every one.
    pub const ALL: [Topic; 2] = [Topic::Created, Topic::All];

    /// Its canonical URL.
    pub fn canonical(self) -> String {
        let name = match self {
            Topic::Created => "DSUBm-SubscriptionTopic-DocumentReference-PatientDependent",
            Topic::All => "DSUBm-SubscriptionTopic-DocReference-PatientDependent-AllEvents",
        };
        format!("{TOPICS}{name}")
    }

    /// The topic of a canonical URL. The text of ITI-110 prints it without a folder that the topic itself has: both are understood.
    pub fn of_canonical(url: &str) -> Option<Self> {
        let short = TOPICS.trim_end_matches("SubscriptionTopic/");
        Self::ALL.into_iter().find(|topic| {
            let canonical = topic.canonical();
            url == canonical
                || canonical.strip_prefix(TOPICS).is_some_and(|name| url == format!("{short}{name}"))
        })
    }

    /// As it is kept.
    pub const fn code(self) -> &'static str {
        match self {
            Topic::Created => "created",
            Topic::All => "all",
        }
    }

    /// The counterpart of [`Topic::code`].
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.code() == code)
    }
}

/// In which state a subscription is (`Subscription.status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionStatus {
    /// The receiver has not answered yet.
    Requested,
    /// It is told.
    Active,
    /// It did not answer.
    Error,
    /// Over.
    Off,
}

impl SubscriptionStatus {
    /// The code.
    pub const fn code(self) -> &'static str {
        match self {
            SubscriptionStatus::Requested => "requested",
            SubscriptionStatus::Active => "active",
            SubscriptionStatus::Error => "error",
            SubscriptionStatus::Off => "off",
        }
    }

    /// The counterpart.
    pub fn of_code(code: &str) -> Option<Self> {
        let all = [Self::Requested, Self::Active, Self::Error, Self::Off];
        all.into_iter().find(|status| status.code() == code)
    }
}

/// What somebody asks to be told.
#[derive(Clone, Debug)]
pub struct AskedSubscription {
    /// Asked for, or off.
    pub status: SubscriptionStatus,
    /// What of.
    pub topic: Topic,
    /// `DocumentReference?…`, without what stands before the question mark: parameters of a search.
    pub filters: Vec<String>,
    /// Where to.
    pub receiver: Receiver,
    /// Until when, microseconds.
    pub end: Option<i64>,
    /// A sign of life at least so often, seconds.
    pub heartbeat: Option<i64>,
    resource: Value,
}

/// Where notifications go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// `https://…`
    pub endpoint: String,
    /// In XML, not in JSON.
    pub xml: bool,
    /// Headers that are sent with each.
    pub headers: Vec<(String, String)>,
}

/// Shorter ones would be a load and no sign of life.
const SHORTEST_HEARTBEAT: i64 = 900;
/// Headers of a channel, at most.
const MOST_HEADERS: usize = 10;
/// Bytes of one.
const LONGEST_HEADER: usize = 4 << 10;

impl AskedSubscription {
    /// Reads a resource that FHIR R4 knows.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`]; [`Reason::SubscriptionRefused`] for what is not done here.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let resource: Value =
            serde_json::from_str(text).map_err(|error| malformed(&format!("not JSON: {error}")))?;
        if *at(&resource, "resourceType") != "Subscription" {
            return Err(malformed("the resource is no Subscription"));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if text(at(&resource, "reason")).is_empty() {
            return Err(Refusal::at(Reason::MalformedBody, "Subscription.reason", "reason is missing"));
        }
        let status = match SubscriptionStatus::of_code(&text(at(&resource, "status"))) {
            Some(status @ (SubscriptionStatus::Requested | SubscriptionStatus::Off)) => status,
            _ => return Err(refused("status", "a client says requested, or off")),
        };
        let topic = Topic::of_canonical(&text(at(&resource, "criteria")))
            .ok_or_else(|| refused("criteria", "not one of the topics that /metadata lists"))?;
        let channel = at(&resource, "channel");
        if *at(channel, "type") != "rest-hook" {
            return Err(refused("channel.type", "the channel is rest-hook"));
        }
        let xml = match text(at(channel, "payload")).as_str() {
            "application/fhir+json" => false,
            "application/fhir+xml" => true,
            _ => return Err(refused("channel.payload", "application/fhir+json or application/fhir+xml")),
        };
        let content = extensions(at(channel, "_payload"), "channel.payload", &["backport-payload-content"])?;
        if content.first().is_none_or(|(_, value)| *at(value, "valueCode") != "id-only") || content.len() != 1 {
            return Err(refused("channel.payload", "the extension backport-payload-content says id-only"));
        }
        let known = ["backport-heartbeat-period", "backport-timeout", "backport-max-count"];
        let settings: BTreeMap<&str, &Value> = extensions(channel, "channel", &known)?.into_iter().collect();
        let heartbeat =
            settings.get("backport-heartbeat-period").and_then(|one| at(one, "valueUnsignedInt").as_i64());
        let heartbeat = heartbeat.filter(|seconds| *seconds > 0).map(|seconds| seconds.max(SHORTEST_HEARTBEAT));
        let filters = extensions(at(&resource, "_criteria"), "criteria", &["backport-filter-criteria"])?;
        let filters = filters
            .into_iter()
            .map(|(_, filter)| {
                let asked = at(filter, "valueString")
                    .as_str()
                    .and_then(|filter| filter.strip_prefix("DocumentReference?"));
                asked.map(str::to_owned).ok_or_else(|| refused("criteria", "a filter is DocumentReference?…"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let end = match at(&resource, "end").as_str() {
            Some(end) => Some(
                instant(end).map_err(|error| Refusal::at(Reason::MalformedBody, "Subscription.end", error))?,
            ),
            None => None,
        };
        let headers = at(channel, "header").as_array().map(Vec::as_slice).unwrap_or_default();
        if headers.len() > MOST_HEADERS {
            return Err(refused("channel.header", "at most ten headers"));
        }
        let headers = headers.iter().map(|header| read_header(header.as_str().unwrap_or_default()));
        let receiver = Receiver {
            endpoint: text(at(channel, "endpoint")),
            xml,
            headers: headers.collect::<Result<_, _>>()?,
        };
        Ok(Self { status, topic, filters, receiver, end, heartbeat, resource })
    }

    /// The id that it says.
    pub fn id(&self) -> Option<&str> {
        at(&self.resource, "id").as_str()
    }

    /// The text that is kept: as received, but for what the server says of it each time it is read. A header whose value was read back as hidden
    /// keeps the one that it had, at the receiver that it was for and at no other.
    ///
    /// # Errors
    /// [`Reason::SubscriptionRefused`]: a hidden value that nobody has said of this receiver.
    pub fn kept(&self, before: Option<&str>) -> Result<String, Refusal> {
        let mut kept = self.resource.clone();
        if let Some(object) = kept.as_object_mut() {
            for said in ["id", "meta", "status", "_status", "end", "_end", "error", "_error"] {
                object.remove(said);
            }
        }
        let before: Value = before.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let channel = at(&before, "channel");
        let of_before: Vec<&str> = match *at(channel, "endpoint") == *self.receiver.endpoint {
            true => at(channel, "header").as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
            false => Vec::new(),
        };
        let name_of = |header: &str| header.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let mut seen: Vec<String> = Vec::new();
        for header in headers_of(&mut kept) {
            let name = name_of(header);
            // Of several of one name, each is the one that stood in its place.
            let place = seen.iter().filter(|seen| **seen == name).count();
            if header.split_once(':').is_some_and(|(_, value)| value.trim() == HIDDEN) {
                let old = of_before.iter().filter(|old| name_of(old) == name).nth(place);
                let why = "the value of a header is hidden: say it, for this receiver";
                (*old.ok_or_else(|| refused("channel.header", why))?).clone_into(header);
            }
            seen.push(name);
        }
        Ok(to_json(&kept))
    }
}

/// What stands for the value of a header where a subscription is read: it is a secret of the software that sent it.
const HIDDEN: &str = "********";

/// The headers of a channel, to be changed.
fn headers_of(resource: &mut Value) -> Vec<&mut String> {
    let headers = resource.pointer_mut("/channel/header").and_then(Value::as_array_mut);
    let texts = headers.into_iter().flatten();
    texts.filter_map(|header| if let Value::String(text) = header { Some(text) } else { None }).collect()
}

/// A member, or null.
fn at<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn refused(element: &str, why: &str) -> Refusal {
    Refusal::at(Reason::SubscriptionRefused, format!("Subscription.{element}"), why.to_owned())
}

/// The extensions of an element, all of which are known.
fn extensions<'a>(
    element: &'a Value,
    place: &str,
    known: &[&'static str],
) -> Result<Vec<(&'static str, &'a Value)>, Refusal> {
    let all = at(element, "extension").as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter()
        .map(|extension| {
            let url = at(extension, "url").as_str().unwrap_or_default();
            let name = known.iter().find(|name| url == format!("{BACKPORT}/{name}"));
            name.map(|name| (*name, extension))
                .ok_or_else(|| refused(place, "an extension that this server does not know"))
        })
        .collect()
}

/// `Name: value`. What the connection itself says is nobody's to say.
fn read_header(header: &str) -> Result<(String, String), Refusal> {
    const OURS: [&str; 12] = [
        "host",
        "connection",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "keep-alive",
        "idempotency-key",
    ];
    let wrong = || refused("channel.header", "a header is « Name: value », and none of the connection's own");
    let (name, value) = header.split_once(':').ok_or_else(wrong)?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let value = value.trim();
    let fits = !name.is_empty()
        && name.bytes().all(token)
        && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && header.len() <= LONGEST_HEADER;
    let lower = name.to_ascii_lowercase();
    // Nor is it somebody's to say for whom or over whom the server asks.
    let proxied = ["proxy-", "x-forwarded", "forwarded", "x-real-ip", "via", "x-original", "x-rewrite"]
        .iter()
        .any(|one| lower.starts_with(one))
        || lower.ends_with("-override");
    match fits && !proxied && !OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
        true => Ok((name.to_owned(), value.to_owned())),
        false => Err(wrong()),
    }
}

/// What the server says of a subscription.
#[derive(Clone, Debug)]
pub struct SubscriptionState<'a> {
    /// Its id.
    pub id: &'a str,
    /// `meta.versionId`.
    pub version: i64,
    /// When it was changed last, microseconds.
    pub updated_at: i64,
    /// Its state.
    pub status: SubscriptionStatus,
    /// Until when, microseconds.
    pub until: i64,
    /// Why it is in error, a code of `subscription-error`.
    pub fault: Option<&'a str>,
    /// What of.
    pub topic: Topic,
    /// Events since it began.
    pub events: i64,
}

impl SubscriptionState<'_> {
    /// The resource: what was kept, with what the server says.
    ///
    /// # Errors
    /// The kept text cannot be read, which would be a fault of ours.
    pub fn resource(&self, kept: &str) -> Result<String, serde_json::Error> {
        let mut kept: Value = serde_json::from_str(kept)?;
        for header in headers_of(&mut kept) {
            if let Some((name, _)) = header.split_once(':') {
                *header = format!("{name}: {HIDDEN}");
            }
        }
        let Value::Object(kept) = kept else { return Ok(to_json(&kept)) };
        let profile = [format!("{BACKPORT}/backport-subscription")];
        let meta = json!({ "versionId": self.version.to_string(), "lastUpdated": to_instant(self.updated_at), "profile": profile });
        let mut resource = serde_json::Map::new();
        resource.insert("resourceType".into(), "Subscription".into());
        resource.insert("id".into(), self.id.into());
        resource.insert("meta".into(), meta);
        resource.insert("status".into(), self.status.code().into());
        resource.insert("end".into(), to_instant(self.until).into());
        if let Some(fault) = self.fault {
            resource.insert("error".into(), fault.into());
        }
        resource.extend(kept.into_iter().filter(|(name, _)| name != "resourceType"));
        Ok(to_json(&Value::Object(resource)))
    }

    /// `Parameters` of the profile backport-subscription-status-r4.
    fn parameters(&self, base: &str, kind: &str, event: Option<Value>) -> Value {
        let mut parameters = vec![
            json!({ "name": "subscription", "valueReference": { "reference": format!("{base}/Subscription/{}", self.id) } }),
            json!({ "name": "topic", "valueCanonical": self.topic.canonical() }),
            json!({ "name": "status", "valueCode": self.status.code() }),
            json!({ "name": "type", "valueCode": kind }),
            json!({ "name": "events-since-subscription-start", "valueString": self.events.to_string() }),
        ];
        parameters.extend(event);
        if let Some(fault) = self.fault {
            const ERRORS: &str = "http://terminology.hl7.org/CodeSystem/subscription-error";
            let concept = json!({ "coding": [{ "system": ERRORS, "code": fault }] });
            parameters.push(json!({ "name": "error", "valueCodeableConcept": concept }));
        }
        json!({
            "resourceType": "Parameters",
            "meta": { "profile": [format!("{BACKPORT}/backport-subscription-status-r4")] },
            "parameter": parameters,
        })
    }

    /// The answer of `$status`: a Bundle of type searchset.
    pub fn status_bundle(&self, base: &str) -> String {
        let link = format!("{base}/Subscription/{}/$status", self.id);
        to_json(&json!({
            "resourceType": "Bundle",
            "type": "searchset",
            "total": 1,
            "link": [{ "relation": "self", "url": link }],
            "entry": [{
                "fullUrl": format!("{base}/Subscription/{}/$status", self.id),
                "resource": self.parameters(base, "query-status", None),
                "search": { "mode": "match" },
            }],
        }))
    }

    /// A notification. `id` is the same each time it is sent.
    pub fn notification(&self, base: &str, id: &str, at: i64, what: &Notification<'_>) -> String {
        let (kind, event, entry) = match what {
            Notification::Handshake => ("handshake", None, None),
            Notification::Heartbeat => ("heartbeat", None, None),
            Notification::Deactivation => ("event-notification", None, None),
            Notification::Event { number, document_id, kind, at } => {
                let focus = format!("{base}/DocumentReference/{document_id}");
                let event = json!({ "name": "notification-event", "part": [
                    { "name": "event-number", "valueString": number.to_string() },
                    { "name": "timestamp", "valueInstant": to_instant(*at) },
                    { "name": "focus", "valueReference": { "reference": focus, "type": "DocumentReference" } },
                ] });
                let (method, url, status) = match kind {
                    EventKind::Created => ("POST", "DocumentReference".to_owned(), "201"),
                    EventKind::Changed => ("PUT", format!("DocumentReference/{document_id}"), "200"),
                    EventKind::Gone => ("DELETE", format!("DocumentReference/{document_id}"), "204"),
                };
                let entry = json!({ "fullUrl": focus, "request": { "method": method, "url": url }, "response": { "status": status } });
                ("event-notification", Some(event), Some(entry))
            }
        };
        let mut entries = vec![json!({
            "fullUrl": format!("urn:uuid:{id}"),
            "resource": self.parameters(base, kind, event),
            "request": { "method": "GET", "url": format!("{base}/Subscription/{}/$status", self.id) },
            "response": { "status": "200" },
        })];
        entries.extend(entry);
        to_json(&json!({
            "resourceType": "Bundle",
            "id": id,
            "meta": { "profile": [format!("{BACKPORT}/backport-subscription-notification-r4")] },
            "type": "history",
            "timestamp": to_instant(at),
            "entry": entries,
        }))
    }
}

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification<'a> {
    /// Is somebody there.
    Handshake,
    /// Still there.
    Heartbeat,
    /// Nothing more will come.
    Deactivation,
    /// A document is new, changed or gone.
    Event {
        /// In the order of this subscription, from 1.
        number: i64,
        /// `DocumentReference.id`.
        document_id: &'a str,
        /// Which.
        kind: EventKind,
        /// When it was seen, microseconds.
        at: i64,
    },
}

/// What became of a document, as far as the subscriber may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is new.
    Created,
    /// It is in another version.
    Changed,
    /// It is not there any more.
    Gone,
}

impl EventKind {
    /// As it is kept.
    pub const fn code(self) -> &'static str {
        match self {
            EventKind::Created => "created",
            EventKind::Changed => "changed",
            EventKind::Gone => "gone",
        }
    }

    /// The counterpart.
    pub fn of_code(code: &str) -> Option<Self> {
        [Self::Created, Self::Changed, Self::Gone].into_iter().find(|kind| kind.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: impl FnOnce(&mut Value)) -> Result<AskedSubscription, Refusal> {
        let mut resource = json!({
            "resourceType": "Subscription", "status": "requested", "reason": "suivi", "criteria": Topic::All.canonical(),
            "_criteria": { "extension": [{ "url": format!("{BACKPORT}/backport-filter-criteria"), "valueString": "DocumentReference?patient=Patient/1" }] },
            "channel": {
                "type": "rest-hook", "endpoint": "https://localhost/avis", "payload": "application/fhir+json",
                "_payload": { "extension": [{ "url": format!("{BACKPORT}/backport-payload-content"), "valueCode": "id-only" }] },
                "header": ["Authorization: Bearer xyz"],
            },
        });
        change(&mut resource);
        AskedSubscription::read(&resource.to_string())
    }

    #[test]
    fn what_is_read() {
        let read = asked(|_| {}).unwrap();
        assert_eq!((read.topic, read.heartbeat, read.end), (Topic::All, None, None));
        assert_eq!(read.filters, ["patient=Patient/1"]);
        assert_eq!(read.receiver.headers, [("Authorization".to_owned(), "Bearer xyz".to_owned())]);
        let short = Topic::Created.canonical().replace("/SubscriptionTopic/", "/");
        assert_eq!(Topic::of_canonical(&short), Some(Topic::Created), "as ITI-110 prints it");
        let often = asked(|resource| {
            resource["channel"]["extension"] =
                json!([{ "url": format!("{BACKPORT}/backport-heartbeat-period"), "valueUnsignedInt": 1 }]);
        });
        assert_eq!(often.unwrap().heartbeat, Some(900), "no more often");
    }

    #[test]
    fn what_is_refused() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 14] = [
            (|r| r["status"] = "active".into(), "Subscription.status"),
            (|r| r["criteria"] = "DocumentReference?x=y".into(), "Subscription.criteria"),
            (|r| r["_criteria"]["extension"][0]["valueString"] = "Patient?x=y".into(), "Subscription.criteria"),
            (|r| r["_criteria"]["extension"][0]["url"] = "urn:x".into(), "Subscription.criteria"),
            (|r| r["channel"]["type"] = "websocket".into(), "Subscription.channel.type"),
            (|r| r["channel"]["payload"] = "text/plain".into(), "Subscription.channel.payload"),
            (
                |r| r["channel"]["_payload"]["extension"][0]["valueCode"] = "full-resource".into(),
                "Subscription.channel.payload",
            ),
            (|r| r["channel"]["_payload"] = Value::Null, "Subscription.channel.payload"),
            (|r| r["channel"]["extension"] = json!([{ "url": "urn:x" }]), "Subscription.channel"),
            (|r| r["channel"]["header"] = json!(["Host: x"]), "Subscription.channel.header"),
            (|r| r["channel"]["header"] = json!(["X: a\r\nY: b"]), "Subscription.channel.header"),
            (|r| r["channel"]["header"] = json!(["Proxy-Authorization: b"]), "Subscription.channel.header"),
            (|r| r["channel"]["header"] = json!(["X-Forwarded-For: b"]), "Subscription.channel.header"),
            (
                |r| r["channel"]["header"] = json!(["X-HTTP-Method-Override: DELETE"]),
                "Subscription.channel.header",
            ),
        ];
        for (change, at) in cases {
            let refusal = asked(change).unwrap_err();
            assert_eq!(refusal.reason, Reason::SubscriptionRefused, "{at}");
            assert_eq!(refusal.issues[0].expression.as_deref(), Some(at));
        }
        assert_eq!(asked(|r| r["reason"] = "".into()).unwrap_err().reason, Reason::MalformedBody);
    }
}
