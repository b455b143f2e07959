//! `Bundle`: the transaction that a client sends, and the answers that are joined from kept texts.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::elements::to_instant;
use super::json::{BorrowedText, malformed, quoted, to_json, unreadable};
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
            return Err(malformed(&format!(
                "a feed is a Bundle of type transaction (ITI-65), this one is « {} »",
                read.r#type.0
            )));
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
}

/// The answer to a transaction, one entry per request entry, in the same order.
pub fn transaction_response(entries: &[ResponseEntry], last_modified: i64) -> String {
    let last_modified = to_instant(last_modified);
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            json!({ "response": {
                "status": entry.status,
                "location": entry.location,
                "lastModified": last_modified,
            }})
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
///
/// `base` ends without a slash; `this` and `next` are path and query of this page and the next.
pub fn searchset(
    base: &str,
    total: u64,
    this: Option<&str>,
    next: Option<&str>,
    entries: &[SearchEntry],
) -> String {
    searchset_with_included(base, total, this, next, entries, &[])
}

/// As [`searchset`], with what `_include` asked for behind the matches.
pub fn searchset_with_included(
    base: &str,
    total: u64,
    this: Option<&str>,
    next: Option<&str>,
    entries: &[SearchEntry],
    included: &[SearchEntry],
) -> String {
    let size: usize = entries.iter().map(|entry| entry.resource.len() + entry.path.len() + 160).sum();
    let mut text = String::with_capacity(size + 512);
    text.push_str("{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"total\":");
    text.push_str(&total.to_string());
    let links = [("self", this), ("next", next)];
    let links: Vec<String> = links
        .into_iter()
        .filter_map(|(relation, link)| {
            Some(format!("{{\"relation\":\"{relation}\",\"url\":{}}}", quoted(&format!("{base}/{}", link?))))
        })
        .collect();
    if !links.is_empty() {
        text.push_str(",\"link\":[");
        text.push_str(&links.join(","));
        text.push(']');
    }
    // FHIR has no empty arrays.
    if !entries.is_empty() {
        text.push_str(",\"entry\":[");
        let all = entries.iter().zip(std::iter::repeat("match"));
        let all = all.chain(included.iter().zip(std::iter::repeat("include")));
        for (position, (entry, mode)) in all.enumerate() {
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
        text.push(']');
    }
    text.push('}');
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
