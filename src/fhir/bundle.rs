//! `Bundle`: the transaction that a client sends, and the answers that are joined from kept texts.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::elements::to_instant;
use super::json::{BorrowedText, malformed, quoted, set, to_json, unreadable};
use crate::error::Refusal;

/// A transaction as received: entries in order, resources as text.
#[derive(Debug, Deserialize)]
pub struct Transaction<'a> {
    #[serde(borrow, rename = "resourceType", default)]
    resource_type: BorrowedText<'a>,
    #[serde(borrow, default)]
    r#type: BorrowedText<'a>,
    /// Entries.
    #[serde(borrow, default)]
    pub entry: Vec<TransactionEntry<'a>>,
}

/// One entry.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionEntry<'a> {
    /// How other entries refer to it.
    #[serde(borrow, default)]
    pub full_url: BorrowedText<'a>,
    /// The resource, as text.
    #[serde(borrow, default)]
    pub resource: Option<&'a RawValue>,
    /// Method and URL.
    #[serde(borrow, default)]
    pub request: Option<EntryRequest<'a>>,
}

/// `Bundle.entry.request`.
#[derive(Debug, Deserialize)]
pub struct EntryRequest<'a> {
    /// `POST`, `PATCH` …
    #[serde(borrow, default)]
    pub method: BorrowedText<'a>,
    /// Relative URL.
    #[serde(borrow, default)]
    pub url: BorrowedText<'a>,
}

/// The type of any resource.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnyResource<'a> {
    /// Its type.
    #[serde(borrow, default)]
    pub resource_type: BorrowedText<'a>,
}

/// `Binary`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binary<'a> {
    /// Media type.
    #[serde(borrow, default)]
    pub content_type: BorrowedText<'a>,
    /// Base64.
    #[serde(borrow, default)]
    pub data: BorrowedText<'a>,
}

impl<'a> Transaction<'a> {
    /// Reads a Bundle of type `transaction`.
    ///
    /// # Errors
    /// [`crate::error::Reason::MalformedBody`] when it is something else.
    pub fn read(text: &'a str) -> Result<Self, Refusal> {
        let read: Self = serde_json::from_str(text).map_err(|error| unreadable("not a Bundle", &error))?;
        if read.resource_type.0 != "Bundle" {
            return Err(malformed("resourceType is not Bundle"));
        }
        if read.r#type.0 != "transaction" {
            return Err(malformed("a feed is a Bundle of type transaction (ITI-65)"));
        }
        Ok(read)
    }
}

/// One line of a `transaction-response`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseEntry {
    /// `201 Created` or `200 OK`.
    pub status: &'static str,
    /// Relative, with the version.
    pub location: String,
    /// An OperationOutcome with warnings.
    pub outcome: Option<serde_json::Value>,
}

/// The answer to a transaction, one entry per request entry, in the same order.
pub fn transaction_response(entries: &[ResponseEntry], last_modified: i64) -> String {
    let last_modified = to_instant(last_modified);
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            let mut response = json!({
                "status": entry.status,
                "location": entry.location,
                "lastModified": last_modified,
            });
            if let Some(outcome) = &entry.outcome {
                set(&mut response, "outcome", outcome.clone());
            }
            json!({ "response": response })
        })
        .collect();
    to_json(&json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": entries }))
}

/// One resource of a searchset: kept text, and where its relative attachment link begins.
#[derive(Clone, Debug)]
pub struct SearchEntry {
    /// Type and id, `DocumentReference/…`.
    pub path: String,
    /// The kept text.
    pub resource: String,
    /// Where the base goes in, if anywhere.
    pub link: Option<usize>,
}

/// A searchset joined from kept texts: nothing is parsed and serialised again.
#[derive(Clone, Copy, Debug, Default)]
pub struct SearchSet<'a> {
    /// The base of all addresses, without a slash at the end.
    pub base: &'a str,
    /// How many match, on all pages.
    pub total: u64,
    /// Path and query of this page.
    pub this: Option<&'a str>,
    /// Path and query of the next page.
    pub next: Option<&'a str>,
    /// What matches.
    pub entries: &'a [SearchEntry],
    /// What `_include` asked for.
    pub included: &'a [SearchEntry],
    /// An OperationOutcome with warnings.
    pub warning: Option<&'a str>,
}

/// As [`SearchSet`], with nothing but matches.
pub fn searchset(
    base: &str,
    total: u64,
    this: Option<&str>,
    next: Option<&str>,
    entries: &[SearchEntry],
) -> String {
    SearchSet { base, total, this, next, entries, ..SearchSet::default() }.to_text()
}

