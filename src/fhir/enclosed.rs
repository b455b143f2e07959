//! What a resource encloses, wherever it stands: files (Binaries and attachments), and identifiers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Something that is enclosed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enclosed<'a> {
    /// A file: its media type as declared, empty where none is, and its bytes in base64.
    File {
        /// `contentType`.
        media_type: &'a str,
        /// `data`.
        data: &'a str,
    },
    /// A file that is elsewhere: `url`.
    Elsewhere(&'a str),
    /// An identifier: system and value.
    Identifier(&'a str, &'a str),
}

/// Shows each thing that is enclosed. Nothing is copied but what an escape hides.
///
/// # Errors
/// What `look` found wrong, or that the text is no JSON.
pub fn each_enclosed(
    text: &str,
    mut look: impl FnMut(Enclosed<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let mut wrong = None;
    let mut keep = |found: Enclosed<'_>| {
        if wrong.is_none() {
            wrong = look(found).err();
        }
    };
    let mut json = serde_json::Deserializer::from_str(text);
    Walk { look: &mut keep }.deserialize(&mut json).map_err(|error| error.to_string())?;
    wrong.map_or(Ok(()), Err)
}

struct Walk<'f> {
    look: &'f mut dyn FnMut(Enclosed<'_>),
}

/// A text is given back; what holds others is walked through.
impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        while sequence.next_element_seed(Walk { look: &mut *self.look })?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut media_type, mut data, mut url, mut system, mut value) = (None, None, None, None, None);
        // A signature and sampled data have a `data` that is no file.
        let mut is_no_file = false;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let member = map.next_value_seed(Walk { look: &mut *self.look })?;
            match key.as_ref() {
                "contentType" => media_type = member,
                "data" => data = member,
                "url" => url = member,
                "system" => system = member,
                "value" => value = member,
                "sigFormat" | "who" | "origin" => is_no_file = true,
                _ => {}
            }
        }
        if let (Some(data), false) = (data, is_no_file) {
            (self.look)(Enclosed::File { media_type: media_type.as_deref().unwrap_or_default(), data: &data });
        }
        if let Some(url) = url {
            (self.look)(Enclosed::Elsewhere(&url));
        }
        if let (Some(system), Some(value)) = (system, value) {
            (self.look)(Enclosed::Identifier(&system, &value));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_shown() {
        let text = r#"{"a":[1,-1,0.5,true,null,{"contentType":"text/plain","data":"QQ=="}],
            "photo":{"data":"Q\u0051==","title":"x","contentType":"image/jpeg","url":"y"},
            "sampled":{"origin":{"value":1},"data":"1 2 3"},"bare":{"data":"z"},
            "who":[{"identifier":[{"value":"v","system":"s"}]}],"odd":{"contentType":"x","data":{"data":"z"}}}"#;
        let mut shown = Vec::new();
        let walked = each_enclosed(text, |found| {
            shown.push(match found {
                Enclosed::File { media_type, data } => format!("{media_type} {data}"),
                Enclosed::Elsewhere(url) => format!("at {url}"),
                Enclosed::Identifier(system, value) => format!("{system}|{value}"),
            });
            Ok(())
        });
        assert_eq!(walked, Ok(()));
        assert_eq!(shown, ["text/plain QQ==", "image/jpeg QQ==", "at y", " z", "s|v", " z"]);
        assert_eq!(
            each_enclosed(text, |found| Err(format!("{found:?}"))).unwrap_err().matches("text/plain").count(),
            1
        );
        assert!(each_enclosed("{", |_| Ok(())).is_err());
    }
}
