//! The data types that several resources share, as far as they are read here. Texts stay borrowed.

use serde::Deserialize;

use super::json::BorrowedText;
use crate::error::Issue;

/// `Coding`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Coding<'a> {
    /// System URI.
    #[serde(borrow, default)]
    pub system: Option<BorrowedText<'a>>,
    /// Code.
    #[serde(borrow, default)]
    pub code: Option<BorrowedText<'a>>,
    /// What it says to people.
    #[serde(borrow, default)]
    pub display: Option<BorrowedText<'a>>,
}

impl Coding<'_> {
    /// The code, empty without one.
    pub fn code(&self) -> &str {
        self.code.as_ref().map_or("", |code| &code.0)
    }

    /// What it says to people; the code where nothing is said.
    pub fn display(&self) -> &str {
        self.display.as_ref().map_or(self.code(), |display| &display.0)
    }

    /// The system, empty without one.
    pub fn system(&self) -> &str {
        self.system.as_ref().map_or("", |system| &system.0)
    }
}

/// `CodeableConcept`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CodeableConcept<'a> {
    /// Codings.
    #[serde(borrow, default)]
    pub coding: Vec<Coding<'a>>,
}

impl CodeableConcept<'_> {
    /// The code of the first coding, empty without one.
    pub fn code(&self) -> &str {
        self.coding.first().map_or("", Coding::code)
    }

    /// What the first coding says to people, empty without one.
    pub fn display(&self) -> &str {
        self.coding.first().map_or("", Coding::display)
    }
}

/// `Identifier`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Identifier<'a> {
    /// System URI.
    #[serde(borrow, default)]
    pub system: Option<BorrowedText<'a>>,
    /// Value.
    #[serde(borrow, default)]
    pub value: Option<BorrowedText<'a>>,
}

impl Identifier<'_> {
    /// The value, empty without one.
    pub fn value(&self) -> &str {
        self.value.as_ref().map_or("", |value| &value.0)
    }

    /// The system, empty without one.
    pub fn system(&self) -> &str {
        self.system.as_ref().map_or("", |system| &system.0)
    }
}

/// `Reference`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Reference<'a> {
    /// Literal, conditional or contained reference.
    #[serde(borrow, default)]
    pub reference: Option<BorrowedText<'a>>,
    /// Logical reference.
    #[serde(borrow, default)]
    pub identifier: Option<Identifier<'a>>,
}

impl Reference<'_> {
    /// The literal reference, empty without one.
    pub fn literal(&self) -> &str {
        self.reference.as_ref().map_or("", |reference| &reference.0)
    }
}

/// A reference to a patient, in the forms that a client may use.
#[derive(Debug, PartialEq, Eq)]
pub enum PatientReference<'a> {
    /// `Patient?identifier=system|value`, or a logical identifier.
    Identifier {
        /// System URI.
        system: &'a str,
        /// Value.
        value: &'a str,
    },
    /// `Patient/id`.
    Id(&'a str),
}

impl<'a> PatientReference<'a> {
    /// Reads a reference.
    ///
    /// # Errors
    /// The form is none of the two.
    pub fn read(reference: &'a Reference<'_>, expression: &str) -> Result<Self, Issue> {
        let literal = reference.literal();
        if let Some(token) = literal.strip_prefix("Patient?identifier=") {
            let (system, value) = token
                .split_once('|')
                .or_else(|| token.split_once("%7C"))
                .ok_or_else(|| Issue::at(expression, "Patient?identifier= wants system|value"))?;
            return Ok(PatientReference::Identifier { system, value });
        }
        if let Some(id) = literal.strip_prefix("Patient/") {
            return Ok(PatientReference::Id(id));
        }
        match &reference.identifier {
            Some(identifier) if literal.is_empty() => {
                Ok(PatientReference::Identifier { system: identifier.system(), value: identifier.value() })
            }
            _ => Err(Issue::at(
                expression,
                "a patient is named by Patient?identifier=system|value, by a logical identifier or by Patient/id",
            )),
        }
    }
}

