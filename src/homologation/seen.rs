//! A call as it went over the wire: what came, and what was answered.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fhir::xml;

/// One call and its answer, kept by the sandbox alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// Microseconds.
    pub at: i64,
    /// `X-Request-Id`: the name of its trace.
    pub request_id: String,
    /// `GET`.
    pub method: String,
    /// `/fhir/DocumentReference`.
    pub path: String,
    /// As sent.
    pub query: String,
    /// The certificate of the connection, as traces name it.
    pub certificate: String,
    /// The rows that the vendor said it plays, with commas between, if any.
    pub playing: Option<String>,
    /// Hostile mode gave the answer: nothing was done, and nothing is to be judged.
    pub made_up: bool,
    /// The body, as JSON, without the bytes of documents; null where there is none, or it was too long.
    pub sent: Value,
    /// HTTP status.
    pub status: u16,
    /// Media type of the answer.
    pub media: String,
    /// An answer in JSON, without the bytes of documents.
    pub answer: Value,
}

impl Seen {
    /// The rows that the vendor said it plays.
    pub fn rows(&self) -> impl Iterator<Item = &str> {
        self.playing.iter().flat_map(|codes| codes.split(',')).map(str::trim).filter(|code| !code.is_empty())
    }
}

/// Bytes of an answer of which more is not looked at.
pub const MOST: usize = 4 << 20;

/// A body as it is kept: what is no JSON and no FHIR XML is left out, and of long texts the length.
pub fn kept(body: &[u8], media: &str) -> Value {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let mut value = match media {
        media if media.contains("json") => serde_json::from_str(text).unwrap_or_default(),
        media if media.contains("fhir+xml") => {
            xml::to_json(text).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
        }
        media if media.contains("x-www-form-urlencoded") => Value::String(text.to_owned()),
        _ => Value::Null,
    };
    shorten(&mut value);
    value
}

fn shorten(value: &mut Value) {
    /// Characters of a text that are kept: longer ones are documents.
    const LONGEST: usize = 2_000;
    match value {
        Value::String(text) if text.len() > LONGEST => *text = format!("({} characters)", text.len()),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_not_kept() {
        let body = format!("{{\"data\":\"{}\",\"a\":[\"short\"]}}", "x".repeat(5_000));
        let kept_of = kept(body.as_bytes(), "application/fhir+json; charset=utf-8");
        assert_eq!(kept_of, serde_json::json!({ "data": "(5000 characters)", "a": ["short"] }));
        assert_eq!(kept(b"%PDF", "application/pdf"), Value::Null);
        let xml = b"<Patient xmlns=\"http://hl7.org/fhir\"><active value=\"true\"/></Patient>";
        assert_eq!(kept(xml, "application/fhir+xml")["active"], true);
        assert_eq!(kept(b"{", "application/json"), Value::Null, "what cannot be read");
    }
}