impl SearchSet<'_> {
    /// The Bundle.
    pub fn to_text(&self) -> String {
        let Self { base, total, this, next, entries, included, warning } = *self;
        let all = || entries.iter().chain(included);
        let size: usize = all().map(|entry| entry.resource.len() + entry.path.len() + 160).sum();
        let mut text = String::with_capacity(size + 512);
        text.push_str("{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"total\":");
        text.push_str(&total.to_string());
        let links = [("self", this), ("next", next)];
        let links: Vec<String> = links
            .into_iter()
            .filter_map(|(relation, link)| {
                let url = quoted(&format!("{base}/{}", link?));
                Some(format!("{{\"relation\":\"{relation}\",\"url\":{url}}}"))
            })
            .collect();
        if !links.is_empty() {
            text.push_str(",\"link\":[");
            text.push_str(&links.join(","));
            text.push(']');
        }
        // FHIR has no empty arrays.
        if all().next().is_some() || warning.is_some() {
            text.push_str(",\"entry\":[");
            let modes = std::iter::repeat_n("match", entries.len()).chain(std::iter::repeat("include"));
            for (position, (entry, mode)) in all().zip(modes).enumerate() {
                if position > 0 {
                    text.push(',');
                }
                text.push_str("{\"fullUrl\":\"");
                text.push_str(base);
                text.push('/');
                text.push_str(&entry.path);
                text.push_str("\",\"resource\":");
                push_with_base(&mut text, &entry.resource, entry.link, base);
                text.push_str(",\"search\":{\"mode\":\"");
                text.push_str(mode);
                text.push_str("\"}}");
            }
            if let Some(warning) = warning {
                if all().next().is_some() {
                    text.push(',');
                }
                text.push_str("{\"resource\":");
                text.push_str(warning);
                text.push_str(",\"search\":{\"mode\":\"outcome\"}}");
            }
            text.push(']');
        }
        text.push('}');
        text
    }
}

/// The versions of one resource, the newest first: version, text and where its link begins.
pub fn history(base: &str, path: &str, versions: &[(i64, String, Option<usize>)]) -> String {
    let mut text = format!("{{\"resourceType\":\"Bundle\",\"type\":\"history\",\"total\":{}", versions.len());
    text.push_str(",\"entry\":[");
    for (position, (version, resource, link)) in versions.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        text.push_str(&format!("{{\"fullUrl\":{},\"resource\":", quoted(&format!("{base}/{path}"))));
        push_with_base(&mut text, resource, *link, base);
        // The first was made, the others by changes of it.
        let (method, url, status) = match version {
            1 => ("POST", path.split('/').next().unwrap_or_default(), "201 Created"),
            _ => ("PATCH", path, "200 OK"),
        };
        let etag = quoted(&format!("W/\"{version}\""));
        text.push_str(&format!(
            ",\"request\":{{\"method\":\"{method}\",\"url\":{}}},\"response\":{{\"status\":\"{status}\",\"etag\":{etag}}}}}",
            quoted(url)
        ));
    }
    text.push_str("]}");
    text
}

/// A kept text with the base before its relative attachment link.
pub fn with_base(resource: &str, link: Option<usize>, base: &str) -> String {
    let mut text = String::with_capacity(resource.len() + base.len() + 1);
    push_with_base(&mut text, resource, link, base);
    text
}

fn push_with_base(text: &mut String, resource: &str, link: Option<usize>, base: &str) {
    match link.and_then(|link| resource.split_at_checked(link)) {
        Some((before, after)) => {
            text.push_str(before);
            text.push_str(base);
            text.push('/');
            text.push_str(after);
        }
        None => text.push_str(resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_searchset_is_joined_text() {
        let entry = SearchEntry {
            path: "DocumentReference/1".into(),
            resource: r#"{"n":1.10,"url":"Binary/b"}"#.into(),
            link: Some(17),
        };
        let text = searchset(
            "https://h/fhir",
            7,
            Some("DocumentReference?x=1"),
            Some("DocumentReference?x=2"),
            &[entry],
        );
        assert!(text.contains(r#"{"n":1.10,"url":"https://h/fhir/Binary/b"}"#), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["total"], 7);
        assert_eq!(value["link"][1]["url"], "https://h/fhir/DocumentReference?x=2");
        assert_eq!(value["entry"][0]["fullUrl"], "https://h/fhir/DocumentReference/1");
        let empty = searchset("b", 0, None, None, &[]);
        assert_eq!(empty, r#"{"resourceType":"Bundle","type":"searchset","total":0}"#);
    }
}
