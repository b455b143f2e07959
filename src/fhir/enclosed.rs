//! The files that a resource encloses: Binaries and attachments, wherever they stand.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Shows each enclosed file: its media type as declared, and its bytes in base64. Nothing is copied but what an escape hides.
///
/// # Errors
/// What `look` found wrong, or that the text is no JSON.
pub fn each_enclosed(text: &str, mut look: impl FnMut(&str, &str) -> Result<(), String>) -> Result<(), String> {
    let mut wrong = None;
    let mut keep = |media_type: &str, data: &str| {
        if wrong.is_none() {
            wrong = look(media_type, data).err();
        }
    };
    let mut json = serde_json::Deserializer::from_str(text);
    Walk { look: &mut keep }.deserialize(&mut json).map_err(|error| error.to_string())?;
    wrong.map_or(Ok(()), Err)
}

struct Walk<'f> {
    look: &'f mut dyn FnMut(&str, &str),
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
        let (mut media_type, mut data) = (None, None);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let value = map.next_value_seed(Walk { look: &mut *self.look })?;
            match key.as_ref() {
                "contentType" => media_type = value,
                "data" => data = value,
                _ => {}
            }
        }
        if let (Some(media_type), Some(data)) = (media_type, data) {
            (self.look)(&media_type, &data);
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
            "sampled":{"data":"1 2 3"},"away":{"contentType":"application/pdf"},"odd":{"contentType":"x","data":{"data":"z"}}}"#;
        let mut shown = Vec::new();
        let walked = each_enclosed(text, |media_type, data| {
            shown.push(format!("{media_type} {data}"));
            Ok(())
        });
        assert_eq!((walked, shown), (Ok(()), vec!["text/plain QQ==".to_owned(), "image/jpeg QQ==".to_owned()]));
        assert_eq!(
            each_enclosed(text, |media_type, _| Err(media_type.to_owned())),
            Err("text/plain".to_owned())
        );
        assert!(each_enclosed("{", |_, _| Ok(())).is_err());
    }
}
