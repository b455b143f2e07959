//! The Parameters of `$actualiser`: what software asks, and what it is told.

use serde::Deserialize;

use super::bundle::{SearchEntry, with_base};
use super::elements::{Identifier, Reference, instant, to_instant};
use super::json::{BorrowedText, quoted};
use super::parameters;
use crate::error::{Reason, Refusal};

/// Ids that software may name in one call.
const MOST_KNOWN: usize = 1000;

/// What software asks.
#[derive(Debug)]
pub struct Asked {
    /// System and value of the INS.
    pub patient: (String, String),
    /// Since when, microseconds.
    pub since: Option<i64>,
    /// Documents that it holds: id, and version where it says so.
    pub known: Vec<(String, Option<i64>)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameter<'a> {
    #[serde(borrow, default)]
    name: BorrowedText<'a>,
    #[serde(borrow, default)]
    value_identifier: Option<Identifier<'a>>,
    #[serde(borrow, default)]
    value_date_time: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    value_instant: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    value_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    value_string: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    value_reference: Option<Reference<'a>>,
}

impl Asked {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`], [`Reason::MissingSearchParameter`], [`Reason::InvalidSearchParameter`].
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let read = parameters::all::<Parameter<'_>>(text)?;
        let (mut patient, mut since, mut known) = (None, None, Vec::new());
        let place = |name: &str| format!("Parameters.parameter('{name}')");
        let refusal =
            |name: &str, why: &str| Refusal::at(Reason::InvalidSearchParameter, place(name), why.to_owned());
        let wrong = |name: &str, why: &str| Err(refusal(name, why));
        for one in &read {
            match one.name.0.as_ref() {
                "patient" => {
                    let Some(identifier) = one.value_identifier.as_ref().filter(|_| patient.is_none()) else {
                        return wrong("patient", "one valueIdentifier, the INS");
                    };
                    patient = Some((identifier.system().to_owned(), identifier.value().to_owned()));
                }
                "depuis" => {
                    let date = one.value_date_time.as_ref().or(one.value_instant.as_ref());
                    let Some(date) = date.filter(|_| since.is_none()) else {
                        return wrong("depuis", "one valueDateTime");
                    };
                    since = Some(instant(&date.0).map_err(|why| refusal("depuis", &why))?);
                }
                "connus" => {
                    let text = one.value_id.as_ref().or(one.value_string.as_ref()).map(|text| text.0.as_ref());
                    let text = text.or(one.value_reference.as_ref().map(Reference::literal));
                    let Some(held) = text.and_then(held) else {
                        return wrong(
                            "connus",
                            "valueId, or valueReference as DocumentReference/id/_history/version",
                        );
                    };
                    known.push(held);
                }
                other => {
                    return wrong(&other.chars().take(40).collect::<String>(), "patient, depuis and connus");
                }
            }
        }
        if known.len() > MOST_KNOWN {
            return wrong("connus", "at most 1000");
        }
        let missing =
            |name: &str, why: &'static str| Refusal::at(Reason::MissingSearchParameter, place(name), why);
        let patient = patient.ok_or_else(|| missing("patient", "the patient is missing (valueIdentifier)"))?;
        if since.is_none() && known.is_empty() {
            return Err(missing("depuis", "since when (depuis), or what is known (connus)"));
        }
        Ok(Self { patient, since, known })
    }
}

/// `id`, `DocumentReference/id` or `DocumentReference/id/_history/version`.
fn held(text: &str) -> Option<(String, Option<i64>)> {
    let text = text.strip_prefix("DocumentReference/").unwrap_or(text);
    let (id, version) = match text.split_once("/_history/") {
        Some((id, version)) => (id, Some(version.parse().ok()?)),
        None => (text, None),
    };
    let form =
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    form.then(|| (id.to_owned(), version))
}

/// What software is told, joined from kept texts.
#[derive(Debug)]
pub struct Told<'a> {
    /// The base of all addresses.
    pub base: &'a str,
    /// `depuis` of the next call, microseconds.
    pub as_of: i64,
    /// There is more.
    pub more: bool,
    /// `nouveau`.
    pub new: &'a [SearchEntry],
    /// `modifie`.
    pub changed: &'a [SearchEntry],
    /// `remplace`: the document, and the one that replaced it.
    pub replaced: &'a [(String, Option<String>)],
    /// `disparu`.
    pub gone: &'a [String],
}

impl Told<'_> {
    /// The Parameters.
    pub fn to_text(&self) -> String {
        let reference = |id: &str| quoted(&format!("{}/DocumentReference/{id}", self.base));
        let mut parts =
            vec![format!("{{\"name\":\"instant\",\"valueInstant\":\"{}\"}}", to_instant(self.as_of))];
        if self.more {
            parts.push("{\"name\":\"incomplet\",\"valueBoolean\":true}".to_owned());
        }
        for (name, entries) in [("nouveau", self.new), ("modifie", self.changed)] {
            parts.extend(entries.iter().map(|entry| {
                let resource = with_base(&entry.resource, entry.link, self.base);
                format!("{{\"name\":\"{name}\",\"resource\":{resource}}}")
            }));
        }
        for (id, successor) in self.replaced {
            let by = successor.as_ref().map_or(String::new(), |successor| {
                format!(",{{\"name\":\"par\",\"valueReference\":{{\"reference\":{}}}}}", reference(successor))
            });
            parts.push(format!(
                "{{\"name\":\"remplace\",\"part\":[{{\"name\":\"document\",\"valueReference\":{{\"reference\":{}}}}}{by}]}}",
                reference(id)
            ));
        }
        parts.extend(self.gone.iter().map(|id| format!("{{\"name\":\"disparu\",\"valueId\":{}}}", quoted(id))));
        format!("{{\"resourceType\":\"Parameters\",\"parameter\":[{}]}}", parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked() {
        let patient = r#"{"name":"patient","valueIdentifier":{"system":"urn:s","value":"1"}}"#;
        let read = |more: &str| {
            Asked::read(&format!(r#"{{"resourceType":"Parameters","parameter":[{patient}{more}]}}"#))
                .map_err(|refusal| refusal.reason)
        };
        let known = r#",{"name":"connus","valueId":"a-1"},{"name":"connus","valueReference":{"reference":"DocumentReference/b/_history/3"}}"#;
        let asked = read(known).unwrap();
        assert_eq!(asked.patient, ("urn:s".to_owned(), "1".to_owned()));
        assert_eq!(asked.known, [("a-1".to_owned(), None), ("b".to_owned(), Some(3))]);
        let since = read(r#",{"name":"depuis","valueDateTime":"2026-01"}"#).unwrap().since;
        assert_eq!(since, Some(instant("2026-01").unwrap()));
        for (more, reason) in [
            ("", Reason::MissingSearchParameter),
            (r#",{"name":"depuis","valueDateTime":"hier"}"#, Reason::InvalidSearchParameter),
            (r#",{"name":"depuis"}"#, Reason::InvalidSearchParameter),
            (r#",{"name":"connus","valueId":"a b"}"#, Reason::InvalidSearchParameter),
            (r#",{"name":"connus","valueId":"a/_history/x"}"#, Reason::InvalidSearchParameter),
            (r#",{"name":"autre","valueId":"a"}"#, Reason::InvalidSearchParameter),
            (&format!(",{patient}"), Reason::InvalidSearchParameter),
            (&r#",{"name":"connus","valueId":"a"}"#.repeat(1001), Reason::InvalidSearchParameter),
        ] {
            assert_eq!(read(more).unwrap_err(), reason, "{more:.80}");
        }
        let nobody = r#"{"resourceType":"Parameters","parameter":[{"name":"connus","valueId":"a"}]}"#;
        assert_eq!(Asked::read(nobody).unwrap_err().reason, Reason::MissingSearchParameter);
        assert_eq!(Asked::read(r#"{"resourceType":"Bundle"}"#).unwrap_err().reason, Reason::MalformedBody);
    }
}
