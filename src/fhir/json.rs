//! JSON at the door, and JSON edited as text.
//!
//! * [`admit`] reads a body once, refuses what two readers could read in two ways (a key that stands twice, at any
//!   depth) and what one of the two databases would refuse (U+0000 in a text).
//! * [`RawObject`] is an object whose values stay the received text.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Reason, Refusal};

/// Lets a body in: JSON, no key twice in one object, no U+0000 in a text; and, as FHIR has it, no member that is
/// null and no array straight inside an array.
///
/// # Errors
/// [`Reason::MalformedBody`], with line and column.
pub fn admit(text: &str) -> Result<(), Refusal> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Door(Place::Top)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| malformed(&format!("not acceptable JSON: {error}")))
}

/// The refusal of a body.
pub fn malformed(diagnostics: &str) -> Refusal {
    Refusal::new(Reason::MalformedBody, diagnostics.to_owned())
}

/// The refusal of a resource that serde could not read: where, and not what. A value may be an INS.
pub fn unreadable(what: &str, error: &serde_json::Error) -> Refusal {
    let (line, column) = (error.line(), error.column());
    malformed(&format!(
        "{what}: an element has another shape than FHIR gives it (line {line}, column {column})"
    ))
}

/// Walks a JSON value and keeps nothing of it.
struct Door(Place);

/// Where the value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Member,
    Element,
}

impl<'de> DeserializeSeed<'de> for Door {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn without_nul<E: serde::de::Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') { Err(E::custom("U+0000 in a text")) } else { Ok(()) }
}

impl<'de> Visitor<'de> for Door {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        // In an array, null keeps the place of a primitive that has extensions only.
        if self.0 == Place::Element { Ok(()) } else { Err(E::custom("a member that is null")) }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        // A text without escapes is visited as borrowed below and cannot hold a raw U+0000: JSON forbids it.
        without_nul(text)
    }

    fn visit_borrowed_str<E>(self, _: &'de str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        if self.0 == Place::Element {
            return Err(A::Error::custom("an array straight inside an array"));
        }
        while sequence.next_element_seed(Door(Place::Element))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Few keys in one object: a list is faster than a hash set up to a size.
        let mut keys: Vec<Cow<'de, str>> = Vec::new();
        let mut many: Option<HashSet<Cow<'de, str>>> = None;
        while let Some(BorrowedText(key)) = map.next_key()? {
            without_nul(&key)?;
            let repeated = match &mut many {
                Some(set) => !set.insert(key.clone()),
                None => keys.contains(&key),
            };
            if repeated {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice")));
            }
            if many.is_none() {
                keys.push(key);
                if keys.len() > 32 {
                    many = Some(keys.drain(..).collect());
                }
            }
            map.next_value_seed(Door(Place::Member))?;
        }
        Ok(())
    }
}

/// A text that stays borrowed where it has no escape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct BorrowedText<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A JSON object whose values stay the text that was received, in the order received.
#[derive(Debug)]
pub struct RawObject<'a> {
    entries: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> RawObject<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`] when the text is no JSON object.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        serde_json::from_str(text).map_err(|error| unreadable("not a JSON object", &error))
    }

    /// The text of a value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_ref())
    }

    /// The keys, in the order received.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_ref())
    }

    /// Replaces a value in its place, or puts it behind `after` (at the front without one).
    pub fn set(&mut self, key: &'a str, value: impl Into<Cow<'a, str>>, after: Option<&str>) {
        let value = value.into();
        if let Some(entry) = self.entries.iter_mut().find(|(name, _)| name == key) {
            entry.1 = value;
            return;
        }
        let position = after
            .and_then(|after| self.entries.iter().position(|(name, _)| name == after))
            .map_or(usize::from(after.is_some()) * self.entries.len(), |position| position + 1);
        self.entries.insert(position, (Cow::Borrowed(key), value));
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) {
        self.entries.retain(|(name, _)| name != key);
    }

    /// The object as text: received values byte for byte.
    pub fn to_text(&self) -> String {
        let size = self.entries.iter().map(|(key, value)| key.len() + value.len() + 4).sum::<usize>();
        let mut text = String::with_capacity(size + 2);
        text.push('{');
        for (position, (key, value)) in self.entries.iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            text.push_str(&quoted(key));
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
        text
    }
}

impl<'de> Deserialize<'de> for RawObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawObject<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((BorrowedText(key), value)) =
                    map.next_entry::<BorrowedText<'de>, &'de RawValue>()?
                {
                    entries.push((key, Cow::Borrowed(value.get())));
                }
                Ok(RawObject { entries })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Sets a member of an object; what is no object stays as it is.
pub fn set(value: &mut serde_json::Value, key: &str, member: impl Into<serde_json::Value>) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), member.into());
    }
}

/// A text as JSON, with its quotes.
pub fn quoted(text: &str) -> String {
    to_json(&text)
}

/// A value of our own as JSON.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> String {
    // Invariant: the values passed are structs and `json!` trees with text keys, whose serialisation cannot fail.
    serde_json::to_string(value).unwrap_or_else(|error| unreachable!("own value: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_twice_is_refused_at_any_depth() {
        for body in [r#"{"a":1,"a":2}"#, r#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#, r#"{"a":1,"\u0061":2}"#] {
            let refusal = admit(body).unwrap_err();
            assert_eq!(refusal.reason, Reason::MalformedBody);
            assert!(refusal.issues[0].diagnostics.contains("stands twice"), "{body}");
        }
        let many: String = (0..40).map(|n| format!("\"k{n}\":0,")).collect();
        assert!(admit(&format!("{{{many}\"last\":0}}")).is_ok());
        assert!(admit(&format!("{{{many}\"k39\":0}}")).is_err());
        assert!(admit(&format!("{{{many}\"k3\":0}}")).is_err());
    }

    #[test]
    fn nul_rubbish_and_depth_are_refused() {
        for body in [
            r#"{"a":null}"#,
            r#"{"a":[[1]]}"#,
            r#"{"a":"\u0000"}"#,
            r#"{"\u0000":1}"#,
            "{",
            "{} {}",
            "\u{feff}{}",
            "1e400",
        ] {
            assert_eq!(admit(body).unwrap_err().reason, Reason::MalformedBody, "{body}");
        }
        assert!(admit(r#"{"given":["a",null]}"#).is_ok(), "FHIR's place holder");
        assert!(admit(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn received_values_stay_as_they_were() {
        let text = r#"{"resourceType":"X","n":1.10,"e":{"b":1,  "a":"\u00e9"},"id":"old"}"#;
        let mut object = RawObject::parse(text).unwrap();
        object.set("id", "\"new\"", Some("resourceType"));
        object.set("meta", "{}", Some("resourceType"));
        object.set("last", "0", Some("nowhere"));
        assert_eq!(
            object.to_text(),
            r#"{"resourceType":"X","meta":{},"n":1.10,"e":{"b":1,  "a":"\u00e9"},"id":"new","last":0}"#
        );
        object.remove("e");
        assert_eq!(object.get("e"), None);
    }
}