/// `instant` and `dateTime`, as the microseconds that they begin at. A partial date begins at its first instant, UTC.
///
/// # Errors
/// The text is no FHIR date.
pub fn instant(text: &str) -> Result<i64, String> {
    let malformed = || "not a FHIR date (2026, 2026-11, 2026-11-22, 2026-11-22T10:00:00+01:00)".to_owned();
    let whole = match text.len() {
        4 => format!("{text}-01-01T00:00:00Z"),
        7 => format!("{text}-01T00:00:00Z"),
        10 => format!("{text}T00:00:00Z"),
        _ if text.as_bytes().get(10) == Some(&b'T') => text.to_owned(),
        _ => return Err(malformed()),
    };
    let timestamp = match whole.parse::<jiff::Timestamp>() {
        Ok(timestamp) => timestamp,
        // « No end », as software writes it, is behind the last instant that is counted.
        Err(_) if is_last_day(&whole) => jiff::Timestamp::MAX,
        Err(_) => return Err(malformed()),
    };
    Ok(timestamp.as_microsecond())
}

fn is_last_day(text: &str) -> bool {
    text.starts_with("9999-12-3")
        && text.get(..19).is_some_and(|text| text.parse::<jiff::civil::DateTime>().is_ok())
}

/// The end of the period that a date names, exclusive: a year, a month, a day, a second or an instant.
///
/// # Errors
/// The text is no FHIR date.
pub fn end_of(text: &str) -> Result<i64, String> {
    let start = instant(text)?;
    if text.starts_with("9999") {
        return Ok(jiff::Timestamp::MAX.as_microsecond());
    }
    let malformed = |_| "not a FHIR date".to_owned();
    let date = |rest: &str| format!("{text}{rest}").parse::<jiff::civil::Date>().map_err(malformed);
    let end = |date: Result<jiff::civil::Date, jiff::Error>| {
        date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC))
            .map(|zoned| zoned.timestamp().as_microsecond())
            .map_err(malformed)
    };
    match text.len() {
        4 => end(date("-01-01")?.checked_add(jiff::Span::new().years(1))),
        7 => end(date("-01")?.checked_add(jiff::Span::new().months(1))),
        10 => end(date("")?.checked_add(jiff::Span::new().days(1))),
        _ if text.contains('.') => Ok(start + 1),
        _ => Ok(start + 1_000_000),
    }
}

/// Microseconds since the epoch as a FHIR `instant`, UTC.
pub fn to_instant(microseconds: i64) -> String {
    jiff::Timestamp::from_microsecond(microseconds).map_or_else(
        // Invariant: every instant kept came from a `Timestamp`.
        |_| String::from("1970-01-01T00:00:00Z"),
        |timestamp| timestamp.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_each_precision() {
        assert_eq!(to_instant(instant("2024-05").unwrap()), "2024-05-01T00:00:00Z");
        assert_eq!(to_instant(end_of("2024-05").unwrap()), "2024-06-01T00:00:00Z");
        assert_eq!(to_instant(end_of("2024").unwrap()), "2025-01-01T00:00:00Z");
        assert_eq!(to_instant(end_of("2024-02-29").unwrap()), "2024-03-01T00:00:00Z");
        assert_eq!(to_instant(instant("2024-11-20T10:30:00+01:00").unwrap()), "2024-11-20T09:30:00Z");
        for text in ["", "24", "2024-13", "2024-11-20T10:30:00", "hier", "2024-11-20 10:30:00Z"] {
            assert!(instant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patient_references() {
        let read = |json: &'static str| {
            let reference: Reference<'static> = serde_json::from_str(json).unwrap();
            match PatientReference::read(&reference, "x") {
                Ok(PatientReference::Identifier { system, value }) => Ok(format!("{system} {value}")),
                Ok(PatientReference::Id(id)) => Ok(id.to_owned()),
                Err(issue) => Err(issue),
            }
        };
        assert_eq!(read(r#"{"reference":"Patient?identifier=urn:oid:1|2"}"#).unwrap(), "urn:oid:1 2");
        assert_eq!(read(r#"{"identifier":{"system":"urn:oid:1","value":"2"}}"#).unwrap(), "urn:oid:1 2");
        assert_eq!(read(r#"{"reference":"Patient/7"}"#).unwrap(), "7");
        assert!(read(r##"{"reference":"#p"}"##).is_err());
        assert!(read("{}").is_err());
    }
}
